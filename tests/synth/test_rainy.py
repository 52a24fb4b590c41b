import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Place
from patina.synth.degradations.rainy import LIKE, Rainy, _leans
from patina.synth.form import lean, psnr_y
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"rate": rate} for rate in (0.1, 0.5, 2.5, 10.0, 30.0, 100.0, 300.0)]
WIDE = Rainy(rate={"min": 0.1, "max": 300}, angle={"min": -45, "max": 45}, veil=[0, 1])
BAD: list[tuple[dict[str, Any], str]] = [
    ({"rate": 0}, "rate: expected 0.1 to 300, found 0"),
    ({"rate": {"min": 1, "max": 500}}, "rate: expected 0.1 to 300, found 500"),
    ({"angle": 60}, "angle: expected -45 to 45, found 60"),
    ({"directions": 12}, "directions: expected 1 to 9, found 12"),
    ({"fan": -5}, "fan: expected 0 to 60, found -5"),
    ({"blend": "multiply"}, "blend: expected one of add, screen, found 'multiply'"),
    ({"exposure": 1}, "exposure: expected 0.0005 to 0.05, found 1"),
    ({"brightness": -1}, "brightness: expected 0 to 100, found -1"),
    ({"aperture": [1, 50]}, "aperture: expected 0 to 30, found 50"),
    ({"veil": "thick"}, "veil: expected a number from 0 to 20, found 'thick'"),
    ({"light": "gamma"}, "light: expected one of encoded, linear, found 'gamma'"),
    ({"depth": "/no/such/folder"}, "depth: expected a folder of depth maps, found no folder at /no/such/folder"),
]

HEAVY = Rainy(**LIKE["rain100h"])


def streaks(degradation: Rainy, seed: str = "2a", image: Image | None = None) -> NDArray[np.float32]:
    """S in [0, 1], to 1/65535: what is added to light is the same layer, and finer as a map."""
    gt = flat(512, 768, 60) if image is None else image
    fine = replace(degradation, light="linear")
    truth = fine.apply(gt, fine.draw(Rng(seed), gt)).truth["streaks"]
    assert truth.dtype == np.uint16
    return truth.astype(np.float32) / 65535


def lean_and_coherence(layer: NDArray[np.float32]) -> tuple[float, float]:
    """From the structure tensor of the whole layer: degrees from the vertical, above 0 to the lower right; and
    (λ1 − λ2)/(λ1 + λ2)."""
    right, down = cv2.Scharr(layer, cv2.CV_32F, 1, 0), cv2.Scharr(layer, cv2.CV_32F, 0, 1)
    xx, xy, yy = (float((a * b).mean(dtype=np.float64)) for a, b in ((right, right), (right, down), (down, down)))
    return -math.degrees(math.atan2(2 * xy, xx - yy)) / 2, math.hypot(xx - yy, 2 * xy) / (xx + yy)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_rain_is_a_grey_layer_that_only_adds(seed: str) -> None:
    """The structure of Rain100: no chroma and nothing below 0, exactly, wherever nothing clips."""
    gt, rain = photo(), Rainy()
    degraded = rain.apply(gt, rain.draw(Rng(seed), gt))
    residual = degraded.image.astype(int) - gt
    assert residual.min() >= 0
    unclipped = (degraded.image < 255).all(axis=2)
    assert unclipped.mean() > 0.3
    assert np.ptp(residual, axis=2)[unclipped].max() == 0
    layer = degraded.truth["streaks"]
    assert layer.dtype == np.uint8
    assert np.array_equal(degraded.image, np.clip(gt + layer[..., None].astype(int), 0, 255)), "the map tells all of it"


@pytest.mark.parametrize(("rate", "exposure"), [(5, 0.01), (60, 0.015), (200, 0.033)])
def test_streaks_are_coherent(rate: float, exposure: float) -> None:
    assert lean_and_coherence(streaks(Rainy(rate=rate, exposure=exposure)))[1] >= 0.7


