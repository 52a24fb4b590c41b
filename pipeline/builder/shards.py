"""Makes shards: the only place where images, degradations and captions meet.

Shards of one bucket hold the same photographs. Made together, each photograph is read and decoded once for all of them,
each of its tiles is cut, encoded and measured once, and as many shards are open as are made together.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2

from patina.pipeline.builder.job import Copy, ShardJob, ShardResult, Stamp, stamp_of
from patina.pipeline.builder.samples import SampleMaker, SourceFiles
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.errors import BuildError
from patina.pipeline.files import replacing, write_atomically
from patina.pipeline.format.manifest import SampleRow, ShardEntry
from patina.pipeline.format.rows import sample_row
from patina.pipeline.format.shard import ShardWriter, Span
from patina.pipeline.hashing import file_sha256
from patina.pipeline.machine import LESS_MEMORY, allow_open_files, is_out_of_memory, keep_freed_memory
from patina.pipeline.plan.wanted import WantedSample
from patina.pipeline.scan.reading import SourceChangedError
from patina.pipeline.stopping import expect_wanted
from patina.synth.strips import watched

Progress: TypeAlias = Callable[[int], None]
Steps: TypeAlias = Generator[WantedSample, None, ShardResult]
"""A shard on its way: it gives each sample before making it, and the result at the end."""


def build_shard(job: ShardJob, progress: Progress | None = None) -> ShardResult:
    """Make one shard in the staging folder, or find it there finished by an earlier run.

    Samples that exist already are copied as bytes, once their old shard's digest was verified; the rest is made.
    `progress` is called with 1 after every sample. Raises SourceChangedError, OSError, BuildError; StoppedError between
    two samples, or between two strips of a large one.
    """
    (result,) = build_together([job], progress)
    if isinstance(result, SourceChangedError):
        raise result
    return result


def build_together(
    jobs: Sequence[ShardJob], progress: Progress | None = None
) -> list[ShardResult | SourceChangedError]:
    """Make several shards as `build_shard` does, tile by tile. One whose source changed meanwhile gives that error in
    its place, and the others go on."""
    files = SourceFiles()
    shards = [_steps(job, progress, files) for job in jobs]
    results: list[ShardResult | SourceChangedError | None] = [None] * len(jobs)
    waiting: dict[int, WantedSample] = {}

    def go_on(i: int) -> None:
        waiting.pop(i, None)
        try:
            waiting[i] = next(shards[i])
        except StopIteration as end:
            results[i] = end.value
        except SourceChangedError as error:
            results[i] = error

    try:
        for i in range(len(shards)):
            go_on(i)
        while waiting:
            here = _cut_from(min(waiting.values(), key=lambda sample: sample.key))
            for i in range(len(shards)):
                while i in waiting and _cut_from(waiting[i]) == here:
                    go_on(i)
    finally:
        for shard in shards:
            shard.close()  # after an error: what is half written goes
    return [result for result in results if result is not None]


def _cut_from(sample: WantedSample) -> tuple[str, tuple[int, int, int, int]]:
    return sample.source.digest, sample.tile


def _steps(job: ShardJob, progress: Progress | None, files: SourceFiles) -> Steps:
    """Make a shard, waiting before each of its samples."""
    staged = job.staged
    earlier = finished(staged, job)
    if earlier:
        if progress:
            progress(len(job.samples))
        return earlier
    if codec_fingerprint() != job.codec:
        raise BuildError(
            f"this worker's image codecs give other bytes (fingerprint {codec_fingerprint()}) than those of the plan "
            f"({job.codec}); install the same versions of pillow and isal on every machine"
        )
    cv2.setNumThreads(1)  # shards are built side by side
    keep_freed_memory()
    allow_open_files()
    facts: list[dict[str, Any] | SampleRow] = []
    sums: list[int] = []
    index = index_of(staged)
    try:
        for path in (staged, index):
            if path.is_dir():  # nothing replaces a folder, and none of ours is called so
                shutil.rmtree(path)
        with (
            SampleMaker(job, files) as maker,
            replacing(staged) as half,
            ShardWriter(half, lasting=not job.part, expected=job.copied_bytes) as writer,  # forced to the disk
        ):
            for sample in job.samples:
                yield sample
                expect_wanted()
                with watched(lambda done: expect_wanted()):  # a large photograph takes seconds
                    made = maker.sample(sample)
                    sums.append(writer.add(made.pieces, made.sum))
                    facts.append(made.fact)
                    del made  # of a copy: others are made before this shard's next
                if progress:
                    progress(1)
            written = writer.finish()
        shard = ShardEntry(
            job.split, job.entry, job.bucket, job.fingerprint, written.sha256, written.size, len(job.samples), job.group
        )
        rows = tuple(
            _row(sample.key, fact, span, job)
            for sample, fact, span in zip(job.samples, facts, written.spans, strict=True)
        )
        body = json.dumps({"entry": vars(shard), "rows": [vars(row) for row in rows], "sums": sums})
        text = f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}"
        write_atomically(index, text, durable=False)  # last: an index stands for a shard that is whole
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sample = job.samples[min(len(facts), len(job.samples) - 1)]
        size = f"{sample.tile[2]}×{sample.tile[3]} px of {sample.source.names[0]}"
        raise BuildError(f"{job.name}: too little memory for {size}; {LESS_MEMORY}") from error
    counts = maker.synthesised, maker.captioned, maker.copied
    return ShardResult(shard, rows, str(staged), *counts, maker.seconds, tuple(sums))


def join(job: ShardJob, parts: Sequence[ShardResult]) -> ShardJob:
    """The job of making a whole shard of its parts: their samples are there to be copied, if they are what was written.

    What is not there any more, or rotted since, is made anew.
    """
    copies: dict[str, Copy] = {}
    stamps: dict[str, Stamp] = {}
    for part in parts:
        with suppress(OSError):
            stamps[part.staged] = stamp_of(Path(part.staged).stat())
        for row, total in zip(part.rows, part.sums, strict=True):
            copies[row.fingerprint] = Copy(part.staged, Span(row.offset, row.size), row, total)
    untrusted = {part.staged: "" for part in parts}
    return replace(job, same=copies, same_pixels={}, old_shards=untrusted, trusted=stamps)


def counted(whole: ShardResult, parts: Sequence[ShardResult]) -> ShardResult:
    """A shard that was joined, with what making its parts took. Each sample counts once, though it rotted in its part
    and was made again."""
    count = whole.shard.count
    synthesised = min(count, whole.synthesised + sum(part.synthesised for part in parts))
    captioned = min(count - synthesised, sum(part.captioned for part in parts))
    return replace(
        whole,
        synthesised=synthesised,
        captioned=captioned,
        copied=count - synthesised - captioned,
        seconds=whole.seconds + sum(part.seconds for part in parts),
    )


def join_batch(jobs: Sequence[ShardJob]) -> list[ShardResult | SourceChangedError]:
    """Make shards of their parts, each a job that `join` gave; the parts go as soon as their shard is there."""
    results: list[ShardResult | SourceChangedError] = []
    for job in jobs:
        results += build_together([job])
        for path in map(Path, job.old_shards):
            path.unlink(missing_ok=True)
            index_of(path).unlink(missing_ok=True)
    return results


def index_of(staged: Path) -> Path:
    """What is known of a shard in the staging folder; it is there once the shard is whole."""
    return staged.with_name(staged.name + ".json")


def _row(key: str, fact: dict[str, Any] | SampleRow, span: Span, job: ShardJob) -> SampleRow:
    """The row of a sample, from its KEY.json or from the row that it had where it was copied from."""
    if isinstance(fact, SampleRow):
        place = {"shard": job.name, "split": job.split, "offset": span.offset, "size": span.size}
        return SampleRow(**vars(fact) | place)  # as `dataclasses.replace`, in half the time
    return sample_row(key, fact, span, job.name, job.split)


def finished(staged: Path, job: ShardJob) -> ShardResult | None:
    """The shard, if an earlier run left it whole in the staging folder."""
    index = index_of(staged)
    try:
        digest, _, text = index.read_text("utf-8").partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        body = json.loads(text)
        shard = ShardEntry(**body["entry"])
        if shard.fingerprint != job.fingerprint or not _is_whole(staged, shard, job):
            return None
        rows, sums = tuple(SampleRow(**row) for row in body["rows"]), tuple(body.get("sums", ()))
        return ShardResult(shard, rows, str(staged), copied=shard.count, sums=sums)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_whole(staged: Path, shard: ShardEntry, job: ShardJob) -> bool:
    """Whether it is what was written. Of a part every sample's sum is looked at when it is joined."""
    if job.part:
        return staged.stat().st_size == shard.bytes
    return file_sha256(staged) == shard.sha256
