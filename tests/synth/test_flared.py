import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Degraded
from patina.synth.degradations.flared import FLARE, LUMA, Flared
from patina.synth.image import Image, to_float, to_linear
from patina.synth.rng import Rng
from patina.synth.scales import Scale
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo

# For test_contract.py and test_ladder.py
STRENGTHS = [{"glare": glare} for glare in (0.0, 0.005, 0.02, 0.06, 0.15, 0.3, 0.6)]
WIDE = Flared(
    glare={"min": 0, "max": 0.6},
    blades={"min": 0, "max": 12},
    ghosts={"min": 0, "max": 20},
    smears={"min": 0, "max": 4},
    veil={"min": 0, "max": 1},
    warmth={"min": -1, "max": 1},
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"glare": 0.7}, "glare: expected 0 to 0.6, found 0.7"),
    ({"blades": 6.5}, "blades: expected a whole number, found 6.5"),
    ({"blades": 13}, "blades: expected 0 to 12, found 13"),
    ({"ghosts": 21}, "ghosts: expected 0 to 20, found 21"),
    ({"smears": -1}, "smears: expected 0 to 4, found -1"),
    ({"veil": 2}, "veil: expected 0 to 1, found 2"),
    ({"warmth": 3}, "warmth: expected -1 to 1, found 3"),
    ({"lights": "behind"}, "lights: expected one or a list of picture, outside, placed, found 'behind'"),
    ({"lights": []}, "lights: expected one or a list of picture, outside, placed, found []"),
]
TOLD: dict[str, tuple[Scale, str, float]] = {"glare": (FLARE, r"about ([\d.]+)% of", 0.01)}
PARAMS: dict[str, Any] = {
    "glare": 0.05,
    "veil": 0.0,
    "lights": [[0.5, 0.5, 1.0, 1.0, 1.0]],
    "blades": 0,
    "turn": 0.0,
    "rays": [],
    "smears": [],
    "ghosts": [],
}
BLACK = flat(256, 256, 0)


def lit(image: Image = BLACK, **params: Any) -> Degraded:
    return Flared().apply(image, PARAMS | params)


def linear(image: Image) -> NDArray[np.float64]:
    return to_linear(to_float(image)).astype(np.float64)


def test_no_glare_is_the_picture() -> None:
    degraded = lit(photo(), glare=0.0)
    assert np.array_equal(degraded.image, photo()) and not degraded.truth["flare"].any()


