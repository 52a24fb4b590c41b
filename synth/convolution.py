"""Convolution of an image with a kernel of whole numbers, with the same bits on every processor.

OpenCV adds a filter's products up in the order of its taps, and on some processors rounds once for a product and a sum
where it rounds twice on others. So no product is rounded here: values have 12 significant bits, and so have weights; or
sums stay below 2^24, and no sum is rounded either. Large kernels go in blocks: OpenCV takes a transform for them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import FloatImage
from patina.synth.resampling import BITS

BLOCK = 11
"""The largest kernel side that OpenCV filters tap by tap; above it, it takes a transform, which is not exact."""


def reflected(image: FloatImage, border: int) -> FloatImage:
    """`image`, H×W×3 float32, with `border` px more on each side: mirrored, border pixels repeated, a new array."""
    return cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT)  # type: ignore[return-value]


def convolve(framed: NDArray[np.float32], kernel: NDArray[np.integer]) -> NDArray[np.float32]:
    """The convolution of `framed` (H×W×3 or H×W float32) with a k×k kernel of whole numbers, k odd, without a border.

    (H-k+1)×(W-k+1)×3: with `reflected(image, k // 2)`, the size of the image. `framed` is `shortened` and the kernel
    below 65536; or `framed` holds whole numbers, and all sums of the products' sizes stay below 2^24. Else the last
    bits depend on the processor. A nearly empty kernel, such as a path leaves, costs its taps alone.
    """
    y, x = np.nonzero(kernel)
    return Taps(len(kernel), y, x, kernel[y, x]).convolve(framed)


class Taps:
    """A k×k kernel of whole numbers by those that are not 0, for many pictures, or many parts of one."""

    def __init__(self, side: int, y: NDArray[np.integer], x: NDArray[np.integer], weights: NDArray[np.integer]) -> None:
        """`y` and `x`: the rows, which rise, and columns of `weights` in a kernel of `side`×`side`, an odd number."""
        self.side = side
        y, x, weights = side - 1 - y[::-1], side - 1 - x[::-1], weights[::-1].astype(np.int64)  # OpenCV correlates
        rest = np.where(weights < 1 << BITS, 0, weights & 15)  # either part of a weight has 12 bits, of 16
        self._blocks = _blocks(y, x, weights - rest)
        if rest.any():
            few = np.flatnonzero(rest)
            self._blocks += _blocks(y[few], x[few], rest[few])

    def convolve(self, framed: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the function of this name does."""
        height, width = framed.shape[0] - self.side + 1, framed.shape[1] - self.side + 1
        total: Any = None
        for y, x, block in self._blocks:
            piece = framed[y : y + height + len(block) - 1, x : x + width + block.shape[1] - 1]
            filtered = cv2.filter2D(piece, -1, block, anchor=(0, 0))[:height, :width]
            total = filtered if total is None else cv2.add(total, filtered, dst=total)
        return total  # type: ignore[no-any-return]


def _blocks(
    y: NDArray[np.integer], x: NDArray[np.integer], weights: NDArray[np.integer]
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Blocks of at most BLOCK×BLOCK that hold every tap once, each with its top and left; `y` rises."""
    blocks, first = [], 0
    lines = y.tolist()
    while first < len(lines):
        end = bisect_left(lines, lines[first] + BLOCK, first)
        order = first + np.argsort(x[first:end], kind="stable")
        rows, columns, values = y[order], x[order], weights[order]
        places, start = columns.tolist(), 0
        while start < len(places):
            stop = bisect_left(places, places[start] + BLOCK, start)
            part = rows[start:stop]
            top, left = int(part.min()), places[start]
            block = np.zeros((int(part.max()) - top + 1, places[stop - 1] - left + 1), np.float32)
            block[part - top, columns[start:stop] - left] = values[start:stop]
            blocks.append((top, left, block))
            start = stop
        first = end
    return blocks


def disc(radius: float, most: int) -> NDArray[np.int64]:
    """A disc of this radius in pixels with soft edges, of whole numbers that add up to `most` or nearly that."""
    reach = math.ceil(radius + 0.5)
    x = np.arange(-reach, reach + 1)
    shares = np.clip(radius + 0.5 - np.sqrt(x * x + (x * x)[:, None]), 0, 1)
    for inside in range(int(most / shares.sum()), 0, -1):
        kernel = np.rint(shares * inside).astype(np.int64)
        if kernel.sum() <= most:
            return kernel
    raise ValueError(f"expected a disc of fewer than {most} pixels, found a radius of {radius:g}")


def spread(levels: NDArray[np.float32], kernel: NDArray[np.integer], border: int) -> NDArray[np.float32]:
    """The convolution of whole numbers H×W or H×W×3 with a kernel, all sums below 2^24, at the same size."""
    reach = len(kernel) // 2
    return convolve(cv2.copyMakeBorder(levels, reach, reach, reach, reach, border), kernel)  # type: ignore[arg-type]
