"""CLIPs in published files: DA-CLIP's, VLU-Net's adapted one, its adapters alone, and a CLIP as it is.

daclip_ViT-B-32.pt, epoch_N.pt       DA-CLIP: names the ten degradations
wild-daclip_ViT-L-14.pt              the follow-up's: names what photographs in the wild bear
VLU-Net's .ckpt                      the adapted CLIP below `model_degradation.`
clip_tuned.pth                       the adapters, without the CLIP that they stand on: give its file as `base`
open_clip's weights of a ViT         a CLIP as it is, which names degradations zero-shot
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from patina.training import official
from patina.training.errors import CheckpointError
from patina.training.models import CATALOGUE, clip_adapter, daclip
from patina.training.models.clip_adapter import AdaptedClip, ClipAdapterSettings
from patina.training.models.keymap import KeyMapError
from patina.training.models.plain_clip import PlainClip
from patina.training.official import containers
from patina.training.official.clip_adapter import ADAPTERS
from patina.training.official.daclip import settings_of
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.texts import text_features
from patina.training.stages.stage import Data, Objective, Optimiser, Stage

PUBLISHED = "published"
"""What the stage of a published network is called."""


@dataclass(frozen=True)
class PublishedClip:
    """A CLIP of a published file, the degradations that it names, and the features of their texts, K x E."""

    conditioner: Conditioner
    degradations: tuple[str, ...]
    texts: Tensor
    notes: tuple[str, ...] = ()


def load_published_clip(
    path: Path, network: str | None = None, *, wild: bool = False, base: Path | None = None
) -> PublishedClip:
    """The CLIP in a published file.

    network  `daclip` or `clip-adapter`, where it must be that one.
    wild     whether it steers the follow-up's network: its words are then those of photographs in the wild, as they
             are for DA-CLIP on ViT-L/14, which was released for it alone.
    base     for `clip_tuned.pth`: a file with the CLIP below it, which may be DA-CLIP's or VLU-Net's, that stand on the
             same one; without it open_clip's ViT-B-32, `laion2b_s34b_b79k`, from its cache or hub.

    Raises CheckpointError, daclip.ClipWeightsError.
    """
    net, word, notes = _loaded(path, network, base)
    if isinstance(net, AdaptedClip):
        stage, words = _stage("prompts", "clip-adapter-b32", "patch-floats"), tuple(clip_adapter.PROMPTS)
    elif isinstance(net, daclip.DaClip | PlainClip):
        wild = wild or word == "daclip-l14"
        plain = isinstance(net, PlainClip)
        stage = _stage("contrastive", "clip-b32" if plain else "daclip-l14" if wild else "daclip-b32", "photo")
        words = daclip.WILD_DEGRADATIONS if wild else daclip.DEGRADATIONS
    else:
        raise CheckpointError(f"{path} is {word}, which names no degradations; give a DA-CLIP's or VLU-Net's")
    return PublishedClip(Conditioner(net, stage), words, text_features(net, words), notes)


def names_degradations(path: Path) -> bool:
    """Whether a published file holds a CLIP and no restorer. Raises CheckpointError."""
    contents = containers.read(path)
    found = [official.recognise(state) for state in contents.parts.values()]
    restores = [word for word in found if word and module_of(word) in ("unet", "nafnet", "vlunet")]
    return not restores and (any(found) or _is_plain(contents.parts))


def module_of(network: str) -> str:
    """The module of `patina.training.models` that a network found in a file is of."""
    entry = CATALOGUE.get(network)
    return (entry.class_path if entry else network).partition(":")[0].replace("-", "_")


def _loaded(path: Path, network: str | None, base: Path | None) -> tuple[nn.Module, str, tuple[str, ...]]:
    """A network, what it is called, and what there is to note of its file."""
    try:
        net, found = official.load(path, network)
        clips = [word for word in found.others if module_of(word) in ("daclip", "clip_adapter")]
        if network is None and clips and module_of(found.network) in ("unet", "nafnet", "vlunet"):
            net, found = official.load(path, clips[0])  # a file of both, such as VLU-Net's
        return net, found.network, tuple(told(found))
    except CheckpointError:
        contents = containers.read(path)
        state = next(iter(contents.parts.values()), {})
        if state and ADAPTERS.explained(state) == len(state):
            net, found = official.load(path, into=_under_adapters(base))
            return net, found.network, tuple(told(found))
        if network is None and _is_plain(contents.parts):
            return _plain(path, state), "clip", ()
        raise


def _is_plain(parts: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether a file holds a CLIP as it is."""
    return len(parts) == 1 and {"visual.conv1.weight", "token_embedding.weight"} <= set(next(iter(parts.values())))


def _plain(path: Path, state: Mapping[str, Tensor]) -> PlainClip:
    """A CLIP from its own tensors. QuickGELU leaves no trace in them: it is taken where the name tells of it."""
    try:
        settings = replace(settings_of(state, ""), quick_gelu="openai" in path.name or "quickgelu" in path.name)
        net = PlainClip(settings)
        net.clip.load_state_dict(state, strict=False)
        missing = set(net.clip.state_dict()) - set(state) - {"attn_mask"}
    except (KeyMapError, RuntimeError) as error:
        raise CheckpointError(f"{path} looks like a CLIP, but {str(error).splitlines()[0]}") from None
    if missing:
        raise CheckpointError(f"{path} looks like a CLIP, but lacks {', '.join(sorted(missing)[:4])}, …")
    net.logit_scale.data.copy_(net.clip.logit_scale)
    return net


def _under_adapters(base: Path | None) -> AdaptedClip:
    """An adapted CLIP whose adapters are random: they are filled next."""
    if base is None:
        return AdaptedClip.pretrained()
    for word in ("daclip", "clip-adapter"):
        try:
            net: Any = official.load(base, word)[0]
            break
        except CheckpointError:
            continue
    else:
        net = _loaded(base, None, None)[0]
    if not hasattr(net, "clip"):
        raise CheckpointError(
            f"{base} holds no CLIP for adapters to stand on; give daclip_ViT-B-32.pt, or a CLIP's own"
        )
    names = ClipAdapterSettings.__dataclass_fields__
    settings = {name: value for name, value in vars(net.settings).items() if name in names}
    return AdaptedClip(ClipAdapterSettings(**settings), clip=net.clip.requires_grad_(False).eval())


def told(*found: official.Found) -> list[str]:
    """Which of several sets of weights was taken from published files."""
    return [f"{one.contents.path.name}: {one.taken}" for one in found if one.taken]


def _stage(objective: Objective, network: str, view: Literal["photo", "patch-floats"]) -> Stage:
    """What a restorer needs to know of a CLIP that was not trained here: it looks at whole photographs."""
    return Stage(PUBLISHED, objective, network, Data(1, view=view), Optimiser(1e-4), 1)
