"""A trained restorer as one thing: the network, what steers it, the sampler. From a run, or from published files.

    LQ photo ─ look ─► contexts, and how much it looks like each degradation
             └ tiles ─ network (once, or at each step of the sampler) ─ joined ─► restored

The whole photograph decides the contexts, as published; tiles share them. Tiles overlap, and each pixel is the mean of
the tiles over it, weighted by a ramp that falls to their edges. A diffusion restorer samples the photograph as one: at
each step its estimate is joined from tiles, so that all noise is of one field and neighbours cannot part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from patina.training import checkpoint, official
from patina.training.clip_inputs import clip_view, tensor_views
from patina.training.data import Pixels
from patina.training.draws import noise_seed
from patina.training.errors import CheckpointError, ModelInputError, StageError
from patina.training.files import BEST, DONE, MODEL
from patina.training.learners import Steering
from patina.training.models import CATALOGUE, clip_adapter, daclip
from patina.training.samplers import SAMPLERS, FewSteps
from patina.training.sde import IRSDE
from patina.training.stage import Data, Objective, Optimiser, Stage, parse_table

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

Window: TypeAlias = tuple[EllipsisType, slice, slice]
"""Rows and columns of B x C x H x W images."""

FEW = 10
"""Network calls of the samplers that need few, unless told otherwise."""

LOOKS = 16
"""Squares at most that a CLIP of squares looks at in one photograph."""


@dataclass(frozen=True)
class Tiling:
    """How large photographs are restored. side, overlap: px; side 0: never in tiles."""

    side: int = 0
    overlap: int = 32

    def __post_init__(self) -> None:
        if self.side < 0 or self.overlap < 0 or (self.side and 2 * self.overlap >= self.side):
            raise ModelInputError(
                f"tiles of {self.side} px with an overlap of {self.overlap}; expected less than half of the side"
            )

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along a side: evenly spread, at least `overlap` shared."""
        if not self.side or length <= self.side:
            return [0]
        step = self.side - self.overlap
        count = -(-(length - self.overlap) // step)
        return [round(i * (length - self.side) / (count - 1)) for i in range(count)]

    def windows(self, height: int, width: int) -> list[Window]:
        """Where tiles lie in images of this size, in reading order."""
        side = self.side or max(height, width)
        places = product(self.starts(height), self.starts(width))
        return [(..., slice(top, top + side), slice(left, left + side)) for top, left in places]


@dataclass(frozen=True)
class Look:
    """What a restorer is told of one photograph.

    contexts  the network's inputs, 1 x width each.
    words     how much it looks like each known degradation, 0 to 1, the likeliest first; empty without a CLIP.
    """

    contexts: dict[str, Tensor]
    words: dict[str, float]


class Restorer:
    """Restores photographs. `device` is where it computes; everything given and returned is on the CPU."""

    def __init__(
        self,
        net: nn.Module,
        steering: Steering | None,
        stage: Stage,
        *,
        words: Sequence[str] = (),
        texts: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """`words`, `texts`: names of degradations and their features, K x E, as the steering CLIP knows them."""
        self.net = net.eval().to(device)
        self.steering = steering.to(device) if steering else None
        self.stage = stage
        self.device = torch.device(device)
        self._words, self._texts = tuple(words), texts
        s = stage.sde
        self.sde = IRSDE(s.max_sigma, s.steps, s.schedule, s.eps)

    @property
    def is_diffusion(self) -> bool:
        """Whether it restores by a sampler."""
        return self.stage.objective == "sde"

    @torch.no_grad()
    def look(self, photo: Pixels) -> Look:
        """What the CLIP makes of a degraded photograph, H x W x 3 uint8."""
        if self.steering is None:
            return Look({}, {})
        contexts = self.steering.contexts(looks(photo, self.steering).to(self.device))
        contexts = {name: value.mean(dim=0, keepdim=True) for name, value in contexts.items()}
        return Look(contexts, self._named(contexts))

    def _named(self, contexts: dict[str, Tensor]) -> dict[str, float]:
        if self._texts is None:
            return {}
        texts = self._texts.to(self.device)
        if "degradation" in contexts:
            chances = (contexts["degradation"] @ texts.T).softmax(dim=-1)
        else:
            chances = daclip.degradation_probabilities(contexts["degradation_context"], texts)
        found = dict(zip(self._words, chances[0].tolist(), strict=True))
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @torch.no_grad()
    def restore(
        self,
        photo: Pixels,
        *,
        look: Look | None = None,
        seed: int = 0,
        sampler: str = "",
        steps: int = 0,
        tiling: Tiling | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """The restored photograph, 3 x H x W float32, about [0, 1], not clamped.

        photo    H x W x 3 uint8 RGB.
        sampler  of `patina.training.samplers`; empty: the stage's. steps: network calls, 0: the sampler's own number.
        seed     of the noise; a photograph's result depends on nothing else.
        Raises ModelInputError, SamplingError.
        """
        look = look or self.look(photo)
        lq = (torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255)[None].to(self.device)  # 1 x 3 x H x W
        generator = torch.Generator().manual_seed(noise_seed(seed, 0))
        noise = torch.randn(lq.shape, generator=generator).to(self.device) if self.is_diffusion else None
        tiling = tiling or Tiling()
        told = _Count(progress, self.calls(sampler, steps) * len(tiling.windows(*lq.shape[-2:])))
        if noise is None:
            return _in_tiles(lambda w: self.net(lq[w], **look.contexts), lq, tiling, told)[0].cpu()

        def estimate(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
            return _in_tiles(lambda w: self.net(x[w], mu[w], t, **look.contexts), x, tiling, told)

        restored = SAMPLERS[sampler or self.stage.validation.sampler](
            estimate,
            lq,
            self.sde,
            noise=[torch.Generator().manual_seed(noise_seed(seed + 1, 1))],
            steps=self.calls(sampler, steps),
            start=self.sde.start(lq, noise),
        )
        return restored[0].float().cpu()

    def calls(self, sampler: str = "", steps: int = 0) -> int:
        """Network calls for a photograph, or each tile of it. Raises ModelInputError for what the sampler cannot do."""
        if not self.is_diffusion:
            return 1
        chosen = sampler or self.stage.validation.sampler
        if chosen not in SAMPLERS:
            raise ModelInputError(f"no sampler {chosen!r}; known are {', '.join(SAMPLERS)}")
        few = isinstance(SAMPLERS[chosen], FewSteps)
        steps = steps or (0 if sampler else self.stage.validation.steps) or (FEW if few else self.sde.steps)
        if steps < 1 or (not few and steps > self.sde.steps):
            most = "" if few else f" to {self.sde.steps}, all of its schedule"
            raise ModelInputError(f"{steps} steps of the sampler {chosen}; expected 1{most or ' or more'}")
        return steps


def looks(photo: Pixels, steering: Steering) -> Tensor:
    """The views of one photograph: the whole one, or evenly spread squares of the side that it was trained with."""
    if not steering.side and steering.view == "patch-floats":
        return tensor_views(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255, steering.view_side)
    if not steering.side:
        return clip_view(photo, steering.view_side)[None]
    side = min(steering.side, *photo.shape[:2])
    grid = int(LOOKS**0.5)
    tops, lefts = (sorted({round(i * (n - side) / (grid - 1)) for i in range(grid)}) for n in photo.shape[:2])
    patches = [photo[top : top + side, left : left + side] for top, left in product(tops, lefts)]
    if steering.view == "patch-floats":
        floats = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 255 for p in patches])
        return tensor_views(floats, steering.view_side)
    return torch.stack([clip_view(patch, steering.view_side) for patch in patches])


class _Count:
    """Tells how many of so many calls are done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def __call__(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)


def _in_tiles(call: Callable[[Window], Tensor], like: Tensor, tiling: Tiling, told: Callable[[], None]) -> Tensor:
    """What `call` makes of each window of images shaped `like`, joined: B x C x H x W float32."""
    windows = tiling.windows(*like.shape[-2:])
    if len(windows) == 1:
        whole = call(windows[0]).float()
        told()
        return whole
    total, weight = torch.zeros_like(like, dtype=torch.float32), like.new_zeros(like.shape[-2:], dtype=torch.float32)
    for window in windows:
        piece = call(window).float()
        ramp = _ramp(piece.shape[-2], tiling.overlap)[:, None] * _ramp(piece.shape[-1], tiling.overlap)[None, :]
        ramp = ramp.to(like.device)
        total[window] += piece * ramp
        weight[window] += ramp
        told()
    return total / weight


def _ramp(length: int, overlap: int) -> Tensor:
    """Weights of a tile's pixels along a side: from near 0 at both edges up to 1 within the overlap."""
    edge = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(edge, edge.flip(0)).div(max(1, overlap)).clamp(max=1)


# Where they come from


@dataclass(frozen=True)
class Origin:
    """A model file of a run, and what its notes say."""

    path: Path
    stage: Stage
    notes: dict[str, str]


def origin_of(path: Path) -> tuple[Origin, checkpoint.Checkpoint]:
    """The model of a file. Raises CheckpointError for a file that no stage wrote."""
    held = checkpoint.load(path)
    if "stage" not in held.notes:
        raise CheckpointError(f"{path}: no model of a stage; expected a model.safetensors of a run")
    table = json.loads(held.notes["stage"])
    return Origin(path, parse_table(table, table["name"]), dict(held.notes)), held


def load_network(path: Path) -> tuple[nn.Module, Stage, dict[str, str]]:
    """The network of a run's model file, built on the base that it names. Raises CheckpointError, ClipWeightsError."""
    origin, held = origin_of(path)
    if not held.without:
        return checkpoint.network_of(held), origin.stage, origin.notes
    entry = CATALOGUE[held.word]
    settings = checkpoint.settings_from_json(type(entry.settings), held.settings)
    net = entry.class_.pretrained(daclip.OPEN_CLIP[entry.size], held.base_name)
    assert net.settings == settings or entry.module is clip_adapter
    checkpoint.restore(net, held)
    return net, origin.stage, origin.notes


def load_restorer(where: Path, *, stage: str = "", best: bool = False, device: torch.device | str = "cpu") -> Restorer:
    """The restorer in a run's folder, in a stage's folder of it, or in a model file.

    stage  which, if the run has several restorers: the last one finished unless given. best: at its best validation.
    Raises CheckpointError, StageError saying what was found.
    """
    path = _model_file(where, stage, best)
    net, trained, notes = load_network(path)
    if trained.names_degradations:
        raise StageError(f"{path} names degradations and restores nothing; choose a restorer's stage of the run")
    if not trained.after:
        return Restorer(net, None, trained, device=device)
    steering, words, texts = load_steering(steering_file(path, trained.after, notes))
    return Restorer(net, steering, trained, words=words, texts=texts, device=device)


def load_steering(path: Path) -> tuple[Steering, tuple[str, ...], Tensor]:
    """What steers restorers, the degradations it was trained on, and the features of their texts."""
    net, stage, notes = load_network(path)
    words, texts = json.loads(notes["words"]), json.loads(notes["texts"])
    return Steering(net, stage), tuple(words), text_features(net, texts)


@torch.no_grad()
def text_features(net: nn.Module, texts: Sequence[str]) -> Tensor:
    """Features of the degradations' texts, K x E, as the network compares images with them."""
    from patina.training.clip_inputs import tokenize

    settings: Any = net.settings
    tokens = tokenize(list(texts), settings.context_length)
    return net.encode_text(tokens).float()  # type: ignore[operator,no-any-return]


def steering_file(model: Path, after: str, notes: dict[str, str]) -> Path:
    """The model that a restorer was trained on: beside it in its run, known by its digest. Raises CheckpointError."""
    wanted = notes.get("start", "")
    path = model.parent.parent / after / MODEL
    if not path.exists():
        raise CheckpointError(f"{model} is steered by the stage {after!r}; expected it at {path}")
    if (found := checkpoint.load(path).digest) != wanted:
        raise CheckpointError(
            f"{path} has the digest {found[:16]}…, and {model} was trained on {wanted[:16]}…; train the restorer "
            "again, or take both from one run"
        )
    return path


def _model_file(where: Path, stage: str, best: bool) -> Path:
    name = BEST if best else MODEL
    if where.is_file():
        return where
    if (where / name).is_file():
        return where / name
    if not where.is_dir():
        raise CheckpointError(f"{where}: no such file or folder; give a run, a stage of it or a model file")
    if stage:
        if not (where / stage / name).is_file():
            raise CheckpointError(
                f"{where}: its stage {stage!r} has no {name}; it has {', '.join(_stages(where)) or '–'}"
            )
        return where / stage / name
    for candidate in sorted(where.glob(f"*/{DONE}"), key=lambda p: -p.stat().st_mtime_ns):
        path = candidate.with_name(name)
        if path.is_file() and not origin_of(path)[0].stage.names_degradations:
            return path
    raise CheckpointError(f"{where}: no finished restorer; it has {', '.join(_stages(where)) or 'no finished stage'}")


def _stages(run: Path) -> list[str]:
    return sorted(path.parent.name for path in run.glob(f"*/{MODEL}"))


def load_published(path: Path, steering: Path | None, *, device: torch.device | str = "cpu") -> Restorer:
    """The restorer in a published file: `universal-ir.pth` with `daclip_ViT-B-32.pt`, or VLU-Net's `.ckpt` alone.

    Raises CheckpointError, also if it needs what steers it and none is given.
    """
    net, found = official.load(path)
    entry, settings = CATALOGUE.get(found.word), cast(Any, found.settings)
    module = (entry.network if entry else found.word).partition(":")[0]
    if module == "vlunet":
        stage = _stage("described", "vlunet-7", "adapter")
        clip, _ = official.load(steering or path, "clip-adapter")  # the Lightning file holds both
        wanted = {settings.width}
        told = Steering(clip, _stage("prompts", "clip-adapter-b32", view="patch-floats"))
        words: tuple[str, ...] = clip_adapter.PROMPTS
    elif module in ("unet", "nafnet"):
        if getattr(settings, "image_context", None) is None and getattr(settings, "degradation_context", None) is None:
            return Restorer(net, None, _stage("sde", found.word), device=device)
        stage = _stage("sde", "unet-daclip", "controller")
        if steering is None:
            raise CheckpointError(f"{path} is steered by DA-CLIP; give its file too, such as daclip_ViT-B-32.pt")
        clip, _ = official.load(steering, "daclip")
        wanted = {settings.image_context, settings.degradation_context} - {None}
        told, words = Steering(clip, _stage("contrastive", "daclip-b32", view="photo")), daclip.DEGRADATIONS
    else:
        raise CheckpointError(f"{path} is {found.word}, which restores nothing")
    if wanted != {told.width}:
        raise CheckpointError(
            f"{steering or path} gives embeddings of {told.width} numbers, and {path} takes "
            f"{' and '.join(map(str, sorted(wanted)))}; give the file that it was trained with"
        )
    return Restorer(net, told, stage, words=words, texts=text_features(clip, words), device=device)


def _stage(
    objective: Objective, network: str, after: str = "", view: Literal["photo", "patch-floats"] = "photo"
) -> Stage:
    """What a restorer needs to know of a stage that was not trained here: the papers' schedule and whole views."""
    return Stage("published", objective, network, Data(1, view=view), Optimiser(1e-4), 1, after=after)
