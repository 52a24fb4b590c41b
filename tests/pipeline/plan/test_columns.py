"""Fingerprints of shards by columns: they change exactly where those of earlier releases did."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.pipeline.format.layout import SCHEMA
from patina.pipeline.format.manifest import Manifest, SampleRow, ShardEntry
from patina.pipeline.hashing import bucket_of
from patina.pipeline.plan.columns import columns_of
from patina.pipeline.plan.difference import BuildPlan, make_plan
from patina.pipeline.plan.wanted import ROWS, AssignedCaption, Wanted
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.source import ImageInfo, Source

CHANGES: tuple[dict[str, Any], ...] = (
    {"degradations": {"noisy": {"sigma": 25}, "hazy": {}}},
    {"degradations": {"noisy": {"sigma": 25, "variants": 2}, "hazy": {}}},
    {"degradations": {"noisy": {"sigma": 50}}},
    {"degradations": {"noisy": {"sigma": 25}, "hazy": {}}, "tiles": {"size": 256}},
    {"degradations": {"noisy": {"sigma": 25}, "hazy": {}}, "storage": {"uniform": False}},
    {"degradations": {"noisy": {"sigma": 25}, "hazy": {}}, "storage": {"lq": "png", "gt": "png"}},
    {"degradations": {"noisy": {"sigma": 25}, "hazy": {}}, "buckets": 5},
    {"degradations": {"noisy": {"sigma": 25}, "hazy": {}}, "seed": 3},
)


def recipe_of(change: dict[str, Any]) -> Recipe:
    table = {"sources": [{"path": "photos"}], "buckets": 3, "split": {"val": 0.2}, **change}
    return parse_recipe(table, Path("/"), "columns")


def source_of(number: int, recipe: Recipe) -> Source:
    """Photographs and pairs of several sizes and files, some of which undergo one degradation alone."""
    digest = hashlib.sha256(f"photograph {number}".encode()).hexdigest()
    width, height = ((768, 512), (512, 768), (300, 300))[number % 3]
    info = ImageInfo("", width, height, ("jpg", "png", "")[number % 4 % 3], phash=digest[:16])
    source = Source(digest, digest, (f"{number}.jpg",), ("/p",), f"/p/{number}", 0, recipe.split.side(digest), 9, info)
    if number % 5 == 0:
        source = replace(source, entries=("noisy",))
    if number % 7 == 0:
        params = {"sigma": number % 2} if number % 3 else {}
        pair = {"lq": f"/q/{number}", "lq_digest": digest, "lq_suffix": "jpg", "params": params, "entries": ()}
        source = replace(source, degradation=("noisy", "rainy")[number % 2], **pair)  # type: ignore[arg-type]
    return source


def caption_of(number: int, age: int) -> AssignedCaption | None:
    if number % 11 == 3:
        return AssignedCaption("first", "list@1", ("second",) if (number + age) % 2 else ("second", "third"))
    return AssignedCaption(f"a photograph {number % 4 + age * (number % 6 == 0)}", "list@1")


def history(seed: int) -> list[Wanted]:
    """What is wanted day by day, while photographs come and go, captions and the recipe change."""
    rng, days = random.Random(seed), list[Wanted]()
    numbers, ages = set(range(40)), dict.fromkeys(range(60), 0)
    change = CHANGES[0]
    for _ in range(6):
        move = rng.randrange(4)
        if move == 0:
            numbers ^= set(rng.sample(range(60), 3))
        elif move == 1:
            ages[rng.randrange(60)] += 1
        elif move == 2:
            change = rng.choice(CHANGES)
        recipe = recipe_of(change)
        sources = sorted((source_of(n, recipe) for n in numbers), key=lambda s: s.digest)
        captions = {source_of(n, recipe).digest: caption_of(n, ages[n]) for n in numbers}
        days.append(Wanted(recipe, "codec", captions, tuple(sources)))
    return days


def built_of(wanted: Wanted, former: bool) -> tuple[Manifest, list[SampleRow]]:
    """The dataset that was wanted, as it is when it is built; `former`: by an earlier release."""
    entries, rows = [], []
    for shard in wanted.shards:
        own = wanted.fingerprint_before(shard) if former else shard.fingerprint
        entry = ShardEntry(
            shard.split, shard.degradation, shard.bucket, own, "0" * 64, 1, shard.count, shard.group, SCHEMA
        )
        entries.append(entry)
        for source in shard.sources:
            for sample in wanted.samples(source, shard.degradation):
                row = SampleRow(
                    sample.key, shard.name, 0, 1, shard.split, sample.entry, sample.label, sample.variant,
                    *sample.tile, source.digest, "{}", "", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
                    sample.caption.text, sample.caption.captioner, "", sample.fingerprint, sample.pixels,
                )  # fmt: skip
                rows.append(row)
    table = wanted.recipe.table
    ids = {name: dict(body) for name, body in wanted.identities.items()}
    return Manifest(table, wanted.recipe.digest, "codec", ids, "list@1", tuple(entries), 1, 0, ""), rows


def planned(wanted: Wanted, built: Manifest, rows: list[SampleRow]) -> BuildPlan:
    def rows_of(names: Sequence[str]) -> list[SampleRow]:
        return [row for row in rows if row.shard in set(names)]

    return make_plan(wanted, built, {}, rows_of)


def told(plan: BuildPlan) -> tuple[object, ...]:
    steps = [(s.shard.name, s.kind, s.reason, s.synthesised, s.captioned, s.copied) for s in plan.build]
    return steps, [e.name for e in plan.keep], [(e.name, why) for e, why in plan.drop], plan.bytes, plan.seconds


@pytest.mark.parametrize("seed", range(12))
def test_shards_are_stale_exactly_where_their_samples_changed(seed: int) -> None:
    """Over random histories the plan by columns is the plan by the fingerprints of all samples."""
    days = history(seed)
    for before, after in pairwise(days):
        now, then = (built_of(before, former=former) for former in (False, True))
        assert told(planned(after, *now)) == told(planned(after, *then))
        old = {s.name: before.fingerprint_before(s) for s in before.shards}
        columns = {s.name: s.fingerprint for s in before.shards}
        for shard in after.shards:
            same = old.get(shard.name) == after.fingerprint_before(shard)
            assert (columns.get(shard.name) == shard.fingerprint) == same, shard.name


def test_counts_pixels_and_members_are_those_of_the_samples() -> None:
    for change in CHANGES:
        recipe = recipe_of(change)
        sources = tuple(sorted((source_of(n, recipe) for n in range(60)), key=lambda s: s.digest))
        wanted = Wanted(recipe, "codec", {s.digest: caption_of(0, 0) for s in sources}, sources)
        seen = set()
        for shard in wanted.shards:
            samples = [s for source in shard.sources for s in wanted.sample_ids(source, shard.degradation)]
            assert shard.count == len(samples)
            assert shard.pixels == sum(s.tile[2] * s.tile[3] for s in samples)
            assert shard.fingerprint.startswith(ROWS)
            buckets = {bucket_of(source.digest, recipe.buckets[shard.split]) for source in shard.sources}
            assert buckets == {shard.bucket}
            assert list(shard.sources) == sorted(shard.sources, key=lambda source: source.digest)
            seen |= {(source.digest, shard.degradation) for source in shard.sources}
        entries = {
            (s.digest, e)
            for s in sources
            for e in ((s.degradation,) if s.is_pair else s.entries or tuple(recipe.degradations))
        }
        assert seen == entries


def test_a_shard_waits_for_its_captions() -> None:
    recipe = recipe_of(CHANGES[0])
    sources = tuple(sorted((source_of(n, recipe) for n in range(1, 40)), key=lambda s: s.digest))
    captions = {s.digest: caption_of(1, 0) for s in sources}
    first = sources[0]
    wanted = Wanted(recipe, "codec", {**captions, first.digest: None}, sources)
    waiting = {shard.name for shard in wanted.shards if not shard.fingerprint}
    assert waiting == {shard.name for shard in wanted.shards if first in list(shard.sources)}
    assert make_plan(wanted, None, {}, lambda names: []).captions == 1


@pytest.mark.parametrize("buckets", [1, 7, 1000, 2**31 + 11])
def test_buckets_of_columns_are_those_of_digests(buckets: int) -> None:
    recipe = recipe_of(CHANGES[0])
    sources = [source_of(n, recipe) for n in range(200)]
    sources[0] = replace(sources[0], digest="f" * 64)
    found = columns_of(sources, dict.fromkeys([s.digest for s in sources])).buckets(
        dict.fromkeys(("train", "val", "test"), buckets)
    )
    assert found.tolist() == [bucket_of(source.digest, buckets) for source in sources]


def test_no_source_gives_no_row() -> None:
    columns = columns_of([], {})
    assert (columns.digests.shape, len(columns.kinds)) == ((0, 32), 0)
    assert np.array_equal(columns.buckets({}), np.zeros(0))
