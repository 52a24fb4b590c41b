"""Two functions of OpenCV whose bits differ between kinds of processors: here they are those of x86-64 on all of them.

Where OpenCV gives them it does the work. Elsewhere NumPy does, and takes longer: what OpenCV 5 has for ARM interpolates
levels with another rounding, and filters by a transform from fewer taps on.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import Image

SSE3 = 3
"""OpenCV's number for it (CV_CPU_SSE3), which its Python has no name for."""

REFLECT_101 = 4
"""OpenCV's BORDER_DEFAULT, as a number: a plan imports this, and OpenCV need not be loaded for it."""

DIRECT = 50
"""From so many taps on OpenCV filters by a transform, which rounds otherwise, where there is no SSE3."""

ONE = np.float32(2048)
"""A share of 1, in the whole numbers by which OpenCV interpolates levels."""


@cache  # and no constant: a plan imports this and computes no pixel, and OpenCV takes a tenth of a second to load
def is_x86() -> bool:
    """Whether OpenCV computes on this kind of processor what is expected here: on every x86-64 that it runs on."""
    return bool(cv2.checkHardwareSupport(SSE3))


def interpolated(levels: Image, size: tuple[int, int]) -> Image:
    """H×W or H×W×3 uint8 at another `size` (width, height) by straight lines between pixels: `cv2.resize` with
    INTER_LINEAR. Not for half the size along both axes, where OpenCV takes means instead."""
    if is_x86():
        return cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
    return interpolated_by_numpy(levels, size)


def interpolated_by_numpy(levels: Image, size: tuple[int, int]) -> Image:
    """What `interpolated` gives, by whole numbers: shares of 11 bits, and two digits cut off on the way."""
    left, share = _between(levels.shape[1], size[0])
    beyond = (left < 0) | (left >= levels.shape[1] - 1)
    share[beyond] = 0
    left = np.clip(left, 0, levels.shape[1] - 1)
    right = np.minimum(left + 1, levels.shape[1] - 1)
    upper, down = _between(levels.shape[0], size[1])
    across = [_whole(part).reshape(1, -1, *(1,) * (levels.ndim - 2)) for part in (1 - share, share)]
    along = [_whole(part).reshape(-1, *(1,) * (levels.ndim - 1)) for part in (1 - down, down)]
    total: Any = 2
    for step, part in enumerate(along):
        row = levels[np.clip(upper + step, 0, len(levels) - 1)]
        total = total + ((row[:, left] * across[0] + row[:, right] * across[1] >> 4) * part >> 16)
    return np.asarray(total >> 2, np.uint8)


def _between(known: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each pixel of a row that is made of `known` ones, the one before it, and how far on it lies, 0..1."""
    places = ((np.arange(wanted) + 0.5) * (1 / (wanted / known)) - 0.5).astype(np.float32)
    before = np.floor(places)
    return before.astype(np.int64), places - before


def _whole(share: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.asarray(np.rint(share * ONE), np.int32)


def correlated(
    values: NDArray[np.float32],
    taps: NDArray[np.float32],
    border: int = REFLECT_101,
    anchor: tuple[int, int] = (-1, -1),
) -> NDArray[np.float32]:
    """`cv2.filter2D` of H×W or H×W×3 float32 with fewer than 130 taps, in the order of the taps. No product may need
    more than 24 bits, as some processors round it and others do not."""
    if is_x86() or taps.size < DIRECT:
        return cv2.filter2D(values, -1, taps, anchor=anchor, borderType=border)  # type: ignore[return-value]
    return correlated_by_numpy(values, taps, border, anchor)


def correlated_by_numpy(
    values: NDArray[np.float32], taps: NDArray[np.float32], border: int, anchor: tuple[int, int]
) -> NDArray[np.float32]:
    """What `correlated` gives, tap by tap."""
    (height, width), (rows, columns) = values.shape[:2], taps.shape
    left, above = (own if own >= 0 else side // 2 for own, side in zip(anchor, (columns, rows), strict=True))
    framed: Any = cv2.copyMakeBorder(values, above, rows - 1 - above, left, columns - 1 - left, border)
    total = np.zeros(values.shape, np.float32)
    for y, x in zip(*np.nonzero(taps), strict=True):
        total += framed[y : y + height, x : x + width] * taps[y, x]
    return total
