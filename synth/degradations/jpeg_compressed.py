"""`jpeg-compressed`: baseline JPEG at low quality, once or twice, or WebP. JPEG's stored LQ is the file itself."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import PIL.Image

from patina.synth.degradation import (
    Degradation,
    Degraded,
    Knob,
    Params,
    Place,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.image import Image
from patina.synth.rng import Rng

SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")
CODECS = ("jpeg", "webp")

FIRST = {"min": 30, "max": 90}
"""Qualities of the first of two compressions: what cameras and websites write."""


@dataclass(frozen=True)
class JpegCompressed(Degradation):
    """The image after libjpeg: baseline, sequential, the standard's tables scaled by quality (ITU-T T.81, Annex K).

    quality      libjpeg's 1..100, whole; 10 as in DA-CLIP (arXiv 2310.01018).
    subsampling  chroma "4:2:0" (halved both ways, libjpeg's default), "4:2:2" (halved in width) or "4:4:4" (full).
                 Quality says nothing without it: at quality 10, full chroma is about 0.2 dB better.
    double       a compression before this one, as of a file that was saved, cropped and saved again: a number is how
                 often there is one, 0..1, at a quality of 30..90; a list or range of qualities means always, at one of
                 them. The crop took 1..7 columns and rows off, so the grids of 8×8 blocks do not meet.
    codec        "jpeg", or "webp" for lossy WebP (libwebp, method 4) at `quality` as WebP counts it, chroma always
                 4:2:0; `subsampling` is then that of a first compression alone, which is always JPEG. Sides of WebP end
                 at 16383 px.

    With "webp" there is no file: the LQ is stored as pixels. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "jpeg-compressed"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "codec"
    knob: ClassVar[Knob | None] = Knob("quality", 98, 1, whole=True)

    quality: Values = 10
    subsampling: str = "4:2:0"

    double: Values = 0
    codec: str = "jpeg"

    def __post_init__(self) -> None:
        check_values("quality", self.quality, 1, 100, whole=True)
        if self.subsampling not in SUBSAMPLINGS:
            raise SettingError(f"subsampling: expected one of {', '.join(SUBSAMPLINGS)}, found {self.subsampling!r}")
        if isinstance(self.double, Sequence | Mapping):
            check_values("double", self.double, 1, 100, whole=True)
        else:
            check_values("double", self.double, 0, 1)
        if self.codec not in CODECS:
            raise SettingError(f"codec: expected one of {', '.join(CODECS)}, found {self.codec!r}")

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`quality`, a whole number, `subsampling` and `codec`.

        And of the first compression `first_quality`, 0 where there is none, and `shift`, the columns and rows that were
        cut off after it.
        """
        params: dict[str, Any] = {"quality": draw_value(rng, self.quality, whole=True), "subsampling": self.subsampling}
        params |= {"codec": self.codec, "first_quality": 0, "shift": [0, 0]}
        often = 1 if isinstance(self.double, Sequence | Mapping) else self.double
        if often and rng.uniform() < often:
            first = self.double if isinstance(self.double, Sequence | Mapping) else FIRST
            params["first_quality"] = draw_value(rng, first, whole=True)
            params["shift"] = [rng.integer(1, 7), rng.integer(1, 7)]
        return params

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out, and the JPEG file whose pixels these are.

        Raises ValueError for an image that WebP cannot hold.
        """
        # Samples of before there was a choice name neither a codec nor a first compression.
        if params.get("first_quality"):
            right, down = params["shift"]
            # What was cropped is unknown; a mirror of the border stands in for it.
            whole: Any = cv2.copyMakeBorder(image, down, 0, right, 0, cv2.BORDER_REFLECT_101)
            first = _decoded(_encode(whole, params["first_quality"], params["subsampling"]))
            image = np.ascontiguousarray(first[down:, right:])
        if params.get("codec") == "webp":
            return Degraded(_through_webp(image, params["quality"]))
        encoded = _encode(image, params["quality"], params["subsampling"])
        return Degraded(_decoded(encoded), file=("jpg", encoded))


def _decoded(encoded: bytes) -> Image:
    """The same pixels as from Pillow's decoder, which a test holds, in less time."""
    pixels: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    lq: Image = pixels
    return lq


def _through_webp(image: Image, quality: int) -> Image:
    if max(image.shape[:2]) > 16383:
        raise ValueError(f"expected sides of 16383 px or less for WebP, found {image.shape[1]}×{image.shape[0]}")
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "WEBP", quality=quality, method=4)
    return np.array(PIL.Image.open(file))


def _encode(image: Image, quality: int, subsampling: str) -> bytes:
    """Neither optimised nor progressive: those change the bytes but no pixel, and cost a second pass.

    A function of its own, so that Pillow's copy of the pixels is gone, and its memory warm, before they are decoded.
    """
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()
