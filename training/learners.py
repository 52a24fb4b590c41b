"""What the stages learn: each objective as a module that takes a batch and gives its losses.

    contrastive  DA-CLIP's controller         L = L_con(image, caption) + L_con(degra, degradation)
    prompts      VLU-Net's adapters           cross entropy of a view over the prompts
    sde          U-Net, NAFNet by IR-SDE      |reverse mean(x_t, ε̂) - optimum(x_t, x_0)|, or |ε̂ - z|, or |x̂_0 - x_0|
    direct       NAFNet with embeddings       |net(lq; content, degradation) - gt|
    described    VLU-Net                      |net(lq, d) - gt|

A learner's own parameters are those of `net`. What steers it is frozen, kept beside and in no state dict. Losses are in
float32, whatever the network computes in. All randomness comes from the batch's numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from patina.training.clip_inputs import tokenize
from patina.training.data import Batch, Index
from patina.training.draws import noise_seed
from patina.training.errors import StageError
from patina.training.models import CATALOGUE, clip_adapter, daclip
from patina.training.models.unet import UNet
from patina.training.sde import IRSDE, noise_loss
from patina.training.stage import Stage

Losses: TypeAlias = dict[str, Tensor]
"""`loss`, whose gradient trains, and its terms."""


class Steering:
    """A frozen CLIP with its controller or adapters: what a restorer is told of the degraded image.

    side  of the squares that it looks at, px, as it was trained; 0: the whole photograph as one view.
    """

    def __init__(self, net: nn.Module, stage: Stage) -> None:
        """Freezes the network."""
        self._look(net.requires_grad_(False).eval(), stage)

    @classmethod
    def of(cls, net: nn.Module, stage: Stage) -> Steering:
        """Of a network that still learns: it is not frozen."""
        steering = cls.__new__(cls)
        steering._look(net, stage)
        return steering

    def _look(self, net: nn.Module, stage: Stage) -> None:
        self.net = net
        self.stage = stage
        self.view = stage.data.view
        self.side = 0 if stage.data.view == "photo" else stage.data.crop

    @property
    def view_side(self) -> int:
        """Side of a view, px."""
        settings: Any = self.net.settings
        return int(settings.image_size)

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        settings: Any = self.net.settings
        return int(settings.embed_dim)

    def to(self, device: torch.device | str) -> Steering:
        """On a device."""
        self.net.to(device)
        return self

    @torch.no_grad()
    def contexts(self, views: Tensor) -> dict[str, Tensor]:
        """The network's inputs beside the images, float32, from B x 3 x V x V views."""
        if isinstance(self.net, clip_adapter.AdaptedClip):
            return {"degradation": self.net.encode_image(views).float()}
        image, degradation = self.net.encode_image(views)  # type: ignore[operator]
        return {"image_context": image.float(), "degradation_context": degradation.float()}


