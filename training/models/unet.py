"""The conditional U-Nets of IR-SDE and DA-CLIP: the noise in a state x_t, given the degraded image mu and the time t.

    eps_hat = UNet(x_t, mu, t; content, degradation)           IR-SDE, section 3; DA-CLIP, figure 3

    x = conv7(x_t - mu, mu)                                    e = time(t) + prompt(degradation)
    down, per level:  Res(x; e), keep; Res(x; e), attention, keep; halve
    middle:           Res(x; e), attention, Res(x; e)
    up, per level:    Res(x, kept; e); Res(x, kept; e), attention; double
    eps_hat = conv3(Res(x, stem; e))

Attention is linear in the number of positions. With image contexts, the deepest level and the middle have a spatial
transformer instead, whose cross attention reads the content embedding.

The network computes in channels-last memory: its norms are then layer norms over contiguous numbers and its attention
reads maps as rows of tokens without a copy. Callers need not care; weights and results have their usual shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from patina.training.errors import ModelInputError
from patina.training.models.conditioning import (
    DegradationPrompt,
    SpatialTransformer,
    check_context,
    parameters_idle_with_one_token,
)
from patina.training.models.layers import (
    ChannelNorm,
    channels_first,
    channels_last,
    check_images,
    embed_time,
    one_time_an_image,
    pad_to_multiple,
    time_frequencies,
)

HEADS, HEAD_CHANNELS = 4, 32  # of the linear attention, at every width
INNER = HEADS * HEAD_CHANNELS
ENLARGED = ((0, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0))  # `DoubleAndConvolve`'s kernel along one axis, of k0, k1, k2


@dataclass(frozen=True)
class UNetSettings:
    """All that decides the shapes.

    widths               channels of the stem, then after each level on the way down; the last is the middle's.
    image_context        width of the content embedding; None: no spatial transformers.
    degradation_context  width of the degradation embedding; None: no prompt.
    half                 levels work at half the size: a conv of stride 2 after the stem, doubled again before the end.
    channels             of an image.

    Raises ModelInputError for widths of no level.
    """

    widths: tuple[int, ...]
    image_context: int | None = None
    degradation_context: int | None = None
    half: bool = False
    channels: int = 3

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 4:
            raise ModelInputError(f"widths {self.widths}; expected that of the stem and of each level, 4 or more")

    @property
    def depth(self) -> int:
        """Levels on each side."""
        return len(self.widths) - 1

    @property
    def multiple(self) -> int:
        """What sides are padded to. The last level does not halve, so half of it would do; the papers pad to this."""
        return 1 << self.depth

    @property
    def time_width(self) -> int:
        """Width of the time embedding e."""
        return 4 * self.widths[0]


DACLIP = UNetSettings(widths=(64, 64, 128, 256, 512), image_context=512, degradation_context=512)
NO_CONTEXT = UNetSettings(widths=(64, 64, 128, 256, 512))  # "IR-SDE" in DA-CLIP's table of complexities
IRSDE = UNetSettings(widths=(64, 128, 256, 512, 1024))
WILD = UNetSettings(widths=(64, 64, 128, 256, 512), image_context=768, half=True)  # DA-CLIP's follow-up, on ViT-L/14
TINY = UNetSettings(widths=(16, 32, 32), image_context=512, degradation_context=512)
NO_CONTEXT_TINY = UNetSettings(widths=(16, 32, 32))
WILD_TINY = UNetSettings(widths=(16, 32, 32), image_context=768, half=True)


class UNet(nn.Module):
    """Estimates the noise in a state of the IR-SDE.

    Starts as published: PyTorch's own initial values, except that each spatial transformer starts as the identity and
    the prompt uniform in [0, 1). `start_as_noise` gives a start that learns sooner.

    checkpointing   recompute the levels in the backward pass: less memory, about a third more time.
    """

    def __init__(self, settings: UNetSettings, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.checkpointing = checkpointing
        stem, *_, deepest = widths = settings.widths
        e = settings.time_width

        self.stem = nn.Conv2d(2 * settings.channels, stem, 7, padding=3, bias=False)
        self.shrink = nn.Conv2d(stem, stem, 4, stride=2, padding=1) if settings.half else None
        self.enlarge = DoubleAndConvolve(stem, stem) if settings.half else None
        self.time = TimeEmbedding(stem, e)
        prompted = settings.degradation_context is not None
        self.prompt = DegradationPrompt(settings.degradation_context or 0, e) if prompted else None

        sides = list(pairwise(widths))
        downs, ups = [], []
        for i, (fine, coarse) in enumerate(sides):
            bottom = i == settings.depth - 1
            context = settings.image_context if bottom else None
            downs.append(Down(fine, coarse, e, context, halve=not bottom))
            # The last level down keeps its size, and so does the last one up: the pairs stand one level apart.
            ups.append(Up(coarse, fine, e, context, double=i > 0))
        self.downs = nn.ModuleList(downs)
        self.middle = Middle(deepest, e, settings.image_context)
        self.ups = nn.ModuleList(reversed(ups))
        self.last = ResBlock(2 * stem, stem, e)
        self.predict = nn.Conv2d(stem, settings.channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        x_t: Tensor,
        mu: Tensor,
        t: Tensor | float,
        image_context: Tensor | None = None,
        degradation_context: Tensor | None = None,
    ) -> Tensor:
        """The noise estimate eps_hat, B x channels x H x W, for any H and W of more than half `settings.multiple`.

        x_t, mu              B x channels x H x W, RGB of about [0, 1]: the state and the degraded image.
        t                    a number or a B-vector, whole or not, 1..T.
        image_context        B x image_context, one content embedding an image (or B x N x image_context, N tokens).
                             Without it the cross attention is left out; the published network cannot do without.
        degradation_context  B x degradation_context. Without it the prompt is left out, as published.

        Raises ModelInputError for wrong shapes and types, sides too small, and contexts that the settings do not have.
        """
        t = self._check(x_t, mu, t, image_context, degradation_context)
        if image_context is not None and image_context.ndim == 2:
            image_context = image_context[:, None]  # B x 1 x D

        e = self.time(t)
        if self.prompt is not None and degradation_context is not None:
            e = e + self.prompt(degradation_context)
        e = functional.silu(e)  # what every residual block begins with: B x 4·stem

        height, width = x_t.shape[-2:]
        x = pad_to_multiple(torch.cat((x_t - mu, mu), dim=1), self.settings.multiple, "reflect")
        stem = x = self.stem(x.contiguous(memory_format=torch.channels_last))
        if self.shrink is not None:
            x = self.shrink(x)

        kept: list[Tensor] = []
        for down in self.downs:
            first, second, x = self._run(down, x, e, image_context)
            kept += (first, second)
        x = self._run(self.middle, x, e, image_context)
        for up in self.ups:
            x = self._run(up, x, kept.pop(), kept.pop(), e, image_context)

        if self.enlarge is not None:
            x = self.enlarge(x)
        eps_hat: Tensor = self.predict(self.last(torch.cat((x, stem), dim=1), e))
        return eps_hat[..., :height, :width].contiguous()

    @torch.no_grad()
    def start_as_noise(self, std: float) -> None:
        """Set the starting values so that eps_hat = (x_t - mu) / std at first, whatever the rest of the network does.

        That is the noise itself where little of the image is left, at the largest t, and an error counts most there: a
        sampler's first step divides it by what is left. From PyTorch's values a network spends its first thousand steps
        on it.

        Three channels of the stem are x_t - mu, the last shortcut hands them on, and nothing else reaches the result.
        """
        colours, stem = self.settings.channels, self.settings.widths[0]
        assert self.last.shortcut is not None
        for weight in (self.stem.weight, self.last.shortcut.weight, self.last.second.weight):
            weight[:colours] = 0
        self.predict.weight.zero_()
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]
        for c in range(colours):
            self.stem.weight[c, c, 3, 3] = 1
            self.last.shortcut.weight[c, stem + c] = 1
            self.predict.weight[c, c, 1, 1] = 1 / std

    def parameters_without_effect(self) -> list[str]:
        """Names of the parameters that have no effect on results as long as the image context is one token an image.

        They get no gradient (None). Freeze them where all trained parameters must get one, as in data-parallel runs.
        """
        return parameters_idle_with_one_token(self)

    def _run(self, part: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return part(*inputs)

    def _check(
        self, x_t: Tensor, mu: Tensor, t: Tensor | float, image: Tensor | None, degradation: Tensor | None
    ) -> Tensor:
        """t as a B-vector, once all inputs are found to fit."""
        settings = self.settings
        check_images(x_t, channels=settings.channels, name="x_t")
        check_images(mu, channels=settings.channels, name="mu")
        if x_t.shape != mu.shape:
            raise ModelInputError(f"x_t of shape {tuple(x_t.shape)} and mu of {tuple(mu.shape)}; expected equal shapes")
        for context, width, name in (
            (image, settings.image_context, "image_context"),
            (degradation, settings.degradation_context, "degradation_context"),
        ):
            if context is not None and width is None:
                raise ModelInputError(f"{name} given to a network built without; leave it out, or build it with one")
            if context is not None and width is not None:
                check_context(context, x_t, width, tokens=name == "image_context", name=name)
        return one_time_an_image(t, x_t)


class Down(nn.Module):
    """Two residual blocks and attention at `width` channels, then `out` channels, at half the size if `halve`."""

    def __init__(self, width: int, out: int, e: int, context: int | None, *, halve: bool) -> None:
        super().__init__()
        self.first = ResBlock(width, width, e)
        self.second = ResBlock(width, width, e)
        self.attention = attention(width, context)
        self.resample = (
            nn.Conv2d(width, out, 4, stride=2, padding=1) if halve else nn.Conv2d(width, out, 3, padding=1, bias=False)
        )

    def forward(self, x: Tensor, e: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The two maps that the way up takes again, and the next level's input."""
        first = self.first(x, e)  # B x width x H x W
        second = self.attention(self.second(first, e), context)  # B x width x H x W
        return first, second, self.resample(second)  # B x out x H/2 x W/2, or H x W


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, width: int, e: int, context: int | None) -> None:
        super().__init__()
        self.first = ResBlock(width, width, e)
        self.attention = attention(width, context)
        self.second = ResBlock(width, width, e)

    def forward(self, x: Tensor, e: Tensor, context: Tensor | None) -> Tensor:  # B x C x H x W
        """B x C x H x W."""
        x = self.attention(self.first(x, e), context)
        y: Tensor = self.second(x, e)
        return y


