"""How much was done to an image, measured from the result, on one scale for all degradations.

A knob says nothing across types: σ = 50 and 50 mm/h are no equals. So severity is measured, not asked: two images go
in, and the same function answers for noise, rain and a hole. It is taken at full size, which a restorer sees, and at
the 224 pixels that CLIP sees, where noise all but vanishes and haze stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.elementary import log_of
from patina.synth.image import Image
from patina.synth.opencv import interpolated
from patina.synth.resampling import averaged
from patina.synth.strips import heed

LEVELS = ("slight", "mild", "moderate", "severe", "extreme")
"""Equal fifths of the scale from 0 to 100."""

VERSION = 2
"""Raised whenever the same two images measure otherwise: then samples are made again."""

SIDE = 8
"""Pixels of a window's side."""

CLIP_SIDE = 224
NO_ERROR, ALL_ERROR = 45.0, 5.0
"""PSNR in dB at which the error term is 0 and 1: what nobody sees, and a picture against its negative."""

LN_10 = 2.302585092994046

CEILING = 100.0
"""PSNR of identical images, dB: JSON has no infinity."""


@dataclass(frozen=True)
class Measured:
    """What was measured between a clean image and its degraded one, at one size.

    psnr           dB over all RGB values, peak 255; 100 for identical images.
    structure      how alike the structure is, -1..1: the similarity index of Wang et al. (2004) of luma in uniform 8×8
                   windows, at the scale that their program chooses: images whose short side is above 384 px are
                   averaged down to about 256. It serves severity, and is not the SSIM that papers print: that is
                   `patina.synth.figures`.
    residual_mean  mean of LQ − GT in levels: below 0 is darker. residual_std: its standard deviation.
    score          severity from 0 (nothing) to 100.
    """

    psnr: float
    structure: float
    residual_mean: float
    residual_std: float
    score: float

    @property
    def level(self) -> str:
        """The score as one of five levels."""
        return level_of(self.score)


def level_of(score: float) -> str:
    """The level of a severity from 0 to 100."""
    return LEVELS[min(int(score / 20), len(LEVELS) - 1)]


def band_of(levels: str) -> tuple[float, float]:
    """The scores that `mild` or `mild..severe` mean. Raises ValueError for other levels or an empty range."""
    first, _, last = levels.partition("..")
    last = last or first
    if first not in LEVELS or last not in LEVELS or LEVELS.index(first) > LEVELS.index(last):
        raise ValueError(
            f"severity: expected one of {', '.join(LEVELS)}, or two as in 'mild..severe', found {levels!r}"
        )
    return 20.0 * LEVELS.index(first), 20.0 * (LEVELS.index(last) + 1)


def measure(gt: Image, lq: Image) -> Measured:
    """Compare two H×W×3 RGB uint8 images of one size, at that size."""
    return Reference(gt).measure(lq)


class Reference:
    """A clean image, H×W×3 RGB uint8, that others are compared with: what concerns it alone is computed once and kept.

    `gt` must not change meanwhile. For one thread at a time.
    """

    def __init__(self, gt: Image) -> None:
        self._gt = gt

    @cached_property
    def at_clip_size(self) -> Reference:
        """The same of `at_clip_size(gt)`."""
        return Reference(at_clip_size(self._gt))

    def measure(self, lq: Image) -> Measured:
        """What is measured between the clean image and one of its size, at that size."""
        heed()
        psnr, mean_square = _psnr(self._gt, lq)
        mean = (sum(cv2.sumElems(lq)) - self._sum) / lq.size
        return _measured(psnr, mean_square, mean, self._structure.of(_luma(lq)))

    @cached_property
    def _sum(self) -> float:
        return sum(cv2.sumElems(self._gt))

    @cached_property
    def _structure(self) -> _Structure:
        return _Structure(_luma(self._gt))


