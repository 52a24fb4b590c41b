"""The flow `train-end-to-end`: dataset built or up to date → stages → evaluation → report.

Stopped at any moment, the next run goes on: a shard, a stage's state and an evaluation that still hold are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import Field

from patina.flows.build_dataset import build_dataset
from patina.flows.evaluate_run import Evaluated, evaluate_finished
from patina.flows.outliving import await_server, outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.train_stages import TaskSteps, report
from patina.flows.training_steps import train_in_order
from patina.flows.watchers import watcher
from patina.pipeline.builder.build import result_if_idle
from patina.pipeline.machine import usable_cores
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.sources.expect import expect_sources
from patina.pipeline.sources.locations import is_remote
from patina.training.data.dataset import open_dataset
from patina.training.errors import StageError
from patina.training.jobs import evaluation as evaluating
from patina.training.jobs.evaluation import ProtocolName, SamplerName, SplitName
from patina.training.jobs.stage import LaunchOptions
from patina.training.stages.plan import chosen, load_plan


@flow(name="train-end-to-end", flow_run_name=named("train {plan} in {run} on {out}"), persist_result=False)
def train_end_to_end(
    out: Annotated[str, Field(min_length=1)],
    run: Annotated[str, Field(min_length=1)],
    recipe: str = "",
    *,
    plan: Annotated[str, Field(min_length=1)] = "tiny",
    stages: Sequence[str] = (),
    split: SplitName = "val",
    per_entry: Annotated[int, Field(ge=0)] = 0,
    protocol: ProtocolName = "daclip",
    sampler: SamplerName = "",
    steps: Annotated[int, Field(ge=0)] = 0,
    tile: Annotated[int, Field(ge=0)] = 0,
    side: Annotated[int, Field(ge=0)] = 0,
    lpips: bool = True,
    fid: bool = True,
    cpu: bool = False,
    processes: Annotated[int, Field(ge=0)] = 0,
    workers: Annotated[int, Field(ge=-1)] = -1,
    compile: bool = False,
) -> Evaluated:
    """Build the dataset where it is stale, train what is stale on it, evaluate what is finished, and report.

    Args:
        out: The dataset's folder.
        run: The folder of the run, with a folder for each stage.
        recipe: A recipe's TOML file, or the name of one that comes with patina; empty for a dataset that is there.
        plan: One that comes with patina, such as tiny or paper, a folder of TOML files, or one file.
        stages: Stages to train and evaluate, with those that they start from; empty for all.
        split: The split to evaluate on.
        per_entry: Images of each degradation to evaluate on; 0 for all.
        protocol: Whose way of measuring PSNR and SSIM, DA-CLIP's or VLU-Net's.
        sampler: How a network that estimates noise restores when it is evaluated; empty for its stage's own.
        steps: Steps of the sampler; 0 for its own number, or the stage's.
        tile: Side in px of the tiles in which photographs are restored; 0 for whole ones.
        side: Side in px of the squares from the middle that are restored and measured; 0 for whole photographs.
        lpips: Whether LPIPS is asked for; without its weights the report says so.
        fid: Whether FID is asked for, likewise.
        cpu: Whether GPUs are left alone.
        processes: Processes that train a stage together; 0 for one on each GPU, or one on the CPU.
        workers: Processes that read ahead, for each of these; -1 for as many as suit.
        compile: Whether networks are compiled by torch.compile.
    """
    outlive_runner()
    tell_relative(recipe=recipe, out=out, run=run, plan=plan)
    wanted = chosen(load_plan(plan), stages)
    if is_remote(out):
        raise StageError(f"{out}: train from a folder here; build there with `patina build`, then copy the dataset")
    if recipe:
        _build(recipe, out, cpu)
    folder = Path(run)
    launch = LaunchOptions(processes=processes, workers=workers, cpu=cpu, compile=compile)
    options = evaluating.Options(
        split=split,
        per_entry=per_entry,
        protocol=protocol,
        sampler=sampler,
        steps=steps,
        tile=tile,
        side=side,
        lpips=lpips,
        fid=fid,
        cpu=cpu,
    )
    with open_dataset(out) as opened:  # one version for all of it, whatever is published meanwhile
        skipped = train_in_order(wanted, opened.folder, folder, launch, TaskSteps())
        rows, notes, held = evaluate_finished(folder, opened.folder, options, list(wanted))
        page = report(run=folder, dataset=opened.folder, plan=wanted, skipped=skipped)
    await_server()
    return Evaluated(run=folder, rows=rows, notes=notes, skipped=held, report=page)


def _build(recipe: str, out: str, cpu: bool) -> None:
    """Build the dataset as a flow run of its own, if anything of it is stale."""
    loaded = load_recipe(Path(recipe))
    if result_if_idle(loaded, Path(out).absolute(), Options(workers=usable_cores()), watcher()):
        get_run_logger().info("%s is up to date", out)
        return
    expect_sources(loaded.sources)
    build_dataset(recipe=recipe, out=out, devices=["cpu"] if cpu else [])
