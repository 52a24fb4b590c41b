"""The U-Net of DA-CLIP and IR-SDE as its description has it: what ours is measured against.

Re-stated from facts (operations, their order, names of tensors), none of it copied. What costs time is kept: attention
written out with einsum and a stored score matrix, the cross attention to one token in full, an activation checkpoint
around every transformer block, norms in single steps over the channels of a contiguous map, maps enlarged before they
are convolved, SiLU of the time embedding in every block. Settings are read from the shapes of a published state dict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def build(state: Mapping[str, Tensor]) -> nn.Module:
    """The network of a published state dict, with its weights; called like ours: (x_t, mu, t, image, degradation)."""
    net = PublishedUNet(state)
    net.load_state_dict(dict(state), strict=True)
    return net


class PublishedUNet(nn.Module):
    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("downs."))
        widths = [state[f"downs.{i}.0.block1.proj.weight"].shape[0] for i in range(depth)]
        widths.append(state["mid_block1.block1.proj.weight"].shape[0])
        stem, e = widths[0], 4 * widths[0]
        deep = "mid_attn.fn.fn.proj_in.weight" in state
        context = state["mid_attn.fn.fn.transformer_blocks.0.attn2.to_k.weight"].shape[1] if deep else 0
        self.multiple = 2**depth
        self.init_conv = nn.Conv2d(state["init_conv.weight"].shape[1], stem, 7, padding=3, bias=False)
        self.half = "downsample.weight" in state
        if self.half:
            self.downsample = nn.Conv2d(stem, stem, 4, stride=2, padding=1)
            self.upsample = enlarged(stem, stem)
        self.time_mlp = nn.Sequential(SinusoidalTime(stem), nn.Linear(stem, e), nn.GELU(), nn.Linear(e, e))
        self.prompted = "prompt" in state
        if self.prompted:
            wide = state["text_mlp.0.weight"].shape[1]
            self.prompt = nn.Parameter(torch.rand(1, e))
            self.text_mlp = nn.Sequential(nn.Linear(wide, e), nn.SiLU(), nn.Linear(e, e))
            self.prompt_mlp = nn.Linear(e, e)
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for i in range(depth):
            fine, coarse, bottom = widths[i], widths[i + 1], i == depth - 1
            shrink = (
                nn.Conv2d(fine, coarse, 3, padding=1, bias=False)
                if bottom
                else nn.Conv2d(fine, coarse, 4, stride=2, padding=1)
            )
            grow = enlarged(coarse, fine) if i else nn.Conv2d(coarse, fine, 3, padding=1, bias=False)
            down = (Res(fine, fine, e), Res(fine, fine, e), attention(fine, context if bottom else 0), shrink)
            up = (Res(coarse + fine, coarse, e), Res(coarse + fine, coarse, e))
            self.downs.append(nn.ModuleList(down))
            self.ups.insert(0, nn.ModuleList((*up, attention(coarse, context if bottom else 0), grow)))
        self.mid_block1 = Res(widths[-1], widths[-1], e)
        self.mid_attn = attention(widths[-1], context)
        self.mid_block2 = Res(widths[-1], widths[-1], e)
        self.final_res_block = Res(2 * stem, stem, e)
        self.final_conv = nn.Conv2d(stem, state["final_conv.weight"].shape[0], 3, padding=1)

    def forward(
        self,
        x_t: Tensor,
        mu: Tensor,
        t: Tensor | float,
        image_context: Tensor | None = None,
        degradation_context: Tensor | None = None,
    ) -> Tensor:
        height, width = x_t.shape[-2:]
        x = torch.cat((x_t - mu, mu), dim=1)
        x = functional.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="reflect")
        x = self.init_conv(x)
        stem = x.clone()
        if self.half:
            x = self.downsample(x)
        e = self.time_mlp(torch.as_tensor(t, dtype=x.dtype).expand(len(x)))
        if self.prompted and degradation_context is not None:
            weights = torch.softmax(self.text_mlp(degradation_context), dim=1)
            e = e + self.prompt_mlp(weights * self.prompt)
        tokens = None if image_context is None else image_context.unsqueeze(1)
        kept = []
        for block1, block2, attend, resample in self.downs:  # type: ignore[misc]
            x = block1(x, e)
            kept.append(x)
            x = attend(block2(x, e), tokens)
            kept.append(x)
            x = resample(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, e), tokens), e)
        for block1, block2, attend, resample in self.ups:  # type: ignore[misc]
            x = block1(torch.cat((x, kept.pop()), dim=1), e)
            x = block2(torch.cat((x, kept.pop()), dim=1), e)
            x = resample(attend(x, tokens))
        if self.half:
            x = self.upsample(x)
        out: Tensor = self.final_conv(self.final_res_block(torch.cat((x, stem), dim=1), e))
        return out[..., :height, :width]


def enlarged(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(channels, out, 3, padding=1))


def attention(channels: int, context: int) -> Wrapped:
    inner = Transformer(channels, context) if context else Linear(channels)
    return Wrapped(Normed(channels, inner))


class SinusoidalTime(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.half = size // 2

    def forward(self, t: Tensor) -> Tensor:
        rates = torch.exp(torch.arange(self.half, device=t.device) * -(math.log(10_000) / (self.half - 1)))
        angles = t[:, None] * rates[None]
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class Convolved(nn.Module):
    """A 3 x 3 convolution, scale and shift where given, SiLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, out, 3, padding=1, bias=False)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        x = self.proj(x)
        if scale is not None and shift is not None:
            x = x * (scale + 1) + shift
        return functional.silu(x)


