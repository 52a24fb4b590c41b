"""SSIM and PSNR as papers print them: SSIM of Wang et al. (2004) by Gaussian windows, over RGB and over the luma Y.

    a plane of levels ─ minus 128 ─► x, y, x·y, x² + y² ─ windows' means ─► the index of each window ─► their mean

Everything before the index itself is whole numbers below 2^24, which float32 holds exactly whatever the order of the
sums, so that the result has the same bits on every processor. Of all windows every second or third row is taken, see
`LUMA_STEP`; no image is reduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import log_of
from patina.synth.image import Image

Plane = NDArray[np.float32]
Levels = NDArray[np.uint8]

SIDE = 11
"""Pixels of a window's side."""

TAPS = (1, 8, 37, 111, 219, 272, 219, 111, 37, 8, 1)
"""A Gaussian of σ = 1.5 px in 1/1024: of all whole numbers those whose autocorrelation and variance, on which the
moments depend, are nearest to its own. Products of levels less `MIDDLE` times their sum stay below 2^24."""

WHOLE = sum(TAPS)

DOWN = {n: [np.array(TAPS[phase::n], np.float32)[:, None] for phase in range(n)] for n in (1, 2, 3, 4)}
ACROSS = np.array(TAPS, np.float32)[None]
"""The window's columns, for each `step` those of the rows that are met together, and its row."""

MIDDLE = 128
"""What levels are counted from: products are then 2^14 at most."""

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

LUMA_STEP, RGB_STEP = 2, 3
"""Luma is measured in the windows of every second row, red, green and blue in those of every third row, each channel
in another third, so that all rows count. A window reaches over eleven rows, so the rows between add next to nothing:
see docs/figures.md for what that changes."""

RGB_FIRST = (0, 1, 2)

LEAST_ROWS = 96
"""Rows of windows below which every row is taken."""

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
    gt, lq = _large_enough(gt), _large_enough(lq)
    y_gt, y_lq = luma(gt), luma(lq)
    channels = zip(cv2.split(gt), cv2.split(lq), RGB_FIRST, strict=True)
    rgb = sum(_ssim(x, y, RGB_STEP, first) for x, y, first in channels)
    ssim_y = _ssim(y_gt, y_lq, LUMA_STEP, 0)
    return Figures(_psnr(gt, lq), _psnr(y_gt, y_lq), round(rgb / 3, 4), round(ssim_y, 4))


def _psnr(gt: Levels, lq: Levels) -> float:
    squares = cv2.norm(gt, lq, cv2.NORM_L2SQR)  # sums of integers below 2^53 are exact in any order
    return round(10 / LN_10 * log_of(255**2 * gt.size / squares), 4) if squares else CEILING


def luma(image: Image) -> Levels:
    """Y of BT.601, H×W uint8 of levels 16 to 235, of H×W×3 RGB uint8."""
    y = np.asarray(cv2.transform(_centred(image), np.array([LUMA], np.float32)), np.float32)
    y /= np.float32(LUMA_WHOLE)
    y += np.float32(16 + MIDDLE * sum(LUMA) / LUMA_WHOLE)
    return np.rint(y, out=y).astype(np.uint8)


def _large_enough(image: Image) -> Image:
    height, width = image.shape[:2]
    down, right = max(0, SIDE - height), max(0, SIDE - width)
    if not down and not right:
        return image
    return cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT)  # type: ignore[return-value]


def _ssim(gt: Any, lq: Any, step: int, first: int = 0) -> float:
    """Mean SSIM of two H×W uint8 planes of levels, in the windows of every `step`-th row from `first` on."""
    if len(gt) - SIDE + 1 < LEAST_ROWS:
        step, first = 1, 0
    x, y = _centred(gt[first:]), _centred(lq[first:])
    squares = np.asarray(cv2.addWeighted(x * x, 0.5, y * y, 0.5, 0), np.float32)
    squares += _dither(x.shape[1])
    np.rint(squares, out=squares)
    a, b = (_window_means(part, step, WHOLE // 128) for part in (x, y))
    x *= y
    product, squares = (_window_means(part, step, WHOLE) for part in (x, squares))
    both = a * b
    product -= both
    product += np.float32(C2 / 2)  # covariance + c2/2
    own = a * a
    own += b * b
    both += both
    a += b
    a *= np.float32(2 * MIDDLE)
    a += np.float32(2 * MIDDLE**2 + C1)
    both += a  # 2·mx·my + c1 of means that are not less MIDDLE
    a += own  # mx² + my² + c1
    own *= np.float32(0.5)
    squares -= own
    squares += np.float32(C2 / 2)  # half of variances + c2
    product *= both
    squares *= a
    product /= squares
    return float(product.mean(dtype=np.float64))


@cache
def _dither(width: int) -> Plane:
    """A quarter in every second column: halves are then rounded up there and down, to even numbers, in the others.

    The half sum of an odd and an even square always lies a half above an even number.
    """
    row = np.zeros(width, np.float32)
    row[::2] = 0.25
    row.setflags(write=False)
    return row


def _centred(levels: Any) -> Plane:
    plane: Plane = levels.astype(np.float32)
    plane -= np.float32(MIDDLE)
    return plane


def _window_means(plane: Plane, step: int, scale: int) -> Plane:
    """Gaussian means of H×W whole numbers, |plane| < 16·scale, in the windows of every `step`-th row that lie within.

    Down the columns first: of the rows between, no sum is made. Rounded between to steps of scale/WHOLE.
    """
    height, width = plane.shape
    rows, total = (height - SIDE) // step + 1, None
    for phase in range(step):
        part = cv2.filter2D(plane[phase::step], -1, DOWN[step][phase], anchor=(0, 0))[:rows]
        total = part if total is None else cv2.add(total, part, dst=total)
    sums = np.asarray(total, np.float32)
    sums *= np.float32(1 / scale)
    np.rint(sums, out=sums)  # so that the next sums stay within 2^24, too
    means = cv2.filter2D(sums, -1, ACROSS, anchor=(0, 0))[:, : width - SIDE + 1]
    return np.multiply(means, np.float32(scale / WHOLE**2))
