"""Objectives of restorers: by IR-SDE, and in one pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from patina.training.data.batches import Batch
from patina.training.data.order import noise_seed
from patina.training.diffusion.sde import IRSDE, noise_loss
from patina.training.images import grey_levels
from patina.training.models import CATALOGUE
from patina.training.models.layers import is_grey
from patina.training.models.unet import UNet
from patina.training.objectives.base import Learner, Losses, settings_of
from patina.training.restore.conditioning import Conditioner, taken_by
from patina.training.stages.stage import Stage


class Restoring(Learner):
    """What the learners of restorers share: images in [0, 1], and the contexts of what steers them."""

    def __init__(self, stage: Stage, conditioner: Conditioner | None) -> None:
        super().__init__()
        entry = CATALOGUE[stage.network]
        self.stage = stage
        self.net = entry.build(settings_of(stage, conditioner))
        self._conditioner = (conditioner,)  # in a tuple: its parameters are not this module's
        idle: list[str] = getattr(self.net, "parameters_without_effect", list)()
        for name, parameter in self.net.named_parameters():
            if name in idle:  # several processes wait for every gradient that may come
                parameter.requires_grad_(False)

    @property
    def conditioner(self) -> Conditioner | None:
        """What steers the network."""
        return self._conditioner[0]

    @property
    @override
    def view_side(self) -> int:
        return self.conditioner.view_side if self.conditioner else 0

    @override
    def place(self, device: torch.device | str) -> None:
        if self.conditioner:
            self.conditioner.to(device)

    def images(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """LQ and GT, floats in [0, 1]: B x 3 x S x S, or B x 1 x S x S of a network for grey images."""
        pair = (batch.lq, batch.gt)
        lq, gt = (grey_levels(images) for images in pair) if is_grey(self.net) else pair
        return lq.float() / 255, gt.float() / 255

    def contexts(self, batch: Batch) -> dict[str, Tensor]:
        """The network's inputs beside the images."""
        if self.conditioner is None or batch.view is None:
            return {}
        return taken_by(self.net, self.conditioner.contexts(batch.view))


class Sde(Restoring):
    """IR-SDE's losses. Each image's t and z come from a generator of its own, so that no split of a batch matters."""

    def __init__(self, stage: Stage, conditioner: Conditioner | None) -> None:
        super().__init__(stage, conditioner)
        s = stage.sde
        self.sde = IRSDE(s.max_sigma, s.steps, s.schedule, s.eps)
        if s.init == "noise":
            assert isinstance(self.net, UNet)
            self.net.start_as_noise(self.sde.lam)

    @override
    def forward(self, batch: Batch) -> Losses:
        mu, x0 = self.images(batch)
        t, z, first = self._drawn(batch, x0)
        x = self.sde.marginal(x0, mu, t, z)
        if first is not None and first.any():
            x = torch.where(first[:, None, None, None], self.sde.start(mu, z), x)
            z = self.sde.noise(x, x0, mu, t)
        eps_hat = self.net(x, mu, t, **self.contexts(batch)).float()
        match self.stage.sde.loss:
            case "noise":
                return {"loss": noise_loss(eps_hat, z, self.stage.distance)}
            case "image":
                return {"loss": self.sde.image_loss(mu, eps_hat, z, t, distance=self.stage.distance)}
        return {"loss": self.sde.likelihood_loss(x, x0, mu, eps_hat, t, self.stage.distance)}

    def _drawn(self, batch: Batch, like: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """t, z, and which states are those that a sampler starts from; None if none shall be."""
        share, times, noises, first = self.stage.sde.terminal_share, [], [], []
        for number in batch.numbers:
            generator = torch.Generator(like.device).manual_seed(noise_seed(self.stage.seed, number))
            times.append(torch.randint(1, self.sde.steps + 1, (1,), generator=generator, device=like.device))
            noises.append(torch.randn(like.shape[1:], generator=generator, device=like.device))
            if share:
                first.append(torch.rand(1, generator=generator, device=like.device) < share)
        t, z = torch.cat(times), torch.stack(noises)
        if not share:
            return t, z, None
        chosen = torch.cat(first)
        return t.masked_fill(chosen, self.sde.steps), z, chosen


class Direct(Restoring):
    """A network that restores in one pass: `direct` and `described`."""

    @override
    def forward(self, batch: Batch) -> Losses:
        lq, gt = self.images(batch)
        restored = self.net(lq, **self.contexts(batch)).float()
        loss = functional.l1_loss(restored, gt) if self.stage.distance == "l1" else functional.mse_loss(restored, gt)
        with torch.no_grad():
            psnr = -10 * (restored.clamp(0, 1) - gt).square().mean(dim=(1, 2, 3)).clamp_min(1e-10).log10().mean()
        return {"loss": loss, "psnr": psnr}
