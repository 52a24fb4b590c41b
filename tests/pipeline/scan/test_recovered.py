"""What is recovered of a pair is exactly what was put in; what is not certain is not told."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patina.pipeline.scan.recovered import RECOVERIES, TRUTH, Recovered, rain_layer, recover, reside_parameters
from patina.synth.degradations.rainy import Rainy
from patina.synth.image import Image
from patina.synth.rng import Rng
from tests.pipeline.making import picture

GT = picture(240, 160, seed=5)


def streaks(angle: float, strength: int = 90) -> NDArray[np.int16]:
    """Short bright lines that fall `angle` degrees to the right of the vertical."""
    layer = np.zeros(GT.shape[:2], np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(120):
        x, y = int(rng.integers(240)), int(rng.integers(160))
        dx, dy = round(24 * math.sin(math.radians(angle))), round(24 * math.cos(math.radians(angle)))
        cv2.line(layer, (x, y), (x + dx, y + dy), int(rng.integers(strength // 2, strength)), 2, cv2.LINE_AA)
    return cv2.GaussianBlur(layer, (0, 0), 0.8).astype(np.int16)


def rained(gt: Image, layer: NDArray[np.int16]) -> Image:
    return np.clip(gt.astype(np.int16) + layer[..., None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "airlight", "beta"),
    [
        ("0025_0.8_0.1.jpg", 0.8, 0.1),
        ("0048_0.9_0.2.jpg", 0.9, 0.2),
        ("3827_0.85_0.08.jpg", 0.85, 0.08),
        ("0240_1_0.04.png", 1.0, 0.04),
        ("part1/0001_0.95_0.16.JPG", 0.95, 0.16),
        ("0001_0.8_0.12", 0.8, 0.12),  # without a suffix, .12 is none
    ],
)
def test_names_of_outdoor_haze_carry_airlight_and_beta(name: str, airlight: float, beta: float) -> None:
    assert reside_parameters(name) == {"airlight": airlight, "beta": beta}


@pytest.mark.parametrize(
    "name",
    [
        "a_1.5_99.jpg",
        "1400_1.png",  # SOTS indoor: image and variant
        "1_1_0.90179.png",  # ITS: nobody says what the number is
        "1000_1_0.74905.png",
        "1_0.89_1.56.png",
        "0025_0.8.jpg",
        "0025_0.75_0.1.jpg",
        "0025_0.8_0.3.jpg",
        "0025_0.8_0.05.jpg",
        "0025_0.83_0.1.jpg",
        "0025_0.8_0.1_x.jpg",
        "x0025_0.8_0.1.jpg",
        "00025_0.8_0.1.jpg",
        "0025_0.8_0.1.txt",
        "",
    ],
)
def test_names_that_merely_look_alike_tell_nothing(name: str) -> None:
    assert reside_parameters(name) == {}


def test_a_layer_comes_back_exactly_wherever_one_channel_does_not_clip() -> None:
    layer = streaks(15, strength=220)
    lq = rained(GT, layer)
    found = rain_layer(lq, GT)
    assert found is not None
    open_somewhere = (lq < 255).any(axis=2)
    partly = open_somewhere & (lq == 255).any(axis=2)
    assert partly.sum() > 20, "some pixels clip in one channel and not in another"
    assert np.array_equal(found.layer[open_somewhere], layer[open_somewhere])
    assert np.array_equal(found.clipped, ~open_somewhere)
    assert found.clipped.sum() > 50
    assert (found.layer[found.clipped] <= layer[found.clipped]).all(), "a lower bound"
    assert np.array_equal(rained(GT, found.layer.astype(np.int16)), lq), "the pair comes back whole"


def test_figures_of_a_layer_are_those_that_it_has() -> None:
    layer = streaks(0, strength=100)
    dark = (GT // 3).astype(np.uint8)  # nothing clips
    found = rain_layer(rained(dark, layer), dark)
    assert found is not None
    assert found.saturated == 0
    assert found.coverage == pytest.approx((layer > 2).mean(), abs=1e-4)
    assert found.median == np.median(layer[layer > 2])


@pytest.mark.parametrize("angle", [-40, -20, 0, 12, 45])
def test_streaks_are_coherent_and_their_angle_is_found(angle: float) -> None:
    found = rain_layer(rained(GT, streaks(angle)), GT)
    assert found is not None
    assert found.angle == pytest.approx(angle, abs=2)
    assert found.coherence > 0.6


def test_clipped_places_do_not_turn_the_angle() -> None:
    """There the lower bound follows the clean image: here a white picture's horizontal bars."""
    gt = GT.copy()
    gt[::6] = gt[1::6] = (250, 240, 228)
    found = rain_layer(rained(gt, streaks(30, strength=200)), gt)
    assert found is not None
    assert found.saturated > 0.01
    assert found.angle == pytest.approx(30, abs=4)


