"""Batches of shards for workers in other processes, or on other machines: left in the dataset's folder for them.

A hundred thousand samples are 48 MB of job. A worker needs the dataset's folder anyway, so it reads its jobs there, and
what goes through an engine's scheduler is a path and a digest.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import re
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from patina.pipeline.builder.job import ShardJob, ShardResult
from patina.pipeline.errors import BuildError
from patina.pipeline.files import remove_leftovers
from patina.pipeline.format.manifest import versions
from patina.pipeline.redaction import without_secrets
from patina.pipeline.scan.reading import SourceChangedError, read_verified
from patina.pipeline.scan.source import Source
from patina.pipeline.text import printable

MAX_BATCHES = 200
"""Tasks of one build at the most: an orchestrator spends tens of milliseconds on each."""

BATCH_SECONDS = 5.0
"""What a batch should take at the least: handing one to another process costs up to 0.2 s."""

HALF = re.compile(r".*\.tmp", re.DOTALL)
"""Whatever is half written in the staging folder, where all is ours."""

ROUNDS = 4
"""Batches for each worker at the least, so that all end at about the same time."""


@dataclass(frozen=True)
class StoredBatch:
    """Several shards to make, on any machine that sees the dataset's folder.

    path      the file that holds their jobs, and `sha256` of its bytes.
    samples   how many samples they hold together; shards: their files' names.
    permit    a file: the batch is wanted as long as it lies there; empty: whatever happens.
    versions  of all that can change a sample's bytes, where the batch was planned; code: digest of patina's own.
    """

    path: str
    sha256: str
    samples: int
    shards: tuple[str, ...] = field(repr=False)
    permit: str
    versions: tuple[tuple[str, str], ...]
    code: str

    def __str__(self) -> str:
        more = f" and {len(self.shards) - 1} more" if len(self.shards) > 1 else ""
        return f"{self.shards[0]}{more}"


def batch_count(workers: int, seconds: float) -> int:
    """Into how many batches to divide work of `seconds` on one core: some for each worker, none too short to be worth
    a task, and no more than MAX_BATCHES, unless there are more workers."""
    enough = max(ROUNDS * workers, math.ceil(seconds / BATCH_SECONDS))
    return max(workers, min(enough, MAX_BATCHES))


def new_permit(staging: Path) -> Path:
    """A permit that no other run of a build gives; those of earlier runs, and what they left half written, go. Workers
    of a run that was killed thus stop where the next one begins."""
    for old in staging.glob("*.permit"):
        old.unlink(missing_ok=True)
    remove_leftovers(staging, HALF)
    return staging / f"{secrets.token_hex(8)}.permit"


def store_batches(
    batches: Iterable[Sequence[ShardJob]], staging: Path, permit: Path | None = None
) -> list[StoredBatch]:
    """Write each batch's jobs into a file of the staging folder; `remove_batches` removes them.

    Jobs hold the addresses of their sources as they were given, since a worker has to read them. A file of jobs with a
    secret in one, such as a password or a signature, can be read by this user alone.
    """
    for old in staging.glob("batch-*.jobs"):  # of runs that were cut short
        old.unlink(missing_ok=True)
    here = tuple(versions_here().items())
    stored = []
    for jobs in batches:
        data = pickle.dumps(list(jobs), protocol=5)
        digest = hashlib.sha256(data).hexdigest()
        path = staging / f"batch-{digest[:16]}.jobs"
        path.unlink(missing_ok=True)
        mode = 0o600 if any(map(_has_secret, jobs)) else 0o666
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        names = tuple(job.name for job in jobs)
        count = sum(len(job.samples) for job in jobs)
        stored.append(StoredBatch(str(path), digest, count, names, str(permit or ""), here, code_digest()))
    return stored


def remove_batches(stored: Iterable[StoredBatch]) -> None:
    """Remove the files of jobs, once nobody makes them any more."""
    for batch in stored:
        Path(batch.path).unlink(missing_ok=True)


def _has_secret(job: ShardJob) -> bool:
    places = {place for sample in job.samples for place in (sample.source.path, sample.source.lq)}
    return any(without_secrets(place) != place for place in places)


def load_batch(batch: StoredBatch) -> list[ShardJob]:
    """The jobs of a batch. Raises BuildError if this machine cannot make them as they were planned."""
    expect_same_tools(batch)
    try:
        data = Path(batch.path).read_bytes()
    except OSError as error:
        raise BuildError(
            f"the worker {_here()} cannot read {batch.path} ({error.strerror or error}); every worker needs the "
            "dataset's folder under that very path, on a file system that all machines share"
        ) from None
    if hashlib.sha256(data).hexdigest() != batch.sha256:  # before anything in it is trusted
        raise BuildError(
            f"the worker {_here()} finds other bytes in {batch.path} than were written; does that path lie on a file "
            "system that all machines share? Run the build again"
        )
    jobs: list[ShardJob] = pickle.loads(data)
    return jobs


def expect_same_tools(batch: StoredBatch) -> None:
    """Raise BuildError if other versions are installed here than where the batch was planned: same bytes need them."""
    here = versions_here()
    other = [f"{name} {here.get(name)} (planned with {found})" for name, found in batch.versions if here[name] != found]
    if other:
        raise BuildError(
            f"the worker {_here()} has {', '.join(other)}; the same versions on every machine give the same bytes: "
            "install there what is installed here"
        )
    if code_digest() != batch.code:
        raise BuildError(
            f"the worker {_here()} runs another state of patina's code ({code_digest()}) than the one that planned "
            f"({batch.code}); install the same patina on every machine, and start running workers anew"
        )


@cache
def versions_here() -> dict[str, str]:
    """What `versions` finds, which reads the packages' own files: once in a worker's life, as it imports them once."""
    return versions()


@cache
def code_digest() -> str:
    """16 hex digits that change with patina's own code, as far as it makes samples."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted([*root.glob("pipeline/**/*.py"), *root.glob("synth/**/*.py")]):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def expect_staged(results: Iterable[ShardResult]) -> None:
    """Raise BuildError unless every shard that a worker made lies in the staging folder as seen from here."""
    for result in results:
        try:
            with Path(result.staged).open("rb") as file:  # opening asks a network file system what is there now
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            size, why = -1, error.strerror or str(error)
        else:
            why = f"{size} bytes, not {result.shard.bytes}"
        if size != result.shard.bytes:
            raise BuildError(
                f"a worker made {result.shard.name}, but {result.staged} is not there as seen from {_here()} ({why}); "
                "every worker needs the dataset's folder under that very path, on a file system that all machines share"
            )


def expect_sources_seen(changed: Iterable[SourceChangedError], sources: Iterable[Source]) -> None:
    """Raise BuildError if a source that workers found changed or missing is as it was scanned when seen from here."""
    digests: dict[str, str] = {}
    for source in sources:
        digests |= {source.path: source.content, source.lq: source.lq_digest}
    for error in changed:
        if _is_as_scanned(error.path, digests[error.path]):
            raise BuildError(
                f"a worker cannot read {printable(error.path)} as {_here()} does: {error.what}; every worker needs the "
                "sources under the same path or address, and the right to read them"
            )


def _is_as_scanned(path: str, digest: str) -> bool:
    try:
        read_verified(path, digest)
    except SourceChangedError:
        return False
    return True


def _here() -> str:
    return f"{socket.gethostname()} (process {os.getpid()})"
