"""Progress on a terminal: a live bar with rate and ETA; plain lines where nobody is watching."""

from __future__ import annotations

import re
import textwrap
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

LABEL = re.compile(r"\s*(\S+(?: \S+)*\s{2,})?")
"""What stands before a line's text: spaces, and a word or two that are set apart by more than one space."""


def fitted(console: Console, lines: Sequence[str]) -> list[str]:
    """Lines for a terminal: what is too wide goes on below its own beginning, and no word is broken. As they are where
    nobody is watching, for whatever reads them there."""
    if not console.is_terminal:
        return list(lines)
    parts: list[str] = []
    for line in lines:
        label = LABEL.match(line)
        under = " " * max(label.end() if label else 0, 2)
        parts += textwrap.wrap(
            line, console.width, subsequent_indent=under, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return parts


class TerminalEvents:
    """Shows each step of a build as it goes. A context manager; usable from several threads.

    in_full  whether a line stays for each step, with its time, where a bar was shown.
    """

    INTERVAL = 10.0

    def __init__(self, console: Console, in_full: bool = False) -> None:
        self._console = console
        self._in_full = in_full
        self._live = console.is_terminal
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._step, self._unit = "", ""
        self._done = self._total = 0
        self._start = self._told = 0.0

    def __enter__(self) -> TerminalEvents:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, step: str, total: int, unit: str) -> None:
        """A step of `total` units begins."""
        self._step, self._unit, self._done, self._total = step, unit, 0, total
        self._start = self._told = time.monotonic()
        if not self._live:
            self._console.print(f"{step}: {total} {unit}")
            return
        from patina.flows.terminal_bar import bar_on  # what draws it takes longer to import than most steps of a plan

        self._bar = bar_on(self._console)
        self._bar.add_task(step, total=total, unit=unit)
        self._bar.start()

    def advance(self, count: int) -> None:
        """So many units are done."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.advance(self._bar.task_ids[0], count)
            elif time.monotonic() - self._told > self.INTERVAL:
                self._told = time.monotonic()
                self._console.print(self._line())

    def end(self) -> None:
        """The step is over."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._in_full or not self._live:
            self._console.print(self._line())

    def _line(self) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / elapsed
        left = (self._total - self._done) / rate if rate else 0.0
        eta = f", {left:.0f} s left" if self._done < self._total else f" in {elapsed:.1f} s"
        return f"{self._step}: {self._done} of {self._total} {self._unit}, {rate:.1f} {self._unit}/s{eta}"