def test_rain_of_two_directions_is_coherent_and_noise_is_not() -> None:
    both = rain_layer(rained(GT, np.maximum(streaks(40), streaks(-40)[:, ::-1])), GT)
    specks = rain_layer(rained(GT, np.random.default_rng(0).integers(0, 60, GT.shape[:2]).astype(np.int16)), GT)
    assert both is not None
    assert specks is not None
    assert both.coherence > specks.coherence + 0.2


@pytest.mark.parametrize("seed", ["1", "2"])
def test_synthesised_rain_is_recovered(seed: str) -> None:
    rain = Rainy(rate=20)
    result = rain.apply(GT, rain.draw(Rng(seed), GT))
    found = recover("rainy", "norain-1.png", result.image, GT)
    sure = found.truth["clipped"] == 0
    difference = found.truth["streaks"].astype(np.int32) - result.truth["streaks"]
    assert not difference[sure].any(), "in levels, as those of synthesised rain"


def test_a_jpeg_compressed_pair_is_not_of_that_structure() -> None:
    lq = cv2.imdecode(
        cv2.imencode(".jpg", rained(GT, streaks(10)), [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR
    )
    assert rain_layer(lq, GT) is None


def veiled(gt: Image) -> Image:
    return np.rint(gt * 0.7 + 200 * 0.3).astype(np.uint8)


@pytest.mark.parametrize(
    "lq",
    [
        GT,
        veiled(GT),
        (GT * 0.8).astype(np.uint8),
        rained(GT, streaks(0)) // 2,
        np.full_like(GT, 255),
        rained(GT, streaks(0))[:, :-1],
        np.clip(GT + np.random.default_rng(1).normal(0, 5, GT.shape), 0, 255).astype(np.uint8),
        np.maximum(GT, (streaks(0)[..., None] * [1.0, 0.7, 0.4]).astype(np.uint8)),
    ],
    ids=["no rain", "veil", "darker", "halved", "white", "other size", "noise", "tinted"],
)
def test_other_pairs_are_not_of_that_structure(lq: Image) -> None:
    assert rain_layer(lq, GT) is None
    assert recover("rainy", "1.png", lq, GT) == Recovered()


def test_a_grey_pair_proves_nothing() -> None:
    grey = np.repeat(GT[..., 1:2], 3, axis=2)
    assert rain_layer(rained(grey, streaks(0)), grey) is None


def test_one_entry_for_all_labels() -> None:
    lq = rained(GT, streaks(20, strength=200))
    before = lq.copy(), GT.copy()
    rain = recover("rainy", "0025_0.8_0.1.jpg", lq, GT)
    assert set(rain.params) == {"model", "coverage", "median", "saturated", "coherence", "angle"}
    assert {name: (values.dtype, values.shape) for name, values in rain.truth.items()} == {
        "streaks": (np.dtype(np.uint8), GT.shape[:2]),
        "clipped": (np.dtype(np.uint8), GT.shape[:2]),
    }
    assert set(np.unique(rain.truth["clipped"])) == {0, 255}
    again = recover("rainy", "other.png", lq, GT)
    assert again.params == rain.params
    assert all(np.array_equal(again.truth[name], values) for name, values in rain.truth.items())
    assert np.array_equal(before[0], lq)
    assert np.array_equal(before[1], GT)
    assert recover("hazy", "0025_0.8_0.1.jpg", lq, GT) == Recovered({"airlight": 0.8, "beta": 0.1})
    assert recover("hazy", "1400_1.png", lq, GT) == Recovered()
    assert recover("snowy", "0025_0.8_0.1.jpg", lq, GT) == Recovered()
    assert RECOVERIES.keys() == TRUTH.keys()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 255), st.floats(0.05, 1))
def test_any_grey_layer_comes_back(seed: int, strength: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    gt = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    layer = (rng.integers(0, strength + 1, (24, 32)) * (rng.random((24, 32)) < share)).astype(np.int16)
    lq = rained(gt, layer)
    found = rain_layer(lq, gt)
    if found is None:
        judged = ((lq < 255).sum(axis=2) >= 2).mean()
        assert (layer > 2).mean() < 0.05 or judged < 0.05, "only where there is next to nothing to see"
        return
    sure = (lq < 255).any(axis=2)
    assert np.array_equal(found.layer[sure], layer[sure])
    assert np.array_equal(rained(gt, found.layer.astype(np.int16)), lq)