class Texts:
    """Features of texts by a frozen text tower: each text goes through it once in a training.

    Which texts go through it together is decided by all the texts that there are, never by when one is asked for: the
    last bits of a feature depend on its company, and a training that goes on must see the same ones.
    """

    TOGETHER = 256

    def __init__(
        self, encode: Callable[[Tensor], Tensor], length: int, texts: Iterable[str], device: torch.device | str = "cpu"
    ) -> None:
        """`texts`: all that may be asked for."""
        self._encode, self._length, self._device = encode, length, device
        self._texts = sorted(set(texts))
        self._place = {text: k for k, text in enumerate(self._texts)}
        self._rows: dict[int, Tensor] = {}
        self.asked = 0

    @property
    def made(self) -> int:
        """Texts that went through the tower."""
        return sum(len(rows) for rows in self._rows.values())

    def to(self, device: torch.device | str) -> Texts:
        """The same on another device, nothing computed yet."""
        return Texts(self._encode, self._length, self._texts, device)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Features of unit length, B x E."""
        self.asked += len(texts)
        places = [divmod(self._place[text], self.TOGETHER) for text in texts]
        for block in sorted({block for block, _ in places} - set(self._rows)):
            part = self._texts[block * self.TOGETHER : (block + 1) * self.TOGETHER]
            with torch.no_grad():
                features = self._encode(tokenize(part, self._length).to(self._device)).float()
            self._rows[block] = functional.normalize(features, dim=-1)
        return torch.stack([self._rows[block][k] for block, k in places])


class Learner(nn.Module):
    """One objective. `net` learns; the rest of the class says how."""

    net: nn.Module

    @property
    def view_side(self) -> int:
        """Side of the views that a CLIP sees, px; 0: none looks."""
        raise NotImplementedError

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


class Contrastive(Learner):
    """DA-CLIP's controller, `patina.training.models.daclip.joint_loss`; captions and words go through the
    text tower once."""

    def __init__(self, stage: Stage, index: Index) -> None:
        super().__init__()
        self.net = self.clip = _clip(stage, daclip.DaClip)
        self.words = class_texts(stage, index)
        texts = [*index.captions, *self.words]
        self._texts = Texts(self.clip.encode_text, self.clip.settings.context_length, texts)
        self.group = stage.data.group

    @property
    @override
    def view_side(self) -> int:
        return int(self.clip.settings.image_size)

    @override
    def place(self, device: torch.device | str) -> None:
        self._texts = self._texts.to(device)

    @override
    def forward(self, batch: Batch) -> Losses:
        assert batch.view is not None
        image, degra = self.clip.encode_image(batch.view, normalize=True)
        caption = self._texts(batch.captions)
        degradation = self._texts([self.words[entry] for entry in batch.entries.tolist()])
        features = daclip.Features(image.float(), caption, degra.float(), degradation)
        scale, size = self.clip.logit_scale, self.group
        _, captions, words = daclip.joint_loss(features, scale)
        if size:
            parts = [(features.image[i : i + size], caption[i : i + size]) for i in range(0, len(caption), size)]
            captions = torch.stack([daclip.contrastive_terms(x, y, scale).mean() for x, y in parts]).mean()
        return {"loss": captions + words, "caption": captions, "degradation": words}

    @override
    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return daclip.parameter_groups(self.clip, weight_decay)

    @override
    def after_step(self) -> None:
        self.clip.clamp_logit_scale()

    @torch.no_grad()
    def texts(self) -> Tensor:
        """Features of the entries' words, K x E."""
        return self._texts(self.words)

    @override
    def saved(self) -> dict[str, float]:
        return {"texts asked for": self._texts.asked, "texts computed": self._texts.made}


class Prompts(Learner):
    """VLU-Net's adapters. The text tower is frozen and its prompts are fixed, so they go through it once."""

    def __init__(self, stage: Stage, index: Index) -> None:
        super().__init__()
        self.net = self.clip = _clip(stage, clip_adapter.AdaptedClip)
        self.words = class_texts(stage, index)
        self._features: Tensor | None = None

    @property
    @override
    def view_side(self) -> int:
        return int(self.clip.settings.image_size)

    def texts(self) -> Tensor:
        """Features of the entries' prompts, K x E, by the adapter as it is."""
        device = next(self.clip.parameters()).device
        if self._features is None or self._features.device != device:
            tokens = tokenize(self.words, self.clip.settings.context_length).to(device)
            self._features = self.clip.clip_text(tokens).float()
        return self.clip.text_adapter(self._features)  # type: ignore[no-any-return]

    @override
    def forward(self, batch: Batch) -> Losses:
        assert batch.view is not None
        logits = self.clip.encode_image(batch.view) @ self.texts().T
        accuracy = (logits.detach().argmax(dim=1) == batch.entries).float().mean()
        return {"loss": clip_adapter.prompt_loss(logits, batch.entries), "accuracy": accuracy}


