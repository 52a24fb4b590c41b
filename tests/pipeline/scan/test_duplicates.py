"""Exact and near copies together: one side for each scene, whatever tables and draws say, and in whatever order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.scan.duplicates import merge
from patina.pipeline.scan.leaks.clusters import assign
from patina.pipeline.scan.leaks.types import Link, Match, Scene
from patina.pipeline.scan.source import ImageInfo, Source
from patina.synth.image import Image

TITLES = ("A", "B", "C")


def nothing() -> Image:
    raise AssertionError("sides are decided without pixels")


def source(content: int, pair: int, source_index: int, table: str, drawn: str) -> Source:
    """A photograph (`pair` 0) or a pair of clean image number `content`; `table` names its split, or nothing does."""
    digest = f"{content + 100 * pair:064x}"[::-1]
    name = f"{content}-{pair}-{source_index}.png"
    lq = f"lq/{name}" if pair else ""
    return Source(
        digest, f"{content:064x}", (name,), (TITLES[source_index],), name, source_index, table or drawn, 1, ImageInfo(),
        named=bool(table), lq=lq, lq_name=lq,
    )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Source], list[tuple[int, int]]]:
    """Sources of up to six clean images, and which of these are near copies of one another."""
    drawn = [draw(st.sampled_from(SPLITS)) for _ in range(6)]
    kinds = st.tuples(
        st.integers(0, 5), st.integers(0, 2), st.integers(0, 2), st.sampled_from(["", "", "train", "val", "test"])
    )
    found = [
        source(c, pair, source_index, table, drawn[c])
        for c, pair, source_index, table in draw(st.lists(kinds, min_size=1))
    ]
    near = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=5))
    return found, [(min(p), max(p)) for p in near if p[0] != p[1]]


def placed(sources: Sequence[Source], near: list[tuple[int, int]]) -> dict[str, str]:
    """Side of every source that is left after both, by digest."""
    kept = merge(sources, TITLES.__getitem__)[0]
    scenes = {
        s.content: Scene(s.content, s.names[0], "0" * 16, 1, 1, s.split, s.named, TITLES[s.source_index], nothing)
        for s in reversed(kept)
    }
    links = [Link(f"{i:064x}", f"{j:064x}", Match(1.0)) for i, j in near]
    found = assign(list(scenes.values()), [k for k in links if k.first in scenes and k.second in scenes])
    return {
        s.digest: found.moved[s.content][1] if s.content in found.moved else s.split
        for s in kept
        if s.content not in found.left_out
    }


@given(worlds())
def test_no_clean_image_and_no_scene_is_on_two_sides(world: tuple[list[Source], list[tuple[int, int]]]) -> None:
    sources, near = world
    sides = placed(sources, near)
    assert sides, "something is always left"
    content = {s.digest: int(s.content, 16) for s in sources}
    scene = list(range(6))
    present = {int(s.content, 16) for s in sources}
    for i, j in near:
        if {i, j} <= present:
            scene = [scene[i] if other == scene[j] else other for other in scene]
    where: dict[int, set[str]] = {}
    for digest, side in sides.items():
        where.setdefault(scene[content[digest]], set()).add(side)
    assert all(len(found) == 1 for found in where.values()), where


@given(worlds())
def test_a_named_test_set_keeps_its_images_and_nothing_joins_it_from_elsewhere(
    world: tuple[list[Source], list[tuple[int, int]]],
) -> None:
    sources, near = world
    sides = placed(sources, near)
    published = {s.digest for s in sources if s.named and s.split == "test"}
    assert {sides.get(digest) for digest in published} <= {"test"}
    contents = {s.content for s in sources if s.digest in published}
    there = {s.digest for s in sources if s.split == "test"}
    strangers = {s.digest for s in sources if s.content in contents} - there
    assert not strangers & sides.keys()


@given(worlds(), st.integers(0, 99))
def test_the_order_of_the_sources_changes_nothing(world: tuple[list[Source], list[tuple[int, int]]], seed: int) -> None:
    sources, near = world
    mixed = list(sources)
    random.Random(seed).shuffle(mixed)
    assert merge(mixed, TITLES.__getitem__) == merge(sources, TITLES.__getitem__)
    assert placed(mixed, near) == placed(sources, near)


def test_the_example_of_shared_images_is_the_same_in_any_order() -> None:
    sources = [source(content, 0, source_index, "test", "test") for content in (0, 1) for source_index in (0, 1)]
    notes = merge(sources, TITLES.__getitem__)[2]
    assert notes == ["A (test) and B (test) share 2 clean images, such as 0-0-0.png"]
    assert merge(sources[::-1], TITLES.__getitem__)[2] == notes


def test_what_is_left_out_is_told_with_its_set_and_an_example() -> None:
    sources = [source(1, 0, 0, "train", "train"), source(1, 1, 1, "train", "train"), source(1, 0, 2, "test", "train")]
    kept, refusals, notes = merge(sources, TITLES.__getitem__)
    assert [(s.split, s.named, s.names) for s in kept] == [("test", True, ("1-0-2.png", "1-0-0.png"))]
    assert refusals == []
    assert notes == [
        "1 photograph of A (train) left out of train: also in test, byte for byte, such as 1-0-2.png",
        "1 photograph of B (train) left out of train: also in test, byte for byte, such as 1-1-1.png",
    ]


def test_a_table_that_loses_a_photograph_has_no_say_in_what_it_undergoes() -> None:
    train = replace(source(1, 0, 0, "train", "train"), entries=("noisy",))
    test = replace(source(1, 0, 1, "test", "train"), entries=("rainy",))
    also = replace(source(1, 0, 2, "test", "train"), entries=("hazy",))
    (kept,) = merge([train, test, also], TITLES.__getitem__)[0]
    assert (kept.split, kept.source_index, kept.entries) == ("test", 1, ("hazy", "rainy"))
    assert kept.names == ("1-0-1.png", "1-0-2.png", "1-0-0.png")


def test_two_digests_that_would_share_a_key_cannot_both_stay() -> None:
    first, second = source(1, 0, 0, "", "train"), source(2, 0, 0, "", "train")
    twin = Source(
        first.digest[:16] + "f" * 48, second.content, second.names, second.roots, "p", 0, "train", 1, ImageInfo()
    )
    kept, refusals, _ = merge([first, twin], TITLES.__getitem__)
    assert [s.digest for s in kept] == [min(first.digest, twin.digest)]
    assert "they cannot both have a key" in refusals[0].reason
