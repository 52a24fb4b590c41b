"""PNGs of 16 bits, some rows at a time: OpenCV decodes a whole one into two copies, 1.6 GB of 100 megapixels.

    IDAT chunks ─ inflate ─► some rows, filtered as they are stored ─┐
    the last row of those before, with the filter None ──────────────┴─► a small PNG ─ OpenCV ─► pixels

So the filters are OpenCV's to undo, and the pixels are those that it reads from the whole file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.codec.png import deflate
from patina.pipeline.errors import BadImageError

SAMPLES = {0: 1, 2: 3, 6: 4}
"""Samples of a pixel by PNG's colour type, of those that are read in rows: grey, RGB, RGBA."""

BLOCK_BYTES = 2 << 20
"""Stored bytes of the rows that are decoded together."""

PIECE = 1 << 16
"""Packed bytes that are inflated at a time."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Kind, body and checksum of every whole chunk of a PNG, up to the last one that belongs to the picture."""
    view, place = memoryview(data), 8
    while place + 12 <= len(data):
        length, kind = int.from_bytes(view[place : place + 4], "big"), bytes(view[place + 4 : place + 8])
        end = place + 8 + length
        if end + 4 > len(data):
            return
        yield kind, view[place + 8 : end], int.from_bytes(view[end : end + 4], "big")
        if kind == b"IEND":
            return
        place = end + 4


def comes_in_rows(data: bytes) -> bool:
    """Whether `wide_rows` reads this PNG: it has 16 bits, is not interlaced, and no single colour of it is clear."""
    if len(data) < 33 or data[24] != 16 or data[25] not in SAMPLES or data[28] != 0:
        return False
    return not any(kind == b"tRNS" for kind, _, _ in png_chunks(data))


def wide_rows(data: bytes) -> Iterator[NDArray[np.uint16]]:
    """The rows of a PNG that comes in rows, some at a time: h×W grey, h×W×3 BGR or h×W×4 BGRA, from top to bottom.

    Raises BadImageError where they break off or cannot be decoded.
    """
    width, height = struct.unpack(">II", data[16:24])
    stride = 1 + 2 * width * SAMPLES[data[25]]
    most = max(1, BLOCK_BYTES // stride)
    above, done = b"", 0
    for filtered in _stored_rows(data, stride, most, height):
        rows = len(filtered) // stride
        head = data[16:20] + struct.pack(">I", rows + bool(above)) + data[24:29]
        picture = _decoded(head, above + filtered)
        if picture is None or picture.dtype != np.uint16 or picture.shape[0] != rows + bool(above):
            raise BadImageError(f"cannot be decoded: its rows from {done} on")
        yield picture[1:] if above else picture
        above = b"\0" + _as_stored(picture[-1])
        done += rows
    if done < height:
        raise BadImageError(f"is cut off: {done} of its {height} rows are there")


def _stored_rows(data: bytes, stride: int, most: int, height: int) -> Iterator[bytes]:
    """The inflated image data, so many whole rows of `stride` bytes at a time."""
    inflater, ready, left = deflate.decompressobj(), bytearray(), height
    for piece in _pieces(data):
        wanted: bytes | memoryview = piece
        while True:
            limit = most * stride - len(ready)
            fresh = inflater.decompress(wanted, limit)
            ready += fresh
            wanted = inflater.unconsumed_tail
            rows = min(left, len(ready) // stride)
            if rows and rows in {most, left}:
                yield bytes(ready[: rows * stride])
                del ready[: rows * stride]
                left -= rows
            if not left:
                return
            if not wanted and len(fresh) < limit:  # else it may hold back what did not fit
                break
    if rows := len(ready) // stride:
        yield bytes(ready[: rows * stride])


def _pieces(data: bytes) -> Iterator[memoryview]:
    """The image data, a little at a time: what a piece holds beyond a block's rows is copied each time."""
    for kind, body, _ in png_chunks(data):
        if kind == b"IDAT":
            yield from (body[start : start + PIECE] for start in range(0, len(body), PIECE))


def _decoded(head: bytes, rows: bytes) -> NDArray[np.uint16] | None:
    """A PNG of these filtered rows, as OpenCV reads it: its header's body is `head`."""
    body = deflate.compress(rows, 0)
    parts = [_SIGNATURE]
    for kind, content in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b"")):
        parts += [struct.pack(">I", len(content)), kind, content]
        parts.append(struct.pack(">I", deflate.crc32(content, deflate.crc32(kind))))
    small = np.frombuffer(b"".join(parts), np.uint8)
    return cv2.imdecode(small, cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]


def _as_stored(row: NDArray[np.uint16]) -> bytes:
    """A decoded row as a PNG has it: RGB, the high byte first."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return (row if row.ndim == 1 else row[:, order[row.shape[1]]]).astype(">u2").tobytes()
