"""Tiny copies of photographs that are compared before registration."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import Image

NEAR_THUMBS = 0.8
"""Correlation of two thumbnails from which a candidate is worth a registration: copies cut by 5 % have 0.83, and of
unrelated candidates one in thirty."""
THUMB = 16


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """What two pictures are first compared by: 256 grey levels, 16×16 row by row, of an RGB uint8 H×W×3 image."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 1.0).ravel().astype(np.uint8)  # a cut by 5 % then shifts it little


def normalised(thumb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A thumbnail with mean 0 and norm 1, so that the product of two is their correlation."""
    centred = thumb - thumb.mean(dtype=np.float32)
    return np.asarray(centred / np.sqrt(np.square(centred).sum() + 1e-6), np.float32)
