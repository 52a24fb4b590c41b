"""The flow `evaluate`: each finished stage of a run on a split of a dataset → table → report.

Each stage is a task that evaluates in a process of its own, under a lease on the limit `gpu`. An evaluation of the same
model, dataset and options is not made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import Field

from patina.flows.artifacts import record
from patina.flows.build_dataset import watcher
from patina.flows.gpu import lease
from patina.flows.places import named, tell_relative
from patina.flows.train_stages import PAUSE, RETRIES, after_crash, report, skip_stage
from patina.flows.training_log import PROGRESS, Lines, TrainingEvents, log_line
from patina.pipeline.versions.version import home_of
from patina.training.data.dataset import open_dataset
from patina.training.errors import StageError
from patina.training.jobs.evaluation import (
    Candidate,
    Options,
    ProtocolName,
    SamplerName,
    SplitName,
    candidates,
    run_evaluation,
    summary_rows,
)

UP_TO_DATE = "its evaluation is of the same model, dataset and options"


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation came to, a row a stage. skipped: stages whose evaluation was there."""

    run: Path
    rows: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    report: Path


@flow(name="evaluate", flow_run_name=named("evaluate {run} on {split} of {dataset}"), persist_result=False)
def evaluate_run(
    run: Annotated[str, Field(min_length=1)],
    dataset: Annotated[str, Field(min_length=1)],
    split: SplitName = "val",
    *,
    stages: Sequence[str] = (),
    entries: Sequence[str] = (),
    per_entry: Annotated[int, Field(ge=0)] = 0,
    protocol: ProtocolName = "daclip",
    sampler: SamplerName = "",
    steps: Annotated[int, Field(ge=0)] = 0,
    seed: int = 0,
    tile: Annotated[int, Field(ge=0)] = 0,
    overlap: Annotated[int, Field(ge=0)] = 32,
    side: Annotated[int, Field(ge=0)] = 0,
    lpips: bool = True,
    fid: bool = True,
    cpu: bool = False,
    again: bool = False,
) -> Evaluated:
    """Restore a split with each finished restorer of a run and measure it; ask each controller what it names; report.

    Args:
        run: The folder of the run.
        dataset: The dataset's folder, or a version of it, such as OUT@3 or OUT@previous.
        split: The split to restore.
        stages: Finished stages to evaluate; empty for all.
        entries: Entries of the recipe, such as noisy; empty for those that a stage learnt from.
        per_entry: Images of each entry; 0 for all.
        protocol: Whose way of measuring PSNR and SSIM, DA-CLIP's or VLU-Net's.
        sampler: How a network that estimates noise restores; empty for its stage's own.
        steps: Steps of the sampler; 0 for its own number, or the stage's.
        seed: Of the noise that restoring begins with.
        tile: Side in px of the tiles in which photographs are restored; 0 for whole ones.
        overlap: What neighbouring tiles share, px.
        side: Side in px of the squares from the middle that are restored and measured; 0 for whole photographs.
        lpips: Whether LPIPS is asked for; without its weights the report says so.
        fid: Whether FID is asked for, likewise.
        cpu: Whether GPUs are left alone.
        again: Whether what was evaluated is evaluated anew, such as once the weights of LPIPS are there.
    """
    tell_relative(run=run, dataset=dataset)
    options = Options(
        split=split,
        entries=tuple(entries),
        per_entry=per_entry,
        protocol=protocol,
        sampler=sampler,
        steps=steps,
        seed=seed,
        tile=tile,
        overlap=overlap,
        side=side,
        lpips=lpips,
        fid=fid,
        cpu=cpu,
    )
    with open_dataset(dataset) as opened:
        rows, notes, skipped = evaluate_finished(Path(run), opened.folder, options, stages=stages, again=again)
        page = report(run=Path(run), dataset=opened.folder)
    return Evaluated(run=Path(run), rows=rows, notes=notes, skipped=skipped, report=page)


def evaluate_finished(
    run: Path, dataset: Path, options: Options, stages: Sequence[str] = (), again: bool = False
) -> tuple[tuple[Mapping[str, str], ...], tuple[str, ...], tuple[str, ...]]:
    """Evaluate finished stages within a flow; gives a row for each, all notes, and the stages that were left alone.

    Raises StageError before any work for stages, splits and entries that are not there.
    """
    found = candidates(run, dataset, options, stages)
    expect_evaluable(found, dataset, options)
    skipped, waits = [], False
    for candidate in found:
        name = candidate.stage.name
        if candidate.held and not again:
            log_line(f"{name}: skipped, as {UP_TO_DATE}")
            skip_stage(f"skip the evaluation of {name}", UP_TO_DATE)
            skipped.append(name)
            continue
        log_line(f"evaluate {name} on {options.split}")
        evaluate_stage(f"evaluate {name} on {options.split}", candidate, dataset, options, warn=not waits)
        waits = True
    rows, notes = summary_rows(found)
    words = f"{run.name} on {options.split} of {home_of(dataset)}"
    record("the figures", lambda: create_table_artifact([*rows], key="evaluation", description=words))
    return tuple(rows), tuple(notes), tuple(skipped)


def expect_evaluable(found: Sequence[Candidate], dataset: Path, options: Options) -> None:
    """Raise StageError if the dataset lacks the split or an entry that a stage is to be evaluated on, or if the squares
    asked for are too small to measure."""
    from patina.training.data.batches import read_index
    from patina.training.evaluation.metrics import expect_side

    if any(not candidate.stage.names_degradations for candidate in found):
        expect_side(options.protocol, options.side)
    for candidate in found:
        try:
            read_index(dataset, options.split, options.entries or candidate.stage.data.entries)
        except StageError as error:
            raise StageError(f"stage {candidate.stage.name}: {error}") from None


@task(
    task_run_name="{label}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=PAUSE,
    retry_condition_fn=after_crash,
)
def evaluate_stage(label: str, candidate: Candidate, dataset: Path, options: Options, warn: bool = True) -> Path:
    """Evaluate one stage in a process of its own; gives its evaluation.json."""
    with nullcontext() if options.cpu else lease("evaluating", warn=warn):
        lines = _Counted(label)
        found = run_evaluation(candidate, dataset, options, lines)
        lines.end()
    return found


class _Counted:
    """The lines of an evaluation's process; the first that says how many images there are begins the progress."""

    def __init__(self, label: str) -> None:
        self._label, self._events, self._begun = label, TrainingEvents(watcher()), False
        self._lines = Lines(get_run_logger(), self._events)

    def __call__(self, line: str) -> None:
        """One line."""
        progress = PROGRESS.match(line)
        if progress and not self._begun:
            self._begun = True
            self._events.begin(self._label, int(progress["total"].replace(",", "")), "images")
        self._lines(line)

    def end(self) -> None:
        """It is over."""
        if self._begun:
            self._events.end()
