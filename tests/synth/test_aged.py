from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Degraded
from patina.synth.degradations.aged import DEEPEST, FADES, FADING, PAPER, STAIN, Aged
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from patina.synth.scales import Scale
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo

# For test_contract.py and test_ladder.py
STRENGTHS = [{"fading": fading, "uneven": 0.2} for fading in (0.0, 0.1, 0.25, 0.45, 0.65, 0.95)]
WIDE = Aged(
    fading={"min": 0, "max": 0.95},
    kinds=list(FADES),
    yellowing={"min": 0, "max": 1},
    uneven={"min": 0, "max": 1},
    softness={"min": 0, "max": 8},
    stains={"min": 0, "max": 12},
    folds={"min": 0, "max": 6},
    tears={"min": 0, "max": 6},
    damage={"min": 0, "max": 0.12},
    grain={"min": 0, "max": 0.15},
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"fading": 1}, "fading: expected 0 to 0.95, found 1"),
    ({"kinds": "gold"}, "kinds: expected one or a list of dark, light, silver, sepia, found 'gold'"),
    ({"kinds": []}, "kinds: expected one or a list of dark, light, silver, sepia, found []"),
    ({"yellowing": 2}, "yellowing: expected 0 to 1, found 2"),
    ({"uneven": -1}, "uneven: expected 0 to 1, found -1"),
    ({"softness": 9}, "softness: expected 0 to 8, found 9"),
    ({"stains": 1.5}, "stains: expected a whole number, found 1.5"),
    ({"folds": 7}, "folds: expected 0 to 6, found 7"),
    ({"tears": 9}, "tears: expected 0 to 6, found 9"),
    ({"damage": 0.5}, "damage: expected 0 to 0.12, found 0.5"),
    ({"grain": 0.2}, "grain: expected 0 to 0.15, found 0.2"),
]
TOLD: dict[str, tuple[Scale, str, float]] = {"fading": (FADING, r"about ([\d.]+)% of its density", 0.01)}
FRESH: dict[str, Any] = {
    "fading": 0.0,
    "kind": "dark",
    "rates": list(FADES["dark"]),
    "tone": [1.0, 1.0, 1.0],
    "yellowing": 0.0,
    "uneven": 0.0,
    "softness": 0.0,
    "stains": 0,
    "folds": 0,
    "tears": 0,
    "damage": 0.0,
    "grain": 0.0,
    "seed": "2a",
}


def aged(image: Image, **params: Any) -> Degraded:
    return Aged().apply(image, FRESH | params)


def linear(image: Image) -> NDArray[np.float64]:
    return to_linear(to_float(image)).astype(np.float64)


def test_a_fresh_print_is_the_picture() -> None:
    degraded = aged(photo())
    assert np.array_equal(degraded.image, photo())
    assert (degraded.truth["mask"] == 255).all()


@pytest.mark.parametrize("fading", [0.2, 0.5, 0.8])
def test_density_fades_in_proportion(fading: float) -> None:
    """Of a grey that reflects 10^-D as much as paper, 10^-(1 − f)D is left, each dye at its rate; white stays white."""
    for level in (60, 128, 200):
        grey = flat(32, 32, level)
        deepest = 10**-DEEPEST
        density = -np.log10(deepest + (1 - deepest) * linear(grey)[0, 0])
        told = 10 ** (-density * (1 - fading * np.array(FADES["dark"])))
        assert linear(aged(grey, fading=fading).image)[5, 5] == pytest.approx(told, abs=0.012)
    assert (aged(flat(32, 32, 255), fading=fading).image == 255).all()
    assert (aged(flat(32, 32, 0), fading=fading).image > 5).all(), "a faded black is grey"


def test_prints_kept_in_the_dark_turn_red_and_those_in_the_light_turn_green() -> None:
    grey = flat(32, 32, 110)
    red, _, blue = linear(aged(grey, fading=0.5).image).mean(axis=(0, 1))
    assert red > 1.15 * blue
    lit = linear(aged(grey, fading=0.5, kind="light", rates=list(FADES["light"])).image).mean(axis=(0, 1))
    assert lit[0] < 0.87 * min(lit[1:]) and lit[1] == max(lit)


def test_silver_prints_have_no_colours() -> None:
    shown = aged(photo(), kind="silver", rates=[1.0] * 3, fading=0.3).image
    assert np.abs(np.diff(shown.astype(int), axis=2)).max() <= 1
    luminance = linear(photo()) @ (0.2126, 0.7152, 0.0722)
    order = np.argsort(luminance.ravel())[::5000]
    assert (np.diff(shown[..., 1].ravel()[order].astype(int)) >= 0).all()


def test_sepia_is_brown_and_of_one_colour() -> None:
    """Greys of the same luminance look the same whatever their colour was; density is greatest in blue."""
    params = Aged(kinds="sepia").draw(Rng("3"), photo())
    assert params["tone"][0] < params["tone"][1] < 1 < params["tone"][2]
    shown = linear(aged(flat(32, 32, 120), kind="sepia", rates=[1.0] * 3, tone=params["tone"]).image)[5, 5]
    assert shown[0] > 1.1 * shown[1] > 1.2 * shown[2]
    assert Aged(kinds="dark").draw(Rng("3"), photo())["tone"] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["dark", "sepia"])
