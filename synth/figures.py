"""SSIM and PSNR as papers print them: SSIM of Wang et al. (2004) by Gaussian windows, over RGB and over the luma Y.

    a plane of levels ─ minus 128 ─► y, y², x·y ─ windows' means ─► the index of each window ─► their mean

Everything before the index itself is whole numbers up to 2^24, which float32 holds exactly whatever the order of the
sums, so that the result has the same bits on every processor. Of all windows every third or fifth row is taken, see
`LUMA_STEP`; no image is reduced. What concerns the clean image alone is kept by `Reference`, for all that is compared
with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.elementary import log_of
from patina.synth.image import Image
from patina.synth.strips import heed

Plane = NDArray[np.float32]
Levels = NDArray[np.uint8]

VERSION = 2
"""Raised whenever the same two images have other figures: samples are then measured anew, and no pixel is made anew."""

SIDE = 11
"""Pixels of a window's side."""

TAPS = (1, 8, 37, 111, 219, 272, 219, 111, 37, 8, 1)
"""A Gaussian of σ = 1.5 px in 1/1024: of all whole numbers those whose autocorrelation and variance, on which the
moments depend, are nearest to its own. Products of levels less `MIDDLE` times their sum are 2^24 at most."""

WHOLE = sum(TAPS)

ACROSS = np.array(TAPS, np.float32)[None]

MIDDLE = 128
"""What levels are counted from: products are then 2^14 at most."""

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

LUMA_STEP, RGB_STEP = 3, 5
"""Luma is measured in the windows of every third row, red, green and blue in those of every fifth, each channel in
others. A window reaches over eleven rows, so the rows between say nearly the same. Each row counts for all that are
nearest to it (`_counts`): otherwise one end of the picture would count more than the other. No step is even, since
JPEG's blocks of 8 px would then always be met in the same rows. See docs/figures.md for what that changes."""

RGB_FIRST, LUMA_FIRST = (0, 1, 3), 1

LEAST_ROWS = 96
"""Rows of windows below which every row is taken."""

ROWS = 2
"""Rows of windows that one product of matrices makes: of more rows its matrix would hold zeros, mostly."""

WIDEST = 1024
"""Columns at a time: so small a product of matrices is computed by this thread alone."""

AT_ONCE = 1 << 19
"""Pixels at a time: their planes stay in the processor's cache, and memory stays bounded."""

KEPT = 1 << 21
"""Pixels of a clean image up to which a `Reference` keeps what it knows: 28 bytes a pixel. Of a larger one it keeps
nothing."""

LUMA, LUMA_WHOLE = (21827, 42851, 8322), 85000
"""Of red, green and blue: BT.601's 65.481, 128.553 and 24.966 of 255. Of levels less `MIDDLE` the sums stay below
2^24."""

LN_10, CEILING = 2.302585092994046, 100.0


@dataclass(frozen=True)
class Figures:
    """What papers print of a clean image and its degraded or restored one.

    psnr    dB over all RGB values, peak 255; 100 for identical images.
    psnr_y  dB over the luma Y of BT.601, 16 to 235, rounded to levels as MATLAB's rgb2ycbcr does, and peak 255 all the
            same: 1.32 dB more than over a luma of 0 to 255.
    ssim    over RGB: the mean of the three channels', -1..1. ssim_y: over that Y, with the constants of a peak of 255.
    """

    psnr: float
    psnr_y: float
    ssim: float
    ssim_y: float


def figures(gt: Image, lq: Image) -> Figures:
    """Compare two H×W×3 RGB uint8 images of one size. Sides below 11 px are mirrored until a window fits."""
    return Reference(gt).figures(lq)


