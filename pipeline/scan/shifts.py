"""By how many pixels an LQ lies beside its GT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import Image

MIN_RESPONSE, MIN_RESPONSE_OF_BLUR = 0.1, 0.25
"""Phase correlation's peak, 0..1: below it the estimate is chance and says nothing; or leads to a copy by a blur."""

MIN_GAIN, MIN_GAIN_OF_BLUR = 0.1, 0.2
"""By how much two images must agree better (in correlation, -1..1) once the shift is undone. A motion blur doubles
edges, and the estimate may lead from one copy to the other: undoing that gains up to 0.2 where it is long, undoing a
true shift 0.4 and more in photographs."""

CHANCE = 28
"""What chance may gain, over the square root of the number of pixels: 0.44 in a tile of 64×64."""

BLUR, LONG_BLUR = 2.5, 4.0
"""Structure of the LQ over that of the GT (see `agreement.structure`) from which it counts as blurred, and from which a
blur is so long that copies and shifts cannot be told apart."""

FINE, COARSE = 5, 27
"""Pixels of the boxes that are subtracted: what is coarser agrees at any small shift, what is finer is noise."""

LEAST_DETAIL = 9**2
"""Mean square, in 18ths of a level: half a level. In a clear sky there is nothing that could be shifted."""

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """Pixels by which the LQ lies to the right of and below the GT, 0 where it cannot be told; and whether that is too
    far for a pair: two pixels or more. GoPro's and RainDrop's pairs lie below one; a border that was cropped on one
    side gives five or more."""

    x: float = 0.0
    y: float = 0.0
    far: bool = False


def find_shift(lq: Image, gt: Image, blur: float) -> Shift:
    """Compare two H×W×3 RGB uint8 images of one size; `blur` is the structure of the LQ over that of the GT.

    Phase correlation, in floats, proposes; what is decided rests on whole numbers, which every processor adds alike.
    """
    dx, dy, response = _proposal(lq, gt)
    blurred = blur >= BLUR
    if response < (MIN_RESPONSE_OF_BLUR if blurred else MIN_RESPONSE):
        return Shift()
    if max(abs(dx), abs(dy)) <= 1:
        return Shift(round(dx, 2), round(dy, 2))
    one, other = _details(lq), _details(gt)
    if min(float((plane * plane).sum()) for plane in (one, other)) < LEAST_DETAIL * other.size:
        return Shift()
    x, y, gain = _best_near(one, other, round(dx), round(dy))
    if max(abs(x), abs(y)) < 2:
        return Shift(float(x), float(y))
    least = max(MIN_GAIN_OF_BLUR if blurred else MIN_GAIN, CHANCE / math.sqrt(gt.shape[0] * gt.shape[1]))
    return Shift(float(x), float(y), True) if gain >= least and blur < LONG_BLUR else Shift()


def _proposal(lq: Image, gt: Image) -> tuple[float, float, float]:
    """Phase correlation of the two images' edges: (x, y, peak)."""
    first, second = _edges(gt), _edges(lq)
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (dx, dy), response = cv2.phaseCorrelate(first, second, window)
    return float(dx), float(dy), float(response)


def _edges(image: Image) -> NDArray[np.float32]:
    """Gradient magnitude after a slight blur, with local contrast evened out: haze and darkness change it little."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    magnitude = cv2.magnitude(gx, gy)
    return np.asarray(magnitude / (cv2.blur(magnitude, (COARSE, COARSE)) + 1.0), np.float32)


def _details(image: Image) -> Plane:
    """Grey levels averaged over FINE pixels less those over COARSE ones, in whole 18ths of a level: sums of their
    products over a hundred megapixels stay exact."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.int32)
    fine, coarse = (cv2.boxFilter(grey, cv2.CV_32S, (side, side), normalize=False) for side in (FINE, COARSE))
    return (np.asarray(fine * COARSE**2 - coarse * FINE**2, np.int32) >> 10).astype(np.float64)


def _best_near(lq: Plane, gt: Plane, dx: int, dy: int) -> tuple[int, int, float]:
    """The shift of those within a pixel of (dx, dy) whose undoing makes the details agree best, and how much better
    they agree than as they lie."""
    height, width = gt.shape
    places = [(dx + i, dy + j) for j in (-1, 0, 1) for i in (-1, 0, 1)]
    places = [(x, y) for x, y in places if abs(x) * 2 <= width and abs(y) * 2 <= height]  # or too little is left
    if not places:
        return dx, dy, 0.0
    x, y = max(places, key=lambda place: _correlation(lq, gt, *place))
    return x, y, _correlation(lq, gt, x, y) - _correlation(lq, gt, 0, 0)


def _correlation(lq: Plane, gt: Plane, dx: int, dy: int) -> float:
    """Of the details, if the LQ is taken to be shifted by (dx, dy) px."""
    height, width = gt.shape
    here = gt[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    there = lq[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
    first, second = float((here * here).sum()), float((there * there).sum())
    return float((here * there).sum()) / max(math.sqrt(first) * math.sqrt(second), 1.0)
