"""Names of shards and keys of samples: each says one thing, and no two samples have the same."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import RecipeError, SourceError
from patina.pipeline.format.layout import (
    ENTRY_CHARS,
    KEY,
    SHARD,
    SHARDS,
    key_part,
    sample_key,
    shard_name,
    why_keys_clash,
)
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.hashing import bucket_of
from patina.pipeline.plan.planning import Options, plan_build
from patina.synth.degradations import CATALOGUE
from tests.pipeline.making import photos, picture, save, tiny_recipe

DIGEST = "0123456789abcdef" * 4
LONG = [f"{'low-light+' * 4}hazy-{i}" for i in range(3)]
ENTRIES = [
    "noisy",
    "noisy-2",
    "low-light",
    "low-light+noisy",
    "low-light-noisy",
    "0001-x",
    "a",
    "v001x",
    "y-v01",
    *LONG,
]


def test_a_key_says_what_a_sample_is() -> None:
    assert sample_key(DIGEST, "low-light+hazy", (256, 512), 3) == "0123456789abcdef-low-light_hazy-y00512x00256-v003"
    assert sample_key(DIGEST, "noisy", None, 0) == "0123456789abcdef-noisy"


def test_keys_of_different_samples_differ() -> None:
    places = [None, (0, 0), (1, 0), (0, 1), (10, 100000), (100001, 0)]
    assert why_keys_clash(ENTRIES) == ""
    keys = [sample_key(DIGEST, *what) for what in itertools.product(ENTRIES, places, (0, 1, 10, 999))]
    assert len(set(keys)) == len(keys) == len(ENTRIES) * len(places) * 4
    assert all(re.fullmatch(KEY, key) for key in keys)


@pytest.mark.parametrize("entry", ["noisy-v001", "v001", "y00000x00016", "noisy-y00000x00016", "a-y00000x00016-v100"])
def test_an_entry_that_ends_like_a_key_is_refused(entry: str, tmp_path: Path) -> None:
    assert "rename it" in why_keys_clash([entry])
    with pytest.raises(RecipeError, match="in a sample's key; rename it"):
        tiny_recipe(tmp_path, degradations={entry: {"use": "noisy"}})


def test_a_label_of_pairs_that_ends_like_a_key_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "gt" / "p.png", picture())
    save(tmp_path / "lq" / "p.png", picture() // 2)
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "dusty-v001"}
    with pytest.raises(SourceError, match="'dusty-v001' ends like the place of a tile"):
        plan_build(tiny_recipe(tmp_path, sources=[pairs], degradations={}), tmp_path / "out", Options())


def test_entries_that_a_key_cannot_tell_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patina.pipeline.format.layout.key_part", lambda entry: entry[:4])
    assert why_keys_clash(["nois", "noisy"]) == "'nois' and 'noisy' would have the same keys; rename one of them"


def test_a_members_name_fits_into_a_tars_header() -> None:
    maps = [name for kind in CATALOGUE.values() for name in (*kind.truth, *(f"{kind.name}-{t}" for t in kind.truth))]
    longest = max(len(f".{name}.png") for name in ["step-10", *maps])
    key = sample_key(DIGEST, "x" * 200, (0, 6_250_000), 999)
    assert len(key_part("x" * 200)) == len(key_part("x" * ENTRY_CHARS)) == ENTRY_CHARS
    assert len(key) + longest <= 100


def test_names_of_shards_are_told_from_others() -> None:
    assert shard_name("train", "low-light+hazy", 3) == "train-0003-low-light+hazy.tar"
    assert shard_name("train", "noisy", 3, schema=2) == "train-noisy-0003.tar"
    assert shard_name("train", "noisy", 3, "gt-jpg") == "train-0003-noisy--gt-jpg.tar"
    right = "train-0003-noisy.tar val-12345-a+b-c.tar test-noisy-0003.tar val-0003-a--jpg.tar val-0003-a--lq-jpg.tar"
    wrong = "train-03-a.tar train-0003-.tar train-0003-a--1.tar train-a--b-0003.tar x-0003-a.tar train-0003-a/b.tar"
    for name in right.split():
        assert SHARD.fullmatch(name), name
    for name in wrong.split():
        assert not SHARD.fullmatch(name), name


def test_a_dataset_of_many_entries_has_every_key_once_and_nothing_but_tars_among_its_shards(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    words = {"noisy": {"variants": 2}, "noisy-2": {"use": "noisy"}, "uncompleted+noisy": {}, LONG[0]: {"use": "noisy"}}
    words[LONG[0]] = {"parts": ["noisy", "uncompleted"]}
    build(tiny_recipe(tmp_path, degradations=words, tiles={"size": 32, "stride": 16}), tmp_path / "out")
    rows = read_samples(tmp_path / "out")
    assert len({row.key for row in rows}) == len(rows) == 2 * 6 * 5
    assert {path.suffix for path in (tmp_path / "out" / SHARDS).iterdir()} == {".tar"}
    assert {row.key.split("-", 1)[1].rpartition("-y")[0] for row in rows} == {key_part(entry) for entry in words}


def dealt(photographs: int, entries: int, buckets: int, ranks: int, schema: int, seed: int) -> list[int]:
    """Samples of each `names[rank::ranks]`, of as many photographs under each entry."""
    counts: dict[str, int] = {}
    for i in range(photographs):
        bucket = bucket_of(hashlib.sha256(f"{seed} {i}".encode()).hexdigest(), buckets)
        for entry in ENTRIES[:entries]:
            name = shard_name("train", entry, bucket, schema=schema)
            counts[name] = counts.get(name, 0) + 1
    names = sorted(counts)
    return [sum(counts[name] for name in names[rank::ranks]) for rank in range(ranks)]


@pytest.mark.parametrize(("entries", "ranks"), [(2, 2), (4, 2), (4, 4), (8, 4), (8, 8)])
def test_ranks_get_equal_counts_where_they_divide_the_entries(entries: int, ranks: int) -> None:
    for seed in range(20):
        assert len(set(dealt(40, entries, 4, ranks, 3, seed))) == 1


def test_sorted_shards_deal_out_as_evenly_as_they_can() -> None:
    """Buckets are of unlike sizes. By names with the bucket last, a rank takes the same ones of each entry, and what
    they differ by adds up over the entries; with the bucket first it evens out, down to a few shards' difference."""
    worst: dict[int, list[float]] = {2: [], 3: []}
    for schema, found in worst.items():
        for entries, ranks, seed in itertools.product((2, 3, 5, 10), (2, 4, 8), range(15)):
            counts = dealt(80, entries, 8, ranks, schema, seed)
            found.append((max(counts) - min(counts)) * ranks / sum(counts))
    assert np.mean(worst[3]) < 0.6 * np.mean(worst[2])
    assert sum(new <= old for new, old in zip(worst[3], worst[2], strict=True)) > 0.8 * len(worst[2])
