"""Objectives of CLIP: the controller's and the adapter's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from patina.training.data.batches import Batch
from patina.training.data.index import Index
from patina.training.data.views import tokenize
from patina.training.models import CATALOGUE, clip_adapter, daclip
from patina.training.models.plain_clip import PlainClip
from patina.training.objectives.base import Learner, Losses, settings_of
from patina.training.objectives.texts import Texts, class_texts
from patina.training.stages.stage import Stage


class Contrastive(Learner):
    """DA-CLIP's controller, `patina.training.models.daclip.joint_loss`; captions and degradations go
    through the text tower once.

    Of a plain CLIP, the baseline of DA-CLIP's Table 4, the image tower learns by the degradations' term alone: it has
    one feature, and is asked for the degradation.
    """

    def __init__(self, stage: Stage, index: Index) -> None:
        super().__init__()
        self.net = self.clip = _clip(stage, CATALOGUE[stage.network].class_)
        if stage.controller_start == "random":
            self.clip.start_without_zeros()
        elif stage.controller_start == "published":
            self.clip.start(published=True)
        self.degradation_texts = class_texts(stage, index)
        texts = [*index.captions, *self.degradation_texts]
        self._texts = Texts(self.clip.encode_text, self.clip.settings.context_length, texts)
        self.group = stage.data.group

    @property
    @override
    def view_side(self) -> int:
        return int(self.clip.settings.image_size)

    @property
    @override
    def sees_images(self) -> bool:
        return False

    @override
    def place(self, device: torch.device | str) -> None:
        self._texts = self._texts.to(device)

    @override
    def forward(self, batch: Batch) -> Losses:
        assert batch.view is not None
        image, degra = self.clip.encode_image(batch.view, normalize=True)
        caption = self._texts(batch.captions)
        degradation = self._texts([self.degradation_texts[entry] for entry in batch.entries.tolist()])
        features = daclip.Features(image.float(), caption, degra.float(), degradation)
        scale, size = self.clip.logit_scale, self.group
        _, caption_loss, degradation_loss = daclip.joint_loss(features, scale)
        if size:
            parts = [(features.image[i : i + size], caption[i : i + size]) for i in range(0, len(caption), size)]
            caption_loss = torch.stack([daclip.contrastive_terms(x, y, scale).mean() for x, y in parts]).mean()
        loss = degradation_loss if isinstance(self.net, PlainClip) else caption_loss + degradation_loss
        return {"loss": loss, "caption": caption_loss, "degradation": degradation_loss}

    @override
    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return daclip.parameter_groups(self.clip, weight_decay)

    @override
    def after_step(self) -> None:
        self.clip.clamp_logit_scale()

    @torch.no_grad()
    def texts(self) -> Tensor:
        """Features of the entries' degradations, K x E."""
        return self._texts(self.degradation_texts)

    @override
    def saved(self) -> dict[str, float]:
        return {"texts asked for": self._texts.asked, "texts computed": self._texts.made}


class Prompts(Learner):
    """VLU-Net's adapters. The text tower is frozen and its prompts are fixed, so they go through it once."""

    def __init__(self, stage: Stage, index: Index) -> None:
        super().__init__()
        self.net = self.clip = _clip(stage, clip_adapter.AdaptedClip)
        self.degradation_texts = class_texts(stage, index)
        self._features: Tensor | None = None

    @property
    @override
    def view_side(self) -> int:
        return int(self.clip.settings.image_size)

    @property
    @override
    def sees_images(self) -> bool:
        return False

    def texts(self) -> Tensor:
        """Features of the entries' prompts, K x E, by the adapter as it is."""
        device = next(self.clip.parameters()).device
        if self._features is None or self._features.device != device:
            tokens = tokenize(self.degradation_texts, self.clip.settings.context_length).to(device)
            self._features = self.clip.clip_text(tokens).float()
        return self.clip.text_adapter(self._features)  # type: ignore[no-any-return]

    @override
    def forward(self, batch: Batch) -> Losses:
        assert batch.view is not None
        logits = self.clip.encode_image(batch.view) @ self.texts().T
        accuracy = (logits.detach().argmax(dim=1) == batch.entries).float().mean()
        return {"loss": clip_adapter.prompt_loss(logits, batch.entries), "accuracy": accuracy}


def _clip(stage: Stage, kind: Any) -> Any:
    settings: Any = settings_of(stage)
    if not stage.pretrained:
        return kind(settings)
    return kind.pretrained(daclip.OPEN_CLIP[CATALOGUE[stage.network].size], stage.pretrained)
