import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from synth.degradations.noisy import CHUNK, Noisy
from synth.rng import Rng, normal_table
from tests.synth.pictures import cut, flat, psnr

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
]

MID_GREY = flat(512, 768, 128)


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
