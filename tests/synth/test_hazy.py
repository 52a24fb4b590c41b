import hashlib
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.degradation import Params, Place
from patina.synth.degradations.hazy import Hazy
from patina.synth.depth import FARTHEST
from patina.synth.form import line_fit, local_contrast
from patina.synth.image import FloatImage, Map, to_encoded, to_float, to_linear
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
RESIDE: dict[str, Any] = {"model": "reside"}
STRENGTHS = [{"beta": beta} for beta in (0.0, 0.001, 0.004, 0.015, 0.05, 0.2, 1.0)]
WIDE = Hazy(beta={"min": 0, "max": 0.5}, spectrum={"min": 0, "max": 2}, patches={"min": 0, "max": 1})
BAD: list[tuple[dict[str, Any], str]] = [
    ({"beta": -0.1}, "beta: expected 0 to 1, found -0.1"),
    ({"beta": {"min": 0.6, "max": 1.8}}, "beta: expected 0 to 1, found 1.8"),
    ({"airlight": 255}, "airlight: expected 0 to 1, found 255"),
    ({"warmth": 2}, "warmth: expected -1 to 1, found 2"),
    ({"spectrum": [0, 5]}, "spectrum: expected 0 to 4, found 5"),
    ({"layer": 0}, "layer: expected 5 to 10000, found 0"),
    ({"patches": "some"}, "patches: expected a number from 0 to 1, found 'some'"),
    ({"light": "gamma"}, "light: expected one of linear, encoded, found 'gamma'"),
    ({"model": "ots"}, "model: expected one of physical, reside, found 'ots'"),
    ({"transmission": 0}, "transmission: expected 0.01 to 1, found 0"),
    ({"relief": [1, 9]}, "relief: expected 1 to 4, found 9"),
    ({"gradient": -1}, "gradient: expected 0 to 1, found -1"),
    ({"depth": "/no/such/folder"}, "depth: expected a folder of depth maps, found no folder at /no/such/folder"),
]


def outdoors() -> NDArray[np.uint8]:
    """A blue sky over detailed ground, 240×320."""
    image = np.empty((240, 320, 3), np.uint8)
    image[:110] = (110, 160, 230)
    image[110:] = np.asarray(cut(130, 320), np.uint8) // 2
    return image


def flat_depth(folder: Path, gt: NDArray[np.uint8], metres: float) -> Place:
    """The place of a photograph `gt` of which every pixel is as far away."""
    height, width = gt.shape[:2]
    np.save(folder / "photo.npy", np.full((height, width), metres, np.float32))
    return Place("photo.jpg", 0, 0, width, height, width, height)


def sunwards(shape: tuple[int, int], params: Params) -> NDArray[np.float64]:
    """The air over its mean, from what is stored: a plane over the photograph."""
    (right, down), (left, top, wide, high) = params.get("gradient", (0, 0)), params["crop"]
    rows, columns = (np.arange(side) + 0.5 for side in shape)
    x, y = left + wide * columns / shape[1] - 0.5, top + high * rows / shape[0] - 0.5
    return np.asarray(1 + right * x + down * y[:, None])


def inverted(lq: FloatImage, transmission: Map, params: Params) -> tuple[FloatImage, NDArray[np.bool_]]:
    """J = (I − A)/t + A by what is stored with a sample, and where t is above 0.1 in all channels."""
    t = (transmission.astype(np.float64) / 65535)[..., None] ** np.array(params["extinction"])
    linear = params["light"] == "linear"
    air = np.array(params["airlight"]) * sunwards(t.shape[:2], params)[..., None]
    hazy = (to_linear(lq) if linear else lq).astype(np.float64)
    clear = ((hazy - air) / np.maximum(t, 1e-3) + air).clip(0, 1).astype(np.float32)
    return (to_encoded(clear) if linear else clear), (t > 0.1).all(axis=-1)


