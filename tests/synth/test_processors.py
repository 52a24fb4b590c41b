"""The same bytes under every instruction set: each switch has a process of its own, since libraries ask once."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.processors import SWITCHES, VARIANTS, child, files_to_decode
from patina.synth import elementary
from patina.synth.degradation import Rendered
from patina.synth.degradations import CATALOGUE
from patina.synth.image import to_encoded, to_encoded_levels, to_float, to_linear, to_uint8
from patina.synth.resampling import curved, enlarged, means, shortened, smoothed, stretched
from patina.synth.rng import Rng
from tests.synth.pictures import cut

OTHERS = list(SWITCHES)[1:]


@cache
def files() -> str:
    """What every process decodes."""
    return json.dumps(files_to_decode())


@cache
def found(switches: str) -> dict[str, str]:
    """Digests of all degradations, composites, severity, truth maps and codecs by a process under these switches."""
    return child(SWITCHES[switches], True, files())


@pytest.mark.slow
@pytest.mark.parametrize("switches", OTHERS)
def test_the_bytes_are_the_same_under_every_instruction_set(switches: str) -> None:
    here, there = found(next(iter(SWITCHES))), found(switches)
    assert set(CATALOGUE) <= set(here)
    assert {row for row in here if here[row] != there.get(row)} == set()


COMPILER = next(filter(shutil.which, ("cc", "gcc", "clang")), "")


@pytest.mark.slow
@pytest.mark.skipif(not COMPILER, reason="no C compiler is at hand")
@pytest.mark.parametrize(
    "arguments",
    [
        "-O0 -funsigned-char",  # as on ARM
        "-O1 -fsanitize=undefined,float-cast-overflow,float-divide-by-zero -fno-sanitize-recover=all",
    ],
)
def test_the_bytes_are_the_same_however_loops_are_compiled(arguments: str, tmp_path: Path) -> None:
    """Where a conversion is out of range, or a shift is, each processor has an answer of its own: there is none."""
    (tmp_path / "one.c").write_text("int one(int a) { return a << 1; }\n", "utf-8")
    one = [COMPILER, "-shared", "-fPIC", *arguments.split(), str(tmp_path / "one.c"), "-o", str(tmp_path / "one.so")]
    if subprocess.run(one, check=False, capture_output=True).returncode:
        pytest.skip(f"{COMPILER} has not all that {arguments} asks for, such as libubsan")
    here = found(next(iter(SWITCHES)))
    assert child({"CFLAGS": arguments}, True, json.dumps(files_to_decode()), compiler=COMPILER) == here


@pytest.mark.parametrize("name", [name for name, kind in CATALOGUE.items() if isinstance(kind(), Rendered)])
def test_levels_give_the_same_bits_as_their_floats(name: str) -> None:
    image = cut(61, 83)
    for settings in VARIANTS[name]:
        degradation = CATALOGUE[name](**settings)
        assert isinstance(degradation, Rendered)
        params = degradation.draw(Rng("2a"), image)
        rendering = degradation.render(to_float(image), params)
        degraded = degradation.apply(image, params)
        assert np.array_equal(degraded.image, to_uint8(rendering.image))
        assert all(np.array_equal(degraded.truth[name], rendering.truth[name]) for name in degraded.truth)


def test_light_is_quantised_at_once_as_by_way_of_floats() -> None:
    light = np.linspace(-0.1, 1.3, 3 * 64 * 64, dtype=np.float32).reshape(64, 64, 3)
    assert np.array_equal(to_encoded_levels(light), to_uint8(to_encoded(light)))
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(to_linear(levels), to_linear(to_float(levels)))


# ---------------------------------------------------------------------------------------------------------------------
# Elementary functions


def off(mine: object, true: object) -> float:
    """The largest error in units of the last place."""
    one, other = np.asarray(mine, np.float64), np.asarray(true, np.float64)
    return float(np.max(np.abs(one - other) / np.spacing(np.abs(other))))


SHARES = np.random.default_rng(0).uniform(0, 1, 20000)


def test_functions_are_as_good_as_the_machines() -> None:
    wide = SHARES * 1400 - 700
    assert off(elementary.exp(wide), np.exp(wide)) <= 2
    assert off(elementary.log(np.exp(wide)), np.log(np.exp(wide))) <= 2
    assert off(elementary.log1p(SHARES * 1e-9), np.log1p(SHARES * 1e-9)) <= 2
    angles = SHARES * 6 - 3
    assert off(elementary.sine(angles), np.sin(angles)) <= 3
    assert off(elementary.cosine(angles), np.cos(angles)) <= 3
    assert off(elementary.tangent(angles), np.tan(angles)) <= 5
    assert off(elementary.arc_tangent(angles), np.arctan(angles)) <= 3
    assert off(elementary.arc_sine(angles / 3), np.arcsin(angles / 3)) <= 3
    assert off(elementary.power(SHARES * 50, 2.4), (SHARES * 50) ** 2.4) <= 20
    far = SHARES * 2000 - 1000
    assert np.abs(elementary.sine(far) - np.sin(far)).max() < 3e-16
    assert off(elementary.distance(far, angles), np.hypot(far, angles)) <= 2


def test_functions_at_their_ends() -> None:
    assert elementary.exp([0, -1000]).tolist() == [1, 0] and elementary.exp(1000) == math.inf
    assert elementary.log(1) == elementary.log1p(0) == elementary.sine(0) == elementary.arc_tangent(0) == 0
    assert elementary.power([0, 0, 1], [0.5, 2, 9]).tolist() == [0, 0, 1]
    assert elementary.arc_sine([-1, 0, 1]).tolist() == [-math.pi / 2, 0, math.pi / 2]


def test_one_number_goes_the_way_of_many() -> None:
    for x in (SHARES[:300] * 40 - 20).tolist():
        assert elementary.exp_of(x) == elementary.exp(x)
        assert elementary.sine_of(x) == elementary.sine(x)
        assert elementary.cosine_of(x) == elementary.cosine(x)
        assert elementary.log_of(abs(x)) == elementary.log(abs(x))
        assert elementary.power_of(abs(x), 0.3) == elementary.power(abs(x), 0.3)
    assert elementary.exp_of(800.0) == math.inf and elementary.exp_of(-900.0) == 0 == elementary.power_of(0.0, 2)


def test_fast_functions_are_good_enough_for_pictures() -> None:
    x = (SHARES * 30).astype(np.float32)
    exact = x.astype(np.float64)
    assert np.abs(elementary.fast_exp(-x) / np.exp(-exact) - 1).max() < 1e-6
    near = x < 15.9
    assert np.abs(elementary.rough_exp(-x) / np.exp(-exact) - 1)[near].max() < 1 / 8000
    assert np.array_equal(elementary.rough_exp(-2 * x, 0.5), elementary.rough_exp(-x))
    assert elementary.rough_exp(-x)[~near].max() < 2e-7
    turns = x - 15
    assert np.abs(elementary.fast_sine(turns) - np.sin(2 * np.pi * turns.astype(np.float64))).max() < 2e-6
    assert np.abs(elementary.fast_log(x[x > 0.5]) - np.log(exact[x > 0.5])).max() < 1e-6
    assert np.abs(elementary.fast_cube_root(x[x > 0]) / np.cbrt(exact[x > 0]) - 1).max() < 1e-9
    assert elementary.fast_exp(np.array([0, -1000], np.float32))[0] == 1
    assert elementary.fast_exp(np.array([0, -1000], np.float32))[1] < 1e-13


def test_shares_are_stored_as_they_are_applied() -> None:
    way = (SHARES * 30).astype(np.float32).reshape(100, 200)
    share, stored = elementary.rough_share(way, -0.7)
    assert share.shape == stored.shape == way.shape and stored.dtype == np.uint16
    assert np.array_equal(share, elementary.rough_exp(way, -0.7))
    assert np.abs(share * 65535 - stored).max() <= 0.501
    assert elementary.rough_share(np.zeros((1, 1), np.float32), -1.0)[1][0, 0] == 65535


def test_powers_and_means_by_tables() -> None:
    x = (1 + SHARES * SHARES * 20000).astype(np.float32)
    exponents = -SHARES[::-1].astype(np.float32)
    exact = x.astype(np.float64) ** exponents.astype(np.float64)
    assert np.abs(elementary.rough_power(x, exponents) / exact - 1).max() < 1 / 4000
    assert elementary.rough_power(np.array([1, 1], np.float32), np.array([-1, 0], np.float32)).tolist()[1] == 1
    way = (SHARES * 255).astype(np.float32) + np.float32(1e-3)
    assert np.abs(elementary.rough_decay(way) - (1 - np.exp(-way.astype(np.float64))) / way).max() < 0.001
    assert elementary.rough_decay(np.zeros(1, np.float32))[0] == pytest.approx(1, abs=1e-5)


def test_straight_lines_are_numpys() -> None:
    known, values = np.sort(SHARES[:30]), SHARES[30:60]
    places = SHARES[60:500] * 1.2 - 0.1
    assert np.allclose(elementary.interpolated(places, known, values), np.interp(places, known, values), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Resampling, beside OpenCV's


def field(height: int, width: int) -> np.ndarray:
    return SHARES[: height * width].astype(np.float32).reshape(height, width)


@pytest.mark.parametrize("size", [(45, 60), (90, 133), (91, 267), (200, 61), (20, 30)])
def test_stretching_is_bilinear(size: tuple[int, int]) -> None:
    """On a ramp, where all ways between pixels agree."""
    ramp = np.add.outer(np.arange(45), 2 * np.arange(60)).astype(np.float32) / 165
    found = stretched(ramp, *size)
    y, x = ((np.arange(s) + 0.5) * n / s - 0.5 for s, n in zip(size, ramp.shape, strict=True))
    inside = np.ix_((y > 1) & (y < 43), (x > 1) & (x < 58))
    assert found.shape == size
    assert np.abs(found - np.add.outer(y, 2 * x) / 165)[inside].max() < 1e-5
    assert found.min() >= 0 and found.max() <= ramp.max()


def test_enlarging_cubics_means_and_blurs_are_opencvs() -> None:
    import cv2

    small = field(45, 60)
    assert np.abs(enlarged(small, 4) - cv2.resize(small, (240, 180))).max() < 1e-4
    colours = np.stack([small, small * 0.5, small * 0.1], axis=-1)
    assert np.abs(enlarged(colours, 2) - cv2.resize(colours, (120, 90))).max() < 1e-4
    assert np.abs(curved(small, 180, 240) - cv2.resize(small, (240, 180), interpolation=cv2.INTER_CUBIC)).max() < 1e-5
    for side in (1, 3, 19):
        theirs = cv2.blur(small, (side, side), borderType=cv2.BORDER_REFLECT)
        assert np.abs(means(small, side) - theirs).max() < 1e-6
    for sigma in (0.6, 1.5, 4.0):
        theirs = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        assert np.abs(smoothed(small, sigma) - theirs).max() < 2e-3
    wide = smoothed(np.pad(np.ones((1, 1), np.float32), 150), 25.0).sum(axis=0)
    assert wide.sum() == pytest.approx(1, abs=1e-3)
    away = np.arange(len(wide)) - 150
    assert math.sqrt((wide * away**2).sum()) == pytest.approx(25, rel=0.03)


def test_nothing_stays_nothing() -> None:
    none = np.zeros((20, 30), np.float32)
    for result in (enlarged(none, 2), means(none, 5), smoothed(none, 2), stretched(none, 40, 70), shortened(none)):
        assert not result.any()
