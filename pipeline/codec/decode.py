"""Files to pixels and back: a strict decoder, a fast PNG writer, and a fingerprint of the codecs installed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patina.later import when_run
from patina.pipeline.codec.extra_formats import INSTALLED, is_jxl, jxl_header, wide_heif
from patina.pipeline.codec.file_kinds import EXTRA_SUFFIXES, HEAD, kind_of, remedy_of
from patina.pipeline.codec.lost import bits_of, lost_of
from patina.pipeline.codec.png import deflate
from patina.pipeline.codec.wide_png import comes_in_rows, png_chunks, wide_rows
from patina.pipeline.errors import BadImageError
from patina.pipeline.machine import is_out_of_memory
from patina.pipeline.text import plain
from patina.synth.image import SMALLEST_SIDE, Image, Map

MAX_PIXELS = 100_000_000
MAX_BYTES = 700_000_000
"""A larger file is not read into memory: what it takes beside its pixels would be more than MAX_MEMORY."""

MAX_MEMORY = 1_200_000_000
"""Bytes that a process holds at the most while it decodes one file: the file, its pixels, Python and the libraries."""

PROCESS_BYTES = 80_000_000
"""Of them, Python and the libraries."""

BLOCK_PIXELS = 1 << 20
"""Pixels that are converted at a time, so that a photograph is held once and not in each of its forms."""

_OWN = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "AVIF")
_SUFFIXES = (
    *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "tif", "tiff"),
    *("bmp", "dib", "ppm", "pgm", "pnm", "gif", "avif"),
)
SUFFIXES = frozenset((*(f".{s}" for s in _SUFFIXES), *(s for f in INSTALLED for s in EXTRA_SUFFIXES[f])))

SEVERAL = ("MPO", "HEIF")
"""Formats whose first picture is the photograph: behind it lie a preview, its depth, or the others of a burst."""

_BYTES_PER_PIXEL = {
    "WEBP": (18, 18),  # the library keeps two canvases and hands out a third
    "AVIF": (10.5, 10.5),  # planes of the decoder, the same as RGB, and Pillow's
    "HEIF": (11, 18),
    "JXL": (14, 14),
}
"""What a decoder holds at its peak, of pictures of 8 bits and of more."""


_ORIENTATION = 0x0112
_PNG_END = b"IEND\xae\x42\x60\x82"  # without it a PNG was cut, if only by that; Pillow reads it, libpng does not
_TRANSPARENT = "is partly transparent, and what lies behind is not known; flatten it first"


def _without_guard(pillow: ModuleType) -> None:
    """Pillow's own guard only warns at the size where we refuse, and its limit is not ours: `decode` checks the size
    that the header claims before a single pixel is decoded."""
    pillow.MAX_IMAGE_PIXELS = None  # type: ignore[attr-defined]


when_run(PIL.Image, _without_guard)


@cache
def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    PIL.Image.init()  # else `open` knows only some formats, and refuses the names of the others
    return tuple(f for f in (*_OWN, *sorted(INSTALLED)) if f in PIL.Image.OPEN)


@dataclass(frozen=True)
class Decoded:
    """An image file as pixels.

    image   H×W×3 uint8 RGB, upright (an EXIF rotation is applied), levels as stored (colour profiles are kept out).
    suffix  `jpg` or `png` if the file's own bytes decode to exactly `image` in any reader: 8-bit RGB JPEG or PNG
            without rotation, palette or alpha. Empty otherwise, and then a stored copy must be encoded anew.
    format  the codec's name, such as `JPEG`.
    lost    what the file has and `image` has not: see `patina.pipeline.codec.lost`.
    """

    image: Image
    suffix: str
    format: str
    lost: tuple[str, ...] = ()


def decode(data: bytes) -> Decoded:
    """Decode an image file completely and strictly. Raises BadImageError with the reason it cannot be used, and
    MemoryError where there is too little memory for it: that is no fault of the file's.

    Refused: empty, not an image, truncated, damaged where a checksum tells, animated or of several pages, under 16 px
    a side, over 100 megapixels or what MAX_MEMORY holds (before decoding), partly transparent, or of 32 bits a
    channel. Converted: grey, palette, CMYK and 16-bit images (rounded to 8), opaque alpha (dropped), EXIF rotation
    (applied).
    """
    if not data:
        raise BadImageError("the file is empty (0 bytes)")
    if "JXL" in INSTALLED and is_jxl(data):
        _check_jxl(data)
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=readable_formats())
    except MemoryError:
        raise
    except PIL.UnidentifiedImageError:
        raise BadImageError(_unknown(data[:HEAD])) from None
    except Exception as error:
        what = "it is cut off or damaged" if is_jxl(data) else _plain(error)  # libjxl's words are of its building
        raise BadImageError(f"its header cannot be read: {what}") from None
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


def _unknown(head: bytes) -> str:
    """Why a file that no decoder takes cannot be used, by its first bytes."""
    kind = kind_of(head)
    if remedy := remedy_of(kind):
        return f"is a picture of the format {kind}, which is not read: {remedy}"
    return f"not an image in a known format (it starts with {head[:8]!r})"


def _check_jxl(data: bytes) -> None:
    """Raise BadImageError for a JPEG XL file that must not be opened, which is to decode it."""
    header = jxl_header(data)
    _check_size(header.width, header.height)
    if header.is_animated:
        raise BadImageError("holds several frames; export the one you want as a still")
    if header.bits > 16:
        raise BadImageError("has 32 bits a channel; convert it to 8 or 16 bits")
    need = PROCESS_BYTES + 2 * len(data) + header.width * header.height * _BYTES_PER_PIXEL["JXL"][0]
    if need > MAX_MEMORY:
        raise BadImageError(_too_large(need, header.width, header.height, len(data)))


def _check_header(picture: PIL.Image.Image) -> None:
    _check_size(*picture.size)
    try:
        frames = getattr(picture, "n_frames", 1)
    except Exception as error:
        raise BadImageError(f"its frames cannot be counted: {_plain(error)}") from None
    if frames > 1 and picture.format not in SEVERAL:
        raise BadImageError(f"holds {frames} frames or pages; export the one you want as a still")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImageError(
            f"{width}×{height} is {width * height / 1e6:,.0f} megapixels, more than {MAX_PIXELS / 1e6:.0f}; "
            "cut it into smaller photographs"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise BadImageError(f"{width}×{height} px is too small; at least {SMALLEST_SIDE} px a side are needed")


def _check_container(picture: PIL.Image.Image, data: bytes) -> None:
    """What Pillow takes without a word: bytes that do not fit their checksums, and rows of which there are none."""
    if picture.format == "PNG":
        for kind, body, checksum in png_chunks(data):
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


def _pixels(picture: PIL.Image.Image, data: bytes) -> Decoded:
    kind = picture.format or ""
    wide = _has_16_bits(picture, data)
    if not wide and picture.mode in {"I", "F"}:
        raise BadImageError("has 32 bits a channel; convert it to 8 or 16 bits")
    _expect_room(picture, data, wide)
    lost = lost_of(picture, data)
    if wide:
        return Decoded(_decode_16_bits(picture, data), "", kind, lost)
    rotated = _orientation(picture) not in {0, 1}
    picture.load()
    turn = _orientation(picture)  # a TIFF's is applied already, and gone
    image = _upright(_blocks(picture), picture.height, picture.width, turn)
    own = picture.mode == "RGB" and not rotated and not picture.has_transparency_data
    own = own and (kind == "JPEG" or (kind == "PNG" and data.rfind(_PNG_END) > 0))
    return Decoded(image, {"JPEG": "jpg", "PNG": "png"}[kind] if own else "", kind, lost)


def _orientation(picture: PIL.Image.Image) -> Any:
    """The rotation that is still to be applied, by EXIF. What JPEG XL says of it is applied, and its EXIF data only
    repeat it; but one that was made of a JPEG file is handed out as that file."""
    if picture.format == "JXL" and not picture.jpeg:  # type: ignore[attr-defined]
        return 1
    return picture.getexif().get(_ORIENTATION, 1)


def _expect_room(picture: PIL.Image.Image, data: bytes, wide: bool) -> None:
    """Raise BadImageError for a file that cannot be decoded within MAX_MEMORY."""
    width, height = picture.size
    need = PROCESS_BYTES + len(data) + width * height * _bytes_per_pixel(picture, data, wide)
    if need > MAX_MEMORY:
        raise BadImageError(_too_large(need, width, height, len(data)))


def _too_large(need: float, width: int, height: int, size: int) -> str:
    return (
        f"takes {need / 1e9:.2f} GB to decode, more than {MAX_MEMORY / 1e9:.2f} ({width}×{height} px, a file of "
        f"{size / 1e6:,.0f} MB); cut it into smaller photographs, or save it as a JPEG or an 8-bit PNG"
    )


def _bytes_per_pixel(picture: PIL.Image.Image, data: bytes, wide: bool) -> float:
    """What decoding holds at its peak for each pixel, beside the file: measured, see the tests."""
    kind, bands = picture.format, len(picture.getbands())
    if kind in _BYTES_PER_PIXEL:
        return _BYTES_PER_PIXEL[kind][wide]
    own = 1 if picture.mode in {"1", "L", "P"} else 4  # Pillow takes four bytes for three
    if kind == "TIFF":
        return _bytes_per_pixel_of_tiff(picture.tag_v2, picture.size, bands, own, wide)  # type: ignore[attr-defined]
    if wide:
        whole = 4 * bands if bands > 1 else 5  # OpenCV's, and a copy of it
        return 7 if kind == "PPM" else 4.5 if kind == "PNG" and comes_in_rows(data) else whole
    if picture.info.get("progressive"):  # all coefficients, two bytes each, before the first pixel
        return max(own + 2 * bands, own + 3)
    return own + 3


def _bytes_per_pixel_of_tiff(tags: Any, size: tuple[int, int], bands: int, own: int, wide: bool) -> float:
    bits = tags.get(258, 8)
    stored = float(sum(bits) if isinstance(bits, tuple) else bits * bands) / 8
    area = tags[322] * tags[323] if 324 in tags else size[0] * min(tags.get(278, size[1]), size[1])
    buffer = float(stored * area / (size[0] * size[1]))  # of one strip or tile
    if wide:
        return max(own + buffer, (2 * stored if bands > 1 else 5) + buffer)
    return own + max(buffer, 3)


def _blocks(picture: PIL.Image.Image) -> Iterator[Image]:
    """The rows of a loaded picture of 8 bits, some at a time, as RGB. Raises BadImageError for one that is partly
    transparent."""
    transparent = picture.has_transparency_data
    for top, bottom in _row_blocks(picture.height, picture.width):
        block = picture.crop((0, top, picture.width, bottom))
        if transparent:
            block = block.convert("RGBA")
            if np.asarray(block.getchannel("A")).min() < 255:
                raise BadImageError(_TRANSPARENT)
        yield np.asarray(block if block.mode == "RGB" else block.convert("RGB"))


def _row_blocks(height: int, width: int) -> Iterator[tuple[int, int]]:
    """First and last row, not included, of blocks of about BLOCK_PIXELS."""
    rows = max(1, BLOCK_PIXELS // width)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def _upright(blocks: Iterable[Image], height: int, width: int, orientation: int) -> Image:
    """The stored rows as one image, H×W×3, turned as EXIF's `orientation` (1 to 8) says; other numbers turn nothing."""
    swapped = orientation in {5, 6, 7, 8}
    image = np.empty((width, height, 3) if swapped else (height, width, 3), np.uint8)
    stored = image.swapaxes(0, 1) if swapped else image  # the same memory, seen as the file has it
    if orientation in {3, 4, 6, 7}:
        stored = stored[::-1]
    if orientation in {2, 3, 7, 8}:
        stored = stored[:, ::-1]
    top = 0
    for block in blocks:
        stored[top : top + len(block)] = block
        top += len(block)
    return image


