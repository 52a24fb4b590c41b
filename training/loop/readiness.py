"""Whether a stage can be trained: asked before a process is started for it, by a dry run, and by that process itself.

    stage, dataset, what steers it, processes ─► expect_ready(): the index to train on │ StageError

All that refuses a stage before its first step stands here, so a dry run says what the run would say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch

from patina.pipeline.format.layout import SAMPLES as SAMPLES_TABLE
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import read_table, samples_schema
from patina.pipeline.text import counted
from patina.pipeline.versions.version import home_of
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import (
    BEST,
    DONE,
    HEARTBEAT,
    METRICS,
    MODEL,
    SAMPLES,
    STAGE,
)
from patina.training.data.batches import Plan, order_of
from patina.training.data.index import Index, read_index
from patina.training.diffusion.sde import IRSDE
from patina.training.errors import StageError, TrainingError
from patina.training.models import CATALOGUE, daclip
from patina.training.objectives.base import settings_of
from patina.training.objectives.texts import class_texts
from patina.training.restore.load import Width, steering_of
from patina.training.restore.restorer import calls_of
from patina.training.restore.start import load_start
from patina.training.stages.stage import STEERED_BY, Stage

OWN = frozenset((BEST, DONE, HEARTBEAT, METRICS, MODEL, SAMPLES, STAGE, "job.json", "tensorboard"))
"""Of the files in a stage's folder those by which it is known."""


@dataclass(frozen=True)
class Resources:
    """What a stage is trained with: processes together, on GPUs or not, and into how many pieces each splits its
    batch."""

    world: int = 1
    on_gpu: bool = False
    gradient_accumulation: int = 1


def expect_ready(
    stage: Stage,
    dataset: Path,
    folder: Path,
    resources: Resources,
    start: Path | None,
    steering: Stage | Width | None = None,
) -> Index:
    """The samples that a stage is trained on. Nothing is written, and no weights are made.

    folder    of the stage, in its run.
    start     the model that steers it, None where it is trained first; steering: the stage of that, or how many numbers
              an embedding of it has.
    Raises StageError for what the dataset, the folder, this machine or the settings do not allow, with the stage's
    name; CheckpointError for a start that is damaged.
    """
    with _told_of(stage):
        _expect_place(folder)
        index = _expect_samples(stage, dataset, resources)
        if stage.precision == "fp16" and not resources.on_gpu and not torch.backends.mps.is_available():
            raise StageError("precision = 'fp16' wants a GPU; write fp32 or bf16")
        _expect_validation(stage)
        if start and stage.is_steered_by_file:
            steering = steering_of(start, STEERED_BY[stage.objective])
        _expect_network(stage, index, steering)
    if start and start.suffix == ".safetensors":
        checkpoint.expect_finite(checkpoint.load(start).tensors, start)
    return index


def smaller_than_crop(stage: Stage, index: Index) -> str:
    """A note where samples are smaller than the stage's crops, which then show mirrored edges; empty if none is."""
    crop = stage.data.crop
    if not crop:
        return ""
    table = read_table(index.folder / SAMPLES_TABLE, samples_schema()).select(["split", "entry", "width", "height"])
    table = table.filter(pc.and_(pc.equal(table["split"], "train"), pc.is_in(table["entry"], pa.array(index.names))))
    small = pc.sum(pc.less(pc.min_element_wise(table["width"], table["height"]), crop)).as_py() or 0
    if not small:
        return ""
    return (
        f"stage {stage.name}: {small:,} of {len(table):,} samples are smaller than data.crop = {crop} px on a side, so "
        "their crops are filled up with mirrored edges; lower it, or build larger tiles"
    )


@contextmanager
def _told_of(stage: Stage) -> Iterator[None]:
    """Within it every error of a training names the stage."""
    try:
        yield
    except TrainingError as error:
        begin = f"stage {stage.name}: "
        raise StageError(begin + str(error).removeprefix(begin)) from None


def _expect_samples(stage: Stage, dataset: Path, resources: Resources) -> Index:
    """The samples of the split `train`; those of `val`, where it is looked at, are there too."""
    data = stage.data
    index = read_index(dataset, "train", data.entries)
    order_of(index, data, stage.seed)
    indices = [index, *([read_index(dataset, "val", data.entries)] if stage.validation.every else [])]
    Plan(0, stage.max_images, data.batch, 0, resources.world, resources.gradient_accumulation)
    if data.batch > len(index):
        raise StageError(
            f"a batch of {data.batch}, and {home_of(dataset)} has {len(index)} samples to train on; lower data.batch, "
            "or build more"
        )
    shards = {shard: one.folder / SHARDS / shard for one in indices for shard in one.shards}
    if lacking := sorted(shard for shard, path in shards.items() if not path.is_file()):
        raise StageError(
            f"{home_of(dataset)} lacks {counted(len(lacking), 'shard')} that its tables name, such as {lacking[0]}; "
            "`patina build` makes them again"
        )
    return index


def _expect_validation(stage: Stage) -> None:
    """The equation and the sampler are such as there are."""
    s, validation = stage.sde, stage.validation
    if stage.objective == "sde":
        IRSDE(s.max_sigma, s.steps, s.schedule, s.eps)
    if not validation.every:
        return
    if validation.samples < 1 or validation.side < 0 or validation.steps < 0:
        raise StageError("validation: expected samples of 1 or more, side and steps of 0 or more")
    calls_of(stage)


def _expect_network(stage: Stage, index: Index, steering: Stage | Width | None) -> None:
    """Its settings make a network, and there are weights to start it from."""
    if stage.names_degradations:
        class_texts(stage, index)
    entry = CATALOGUE[stage.network]
    width = Width(settings_of(steering).embed_dim) if isinstance(steering, Stage) else steering
    settings = settings_of(stage, width)
    if stage.pretrained:
        daclip.expect_weights(daclip.OPEN_CLIP[entry.size], stage.pretrained)
    if stage.start:
        with torch.random.fork_rng(devices=[]):
            load_start(entry.build(settings), Path(stage.start))
    if stage.pretrained or stage.start:
        return
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # shapes alone
        entry.build(settings)


def _expect_place(folder: Path) -> None:
    """Raise StageError where a stage's folder cannot be made or is somebody else's."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    if not nearest.is_dir():
        raise StageError(f"{folder} cannot be made, as {nearest} is no folder; choose another run")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StageError(f"{folder} cannot be written, as {nearest} does not let us; choose another run")
    if nearest == folder:
        names = sorted(path.name for path in folder.iterdir())
        if names and not any(name in OWN or name.startswith("state-") for name in names):
            raise StageError(
                f"{folder} holds other files ({checkpoint.first_names(names, 3)}), and no stage; choose another run"
            )
