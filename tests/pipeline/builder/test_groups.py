"""Which shards are made together: every sample once, no worker without work, as little as may be done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import pytest

from patina.pipeline.builder.groups import (
    OPEN_SAMPLES,
    RUNS,
    SHORTEST,
    TOGETHER,
    UNEVEN,
    Group,
    divided,
    ended_after,
    runs_of,
    seconds_of,
    shortest_run,
    together,
    work_of,
)
from patina.pipeline.builder.job import Copy, ShardJob
from patina.pipeline.format.layout import sample_key
from patina.pipeline.format.shard import Span
from patina.pipeline.plan.cost import COPY_SECONDS_PER_BYTE, SECONDS_PER_MEGAPIXEL, SHARED_SECONDS_PER_MEGAPIXEL
from patina.pipeline.plan.wanted import AssignedCaption, WantedSample
from patina.pipeline.recipe.recipe import Storage
from patina.pipeline.scan.source import ImageInfo, Source
from patina.synth.degradations.noisy import Noisy


@cache
def source(number: int, side: int) -> Source:
    digest = sha256(str(number).encode()).hexdigest()
    return Source(digest, digest, (f"{number}",), ("",), "", 0, "train", 1, ImageInfo(width=side, height=side))


def sample(entry: str, number: int, side: int, variant: int = 0) -> WantedSample:
    own = source(number, side)
    key = sample_key(own.digest, entry, None, variant)
    return WantedSample(
        key, own, entry, entry, (entry,), variant, (0, 0, side, side), "", AssignedCaption("", ""), f"p{key}", f"f{key}"
    )


def job(entry: str, bucket: int, count: int = 40, side: int = 500, variants: int = 1, pair: bool = False) -> ShardJob:
    """A shard of `count` photographs, side×side pixels each."""
    numbers = range(bucket * 10_000, bucket * 10_000 + count)
    made = [sample(entry, number, side, variant) for number in numbers for variant in range(variants)]
    samples = tuple(sorted(made, key=lambda one: one.key))
    return ShardJob("train", entry, bucket, "", "", samples, None if pair else Noisy(), {}, {}, {}, "", "", Storage())


def jobs(buckets: int, entries: str = "abcdefghij", count: int = 40) -> list[ShardJob]:
    return [job(entry, bucket, count) for bucket in range(buckets) for entry in entries]


def names(groups: Sequence[Sequence[ShardJob]]) -> list[str]:
    return sorted(one.name for group in groups for one in group)


def test_what_a_job_costs_goes_by_what_is_made_and_what_is_copied() -> None:
    one = job("a", 0, count=4, side=1000, variants=2)
    assert work_of(one).own == pytest.approx(8 * SECONDS_PER_MEGAPIXEL)
    assert work_of(one).shared == pytest.approx(4 * SHARED_SECONDS_PER_MEGAPIXEL), "variants share a photograph"
    copy = Copy("old.tar", Span(0, 10**6))
    there = job("a", 0, count=4, side=1000)
    there = ShardJob(**{**vars(there), "same": {one.fingerprint: copy for one in there.samples}})
    assert work_of(there).own == pytest.approx(4e6 * COPY_SECONDS_PER_BYTE)
    assert work_of(there).shared == 0


def test_a_group_shares_its_photographs_and_pairs_share_nothing() -> None:
    alone, shared = work_of(job("a", 0)).own, work_of(job("a", 0)).shared
    assert seconds_of([job(entry, 0) for entry in "abc"], {}) == pytest.approx(3 * alone + shared)
    assert seconds_of([job(entry, 0, pair=True) for entry in "abc"], {}) == pytest.approx(3 * (alone + shared))


def test_when_the_last_worker_ends() -> None:
    assert ended_after([], 3) == 0
    assert ended_after([4, 3, 3, 2], 2) == 6 + 2 * UNEVEN
    assert ended_after([5, 1], 8) == 5 + UNEVEN


def test_one_worker_makes_a_bucket_at_a_time() -> None:
    for workers in (0, 1):
        groups = together(jobs(3), workers)
        assert [len(group) for group in groups] == [10, 10, 10]
        assert all(len({one.bucket for one in group}) == 1 for group in groups)


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 5, 7, 16, 100, 1000])
@pytest.mark.parametrize(
    ("buckets", "entries"), [(1, "abcdefghij"), (1, "abcdefghijklmnopqrst"), (5, "abc"), (30, "a")]
)
def test_every_job_is_in_one_group_and_every_worker_has_one(workers: int, buckets: int, entries: str) -> None:
    made = jobs(buckets, entries, count=3)
    groups = together(made, workers)
    assert names(groups) == names([made])
    assert len(groups) >= min(workers, len(made))
    for group in groups:
        assert len({(one.split, one.bucket) for one in group}) == 1
        assert len(group) <= TOGETHER
    sizes = [seconds_of(group, {}) for group in groups]
    if workers > 1:
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_no_more_samples_are_made_together_than_minutes_take(workers: int) -> None:
    large = [job(entry, 0, count=8, variants=OPEN_SAMPLES // 16) for entry in "abcdef"]
    assert [len(group) for group in together(large, workers)] == ([2, 2, 2] if workers < 4 else [2, 2, 1, 1])


def test_two_workers_share_ten_shards_of_a_bucket_in_equal_halves() -> None:
    """The smallest groups that are as many as workers decode each photograph twice, single shards ten times."""
    assert [len(group) for group in together(jobs(1), 2)] == [5, 5]
    assert [len(group) for group in together(jobs(8), 2)] == [10] * 8, "there are enough of them"


def test_groups_have_about_the_same_seconds() -> None:
    unlike = [job(entry, 0, side=side) for entry, side in zip("abcdef", (600, 500, 450, 450, 400, 350), strict=True)]
    first, second = (seconds_of(group, {}) for group in together(unlike, 2))
    assert first == pytest.approx(second, rel=0.2), "in the jobs' order they would be 2.7 and 1.2"


# ---------------------------------------------------------------------------------------------------------------------
# Runs of photographs


@pytest.mark.parametrize("workers", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("buckets", [1, 3, 40])
def test_every_job_is_in_a_group_that_is_divided_or_in_one_that_is_not(workers: int, buckets: int) -> None:
    made = jobs(buckets, count=30)
    whole, shared = divided(together(made), workers)
    assert names([*whole, *shared]) == names([made])
    if workers == 1:
        assert not shared


def test_no_more_is_divided_than_makes_the_build_shorter() -> None:
    assert [len(part) for part in divided(together(jobs(1)), 2)] == [0, 1]
    assert [len(part) for part in divided(together(jobs(3)), 2)] == [2, 1]
    assert [len(part) for part in divided(together(jobs(40)), 2)] == [40, 0]
    assert [len(part) for part in divided(together(jobs(1, count=1)), 2)] == [1, 0], "there is one photograph's work"


def test_sixteen_workers_end_together_though_there_are_ten_shards() -> None:
    made = jobs(1, count=320)
    ((group,), total) = divided(together(made), 16)[1], seconds_of(made, {})
    runs = [seconds_of(run, {}) for run in runs_of(group, shortest_run(total, 16))]
    assert ended_after(runs, 16) < 1.1 * total / 16


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("shortest", [1e-9, 0.3, 2.0, 1e9])
def test_every_sample_is_in_one_run_with_all_samples_of_its_photograph(count: int, shortest: float) -> None:
    group: Group = [job("a", 0, count, variants=3), job("b", 0, count), job("c", 0, count + 2)]
    runs = runs_of(group, shortest)
    for whole in group:
        parts = [one for run in runs for one in run if one.name == whole.name]
        assert [s for part in parts for s in part.samples] == list(whole.samples), "joined in their order"
        assert len({part.staged for part in parts} | {whole.staged}) == len(parts) + 1
    seen = Counter(digest for run in runs for digest in {s.source.digest for one in run for s in one.samples})
    assert set(seen.values()) == {1}, "no photograph is decoded twice"
    assert all(one.samples for run in runs for one in run)
    if shortest == 1e9:
        assert len(runs) == 1
    if shortest == 1e-9:
        assert 1 < len(runs) <= len(seen)


def test_a_run_knows_the_copies_of_its_own_samples() -> None:
    one = job("a", 0, 6)
    copies = {s.fingerprint: Copy("old.tar", Span(i, 1)) for i, s in enumerate(one.samples[:3])}
    pixels = {s.pixels: Copy("old.tar", Span(i, 1)) for i, s in enumerate(one.samples[3:])}
    whole = ShardJob(**{**vars(one), "same": copies, "same_pixels": pixels})
    for (part,) in runs_of([whole], 1e-9):
        assert len({**part.same, **part.same_pixels}) == len(part.samples) == 1
        assert {*part.same, *part.same_pixels} <= {part.samples[0].fingerprint, part.samples[0].pixels}


def test_how_long_a_run_is() -> None:
    assert shortest_run(1.0, 2) == SHORTEST
    assert shortest_run(1000.0, 2) == 1000 / (2 * RUNS)
