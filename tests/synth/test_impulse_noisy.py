"""What `impulse-noisy` hits, how often, and what it leaves alone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import skimage.util

from patina.synth.degradations.impulse_noisy import IMPULSES, ImpulseNoisy
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py and test_ladder.py
STRENGTHS = [{"density": density} for density in (0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)]
WIDE = ImpulseNoisy(density={"min": 0, "max": 0.9}, dead=2000, lines={"min": 0, "max": 0.1}, stripes=[0, 20])
BAD = [
    ({"density": 1}, "density: expected 0 to 0.95, found 1"),
    ({"salt": -0.1}, "salt: expected 0 to 1, found -0.1"),
    ({"values": "pepper"}, "values: expected one of extreme, random, found 'pepper'"),
    ({"channels": 3}, "channels: expected one of each, all, found 3"),
    ({"dead": 1e6}, "dead: expected 0 to 5000, found 1e+06"),
    ({"lines": {"min": 0, "max": 0.5}}, "lines: expected 0 to 0.3, found 0.5"),
    ({"stripes": 65}, "stripes: expected 0 to 64, found 65"),
    ({"direction": "across"}, "direction: expected one or a list of columns, rows, found 'across'"),
    ({"direction": []}, "direction: expected one or a list of columns, rows, found []"),
    ({"direction": 2}, "direction: expected one or a list of columns, rows, found 2"),
]
TOLD = {"density": (IMPULSES, r"about ([\d.]+)%", 0.01)}

NOTHING: dict[str, Any] = {
    **{"density": 0.0, "salt": 0.5, "values": "extreme", "channels": "each", "dead": 0.0, "lines": 0.0},
    **{"stripes": 0.0, "direction": "columns", "seed": "2a"},
}
GREY = flat(512, 768, 120)


def struck(image: Image = GREY, **params: Any) -> tuple[Image, Image]:
    degraded = ImpulseNoisy().apply(image, {**NOTHING, **params})
    return degraded.image, degraded.truth["mask"]  # type: ignore[return-value]


@pytest.mark.parametrize("density", [0.03, 0.3, 0.9])
def test_as_many_values_are_hit_as_asked_and_each_channel_on_its_own(density: float) -> None:
    lq, mask = struck(density=density)
    assert set(np.unique(lq)) == {0, 120, 255}
    hit = lq != 120
    assert hit.mean(axis=(0, 1)) == pytest.approx(density, abs=0.003)
    assert (lq == 255).sum() / hit.sum() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(mask == 0, hit.any(axis=2))
    assert (mask == 0).mean() == pytest.approx(1 - (1 - density) ** 3, abs=0.004)
    assert abs(np.corrcoef(hit[..., 0].ravel(), hit[..., 1].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(hit[:, 1:, 0].ravel(), hit[:, :-1, 0].ravel())[0, 1]) < 0.01


def test_pixels_as_a_whole_and_any_level() -> None:
    lq, mask = struck(density=0.2, channels="all", values="random")
    hit = mask == 0
    assert hit.mean() == pytest.approx(0.2, abs=0.003)
    assert np.ptp(lq.astype(int), axis=2).max() == 0 and (lq[~hit] == 120).all()
    levels = np.bincount(lq[..., 0][hit], minlength=256)
    assert levels.min() > 0.5 * levels.mean() and levels.max() < 1.5 * levels.mean()


@pytest.mark.parametrize("salt", [0.0, 0.2, 1.0])
def test_the_share_of_salt(salt: float) -> None:
    lq, mask = struck(density=0.3, salt=salt, channels="all")
    assert (lq[mask == 0] == 255).mean() == pytest.approx(salt, abs=0.01)


@pytest.mark.parametrize("amount", [0.03, 0.06, 0.09, 0.17, 0.27])
def test_it_is_imagenet_cs_at_its_five_severities(amount: float) -> None:
    """Which takes scikit-image's `random_noise`; the PSNR of two draws differs by less than a tenth of a dB."""
    theirs = skimage.util.random_noise(photo() / 255.0, mode="s&p", amount=amount, rng=1)
    ours = struck(photo(), density=amount)[0]
    assert psnr(photo(), ours) == pytest.approx(psnr(photo(), np.rint(theirs * 255).astype(np.uint8)), abs=0.1)


def test_more_hits_the_same_and_others() -> None:
    less, more = (struck(density=density)[1] == 0 for density in (0.05, 0.2))
    assert (more | ~less).all() and more.sum() > 3 * less.sum()