class Up(nn.Module):
    """Undoes `Down`: takes its two maps, the second first, then `out` channels, at twice the size if `double`."""

    def __init__(self, width: int, out: int, e: int, context: int | None, *, double: bool) -> None:
        super().__init__()
        self.first = ResBlock(width + out, width, e)
        self.second = ResBlock(width + out, width, e)
        self.attention = attention(width, context)
        self.resample = DoubleAndConvolve(width, out) if double else nn.Conv2d(width, out, 3, padding=1, bias=False)

    def forward(self, x: Tensor, second: Tensor, first: Tensor, e: Tensor, context: Tensor | None) -> Tensor:
        """B x out x 2H x 2W, or H x W."""
        x = self.first(torch.cat((x, second), dim=1), e)  # B x width x H x W
        x = self.attention(self.second(torch.cat((x, first), dim=1), e), context)
        y: Tensor = self.resample(x)
        return y


class TimeEmbedding(nn.Module):
    """The time as `size` sines and cosines, in float32, then two dense layers."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.widen = nn.Linear(size, width)
        self.mix = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:  # B
        """B x width."""
        waves = embed_time(t, time_frequencies(self.size, t.device)).to(self.widen.weight.dtype)  # B x size
        e: Tensor = self.mix(functional.gelu(self.widen(waves)))
        return e


class ResBlock(nn.Module):
    """h = SiLU(conv(x) (1 + scale) + shift),  y = SiLU(conv(h)) + x,  with (scale, shift) = W SiLU(e).

    There is no norm. Where the channels change, x is added after a 1 x 1 convolution.
    """

    def __init__(self, channels: int, out: int, e: int) -> None:
        super().__init__()
        self.scale_shift = nn.Linear(e, 2 * out)
        self.first = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.second = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, bias=False) if channels != out else None

    def forward(self, x: Tensor, e: Tensor) -> Tensor:  # B x channels x H x W, B x e (after its SiLU)
        """B x out x H x W."""
        scale, shift = self.scale_shift(e)[..., None, None].chunk(2, dim=1)  # B x out x 1 x 1
        h = functional.silu(torch.addcmul(shift, self.first(x), 1 + scale))
        h = functional.silu(self.second(h))
        return h + (x if self.shortcut is None else pointwise(x, self.shortcut))


SUMS = [[a * b for a in row for b in column] for row in ENLARGED for column in ENLARGED]
"""Which of a kernel's 9 weights each of the enlarged one's 16 is the sum of."""

FEW_PIXELS = 128
"""Pixels up to which a map is enlarged before it is convolved: at 8 x 8 that takes 0.4 of the time, at 16 x 16 1.3."""


class DoubleAndConvolve(nn.Module):
    """A 3 x 3 convolution of the map at twice its size (nearest neighbour).

    Of the nine pixels under the kernel only four differ, so this is a transposed convolution of stride 2, with under
    half of the products and without the enlarged map. Along one axis its kernel is (k2, k1 + k2, k0 + k1, k0), as the
    output at 2i takes k0 x[i-1] + (k1 + k2) x[i] and the one at 2i + 1 takes (k0 + k1) x[i] + k2 x[i+1].

    Of a map of few pixels the weights cost more than the products, so that it is enlarged as published.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # B x channels x H x W
        """B x out x 2H x 2W."""
        if x.shape[2] * x.shape[3] <= FEW_PIXELS:
            enlarged: Tensor = self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))
            return enlarged
        out, channels = self.conv.weight.shape[:2]
        rows = channels_last(self.conv.weight).reshape(out, 9, channels)  # a view in channels-last memory
        device = "cpu" if x.is_meta else x.device.type  # autocast knows no meta tensors, by which products are counted
        with torch.autocast(device, enabled=False):  # sums of rounded weights would be rounded twice
            kernel = torch.bmm(rows.new_tensor(SUMS).expand(out, 16, 9), rows)  # out x 16 x channels
        kernel = kernel.view(out, 4, 4, channels).permute(3, 0, 1, 2)  # channels x out x 4 x 4
        return functional.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)


