"""The upper part of a JPEG, down to the last row that is asked for.

A sequential JPEG is coded from top to bottom, so that the rows below a square need no decoding. No decoder here can be
told to stop; but one that is told of a lower image stops by itself, and what it leaves is not looked at.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from patina.pipeline.codec.png_part import Box

_SEQUENTIAL = frozenset({0xC0, 0xC1})
"""SOF0 and SOF1: baseline and extended sequential, by Huffman codes."""

_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""

_BELOW = 2
"""Rows that the interpolation of colours looks at below a row."""

_WORTH = 0.9
"""Where more of the rows is needed, all of them are decoded as fast."""


@dataclass(frozen=True)
class SequentialJpeg:
    """A JPEG file of three components of 8 bits in one scan; its coded rows have not been looked at.

    place  of the two bytes that tell its height. unit: rows that are coded together, 8 or 16.
    """

    data: bytes
    height: int
    width: int
    place: int
    unit: int

    def part(self, box: Box) -> NDArray[np.uint8] | None:
        """The pixels of a box that lies inside, H×W×3 RGB, as OpenCV decodes them; None where that saves nothing, or
        the stream is damaged."""
        top, bottom, left, right = box
        rows = -(-(bottom + _BELOW) // self.unit) * self.unit
        return None if rows > _WORTH * self.height or not _agrees() else self.upper(rows, (top, bottom, left, right))

    def upper(self, rows: int, box: Box) -> NDArray[np.uint8] | None:
        """A box of the upper `rows`, of which the last two are not as they would be; None if they cannot be decoded."""
        top, bottom, left, right = box
        lower = b"".join((self.data[: self.place], rows.to_bytes(2), self.data[self.place + 2 :]))
        try:
            with JpegImageFile(io.BytesIO(lower)) as image:
                if image.mode != "RGB":
                    return None
                return np.asarray(image.crop((left, top, right, bottom)))
        except (OSError, SyntaxError, ValueError):
            return None


def sequential_jpeg(data: bytes) -> SequentialJpeg | None:
    """The file, if its upper part can be decoded alone: sequential, of three components of 8 bits, in one scan. None
    for any other."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    found: tuple[int, int, int, int] | None = None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + size]
        if marker in _SEQUENTIAL and len(body) == 15 and body[0] == 8 and body[5] == 3 and not found:
            height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
            found = height, width, at + 5, 8 * max(body[7 + 3 * i] & 15 for i in range(3))
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return None
        elif marker == 0xDA:
            whole = found and len(body) and body[0] == 3 and min(found) > 0
            return SequentialJpeg(data, *found) if found and whole else None
        at += 2 + size
    return None


@cache
def _agrees() -> bool:
    """Whether Pillow, which decodes the part, and OpenCV, which decodes what is needed wholly, give the same pixels of
    a colourful image of each sampling: both are libjpeg-turbo where they come as wheels."""
    rng = np.random.Generator(np.random.PCG64(0))
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8), (80, 96), interpolation=cv2.INTER_LINEAR)
    for sampling in (0x411111, 0x221111, 0x211111, 0x111111):
        options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        data = cv2.imencode(".jpg", image, options)[1].tobytes()
        jpeg = sequential_jpeg(data)
        whole: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        found = jpeg.upper(48, (3, 40, 5, 70)) if jpeg else None
        if found is None or not np.array_equal(found, whole[3:40, 5:70]):
            return False
    return True
