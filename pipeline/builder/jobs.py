"""The shards of a plan as jobs, in batches, and making them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from patina.pipeline.builder.batches import (
    MAX_BATCHES,
    StoredBatch,
    batch_count,
    expect_staged,
    load_batch,
    new_permit,
    remove_batches,
    store_batches,
)
from patina.pipeline.builder.groups import Group, divided, runs_of, seconds_of, shortest_run, together
from patina.pipeline.builder.job import Copy, ShardJob, ShardResult, Stamp, stamp_of
from patina.pipeline.builder.parts import rest_of, staged_parts
from patina.pipeline.builder.processes import Processes
from patina.pipeline.builder.runner import Runner, Threads
from patina.pipeline.builder.shards import build_together, counted, index_of, join, join_batch
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.format.layout import SCHEMA, SHARDS
from patina.pipeline.format.manifest import ShardEntry
from patina.pipeline.format.rows import known_rows, row_now
from patina.pipeline.plan.difference import reusable_shards
from patina.pipeline.plan.planning import PlannedBuild
from patina.pipeline.plan.wanted import WantedShard
from patina.pipeline.progress import Events
from patina.pipeline.scan.reading import SourceChangedError
from patina.pipeline.scan.source import Source
from patina.pipeline.stopping import expect_wanted, permitted_by, permitting, stoppable

Made: TypeAlias = list[list[ShardResult | SourceChangedError]]
"""What the batches of a step gave."""


def make_jobs(planned: PlannedBuild, workspace: Workspace, store: ScanStore | None = None) -> list[ShardJob]:
    """The jobs of a plan's steps, largest first, each with what it can copy from shards that are there. What `store`
    knows of these shards need not be hashed again."""
    plan, built = planned.plan, planned.built
    if not plan.build:
        return []
    have = {shard.name: shard for shard in built.shards} if built else {}
    names = reusable_shards(planned.recipe, built, [step.shard for step in plan.build])
    same: dict[tuple[str, str], Copy] = {}
    same_pixels: dict[str, Copy] = {}
    rows = [row for row in map(row_now, known_rows(planned.built_in, built, names)) if row.shard not in planned.damage]
    known = _known(planned, have, {row.shard for row in rows}, store) if store else {}
    seen: Counter[str] = Counter()
    for row in rows:  # by shard and offset, as sums are
        place, sums = seen[row.shard], known[row.shard][1] if row.shard in known else ()
        seen[row.shard] += 1
        copy = Copy(
            str(planned.built_in / SHARDS / row.shard),
            row.span,
            row if have[row.shard].schema == SCHEMA else None,
            sums[place] if place < len(sums) else None,
        )
        same.setdefault((row.key, row.fingerprint), copy)
        same_pixels.setdefault(row.pixels, copy)
    trusted = {str(planned.built_in / SHARDS / name): stamp for name, (stamp, _) in known.items()}
    photographs: dict[str, Source] = {}
    jobs = [_job(step.shard, planned, workspace, photographs, same, same_pixels, have, trusted) for step in plan.build]
    return sorted(jobs, key=lambda job: (-len(job.samples), job.name))


def _known(
    planned: PlannedBuild, have: Mapping[str, ShardEntry], names: Iterable[str], store: ScanStore
) -> dict[str, tuple[Stamp, Sequence[int]]]:
    """Of these shards those whose bytes are known to be what was written: their stamps, and sums of their samples."""
    found = {}
    for name in names:
        sums = store.sums(have[name].sha256)
        if len(sums) != have[name].count:
            continue
        try:
            stat = (planned.built_in / SHARDS / name).stat()
        except OSError:
            continue
        if store.trusted_digest(str(planned.out / SHARDS / name), stat) == have[name].sha256:
            found[name] = stamp_of(stat), sums
    return found


def _job(
    shard: WantedShard,
    planned: PlannedBuild,
    workspace: Workspace,
    photographs: dict[str, Source],
    same: Mapping[tuple[str, str], Copy],
    same_pixels: Mapping[str, Copy],
    have: Mapping[str, ShardEntry],
    trusted: Mapping[str, Stamp],
) -> ShardJob:
    sources = (photographs.setdefault(source.digest, source) for source in shard.sources)  # one object for all shards
    every = (s for source in sources for s in planned.wanted.samples(source, shard.degradation))
    samples = tuple(sorted(every, key=lambda s: s.key))
    # By key too: a photograph as large as one tile has the same pixels whole, under another key.
    copies = {s.fingerprint: same[s.key, s.fingerprint] for s in samples if (s.key, s.fingerprint) in same}
    recaptioned = {s.pixels: same_pixels[s.pixels] for s in samples if s.pixels in same_pixels}
    paths = {copy.path for copy in (*copies.values(), *recaptioned.values())}
    synthesis = planned.recipe.degradations.get(shard.degradation)
    return ShardJob(
        split=shard.split,
        entry=shard.degradation,
        bucket=shard.bucket,
        group=shard.group,
        fingerprint=shard.fingerprint,
        samples=samples,
        degradation=synthesis.degradation if synthesis else None,
        same=copies,
        same_pixels=recaptioned,
        old_shards={path: have[Path(path).name].sha256 for path in paths},
        staging=str(workspace.staging),
        codec=planned.wanted.codec,
        storage=planned.recipe.storage,
        trusted={path: trusted[path] for path in paths if path in trusted},
    )


def build_shards(jobs: Sequence[ShardJob], seconds: float, runner: Runner, staging: Path, events: Events) -> Made:
    """Make all shards, batch by batch, where `runner` runs. `seconds`: what they take on one core, as far as is known.

    Progress is told after every sample, or, by workers in other processes, after every batch. An interruption, which is
    no Exception, ends the work between two samples; finished shards stay, and so do finished parts of shards: a later
    run makes only what no part has, whatever the number of workers.
    """
    if not jobs:  # something is dropped or told anew: no reason to start workers
        return []
    permit = new_permit(staging)
    done: Group = []  # by an earlier run, one of whose workers may still be at it: each shard is looked for once
    left: Group = []
    for job in jobs:
        (done if index_of(job.staged).exists() else left).append(job)
    parts = staged_parts(left, staging)
    if parts:
        events.advance(sum(len(part.rows) for own in parts.values() for part in own))
    rests = [rest for job in left if (rest := rest_of(job, parts.get(job.name, ())))]
    if isinstance(runner, Threads | Processes):
        whole, shared = divided(together(rests), runner.workers)
    else:
        whole, shared = together(rests, runner.workers), []
    whole = [*whole, *([job] for job in done)]
    apart = parts.keys() | {job.name for group in shared for job in group}
    joining = [job for job in left if job.name in apart]
    shortest = shortest_run(sum(seconds_of(group, {}) for group in (*whole, *shared)), runner.workers)
    runs = [run for group in shared for run in runs_of(group, shortest)]
    made: Made = [[*own] for own in parts.values()]
    if runner.shares_memory:
        with stoppable():
            build = partial(build_batch, progress=events.advance)
            made += runner.map("build shards", build, [*make_batches(whole), *runs])
            joins = [[job] for job in _joins(joining, made)]
            joined = runner.map("join shards", join_batch, joins) if joins else []
        return _with_joined(made, joined)
    with permitting(permit):
        batches = [*make_batches(whole, batch_count(runner.workers, seconds)), *runs]
        made += _stored_map("build shards", build_stored, batches, runner, staging, permit, events.advance)
        joins = [[job] for job in _joins(joining, made)]
        joined = _stored_map("join shards", join_stored, joins, runner, staging, permit, lambda samples: None)
    results = _with_joined(made, joined)
    expect_staged(result for batch in results for result in batch if isinstance(result, ShardResult))
    return results


def _stored_map(
    step: str,
    function: Callable[[StoredBatch], list[ShardResult | SourceChangedError]],
    batches: Sequence[Group],
    runner: Runner,
    staging: Path,
    permit: Path,
    advance: Callable[[int], None],
) -> Made:
    """Run it on batches that are left in the staging folder for workers."""
    if not batches:
        return []
    stored = store_batches(batches, staging, permit)
    try:
        return runner.map(step, function, stored, lambda batch: advance(batch.samples))
    finally:
        remove_batches(stored)


def _parts(made: Made) -> dict[str, list[ShardResult]]:
    """The parts that were made, by their shard's name."""
    parts: dict[str, list[ShardResult]] = {}
    for result in (result for batch in made for result in batch):
        if isinstance(result, ShardResult) and result.is_part:
            parts.setdefault(result.shard.name, []).append(result)
    return parts


