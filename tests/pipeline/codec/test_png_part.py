"""Parts of PNG files of ours are what OpenCV makes of the whole file; other files are told apart."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from patina.pipeline.codec.png import encode_png
from patina.pipeline.codec.png_part import own_png
from tests.pipeline.making import picture


def by_opencv(data: bytes) -> Any:
    found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return found[..., ::-1] if found.ndim == 3 else found


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


IMAGES = {
    "photograph": picture(70, 50),
    "noise, which is stored": noise(200, 150, 3),  # several blocks
    "flat": np.full((33, 17, 3), 200, np.uint8),
    "one row": picture(64, 48)[:1],
    "one column": picture(64, 48)[:, :1],
    "grey": picture(40, 60)[..., 1],
    "grey noise": noise(90, 400),
    "grey of 16 bits": noise(41, 23, dtype=np.uint16),
    "ramp of 16 bits": np.arange(64 * 32, dtype=np.uint16).reshape(32, 64) * 31,
}


@pytest.mark.parametrize("name", IMAGES)
def test_every_part_of_an_image_of_ours(name: str) -> None:
    image = IMAGES[name]
    data = encode_png(image)
    assert np.array_equal(by_opencv(data), image)
    png = own_png(data)
    assert png is not None
    height, width = image.shape[:2]
    assert (png.height, png.width, png.bits) == (height, width, 8 * image.itemsize)
    rng = np.random.default_rng(1)
    boxes = [(0, height, 0, width), (0, 1, 0, 1), (height - 1, height, width - 1, width)]
    for _ in range(20):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        boxes.append((top, int(rng.integers(top, height)) + 1, left, int(rng.integers(left, width)) + 1))
    for top, bottom, left, right in boxes:
        found = png.part((top, bottom, left, right))
        assert found is not None and found.dtype == image.dtype
        assert np.array_equal(found, image[top:bottom, left:right])


def of_others() -> dict[str, bytes]:
    image = picture(64, 48)
    found = {}
    for name, how in {"plain": {}, "interlaced": {"interlace": 1}, "palette": {}, "grey alpha": {}}.items():
        mode = {"palette": "P", "grey alpha": "LA"}.get(name, "RGB")
        out = io.BytesIO()
        PIL.Image.fromarray(image).convert(mode).save(out, "PNG", **how)
        found[name] = out.getvalue()
    plain = found["plain"]
    found["a text in front"] = plain[:33] + chunk(b"tEXt", b"a\0b") + plain[33:]
    found["two IDAT"] = encoded(image, parts=2)
    return found


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def encoded(image: Any, filters: int = 2, parts: int = 1) -> bytes:
    """A PNG as ours, all rows of which name one filter."""
    height, width = image.shape[:2]
    above = np.vstack([np.zeros((1, width, 3), np.uint8), image[:-1]]) if filters == 2 else 0
    rows = np.hstack([np.full((height, 1), filters, np.uint8), (image - above).reshape(height, -1)])
    body = zlib.compress(rows.tobytes())
    step = -(-len(body) // parts)
    idats = b"".join(chunk(b"IDAT", body[k : k + step]) for k in range(0, len(body), step))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + idats + chunk(b"IEND", b"")


def test_a_file_of_others_is_decoded_rightly_or_not_at_all() -> None:
    for name, data in of_others().items():
        png = own_png(data)
        if png is not None:
            height, width = by_opencv(data).shape[:2]
            assert png.part((0, height, 0, width)) is None, name
    image = picture(40, 30)
    alike = own_png(encoded(image))
    assert alike is not None and np.array_equal(alike.part((5, 20, 3, 30)), image[5:20, 3:30])
    unfiltered = own_png(encoded(image, filters=0))
    assert unfiltered is not None and unfiltered.part((5, 20, 3, 30)) is None


def test_a_damaged_file_is_none_of_ours() -> None:
    data = encode_png(picture(64, 48))
    assert own_png(data) is not None
    rng = np.random.default_rng(2)
    for place in {*range(60), *rng.integers(0, len(data), 300).tolist(), len(data) - 1}:
        if len(data) - 4 <= place or len(data) - 12 > place:  # IEND's name and length are compared, its checksum is not
            torn = bytearray(data)
            torn[place] ^= 0x40
            assert own_png(bytes(torn)) is None or place >= len(data) - 4
    for length in (0, 8, 40, 57, len(data) // 2, len(data) - 1):
        assert own_png(data[:length]) is None
    assert own_png(data + b"\0") is None


def test_a_stream_that_ends_early_is_told() -> None:
    image = picture(40, 30)
    short = encoded(image[:20])
    head = struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0)
    png = own_png(short[:8] + chunk(b"IHDR", head) + short[33:])
    assert png is not None
    assert png.part((0, 30, 0, 40)) is None
    assert np.array_equal(png.part((0, 20, 0, 40)), image[:20])
    broken = bytearray(short[:43] + b"\xff" * 50 + short[93:])
    end = len(broken) - 16
    broken[end : end + 4] = struct.pack(">I", zlib.crc32(broken[37:end]))
    damaged = own_png(bytes(broken))
    assert damaged is not None and damaged.part((0, 20, 0, 40)) is None
