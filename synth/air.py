"""Air with something in it: the way of light through it, banks of it, and where it is bright. For haze and for dust."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import Params
from patina.synth.depth import FOCAL, Depth
from patina.synth.elementary import exp, rough_decay
from patina.synth.image import FloatImage, level_light, to_linear
from patina.synth.resampling import curved, stretched_rows
from patina.synth.rng import Rng

CONTRAST = 3.912
"""-ln 0.02: at the visibility V = CONTRAST/β, a black thing's contrast to the air behind is 2 % (Koschmieder)."""

WAVELENGTHS = (610.0, 550.0, 465.0)
"""Nanometres, of red, green and blue."""


def airlight_of(height: int, width: int, params: Params, level: float) -> Callable[[int, int], Any]:
    """Air whose mean brightness is `level`, for any rows: h×W float32, or a number where it is even. Its gradient is of
    the photograph: tiles go on in each other."""
    right, down = params.get("gradient", (0.0, 0.0))
    even = np.float32(level)
    if right == 0 and down == 0:
        return lambda first, end: even
    left, top, wide, high = params["crop"]
    across = (left + wide * (np.arange(width) + 0.5) / width - 0.5) * right
    along = (top + high * (np.arange(height) + 0.5) / height - 0.5) * down + 1
    beside, below = (across * level).astype(np.float32), (along * level).astype(np.float32)[:, None]
    return lambda first, end: below[first:end] + beside


def light_of(plane: NDArray[Any], share: float = 1.0) -> FloatImage:
    """Linear light of H×W sRGB floats in [0, 1], or of levels, times `share`: of levels by one table."""
    if plane.dtype == np.uint8:
        found: Any = cv2.LUT(plane, level_light() * np.float32(share))
        return found  # type: ignore[no-any-return]
    light = to_linear(plane)
    light *= np.float32(share)
    return light


def seen_through(light: FloatImage, share: FloatImage, air: NDArray[np.float32] | np.float32) -> FloatImage:
    """Koschmieder's law, light·share + air·(1 − share), each H×W float32 but for an air that is even, in place."""
    light -= air
    light *= share
    light += air
    return light


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
        way = depth.copy()
        high = rise[top:bottom]
        if high.size:  # a tile, or a strip, may lie wholly below the horizon
            above = way[: len(high)]
            above *= rough_decay(above * high)
        if banks:
            way *= banks(top, bottom)
        return way

    return rows


def _banks(height: int, width: int, rng: Rng, patches: float) -> NDArray[np.float32]:
    """Factors of density, an eighth of the picture's size: e^(patches·noise), smooth noise of mean 0 and variance about
    1, twice as wide as it is high, in two sizes."""
    small = max(2, height // 8), max(2, width // 8)
    total = np.zeros(small, np.float32)
    for count, amount in ((3, 1.1), (7, 0.6)):
        knots = (rng.uniforms((count + 3) * (count // 2 + 3)) - 0.5) * (math.sqrt(12) * amount)
        total += curved(knots.astype(np.float32).reshape(count + 3, count // 2 + 3), *small)
    return exp(total * np.float32(patches)).astype(np.float32)