class Reference:
    """A clean image, H×W×3 RGB uint8, that others are compared with: what concerns it alone is computed once, and kept
    where it has `KEPT` pixels or less. `gt` must not change meanwhile. For one thread at a time.

    >>> grey = np.full((16, 16, 3), 90, np.uint8)
    >>> Reference(grey).figures(grey).ssim
    1.0
    """

    def __init__(self, gt: Image) -> None:
        self._gt = _large_enough(gt)
        self._keeps = self._gt[..., 0].size <= KEPT
        self._planes: dict[int, Levels] = {}
        self._kept: dict[tuple[int, _Block], _Windows | _CompiledWindows] = {}

    def figures(self, lq: Image) -> Figures:
        """The figures of an image of the same size, beside the clean one."""
        lq = _large_enough(lq)
        planes: Iterable[Any] = cv2.split(lq) if self._keeps else (_plane(lq, i) for i in range(3))
        rgb = [self._ssim(i, plane, RGB_STEP, RGB_FIRST[i]) for i, plane in enumerate(planes)]
        y = luma(lq)
        ssim_y = self._ssim(3, y, LUMA_STEP, LUMA_FIRST)
        psnr_y = _psnr(self._own(3), y)
        return Figures(_psnr(self._gt, lq), psnr_y, round(sum(rgb) / 3, 4), round(ssim_y, 4))

    def _own(self, index: int) -> Levels:
        """Red, green, blue or luma of the clean image."""
        plane = self._planes.get(index)
        if plane is None:
            plane = _plane(self._gt, index) if index < 3 else luma(self._gt)
            if self._keeps:
                self._planes[index] = plane
        return plane

    def _ssim(self, index: int, lq: Levels, step: int, first: int) -> float:
        """Mean SSIM of a plane and H×W levels, in the windows of every `step`-th row from `first` on."""
        height, width = lq.shape
        if height - SIDE + 1 < LEAST_ROWS:
            step, first = 1, 0
        counts = _counts(height - SIDE + 1, step, first)
        total = 0.0
        for block in _blocks(len(counts), width, step, first):
            heed()  # all blocks of a large photograph take more than a second
            windows = self._kept.get((index, block))
            if windows is None:
                windows = (_CompiledWindows if functions() else _Windows)(block.of(self._own(index)), block)
                if self._keeps:
                    self._kept[index, block] = windows
            sums = windows.index_sums(block.of(lq))
            total += float((sums * counts[block.row : block.row + block.rows]).sum())
        return total / float((height - SIDE + 1) * (width - SIDE + 1))


@dataclass(frozen=True)
class _Block:
    """Windows that are measured together: `rows` rows of them from `row` on, which begin at pixel `top` and lie `step`
    apart, and the columns `left` to `right` of the picture, of which the last ten begin none."""

    row: int
    rows: int
    top: int
    step: int
    left: int
    right: int

    def of(self, plane: Levels) -> Levels:
        """What its windows cover."""
        return plane[self.top : self.top + (self.rows - 1) * self.step + SIDE, self.left : self.right]


