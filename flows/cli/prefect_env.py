"""Prefect's settings, its start and its server, as the command needs them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import cache
from threading import Thread

from patina.children import inherit, uninterrupted
from patina.flows.cli.output import console, escape


@cache
def tell_of_start() -> None:
    """Say, once, why nothing happens for a while."""
    if "PREFECT_API_URL" not in os.environ:
        console.print("starting Prefect's embedded API, about ten seconds")


def prepare_for_training() -> None:
    """Prefect's settings, before it is imported."""
    prepare_prefect("CRITICAL")  # an error that stops the flow is printed once, in words, by `main`


@contextmanager
def training_shown(prefect: bool = True) -> Iterator[None]:
    """What trainings and evaluations say is shown: a bar with the loss on a terminal, else lines. prefect: whether they
    are flow runs."""
    from patina.flows.terminal import TerminalEvents
    from patina.flows.training_log import PROGRESS
    from patina.flows.watchers import listened_by, watched_by
    from patina.pipeline.progress import Silent

    if prefect:
        tell_of_start()

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
    with bar, server_there("what was trained or evaluated is kept") if prefect else nullcontext():
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
        with _embedded_api():
            yield
    except (httpx.TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Failed to reach API"):
            raise
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise ServerAwayError(
            f"the Prefect server at {os.environ.get('PREFECT_API_URL', 'an address of its own')} does not answer "
            f"({error}); {kept}: start the server and run it again"
        ) from error


@contextmanager
def _embedded_api() -> Iterator[None]:
    """Start Prefect's embedded API, where no server is named, as a process that a terminal's Ctrl-C does not reach: how
    the flow ended could not be told any more. Nobody there listens to heartbeats, whose thread keeps a flow from ending
    for a second."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
        temporary_settings,
    )

    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        yield
        return
    from prefect.server.api.server import SubprocessASGIServer

    def start() -> None:
        with suppress(Exception):  # Prefect asks for it again, and tells what is wrong
            SubprocessASGIServer().start()

    with uninterrupted():  # which goes on to the thread and to its children
        thread = Thread(target=copy_context().run, args=(start,), daemon=True, name="start the API")
        thread.start()
    while thread.is_alive():
        thread.join(0.1)
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error came up while an interruption was dealt with."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def prepare_prefect(level: str = "WARNING") -> None:
    """Settings that make Prefect's embedded API quiet, private and patient; what the user has set stays. And what is
    started from here on, such as that API, imports nothing from the current folder. A server that is configured gets
    the log of a flow run, of which the terminal shows what is at least of `level`."""
    from patina.flows.building import is_server_configured

    inherit()
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", level)
    if is_server_configured():
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": level,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_INTERNAL_LEVEL": level,
    }.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" not in os.environ:  # an embedded API that was ended would be asked for minutes
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "1")
    for logger in ("prefect", "EventsWorker", "APILogWorker"):  # of what Prefect has yet to send when it is ended
        logging.getLogger(logger).setLevel(level)
