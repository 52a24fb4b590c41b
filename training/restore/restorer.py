"""A trained restorer as one thing: the network, what steers it, the sampler. From a run, or from published files.

    LQ photo ─ look ─► contexts, and how much it looks like each degradation
             └ tiles ─ network (once, or at each step of the sampler) ─ joined ─► restored

The whole photograph decides the contexts, as published; tiles share them. Tiles overlap, and each pixel is the mean of
the tiles over it, weighted by a ramp that falls to their edges. A diffusion restorer samples the photograph as one: at
each step its estimate is joined from tiles, so that all noise is of one field and neighbours cannot part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.data.order import noise_seed
from patina.training.data.views import clip_view, tensor_views
from patina.training.diffusion.samplers import SAMPLERS, FewSteps
from patina.training.diffusion.sde import IRSDE
from patina.training.errors import ModelInputError, NotFiniteError
from patina.training.images import Pixels, grey_levels
from patina.training.models import daclip
from patina.training.models.layers import is_grey
from patina.training.restore.conditioning import Conditioner, taken_by
from patina.training.restore.overrides import rows_of, steered_towards
from patina.training.restore.tiles import Tiling, in_tiles
from patina.training.stages.stage import CLEAN, Stage

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

Precision: TypeAlias = Literal["fp32", "bf16"]
"""What a restorer's network computes in."""

FEW_STEPS = 10
"""Network calls of the samplers that need few, unless told otherwise."""

MAX_SQUARES = 16
"""Squares at most that a CLIP of squares looks at in one photograph."""


@dataclass(frozen=True)
class Condition:
    """What a restorer is told of one photograph.

    contexts      what the CLIP says of it, 1 x width each: the network is given what it takes of them.
    degradations  the probability of each known degradation, 0 to 1, the likeliest first; empty without a CLIP.
    """

    contexts: dict[str, Tensor]
    degradations: dict[str, float]

    @property
    def is_clean(self) -> bool:
        """Whether the likeliest is that there is none (`CLEAN`), as a CLIP says that learnt from clean pictures too."""
        return next(iter(self.degradations), "") == CLEAN


def check_precision(precision: str) -> None:
    """Raise ModelInputError for what is no precision."""
    if precision not in get_args(Precision):
        raise ModelInputError(f"precision {precision!r}; expected {' or '.join(get_args(Precision))}")


