"""Who watches the work of this process, such as a terminal's progress bar. Knows no Prefect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from patina.pipeline.progress import Events, Silent

Listener: TypeAlias = Callable[[str], None]

_watcher: ContextVar[Events | None] = ContextVar("watcher", default=None)
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def watched_by(events: Events) -> Iterator[None]:
    """Within it, flows of this process tell `events` how they go on, such as a terminal's progress bar."""
    token = _watcher.set(events)
    try:
        yield
    finally:
        _watcher.reset(token)


def watcher() -> Events:
    """Who watches the flows of this process."""
    return _watcher.get() or Silent()


@contextmanager
def listened_by(listen: Listener) -> Iterator[None]:
    """Within it `listen` gets the lines of the processes that flows of this process start, from any thread."""
    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)


def listener() -> Listener | None:
    """Who gets these lines."""
    return _listener.get()
