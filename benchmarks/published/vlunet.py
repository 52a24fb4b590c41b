"""VLU-Net as its published structure runs, under the published names: what training/models/vlunet.py is timed against.

Written from the description of the published network, so that a comparison needs nothing of it. The same numbers, the
slow way: maps as batch x channels x height x width in memory, layer norms through a transpose to rows and back, prompts
repeated for the batch and summed, prompt maps resized before their first convolution, queries and keys normalised map
by map, attention in two products with copies between.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

Shapes = Mapping[str, torch.Size]
STAGES = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
STAGES += ("decoder_level3", "decoder_level2", "decoder_level1", "refinement")


def _conv(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


def _attend(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor, heads: int) -> Tensor:
    b, c, h, w = q.shape
    q, k, v = (x.reshape(b, heads, c // heads, h * w) for x in (q, k, v))
    q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
    weights = ((q @ k.transpose(-2, -1)) * temperature).softmax(dim=-1)
    return (weights @ v).reshape(b, c, h, w)


class Rows(nn.Module):
    """Gain and bias of a layer norm over rows of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        var = x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + 1e-5) * self.weight + self.bias


class Norm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = Rows(channels)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        rows = x.reshape(b, c, h * w).transpose(1, 2).contiguous()
        return self.body(rows).transpose(1, 2).contiguous().reshape(b, c, h, w)


class SelfAttention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _conv(channels, 3 * channels, 1)
        self.qkv_dwconv = _conv(3 * channels, 3 * channels, 3, groups=3 * channels)
        self.project_out = _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        return self.project_out(_attend(q, k, v, self.temperature, self.heads))


class CrossAttention(nn.Module):
    def __init__(self, channels: int, prompt: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(2, 1, 1))
        self.qv = _conv(channels, 2 * channels, 1)
        self.qv_dwconv = _conv(2 * channels, 2 * channels, 3, groups=2 * channels)
        self.k = _conv(prompt, channels, 1)
        self.k_dwconv = _conv(channels, channels, 3, groups=channels)
        self.project_out = _conv(channels, channels, 1)

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        q, v = self.qv_dwconv(self.qv(x)).chunk(2, dim=1)
        k = self.k_dwconv(self.k(prompt))
        return self.project_out(_attend(q, k, v, self.temperature, 2))


class Descent(nn.Module):
    def __init__(self, shapes: Shapes, prefix: str) -> None:
        super().__init__()
        prompts = shapes[f"{prefix}.prompt_param"]
        channels = shapes[f"{prefix}.phi.k.weight"][0]
        self.r = nn.Parameter(torch.ones(1))
        self.prompt_param = nn.Parameter(torch.rand(prompts))
        self.phi = CrossAttention(channels, prompts[2])
        self.phit = SelfAttention(channels, 2)
        self.linear = nn.Linear(shapes[f"{prefix}.linear.weight"][1], prompts[1])

    def forward(self, x: Tensor, y: Tensor, degradation: Tensor) -> Tensor:
        b, _, h, w = x.shape
        scores = self.linear(degradation).softmax(dim=1)[:, :, None, None, None]
        prompt = (scores * self.prompt_param.repeat(b, 1, 1, 1, 1)).sum(dim=1)
        prompt = functional.interpolate(prompt, (h, w), mode="bilinear")
        return x - self.r * self.phit(self.phi(x, prompt) - y)


