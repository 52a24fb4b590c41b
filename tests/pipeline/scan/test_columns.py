"""Sources as columns give back the very sources that they were made of, whatever is done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.hashing import canonical_json
from patina.pipeline.plan.planning import SourceTable
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Split
from patina.pipeline.scan.columns import ByDigest, Sources, Texts, firsts_of, hex_of
from patina.pipeline.scan.duplicates import merge, merged
from patina.pipeline.scan.source import ImageInfo, Source

NAMES = st.sampled_from(["a.jpg", "b/a.jpg", "é", "\udce9", '"%s\\"', "x" * 300])  # half a character among them


def digest_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Photographs of a folder and of a list, pairs, and what scans never give: a hash that is none, no location."""
    number, name = draw(st.integers(0, 50)), draw(NAMES)
    info = ImageInfo(
        "",
        draw(st.sampled_from([64, 768])),
        48,
        draw(st.sampled_from(["jpg", "png", ""])),
        draw(st.sampled_from([(0.125, 100.5, 255.0), (1.0, 2.0, 3.0)])),
        draw(st.sampled_from([digest_of(number)[:16], "0" * 16, "", "no hash", "F" * 16])),
        draw(st.sampled_from([(), ("alpha",)])),
        draw(st.sampled_from(["", "HEIF"])),
    )
    source = Source(
        digest_of(number),
        digest_of(number + draw(st.sampled_from([0, 0, 100]))),
        (name,),
        ("/photos",),
        draw(st.sampled_from([f"/photos/{name}", f"/photos/{name}", f"/tar\0{number}+9", ""])),
        draw(st.integers(0, 1)),
        draw(st.sampled_from(SPLITS)),
        draw(st.integers(0, 2**40)),
        info,
        captions=(draw(st.sampled_from(["", "", "a dog"])),),
        named=draw(st.booleans()),
        entries=draw(st.sampled_from([(), ("noisy",)])),
        licence=draw(st.sampled_from(["", "CC0", "100 % free"])),
    )
    if draw(st.integers(0, 3)) == 0:
        source = replace(source, names=(name, "other"), roots=("/photos", "/p"), captions=("", "a dog"))
    if draw(st.integers(0, 3)) == 0:
        params = draw(st.sampled_from([{}, {"sigma": 2}]))
        pair = {"lq": "/lq", "lq_digest": digest_of(number + 1), "lq_suffix": "jpg", "lq_name": "lq", "params": params}
        source = replace(source, degradation="noisy", border=draw(st.integers(0, 1)), **pair)  # type: ignore[arg-type]
    return source


@given(st.lists(sources(), max_size=6))
def test_columns_give_back_their_sources(made: list[Source]) -> None:
    columns = Sources.of(made)
    assert list(columns) == made == [columns[i] for i in range(len(made))]
    assert list(columns.names) == [source.names[0] for source in made]
    assert columns.counts() == [columns.kinds.tolist().count(kind) for kind in range(len(columns.examples))]
    for source, kind in zip(made, columns.kinds.tolist(), strict=True):
        like = columns.examples[kind]
        assert (like.split, like.named, like.entries, like.is_pair) == (
            source.split, source.named, source.entries, source.is_pair,
        )  # fmt: skip
    assert columns.widths.tolist() == [source.info.width for source in made]


@given(st.lists(sources(), max_size=6), st.data())
def test_some_of_the_columns_are_those_of_some_of_the_sources(made: list[Source], data: st.DataObject) -> None:
    columns = Sources.of(made)
    places = data.draw(st.lists(st.sampled_from(range(len(made))), unique=True)) if made else []
    some = columns.take(np.array(places, np.intp))
    assert list(some) == [made[place] for place in places]
    assert set(some.kinds.tolist()) == set(range(len(some.examples))), "no example of what is not there"
    assert list(columns[1:]) == made[1:]


@given(st.lists(sources(), max_size=6), st.lists(sources(), max_size=6))
def test_columns_are_joined(first: list[Source], second: list[Source]) -> None:
    joined = Sources.joined([Sources.of(first), Sources.of(second)])
    assert list(joined) == [*first, *second]
    ordered = joined.in_order()
    assert [s.digest for s in ordered] == sorted(s.digest for s in joined)
    assert set(ordered.kinds.tolist()) == set(range(len(ordered.examples)))