@pytest.mark.parametrize("angle", [-45, -30, -8, 0, 15, 40])
@pytest.mark.parametrize("rate", [5, 80])
def test_streaks_lean_as_asked(angle: float, rate: float) -> None:
    assert lean_and_coherence(streaks(Rainy(angle=angle, rate=rate)))[0] == pytest.approx(angle, abs=2)


def test_rain_hides_more_the_heavier_it_is() -> None:
    """On a photograph of middling brightness, for several populations of drops."""
    for seed in "1234":
        params = Rainy().draw(Rng(seed), photo())
        rates = [1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 200.0, 300.0]
        figures = [psnr(photo(), Rainy().apply(photo(), {**params, "rate": rate}).image) for rate in rates]
        assert figures == sorted(figures, reverse=True)


def test_the_heavy_setting_looks_like_the_heavy_pair_that_was_measured() -> None:
    """Rain100H/079: 13.05 dB, three quarters of the picture covered, coherence 0.83; a band around each."""
    layer = streaks(HEAVY)
    assert 0.6 < (layer > 2 / 255).mean() <= 1
    assert 20 < np.median(layer[layer > 2 / 255]) * 255 < 80


@pytest.mark.parametrize(("name", "luma"), [("rain100l", 26.9), ("rain100h", 13.55), ("rain1200", 23.6)])
def test_settings_like_a_set_reach_its_figure_in_luma(name: str, luma: float) -> None:
    """On one photograph of middling brightness, over draws; a band, since the sets' photographs are others."""
    rain = Rainy(**LIKE[name])
    found = [psnr_y(photo(), rain.apply(photo(), rain.draw(Rng(seed), photo())).image) for seed in "12345"]
    assert np.mean(found) == pytest.approx(luma, abs=2.0)


def test_default_rain_leans_little_and_heavy_rain_falls_in_several_directions() -> None:
    leans = [lean(gt := photo(), (rain := Rainy()).apply(gt, rain.draw(Rng(f"{i:x}"), gt)).image) for i in range(1, 13)]
    assert max(map(abs, leans)) < 18 and min(leans) < 0 < max(leans)
    params = HEAVY.draw(Rng("2a"), photo())
    found = np.degrees(np.arctan(_leans(params)))
    assert len(found) == 5 and np.ptp(found) == pytest.approx(20) and np.mean(found) == pytest.approx(params["angle"])
    assert np.abs(found).max() <= 15.01


def test_several_directions_are_in_the_picture() -> None:
    """The spread of the gradients' directions grows with the fan, and the mean direction stays."""
    params = {**Rainy(rate=20, angle=5, exposure=0.02, aperture=1).draw(Rng("2a"), photo()), "directions": 5}
    gt = flat(512, 768, 60)
    found = []
    for fan in (0.0, 20.0, 40.0):
        layer = Rainy().apply(gt, {**params, "fan": fan}).truth["streaks"].astype(np.float32) / 65535
        found.append(lean_and_coherence(layer))
    coherences = [coherence for _, coherence in found]
    assert coherences == sorted(coherences, reverse=True) and coherences[2] < coherences[0] - 0.1
    assert all(angle == pytest.approx(5, abs=4) for angle, _ in found)


def test_screened_rain_is_a_blend_with_white() -> None:
    gt, rain = cut(128, 160), Rainy(blend="screen", rate=60)
    degraded = rain.apply(gt, rain.draw(Rng("2a"), gt))
    layer = degraded.truth["streaks"][..., None] / 65535
    assert np.abs(degraded.image - (gt + layer * (255.0 - gt))).max() <= 0.51
    assert (degraded.image == 255).mean() < 0.2


def test_longer_exposures_leave_longer_and_fainter_streaks() -> None:
    def look(exposure: float) -> tuple[float, float]:
        layer = streaks(Rainy(rate=10, angle=0, exposure=exposure, aperture=1))
        centred = layer - layer.mean()
        along = [float((centred[:-shift] * centred[shift:]).mean()) / float(centred.var()) for shift in range(1, 60)]
        return next((i for i, c in enumerate(along) if c < 0.3), 60), float(np.percentile(layer, 99.5))

    short, long = look(0.004), look(0.016)
    assert long[0] > 2 * short[0]
    assert long[1] < short[1]


