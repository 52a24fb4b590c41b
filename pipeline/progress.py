"""What a build tells whoever watches: a terminal, a log, Prefect."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """What a build tells whoever watches: a terminal, a log, Prefect."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """A step of `total` units begins."""
        ...

    def advance(self, count: int) -> None:
        """So many units of the present step are done. Called from several threads."""
        ...

    def end(self) -> None:
        """The present step is over."""
        ...


class Silent:
    """Events that go nowhere."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Meter:
    """Turns `(done, total)` calls into events; a step that is never called is never shown."""

    def __init__(self, events: Events, step: str, unit: str) -> None:
        self._events, self._step, self._unit = events, step, unit
        self._done: int | None = None
        self._total = 0

    def __call__(self, done: int, total: int) -> None:
        """So many of `total` units are done by now; fewer than before, or another total, begin the step anew."""
        if self._done is not None and (done < self._done or total != self._total):
            self._events.end()
            self._done = None
        if self._done is None:
            self._events.begin(self._step, total, self._unit)
        self._events.advance(done - (self._done or 0))
        self._done, self._total = done, total

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._done is not None:
            self._events.end()
