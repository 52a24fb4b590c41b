"""The image types, and the only conversions between 8-bit levels, floats and linear light."""

from __future__ import annotations

import threading
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""H×W×3, uint8, RGB, levels 0..255, sRGB-encoded, C-contiguous. H and W are at least 16."""

FloatImage: TypeAlias = NDArray[np.float32]
"""H×W×3, float32, RGB, C-contiguous. In [0, 1] and sRGB-encoded, unless a function says that it is linear light."""

Map: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""H×W, uint8 or uint16: a truth map, such as the mask of an inpainting hole, or a transmission where 65535 is 1."""

CHUNK = 1 << 16
"""Values looked up at a time: they and a table stay within a second-level cache."""

_scratch = threading.local()  # shards are built by threads, and each needs buffers of its own

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


def to_linear(image: FloatImage) -> FloatImage:
    """sRGB-encoded floats in [0, 1] to linear light in [0, 1] (IEC 61966-2-1), same shape, a new array.

    By a table of 65536 entries: within 1e-5 of the formula's value and some ten times as fast. Clips to [0, 1].
    """
    return look_up(image, _linear_table())


def to_encoded(image: FloatImage) -> FloatImage:
    """Linear light in [0, 1] to sRGB-encoded floats in [0, 1], same shape, a new array; the inverse of `to_linear`.

    Clips to [0, 1]: a highlight that is brighter than white burns out here, and nowhere before.
    """
    return look_up(image, _encoded_table())


def look_up(image: FloatImage, table: NDArray[np.float32]) -> FloatImage:
    """`table`, 1×65536 for 0..1, at every value of `image`, as a new array. Values beyond are taken to the ends."""
    result = np.empty_like(image, order="C")
    values, found = image.reshape(1, -1), result.reshape(1, -1)
    for start in range(0, image.size, CHUNK):
        part = values[:, start : start + CHUNK]
        places, indices = (buffer[:, : part.size] for buffer in _buffers())
        np.multiply(part, np.float32(65535), out=places)
        places += np.float32(0.5)
        np.clip(places, 0, 65535, out=places)
        indices[:] = places
        cv2.LUT(indices, table, found[:, start : start + CHUNK])
    return result


def _buffers() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """This thread's 1×CHUNK of each type. Fresh memory for every image costs more than looking up."""
    if not hasattr(_scratch, "buffers"):
        _scratch.buffers = np.empty((1, CHUNK), np.float32), np.empty((1, CHUNK), np.uint16)
    buffers: tuple[NDArray[np.float32], NDArray[np.uint16]] = _scratch.buffers
    return buffers


def linear_of(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's formula (IEC 61966-2-1), for tables: encoded values in [0, 1] to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encoded_of(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `linear_of`."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@cache
def _linear_table() -> NDArray[np.float32]:
    table = linear_of(np.arange(65536) / 65535).astype(np.float32)[None]
    table.setflags(write=False)
    return table


@cache
def _encoded_table() -> NDArray[np.float32]:
    table = encoded_of(np.arange(65536) / 65535).astype(np.float32)[None]
    table.setflags(write=False)
    return table


def check_image(image: Image) -> None:
    """Raise ValueError unless `image` is what `Image` promises."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an H×W×3 uint8 RGB image, found {image.dtype} of shape {image.shape}")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        height, width = image.shape[:2]
        raise ValueError(f"expected at least {SMALLEST_SIDE} px a side, found {width}×{height}")
