from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Degraded
from patina.synth.degradations.shadowed import OUTDOORS, Shadowed, _along, _lit, _place, _sunned, _thrown
from patina.synth.form import shade
from patina.synth.image import Image, to_float, to_linear
from patina.synth.occluders import KINDS
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"ratio": ratio, "kind": "building"} for ratio in (0.0, 0.1, 0.5, 2.0, 5.0, 10.0, 50.0)]
WIDE = Shadowed(
    ratio={"min": 0, "max": 50},
    blue={"min": 0, "max": 1},
    offset={"min": 0, "max": 0.1},
    area={"min": 0.02, "max": 0.95},
    penumbra={"min": 0, "max": 100},
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"ratio": -1}, "ratio: expected 0 to 50, found -1"),
    ({"blue": 2}, "blue: expected 0 to 1, found 2"),
    ({"offset": {"min": 0, "max": 0.2}}, "offset: expected 0 to 0.1, found 0.2"),
    ({"area": 1}, "area: expected 0.02 to 0.95, found 1"),
    ({"penumbra": "soft"}, "penumbra: expected a number from 0 to 100, found 'soft'"),
    ({"kinds": "cloud"}, "kinds: expected one or a list of foliage, person, pole, building, blinds, found 'cloud'"),
    ({"kinds": []}, "kinds: expected one or a list of foliage, person, pole, building, blinds, found []"),
]
PARAMS = {
    "crop": [0.0, 0.0, 1.0, 1.0],
    "kind": "building",
    "ratio": 5.0,
    "blue": 0.2,
    "offset": 0.003,
    "area": 0.4,
    "penumbra": 16.0,
    "seed": "2a",
}


def shaded(image: Image, **params: Any) -> Degraded:
    return Shadowed().apply(image, PARAMS | params)


def linear(image: Image) -> NDArray[np.float64]:
    return to_linear(to_float(image)).astype(np.float64)


@pytest.mark.parametrize("offset", [0.0, 0.003, 0.01])
def test_channels_are_lines_in_the_umbra(offset: float) -> None:
    """In sRGB levels, as Le and Samaras, and SynShadow, have it: I = slope·J + intercept, both rising from R to B."""
    degraded = shaded(photo(), offset=offset)
    umbra = degraded.truth["matte"] == 65535
    assert umbra.sum() > 10_000
    slopes, intercepts = [], []
    for channel in range(3):
        clean, dark = photo()[umbra][:, channel].astype(float), degraded.image[umbra][:, channel].astype(float)
        seen = (clean > 15) & (dark > 0)
        slope, intercept = np.polyfit(clean[seen], dark[seen], 1)
        assert np.corrcoef(clean[seen], dark[seen])[0, 1] ** 2 > 0.99
        slopes.append(slope)
        intercepts.append(intercept)
    assert 0.3 < slopes[0] < slopes[1] < slopes[2] < 0.7
    assert intercepts[0] < intercepts[1] < intercepts[2] < 0


def test_the_umbra_has_the_skys_share_of_the_light() -> None:
    """sun/sky = 5 at green: green keeps 1/6; red, with a sky 1.2 times weaker, 1/7; blue 1.2/6.2."""
    grey = flat(128, 192, 200)
    degraded = shaded(grey, offset=0.0)
    umbra = degraded.truth["matte"] == 65535
    kept = linear(degraded.image)[umbra].mean(axis=0) / linear(grey)[0, 0]
    assert kept == pytest.approx([1 / 7, 1 / 6, 1.2 / 6.2], rel=0.02)


def test_shadows_are_bluer_than_what_they_fall_on() -> None:
    degraded = shaded(photo())
    umbra = (degraded.truth["matte"] == 65535) & (photo().min(axis=2) > 40)
    clean, dark = linear(photo())[umbra].mean(axis=0), linear(degraded.image)[umbra].mean(axis=0)
    assert dark[2] / dark[1] > 1.1 * clean[2] / clean[1]
    assert dark[1] / dark[0] > 1.1 * clean[1] / clean[0]


@pytest.mark.parametrize("kind", KINDS)
def test_outside_nothing_changes_and_nowhere_is_it_brighter(kind: str) -> None:
    degraded = shaded(photo(), kind=kind)
    lit = degraded.truth["matte"] == 0
    assert lit.mean() > 0.1
    assert np.array_equal(degraded.image[lit], photo()[lit])
    assert (degraded.image <= photo()).all()
    assert degraded.image.astype(int).sum() < 0.99 * photo().astype(int).sum()


def test_the_model_is_recovered_from_the_truth() -> None:
    """I = J·(1 − m·(1 − f)) − m·f·(1 − f)·offset per channel, to within what rounding to levels leaves."""
    degraded = shaded(photo())
    matte = degraded.truth["matte"] / 65535
    for channel, tint in enumerate((1 / 1.2, 1.0, 1.2)):
        sky = tint / (tint + 5)
        expected = linear(photo())[..., channel] * (1 - matte * (1 - sky)) - matte * sky * (1 - sky) * 0.003 / tint
        assert np.abs(linear(degraded.image)[..., channel] - expected.clip(0)).max() < 0.006


