"""Convolution of a float image with a kernel that may be large and nearly empty: the path of a shaken camera."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import FloatImage

BLOCK = 11
"""The largest kernel side that OpenCV filters tap by tap; above it, it takes a transform."""

WORTH = 200
"""Taps, each block counting as eight, above which a transform of the whole costs less."""


def reflected(image: FloatImage, border: int) -> FloatImage:
    """`image`, H×W×3 float32, with `border` px more on each side: mirrored, border pixels repeated, a new array."""
    return cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT)  # type: ignore[return-value]


def convolve(framed: FloatImage, kernel: NDArray[np.float32]) -> FloatImage:
    """The convolution of `framed` (H×W×3 float32) with a k×k float32 kernel, k odd, where it needs no border.

    (H-k+1)×(W-k+1)×3: with `reflected(image, k // 2)`, the size of the image. A nearly empty kernel, such as a path
    leaves, is added up tap by tap, in blocks that OpenCV filters directly; only a full one goes through a transform.
    """
    k = len(kernel)
    height, width = framed.shape[0] - k + 1, framed.shape[1] - k + 1
    blocks = _blocks(kernel[::-1, ::-1])  # OpenCV correlates
    if np.count_nonzero(kernel) + 8 * len(blocks) > WORTH:
        return _transformed(framed, kernel)[k - 1 :, k - 1 :]
    total: Any = None
    for y, x, block in blocks:
        part = framed[y : y + height + len(block) - 1, x : x + width + block.shape[1] - 1]
        filtered = cv2.filter2D(part, -1, block, anchor=(0, 0))[:height, :width]
        total = filtered if total is None else cv2.add(total, filtered, dst=total)
    return total  # type: ignore[no-any-return]


def _blocks(kernel: NDArray[np.float32]) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Blocks of at most BLOCK×BLOCK that hold every tap of `kernel` once, each with its top and left."""
    blocks, y = [], 0
    while (taps := kernel[y:].any(axis=1)).any():
        y += int(taps.argmax())
        band, x = kernel[y : y + BLOCK], 0
        while (taps := band[:, x:].any(axis=0)).any():
            x += int(taps.argmax())
            blocks.append((y, x, np.ascontiguousarray(band[:, x : x + BLOCK])))
            x += BLOCK
        y += BLOCK
    return blocks


def _transformed(framed: FloatImage, kernel: NDArray[np.float32]) -> FloatImage:
    """The same by Fourier transforms, wrapped around: the first k - 1 rows and columns are of no use."""
    height, width = framed.shape[:2]
    size = cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width)
    flags = cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT
    padded = cv2.copyMakeBorder(framed, 0, size[0] - height, 0, size[1] - width, cv2.BORDER_CONSTANT)
    taps = np.zeros(size, np.float32)
    taps[: len(kernel), : len(kernel)] = kernel
    response = cv2.dft(taps)
    channels = [cv2.dft(cv2.mulSpectrums(cv2.dft(channel), response, 0), flags=flags) for channel in cv2.split(padded)]
    return cv2.merge(channels)[:height, :width]  # type: ignore[return-value]