def _has_16_bits(picture: PIL.Image.Image, data: bytes) -> bool:
    """Whether it has more than 8 bits a channel, and not 32: Pillow opens a 16-bit RGB PNG as an 8-bit one, so the
    header is asked. Raises BadImageError where its library hands out no more than 8 of them."""
    if picture.format == "PNG":
        return data[24] == 16
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(258, 8)  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    if picture.format == "PPM":
        return picture.mode == "I"
    if picture.format == "HEIF":
        return bits_of(picture, data) > 8
    if picture.format == "JXL" and picture.mode != "I;16" and (bits := bits_of(picture, data)) > 8:
        raise BadImageError(
            f"is a JPEG XL picture in colour of {bits} bits a channel, of which its library hands out 8, cut off and "
            "not rounded; convert it to a 16-bit PNG"
        )
    return picture.mode.startswith("I;16")


def _decode_16_bits(picture: PIL.Image.Image, data: bytes) -> Image:
    if picture.format == "HEIF":
        return _decode_wide_heif(data)
    with PIL.Image.open(io.BytesIO(data), formats=readable_formats()) as whole:
        whole.load()  # Pillow says what is wrong with a broken file; OpenCV keeps all 16 bits of a whole one
        turn = _orientation(whole)  # a TIFF's is applied already, and gone
        if whole.format in {"PPM", "JXL"}:
            return _upright(_grey_blocks(whole), whole.height, whole.width, turn)
        info, tags = whole.info, whole.tag_v2 if whole.format == "TIFF" else {}  # type: ignore[attr-defined]
    del whole  # its pixels have served
    if picture.format == "PNG" and comes_in_rows(data):
        return _upright(map(_opaque_8_bits, wide_rows(data)), picture.height, picture.width, turn)
    wide: Any = _opencv_16_bits(data)
    if wide is None or wide.dtype != np.uint16 or tags.get(284, 1) != 1:  # OpenCV misreads separate planes
        raise BadImageError("is a 16-bit image of an unknown kind; convert it to 8 bits")
    if tags.get(262) == 0:  # white is zero, which OpenCV ignores
        np.subtract(65535, wide, out=wide)
    clear = info.get("transparency") if wide.ndim == 2 else None  # the one level of a grey PNG that is clear
    if clear is not None and bool((wide == clear).any()):
        raise BadImageError(_TRANSPARENT)
    height, width = wide.shape[:2]
    return _upright((_opaque_8_bits(wide[a:b]) for a, b in _row_blocks(height, width)), height, width, turn)


