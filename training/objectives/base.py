"""What every objective gives to the loop."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from patina.training.data.batches import Batch
from patina.training.errors import StageError
from patina.training.models import CATALOGUE
from patina.training.stages.stage import Stage

Losses: TypeAlias = dict[str, Tensor]
"""`loss`, whose gradient trains, and its terms."""


class Learner(nn.Module):
    """One objective. `net` learns; the rest of the class says how."""

    net: nn.Module

    @property
    def view_side(self) -> int:
        """Side of the views that a CLIP sees, px; 0: none looks."""
        raise NotImplementedError

    @property
    def sees_images(self) -> bool:
        """Whether it looks at LQ and GT, and not at CLIP's view alone."""
        return True

    def forward(self, batch: Batch) -> Losses:
        """The losses of a batch on the network's device."""
        raise NotImplementedError

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What learns, for the optimiser."""
        return [{"params": [p for p in self.net.parameters() if p.requires_grad], "weight_decay": weight_decay}]

    def after_step(self) -> None:
        """Called after every step of the optimiser."""

    def place(self, device: torch.device | str) -> None:
        """Move what is no parameter of the module."""

    def saved(self) -> dict[str, float]:
        """What was not computed thanks to what is frozen, for the report."""
        return {}


class Steering(Protocol):
    """What steers a restorer, as far as the restorer's settings go."""

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        ...


def settings_of(stage: Stage, conditioner: Steering | None = None) -> Any:
    """The settings of the stage's network. The widths of contexts are those of what steers it; one that is written as 0
    is left out, so that a U-Net takes one of DA-CLIP's embeddings alone, as in the paper's ablation.

    Raises StageError for fields that it does not have, for widths that are written and differ, and for a network that
    takes nothing of what steers it.
    """
    entry = CATALOGUE[stage.network]
    settings = entry.tiny_settings if stage.size == "tiny" else entry.settings
    known = {f.name for f in dataclasses.fields(settings)}
    if unknown := sorted(set(stage.settings) - known):
        raise StageError(f"stage {stage.name}: {stage.network} has no {', '.join(unknown)}; it has {', '.join(known)}")
    changed = {k: tuple(v) if isinstance(v, list) else v for k, v in stage.settings.items()}
    for name in ("image_context", "degradation_context", "width"):
        is_context = name != "width" or stage.objective == "described"
        if name not in known or not is_context or stage.names_degradations:
            continue
        if name != "width" and changed.get(name) == 0:
            changed[name] = None  # TOML has no None: 0 leaves the context out
        if conditioner is None:
            if name != "width" and stage.objective == "sde" and not stage.after:
                changed.setdefault(name, None)
            continue
        if changed.get(name, getattr(settings, name)) is None:
            changed[name] = None
            continue  # a network built without this context
        if changed.setdefault(name, conditioner.width) != conditioner.width:
            raise StageError(
                f"stage {stage.name}: {name} = {changed[name]}, and {stage.after} gives {conditioner.width} numbers"
            )
    made = dataclasses.replace(settings, **changed)
    _expect_steered(stage, made)
    return made


def _expect_steered(stage: Stage, settings: Any) -> None:
    """Raise StageError for a network that is to be steered and takes nothing, or lacks a context that it must have."""
    if not stage.after:
        return
    contexts = {name: getattr(settings, name, None) for name in ("image_context", "degradation_context")}
    if stage.objective == "sde" and not any(contexts.values()):
        raise StageError(
            f"stage {stage.name}: {stage.network} takes nothing of what steers it; leave out after = {stage.after!r} "
            "and the view, or write network = 'unet-daclip'"
        )
    if stage.objective == "direct" and not all(contexts.values()):
        lacking = ", ".join(f"{name} = 0" for name, width in contexts.items() if not width)
        raise StageError(f"stage {stage.name}: {lacking}; {stage.network} is built on both embeddings, leave it out")