def _measured(psnr: float, mean_square: float, mean: float, structure: float) -> Measured:
    error = min(max((NO_ERROR - psnr) / (NO_ERROR - ALL_ERROR), 0.0), 1.0)
    lost = min(max(1.0 - structure, 0.0), 1.0)
    return Measured(
        round(psnr, 4),
        round(structure, 4),
        round(mean, 3),
        round(math.sqrt(max(mean_square - mean**2, 0.0)), 3),
        round(100 * (error + lost) / 2, 2),
    )


def psnr_of(gt: Image, lq: Image) -> float:
    """The PSNR that `measure` finds, alone, in dB."""
    return round(_psnr(gt, lq)[0], 4)


def _psnr(gt: Image, lq: Image) -> tuple[float, float]:
    squares = cv2.norm(gt, lq, cv2.NORM_L2SQR)  # sums of integers below 2^53 are exact in any order
    mean_square = squares / gt.size
    return (10 / LN_10 * log_of(255**2 / mean_square) if squares else CEILING), mean_square


def at_clip_size(image: Image) -> Image:
    """The image with its short side at 224 px: about what CLIP is shown. A smaller one stays as it is.

    Averaged by a whole factor, then interpolated: a third of the time of averaging by a broken one.
    """
    height, width = image.shape[:2]
    scale = CLIP_SIDE / min(height, width)
    if scale >= 1:
        return image
    whole = int(1 / scale)
    if whole > 1:
        image = averaged(image, whole)
    size = (round(width * scale), round(height * scale))
    return interpolated(image, size)


def _luma(image: Image) -> NDArray[np.uint8]:
    """Levels of luma, H×W, at the scale of Wang's program: averaged down by round(short side / 256)."""
    step = max(1, round(min(image.shape[:2]) / 256))
    grey: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    return averaged(grey, step) if step > 1 else grey


class _Structure:
    """Similarity to one H×W uint8 array of levels, in uniform 8×8 windows.

    With m for a window's mean: (2 mx my + c1)(2 mxy - 2 mx my + c2) / ((mx² + my² + c1)(mxx + myy - mx² - my² + c2)).
    Everything up to the means is whole numbers, and parts of 2^6 of them, below 2^24: nothing of it is rounded.
    """

    def __init__(self, x: NDArray[np.uint8]) -> None:
        self._x = np.ascontiguousarray(x)
        self._mean = _window_means(x)

    @cached_property
    def _wide(self) -> NDArray[np.uint16]:
        return self._x.astype(np.uint16)

    @cached_property
    def _mean_square(self) -> NDArray[np.float32]:
        return self._mean * self._mean

    def of(self, y: NDArray[np.uint8]) -> float:
        """The mean similarity of another array of that size, -1..1."""
        c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
        if (compiled := functions()) and min(y.shape) >= SIDE:
            y, total = np.ascontiguousarray(y), np.empty(1, np.float64)
            memory = np.empty(7 * (y.shape[1] + 16), np.int32)
            pictures = pointer(self._x), pointer(y), *y.shape, pointer(self._mean)
            compiled.patina_structure(*pictures, c1, c2, pointer(memory), pointer(total))
            return float(total[0] / y.size)
        product = _window_means(self._wide * y)
        product *= np.float32(2)
        away = cv2.absdiff(self._x, y).astype(np.uint16)
        squares = _window_means(np.multiply(away, away, out=away))
        squares += product  # mxx + myy
        my = _window_means(y)
        means = self._mean * my
        means *= np.float32(2)
        my *= my
        my += self._mean_square  # mx² + my²
        product -= means
        product += c2
        means += c1
        means *= product
        squares -= my
        squares += c2
        my += c1
        my *= squares
        means /= my
        return float(means.mean(dtype=np.float64))


def _window_means(values: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float32]:
    kind = cv2.CV_32F if values.dtype == np.uint8 else cv2.CV_32S
    sums: Any = cv2.boxFilter(values, kind, (SIDE, SIDE), normalize=False)
    means: NDArray[np.float32] = sums.astype(np.float32, copy=False)
    means *= np.float32(1 / SIDE**2)
    return means
