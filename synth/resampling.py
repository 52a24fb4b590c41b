"""Pictures and fields made larger, smaller and smoother, with the same bits on every processor.

OpenCV does so in floats, whose sums depend on the instruction set. Here fields of floats are stretched by NumPy in a
fixed order of operations; what is averaged or blurred is made of whole numbers first, whose sums are exact in any order,
or of levels, for which OpenCV counts in whole numbers itself.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import exp
from patina.synth.image import Image

Field = NDArray[np.float32]
Places = NDArray[np.intp]

BAND = 1 << 15
"""Values of a result at a time: they stay within a second-level cache."""

STEPS = 1 << 24
"""Of a unit, to which values are rounded before their means are taken: sums of 2^28 such values are exact in float64."""


def shrunk(levels: Image, size: tuple[int, int]) -> Image:
    """H×W or H×W×3 uint8 at a smaller `size` (width, height): averaged by a whole factor, then interpolated."""
    height, width = levels.shape[:2]
    whole = min(width // size[0], height // size[1])
    if whole > 1:
        levels = averaged(levels, whole)
    if levels.shape[1::-1] != size:
        levels = cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR_EXACT)  # type: ignore[assignment]
    return levels


def averaged(levels: Image, step: int) -> Image:
    """Means of step×step pixels, rounded; what does not fill a square at the right and below is left out."""
    height, width = (side // step for side in levels.shape[:2])
    part = levels[: height * step, : width * step]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def stretched(field: Field, height: int, width: int) -> Field:
    """A field h×w, or h×w×c, at height×width: straight lines between the middles of its pixels, level beyond them."""
    left, right, share = _between(field.shape[1], width)
    planes = cv2.split(field) if field.ndim == 3 else [field]  # NumPy is slow at a short last axis
    wide = []
    for plane in planes:
        first = np.take(plane, left, axis=1)
        wide.append(first + (np.take(plane, right, axis=1) - first) * share)
    rows: Field = cv2.merge(wide) if field.ndim == 3 else wide[0]  # type: ignore[assignment]
    result = _down(rows.reshape(len(field), -1), *_between(len(field), height))
    return result.reshape(height, width, *field.shape[2:])


def _between(count: int, size: int) -> tuple[Places, Places, Field]:
    """For each of `size` places along `count` values: the value before it, the one after, and the way from the first."""
    place = np.clip((np.arange(size) + 0.5) * (count / size) - 0.5, 0, count - 1)
    before = np.floor(place).astype(np.intp)
    return before, np.minimum(before + 1, count - 1), (place - before).astype(np.float32)


def _down(rows: Field, upper: Places, lower: Places, share: Field) -> Field:
    """Between rows `upper` and `lower` of a field, in bands."""
    result = np.empty((len(share), rows.shape[1]), np.float32)
    slopes = (
        np.take(rows, lower, axis=0) - np.take(rows, upper, axis=0)
        if len(share) < len(rows)
        else np.diff(rows, axis=0, append=rows[-1:])
    )
    count = max(1, BAND // rows.shape[1])
    rise = np.empty((min(count, len(share)), rows.shape[1]), np.float32)
    for top in range(0, len(share), count):
        part = slice(top, top + count)
        above, more = result[part], rise[: len(share) - top]
        np.take(rows, upper[part], axis=0, out=above, mode="clip")
        np.take(slopes, upper[part], axis=0, out=more, mode="clip")
        more *= share[part, None]
        above += more
    return result


def curved(knots: Field, height: int, width: int) -> Field:
    """A grid of knots h×w at height×width, by cubic convolution (Keys, a = -¾)."""
    wide = np.zeros((len(knots), width), np.float32)
    for place, weight in _four(knots.shape[1], width):
        wide += np.take(knots, place, axis=1) * weight
    result = np.zeros((height, width), np.float32)
    count = max(1, BAND // width)
    four = _four(len(knots), height)
    for top in range(0, height, count):
        part = slice(top, top + count)
        for place, weight in four:
            rows = np.take(wide, place[part], axis=0)
            rows *= weight[part, None]
            result[part] += rows
    return result


def _four(count: int, size: int) -> list[tuple[Places, Field]]:
    """For each of `size` places along `count` knots: the four around it, and their weights."""
    place = (np.arange(size) + 0.5) * (count / size) - 0.5
    first = np.floor(place).astype(np.intp)
    x = place - first
    a, y = -0.75, 1 - x
    outer = [a * (s - 1) * (s - 1) * s for s in (y, x)]
    inner = [((a + 2) * s - (a + 3)) * s * s + 1 for s in (x, y)]
    weights = (outer[1], inner[0], inner[1], outer[0])
    return [(np.clip(first + i - 1, 0, count - 1), w.astype(np.float32)) for i, w in enumerate(weights)]


def means(values: NDArray[np.floating], side: int, border: int = cv2.BORDER_REFLECT) -> Field:
    """Means over side×side pixels around each of H×W, or H×W×c, values, which are rounded to 1/STEPS first."""
    whole = np.rint(values.astype(np.float64) * STEPS)
    sums = cv2.boxFilter(whole, cv2.CV_64F, (side, side), normalize=False, borderType=border)
    return np.asarray(sums * (1 / (STEPS * side * side)), np.float32)


def smoothed(field: Field, sigma: float, border: int = cv2.BORDER_REFLECT) -> Field:
    """A field H×W, or H×W×3, blurred by a Gaussian of `sigma` pixels that ends at 3½ of them."""
    if field.ndim == 3:
        return cv2.merge([smoothed(plane, sigma, border) for plane in cv2.split(field)])  # type: ignore[arg-type, return-value]
    reach = max(1, math.ceil(3.5 * sigma - 0.25))
    x = np.arange(reach, -1, -1) / sigma
    weights = exp(-x * x / 2)
    weights /= 2 * weights[:-1].sum() + weights[-1]
    shares = weights.astype(np.float32)
    framed = cv2.copyMakeBorder(field, reach, reach, reach, reach, border)
    height, width = field.shape
    stride = width + 2 * reach
    values = np.asarray(framed, np.float32).reshape(-1)  # rows after one another: NumPy is slow at parts of rows
    result = np.empty((height, width), np.float32)
    rows = max(1, BAND // stride)
    down, across = np.empty((2, rows * stride), np.float32)
    for top in range(0, height, rows):
        size = min(rows, height - top) * stride
        starts = range(top * stride, (top + 2 * reach + 1) * stride, stride)
        _weighted([values[start : start + size] for start in starts], shares, down[:size])
        inner = size - 2 * reach
        _weighted([down[i : i + inner] for i in range(2 * reach + 1)], shares, across[:inner])
        result[top : top + rows] = across[:size].reshape(-1, stride)[:, :width]
    return result


def _weighted(parts: list[Field], shares: Field, out: Field) -> None:
    """The sum of an odd number of fields by weights that are alike from either end, the middle's last."""
    np.multiply(parts[len(shares) - 1], shares[-1], out=out)
    pair = np.empty_like(out)
    for i, share in enumerate(shares[:-1]):
        np.add(parts[i], parts[-1 - i], out=pair)
        pair *= share
        out += pair
