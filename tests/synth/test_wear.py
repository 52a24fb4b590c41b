"""Marks of wear: as much as is asked for, mostly small, and no straight lines along the picture's sides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from patina.synth.holes import HOLE, KEEP
from patina.synth.rng import Rng
from patina.synth.wear import dirt, worn


@pytest.mark.parametrize("make", [worn, dirt])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.1])
def test_they_cover_what_was_asked_for(make: object, share: float) -> None:
    assert callable(make)
    for seed in "123":
        mask = make(300, 400, share, Rng(seed))
        assert set(np.unique(mask)) == {HOLE, KEEP}
        assert (mask == HOLE).mean() == pytest.approx(share, rel=0.1)
        assert np.array_equal(mask, make(300, 400, share, Rng(seed)))


def test_more_wear_holds_less_of_it() -> None:
    less, more = (worn(200, 300, share, Rng("9")) for share in (0.01, 0.05))
    assert (more[less == HOLE] == HOLE).all()


def test_most_marks_are_small_and_few_are_long() -> None:
    """Of 16 prints: half of the pieces are specks, and one at least is longer than a fifth of a print."""
    longest, areas = 0, []
    for seed in range(16):
        plate = (worn(256, 256, 0.01, Rng(f"{seed:x}")) == HOLE).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(plate, connectivity=8)
        areas += [int(area) for area in np.asarray(stats)[1:count, cv2.CC_STAT_AREA]]
        longest = max(longest, int(np.asarray(stats)[1:count, 2:4].max()))
    assert np.median(areas) <= 9 and longest > 51


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (5, 7)])
def test_any_size_works(height: int, width: int) -> None:
    assert worn(height, width, 0.1, Rng("4")).shape == dirt(height, width, 0.1, Rng("4")).shape == (height, width)
