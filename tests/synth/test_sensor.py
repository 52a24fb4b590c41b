import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth import sensor as sensor_module
from patina.synth.image import FloatImage, to_float
from patina.synth.rng import Rng, normal_table
from patina.synth.sensor import (
    COLOUR,
    as_file,
    as_file_levels,
    draw_sensor,
    mosaic,
    noise_level,
    process,
    sensor,
    unprocess,
)
from tests.synth.pictures import cut, flat, photo

SENSOR: dict[str, Any] = {
    "iso": 800.0,
    "shot": 8e-4,
    "read": 1e-6,
    "row": 0.0,
    "red": 2.1,
    "blue": 1.7,
    "bits": 14,
    "seed": "2a",
}
QUIET = {**SENSOR, "shot": 0.0, "read": 0.0, "bits": 16}
LEVELS = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


def sense(raw: FloatImage, params: dict[str, Any], times: int = 1) -> FloatImage:
    """A whole picture's raw light as its sensor gives it."""
    return sensor(*raw.shape[:2], params, times).sense(raw, 0, len(raw))


def read_out(sites: NDArray[np.float32], params: dict[str, Any]) -> NDArray[np.float32]:
    """The levels of a whole picture's sites."""
    rng = Rng(params["seed"])
    offsets = normal_table()[rng.levels(len(sites))] * params["row"]
    return sensor_module.read_out(sites, params, rng.levels(sites.size).reshape(sites.shape), offsets)


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope, intercept and R² of the line through the points."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept), float(np.corrcoef(x, y)[0, 1] ** 2)


def constant(light: float, height: int = 256, width: int = 256) -> NDArray[np.float32]:
    return np.full((height, width), light, np.float32)


def test_there_and_back_is_the_photograph() -> None:
    """Every level, a photograph, and colours at the edge of what sRGB holds."""
    edge = np.random.default_rng(0).choice([0, 1, 128, 255], (40, 40, 3)).astype(np.uint8)
    for image in (LEVELS, photo(), edge):
        raw = unprocess(to_float(image), SENSOR)
        assert raw.min() >= 0 and raw.max() <= 1
        assert np.array_equal(as_file_levels(process(raw, SENSOR)), image)


def test_a_sensor_without_noise_changes_nothing() -> None:
    for image in (LEVELS, cut(33, 47)):
        raw = sense(unprocess(to_float(image), QUIET), QUIET)
        assert np.array_equal(as_file_levels(process(raw, QUIET)), image)


def about(noise: NDArray[np.floating]) -> tuple[float, float, float]:
    """The variance of H×W, and its correlation with the pixel beside and below."""
    noise = noise - noise.mean(dtype=np.float64)
    variance = float((noise * noise).mean(dtype=np.float64))
    moved = [(noise[:, 1:] * noise[:, :-1]).mean(dtype=np.float64), (noise[1:] * noise[:-1]).mean(dtype=np.float64)]
    return variance, float(moved[0]) / variance, float(moved[1]) / variance


@pytest.mark.parametrize(("times", "side"), [(2, 384), (4, 192), (8, 128)])
def test_a_finer_sensor_averaged_down_is_what_is_computed_at_once(times: int, side: int) -> None:
    """By brute force: the light at so many times the size, sensed, demosaiced and averaged."""
    params = {**SENSOR, "read": 4e-6, "bits": 12, "row": 1e-4}
    light = np.full((side, side, 3), 0.1, np.float32) * np.array([0.5, 1, 0.7], np.float32)
    large = sense(light.repeat(times, 0).repeat(times, 1), {**params, "seed": "7"})
    slow = large.reshape(side, times, side, times, 3).mean(axis=(1, 3))
    fast = sense(light.copy(), params, times)
    assert np.abs(fast.mean(axis=(0, 1)) / light[0, 0] - 1).max() < 0.005
    for colour in range(3):
        one, other = about(slow[..., colour]), about(fast[..., colour])
        assert other[0] == pytest.approx(one[0], rel=0.06)
        assert other[1:] == pytest.approx(one[1:], abs=0.035)


@pytest.mark.parametrize("times", [2, 8])
def test_a_finer_sensor_without_noise_changes_nothing(times: int) -> None:
    raw = sense(unprocess(to_float(LEVELS), QUIET), QUIET, times)
    assert np.array_equal(as_file_levels(process(raw, QUIET)), LEVELS)


def test_grey_is_grey_and_every_colour_is_light() -> None:
    assert COLOUR.sum(axis=1) == pytest.approx(1)
    assert np.linalg.inv(COLOUR).min() >= 0
    raw = unprocess(to_float(LEVELS), SENSOR).reshape(-1, 3)
    assert raw[:, 0] * SENSOR["red"] == pytest.approx(raw[:, 1], abs=1e-6)
    assert raw[:, 2] * SENSOR["blue"] == pytest.approx(raw[:, 1], abs=1e-6)


def test_light_is_linear() -> None:
    image = to_float(photo())
    assert np.allclose(unprocess(image, SENSOR, 1 / 8), unprocess(image, SENSOR) / 8, atol=1e-6)


