"""What damage looks like, in figures that tell forms apart where PSNR does not. For reports alone.

All take a clean image and its degraded one, H×W×3 uint8 RGB each, and look at nothing else: so ours and a published
set's pairs are measured alike. Levels are sRGB-encoded, 0..255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import Image, to_linear
from patina.synth.severity import CEILING

Plane = NDArray[np.float32]
"""H×W, float32, levels."""

LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""BT.601's luma of the papers' `Y`, 16..235: without the offset, which cancels in differences."""

WINDOW = 9
"""Pixels across which contrast is local."""

SEEN = 8
"""Levels of difference, in any channel, from which a pixel counts as changed."""

BRIGHT = 20
"""Levels by which a blob's luma exceeds the clean image's."""

FLAT = 0.3
"""The share of an image that counts as flat: the windows of least contrast."""


def line_fit(gt: Image, lq: Image) -> float:
    """R² of one straight line from `gt` to `lq` in each channel, the mean of the three; 1 for an even veil, 0..1.

    A channel of one level in `lq` has nothing to explain and counts as 1.
    """
    found = []
    for channel in range(3):
        x, y = (image[..., channel].astype(np.float64).ravel() for image in (gt, lq))
        x, y = x - x.mean(), y - y.mean()
        total, spread = float((y * y).sum()), float((x * x).sum())
        found.append(1.0 if total == 0 else float((x * y).sum()) ** 2 / (spread * total) if spread else 0.0)
    return float(np.mean(found))


def local_contrast(gt: Image, lq: Image) -> float:
    """Mean standard deviation of luma within windows of 9×9 px: that of `lq` over that of `gt`; 0 for a flat `gt`."""
    before, after = (float(_deviation(_luma(image)).mean()) for image in (gt, lq))
    return after / before if before else 0.0


def mean_change(gt: Image, lq: Image) -> float:
    """The mean of LQ − GT over all values, in levels."""
    return float(lq.mean(dtype=np.float64) - gt.mean(dtype=np.float64))


def changed(gt: Image, lq: Image) -> float:
    """The share of pixels that differ by 8 levels or more in any channel, 0..1."""
    return float((cv2.absdiff(gt, lq).max(axis=2) >= SEEN).mean())


def psnr_y(gt: Image, lq: Image) -> float:
    """PSNR of BT.601's luma, 16..235, peak 255, dB: as the papers of rain have it. 100 for equal images."""
    squares = float(np.mean((_luma(lq).astype(np.float64) - _luma(gt)) ** 2))
    return min(CEILING, 10 * math.log10(255**2 / squares)) if squares else CEILING


@dataclass(frozen=True)
class FlatNoise:
    """Noise where the clean image is flat, after brightening.

    luma, chroma  standard deviation of luma, and the mean one of Cb and Cr, levels.
    correlation   of luma's noise with that of the pixel beside and below, -1..1.
    """

    luma: float
    chroma: float
    correlation: float


def flat_noise(gt: Image, lq: Image) -> FlatNoise:
    """The noise of `lq`, each channel times what gives it the mean of `gt`'s, in the flattest third of `gt`.

    That is of what differs from `gt`, less its mean over 7×7 px; what that takes from white noise is given back.
    """
    gain = gt.mean(axis=(0, 1)) / np.maximum(lq.mean(axis=(0, 1)), 1e-3)
    bright = np.minimum(lq * gain, 255).astype(np.float32)
    colours, clean = (
        cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2YCrCb) * np.float32(255)
        for image in (bright, gt)
    )
    rough = _deviation(_luma(gt))
    flat = (rough <= np.quantile(rough, FLAT)) & (bright.max(axis=2) < 250)
    if flat.sum() < 64:
        return FlatNoise(0.0, 0.0, 0.0)
    rest = colours - clean
    rest -= cv2.blur(rest, (7, 7), borderType=cv2.BORDER_REFLECT)
    kept = math.sqrt(1 - 1 / 49)
    luma, red, blue = (float(rest[..., i][flat].std()) / kept for i in range(3))
    y = rest[..., 0]
    beside, below = flat[:, 1:] & flat[:, :-1], flat[1:] & flat[:-1]
    products = np.concatenate([(y[:, 1:] * y[:, :-1])[beside], (y[1:] * y[:-1])[below]])
    variance = float((y[flat] ** 2).mean())
    # Taking a mean of n white values away leaves a correlation of about −1/(n − 1).
    correlation = float(products.mean()) / variance + 1 / 48 if variance and products.size else 0.0
    return FlatNoise(luma, (red + blue) / 2, correlation)


@dataclass(frozen=True)
class Blobs:
    """Bright spots that a degradation put in: how many in 481×321 px, and diameters of circles of their areas, px: the
    median, and the 90th and 95th percentile."""

    count: float
    median: float
    ninetieth: float
    largest: float


def blobs(gt: Image, lq: Image, least: float = BRIGHT) -> Blobs:
    """What is joined, 4 px or more, and has `least` levels of luma more than in `gt`; `largest` is the 95th of 100."""
    brighter = (_luma(lq) - _luma(gt)) * np.float32(255 / 219) >= least
    _, _, stats, _ = cv2.connectedComponentsWithStats(brighter.astype(np.uint8), connectivity=4)
    areas = np.asarray(stats)[1:, cv2.CC_STAT_AREA]
    areas = areas[areas >= 4]
    if not areas.size:
        return Blobs(0.0, 0.0, 0.0, 0.0)
    median, ninetieth, largest = (float(x) for x in np.quantile(2 * np.sqrt(areas / math.pi), (0.5, 0.9, 0.95)))
    return Blobs(areas.size * 481 * 321 / gt[..., 0].size, median, ninetieth, largest)


def lean(gt: Image, lq: Image) -> float:
    """Degrees by which the streaks of LQ − GT lean from the vertical, above 0 to the lower right: by the structure
    tensor of the whole layer; 0 where there is none."""
    layer = np.maximum(_luma(lq) - _luma(gt), 0)
    right, down = cv2.Scharr(layer, cv2.CV_32F, 1, 0), cv2.Scharr(layer, cv2.CV_32F, 0, 1)
    xx, xy, yy = (float((a * b).mean(dtype=np.float64)) for a, b in ((right, right), (right, down), (down, down)))
    return -math.degrees(math.atan2(2 * xy, xx - yy)) / 2 if xx + yy else 0.0


@dataclass(frozen=True)
class Shade:
    """What a shadow leaves of the light: of green's, and blue's share over red's."""

    green: float
    blue_over_red: float


def shade(gt: Image, lq: Image) -> Shade:
    """In linear light, in the darker half of what lost a fifth of its green or more; (1, 1) where there is none."""
    before, after = to_linear(gt).astype(np.float64), to_linear(lq).astype(np.float64)
    known = (gt.min(axis=2) > 30) & (gt.max(axis=2) < 255)
    left = after[..., 1] / np.maximum(before[..., 1], 1e-4)
    dark = known & (left < 0.8)
    if dark.sum() < 64:
        return Shade(1.0, 1.0)
    umbra = dark & (left <= np.median(left[dark]))
    red, green, blue = (float(after[..., i][umbra].sum() / before[..., i][umbra].sum()) for i in range(3))
    return Shade(green, blue / max(red, 1e-6))


def _luma(image: Image) -> Plane:
    return np.asarray(image @ LUMA, np.float32)


def _deviation(plane: Plane) -> Plane:
    """The standard deviation within windows, H×W."""
    mean, square = (cv2.blur(part, (WINDOW, WINDOW)) for part in (plane, plane * plane))
    return np.sqrt(np.maximum(square - mean * mean, 0))
