"""Convolutions by compiled loops, and without them: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patina.synth.convolution import Taps, convolve
from patina.synth.image import FloatImage
from patina.synth.resampling import shortened
from tests.synth.test_compiled import needs_compiler


@needs_compiler
@pytest.mark.parametrize("size", [(1, 1), (3, 21), (20, 22), (7, 90), (130, 65)])
@pytest.mark.parametrize(
    ("side", "share", "least", "most"),
    [
        (1, 1.0, 1, 9),
        (3, 1.0, 0, 4095),
        (13, 0.3, 0, 65535),
        (25, 0.06, 0, 9000),
        (31, 1.0, 0, 4095),
        (11, 0.8, -99, 99),
    ],
)
def test_convolutions_have_the_same_bits(
    size: tuple[int, int], side: int, share: float, least: int, most: int, both: Callable[..., tuple[Any, Any]]
) -> None:
    """Of one and three channels, of parts of pictures, and of kernels whose sums depend on the order of their taps."""
    chance = np.random.default_rng(side)
    shape = side, side
    kernel = np.where(chance.random(shape) < share, chance.integers(least, most + 1, shape), 0)
    kernel[side // 2, 0] = most
    whole = shortened(chance.random((size[0] + side, size[1] + side + 1, 3), dtype=np.float32))
    whole[: size[0] // 2] *= 2.0**-9
    for framed in (whole[1:, :-2], np.ascontiguousarray(whole[:-1, 2:, 1]), whole[1:, 1:-1, 0]):
        taps = np.nonzero(kernel)

        def into(framed: FloatImage = framed, taps: Any = taps) -> tuple[FloatImage, FloatImage, FloatImage]:
            kept = Taps(side, *taps, kernel[taps])
            out = np.zeros((size[0] + 1, size[1] + 3, *framed.shape[2:]), np.float32)
            kept.convolve(framed, 1 / 65535, out[1:, 2:-1])
            return convolve(framed, kernel), kept.convolve(framed, 1 / 4096), out

        for one, other in zip(*both(into), strict=True):
            assert one.shape == other.shape and one.dtype == other.dtype == np.float32
            assert np.array_equal(one.view(np.uint32), other.view(np.uint32))


@needs_compiler
def test_a_convolution_leaves_what_is_beside_its_place(both: Callable[..., tuple[Any, Any]]) -> None:
    kernel = np.ones((3, 3), np.int64)

    def beside() -> FloatImage:
        out = np.full((9, 80, 3), -1, np.float32)
        Taps(3, *np.nonzero(kernel), kernel.ravel()).convolve(np.ones((5, 72, 3), np.float32), 1, out[2:5, 4:74])
        return out

    for out in both(beside):
        assert (out[2:5, 4:74] == 9).all() and (out == -1).sum() == out.size - 3 * 70 * 3