def test_what_a_drop_adds_does_not_depend_on_the_shutter() -> None:
    """Twice the time, twice the length at half the brightness: the mean of the layer stays, but for what leaves it."""
    means = [
        float(streaks(Rainy(rate=20, exposure=e, brightness=4), image=flat(700, 700, 0)).mean()) for e in (0.004, 0.008)
    ]
    assert means[1] == pytest.approx(means[0], rel=0.35)


def test_focus_matters_and_keeps_what_is_added() -> None:
    sharp, soft = (streaks(Rainy(rate=10, brightness=3, aperture=a)) for a in (0, 15))
    assert soft.mean() == pytest.approx(sharp.mean(), rel=0.05)
    assert cv2.Laplacian(soft, cv2.CV_32F).std() < 0.8 * cv2.Laplacian(sharp, cv2.CV_32F).std()


def test_streaks_scale_with_the_picture() -> None:
    """Twice the pixels a side: the same drops twice as large, so that averaged down it looks the same."""
    params = Rainy(rate=20, brightness=4).draw(Rng("2a"), photo())
    small, large = (
        Rainy().apply(flat(side, side, 0), params).truth["streaks"].astype(np.float32) / 255 for side in (256, 1024)
    )
    averaged = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(averaged.ravel(), small.ravel())[0, 1] > 0.9
    assert averaged.mean() == pytest.approx(small.mean(), rel=0.1)


def test_the_map_of_8_bits_is_that_of_16_rounded() -> None:
    params = HEAVY.draw(Rng("2a"), photo())
    coarse, fine = (
        HEAVY.apply(photo(), {**params, "light": light}).truth["streaks"] for light in ("encoded", "linear")
    )
    assert np.array_equal(coarse, np.rint(fine / 257))
    assert len(np.unique(coarse)) > 100


def test_added_to_light_it_is_the_same_layer() -> None:
    gt, rain = cut(128, 160), Rainy(light="linear", brightness=3)
    params = rain.draw(Rng("2a"), gt)
    degraded = rain.render(to_float(gt), params)
    layer = degraded.truth["streaks"].astype(np.float32) / 65535
    expected = np.minimum(to_linear(to_float(gt)) + layer[..., None], 1)
    assert np.abs(to_linear(degraded.image) - expected).max() < 1e-4


def test_the_veil_takes_contrast_from_what_is_far(tmp_path: Path) -> None:
    gt = cut(200, 300)
    depth = np.full((200, 300), 2.0, np.float32)
    depth[:100] = 500.0
    np.save(tmp_path / "photo.npy", depth)
    place = Place("photo.jpg", 0, 0, 300, 200, 300, 200)
    rain = Rainy(rate=100, brightness=0, veil=1, depth=str(tmp_path))
    lq = rain.render(to_float(gt), rain.draw(Rng("2a"), gt, place)).image
    before, after = to_linear(to_float(gt)), to_linear(lq)
    beta = math.pi * 8000 / (4.1 * 100**-0.21) ** 3 * 1e-6  # Λ by hand
    for rows, metres in ((np.s_[:90], 500), (np.s_[110:], 2)):
        kept, added = np.polyfit(before[rows].ravel(), after[rows].ravel(), 1)
        assert kept == pytest.approx(math.exp(-beta * metres), rel=0.001)
        assert added == pytest.approx(0.6 * (1 - kept), abs=0.001)


def test_pixels_are_frozen() -> None:
    """If this fails, raise `Rainy.version`: stored samples can no longer be replayed."""
    gt = cut(96, 128)
    params = Rainy(rate=40, angle=12, exposure=0.01, brightness=8, aperture=3).draw(Rng("2a"), gt)
    lq = Rainy().apply(gt, params).image
    assert hashlib.sha256(lq.tobytes()).hexdigest()[:16] == "5ea315a2bcc3eac5"
