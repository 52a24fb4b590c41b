"""The image types, and the only conversions between 8-bit levels, floats and linear light."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.elementary import power

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
    if image.dtype == np.uint8 and (compiled := functions()):
        image, result = np.ascontiguousarray(image), np.empty(image.shape, np.float32)
        compiled.patina_to_float(pointer(image), image.size, pointer(result))
        return result
    return np.multiply(image, np.float32(1 / 255), dtype=np.float32)


def to_uint8(image: NDArray[np.floating] | Sequence[FloatImage]) -> Image:
    """Floats in [0, 1] to 8-bit levels: clipped, then **rounded** to the nearest level, same shape, a new array. Three
    planes H×W become H×W×3.

    Rounding is the point: a truncating cast darkens every pixel by half a level on average, which is
    the fingerprint of most published noisy sets.
    """
    if not isinstance(image, np.ndarray):
        return _merged([to_uint8(plane) for plane in image])
    if image.dtype != np.float32:
        levels: Image = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
        return levels
    result = np.empty(image.shape, np.uint8)
    values, found = np.ascontiguousarray(image).reshape(1, -1), result.reshape(1, -1)
    for start in range(0, image.size, CHUNK):
        part = values[:, start : start + CHUNK]
        places = _buffers()[0][:, : part.size]
        np.clip(part, 0, 1, out=places)
        cv2.convertScaleAbs(places, dst=found[:, start : start + CHUNK], alpha=255)  # rounds; one product each
    return result


def to_uint16(values: NDArray[np.float32], scale: float = 65535) -> NDArray[np.uint16]:
    """Floats times `scale`, **rounded** to whole numbers and held to 0..65535, same shape, a new array: a truth map of
    floats in [0, 1]."""
    compiled = functions()
    if compiled and values.dtype == np.float32:
        values, found = np.ascontiguousarray(values), np.empty(values.shape, np.uint16)
        compiled.patina_to_words(pointer(values), values.size, scale, pointer(found))
        return found
    levels = values * np.float32(scale)
    np.rint(levels, out=levels)
    return np.clip(levels, 0, 65535, out=levels).astype(np.uint16)


def as_levels(image: FloatImage | Image) -> Image:
    """8-bit levels of an image that may be of floats, rounded; levels stay as they are, and are not copied."""
    return image if image.dtype == np.uint8 else to_uint8(image)  # type: ignore[arg-type, return-value]


def as_floats(image: FloatImage | Image) -> FloatImage:
    """Floats in [0, 1] of an image that may be of 8-bit levels; floats stay as they are, and are not copied."""
    return to_float(image) if image.dtype == np.uint8 else image  # type: ignore[arg-type, return-value]


def to_linear(image: FloatImage | Image) -> FloatImage:
    """sRGB-encoded floats in [0, 1], or 8-bit levels, to linear light in [0, 1] (IEC 61966-2-1), a new array.

    By a table of 65536 entries: within 1e-5 of the formula's value and some ten times as fast. Clips to [0, 1]. Levels
    give the same bits as their floats do, by a table of 256, in a third of the time.
    """
    return look_up(image, _linear_table())


@cache
def level_light() -> FloatImage:
    """The linear light of each of the 256 levels, 1×256 float32, as a table for `cv2.LUT`. Read-only."""
    table = to_linear(np.arange(256, dtype=np.uint8)[None])
    table.setflags(write=False)
    return table


def to_encoded(image: FloatImage) -> FloatImage:
    """Linear light in [0, 1] to sRGB-encoded floats in [0, 1], same shape, a new array; the inverse of `to_linear`.

    Clips to [0, 1]: a highlight that is brighter than white burns out here, and nowhere before.
    """
    return look_up(image, _encoded_table())


def to_encoded_levels(image: FloatImage | Sequence[FloatImage]) -> Image:
    """Linear light to 8-bit sRGB levels: what `to_uint8` makes of `to_encoded`, to the bit, in half the time."""
    return look_up_levels(image, level_table())


def look_up_levels(image: FloatImage | Sequence[FloatImage], table: NDArray[np.uint8]) -> Image:
    """`table`, 1×65536 bytes for 0..1, at every value of `image`, as a new array; three planes H×W become H×W×3. Values
    beyond: the ends'."""
    compiled = functions()
    if not isinstance(image, np.ndarray):
        if not compiled:
            return _merged([look_up_levels(plane, table) for plane in image])
        planes = [np.ascontiguousarray(plane, np.float32) for plane in image]
        merged = np.empty((*planes[0].shape, 3), np.uint8)
        compiled.patina_merge_bytes(*map(pointer, planes), planes[0].size, pointer(table), pointer(merged))
        return merged
    result = np.empty(image.shape, np.uint8)
    values, found = np.ascontiguousarray(image).reshape(1, -1), result.reshape(1, -1)
    if compiled and image.dtype == np.float32:
        compiled.patina_look_up_bytes(pointer(values), values.size, pointer(table), pointer(found))
        return result
    for start in range(0, image.size, CHUNK):
        cv2.LUT(_places(values[:, start : start + CHUNK]), table, found[:, start : start + CHUNK])
    return result


