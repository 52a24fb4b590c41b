import math
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.convolution import disc
from patina.synth.degradation import Degraded
from patina.synth.degradations.raindrop import Raindrop, _bending
from patina.synth.droplets import SMALLEST, drops
from patina.synth.form import blobs, changed, mean_change
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"area": area} for area in (0.0, 0.02, 0.06, 0.15, 0.3, 0.5, 0.75)]
WIDE = Raindrop(
    area={"min": 0, "max": 0.8},
    size={"min": 4, "max": 120},
    defocus={"min": 0, "max": 20},
    contact={"min": 15, "max": 60},
    runs={"min": 0, "max": 12},
    film=[0, 3],
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"area": 0.9}, "area: expected 0 to 0.8, found 0.9"),
    ({"size": 2}, "size: expected 4 to 120, found 2"),
    ({"defocus": -1}, "defocus: expected 0 to 20, found -1"),
    ({"contact": {"min": 30, "max": 90}}, "contact: expected 15 to 60, found 90"),
    ({"sky": 3}, "sky: expected 0 to 2, found 3"),
    ({"runs": 1.5}, "runs: expected a whole number, found 1.5"),
    ({"film": 9}, "film: expected 0 to 8, found 9"),
]
PARAMS = {"area": 0.15, "size": 50.0, "defocus": 3.0, "contact": 45.0, "sky": 0.0, "runs": 0, "film": 0.0, "seed": "2a"}


def rained(image: Image, **params: Any) -> Degraded:
    return Raindrop().apply(image, PARAMS | params)


def linear(image: Image) -> NDArray[np.float64]:
    return to_linear(to_float(image)).astype(np.float64)


def best_match(drop: Image, scene: Image) -> float:
    """The highest correlation of `drop` with any part of the scene, at three scales: nobody knows a drop's own."""
    found = []
    for ratio in (1.4, 2.0, 2.8):
        side = round(ratio * max(drop.shape))
        small = cv2.resize(scene, (side, side), interpolation=cv2.INTER_AREA)
        found.append(cv2.matchTemplate(small, drop, cv2.TM_CCOEFF_NORMED).max())
    return float(max(found))


