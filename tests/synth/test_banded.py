"""How many levels `banded` leaves, where they lie, and that dithering keeps the mean."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from patina.synth.degradations.banded import BANDING, Banded
from patina.synth.image import Image
from patina.synth.resampling import ROWS
from patina.synth.rng import Rng
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py and test_ladder.py
STRENGTHS = [{"levels": levels} for levels in (128, 64, 32, 16, 8, 4, 2)]
WIDE = Banded(levels={"min": 2, "max": 128})
BAD = [
    ({"levels": 1}, "levels: expected 2 to 128, found 1"),
    ({"levels": {"min": 2, "max": 256}}, "levels: expected 2 to 128, found 256"),
    ({"levels": 4.5}, "levels: expected a whole number, found 4.5"),
    ({"dither": "diffusion"}, "dither: expected one or a list of none, ordered, random, found 'diffusion'"),
    ({"dither": []}, "dither: expected one or a list of none, ordered, random, found []"),
    ({"dither": True}, "dither: expected one or a list of none, ordered, random, found True"),
    ({"rounding": "up"}, "rounding: expected one of nearest, down, found 'up'"),
]
TOLD = {"levels": (BANDING, r"(\d+) levels", 1)}

PLAIN: dict[str, Any] = {"levels": 16, "dither": "none", "rounding": "nearest", "seed": "2a"}


def banded(image: Image, **params: Any) -> Image:
    return Banded().apply(image, {**PLAIN, **params}).image


@pytest.mark.parametrize("dither", ["none", "ordered", "random"])
@pytest.mark.parametrize("levels", [2, 3, 6, 16, 100, 128])
def test_levels_are_as_many_as_asked_and_equally_far_apart(levels: int, dither: str) -> None:
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3)))
    found = np.unique(banded(ramp, levels=levels, dither=dither))
    assert np.array_equal(found, np.floor(np.arange(levels) * 255 / (levels - 1) + 0.5).astype(int))


def test_each_value_takes_the_nearest_level() -> None:
    lq = banded(photo(), levels=7)
    assert np.abs(lq.astype(int) - photo()).max() <= 255 / 6 / 2 + 0.5


def test_sixteen_levels_cut_off_are_four_bits_spread_again() -> None:
    """What work on bit depth calls a 4-bit picture: v >> 4, times 17."""
    assert np.array_equal(banded(photo(), levels=16, rounding="down"), (photo() >> 4) * 17)


@pytest.mark.parametrize("levels", [4, 16, 32, 64])
def test_psnr_is_the_formula_of_even_steps(levels: int) -> None:
    """Errors of a value that is anywhere in a step have a standard deviation of a step over √12."""
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 16, 3)))
    step = 255 / (levels - 1)
    assert psnr(ramp, banded(ramp, levels=levels)) == pytest.approx(10 * np.log10(255**2 / (step**2 / 12)), abs=0.5)


@pytest.mark.parametrize("dither", ["ordered", "random"])
@pytest.mark.parametrize("level", [3, 60, 128, 201, 254])
def test_dithering_keeps_the_mean(dither: str, level: int) -> None:
    lq = banded(flat(256, 256, level), levels=4, dither=dither)
    assert lq.mean() == pytest.approx(level, abs=85 / 64 / 2 + 0.3)  # there are 64 thresholds
    assert len(np.unique(lq)) == 2


@pytest.mark.parametrize("dither", ["ordered", "random"])
def test_black_and_white_and_the_levels_themselves_stay(dither: str) -> None:
    for level in (0, 85, 170, 255):
        assert (banded(flat(64, 64, level), levels=4, dither=dither) == level).all()


def test_order_has_a_pattern_of_eight_pixels_and_chance_has_none() -> None:
    ordered, chance = (banded(flat(64, 64, 100), levels=2, dither=dither) for dither in ("ordered", "random"))
    assert np.array_equal(ordered[8:], ordered[:-8]) and np.array_equal(ordered[:, 8:], ordered[:, :-8])
    assert np.array_equal(ordered[..., 0], ordered[..., 2])
    assert 0.3 < (chance[8:] == chance[:-8]).mean() < 0.7
    red, green = (chance[..., i].astype(float).ravel() for i in (0, 1))
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.05


@pytest.mark.parametrize("dither", ["ordered", "random"])
def test_strips_leave_no_seam(dither: str) -> None:
    """A row is what it would be were there no rows above: the parts of a picture, each made alone, agree."""
    image = cut(2 * ROWS + 13, 45)
    whole = banded(image, dither=dither)
    assert np.array_equal(banded(image[: ROWS + 5], dither=dither), whole[: ROWS + 5])
    rows = banded(flat(2 * ROWS + 13, 40, 77), levels=3, dither=dither)
    assert rows[:ROWS].mean() == pytest.approx(rows[ROWS:].mean(), abs=12)


def test_bands_have_edges_and_dithering_hides_them() -> None:
    """Along a shallow ramp the longest run of one level is a band; dithered, there is none of that length."""
    ramp = np.ascontiguousarray(
        np.broadcast_to((np.arange(512) // 4 + 60).astype(np.uint8)[None, :, None], (32, 512, 3))
    )
    runs = {}
    for dither in ("none", "ordered", "random"):
        row = banded(ramp, levels=8, dither=dither)[5, :, 0]
        ends = np.flatnonzero(np.diff(np.concatenate(([-1], row, [-1])).astype(int)))
        runs[dither] = np.diff(ends).max()
    assert runs["none"] > 100 > 1.5 * max(runs["ordered"], runs["random"])


def test_a_range_of_levels_is_drawn_by_bits() -> None:
    drawn = [Banded(levels={"min": 4, "max": 31}).draw(Rng(f"{i:x}"), photo())["levels"] for i in range(600)]
    assert min(drawn) == 4 and max(drawn) == 31
    shares = np.histogram(drawn, [4, 8, 16, 32])[0] / len(drawn)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)


def test_words() -> None:
    assert say("banded", {"levels": 16, "dither": "none"}).phrase == "light banding, 16 levels of each colour"
    assert say("banded", {"levels": 5, "dither": "random"}).phrase == (
        "very strong banding, 5 levels of each colour, dithered"
    )
    assert say("banded", {"levels": 2, "dither": "ordered"}).phrase.startswith("extreme banding, 2 levels")


@pytest.mark.parametrize(
    ("dither", "digest"),
    [("none", "2d645e55f9ddbd52"), ("ordered", "59d08572aa1ff28b"), ("random", "f5c0e829a31ec691")],
)
def test_pixels_are_frozen(dither: str, digest: str) -> None:
    """If this fails, raise `Banded.version`: stored samples can no longer be replayed."""
    lq = banded(cut(48, 61), levels=6, dither=dither)
    assert hashlib.sha256(lq.tobytes()).hexdigest()[:16] == digest
