"""PNG files, written fast, and the same bytes everywhere."""

from __future__ import annotations

import struct
import threading
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
LN_2 = 0.6931471805599453


def encode_png(image: Image | Map) -> bytes:
    """A PNG of an H×W×3 RGB or an H×W grey uint8 array, or of an H×W uint16 one.

    Every row is Up-filtered, then deflated at the fastest level; or stored, where the filtered bytes are so close to
    noise (over 7.25 of 8 bits of entropy) that deflating would save less than a tenth. The encoder is the
    largest cost of a build: OpenCV's takes six to ten times as long for the same size.
    """
    height, width = image.shape[:2]
    colour = image.ndim == 3
    bits = 8 * image.itemsize
    values = np.ascontiguousarray(image).astype(">u2", copy=False).view(np.uint8) if bits == 16 else image
    stride = 1 + values.size // height
    size = height * stride
    if _scratch.rows is None or _scratch.rows.size < size:
        _scratch.rows = np.empty(size, np.uint8)  # reused: a fresh megabyte costs a page fault every 4 KiB
    rows = _scratch.rows[:size].reshape(height, stride)
    flat = np.ascontiguousarray(values).reshape(height, stride - 1)
    rows[:, 0] = 2  # filter type Up; above the first row lie zeros
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    body = _stored(rows) if _entropy(rows[::8]) > _NOISE_BITS else _deflated(rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 2 if colour else 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", header), *_chunk(b"IDAT", body), *_chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(kind: bytes, body: bytes) -> list[bytes]:
    checksum = deflate.crc32(body, deflate.crc32(kind))
    return [struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)]


def _entropy(rows: NDArray[np.uint8]) -> float:
    """Bits a byte of the bytes' histogram."""
    counts = cv2.calcHist([np.ascontiguousarray(rows)], [0], None, [256], [0, 256]).ravel()
    shares = counts[counts > 0].astype(np.float64) / float(counts.sum())
    return float(-(shares * log(shares)).sum()) / LN_2


def _deflated(rows: NDArray[np.uint8]) -> bytes:
    """A zlib stream at the fastest level, of the same bytes wherever and whenever it is made.

    Where a stream begins without history, the first match that ISA-L 1.9 finds depends on bits 16 and up of its own
    state's address: one value in some thousands hides it. With a dictionary it does not. So the first bytes are stored,
    and are the dictionary of the rest.
    """
    data = rows.reshape(-1).data
    head = data[:_HEAD]
    middle = deflate.compressobj(1, deflate.DEFLATED, -deflate.MAX_WBITS, zdict=head)
    rest = middle.compress(data[_HEAD:]) + middle.flush(deflate.Z_FINISH)
    block = struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF)
    return b"".join((b"\x78\x01", block, head, rest, struct.pack(">I", deflate.adler32(data))))


def _stored(rows: NDArray[np.uint8]) -> bytes:
    """A zlib stream of stored blocks, which hold 65535 bytes at most each (RFC 1950, RFC 1951 §3.2.4)."""
    data = rows.reshape(-1).data
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(data), 65535):
        block = data[start : start + 65535]
        parts += [struct.pack("<BHH", start + 65535 >= len(data), len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack(">I", deflate.adler32(data)))
    return b"".join(parts)
