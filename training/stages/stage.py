"""A stage of training: one network, what it learns from which samples, and the stage that it starts from.

A plan is a folder of TOML files, one a stage; `tiny` and `paper` come with patina. Every setting that changes the
weights stands in the file, and nothing else does: devices, workers and folders are given to the command. So a stage's
fingerprint is that of its settings, of the dataset and of the checkpoint it starts from.

Lengths are counted in images seen; steps follow from the batch.

Where a stage is stored (stage.json, job.json, a model's notes, the fingerprint) some keys are spelt as they were in the
first version: `STORED_NAMES` is the one list of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)

Objective: TypeAlias = Literal["contrastive", "prompts", "sde", "direct", "described"]
"""What a stage learns; `patina.training.objectives.make` has one class for each.

contrastive  DA-CLIP's controller: images to captions, degradation features to the degradations' names
prompts      VLU-Net's adapters: images to one prompt for each degradation
sde          a network that estimates noise, by IR-SDE's losses
direct       a network that restores in one pass, steered by DA-CLIP's embeddings, by a distance to the clean image
described    the same, steered by the adapters' degradation vector (VLU-Net)
"""

STEERED_BY: Mapping[str, str] = {"sde": "contrastive", "direct": "contrastive", "described": "prompts"}
"""The objective of the stage that a stage of this objective starts from. An `sde` network may have none."""


WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
"""How names of files of weights end; no stage is called so."""


CLEAN = "clean"
"""What a CLIP calls a photograph without degradation, if it learnt from clean ones too (`Data.clean_share`)."""


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
    clean_share   for a CLIP: share of the images that are the clean photograph itself, called `clean`. So it learns to
                  say that there is no degradation; what it steers then leaves sound photographs alone.
    resize        shorter side that photographs have before they are cut, px; 0: as they are. A CLIP that learnt so is
                  shown whole photographs when it steers.
    crop          side of the random square, the same of LQ and GT, px; 0: whole images (batches of one, or of a size).
    augment       `symmetries`: one of the square's eight, alike for LQ and GT, as flips and transposition of
                  probability 1/2 each give. `moved`: of the seven that are not the identity, as VLU-Net's code does.
    view          what CLIP sees: `photo`, a random 90 to 100 % of the whole photograph; `patch`, of the crop, as bytes;
                  `patch-floats`, of the crop, not rounded (VLU-Net); `none`.
    square_probability  for `photo`: of cutting a random square of 64 px or more first.
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
    square_probability: float = 0.0
    resize: int = 0
    clean_share: float = 0.0


@dataclass(config=_STRICT, frozen=True)
class Optimiser:
    """The optimiser and its learning rate.

    name           `adamw`; `adam`, which has no decoupled weight decay; `lion`, Refusion's, which has no `eps`.
    lr             the highest learning rate.
    warmup         images over which the learning rate rises in a straight line; the step that ends there has `lr`.
    schedule       `cosine` falls to `min_lr` at the end, `constant` stays; `steps`: IR-SDE's, by milestones; `epochs`:
                   VLU-Net's, by the epoch.
    min_lr         the learning rate at the end.
    epoch_size     for `epochs`: images of one; the learning rate is cosine with a rise over 15 of 200 epochs.
    milestones     for `steps`: the images after each of which the learning rate is multiplied by `gamma`.
    gamma          for `steps`: that factor.
    max_grad_norm  largest norm of all gradients together; 0: not clipped.
    """

    lr: float
    name: Literal["adamw", "adam", "lion"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: Literal["cosine", "constant", "steps", "epochs"] = "cosine"
    min_lr: float = 0.0
    epoch_size: int = 0
    max_grad_norm: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.5

    def lr_at(self, seen: int, max_images: int, batch: int) -> float:
        """The learning rate of the step that begins after `seen` of `max_images` images and sees `batch` of them."""
        if self.schedule == "epochs":
            return self.lr * _epoch_share(seen // self.epoch_size)
        if seen < self.warmup:
            return self.lr * min(1.0, (seen + batch) / self.warmup)
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "steps":
            return self.lr * self.gamma ** sum(seen >= milestone for milestone in self.milestones)
        done = (seen - self.warmup) / max(1, max_images - self.warmup)
        return self.min_lr + (self.lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _epoch_share(epoch: int) -> float:
    """VLU-Net's schedule: e/14 for e < 15, then half a cosine to epoch 200.

    As its trainer drives it the first two epochs have the learning rate 0 and the rest lag by one; here the formula
    itself, as nobody means two epochs to be lost.
    """
    return epoch / 14 if epoch < 15 else 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - 15) / 185)))


@dataclass(config=_STRICT, frozen=True)
class Ema:
    """An exponential moving average of the weights, kept beside them.

    decay      the share of the average that stays at each update, 0 to 1; 0: no average is kept.
    every      steps of the optimiser from one update to the next.
    published  whether it is updated as IR-SDE's code does: at every tenth step, by a copy up to step 100, and from
               there on by a decay that rises to `decay`.
    """

    decay: float = 0.0
    every: int = 1
    published: bool = False


@dataclass(config=_STRICT, frozen=True)
class Sde:
    """IR-SDE's equation, the loss, and how a U-Net's weights begin.

    max_sigma       the largest standard deviation of the noise, in 8-bit levels.
    steps           the number T of time steps.
    schedule        how the noise grows with time.
    eps             the share of x_0 − μ that is left at t = T.
    loss            `likelihood`, as in the papers; `noise`; or `image`, of the images (`IRSDE.image_loss`).
    init            how the network's weights begin: `published`, or `noise` (`UNet.start_as_noise`).
    terminal_share  the share of the images, beside 1/T, that are trained at the state from which a sampler starts:
                    t = T with nothing left of x_0. Where eps is not small, a network would otherwise learn to read x_0
                    from a trace that is not there when it restores.
    """

    max_sigma: float = 50.0
    steps: int = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    eps: float = 0.005
    loss: Literal["likelihood", "noise", "image"] = "likelihood"
    init: Literal["published", "noise"] = "published"
    terminal_share: float = 0.0


@dataclass(config=_STRICT, frozen=True)
class Validation:
    """How often a network is validated in training, and on what of the split `val`.

    every    images from one validation to the next; 0: never.
    samples  how many samples of the split `val` are restored.
    sampler  for the objective `sde`: the sampler that restores (`patina.training.diffusion.samplers`).
    steps    for the objective `sde`: how often that sampler calls the network; 0: once for each time step.
    side     the side of the square in the middle that is restored, px; 0: whole images.
    """

    every: int = 0
    samples: int = 32
    sampler: str = "posterior"
    steps: int = 0
    side: int = 0


@dataclass(config=_STRICT, frozen=True)
class Stage:
    """One stage.

    name        the name of its file, without the suffix.
    objective   what it learns: `contrastive` (DA-CLIP's controller), `prompts` (VLU-Net's adapters), `sde` (a network
                that estimates noise, by IR-SDE's losses), `direct` (a network that restores in one pass, steered by
                DA-CLIP's embeddings) or `described` (the same, steered by the adapters).
    network     the network's name in `patina models`.
    size        which of the network's settings are taken: `paper`, those of the papers, or `tiny`.
    settings    fields of the network's settings that differ from these.
    after       what steers the network: a stage of the plan, or a published file such as `daclip_ViT-B-32.pt`; empty:
                nothing.
    start       the file of weights that the network begins with: a published one, or a model.safetensors of a run;
                empty: none. A relative path starts at the stage's own folder.
    pretrained  for a CLIP: open_clip's tag or a file of pretrained weights; empty: random ones.
    controller_start  of DA-CLIP's controller: `zero`, all of its dense layers at zero; `published`, the start of the
                released models, see `DaClip.start`; `random`, dense layers as PyTorch has them (Table 4, "w/o Zero").
    prompts     the text of each entry. Entries that are not named have their degradation, or for the objective
                `prompts` `image with {degradation}`.
    distance    the distance between restored and clean image, or between estimated and true noise: `l1` or `l2`.
    max_images  the number of images that the training sees in all.
    precision   the precision of the trained network: `fp32`, or autocast to `bf16` or `fp16`; frozen networks have it
                too.
    seed        a whole number from which weights, order, crops and noise follow.
    save_every  images from one checkpoint to the next; 0: one only where the training is stopped.
    keep        how many of these checkpoints stay, beside the best.
    """

    name: str
    objective: Objective
    network: str
    data: Data
    optimiser: Optimiser
    max_images: int
    size: Literal["paper", "tiny"] = "paper"
    settings: dict[str, Any] = field(default_factory=dict)
    after: str = ""
    start: str = ""
    pretrained: str = ""
    controller_start: Literal["zero", "published", "random"] = "zero"
    prompts: dict[str, str] = field(default_factory=dict)
    distance: Literal["l1", "l2"] = "l1"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = 0
    save_every: int = 0
    keep: int = 2
    ema: Ema = field(default_factory=Ema)
    sde: Sde = field(default_factory=Sde)
    validation: Validation = field(default_factory=Validation)

    def file_table(self) -> dict[str, Any]:
        """All settings under the keys of a stage file, with the name and the defaults written out."""
        table: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return table

    def table(self) -> dict[str, Any]:
        """All settings as they are stored, with the defaults written out; but for those that came later (`LATER`),
        which are left out where they are at their defaults."""
        return to_stored(_without_defaults(self.file_table()))

    def fingerprint(self, dataset: str, steering: str, weights: str = "") -> str:
        """What decides the weights: settings, the manifest's digest, the digest of the model that steers it, and of the
        weights that it begins with.

        How often it is saved and looked at is left out: that may change without a new training. So is where files lie.
        """
        table = {k: v for k, v in self.table().items() if k not in ("save_every", "keep", "validation", "start")}
        if self.is_steered_by_file:
            table["after"] = "a file"
        body = {"stage": table, "dataset": dataset, "start": steering} | ({"weights": weights} if weights else {})
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    @property
    def is_steered_by_file(self) -> bool:
        """Whether `after` is a file, and no stage of the plan."""
        return self.after.endswith(WEIGHTS)

    @property
    def names_degradations(self) -> bool:
        """Whether its network names degradations and steers, and restores nothing by itself."""
        return self.objective in STEERED_BY.values()

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        return self.max_images // self.data.batch


STORED_NAMES: Mapping[str, Mapping[str, str]] = {
    "": {"max_images": "images", "pretrained": "clip", "prompts": "words", "ema": "average"},
    "data": {"square_probability": "square"},
    "optimiser": {"lr": "rate", "min_lr": "last", "epoch_size": "epoch", "max_grad_norm": "clip"},
    "sde": {"init": "start", "terminal_share": "first"},
}
"""How keys of a stage file are spelt where a stage is stored; by table, "" is the stage itself. All others are alike.

A fingerprint is of the stored spelling, so a stage that was finished under it stays finished.
"""


LATER: Mapping[str, tuple[str, ...]] = {
    "": ("start", "controller_start"),
    "data": ("resize", "clean_share"),
    "optimiser": ("milestones", "gamma"),
}
"""Settings that came after the first version, by table: what is stored lacks them where they are at their defaults, so
that fingerprints of stages that were finished before stay."""


def _later_defaults() -> dict[str, dict[str, Any]]:
    """The defaults of the settings of `LATER`, as JSON has them."""
    kinds: Mapping[str, Any] = {"": Stage, "data": Data, "optimiser": Optimiser}
    fields = {part: {f.name: f.default for f in dataclasses.fields(kinds[part])} for part in LATER}
    return {part: {key: json.loads(json.dumps(fields[part][key])) for key in keys} for part, keys in LATER.items()}


def _without_defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a stage file without the settings of `LATER` that are at their defaults."""
    later = _later_defaults()

    def kept(part: str, held: Mapping[str, Any]) -> dict[str, Any]:
        own = later.get(part, {})
        return {key: value for key, value in held.items() if key not in own or value != own[key]}

    return {key: kept(key, value) if key in later else value for key, value in kept("", table).items()}


def _with_defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    """`_without_defaults` undone."""
    later = _later_defaults()
    whole = {**later.get("", {}), **table}
    return {
        key: {**later[key], **value} if key in later and isinstance(value, Mapping) else value
        for key, value in whole.items()
    }


def to_stored(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a stage file, its keys spelt as they are stored, in the same order."""
    return _respelt(table, STORED_NAMES)


def from_stored(table: Mapping[str, Any]) -> dict[str, Any]:
    """A stored table, its keys spelt as in a stage file; settings that came later are at their defaults."""
    names = {part: {old: new for new, old in names.items()} for part, names in STORED_NAMES.items()}
    return _with_defaults(_respelt(table, names))


def _respelt(table: Mapping[str, Any], names: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    def inside(key: str, value: Any) -> Any:
        if key not in names or not isinstance(value, Mapping):
            return value
        return {names[key].get(k, k): v for k, v in value.items()}

    return {names[""].get(key, key): inside(key, value) for key, value in table.items()}
