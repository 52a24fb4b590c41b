"""The steps of a build from end to end, by Prefect or without it: fetch, build, check, tell, upload. Knows no Prefect.

patina build ──────────► `build_here`: no server is configured, so no server is started
the flow build-dataset ► `build_and_check` with a runner whose steps and batches are task runs
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from patina.flows.errors import expect_ok
from patina.flows.retries import BACKOFF, JITTER, RETRIES, STEPS_RUN_ONCE, is_transient
from patina.pipeline.builder.build import build
from patina.pipeline.builder.processes import PRELOADED, Processes, processes_pay
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.runner import Runner, Threads
from patina.pipeline.export.remote_output import expect_writable, pull, push
from patina.pipeline.plan.planning import Options
from patina.pipeline.progress import Events
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.redaction import without_secrets
from patina.pipeline.report.check import Checked, Depth, check
from patina.pipeline.sources.locations import is_remote

A = TypeVar("A")
R = TypeVar("R")


def build_and_check(
    recipe: Recipe,
    out: str,
    options: Options,
    *,
    runner: Runner,
    events: Events,
    replay: int,
    depth: Depth,
    built: Callable[[BuildResult, Checked], object] = lambda report, checked: None,
    is_known: Callable[[BuildResult], bool] = lambda report: False,
) -> BuildResult:
    """Build the dataset of `recipe` in `out`, a folder or an address, and check what was made, `replay` samples by
    making them again. `depth`: how closely `check` looks at shards. `built` hears of both before findings raise
    FindingsError. `is_known`: whether a dataset of which nothing was stale was found to be as it should be before, so
    that it is not checked again. Raises like `build` too."""
    if is_remote(out):
        runner.call("try the output", lambda: expect_writable(out))
    folder = runner.call("fetch", lambda: pull(out, events)) if is_remote(out) else Path(out)
    report = build(recipe, folder, options, runner, events)
    if report.planned.plan.is_empty and not is_remote(out) and is_known(report):
        return report
    checked = runner.call(
        "check",
        lambda: check(  # images were decoded and measured when they were made, and their shards digested
            report.planned.out,
            replay,
            workers=options.workers,
            recipe_folder=recipe.folder,
            copies=recipe.split.leaks == "mend",  # else the notes tell of copies, and leaving them was asked for
            depth=depth,
        ),
    )
    built(report, checked)
    expect_ok(checked, out)
    if is_remote(out):
        runner.call("upload", lambda: push(out, events))
    return report


def build_here(recipe: Recipe, out: str, options: Options, events: Events, *, replay: int) -> BuildResult:
    """`build_and_check` on threads of this process, and shards on processes where these pay, with the retries that the
    flow has."""
    depth: Depth = "digests" if options.paranoid else "sizes"
    runner = RetryingThreads(options.workers)
    return build_and_check(recipe, out, options, runner=runner, events=events, replay=replay, depth=depth)


class RetryingThreads(Threads):
    """Threads of this process; a step or a batch that met an error which may pass by itself is begun again."""

    def suited(self, seconds: float) -> Runner:
        """Processes, where the time that threads lose by waiting for one another is more than starting these takes."""
        return RetryingProcesses(self.workers) if processes_pay(seconds, self.workers) else self

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step here."""
        return function() if step in STEPS_RUN_ONCE else _retried(function)

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it on a pool of threads."""
        return super().map(step, lambda item: _retried(partial(function, item)), items, finished)


class RetryingProcesses(Processes):
    """Processes of this machine; a batch that met an error which may pass by itself is begun again."""

    preloaded = (PRELOADED, __name__)
    needs_main = False  # that is the command's

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it on processes."""
        return super().map(step, partial(_tried, function), items, finished)


def _tried(function: Callable[[A], R], item: A) -> R:
    return _retried(partial(function, item))


def _retried(function: Callable[[], R]) -> R:
    """What it gives, by the last of 1 + RETRIES tries where the others raised what may pass."""
    for delay in (BACKOFF * 2**i for i in range(RETRIES)):
        try:
            return function()
        except Exception as error:
            if not is_transient(error):
                raise
            logging.getLogger(__name__).warning("%s; trying again in %.0f s", without_secrets(str(error)), delay)
        time.sleep(delay * (1 + random.uniform(0, JITTER)))
    return function()


# ---------------------------------------------------------------------------------------------------------------------


def is_server_configured() -> bool:
    """Whether Prefect's settings name a server: in the environment, in a profile, in a file of the current folder.

    Prefect itself takes a second to import, so it is asked only where one of its files says something of a server.
    """
    if os.environ.get("PREFECT_API_URL"):
        return True
    if not any(_tells_of_server(path) for path in _settings_files()):
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def _settings_files() -> list[Path]:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    return [profiles, *map(Path, (".env", "prefect.toml", "pyproject.toml"))]


def _tells_of_server(path: Path) -> bool:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):
        return False
    return "PREFECT_API_URL" in text or ("url" in text and ("prefect" in text or path.name == "prefect.toml"))
