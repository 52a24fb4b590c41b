"""What several networks share: input checks, padding to a multiple, the channel norm and the time frequencies."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import ModelInputError


def check_images(images: Tensor, *, channels: int = 3, name: str = "images") -> None:
    """Raise ModelInputError unless `images` is B x `channels` x H x W of a floating type, without empty sides."""
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape:
        raise ModelInputError(
            f"{name} of shape {tuple(images.shape)}; expected batch x {channels} x height x width, none of them 0"
        )
    if not images.is_floating_point():
        raise ModelInputError(f"{name} of type {images.dtype}; expected floating numbers in [0, 1]: divide by 255")


def check_finite(images: Tensor, name: str = "images") -> None:
    """Raise ModelInputError if a number is NaN or infinite. Waits for the device, so it is for the edges of a program:
    networks themselves do not call it."""
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images)).sum())
        raise ModelInputError(f"{name} hold {bad} numbers that are NaN or infinite; mend the input or lower the rate")


def pad_to_multiple(images: Tensor, multiple: int, mode: Literal["reflect", "constant"]) -> Tensor:
    """Pad right and bottom so that both sides divide by `multiple`; crop with `[..., :h, :w]` afterwards.

    Raises ModelInputError where reflection would need more pixels than a side has.
    """
    height, width = images.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if mode == "reflect" and (bottom >= height or right >= width):
        raise ModelInputError(
            f"images of {width}×{height} px are too small: reflection to multiples of {multiple} needs sides of more "
            f"than {multiple // 2} px; enlarge or pad them first"
        )
    return functional.pad(images, (0, right, 0, bottom), mode=mode) if bottom or right else images


class ChannelNorm(nn.Module):
    """Norm over the channels of each pixel with a gain and no bias: (x - mean) / sqrt(var + eps) * g.

    Biased variance; eps is 1e-5 in float32 and 1e-3 in every other type, as published. The type is that of the weights:
    under autocast they are float32 and so are the statistics, whatever the map is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:  # B x C x H x W
        """The normed map, of x's shape and type."""
        eps = 1e-5 if self.g.dtype == torch.float32 else 1e-3
        # A layer norm over the last axis: one pass, and in channels-last memory without a copy.
        rows = functional.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.g.flatten(), None, eps)
        return rows.permute(0, 3, 1, 2).to(x.dtype)  # autocast norms in float32


def time_frequencies(size: int, device: torch.device | None = None) -> Tensor:
    """The `size` // 2 frequencies exp(-k ln(10000) / (size/2 - 1)) of a sinusoidal embedding, float32."""
    half = size // 2
    return torch.exp(torch.arange(half, device=device) * (-math.log(10_000) / (half - 1)))


def embed_time(t: Tensor, frequencies: Tensor) -> Tensor:
    """[sin(t f), cos(t f)] of a B-vector: B x 2·frequencies, t as it is (1..100)."""
    angles = t.to(frequencies.dtype)[:, None] * frequencies[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=1)