def fidelity(one: FloatImage, other: FloatImage) -> float:
    return -10 * math.log10(float(np.mean((one.astype(np.float64) - other) ** 2)))


HAZES = [*({"beta": beta, "light": light} for light in ("linear", "encoded") for beta in (0.01, 0.1)), RESIDE]


@pytest.mark.parametrize("settings", HAZES)
def test_haze_is_inverted_from_its_truth(settings: dict[str, Any]) -> None:
    """To more than 45 dB where t > 0.1."""
    gt, haze = to_float(photo()), Hazy(**settings)
    params = haze.draw(Rng("2a"), photo())
    rendering = haze.render(gt, params)
    clear, known = inverted(rendering.image, rendering.truth["transmission"], params)
    assert known.mean() > 0.2
    assert fidelity(clear[known], gt[known]) > 45


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_haze_is_inverted_from_eight_bits(seed: str) -> None:
    """Also from the stored levels, as long as the haze is no thicker than RESIDE's and is computed as RESIDE's is: an
    error of half a level over t is 46 dB at t = 0.3."""
    haze = Hazy(**RESIDE)
    params = haze.draw(Rng(seed), photo())
    degraded = haze.apply(photo(), params)
    clear, known = inverted(to_float(degraded.image), degraded.truth["transmission"], params)
    assert known.all()
    assert fidelity(clear, to_float(photo())) > 46


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@pytest.mark.parametrize("picture", ["photo", "outdoors"])
def test_resides_veil_is_nearly_even(seed: str, picture: str) -> None:
    """What its pairs show: t from 0.3 to 0.8 everywhere, grey air, one line a channel, contrast halved."""
    gt, haze = photo() if picture == "photo" else outdoors(), Hazy(**RESIDE)
    params = haze.draw(Rng(seed), gt)
    degraded = haze.apply(gt, params)
    t = degraded.truth["transmission"] / 65535
    assert t.min() > 0.3 and t.max() < 0.8
    assert len(set(params["airlight"])) == 1 and params["light"] == "encoded" and params["extinction"] == [1, 1, 1]
    assert line_fit(gt, degraded.image) > 0.85
    assert 0.4 < local_contrast(gt, degraded.image) < 0.72


def test_resides_transmission_is_a_power_of_relative_depth() -> None:
    gt, haze = outdoors(), Hazy(**RESIDE, transmission=0.5, relief=2.0)
    params = haze.draw(Rng("2a"), gt)
    truth = haze.apply(gt, params).truth
    relative = truth["depth"] * params["depth_step"]
    assert np.abs(truth["transmission"] / 65535 - 0.5**relative).max() < 1e-4
    assert relative.min() == pytest.approx(2 / 3, abs=1e-3) and relative.max() == pytest.approx(4 / 3, abs=1e-3)
    assert np.all(np.diff(np.median(relative, axis=1)[::12]) <= 1e-3)  # the sky is farthest, the ground comes nearer
    even = haze.apply(gt, {**params, "relief": 1.0}).truth["transmission"]
    assert np.ptp(even) == 0


def test_resides_veil_is_thicker_the_less_passes() -> None:
    params = Hazy(**RESIDE).draw(Rng("2a"), photo())
    passed = [0.98, 0.8, 0.6, 0.4, 0.2, 0.05]
    figures = [psnr(photo(), Hazy().apply(photo(), {**params, "transmission": t}).image) for t in passed]
    assert figures == sorted(figures, reverse=True) and figures[-1] < figures[0] - 20
    knob = Hazy(**RESIDE).knob
    assert knob is not None and knob.setting == "transmission" and knob.at(0) > knob.at(0.5) > knob.at(1)