class Res(nn.Module):
    def __init__(self, channels: int, out: int, e: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(e, 2 * out))
        self.block1 = Convolved(channels, out)
        self.block2 = Convolved(out, out)
        self.res_conv = nn.Conv2d(channels, out, 1, bias=False) if channels != out else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.mlp(e)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = self.block2(self.block1(x, scale, shift)) + self.res_conv(x)
        return out


class Norm(nn.Module):
    """Over the channels of a pixel, in single steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        eps = 1e-5 if x.dtype == torch.float32 else 1e-3
        var = torch.var(x, dim=1, unbiased=False, keepdim=True)
        mean = torch.mean(x, dim=1, keepdim=True)
        return (x - mean) / (var + eps).sqrt() * self.g


class Wrapped(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        out: Tensor = self.fn(x, context) + x
        return out


class Normed(nn.Module):
    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.fn = fn

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        out: Tensor = self.fn(self.norm(x), context)
        return out


class Linear(nn.Module):
    """Linear attention: four heads of 32, every matrix made for every position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 384, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(128, channels, 1), Norm(channels))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        b, _, h, w = x.shape
        q, k, v = (part.reshape(b, 4, 32, h * w) for part in self.to_qkv(x).chunk(3, dim=1))
        q = q.softmax(dim=-2) * 32**-0.5
        k = k.softmax(dim=-1)
        v = v / (h * w)
        inside = torch.einsum("bhdn,bhen->bhde", k, v)
        out = torch.einsum("bhde,bhdn->bhen", inside, q)
        projected: Tensor = self.to_out(out.reshape(b, 128, h, w))
        return projected


class FullAttention(nn.Module):
    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.heads = channels // 32
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        q, k, v = (self.split(u) for u in (self.to_q(x), self.to_k(context), self.to_v(context)))
        scores = torch.einsum("bid,bjd->bij", q, k) * 32**-0.5
        out = torch.einsum("bij,bjd->bid", scores.softmax(dim=-1), v)
        b, n, c = x.shape
        joined: Tensor = self.to_out(out.reshape(b, self.heads, n, 32).permute(0, 2, 1, 3).reshape(b, n, c))
        return joined

    def split(self, u: Tensor) -> Tensor:
        b, n, c = u.shape
        return u.reshape(b, n, self.heads, 32).permute(0, 2, 1, 3).reshape(b * self.heads, n, c // self.heads)


class Gate(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        a, g = self.proj(x).chunk(2, dim=-1)
        return a * functional.gelu(g)


class Feed(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Gate(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Block(nn.Module):
    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.attn1 = FullAttention(channels, channels)
        self.ff = Feed(channels)
        self.attn2 = FullAttention(channels, context)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        out: Tensor = checkpoint(self.run, x, context, use_reentrant=False)
        return out

    def run(self, x: Tensor, context: Tensor | None) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), context) + x
        return self.ff(self.norm3(x)) + x


class Transformer(nn.Module):
    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([Block(channels, context)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).reshape(b, h * w, c).contiguous()
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        out: Tensor = self.proj_out(tokens.reshape(b, h, w, c).permute(0, 3, 1, 2).contiguous()) + x
        return out
