"""Restorers from a stage's folder or a published file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from patina.pipeline.text import one_line, shown
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import BEST, DONE, MODEL, steering_file, weights_digest
from patina.training.errors import CheckpointError, ModelInputError, StageError
from patina.training.models import CATALOGUE, clip_adapter, daclip
from patina.training.models.daclip import ClipWeightsError
from patina.training.restore.clips import load_published_clip
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.published import load_published
from patina.training.restore.restorer import Restorer
from patina.training.restore.texts import text_features
from patina.training.stages.plan import parse_table
from patina.training.stages.stage import Stage

T = TypeVar("T")

# Where they come from


@dataclass(frozen=True)
class Origin:
    """A model file of a run, and what its notes say."""

    path: Path
    stage: Stage
    notes: dict[str, str]


def origin_of(path: Path) -> tuple[Origin, checkpoint.Checkpoint]:
    """The model of a file. Raises CheckpointError for a file that no stage wrote."""
    held = checkpoint.load(path)
    if "stage" not in held.notes:
        raise CheckpointError(f"{path}: no model of a stage; expected a model.safetensors of a run")
    table = _note(path, held.notes, "stage", dict)
    name = table.get("name")
    if not isinstance(name, str):
        raise CheckpointError(f"{path}: its notes name no stage; it was changed, and not by patina")
    try:
        return Origin(path, parse_table(table, name), dict(held.notes)), held
    except StageError as error:
        raise CheckpointError(f"{path}: its notes tell of no stage that this patina knows: {error}") from None


def _note(path: Path, notes: Mapping[str, str], name: str, kind: type[T]) -> T:
    """A note that is JSON of this kind. Raises CheckpointError."""
    try:
        value = json.loads(notes[name])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its note {name!r} cannot be read ({one_line(str(error), 200)})") from None
    if not isinstance(value, kind):
        raise CheckpointError(f"{path}: its note {name!r} is {shown(value)}; it was changed, and not by patina")
    return value


def load_network(path: Path) -> tuple[nn.Module, Stage, dict[str, str]]:
    """The network of a run's model file, built on the base that it names. Raises CheckpointError, also for weights that
    are not finite, and ClipWeightsError."""
    origin, held = origin_of(path)
    checkpoint.expect_finite(held.tensors, path)
    if not held.without:
        return checkpoint.network_of(held), origin.stage, origin.notes
    entry = CATALOGUE.get(held.network)
    if entry is None:
        raise CheckpointError(f"{path}: no network is called {held.network!r}; known are {', '.join(CATALOGUE)}")
    settings = checkpoint.settings_from_json(type(entry.settings), held.settings)
    net = entry.class_.pretrained(daclip.OPEN_CLIP[entry.size], held.base_name)
    assert net.settings == settings or entry.module is clip_adapter
    checkpoint.restore(net, held)
    return net, origin.stage, origin.notes


def load_restorer(
    where: Path,
    *,
    stage: str = "",
    best: bool = False,
    steering: Path | None = None,
    device: torch.device | str = "cpu",
) -> Restorer:
    """The restorer in a run's folder, in a stage's folder of it, or in a model file.

    stage     which, if the run has several restorers: the last one finished unless given. best: at its best
              validation.
    steering  the published file that steers it, where that lies elsewhere than when it was trained.
    Raises CheckpointError, StageError saying what was found.
    """
    path = _model_file(where, stage, best)
    net, trained, notes = load_network(path)
    if trained.names_degradations:
        raise StageError(f"{path} names degradations and restores nothing; choose a restorer's stage of the run")
    if steering and not trained.is_steered_by_file:
        raise ModelInputError(f"{where} finds in its run what steers it; leave out --steering {steering}")
    if not trained.after:
        return Restorer(net, None, trained, device=device)
    conditioner, degradations, texts = load_conditioner(conditioner_file(path, trained, notes, steering))
    return Restorer(net, conditioner, trained, degradations=degradations, texts=texts, device=device)


def load_conditioner(path: Path) -> tuple[Conditioner, tuple[str, ...], Tensor]:
    """What steers restorers, of a run or a published file; the degradations that it names, and their texts' features.

    Raises CheckpointError.
    """
    if path.suffix != ".safetensors":
        found = load_published_clip(path)
        return found.conditioner, found.degradations, found.texts
    net, stage, notes = load_network(path)
    degradations, texts = (_note(path, notes, name, list) for name in ("words", "texts"))
    if len(degradations) != len(texts) or not all(isinstance(text, str) for text in (*degradations, *texts)):
        raise CheckpointError(f"{path}: its notes name no degradations with a text each; train it again")
    return Conditioner(net, stage), tuple(degradations), text_features(net, texts)


@dataclass(frozen=True)
class Width:
    """Stands for what will steer a restorer: how many numbers an embedding of it has."""

    width: int


def steering_of(path: Path, objective: str = "") -> Stage | Width:
    """What a stage must know of the file that will steer it: the stage that trained it, or an embedding's width.

    objective  that it must have been trained by; empty: any. Raises CheckpointError.
    """
    if path.suffix == ".safetensors":
        found: Stage | Width = origin_of(path)[0].stage
        trained = origin_of(path)[0].stage.objective
    else:
        conditioner = load_published_clip(path).conditioner
        found, trained = Width(conditioner.width), conditioner.stage.objective
    if objective not in ("", trained):
        raise CheckpointError(f"{path} holds a CLIP of `{trained}`; what steers this stage is of `{objective}`")
    return found


def conditioner_file(model: Path, trained: Stage, notes: dict[str, str], steering: Path | None = None) -> Path:
    """The model that a restorer was trained on: beside it in its run, or the file that its stage names or `steering`;
    known by its digest. Raises CheckpointError."""
    wanted, after = notes.get("start", ""), trained.after
    path = steering or steering_file(trained, model.parent.parent)
    assert path is not None, "asked for a stage that is steered"
    if not path.exists():
        found = "give its place by --steering" if trained.is_steered_by_file else f"expected it at {path}"
        raise CheckpointError(
            f"{model} is steered by {'' if trained.is_steered_by_file else 'the stage '}{after!r}; {found}"
        )
    digest = checkpoint.load(path).digest if path.suffix == ".safetensors" else weights_digest(path)
    if digest != wanted:
        raise CheckpointError(
            f"{path} has the digest {digest[:16]}…, and {model} was trained on {wanted[:16]}…; train the restorer "
            "again, or take both from one run"
        )
    return path


def _model_file(where: Path, stage: str, best: bool) -> Path:
    name = BEST if best else MODEL
    if where.is_file():
        return where
    if (where / name).is_file():
        return where / name
    if not where.is_dir():
        raise CheckpointError(f"{where}: no such file or folder; give a run, a stage of it or a model file")
    if stage:
        if not (where / stage / name).is_file():
            raise CheckpointError(
                f"{where}: its stage {stage!r} has no {name}; it has {', '.join(_stages(where)) or '–'}"
            )
        return where / stage / name
    for candidate in sorted(where.glob(f"*/{DONE}"), key=lambda p: -p.stat().st_mtime_ns):
        path = candidate.with_name(name)
        if path.is_file() and not origin_of(path)[0].stage.names_degradations:
            return path
    raise CheckpointError(f"{where}: no finished restorer; it has {', '.join(_stages(where)) or 'no finished stage'}")


def _stages(run: Path) -> list[str]:
    return sorted(path.parent.name for path in run.glob(f"*/{MODEL}"))


# Models


def load_model(
    model: Path, *, steering: Path | None = None, stage: str = "", sde: str = "", device: str = ""
) -> Restorer:
    """The restorer of a run, a stage's folder, a model.safetensors, or a published .pth, .pt or .ckpt file.

    steering  the published file that steers a published restorer.
    sde       the equation that a published network was trained with, such as `max_sigma=10,T=100`; empty: see
              `patina.training.restore.equation`.
    device    such as `cuda:0`; empty: a GPU if there is one, else the CPU.
    Raises CheckpointError, StageError, ModelInputError.
    """
    place = usable_device(device)
    if not model.exists():
        raise CheckpointError(f"{model}: no such file or folder; give a run, a stage of it or a model file")
    try:
        if model.is_dir() or model.suffix == ".safetensors":
            if sde:
                raise ModelInputError(f"{model} knows the equation that it was trained with; leave out --sde {sde}")
            return load_restorer(model, stage=stage, steering=steering, device=place)
        if stage:
            raise ModelInputError(f"{model} is one model, not a run; leave out --stage {stage}")
        return load_published(model, steering, sde=sde, device=place)
    except ClipWeightsError as error:
        raise CheckpointError(f"{model}: {error}") from error


def usable_device(named: str) -> torch.device:
    """The device of that name. Raises ModelInputError if there is none such."""
    if not named:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelInputError(f"--device {named} cannot be used ({reason}); leave it out, or give cpu") from error
    return device
