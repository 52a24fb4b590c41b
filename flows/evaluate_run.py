"""The flow `evaluate`: each finished stage of a run on a split of a dataset → table → report.

Each stage is a task that evaluates in a process of its own, under a lease on the limit `gpu`. An evaluation of the same
model, dataset and options is not made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_table_artifact
from pydantic import Field

from patina.flows.artifacts import record
from patina.flows.outliving import await_server, outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.run_log import log_lines
from patina.flows.train_stages import TaskSteps, report
from patina.flows.training_steps import evaluate_in_order
from patina.pipeline.versions.version import home_of
from patina.training.data.dataset import open_dataset
from patina.training.jobs.evaluation import (
    Options,
    PrecisionName,
    ProtocolName,
    SamplerName,
    SplitName,
    candidates,
    summary_rows,
)


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
    metrics: Sequence[str] = (),
    lpips_weights: str = "",
    fid_weights: str = "",
    precision: PrecisionName = "fp32",
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
        metrics: Further metrics, of pyiqa by name, such as niqe.
        lpips_weights: File of AlexNet's weights, alexnet-owt-7be5be79.pth; empty for torchvision's cache or server.
        fid_weights: File of Inception's weights in torch-fidelity's form; empty for its cache or server.
        precision: What the restorers' networks compute in; bf16 is faster where the processor has it.
        cpu: Whether GPUs are left alone.
        again: Whether what was evaluated is evaluated anew, such as once the weights of LPIPS are there.
    """
    outlive_runner()
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
        metrics=tuple(metrics),
        lpips_weights=lpips_weights,
        fid_weights=fid_weights,
        precision=precision,
        cpu=cpu,
    )
    with open_dataset(dataset) as opened:
        rows, notes, skipped = evaluate_finished(Path(run), opened.folder, options, stages=stages, again=again)
        page = report(run=Path(run), dataset=opened.folder)
    await_server()
    return Evaluated(run=Path(run), rows=rows, notes=notes, skipped=skipped, report=page)


def evaluate_finished(
    run: Path, dataset: Path, options: Options, stages: Sequence[str] = (), again: bool = False
) -> tuple[tuple[Mapping[str, str], ...], tuple[str, ...], tuple[str, ...]]:
    """Evaluate finished stages within a flow; gives a row for each, all notes, and the stages that were left alone.

    Raises StageError before any work for stages, splits and entries that are not there.
    """
    found = candidates(run, dataset, options, stages)
    skipped = evaluate_in_order(found, dataset, options, TaskSteps(), again)
    rows, notes = summary_rows(found)
    log_lines([", ".join(f"{name} {value}" for name, value in row.items()) for row in rows])
    log_lines([f"note {note}" for note in notes], warning=True)
    words = f"{run.name} on {options.split} of {home_of(dataset)}"
    record("the table of figures", lambda: create_table_artifact([*rows], key="evaluation", description=words))
    return tuple(rows), tuple(notes), skipped
