"""VLU-Net's degradation vector (Zeng et al., CVPR 2025): a frozen CLIP with one small adapter behind each tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.errors import ModelInputError
from patina.training.models import daclip
from patina.training.models.daclip import (
    ClipSettings,
    build_clip,
    check_size,
    check_tokens,
    pretrained_clip,
    settings_named,
)

PROMPTS = (
    "image with noise",
    "image with many noise",
    "image with large amount of noise",
    "image with haze",
    "image with rain",
    "image with blur",
    "image with low light",
)
"""Texts of the fine-tuning in its classes' order: noise 15, 25, 50, haze, rain; with five tasks blur, low light."""

ENTRY_OF_PROMPT = dict(
    zip(PROMPTS, ("noisy-15", "noisy-25", "noisy-50", "hazy", "rainy", "motion-blurry", "low-light"), strict=True)
)
"""The entries of recipes that the prompts stand for."""

DEPTH = 3


@dataclass(frozen=True)
class ClipAdapterSettings(ClipSettings):
    """A CLIP's shape, and what bends the adapters' layers.

    The released weights were trained with `leaky_relu` (slope 0.01) and restore with `gelu`: the restorers were trained
    on what the second gives, so it is the default; fine-tuning as published takes the first.
    """

    activation: Literal["gelu", "leaky_relu"] = "gelu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ("gelu", "leaky_relu"):
            raise ModelInputError(f"activation {self.activation!r}; expected 'gelu' or 'leaky_relu'")


VIT_B_32 = ClipAdapterSettings()
"""Of the paper, on OpenCLIP's weights `laion2b_s34b_b79k`."""

TINY = ClipAdapterSettings(**vars(daclip.TINY))


class Adapter(nn.Module):
    """Three times linear and layer norm, the activation between them: B x E to B x E."""

    def __init__(self, width: int, activation: Literal["gelu", "leaky_relu"]) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(DEPTH))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(DEPTH))
        self.activation = nn.GELU() if activation == "gelu" else nn.LeakyReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Adapted features; those of CLIP enter as they are, not normalised."""
        x = self.norms[0](self.linears[0](features))
        for linear, norm in zip(self.linears[1:], self.norms[1:], strict=True):
            x = norm(linear(self.activation(x)))
        return x  # type: ignore[no-any-return]


class AdaptedClip(nn.Module):
    """`clip` is frozen; `image_adapter` and `text_adapter` learn."""

    def __init__(self, settings: ClipAdapterSettings, *, clip: Any = None) -> None:
        """`clip`: one of these settings, frozen; else one is built with random starting values."""
        super().__init__()
        self.settings = settings
        self.clip: Any = build_clip(settings) if clip is None else clip
        self.image_adapter = Adapter(settings.embed_dim, settings.activation)
        self.text_adapter = Adapter(settings.embed_dim, settings.activation)

    @classmethod
    def pretrained(
        cls,
        model: str = "ViT-B-32",
        weights: str = "laion2b_s34b_b79k",
        activation: Literal["gelu", "leaky_relu"] = "gelu",
    ) -> AdaptedClip:
        """The start of a fine-tuning: CLIP by open_clip's name, its weights by tag or local file, random adapters.

        Raises ModelInputError for the name, daclip.ClipWeightsError for the weights.
        """
        clip = pretrained_clip(model, weights)
        return cls(ClipAdapterSettings(**vars(settings_named(model)), activation=activation), clip=clip)

    def train(self, mode: bool = True) -> AdaptedClip:
        """Training mode for the adapters; CLIP stays in eval mode."""
        super().train(mode)
        self.clip.eval()
        return self

    @torch.no_grad()
    def clip_image(self, images: Tensor) -> Tensor:
        """CLIP's features of B x 3 x S x S views (`patina.training.data.views`): B x E, without gradient.

        They never change, so a fine-tuning may keep them. Raises ModelInputError.
        """
        check_size(images, self.settings)
        return daclip.image_features(self.clip.visual, images)

    def clip_text(self, tokens: Tensor) -> Tensor:
        """CLIP's features of token rows, B x up to 77 integers: B x E, without gradient. Raises ModelInputError."""
        check_tokens(tokens, self.settings)
        return daclip.text_features(self.clip, tokens)

    def encode_image(self, images: Tensor) -> Tensor:
        """The degradation vectors d of VLU-Net, not normalised: B x 3 x S x S to B x E."""
        return self.image_adapter(self.clip_image(images))  # type: ignore[no-any-return]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Adapted features of the prompts, not normalised: K x L to K x E."""
        return self.text_adapter(self.clip_text(tokens))  # type: ignore[no-any-return]

    def forward(self, images: Tensor, prompts: Tensor) -> Tensor:
        """Logits of B views against K prompts' tokens, products without norm or temperature: B x K."""
        return self.encode_image(images) @ self.encode_text(prompts).T


def prompt_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of B x K logits over the prompts, images to texts only; labels are B integers."""
    return functional.cross_entropy(logits.float(), labels)
