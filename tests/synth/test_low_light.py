from typing import Any

import numpy as np
import pytest

from patina.synth.degradations.low_light import LowLight
from patina.synth.form import flat_noise
from patina.synth.image import Image, to_float
from patina.synth.rng import Rng
from patina.synth.sensor import mosaic, unprocess, unprocess_planes
from tests.synth.pictures import cut, flat, photo
from tests.synth.test_sensor import QUIET, SENSOR, line

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"stops": float(stops)} for stops in (0, 1, 2, 3, 4, 6, 8, 10)]
WIDE = LowLight(stops={"min": 0, "max": 10}, iso={"min": 50, "max": 25600}, bits=[8, 10, 12, 14, 16])
BAD = [
    ({"stops": -1}, "stops: expected 0 to 10, found -1"),
    ({"stops": {"min": 2, "max": 12}}, "stops: expected 0 to 10, found 12"),
    ({"iso": 0}, "iso: expected 50 to 25600, found 0"),
    ({"bits": [10, 12.5]}, "bits: expected a whole number, found 12.5"),
    ({"bits": 24}, "bits: expected 8 to 16, found 24"),
    ({"finer": 3}, "finer: expected one or a list of 1, 2, 4 and 8, found 3"),
    ({"finer": {"min": 1, "max": 4}}, "finer: expected one or a list of 1, 2, 4 and 8, found a range; write the list"),
    ({"cast": 3}, "cast: expected -2 to 2, found 3"),
    ({"tint": "green"}, "tint: expected a number from -1 to 1, found 'green'"),
]

CALM: dict[str, Any] = {**QUIET, "stops": 0.0, "finer": 1, "cast": 0.0, "tint": 0.0, "black": 0.0}
NOISY: dict[str, Any] = {**CALM, **SENSOR}

# fmt: off
FROZEN_LEVELS = [
    [69, 61, 50], [8, 1, 8], [51, 47, 45],
    [14, 12, 36], [4, 5, 0], [25, 29, 7],
    [2, 8, 27], [3, 1, 3], [0, 4, 4],
]
FROZEN_NOISE = [4155, 804, 3217, 1407, 791, 1955, 1274, 570, 904]
# fmt: on


def drawn(image: Image, seed: str, **settings: Any) -> Image:
    degradation = LowLight(**settings)
    return degradation.apply(image, degradation.draw(Rng(seed), image)).image


@pytest.mark.parametrize("stops", [0.0, 1.0, 3.0])
def test_a_stop_halves_the_light(stops: float) -> None:
    """Not a gamma curve: raw light is divided by the same number in light and shade."""
    image = to_float(photo())
    dark = LowLight().render(image, {**CALM, "stops": stops}).image
    before, after = unprocess(image, CALM), unprocess(dark, CALM)
    assert np.abs(after - before / 2**stops).max() < 1e-4


def test_photon_transfer_of_the_picture() -> None:
    """Flat patches, taken in low light, back to raw: variance against mean is the line asked for, R² > 0.98."""
    params = {**NOISY, "stops": 1.5, "bits": 12}
    found = []
    for i, level in enumerate(range(60, 256, 13)):
        lq = LowLight().render(to_float(flat(256, 256, level)), {**params, "seed": f"{i:x}"}).image
        sites = mosaic(unprocess_planes(lq, params))[0::2, 1::2].astype(np.float64)  # green ones
        found.append((sites.mean(), sites.var()))
    slope, intercept, fit = line(*np.array(found).T)
    assert fit > 0.98
    assert slope == pytest.approx(params["shot"], rel=0.05)
    assert intercept == pytest.approx(params["read"], abs=4e-6)


@pytest.mark.parametrize("finer", [1, 2, 4, 8])
def test_the_noise_map_is_what_brightening_shows(finer: int) -> None:
    params = {**NOISY, "stops": 2.0, "bits": 12, "finer": finer}
    for level in (100, 180, 250):
        gt = flat(256, 256, level)
        rendering = LowLight().render(to_float(gt), params)
        sites = mosaic(unprocess_planes(rendering.image, params))[0::2, 1::2].astype(np.float64) * 2 ** params["stops"]
        truth = rendering.truth["noise"]
        assert truth.dtype == np.uint16 and np.ptp(truth) == 0
        assert sites.std() == pytest.approx(truth[0, 0] / 65535, rel=0.03)


def test_brightened_it_has_the_noise_of_real_pairs() -> None:
    """Of LOL: luma 2.5 to 5, chroma 1.7 to 5.2, and little grain; a high gain on a small sensor is another picture."""
    usual, harsh = (
        [flat_noise(photo(), drawn(photo(), seed, stops=5, **settings)) for seed in "12345"]
        for settings in ({}, {"iso": {"min": 100, "max": 3200}, "finer": 1})
    )
    assert 1.5 < np.median([noise.luma for noise in usual]) < 5.5
    assert 1.5 < np.median([noise.chroma for noise in usual]) < 6
    assert np.median([noise.correlation for noise in usual]) < 0.2
    assert np.median([noise.luma for noise in harsh]) > 7 and np.median([noise.correlation for noise in harsh]) > 0.3


def test_severe_is_as_dark_as_real_pairs() -> None:
    """Means of 5..30 of 255 as in LOL, and few levels: brightened, they are steps."""
    for seed in "12345":
        lq = drawn(photo(), seed, stops={"min": 3.5, "max": 5})
        assert 5 < lq.mean() < 30
        assert len(np.unique(lq)) < 120 < len(np.unique(photo()))
    assert len(np.unique(drawn(photo(), "1", stops=6, iso=100))) < 60


def test_shadows_drown_first() -> None:
    """The noise that brightening shows rises with darkness, and its colours with it."""
    means = [LowLight().apply(photo(), {**NOISY, "stops": s}).truth["noise"].mean() for s in (0.0, 2.0, 4.0, 6.0)]
    assert means == sorted(means) and means[3] > 8 * means[0]


def test_a_wrong_balance_tints_grey() -> None:
    grey = flat(32, 32, 200)

    def colours(**wrong: float) -> Any:
        return LowLight().apply(grey, {**CALM, "stops": 2.0, **wrong}).image.mean(axis=(0, 1))

    red, green, blue = colours()
    assert red == green == blue
    red, green, blue = colours(cast=0.4)
    assert red > green > blue
    red, green, blue = colours(tint=0.2)
    assert green < min(red, blue)
    dark = flat(32, 32, 30)
    lifted, usual = (LowLight().apply(dark, {**CALM, "stops": 2.0, "black": b}).image for b in (2e-3, 0.0))
    assert (lifted > usual).all()


def test_black_stays_dark() -> None:
    assert drawn(flat(64, 64, 0), "1", stops=4, iso=3200).mean() < 8


def test_pixels_are_frozen() -> None:
    """If this fails, raise `LowLight.version`: stored samples can no longer be replayed."""
    params = {**NOISY, "stops": 3.0, "row": 3e-4, "cast": 0.2, "tint": -0.05, "black": 1e-4, "bits": 12}
    degraded = LowLight().apply(cut(48, 64), params)
    # One level more or less, because another processor's floats may end in another digit.
    assert np.abs(degraded.image[5::18, 5::20].reshape(-1, 3).astype(int) - FROZEN_LEVELS).max() <= 1
    assert np.abs(degraded.truth["noise"][5::18, 5::20].ravel().astype(int) - FROZEN_NOISE).max() <= 1
