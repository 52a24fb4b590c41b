"""Makes shards: the only place where images, degradations and captions meet.

Shards of one bucket hold the same photographs. Made together, each photograph is read and decoded once for all of them,
each of its tiles is cut, encoded and measured once, and as many shards are open as are made together.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2

from patina.pipeline.builder.job import ShardJob, ShardResult
from patina.pipeline.builder.samples import SampleMaker, SourceFiles
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.errors import BuildError
from patina.pipeline.files import replacing, write_atomically
from patina.pipeline.format.manifest import SampleRow, ShardEntry
from patina.pipeline.format.rows import sample_row
from patina.pipeline.format.shard import ShardWriter, Span
from patina.pipeline.hashing import file_sha256
from patina.pipeline.machine import LESS_MEMORY, is_out_of_memory, keep_freed_memory
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
            here = _cut_from(waiting[min(waiting, key=lambda i: waiting[i].key)])
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
    staged = Path(job.staging) / f"{job.name}.{job.fingerprint[:16]}"
    earlier = _finished(staged, job)
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
    maker = SampleMaker(job, files)
    facts: list[dict[str, Any] | SampleRow] = []
    sums: list[int] = []
    index = staged.with_name(staged.name + ".json")
    try:
        for path in (staged, index):
            if path.is_dir():  # nothing replaces a folder, and none of ours is called so
                shutil.rmtree(path)
        with replacing(staged) as half, ShardWriter(half) as writer:  # `finish` forces it to the disk
            for sample in job.samples:
                yield sample
                expect_wanted()
                with watched(lambda done: expect_wanted()):  # a large photograph takes seconds
                    pieces, fact = maker.sample(sample)
                    sums.append(writer.add(pieces))
                    del pieces  # of a copy: others are made before this shard's next
                facts.append(fact)
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
        body = json.dumps({"entry": asdict(shard), "rows": [asdict(row) for row in rows], "sums": sums})
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


def _row(key: str, fact: dict[str, Any] | SampleRow, span: Span, job: ShardJob) -> SampleRow:
    """The row of a sample, from its KEY.json or from the row that it had where it was copied from."""
    if isinstance(fact, SampleRow):
        return replace(fact, shard=job.name, split=job.split, offset=span.offset, size=span.size)
    return sample_row(key, fact, span, job.name, job.split)


def _finished(staged: Path, job: ShardJob) -> ShardResult | None:
    """The shard, if an earlier run left it whole in the staging folder."""
    index = staged.with_name(staged.name + ".json")
    try:
        digest, _, text = index.read_text("utf-8").partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        body = json.loads(text)
        shard = ShardEntry(**body["entry"])
        if shard.fingerprint != job.fingerprint or file_sha256(staged) != shard.sha256:
            return None
        rows, sums = tuple(SampleRow(**row) for row in body["rows"]), tuple(body.get("sums", ()))
        return ShardResult(shard, rows, str(staged), copied=shard.count, sums=sums)
    except (OSError, ValueError, KeyError, TypeError):
        return None
