"""Batches of tensors as 8-bit pictures, and crops of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # H x W x 3, RGB


def to_bytes(restored: torch.Tensor) -> Pixels:
    """3 x H x W floats to H x W x 3 uint8, clamped and rounded."""
    levels = (restored.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).numpy()


def centre(image: Pixels, side: int) -> Pixels:
    """The middle of an image, `side` px at most; 0: the image."""
    height, width = image.shape[:2]
    if not side:
        return image
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return image[top : top + side, left : left + side]


def middle(image: Pixels, multiple: int) -> Pixels:
    """The largest middle of an image whose sides are multiples of so many px; the image where none is left."""
    height, width = (n - n % multiple for n in image.shape[:2])
    if not height or not width:
        return image
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


LUMA = (19_595, 38_470, 7_471)
"""Shares of R, G and B in a grey level, of 65 536: BT.601 as Pillow's mode L has it."""


def grey_levels(images: torch.Tensor) -> torch.Tensor:
    """B x 3 x H x W bytes as B x 1 x H x W grey ones, rounded: the same numbers on every processor."""
    red, green, blue = (images[:, c : c + 1].int() * LUMA[c] for c in range(3))
    return ((red + green + blue + 32_768) >> 16).to(torch.uint8)


def grey(image: Pixels) -> Pixels:
    """A picture of the grey levels of an image, in three equal channels."""
    levels = grey_levels(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None])[0, 0]
    return np.repeat(levels.numpy()[..., None], 3, axis=2)
