"""NAFNet (Chen et al., ECCV 2022) with conditions: Refusion's, which estimates noise, and one that restores at once.

    eps_hat = NAFNet(x_t, mu, t)                            Refusion (Luo et al., CVPRW 2023)
    hq = lq + DirectNAFNet(lq; content, degradation)        "NAFNet + DA-CLIP" (Luo et al., ICLR 2024)

A pyramid of blocks without nonlinear functions other than gate(x) = a ⊙ b, a and b the two halves of the channels. The
condition is one embedding e of the time, or of the degradation, that each block reads:

    shift1, scale1, shift2, scale2 = W_e gate(e)
    y = norm(x) (1 + scale1) + shift1,   x := x + β W3 attend(gate(depthwise(W1 y)))          positions are mixed
    y = norm(x) (1 + scale2) + shift2,   x := x + γ W5 gate(W4 y)                             channels only

Maps inside are B x H x W x C in memory. A 1 x 1 convolution is then a matrix product over rows, and the norm over the
channels reads neighbours; channels first, that norm alone strides through the whole map several times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.errors import ModelInputError
from patina.training.models.conditioning import (
    DegradationPrompt,
    SpatialTransformer,
    check_context,
    parameters_idle_with_one_token,
)
from patina.training.models.layers import (
    Depthwise,
    Pointwise,
    channels_first,
    channels_last,
    check_images,
    embed_time,
    one_time_an_image,
    pad_to_multiple,
    time_frequencies,
)


@dataclass(frozen=True)
class NAFNetSettings:
    """All that decides the shapes. Raises ModelInputError if both sides have not equally many levels.

    width           channels of the first level, doubled at each level below; also the number of sines and cosines of t.
    encoder_blocks  blocks of each level on the way down, first level first.
    middle_blocks   blocks at the bottom.
    decoder_blocks  blocks of each level on the way up, lowest level first.
    channels        of an image.
    """

    width: int = 64
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 28)
    middle_blocks: int = 1
    decoder_blocks: tuple[int, ...] = (1, 1, 1, 1)
    channels: int = 3

    def __post_init__(self) -> None:
        if len(self.encoder_blocks) != len(self.decoder_blocks) or not self.encoder_blocks:
            raise ModelInputError(
                f"{len(self.encoder_blocks)} levels down and {len(self.decoder_blocks)} up; expected equally many"
            )

    @property
    def multiple(self) -> int:
        """What sides are padded to: every level halves them."""
        return 1 << len(self.encoder_blocks)

    @property
    def embedding(self) -> int:
        """Length of the embedding e."""
        return 4 * self.width


@dataclass(frozen=True)
class DirectNAFNetSettings(NAFNetSettings):
    """The same pyramid without a time, with DA-CLIP's two embeddings.

    image_context, degradation_context  their widths.
    residual                            the network's result is what is added to the degraded image, as in NAFNet.
    """

    image_context: int = 512
    degradation_context: int = 512
    residual: bool = True


REFUSION = NAFNetSettings()
"""Of Refusion's released models: 76 608 387 parameters."""
DIRECT = DirectNAFNetSettings()
"""DA-CLIP's "NAFNet + DA-CLIP" on Refusion's pyramid. Neither its code nor its weights were published."""
TINY = NAFNetSettings(width=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1))
DIRECT_TINY = DirectNAFNetSettings(width=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1))


class NAFNet(nn.Module):
    """Estimates the noise in a state of the IR-SDE. Starts as published: β and γ zero, the rest as PyTorch has it."""

    def __init__(self, settings: NAFNetSettings = REFUSION) -> None:
        super().__init__()
        self.settings = settings
        self.time = TimeEmbedding(settings.width, settings.embedding)
        self.pyramid = Pyramid(settings, 2 * settings.channels)

    def forward(
        self,
        x_t: Tensor,
        mu: Tensor,
        t: Tensor | float,
        image_context: Tensor | None = None,
        degradation_context: Tensor | None = None,
    ) -> Tensor:
        """The noise estimate eps_hat, B x channels x H x W, for any H and W.

        x_t, mu  B x channels x H x W, RGB of about [0, 1]: the state and the degraded image.
        t        a number or a B-vector, whole or not, 1..T. (A compiled network wants a tensor.)

        The contexts are taken so that all restorers are called alike; this network has no use for them, as published.

        Raises ModelInputError for wrong shapes and types.
        """
        check_images(x_t, channels=self.settings.channels, name="x_t")
        check_images(mu, channels=self.settings.channels, name="mu")
        if x_t.shape != mu.shape:
            raise ModelInputError(f"x_t of shape {tuple(x_t.shape)} and mu of {tuple(mu.shape)}; expected equal shapes")
        e = self.time(one_time_an_image(t, x_t))  # B x embedding
        eps_hat: Tensor = self.pyramid(torch.cat((x_t - mu, mu), dim=1), e)
        return eps_hat


