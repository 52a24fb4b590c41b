"""VLU-Net: unfolded gradient descent, steered by a description of the degradation (Zeng et al., CVPR 2025).

A degraded image y = Φ x is restored by minimising |Φ x - y|² / 2 plus a prior: a gradient step on the data, then the
proximal map of the prior, again and again. Each of the eight stages of this network is one such iteration, with a Φ and
a prior of its own, on four levels of resolution:

    x <- x - r Φᵀ(Φ x - y)         D-GDM, `GradientDescent`: Φ knows the degradation by prompts
    x <- prox(x)                   PMM, `Stage.proximal`: a row of Restormer blocks (Zamir et al., CVPR 2022)

Two feature maps travel, x (the estimate) and y (the measurement). Stages change x only; y is carried from level to
level by the same kind of convolutions as x.

    images ─ embed ─ encoder1 ─ down ─ encoder2 ─ down ─ encoder3 ─ down ─ latent       full, 1/2, 1/4, 1/8 of the sides
                        │                 │                 │                │
    restored ─ output ─ refinement, decoder1 ─ up ─ decoder2 ─ up ─ decoder3 ┘

How it is computed. Maps inside are B x H x W x C in memory, so that 1×1 convolutions are matrix products, norms over
the channels read neighbours, and depthwise convolutions run in vectors of channels. Attention over the channels is a
C x C matrix for each image; it takes in the norms of queries and keys and the projection after it, so only one product
with the values reads the whole map again. The numbers are those of the published network up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.errors import ModelInputError
from patina.training.models.layers import (
    Depthwise,
    Pointwise,
    channels_first,
    channels_last,
    check_images,
    depthwise,
    pad_to_multiple,
)

MULTIPLE = 8  # three halvings of both sides
DESCENT_HEADS = 2  # of Φ and Φᵀ, at every level
ROW = 16  # a row of channels of this multiple (64 bytes of float32) is multiplied up to twice as fast


@dataclass(frozen=True)
class VluNetSettings:
    """All that decides the shapes of a network. Sequences have one number for each of the four levels, full size first.

    prompts      how many prompts a D-GDM weighs: about one for each kind of degradation
    width        length of the degradation vector
    channels     of the first level; doubled at each level below
    blocks       Restormer blocks of the stages of a level; of the stage after decoder1: `refinement`
    heads        of their attention
    expansion    hidden channels of a feed-forward network = int(expansion * channels)
    prompt_side  height and width of the first level's prompts; divided by 2, 3 and 4 at the levels below
    """

    prompts: int = 7
    width: int = 512
    channels: int = 48
    blocks: tuple[int, int, int, int] = (4, 6, 6, 8)
    refinement: int = 4
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    expansion: float = 2.66
    prompt_side: int = 96

    def __post_init__(self) -> None:
        """Raise ValueError for channels that the heads do not divide or that leave a prompt without channels."""
        uneven = [heads for level, heads in enumerate(self.heads) if (self.channels << level) % heads]
        if self.channels < 10 or self.channels % DESCENT_HEADS or uneven:
            raise ValueError(
                f"{self.channels} channels with heads {self.heads}; expected an even number of at least 10 that, "
                "doubled from level to level, divides by the heads of each"
            )


SEVEN_PROMPTS = VluNetSettings()
"""Both all-in-one models of the paper, for three and for five tasks, and its denoiser: 35 353 028 parameters."""
FIVE_PROMPTS = VluNetSettings(prompts=5)
"""The other models of the paper that know one task: 34 364 852 parameters."""
TINY = VluNetSettings(channels=12, blocks=(1, 1, 1, 1), refinement=1, heads=(1, 2, 2, 2), prompt_side=24)
"""For a CPU: the same structure, small enough to train in a test."""


class Convolution(nn.Conv2d):
    """3×3 convolution of a B x H x W x C map, zeros around, without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # B x H x W x inputs -> B x H x W x outputs
        """The map with channels and positions mixed."""
        return channels_last(super().forward(channels_first(input)))