def _decode_wide_heif(data: bytes) -> Image:
    """A HEIC picture of 10 or 12 bits, which its library has turned upright."""
    wide, bits = wide_heif(data)
    most, (height, width) = (1 << bits) - 1, wide.shape[:2]
    if wide.ndim == 3 and wide.shape[2] == 4 and int(wide[..., 3].min()) < most:
        raise BadImageError(_TRANSPARENT)

    def rows(top: int, bottom: int) -> Image:
        part = wide[top:bottom]
        return _grey(_rounded(part, most)) if part.ndim == 2 else _rounded(part[..., :3], most)

    return _upright((rows(a, b) for a, b in _row_blocks(height, width)), height, width, 1)


def _opaque_8_bits(wide: NDArray[np.uint16]) -> Image:
    """Rows of grey, BGR or BGRA of 16 bits as RGB of 8. Raises BadImageError for any that are partly transparent."""
    if wide.ndim == 2:
        return _grey(_rounded(wide))
    if wide.shape[2] == 4 and int(wide[..., 3].min()) < 65535:
        raise BadImageError(_TRANSPARENT)
    return _rounded(wide[..., 2::-1])


def _grey_blocks(picture: PIL.Image.Image) -> Iterator[Image]:
    """The rows of a grey picture whose levels Pillow holds in 32 bits, some at a time."""
    for top, bottom in _row_blocks(picture.height, picture.width):
        yield _grey(_rounded(np.asarray(picture.crop((0, top, picture.width, bottom))).astype(np.uint16)))


def _rounded(wide: NDArray[np.uint16], most: int = 65535) -> NDArray[np.uint8]:
    """Levels up to `most` as the nearest of 8 bits, which is not always their high byte."""
    return ((wide.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def _grey(levels: NDArray[np.uint8]) -> Image:
    return np.repeat(levels[..., None], 3, axis=2)


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
