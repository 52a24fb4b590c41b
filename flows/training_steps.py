"""The steps of a training and of an evaluation, by Prefect or without it. Knows no Prefect.

patina train, evaluate ────────► `Here`: no server is configured, so no server is started
the flows train-stages, evaluate ► steps that are task runs, under a lease on the limit `gpu`
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from patina.flows.training_log import Lines
from patina.flows.watchers import listener, watcher
from patina.training.errors import StageCrashedError, StageError
from patina.training.jobs.evaluation import Candidate, Options, candidates, run_evaluation, run_report
from patina.training.jobs.readiness import expect_trainable
from patina.training.jobs.stage import LaunchOptions, run_stage
from patina.training.runs.plan import StagePlan, plan_stages
from patina.training.stages.stage import Stage

R = TypeVar("R")

RETRIES, PAUSE = 2, 10.0
"""Further tries of a stage whose process died, and seconds before each: it goes on from its last state."""

UP_TO_DATE = "its evaluation is of the same model, dataset and options"

log = logging.getLogger(__name__)


class Steps(Protocol):
    """Where the steps run, and who hears of them."""

    def say(self, line: str) -> None:
        """A line of what goes on."""
        ...

    def warn(self, line: str) -> None:
        """A line that somebody should read."""
        ...

    def skip(self, label: str, why: str) -> None:
        """A step is left out."""
        ...

    def train(self, label: str, item: StagePlan, *, dataset: Path, run: Path, options: LaunchOptions) -> None:
        """Train one stage in a process of its own, and again if that died. Raises StageError, StageCrashedError."""
        ...

    def evaluate(self, label: str, candidate: Candidate, dataset: Path, options: Options) -> None:
        """Evaluate one stage likewise."""
        ...

    def planned(self, items: Sequence[StagePlan], dataset: Path, run: Path) -> None:
        """What is going to be done."""
        ...

    def trained(self, stage: Stage, dataset: Path, run: Path) -> None:
        """A stage is finished, now or before."""
        ...


def train_in_order(
    plan: Mapping[str, Stage], dataset: Path, run: Path, options: LaunchOptions, steps: Steps
) -> tuple[str, ...]:
    """Train what is stale of a plan, stage by stage; gives the names of stages that were left alone.

    Raises StageError before any work for what cannot be trained, and for what a stage's process refuses;
    StageCrashedError once a stage's process has died too often.
    """
    items = plan_stages(plan, dataset, run)
    for note in expect_trainable(items, dataset, run, options):
        steps.warn(note)
    steps.planned(items, dataset, run)
    skipped = []
    for name, stage in plan.items():
        # asked anew: a stage before it may have come out as it was
        item = next(item for item in plan_stages(plan, dataset, run) if item.stage.name == name)
        if item.what == "done":
            steps.say(f"{name}: skipped, as its {item.why}")
            steps.skip(f"skip {name}", item.why)
            skipped.append(name)
        else:
            steps.say(f"{label(item)}: {item.why}")
            steps.train(label(item), item, dataset=dataset, run=run, options=options)
        steps.trained(stage, dataset, run)
    return tuple(skipped)


def evaluate_in_order(
    found: Sequence[Candidate], dataset: Path, options: Options, steps: Steps, again: bool = False
) -> tuple[str, ...]:
    """Evaluate finished stages; gives the names of those whose evaluation holds, unless `again`.

    Raises StageError before any work for splits and entries that are not there.
    """
    expect_evaluable(found, dataset, options)
    skipped = []
    for candidate in found:
        name = candidate.stage.name
        if candidate.held and not again:
            steps.say(f"{name}: skipped, as {UP_TO_DATE}")
            steps.skip(f"skip the evaluation of {name}", UP_TO_DATE)
            skipped.append(name)
            continue
        steps.say(f"evaluate {name} on {options.split}")
        steps.evaluate(f"evaluate {name} on {options.split}", candidate, dataset, options)
    return tuple(skipped)


def expect_evaluable(found: Sequence[Candidate], dataset: Path, options: Options) -> None:
    """Raise StageError if the dataset lacks the split or an entry that a stage is to be evaluated on, or if the squares
    asked for are too small to measure."""
    from patina.training.data.index import read_index
    from patina.training.evaluation.metrics import expect_side

    if any(not candidate.stage.names_degradations for candidate in found):
        expect_side(options.protocol, options.side)
    for candidate in found:
        try:
            read_index(dataset, options.split, options.entries or candidate.stage.data.entries)
        except StageError as error:
            raise StageError(f"stage {candidate.stage.name}: {error}") from None


def label(item: StagePlan) -> str:
    """What is done now, in words."""
    if item.what == "goes on":
        return f"continue {item.stage.name} after {item.seen:,} of {item.stage.max_images:,} images"
    return f"train {item.stage.name} on {item.stage.max_images:,} images"


# ---------------------------------------------------------------------------------------------------------------------
# Without Prefect


class Here:
    """Steps of this process, told to whom `watched_by` and `listened_by` named. No server means no limit: nobody waits
    for a slot of `gpu`, and a model is announced by the next flow run on its run."""

    def say(self, line: str) -> None:
        """A line of what goes on."""
        log.info("%s", line)
        if listen := listener():
            listen(line)

    def warn(self, line: str) -> None:
        """A line that somebody should read; the command has printed it before."""
        log.info("%s", line)

    def skip(self, label: str, why: str) -> None:
        """Nothing: it was said."""

    def train(self, label: str, item: StagePlan, *, dataset: Path, run: Path, options: LaunchOptions) -> None:
        """Train one stage."""

        def once() -> None:
            (now,) = plan_stages(
                {item.stage.name: item.stage}, dataset, run
            )  # a further try goes on from a later state
            events = watcher()
            events.begin(label, max(1, item.stage.max_images - now.seen), "images")
            try:
                run_stage(item.stage, dataset, run, options, Lines(log, events, now.seen))
            finally:
                events.end()

        self._retried(once)

    def evaluate(self, label: str, candidate: Candidate, dataset: Path, options: Options) -> None:
        """Evaluate one stage."""

        def once() -> None:
            lines = Lines(log, watcher(), counted=label)
            try:
                run_evaluation(candidate, dataset, options, lines)
            finally:
                lines.end()

        self._retried(once)

    def report(self, run: Path, dataset: Path, plan: Mapping[str, Stage] | None, skipped: Sequence[str]) -> Path:
        """Write the page and the summary."""
        return self._retried(lambda: run_report(run, dataset, plan, skipped, self.say))

    def planned(self, items: Sequence[StagePlan], dataset: Path, run: Path) -> None:
        """Nothing: the command prints it."""

    def trained(self, stage: Stage, dataset: Path, run: Path) -> None:
        """Nothing: there is nobody to announce it to."""

    def _retried(self, function: Callable[[], R]) -> R:
        for _ in range(RETRIES):
            try:
                return function()
            except StageCrashedError as error:
                self.say(f"{error}; trying again in {PAUSE:.0f} s")
            time.sleep(PAUSE)
        return function()


def train_here(plan: Mapping[str, Stage], dataset: Path, run: Path, options: LaunchOptions) -> tuple[str, ...]:
    """Train what is stale of a plan in this process's charge, and report; gives the stages that were left alone."""
    from patina.training.data.dataset import open_dataset

    steps = Here()
    with open_dataset(dataset) as opened:  # all stages see one version, whatever is published meanwhile
        skipped = train_in_order(plan, opened.folder, run, options, steps)
        steps.report(run, opened.folder, plan, skipped)
    return skipped


def evaluate_here(
    run: Path, dataset: Path, options: Options, stages: Sequence[str] = (), again: bool = False
) -> tuple[str, ...]:
    """Evaluate finished stages in this process's charge, and report; gives those that were left alone."""
    from patina.training.data.dataset import open_dataset

    steps = Here()
    with open_dataset(dataset) as opened:
        skipped = evaluate_in_order(
            candidates(run, opened.folder, options, stages), opened.folder, options, steps, again
        )
        steps.report(run, opened.folder, None, ())
    return skipped