def test_large_drops_show_the_scene_turned_around() -> None:
    """The middle of each drop, because rims bend light more than in proportion and darken it."""
    turned, upright = [], []
    for seed in range(8):
        degraded = rained(photo(), seed=f"{seed:x}", size=100.0, defocus=1.0, area=0.2)
        inside = (degraded.truth["drops"] > 65000).astype(np.uint8)
        for left, top, width, height, area in cv2.connectedComponentsWithStats(inside)[2][1:]:
            at_border = left == 0 or top == 0 or left + width == 512 or top + height == 512
            if at_border or min(width, height) < 36 or area < 0.7 * width * height:
                continue
            drop = degraded.image[top : top + height, left : left + width]
            core = np.ascontiguousarray(drop[height // 5 : -(height // 5), width // 5 : -(width // 5)])
            upright.append(best_match(core, photo()))
            turned.append(best_match(core, np.ascontiguousarray(photo()[::-1, ::-1])))
    better = np.array(turned) > np.array(upright)
    assert better.size >= 10
    assert better.mean() > 0.9
    assert np.mean(turned) > np.mean(upright) + 0.15


@pytest.mark.parametrize("defocus", [0.0, 1.0, 3.0, 12.0])
def test_outside_the_drops_nothing_changes(defocus: float) -> None:
    degraded = rained(photo(), defocus=defocus)
    dry = degraded.truth["drops"] == 0
    assert dry.mean() > 0.4
    assert np.array_equal(degraded.image[dry], photo()[dry])


def test_dry_glass_is_the_image() -> None:
    degraded = rained(photo(), area=0.0)
    assert np.array_equal(degraded.image, photo())
    assert not degraded.truth["drops"].any()


def test_it_is_a_linear_mix() -> None:
    """(I − (1 − M)·J) = R is not negative, and no brighter than M times the brightest of the scene."""
    degraded = rained(photo(), seed="7")
    share = degraded.truth["drops"][..., None] / 65535
    layer = linear(degraded.image) - (1 - share) * linear(photo())
    assert layer.min() > -0.01
    assert (layer - share).max() < 0.01


def test_energy_inside_is_the_scenes_less_what_is_reflected() -> None:
    grey = flat(256, 384, 188)
    degraded = rained(grey, area=0.3, size=80.0, defocus=1.0, contact=40.0)
    inside = linear(degraded.image)[degraded.truth["drops"] > 65000] / linear(grey)[0, 0, 0]
    assert 0.9 < inside.mean() < 0.98
    assert inside.max() <= 0.985
    assert not rained(flat(64, 64, 0)).image.any()


def test_drops_gather_the_sky_above_the_picture_at_their_feet() -> None:
    """On grey, whatever is brighter than the scene came from above; a drop shows it upside down."""
    grey = flat(384, 512, 120)
    degraded = rained(grey, sky=1.5, size=60.0, defocus=1.0, contact=42.0, area=0.25)
    scene = linear(grey)[0, 0, 0]
    brighter = linear(degraded.image)[..., 1] > 1.2 * scene
    assert 0.01 < brighter.mean() < degraded.truth["drops"].mean() / 65535
    plain = rained(grey, size=60.0, defocus=1.0, contact=42.0, area=0.25).image
    assert (degraded.image >= plain).all()
    inside = (degraded.truth["drops"] > 60000).astype(np.uint8)
    lower = []
    for left, top, width, height, area in cv2.connectedComponentsWithStats(inside)[2][1:]:
        if area > 400 and height > 16:
            rows = brighter[top : top + height, left : left + width].sum(axis=1)
            lower.append(rows[height // 2 :].sum() >= rows[: height // 2].sum())
    assert len(lower) >= 8 and np.mean(lower) > 0.9


def test_the_sky_is_darker_over_a_dark_scene() -> None:
    by_day, by_night = (Raindrop(sky=1.5).draw(Rng("2a"), flat(64, 64, level))["sky"] for level in (220, 30))
    assert by_day == pytest.approx(1.5) and by_night < 0.4


def test_defaults_have_the_blobs_that_real_glass_has() -> None:
    """RainDrop's pairs: 175 to 385 bright blobs, 26 to 53 % changed and a mean above the clean picture's."""
    drops, gt = Raindrop(), cut(321, 481)
    found = [drops.apply(gt, drops.draw(Rng(seed), gt)).image for seed in "123456"]
    assert 120 < np.mean([blobs(gt, lq).count for lq in found]) < 450
    assert 0.2 < np.mean([changed(gt, lq) for lq in found]) < 0.53
    assert np.mean([mean_change(gt, lq) for lq in found]) > 1.5


def test_rims_are_dark_and_black_where_no_light_can_leave() -> None:
    white = flat(512, 512, 255)
    darkest = [
        linear(rained(white, contact=contact, defocus=0.0, size=100.0).image).min() for contact in (20.0, 35.0, 55.0)
    ]
    assert darkest == sorted(darkest, reverse=True)
    assert darkest[0] > 0.9 and darkest[2] < 0.06


def test_more_area_is_more_drops() -> None:
    small, large = (rained(photo(), area=area).truth["drops"].astype(int) for area in (0.1, 0.3))
    assert (large >= small - 1).all()
    assert large.mean() > 2 * small.mean()


@pytest.mark.parametrize("area", [0.05, 0.2, 0.5])
def test_the_area_is_what_was_asked_for(area: float) -> None:
    covered = [rained(flat(256, 384, 0), area=area, seed=f"{i:x}").truth["drops"].mean() / 65535 for i in range(12)]
    assert np.mean(covered) == pytest.approx(area, rel=0.15)


def test_many_drops_are_small_and_few_are_large() -> None:
    """Radii of density r⁻² between 3 and 50, and the lobes of those above 8."""
    found = [drop for seed in "12345" for drop in drops(512, 512, PARAMS | {"area": 0.2}, Rng(seed))]
    radii = np.array([math.sqrt(wide * high) for _, _, wide, high in found])
    assert radii.max() < 50 and radii.min() > 0.4 * SMALLEST
    counts = np.histogram(radii, [3, 9, 18, 36, 50])[0]
    assert (counts[:-1] > 1.5 * counts[1:]).all()


def test_snell_and_fresnel() -> None:
    """At sin a = 0.5 light leaves at asin(0.6665) = 41.80°, 11.80° off; straight through, 2 % are reflected."""
    swing, shine = _bending(0.5)
    assert swing[1000] == pytest.approx(math.tan(math.radians(41.80 - 30)), abs=1e-3)
    assert shine[1] == pytest.approx(1 - (0.333 / 2.333) ** 2, abs=1e-3)
    assert (np.diff(shine[1:1000]) <= 1e-6).all()
    assert _bending(math.sin(math.radians(52)))[1, 1000] == 0


def test_defocus_spreads_drops_over_discs() -> None:
    assert 950 <= disc(3.0, 1024).sum() <= 1024
    assert math.sqrt(np.count_nonzero(disc(8.0, 1024) > disc(8.0, 1024).max() / 2) / math.pi) == pytest.approx(
        8, abs=0.3
    )
    edges = [(rained(photo(), defocus=d).truth["drops"] % 65535 > 0).mean() for d in (0.0, 3.0, 9.0)]
    assert edges == sorted(edges) and edges[2] > 3 * edges[0]


def test_a_film_blurs_between_the_drops() -> None:
    film, dry = rained(photo(), film=4.0), rained(photo())
    assert np.array_equal(film.truth["drops"], dry.truth["drops"])
    outside = dry.truth["drops"] == 0
    assert 1 < np.abs(film.image[outside].astype(int) - photo()[outside]).mean() < 20


@pytest.mark.parametrize("shape", [(16, 16), (17, 501), (1500, 2000)])
def test_drops_scale_with_the_image(shape: tuple[int, int]) -> None:
    degraded = rained(cut(*shape), area=0.3, seed="5")
    assert degraded.truth["drops"].dtype == np.uint16
    assert 0.15 < degraded.truth["drops"].mean() / 65535 < 0.45
