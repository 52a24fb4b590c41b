"""A digest of what the installed codecs make of a small picture."""

from __future__ import annotations

import hashlib
import io
from functools import cache

import cv2
import numpy as np
import PIL.Image

from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.png import encode_png
from patina.synth.rng import Rng


@cache
def codec_fingerprint() -> str:
    """16 hex digits that change when an installed codec gives other bytes or other pixels than before.

    libjpeg's output differs between builds, ISA-L's between releases and processors. A small picture with edges,
    gradients and texture goes through every codec that a build uses, and a stroke is drawn; all results are digested.
    """
    y, x = np.mgrid[0:96, 0:128].astype(np.int64)
    texture = (Rng("c0dec").levels(96 * 128) >> 11).reshape(96, 128).astype(np.int64)
    red = x * 2 + texture // 2
    green = 128 + (y - 48) * 2 * np.where((x // 16 + y // 16) % 2 == 0, 1, -1)
    blue = 255 * ((x - 64) ** 2 + (y - 48) ** 2 < 900) - texture
    picture = np.clip(np.stack([red, green, blue], axis=-1), 0, 255).astype(np.uint8)
    noise = Rng("c0dec").raw(96 * 128 * 3 // 8).astype("<u8").view(np.uint8).reshape(96, 128, 3)
    digest = hashlib.sha256()
    for quality, subsampling in ((10, "4:2:0"), (95, "4:4:4")):
        buffer = io.BytesIO()
        PIL.Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        digest.update(buffer.getvalue())
        digest.update(decode(buffer.getvalue()).image.tobytes())
    for array in (picture, noise, np.ascontiguousarray(picture[..., 2])):
        digest.update(encode_png(array))
    drawn = np.zeros((48, 48), np.uint8)  # strokes are pixels too: OpenCV 4.12 and 4.13 draw the same line differently
    cv2.polylines(drawn, [np.array([[3, 40], [17, 5], [44, 30], [21, 46]], np.int32)], False, 255, 7)
    digest.update(drawn.tobytes())
    return digest.hexdigest()[:16]
