"""A process of its own for a job: started, listened to, ended, and its last word made an error.

It leads a process group of its own, so that Ctrl-C comes to us alone and we ask the group to end. Its lines are read
from the first moment on, so that no full pipe ever stops it; that nobody can be told of them does not stop it either.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from patina.children import environment
from patina.output import Drain
from patina.training.errors import StageCrashedError, StageError

GRACE = 120.0
"""Seconds that a process has to end its step and write its state, once it is asked to."""

POLL = 2.0
"""Seconds between two looks whether a process is still well."""

LINES_SHOWN = 15
"""Lines of a process, the last ones, that an error shows."""

LEFTOVERS = 10.0
"""Seconds that what a process started may go on after it, before it is ended too."""

ERROR_PREFIX = "patina: "
"""How the line begins in which a process says what a user must mend."""

OnMessage: TypeAlias = Callable[[str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """A process that is over: its exit status and its last lines, as `Drain` keeps them."""

    status: int
    lines: Sequence[str]

    def error(self, what: str) -> StageError | StageCrashedError:
        """Why it failed: StageError with what its last line of that kind tells the user, else StageCrashedError.

        what  the job, such as `stage irsde`, for the error's beginning.
        """
        if message := next(
            (line.removeprefix(ERROR_PREFIX) for line in reversed(self.lines) if line.startswith(ERROR_PREFIX)), ""
        ):
            return StageError(message)
        return StageCrashedError(
            f"{what}: its process ended with status {self.status}; its last lines:\n"
            + "\n".join(self.lines[-LINES_SHOWN:])
        )


def run_process(
    command: Sequence[str],
    on_message: OnMessage,
    *,
    more: Mapping[str, str] | None = None,
    text: str | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command to its end.

    `on_message` gets its lines, from another thread in the caller's context, one at a time. What it raises ends
    nothing, and nothing waits for it for long: the log says at the end how many lines were not told.

    more   variables of its environment, beside those of every child.
    text   for its standard input; None: it has none.
    watch  called every `POLL` seconds; what it raises ends the process.
    An interruption (cancelled, Ctrl-C, SIGTERM) and whatever `watch` raises end the process before they go on.
    """
    process = subprocess.Popen(
        command,
        env=environment(PATINA_PARENT=str(os.getpid()), TOKENIZERS_PARALLELISM="false", **(more or {})),
        stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # see above
    )
    assert process.stdout is not None
    drain = Drain(process.stdout, on_message)
    try:
        if text is not None:
            _write(process, text)
        while not _is_over(process):
            watch()
    finally:
        end(process)
        _end_leftovers(process, drain)
    if drain.untold:
        log.warning("%d lines of a process were not told: %r", drain.untold, drain.failure or "too slowly taken")
    return Ended(process.returncode, list(drain.lines))


def _end_leftovers(process: subprocess.Popen[str], drain: Drain) -> None:
    """Wait for the end of the output, which a process's own children may hold open after it, and close it."""
    assert process.stdout is not None
    if not drain.is_over(LEFTOVERS):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    drain.close()
    if drain.is_over(LEFTOVERS):
        process.stdout.close()


def _write(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # it may have ended at once, and its lines say why
        process.stdin.write(text)


def _is_over(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process and all it started to end, and make them after `GRACE` seconds."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
