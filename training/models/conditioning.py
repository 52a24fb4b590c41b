"""How DA-CLIP's two embeddings enter a restorer.

The degradation embedding weighs a learnt prompt, which is added to the time embedding once, before all blocks. The
content embedding is the context of a cross attention in the blocks of lowest resolution:

    z = GroupNorm(x),  u = project(z)                     B x HW x C
    u = u + SelfAttention(LN(u))
    u = u + CrossAttention(LN(u), content)
    u = u + W (a * GELU(g)),  (a, g) = V LN(u)
    y = x + project(u)

One token of content is what the papers use. The softmax over a single key is 1 whatever the query is, so the cross
attention is then W_out W_value content at every position, an additive bias per channel: it is computed as that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.training.errors import ModelInputError
from patina.training.models.layers import channels_first, channels_last

GROUPS = 32
HEAD_CHANNELS = 32


def check_context(context: Tensor, images: Tensor, width: int, *, tokens: bool = False, name: str = "context") -> None:
    """Raise ModelInputError unless `context` is a floating B x `width`, on the device of the B `images`.

    With `tokens`, B x N x `width` is taken too (N at least 1).
    """
    wanted = f"{len(images)} x {width}" + (f" or {len(images)} x N x {width}" if tokens else "")
    shape = tuple(context.shape)
    ranked = context.ndim == 2 or (tokens and context.ndim == 3 and shape[1] > 0)
    if not ranked or (shape[0], shape[-1]) != (len(images), width):
        raise ModelInputError(
            f"{name} of shape {shape}; expected {wanted}: one embedding an image, of DA-CLIP's width of the checkpoint"
        )
    if not context.is_floating_point() or context.device != images.device:
        raise ModelInputError(
            f"{name} of type {context.dtype} on {context.device}; expected floating numbers on {images.device}"
        )


class DegradationPrompt(nn.Module):
    """The degradation embedding d as an offset of the time embedding: W (softmax(MLP(d)) * prompt).

    `prompt` starts uniform in [0, 1), the rest as PyTorch has it.
    """

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.rand(1, width))
        self.scores = nn.Sequential(nn.Linear(context, width), nn.SiLU(), nn.Linear(width, width))
        self.project = nn.Linear(width, width)

    def forward(self, degradation: Tensor) -> Tensor:  # B x context
        """B x width, to be added to the time embedding."""
        offset: Tensor = self.project(self.scores(degradation).softmax(dim=1) * self.prompt)
        return offset


class SelfAttention(nn.Module):
    """Attention of all positions to all, heads of 32 channels, no biases except at the output."""

    def __init__(self, channels: int, head_channels: int = HEAD_CHANNELS) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, u: Tensor) -> Tensor:  # B x N x C
        """B x N x C."""
        query, key, value = (split_heads(part, self.head_channels) for part in self.query_key_value(u).chunk(3, dim=-1))
        attended: Tensor = self.out(join_heads(functional.scaled_dot_product_attention(query, key, value)))
        return attended


class CrossAttention(nn.Module):
    """Attention of positions to a context of other tokens, heads of 32 channels, no biases except at the output.

    With one token of context `query` and `key` have no effect on the result: they get no gradient (None), so that no
    optimiser moves or decays them. The published code hands them zeros, with the same effect where weight decay is 0.
    """

    def __init__(self, channels: int, context: int, head_channels: int = HEAD_CHANNELS) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(context, channels, bias=False)
        self.value = nn.Linear(context, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, u: Tensor, context: Tensor) -> Tensor:  # B x N x C, B x M x context
        """B x N x C; for M = 1, B x 1 x C, the same for all positions, to be broadcast."""
        value = self.value(context)  # B x M x C
        if context.shape[1] > 1:
            query, key, value = (split_heads(h, self.head_channels) for h in (self.query(u), self.key(context), value))
            value = join_heads(functional.scaled_dot_product_attention(query, key, value))  # B x N x C
        attended: Tensor = self.out(value)
        return attended


class GatedFeedForward(nn.Module):
    """W (a * GELU(g)), where (a, g) = V u, a and g four times as wide as u."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, 8 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, u: Tensor) -> Tensor:  # B x N x C
        """B x N x C."""
        value, gate = self.widen(u).chunk(2, dim=-1)  # B x N x 4C each
        narrowed: Tensor = self.narrow(value * functional.gelu(gate))
        return narrowed


class TransformerBlock(nn.Module):
    """Self attention, attention to the context, gated feed-forward, each on a layer norm and added."""

    def __init__(self, channels: int, context: int | None, head_channels: int = HEAD_CHANNELS) -> None:
        super().__init__()
        self.looks_outside = context is not None
        self.norm_self = nn.LayerNorm(channels)
        self.self_attention = SelfAttention(channels, head_channels)
        self.norm_cross = nn.LayerNorm(channels)
        self.cross_attention = CrossAttention(channels, channels if context is None else context, head_channels)
        self.norm_feed = nn.LayerNorm(channels)
        self.feed_forward = GatedFeedForward(channels)

    def forward(self, u: Tensor, context: Tensor | None = None) -> Tensor:  # B x N x C, B x M x context
        """B x N x C. Without a context the attention to it is left out."""
        u = u + self.self_attention(self.norm_self(u))
        if not self.looks_outside:
            inside = self.norm_cross(u)
            u = u + self.cross_attention(inside, inside)
        elif context is not None:
            # One token: neither the queries nor their norm count.
            u = u + self.cross_attention(self.norm_cross(u) if context.shape[1] > 1 else u, context)
        fed: Tensor = u + self.feed_forward(self.norm_feed(u))
        return fed


class SpatialTransformer(nn.Module):
    """A transformer block over the positions of a map, between two 1 x 1 projections, added to its input.

    The last projection starts at zero, so that the module starts as the identity. `context` is the width of the context
    tokens; None makes the cross attention a second self attention, which is what the published module does when it is
    built for no context. (Built for one and called without, the published module fails; here it skips the attention.)

    Raises ModelInputError for channels that are no multiple of 32.
    """

    def __init__(self, channels: int, context: int | None, head_channels: int = HEAD_CHANNELS) -> None:
        super().__init__()
        if channels % GROUPS or channels % head_channels:
            raise ModelInputError(
                f"a transformer over {channels} channels; expected a multiple of {GROUPS} groups and of heads of "
                f"{head_channels} channels"
            )
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.block = TransformerBlock(channels, context, head_channels)
        self.project_out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:  # B x C x H x W, B x M x context
        """B x C x H x W."""
        batch, channels, height, width = x.shape
        u = channels_last(self.norm(x)).reshape(batch, height * width, channels)  # B x HW x C
        u = functional.linear(u, self.project_in.weight.flatten(1), self.project_in.bias)
        u = self.block(u, context)
        u = functional.linear(u, self.project_out.weight.flatten(1), self.project_out.bias)
        return x + channels_first(u.view(batch, height, width, channels))  # B x C x H x W


def parameters_idle_with_one_token(net: nn.Module) -> list[str]:
    """Names of what the softmax over a single key makes void: queries, keys and the norm before them."""
    idle = ("cross_attention.query.", "cross_attention.key.", "norm_cross.")
    return [name for name, _ in net.named_parameters() if any(part in name for part in idle)]


def split_heads(u: Tensor, head_channels: int) -> Tensor:
    """B x N x C to B x heads x N x channels of a head, as a view."""
    return u.view(*u.shape[:-1], -1, head_channels).transpose(1, 2)


def join_heads(u: Tensor) -> Tensor:
    """B x heads x N x channels of a head to B x N x C."""
    return u.transpose(1, 2).flatten(2)