class Restorer:
    """Restores photographs. `device` is where it computes; everything given and returned is on the CPU."""

    def __init__(
        self,
        net: nn.Module,
        conditioner: Conditioner | None,
        stage: Stage,
        *,
        degradations: Sequence[str] = (),
        texts: Tensor | None = None,
        device: torch.device | str = "cpu",
        notes: Sequence[str] = (),
    ) -> None:
        """`degradations`, `texts`: names of degradations and their features, K x E, as the conditioner knows them.
        `notes`: what a user must know of the files that it was loaded from."""
        self.net = net.eval().to(device)
        self.conditioner = conditioner.to(device) if conditioner else None
        self.stage = stage
        self.device = torch.device(device)
        self.notes = tuple(notes)
        self._degradations, self._texts = tuple(degradations), texts
        s = stage.sde
        self.sde = IRSDE(s.max_sigma, s.steps, s.schedule, s.eps)

    @property
    def is_diffusion(self) -> bool:
        """Whether it restores by a sampler."""
        return self.stage.objective == "sde"

    @property
    def is_grey(self) -> bool:
        """Whether it knows grey images alone: of colours it restores the grey levels, in three equal channels."""
        return is_grey(self.net)

    @torch.no_grad()
    def look(self, photo: Pixels) -> Condition:
        """What the CLIP makes of a degraded photograph, H x W x 3 uint8. Raises NotFiniteError."""
        if self.conditioner is None:
            return Condition({}, {})
        contexts = self.conditioner.contexts(conditioner_views(photo, self.conditioner).to(self.device))
        contexts = {name: value.mean(dim=0, keepdim=True) for name, value in contexts.items()}
        for value in contexts.values():
            _expect_finite(value, f"the CLIP that steers {self.stage.name}" if self.stage.after else "the CLIP")
        return Condition(contexts, self._named(contexts))

    @property
    def degradations(self) -> tuple[str, ...]:
        """What its CLIP can name; empty without one."""
        return self._degradations

    def expect_known(self, degradations: Sequence[str]) -> None:
        """Raise ModelInputError for degradations that its CLIP does not know, and if it has none."""
        if self._texts is None:
            raise ModelInputError(
                f"{self.stage.name} has no CLIP that names degradations; leave out --degradation "
                + " ".join(degradations)
            )
        rows_of(degradations, self._degradations, {})

    @torch.no_grad()
    def told(self, condition: Condition, degradations: Sequence[str]) -> Condition:
        """What it is told of a photograph that looks like `condition` and bears these degradations, whatever it looks
        like. Raises ModelInputError for degradations that its CLIP does not know."""
        self.expect_known(degradations)
        assert self._texts is not None
        rows = rows_of(degradations, self._degradations, condition.degradations)
        name = "degradation" if "degradation" in condition.contexts else "degradation_context"
        texts = self._texts.to(self.device)
        texts = texts if name == "degradation" else functional.normalize(texts, dim=-1)
        contexts = {**condition.contexts, name: steered_towards(condition.contexts[name], texts, rows)}
        return Condition(contexts, self._named(contexts))

    def _named(self, contexts: dict[str, Tensor]) -> dict[str, float]:
        if self._texts is None:
            return {}
        texts = self._texts.to(self.device)
        if "degradation" in contexts:
            chances = (contexts["degradation"] @ texts.T).softmax(dim=-1)
        else:
            chances = daclip.degradation_probabilities(contexts["degradation_context"], texts)
        found = dict(zip(self._degradations, chances[0].tolist(), strict=True))
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @torch.no_grad()
    def restore(
        self,
        photo: Pixels,
        *,
        condition: Condition | None = None,
        seed: int = 0,
        sampler: str = "",
        steps: int = 0,
        tiling: Tiling | None = None,
        precision: Precision = "fp32",
        progress: Progress | None = None,
    ) -> Tensor:
        """The restored photograph, 3 x H x W float32, about [0, 1], not clamped.

        photo    H x W x 3 uint8 RGB.
        sampler  of `patina.training.diffusion.samplers`; empty: the stage's.
        steps    network calls, 0: the sampler's own number.
        precision  "bf16": the network computes in bfloat16 where PyTorch's autocast does; the sampler stays in float32.
        seed     of the noise; a photograph's result depends on nothing else.
        Raises ModelInputError, and NotFiniteError (from a sampler SamplingError) where no picture comes out.
        """
        condition = condition or self.look(photo)
        levels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
        lq = ((grey_levels(levels) if self.is_grey else levels).float() / 255).to(self.device)  # 1 x 3 or 1 x H x W
        generator = torch.Generator().manual_seed(noise_seed(seed, 0))
        noise = torch.randn(lq.shape, generator=generator).to(self.device) if self.is_diffusion else None
        tiling, contexts = tiling or Tiling(), taken_by(self.net, condition.contexts)
        count_call = _Count(progress, self.calls(sampler, steps) * len(tiling.windows(*lq.shape[-2:])))

        def network(*inputs: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
                found: Tensor = self.net(*inputs, **contexts)
            return found.float()

        def estimate(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
            return in_tiles(lambda w: network(x[w], mu[w], t), x, tiling, count_call)

        # The outermost autocast keeps the weights' casts: else every tile of every step would cast them anew.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=False):
            if noise is None:
                once = in_tiles(lambda w: network(lq[w]), lq, tiling, count_call)
                _expect_finite(once, "the network")
                return once[0].expand(3, -1, -1).cpu()
            restored = SAMPLERS[sampler or self.stage.validation.sampler](
                estimate,
                lq,
                self.sde,
                noise=[torch.Generator().manual_seed(noise_seed(seed + 1, 1))],
                steps=self.calls(sampler, steps),
                start=self.sde.start(lq, noise),
            )
            return restored[0].float().expand(3, -1, -1).cpu()

    def calls(self, sampler: str = "", steps: int = 0) -> int:
        """Network calls for a photograph, or each tile of it. Raises ModelInputError for what the sampler cannot do."""
        return calls_of(self.stage, sampler, steps)


def calls_of(stage: Stage, sampler: str = "", steps: int = 0) -> int:
    """Network calls that a stage's restorer makes: see `Restorer.calls`. Raises ModelInputError."""
    if stage.objective != "sde":
        return 1
    chosen, most = sampler or stage.validation.sampler, stage.sde.steps
    if chosen not in SAMPLERS:
        raise ModelInputError(f"no sampler {chosen!r}; known are {', '.join(SAMPLERS)}")
    few = isinstance(SAMPLERS[chosen], FewSteps)
    steps = steps or (0 if sampler else stage.validation.steps) or (FEW_STEPS if few else most)
    if steps < 1 or (not few and steps > most):
        told = " or more" if few else f" to {most}, all of its schedule"
        raise ModelInputError(f"{steps} steps of the sampler {chosen}; expected 1{told}")
    return steps


def conditioner_views(photo: Pixels, conditioner: Conditioner) -> Tensor:
    """The views of one photograph: the whole one, or evenly spread squares of the side that it was trained with."""
    if not conditioner.side and conditioner.view == "patch-floats":
        return tensor_views(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255, conditioner.view_side)
    if not conditioner.side:
        return clip_view(photo, conditioner.view_side)[None]
    side = min(conditioner.side, *photo.shape[:2])
    grid = int(MAX_SQUARES**0.5)
    tops, lefts = (sorted({round(i * (n - side) / (grid - 1)) for i in range(grid)}) for n in photo.shape[:2])
    patches = [photo[top : top + side, left : left + side] for top, left in product(tops, lefts)]
    if conditioner.view == "patch-floats":
        floats = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 255 for p in patches])
        return tensor_views(floats, conditioner.view_side)
    return torch.stack([clip_view(patch, conditioner.view_side) for patch in patches])


def _expect_finite(values: Tensor, who: str) -> None:
    """Raise NotFiniteError if one of the numbers that `who` gave is NaN or infinite."""
    if strange := values.numel() - int(torch.isfinite(values).sum()):
        raise NotFiniteError(
            f"{who} gave {strange:,} of {values.numel():,} numbers that are not finite (NaN or infinity), which are no "
            "picture; take another checkpoint, such as an earlier one of the same training"
        )


class _Count:
    """Tells how many of so many calls are done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def __call__(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)
