"""A look at a network in training: how well it names or restores a fixed few samples of the split `val`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from patina.training.data import Index, Pixels, read_image, read_index, read_pair
from patina.training.learners import Contrastive, Learner, Prompts, Restoring, Steering
from patina.training.metrics import psnr_for_means
from patina.training.restorer import Restorer
from patina.training.stage import Stage


@dataclass(frozen=True)
class Validated:
    """What was found. score: larger is better; accuracy (0 to 1) or mean PSNR (dB). each: of every entry."""

    what: str
    score: float
    each: dict[str, float] = field(default_factory=dict)
    input: float = float("nan")

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


def photographs_first(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of one entry, each photograph once before any again."""
    seen: dict[int, int] = {}
    rounds = []
    for scene in index.scene[rows].tolist():
        rounds.append(seen.get(scene, 0))
        seen[scene] = rounds[-1] + 1
    return rows[np.argsort(rounds, kind="stable")]


def validate(
    stage: Stage, learner: Learner, dataset: Path, device: torch.device | str, pictures: Path, seen: int
) -> Validated:
    """Look at the learner's network as it is. Restorers leave a picture, LQ | restored | GT, below `pictures`."""
    index = read_index(dataset, "val", stage.data.entries)
    rows = chosen(index, stage.validation.samples)
    learner.net.eval()
    if isinstance(learner, Contrastive | Prompts):
        return _named(stage, learner, index, rows, device)
    assert isinstance(learner, Restoring)
    # In the training's own precision; a copy would double the memory
    restorer = Restorer(learner.net, learner.steering, stage, device=device)
    found: dict[str, list[tuple[float, float]]] = {}
    strips = []
    for k, row in enumerate(rows):
        lq, gt = (centre(image, stage.validation.side) for image in read_pair(index, int(row)))
        restored = to_bytes(restorer.restore(lq, seed=k))
        found.setdefault(index.names[index.entry[row]], []).append(
            (psnr_for_means(restored, gt), psnr_for_means(lq, gt))
        )
        if k < 10:
            strips.append(np.concatenate([lq, restored, gt], axis=1))
    save_strips(strips, pictures / f"{seen:012d}.png")
    every = [pair for pairs in found.values() for pair in pairs]
    each = {name: float(np.mean([p for p, _ in pairs])) for name, pairs in sorted(found.items())}
    return Validated("psnr", float(np.mean([p for p, _ in every])), each, float(np.mean([p for _, p in every])))


def _named(
    stage: Stage, learner: Contrastive | Prompts, index: Index, rows: NDArray[np.int64], device: torch.device | str
) -> Validated:
    steering = Steering.of(learner.net, stage)
    looker = Restorer(nn.Identity(), steering, stage, words=index.names, texts=learner.texts().detach(), device=device)
    hits: dict[str, list[float]] = {}
    for row in rows:
        found = next(iter(looker.look(read_image(index, int(row), "")).words))
        name = index.names[index.entry[row]]
        hits.setdefault(name, []).append(float(found == name))
    each = {name: float(np.mean(found)) for name, found in sorted(hits.items())}
    return Validated("accuracy", float(np.mean([hit for found in hits.values() for hit in found])), each)


def to_bytes(restored: torch.Tensor) -> Pixels:
    """3 x H x W floats to H x W x 3 uint8, clamped and rounded."""
    levels = (restored.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).numpy()


def centre(image: Pixels, side: int) -> Pixels:
    """The middle of an image, `side` px at most; 0: the image."""
    height, width = image.shape[:2]
    if not side:
        return image
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return image[top : top + side, left : left + side]


def save_strips(strips: list[Pixels], path: Path) -> None:
    """Strips under one another, narrower ones filled with white on the right."""
    if not strips:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    width = max(strip.shape[1] for strip in strips)
    rows = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
