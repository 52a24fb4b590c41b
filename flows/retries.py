"""Which errors are worth another try: input and output that may recover by itself, never what a user must mend."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import SourceError
from patina.pipeline.export.remote_place import RemoteOutputError
from patina.pipeline.sources.locations import LocationError

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

RETRIES = 4
BACKOFF = 2.0
"""Seconds before the first further try; each next one waits twice as long."""

JITTER = 0.5
"""A delay varies by that share, so that tasks that failed together do not all come back together."""

STEPS_RUN_ONCE = frozenset({"publish"})
"""Steps that are not begun again: what a publication has left half done, the next build finishes by its journal."""

TRANSIENT_ERRNOS = frozenset(
    {
        errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.EPIPE, errno.ETIMEDOUT,
        errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN,
        errno.ENETRESET, errno.ENETUNREACH, errno.ENOLCK, errno.EREMOTEIO if hasattr(errno, "EREMOTEIO") else errno.EIO,
    }
)  # fmt: skip
"""Of a disk, a network file system or a connection. Not of it: no such file, no permission, no space, read-only."""

TRANSIENT_HTTP_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What an HTTP server answers when asking again may help."""

CONNECTION_ERRORS = {
    "aiohttp": ("ClientConnectionError", "ClientPayloadError"),
    "botocore": ("HTTPClientError", "ConnectionError", "IncompleteReadError"),
    "requests": ("ConnectionError", "Timeout", "ChunkedEncodingError"),
    "urllib3": ("TimeoutError", "ProtocolError", "NewConnectionError"),
}
"""Errors of connections that are no OSError, by library: what fsspec's file systems let through."""

PATINA_ERRORS = (LocationError, RemoteOutputError, SourceError, OutputError)
"""Errors of patina that may have a connection's error behind them."""


def is_transient(error: BaseException) -> bool:
    """Whether an error is one of input or output that may pass by itself.

    An error of patina's own is judged by what stands behind it; a recipe that is wrong stays wrong.
    """
    if isinstance(error, PATINA_ERRORS):
        return any(_passes(cause) for cause in _behind(error))
    return isinstance(error, OSError) and _passes(error)


def retry_io(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """A task's `retry_condition_fn`: its error is transient, and its step may be begun again."""
    del task
    return run.name not in STEPS_RUN_ONCE and isinstance(state.data, BaseException) and is_transient(state.data)


# ---------------------------------------------------------------------------------------------------------------------


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The errors that an error was raised from or while handling, nearest first."""
    seen = {id(error)}
    cause = error.__cause__ or error.__context__  # `from None` hides the context from a traceback, and keeps it
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _passes(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status in TRANSIENT_HTTP_STATUSES
    if isinstance(error, OSError) and error.errno is not None:
        if isinstance(error, socket.gaierror) or error.errno < 0:  # aiohttp keeps a resolver's number
            return error.errno == socket.EAI_AGAIN  # a name that does not exist stays so
        return error.errno in TRANSIENT_ERRNOS
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(
        kind.__name__ in CONNECTION_ERRORS.get(kind.__module__.partition(".")[0], ()) for kind in type(error).__mro__
    )


def _status(error: BaseException) -> int | None:
    """An HTTP answer's status, as aiohttp, gcsfs, requests and botocore keep it; None where there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(response, "status_code", None) or getattr(error, "code", None)
    return found if isinstance(found, int) and 100 <= found < 600 else None
