"""The lines of a training's process, for a log, the terminal and the progress. Knows no Prefect."""

from __future__ import annotations

import logging
import math
import re
import time
from typing import Any

from patina.flows.watchers import listener
from patina.pipeline.progress import Events

INTERVAL = 10.0
"""Seconds at the least between two lines of progress in a log, and between two updates of a progress artifact."""

PROGRESS = re.compile(r"(?P<what>.+) (?P<seen>[\d,]+) of (?P<total>[\d,]+) images, ")
"""How a line of progress begins, of a stage's process and of an evaluation's."""

RESULT = '{"seen": '
"""How the loop's last line begins, which is for programs."""


class Lines:
    """The lines of a stage's or an evaluation's process, to a log and to whom `listened_by` named; and how far it is,
    to `events`. Of lines of progress at most one in `INTERVAL` seconds.

    counted  the step that is begun with the first line that says how many images there are; empty: it is begun already.
    """

    def __init__(
        self, log: logging.Logger | logging.LoggerAdapter[Any], events: Events, seen: int = 0, counted: str = ""
    ) -> None:
        self._log, self._events, self._listen = log, events, listener()
        self._seen, self._told = seen, -math.inf
        self._counted, self._begun = counted, False

    def __call__(self, line: str) -> None:
        """One line. May come from another thread than the task's, one at a time."""
        found = PROGRESS.match(line)
        if found:
            if self._counted and not self._begun:
                self._begun = True
                self._events.begin(self._counted, int(found["total"].replace(",", "")), "images")
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

    def end(self) -> None:
        """The step that the lines began is over."""
        if self._begun:
            self._events.end()
