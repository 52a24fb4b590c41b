"""Which shards are made together, and in how many pieces of work: as much is shared as leaves no worker idle.

A photograph is decoded once for all shards that are made together, and its side of the measures is taken once. So one
worker makes all shards of a bucket together. Several workers can share a bucket in two ways:

* each makes some of its shards: a photograph is decoded by each of them, and they end together only as far as it is
  known what each degradation costs (`together`);
* each makes a run of its photographs for all of its shards: nothing is done twice, and whoever is ready takes the next
  run; but the parts of a shard are then joined, which writes its bytes once more (`divided`). That is for workers of
  one machine, where the parts are still in memory.

Both go by an estimate of when the last worker ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import accumulate, groupby
from typing import TypeAlias

from patina.pipeline.builder.job import ShardJob
from patina.pipeline.plan.cost import (
    BYTES_PER_MEGAPIXEL,
    COPY_SECONDS_PER_BYTE,
    SECONDS_PER_MEGAPIXEL,
    SHARED_SECONDS_PER_MEGAPIXEL,
)

Group: TypeAlias = list[ShardJob]
"""Jobs that are made together: of the same photographs, or pairs of one bucket."""

TOGETHER = 16
"""Shards at the most that are made together, and are open at a time."""

OPEN_SAMPLES = 8192
"""Samples at the most of shards that are made together: some minutes of work."""

UNEVEN = 0.25
"""By what share of its estimate the last piece of work may end later: degradations, photographs and cores differ."""

RUNS = 16
"""Runs of photographs for each worker, about, where a bucket is divided."""

SHORTEST = 0.3
"""Estimated seconds that a run takes at the least: opening and closing its shards' parts takes milliseconds."""

DIVIDED = 4
"""Groups for each worker at the most that are divided: the others keep everybody busy meanwhile."""


@dataclass(frozen=True)
class Work:
    """What a job costs, in seconds of one core: by the pixels of its samples, `own`; and what it shares with other jobs
    of the same photographs, `shared`. `joined`: what joining it takes, if it is divided."""

    own: float
    shared: float
    joined: float


def work_of(job: ShardJob) -> Work:
    """What the job costs, where nothing was made on trial."""
    area = files = copied = 0
    last = ""
    for sample in job.samples:
        copy = job.same.get(sample.fingerprint) or job.same_pixels.get(sample.pixels)
        if copy:
            copied += copy.span.size
            continue
        area += sample.tile[2] * sample.tile[3]
        if sample.source.digest != last:  # its tiles follow one another
            last = sample.source.digest
            files += sample.source.info.width * sample.source.info.height
    copying = copied * COPY_SECONDS_PER_BYTE
    made = area / 1e6
    return Work(
        made * SECONDS_PER_MEGAPIXEL + copying,
        files / 1e6 * SHARED_SECONDS_PER_MEGAPIXEL,
        made * BYTES_PER_MEGAPIXEL * COPY_SECONDS_PER_BYTE + copying,
    )


def seconds_of(jobs: Iterable[ShardJob], works: dict[int, Work]) -> float:
    """What these jobs take together. works: by the jobs' `id`; what is not there is added."""
    own = apart = shared = 0.0
    for job in jobs:
        if id(job) not in works:
            works[id(job)] = work_of(job)
        work = works[id(job)]
        own += work.own
        if job.degradation is None:  # no two pairs are the same files
            apart += work.shared
        else:
            shared = max(shared, work.shared)
    return own + apart + shared


def ended_after(seconds: Sequence[float], workers: int) -> float:
    """When the last of `workers` has ended all of these pieces of work, if whoever is ready takes the largest that is
    left; and what the last piece may take longer."""
    if not seconds:
        return 0.0
    loads = [0.0] * workers
    heapify(loads)
    for piece in sorted(seconds, reverse=True):
        heapreplace(loads, loads[0] + piece)
    return max(loads) + UNEVEN * min(seconds)


