"""`jpeg-compressed`: baseline JPEG at low quality. The stored LQ is the JPEG file itself."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import PIL.Image

from synth.degradation import (
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
from synth.image import Image
from synth.rng import Rng

SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")


@dataclass(frozen=True)
class JpegCompressed(Degradation):
    """The image after libjpeg: baseline, sequential, the standard's tables scaled by quality (ITU-T T.81, Annex K).

    quality      libjpeg's 1..100, whole; 10 as in DA-CLIP (arXiv 2310.01018).
    subsampling  chroma "4:2:0" (halved both ways, libjpeg's default), "4:2:2" (halved in width) or "4:4:4" (full).
                 Quality says nothing without it: at quality 10, full chroma is about 0.2 dB better.

    Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "jpeg-compressed"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "codec"
    knob: ClassVar[Knob | None] = Knob("quality", 98, 1, whole=True)

    quality: Values = 10
    subsampling: str = "4:2:0"

    def __post_init__(self) -> None:
        check_values("quality", self.quality, 1, 100, whole=True)
        if self.subsampling not in SUBSAMPLINGS:
            raise SettingError(f"subsampling: expected one of {', '.join(SUBSAMPLINGS)}, found {self.subsampling!r}")

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`quality`, a whole number, and `subsampling`."""
        return {"quality": draw_value(rng, self.quality, whole=True), "subsampling": self.subsampling}

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out, and the file whose pixels these are."""
        encoded = _encode(image, params["quality"], params["subsampling"])
        # The same pixels as from Pillow's decoder, which a test holds, in less time.
        lq: Any = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        return Degraded(lq, file=("jpg", encoded))


def _encode(image: Image, quality: int, subsampling: str) -> bytes:
    """Neither optimised nor progressive: those change the bytes but no pixel, and cost a second pass.

    A function of its own, so that Pillow's copy of the pixels is gone, and its memory warm, before they are decoded.
    """
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()
