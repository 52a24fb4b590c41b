"""Large images in tiles that overlap, joined by smooth weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from types import EllipsisType
from typing import TypeAlias

import torch
from torch import Tensor

from patina.training.errors import ModelInputError

Window: TypeAlias = tuple[EllipsisType, slice, slice]
"""Rows and columns of B x C x H x W images."""


@dataclass(frozen=True)
class Tiling:
    """How large photographs are restored. side, overlap: px; side 0: never in tiles."""

    side: int = 0
    overlap: int = 32

    def __post_init__(self) -> None:
        if self.side < 0 or self.overlap < 0 or (self.side and 2 * self.overlap >= self.side):
            raise ModelInputError(
                f"tiles of {self.side} px with an overlap of {self.overlap}; expected less than half of the side"
            )

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along a side: evenly spread, at least `overlap` shared."""
        if not self.side or length <= self.side:
            return [0]
        step = self.side - self.overlap
        count = -(-(length - self.overlap) // step)
        return [round(i * (length - self.side) / (count - 1)) for i in range(count)]

    def windows(self, height: int, width: int) -> list[Window]:
        """Where tiles lie in images of this size, in reading order."""
        side = self.side or max(height, width)
        places = product(self.starts(height), self.starts(width))
        return [(..., slice(top, top + side), slice(left, left + side)) for top, left in places]


def in_tiles(call: Callable[[Window], Tensor], like: Tensor, tiling: Tiling, on_tile: Callable[[], None]) -> Tensor:
    """What `call` makes of each window of images shaped `like`, joined: B x C x H x W float32."""
    windows = tiling.windows(*like.shape[-2:])
    if len(windows) == 1:
        whole = call(windows[0]).float()
        on_tile()
        return whole
    total, weight = torch.zeros_like(like, dtype=torch.float32), like.new_zeros(like.shape[-2:], dtype=torch.float32)
    for window in windows:
        piece = call(window).float()
        ramp = _ramp(piece.shape[-2], tiling.overlap)[:, None] * _ramp(piece.shape[-1], tiling.overlap)[None, :]
        ramp = ramp.to(like.device)
        total[window] += piece * ramp
        weight[window] += ramp
        on_tile()
    return total / weight


def _ramp(length: int, overlap: int) -> Tensor:
    """Weights of a tile's pixels along a side: from near 0 at both edges up to 1 within the overlap."""
    edge = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(edge, edge.flip(0)).div(max(1, overlap)).clamp(max=1)