def test_softness_is_a_gaussian_in_light(kind: str) -> None:
    """A white line on black keeps its light, and is as wide as was asked for: 2 px at 8 thousandths of 256."""
    line = np.zeros((256, 256, 3), np.uint8)
    line[:, 128] = 255
    shown = linear(aged(line, kind=kind, rates=[1.0] * 3, softness=8.0).image)[100, :, 1]
    x = np.arange(256) - 128
    assert shown.sum() == pytest.approx(1, abs=0.02)
    assert np.sqrt((shown * x * x).sum() / shown.sum()) == pytest.approx(2.048, rel=0.05)


def test_yellowed_paper_is_what_its_density_says() -> None:
    """Full where half of the picture's density is lost; white itself does not fade."""
    for fading, share in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.9, 1.0)):
        shown = linear(aged(flat(32, 32, 255), yellowing=1.0, fading=fading).image)[5, 5]
        assert shown == pytest.approx(10.0 ** (-share * np.array(STAIN)), abs=0.01)


def test_edges_fade_more_than_the_middle() -> None:
    """Of an even grey, by what the setting says: a share more and a share less."""
    shown = linear(aged(flat(256, 256, 100), fading=0.4, uneven=0.6).image)[..., 0]
    even = linear(aged(flat(256, 256, 100), fading=0.4).image)[0, 0, 0]
    assert shown[118:138, 118:138].mean() < even < shown[[0, -1]].mean()


@pytest.mark.parametrize("damage", [0.005, 0.02, 0.1])
def test_marks_cover_what_was_asked_for_and_the_mask_tells_where(damage: float) -> None:
    """The mask has their soft edges, too: a pixel around each."""
    degraded = aged(photo(), damage=damage)
    gone = degraded.truth["mask"] == 0
    changed = (degraded.image != photo()).any(axis=2)
    assert not (changed & ~gone).any()
    assert set(np.unique(degraded.truth["mask"])) == {0, 255}
    core = cv2.erode(gone.astype(np.uint8), np.ones((3, 3), np.uint8))
    assert core.mean() == pytest.approx(damage, rel=0.25)


def test_where_the_layer_is_gone_paper_shows() -> None:
    black = aged(flat(256, 256, 0), damage=0.1, tears=2)
    brightest = linear(black.image).reshape(-1, 3).max(axis=0)
    assert brightest == pytest.approx(PAPER, abs=0.01)


def test_folds_and_tears_are_lines_from_edge_to_edge_and_from_the_edge_inwards() -> None:
    for seed in "1234":
        fold = aged(photo(), folds=1, seed=seed)
        gone = fold.truth["mask"] == 0
        rows, columns = np.flatnonzero(gone.any(axis=1)), np.flatnonzero(gone.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) > 60 and gone.mean() < 0.03
        assert (fold.image != photo()).any(axis=2).mean() > 1.5 * gone.mean(), "its shading is wider than its crack"
        torn = aged(photo(), tears=1, seed=seed).truth["mask"] == 0
        edge = torn.copy()
        edge[2:-2, 2:-2] = False
        assert edge.any() and 0.0005 < torn.mean() < 0.05


def test_stains_are_brown_and_have_darker_rims() -> None:
    stained = linear(aged(flat(256, 256, 230), stains=3).image) / linear(flat(256, 256, 230))
    dark = stained[..., 2] < 0.97
    assert 0.01 < dark.mean() < 0.9
    assert (stained[dark][:, 0] >= stained[dark][:, 2] - 0.01).all()
    assert np.percentile(stained[..., 2][dark], 2) < 0.8 * np.median(stained[..., 2][dark])


@pytest.mark.parametrize("deviation", [0.02, 0.06])
def test_grain_is_of_the_density_that_was_asked_for_and_clumped(deviation: float) -> None:
    shown = linear(aged(flat(256, 256, 160), grain=deviation).image)[..., 1]
    density = -np.log10(shown)
    assert density.std() == pytest.approx(deviation, rel=0.12)
    noise = density - density.mean()
    beside = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    apart = (noise[:, 4:] * noise[:, :-4]).mean() / noise.var()
    assert beside == pytest.approx(2 / 3, abs=0.06) and abs(apart) < 0.03


@pytest.mark.parametrize("softness", [0.0, 8.0])
@pytest.mark.parametrize(("top", "bottom"), [(0, 5), (17, 44), (60, 61)])
def test_rows_do_not_depend_on_those_that_are_made_with_them(top: int, bottom: int, softness: float) -> None:
    drawn = {"grain": 0.1, "damage": 0.05, "uneven": 0.3, "stains": 2, "softness": softness}
    params = WIDE.draw(Rng("7"), cut(61, 83)) | drawn
    strips = Aged().strips(cut(61, 83), params)
    whole, part = strips.rows(0, 61), strips.rows(top, bottom)
    assert all(np.array_equal(own, plane[top:bottom]) for own, plane in zip(part.pixels, whole.pixels, strict=True))
    assert np.array_equal(part.truth["mask"], whole.truth["mask"][top:bottom])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"fading": 0.05, "damage": 0.0}, "a hardly faded print, about 5% of its density lost"),
        (
            {"fading": 0.2, "damage": 0.008},
            "a slightly faded print, about 20% of its density lost, scratches and dust over about 0.8% of it",
        ),
        ({"fading": 0.3}, "a faded print, about 30% of its density lost"),
        ({"fading": 0.7}, "a badly faded print, about 70% of its density lost"),
        ({"fading": 0.0, "damage": 0.01}, "an old print, scratches and dust over about 1% of it"),
        ({"fading": 0.0, "damage": 0.0}, "no traces of age"),
        ({}, "an old print"),
    ],
)
def test_words_tell_the_fading_and_the_damage(params: dict[str, Any], words: str) -> None:
    assert say("aged", params).phrase == words
