"""Errors that are worth another try: input and output that may recover, and nothing that a user must fix."""

from __future__ import annotations

import errno
import socket
import sqlite3

import aiohttp
import pytest
from yarl import URL

from patina.flows.retries import is_transient
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import BuildError, LockedError, ManifestError, RecipeError, SourceError
from patina.pipeline.export.remote_place import RemoteOutputError
from patina.pipeline.sources.locations import LocationError


def answer(status: int) -> Exception:
    """What aiohttp raises for an answer of that status."""
    request = aiohttp.RequestInfo(URL("http://x/a.png"), "GET", {}, URL("http://x/a.png"))  # type: ignore[arg-type]
    return aiohttp.ClientResponseError(request, (), status=status)


def because(cause: BaseException, kind: type[Exception] = LocationError, *, hidden: bool = False) -> Exception:
    """An error of patina's own, raised from `cause`, or while handling it with `from None`."""
    try:
        try:
            raise cause
        except type(cause) as error:
            raise kind("cannot be read") from (None if hidden else error)
    except kind as made:
        return made


class ClientError(Exception):
    """As botocore's: it keeps the answer in a dictionary."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


PASSING = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.EBUSY, "Device or resource busy"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    ConnectionError("no number"),
    TimeoutError(),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    because(ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
    because(aiohttp.ServerDisconnectedError()),
    because(aiohttp.ClientPayloadError("half a body")),
    because(TimeoutError(), RemoteOutputError),
    because(answer(503), RemoteOutputError),
    because(answer(429)),
    because(ClientError(500), RemoteOutputError),
    because(because(TimeoutError()), SourceError, hidden=True),
    because(OSError(errno.EIO, "Input/output error"), OutputError),
]
STAYING = [
    FileNotFoundError(errno.ENOENT, "No such file"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Quota exceeded"),
    OSError(errno.EROFS, "Read-only file system"),
    IsADirectoryError(errno.EISDIR, "Is a directory"),
    OSError("no number"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    LocationError("a.tar ends before byte 12"),
    because(FileNotFoundError(errno.ENOENT, "404")),
    because(answer(404)),
    because(answer(403), RemoteOutputError),
    because(ClientError(403), RemoteOutputError),
    because(OSError(errno.ENOSPC, "full"), OutputError),
    because(TimeoutError(), RecipeError),
    because(TimeoutError(), BuildError),
    because(FileNotFoundError(errno.ENOENT, "no folder"), SourceError, hidden=True),
    ManifestError("none"),
    LockedError("held"),
    ValueError("wrong"),
    MemoryError(),
    sqlite3.OperationalError("database is locked"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", STAYING, ids=repr)
def test_what_stays_is_not(error: Exception) -> None:
    assert not is_transient(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize(
    ("step", "error", "calls"),
    [
        ("build shards", OSError(errno.EIO, "Input/output error"), 3),
        ("build shards", OSError(errno.ENOSPC, "No space left on device"), 1),
        ("build shards", BuildError("a user's"), 1),
        ("publish", OSError(errno.EIO, "Input/output error"), 1),
    ],
)
def test_a_task_is_run_again_only_where_that_may_help(step: str, error: Exception, calls: int) -> None:
    from prefect import flow

    from patina.flows.runners import run_step

    now = run_step.with_options(retry_delay_seconds=0)
    seen = []

    def twice_broken() -> str:
        seen.append(step)
        if len(seen) < 3:
            raise error
        return "whole"

    @flow
    def build() -> str:
        return now(step, twice_broken)

    if calls == 3:
        assert build() == "whole"
    else:
        with pytest.raises(type(error), match=str(error.args[-1])):
            build()
    assert len(seen) == calls


def test_tasks_wait_longer_each_time_and_not_all_equally_long() -> None:
    from patina.flows.runners import run_batch, run_step

    for task in (run_step, run_batch):
        assert task.retries == 4
        assert task.retry_delay_seconds == [2.0, 4.0, 8.0, 16.0]
        assert task.retry_jitter_factor == 0.5
