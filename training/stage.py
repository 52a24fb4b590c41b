"""A stage of training: one network, what it learns from which samples, and the stage that it starts from.

A plan is a folder of TOML files, one a stage; `tiny` and `paper` come with patina. Every setting that changes the
weights stands in the file, and nothing else does: devices, workers and folders are given to the command. So a stage's
fingerprint is that of its settings, of the dataset and of the checkpoint it starts from.

Lengths are counted in images seen; steps follow from the batch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from patina.training.errors import StageError
from patina.training.models import CATALOGUE

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)

Objective: TypeAlias = Literal["contrastive", "prompts", "sde", "direct", "described"]
"""What a stage learns; `patina.training.learners` has one class for each.

contrastive  DA-CLIP's controller: images to captions, degradation features to the degradations' names
prompts      VLU-Net's adapters: images to one prompt for each degradation
sde          a network that estimates noise, by IR-SDE's losses
direct       a network that restores in one pass, steered by DA-CLIP's embeddings, by a distance to the clean image
described    the same, steered by the adapters' degradation vector (VLU-Net)
"""

STEERED_BY: Mapping[str, str] = {"sde": "contrastive", "direct": "contrastive", "described": "prompts"}
"""The objective of the stage that a stage of this objective starts from. An `sde` network may have none."""

NETWORKS: Mapping[str, tuple[str, ...]] = {
    "contrastive": ("daclip",),
    "prompts": ("clip_adapter",),
    "sde": ("unet", "nafnet"),
    "direct": ("nafnet",),
    "described": ("vlunet",),
}
"""The modules of `patina.training.models` whose networks an objective trains."""

PLANS = ("tiny", "paper", "nhrbl")
"""Of patina: for a CPU; of the papers on ten degradations; VLU-Net on its five tasks, noise at three levels."""


@dataclass(config=_STRICT, frozen=True)
class Data:
    """Which samples, how many at a time, and what of them.

    batch         images that one step of the optimiser sees, over all processes.
    entries       entries of the recipe to take, such as `noisy`; empty: all that are one degradation (no composites).
    group         for a contrastive loss: images whose captions are compared, of which no two are of one photograph; 0:
                  the whole batch, over all processes, as published. A dataset of few photographs needs small groups.
                  Degradations are compared over the whole batch in any case: they come again in it anyway.
    order         `balanced`: each entry as often as its weight says, its samples without repetition before the next
                  round. `scenes`: each clean photograph once a round, in one of its entries, so that no batch has two
                  samples of one photograph, whose captions a contrastive loss could not tell apart.
    weights       how often an entry is drawn, beside 1 for those not named.
    repeats       the same as a factor beside the number of its samples: the papers' lists of files, some repeated.
                  With `repeats` entries that are not named have 1.
    crop          side of the random square, the same of LQ and GT, px; 0: whole images (batches of one, or of a size).
    augment       `symmetries`: one of the square's eight, alike for LQ and GT, as flips and transposition of
                  probability 1/2 each give. `moved`: of the seven that are not the identity, as VLU-Net's code does.
    view          what CLIP sees: `photo`, a random 90 to 100 % of the whole photograph; `patch`, of the crop, as bytes;
                  `patch-floats`, of the crop, not rounded (VLU-Net); `none`.
    square        for `photo`: probability of cutting a random square of 64 px or more first.
    """

    batch: int
    group: int = 0
    entries: tuple[str, ...] = ()
    order: Literal["balanced", "scenes"] = "balanced"
    weights: dict[str, float] = field(default_factory=dict)
    repeats: dict[str, float] = field(default_factory=dict)
    crop: int = 0
    augment: Literal["symmetries", "moved", "none"] = "none"
    view: Literal["photo", "patch", "patch-floats", "none"] = "none"
    square: float = 0.0


@dataclass(config=_STRICT, frozen=True)
class Optimiser:
    """Adam's kind and how its rate runs.

    name          `adamw`; `adam`, which has no decoupled weight decay.
    rate          the highest.
    warmup        images over which the rate rises in a straight line to it.
    schedule      `cosine` falls to `last` at the end, `constant` stays. `epochs`: VLU-Net's, a function of the epoch.
    last          the rate at the end.
    epoch         for `epochs`: images of one; the rate is cosine with a rise over 15 of 200 epochs.
    clip          largest norm of all gradients together; 0: not clipped.
    """

    rate: float
    name: Literal["adamw", "adam"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: Literal["cosine", "constant", "epochs"] = "cosine"
    last: float = 0.0
    epoch: int = 0
    clip: float = 0.0

    def rate_at(self, seen: int, images: int) -> float:
        """The rate of the step that begins after `seen` of `images` images."""
        if self.schedule == "epochs":
            return self.rate * _epoch_share(seen // self.epoch)
        if seen < self.warmup:
            return self.rate * (seen + 1) / self.warmup
        if self.schedule == "constant":
            return self.rate
        done = (seen - self.warmup) / max(1, images - self.warmup)
        return self.last + (self.rate - self.last) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _epoch_share(epoch: int) -> float:
    """VLU-Net's schedule: e/14 for e < 15, then half a cosine to epoch 200.

    As its trainer drives it the first two epochs have rate 0 and the rest lag by one; here the formula itself, as
    nobody means two epochs to be lost.
    """
    return epoch / 14 if epoch < 15 else 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - 15) / 185)))


@dataclass(config=_STRICT, frozen=True)
class Average:
    """A moving average of the weights, beside them. decay 0: none.

    published  IR-SDE's: nothing but every tenth step, a copy up to step 100, then a decay that rises to `decay`.
    """

    decay: float = 0.0
    every: int = 1
    published: bool = False


@dataclass(config=_STRICT, frozen=True)
class Sde:
    """The equation, what is held against what, and how a U-Net starts.

    loss   `likelihood` (the papers'); `noise`; `image`: of the images, see `IRSDE.image_loss`.
    start  `published`; `noise`, see `UNet.start_as_noise`.
    first  share of the images, beside 1/T, whose state is what a sampler starts from: t = T and nothing left of x_0.
           Where eps is not small a network would else read x_0 from a trace that is not there when it restores.
    """

    max_sigma: float = 50.0
    steps: int = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    eps: float = 0.005
    loss: Literal["likelihood", "noise", "image"] = "likelihood"
    start: Literal["published", "noise"] = "published"
    first: float = 0.0


@dataclass(config=_STRICT, frozen=True)
class Validation:
    """How a network in training is looked at: every so many images, on so many samples of the split `val`.

    sampler, steps  for `sde`: how it restores (`patina.training.samplers`); 0: all of the schedule's steps.
    side            of the centre that is restored, px; 0: whole images.
    """

    every: int = 0
    samples: int = 32
    sampler: str = "posterior"
    steps: int = 0
    side: int = 0


@dataclass(config=_STRICT, frozen=True)
class Stage:
    """One stage.

    name        of the file.
    objective   what it learns.
    network     a word of `patina models`; `size` names its settings: `paper`, those of the word, or `tiny`.
    settings    fields of the network's settings that differ from these.
    after       the stage whose network steers this one, or nothing.
    clip        for a CLIP: open_clip's tag or a file of pretrained weights; empty: random ones.
    words       for `prompts`: the prompt of each entry. Entries that are not named have `image with {words}`.
    distance    of restored and clean image, or of noise: l1 or l2.
    images      to see in all.
    precision   `fp32`, `bf16` or `fp16` autocast of the trained network; what is frozen runs in the same.
    seed        of weights, order, crops and noise.
    save_every  images between two checkpoints.
    keep        how many of those stay, beside the best.
    """

    name: str
    objective: Objective
    network: str
    data: Data
    optimiser: Optimiser
    images: int
    size: Literal["paper", "tiny"] = "paper"
    settings: dict[str, Any] = field(default_factory=dict)
    after: str = ""
    clip: str = ""
    words: dict[str, str] = field(default_factory=dict)
    distance: Literal["l1", "l2"] = "l1"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    save_every: int = 0
    keep: int = 2
    average: Average = field(default_factory=Average)
    sde: Sde = field(default_factory=Sde)
    validation: Validation = field(default_factory=Validation)

    def table(self) -> dict[str, Any]:
        """All settings, with the defaults written out."""
        table: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return table

    def fingerprint(self, dataset: str, start: str) -> str:
        """What decides the weights: settings, the manifest's digest, the digest of the checkpoint it starts from.

        How often it is saved and looked at is left out: that may change without a new training.
        """
        table = {k: v for k, v in self.table().items() if k not in ("save_every", "keep", "validation")}
        body = {"stage": table, "dataset": dataset, "start": start}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    @property
    def names_degradations(self) -> bool:
        """Whether its network names degradations and steers, and restores nothing by itself."""
        return self.objective in STEERED_BY.values()

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        return self.images // self.data.batch


def load_plan(where: str | Path) -> dict[str, Stage]:
    """The stages of `tiny`, `paper`, a folder of TOML files or one file, each after the one that it starts from.

    Raises StageError with the file, the field, what was found and what was expected.
    """
    path = Path(where)
    if str(where) in PLANS:
        files = sorted((f for f in _shipped(str(where)).iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
        texts = {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in files}
    elif path.is_dir():
        texts = {f.stem: f.read_text("utf-8") for f in sorted(path.glob("*.toml"))}
    elif path.is_file():
        texts = {path.stem: path.read_text("utf-8")}
    else:
        raise StageError(
            f"no plan {str(where)!r}; expected one of {', '.join(PLANS)}, a folder of TOML files, or one file"
        )
    if not texts:
        raise StageError(f"{where}: a folder without a TOML file; copy the files of a plan with `patina stages tiny`")
    return ordered(parse_stage(text, name) for name, text in texts.items())


def plan_texts(plan: str) -> dict[str, str]:
    """The files of a plan that comes with patina, as they are written."""
    return {f.name: f.read_text("utf-8") for f in sorted(_shipped(plan).iterdir(), key=lambda f: f.name)}


def parse_stage(text: str, name: str) -> Stage:
    """A stage from TOML. Raises StageError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StageError(f"stage {name}: no TOML: {error}") from None
    if "name" in table:
        raise StageError(f"stage {name}: the name is the file's; remove `name`")
    return parse_table(table, name)


def parse_table(table: Mapping[str, Any], name: str) -> Stage:
    """A stage from its table, `name` in it or not. Raises StageError."""
    try:
        stage = TypeAdapter(Stage).validate_python({**table, "name": name})
    except ValidationError as error:
        raise StageError(f"stage {name}: " + "; ".join(_told(e) for e in error.errors())) from None
    _check(stage)
    return stage


def ordered(stages: Iterable[Stage]) -> dict[str, Stage]:
    """Stages by name, each after the one that it starts from. Raises StageError for unknown ones and for circles."""
    waiting, done = {stage.name: stage for stage in stages}, dict[str, Stage]()
    for stage in waiting.values():
        if not stage.after:
            continue
        if stage.after not in waiting:
            raise StageError(
                f"stage {stage.name}: after = {stage.after!r}, but the plan has only {', '.join(sorted(waiting))}"
            )
        wanted, found = STEERED_BY.get(stage.objective), waiting[stage.after].objective
        if found != wanted:
            raise StageError(
                f"stage {stage.name}: `{stage.objective}` starts from a stage of `{wanted}`; {stage.after} is `{found}`"
            )
    while waiting:
        ready = [s for s in waiting.values() if not s.after or s.after in done]
        if not ready:
            raise StageError(f"stages {', '.join(waiting)} wait for one another; mend `after`")
        for stage in ready:
            done[stage.name] = waiting.pop(stage.name)
    return done


def chosen(plan: Mapping[str, Stage], names: Sequence[str]) -> dict[str, Stage]:
    """The stages of these names and all that they start from; without names the whole plan. Raises StageError."""
    if not names:
        return dict(plan)
    wanted: set[str] = set()
    for name in names:
        if name not in plan:
            raise StageError(f"no stage {name!r} in the plan; it has {', '.join(plan)}")
        step = name
        while step:
            wanted.add(step)
            step = plan[step].after
    return {name: stage for name, stage in plan.items() if name in wanted}


def _check(stage: Stage) -> None:
    """Raise StageError with the first rule that the stage breaks."""
    for broken, told in chain(_data_rules(stage), _other_rules(stage)):  # each is asked once those before it hold
        if broken:
            raise StageError(f"stage {stage.name}: {told}")


_Rules: TypeAlias = Iterable[tuple[bool, str]]


def _data_rules(stage: Stage) -> _Rules:
    data, restores = stage.data, stage.objective in STEERED_BY
    yield (
        data.batch < 1 or stage.images < data.batch,
        f"batch = {data.batch}, images = {stage.images}; expected 1 or more, and images for one batch or more",
    )
    yield (
        data.crop < 0 or (restores and 0 < data.crop < 16),
        f"crop = {data.crop}; expected 16 px or more, or 0 for whole images",
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
    for word, weight in (data.weights | data.repeats).items():
        yield weight < 0, f"weight of {word} is {weight}; expected 0 or more"
    yield not 0 <= data.square <= 1, f"square = {data.square}; expected a probability"


def _other_rules(stage: Stage) -> _Rules:
    optimiser = stage.optimiser
    yield stage.network not in CATALOGUE, f"network = {stage.network!r}; expected one of {', '.join(CATALOGUE)}"
    module = CATALOGUE[stage.network].network.partition(":")[0]
    yield (
        module not in NETWORKS[stage.objective],
        f"`{stage.objective}` trains {' or '.join(NETWORKS[stage.objective])}; network = {stage.network!r}",
    )
    yield (
        stage.objective in ("direct", "described") and not stage.after,
        f"`{stage.objective}` is steered: write after = the stage of `{STEERED_BY.get(stage.objective)}`",
    )
    yield (
        stage.sde.start == "noise" and (stage.objective, module) != ("sde", "unet"),
        f"sde.start = 'noise' is a start of U-Nets that estimate noise; network = {stage.network!r}",
    )
    yield not 0 <= stage.sde.first <= 1, f"sde.first = {stage.sde.first}; expected a share from 0 to 1"
    yield (
        optimiser.rate <= 0 or optimiser.warmup < 0 or optimiser.clip < 0,
        "optimiser: expected rate > 0, warmup >= 0, clip >= 0",
    )
    yield (
        optimiser.schedule == "epochs" and optimiser.epoch < 1,
        "optimiser: schedule = 'epochs' needs the images of an epoch: epoch = …",
    )
    average = stage.average
    yield (
        not 0 <= average.decay < 1 or average.every < 1,
        "average: expected decay from 0 to below 1, every of 1 or more",
    )
    yield (
        stage.keep < 1 or stage.save_every < 0 or stage.validation.every < 0,
        "expected keep of 1 or more, save_every and validation.every of 0 or more",
    )


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown setting {place!r}"
    if error["type"] in ("missing", "missing_argument"):
        return f"{place} is missing"
    return f"{place} = {error['input']!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _shipped(plan: str) -> Any:
    return resources.files("patina.training") / "stages" / plan
