"""The mean over the eight symmetries of the square: what a network makes of a photograph turned and mirrored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from patina.training.images import Pixels

SYMMETRIES = 8


def turned(image: Pixels, symmetry: int) -> Pixels:
    """One of the eight, 0 to 7: transposed (4), upside down (2), mirrored (1); 0 is the image."""
    image = image.transpose(1, 0, 2) if symmetry & 4 else image
    image = image[::-1] if symmetry & 2 else image
    return np.ascontiguousarray(image[:, ::-1] if symmetry & 1 else image)


def turned_back(restored: Tensor, symmetry: int) -> Tensor:
    """`turned` undone, of 3 x H x W."""
    restored = restored.flip(-1) if symmetry & 1 else restored
    restored = restored.flip(-2) if symmetry & 2 else restored
    return restored.transpose(-1, -2) if symmetry & 4 else restored


def mean_of_symmetries(restore: Callable[[Pixels, int], Tensor], image: Pixels) -> Tensor:
    """The mean of what `restore` makes of the eight, each turned back: 3 x H x W float32.

    restore  takes H x W x 3 uint8 and the number of the symmetry.
    """
    total = sum(turned_back(restore(turned(image, k), k).double(), k) for k in range(SYMMETRIES))
    assert isinstance(total, Tensor)
    return (total / SYMMETRIES).float()
