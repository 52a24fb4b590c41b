"""Squares cut out of images alike, and turned alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from patina.training.images import Pixels


def cut_alike(images: Sequence[Any], side: int, rng: np.random.Generator | None) -> list[Any]:
    """The same square of arrays of one height and width: a random one, or the middle if `rng` is None. Those with a
    shorter side are reflected to it first."""
    height, width = images[0].shape[:2]
    if min(height, width) < side:
        below, right = max(0, side - height), max(0, side - width)
        images = [cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT) for image in images]
        height, width = images[0].shape[:2]
    top, left = place_of(height, width, side, rng)
    return [image[top : top + side, left : left + side] for image in images]


def place_of(height: int, width: int, side: int, rng: np.random.Generator | None) -> tuple[int, int]:
    """First row and column of a square inside an image: a random one, or the middle if `rng` is None."""
    if rng is None:
        return (height - side) // 2, (width - side) // 2
    top = int(rng.integers(0, height - side + 1))
    return top, int(rng.integers(0, width - side + 1))


def turned(lq: Pixels, gt: Pixels, how: str, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Both turned alike. The eight symmetries are numbered by bits: transposed, upside down, mirrored."""
    if how == "none":
        return lq, gt
    symmetry = int(rng.integers(1 if how == "moved" else 0, 8))
    for bit, turn in ((4, _transposed), (2, np.flipud), (1, np.fliplr)):
        if symmetry & bit:
            lq, gt = turn(lq), turn(gt)
    return lq, gt


def _transposed(image: Pixels) -> Pixels:
    return image.transpose(1, 0, 2)
