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
