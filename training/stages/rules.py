"""What a stage's settings may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TypeAlias

from patina.training.errors import StageError
from patina.training.models import CATALOGUE
from patina.training.stages.stage import STEERED_BY, WEIGHTS, Stage

NETWORKS: Mapping[str, tuple[str, ...]] = {
    "contrastive": ("daclip", "plain_clip"),
    "prompts": ("clip_adapter",),
    "sde": ("unet", "nafnet"),
    "direct": ("nafnet",),
    "described": ("vlunet",),
}
"""The modules of `patina.training.models` whose networks an objective trains."""


def check(stage: Stage) -> None:
    """Raise StageError with the first rule that the stage breaks."""
    for broken, told in chain(_data_rules(stage), _other_rules(stage)):  # each is asked once those before it hold
        if broken:
            raise StageError(f"stage {stage.name}: {told}")


_Rules: TypeAlias = Iterable[tuple[bool, str]]


def _data_rules(stage: Stage) -> _Rules:
    data, restores = stage.data, stage.objective in STEERED_BY
    yield (
        data.batch < 1 or stage.max_images < data.batch,
        f"batch = {data.batch}, max_images = {stage.max_images}; expected 1 or more, and images for one batch or more",
    )
    yield (
        data.crop < 0 or (restores and 0 < data.crop < 16),
        f"crop = {data.crop}; expected 16 px or more, or 0 for whole images",
    )
    yield (
        data.resize < 0 or (data.resize > 0 and (restores or not 0 < data.crop <= data.resize)),
        f"resize = {data.resize}, crop = {data.crop}; expected 0, or for a CLIP alone the side of its crops or more",
    )
    yield (
        data.crop == 0 and data.batch > 1 and data.view != "photo",
        f"batch = {data.batch} of whole images, which differ in size; write a crop, such as 256",
    )
    sees = not restores or bool(stage.after)
    yield (
        sees == (data.view == "none"),
        f"view = {data.view!r}; {'a CLIP must see something' if sees else 'no CLIP looks at it'}",
    )
    yield restores and data.view == "photo", "view = 'photo' is for a CLIP alone; a restorer's CLIP sees its 'patch'"
    yield (
        stage.objective == "contrastive" and data.order != "scenes",
        "a contrastive batch may not hold a photograph twice: write order = 'scenes'",
    )
    yield (
        data.group < 0 or (data.group > 0 and data.batch % data.group != 0),
        f"group = {data.group}; expected 0, or what divides the batch of {data.batch}",
    )
    yield bool(data.weights and data.repeats), "weights and repeats; write one of them"
    for entry, weight in (data.weights | data.repeats).items():
        yield weight < 0, f"weight of {entry} is {weight}; expected 0 or more"
    yield (
        not 0 <= data.clean_share < 1 or (restores and data.clean_share > 0),
        f"clean_share = {data.clean_share}; expected a share from 0 to below 1, and of a CLIP alone",
    )
    square = data.square_probability
    yield not 0 <= square <= 1, f"square_probability = {square}; expected a probability"


def _other_rules(stage: Stage) -> _Rules:
    optimiser = stage.optimiser
    yield stage.network not in CATALOGUE, f"network = {stage.network!r}; expected one of {', '.join(CATALOGUE)}"
    module = CATALOGUE[stage.network].class_path.partition(":")[0]
    yield (
        module not in NETWORKS[stage.objective],
        f"`{stage.objective}` trains {' or '.join(NETWORKS[stage.objective])}; network = {stage.network!r}",
    )
    yield (
        stage.controller_start != "zero" and module != "daclip",
        f"controller_start = {stage.controller_start!r} is of DA-CLIP; network = {stage.network!r}",
    )
    yield (
        stage.objective in ("direct", "described") and not stage.after,
        f"`{stage.objective}` is steered: write after = the stage of `{STEERED_BY.get(stage.objective)}`",
    )
    yield (
        stage.sde.init == "noise" and (stage.objective, module) != ("sde", "unet"),
        f"sde.init = 'noise' is a start of U-Nets that estimate noise; network = {stage.network!r}",
    )
    yield (
        stage.is_steered_by_file and stage.objective not in STEERED_BY,
        f"after = {stage.after!r}; `{stage.objective}` is steered by nothing: to begin with its weights write start",
    )
    yield (
        bool(stage.start) and not stage.start.endswith(WEIGHTS),
        f"start = {stage.start!r}; expected a file of weights ({', '.join(WEIGHTS)})",
    )
    yield (
        bool(stage.start) and stage.sde.init == "noise",
        "start and sde.init = 'noise'; the network begins with one of them",
    )
    share = stage.sde.terminal_share
    yield not 0 <= share <= 1, f"sde.terminal_share = {share}; expected a share from 0 to 1"
    yield (
        optimiser.lr <= 0 or optimiser.warmup < 0 or optimiser.max_grad_norm < 0,
        "optimiser: expected lr > 0, warmup >= 0, max_grad_norm >= 0",
    )
    yield (
        optimiser.schedule == "epochs" and optimiser.epoch_size < 1,
        "optimiser: schedule = 'epochs' needs the images of an epoch: epoch_size = …",
    )
    milestones, steps = optimiser.milestones, optimiser.schedule == "steps"
    yield (
        steps != bool(milestones) or list(milestones) != sorted(set(milestones)) or min(milestones, default=1) < 1,
        f"optimiser: schedule = {optimiser.schedule!r}, milestones = {list(milestones)}; expected numbers of images "
        "that rise with schedule = 'steps', and none with another",
    )
    yield (
        optimiser.gamma <= 0 or optimiser.gamma > 1,
        f"optimiser.gamma = {optimiser.gamma}; expected more than 0, up to 1",
    )
    ema = stage.ema
    yield (
        not 0 <= ema.decay < 1 or ema.every < 1,
        "ema: expected decay from 0 to below 1, every of 1 or more",
    )
    yield (
        stage.keep < 1 or stage.save_every < 0 or stage.validation.every < 0,
        "expected keep of 1 or more, save_every and validation.every of 0 or more",
    )