class Restoring(Learner):
    """What the learners of restorers share: images in [0, 1], and the contexts of what steers them."""

    def __init__(self, stage: Stage, steering: Steering | None) -> None:
        super().__init__()
        entry = CATALOGUE[stage.network]
        self.stage = stage
        self.net = entry.build(settings_of(stage, steering))
        self._steering = (steering,)  # in a tuple: its parameters are not this module's
        idle: list[str] = getattr(self.net, "parameters_without_effect", list)()
        for name, parameter in self.net.named_parameters():
            if name in idle:  # several processes wait for every gradient that may come
                parameter.requires_grad_(False)

    @property
    def steering(self) -> Steering | None:
        """What steers the network."""
        return self._steering[0]

    @property
    @override
    def view_side(self) -> int:
        return self.steering.view_side if self.steering else 0

    @override
    def place(self, device: torch.device | str) -> None:
        if self.steering:
            self.steering.to(device)

    def contexts(self, batch: Batch) -> dict[str, Tensor]:
        """The network's inputs beside the images."""
        return {} if self.steering is None or batch.view is None else self.steering.contexts(batch.view)


class Sde(Restoring):
    """IR-SDE's losses. Each image's t and z come from a generator of its own, so that no split of a batch matters."""

    def __init__(self, stage: Stage, steering: Steering | None) -> None:
        super().__init__(stage, steering)
        s = stage.sde
        self.sde = IRSDE(s.max_sigma, s.steps, s.schedule, s.eps)
        if s.start == "noise":
            assert isinstance(self.net, UNet)
            self.net.start_as_noise(self.sde.lam)

    @override
    def forward(self, batch: Batch) -> Losses:
        x0, mu = batch.gt.float() / 255, batch.lq.float() / 255
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
        share, times, noises, first = self.stage.sde.first, [], [], []
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
        gt, lq = batch.gt.float() / 255, batch.lq.float() / 255
        restored = self.net(lq, **self.contexts(batch)).float()
        loss = functional.l1_loss(restored, gt) if self.stage.distance == "l1" else functional.mse_loss(restored, gt)
        with torch.no_grad():
            psnr = -10 * (restored.clamp(0, 1) - gt).square().mean(dim=(1, 2, 3)).clamp_min(1e-10).log10().mean()
        return {"loss": loss, "psnr": psnr}


def make_learner(stage: Stage, index: Index, steering: Steering | None) -> Learner:
    """The learner of a stage, its network with starting values from the stage's seed.

    Raises StageError for settings that the network does not have, and if what steers it is of another width.
    """
    if stage.names_degradations:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stage.seed)
            return Contrastive(stage, index) if stage.objective == "contrastive" else Prompts(stage, index)
    if stage.after and steering is None:
        raise StageError(f"stage {stage.name} is steered by {stage.after!r}, which is not there")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        return Sde(stage, steering) if stage.objective == "sde" else Direct(stage, steering)


def settings_of(stage: Stage, steering: Steering | None = None) -> Any:
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
        if steering is None:
            if name != "width" and stage.objective == "sde" and not stage.after:
                changed.setdefault(name, None)
            continue
        if getattr(settings, name) is None and name not in changed:
            continue  # a network built without this context
        if changed.setdefault(name, steering.width) != steering.width:
            raise StageError(
                f"stage {stage.name}: {name} = {changed[name]}, and {stage.after} gives {steering.width} numbers"
            )
    return dataclasses.replace(settings, **changed)


def class_texts(stage: Stage, index: Index) -> list[str]:
    """The text of each entry of the index: the stage's, or the degradation's word, or for prompts a sentence of it."""
    if unknown := sorted(set(stage.words) - set(index.names)):
        raise StageError(f"stage {stage.name}: words of {', '.join(unknown)}; the dataset has {', '.join(index.names)}")
    form = "{}" if stage.objective == "contrastive" else "image with {}"
    return [stage.words.get(n, form.format(w)) for n, w in zip(index.names, index.words, strict=True)]


def _clip(stage: Stage, kind: Any) -> Any:
    settings: Any = settings_of(stage)
    if not stage.clip:
        return kind(settings)
    return kind.pretrained(daclip.OPEN_CLIP[CATALOGUE[stage.network].size], stage.clip)
