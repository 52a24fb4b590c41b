import numpy as np
import pytest

from patina.synth.image import SMALLEST_SIDE, check_image, to_encoded, to_float, to_linear, to_uint8

LEVELS = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


def test_all_levels_survive_there_and_back() -> None:
    floats = to_float(LEVELS)
    assert floats.dtype == np.float32
    assert floats.min() == 0 and floats.max() == 1
    assert np.array_equal(to_uint8(floats), LEVELS)


def test_floats_are_rounded_and_clipped() -> None:
    levels = np.array([-1.0, 9.4, 9.6, 254.6, 300.0])
    assert to_uint8(levels / 255).tolist() == [0, 9, 10, 255, 255]


def test_rounding_has_no_bias() -> None:
    floats = np.random.default_rng(0).random(1_000_000, dtype=np.float32)
    assert abs(np.mean(to_uint8(floats) - floats * 255.0)) < 0.002


def test_conversions_give_new_arrays() -> None:
    floats = to_float(LEVELS)
    before = floats.copy()
    to_uint8(floats)[:] = 0
    assert np.array_equal(floats, before)


def test_the_smallest_image_passes() -> None:
    check_image(np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3), np.uint8))


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((32, 32), np.uint8, r"uint8 of shape \(32, 32\)"),
        ((32, 32, 4), np.uint8, r"uint8 of shape \(32, 32, 4\)"),
        ((32, 32, 3), np.float32, "float32"),
        ((32, 15, 3), np.uint8, "found 15×32"),
        ((15, 32, 3), np.uint8, "found 32×15"),
    ],
)
def test_other_arrays_are_refused(shape: tuple[int, ...], dtype: type, found: str) -> None:
    with pytest.raises(ValueError, match=rf"expected.*{found}"):
        check_image(np.zeros(shape, dtype))


def test_linear_light_is_srgbs_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = to_float(np.stack([levels] * 3, -1))
    linear = to_linear(image)
    assert linear.dtype == np.float32
    assert linear[0, 0, 0] == 0
    assert linear[-1, -1, 0] == 1
    assert abs(linear.ravel()[3 * 188] - 0.5029) < 1e-4  # level 188 is half of white's light
    assert np.array_equal(to_uint8(to_encoded(linear)), np.stack([levels] * 3, -1))
    assert to_encoded(np.full((1, 1, 3), 7, np.float32)).max() == 1
