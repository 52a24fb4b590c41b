"""Whether a depth map is its photograph's: where depth jumps from column to column, a picture mostly has an edge.

    depth ─ jumps along rows ─► places ┐
    photograph ─ steps along rows ─► ranks ─ summed at the places, in place and displaced ─► how many fit as well

Jumps along rows are the sides of things; those along columns are the ground and the horizon as well, which all maps
share. A map displaced along the rows, or mirrored, keeps what any map of such a scene has and loses what is this
photograph's own. If it fits as well as in place, it was not made of this photograph. Sums are of whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.depth import Depth
from patina.synth.image import Image
from patina.synth.resampling import shrunk

LONG = 192
"""Pixels of the long side at which they are compared."""

REACH, JUMP = 4, 0.1
"""Pixels within which depth jumps at the side of a thing, and the share of the nearer depth by which it does."""

ALONE, AROUND = 1.5, 10
"""By how many times such a jump exceeds the mean of those around it in its row, and pixels on both sides that count as
around: slopes do not exceed it."""

FEWEST = 80
"""Places from which on something can be said."""

FLAT = 12
"""Levels of the step that a tenth of a picture's pixels reach at least, for its edges to be no noise."""

_ROWS, _FIRST, _EVERY = (-8, 0, 8), 12, 4  # displacements, px: down, and right from one to the other side


@dataclass(frozen=True)
class DepthFit:
    """How a depth map fits a photograph.

    places     where depth jumps; 0 where nothing can be said: a smooth map, a flat picture.
    rank       mean rank of the picture's steps there, per mille: 500 by chance.
    as_well    of the `displaced` ones, those that fit as well as the map in place, or better.
    """

    places: int
    rank: int = 0
    as_well: int = 0
    displaced: int = 0

    @property
    def is_anothers(self) -> bool:
        """Whether the map seems to be another photograph's: four displaced ones in ten fit as well.

        True of nearly half of others' maps, and of some thousandths of a photograph's own (benchmarks/depth_maps.md).
        """
        return self.places >= FEWEST and 10 * self.as_well >= 4 * self.displaced and self.rank < 600


def depth_fit(image: Image, depth: Depth, known: NDArray[np.bool_]) -> DepthFit:
    """Compare a photograph (h×w×3 uint8 RGB) with a depth map (H×W metres, of the same proportions), where `known`."""
    height, width = image.shape[:2]
    scale = min(1.0, LONG / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    ranks = _step_ranks(shrunk(image, size))
    if ranks is None:
        return DepthFit(0)
    rows, columns = np.nonzero(_jumps(depth, known, size))
    if len(rows) < FEWEST:
        return DepthFit(0)

    wrapped = np.pad(ranks, ((0, 0), (0, size[0])), mode="wrap").ravel()

    def total(right: int, down: int, mirrored: bool) -> int:
        across = size[0] - 1 - columns if mirrored else columns
        return int(wrapped[(rows + down) % size[1] * 2 * size[0] + across + right].sum())

    in_place = total(0, 0, False)
    others = [
        total(right, down, mirrored)
        for mirrored in (False, True)
        for down in _ROWS
        for right in range(_FIRST, size[0] - _FIRST + 1, _EVERY)
    ]
    return DepthFit(len(rows), in_place // len(rows), sum(other >= in_place for other in others), len(others))


def _step_ranks(small: Image) -> NDArray[np.int64] | None:
    """Of each pixel's largest step along its row, within a pixel of it, the rank in the picture, per mille; None for a
    picture that has next to none."""
    levels = small.astype(np.int16)
    steps = np.zeros(small.shape[:2], np.uint8)
    steps[:, 1:-1] = np.abs(levels[:, 2:] - levels[:, :-2]).max(axis=2)
    steps = np.asarray(cv2.dilate(steps, np.ones((3, 3), np.uint8)), np.uint8)
    counts = np.bincount(steps.ravel(), minlength=256)
    if int(counts[FLAT:].sum()) * 10 < steps.size:
        return None
    ranks = (np.cumsum(counts) - counts // 2) * 1000 // steps.size
    return np.asarray(ranks[steps], np.int64)


def _jumps(depth: Depth, known: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where depth jumps along a row, at `size` (width, height)."""
    small = cv2.resize(np.where(known, depth, np.float32(0)), size, interpolation=cv2.INTER_NEAREST_EXACT)
    there = cv2.resize(known.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    sure = cv2.erode((there & np.isfinite(small)).astype(np.uint8), np.ones((1, REACH + 1), np.uint8)) > 0
    half = REACH // 2
    within = sure[:, half:-half]
    left, right = (np.where(within, part, 1) for part in (small[:, :-REACH], small[:, REACH:]))
    jump = np.zeros(small.shape, np.float32)  # whole thousandths of the nearer one, at most 100 times it
    jump[:, half:-half] = np.rint(np.minimum(np.abs(left - right) / np.minimum(left, right), 100) * 1000)
    crest = np.asarray(cv2.dilate(jump, np.ones((1, 7), np.uint8)))
    sums = np.cumsum(np.pad(jump.astype(np.int64), ((0, 0), (AROUND + 1, AROUND)), mode="reflect"), axis=1)
    mean = (sums[:, 2 * AROUND + 1 :] - sums[:, : -2 * AROUND - 1]) / (2 * AROUND + 1)
    return np.asarray((jump > 1000 * JUMP) & (jump >= crest) & (jump > ALONE * mean), np.bool_)
