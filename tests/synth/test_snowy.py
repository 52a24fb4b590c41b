import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Params, Place
from patina.synth.degradations.snowy import REACH, Snowy, _Snowfall
from patina.synth.form import blobs as form_blobs
from patina.synth.image import FloatImage, Image, to_float, to_linear
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"rate": rate} for rate in (0.05, 0.2, 0.6, 2.0, 6.0, 15.0, 30.0)]
WIDE = Snowy(rate={"min": 0.05, "max": 30}, size={"min": 0.5, "max": 15}, wind={"min": -15, "max": 15})
BAD: list[tuple[dict[str, Any], str]] = [
    ({"rate": 0}, "rate: expected 0.05 to 30, found 0"),
    ({"size": [4, 40]}, "size: expected 0.5 to 15, found 40"),
    ({"wind": {"min": -20, "max": 0}}, "wind: expected -15 to 15, found -20"),
    ({"exposure": 1}, "exposure: expected 0.0005 to 0.05, found 1"),
    ({"aperture": -1}, "aperture: expected 0 to 30, found -1"),
    ({"veil": True}, "veil: expected a number from 0 to 5, found True"),
    ({"brightness": 255}, "brightness: expected 0 to 1, found 255"),
    ({"warmth": 2}, "warmth: expected -1 to 1, found 2"),
    ({"depth": "/no/such/folder"}, "depth: expected a folder of depth maps, found no folder at /no/such/folder"),
]

DARK = flat(512, 768, 20)
SEEDS = ("1", "2", "3")


def alpha_of(degradation: Snowy, seed: str = "2a", image: Image = DARK) -> NDArray[np.float32]:
    """α in [0, 1]."""
    truth = degradation.apply(image, degradation.draw(Rng(seed), image)).truth["alpha"]
    assert truth.dtype == np.uint16
    return truth.astype(np.float32) / 65535


def blobs(alpha: NDArray[np.float32], least: float = 0.2) -> NDArray[np.int64]:
    """Areas in pixels of what is joined and above `least`, sorted."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((alpha > least).astype(np.uint8))
    return np.sort(np.asarray(stats)[1:, cv2.CC_STAT_AREA])


def light(image: Image) -> FloatImage:
    return to_linear(to_float(image))


@pytest.mark.parametrize("seed", SEEDS)
def test_alpha_is_recovered_from_the_pair(seed: str) -> None:
    """(I − J)/(c − J) lies in [0, 1] and is the stored α, in each channel, as far as 8-bit levels tell."""
    snow, gt = Snowy(), flat(256, 384, 20)
    params = snow.draw(Rng(seed), gt)
    degraded = snow.apply(gt, params)
    colour = np.array(params["colour"], np.float32)
    found = (light(degraded.image) - light(gt)) / (colour - light(gt))
    assert found.min() >= 0 and found.max() <= 1.01
    alpha = degraded.truth["alpha"].astype(np.float32) / 65535
    # Half a level of sRGB is at most 0.0045 of linear light, and brighter c make it less of α.
    assert np.abs(found - alpha[..., None]).max() < 0.0046 / (colour - light(gt)).min()


def test_alpha_mixes_any_photograph_with_the_snow() -> None:
    """K = J(1 − α) + cα, on a photograph, before it is quantised."""
    snow, gt = Snowy(), cut(200, 300)
    params = snow.draw(Rng("2a"), gt)
    rendering = snow.render(to_float(gt), params)
    alpha = rendering.truth["alpha"].astype(np.float32)[..., None] / 65535
    expected = light(gt) * (1 - alpha) + np.array(params["colour"], np.float32) * alpha
    assert np.abs(to_linear(rendering.image) - expected).max() < 1e-4


def test_dark_scenes_only_get_brighter_and_white_ones_hardly_change() -> None:
    snow, dark, white = Snowy(), flat(256, 384, 10), flat(256, 384, 240)
    for seed in SEEDS:
        assert (snow.apply(dark, snow.draw(Rng(seed), dark)).image >= dark).all()
        params = {**snow.draw(Rng(seed), white), "colour": to_linear(to_float(white))[0, 0].tolist()}
        assert np.abs(snow.apply(white, params).image.astype(int) - white).max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_sizes_have_a_long_tail(seed: str) -> None:
    """Many specks and few large flakes: the hundredth blob from above is ten times the median one's area."""
    sizes = blobs(alpha_of(Snowy(veil=0), seed))
    assert len(sizes) > 300
    assert sizes.mean() > 1.25 * np.median(sizes)
    assert np.percentile(sizes, 99) > 8 * np.median(sizes)
    assert sizes[-1] > 25 * np.median(sizes)
    assert sizes[-len(sizes) // 10 :].sum() > 0.3 * sizes.sum()


@pytest.mark.parametrize("rate", [0.6, 6, 30])
def test_most_of_the_snow_is_translucent(rate: float) -> None:
    alpha = alpha_of(Snowy(rate=rate))
    seen = alpha[alpha > 0.1]
    assert (seen < 0.9).mean() > 0.5


def test_near_flakes_hide_more_than_far_ones() -> None:
    """The larger the blob, the higher its peak: the small are far, and cover less than a pixel."""
    alpha = alpha_of(Snowy(rate=1, veil=0, exposure=0.001, aperture=0, size=5))
    count, parts, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.05).astype(np.uint8))
    area = np.asarray(stats)[1:, cv2.CC_STAT_AREA]
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, np.asarray(parts).ravel(), alpha.ravel())
    largest, smaller = peak[1:][area > np.percentile(area, 95)], peak[1:][area < np.percentile(area, 50)]
    assert np.median(largest) > 2 * np.median(smaller)


