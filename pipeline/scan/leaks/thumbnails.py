"""Tiny copies of photographs that are compared before registration.

Levels are whole numbers, and so are all sums over them, which floats hold exactly in any order: whether two thumbnails
are alike, and whether they fit, does not depend on the processor.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from patina.synth.image import Image

NEAR_THUMBS = 0.8
"""Correlation of two thumbnails from which a candidate is worth a closer look: copies cut by 5 % have 0.83, and of
unrelated candidates one in thirty."""

FITS = 0.5
"""Fit of two thumbnails from which a pair is worth a registration. Of 7,200 copies of photographs of BSDS500 those that
are found have 0.64 or more; of pairs of different photographs whose thumbnails correlate by 0.8 one in seven has 0.5.
`benchmarks.leaks` counts both."""

THUMBNAIL = 2
"""Raised when thumbnails are made in another way, so that all are made anew."""

THUMB = 16
REACH = 2
"""How far, in px of a thumbnail, one is moved to fit the other: an eighth of a side, as far as cuts that are found."""

_BLUR = (1, 4, 6, 4, 1)
_QUARTER = THUMB // 2


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """What two pictures are first compared by: 256 grey levels, 16×16 row by row, of an RGB uint8 H×W×3 image."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 1.0).ravel().astype(np.uint8)  # a cut by 5 % then shifts it little


def likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Correlation of each thumbnail of `first`, K×256, with that of `second` in the same row, -1..1: K numbers; 0 where
    one is of one level."""
    a, b = first.astype(np.float32), second.astype(np.float32)  # exact: the largest sum, of 256 squares, is below 2**24

    def covariance(p: NDArray[np.float32], q: NDArray[np.float32]) -> NDArray[np.float64]:
        means = p.sum(1).astype(np.float64) * q.sum(1).astype(np.float64) / p.shape[1]
        return np.asarray(np.einsum("ij,ij->i", p, q).astype(np.float64) - means, np.float64)

    return np.asarray(covariance(a, b) / np.sqrt((covariance(a, a) + 1e-6) * (covariance(b, b) + 1e-6)), np.float64)


def fit(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How well the details of each thumbnail of `first`, K×256, agree with those of `second` in the same row, once one
    is laid over the other: K numbers, 1 or a little more for equal ones and 0 where one has no detail.

    Details are what a blur takes away. All are moved to where they correlate best, and from there each quarter may move
    by 1 px on its own, since a copy that was cut is larger too. What is moved out of the picture agrees with nothing.
    """
    a, b = _details(first), _details(second)
    space = 2 * REACH + 1
    around = sliding_window_view(np.pad(b, ((0, 0), (REACH, REACH), (REACH, REACH))), (_QUARTER, _QUARTER), (1, 2))
    products = np.empty((len(a), space, space, 4))
    for n, (y, x) in enumerate((y, x) for y in (0, _QUARTER) for x in (0, _QUARTER)):
        quarter, places = a[:, y : y + _QUARTER, x : x + _QUARTER], around[:, y : y + space, x : x + space]
        products[..., n] = np.einsum("kij,kyxij->kyx", quarter, places)
    best = products.sum(3).reshape(len(a), -1).argmax(1)
    steps = np.arange(space)
    close = [np.abs(steps - at[:, None]) <= 1 for at in np.divmod(best, space)]
    allowed = close[0][:, :, None] & close[1][:, None, :]
    agreed = np.where(allowed[..., None], products, -np.inf).max((1, 2)).sum(1)
    sizes = np.einsum("kij,kij->k", a, a) * np.einsum("kij,kij->k", b, b)
    return np.asarray(agreed / np.sqrt(sizes + 1), np.float64)


def _details(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """K×16×16 whole numbers: 256 times the thumbnails, K×256, less what a binomial blur leaves of them."""
    levels = thumbs.reshape(-1, THUMB, THUMB).astype(np.float64)
    wide = np.pad(levels, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    rows, details = np.zeros((len(levels), THUMB, THUMB + 4)), 256 * levels
    for i, weight in enumerate(_BLUR):
        rows += weight * wide[:, i : i + THUMB]
    for i, weight in enumerate(_BLUR):
        details -= weight * rows[:, :, i : i + THUMB]
    return details
