"""The shape of a point of light, how it goes with depth, and that light is neither lost nor made."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.synth.degradation import Place
from patina.synth.degradations.defocus_blurry import DEFOCUS, STEP, WEIGHT, DefocusBlurry, _aperture, _layers, _level
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo

# For test_contract.py and test_ladder.py
STRENGTHS = [{"radius": float(radius)} for radius in (0, 0.5, 1, 2, 4, 8, 16, 40)]
WIDE = DefocusBlurry(radius={"min": 0, "max": 40}, even={"min": 0, "max": 1}, highlights={"min": 0, "max": 6})
BAD = [
    ({"radius": 41}, "radius: expected 0 to 40, found 41"),
    ({"radius": {"min": 0, "max": 50}}, "radius: expected 0 to 40, found 50"),
    ({"focus": -0.5}, "focus: expected 0 to 1, found -0.5"),
    ({"even": 2}, "even: expected 0 to 1, found 2"),
    ({"blades": 4}, "blades: expected one or a list of 0 and 5 to 9, found 4"),
    ({"blades": [6, 7.0]}, "blades: expected one or a list of 0 and 5 to 9, found [6, 7.0]"),
    ({"blades": []}, "blades: expected one or a list of 0 and 5 to 9, found []"),
    ({"highlights": 7}, "highlights: expected 0 to 6, found 7"),
    ({"depth": "nowhere"}, "depth: expected a folder of depth maps, found no folder at nowhere"),
]
TOLD = {"radius": (DEFOCUS, r"about ([\d.]+) px", 1)}

EVEN: dict[str, Any] = {"focus": 0.5, "even": 1.0, "blades": 0, "angle": 0.3, "highlights": 0.0}


def light_of(image: Image, radius: float, **params: Any) -> Any:
    """Linear light of the blurred picture, before it is quantised."""
    drawn = DefocusBlurry().draw(Rng("2a"), image)
    rendering = DefocusBlurry().render(image, {**drawn, **EVEN, "radius": radius, **params})
    assert rendering.is_linear
    return rendering.pixels.astype(np.float64)


def point(side: int = 512) -> Image:
    image = np.zeros((side, side, 3), np.uint8)
    image[side // 2, side // 2] = 255
    return image


@pytest.mark.parametrize("blades", [0, 5, 6, 8])
@pytest.mark.parametrize("radius", [1.5, 3.0, 6.0, 10.0, 20.0, 40.0])
def test_a_point_of_light_becomes_the_aperture(radius: float, blades: int) -> None:
    """Its light stays, where it was; its spread is that of a disc, whose mean square distance is r²/2; a pixel's own
    extent and that of the reduced size come to it."""
    found = light_of(point(), radius, blades=blades)[..., 1]
    assert found.sum() == pytest.approx(1, rel=0.01)
    y, x = np.mgrid[:512, :512]
    centre = [(found * place).sum() / found.sum() for place in (y, x)]
    assert centre == pytest.approx([256, 256], abs=0.62 + 0.01 * radius)
    square = (found * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2)).sum() / found.sum()
    scale = 1 << _level(radius)
    assert math.sqrt(square) == pytest.approx(math.sqrt(radius**2 / 2), rel=0.06, abs=0.35 * scale)
    lit = (found > found.max() / 2).sum()
    assert lit == pytest.approx(math.pi * radius**2, rel=0.2, abs=5)


def test_a_polygon_has_corners_and_a_discs_area() -> None:
    for blades in (5, 6, 7, 8, 9):
        kernel = _aperture(4.0, blades, 0.0)
        assert kernel.sum() == WEIGHT and kernel.min() == 0
        assert np.abs(kernel - kernel[::-1]).max() <= 1  # a corner at the right: what is above is as below
        assert WEIGHT / kernel.max() == pytest.approx(math.pi * 16, rel=0.06)
    large = _aperture(30.0, 6, 0.0) > 0
    widths = large.sum(axis=1).max(), large.sum(axis=0).max()
    assert widths[0] / widths[1] == pytest.approx(
        2 / math.sqrt(3), abs=0.04
    )  # from corner to corner, from side to side


def test_kernels_are_close_enough_and_none_is_large() -> None:
    for most in (0.3, 1.9, 2.0, 2.1, 3.9, 4.1, 7.9, 30.0, 300.0):
        layers = _layers(most, 6, 0.5)
        radii = [radius for radius, _ in layers]
        assert radii == sorted(radii) and radii[-1] == most
        assert all(b / a < 2.21 for a, b in itertools.pairwise(radii))
        assert all(len(kernel) <= 33 for _, kernel in layers)
        levels = [_level(radius) for radius in radii]
        assert levels == sorted(levels) and set(levels) >= set(range(1, levels[-1] + 1))
    assert _layers(0.0, 6, 0.5) == []


@pytest.mark.parametrize("radius", [0.7, 2.0, 3.3, 9.0, 33.0])
def test_light_is_neither_lost_nor_made(radius: float) -> None:
    grey = flat(70, 90, 77)
    assert np.array_equal(DefocusBlurry().apply(grey, params_for(grey, radius)).image, grey)
    before, after = to_linear(photo()).mean(dtype=np.float64), light_of(photo(), radius, even=0.3).mean()
    assert after == pytest.approx(before, rel=0.02)


def params_for(image: Image, radius: float, **params: Any) -> dict[str, Any]:
    return {**DefocusBlurry().draw(Rng("2a"), image), **EVEN, "radius": radius, **params}


def test_nothing_out_of_focus_is_the_photograph() -> None:
    degraded = DefocusBlurry().apply(photo(), params_for(photo(), 0))
    assert np.array_equal(degraded.image, photo()) and not degraded.truth["radius"].any()


def test_what_is_more_out_of_focus_has_less_detail() -> None:
    radii = [0.5, 1, 2, 3, 4, 6, 9, 13, 20, 30]
    found = [np.abs(np.diff(light_of(photo(), radius)[..., 1], axis=1)).mean() for radius in radii]
    assert found == sorted(found, reverse=True)


def depth_folder(folder: Path, depth: Any) -> str:
    folder.mkdir()
    np.save(folder / "one.npy", depth.astype(np.float32))
    return str(folder)


@pytest.mark.parametrize("focus", [0.0, 0.4, 1.0])
def test_the_radius_goes_with_one_over_the_distance(tmp_path: Path, focus: float) -> None:
    """Of a plane that goes away from 2 m to the sky, by a user's depth map: |1/z − 1/s| over its largest value."""
    near = np.linspace(0.5, 0.001, 400)[None, :] * np.ones((300, 1))
    degradation = DefocusBlurry(depth=depth_folder(tmp_path / "d", 1 / near), focus=focus, even=0, radius=10)
    image, place = cut(300, 400), Place("one.jpg", 0, 0, 400, 300, 400, 300)
    params = degradation.draw(Rng("2a"), image, place)
    truth = degradation.apply(image, params).truth["radius"] * STEP
    share = (near - near.min()) / (near.max() - near.min())
    expected = 10 * 300 / 512 * np.abs(share - focus) / max(focus, 1 - focus)
    assert np.abs(truth - expected)[:, 20:-20].max() < 0.5
    assert np.ptp(truth, axis=0).max() < 0.1


