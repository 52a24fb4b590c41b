"""What processes print: always read to its end, and told where somebody listens. Telling is optional and may fail.

    a child's output ─► Drain: one thread reads, and keeps the last lines ─► another thread tells them
    this process's own output ─► outlive_readers: once nobody reads it any more, it leads nowhere

A child stands still once 64 KiB lie in a pipe that nobody empties, and a write to a pipe whose reader is gone is an
error in the middle of whatever was going on. Both happen when a terminal is closed, or when the process that started
this one is killed, which is no reason to stop. Stands above the five folders, as `patina.children` does.
"""

from __future__ import annotations

import contextvars
import errno
import io
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

LINES_KEPT = 200
"""Lines of a child that are kept, the last ones."""

LINES_WAITING = 1000
"""Lines of a child that wait to be told, at the most; of more, the oldest are not told."""

FAREWELL = 5.0
"""Seconds without a line told after which a child's last lines are given up."""


class Drain:
    """The output of a child: read to its end on a thread of its own, whatever becomes of telling it.

    lines    the last ones, `LINES_KEPT` at the most.
    untold   how many lines nobody was told, since telling failed or fell too far behind.
    failure  what the first failing `tell` raised; None: none did.

    `tell` gets the lines in the context of whoever makes the drain, from another thread, one at a time.
    """

    def __init__(self, output: IO[str], tell: Callable[[str], object]) -> None:
        self.lines = deque[str](maxlen=LINES_KEPT)
        self.untold = 0
        self.failure: BaseException | None = None
        self._output, self._tell = output, tell
        self._waiting, self._changed = deque[str](), threading.Condition()
        self._ended, self._tries = False, 0
        context = contextvars.copy_context()
        self._reader = threading.Thread(target=self._read, daemon=True, name="read a child")
        self._teller = threading.Thread(target=context.run, args=(self._tell_all,), daemon=True, name="tell of a child")
        self._reader.start()
        self._teller.start()

    def is_over(self, seconds: float) -> bool:
        """Whether the output ends within so many seconds: whatever could write to it has ended."""
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def close(self) -> None:
        """Wait until the lines are told; they are given up once none is for `FAREWELL` seconds."""
        while self._teller.is_alive():
            tries = self._tries
            self._teller.join(FAREWELL)
            if self._teller.is_alive() and self._tries == tries:
                with self._changed:
                    self.untold += len(self._waiting) + 1
                    self._waiting.clear()
                return

    def _read(self) -> None:
        with suppress(OSError, ValueError):  # of an output that is closed meanwhile
            for line in self._output:
                with self._changed:
                    self.lines.append(line.rstrip())
                    self._waiting.append(self.lines[-1])
                    if len(self._waiting) > LINES_WAITING:
                        self._waiting.popleft()
                        self.untold += 1
                    self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _tell_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                line = self._waiting.popleft()
            try:
                self._tell(line)
            except BaseException as error:  # rich, for one, raises SystemExit where nobody reads its console
                self.failure = self.failure or error
                self.untold += 1
            self._tries += 1


def outlive_readers() -> None:
    """From now on, what this process prints leads nowhere once nobody reads it, such as after the terminal was closed,
    or the worker killed that this process was started by; and writing it is no error.

    sys.stdout and sys.stderr stay the objects that they are, since others, such as handlers of logging, hold them; only
    what lies beneath them is another. A file always takes what is written, so a stream that leads to one is let be.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, io.TextIOWrapper) and _may_lose_reader(stream):
            with suppress(OSError):  # of a reader that is gone already
                stream.flush()
            io.TextIOWrapper.__init__(
                stream,
                io.BufferedWriter(_Outliving(stream.fileno(), "wb", closefd=False)),
                encoding=stream.encoding,
                errors=stream.errors,
                newline="\n",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )


def _may_lose_reader(stream: io.TextIOWrapper) -> bool:
    """Whether a stream leads to a pipe, a socket or a device, and is not yet one that outlives its readers. A terminal
    that was closed is no terminal any more, and a device all the same."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):  # it is closed
        return False
    outlives = isinstance(getattr(stream.buffer, "raw", None), _Outliving)
    return not outlives and any(kind(mode) for kind in (stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISCHR))


class _Outliving(io.FileIO):
    """A descriptor that leads nowhere, for this process, once nobody is at its other end."""

    GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)
    """What a pipe, a terminal and a socket say then."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self.GONE:
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return super().write(data)