class FeedForward(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.project_in = _conv(channels, 2 * hidden, 1)
        self.dwconv = _conv(2 * hidden, 2 * hidden, 3, groups=2 * hidden)
        self.project_out = _conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(functional.gelu(a) * b)


class Block(nn.Module):
    def __init__(self, shapes: Shapes, prefix: str) -> None:
        super().__init__()
        channels, hidden = shapes[f"{prefix}.ffn.project_out.weight"][:2]
        self.norm1 = Norm(channels)
        self.attn = SelfAttention(channels, shapes[f"{prefix}.attn.temperature"][0])
        self.norm2 = Norm(channels)
        self.ffn = FeedForward(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Denoiser(nn.Module):
    def __init__(self, shapes: Shapes, prefix: str) -> None:
        super().__init__()
        blocks = sum(name.startswith(prefix) and name.endswith(".attn.temperature") for name in shapes)
        self.blocks = nn.Sequential(*(Block(shapes, f"{prefix}.blocks.{i}") for i in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Stage(nn.Module):
    def __init__(self, shapes: Shapes, prefix: str) -> None:
        super().__init__()
        self.gradient_descent = Descent(shapes, f"{prefix}.gradient_descent")
        self.denoiser = Denoiser(shapes, f"{prefix}.denoiser")

    def forward(self, x: Tensor, y: Tensor, degradation: Tensor) -> Tensor:
        return self.denoiser(self.gradient_descent(x, y, degradation))


class Resample(nn.Module):
    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        outputs, change = (2 * channels, nn.PixelShuffle(2)) if up else (channels // 2, nn.PixelUnshuffle(2))
        self.body = nn.Sequential(_conv(channels, outputs, 3), change)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Embed(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = _conv(3, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Net(nn.Module):
    """The published network: sides must be multiples of 8."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        c = shapes["patch_embed.proj.weight"][0]
        self.patch_embed, self.patch_embed_i = Embed(c), Embed(c)
        for name in STAGES:
            setattr(self, name, Stage(shapes, name))
        for tail in ("", "_i"):
            setattr(self, f"down1_2{tail}", Resample(c, up=False))
            setattr(self, f"down2_3{tail}", Resample(2 * c, up=False))
            setattr(self, f"down3_4{tail}", Resample(4 * c, up=False))
            setattr(self, f"up4_3{tail}", Resample(8 * c, up=True))
            setattr(self, f"up3_2{tail}", Resample(4 * c, up=True))
            setattr(self, f"up2_1{tail}", Resample(2 * c, up=True))
        for tail in ("", "_img"):
            setattr(self, f"reduce_chan_level3{tail}", _conv(8 * c, 4 * c, 1))
            setattr(self, f"reduce_chan_level2{tail}", _conv(4 * c, 2 * c, 1))
        self.output = _conv(2 * c, 3, 3)

    def forward(self, images: Tensor, degradation: Tensor) -> Tensor:
        y1 = self.patch_embed_i(images)
        o1 = self.encoder_level1(self.patch_embed(images), y1, degradation)
        y2 = self.down1_2(y1)
        o2 = self.encoder_level2(self.down1_2(o1), y2, degradation)
        y3 = self.down2_3_i(y2)
        o3 = self.encoder_level3(self.down2_3(o2), y3, degradation)
        y4 = self.down3_4_i(y3)
        x = self.latent(self.down3_4(o3), y4, degradation)
        x = self.reduce_chan_level3(torch.cat((self.up4_3(x), o3), 1))
        y = self.reduce_chan_level3_img(torch.cat((self.up4_3_i(y4), y3), 1))
        x = self.decoder_level3(x, y, degradation)
        x = self.reduce_chan_level2(torch.cat((self.up3_2(x), o2), 1))
        y = self.reduce_chan_level2_img(torch.cat((self.up3_2_i(y), y2), 1))
        x = self.decoder_level2(x, y, degradation)
        x = torch.cat((self.up2_1(x), o1), 1)
        y = torch.cat((self.up2_1_i(y), y1), 1)
        x = self.decoder_level1(x, y, degradation)
        return self.output(self.refinement(x, y, degradation)) + images


def build(state: Mapping[str, Tensor]) -> nn.Module:
    """The network with a published state dict in it; all sizes are read from its shapes."""
    net = Net({name: tensor.shape for name, tensor in state.items()})
    net.load_state_dict(dict(state))
    return net
