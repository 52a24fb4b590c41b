"""A look at a network in training: how well it names or restores a fixed few samples of the split `val`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from patina.training.data.index import Index, photographs_first, read_index
from patina.training.data.reading import LQ, read_image, read_pair
from patina.training.errors import ModelInputError, StageError
from patina.training.evaluation.measures import named
from patina.training.evaluation.metrics import psnr_for_means
from patina.training.evaluation.pictures import save_strips
from patina.training.images import centre, grey, to_bytes
from patina.training.objectives.base import Learner
from patina.training.objectives.contrastive import Contrastive, Prompts
from patina.training.objectives.restoring import Restoring
from patina.training.objectives.texts import class_names
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.restorer import Restorer
from patina.training.stages.stage import Stage


@dataclass(frozen=True)
class Validated:
    """What was found. score: larger is better; accuracy (0 to 1) or mean PSNR (dB). each: of every entry.

    left_out  samples that the network cannot take, such as too small ones, each with the reason; they count nowhere.
    """

    what: str
    score: float
    each: dict[str, float] = field(default_factory=dict)
    input: float = float("nan")
    left_out: tuple[str, ...] = ()

    def row(self) -> dict[str, float]:
        """For metrics.jsonl."""
        of_input = {} if np.isnan(self.input) else {f"val_{self.what}_input": self.input}
        return {f"val_{self.what}": self.score, **of_input, **{f"val_{self.what}/{k}": v for k, v in self.each.items()}}

    def __str__(self) -> str:
        if self.what == "accuracy":
            return f"names {self.score:.0%} of the validation samples"
        return f"{self.score:.2f} dB on validation samples, {self.input:.2f} degraded"


def chosen(index: Index, count: int) -> NDArray[np.int64]:
    """`count` rows, the entries in turn, the same ones every time."""
    lists = [photographs_first(index, np.flatnonzero(index.entry == k)) for k in range(len(index.names))]
    most = max(map(len, lists), default=0)
    rows = [int(rows[i]) for i in range(most) for rows in lists if i < len(rows)]
    return np.array(rows[:count], np.int64)


def validate(
    stage: Stage, learner: Learner, dataset: Path, device: torch.device | str, pictures: Path, seen: int
) -> Validated:
    """Look at the learner's network as it is. Restorers leave a picture, LQ | restored | GT, below `pictures`.

    Raises NotFiniteError for a sample of which no picture comes out, StageError if the network can take none of them.
    """
    index = read_index(dataset, "val", stage.data.entries)
    rows = chosen(index, stage.validation.samples)
    learner.net.eval()
    if isinstance(learner, Contrastive | Prompts):
        return _named(stage, learner, index, rows, device)
    assert isinstance(learner, Restoring)
    # In the training's own precision; a copy would double the memory
    restorer = Restorer(learner.net, learner.conditioner, stage, device=device)
    found: dict[str, list[tuple[float, float]]] = {}
    strips, left_out = [], list[str]()
    for k, row in enumerate(rows):
        lq, gt = (centre(image, stage.validation.side) for image in read_pair(index, int(row)))
        if restorer.is_grey:
            lq, gt = grey(lq), grey(gt)
        try:
            with named(index, int(row)):
                restored = to_bytes(restorer.restore(lq, seed=k))
        except ModelInputError as error:
            left_out.append(str(error))
            continue
        found.setdefault(index.names[index.entry[row]], []).append(
            (psnr_for_means(restored, gt), psnr_for_means(lq, gt))
        )
        if k < 10:
            strips.append(np.concatenate([lq, restored, gt], axis=1))
    if not found:
        raise StageError(f"stage {stage.name}: no validation sample can be restored: {left_out[0]}")
    save_strips(strips, pictures / f"{seen:012d}.png")
    every = [pair for pairs in found.values() for pair in pairs]
    each = {name: float(np.mean([p for p, _ in pairs])) for name, pairs in sorted(found.items())}
    score, given = (float(np.mean(values)) for values in zip(*every, strict=True))
    return Validated("psnr", score, each, given, tuple(left_out))


def _named(
    stage: Stage, learner: Contrastive | Prompts, index: Index, rows: NDArray[np.int64], device: torch.device | str
) -> Validated:
    conditioner = Conditioner.of(learner.net, stage)
    names = class_names(stage, index)
    looker = Restorer(
        nn.Identity(), conditioner, stage, degradations=names, texts=learner.texts().detach(), device=device
    )
    hits: dict[str, list[float]] = {}
    for row in rows:
        with named(index, int(row)):
            found = next(iter(looker.look(read_image(index, int(row), LQ)).degradations))
        name = index.names[index.entry[row]]
        hits.setdefault(name, []).append(float(found == name))
    each = {name: float(np.mean(found)) for name, found in sorted(hits.items())}
    return Validated("accuracy", float(np.mean([hit for found in hits.values() for hit in found])), each)