@given(st.lists(sources(), max_size=6))
def test_duplicates_are_merged_as_among_objects(made: list[Source]) -> None:
    titles = ("A", "B").__getitem__
    kept, refusals, notes = merged(Sources.of(made), titles)
    expected = merge(made, titles)
    assert (list(kept), refusals, notes) == expected


def test_a_clean_image_of_two_pairs_is_on_one_side_as_among_objects() -> None:
    info = ImageInfo(phash="0" * 16)
    clean = [Source(digest_of(i), digest_of(9), (f"{i}",), ("",), "p", i, "train", 1, info, named=True) for i in (0, 1)]
    made = [clean[0], replace(clean[1], split="test"), replace(clean[0], digest=digest_of(2), content=digest_of(2))]
    kept, refusals, notes = merged(Sources.of(made), "AB".__getitem__)
    assert (list(kept), refusals, notes) == merge(made, "AB".__getitem__)
    assert len(kept) == 2 and len(notes) == 1


def test_two_digests_that_begin_alike_are_merged_as_among_objects() -> None:
    info = ImageInfo(phash="0" * 16)
    digests = ["a" * 64, "a" * 16 + "b" * 48, "c" * 64]
    made = [Source(d, d, (d[-1],), ("",), "p", 0, "train", 1, info) for d in digests]
    kept, refusals, notes = merged(Sources.of(made), lambda _: "A")
    assert (list(kept), refusals, notes) == merge(made, lambda _: "A")
    assert len(kept) == 2 and len(refusals) == 1


@given(st.lists(st.text(), max_size=30))
def test_texts_are_what_they_were(texts: list[str]) -> None:
    column = Texts.of(texts)
    assert list(column) == texts == [column[i] for i in range(len(texts))]
    assert list(Texts.joined([column, Texts.of(["é"]), column])) == [*texts, "é", *texts]


@given(st.dictionaries(st.integers(0, 99), st.integers(0, 3)), st.randoms())
def test_values_by_digest_are_those_of_a_dictionary(values: dict[int, int], random: object) -> None:
    table = {digest_of(number): value for number, value in values.items()}
    columns = Sources.of(Source(d, d, ("a",), ("",), "p", 0, "train", 1, ImageInfo()) for d in table)
    found: Mapping[str, int] = ByDigest(columns.digests, np.array(list(table.values()), np.int32), [0, 1, 2, 3])
    assert dict(found) == table
    assert digest_of(100) not in found and "f" * 64 not in found


def test_of_digests_that_begin_alike_each_has_its_own_value() -> None:
    digests = np.zeros((4, 32), np.uint8)
    digests[:, -1] = [3, 1, 2, 0]
    found = ByDigest(digests, np.arange(4, dtype=np.int32), "abcd")
    assert [found[digest] for digest in hex_of(digests)] == list("abcd")
    with pytest.raises(KeyError):
        found["00" * 31 + "07"]
    assert firsts_of(np.concatenate([digests, digests])).tolist() == [3, 1, 2, 0]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_sides_of_columns_are_those_of_digests(places: list[int], val: float, test: float) -> None:
    split = Split(val=val, test=test)
    edges = [
        max(0, min(2**64 - 1, int(share * 2**64) + step)) for share in (val, test, val + test) for step in (-1, 0, 1)
    ]
    digests = [f"{0:016x}{place:016x}{0:032x}" for place in (*places, *edges)]
    columns = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)
    assert [SPLITS[side] for side in split.sides(columns)] == [split.side(digest) for digest in digests]


@given(st.lists(sources(), unique_by=lambda source: source.digest, max_size=6), st.booleans())
def test_rows_as_text_are_their_json(made: list[Source], is_judged: bool) -> None:
    recipe = parse_recipe(
        {"sources": [{"path": "a", "attribution": "50 % of it: %s"}, {"path": "b"}], "degradations": {"noisy": {}}},
        Path("/"),
        "rows",
    )
    similarity = {source.digest: 0.25 for source in made[::2]} if is_judged else {}
    rows = SourceTable(recipe, Sources.of(made), similarity)
    assert "".join(rows.texts()) == "".join(map(canonical_json, rows))