def _joins(jobs: Iterable[ShardJob], made: Made) -> list[ShardJob]:
    """The jobs of joining parts to shards, the largest first; not of a shard that lacks one, whose source changed."""
    parts = _parts(made)
    found = [(job, parts.get(job.name, [])) for job in jobs]
    whole = [pair for pair in found if sum(len(part.rows) for part in pair[1]) == len(pair[0].samples)]
    whole.sort(key=lambda pair: -sum(part.shard.bytes for part in pair[1]))
    return [join(job, own) for job, own in whole]


def _with_joined(made: Made, joined: Made) -> Made:
    """The shards in the place of their parts, which know what was made and what was copied from an earlier dataset."""
    parts = _parts(made)
    whole = [[one for one in batch if not (isinstance(one, ShardResult) and one.is_part)] for batch in made]
    return whole + [
        [counted(one, parts[one.shard.name]) if isinstance(one, ShardResult) else one for one in batch]
        for batch in joined
    ]


def make_batches(groups: Sequence[Sequence[ShardJob]], most: int = MAX_BATCHES) -> list[list[ShardJob]]:
    """Groups of jobs in `most` batches at the most, of about equal size; the largest first."""
    count = min(len(groups), most)
    batches: list[list[ShardJob]] = [[] for _ in range(count)]
    for i, group in enumerate(groups):
        place = i % (2 * count)  # forth and back: the shards of one bucket come in the same order of degradations
        batches[min(place, 2 * count - 1 - place)].extend(group)
    return batches


def build_stored(batch: StoredBatch) -> list[ShardResult | SourceChangedError]:
    """Make the shards of a batch that was left in the dataset's folder. Raises BuildError beside what they raise, and
    StoppedError once the batch's permit is gone."""
    with permitted_by(batch.permit):
        expect_wanted()
        return build_batch(load_batch(batch))


def join_stored(batch: StoredBatch) -> list[ShardResult | SourceChangedError]:
    """As `build_stored`, of a batch of shards whose parts are there."""
    with permitted_by(batch.permit):
        expect_wanted()
        return join_batch(load_batch(batch))


def build_batch(
    jobs: Sequence[ShardJob], progress: Callable[[int], None] | None = None
) -> list[ShardResult | SourceChangedError]:
    """Make several shards. One whose source changed meanwhile gives that error in its place; any other error raises."""
    results: list[ShardResult | SourceChangedError] = []
    for group in together(jobs, 0):
        results += build_together(group, progress)
    return results
