"""Tiles that repeat most of another are told, and a setting bounds them; without it nothing changes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.errors import RecipeError
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.recipe import Tiles
from patina.pipeline.scan.source import ImageInfo, Source
from patina.pipeline.scan.tile_overlap import overlap_notes
from tests.pipeline.making import photo, tiny_recipe


def of_size(width: int, height: int, name: str = "a.png") -> Source:
    return Source("ab" * 32, "ab" * 32, (name,), ("",), "", 0, "train", 1, ImageInfo(width=width, height=height))


@pytest.mark.parametrize(
    ("tiles", "size", "told"),
    [
        (Tiles(64), (128, 192), False),
        (Tiles(64), (80, 128), True),  # two tiles, 16 px apart
        (Tiles(64), (128, 80), True),
        (Tiles(64), (64, 64), False),
        (Tiles(64), (96, 96), False),  # by a half
        (Tiles(64), (95, 64), True),
        (Tiles(64), (144, 64), True),
        (Tiles(64), (272, 64), False),  # the fifth tile of a row
        (Tiles(64, stride=16), (80, 96), False),  # as it was asked for
        (Tiles(64, stride=16), (81, 96), True),
        (Tiles(64, max_overlap=0.5), (80, 80), False),
        (Tiles(64), (30, 30), False),
    ],
)
def test_a_photograph_that_is_little_larger_than_a_tile_is_told_of(
    tiles: Tiles, size: tuple[int, int], told: bool
) -> None:
    assert bool(overlap_notes(tiles, [of_size(*size)])) is told


def test_the_note_has_a_count_and_the_worst_example(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png", 128, 128)
    photo(tmp_path / "photos" / "b.png", 80, 64, seed=1)
    photo(tmp_path / "photos" / "c.png", 90, 130, seed=2)
    (note,) = plan_build(tiny_recipe(tmp_path, tiles={"size": 64}), tmp_path / "out", Options()).notes
    assert note == (
        "tiles of 2 photographs overlap by more than half at an edge, by up to 97 % (c.png, 90×130 px): "
        "[tiles] max_overlap = 0.5 leaves those out, another size may fit better"
    )
    bounded = tiny_recipe(tmp_path, tiles={"size": 64, "max_overlap": 0.5})
    assert not plan_build(bounded, tmp_path / "out", Options()).notes


@given(st.integers(16, 300), st.integers(1, 320), st.integers(0, 1000))
def test_without_a_bound_every_pixel_of_a_large_enough_side_is_in_a_tile(size: int, stride: int, more: int) -> None:
    stride = min(stride, size)
    starts = sorted({x for x, *_ in Tiles(size, stride).cut(size + more, size)})
    assert starts[0] == 0
    assert starts[-1] == more
    assert all(b - a <= stride for a, b in pairwise(starts))


@given(st.integers(16, 300), st.integers(0, 1000), st.floats(0, 1))
def test_no_two_tiles_overlap_by_more_than_the_bound_and_nothing_else_is_left_out(
    size: int, more: int, most: float
) -> None:
    whole = [x for x, *_ in Tiles(size).cut(size + more, size)]
    bounded = [x for x, *_ in Tiles(size, max_overlap=most).cut(size + more, size)]
    assert bounded in (whole, whole[:-1])
    assert all(size - (b - a) <= most * size + 1e-6 for a, b in pairwise(bounded))
    if len(whole) > 1 and size - (whole[-1] - whole[-2]) <= most * size:
        assert bounded == whole


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"size": 64, "max_overlap": 1.5}, "max_overlap: expected a share from 0 to 1, found 1.5"),
        ({"size": 64, "max_overlap": True}, "max_overlap: expected a share from 0 to 1, found True"),
        ({"size": 64, "max_overlap": "half"}, "max_overlap: expected a share from 0 to 1, found 'half'"),
        (
            {"size": 64, "stride": 16, "max_overlap": 0.5},
            "16 px apart overlap by 0.75, found 0.5; raise it",
        ),
        ({"size": 64, "overlap": 0.5}, "has no key 'overlap'; did you mean 'max_overlap'"),
    ],
)
def test_a_bound_that_cannot_be_is_refused(tmp_path: Path, table: dict[str, object], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        tiny_recipe(tmp_path, tiles=table)


def test_a_bound_that_is_the_strides_own_is_taken() -> None:
    for size, stride, most in ((64, 16, 0.75), (100, 70, 0.3), (100, 90, 0.1), (30, 27, 0.1)):
        assert len(Tiles(size, stride, most).cut(size + 3 * stride, size)) == 4


def test_a_recipe_without_a_bound_has_the_digest_that_it_had(tmp_path: Path) -> None:
    without, given_one = ({"size": 64}, {"size": 64, "max_overlap": 1.0})
    tables = [tiny_recipe(tmp_path, tiles=table).table["tiles"] for table in (without, given_one)]
    assert tables == [{"size": 64, "stride": 0}] * 2
    bounded = tiny_recipe(tmp_path, tiles={"size": 64, "max_overlap": 0.5})
    assert bounded.table["tiles"] == {"size": 64, "stride": 0, "max_overlap": 0.5}