def test_a_dead_photosite_makes_a_cross_of_one_colour() -> None:
    """Bilinear demosaicing's weights: green 1 and ¼ to the sides, red and blue 1, ½ and at the corners ¼."""
    seen = set()
    for seed in range(1, 12):
        lq, mask = struck(flat(64, 64, 128), dead=250.0, seed=f"{seed:x}")  # one of 4096
        away = lq.astype(int) - 128
        (colour,) = {int(c) for c in np.nonzero(away)[2]}
        y, x = np.unravel_index(np.abs(away[..., colour]).argmax(), mask.shape)
        if not (0 < y < 63 and 0 < x < 63):
            continue
        assert colour == y % 2 + x % 2
        side, corner = (0.25, 0) if colour == 1 else (0.5, 0.25)
        shares = np.array([[corner, side, corner], [side, 1, side], [corner, side, corner]])
        end = 127 if away.sum() > 0 else -128
        assert np.abs(away[y - 1 : y + 2, x - 1 : x + 2, colour] - end * shares).max() <= 1
        assert np.count_nonzero(away) == np.count_nonzero(shares) == np.count_nonzero(mask == 0)
        seen.add((colour, end > 0))
    assert {colour for colour, _ in seen} == {0, 1, 2} and {end for _, end in seen} == {False, True}


def test_dead_photosites_are_counted_by_the_million() -> None:
    lq, mask = struck(dead=1000.0)
    sites = 1000 * GREY[..., 0].size / 1e6
    assert 5 * sites < (mask == 0).sum() <= 9 * sites
    assert ((lq != 120).any(axis=2) == (mask == 0)).mean() > 0.9999
    assert 0.3 < (lq[lq != 120] > 120).mean() < 0.7


@pytest.mark.parametrize(("direction", "axis"), [("columns", 0), ("rows", 1)])
def test_lines_and_stripes_go_from_end_to_end(direction: str, axis: int) -> None:
    lq, mask = struck(lines=0.1, direction=direction)
    assert np.ptp(lq.astype(int), axis=axis).max() == 0
    dead = (mask == 0).all(axis=axis)
    assert np.array_equal(dead, (mask == 0).any(axis=axis)) and dead.mean() == pytest.approx(0.1, abs=0.04)
    assert set(np.unique(lq)) == {0, 120, 255}
    lq, mask = struck(stripes=10.0, direction=direction)
    assert np.ptp(lq.astype(int), axis=axis).max() == 0 and (mask == 255).all()
    assert lq.std() == pytest.approx(10, rel=0.1)


def test_nothing_asked_is_nothing_done() -> None:
    lq, mask = struck(cut(61, 83))
    assert np.array_equal(lq, cut(61, 83)) and (mask == 255).all()


@pytest.mark.parametrize("shape", [(50, 61), (33, 64)])
@pytest.mark.parametrize("settings", [{}, *ImpulseNoisy.ways, {"dead": 4000.0, "stripes": 9.0, "direction": "rows"}])
def test_a_row_is_the_same_whichever_rows_are_made(shape: tuple[int, int], settings: dict[str, Any]) -> None:
    image = cut(*shape)
    strips = ImpulseNoisy().strips(image, {**NOTHING, "density": 0.2, **settings})
    whole = strips.rows(0, shape[0])
    for count in (1, 7):
        parts = [strips.rows(top, min(top + count, shape[0])) for top in range(0, shape[0], count)]
        assert np.array_equal(np.concatenate([part.pixels for part in parts]), whole.pixels)
        assert np.array_equal(np.concatenate([part.truth["mask"] for part in parts]), whole.truth["mask"])


def test_words_say_what_is_there() -> None:
    assert say("impulse-noisy", {"density": 0.05, "channels": "all"}).phrase == (
        "light impulse noise, about 5% of the pixels"
    )
    assert say("impulse-noisy", {"density": 0.27, "channels": "each", "stripes": 4.0}).phrase == (
        "medium impulse noise and stripes, about 27% of the values"
    )
    assert say("impulse-noisy", {"density": 0, "lines": 0.1}).phrase == "stripes of a sensor"
    assert say("impulse-noisy", {"density": 0, "dead": 80.0}).phrase == "dead pixels of a sensor"
    assert say("impulse-noisy", {"density": 0, "dead": 0}).phrase == "no impulse noise"
    assert say("impulse-noisy", {}).phrase == "impulse noise"


def test_a_direction_is_chosen_from_a_list() -> None:
    drawn = {ImpulseNoisy().draw(Rng(f"{i:x}"), GREY)["direction"] for i in range(20)}
    assert drawn == {"columns", "rows"}
    assert ImpulseNoisy(direction="rows").draw(Rng("1"), GREY)["direction"] == "rows"


@pytest.mark.parametrize(
    ("params", "digest"),
    [
        ({"density": 0.2}, "bbf734efaddc7d4d"),
        (
            {"density": 0.1, "dead": 4000.0, "lines": 0.1, "stripes": 9.0, "channels": "all", "values": "random"},
            "6150d673f713a595",
        ),
    ],
)
def test_pixels_are_frozen(params: dict[str, Any], digest: str) -> None:
    """If this fails, raise `ImpulseNoisy.version`: stored samples can no longer be replayed."""
    lq, mask = struck(cut(48, 64), **params)
    assert hashlib.sha256(lq.tobytes() + mask.tobytes()).hexdigest()[:16] == digest
