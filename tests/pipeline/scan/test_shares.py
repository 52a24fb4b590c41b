"""A split that gives far fewer or more photographs than was asked for is told, with what would be needed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.recipe import Split
from patina.pipeline.recipe.shares import advised_share, is_far
from patina.pipeline.scan.shares import share_notes
from patina.pipeline.scan.source import ImageInfo, Source
from tests.pipeline.making import photos, tiny_recipe


def sources(split: Split, count: int, *, named: bool = False, salt: str = "") -> list[Source]:
    digests = [hashlib.sha256(f"{salt}{i}".encode()).hexdigest() for i in range(count)]
    return [
        Source(d, d, (f"{i}.png",), ("",), "", 0, split.side(d), 1, ImageInfo(), named=named)
        for i, d in enumerate(digests)
    ]


def salt_with(split: Split, count: int, side: str, wanted: int) -> str:
    """What to make digests of, so that so many of `count` fall on that side."""
    for i in range(100_000):
        if sum(s.split == side for s in sources(split, count, salt=f"{i}-")) == wanted:
            return f"{i}-"
    raise AssertionError


@pytest.mark.parametrize(
    ("count", "total", "share", "far"),
    [
        (0, 30, 0.1, True),
        (1, 30, 0.1, True),
        (2, 30, 0.1, False),
        (6, 30, 0.1, False),
        (7, 30, 0.1, True),
        (0, 3, 0.05, True),
        (1, 3, 0.05, False),  # one is the least that there can be
        (1, 6, 0.2, False),
        (2, 6, 0.2, False),
        (90, 1000, 0.1, False),
        (49, 1000, 0.1, True),
        (201, 1000, 0.1, True),
        (5, 5, 1.0, False),
    ],
)
def test_what_counts_as_far(count: int, total: int, share: float, far: bool) -> None:
    assert is_far(count, total, share) is far


def test_large_sets_are_left_alone_and_small_ones_told_of() -> None:
    split = Split(val=0.1, test=0.1)
    assert not any(share_notes(split, sources(split, 600, salt=f"{i}-")) for i in range(40))
    told = sum(bool(share_notes(Split(val=0.1), sources(Split(val=0.1), 8, salt=f"{i}-"))) for i in range(200))
    assert 90 < told < 150, "of eight photographs none is for val in 43 % of sets, and two or more in 19"


@pytest.mark.parametrize("side", ["val", "test"])
@pytest.mark.parametrize("found", [0, 1, 9])
def test_the_note_names_a_share_that_gives_what_was_meant(side: str, found: int) -> None:
    split = Split(**{side: 0.1})
    salt = salt_with(split, 30, side, found)
    (note,) = share_notes(split, sources(split, 30, salt=salt))
    got = f"{found} of 30 photographs ({round(100 * found / 30)} %)" if found else "none of 30 photographs"
    assert note.startswith(f"{side} = 0.1 gives {got} instead of about 3: ")
    assert f'split = "{side}" in a source chooses them' in note
    advised = re.search(rf"{side} = ([0-9.]+) gives 3 of these", note)
    assert advised
    other = Split(**{side: float(advised.group(1))})
    assert sum(s.split == side for s in sources(other, 30, salt=salt)) == 3


def test_a_share_is_advised_beside_the_other_side() -> None:
    split = Split(val=0.1, test=0.3)
    digests = [s.content for s in sources(split, 40)]
    share = advised_share(split, "val", digests, 4)
    assert sum(Split(val=float(share), test=0.3).side(d) == "val" for d in digests) == 4
    assert advised_share(Split(val=0.1, test=1.0 - 0.1), "val", digests, 39) == "", "there is no room for so many"


def test_photographs_whose_source_names_their_split_do_not_count() -> None:
    split = Split(val=0.5)
    named = sources(split, 10, named=True)
    assert share_notes(split, named) == [
        "val = 0.5 is applied to nothing: every source names the split of its photographs"
    ]
    assert not share_notes(Split(), named)
    assert not share_notes(split, [])
    assert not share_notes(split, [*named, *sources(split, 40, salt="other")])


def test_scenes_on_one_side_are_named_as_the_reason() -> None:
    split = Split(val=0.2)
    from dataclasses import replace

    moved = [replace(s, split="train") for s in sources(split, 30)]
    (note,) = share_notes(split, moved)
    assert "photographs of one scene were put into one split" in note


def test_plan_tells_of_an_empty_val(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    (note,) = plan_build(tiny_recipe(tmp_path, split={"val": 0.0001}), tmp_path / "out", Options()).notes
    assert note.startswith("val = 0.0001 gives none of 3 photographs instead of about 1: splits follow from")
    assert not plan_build(tiny_recipe(tmp_path), tmp_path / "out", Options()).notes
