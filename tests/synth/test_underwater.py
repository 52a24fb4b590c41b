from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Degraded
from patina.synth.degradations.underwater import JERLOV, SIGHTING, SLANT, WATER, Underwater
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from patina.synth.scales import Scale
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo

# For test_contract.py and test_ladder.py
STRENGTHS = [{"attenuation": [c, c, c], "forward": 0.1 * c} for c in (0.01, 0.1, 0.3, 0.8, 2.0, 5.0)]
WIDE = Underwater(
    visibility={"min": 0.5, "max": 80},
    waters=list(JERLOV),
    below={"min": 0, "max": 40},
    reach={"min": 0.3, "max": 60},
    veil={"min": 0, "max": 1},
    surface={"min": 0, "max": 1},
    forward={"min": 0, "max": 0.9},
    exposure={"min": 0, "max": 1},
    balance={"min": 0, "max": 1},
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"visibility": 0.1}, "visibility: expected 0.5 to 80, found 0.1"),
    ({"waters": "2C"}, "waters: expected one or a list of I, IA, IB, II, III, 1C, 3C, 5C, 7C, 9C, found '2C'"),
    ({"waters": []}, "waters: expected one or a list of I, IA, IB, II, III, 1C, 3C, 5C, 7C, 9C, found []"),
    ({"below": 50}, "below: expected 0 to 40, found 50"),
    ({"reach": 0}, "reach: expected 0.3 to 60, found 0"),
    ({"veil": 2}, "veil: expected 0 to 1, found 2"),
    ({"surface": 2}, "surface: expected 0 to 1, found 2"),
    ({"forward": 1}, "forward: expected 0 to 0.9, found 1"),
    ({"exposure": 2}, "exposure: expected 0 to 1, found 2"),
    ({"balance": -1}, "balance: expected 0 to 1, found -1"),
    ({"depth": "nowhere/at/all"}, "depth: expected a folder of depth maps, found no folder at nowhere/at/all"),
]
TOLD: dict[str, tuple[Scale, str, float]] = {"visibility": (WATER, r"visibility about ([\d.]+) m", 1)}


def linear(image: Image) -> NDArray[np.float64]:
    return to_linear(to_float(image)).astype(np.float64)


def sunk(image: Image, **settings: Any) -> tuple[dict[str, Any], Degraded]:
    degradation = Underwater(**settings)
    params = degradation.draw(Rng("2a"), image)
    return params, degradation.apply(image, params)


def test_jerlovs_waters_run_from_blue_to_brown() -> None:
    """Each type takes more of every colour than the one before; pure water takes red first, and silt blue."""
    kinds = np.array(list(JERLOV.values()))
    assert (np.diff(kinds, axis=0) >= 0).all()
    assert (kinds[:5, 0] > 2 * kinds[:5, 2]).all() and kinds[-1, 2] > 2 * kinds[-1, 0]


def test_it_is_the_image_formation_model() -> None:
    """I = s·J·T + B·(1 − T), from the parameters and the truth alone, where nothing is scattered forwards."""
    params, degraded = sunk(photo(), forward=0, surface=0)
    green = degraded.truth["transmission"].astype(np.float64)[..., None] / 65535
    shares = green ** (np.array(params["attenuation"]) / params["attenuation"][1])
    told = linear(photo()) * params["daylight"] * shares + np.array(params["water_light"]) * (1 - shares)
    clear = green[..., 0] > 0.02
    assert clear.mean() > 0.2
    assert np.abs(linear(degraded.image) - np.minimum(told, 1))[clear].max() < 0.01


def test_transmission_is_beers_law_over_the_way_in_water() -> None:
    params, degraded = sunk(cut(128, 160), visibility=8, forward=0.4)
    way = degraded.truth["depth"] * params["depth_step"]
    told = np.exp(-(params["attenuation"][1] - params["forward"]) * way)
    assert degraded.truth["transmission"] / 65535 == pytest.approx(told, rel=2e-3, abs=1e-4)
    assert way.max() <= params["reach"] + 1e-3


