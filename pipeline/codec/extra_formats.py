"""HEIC, HEIF and JPEG XL, by pillow-heif and pillow-jxl-plugin: read where the extra [formats] is installed.

Both libraries hand out 8 bits a channel by cutting off the others. So wider HEIC pictures are asked for with all their
bits, and wider JPEG XL pictures in colour are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.codec.boxes import boxes
from patina.pipeline.errors import BadImageError

DISTRIBUTIONS = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin"}
"""What reads each format, by Pillow's name of the format."""


def _register() -> frozenset[str]:
    """Make Pillow know the formats whose libraries are installed, each decoded by one thread. Gives their names."""
    found = set()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
        found.add("HEIF")
    with suppress(ImportError):
        from pillow_jxl import JpegXLImagePlugin

        JpegXLImagePlugin.DECODE_THREADS = 0
        found.add("JXL")
    return frozenset(found)


INSTALLED = _register()


def library_version(format: str) -> str:
    """The versions of what decodes an installed format."""
    from importlib import metadata  # where it is used: it brings mail and sockets

    version = f"{DISTRIBUTIONS[format]} {metadata.version(DISTRIBUTIONS[format])}"
    if format == "HEIF":
        import pillow_heif

        return f"{version}, libheif {pillow_heif.libheif_version()}"
    return version


def wide_heif(data: bytes) -> tuple[NDArray[np.uint16], int]:
    """The first picture of a HEIC or HEIF file with all its bits, upright: H×W grey, H×W×3 RGB or H×W×4 RGBA, and the
    number of bits. Raises BadImageError for a picture of another kind."""
    import pillow_heif

    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    picture = file[file.primary_index]
    levels: Any = np.asarray(picture)
    if levels.dtype != np.uint16 or levels.ndim not in {2, 3} or (levels.ndim == 3 and levels.shape[2] not in {3, 4}):
        raise BadImageError("is a HEIC picture of an unknown kind; convert it to 8 bits")
    return levels, int(picture.info["bit_depth"])


@dataclass(frozen=True)
class JxlHeader:
    """What a JPEG XL file says of itself before its pixels. bits: of a channel, 32 where its levels are floats."""

    width: int
    height: int
    bits: int
    is_animated: bool


# ISO/IEC 18181-1, annex C: sizes as ratios of the height, and the bit depths that have a short code.
_RATIOS = ((0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE_BITS, _DEPTHS = (9, 13, 18, 30), (8, 10, 12)
_CONTAINER, _CODESTREAM = b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"


def is_jxl(data: bytes) -> bool:
    """Whether a file begins as JPEG XL does."""
    return data.startswith((_CONTAINER, _CODESTREAM))


def jxl_header(data: bytes) -> JxlHeader:
    """The header of a JPEG XL file, which decoders are not asked for: they decode the whole. Raises BadImageError."""
    stream = data if data.startswith(_CODESTREAM) else next(_codestreams(data), b"")
    if not stream.startswith(_CODESTREAM):
        raise BadImageError("its header cannot be read: it holds no JPEG XL codestream")
    bits = _Bits(stream[2:64])
    width, height = _size(bits)
    if bits.take(1):  # all by default
        return JxlHeader(width, height, 8, False)
    if not bits.take(1):  # none of the fields that follow
        return JxlHeader(width, height, _depth(bits), False)
    bits.take(3)  # orientation, which decoders apply
    if bits.take(1):
        _size(bits)  # as it is to be shown
    if bits.take(1):
        raise BadImageError("is a JPEG XL picture with a preview in it, which is not read; convert it to PNG")
    if bits.take(1):
        return JxlHeader(width, height, 8, True)
    return JxlHeader(width, height, _depth(bits), False)


def _depth(bits: _Bits) -> int:
    if bits.take(1):
        return 32
    code = bits.take(2)
    return _DEPTHS[code] if code < len(_DEPTHS) else 1 + bits.take(6)


def _size(bits: _Bits) -> tuple[int, int]:
    """Width and height."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else 1 + bits.take(_SIDE_BITS[bits.take(2)])

    height = side()
    across, down = _RATIOS[bits.take(3)]
    return (height * across // down if across else side()), height


def _codestreams(data: bytes) -> Iterator[bytes]:
    """Where pixels begin in the boxes of a JPEG XL file: a box of a whole codestream, or of the first part of one."""
    for kind, start, _ in boxes(data):
        if kind in {b"jxlc", b"jxlp"}:
            begin = start + (4 if kind == b"jxlp" else 0)
            yield data[begin : begin + 64]


class _Bits:
    """Numbers of so many bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BadImageError("its header cannot be read: it is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


SMALL_PICTURES = {
    "HEIF": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "ACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAIoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
        "AAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
        "AAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5j"
        "bHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBp"
        "eGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAJJtZGF0AAAAhigBrwtg/UFbV5GV1hqlItyt2X8QS5RzKfO0Q0gR"
        "lkbZ7QIt1w/ad4cAHYaa48bF8nWJXTipWcG8Jba53dIdIj//wuIrd7CU4GnHrtQx143qHKAzFyaSoNesKdHsfjQob5UYX0Itm6rK"
        "/NUcJwyC9hlEXtKk2bzL3/6kox7NiD+3CVolKxWA"
    ),
    "JXL": (
        "/wrLBgAtiAYAIAXpWBcAgAqVUcYNXs71fPmhw2LaxnWGttq2sISx2V4YJEwAqGAYMRK1C4QAIhtLKr8LGLzj2xDFhnatm9Rc5DTd"
        "EZiBywrtG6h2OsKxciD8edmBQY7fsUlMf1h8AnmAQ5oYeiHAXc+fYCxKkFJJrHIEWGjNxz/iaMCCSPp3EeZByQ58ikfbAwI8PWDo"
        "yUMBE5gA55iPP9l44/0MgKAHLDdqatAXvGO/6qJEMws3d22gGdJgGbakYYNogB9Or2OARg1wl1EhBb0CqDJ5vLyMF2P9AkBbFThs"
        "oX7E+J5xD9QDz0C4mpuW7d/EjVPQriMMqAXFNTkrRPtm57ytYEAl6Agr2aMpG6TENDRzLjeDF4/QmzCkJ5uf6VbZx184uOOXF6Dz"
        "SbgwWAi3QtSnpA++AgwkTGsh2H+hZ+pxfwb9tGQeN4pudn8PHCA1"
    ),
}
"""A picture of 64×48 px with edges, gradients and texture in each format, lossy, in base64."""
