import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradations.noisy import CHUNK, Noisy
from patina.synth.image import to_float, to_uint8
from patina.synth.rng import Rng, normal_table
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"sigma": float(sigma)} for sigma in (0, 1, 5, 15, 25, 50, 100, 255)]
WIDE = Noisy(sigma={"min": 5, "max": 55})
BAD = [
    ({"sigma": -1}, "sigma: expected 0 to 255, found -1"),
    ({"sigma": 255.5}, "sigma: expected 0 to 255, found 255.5"),
    ({"sigma": [15, 300]}, "sigma: expected 0 to 255, found 300"),
    ({"sigma": "50"}, "sigma: expected a number from 0 to 255, found '50'"),
    ({"sigma": True}, "expected a number from 0 to 255, found True"),
    ({"sigma": math.nan}, "expected a number from 0 to 255, found nan"),
    ({"sigma": []}, "sigma: the list is empty; give at least one number"),
    ({"sigma": {"min": 5}}, "sigma: expected a range {min = …, max = …}, found the keys ['min']"),
    ({"sigma": {"min": 50, "max": 5}}, "sigma: min 50 is above max 5; swap them"),
    ({"legacy_floor": 1}, "legacy_floor: expected true or false, found 1"),
    ({"model": "poison"}, "model: expected one of gaussian, poisson, sensor, found 'poison'"),
    ({"grey": 2}, "grey: expected 0 to 1, found 2"),
    ({"scale": 20}, "scale: expected 0.01 to 16, found 20"),
    ({"model": "sensor", "iso": {"min": 100, "max": 1e6}}, "iso: expected 50 to 25600, found 1e+06"),
    ({"bits": [10, 20]}, "bits: expected 8 to 16, found 20"),
]

MID_GREY = flat(512, 768, 128)

# fmt: off
FROZEN_SENSOR = [
    [218, 208, 200], [25, 5, 46], [165, 158, 160],
    [48, 43, 112], [22, 18, 22], [89, 90, 66],
    [33, 34, 93], [4, 2, 6], [20, 17, 49],
]
# fmt: on


def noise(sigma: float, *, legacy_floor: bool = False, seed: str = "2a") -> NDArray[np.float64]:
    """What is added to mid-grey, 512×768×3 in levels."""
    params = {"sigma": sigma, "seed": seed, "legacy_floor": legacy_floor}
    return Noisy().apply(MID_GREY, params).image - np.float64(128)


def clipped_sd(sigma: float, low: float = -128, high: float = 127) -> float:
    """The standard deviation of N(0, σ²) clipped to [low, high], in closed form; rounding's 1/12 included."""
    z = NormalDist()
    a, b = low / sigma, high / sigma
    below, above = z.cdf(a), 1 - z.cdf(b)
    mean = sigma * (a * below + b * above + z.pdf(a) - z.pdf(b))
    inside = (1 - below - above) + a * z.pdf(a) - b * z.pdf(b)
    return math.sqrt(sigma**2 * (a**2 * below + b**2 * above + inside) - mean**2 + 1 / 12)


@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_sigma_is_what_was_asked_for(sigma: int) -> None:
    """σ = 50 loses 1 % even at mid-grey, because levels end at 0 and 255: so the clipped figure is what is expected."""
    found = noise(sigma).reshape(-1, 3).std(axis=0)
    assert found == pytest.approx(clipped_sd(sigma), rel=0.005)
    assert clipped_sd(sigma) == pytest.approx({15: 15.00, 25: 25.00, 50: 49.51}[sigma], abs=0.01)
    if sigma <= 25:
        assert found == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize("sigma", [15, 25])
def test_psnr_is_the_formula_where_nothing_clips(sigma: float) -> None:
    lq = Noisy().apply(MID_GREY, {"sigma": float(sigma), "seed": "2a", "legacy_floor": False}).image
    assert psnr(MID_GREY, lq) == pytest.approx(20 * math.log10(255 / sigma), abs=0.05)


def test_noise_is_white() -> None:
    n = noise(25)
    red, green, blue = n.reshape(-1, 3).T
    for one, other in [
        (red, green),
        (green, blue),
        (red, blue),
        (n[:, 1:].ravel(), n[:, :-1].ravel()),
        (n[1:].ravel(), n[:-1].ravel()),
    ]:
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.01


def test_rounding_has_no_bias_and_legacy_floor_has_half_a_level() -> None:
    assert abs(noise(15).mean()) < 0.05
    assert noise(15, legacy_floor=True).mean() == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("legacy_floor", [False, True])
