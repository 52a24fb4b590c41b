"""CLIP as it is, without a controller or an adapter: the baselines of DA-CLIP's Table 4."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.models import daclip
from patina.training.models.daclip import ClipSettings, build_clip, check_size, check_tokens

VIT_B_32, TINY = daclip.VIT_B_32, daclip.TINY


class PlainClip(nn.Module):
    """A CLIP whose one image feature stands for content and degradation alike.

    The text tower is frozen; the image tower and the temperature learn, if anything does (Table 4, "CLIP + finetune").
    Untrained it names degradations zero-shot, by the texts of their names.
    """

    def __init__(self, settings: ClipSettings, *, clip: Any = None) -> None:
        """`clip`: one of these settings; else one is built with random starting values."""
        super().__init__()
        self.settings = settings
        self.clip: Any = build_clip(settings) if clip is None else clip
        self.clip.requires_grad_(False)
        self.clip.visual.requires_grad_(True)
        self.logit_scale = nn.Parameter(self.clip.logit_scale.detach().clone())

    @classmethod
    def pretrained(cls, model: str = "ViT-B-32", weights: str = "laion2b_s34b_b79k") -> PlainClip:
        """CLIP by open_clip's name, its weights by tag or local file.

        Raises ModelInputError for the name, daclip.ClipWeightsError for the weights.
        """
        return cls(daclip.settings_named(model), clip=daclip.pretrained_clip(model, weights))

    def encode_image(self, images: Tensor, normalize: bool = False) -> tuple[Tensor, Tensor]:
        """The image features of B x 3 x S x S views, twice, where DA-CLIP has two: B x E each. Raises
        ModelInputError."""
        check_size(images, self.settings)
        features = daclip.image_features(self.clip.visual, images)
        features = functional.normalize(features, dim=-1) if normalize else features
        return features, features

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Features of token rows, B x up to 77 integers, without gradient: B x E. Raises ModelInputError."""
        check_tokens(tokens, self.settings)
        features = daclip.text_features(self.clip, tokens)
        return functional.normalize(features, dim=-1) if normalize else features

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep exp(logit_scale) in 1..100. For after every step of the optimiser."""
        self.logit_scale.clamp_(0, daclip.MAX_LOGIT_SCALE)
