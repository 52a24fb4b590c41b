import cv2
import numpy as np
import pytest

from patina.synth.convolution import convolve, disc, reflected, spread
from patina.synth.resampling import BITS, REFLECT, REPLICATE, shortened


@pytest.mark.parametrize(("k", "height", "width"), [(1, 16, 17), (3, 40, 33), (25, 17, 90), (45, 64, 16)])
@pytest.mark.parametrize("share", [0.03, 1.0])
def test_taps_are_the_textbooks(k: int, height: int, width: int, share: float) -> None:
    """Whatever lies in the kernel's corners, and also where weights have more than 12 bits."""
    chance = np.random.default_rng(0)
    image = shortened(chance.random((height, width, 3), dtype=np.float32))
    kernel = (chance.random((k, k)) * (chance.random((k, k)) < share) * 300).astype(np.int64)
    kernel[k // 2, 0] += 65535 - kernel.sum() if kernel.sum() < 65535 else 1
    flipped = np.ascontiguousarray(kernel[::-1, ::-1]).astype(np.float64)
    textbook = cv2.filter2D(image.astype(np.float64), -1, flipped, borderType=cv2.BORDER_REFLECT)
    found = convolve(reflected(image, k // 2), kernel)
    assert found.shape == image.shape and found.dtype == np.float32
    assert np.abs(found / textbook - 1).max() < 2e-6


def test_values_are_shortened_by_half_a_step_at_most() -> None:
    values = np.random.default_rng(0).random(10000, dtype=np.float32) * 100
    values[0] = 0
    short = shortened(values.copy())
    mantissa = np.frexp(short)[0] * 2**BITS
    assert np.array_equal(mantissa, np.rint(mantissa))
    assert np.abs(short - values).max() <= (values * 2.0**-BITS).max() and short[0] == 0
    assert np.abs(short[1:] / values[1:] - 1).max() <= 2.0**-BITS


def test_sums_of_whole_numbers_are_exact() -> None:
    """A wide kernel of whole numbers, against integers."""
    chance = np.random.default_rng(0)
    levels = chance.integers(0, 256, (40, 50)).astype(np.float32)
    kernel = disc(6.2, 1 << 15)
    assert (
        0.99 * (1 << 15) < kernel.sum() <= 1 << 15
        and np.array_equal(kernel, kernel[::-1, ::-1])
        and np.array_equal(kernel, kernel.T)
    )
    reach = len(kernel) // 2
    framed = np.pad(levels, reach, mode="edge").astype(np.int64)
    exact = sum(
        kernel[i, j] * framed[i : i + 40, j : j + 50] for i in range(len(kernel)) for j in range(len(kernel))
    )  # a disc is its own mirror image
    assert np.array_equal(spread(levels, kernel, cv2.BORDER_REPLICATE), exact)


def test_the_border_of_blurs_is_opencvs_reflection() -> None:
    assert (REFLECT, REPLICATE) == (cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE)
