"""Pictures and fields made larger, smaller and smoother, with the same bits on every processor.

OpenCV does so in floats, whose sums depend on the instruction set. Here fields of floats are stretched by NumPy in a
fixed order of operations; what is averaged, enlarged or blurred is made of whole numbers first, whose sums are exact,
or of few bits, whose products are; of levels OpenCV takes the means in whole numbers itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.elementary import exp
from patina.synth.image import Image
from patina.synth.opencv import correlated

Field = NDArray[np.float32]

Rows: TypeAlias = Callable[[int, int], Field]
"""Rows top to bottom, the last not included, of an H×W or H×W×3 field that never exists as a whole. New arrays."""

STRIP = 200_000
"""Pixels of a strip: what is made of a large picture together."""

BITS = 12
"""Significant bits of values and weights whose products a float32 holds."""

WEIGHT = 1 << BITS
"""What the weights of a blur add up to."""
Places = NDArray[np.intp]

BAND = 1 << 15
"""Values of a result at a time: they stay within a second-level cache."""

MOST_AVERAGED = 128
"""Pixels a side of which OpenCV's means are made by a loop of our own, sooner: their sums are whole as floats, too."""

IN_PLACE = 128
"""Rows that are blurred in place together: they stay in a cache."""

REFLECT, REPLICATE = 2, 1
"""`cv2.BORDER_REFLECT` and `cv2.BORDER_REPLICATE`, for which a plan must not load OpenCV."""

WIDEST = 60
"""Pixels to either side up to which OpenCV filters tap by tap; beyond, it takes a transform, which is not exact."""


def cuts(height: int, count: int) -> Iterator[tuple[int, int]]:
    """First row and end of each strip of a picture, `count` rows each, from top to bottom."""
    return ((top, min(top + count, height)) for top in range(0, height, count))