class DirectNAFNet(nn.Module):
    """Restores in one pass, steered by DA-CLIP's embeddings.

    Its authors say how they enter: the prompt of the degradation is the embedding e of every block, and at the bottom
    the content enters by cross attention where the other blocks have their channel attention. What they do not say is
    chosen so: the bottom is the blocks of lowest resolution (`middle_blocks`); the attention is the U-Net's
    spatial transformer, which starts as the identity; the result is added to the degraded image, as in NAFNet itself,
    since that is nearer to the answer than nothing. β and γ start at zero.
    """

    def __init__(self, settings: DirectNAFNetSettings = DIRECT) -> None:
        super().__init__()
        self.settings = settings
        self.prompt = DegradationPrompt(settings.degradation_context, settings.embedding)
        self.pyramid = Pyramid(settings, settings.channels, settings.image_context)

    def forward(
        self, lq: Tensor, image_context: Tensor | None = None, degradation_context: Tensor | None = None
    ) -> Tensor:
        """The restored images, B x channels x H x W, about [0, 1], not clamped, for any H and W.

        lq                   B x channels x H x W, RGB in [0, 1]: the degraded images.
        image_context        B x image_context, one content embedding an image (or B x N x image_context, N tokens).
                             Without it the cross attention is left out.
        degradation_context  B x degradation_context. Without it e is zero: of shifts and scales the biases stay.

        Raises ModelInputError for wrong shapes and types.
        """
        settings = self.settings
        check_images(lq, channels=settings.channels, name="lq")
        if image_context is not None:
            check_context(image_context, lq, settings.image_context, tokens=True, name="image_context")
            image_context = image_context[:, None] if image_context.ndim == 2 else image_context  # B x N x D
        if degradation_context is None:
            e = lq.new_zeros(len(lq), settings.embedding)
        else:
            check_context(degradation_context, lq, settings.degradation_context, name="degradation_context")
            e = self.prompt(degradation_context)
        result: Tensor = self.pyramid(lq, e, image_context)
        return lq + result if settings.residual else result

    def parameters_without_effect(self) -> list[str]:
        """Names of the parameters that have no effect on results as long as the image context is one token an image.

        They get no gradient (None). Freeze them where all trained parameters must get one, as in data-parallel runs.
        """
        return parameters_idle_with_one_token(self)