def attention(q: Tensor, k: Tensor, temperature: Tensor, projection: Tensor) -> Tensor:
    """Attention over the channels and the projection after it, as one matrix M for each image: the output is v M.

    Restormer's equation 1: A = softmax(τ q̂ᵀ k̂) for each head, q̂ and k̂ being q and k with each channel divided by its
    norm over the positions; then the projection W of A applied to v. Here the norms divide the rows and columns of the
    small qᵀ k, and M = concat_h(A_hᵀ W_hᵀ), so neither q̂, k̂ nor A v is ever laid out. The sums of qᵀ k grow with the
    number of positions: in 16 bits take bfloat16, as float16 ends at 65504.

    q, k         B x H x W x C; heads are blocks of neighbouring channels
    temperature  τ, heads x 1 x 1
    projection   W, C x C
    returns      B x C x C
    """
    heads, channels = temperature.shape[0], q.shape[-1]
    norm_q, norm_k = (channel_norms(x).view(-1, heads, channels // heads) for x in (q, k))  # B x heads x c
    blocks = zip(q.flatten(1, 2).chunk(heads, dim=-1), k.flatten(1, 2).chunk(heads, dim=-1), strict=True)
    products = torch.stack([q_h.mT @ k_h for q_h, k_h in blocks], dim=1)  # B x heads x c x c
    scores = products / (norm_q[..., :, None] * norm_k[..., None, :]) * temperature
    weights = scores.softmax(dim=-1).to(projection.dtype)  # over the channels of the keys
    columns = projection.view(channels, heads, -1).permute(1, 2, 0)  # heads x c x C
    return (weights.mT @ columns).reshape(-1, channels, channels)


def channel_norms(x: Tensor) -> Tensor:
    """The L2 norm of each channel over the positions, B x C, of a B x H x W x C map; float32 also for 16-bit maps.

    At least 1e-12. By a plain sum of squares, which adds in blocks: `linalg.vector_norm` along outer dimensions is ten
    times slower and loses a digit over thousands of positions.
    """
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    return exact.square().sum(dim=(1, 2)).clamp_min(1e-24).sqrt()


def add_product(x: Tensor, rows: Tensor, matrix: Tensor) -> Tensor:
    """x + rows · matrix, position by position: x and rows B x H x W x C, matrix B x C x C."""
    return x + (rows.flatten(1, 2) @ matrix).view(x.shape)


class SelfAttention(nn.Module):
    """Restormer's attention over the channels (MDTA, its section 3.1); also Φᵀ of a D-GDM."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Pointwise(channels, 3 * channels, bias=False)
        self.qkv_mix = Depthwise(3 * channels, bias=False)
        self.project = Pointwise(channels, channels, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B x H x W x C) and matrix (B x C x C), whose product is the output, for a B x H x W x C map."""
        q, k, v = self.qkv_mix(self.qkv(x)).chunk(3, dim=-1)  # B x H x W x C each
        return v, attention(q, k, self.temperature, self.project.matrix)


class CrossAttention(nn.Module):
    """Φ of a D-GDM: attention over the channels with queries and values of x and keys of the prompt."""

    def __init__(self, channels: int, prompt_channels: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(DESCENT_HEADS, 1, 1))
        self.qv = Pointwise(channels, 2 * channels, bias=False)
        self.qv_mix = Depthwise(2 * channels, bias=False)
        self.k = Pointwise(prompt_channels, channels, bias=False)
        self.k_mix = Depthwise(channels, bias=False)
        self.project = Pointwise(channels, channels, bias=False)

    def forward(self, x: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Values and matrix as of SelfAttention, for a map x and a prompt, B x H x W x their channels."""
        q, v = self.qv_mix(self.qv(x)).chunk(2, dim=-1)  # B x H x W x C each
        k = self.k_mix(self.k(prompt))  # B x H x W x C
        return v, attention(q, k, self.temperature, self.project.matrix)


class GradientDescent(nn.Module):
    """D-GDM: x <- x - r Φᵀ(Φ(x, P) - y), with the prompt P that the degradation vector asks for.

    Φ and Φᵀ are learnt apart: nothing makes one the adjoint of the other.
    """

    def __init__(self, settings: VluNetSettings, level: int, channels: int) -> None:
        super().__init__()
        prompt_channels, side = channels // 10 * level, settings.prompt_side // level
        self.r = nn.Parameter(torch.ones(1))
        self.prompts = nn.Parameter(torch.rand(1, settings.prompts, prompt_channels, side, side))
        self.weigh = nn.Linear(settings.width, settings.prompts)
        self.phi = CrossAttention(channels, prompt_channels)
        self.phi_t = SelfAttention(channels, DESCENT_HEADS)

    def prompt(self, degradation: Tensor, height: int, width: int) -> Tensor:
        """P = Σ_k w_k prompts[k] with w = softmax(linear(d)), resized: B x height x width x channels of prompts."""
        w = self.weigh(degradation).softmax(dim=-1).to(self.prompts.dtype)  # B x prompts
        prompt = (w @ self.prompts.flatten(2)[0]).view(-1, *self.prompts.shape[2:])  # B x channels x side x side
        return channels_last(functional.interpolate(prompt, (height, width), mode="bilinear", align_corners=False))

    def forward(self, x: Tensor, y: Tensor, degradation: Tensor) -> Tensor:
        """x after the step, B x H x W x C as x and y are; degradation is B x width."""
        prompt = self.prompt(degradation, *x.shape[1:3])
        u = add_product(-y, *self.phi(x, prompt))  # Φ x - y
        values, matrix = self.phi_t(u)
        return add_product(x, values, -self.r * matrix)


class FeedForward(nn.Module):
    """Restormer's gated feed-forward network (GDFN, its equation 2): W (gelu(a) * b)."""

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        self.hidden = int(expansion * channels)
        self.expand = Pointwise(channels, 2 * self.hidden, bias=False)
        self.mix = Depthwise(2 * self.hidden, bias=False)
        self.project = Pointwise(self.hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # B x H x W x C, kept
        """The change that is added to x before its norm."""
        expand, mix, project = self.expand.matrix, self.mix.weight, self.project.matrix
        if fill := -self.hidden % ROW:  # channels that stay 0: gelu(0) * 0 = 0
            expand = functional.pad(expand.view(2, self.hidden, -1), (0, 0, 0, fill)).flatten(0, 1)
            mix = functional.pad(mix.view(2, self.hidden, 9), (0, 0, 0, fill)).view(-1, 1, 3, 3)
            project = functional.pad(project, (0, fill))
        a, b = depthwise(functional.linear(x, expand), mix).chunk(2, dim=-1)  # B x H x W x hidden each
        return functional.linear(functional.gelu(a) * b, project)


class Block(nn.Module):
    """One Restormer block: x + attention(norm(x)), then x + feed-forward(norm(x)). Norms are over the channels."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:  # B x H x W x C, kept
        """The map one block on."""
        x = add_product(x, *self.attention(self.norm1(x)))
        return x + cast(Tensor, self.feed_forward(self.norm2(x)))


class Stage(nn.Module):
    """One iteration of the unfolded descent: D-GDM, then PMM."""

    def __init__(self, settings: VluNetSettings, level: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.descent = GradientDescent(settings, level, channels)
        heads, expansion = settings.heads[level - 1], settings.expansion
        self.proximal = nn.ModuleList(Block(channels, heads, expansion) for _ in range(blocks))

    def forward(self, x: Tensor, y: Tensor, degradation: Tensor) -> Tensor:
        """x one iteration on, B x H x W x C as x and y are; degradation is B x width."""
        x = self.descent(x, y, degradation)
        for block in self.proximal:
            x = block(x)
        return x


class Down(nn.Module):
    """Half the sides, twice the channels: 3×3 convolution to C/2, then each 2×2 square becomes four channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = Convolution(channels, channels // 2)

    def forward(self, x: Tensor) -> Tensor:  # B x H x W x C -> B x H/2 x W/2 x 2C
        """The map one level down."""
        return channels_last(functional.pixel_unshuffle(channels_first(self.convolution(x)), 2)).contiguous()


class Up(nn.Module):
    """Twice the sides, half the channels: 3×3 convolution to 2C, then each four channels become a 2×2 square."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = Convolution(channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:  # B x H x W x C -> B x 2H x 2W x C/2
        """The map one level up."""
        return channels_last(functional.pixel_shuffle(channels_first(self.convolution(x)), 2)).contiguous()


class VluNet(nn.Module):
    """VLU-Net. `net(images, degradation)` is the restored images, not clamped."""

    def __init__(self, settings: VluNetSettings = SEVEN_PROMPTS) -> None:
        super().__init__()
        self.settings = settings
        c = settings.channels

        def stage(level: int, channels: int, blocks: int | None = None) -> Stage:
            return Stage(settings, level, channels, settings.blocks[level - 1] if blocks is None else blocks)

        self.embed_x, self.embed_y = Convolution(3, c), Convolution(3, c)
        self.encoder1, self.encoder2, self.encoder3 = stage(1, c), stage(2, 2 * c), stage(3, 4 * c)
        self.latent = stage(4, 8 * c)
        # decoder1 and refinement have 2c channels: what comes up is joined to encoder1's map and not reduced
        self.decoder3, self.decoder2, self.decoder1 = stage(3, 4 * c), stage(2, 2 * c), stage(1, 2 * c)
        self.refinement = stage(1, 2 * c, settings.refinement)
        self.down1_x, self.down2_x, self.down3_x = Down(c), Down(2 * c), Down(4 * c)
        # down1_y is published without use: the first y goes down by down1_x, in training as in the released models
        self.down1_y, self.down2_y, self.down3_y = Down(c), Down(2 * c), Down(4 * c)
        self.up3_x, self.up2_x, self.up1_x = Up(8 * c), Up(4 * c), Up(2 * c)
        self.up3_y, self.up2_y, self.up1_y = Up(8 * c), Up(4 * c), Up(2 * c)
        self.reduce3_x, self.reduce3_y = Pointwise(8 * c, 4 * c, bias=False), Pointwise(8 * c, 4 * c, bias=False)
        self.reduce2_x, self.reduce2_y = Pointwise(4 * c, 2 * c, bias=False), Pointwise(4 * c, 2 * c, bias=False)
        self.output = Convolution(2 * c, 3)

    def forward(self, images: Tensor, degradation: Tensor) -> Tensor:
        """The restored images.

        images       B x 3 x H x W, RGB in [0, 1]. Sides that are no multiples of 8 are reflected to the next one inside
                     and cropped afterwards (the published network takes multiples only)
        degradation  B x width: what the degradation is, from the image adapter of the tuned CLIP
        returns      B x 3 x H x W, about [0, 1], not clamped
        """
        check_images(images)
        check_degradation(degradation, len(images), self.settings.width)
        padded = pad_to_multiple(images, MULTIPLE, "reflect")
        pixels, d = channels_last(padded), degradation  # B x H x W x 3

        y1 = self.embed_y(pixels)
        x1 = self.encoder1(self.embed_x(pixels), y1, d)
        y2 = self.down1_x(y1)
        x2 = self.encoder2(self.down1_x(x1), y2, d)
        y3 = self.down2_y(y2)
        x3 = self.encoder3(self.down2_x(x2), y3, d)
        y4 = self.down3_y(y3)
        x = self.latent(self.down3_x(x3), y4, d)

        x = self.reduce3_x(torch.cat((self.up3_x(x), x3), dim=-1))
        y = self.reduce3_y(torch.cat((self.up3_y(y4), y3), dim=-1))
        x = self.decoder3(x, y, d)
        x = self.reduce2_x(torch.cat((self.up2_x(x), x2), dim=-1))
        y = self.reduce2_y(torch.cat((self.up2_y(y), y2), dim=-1))
        x = self.decoder2(x, y, d)
        x = torch.cat((self.up1_x(x), x1), dim=-1)
        y = torch.cat((self.up1_y(y), y1), dim=-1)
        x = self.refinement(self.decoder1(x, y, d), y, d)

        restored = channels_first(self.output(x)) + padded
        return restored[..., : images.shape[-2], : images.shape[-1]].contiguous()

    def parameters_without_effect(self) -> list[str]:
        """Names of the parameters that have no effect on results: `down1_y` is published without use.

        They get no gradient (None). Freeze them where all trained parameters must get one, as in data-parallel runs.
        """
        return [name for name, _ in self.named_parameters() if name.startswith("down1_y.")]


def check_degradation(degradation: Tensor, batch: int, width: int) -> None:
    """Raise ModelInputError unless `degradation` is batch x width of a floating type."""
    if degradation.shape != (batch, width) or not degradation.is_floating_point():
        raise ModelInputError(
            f"degradation of shape {tuple(degradation.shape)} and type {degradation.dtype}; expected floating numbers, "
            f"{batch} x {width}: one vector of the image adapter for each image"
        )