def words_as_levels(words: NDArray[np.uint16] | Sequence[NDArray[np.uint16]], table: NDArray[np.uint8]) -> Image:
    """`table`, 1×65536 bytes, at every one of `words`, as a new array; three planes H×W become H×W×3."""
    if isinstance(words, np.ndarray):
        return np.asarray(cv2.LUT(words, table), np.uint8)
    if not (compiled := functions()):
        return _merged([words_as_levels(plane, table) for plane in words])
    planes = [np.ascontiguousarray(plane, np.uint16) for plane in words]
    merged = np.empty((*planes[0].shape, 3), np.uint8)
    compiled.patina_merge_words(*map(pointer, planes), planes[0].size, pointer(table), pointer(merged))
    return merged


def _merged(planes: Sequence[Image]) -> Image:
    return np.asarray(cv2.merge(planes), np.uint8)


def planes_of(image: FloatImage | Image) -> Sequence[Any]:
    """Red, green and blue of H×W×3, each H×W, new arrays: of levels sooner than of the floats that they become."""
    return cv2.split(image)


def look_up(image: FloatImage | Image, table: NDArray[np.float32]) -> FloatImage:
    """`table`, 1×65536 for 0..1, at every value of `image`, as a new array. Values beyond are taken to the ends.

    Of 8-bit levels every 257th entry is looked up: level n stands at n/255 = 257·n/65535.
    """
    result = np.empty(image.shape, np.float32)
    values: Any = np.ascontiguousarray(image).reshape(1, -1)
    found = result.reshape(1, -1)
    if image.dtype == np.uint8:
        cv2.LUT(values, np.ascontiguousarray(table[:, ::257]), found)
        return result
    compiled = functions()
    if compiled and image.dtype == np.float32:
        compiled.patina_look_up(pointer(values), values.size, pointer(table), pointer(found))
        return result
    for start in range(0, image.size, CHUNK):
        cv2.LUT(_places(values[:, start : start + CHUNK]), table, found[:, start : start + CHUNK])
    return result


def _places(part: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Where in a table of 65536 the values of 1×N floats stand, N ≤ CHUNK. In this thread's buffer."""
    floats, integers = _buffers()
    places, indices = floats[:, : part.size], integers[:, : part.size]
    np.multiply(part, np.float32(65535), out=places)
    places += np.float32(0.5)
    np.clip(places, 0, 65535, out=places)
    indices[:] = places
    return indices


def _buffers() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """This thread's 1×CHUNK of each type. Fresh memory for every image costs more than looking up."""
    if not hasattr(_scratch, "buffers"):
        _scratch.buffers = np.empty((1, CHUNK), np.float32), np.empty((1, CHUNK), np.uint16)
    buffers: tuple[NDArray[np.float32], NDArray[np.uint16]] = _scratch.buffers
    return buffers


def linear_of(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's formula (IEC 61966-2-1), for tables: encoded values in [0, 1] to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, power((encoded + 0.055) / 1.055, 2.4))


def encoded_of(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `linear_of`."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * power(linear, 1 / 2.4) - 0.055)


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


@cache
def level_table() -> NDArray[np.uint8]:
    """The 8-bit sRGB levels of linear light from 0 to 1, 1×65536, for `look_up_levels`. Read-only."""
    table = to_uint8(_encoded_table())
    table.setflags(write=False)
    return table


def check_image(image: Image) -> None:
    """Raise ValueError unless `image` is what `Image` promises."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an H×W×3 uint8 RGB image, found {image.dtype} of shape {image.shape}")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        height, width = image.shape[:2]
        raise ValueError(f"expected at least {SMALLEST_SIDE} px a side, found {width}×{height}")