def _blocks(rows: int, width: int, step: int, first: int) -> Iterator[_Block]:
    """All windows of a picture of that width, `rows` rows of them."""
    across = min(width, WIDEST)
    most = max(1, AT_ONCE // across // step // ROWS) * ROWS
    for left in range(0, width - SIDE + 1, across - SIDE + 1):
        for row in range(0, rows, most):
            yield _Block(row, min(most, rows - row), first + row * step, step, left, min(left + across, width))


@cache
def _counts(rows: int, step: int, first: int) -> NDArray[np.float64]:
    """For each row of windows that is measured: how many of all rows are nearest to it; Σ = `rows`."""
    measured = np.arange(first, rows, step)
    ends = np.concatenate([[0], (measured[1:] + measured[:-1] + 1) / 2, [rows]])
    counts = np.diff(ends)
    counts.setflags(write=False)
    return counts


class _Windows:
    """The windows of a block of the clean image: its levels less `MIDDLE`, their means less `MIDDLE`, their variances +
    c2; the means and their squares."""

    def __init__(self, levels: Levels, block: _Block) -> None:
        self._block, self._levels = block, _centred(levels)
        self._means = means = _window_means(self._levels, block, WHOLE // MIDDLE)
        self._spread = _window_means(self._levels * self._levels, block, WHOLE)
        self._spread -= means * means
        self._spread += np.float32(C2)
        self._bright = means + np.float32(MIDDLE)
        self._square = self._bright * self._bright

    def index_sums(self, levels: Levels) -> NDArray[np.float64]:
        """Sums of SSIM over each row of windows, beside the degraded image's levels in the same place.

        (2·mx·my + c1)(2·cov + c2) / ((mx² + my² + c1)(vx + vy + c2)), of whose numerator a half of each factor is
        computed.
        """
        block, y = self._block, _centred(levels)
        product = _window_means(self._levels * y, block, WHOLE)
        b = _window_means(y, block, WHOLE // MIDDLE)
        y *= y
        squares = _window_means(y, block, WHOLE)
        part = b * b
        squares -= part
        squares += self._spread
        np.multiply(self._means, b, out=part)
        product -= part
        product += np.float32(C2 / 2)
        b += np.float32(MIDDLE)
        np.multiply(self._bright, b, out=part)
        part += np.float32(C1 / 2)
        b *= b
        b += self._square
        b += np.float32(C1)
        product *= part
        squares *= b
        product /= squares
        return np.asarray(product[:, : block.right - block.left - SIDE + 1].sum(axis=1).astype(np.float64) * 4)


class _CompiledWindows:
    """The same, to the bit, by compiled loops."""

    def __init__(self, levels: Levels, block: _Block) -> None:
        compiled = functions()
        assert compiled is not None
        self._compiled, self._block, self._levels = compiled, block, levels
        shape = block.rows, levels.shape[1]
        self._means, self._spread = np.empty(shape, np.float32), np.empty(shape, np.float32)
        size = levels.strides[0], levels.shape[1], block.rows, block.step
        where = pointer(self._means), pointer(self._spread)
        compiled.patina_ssim_clean(pointer(levels), *size, C2, *where)

    def index_sums(self, levels: Levels) -> NDArray[np.float64]:
        """Sums of SSIM over each row of windows, beside the degraded image's levels in the same place."""
        clean, block = self._levels, self._block
        sums = np.empty(block.rows, np.float32)
        pictures = pointer(clean), clean.strides[0], pointer(levels), levels.strides[0]
        size = levels.shape[1], block.rows, block.step
        where = pointer(self._means), pointer(self._spread), pointer(sums)
        self._compiled.patina_ssim_sums(*pictures, *size, C1, C1 / 2, C2 / 2, *where)
        return sums.astype(np.float64) * 4


def _window_means(plane: Plane, block: _Block, scale: int) -> Plane:
    """Gaussian means of whole numbers, |plane| ≤ 16·scale, in a block's windows; its last ten columns say nothing.

    Down the columns first: of the rows between, no sum is made. Rounded between to steps of scale/WHOLE.
    """
    width, whole = plane.shape[1], block.rows // ROWS
    sums = np.empty((block.rows, width), np.float32)
    if whole:
        down, across = plane.strides
        shape = whole, (ROWS - 1) * block.step + SIDE, width
        parts = as_strided(plane, shape, (ROWS * block.step * down, down, across), writeable=False)
        np.matmul(_down(ROWS, block.step), parts, out=sums[: whole * ROWS].reshape(whole, ROWS, width))
    if rest := block.rows - whole * ROWS:
        np.matmul(_down(rest, block.step), plane[whole * ROWS * block.step :], out=sums[whole * ROWS :])
    sums *= np.float32(1 / scale)
    np.rint(sums, out=sums)  # so that the next sums are 2^24 at most, too
    means = np.asarray(cv2.filter2D(sums, -1, ACROSS, anchor=(0, 0)), np.float32)
    means *= np.float32(scale / WHOLE**2)
    return means


@cache
def _down(rows: int, step: int) -> Plane:
    """The weights of so many rows of windows: a matrix of a row for each, a column for each row of pixels."""
    weights = np.zeros((rows, (rows - 1) * step + SIDE), np.float32)
    for row in range(rows):
        weights[row, row * step : row * step + SIDE] = TAPS
    weights.setflags(write=False)
    return weights


def _psnr(gt: Levels, lq: Levels) -> float:
    squares = cv2.norm(gt, lq, cv2.NORM_L2SQR)  # sums of integers below 2^53 are exact in any order
    return round(10 / LN_10 * log_of(255**2 * gt.size / squares), 4) if squares else CEILING


def luma(image: Image) -> Levels:
    """Y of BT.601, H×W uint8 of levels 16 to 235, of H×W×3 RGB uint8."""
    height, width = image.shape[:2]
    result = np.empty((height, width), np.uint8)
    start = np.float32(16 + MIDDLE * sum(LUMA) / LUMA_WHOLE)
    if compiled := functions():
        image = np.ascontiguousarray(image)
        factors = np.array(LUMA, np.float32)
        compiled.patina_luma(pointer(image), result.size, pointer(factors), LUMA_WHOLE, start, pointer(result))
        return result
    rows = max(1, AT_ONCE // max(width, 1))
    for top in range(0, height, rows):
        y = np.asarray(cv2.transform(_centred(image[top : top + rows]), np.array([LUMA], np.float32)), np.float32)
        y /= np.float32(LUMA_WHOLE)
        y += start
        cv2.convertScaleAbs(y, dst=result[top : top + rows])  # which rounds
    return result


def _plane(image: Image, channel: int) -> Levels:
    return np.asarray(cv2.extractChannel(image, channel), np.uint8)


def _large_enough(image: Image) -> Image:
    height, width = image.shape[:2]
    down, right = max(0, SIDE - height), max(0, SIDE - width)
    if not down and not right:
        return image
    return cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT)  # type: ignore[return-value]


def _centred(levels: Levels) -> Plane:
    plane: Plane = levels.astype(np.float32)
    plane -= np.float32(MIDDLE)
    return plane
