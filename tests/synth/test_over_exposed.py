"""Light that is doubled, a sensor that is full, and colours that are cut off one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from patina.synth.degradations.over_exposed import BALANCED, BRIGHTNESS, OverExposed
from patina.synth.image import Image, to_float
from patina.synth.sensor import unprocess
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo

# For test_contract.py and test_ladder.py
STRENGTHS = [{"stops": float(stops)} for stops in (0, 0.25, 0.5, 1, 2, 3, 4, 6)]
WIDE = OverExposed(stops={"min": 0, "max": 6}, shoulder={"min": 0, "max": 1})
BAD = [
    ({"stops": -1}, "stops: expected 0 to 6, found -1"),
    ({"stops": {"min": 1, "max": 7}}, "stops: expected 0 to 6, found 7"),
    ({"shoulder": 1.5}, "shoulder: expected 0 to 1, found 1.5"),
    ({"shoulder": "film"}, "shoulder: expected a number from 0 to 1, found 'film'"),
]
TOLD = {"stops": (BRIGHTNESS, r"about ([\d.]+) stops", 1)}


def exposed(image: Image, stops: float, shoulder: float = 0.0) -> tuple[Image, Any]:
    degraded = OverExposed().apply(image, {"stops": stops, "shoulder": shoulder})
    return degraded.image, degraded.truth["burnt"]


def raw(image: Image) -> Any:
    return unprocess(image, BALANCED).astype(np.float64)


@pytest.mark.parametrize("shoulder", [0.0, 0.3, 1.0])
def test_no_stop_is_the_photograph_itself(shoulder: float) -> None:
    """The camera is used both ways, its shoulder included."""
    lq, burnt = exposed(photo(), 0, shoulder)
    assert np.abs(lq.astype(int) - photo()).max() <= 1
    assert (lq != photo()).mean() < 0.01
    assert np.array_equal(burnt, (lq == 255).sum(axis=2) * 85)


@pytest.mark.parametrize("stops", [0.5, 1.0, 2.0])
def test_a_stop_doubles_the_light_of_what_is_not_cut(stops: float) -> None:
    """Of dark greys, whose light stays below full."""
    for level in (20, 60, 90):
        lq, burnt = exposed(flat(32, 32, level), stops)
        light, more = raw(flat(32, 32, level))[0, 0, 0], raw(lq)[0, 0, 0]
        if light * 2**stops < 0.95:
            step = raw(flat(32, 32, int(lq[0, 0, 0]) + 1))[0, 0, 0] - more
            assert more == pytest.approx(light * 2**stops, abs=step) and not burnt.any()


def test_what_is_full_stays_white_and_never_turns_magenta() -> None:
    lq, burnt = exposed(flat(32, 32, 250), 2)
    assert (lq == 255).all() and (burnt == 255).all()


def test_bright_colours_are_cut_one_by_one() -> None:
    """Skin turns yellow, then white: red is full first, then green."""
    skin = np.empty((16, 16, 3), np.uint8)
    skin[:] = (200, 150, 120)
    seen = [exposed(skin, stops) for stops in (0.0, 1.5, 2.0, 2.5, 5.0)]
    counts = [int(burnt[0, 0]) for _, burnt in seen]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 255 and len(set(counts)) >= 3
    away = [int(lq[0, 0, 0]) - int(lq[0, 0, 2]) for lq, _ in seen]
    assert away[-1] == 0 < away[0]


def test_burnt_counts_the_colours_at_white() -> None:
    for shoulder in (0.0, 0.5):
        lq, burnt = exposed(photo(), 1.5, shoulder)
        assert np.array_equal(burnt, (lq == 255).sum(axis=2) * 85)
        assert 0.05 < (burnt > 0).mean() < 0.95


def test_a_shoulder_keeps_highlights_apart_for_longer() -> None:
    """Up to a stop: greys that are all white without it are of several levels with it."""
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(150, 246, dtype=np.uint8)[:, None, None], (96, 16, 3)))
    hard, soft = (exposed(ramp, 1.0, shoulder)[0][:, 0, 0] for shoulder in (0.0, 1.0))
    assert len(np.unique(soft)) > 1.3 * len(np.unique(hard))
    assert (np.diff(soft.astype(int)) >= 0).all() and (np.diff(hard.astype(int)) >= 0).all()
    assert (soft == 255).sum() < (hard == 255).sum()


def test_the_response_is_smooth_where_it_bends() -> None:
    """Beside its knee light goes on with a slope of one, and it ends at full."""
    image = OverExposed().render(to_float(photo()), {"stops": 0.02, "shoulder": 0.5}).image
    assert np.abs(image - to_float(photo())).max() < 0.03
    assert image.max() <= 1


def test_brighter_and_never_darker() -> None:
    means = [exposed(photo(), stops, 0.4)[0].mean() for stops in (0.0, 0.5, 1.0, 2.0, 4.0, 6.0)]
    assert means == sorted(means) and means[-1] > 200
    assert (exposed(photo(), 1.0)[0].astype(int) >= photo().astype(int) - 1).mean() > 0.999
    assert exposed(flat(32, 32, 0), 6)[0].max() == 0


def test_words() -> None:
    assert say("over-exposed", {"stops": 1.5}).phrase == "overexposure, about 1.5 stops too bright"
    assert say("over-exposed", {"stops": 0.1}).phrase == "slight overexposure, about 0.1 stops too bright"
    assert say("over-exposed", {"stops": 0}).phrase == "no overexposure"


# fmt: off
FROZEN = [
    [255, 255, 255], [37, 16, 82], [247, 242, 241], [82, 69, 172], [35, 18, 76],
    [159, 143, 135], [71, 59, 152], [5, 2, 7], [48, 24, 101],
]
# fmt: on


def test_pixels_are_frozen() -> None:
    """If this fails, raise `OverExposed.version`: stored samples can no longer be replayed."""
    lq, burnt = exposed(cut(48, 64), 1.3, 0.4)
    assert lq[5::18, 5::20].reshape(-1, 3).tolist() == FROZEN
    assert int(burnt.sum(dtype=np.int64)) == 43265
