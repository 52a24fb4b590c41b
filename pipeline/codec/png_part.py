"""The part of a PNG that is asked for, out of files as `encode_png` writes them.

Every row of ours is Up-filtered, so a square is the sum, modulo 256, of the bytes above and in it: rows below it are
not inflated, and columns beside it not summed. libpng has to decode all rows, one pixel after the other.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.codec.png import deflate

Box = tuple[int, int, int, int]
"""First and last row, first and last column; the last ones are not included."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3}
_BODY = 41
_UP = 2


@dataclass(frozen=True)
class OwnPng:
    """A PNG file whose head and checksums are those of one of ours; its rows have not been looked at.

    channels  3 of RGB, 1 of a grey map. bits: 8, or 16 of a map.
    """

    data: bytes
    height: int
    width: int
    channels: int
    bits: int

    def part(self, box: Box) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
        """The pixels of a box that lies inside, H×W×3 or H×W; None where the rows are not filtered as ours are, or the
        stream is damaged."""
        top, bottom, left, right = box
        pixel = self.channels * self.bits // 8
        stride = 1 + self.width * pixel
        try:
            stream: Any = deflate.decompressobj(-deflate.MAX_WBITS)  # no sum of bytes: the chunk's was right
            found = stream.decompress(memoryview(self.data)[_BODY + 2 : -16], stride * bottom)
        except deflate.error:
            return None
        if len(found) != stride * bottom:
            return None
        rows = np.frombuffer(found, np.uint8).reshape(bottom, stride)
        if not (rows[:, 0] == _UP).all():
            return None
        levels = _summed(rows[:, 1 + left * pixel : 1 + right * pixel], top)
        if self.bits == 16:
            return levels.view(">u2").astype(np.uint16)
        return levels.reshape(bottom - top, right - left, 3) if self.channels == 3 else levels


def own_png(data: bytes) -> OwnPng | None:
    """The file as one of ours: 8-bit RGB or grey of 8 or 16 bits, not interlaced, one IDAT behind IHDR, checksums that
    fit. None for any other."""
    if len(data) < _BODY + 16 or data[:8] != _SIGNATURE or data[8:16] != b"\0\0\0\x0dIHDR" or data[37:41] != b"IDAT":
        return None
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", data[16:29])
    if rest != [0, 0, 0] or (colour, bits) not in {(2, 8), (0, 8), (0, 16)} or not width or not height:
        return None
    (length,) = struct.unpack(">I", data[33:37])
    end = _BODY + length
    if len(data) != end + 16 or data[end + 4 : end + 12] != b"\0\0\0\0IEND" or not _is_zlib(data[_BODY : _BODY + 2]):
        return None
    view = memoryview(data)
    for first, last in ((12, 29), (37, end)):
        if deflate.crc32(view[first:last]) != int.from_bytes(view[last : last + 4]):
            return None
    return OwnPng(data, height, width, _CHANNELS[colour], bits)


def _is_zlib(head: bytes) -> bool:
    """Whether these two bytes begin a stream of deflate that has no dictionary (RFC 1950 §2.2)."""
    return len(head) == 2 and head[0] & 15 == 8 and int.from_bytes(head) % 31 == 0 and not head[1] & 32


def _summed(rows: NDArray[np.uint8], top: int) -> NDArray[np.uint8]:
    """The rows from `top` on, each the sum of all up to it."""
    levels = np.empty((len(rows) - top, rows.shape[1]), np.uint8)
    np.add.reduce(rows[: top + 1], axis=0, dtype=np.uint8, out=levels[0])
    levels[1:] = rows[top + 1 :]
    even = len(levels) // _AT_ONCE * _AT_ONCE
    blocks = levels[:even].reshape(-1, _AT_ONCE, levels.shape[1])
    for i in range(1, _AT_ONCE):  # in all blocks at once, as few long additions are faster than many short ones
        np.add(blocks[:, i], blocks[:, i - 1], out=blocks[:, i])
    for above, block in pairwise(blocks):
        np.add(block, above[-1], out=block)
    for i in range(max(even, 1), len(levels)):
        np.add(levels[i], levels[i - 1], out=levels[i])
    return levels


_AT_ONCE = 16
