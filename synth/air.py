"""Air with something in it: the way of light through it, banks of it, and where it is bright. For haze and for dust."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.degradation import Params
from patina.synth.depth import FOCAL, Depth
from patina.synth.elementary import (
    DECAY_STEPS,
    ROUGH_STEPS,
    decay_table,
    exp,
    fast_log,
    rough_decay,
    rough_exp,
    rough_share,
    rough_table,
    share_table,
)
from patina.synth.image import (
    FloatImage,
    Image,
    level_light,
    level_table,
    planes_of,
    to_encoded_levels,
    to_float,
    to_linear,
)
from patina.synth.resampling import Rows, curved, means, stretched_rows, strided_rows
from patina.synth.rng import Rng

CONTRAST = 3.912
"""-ln 0.02: at the visibility V = CONTRAST/β, a black thing's contrast to the air behind is 2 % (Koschmieder)."""

WAVELENGTHS = (610.0, 550.0, 465.0)
"""Nanometres, of red, green and blue."""


@dataclass(frozen=True)
class Airlight:
    """How bright the air before a picture is: `below`, H×1 float32, and `beside`, W, add up to it. `is_even`: all
    values of `below` are the same, and those of `beside` are 0."""

    below: NDArray[np.float32]
    beside: NDArray[np.float32]
    is_even: bool

    def rows(self, first: int, end: int) -> NDArray[np.float32] | np.float32:
        """Of any rows: h×W float32, or a number where it is even."""
        return np.float32(self.below[0, 0]) if self.is_even else self.below[first:end] + self.beside


def airlight_of(height: int, width: int, params: Params, level: float) -> Airlight:
    """Air whose mean brightness is `level`. Its gradient is of the photograph: tiles go on in each other."""
    right, down = params.get("gradient", (0.0, 0.0))
    if right == 0 and down == 0:
        return Airlight(np.full((height, 1), level, np.float32), np.zeros(width, np.float32), True)
    left, top, wide, high = params["crop"]
    across = (left + wide * (np.arange(width) + 0.5) / width - 0.5) * right
    along = (top + high * (np.arange(height) + 0.5) / height - 0.5) * down + 1
    return Airlight((along * level).astype(np.float32)[:, None], (across * level).astype(np.float32), False)


class Lights:
    """What red, green and blue of sRGB floats in [0, 1], or of levels, are: linear light times a share of each, or the
    encoded values themselves.

    tables  of the 256 levels, 3×256 float32.
    """

    def __init__(self, shares: Sequence[float] = (1.0, 1.0, 1.0), is_linear: bool = True) -> None:
        self._shares, self._is_linear = [np.float32(share) for share in shares], is_linear
        values = level_light() if is_linear else to_float(np.arange(256, dtype=np.uint8)[None])
        self.tables = np.concatenate([values * share for share in self._shares])

    def of(self, part: FloatImage | Image) -> list[FloatImage]:
        """Red, green and blue, each H×W, new arrays."""
        planes = planes_of(part)
        if part.dtype == np.uint8:
            return [np.asarray(cv2.LUT(p, table), np.float32) for p, table in zip(planes, self.tables, strict=True)]
        planes = [to_linear(plane) for plane in planes] if self._is_linear else list(planes)
        for plane, share in zip(planes, self._shares, strict=True):
            np.multiply(plane, share, out=plane)
        return planes


def seen_through(light: FloatImage, share: FloatImage, air: NDArray[np.float32] | np.float32) -> FloatImage:
    """Koschmieder's law, light·share + air·(1 − share), each H×W float32 but for an air that is even, in place."""
    compiled = functions()
    if compiled and light.flags.c_contiguous and light.dtype == np.float32:
        share, is_even = np.ascontiguousarray(share, np.float32), np.ndim(air) == 0
        whole = share if is_even else np.ascontiguousarray(air, np.float32)
        airs, even = (None, float(air)) if is_even else (pointer(whole), 0.0)
        compiled.patina_seen_through(pointer(light), pointer(share), light.size, airs, even)
        return light
    light -= air
    light *= share
    light += air
    return light


