"""Whether a run can do what is planned: what a dry run says, and a run before its first stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patina.pipeline.versions.version import home_of
from patina.training.checkpoints.files import steering_file
from patina.training.errors import StageError
from patina.training.jobs.stage import LaunchOptions, gpus, processes_of
from patina.training.runs.plan import StagePlan


def expect_trainable(items: Sequence[StagePlan], dataset: Path, run: Path, options: LaunchOptions) -> list[str]:
    """What there is to note of the stages that are to be trained.

    Writes nothing, and loads no torch where every stage is done. Raises StageError or CheckpointError for what would
    refuse one of them: the dataset, the folder, this machine, its settings or the model that it starts from.
    """
    if not options.cpu and 0 < gpus() < options.processes:
        raise StageError(
            f"{options.processes} processes want as many GPUs, and this machine shows {gpus()}; ask for fewer"
        )
    waiting = [item for item in items if item.what != "done"]
    if not waiting:
        return []
    if run.exists() and run.resolve() == home_of(dataset).resolve():
        raise StageError(f"{run} is the dataset; give the run a folder of its own")
    import torch

    from patina.training.loop.trackers import expect_trackers

    expect_trackers(options.trackers)
    from patina.training.loop.readiness import Resources, expect_ready, smaller_than_crop

    world, found = processes_of(options), 0 if options.cpu else torch.cuda.device_count()
    if not options.cpu and gpus() and found < world and world > 1:
        raise StageError(
            f"{world} processes want as many GPUs, and torch finds {found}: install it with CUDA, mend "
            "CUDA_VISIBLE_DEVICES, or train with --cpu"
        )
    resources = Resources(world, found > 0, options.gradient_accumulation)
    stages, notes = {item.stage.name: item for item in items}, list[str]()
    for item in waiting:
        stage, before = item.stage, stages.get(item.stage.after)
        start = steering_file(stage, run) if stage.is_steered_by_file or (before and before.what == "done") else None
        index = expect_ready(stage, dataset, run / stage.name, resources, start, before.stage if before else None)
        notes.append(smaller_than_crop(stage, index))
    return list(filter(None, notes))