def test_photon_transfer_is_the_line_that_was_asked_for() -> None:
    """Variance against signal: R² > 0.98, slope `shot`, and at no light what the reading and the rounding add."""
    for shot, read, bits in [(1e-4, 1e-7, 14), (8e-4, 6e-7, 12), (0.012, 2e-4, 10)]:
        params = {**SENSOR, "shot": shot, "read": read, "bits": bits}
        found = []
        for i, light in enumerate(np.linspace(0.02, 0.6, 12)):
            levels = read_out(constant(light), {**params, "seed": f"{i:x}"})
            found.append((levels.mean(dtype=np.float64), levels.var(dtype=np.float64)))
        slope, intercept, fit = line(*np.array(found).T)
        step = 1 / (2**bits * 15 / 16 - 1)
        assert fit > 0.98
        assert slope == pytest.approx(shot, rel=0.03)
        assert intercept == pytest.approx(read + step**2 / 12, abs=0.01 * shot)
        dark = read_out(constant(0), params)
        assert dark.var(dtype=np.float64) == pytest.approx(read + step**2 / 12, rel=0.03)
        assert abs(dark.mean(dtype=np.float64)) < 0.02 * dark.std()  # below black it goes on


def test_noise_level_is_what_is_found() -> None:
    params = {**SENSOR, "row": 5e-4, "bits": 10}
    for light in (0.0, 0.01, 0.3):
        found = read_out(constant(light, 2048, 64), params).std(dtype=np.float64)
        assert noise_level(constant(light, 1, 1), params)[0, 0] == pytest.approx(found, rel=0.03)


def test_rows_have_offsets_of_their_own() -> None:
    levels = read_out(constant(0.1, 1024, 512), {**SENSOR, "shot": 0.0, "read": 1e-8, "row": 1e-3, "bits": 16})
    assert levels.mean(axis=1).std() == pytest.approx(1e-3, rel=0.08)
    assert levels.mean(axis=0).std() < 1e-4


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_levels_are_counted(bits: int) -> None:
    ramp = np.linspace(0, 1, 1 << 18, dtype=np.float32).reshape(512, 512)
    found = np.unique(read_out(ramp, {**QUIET, "bits": bits}))
    assert len(found) == pytest.approx(2**bits * 15 / 16, abs=2)
    assert read_out(ramp, {**SENSOR, "shot": 0.01, "bits": bits}).max() <= 1  # the sensor is full


def test_noise_is_coloured_grain() -> None:
    """Interpolation makes neighbours alike; at its own sites, noise is as it was read."""
    image = to_float(flat(256, 256, 128))
    raw = unprocess(image, SENSOR)
    noisy = sense(raw.copy(), SENSOR)
    assert np.allclose(mosaic(noisy), read_out(mosaic(raw), SENSOR), atol=1e-6)
    grain: FloatImage = as_file(process(noisy, SENSOR)) - image
    for one, other in ((grain[:, 1:], grain[:, :-1]), (grain[1:], grain[:-1])):
        for c in range(3):
            assert np.corrcoef(one[..., c].ravel(), other[..., c].ravel())[0, 1] > 0.2
    red, green, blue = grain.reshape(-1, 3).std(axis=0)
    assert red > 1.5 * green and blue > 1.2 * green


@pytest.mark.parametrize("shape", [(16, 16), (17, 501), (501, 17), (33, 34)])
def test_a_constant_offset_is_interpolated_to_itself(shape: tuple[int, int]) -> None:
    """Up to the border: the Bayer pattern goes on there."""
    raw = np.zeros((*shape, 3), np.float32)
    raw += 0.3 / 239  # of 255 levels, 16 lie below black; this is less than half of one, so it is read as none
    assert np.allclose(sense(raw, {**QUIET, "bits": 8}), 0, atol=1e-7)


def test_draws_follow_the_published_line() -> None:
    """ln read against ln shot: slope 2.18, intercept 1.20, scatter 0.26 (Brooks et al.), with natural logarithms."""
    rng = Rng("2a")
    drawn = [draw_sensor(rng, {"min": 100, "max": 12000}, [10, 14]) for _ in range(4000)]
    shot, read = (np.log([d[name] for d in drawn]) for name in ("shot", "read"))
    slope, intercept, _ = line(shot, read)
    assert slope == pytest.approx(2.18, abs=0.02) and intercept == pytest.approx(1.20, abs=0.12)
    assert (read - 2.18 * shot - 1.20).std() == pytest.approx(0.26, abs=0.01)
    assert shot.min() >= math.log(1e-4) - 1e-9 and shot.max() <= math.log(0.012) + 1e-9
    assert shot.mean() == pytest.approx((math.log(1e-4) + math.log(0.012)) / 2, abs=0.08)  # each stop as likely
    assert {d["bits"] for d in drawn} == {10, 14}
    assert draw_sensor(rng, 1600, 12)["iso"] == 1600
    assert {draw_sensor(rng, [200, 800], 12)["shot"] for _ in range(40)} == {2e-4, 8e-4}