@pytest.mark.parametrize("glare", [0.01, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("lights", ["placed", "outside"])
def test_the_glare_is_the_mean_of_what_is_added(glare: float, lights: str) -> None:
    degradation = Flared(glare=glare, lights=lights)
    for seed in "123":
        degraded = degradation.apply(flat(300, 400, 0), degradation.draw(Rng(seed), flat(300, 400, 0)))
        assert degraded.truth["flare"].mean() / 65535 == pytest.approx(glare, rel=0.03)
        assert (linear(degraded.image) @ LUMA).mean() == pytest.approx(glare, rel=0.06)


def test_light_is_added_to_light() -> None:
    """What flare adds does not depend on the picture, and nothing becomes darker."""
    params = Flared().draw(Rng("2a"), photo())
    onto, alone = Flared().apply(photo(), params), Flared().apply(flat(512, 512, 0), params)
    assert (onto.image >= photo()).all()
    added = np.minimum(linear(photo()) + linear(alone.image), 1)
    assert np.abs(linear(onto.image) - added).max() < 0.01
    assert np.array_equal(onto.truth["flare"], alone.truth["flare"])


def test_a_veil_alone_is_even() -> None:
    flare = lit(veil=1.0, glare=0.1).truth["flare"] / 65535
    assert flare == pytest.approx(np.full(flare.shape, 0.1), abs=1e-3)


def test_a_halo_is_round_and_falls_off() -> None:
    flare = lit(glare=0.02).truth["flare"].astype(int)
    assert np.abs(flare - flare.T).max() <= 2 and np.abs(flare - flare[::-1]).max() <= 2
    line = flare[128, 128:]
    assert (np.diff(line) <= 0).all() and line[20] > 3 * line[100]


@pytest.mark.parametrize(("blades", "rays"), [(5, 10), (6, 6), (7, 14), (8, 8)])
def test_a_star_has_a_ray_to_each_edge_and_one_across(blades: int, rays: int) -> None:
    """Opposite blades share their rays: six blades give six, and seven give fourteen."""
    degradation = Flared(blades=blades, ghosts=0, smears=0, lights="placed", veil=0, glare=0.05)
    params = {**degradation.draw(Rng("5"), BLACK), "lights": PARAMS["lights"]}
    params["rays"] = [[turn, 0.004, 0.12] for turn, _, _ in params["rays"]]
    flare = degradation.apply(flat(512, 512, 0), params).truth["flare"]
    turns = 2 * math.pi * np.arange(1440) / 1440
    ring = flare[(256 + 60 * np.sin(turns)).astype(int), (256 + 60 * np.cos(turns)).astype(int)].astype(float)
    ring = np.convolve(np.concatenate([ring, ring]), np.ones(9) / 9, "same")[5:1445]
    bright = ring > (ring.max() + ring.min()) / 2.6
    assert int((bright & ~np.roll(bright, 1)).sum()) == rays


def test_red_rays_are_longer_than_blue() -> None:
    """Diffraction goes with the wavelength."""
    shown = linear(lit(flat(256, 256, 0), rays=[[0.0, 0.004, 0.12]], glare=0.01).image)
    along = shown[128, 200:250] - shown[60, 200:250]
    assert (along[:, 0] > 1.03 * along[:, 2]).all()


def test_ghosts_lie_on_the_line_through_the_middle() -> None:
    """Beside the light and across from it; all of them move when the light does."""
    for x, y in ((0.2, 0.3), (0.7, 0.15)):
        light = [[x, y, 1.0, 1.0, 1.0]]
        ghost = [[-0.8, 0.06, 1.0, 1.0, 1.0]]
        one = lit(lights=light, ghosts=ghost, glare=0.03).truth["flare"].astype(float)
        other = lit(lights=light, glare=0.03).truth["flare"].astype(float)
        more = np.maximum(one - other * np.median(one / np.maximum(other, 1)), 0)
        more[more < 0.5 * more.max()] = 0
        row, column = (np.arange(256) * more.sum(axis=axis) for axis in (1, 0))
        at = column.sum() / more.sum(), row.sum() / more.sum()
        assert at == pytest.approx((256 * (0.5 - 0.8 * (x - 0.5)), 256 * (0.5 - 0.8 * (y - 0.5))), abs=4)


def test_lights_of_the_picture_are_found_and_a_bright_sky_is_none() -> None:
    night = np.full((200, 300, 3), 12, np.uint8)
    night[50:56, 80:86] = 255
    night[120:124, 220:224] = (255, 250, 240)
    found = Flared(lights="picture").draw(Rng("1"), night)["lights"]
    assert [light[:2] for light in found] == [
        pytest.approx([83 / 300, 53 / 200], abs=0.01),
        pytest.approx([222 / 300, 122 / 200], abs=0.01),
    ]
    dusk = night.copy()
    dusk[:40] = 255
    outside = Flared(lights="picture").draw(Rng("1"), flat(200, 300, 255))["lights"]
    assert len(outside) == 1 and not all(0 <= place <= 1 for place in outside[0][:2])
    assert all(light[1] > 0.2 for light in Flared(lights="picture").draw(Rng("1"), dusk)["lights"])


def test_what_is_white_by_day_is_no_light() -> None:
    """A white shirt in a bright room: lights are then looked for beside the picture."""
    room = np.full((200, 300, 3), 140, np.uint8)
    room[90:110, 140:160] = 40
    room[97:103, 147:153] = 255
    (found,) = Flared(lights="picture").draw(Rng("1"), room)["lights"]
    assert not all(0 <= place <= 1 for place in found[:2])


def test_a_light_is_put_where_it_is_bright() -> None:
    """In the sky between the trees, and not on them."""
    street = np.full((200, 300, 3), 60, np.uint8)
    street[:80, 120:180] = 235
    inside = 0
    for i in range(20):
        (light,) = Flared(lights="placed").draw(Rng(f"{i:x}"), street)["lights"]
        inside += light[1] < 0.45 and 0.36 < light[0] < 0.64
    assert inside > 16


def test_ghosts_stay_faint_where_the_light_dazzles() -> None:
    """Of ten times the glare, a ghost is at most twice as bright."""
    light, ghost = [[0.2, 0.3, 1.0, 1.0, 1.0]], [[-0.8, 0.06, 1.0, 1.0, 1.0]]
    more = []
    for glare in (0.05, 0.5):
        one, other = (lit(lights=light, ghosts=g, glare=glare).truth["flare"].astype(float) for g in (ghost, []))
        at = slice(180, 190), slice(184, 194)
        more.append(one[at].mean() - other[at].mean())
    assert 0 < more[1] < 2 * more[0]


def test_lights_are_where_they_were_asked_for() -> None:
    for i in range(30):
        (inside,) = Flared(lights="placed").draw(Rng(f"{i:x}"), cut(64, 64))["lights"]
        (outside,) = Flared(lights="outside").draw(Rng(f"{i:x}"), cut(64, 64))["lights"]
        assert 0 < inside[0] < 1 and 0 < inside[1] < 1
        assert not (0 < outside[0] < 1 and 0 < outside[1] < 1)


def test_words_name_what_is_added() -> None:
    assert say("flared", {"glare": 0.05}).phrase == "clear lens flare, which adds about 5% of white on average"
    assert say("flared", {"glare": 0.0004}).phrase.startswith("a trace of lens flare, which adds about 0.04% of white")
    assert say("flared", {"glare": 0.0}).phrase == "no lens flare"
