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
    """The settings of the stage's network. The widths of contexts are those of what steers it.

    Raises StageError for fields that it does not have, and for widths that are written and differ.
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
        if conditioner is None:
            if name != "width" and stage.objective == "sde" and not stage.after:
                changed.setdefault(name, None)
            continue
        if getattr(settings, name) is None and name not in changed:
            continue  # a network built without this context
        if changed.setdefault(name, conditioner.width) != conditioner.width:
            raise StageError(
                f"stage {stage.name}: {name} = {changed[name]}, and {stage.after} gives {conditioner.width} numbers"
            )
    return dataclasses.replace(settings, **changed)