def test_snow_hides_more_the_more_of_it_falls() -> None:
    for seed in SEEDS:
        params = Snowy().draw(Rng(seed), photo())
        figures = [psnr(photo(), Snowy().apply(photo(), {**params, "rate": r}).image) for r in (0.1, 0.4, 1, 3, 8, 20)]
        assert figures == sorted(figures, reverse=True)


def test_exposure_draws_flakes_out_along_the_wind() -> None:
    """Still flakes have no direction; long exposures in a strong wind make level streaks of them."""

    def direction(wind: float, exposure: float) -> tuple[float, float]:
        alpha = alpha_of(Snowy(rate=1, veil=0, wind=wind, exposure=exposure, aperture=0))
        right, down = cv2.Scharr(alpha, cv2.CV_32F, 1, 0), cv2.Scharr(alpha, cv2.CV_32F, 0, 1)
        xx, xy, yy = (float((a * b).mean(dtype=np.float64)) for a, b in ((right, right), (right, down), (down, down)))
        # Of the streaks, from the horizontal, above 0 to the lower right; and how much there is of it.
        return float(np.degrees(np.arctan2(-2 * xy, yy - xx)) / 2), float(np.hypot(xx - yy, 2 * xy) / (xx + yy))

    assert direction(0, 0.0005)[1] < 0.1
    angle, coherence = direction(8, 0.02)
    assert coherence > 0.6 and 2 < angle < 14  # 1.1 m/s down for 8 m/s to the right: about 8°
    assert direction(-8, 0.02)[0] == pytest.approx(-angle, abs=2)


def test_the_veil_is_the_extinction_of_the_flakes_that_are_not_drawn(tmp_path: Path) -> None:
    gt = cut(128, 192)
    depth = np.full((128, 192), 40.0, np.float32)
    depth[:64] = np.inf
    np.save(tmp_path / "photo.npy", depth)
    place = Place("photo.jpg", 0, 0, 192, 128, 192, 128)
    snow = Snowy(rate=2, size=4, veil=1, depth=str(tmp_path))
    params = snow.draw(Rng("2a"), gt, place)
    fall = _Snowfall(params, 128, 192)
    bare = snow.apply(gt, {**params, "veil": 0.0}).truth["alpha"].astype(float) / 65535
    veiled = snow.apply(gt, params).truth["alpha"].astype(float) / 65535
    clear = (1 - veiled) / (1 - bare)
    assert np.median(clear[70:]) == pytest.approx(np.exp(-fall.extinction * (40 - fall.far)), rel=0.002)
    assert np.median(clear[:60]) == pytest.approx(np.exp(-fall.extinction * (REACH - fall.far)), rel=0.002)


def test_flakes_carry_the_water_that_was_asked_for() -> None:
    """Number times mean mass times speed, in kg/m²/s, is the rate in mm/h over 3600."""
    params: Params = {"rate": 3.0, "size": 4.0, "wind": 0.0, "exposure": 0.01}
    fall = _Snowfall(params, 512, 768)
    mass = 0.089e-6 * 16 * (1 + 1 / 3)  # kg; the mean square of a gamma distribution of shape 3
    assert fall.number * mass * 0.8 * 4**0.2 == pytest.approx(3 / 3600, rel=1e-9)


def test_snow_is_darker_at_dusk() -> None:
    by_day, at_dusk = (Snowy().draw(Rng("2a"), flat(64, 64, level))["colour"] for level in (230, 70))
    assert all(dusk < 0.6 * day for dusk, day in zip(at_dusk, by_day, strict=True))


def test_pixels_are_frozen() -> None:
    """If this fails, raise `Snowy.version`: stored samples can no longer be replayed."""
    gt = cut(96, 128)
    settings = Snowy(rate=3, size=4, wind=1, exposure=0.005, aperture=4, veil=0.2, brightness=0.9, warmth=-0.2)
    lq = Snowy().apply(gt, settings.draw(Rng("2a"), gt)).image
    assert hashlib.sha256(lq.tobytes()).hexdigest()[:16] == "009fba8165b11ae6"


def test_large_flakes_are_as_large_as_the_published_ones() -> None:
    """Snow100K's largest are 7.5 to 9.5 px across: the 95th percentile of what is clearly brighter, in 481×321 px."""
    gt = cut(321, 481)
    found = [
        form_blobs(gt, Snowy(veil=0).apply(gt, Snowy(veil=0).draw(Rng(f"{i:x}"), gt)).image, 60) for i in range(1, 9)
    ]
    assert 6 < np.median([one.largest for one in found]) < 11


def test_snow_is_white_and_leaves_a_close_up_clear() -> None:
    colours = [Snowy().draw(Rng(f"{i:x}"), photo())["colour"] for i in range(30)]
    assert all(abs(red / blue - 1) < 0.06 for red, _, blue in colours)
    close = np.full((240, 320, 3), 90, np.uint8)  # a blurred background behind a textured thing
    close[60:180, 80:240] = np.random.default_rng(0).integers(40, 200, (120, 160, 1))
    params = Snowy(veil=0.3, rate=6).draw(Rng("2a"), close)
    veiled, clear = (Snowy().apply(close, {**params, "veil": veil}).image.astype(int) for veil in (0.3, 0.0))
    assert np.abs(veiled - clear).mean() < 0.5
