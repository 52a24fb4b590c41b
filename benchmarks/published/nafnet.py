"""Refusion's conditional NAFNet in its published structure, from the facts alone: `patina.training.models.nafnet` is
timed against it.

What is slow in it, and kept here on purpose: every map is channels-first, so the norm over channels strides through
memory, with variance and mean in two passes and four more for the rest; scale, shift, attention and residual gain are
passes of their own; gate(e) is taken anew in each block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a * b


class TimeSinusoids(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, t: Tensor) -> Tensor:
        half = self.size // 2
        f = torch.exp(torch.arange(half, device=t.device) * -(math.log(10_000) / (half - 1)))
        angles = t[:, None] * f[None, :]
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class GainNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        eps = 1e-5 if x.dtype == torch.float32 else 1e-3
        variance = torch.var(x, dim=1, unbiased=False, keepdim=True)
        mean = torch.mean(x, dim=1, keepdim=True)
        return (x - mean) * (variance + eps).rsqrt() * self.g


class Block(nn.Module):
    def __init__(self, c: int, embedding: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Gate(), nn.Linear(embedding // 2, 4 * c))
        self.conv1 = nn.Conv2d(c, 2 * c, 1)
        self.conv2 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
        self.conv3 = nn.Conv2d(c, c, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1))
        self.conv4 = nn.Conv2d(c, 2 * c, 1)
        self.conv5 = nn.Conv2d(c, c, 1)
        self.norm1 = GainNorm(c)
        self.norm2 = GainNorm(c)
        self.gate = Gate()
        self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        shift1, scale1, shift2, scale2 = self.mlp(e)[:, :, None, None].chunk(4, dim=1)
        y = self.norm1(x)
        y = y * (scale1 + 1) + shift1
        y = self.conv2(self.conv1(y))
        y = self.gate(y)
        y = y * self.sca(y)
        y = self.conv3(y)
        x = x + y * self.beta
        y = self.norm2(x)
        y = y * (scale2 + 1) + shift2
        y = self.gate(self.conv4(y))
        y = self.conv5(y)
        return x + y * self.gamma


class PublishedNAFNet(nn.Module):
    """forward(x_t, mu, t): the noise estimate, of x_t's shape."""

    def __init__(self, width: int, encoders: list[int], middle: int, decoders: list[int]) -> None:
        super().__init__()
        e = 4 * width
        self.time_mlp = nn.Sequential(TimeSinusoids(width), nn.Linear(width, 2 * e), Gate(), nn.Linear(e, e))
        self.intro = nn.Conv2d(6, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        c = width
        for count in encoders:
            self.encoders.append(nn.ModuleList(Block(c, e) for _ in range(count)))
            self.downs.append(nn.Conv2d(c, 2 * c, 2, stride=2))
            c *= 2
        self.middle_blks = nn.ModuleList(Block(c, e) for _ in range(middle))
        for count in decoders:
            self.ups.append(nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)))
            c //= 2
            self.decoders.append(nn.ModuleList(Block(c, e) for _ in range(count)))
        self.multiple = 2 ** len(encoders)

    def forward(self, x_t: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        e = self.time_mlp(t)
        x = torch.cat((x_t - mu, mu), dim=1)
        height, width = x.shape[-2:]
        x = self.intro(functional.pad(x, (0, -width % self.multiple, 0, -height % self.multiple)))
        stored = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, e)
            stored.append(x)
            x = down(x)
        for block in self.middle_blks:
            x = block(x, e)
        for blocks, up in zip(self.decoders, self.ups, strict=True):
            x = up(x) + stored.pop()
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, e)
        return self.ending(x)[..., :height, :width]


def build(state: Mapping[str, Tensor]) -> nn.Module:
    """The published network with these tensors (published names); widths and depths are read off their shapes."""

    def blocks(side: str) -> list[int]:
        places = {tuple(int(n) for n in name.split(".")[1:3]) for name in state if name.startswith(side)}
        return [sum(level == i for level, _ in places) for i in range(1 + max(level for level, _ in places))]

    middle = len({name.split(".")[1] for name in state if name.startswith("middle_blks")})
    net = PublishedNAFNet(state["intro.weight"].shape[0], blocks("encoders"), middle, blocks("decoders"))
    net.load_state_dict(state)
    return net
