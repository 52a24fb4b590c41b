"""Restorers and CLIPs in published files.

universal-ir.pth, wild-ir.pth      U-Nets, steered by daclip_ViT-B-32.pt, wild-daclip_ViT-L-14.pt
ir-sde-….pth, refusion-….pth       U-Nets and NAFNets that nothing steers
VLU-Net's .ckpt                    holds the CLIP that steers it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from patina.training import official
from patina.training.errors import CheckpointError
from patina.training.models import CATALOGUE, clip_adapter, daclip
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.restorer import Restorer
from patina.training.restore.texts import text_features
from patina.training.stages.stage import Data, Objective, Optimiser, Stage


@dataclass(frozen=True)
class PublishedClip:
    """A CLIP of a published file, the degradations that it names, and the features of their texts, K x E."""

    conditioner: Conditioner
    degradations: tuple[str, ...]
    texts: Tensor
    notes: tuple[str, ...] = ()


def load_published(path: Path, steering: Path | None, *, device: torch.device | str = "cpu") -> Restorer:
    """The restorer in a published file: `universal-ir.pth` with `daclip_ViT-B-32.pt`, or VLU-Net's `.ckpt` alone.

    Raises CheckpointError, also if it needs what steers it and none is given.
    """
    net, found = official.load(path)
    settings, module = cast(Any, found.settings), _module(found.network)
    if module not in ("unet", "nafnet", "vlunet"):
        raise CheckpointError(f"{path} is {found.network}, which restores nothing")
    network, notes = found.network if found.network in CATALOGUE else _LARGEST[module], _told(found)
    names = ("width",) if module == "vlunet" else ("image_context", "degradation_context")
    wanted = {width for name in names if (width := getattr(settings, name, None)) is not None}
    if not wanted:
        return Restorer(net, None, _stage("sde", network), device=device, notes=notes)
    if module == "vlunet":
        stage = _stage("described", network, "adapter")
        clip = load_published_clip(steering or path, "clip-adapter")  # the Lightning file holds both
    else:
        if steering is None:
            raise CheckpointError(f"{path} is steered by DA-CLIP; give its file too, such as {_clip_of(settings)}")
        stage = _stage("sde", network, "controller")
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


def load_published_clip(path: Path, network: str | None = None, *, wild: bool = False) -> PublishedClip:
    """The CLIP in a published file: `daclip_ViT-B-32.pt`, or the adapted one in VLU-Net's `.ckpt`.

    network  `daclip` or `clip-adapter`, where it must be that one.
    wild     whether it steers the follow-up's network: its words are then those of photographs in the wild, as they
             are for DA-CLIP on ViT-L/14, which was released for it alone.

    Raises CheckpointError.
    """
    net, found = official.load(path, network)
    module = _module(found.network)
    if module == "clip_adapter":
        stage, words = _stage("prompts", "clip-adapter-b32", view="patch-floats"), clip_adapter.PROMPTS
    elif module == "daclip":
        wild = wild or found.network == "daclip-l14"
        stage = _stage("contrastive", "daclip-l14" if wild else "daclip-b32", view="photo")
        words = daclip.WILD_DEGRADATIONS if wild else daclip.DEGRADATIONS
    else:
        raise CheckpointError(f"{path} is {found.network}, which names no degradations; give a DA-CLIP's or VLU-Net's")
    return PublishedClip(Conditioner(net, stage), words, text_features(net, words), tuple(_told(found)))


_LARGEST = {"unet": "unet-daclip", "nafnet": "nafnet-refusion", "vlunet": "vlunet-7"}
"""What stands for networks of a size that was never released."""


def _module(network: str) -> str:
    """The module of `patina.training.models` that a network found in a file is of."""
    entry = CATALOGUE.get(network)
    return (entry.class_path if entry else network).partition(":")[0].replace("-", "_")


def _is_wild(settings: Any) -> bool:
    """Whether these are settings of the follow-up's U-Net, which alone works at half the size."""
    return bool(getattr(settings, "half", False))


def _clip_of(settings: Any) -> str:
    """The published file that steers a U-Net of these settings."""
    return "wild-daclip_ViT-L-14.pt" if _is_wild(settings) else "daclip_ViT-B-32.pt"


def _told(*found: official.Found) -> list[str]:
    """Which of several sets of weights was taken from published files."""
    return [f"{one.contents.path.name}: {one.taken}" for one in found if one.taken]


def _stage(
    objective: Objective, network: str, after: str = "", view: Literal["photo", "patch-floats"] = "photo"
) -> Stage:
    """What a restorer needs to know of a stage that was not trained here: the papers' schedule and whole views."""
    return Stage("published", objective, network, Data(1, view=view), Optimiser(1e-4), 1, after=after)
