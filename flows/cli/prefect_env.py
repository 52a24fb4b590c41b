"""Prefect's settings, its start and its server, as the command needs them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import typer

from patina.children import inherit
from patina.flows.cli.output import console, errors, escape


@cache
def tell_of_start() -> None:
    """Say, once, why nothing happens for a while."""
    if "PREFECT_API_URL" not in os.environ:
        console.print("starting Prefect's embedded API, about ten seconds")


def prepare_for_training() -> None:
    """Prefect's settings, before it is imported. A terminal's Ctrl-C also ends the embedded API, which Prefect would
    then ask for minutes, and tell of in a page of text, before it lets go."""
    prepare_prefect("CRITICAL")  # an error that stops the flow is printed once, in words, by `main`
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    if "PREFECT_API_URL" not in os.environ:
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "1")


@contextmanager
def _ended_in_words() -> Iterator[None]:
    """Within it Ctrl-C says that nothing is lost, and SIGTERM also ends the embedded API, which would go on."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except KeyboardInterrupt:  # typer would only give the exit code
        errors.print("\nstopped; nothing is lost, run it again to continue")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def training_shown() -> Iterator[None]:
    """What flows of training say is shown: a bar with the loss on a terminal, else lines."""
    tell_of_start()
    from patina.flows.build_dataset import watched_by
    from patina.flows.terminal import TerminalEvents
    from patina.flows.training_log import PROGRESS, listened_by
    from patina.pipeline.progress import Silent

    class Bar(TerminalEvents):
        """A bar that also shows the loss; lines that tell of something else go above it."""

        def listen(self, line: str) -> None:
            """One line of a process."""
            if not PROGRESS.match(line):
                console.print(escape(line))
            elif self._bar is not None and ", loss " in line:
                description = f"{self._step}, loss {line.rpartition(', loss ')[2]}"
                self._bar.update(self._bar.task_ids[0], description=escape(description))

    bar = Bar(console)
    with bar, _ended_in_words(), server_there("what was trained or evaluated is kept"):
        if console.is_terminal:
            with watched_by(bar), listened_by(bar.listen):
                yield
        else:
            with watched_by(Silent()), listened_by(lambda line: console.print(escape(line))):
                yield


@contextmanager
def server_there(kept: str = "the dataset is whole, as it was or as it should be") -> Iterator[None]:
    """Turns the errors of a Prefect server that is away, or goes away, into one for the user."""
    import httpx

    from patina.flows.errors import ServerAwayError

    try:
        yield
    except httpx.TransportError as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise ServerAwayError(
            f"the Prefect server at {os.environ.get('PREFECT_API_URL', 'an address of its own')} does not answer "
            f"({error}); {kept}: start the server and run it again"
        ) from error


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error came up while an interruption was dealt with."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def prepare_prefect(level: str = "WARNING") -> None:
    """Settings that make Prefect's embedded API quiet, private and patient; what the user has set stays. And what is
    started from here on, such as that API, imports nothing from the current folder."""
    inherit()
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": level,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect").setLevel(level)
