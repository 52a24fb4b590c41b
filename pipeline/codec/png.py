"""PNG files, written fast, and the same bytes everywhere."""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import log
from patina.synth.image import Image, Map

deflate: Any  # ISA-L's deflate is seven times as fast as zlib's at the same size; it has no wheel for a few platforms
try:
    from isal import isal_zlib as deflate
except ImportError:  # pragma: no cover - zlib writes other bytes, and `codec_fingerprint` knows
    import zlib as deflate


class _Scratch(threading.local):
    rows: NDArray[np.uint8] | None = None


_scratch = _Scratch()
_NOISE_BITS = 7.25
_HEAD = 64
_AT_ONCE = 1 << 20
"""Filtered bytes that are stored at a time."""

_KEPT = 8 << 20
"""Filtered bytes whose memory a thread keeps for its next picture: more than this, of a camera's photograph, would lie
there while the next one is made."""

LN_2 = 0.6931471805599453


def encode_png(image: Image | Map) -> bytes:
    """A PNG of an H×W×3 RGB or an H×W grey uint8 array, or of an H×W uint16 one.

    Every row is Up-filtered, then deflated at the fastest level; or stored, where the filtered bytes are so close to
    noise (over 7.25 of 8 bits of entropy) that deflating would save less than a tenth. The encoder is the
    largest cost of a build: OpenCV's takes six to ten times as long for the same size.
    """
    return b"".join(png_pieces(image))


def png_pieces(image: Image | Map) -> list[bytes]:
    """The file that `encode_png` gives, in pieces: of a photograph, joining them would take as much memory again."""
    height, width = image.shape[:2]
    colour = image.ndim == 3
    bits = 8 * image.itemsize
    stored = _entropy(_every_eighth(image)) > _NOISE_BITS
    body = _stored(image) if stored else _deflated(image)
    header = struct.pack(">IIBBBBB", width, height, bits, 2 if colour else 0, 0, 0, 0)
    start = [b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", [header])]
    return [*start, *_chunk(b"IDAT", body), *_chunk(b"IEND", [])]


def _chunk(kind: bytes, body: list[bytes]) -> list[bytes]:
    checksum = deflate.crc32(kind)
    for piece in body:
        checksum = deflate.crc32(piece, checksum)
    return [struct.pack(">I", sum(map(len, body))), kind, *body, struct.pack(">I", checksum)]


def _stride(image: Image | Map) -> int:
    """Bytes of a filtered row."""
    return 1 + int(image.nbytes) // len(image)


def _as_bytes(rows: Image | Map) -> NDArray[np.uint8]:
    """Rows of pixels as a PNG has them, 16 bits with the high byte first."""
    if rows.itemsize == 2:
        rows = np.ascontiguousarray(rows).astype(">u2", copy=False).view(np.uint8)
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), math.prod(rows.shape[1:]))


def _filtered(image: Image | Map, count: int) -> Iterator[memoryview]:
    """The rows, each with the filter type Up before it, `count` at a time: each block is overwritten by the next."""
    height, stride = len(image), _stride(image)
    memory = _memory(min(height, count) * stride)
    for top in range(0, height, count):
        values = _as_bytes(image[max(0, top - 1) : top + count])
        own = values[1:] if top else values
        block = memory[: len(own) * stride].reshape(len(own), stride)
        block[:, 0] = 2  # filter type Up; above the first row lie zeros
        if not top:
            block[0, 1:] = values[0]
        np.subtract(values[1:], values[:-1], out=block[len(own) - len(values) + 1 :, 1:])
        yield block.reshape(-1).data


def _memory(size: int) -> NDArray[np.uint8]:
    """So many bytes or more; reused where they are few, as fresh ones cost a page fault every 4 KiB."""
    if size > _KEPT:
        return np.empty(size, np.uint8)
    if _scratch.rows is None or _scratch.rows.size < size:
        _scratch.rows = np.empty(size, np.uint8)
    return _scratch.rows


def _every_eighth(image: Image | Map) -> NDArray[np.uint8]:
    """Every eighth of the filtered rows, from the first on."""
    own = _as_bytes(image[::8])
    rows = np.empty((len(own), 1 + own.shape[1]), np.uint8)
    rows[:, 0] = 2
    rows[0, 1:] = own[0]
    np.subtract(own[1:], _as_bytes(image[7::8])[: len(own) - 1], out=rows[1:, 1:])
    return rows


def _entropy(rows: NDArray[np.uint8]) -> float:
    """Bits a byte of the bytes' histogram."""
    counts = cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel()
    shares = counts[counts > 0].astype(np.float64) / float(counts.sum())
    return float(-(shares * log(shares)).sum()) / LN_2


def _deflated(image: Image | Map) -> list[bytes]:
    """A zlib stream at the fastest level, of the same bytes wherever and whenever it is made.

    Where a stream begins without history, the first match that ISA-L 1.9 finds depends on bits 16 and up of its own
    state's address: one value in some thousands hides it. With a dictionary it does not. So the first bytes are stored,
    and are the dictionary of the rest.

    All at once: ISA-L gives other bytes where the same ones come in other pieces.
    """
    (data,) = _filtered(image, len(image))
    head = bytes(data[:_HEAD])
    middle = deflate.compressobj(1, deflate.DEFLATED, -deflate.MAX_WBITS, zdict=head)
    start = [b"\x78\x01", struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF), head]
    rest = middle.compress(data[_HEAD:])
    return [*start, rest, middle.flush(deflate.Z_FINISH), struct.pack(">I", deflate.adler32(data))]


def _stored(image: Image | Map) -> list[bytes]:
    """A zlib stream of stored blocks, which hold 65535 bytes at most each (RFC 1950, RFC 1951 §3.2.4)."""
    stride = _stride(image)
    size = len(image) * stride
    pieces, checksum, done = [b"\x78\x01"], 1, 0
    for block in _filtered(image, max(1, _AT_ONCE // stride)):
        checksum = deflate.adler32(block, checksum)
        parts: list[bytes | memoryview] = []
        at = 0
        while at < len(block):
            if done % 65535 == 0:
                count = min(65535, size - done)
                parts.append(struct.pack("<BHH", done + count == size, count, count ^ 0xFFFF))
            part = block[at : at + 65535 - done % 65535]
            parts.append(part)
            at, done = at + len(part), done + len(part)
        pieces.append(b"".join(parts))
    return [*pieces, struct.pack(">I", checksum)]
