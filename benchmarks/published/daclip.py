"""DA-CLIP with the structure of the published code, for comparison: same state dict, same numbers.

What it does that `patina.training.models.daclip` does not: tokens before batch in memory, so that each pass turns
its input and its output round; every block for every token, and every norm at the end too; all 77 columns of
every text, the same ten degradations encoded once a sample; caption and degradation glued to rows of 154 and cut again;
both matrices of similarities, one the other's transpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD = 64


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // HEAD)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)})

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # N x B x D
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Transformer(nn.Module):
    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, hidden) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None, controls: list[Tensor] | None = None) -> Tensor:
        x = x.permute(1, 0, 2)  # N x B x D
        for block in self.resblocks:
            x = block(x, mask)
            if controls is not None:
                x = x + controls.pop()
        return x.permute(1, 0, 2)


class ControlledTransformer(nn.Module):
    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.transformer = Transformer(width, hidden, layers)
        self.zero_modules = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = x.permute(1, 0, 2)
        controls = []
        for block, dense in zip(self.transformer.resblocks, self.zero_modules, strict=True):
            x = block(x, None)
            controls.append(dense(x))
        return x.permute(1, 0, 2), controls


class Tower(nn.Module):
    def __init__(self, shapes: Mapping[str, Tensor], prefix: str, transformer: nn.Module) -> None:
        super().__init__()
        width, channels, patch, _ = shapes[f"{prefix}conv1.weight"].shape
        self.conv1 = nn.Conv2d(channels, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty_like(shapes[f"{prefix}positional_embedding"]))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = transformer
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty_like(shapes[f"{prefix}proj"]))

    def embed(self, images: Tensor) -> Tensor:
        x = self.conv1(images)
        x = x.reshape(x.shape[0], x.shape[1], -1).permute(0, 2, 1)
        zeros = torch.zeros(x.shape[0], 1, x.shape[-1], dtype=x.dtype, device=x.device)
        x = torch.cat([self.class_embedding.to(x.dtype) + zeros, x], dim=1)
        return self.ln_pre(x + self.positional_embedding.to(x.dtype))

    def pool(self, x: Tensor) -> Tensor:
        return self.ln_post(x)[:, 0] @ self.proj


class Clip(nn.Module):
    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.visual = Tower(state, "clip.visual.", Transformer(*_shape(state, "clip.visual.transformer.resblocks.")))
        self.transformer = Transformer(*_shape(state, "clip.transformer.resblocks."))
        self.token_embedding = nn.Embedding(*state["clip.token_embedding.weight"].shape)
        self.positional_embedding = nn.Parameter(torch.empty_like(state["clip.positional_embedding"]))
        self.ln_final = nn.LayerNorm(self.positional_embedding.shape[1])
        self.text_projection = nn.Parameter(torch.empty_like(state["clip.text_projection"]))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        length = len(self.positional_embedding)
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1), persistent=False)

    def encode_text(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding
        mask: Any = self.mask
        x = self.ln_final(self.transformer(x, mask))
        return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ self.text_projection


class DaClip(nn.Module):
    """`forward(images, texts)`: images B x 3 x S x S, texts B x 154; gives the joint loss."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.clip = Clip(state).requires_grad_(False)
        self.visual = self.clip.visual
        blocks = "visual_control.transformer.transformer.resblocks."
        self.visual_control = Tower(state, "visual_control.", ControlledTransformer(*_shape(state, blocks)))

    def encode_image(self, images: Tensor, control: bool = True, normalize: bool = False) -> Any:
        if not control:
            x = self.visual.pool(self.visual.transformer(self.visual.embed(images)))
            return functional.normalize(x, dim=-1) if normalize else x
        tower = self.visual_control
        hidden, controls = tower.transformer(tower.embed(images))
        degra = tower.pool(hidden)
        image = self.visual.pool(self.visual.transformer(self.visual.embed(images), None, controls))
        return (
            (functional.normalize(image, dim=-1), functional.normalize(degra, dim=-1)) if normalize else (image, degra)
        )

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        features = self.clip.encode_text(tokens)
        return functional.normalize(features, dim=-1) if normalize else features

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        captions, degradations = texts.chunk(2, dim=-1)
        caption, degradation = self.encode_text(captions, True), self.encode_text(degradations, True)
        image, degra = self.encode_image(images, normalize=True)
        return self.term(image, caption) + self.term(degra, degradation)

    def term(self, x: Tensor, y: Tensor) -> Tensor:
        scale, own = self.logit_scale.exp(), torch.arange(len(x), device=x.device)
        return (functional.cross_entropy(scale * x @ y.T, own) + functional.cross_entropy(scale * y @ x.T, own)) / 2


def _shape(state: Mapping[str, Tensor], prefix: str) -> tuple[int, int, int]:
    hidden, width = state[f"{prefix}0.mlp.c_fc.weight"].shape
    return width, hidden, len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def build(state: Mapping[str, Tensor]) -> DaClip:
    """The network with the tensors of a published state dict (631 for ViT-B/32)."""
    net = DaClip(state)
    net.load_state_dict(state)
    return net