def usual_rows(width: int) -> int:
    """Rows of a strip: so many that few operations are called for, and so few that a dozen fields of them stay in a
    cache."""
    return max(16, min(128, STRIP // width))


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
    compiled = functions()
    close = levels.strides[1:] == (levels[0, 0].size, 1)[: levels.ndim - 1]  # pixels that follow one another
    if compiled and levels.dtype == np.uint8 and 2 < step <= MOST_AVERAGED and close:
        result = np.empty((height, width, *levels.shape[2:]), np.uint8)
        sums, channels = np.empty(part[0].size, np.uint16), levels[0, 0].size
        size = levels.strides[0], height, width, channels, step
        compiled.patina_averaged(pointer(levels), *size, pointer(sums), pointer(result))
        return result
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def stretched(field: Field, height: int, width: int) -> Field:
    """A field h×w at height×width: straight lines between the middles of its pixels, level beyond them.

    By NumPy up to the half of a large size, and from there by OpenCV: see `enlarged`.
    """
    step = 2 if height >= 2 * len(field) and width >= 2 * field.shape[1] else 1
    left, right, share = _between(field.shape[1], width, step)
    first = np.take(field, left, axis=1)
    first += (np.take(field, right, axis=1) - first) * share
    upper, lower, share = _between(len(field), height, step)
    result = np.take(first, upper, axis=0)
    more = np.take(first, lower, axis=0)
    more -= result
    more *= share[:, None]
    result += more
    return enlarged(result, step)[:height, :width]


def enlarged(field: Field, step: int) -> Field:
    """A field h×w, or h×w×c, at `step` times its size by straight lines; `step` is a power of two.

    By OpenCV: of whole numbers of so few bits that with its weights, parts of 2·step, no product and no sum is rounded.
    """
    if step == 1:
        return field
    most = _most(field)
    if most == 0:
        return np.zeros((len(field) * step, field.shape[1] * step, *field.shape[2:]), np.float32)
    scale = _scale(math.frexp(most)[1], step)
    return _enlarged_rows(_whole(field, scale), step, scale, 0, len(field) * step, field.shape[1] * step)


def strided_rows(rows: Rows, height: int, step: int) -> Field:
    """Every `step`th of `height` rows, from the middle of the first step on."""
    if step > 16:
        return np.concatenate([rows(line, line + 1) for line in range(step // 2, height, step)])
    apart = 64 // step * step
    tops = range(step // 2, height, apart)
    return np.concatenate([rows(top, min(top + apart, height))[::step] for top in tops])


def stretched_rows(field: Field, height: int, width: int, most: int = 2) -> Rows:
    """What gives any rows of `stretched(field, height, width)` without making the whole: with `most` = 2 to the same
    bits.

    most  a power of two: by how much OpenCV enlarges at most what NumPy has made, which exists as a whole if that is
          more than 2. More takes less time, and values are rounded to 16 bits for 8, as `enlarged` tells.
    """
    step = min(most, halvings(min(height // len(field), width // field.shape[1])))
    left, right, share = _between(field.shape[1], width, step)
    wide = np.take(field, left, axis=1)
    wide += (np.take(field, right, axis=1) - wide) * share
    upper, lower, share = _between(len(field), height, step)
    column = share[:, None]

    def lines(top: int, bottom: int) -> Field:
        result = np.take(wide, upper[top:bottom], axis=0)
        more = np.take(wide, lower[top:bottom], axis=0)
        more -= result
        more *= column[top:bottom]
        result += more
        return result

    if step == 1:
        return lines
    count = len(upper)
    if most > 2:  # a field so small, or a picture, that all of it may exist
        everything = lines(0, count)
        large = _scale(math.frexp(_most(everything))[1], step)
        whole = _whole(everything, large)
        return lambda top, bottom: _enlarged_rows(whole, step, large, top, bottom, width)
    scale = _scale(_power_of_most(field, lines, upper, lower), step)

    def rows(top: int, bottom: int) -> Field:
        first, end = _source_rows(count, step, top, bottom)
        part = _whole(lines(first, end), scale)
        return _enlarged_rows(part, step, scale, top, bottom, width, first)

    return rows


def enlarged_rows(field: Field, step: int, height: int, width: int) -> Rows:
    """What gives any rows of `enlarged(field, step)[:height, :width]`, to the bit, without making the whole."""
    if step == 1:
        return lambda top, bottom: field[top:bottom, :width].copy()
    most = _most(field)
    if most == 0:
        return lambda top, bottom: np.zeros((bottom - top, width, *field.shape[2:]), np.float32)
    scale = _scale(math.frexp(most)[1], step)
    whole = _whole(field, scale)
    return lambda top, bottom: _enlarged_rows(whole, step, scale, top, bottom, width)


def _source_rows(count: int, step: int, top: int, bottom: int) -> tuple[int, int]:
    """First and end of the `count` rows of which rows top to bottom are made, `step` times as many."""
    return max(0, top // step - 1), min(count, -(-bottom // step) + 1)


def _whole(part: Field, scale: float) -> Field:
    """Values as whole numbers, multiplied by `scale`. A new array."""
    scaled = part * np.float32(scale)
    return np.asarray(np.rint(scaled, out=scaled), np.float32)


def _enlarged_rows(
    whole: Field, step: int, scale: float, top: int, bottom: int, width: int, first: int | None = None
) -> Field:
    """Rows top to bottom, `width` columns, of whole numbers enlarged by `step`, over `scale`. They are all rows of a
    field, or those of `_source_rows` from the row `first` on. Its own values, not the field's."""
    if first is None:
        first, end = _source_rows(len(whole), step, top, bottom)
        whole = whole[first:end]
    top, bottom = top - first * step, bottom - first * step
    if (compiled := functions()) and whole.ndim == 2:  # of three channels OpenCV's way is the faster one
        whole = np.ascontiguousarray(whole)
        result, scratch = np.empty((bottom - top, width), np.float32), np.empty(whole.shape[1], np.float32)
        how = step, top, bottom, width, 1 / scale, pointer(scratch)
        compiled.patina_enlarged(pointer(whole), *whole.shape, *how, pointer(result))
        return result
    size = whole.shape[1] * step, len(whole) * step
    large = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR), np.float32)
    large = large[top:bottom]
    large *= np.float32(1 / scale)
    return large[:, :width]


def _most(field: Field) -> float:
    return max(float(field.max()), -float(field.min()))


def _scale(power: int, step: int) -> float:
    """By what values below 2^power are multiplied to be whole numbers of so few bits that enlarging rounds nothing."""
    return 2.0 ** (24 - 2 * step.bit_length() - power)


def _power_of_most(field: Field, lines: Rows, upper: Places, lower: Places) -> int:
    """The binary exponent of the largest of all `lines`, which lie between the values of `field`.

    That of the field's own largest value, if rows beside it show it; else all rows are looked through.
    """
    most = _most(field)
    row = int(np.abs(field).max(axis=1).argmax())
    beside = np.flatnonzero((upper == row) | (lower == row))
    power = math.frexp(most * (1 + 1e-6))[1]
    if beside.size and math.frexp(_most(lines(int(beside[0]), int(beside[-1]) + 1)))[1] == power:
        return power
    parts = (_most(lines(top, top + 64)) for top in range(0, len(upper), 64))
    return math.frexp(max(parts))[1]


def halvings(most: float) -> int:
    """The largest power of two up to `most`, 1 at least."""
    return 1 << max(0, int(most).bit_length() - 1)


@lru_cache(maxsize=64)  # photographs of one size want the same places
def _between(count: int, size: int, step: int) -> tuple[Places, Places, Field]:
    """For every `step` of `size` places along `count` values: the value before their middle, the one after, and the way
    from the first. Read-only."""
    place = np.clip((np.arange(-(-size // step)) + 0.5) * (count * step / size) - 0.5, 0, count - 1)
    before = np.floor(place).astype(np.intp)
    found = before, np.minimum(before + 1, count - 1), (place - before).astype(np.float32)
    for part in found:
        part.setflags(write=False)
    return found


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


@lru_cache(maxsize=64)
def _four(count: int, size: int) -> list[tuple[Places, Field]]:
    """For each of `size` places along `count` knots: the four around it, and their weights. Read-only."""
    place = (np.arange(size) + 0.5) * (count / size) - 0.5
    first = np.floor(place).astype(np.intp)
    x = place - first
    a, y = -0.75, 1 - x
    outer = [a * (s - 1) * (s - 1) * s for s in (y, x)]
    inner = [((a + 2) * s - (a + 3)) * s * s + 1 for s in (x, y)]
    weights = (outer[1], inner[0], inner[1], outer[0])
    found = [(np.clip(first + i - 1, 0, count - 1), w.astype(np.float32)) for i, w in enumerate(weights)]
    for pair in found:
        for part in pair:
            part.setflags(write=False)
    return found


def means(values: Field, side: int, border: int = REFLECT) -> Field:
    """Means over side×side pixels around each of H×W, or H×W×c, values: as whole numbers whose sums stay below 2^30, so
    that they are rounded to a part in 2^30/side² of the largest."""
    most = max(float(values.max()), -float(values.min()))
    if most == 0:
        return np.zeros(values.shape, np.float32)
    scale = 2.0 ** (30 - (side * side - 1).bit_length() - math.frexp(most)[1])
    scaled = values * np.float32(scale)
    whole = np.rint(scaled, out=scaled).astype(np.int32)
    sums = cv2.boxFilter(whole, cv2.CV_32S, (side, side), normalize=False, borderType=border)
    return np.asarray(np.multiply(sums, np.float32(1 / (scale * side * side)), dtype=np.float32), np.float32)


def smoothed(field: Field, sigma: float, border: int = REFLECT) -> Field:
    """A field H×W, or H×W×3, ≥ 0, blurred by a Gaussian of `sigma` pixels, within a part in 4000 of its weights' sum.

    By two filters of whole numbers: see `patina.synth.convolution` for why they are exact.
    """
    reach = max(1, math.ceil(3.2 * sigma - 0.25))
    if reach > WIDEST:
        for _ in range(3):
            field = means(field, int(2 * sigma) // 2 * 2 + 1, border)  # a box of side a has the variance (a² - 1)/12
        return field
    if border == REFLECT and field.ndim == 2:
        return filtered_rows(np.asarray(field, np.float32), 0, len(field), _taps(sigma, reach))
    return filtered(shortened(np.array(field, np.float32)), _taps(sigma, reach), border)


def smoothed_rows(field: Field, sigma: float) -> Rows:
    """What gives any rows of `smoothed(field, sigma)`, to the bit, without making the whole. `field` is its own from
    now on: it is shortened in place."""
    reach = max(1, math.ceil(3.2 * sigma - 0.25))
    if reach > WIDEST:
        whole = smoothed(field, sigma)
        return lambda top, bottom: whole[top:bottom].copy()
    taps = _taps(sigma, reach)
    if functions() and field.ndim == 2:
        return lambda top, bottom: filtered_rows(field, top, bottom, taps)
    for top, bottom in cuts(len(field), 64):
        shortened(field[top:bottom])

    def rows(top: int, bottom: int) -> Field:
        return filtered(around(field, top, bottom, reach), taps)[reach : reach + bottom - top]

    return rows


def around(image: NDArray[Any], top: int, bottom: int, reach: int) -> NDArray[Any]:
    """Rows top - reach to bottom + reach of a picture H×W or H×W×c, mirrored at its first and last row, those repeated.

    What a filter of that reach needs for the rows top to bottom. A new array, or a view where nothing is mirrored.
    """
    height, first, end = len(image), top - reach, bottom + reach
    if first >= 0 and end <= height:
        return image[first:end]
    places = np.arange(first, end) % (2 * height)
    return np.asarray(image[np.where(places < height, places, 2 * height - 1 - places)])


@lru_cache(maxsize=64)
def _taps(sigma: float, reach: int) -> Field:
    """A Gaussian of whole numbers that add up to WEIGHT, 1×(2·reach + 1). Read-only."""
    x = np.arange(-reach, reach + 1) / sigma
    weights = exp(-x * x / 2)
    whole = np.rint(weights * (WEIGHT / weights.sum()))
    whole[reach] += WEIGHT - whole.sum()
    taps: Field = whole.astype(np.float32)[None]
    taps.setflags(write=False)
    return taps


def gaussian_taps(sigma: float) -> Field:
    """A Gaussian of whole numbers for `filtered`, as `smoothed` takes it where that is no wider than WIDEST."""
    return _taps(sigma, max(1, math.ceil(3.2 * sigma - 0.25)))


def filtered(values: Field, taps: Field, border: int = REFLECT) -> Field:
    """Shortened values filtered along both axes by 1×N whole numbers that add up to WEIGHT. A new array."""
    across = correlated(shortened(correlated(values, taps, border)), taps.T, border)
    across *= np.float32(1 / WEIGHT**2)
    return across


def filtered_rows(values: Field, top: int, bottom: int, taps: Field) -> Field:
    """Rows top to bottom of H×W `values`, ≥ 0, shortened and filtered by 1×N taps, N ≤ 2·WIDEST + 1: mirrored at the
    ends. A new array."""
    if functions():
        values, result = np.asarray(values, np.float32), np.empty((bottom - top, values.shape[1]), np.float32)
        if values.strides[1] != values.itemsize:
            values = np.ascontiguousarray(values)
        _filter_rows(values, top, bottom, taps, result)
        return result
    reach = taps.size // 2
    framed = np.array(around(values, top, bottom, reach), np.float32)
    return filtered(shortened(framed), taps)[reach : reach + bottom - top]


def filter_in_place(values: Field, taps: Field) -> None:
    """`filtered_rows` of all rows, in place, some at a time."""
    if functions():
        _filter_rows(values, 0, len(values), taps, values)
        return
    reach, before = taps.size // 2, None
    count = max(1, len(values) // IN_PLACE)
    tops = [len(values) * i // count for i in range(count + 1)]
    for top, bottom in pairwise(tops):
        framed = np.array(around(values, top, bottom, reach))
        if before is not None:
            framed[:reach] = before
        before = framed[bottom - top : bottom - top + reach].copy()
        values[top:bottom] = filtered(shortened(framed), taps)[reach : reach + bottom - top]


def _filter_rows(values: Field, top: int, bottom: int, taps: Field, out: Field) -> None:
    """By compiled loops, from rows that need not follow one another into rows that need not, either."""
    compiled = functions()
    assert compiled and values.strides[1] == out.strides[1] == 4 and taps.size <= 2 * WIDEST + 1
    (height, width), reach = values.shape, taps.size // 2
    scratch = np.empty(2 * (reach + 1) * width + 2 * reach, np.float32)
    size = values.strides[0] // 4, height, width, top, bottom
    how = pointer(taps), reach, 1 / WEIGHT**2, pointer(scratch)
    compiled.patina_blurred(pointer(values), *size, *how, pointer(out), out.strides[0] // 4)


def shortened(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """`values`, ≥ 0, in place: rounded to BITS significant bits, an error of 1/4096 at most."""
    bits = values.view(np.uint32)
    bits += np.uint32(1 << (23 - BITS))
    bits &= np.uint32(0x100000000 - (1 << (24 - BITS)))
    return values
