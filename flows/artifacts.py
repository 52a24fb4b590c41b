"""What flow runs leave behind for people: progress, findings. A server that is away never stops the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from patina.flows.training_log import INTERVAL
from patina.flows.watchers import listener
from patina.pipeline.progress import Events
from patina.pipeline.report.check import Checked

R = TypeVar("R")

MAX_FINDINGS_SHOWN = 200
"""Findings in a table at the most."""


class PrefectEvents:
    """Progress as a Prefect artifact, updated every few seconds at the most, and told on to another watcher.

    While the server does not answer, the work goes on and only asks again from time to time.
    """

    INTERVAL = 3.0
    PATIENCE = 30.0

    def __init__(self, watcher: Events) -> None:
        self._watcher = watcher
        self._lock = threading.Lock()
        self._artifact: Any = None
        self._done = self._total = 0
        self._told = 0.0
        self._telling = False

    def begin(self, step: str, total: int, unit: str) -> None:
        """Make an artifact for the step."""
        self._watcher.begin(step, total, unit)
        self._done, self._total, self._told = 0, total, time.monotonic()
        description = f"{step}: {total} {unit}"
        made = self._tell(lambda: create_progress_artifact(0.0, key="progress", description=description))
        self._artifact = made

    def advance(self, count: int) -> None:
        """Count on; update the artifact if the last time was a while ago and no other thread is about it."""
        self._watcher.advance(count)
        with self._lock:
            self._done += count
            if self._telling or time.monotonic() - self._told < self.INTERVAL:
                return
            self._telling = True
            share = min(100.0, 100 * self._done / max(self._total, 1))
        self._update(share)
        with self._lock:
            self._telling = False

    def end(self) -> None:
        """The step is whole."""
        self._watcher.end()
        self._update(100.0)

    def _update(self, share: float) -> None:
        artifact = self._artifact
        if artifact is not None:
            self._tell(lambda: update_progress_artifact(artifact, share))

    def _tell(self, tell: Callable[[], R]) -> R | None:
        """Call the server once, without Prefect's own minute of retries."""
        self._told = time.monotonic()
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                return tell()
        except httpx.HTTPError as error:
            self._told = time.monotonic() + self.PATIENCE
            _say_away("progress is not shown", error)
            return None


class TrainingEvents(PrefectEvents):
    """Progress of something long."""

    INTERVAL = INTERVAL


def log_line(line: str) -> None:
    """A line of a flow's own, to its log and to whom `listened_by` named."""
    get_run_logger().info("%s", line)
    if listen := listener():
        listen(line)


def server_answers() -> bool:
    """Whether the server does, asked once: Prefect's own retries of each call take a minute."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def record(what: str, make: Callable[[], object]) -> None:
    """Leave artifacts, unless the server is away: what was built is built."""
    if not server_answers():
        get_run_logger().warning("the Prefect server does not answer, so %s was not recorded", what)
        return
    try:
        make()
    except httpx.HTTPError as error:
        _say_away(f"{what} was not recorded", error)


def record_check(checked: Checked) -> None:
    """What a check found: a sentence, and a table of the findings if there are any."""
    notes = "".join(f"\n- not checked: {reason}" for reason in checked.skipped)
    create_markdown_artifact(
        ("ok" if checked.ok else "\n".join(f"- {finding}" for finding in checked.findings[:MAX_FINDINGS_SHOWN]))
        + notes,
        key="check",
        description=checked.summary,
    )
    if not checked.ok:
        create_table_artifact(
            [{"where": finding.where, "what": finding.what} for finding in checked.findings[:MAX_FINDINGS_SHOWN]],
            key="findings",
            description=f"{len(checked.findings)} findings",
        )


def _say_away(consequence: str, error: httpx.HTTPError) -> None:
    get_run_logger().warning(
        "the Prefect server does not answer (%s), so %s", error or type(error).__name__, consequence
    )