def test_air_is_brighter_towards_the_sun_and_goes_on_from_tile_to_tile() -> None:
    gt = flat(64, 96, 0)
    haze = Hazy(beta=1, gradient=0.5, warmth=0, light="encoded", airlight=0.6, patches=0, layer=10000)
    params = haze.draw(Rng("2a"), gt, Place("p.jpg", 0, 0, 96, 64, 96, 64))
    whole = haze.apply(gt, {**params, "horizon": 0.0, "background": 1000.0}).image.astype(int)
    right, down = params["gradient"]
    assert math.hypot(right, down) == pytest.approx(0.5, abs=1e-5)
    for crop, part in (([0.0, 0.0, 0.5, 0.5], np.s_[:32, :48]), ([0.5, 0.5, 0.5, 0.5], np.s_[32:, 48:])):
        again = {**params, "crop": crop, "horizon": 0.0, "background": 1000.0}
        tile = haze.apply(flat(32, 48, 0), again).image
        expected = sunwards((32, 48), again)
        assert np.corrcoef(tile[..., 1].ravel(), expected.ravel())[0, 1] > 0.9
        assert np.median(np.abs(tile - whole[part])) <= 12


def test_transmission_is_the_law(tmp_path: Path) -> None:
    """t = exp(−βd), and the visibility is where a contrast of 2 % is left."""
    gt = photo()
    place = flat_depth(tmp_path, gt, 37.0)
    haze = Hazy(beta=0.03, layer=10000, patches=0, depth=str(tmp_path), spectrum=1)
    params = haze.draw(Rng("2a"), gt, place)
    truth = haze.apply(gt, params).truth
    assert truth["transmission"].dtype == truth["depth"].dtype == np.uint16
    assert np.median(truth["transmission"]) / 65535 == pytest.approx(math.exp(-0.03 * 37), rel=1e-3)
    assert np.all(truth["depth"] * params["depth_step"] == pytest.approx(37.0))
    assert math.exp(-params["beta"] * params["visibility"]) == pytest.approx(0.02, rel=1e-3)


def test_haze_is_thicker_the_larger_beta_is() -> None:
    params = Hazy().draw(Rng("2a"), photo())
    betas = [0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2]
    degraded = [Hazy().apply(photo(), {**params, "beta": beta}) for beta in betas]
    figures = [psnr(photo(), d.image) for d in degraded]
    assert figures == sorted(figures, reverse=True)
    for thin, thick in pairwise(degraded):
        assert np.all(thin.truth["transmission"] >= thick.truth["transmission"])
    assert degraded[0].truth["transmission"].min() == 65535
    assert np.array_equal(degraded[0].image, photo())


def test_the_sky_is_hazier_than_the_ground() -> None:
    """The depth's sign: maps of inverse depth taken for depth would fail this."""
    gt, haze = outdoors(), Hazy(beta=0.01)
    for seed in "123":
        degraded = haze.apply(gt, haze.draw(Rng(seed), gt))
        transmission, depth = degraded.truth["transmission"].astype(float), degraded.truth["depth"].astype(float)
        assert transmission[:100].max() < 0.3 * np.median(transmission[200:])
        assert depth[:100].min() > 20 * np.median(depth[200:])
        rows = np.median(depth[120:], axis=1)
        assert np.all(np.diff(rows[::10]) < 0)


def test_far_things_fade_into_the_air() -> None:
    gt, haze = outdoors(), Hazy(beta=0.05, light="encoded")
    params = haze.draw(Rng("2a"), gt)
    lq = haze.apply(gt, params).image
    air = np.array(params["airlight"]) * sunwards(lq.shape[:2], params)[..., None]
    assert np.abs(lq[:90] / 255 - np.clip(air, 0, 1)[:90]).max() < 0.02


def test_dry_haze_is_bluer_in_the_distance(tmp_path: Path) -> None:
    """Short waves are scattered more: black things at a distance turn blue where the air itself is white."""
    gt = flat(64, 64, 0)
    place = flat_depth(tmp_path, gt, 50.0)
    for spectrum, bluer in ((0.0, 0), (1.3, 8)):
        haze = Hazy(beta=0.005, airlight=1, warmth=0, gradient=0, spectrum=spectrum, patches=0, depth=str(tmp_path))
        params = {**haze.draw(Rng("2a"), gt, place), "airlight": [0.8, 0.8, 0.8]}
        red, green, blue = haze.apply(gt, params).image[40, 40].astype(int)
        assert blue - red >= bluer and red <= green <= blue
        assert bluer or red == green == blue