class Attended(nn.Module):
    """y = x + F(norm(x)), F an attention over the positions of the map."""

    def __init__(self, channels: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.inner = inner

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:  # B x C x H x W
        """B x C x H x W."""
        y: Tensor = x + self.inner(self.norm(x), context)
        return y


class LinearAttention(nn.Module):
    """Attention whose cost grows with the number n of positions, not with its square (Shen et al., 2021).

        q = softmax(W_q x) / sqrt(32) over the 32 channels of a head,    k = softmax(W_k x) over the positions,
        ctx[d, e] = sum_n k[n, d] v[n, e],    out[n, e] = sum_d q[n, d] ctx[d, e],    v = W_v x / n

    Only q and k are made for every position. Both products are linear in v, so W_v and W_out act on the small matrices:
    ctx = (k^T x) W_v^T, and out W_out^T = q (ctx W_out^T).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_key_value = nn.Conv2d(channels, 3 * INNER, 1, bias=False)
        self.out = nn.Conv2d(INNER, channels, 1)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # B x C x H x W
        """B x C x H x W. The context has no part in it."""
        batch, channels, height, width = x.shape
        n = height * width
        x = channels_last(x).reshape(batch, n, channels)  # a view in channels-last memory
        w_q, w_k, w_v = self.query_key_value.weight.flatten(1).chunk(3)  # 128 x C each
        q = functional.linear(x, w_q).view(batch, n, HEADS, HEAD_CHANNELS).softmax(dim=3).flatten(2)  # B x n x 128
        k = functional.linear(x, w_k).softmax(dim=1)  # B x n x 128

        kx = (k.transpose(1, 2) @ x).view(batch, HEADS, HEAD_CHANNELS, channels)
        ctx = kx @ w_v.view(HEADS, HEAD_CHANNELS, channels).mT * (HEAD_CHANNELS**-0.5 / n)  # B x heads x d x e
        w_out = self.out.weight.view(channels, HEADS, HEAD_CHANNELS).permute(1, 2, 0)  # heads x e x C
        y = torch.baddbmm(self.out.bias, q, (ctx @ w_out).flatten(1, 2))  # type: ignore[arg-type]  # B x n x C
        normed: Tensor = self.norm(channels_first(y.view(batch, height, width, channels)))
        return normed


def attention(channels: int, context: int | None) -> Attended:
    """The attention of a level: a spatial transformer where there is an image context, else linear."""
    return Attended(channels, LinearAttention(channels) if context is None else SpatialTransformer(channels, context))


def pointwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 1 x 1 convolution as a matrix product over the pixels' channels, which in channels-last memory are rows."""
    return channels_first(functional.linear(channels_last(x), conv.weight.flatten(1), conv.bias))