class Pyramid(nn.Module):
    """From a map to an image of its size: blocks, halved on the way down, doubled on the way up, maps added across."""

    def __init__(self, settings: NAFNetSettings, inputs: int, image_context: int | None = None) -> None:
        super().__init__()
        self.multiple = settings.multiple
        e = settings.embedding

        def blocks(count: int, channels: int, context: int | None = None) -> nn.ModuleList:
            return nn.ModuleList(Block(channels, e, context) for _ in range(count))

        down = [settings.width << level for level in range(len(settings.encoder_blocks))]
        up, bottom = down[::-1], 2 * down[-1]
        self.intro = nn.Conv2d(inputs, settings.width, 3, padding=1)
        self.encoders = nn.ModuleList(blocks(n, c) for n, c in zip(settings.encoder_blocks, down, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in down)
        self.middle = blocks(settings.middle_blocks, bottom, image_context)
        self.ups = nn.ModuleList(Double(2 * c) for c in up)
        self.decoders = nn.ModuleList(blocks(n, c) for n, c in zip(settings.decoder_blocks, up, strict=True))
        self.ending = nn.Conv2d(settings.width, settings.channels, 3, padding=1)

    def forward(self, images: Tensor, e: Tensor, context: Tensor | None = None) -> Tensor:
        """B x channels x H x W from B x inputs x H x W, B x embedding and B x N x image_context.

        Zeros are added right and below to full multiples, as published, and cut off at the end.
        """
        height, width = images.shape[-2:]
        images = pad_to_multiple(images, self.multiple, "constant").contiguous(memory_format=torch.channels_last)
        gated = gate(e)  # what every block begins with: B x embedding/2
        x = channels_last(self.intro(images))  # B x H x W x C

        kept = []
        for level, down in zip(self.encoders, self.downs, strict=True):
            for block in level:  # type: ignore[attr-defined]
                x = block(x, gated)
            kept.append(x)
            x = channels_last(down(channels_first(x)))  # B x H/2 x W/2 x 2C
        for block in self.middle:
            x = block(x, gated, context)
        for level, up in zip(self.decoders, self.ups, strict=True):
            x = up(x) + kept.pop()  # B x 2H x 2W x C/2
            for block in level:  # type: ignore[attr-defined]
                x = block(x, gated)

        return self.ending(channels_first(x))[..., :height, :width].contiguous()  # type: ignore[no-any-return]


class Block(nn.Module):
    """One block of NAFNet with shifts and scales from the embedding (the equations above).

    `context` is the width of content tokens: then the attention is to them and not the channel attention.
    """

    def __init__(self, channels: int, e: int, context: int | None = None) -> None:
        super().__init__()
        self.shift_scale = nn.Linear(e // 2, 4 * channels)
        self.mix_norm = GainNorm(channels)
        self.mix_widen = Pointwise(channels, 2 * channels)
        self.mix_depthwise = Depthwise(2 * channels)
        self.attend = ChannelAttention(channels) if context is None else ContentAttention(channels, context)
        self.mix_out = Pointwise(channels, channels)
        self.feed_norm = GainNorm(channels)
        self.feed_widen = Pointwise(channels, 2 * channels)
        self.feed_out = Pointwise(channels, channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, gated: Tensor, context: Tensor | None = None) -> Tensor:
        """B x H x W x C from the same, gate(e) (B x embedding/2) and tokens (B x N x context)."""
        shift1, scale1, shift2, scale2 = self.shift_scale(gated)[:, None, None].chunk(4, dim=-1)  # B x 1 x 1 x C each

        y = torch.addcmul(shift1, self.mix_norm(x), 1 + scale1)
        y = gate(self.mix_depthwise(self.mix_widen(y)))  # B x H x W x C
        y = self.mix_out(self.attend(y, context))
        x = torch.addcmul(x, y, gain(self.beta, y))

        y = torch.addcmul(shift2, self.feed_norm(x), 1 + scale2)
        y = self.feed_out(gate(self.feed_widen(y)))
        return torch.addcmul(x, y, gain(self.gamma, y))


class ChannelAttention(nn.Module):
    """NAFNet's simplified channel attention: y ⊙ (W mean(y) + b), the mean over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = Pointwise(channels, channels)

    def forward(self, y: Tensor, context: Tensor | None = None) -> Tensor:  # B x H x W x C
        """B x H x W x C. The context has no part in it."""
        weighted: Tensor = y * self.weigh(y.mean(dim=(1, 2), keepdim=True))
        return weighted


class ContentAttention(nn.Module):
    """The U-Net's spatial transformer with the content embedding as its context. Starts as the identity."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.transformer = SpatialTransformer(channels, context)

    def forward(self, y: Tensor, context: Tensor | None = None) -> Tensor:  # B x H x W x C, B x N x context
        """B x H x W x C."""
        return channels_last(self.transformer(channels_first(y), context))


class TimeEmbedding(nn.Module):
    """e = W gate(V [sines and cosines of t])."""

    def __init__(self, size: int, e: int) -> None:
        super().__init__()
        self.size = size
        self.widen = nn.Linear(size, 2 * e)
        self.out = nn.Linear(e, e)

    def forward(self, t: Tensor) -> Tensor:  # B
        """B x e. The angles are in float32 whatever the weights are: t f to 8 bits would be off by half a radian."""
        angles = embed_time(t, time_frequencies(self.size, t.device))  # B x size
        e: Tensor = self.out(gate(self.widen(angles.to(self.widen.weight.dtype))))
        return e


class Double(nn.Module):
    """Twice the sides, half the channels: 1 x 1 convolution to 2C, then each four channels become a 2 x 2 square."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = Pointwise(channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # B x H x W x C
        """B x 2H x 2W x C/2."""
        return channels_last(functional.pixel_shuffle(channels_first(self.widen(x)), 2))


class GainNorm(nn.Module):
    """Norm over the channels with a gain and no bias: `parts.ChannelNorm` for maps with their channels last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:  # B x H x W x C
        """B x H x W x C, of x's type. The published eps is larger for every type but float32. The gain's type decides,
        so that what learnt with one eps does not meet the other under autocast."""
        eps = 1e-5 if self.g.dtype == torch.float32 else 1e-3
        return functional.layer_norm(x, x.shape[-1:], weight=self.g.flatten(), eps=eps).to(x.dtype)


def gain(parameter: Tensor, y: Tensor) -> Tensor:
    """β or γ (1 x C x 1 x 1) for a B x H x W x C map: C numbers of its type. Under autocast float32 ones would take
    all maps after them up to float32, with twice their memory and time."""
    return parameter.flatten().to(y.dtype)


def gate(x: Tensor) -> Tensor:
    """The product of the two halves of the last axis."""
    a, b = x.chunk(2, dim=-1)
    return a * b
