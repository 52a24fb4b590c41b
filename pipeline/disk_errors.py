"""Errors of a disk, in words: full, closed, gone."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from patina.pipeline.cache.database import DAMAGE
from patina.pipeline.errors import PipelineError
from patina.pipeline.format.layout import PRIVATE, VERSIONS
from patina.pipeline.machine import within_memory
from patina.pipeline.text import printable

P = ParamSpec("P")
R = TypeVar("R")


class OutputError(PipelineError, OSError):
    """A dataset's disk cannot be written to, or is gone. Says where, what was found and what to do."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "files may not grow so large",
}
CLOSED = {
    errno.EROFS: "the disk can only be read",
    errno.EACCES: "writing is forbidden",
    errno.EPERM: "writing is forbidden",
}
GONE = {
    errno.EIO: "the disk fails, or is gone",
    errno.ENXIO: "the disk is gone",
    errno.ENODEV: "the disk is gone",
    errno.ESTALE: "the disk on the network is gone",
    errno.ENOTCONN: "the disk on the network is gone",
}
OPEN = {
    errno.EMFILE: "this process may open no more files",
    errno.ENFILE: "this machine may open no more files",
}
VANISHED = "the folder was there and is gone; see that its disk is connected, and run it again"
DATABASE_FULL = {sqlite3.SQLITE_FULL: "the disk is full", sqlite3.SQLITE_IOERR: "the disk is full, or fails"}
DATABASE_CLOSED = {sqlite3.SQLITE_READONLY: "writing is forbidden", sqlite3.SQLITE_CANTOPEN: "a file cannot be opened"}


@contextmanager
def explain_disk_errors(out: Path, *, building: bool = True) -> Iterator[None]:
    """Within it, errors of a full, closed, failing or vanished disk become OutputErrors that name the folder, or file,
    and what to do. `building`: whether it is a build, which keeps what is finished."""
    was_there = _is_there(out)
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        reason, place = _explained(error, building), ""
        if was_there and not _is_there(out):  # whatever went wrong then
            reason = VANISHED
        elif isinstance(error, OSError) and isinstance(error.filename, str | bytes):
            place = f" (at {printable(os.fsdecode(error.filename))})"
        if not reason:
            raise
        room = _room(out) if building and reason.startswith((*FULL.values(),)) else ""
        raise OutputError(f"{printable(str(out))}{place}: {reason}{room}") from error


def _explained(error: Exception, building: bool) -> str:
    """What an error of a disk says, and what to do about it; empty for others."""
    if isinstance(error, OSError):
        gone = GONE.get(error.errno or 0, "")
        connect = f"{gone}; see that it is connected, and run it again"
        return connect if gone else _advice(error.errno or 0, FULL, CLOSED, building)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.OperationalError):
        return f"{_advice(code, DATABASE_FULL, DATABASE_CLOSED, building) or f'{error}; run it again'} (its stores)"
    if isinstance(error, sqlite3.DatabaseError) and code in DAMAGE:
        return f"a store in {PRIVATE} is damaged; run it again"
    return ""


def _advice(code: int, full: Mapping[int, str], closed: Mapping[int, str], building: bool) -> str:
    if code in full:
        kept = ": what is finished is kept, and no shard is half written" if building else ""
        return f"{full[code]}; make room and run it again{kept}"
    if code in closed:
        found = closed[code] if building or code == errno.EROFS else "access is forbidden"
        return f"{found}; make it writable, or name another folder with --out"
    if code in OPEN:
        return f"{OPEN[code]}; allow more (ulimit -n 4096), or use fewer --workers, and run it again"
    return ""


def _room(out: Path) -> str:
    """How to make room where earlier versions of the dataset take some; empty where there is one version."""
    try:
        versions = sum(path.is_dir() for path in (out / PRIVATE / VERSIONS).iterdir())
    except OSError:
        return ""
    return f"; `patina gc {printable(str(out))}` removes earlier versions" if versions > 1 else ""


def expect_there(out: Path) -> None:
    """Raise OutputError if a dataset's folder is gone: then nothing that is missing from it means anything."""
    if not _is_there(out):
        raise OutputError(f"{printable(str(out))}: {VANISHED}")


def _is_there(out: Path) -> bool:
    try:
        return out.is_dir()
    except OSError:
        return False


@contextmanager
def explain_errors(out: Path, less_memory: str) -> Iterator[None]:
    """Within it, other work on a dataset than a build: too little memory is a BuildError that says what needs less, and
    trouble with the disk of `out` an OutputError."""
    with within_memory(less_memory), explain_disk_errors(out, building=False):
        yield


def explaining_errors(
    less_memory: str,
) -> Callable[[Callable[Concatenate[Path, P], R]], Callable[Concatenate[Path, P], R]]:
    """The same for all of a function whose first argument is the dataset's folder."""

    def decorated(function: Callable[Concatenate[Path, P], R]) -> Callable[Concatenate[Path, P], R]:
        @wraps(function)
        def explained(out: Path, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with explain_errors(out, less_memory):
                return function(out, *args, **kwargs)

        return explained

    return decorated
