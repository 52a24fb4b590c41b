"""Convolution of an image with a kernel of whole numbers, with the same bits on every processor.

OpenCV adds a filter's products up in the order of its taps, and on some processors rounds once for a product and a sum
where it rounds twice on others. So no product is rounded here: values have 12 significant bits, and so have weights; or
sums stay below 2^24, and no sum is rounded either. Large kernels go in blocks: OpenCV takes a transform for them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from ctypes import CDLL
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.image import FloatImage
from patina.synth.opencv import correlated
from patina.synth.resampling import BITS, REFLECT, REPLICATE

BLOCK = 11
"""The largest kernel side that OpenCV filters tap by tap; above it, it takes a transform, which is not exact."""

BORDERS = REFLECT, REPLICATE


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
        """`y` and `x`: the rows and columns of `weights` in a kernel of `side`×`side`, an odd number; row by row, each
        from left to right."""
        self.side = side
        y, x, weights = side - 1 - y[::-1], side - 1 - x[::-1], weights[::-1]  # OpenCV correlates
        self._compiled = functions()
        if self._compiled:
            self._ordered = _ordered(self._compiled, y, x, weights)
            return
        weights = weights.astype(np.int64)
        rest = np.where(weights < 1 << BITS, 0, weights & 15)  # either part of a weight has 12 bits, of 16
        self._blocks = _blocks(y, x, weights - rest)
        if rest.any():
            few = np.flatnonzero(rest)
            self._blocks += _blocks(y[few], x[few], rest[few])

    @classmethod
    def ordered(
        cls, side: int, places: NDArray[np.int32], weights: NDArray[np.float32], ends: NDArray[np.int32]
    ) -> Taps:
        """A kernel whose taps compiled code has put into their order: see `order_taps` of `compiled/taps.h`."""
        taps = cls.__new__(cls)
        taps.side, taps._compiled, taps._ordered = side, functions(), (places, weights, ends)
        return taps

    def convolve(
        self, framed: NDArray[np.float32], scale: float = 1, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """As the function of this name does, times `scale`; into `out`, if that is there, whose rows need not follow
        one another."""
        height, width = framed.shape[0] - self.side + 1, framed.shape[1] - self.side + 1
        if self._compiled:
            return self._convolved(self._compiled, framed, (height, width, *framed.shape[2:]), scale, out)
        total: Any = None
        for y, x, block in self._blocks:
            piece = framed[y : y + height + len(block) - 1, x : x + width + block.shape[1] - 1]
            filtered = correlated(piece, block, anchor=(0, 0))[:height, :width]
            total = filtered if total is None else cv2.add(total, filtered, dst=total)
        if scale == 1 and out is None:
            return total  # type: ignore[no-any-return]
        return np.asarray(np.multiply(total, np.float32(scale), out=total if out is None else out), np.float32)

    def _convolved(
        self,
        compiled: CDLL,
        framed: NDArray[np.float32],
        shape: tuple[int, ...],
        scale: float,
        out: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        places, weights, ends = self._ordered
        channels = framed[0, 0].size
        if framed.strides[1] != 4 * channels or framed.strides[0] % 4:
            framed = np.ascontiguousarray(framed)
        result = np.empty(shape, np.float32) if out is None else out
        size = channels, *shape[:2], self.side
        taps = pointer(places), pointer(weights), pointer(ends), len(ends)
        compiled.patina_convolve(
            pointer(framed), framed.strides[0] // 4, *size, *taps, scale, pointer(result), result.strides[0] // 4
        )
        return result


def _ordered(
    compiled: CDLL, y: NDArray[np.integer], x: NDArray[np.integer], weights: NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Places, y and x in turn, and weights of a kernel's taps in the order of `_blocks`, and the end of each block."""
    many = np.stack([y, x, weights]).astype(np.int32)
    most = 2 * len(y)
    places, ordered = np.empty(2 * most, np.int32), np.empty(most, np.float32)
    ends, counts = np.empty(most, np.int32), np.empty(2, np.int32)
    found = pointer(places), pointer(ordered), pointer(ends), pointer(counts)
    compiled.patina_taps(*(pointer(part) for part in many), len(y), BITS, BLOCK, *found)
    return places, ordered, ends[: counts[1]]


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
    """A disc of this radius in pixels with soft edges, square, of whole numbers that add up to `most` or nearly that.

    Raises ValueError for a disc of `most` pixels or more.
    """
    reach = math.ceil(radius + 0.5)
    x = np.arange(-reach, reach + 1)
    shares = np.clip(radius + 0.5 - np.sqrt(x * x + (x * x)[:, None]), 0, 1)
    # The largest number inside, of which the sum is no more than `most`: sums rise with it.
    fits, above = 0, int(most / shares.sum()) + 1
    while fits + 1 < above:
        middle = (fits + above) // 2
        if np.rint(shares * middle).sum() <= most:
            fits = middle
        else:
            above = middle
    if not fits:
        raise ValueError(f"expected a disc of fewer than {most} pixels, found a radius of {radius:g}")
    return np.rint(shares * fits).astype(np.int64)


def spread(
    levels: NDArray[np.float32], kernel: NDArray[np.integer], border: int, scale: float = 1
) -> NDArray[np.float32]:
    """The convolution of whole numbers H×W or H×W×3 with a k×k kernel, k odd, at the same size, all sums below 2^24;
    multiplied by `scale` and rounded then."""
    reach = len(kernel) // 2
    compiled = functions()
    if compiled and border in BORDERS and np.array_equal(kernel, kernel[::-1]):
        half = kernel[reach:, ::-1]
        places = np.argwhere(half)
        weights, places = half[tuple(places.T)].astype(np.float32), np.ascontiguousarray(places, np.int32)
        levels, channels = np.ascontiguousarray(levels), levels[0, 0].size
        result = np.empty(levels.shape, np.float32)
        sums = np.empty((reach + 1) * (levels.shape[1] + 2 * reach) * channels, np.float32)
        size = *levels.shape[:2], channels, reach, BORDERS.index(border)
        taps = pointer(places), pointer(weights), len(places)
        compiled.patina_spread(pointer(levels), *size, *taps, scale, pointer(sums), pointer(result))
        return result
    y, x = np.nonzero(kernel)
    framed: Any = cv2.copyMakeBorder(levels, reach, reach, reach, reach, border)
    return Taps(len(kernel), y, x, kernel[y, x]).convolve(framed, scale)
