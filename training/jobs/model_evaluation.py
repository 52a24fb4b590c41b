"""The evaluation of one model by itself: a published file, a stage's folder or a model file.

    MODEL, dataset ─► restored and measured, or its degradations named ─► OUT/evaluation.json, evaluation.md, pictures

A run's stages are evaluated by `patina.training.jobs.evaluation`, each in a process of its own. Imports no torch before
it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patina.training.checkpoints.files import DONE, MODEL, write_text
from patina.training.errors import CheckpointError, StageError
from patina.training.jobs.evaluation import EVALUATION, PICTURES, Options
from patina.training.stages.stage import WEIGHTS

if TYPE_CHECKING:
    from patina.training.evaluation.results import Classification, Evaluation
    from patina.training.restore.restorer import Restorer

TABLES = "evaluation.md"


@dataclass(frozen=True)
class Model:
    """Which model, and what its file does not say.

    steering  the file of what steers it, where it does not find that itself.
    base      for `clip_tuned.pth`: a file with the CLIP that the adapters stand on.
    sde       the equation that a published network was trained with, see `patina.training.restore.equation`.
    """

    path: Path
    steering: Path | None = None
    base: Path | None = None
    sde: str = ""


def is_model(path: Path) -> bool:
    """Whether a path is one model and no run: a file of weights, or the folder of a stage."""
    is_file = path.suffix in WEIGHTS and not path.is_dir()
    return is_file or (path / MODEL).is_file() or (path / DONE).is_file()


def evaluate_model(
    model: Model,
    dataset: Path,
    out: Path,
    options: Options,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation | Classification:
    """Restore a split by a model and measure it, or let a CLIP name its degradations; leaves the results in `out`.

    Raises CheckpointError, StageError, ModelInputError, NotFiniteError in words.
    """
    import torch

    from patina.training.evaluation.evaluate import classify, evaluate
    from patina.training.restore.tiles import Tiling

    device = "cuda" if torch.cuda.is_available() and not options.cpu else "cpu"
    restorer, restores = _loaded(model, device)
    restorer = _called(restorer, model.path)
    entries = options.entries or restorer.stage.data.entries
    found: Evaluation | Classification
    if not restores:
        found = classify(
            restorer, dataset, split=options.split, entries=entries, per_entry=options.per_entry, progress=progress
        )
    else:
        found = evaluate(
            restorer,
            dataset,
            split=options.split,
            entries=entries,
            per_entry=options.per_entry,
            protocol=options.protocol,
            sampler=options.sampler if restorer.is_diffusion else "",
            steps=options.steps if restorer.is_diffusion else 0,
            tiling=Tiling(options.tile, options.overlap),
            side=options.side,
            seed=options.seed,
            lpips=options.weights_of("lpips"),
            fid=options.weights_of("fid"),
            precision=options.precision,
            pictures=out / PICTURES,
            progress=progress,
        )
    found = replace(found, notes=(*restorer.notes, *found.notes))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / EVALUATION, found.to_json())
    write_text(out / TABLES, found.markdown())
    return found


def _loaded(model: Model, device: str) -> tuple[Restorer, bool]:
    """The model, and whether it restores or names degradations alone."""
    from patina.training.evaluation.evaluate import looker
    from patina.training.models.daclip import ClipWeightsError
    from patina.training.restore.clips import names_degradations
    from patina.training.restore.load import load_model, origin_of

    path = model.path
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder; give a run, a stage of it or a model file")
    path = path / MODEL if path.is_dir() else path
    ours = path.suffix == ".safetensors"
    names = origin_of(path)[0].stage.names_degradations if ours else names_degradations(path)
    if names and (model.sde or model.steering):
        raise StageError(f"{path} names degradations and restores nothing; leave out --sde and --steering")
    try:
        if names:
            return looker(path, device, base=model.base), False
        return load_model(path, steering=model.steering, sde=model.sde, device=device), True
    except ClipWeightsError as error:
        raise CheckpointError(f"{path}: {error}; give a file with the CLIP below it by --base") from error


def _called(restorer: Restorer, path: Path) -> Restorer:
    """The restorer, its stage called after the file where it was not trained here."""
    from patina.training.restore.clips import PUBLISHED

    if restorer.stage.name == PUBLISHED:
        restorer.stage = replace(restorer.stage, name=path.name)
    return restorer
