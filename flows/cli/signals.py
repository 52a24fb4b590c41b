"""Signals that end a command: what was asked to stop stops, one line says so, and the process ends soon after."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from patina.flows.cli.output import console, errors
from patina.pipeline.stopping import ask

ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

FAREWELL = 0.5
"""Seconds that libraries have at exit: Prefect would try for seven to send what it has yet to tell."""

WORDS = "stopped; nothing is lost, run it again to continue"


class Signals:
    """The signals that ask a command to end. The first one is an interruption; the second ends the process at once.

    received  the number of the first one; 0: there was none.
    """

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within it, signals come here; but not those that whoever started the process had it ignore, as nohup."""
        before = {number: signal.getsignal(number) for number in ENDING}
        atexit.register(self._exit)  # before libraries do, so that it comes last
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._come)
        try:
            yield
        finally:
            if not self.received:
                atexit.unregister(self._exit)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _come(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received:
            self._end_now()
        self.received = number
        ask(for_good=True)
        raise KeyboardInterrupt

    def leave(self) -> NoReturn:
        """Say that nothing is lost, and end."""
        threading.Thread(target=self._end_soon, daemon=True, name="farewell").start()
        with suppress(OSError):  # of a terminal that is closed, which may be what the signal told of
            errors.print(f"\n{WORDS}" if console.is_terminal else WORDS)
        sys.exit(128 + self.received)

    def _exit(self) -> None:
        """Skip what Python does after all else: it takes a second to give back the memory of a hundred libraries."""
        if self.received:
            self._end_now()

    def _end_soon(self) -> None:
        time.sleep(FAREWELL)
        self._end_now()

    def _end_now(self) -> NoReturn:
        _kill_api()
        with suppress(RuntimeError, OSError, ValueError):  # of a stream that the handler interrupted, or that is closed
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(128 + self.received)


def leave_signals_to_libraries() -> None:
    """For a command that serves until it is ended, by a library with handlers of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in ENDING[1:]:
        signal.signal(number, signal.SIG_DFL)


def _kill_api() -> None:
    """End Prefect's embedded API, which outlives a process that does not."""
    module = sys.modules.get("prefect.server.api.server")
    if module is None:
        return
    for server in tuple(module.SubprocessASGIServer._instances.values()):
        if server.server_process is not None:
            server.server_process.kill()