def test_the_table_gives_what_rounding_the_sum_gives(legacy_floor: bool) -> None:
    """The textbook's order: add in floating point, clip, then round; or cast, which cuts."""
    gt = cut(300, 401)
    assert gt.size > 2 * CHUNK
    params = {"sigma": 37.3, "seed": "2a", "legacy_floor": legacy_floor}
    total = np.clip(gt + 37.3 * normal_table()[Rng("2a").levels(gt.size)].reshape(gt.shape), 0, 255)
    textbook = (total if legacy_floor else np.rint(total)).astype(np.uint8)
    assert np.array_equal(Noisy().apply(gt, params).image, textbook)


@pytest.mark.parametrize(("legacy_floor", "digest"), [(False, "e0c7e039832aa087"), (True, "4d7f8c7a9fe92822")])
def test_pixels_are_frozen(legacy_floor: bool, digest: str) -> None:
    """If this fails, raise `Noisy.version`: stored samples can no longer be replayed."""
    lq = Noisy().apply(flat(48, 64, 128), {"sigma": 50.0, "seed": "2a", "legacy_floor": legacy_floor}).image
    assert hashlib.sha256(lq.tobytes()).hexdigest()[:16] == digest


def test_no_noise_is_the_image() -> None:
    gt = cut(64, 48)
    assert np.array_equal(Noisy(sigma=0).apply(gt, {"sigma": 0.0, "seed": "2a", "legacy_floor": False}).image, gt)


def test_threads_do_not_share_their_scratch() -> None:
    seeds = [f"{i:x}" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda seed: noise(50, seed=seed), seeds))
    assert all(np.array_equal(noise(50, seed=seed), n) for seed, n in zip(seeds, at_once, strict=True))


def test_a_setting_may_be_a_number_a_list_or_a_range() -> None:
    def drawn(degradation: Noisy) -> list[float]:
        return [degradation.draw(Rng(f"{i:x}"), MID_GREY)["sigma"] for i in range(500)]

    assert set(drawn(Noisy())) == {50.0}
    assert set(drawn(Noisy(sigma=[15, 25, 50]))) == {15.0, 25.0, 50.0}
    sigmas = drawn(WIDE)
    assert 5 <= min(sigmas) < 8 and 52 < max(sigmas) < 55


@pytest.mark.parametrize("legacy_floor", [False, True])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 15.0, 37.3, 50.0, 255.0])
def test_floats_round_to_the_same_pixels(sigma: float, legacy_floor: bool) -> None:
    """What a composite renders: exact for every level, halves of a level included."""
    params = {"sigma": sigma, "seed": "2a", "legacy_floor": legacy_floor}
    for gt in (cut(300, 401), np.arange(256, dtype=np.uint8).repeat(3 * 64).reshape(256, 64, 3)):
        rendering = Noisy().render(to_float(gt), params).image
        assert rendering.dtype == np.float32 and rendering.min() >= 0 and rendering.max() <= 1
        assert np.array_equal(to_uint8(rendering), Noisy().apply(gt, params).image)


def test_floats_are_not_rounded() -> None:
    grey = np.full((64, 64, 3), 0.4321, np.float32)
    n = (Noisy().render(grey, {"sigma": 10.0, "seed": "2a", "legacy_floor": False}).image - grey) * 255
    assert len(np.unique(n)) > 5000
    assert n.std() == pytest.approx(10, rel=0.02)