@pytest.mark.parametrize(("water", "visibility"), [("I", 40.0), ("II", 10.0), ("5C", 3.0)])
def test_the_visibility_is_a_divers(water: str, visibility: float) -> None:
    """c of green is 4.8 over it, and absorption is the water's own: three quarters of Jerlov's K."""
    params, _ = sunk(cut(32, 32), waters=water, visibility=visibility)
    assert params["visibility"] == pytest.approx(visibility)
    assert params["attenuation"][1] == pytest.approx(SIGHTING / visibility, abs=1e-6)
    apart = np.subtract(params["attenuation"], params["attenuation"][1])
    assert apart == pytest.approx(SLANT * np.subtract(JERLOV[water], JERLOV[water][1]), abs=2e-6)


def test_murky_water_is_never_clearer_than_it_can_be() -> None:
    params, _ = sunk(cut(32, 32), waters="9C", visibility=60)
    assert 5 < params["visibility"] < 10
    assert params["attenuation"][1] > SLANT * JERLOV["9C"][1]
    assert say("underwater", params).phrase.startswith("slightly turbid water, visibility about ")


def test_oceans_are_blue_and_coasts_green() -> None:
    ocean, coast = (sunk(photo(), waters=w, below=10, balance=0)[0]["water_light"] for w in ("I", "5C"))
    assert ocean[2] > ocean[1] > ocean[0] and coast[1] > max(coast[0], coast[2])


def test_red_is_gone_first_with_depth() -> None:
    lights = [sunk(photo(), waters="II", below=b, exposure=0, balance=0)[0]["daylight"] for b in (0, 2, 10, 30)]
    assert lights[0] == [1, 1, 1]
    for light, below in zip(lights, (0, 2, 10, 30), strict=True):
        assert light == pytest.approx(np.exp(-np.array(JERLOV["II"]) * below), abs=1e-6)


def test_a_camera_can_make_up_for_all_of_the_daylight() -> None:
    params, _ = sunk(photo(), waters="IB", below=5, exposure=1, balance=1)
    assert params["daylight"] == pytest.approx([1, 1, 1])


def test_far_away_there_is_nothing_but_water() -> None:
    params, degraded = sunk(flat(64, 64, 200), visibility=0.5, reach=60, surface=0)
    gone = degraded.truth["transmission"] == 0
    assert gone.mean() > 0.3
    assert linear(degraded.image)[gone] == pytest.approx(np.tile(params["water_light"], (gone.sum(), 1)), abs=0.01)


def test_water_is_brighter_towards_the_surface() -> None:
    _, degraded = sunk(flat(96, 64, 0), visibility=0.5, reach=60, surface=0.8)
    shown = linear(degraded.image)[..., 1].mean(axis=1)
    assert shown[5] > 1.5 * shown[-6] or shown[5] > 1.5 * shown[60]


def test_light_that_goes_on_nearly_straight_blurs_what_is_far() -> None:
    """Over the same transmission: fine detail is lost, and more of it the more is scattered forwards."""
    grain = (Rng("3").levels(128 * 128 * 3).reshape(128, 128, 3) >> 8).astype(np.uint8)
    params, _ = sunk(grain, visibility=4, surface=0)
    kept = []
    for forward in (0.0, 0.3, 0.9):
        attenuation = [0.4 + forward] * 3
        shown = Underwater().apply(grain, {**params, "attenuation": attenuation, "forward": forward})
        kept.append(linear(shown.image).std())
    assert kept[0] > 1.1 * kept[1] > 1.2 * kept[2]


def test_words_are_about_how_far_one_sees() -> None:
    assert say("underwater", {"visibility": 40.0}).phrase == "very clear water, visibility about 40 m"
    assert say("underwater", {"visibility": 3.14}).phrase == "turbid water, visibility about 3.1 m"
    assert say("underwater", {}).phrase == "a scene under water"
