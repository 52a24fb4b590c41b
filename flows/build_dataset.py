"""The flow `build-dataset`: scan → plan → captions → batches of shards → publish → check → artifacts.

What a build does stands in `pipeline.dataset`; here its steps become Prefect tasks, and its plan, progress and results
become artifacts. Prefect's result cache stays off: `plan` decides what is stale, and a rerun is the way to resume.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, TypeVar

from prefect import flow, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote
from pydantic import Field

from captioning.captioner import Run
from pipeline.check import Checked, check
from pipeline.dataset import Draft, Options, Report, build
from pipeline.events import Events, Silent
from pipeline.gallery import contact_sheet
from pipeline.locations import is_remote
from pipeline.recipe import load_recipe
from pipeline.remote_output import expect_writable, pull, push
from pipeline.summary import plan_markdown, summary_rows
from pipeline.workspace import usable_cores

A = TypeVar("A")
R = TypeVar("R")

_watcher: ContextVar[Events | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(events: Events) -> Iterator[None]:
    """Within it, flows of this process tell `events` how they go on, such as a terminal's progress bar."""
    token = _watcher.set(events)
    try:
        yield
    finally:
        _watcher.reset(token)


class PrefectEvents:
    """Progress as a Prefect artifact, updated every few seconds at the most, and told on to another watcher."""

    INTERVAL = 3.0

    def __init__(self, watcher: Events) -> None:
        self._watcher = watcher
        self._lock = threading.Lock()
        self._artifact: Any = None
        self._done = self._total = 0
        self._told = 0.0

    def begin(self, step: str, total: int, unit: str) -> None:
        """Make an artifact for the step."""
        self._watcher.begin(step, total, unit)
        self._done, self._total, self._told = 0, total, time.monotonic()
        self._artifact = create_progress_artifact(0.0, key="progress", description=f"{step}: {total} {unit}")

    def advance(self, count: int) -> None:
        """Count on; update the artifact if the last time was a while ago."""
        self._watcher.advance(count)
        with self._lock:
            self._done += count
            if time.monotonic() - self._told < self.INTERVAL:
                return
            self._told = time.monotonic()
            share = min(100.0, 100 * self._done / max(self._total, 1))
        update_progress_artifact(self._artifact, share)

    def end(self) -> None:
        """The step is whole."""
        self._watcher.end()
        update_progress_artifact(self._artifact, 100.0)


@task(task_run_name="{step}", cache_policy=NO_CACHE, persist_result=False)
def run_step(step: str, function: Callable[[], R]) -> R:
    """One step of a build."""
    del step
    return function()


@task(task_run_name="{step} {batch}", cache_policy=NO_CACHE, persist_result=False)
def run_batch(step: str, batch: str, function: Callable[[Any], Any], item: Any) -> Any:
    """One batch of a step's items. Safe to run again: what is finished is found finished."""
    del step, batch
    return function(item)


class PrefectThreads:
    """Steps as task runs, batches of shards side by side on `workers` threads."""

    shares_memory = True

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step as a task."""
        return run_step(step, function)

    def map(self, step: str, function: Callable[[A], R], items: Sequence[A]) -> list[R]:
        """Run a function over all items as tasks, and read every one's result: waiting alone hides failures."""
        pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=self._workers)
        with pool as runner:
            futures = [
                # quoted: Prefect would otherwise search thousands of samples for futures
                runner.submit(
                    run_batch,
                    {"step": step, "batch": f"{i + 1} of {len(items)}", "function": function, "item": quote(item)},
                )
                for i, item in enumerate(items)
            ]
            for future in futures:
                future.wait()
            return [future.result() for future in futures]


@flow(name="build-dataset", flow_run_name="build {recipe} into {out}", persist_result=False)
def build_dataset(
    recipe: Annotated[str, Field(description="a recipe's TOML file, or the name of one that comes with patina")],
    out: Annotated[str, Field(description="the dataset's folder, or an address such as s3://bucket/name")],
    workers: Annotated[int, Field(ge=0, description="shards built side by side; 0: one for each core")] = 0,
    strict: Annotated[bool, Field(description="an input that must be set aside is an error")] = False,
    max_set_aside: Annotated[
        float, Field(ge=0, le=1, description="share of unusable inputs that stops a build")
    ] = 0.05,
    paranoid: Annotated[
        bool, Field(description="read and hash every source and shard, whatever its times say")
    ] = False,
    replay: Annotated[int, Field(ge=0, description="samples to make again and compare when all is built")] = 8,
    caption_batch: Annotated[
        int, Field(ge=0, description="photographs that a captioner's model sees at once; 0: as suits the device")
    ] = 0,
    devices: Annotated[
        Sequence[str], Field(description="where a captioner's model runs; empty: every GPU, else the CPU")
    ] = (),
) -> Report:
    """Build or rebuild a dataset: only what is stale is made, and all of it appears at once."""
    loaded = load_recipe(Path(recipe))
    workers = workers or usable_cores()
    options = Options(workers, strict, max_set_aside, paranoid, Run(caption_batch, tuple(devices)))
    events = PrefectEvents(_watcher.get() or Silent())
    if is_remote(out):
        run_step("try the output", lambda: expect_writable(out))
    folder = run_step("fetch", lambda: pull(out, events)) if is_remote(out) else Path(out)
    report = build(loaded, folder, options, PrefectThreads(workers), events)
    checked = run_step("check", lambda: check(report.draft.out, replay, workers=workers, recipe_folder=loaded.folder))
    run_step("artifacts", lambda: _artifacts(report, checked))
    if not checked.ok:
        raise RuntimeError(f"{len(checked.findings)} findings: " + "; ".join(map(str, checked.findings[:5])))
    if is_remote(out):
        run_step("upload", lambda: push(out, events))
    return report


def _artifacts(report: Report, checked: Checked) -> None:
    """What was built and why, the summary, and the gallery's picture."""
    draft: Draft = report.draft
    create_markdown_artifact(plan_markdown(draft), key="plan", description=draft.plan.summary())
    create_table_artifact(summary_rows(report), key="summary", description=f"manifest {report.manifest.digest[:16]}")
    create_markdown_artifact(
        "ok" if checked.ok else "\n".join(f"- {finding}" for finding in checked.findings),
        key="check",
        description=f"{checked.samples} samples checked, {checked.replayed} replayed",
    )
    if not checked.ok:
        return  # a picture cannot be made of a damaged shard, and must not hide the findings
    sheet = base64.b64encode(contact_sheet(draft.out)).decode()
    create_image_artifact(f"data:image/jpeg;base64,{sheet}", key="gallery", description="GT beside LQ")
