"""Asking a process to stop, and noticing that nobody waits for it any more."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Whether somebody asked this process to end, or the process that waits for it is gone."""

    def __init__(self) -> None:
        self._told = False
        self._parent = int(os.environ.get("PATINA_PARENT", "0"))

    @property
    def asked(self) -> bool:
        """Looks for the parent, which takes a microsecond."""
        if self._parent:
            try:
                os.kill(self._parent, 0)
            except ProcessLookupError:
                self._told = True
            except PermissionError:
                pass
        return self._told

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Within it SIGTERM and SIGINT are only noted. Outside the main thread nothing is."""
        try:
            before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:
            before = {}
        try:
            yield self
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def _note(self, *_: object) -> None:
        self._told = True
