"""Files to pixels and back: a strict decoder, a fast PNG writer, and a fingerprint of the codecs installed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from patina.pipeline.codec.png import deflate
from patina.pipeline.errors import BadImageError
from patina.pipeline.machine import is_out_of_memory
from patina.pipeline.text import plain
from patina.synth.image import SMALLEST_SIDE, Image, Map

MAX_PIXELS = 100_000_000
MAX_BYTES = 2_000_000_000
"""More than any image of MAX_PIXELS takes: a larger file is no photograph, and is not read into memory."""

PIL.Image.init()  # else `open` knows only some formats, and refuses the names of the others
FORMATS = tuple(f for f in ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "AVIF") if f in PIL.Image.OPEN)
SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "tif", "tiff"),
        *("bmp", "dib", "ppm", "pgm", "pnm", "gif", "avif"),
    )
)

_ORIENTATION = 0x0112
_PNG_END = b"IEND\xae\x42\x60\x82"  # without it a PNG was cut, if only by that; Pillow reads it, libpng does not
_TRANSPARENT = "is partly transparent, and what lies behind is not known; flatten it first"

# Pillow's own guard only warns at the size where we refuse, and its limit is not ours: `decode` checks the size
# that the header claims before a single pixel is decoded.
PIL.Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Decoded:
    """An image file as pixels.

    image   H×W×3 uint8 RGB, upright (an EXIF rotation is applied), levels as stored (colour profiles are kept out).
    suffix  `jpg` or `png` if the file's own bytes decode to exactly `image` in any reader: 8-bit RGB JPEG or PNG
            without rotation, palette or alpha. Empty otherwise, and then a stored copy must be encoded anew.
    format  the codec's name, such as `JPEG`.
    """

    image: Image
    suffix: str
    format: str


def decode(data: bytes) -> Decoded:
    """Decode an image file completely and strictly. Raises BadImageError with the reason it cannot be used, and
    MemoryError where there is too little memory for it: that is no fault of the file's.

    Refused: empty, not an image, truncated, damaged where a checksum tells, animated or of several pages, under 16 px
    a side, over 100 megapixels (before decoding), partly transparent, or of 32 bits a channel. Converted: grey,
    palette, CMYK and 16-bit images (rounded to 8), opaque alpha (dropped), EXIF rotation (applied).
    """
    if not data:
        raise BadImageError("the file is empty (0 bytes)")
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except PIL.UnidentifiedImageError:
        raise BadImageError(f"not an image in a known format (it starts with {data[:8]!r})") from None
    except Exception as error:
        raise BadImageError(f"its header cannot be read: {_plain(error)}") from None
    with picture:
        _check_header(picture)
        try:
            _check_container(picture, data)
            return _pixels(picture, data)
        except BadImageError:
            raise
        except Exception as error:  # codecs raise OSError, SyntaxError, struct.error, EOFError, …
            if is_out_of_memory(error):
                raise MemoryError(_plain(error)) from None
            raise BadImageError(f"cannot be decoded: {_plain(error)}") from None


def _check_header(picture: PIL.Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"{width}×{height} is {width * height / 1e6:,.0f} megapixels, more than {MAX_PIXELS / 1e6:.0f}; "
            "cut it into smaller photographs"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise BadImageError(f"{width}×{height} px is too small; at least {SMALLEST_SIDE} px a side are needed")
    try:
        frames = getattr(picture, "n_frames", 1)
    except Exception as error:
        raise BadImageError(f"its frames cannot be counted: {_plain(error)}") from None
    if frames > 1 and picture.format != "MPO":  # a phone's MPO is a JPEG with a depth or preview picture behind it
        raise BadImageError(f"holds {frames} frames or pages; export the one you want as a still")


def _check_container(picture: PIL.Image.Image, data: bytes) -> None:
    """What Pillow takes without a word: bytes that do not fit their checksums, and rows of which there are none."""
    if picture.format == "PNG":
        for kind, body, checksum in _png_chunks(data):
            decides = kind[:1].isupper() or kind == b"tRNS"  # what else there is says nothing of pixels
            if decides and deflate.crc32(body, deflate.crc32(kind)) != checksum:
                raise BadImageError(f"is damaged: its chunk {_plain(kind.decode('latin-1'))} does not fit its checksum")
    elif picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        width, height = tags[256], tags[257]
        across, down = (tags[322], tags[323]) if 324 in tags else (width, tags.get(278) or height)
        wanted = -(-width // across) * -(-height // down) * (tags.get(277, 1) if tags.get(284, 1) == 2 else 1)
        found = len(tags.get(324) or tags.get(273) or ())
        if found < wanted:
            raise BadImageError(f"is damaged: {found} of its {wanted} strips or tiles are there")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
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


def _pixels(picture: PIL.Image.Image, data: bytes) -> Decoded:
    kind = picture.format or ""
    if _has_16_bits(picture, data):
        return Decoded(_decode_16_bits(picture, data), "", kind)
    if picture.mode in {"I", "F"}:
        raise BadImageError("has 32 bits a channel; convert it to 8 or 16 bits")
    rotated = picture.getexif().get(_ORIENTATION, 1) not in {0, 1}
    if rotated:
        picture = PIL.ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        if np.asarray(with_alpha.getchannel("A")).min() < 255:
            raise BadImageError(_TRANSPARENT)
        return Decoded(np.array(with_alpha.convert("RGB")), "", kind)
    own = picture.mode == "RGB" and not rotated and (kind == "JPEG" or (kind == "PNG" and data.rfind(_PNG_END) > 0))
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return Decoded(np.array(rgb), {"JPEG": "jpg", "PNG": "png"}[kind] if own else "", kind)


def _has_16_bits(picture: PIL.Image.Image, data: bytes) -> bool:
    """Pillow opens a 16-bit RGB PNG as an 8-bit one, so the header is asked."""
    if picture.format == "PNG":
        return data[24] == 16
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(258, 8)  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    if picture.format == "PPM":
        return picture.mode == "I"
    return picture.mode.startswith("I;16")


def _decode_16_bits(picture: PIL.Image.Image, data: bytes) -> Image:
    picture.load()  # Pillow says what is wrong with a broken file; OpenCV keeps all 16 bits of a whole one
    wide: Any = np.array(picture, np.uint16) if picture.format == "PPM" else _opencv_16_bits(data)
    tags = picture.tag_v2 if picture.format == "TIFF" else {}  # type: ignore[attr-defined]
    if wide is None or wide.dtype != np.uint16 or tags.get(284, 1) != 1:  # OpenCV misreads separate planes
        raise BadImageError("is a 16-bit image of an unknown kind; convert it to 8 bits")
    if tags.get(262) == 0:  # white is zero, which OpenCV ignores
        wide = 65535 - wide
    clear = picture.info.get("transparency") if wide.ndim == 2 else None  # the one level of a grey PNG that is clear
    opaque = wide.ndim == 2 or wide.shape[2] == 3 or int(wide[..., 3].min()) == 65535
    if not opaque or (clear is not None and bool((wide == clear).any())):
        raise BadImageError(_TRANSPARENT)
    levels = ((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)  # rounded, not the high byte
    rgb = levels[..., 2::-1] if wide.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)  # OpenCV gives BGR
    upright = PIL.Image.fromarray(np.ascontiguousarray(rgb))
    upright.getexif()[_ORIENTATION] = picture.getexif().get(_ORIENTATION, 1)  # a TIFF's is applied already, and gone
    return np.array(PIL.ImageOps.exif_transpose(upright))


def _opencv_16_bits(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)


def _plain(error: object) -> str:
    """The first line of what it says, for any terminal; a codec may quote the file."""
    return plain(next(iter(str(error).strip().splitlines()), "") or type(error).__name__)


def decode_map(data: bytes) -> Map:
    """A truth map from its PNG: H×W, uint8 or uint16 as it was written. Raises BadImageError."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if values is None or values.ndim != 2 or values.dtype not in (np.uint8, np.uint16):
        raise BadImageError("is no grey PNG of 8 or 16 bits")
    return values  # type: ignore[return-value]