def test_a_shallow_layer_leaves_the_zenith_clearer_than_the_horizon() -> None:
    gt = outdoors()
    params = {**Hazy(beta=0.004, patches=0).draw(Rng("2a"), gt), "horizon": 0.46}
    shallow = Hazy().apply(gt, {**params, "layer": 20.0}).truth["transmission"].astype(float)
    deep = Hazy().apply(gt, {**params, "layer": 10000.0}).truth["transmission"].astype(float)
    assert np.median(shallow[4]) > 4 * np.median(shallow[100])
    assert np.median(deep[4]) < 0.01 * 65535
    assert np.array_equal(shallow[200:], deep[200:])  # below the horizon there is no difference


def test_patches_vary_density_slowly(tmp_path: Path) -> None:
    gt = flat(256, 384, 90)
    place = flat_depth(tmp_path, gt, 30.0)
    params = Hazy(beta=0.03, patches=0.4, layer=10000, depth=str(tmp_path)).draw(Rng("2a"), gt, place)
    t = Hazy(depth=str(tmp_path)).apply(gt, params).truth["transmission"] / 65535
    density = np.log(-np.log(t) / (0.03 * 30))[130:]  # below any horizon
    assert 0.15 < density.std() < 0.7
    assert np.abs(np.diff(density, axis=1)).max() < 0.06 and np.abs(np.diff(density, axis=0)).max() < 0.06


def test_air_is_darker_at_dusk() -> None:
    by_day, at_dusk = (Hazy(airlight=0.9).draw(Rng("2a"), flat(64, 64, level))["airlight"] for level in (230, 70))
    assert all(dusk < 0.6 * day for dusk, day in zip(at_dusk, by_day, strict=True))


def test_warm_air_is_redder() -> None:
    cold, warm = (Hazy(warmth=w, airlight=0.8).draw(Rng("2a"), photo())["airlight"] for w in (-1, 1))
    assert cold[0] < cold[1] < cold[2] and warm[0] > warm[1] > warm[2]


def test_a_map_from_a_folder_is_used_and_found_again_by_its_digest(tmp_path: Path) -> None:
    gt = cut(60, 80)
    place = flat_depth(tmp_path, gt, 25.0)
    haze = Hazy(depth=str(tmp_path))
    params = haze.draw(Rng("2a"), gt, place)
    assert params["depth"] == hashlib.sha256((tmp_path / "photo.npy").read_bytes()).hexdigest()
    before = haze.apply(gt, params)
    (tmp_path / "photo.npy").rename(tmp_path / "other.npy")
    assert np.array_equal(Hazy(depth=str(tmp_path)).apply(gt, params).image, before.image)
    assert Hazy().settings()["depth"] == "" != haze.settings()["depth"]


def test_depth_truth_of_the_prior_reaches_the_sky() -> None:
    gt, haze = outdoors(), Hazy()
    params = haze.draw(Rng("2a"), gt)
    assert haze.apply(gt, params).truth["depth"].max() * params["depth_step"] == pytest.approx(FARTHEST, rel=0.01)


def test_pixels_are_frozen() -> None:
    """If this fails, raise `Hazy.version`: stored samples can no longer be replayed."""
    gt = cut(96, 128)
    settings = Hazy(beta=0.02, airlight=0.9, warmth=-0.2, spectrum=0.5, layer=100, patches=0.2, gradient=0.2)
    lq = Hazy().apply(gt, settings.draw(Rng("2a"), gt)).image
    assert hashlib.sha256(lq.tobytes()).hexdigest()[:16] == "171279d37acbaa6d"