def test_no_sun_no_shadow() -> None:
    assert np.array_equal(shaded(photo(), ratio=0.0).image, photo())


def test_a_straight_edge_has_the_penumbra_of_a_disc() -> None:
    """From light to dark over the disc's diameter, without a turn; a quarter of the sun shows at 0.404 radii."""
    edge = np.zeros((60, 120), np.uint8)
    edge[:, 60:] = 255
    for radius in (2.0, 8.0, 20.0):
        profile = _sunned(edge, radius)[30]
        assert (np.diff(profile) >= -1e-6).all()
        assert profile[60 - round(radius) - 3] < 0.01 and profile[60 + round(radius) + 2] > 0.99
        quarter = np.interp([0.25, 0.75], profile, np.arange(120))
        assert quarter[1] - quarter[0] == pytest.approx(2 * 0.404 * radius, rel=0.1, abs=0.3)


def test_penumbras_grow_away_from_the_foot() -> None:
    """Of a pole's shadow, the share that is neither lit nor dark, near its foot and near its top."""
    near, far = [], []
    for seed in "123456789abcdef":
        rng = Rng(seed)
        pole = KINDS["pole"](rng)
        throw = _thrown(pole, rng)
        corner, _ = _place(pole, throw, np.ones((256, 384), np.float32), 0.1, rng)
        matte = 1 - _lit(pole, throw, corner, (384, 256), 256.0, 28.0)
        height = _along(np.column_stack([throw * 256, -corner * 256]), (384, 256)) / pole.layers[0].top
        soft, hidden = (matte > 0.1) & (matte < 0.9), matte > 0.1
        for found, part in ((near, height < 0.4), (far, (height > 0.6) & (height < 0.8))):
            if (hidden & part).sum() > 200:
                found.append((soft & part).sum() / (hidden & part).sum())
    assert len(near) >= 4 and len(far) >= 4
    assert np.mean(far) > 1.4 * np.mean(near)


@pytest.mark.parametrize("kind", OUTDOORS)
@pytest.mark.parametrize("area", [0.1, 0.25, 0.4])
def test_the_area_is_what_was_asked_for(kind: str, area: float) -> None:
    """Within a fifth, of nearly every shadow: also of a pole's and a person's, which are thrown larger for it."""
    found = [
        shaded(flat(128, 192, 200), kind=kind, area=area, seed=f"{i:x}").truth["matte"].mean() / 65535
        for i in range(10)
    ]
    assert (np.abs(np.array(found) / area - 1) < 0.2).mean() >= 0.8
    assert np.mean(found) == pytest.approx(area, rel=0.15)


def test_shades_are_as_measured_shadows_are() -> None:
    """ISTD: green keeps 0.11 to 0.44 of the light, blue over red rises by 1.3 to 2.2."""
    found = []
    for i in range(1, 9):
        shadow = Shadowed(kinds="building", offset=0)
        found.append(shade(photo(), shadow.apply(photo(), shadow.draw(Rng(f"{i:x}"), photo())).image))
    assert all(0.1 < one.green < 0.5 for one in found)
    assert all(1.2 < one.blue_over_red < 2.3 for one in found)
    assert max(one.blue_over_red for one in found) > 1.6


def test_the_sky_gets_no_shadow() -> None:
    """A landscape of a blue sky over dark ground with grain, and shadow enough for all of it."""
    scene = np.empty((200, 300, 3), np.uint8)
    scene[:80] = (110, 160, 230)
    scene[80:] = np.random.default_rng(0).integers(60, 110, (120, 300, 1))
    matte = shaded(scene, kind="blinds").truth["matte"]
    assert matte[:70].max() == 0
    assert matte[90:].mean() > 0.1 * 65535


def test_every_kind_and_seed_has_a_shape_of_its_own() -> None:
    mattes = [shaded(flat(64, 96, 200), kind=kind, seed=seed).truth["matte"] for kind in KINDS for seed in "123"]
    assert len({matte.tobytes() for matte in mattes}) == len(mattes)


def test_kinds_may_be_one_or_many() -> None:
    def drawn(**settings: Any) -> set[str]:
        return {Shadowed(**settings).draw(Rng(f"{i:x}"), photo())["kind"] for i in range(60)}

    assert drawn() == set(OUTDOORS) == set(KINDS) - {"blinds"}
    assert drawn(kinds="pole") == {"pole"}
    assert drawn(kinds=["person", "blinds"]) == {"person", "blinds"}
    assert Shadowed(kinds="pole").settings() == Shadowed(kinds=["pole"]).settings()


@pytest.mark.parametrize("shape", [(16, 16), (17, 501), (501, 17), (1500, 2000)])
def test_shadows_scale_with_the_image(shape: tuple[int, int]) -> None:
    for kind in KINDS:
        matte = shaded(cut(*shape), kind=kind).truth["matte"]
        assert matte.dtype == np.uint16 and matte.shape == shape
    small, large = (
        shaded(flat(side, side * 3 // 2, 200), seed="3").truth["matte"].astype(np.float32) for side in (128, 512)
    )
    shrunk = cv2.resize(large, (192, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - small).mean() < 0.02 * 65535
