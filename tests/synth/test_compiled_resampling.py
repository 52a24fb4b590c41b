"""Compiled resampling has the bits of NumPy's and OpenCV's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patina.synth.resampling import (
    averaged,
    enlarged,
    enlarged_rows,
    filter_in_place,
    filtered_rows,
    gaussian_taps,
    shrunk,
    smoothed,
    smoothed_rows,
    stretched,
    stretched_rows,
)
from patina.synth.rng import Rng
from tests.synth.test_compiled import needs_compiler

pytestmark = needs_compiler

Both = Callable[[Callable[[], Any]], tuple[Any, Any]]


def same(one: Any, other: Any) -> bool:
    """Whether arrays, or several of them, are equal; 0 and -0, which OpenCV's sums do not tell apart, are."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))


def field(*shape: int) -> np.ndarray:
    """Numbers of both signs, of very different sizes, and nothing in part."""
    random = Rng("5").uniforms(2 * int(np.prod(shape))).reshape(2, *shape)
    values = ((random[0] - 0.4) * 2.0 ** np.rint(random[1] * 24 - 20)).astype(np.float32)
    values[: shape[0] // 3] = 0
    return values


@pytest.mark.parametrize("step", [2, 4, 8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (9, 12), (13, 30, 3), (7, 31, 2)])
def test_enlarging_has_the_same_bits(step: int, shape: tuple[int, ...], both: Both) -> None:
    values = field(*shape) - np.float32(0.001)
    height, width = shape[0] * step - step // 3, shape[1] * step - step // 4

    def found(count: int = 5) -> list[np.ndarray]:
        rows = enlarged_rows(values, step, height, width)
        parts = [rows(top, min(top + count, height)) for top in range(0, height, count)]
        return [enlarged(values, step), np.concatenate(parts)]

    one, other = both(found)
    assert same(one, other) and same(one[1], enlarged(values, step)[:height, :width]) and same(one, found(1000))


@pytest.mark.parametrize("most", [2, 8])
@pytest.mark.parametrize("size", [(45, 60), (90, 133), (331, 267)])
def test_stretching_has_the_same_bits(most: int, size: tuple[int, int], both: Both) -> None:
    values = field(23, 31)

    def found() -> np.ndarray:
        rows = stretched_rows(values, *size, most)
        return np.concatenate([rows(top, min(top + 7, size[0])) for top in range(0, size[0], 7)])

    one, other = both(found)
    assert same(one, other) and (most > 2 or same(one, stretched(values, *size)))


@pytest.mark.parametrize("sigma", [0.5, 0.9, 1.2, 4.0, 18.0])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (61, 83), (37, 700)])
def test_blurring_has_the_same_bits(sigma: float, size: tuple[int, int], both: Both) -> None:
    """In place as well, where a picture is a part of a wider one; a blur may be wider than the picture."""
    values, taps = np.abs(field(*size)), gaussian_taps(sigma)

    def found(count: int = 7) -> list[np.ndarray]:
        tops = range(0, size[0], count)
        rows = [filtered_rows(values, top, min(top + count, size[0]), taps) for top in tops]
        smooth = smoothed_rows(values.copy(), sigma)
        frame = np.pad(values, 2)
        filter_in_place(frame[2:-2, 2:-2], taps)
        parts = [smooth(top, min(top + count, size[0])) for top in tops]
        return [np.concatenate(rows), np.concatenate(parts), smoothed(values, sigma), frame]

    one, other = both(found)
    whole = one[0]
    assert same(one, other) and same(one, found(1000)) and same(one[1], whole) and same(one[2], whole)
    assert same(one[3], np.pad(whole, 2))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 7, 20, 128, 130])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_averages_have_the_same_bits(step: int, channels: tuple[int, ...], both: Both) -> None:
    """Rounding is OpenCV's, which rounds halves of two by two up and others to even."""
    shape = (2 * step + step // 2, 9 * step + step - 1, *channels)
    levels = (Rng("3").levels(int(np.prod(shape))) % 256).astype(np.uint8).reshape(shape)
    levels[:step] = levels[:step] % 2 + 100  # many sums that lie half-way between two levels
    for part in (levels, levels[:, 1:], levels[:, ::-1]):
        assert same(*both(lambda part=part: averaged(part, step)))
    assert same(*both(lambda: shrunk(levels, (max(1, levels.shape[1] // 3), max(1, len(levels) // 2)))))