def test_what_is_in_focus_stays_sharp_and_the_rest_does_not(tmp_path: Path) -> None:
    depth = np.where(np.arange(400) < 200, 2.0, 50.0)[None] * np.ones((300, 1))
    degradation = DefocusBlurry(depth=depth_folder(tmp_path / "d", depth), focus=1, even=0, radius=8, highlights=0)
    image = cut(300, 400)
    params = degradation.draw(Rng("2a"), image, Place("one.jpg", 0, 0, 400, 300, 400, 300))
    degraded = degradation.apply(image, params)
    lq, truth = degraded.image.astype(int), degraded.truth["radius"] * STEP
    assert truth[:, :150].max() < 0.05 and truth[:, 250:].min() > 4.6
    assert np.abs(lq - image)[:, :150].max() <= 1
    assert np.abs(lq - image)[:, 250:].mean() > 5


def test_lamps_become_shapes_of_light() -> None:
    """A white spot amid darkness is brighter with highlights; a white sky is not."""
    lamp = np.full((256, 256, 3), 20, np.uint8)
    lamp[126:130, 126:130] = 255
    without, with_ = (light_of(lamp, 8.0, highlights=stops).max() for stops in (0.0, 4.0))
    assert with_ > 5 * without
    sky = flat(64, 64, 255)
    assert light_of(sky, 4.0, highlights=6.0).max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("settings", [{"radius": 7.0, "even": 0.1}, {"radius": 1.0, "even": 0.0}, {"radius": 30.0}])
def test_a_row_is_the_same_whichever_rows_are_made(settings: dict[str, Any]) -> None:
    image = cut(147, 211)
    params = {**DefocusBlurry().draw(Rng("2a"), image), **settings}
    strips = DefocusBlurry().strips(image, params)
    whole = strips.rows(0, 147)
    for count in (1, 7, 64):
        parts = [strips.rows(top, min(top + count, 147)) for top in range(0, 147, count)]
        assert np.array_equal(np.concatenate([part.pixels for part in parts], axis=1), whole.pixels)
        assert np.array_equal(np.concatenate([part.truth["radius"] for part in parts]), whole.truth["radius"])


def test_words() -> None:
    assert say("defocus-blurry", {"radius": 4.23}).phrase == (
        "medium defocus blur, a radius of up to about 4.2 px at a short side of 512"
    )
    assert say("defocus-blurry", {"radius": 0}).phrase == "no defocus blur"


# fmt: off
FROZEN = [
    [215, 209, 205], [162, 154, 153], [172, 171, 172], [175, 168, 161], [41, 34, 88], [27, 12, 58],
    [183, 176, 170], [197, 189, 180], [42, 32, 89], [34, 23, 55], [179, 170, 159], [187, 176, 168],
]
# fmt: on


def test_pixels_are_frozen() -> None:
    """If this fails, raise `DefocusBlurry.version`: stored samples can no longer be replayed."""
    image = cut(96, 128)
    params = {"focus": 0.2, "even": 0.1, "blades": 7, "angle": 0.5, "highlights": 2.0}
    degraded = DefocusBlurry().apply(image, params_for(image, 30.0, **params))
    assert degraded.image[5::36, 5::40].reshape(-1, 3).tolist() == FROZEN
    assert to_float(degraded.image).shape == image.shape
