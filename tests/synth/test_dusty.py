from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Degraded, Place
from patina.synth.degradations.dusty import ABSORBED, DUST, Dusty, colour_of
from patina.synth.degradations.hazy import Hazy
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from patina.synth.scales import Scale
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo

# For test_contract.py and test_ladder.py
STRENGTHS = [{"beta": 3.912 / visibility} for visibility in (20000, 2000, 500, 150, 50, 20, 10)]
WIDE = Dusty(
    visibility={"min": 10, "max": 50000},
    scene={"min": 0, "max": 2000},
    relief={"min": 1, "max": 10},
    tint={"min": 0, "max": 3},
    iron={"min": 0, "max": 1},
    airlight={"min": 0, "max": 1},
    spectrum={"min": -0.5, "max": 1.5},
    gradient={"min": 0, "max": 1},
    layer={"min": 5, "max": 10000},
    patches={"min": 0, "max": 1},
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"visibility": 5}, "visibility: expected 10 to 50000, found 5"),
    ({"scene": -1}, "scene: expected 0 to 2000, found -1"),
    ({"relief": 0}, "relief: expected 1 to 10, found 0"),
    ({"iron": 2}, "iron: expected 0 to 1, found 2"),
    ({"tint": 4}, "tint: expected 0 to 3, found 4"),
    ({"airlight": 2}, "airlight: expected 0 to 1, found 2"),
    ({"spectrum": 2}, "spectrum: expected -0.5 to 1.5, found 2"),
    ({"gradient": -1}, "gradient: expected 0 to 1, found -1"),
    ({"layer": 1}, "layer: expected 5 to 10000, found 1"),
    ({"patches": 2}, "patches: expected 0 to 1, found 2"),
    ({"depth": "nowhere/at/all"}, "depth: expected a folder of depth maps, found no folder at nowhere/at/all"),
]
TOLD: dict[str, tuple[Scale, str, float]] = {"visibility": (DUST, r"visibility about ([\d.]+) m", 1)}


def linear(image: Image) -> NDArray[np.float64]:
    return to_linear(to_float(image)).astype(np.float64)


def blown(image: Image, degradation: Dusty, **params: Any) -> tuple[dict[str, Any], Degraded]:
    drawn = {**degradation.draw(Rng("2a"), image), **params}
    return drawn, degradation.apply(image, drawn)


def test_a_grain_that_absorbs_nothing_is_white_and_blue_is_lost_first() -> None:
    assert colour_of(0) == [1, 1, 1]
    for tint in (0.3, 1.0, 2.0, 3.0):
        red, green, blue = colour_of(tint)
        assert red == 1 > green > blue > 0
    assert colour_of(2)[2] < colour_of(1)[2] < colour_of(0.5)[2]


def test_iron_makes_dust_red() -> None:
    """It takes green before it takes much more of the blue, and no red."""
    for tint in (0.5, 1.5, 3.0):
        ochre, red = colour_of(tint), colour_of(tint, 1)
        assert red[0] == 1 and red[1] < 0.93 * ochre[1] and red[2] < ochre[2]


@pytest.mark.parametrize("scene", [20.0, 300.0])
def test_all_of_a_picture_lies_in_dust_and_what_is_far_more_so(scene: float) -> None:
    """Where distances are a guess, they lie between 2/(1 + relief) and relief times that of the scene's metres."""
    params, degraded = blown(photo(), Dusty(), scene=scene, relief=4.0, visibility=200, patches=0)
    metres = degraded.truth["depth"] * params["depth_step"]
    assert metres.min() >= 0.4 * scene - 0.04 and metres.max() <= 1.6 * scene + 0.04
    assert np.percentile(metres, 90) > 1.5 * np.percentile(metres, 10)
    assert np.abs(np.diff(metres, axis=0)).max() < 0.05 * scene, "no fine edges"


def test_depth_maps_keep_their_metres(tmp_path: Path) -> None:
    np.save(tmp_path / "here.npy", np.full((64, 64), 33.0, np.float32))
    dust, place = Dusty(scene=500, depth=str(tmp_path)), Place("here.jpg", 0, 0, 64, 64, 64, 64)
    params = dust.draw(Rng("2"), cut(64, 64), place)
    metres = dust.apply(cut(64, 64), params).truth["depth"] * params["depth_step"]
    assert params["scene"] == 0 and metres == pytest.approx(np.full((64, 64), 33.0), abs=0.01)


