"""The Image type, and the only two conversions between 8-bit levels and floats."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""H×W×3, uint8, RGB, levels 0..255, sRGB-encoded, C-contiguous. H and W are at least 16."""

Map: TypeAlias = NDArray[np.uint8]
"""H×W, uint8: a truth map, such as the mask of an inpainting hole."""

SMALLEST_SIDE = 16
"""Pixels. Every degradation works from here up; smaller photographs are set aside."""


def to_float(image: Image) -> NDArray[np.float32]:
    """8-bit levels to float32 in [0, 1], same shape, a new array."""
    return np.multiply(image, np.float32(1 / 255), dtype=np.float32)


def to_uint8(image: NDArray[np.floating]) -> Image:
    """Floats in [0, 1] to 8-bit levels: clipped, then **rounded** to the nearest level, same shape, a new array.

    Rounding is the point: a truncating cast darkens every pixel by half a level on average, which is
    the fingerprint of most published noisy sets.
    """
    levels: Image = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels


def check_image(image: Image) -> None:
    """Raise ValueError unless `image` is what `Image` promises."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an H×W×3 uint8 RGB image, found {image.dtype} of shape {image.shape}")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        height, width = image.shape[:2]
        raise ValueError(f"expected at least {SMALLEST_SIDE} px a side, found {width}×{height}")
