"""Restorers in published files.

universal-ir.pth, wild-ir.pth      U-Nets, steered by daclip_ViT-B-32.pt, wild-daclip_ViT-L-14.pt
ir-sde-….pth, refusion-….pth       U-Nets and NAFNets that nothing steers
VLU-Net's .ckpt                    holds the CLIP that steers it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from patina.training import official
from patina.training.errors import CheckpointError, ModelInputError
from patina.training.models import CATALOGUE
from patina.training.restore.clips import PUBLISHED, load_published_clip, module_of, told
from patina.training.restore.equation import equation_of
from patina.training.restore.restorer import Restorer
from patina.training.stages.stage import Data, Objective, Optimiser, Sde, Stage


def load_published(path: Path, steering: Path | None, *, sde: str = "", device: torch.device | str = "cpu") -> Restorer:
    """The restorer in a published file: `universal-ir.pth` with `daclip_ViT-B-32.pt`, or VLU-Net's `.ckpt` alone.

    sde  the equation of a network that estimates noise, see `equation_of`.

    Raises CheckpointError, also if it needs what steers it and none is given, and ModelInputError for an `sde` that is
    none, or is of a network that restores in one pass.
    """
    net, found = official.load(path)
    settings, module = cast(Any, found.settings), module_of(found.network)
    if module not in ("unet", "nafnet", "vlunet"):
        raise CheckpointError(f"{path} is {found.network}, which restores nothing")
    network, notes = found.network if found.network in CATALOGUE else _LARGEST[module], told(found)
    equation = _equation(path, module, sde, notes)
    names = ("width",) if module == "vlunet" else ("image_context", "degradation_context")
    wanted = {width for name in names if (width := getattr(settings, name, None)) is not None}
    if not wanted:
        return Restorer(net, None, _stage("sde", network, sde=equation), device=device, notes=notes)
    if module == "vlunet":
        stage = _stage("described", network, "adapter")
        clip = load_published_clip(steering or path, "clip-adapter", base=path)  # the Lightning file holds both
    else:
        if steering is None:
            raise CheckpointError(f"{path} is steered by DA-CLIP; give its file too, such as {_clip_of(settings)}")
        stage = _stage("sde", network, "controller", sde=equation)
        clip = load_published_clip(steering, "daclip", wild=_is_wild(settings))
    if wanted != {clip.conditioner.width}:
        raise CheckpointError(
            f"{steering or path} gives embeddings of {clip.conditioner.width} numbers, and {path} takes "
            f"{' and '.join(map(str, sorted(wanted)))}; give the file that it was trained with"
        )
    return Restorer(
        net,
        clip.conditioner,
        stage,
        degradations=clip.degradations,
        texts=clip.texts,
        device=device,
        notes=[*notes, *clip.notes],
    )


_LARGEST = {"unet": "unet-daclip", "nafnet": "nafnet-refusion", "vlunet": "vlunet-7"}
"""What stands for networks of a size that was never released."""


def _equation(path: Path, module: str, written: str, notes: list[str]) -> Sde:
    """The equation of a published restorer; what there is to say of it is added to `notes`. Raises ModelInputError."""
    if module == "vlunet":
        if written:
            raise ModelInputError(f"{path.name} restores in one pass and has no equation; leave out --sde {written}")
        return Sde()
    equation, note = equation_of(path, written)
    notes += [note] * bool(note)
    return equation


def _is_wild(settings: Any) -> bool:
    """Whether these are settings of the follow-up's U-Net, which alone works at half the size."""
    return bool(getattr(settings, "half", False))


def _clip_of(settings: Any) -> str:
    """The published file that steers a U-Net of these settings."""
    return "wild-daclip_ViT-L-14.pt" if _is_wild(settings) else "daclip_ViT-B-32.pt"


def _stage(objective: Objective, network: str, after: str = "", sde: Sde | None = None) -> Stage:
    """What a restorer needs to know of a stage that was not trained here: what it does, and its equation."""
    return Stage(PUBLISHED, objective, network, Data(1), Optimiser(1e-4), 1, after=after, sde=sde or Sde())