def through_air(
    part: FloatImage | Image,
    lights: Lights,
    thickness: NDArray[np.float32],
    factors: Sequence[float],
    airs: Sequence[Airlight],
    top: int,
    encoded: bool = False,
) -> tuple[Sequence[FloatImage] | Image, NDArray[np.uint16]]:
    """Light of a picture's rows from `top` on, H×W×3 sRGB floats in [0, 1] or levels, seen through air: red, green and
    blue, each H×W; or, `encoded`, the levels H×W×3 of linear light. Of each colour e^(factor·thickness) is let through,
    thickness H×W. And green's share as a truth map, with 65535 = 1.
    """
    compiled = functions()
    if compiled and part.dtype == np.uint8:
        levels, thickness = np.ascontiguousarray(part), np.ascontiguousarray(thickness, np.float32)
        height, width = levels.shape[:2]
        counts = np.array([-ROUGH_STEPS * factor for factor in factors], np.float32)
        beside = np.concatenate([air.beside for air in airs])
        below = np.concatenate([air.below[top : top + height, 0] for air in airs])
        stored = np.empty((height, width), np.uint16)
        pixels: Any = np.empty(part.shape, np.uint8) if encoded else np.empty((3, height, width), np.float32)
        given = (lights.tables, thickness, counts, rough_table(), beside, below, share_table(), stored)
        out = (None, pointer(level_table()), pointer(pixels)) if encoded else (pointer(pixels), None, None)
        compiled.patina_through_air(pointer(levels), height, width, *map(pointer, given), *out)
        return pixels if encoded else list(pixels), stored
    share, stored = rough_share(thickness, factors[1])
    shares = {factors[1]: share}
    channels = lights.of(part)
    for channel, factor, air in zip(channels, factors, airs, strict=True):
        if factor not in shares:
            shares[factor] = rough_exp(thickness, factor)
        seen_through(channel, shares[factor], air.rows(top, top + len(part)))
    return to_encoded_levels(channels) if encoded else channels, stored


def way_through(height: int, width: int, params: Params) -> Callable[[Depth, int, int], NDArray[np.float32]]:
    """Metres of ground-level air that lie before each pixel of any rows, from their depth, which stays as it is.

    Where density falls as exp(−z/layer), a ray that rises by s metres a metre meets d·(1 − exp(−x))/x of it,
    x = d·s/layer. Rays below the horizon stay within metres of the ground and meet the full density.
    """
    lines = params["crop"][1] + params["crop"][3] * (np.arange(height, dtype=np.float32) + 0.5) / height
    up = (params["horizon"] - lines[lines < params["horizon"]]) / FOCAL
    rise = (up / np.sqrt(1 + up * up) / params["layer"]).astype(np.float32)[:, None]
    banks = None
    if params["patches"]:
        banks = stretched_rows(_banks(height, width, Rng(params["seed"]), params["patches"]), height, width, 8)

    def rows(depth: Depth, top: int, bottom: int) -> NDArray[np.float32]:
        if compiled := functions():
            depth, high = np.ascontiguousarray(depth, np.float32), rise[top:bottom]
            found = np.empty_like(depth)
            thicker = banks(top, bottom) if banks else None
            thinning = pointer(high) if high.size else None, len(high), DECAY_STEPS, pointer(decay_table())
            more = None if thicker is None else pointer(thicker)
            compiled.patina_way(pointer(depth), *depth.shape, *thinning, more, pointer(found))
            return found
        way = depth.copy()
        high = rise[top:bottom]
        if high.size:  # a tile, or a strip, may lie wholly below the horizon
            above = way[: len(high)]
            above *= rough_decay(above * high)
        if banks:
            way *= banks(top, bottom)
        return way

    return rows


def relative_depth(depth: Rows, height: int, width: int, relief: float) -> Rows:
    """Relative depth, any rows: 2/(1 + relief) for the nearest twentieth, `relief` times that for the farthest, between
    them by the logarithm of metres. Without fine edges, as the depth is that a network finds in one picture."""
    step = max(1, min(height, width) // 96)
    coarse = fast_log(strided_rows(depth, height, step)[:, step // 2 :: step])
    ordered = np.sort(coarse, axis=None)
    first, last = (float(ordered[int(share * (ordered.size - 1))]) for share in (0.05, 0.95))
    coarse -= np.float32(first)
    coarse *= np.float32(1 / max(last - first, 2.0))  # a close-up has less of it
    place = means(np.clip(coarse, 0, 1), 5)
    near = 2 / (1 + relief)
    place *= np.float32(near * (relief - 1))
    place += np.float32(near)
    return stretched_rows(place, height, width)


def _banks(height: int, width: int, rng: Rng, patches: float) -> NDArray[np.float32]:
    """Factors of density, an eighth of the picture's size: e^(patches·noise), smooth noise of mean 0 and variance about
    1, twice as wide as it is high, in two sizes."""
    small = max(2, height // 8), max(2, width // 8)
    total = np.zeros(small, np.float32)
    for count, amount in ((3, 1.1), (7, 0.6)):
        knots = (rng.uniforms((count + 3) * (count // 2 + 3)) - 0.5) * (math.sqrt(12) * amount)
        total += curved(knots.astype(np.float32).reshape(count + 3, count // 2 + 3), *small)
    return exp(total * np.float32(patches)).astype(np.float32)
