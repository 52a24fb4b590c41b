"""Parts of shards that an earlier run left in the staging folder: what is of use is used, and the rest makes room."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from patina.pipeline.builder.job import PART, ShardJob, ShardResult
from patina.pipeline.builder.shards import finished, index_of


def staged_parts(jobs: Iterable[ShardJob], staging: Path) -> dict[str, list[ShardResult]]:
    """The parts of these jobs' shards that lie whole in the staging folder, by the shard's name; no sample is in two.

    All other parts are removed: nobody joins them, and a disk that was full has no room for them.
    """
    wanted = {job.parts: job for job in jobs}
    found: dict[str, list[ShardResult]] = {}
    held: set[tuple[str, str]] = set()
    used: set[Path] = set()
    for path in sorted(staging.glob(f"*{PART}")):
        job = wanted.get(path.name.partition(".")[0])
        part = _part_at(path, job) if job else None
        if part is None:
            continue
        keys = {(part.shard.name, row.key) for row in part.rows}
        if held.isdisjoint(keys):  # a worker of a run that was killed may have gone on beside the next run
            held |= keys
            used |= {path, index_of(path)}
            found.setdefault(part.shard.name, []).append(part)
    for path in (*staging.glob(f"*{PART}"), *staging.glob(index_of(Path(f"*{PART}")).name)):
        if path not in used:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return found


def _part_at(path: Path, job: ShardJob) -> ShardResult | None:
    """The part there, if it is whole and each of its samples is as this job wants it."""
    part = finished(path, replace(job, part=path.name))
    if part is None or not part.is_part:
        return None
    there = {row.key: row.fingerprint for row in part.rows}
    samples = [sample for sample in job.samples if there.get(sample.key) == sample.fingerprint]
    whole = len(samples) == len(part.rows) == len(part.sums)
    return part if whole and job.part_of(samples).staged == path else None


def rest_of(job: ShardJob, parts: Sequence[ShardResult]) -> ShardJob | None:
    """The job of making what no part has: the job itself if there is no part, and None if nothing is left."""
    if not parts:
        return job
    there = {row.key for part in parts for row in part.rows}
    samples = [sample for sample in job.samples if sample.key not in there]
    return job.part_of(samples) if samples else None
