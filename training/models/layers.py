"""What several networks share: input checks, padding to a multiple, norms, times, and maps with their channels last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.errors import ModelInputError


def check_images(images: Tensor, *, channels: int = 3, name: str = "images") -> None:
    """Raise ModelInputError unless `images` is B x `channels` x H x W of a floating type, without empty sides."""
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape:
        raise ModelInputError(
            f"{name} of shape {tuple(images.shape)}; expected batch x {channels} x height x width, none of them 0"
        )
    if not images.is_floating_point():
        raise ModelInputError(f"{name} of type {images.dtype}; expected floating numbers in [0, 1]: divide by 255")


def told_not_finite(tensors: Mapping[str, Tensor], most: int = 4) -> str:
    """Which of named tensors hold NaN or infinity, and how many of their numbers; empty if none does. Waits for the
    device."""
    told = []
    for name, tensor in tensors.items():
        numbers = tensor.detach()
        if not (numbers.is_floating_point() or numbers.is_complex()):
            continue
        finite = torch.isfinite(numbers.float() if numbers.element_size() == 1 else numbers)
        if not finite.all():
            told.append(f"{name} ({int((~finite).sum()):,} of {finite.numel():,} numbers)")
    if not told:
        return ""
    shown = ", ".join(told[:most]) + (", …" if len(told) > most else "")
    return f"{len(told):,} of {len(tensors):,} tensors hold NaN or infinity: {shown}"


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
        rows = functional.layer_norm(channels_last(x), (x.shape[1],), self.g.flatten(), None, eps)
        return channels_first(rows).to(x.dtype)  # autocast norms in float32


class Pointwise(nn.Conv2d):
    """1 x 1 convolution of a B x H x W x C map, as one matrix product."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    @property
    def matrix(self) -> Tensor:
        """The weight as a matrix, outputs x inputs."""
        return self.weight.flatten(1)

    def forward(self, input: Tensor) -> Tensor:  # B x H x W x inputs
        """B x H x W x outputs."""
        return functional.linear(input, self.matrix, self.bias)


class Depthwise(nn.Conv2d):
    """3 x 3 convolution of each channel of a B x H x W x C map by itself, zeros around."""

    def __init__(self, channels: int, *, bias: bool = True) -> None:
        super().__init__(channels, channels, 3, padding=1, groups=channels, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # B x H x W x C
        """B x H x W x C."""
        return depthwise(input, self.weight, self.bias)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each channel of a B x H x W x C map with its own 3 x 3 kernel (C x 1 x 3 x 3), zeros around."""
    return channels_last(functional.conv2d(channels_first(x), weight, bias, padding=1, groups=len(weight)))


def channels_first(x: Tensor) -> Tensor:
    """B x H x W x C seen as B x C x H x W; nothing is moved."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """B x C x H x W seen as B x H x W x C; nothing is moved."""
    return x.permute(0, 2, 3, 1)


def one_time_an_image(t: Tensor | float, images: Tensor) -> Tensor:
    """A number or a vector of times as a B-vector beside the images. Raises ModelInputError for any other shape."""
    times = torch.as_tensor(t, device=images.device)
    if times.shape not in ((), (1,), (len(images),)):
        raise ModelInputError(f"t of shape {tuple(times.shape)}; expected one number or {len(images)}, one an image")
    return times.expand(len(images))


def time_frequencies(size: int, device: torch.device | None = None) -> Tensor:
    """The `size` // 2 frequencies exp(-k ln(10000) / (size/2 - 1)) of a sinusoidal embedding, float32."""
    half = size // 2
    return torch.exp(torch.arange(half, device=device) * (-math.log(10_000) / (half - 1)))


def embed_time(t: Tensor, frequencies: Tensor) -> Tensor:
    """[sin(t f), cos(t f)] of a B-vector: B x 2·frequencies, t as it is (1..100)."""
    angles = t.to(frequencies.dtype)[:, None] * frequencies[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def is_grey(net: nn.Module) -> bool:
    """Whether a restorer takes and gives images of one channel: U-Nets and NAFNets of `channels = 1`."""
    settings = getattr(net, "settings", None)
    return type(settings).__name__ in IMAGE_CHANNELS and getattr(settings, "channels", 3) == 1


IMAGE_CHANNELS = ("UNetSettings", "NAFNetSettings", "DirectNAFNetSettings")
"""Settings whose `channels` are those of an image; VLU-Net's are the width of its first level."""
