"""What the tests of this folder look at, and the one figure they share."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import skimage.data

from patina.synth.image import Image


@cache
def photo() -> Image:
    """A photograph that scikit-image ships, 512×512×3. Read-only, so that a test cannot change it for the next."""
    image: Image = np.ascontiguousarray(skimage.data.astronaut())
    image.setflags(write=False)
    return image


def flat(height: int, width: int, level: int) -> Image:
    image = np.full((height, width, 3), level, np.uint8)
    image.setflags(write=False)
    return image


def cut(height: int, width: int) -> Image:
    """The photograph's top left corner, repeated where the photograph ends. Read-only."""
    repeats = (-(-height // 512), -(-width // 512), 1)
    image: Image = np.ascontiguousarray(np.tile(photo(), repeats)[:height, :width])
    image.setflags(write=False)
    return image


def psnr(one: Image, other: Image) -> float:
    """In dB, over all pixels and channels; infinite for equal images."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf
