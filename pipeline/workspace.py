"""A dataset's folder while it is worked on: its lock, its staging folder, and publishing in one step.

OUT/.patina/lock           held by the one build that may write here
OUT/.patina/staging/       shards that are finished but not published, and what is half written
OUT/.patina/journal.json   a publication under way; whoever finds one finishes it
OUT/.patina/scan.sqlite    digests and inspections, OUT/.patina/captions.sqlite  captions that models made
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pipeline.manifest import MANIFEST, SHARDS, ManifestError, load_manifest

PRIVATE = ".patina"


class LockedError(RuntimeError):
    """Another build is writing into the folder. Says who."""


class Workspace:
    """The folder `out` under its lock. Entering makes the folder, takes the lock and finishes a broken publication.

    Raises LockedError if another live process holds the lock, OSError if the folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.absolute()
        self.private = self.out / PRIVATE
        self.staging = self.private / "staging"
        self._lock: int | None = None

    def __enter__(self) -> Workspace:
        foreign = self.out.is_dir() and not self.private.exists() and any(self.out.iterdir())
        if foreign:
            raise ManifestError(
                f"{self.out} holds files and is no patina dataset; name a new or empty folder with --out"
            )
        self.staging.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._finish_publication()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()

    def _take_lock(self) -> None:
        # The kernel drops a flock with its process, so a dead holder's lock is free at once.
        lock = os.open(self.private / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                os.close(lock)
                raise OSError(f"{self.out}: the file system cannot lock files: {error.strerror}") from None
            holder = os.read(lock, 4096).decode("utf-8", "replace").strip() or "an unknown process"
            os.close(lock)
            raise LockedError(f"{self.out} is being built by {holder}; wait for it or stop it") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} of {_user()} on {socket.gethostname()}\n".encode(), 0)
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -----------------------------------------------------------------------------------------------------------------

    def publish(self, staged: Mapping[str, Path], texts: Mapping[str, str | bytes | Path], drop: Sequence[str]) -> None:
        """Replace the dataset in one step: readers see the old one or the new one, and never half a shard.

        staged  finished shards by file name. texts: other files by path relative to the folder, in the order in which
        they are to be replaced, manifest last. drop: file names of shards to remove. What is in the staging folder
        and not published is removed.
        """
        fresh = self.staging / "publish"
        shutil.rmtree(fresh, ignore_errors=True)
        moves = [[str(path.relative_to(self.private)), f"{SHARDS}/{name}"] for name, path in staged.items()]
        for name, content in texts.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                content.replace(path)
            else:
                path.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            sync(path)
            moves.append([str(path.relative_to(self.private)), name])
        journal = self.private / "journal.json"
        half = journal.with_suffix(".tmp")
        half.write_text(json.dumps({"moves": moves, "drop": [f"{SHARDS}/{name}" for name in drop]}), "utf-8")
        sync(half)
        half.replace(journal)
        sync(self.private)
        self._finish_publication()
        self.sweep(())

    def _finish_publication(self) -> None:
        """Carry out the journal, from whatever point an earlier run left it at."""
        journal = self.private / "journal.json"
        try:
            body = json.loads(journal.read_text("utf-8"))
        except FileNotFoundError:
            return
        (self.out / SHARDS).mkdir(exist_ok=True)
        *others, manifest = body["moves"]
        for staged, final in others:
            self._move(staged, final)
        for name in body["drop"]:
            (self.out / name).unlink(missing_ok=True)
        sync(self.out / SHARDS)
        self._move(*manifest)
        sync(self.out)
        journal.unlink()
        sync(self.private)

    def _move(self, staged: str, final: str) -> None:
        source = self.private / staged
        if source.exists():  # else it was moved before the run was cut short
            source.replace(self.out / final)

    def sweep(self, keep: Iterable[str]) -> None:
        """Empty the staging folder but for the files named: leftovers of runs that were cut short."""
        kept = set(keep)
        for path in self.staging.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def sync(path: Path) -> None:
    """Force a file's contents, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def dataset_folder(path: Path) -> Path:
    """`path`, if it holds a dataset. Raises ManifestError otherwise."""
    if not (path / MANIFEST).exists():
        raise ManifestError(f"{path}: expected a patina dataset, found no {MANIFEST}; build one with `patina build`")
    load_manifest(path)
    return path


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