class TestSensor:
    def test_more_gain_is_more_noise(self) -> None:
        figures = []
        for iso in (50, 100, 400, 1600, 6400, 25600):
            degradation = Noisy(model="sensor", iso=iso, bits=14)
            figures.append(psnr(photo(), degradation.apply(photo(), degradation.draw(Rng("2a"), photo())).image))
        assert figures == sorted(figures, reverse=True)
        assert figures[0] > 40 and 15 < figures[-1] < 20

    def test_brightness_and_shape_stay(self) -> None:
        degradation = Noisy(model="sensor", iso=1600)
        for image in (cut(17, 501), cut(16, 16), flat(40, 50, 0), flat(40, 50, 255)):
            lq = degradation.apply(image, degradation.draw(Rng("7"), image)).image
            assert lq.shape == image.shape and abs(lq.mean() - image.mean()) < 5

    def test_noise_grows_with_light_and_is_grain(self) -> None:
        """Unlike white noise: in raw light, bright patches are noisier, and neighbours are alike."""
        degradation = Noisy(model="sensor", iso=3200, bits=14)
        params = degradation.draw(Rng("2a"), MID_GREY)
        lq = degradation.apply(MID_GREY, params).image - np.float64(128)
        assert np.corrcoef(lq[:, 1:].ravel(), lq[:, :-1].ravel())[0, 1] > 0.2
        assert abs(lq.mean()) < 1

    def test_it_is_the_knob_that_counts(self) -> None:
        gaussian, sensor = Noisy(), Noisy(model="sensor")
        assert gaussian.knob is not None and gaussian.knob.setting == "sigma"
        assert sensor.knob is not None and sensor.knob.setting == "iso"

    def test_parameters_say_which_and_old_ones_are_gaussian(self) -> None:
        assert Noisy().draw(Rng("1"), MID_GREY).keys() == {"model", "sigma", "seed", "legacy_floor"}
        params = Noisy(model="sensor", iso={"min": 400, "max": 12000}).draw(Rng("1"), MID_GREY)
        assert params["model"] == "sensor" and 400 <= params["iso"] <= 12000
        gt = cut(32, 32)
        assert np.array_equal(Noisy().apply(gt, params).image, Noisy(model="sensor").apply(gt, params).image)

    def test_pixels_are_frozen(self) -> None:
        """If this fails, raise `Noisy.version`: stored samples can no longer be replayed."""
        params = {"shot": 1e-3, "read": 1e-6, "row": 3e-4, "red": 2.0, "blue": 1.7, "bits": 12}
        lq = Noisy().apply(cut(48, 64), {"model": "sensor", "iso": 1000.0, **params, "seed": "2a"}).image
        # One level more or less, because another processor's floats may end in another digit.
        assert np.abs(lq[5::18, 5::20].reshape(-1, 3).astype(int) - FROZEN_SENSOR).max() <= 1


class TestPoisson:
    @pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
    @pytest.mark.parametrize("level", [60, 128, 190])
    def test_variance_grows_with_the_light(self, scale: float, level: int) -> None:
        """σ² = level/255 · scale²/256 in [0, 1]², on what does not clip; and the mean stays."""
        params = {"model": "poisson", "scale": scale, "seed": "5eed"}
        noise = Noisy().render(flat(300, 300, level), params).image - np.float32(level / 255)
        assert noise.std() == pytest.approx(scale / 16 * np.sqrt(level / 255), rel=0.03)
        assert abs(noise.mean()) < 0.01 * noise.std() + 1e-3

    def test_counts_are_whole_photons(self) -> None:
        """At scale 4, N is 16: only multiples of a sixteenth are there, and black stays black."""
        params = {"model": "poisson", "scale": 4.0, "seed": "5eed"}
        values = Noisy().render(flat(60, 60, 100), params).image * 16
        assert np.abs(values - np.rint(values)).max() < 1e-4
        assert not Noisy().apply(flat(60, 60, 0), params).image.any()

    def test_its_third_moment_is_poissons(self) -> None:
        """Skewness 1/√mean: brighter outliers than darker ones."""
        params = {"model": "poisson", "scale": 2.0, "seed": "5eed"}
        values = Noisy().render(flat(400, 400, 60), params).image.astype(np.float64)
        mean = 64 * 60 / 255
        skew = float(((values - values.mean()) ** 3).mean() / values.std() ** 3)
        assert skew == pytest.approx(1 / np.sqrt(mean), rel=0.15)


class TestGrey:
    @pytest.mark.parametrize("model", ["gaussian", "poisson"])
    def test_all_channels_get_the_same(self, model: str) -> None:
        degradation = Noisy(model=model, grey=1, sigma=10, scale=0.5)
        image = np.full((50, 60, 3), (90, 120, 150), np.uint8)
        noise = degradation.apply(image, degradation.draw(Rng("1"), image)).image.astype(int) - image
        assert np.abs(noise - noise[..., :1]).max() <= 1 and noise.std() > 2

    def test_how_often_and_only_if_asked(self) -> None:
        drawn = [Noisy(grey=0.4).draw(Rng(f"{i:x}"), photo()) for i in range(300)]
        assert 0.3 < np.mean([params["grey"] for params in drawn]) < 0.5
        assert "grey" not in Noisy().draw(Rng("1"), photo())
        assert Noisy().draw(Rng("1"), photo())["seed"] == Noisy(grey=1).draw(Rng("1"), photo())["seed"]

    def test_samples_of_before_keep_their_fingerprints(self) -> None:
        assert set(Noisy().settings()) == {"sigma", "legacy_floor", "model", "iso", "bits"}
        assert {"grey", "scale"} < set(Noisy(model="poisson", grey=0.5).settings())
