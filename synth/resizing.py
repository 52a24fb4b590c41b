"""A picture at another size by the methods that programs offer, with the same bits on every processor.

OpenCV's and torch's own results depend on the instruction set. Here each value is a sum of products that NumPy rounds
one by one, in the order of the taps. Pictures go through in bands of rows, so that little of them is in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import sine
from patina.synth.image import FloatImage, Image

METHODS = ("nearest", "area", "bilinear", "bicubic", "lanczos")
"""nearest   the pixel whose middle is nearest.
area      the mean over the part of the picture that a pixel covers.
bilinear  a triangle (order 1). bicubic: Keys' cubic convolution, with a = -½ where it smooths, as in MATLAB and Pillow,
          and with a = -¾ where it does not, as in OpenCV and torch. lanczos: a windowed sinc of three lobes.
"""

Taps = tuple[NDArray[np.intp], NDArray[np.float32]]

BAND = 1 << 16
"""Values of a result at a time: they, and what they are made of, stay within a second-level cache."""


def _triangle(x: NDArray[np.float64], smooth: bool) -> NDArray[np.float64]:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _cubic(x: NDArray[np.float64], smooth: bool) -> NDArray[np.float64]:
    a, x = -0.5 if smooth else -0.75, np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def _sinc_window(x: NDArray[np.float64], smooth: bool) -> NDArray[np.float64]:
    angle = np.pi * x
    safe = np.where(x == 0, 1, angle)
    value = 3 * sine(safe) * sine(safe / 3) / (safe * safe)
    return np.where(x == 0, 1, np.where(np.abs(x) < 3, value, 0))


KERNELS: dict[str, tuple[float, Callable[[NDArray[np.float64], bool], NDArray[np.float64]]]] = {
    "bilinear": (1, _triangle),
    "bicubic": (2, _cubic),
    "lanczos": (3, _sinc_window),
}
"""Half of each kernel's width in pixels, and the kernel of distances and of whether it smooths."""


def resized(image: Image | FloatImage, size: tuple[int, int], method: str, antialias: bool = True) -> FloatImage:
    """`image`, H×W×3 uint8 or float32, at `size` (height, width): h×w×3 float32 in the same unit, a new array.

    antialias  whether a kernel grows with the step where the picture becomes smaller, as Pillow's and MATLAB's do;
               those of OpenCV and torch do not by default, and fine structure turns into coarse. Nearest and area have
               no choice.

    Pixels beyond the border do not count, and the other weights are scaled up. Cubics and Lanczos' kernel overshoot, so
    values may leave the range. Raises ValueError for a method that is none of METHODS.
    """
    rows = np.empty((*size, 3), np.float32)
    for top, part in bands(image, size, method, antialias):
        rows[top : top + len(part)] = part
    return rows


def bands(image: Image | FloatImage, size: tuple[int, int], method: str, antialias: bool = True) -> _Bands:
    """The same, some rows of it at a time: pairs of the first row's number and n×w×3 float32, which the next one may
    overwrite."""
    return _Bands(image, size, method, antialias)


class _Bands:
    """Rows are mixed first, then columns: those of a band that is turned over."""

    def __init__(self, image: Image | FloatImage, size: tuple[int, int], method: str, antialias: bool) -> None:
        height, width = image.shape[:2]
        self._image, self._size = image, size
        self._rows = taps(height, size[0], method, antialias)
        self._columns = taps(width, size[1], method, antialias)
        self._next = 0

    def __iter__(self) -> _Bands:
        return self

    def __next__(self) -> tuple[int, FloatImage]:
        height, width = self._size
        top, old_width = self._next, self._image.shape[1]
        if top >= height:
            raise StopIteration
        count = max(1, BAND // (3 * max(width, old_width)))
        self._next = min(height, top + count)
        rows = self._image.reshape(-1, old_width * 3)
        part, (places, weights) = np.s_[:, top : self._next], self._rows
        mixed = _mixed(rows, places[part], weights[part])
        if self._columns[0].shape[0] == 1 and width == old_width:
            return top, mixed.reshape(-1, width, 3)
        turned = cv2.transpose(mixed.reshape(-1, old_width, 3))
        mixed = _mixed(np.asarray(turned, np.float32).reshape(old_width, -1), *self._columns)
        return top, np.asarray(cv2.transpose(mixed.reshape(width, -1, 3)), np.float32)


def _mixed(rows: NDArray[np.uint8] | NDArray[np.float32], places: NDArray[np.intp], weights: FloatImage) -> FloatImage:
    """Sums of rows: N×C and T×n of rows' numbers and of weights give n×C float32."""
    first = int(places.min())
    part = np.asarray(rows[first : int(places.max()) + 1], np.float32)
    total = np.empty((places.shape[1], rows.shape[1]), np.float32)
    term = np.empty_like(total)
    for tap, (place, weight) in enumerate(zip(places, weights, strict=True)):
        into = term if tap else total
        np.take(part, place - first, axis=0, out=into, mode="clip")
        if len(places) > 1:
            into *= weight[:, None]
        if tap:
            total += term
    return total


@lru_cache(maxsize=32)
def taps(count: int, size: int, method: str, antialias: bool) -> Taps:
    """For each of `size` places along `count` pixels: which pixels, T×size, and their weights, which add up to 1.

    Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"expected a method of {', '.join(METHODS)}, found {method!r}")
    step = count / size
    middle = (np.arange(size) + 0.5) * step
    if method == "nearest" or count == size:
        return np.minimum(middle.astype(np.intp), count - 1)[None], np.ones((1, size), np.float32)
    if method == "area":
        first = np.floor(middle - step / 2).astype(np.intp)
        places = first + np.arange(int(step) + 2)[:, None]
        weights = np.minimum(places + 1, middle + step / 2) - np.maximum(places, middle - step / 2)
        weights = np.maximum(weights, 0)
    else:
        half, kernel = KERNELS[method]
        smooth = antialias and step > 1
        scale = step if smooth else 1.0
        first = np.floor(middle - half * scale + 0.5).astype(np.intp)
        places = first + np.arange(int(np.ceil(2 * half * scale)) + 1)[:, None]
        weights = kernel((places + 0.5 - middle) / scale, antialias)
    weights = np.where((places >= 0) & (places < count), weights, 0)
    used = weights.any(axis=1)
    places, weights = places[used], weights[used]
    total = np.zeros(size)
    for part in weights:
        total += part
    found = np.clip(places, 0, count - 1), (weights / total).astype(np.float32)
    for array in found:
        array.setflags(write=False)
    return found
