"""The lines of a training's process, for Prefect's log, the terminal and a progress artifact."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from prefect.logging import get_run_logger

from patina.flows.artifacts import PrefectEvents
from patina.pipeline.progress import Events

INTERVAL = 10.0
"""Seconds at the least between two lines of progress in a log, and between two updates of a progress artifact."""

PROGRESS = re.compile(r"(?P<what>.+) (?P<seen>[\d,]+) of (?P<total>[\d,]+) images, ")
"""How a line of progress begins, of a stage's process and of an evaluation's."""

RESULT = '{"seen": '
"""How the loop's last line begins, which is for programs."""

Listener: TypeAlias = Callable[[str], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listened_by(listen: Listener) -> Iterator[None]:
    """Within it `listen` gets the lines of the processes that flows of this process start, from any thread."""
    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)


class TrainingEvents(PrefectEvents):
    """Progress of something long."""

    INTERVAL = INTERVAL


class Lines:
    """The lines of a stage's or an evaluation's process, to a log and to whom `listened_by` named; and how far it is,
    to `events`. Of lines of progress at most one in `INTERVAL` seconds."""

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[Any], events: Events, seen: int = 0) -> None:
        self._log, self._events, self._listen = log, events, _listener.get()
        self._seen, self._told = seen, -math.inf

    def __call__(self, line: str) -> None:
        """One line. May come from another thread than the task's, one at a time."""
        found = PROGRESS.match(line)
        if found:
            seen = int(found["seen"].replace(",", ""))
            self._events.advance(max(0, seen - self._seen))
            self._seen = max(seen, self._seen)
            if time.monotonic() - self._told < INTERVAL:
                return
            self._told = time.monotonic()
        if line.startswith(RESULT):
            return
        self._log.info("%s", line)
        if self._listen:
            self._listen(line)


def log_line(line: str) -> None:
    """A line of a flow's own, to its log and to whom `listened_by` named."""
    get_run_logger().info("%s", line)
    if listen := _listener.get():
        listen(line)
