"""`banded`: few levels of each colour, so that smooth parts break into bands or, dithered, turn to grain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import (
    Degradation,
    Degraded,
    Knob,
    Params,
    Place,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.image import Image
from patina.synth.resampling import cuts
from patina.synth.rng import Rng
from patina.synth.scales import Scale
from patina.synth.strips import tell
from patina.synth.wording import Known, Said, Wording, on_scale

DITHERS = ("none", "ordered", "random")

ROUNDINGS = ("nearest", "down")

PARTS = 256
"""Of a step between two levels: how finely dithering tells where between them a value lies."""

SIDE = 8
"""Of the ordered dither's matrix, pixels."""

BANDING = Scale(
    (
        (257, "very faint banding"),
        (64, "faint banding"),
        (32, "light banding"),
        (16, "strong banding"),
        (8, "very strong banding"),
        (4, "extreme banding"),
    ),
    falling=True,
)
"""Levels of each colour: 64 and 32 are those of 18-bit and of 15-bit displays, 16 the four bits from which the work on
bit depth starts. The names are ours."""


def _said(known: Known) -> Said:
    levels = known.number("levels")
    if not levels:
        return Said("banding", "banding")
    dither = known.params.get("dither")
    dithered = ", dithered" if dither in DITHERS and dither != "none" else ""
    return on_scale(BANDING, levels, f"{levels:g} levels of each colour{dithered}", "banding")


@dataclass(frozen=True)
class Banded(Degradation):
    """Each value becomes one of `levels`, equally far apart from 0 to 255, as in a file or on a display of few bits.

    levels    of each colour, 2..128, whole; 2^n of n bits. A range is drawn so that each bit is as likely.
    dither    "none": bands with edges. "ordered": by Bayer's matrix of 8×8 pixels, a regular pattern. "random": by
              white noise, without any pattern, of each value its own. Or a list to choose from.
    rounding  "nearest", or "down" to the level below, as where the low bits are cut off; for "none" alone, the picture
              gets darker by half a step. Levels then are spread from 0 to 255 again.

    There is no truth map: what is lost is spread all over. Error diffusion (Floyd and Steinberg) is left out, since it
    walks from pixel to pixel. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "banded"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "codec"
    knob: ClassVar[Knob | None] = Knob("levels", 96, 2, whole=True)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"dither": "none"},
        {"dither": "ordered"},
        {"dither": "random"},
    )
    wording: ClassVar[Wording | None] = Wording(
        _said, ("remove the {}", "restore the smooth gradients", "undo the {}", "give the picture all its levels again")
    )

    levels: Values = field(default_factory=lambda: {"min": 4, "max": 32})
    dither: str | Sequence[str] = ("none", "ordered", "random")
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        check_values("levels", self.levels, 2, 128, whole=True)
        if not self._dithers or any(one not in DITHERS for one in self._dithers):
            raise SettingError(f"dither: expected one or a list of {', '.join(DITHERS)}, found {self.dither!r}")
        if self.rounding not in ROUNDINGS:
            raise SettingError(f"rounding: expected one of {', '.join(ROUNDINGS)}, found {self.rounding!r}")

    @property
    def _dithers(self) -> list[Any]:
        listed = isinstance(self.dither, Sequence) and not isinstance(self.dither, str)
        return list(self.dither) if listed else [self.dither]

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with `dither` always a list."""
        return super().settings() | {"dither": self._dithers}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`levels`, a whole number, `dither` and `rounding` as above, and a `seed` for the noise."""
        if isinstance(self.levels, Mapping):
            levels = int(rng.log_uniform(self.levels["min"], self.levels["max"] + 1))
        else:
            levels = int(draw_value(rng, self.levels, whole=True))
        return {"levels": levels, "dither": rng.choice(self._dithers), "rounding": self.rounding, "seed": rng.seed()}

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out."""
        height, width = image.shape[:2]
        lq = np.empty(image.shape, np.uint8)
        for top, bottom in cuts(height):
            part = image[top:bottom].reshape(bottom - top, -1)
            if params["dither"] == "none":
                found = cv2.LUT(part, _nearest(params["levels"], params["rounding"]))
            else:
                steps: Any = cv2.LUT(part, _steps(params["levels"]))
                if params["dither"] == "ordered":
                    steps += _ordered(top % SIDE, bottom - top, width)
                else:
                    steps += _noise(params["seed"], top, bottom - top, 3 * width)
                found = cv2.LUT(steps, _levels(params["levels"]))
            lq[top:bottom] = np.asarray(found).reshape(-1, width, 3)
            tell(bottom / height)
        return Degraded(lq)


def _level(index: NDArray[np.int64], levels: int) -> NDArray[np.int64]:
    """Of `levels` from 0 to 255 the one of that index, rounded; halves up."""
    return (2 * 255 * index + (levels - 1)) // (2 * (levels - 1))


def _nearest(levels: int, rounding: str) -> NDArray[np.uint8]:
    """For each of 256 levels the one that it becomes, 1×256."""
    value = np.arange(256, dtype=np.int64)
    whole = value * levels // 256 if rounding == "down" else (2 * value * (levels - 1) + 255) // 510
    return _level(whole, levels).astype(np.uint8)[None]


def _steps(levels: int) -> NDArray[np.uint16]:
    """For each of 256 levels how many steps it lies above 0, in 1/PARTS, 1×256."""
    value = np.arange(256, dtype=np.int64)
    return ((2 * value * (levels - 1) * PARTS + 255) // 510).astype(np.uint16)[None]


@cache
def _levels(levels: int) -> NDArray[np.uint8]:
    """For each number of steps in 1/PARTS, up to less than one more than there are, the level below, 1×65536."""
    whole = np.minimum(np.arange(1 << 16, dtype=np.int64) // PARTS, levels - 1)
    table = _level(whole, levels).astype(np.uint8)[None]
    table.setflags(write=False)
    return table


@cache
def _matrix() -> NDArray[np.uint16]:
    """Bayer's matrix (1973) of SIDE×SIDE thresholds, 2, 6 … of PARTS, so that their mean is a half."""
    found = np.zeros((1, 1), np.int64)
    while len(found) < SIDE:
        found = np.block([[4 * found, 4 * found + 2], [4 * found + 3, 4 * found + 1]])
    parts = PARTS // (SIDE * SIDE)
    return (found * parts + parts // 2).astype(np.uint16)


def _ordered(first: int, height: int, width: int) -> NDArray[np.uint16]:
    """Thresholds of pixels, three of a kind, from row `first` of the matrix on; height×3·width."""
    rows = np.tile(_matrix(), (height // SIDE + 2, 1))[first : first + height]
    return np.tile(np.repeat(rows, 3, axis=1), (1, -(-width // SIDE)))[:, : 3 * width]


def _noise(seed: str, top: int, height: int, count: int) -> NDArray[np.uint16]:
    """Thresholds by chance, height×count; each row of the picture begins with a word of its own."""
    words = -(-count // 8)
    rng = Rng(seed)
    rng.skip(top * words)
    return (
        rng.raw(height * words)
        .astype("<u8", copy=False)
        .view(np.uint8)
        .reshape(height, -1)[:, :count]
        .astype(np.uint16)
    )