def together(jobs: Sequence[ShardJob], workers: int = 1) -> list[Group]:
    """Jobs of the same photographs in groups, so that each photograph is decoded once for a group; the largest first.

    A group has `TOGETHER` shards at the most; and so few samples that an interruption, which costs the shards that are
    open, costs minutes at the most. For several `workers` each bucket's jobs are in as many groups, of about the same
    seconds, as end soonest: there are at least as many groups as workers, if there are as many jobs.
    """
    buckets: dict[tuple[str, int, bool], Group] = {}
    for job in jobs:
        buckets.setdefault((job.split, job.bucket, job.degradation is None), []).append(job)
    if workers <= 1:
        groups = [group for bucket in buckets.values() for group in _filled(bucket)]
        return sorted(groups, key=lambda group: -sum(len(job.samples) for job in group))
    works: dict[int, Work] = {}
    best, soonest = list[Group](), float("inf")
    for count in range(1, max(map(len, buckets.values()), default=0) + 1):
        groups = [group for bucket in buckets.values() for group in _dealt(bucket, count, works)]
        if len(groups) < min(workers, len(jobs)):
            continue
        ended = ended_after([seconds_of(group, works) for group in groups], workers)
        if ended >= soonest:
            break
        best, soonest = groups, ended
    return sorted(best, key=lambda group: -seconds_of(group, works))


def _filled(bucket: Sequence[ShardJob]) -> list[Group]:
    """As few groups as may be, in the jobs' order."""
    groups: list[Group] = []
    for job in bucket:
        if not groups or not _has_room(groups[-1], job):
            groups.append([])
        groups[-1].append(job)
    return groups


def _dealt(bucket: Sequence[ShardJob], count: int, works: dict[int, Work]) -> list[Group]:
    """`count` groups of about the same seconds, or more where the jobs do not fit into so many."""
    groups: list[Group] = [[] for _ in range(min(count, len(bucket)))]
    loads = [0.0] * len(groups)
    for job in sorted(bucket, key=lambda job: -seconds_of([job], works)):
        fitting = [i for i, group in enumerate(groups) if _has_room(group, job)]
        if fitting:
            place = min(fitting, key=lambda i: (loads[i], len(groups[i])))
        else:
            place = len(groups)
            groups.append([])
            loads.append(0.0)
        groups[place].append(job)
        loads[place] += works[id(job)].own
    return groups


def _has_room(group: Sequence[ShardJob], job: ShardJob) -> bool:
    if not group:
        return True
    return len(group) < TOGETHER and sum(len(one.samples) for one in (*group, job)) <= OPEN_SAMPLES


# ---------------------------------------------------------------------------------------------------------------------
# Runs of photographs


def divided(groups: Sequence[Group], workers: int) -> tuple[list[Group], list[Group]]:
    """The groups that are made as they are, and those that are made in runs of photographs, so that `workers` end at
    about the same time: as few of these as may be, since what they write is written once more."""
    works: dict[int, Work] = {}
    seconds = {id(group): seconds_of(group, works) for group in groups}
    largest = sorted(groups, key=lambda group: -seconds[id(group)])
    shortest = shortest_run(sum(seconds.values()), workers)
    count, soonest = 0, float("inf")
    for n in range(min(len(groups), DIVIDED * workers) + 1 if workers > 1 else 1):
        pieces, joined = [seconds[id(group)] for group in largest[n:]], 0.0
        for group in largest[:n]:
            runs = _run_count(seconds[id(group)], shortest)
            pieces += [seconds[id(group)] / runs] * runs
            joined += sum(works[id(job)].joined for job in group)
        ended = ended_after(pieces, workers) + joined / workers
        if ended < soonest:
            count, soonest = n, ended
    return largest[count:], largest[:count]


def shortest_run(seconds: float, workers: int) -> float:
    """How long a run shall take of work of so many seconds."""
    return max(SHORTEST, seconds / (RUNS * workers))


def _run_count(seconds: float, shortest: float) -> int:
    return max(1, round(seconds / shortest))


def runs_of(group: Sequence[ShardJob], shortest: float) -> list[Group]:
    """A group in runs of photographs, of about the same pixels each: the same jobs with a part of their samples each.
    Every sample is in one of them."""
    areas: dict[str, int] = {}
    for job in group:
        for sample in job.samples:
            digest = sample.key[:16]
            areas[digest] = areas.get(digest, 0) + sample.tile[2] * sample.tile[3]
    count = min(_run_count(seconds_of(group, {}), shortest), len(areas))
    total, order = sum(areas.values()), sorted(areas)
    middles = (end - areas[digest] / 2 for digest, end in zip(order, accumulate(areas[d] for d in order), strict=True))
    run = {digest: int(middle * count / total) for digest, middle in zip(order, middles, strict=True)}
    found: dict[int, Group] = {}
    for job in group:
        for number, samples in groupby(job.samples, key=lambda sample: run[sample.key[:16]]):
            found.setdefault(number, []).append(job.part_of(tuple(samples)))
    return [found[number] for number in sorted(found)]