def test_reflectance_is_that_of_a_thick_layer() -> None:
    """The simpler law (1 − q)/(1 + q) of light that is scattered evenly is within a tenth of it."""
    for tint in (0.3, 1.0, 2.0):
        shares = tint * np.array(ABSORBED)
        q = np.sqrt(shares / (1 - (1 - shares) * 0.7))
        simple = (1 - q) / (1 + q)
        assert colour_of(tint) == pytest.approx(simple / simple.max(), rel=0.1)


def test_it_is_koschmieders_law_in_light() -> None:
    """I = s·J·t + A·(1 − t), from the parameters and the truth alone."""
    degradation = Dusty(gradient=0, patches=0.3, spectrum=0.3)
    params, degraded = blown(photo(), degradation)
    t = degraded.truth["transmission"][..., None] / 65535
    shares = np.concatenate([t**e for e in params["extinction"]], axis=-1)
    told = linear(photo()) * params["sunlight"] * shares + np.array(params["airlight"]) * (1 - shares)
    assert np.abs(linear(degraded.image) - np.minimum(told, 1))[t[..., 0] > 0.01].max() < 0.01


def test_at_the_visibility_a_black_thing_has_two_percent_of_contrast() -> None:
    params, degraded = blown(flat(64, 64, 0), Dusty(visibility=200, gradient=0, patches=0, layer=10000))
    depth = degraded.truth["depth"] * params["depth_step"]
    below = np.zeros_like(depth, bool)
    below[40:] = True  # the ground's rays stay in the full density
    t = degraded.truth["transmission"] / 65535
    assert t[below] == pytest.approx(0.02 ** (depth / 200)[below], rel=0.02, abs=2e-4)


def test_white_dust_is_the_haze_of_the_same_parameters() -> None:
    """Of one law there is one result: `hazy` with a grey air gives the same bits."""
    params = Dusty(tint=0, spectrum=0, visibility=150, scene=0).draw(Rng("7"), photo())
    assert params["sunlight"] == [1, 1, 1] and len(set(params["airlight"])) == 1
    haze = {**params, "model": "physical", "light": "linear"}
    assert np.array_equal(Dusty().apply(photo(), params).image, Hazy().apply(photo(), haze).image)


def test_more_dust_makes_scene_and_air_warmer() -> None:
    shown = []
    for visibility in (20000, 2000, 300, 40):
        params, degraded = blown(flat(96, 96, 150), Dusty(visibility=visibility, gradient=0, patches=0, tint=1.2))
        mean = linear(degraded.image).mean(axis=(0, 1))
        shown.append(mean[2] / mean[0])
        assert params["airlight"][0] > params["airlight"][1] > params["airlight"][2]
    assert shown == sorted(shown, reverse=True) and shown[0] > 0.75 and shown[-1] < 0.5


def test_air_over_a_dark_picture_is_darker() -> None:
    day, night = (Dusty(airlight=0.8).draw(Rng("3"), flat(64, 64, level))["airlight"][0] for level in (220, 20))
    assert night < day / 3


@pytest.mark.parametrize(
    ("visibility", "words"),
    [
        (20000.0, "thin dust haze, visibility about 20000 m"),
        (7000.0, "dust haze, visibility about 7000 m"),
        (2400.0, "blowing dust, visibility about 2400 m"),
        (996.0, "blowing dust, visibility about 1000 m"),
        (640.0, "a sandstorm, visibility about 640 m"),
        (120.0, "a strong sandstorm, visibility about 120 m"),
        (30.0, "an extremely strong sandstorm, visibility about 30 m"),
    ],
)
def test_words_are_the_weather_services(visibility: float, words: str) -> None:
    assert say("dusty", {"visibility": visibility}).phrase == words


def test_defaults_are_dust_and_no_fog() -> None:
    """The air is warm in every draw."""
    for i in range(20):
        red, _, blue = Dusty().draw(Rng(f"{i:x}"), cut(64, 64))["airlight"]
        assert 0.1 < blue / red < 0.75
