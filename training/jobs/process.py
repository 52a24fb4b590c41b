"""A process of its own for a job: started, listened to, ended, and its last word made an error.

It leads a process group of its own, so that Ctrl-C comes to us alone and we ask the group to end. A thread reads its
lines from the first moment on, so that no full pipe ever stops it.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TypeAlias

from patina.children import environment
from patina.training.errors import StageCrashedError, StageError

GRACE = 120.0
"""Seconds that a process has to end its step and write its state, once it is asked to."""

POLL = 2.0
"""Seconds between two looks whether a process is still well."""

LINES_KEPT, LINES_SHOWN = 200, 15
"""Lines that are kept of a process, the last ones; and how many of these an error shows."""

ERROR_PREFIX = "patina: "
"""How the line begins in which a process says what a user must mend."""

OnMessage: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """A process that is over: its exit status and its last lines, `LINES_KEPT` at the most."""

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

    `on_message` gets its lines, from another thread in the caller's context, one at a time.

    more   variables of its environment, beside those of every child.
    text   for its standard input; None: it has none.
    watch  called every `POLL` seconds; what it raises ends the process.
    An interruption (cancelled, Ctrl-C, SIGTERM) and whatever `on_message` or `watch` raises end the process
    before they go on.
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
    listener = _Listener(process.stdout, on_message)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(listener.listen,), daemon=True)
    thread.start()
    try:
        if text is not None:
            _write(process, text)
        while not _is_over(process):
            listener.raise_failure()
            watch()
    finally:
        end(process)
        thread.join()
        process.stdout.close()
    listener.raise_failure()
    return Ended(process.returncode, listener.lines)


@dataclass
class _Listener:
    """The last lines of a process, and what `on_message` raised, if it did."""

    output: IO[str]
    on_message: OnMessage
    lines: list[str] = field(default_factory=list)
    failure: BaseException | None = None

    def listen(self) -> None:
        """Read to the end, also once nobody can be told any more."""
        for line in self.output:
            self.lines.append(line.rstrip())
            del self.lines[:-LINES_KEPT]
            if self.failure is None:
                try:
                    self.on_message(self.lines[-1])
                except BaseException as error:
                    self.failure = error

    def raise_failure(self) -> None:
        """Raise what `on_message` raised."""
        if self.failure is not None:
            raise self.failure


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
