"""Files to pixels and back: a strict decoder, a fast PNG writer, and a fingerprint of the codecs installed."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from patina.synth.image import SMALLEST_SIDE, Image, Map
from patina.synth.rng import Rng

deflate: Any  # ISA-L's deflate is seven times as fast as zlib's at the same size; it has no wheel for a few platforms
try:
    from isal import isal_zlib as deflate
except ImportError:  # pragma: no cover - zlib writes other bytes, and `codec_fingerprint` knows
    import zlib as deflate

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
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]", re.DOTALL)
_TRANSPARENT = "is partly transparent, and what lies behind is not known; flatten it first"

# Pillow's own guard only warns at the size where we refuse, and its limit is not ours: `decode` checks the size
# that the header claims before a single pixel is decoded.
PIL.Image.MAX_IMAGE_PIXELS = None


class BadImageError(ValueError):
    """A file that cannot be used as a photograph. The message is the reason, in words for the user."""


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says, in Python's, Pillow's or OpenCV's way."""
    if isinstance(error, cv2.error):
        return getattr(error, "code", 0) == cv2.Error.StsNoMem
    said = {OSError: "out of memory", RuntimeError: "can't start new thread"}
    return isinstance(error, MemoryError) or any(
        isinstance(error, k) and words in str(error) for k, words in said.items()
    )


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
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


# ---------------------------------------------------------------------------------------------------------------------
# What is missing from a JPEG

_MORE_BITS = b"\xd5\x33\x96\x5a\x0f\xc3\x69\xa5" * 8
"""Something that a Huffman decoder takes for coefficients; the first bit is not the zero that libjpeg makes up."""


_AT_ONCE = 1 << 16  # bytes that are searched together
_HOLE = bytes(512)  # a disk's smallest block, as a download leaves it that was never finished


@dataclass(frozen=True)
class _Scan:
    """One scan of a JPEG: its frame's marker, its own header, where its entropy-coded data begins and ends; and
    whether nothing but zero bits may be a flat area: the first code of all AC tables so far ends a block."""

    frame: int
    header: bytes
    start: int
    end: int
    zeros_are_flat: bool


def expect_whole(data: bytes, image: Image) -> None:
    """Raise BadImageError if a JPEG lacks picture data that libjpeg made up, as does a torn download that was closed
    with an end mark: grey, or a blur where the last scans of a progressive one are lost. `image`: as it was decoded.

    Where data is missing, more bits before the next marker become picture; where it is all there, they are passed
    over. A second decoding tells, and is spared where a sequential JPEG has no grey block to explain.
    """
    scans = list(_scans(data)) if data.startswith(b"\xff\xd8") else []
    frames = {scan.frame for scan in scans}
    if not scans or any(frame & 0x0F >= 9 for frame in frames):  # arithmetic coding ends as its decoder likes
        return
    if 0xC2 in frames:
        if lacking := _lacking([scan.header for scan in scans]):
            raise BadImageError(f"is incomplete: a progressive JPEG without {lacking}; cut off?")
    elif any(not s.zeros_are_flat and data.find(_HOLE, s.start, s.end) >= 0 for s in scans):
        raise BadImageError("is incomplete: it has a hole of zeros in its picture data")
    elif not _has_grey_block(image) and all(scan.header[:1] != b"\4" for scan in scans):  # of CMYK the grey is another
        return
    parts: list[bytes] = []
    place = 0
    for scan in scans:
        filled = _RESTART.sub(lambda m: _MORE_BITS + m[0], data[scan.start : scan.end])
        parts += [data[place : scan.start], filled, _MORE_BITS]
        place = scan.end
    try:
        same = np.array_equal(image, decode(b"".join([*parts, b"\xff\xd9"])).image)
    except BadImageError:
        same = False
    if not same:
        raise BadImageError("is incomplete: picture data is missing before an end mark, and decoders fill in grey")


def _scans(data: bytes) -> Iterator[_Scan]:
    """The scans of a JPEG's first picture, as far as its markers can be followed."""
    place, frame, flat = 2, 0, True
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0xD9:
            return
        body = place + 4
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xC4:
            flat = flat and _ends_blocks_first(data[body:place])
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC8, 0xCC}:
            frame = marker
        elif marker == 0xDA:
            start, place = place, _entropy_end(data, place)
            yield _Scan(frame, data[body:start], start, place, flat)


def _entropy_end(data: bytes, place: int) -> int:
    """Where a scan's coded data ends that begins at `place`: at the first marker but RSTm (T.81, B.1.1.2)."""
    for start in range(place, len(data), _AT_ONCE):  # a progressive JPEG's scans end early
        part = np.frombuffer(data, np.uint8, min(_AT_ONCE + 1, len(data) - start), start)
        marks = np.flatnonzero(part[:-1] == 0xFF)
        after = part[marks + 1]
        ends = marks[(after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7))]
        if ends.size:
            end = start + int(ends[0])
            while end > place and data[end - 1] == 0xFF:  # a marker may begin with several
                end -= 1
            return end
    return len(data)


def _ends_blocks_first(tables: bytes) -> bool:
    """Whether in all AC tables of a Huffman segment (T.81, B.2.4.2) the code of zeros means the end of a block."""
    while len(tables) > 17:
        kind, count = tables[0] >> 4, sum(tables[1:17])
        if kind == 1 and tables[17:18] != b"\0":
            return False
        tables = tables[17 + count :]
    return True


def _lacking(scans: list[bytes]) -> str:
    """What no scan of a progressive JPEG brings to its last bit (T.81, G.1.1.1.1), in words; empty if there is all."""
    exact: dict[int, set[int]] = {}
    for header in scans:
        count = header[0] if header else 0
        if len(header) != 2 * count + 4:
            return ""
        first, last, bits = header[-3], header[-2], header[-1] & 0x0F
        for component in header[1 : 2 * count : 2]:
            known = exact.setdefault(component, set())
            known |= set(range(first, last + 1)) if bits == 0 else set()
    lost = {component: 64 - len(known) for component, known in exact.items() if len(known) < 64}
    return f"{sum(lost.values())} of {64 * len(exact)} kinds of coefficients" if lost else ""


def _has_grey_block(image: Image) -> bool:
    """Whether 8×8 pixels are all of the level that no coefficients at all give."""
    middles = image[4::8, 4::8]
    grey = ((middles == 128) | (middles == 127)).all(axis=2)
    for i, j in np.argwhere(grey):
        block = image[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
        if int(block.max()) - int(block.min()) <= 1:
            return True
    return False


# ---------------------------------------------------------------------------------------------------------------------
# PNG


class _Scratch(threading.local):
    rows: NDArray[np.uint8] | None = None


_scratch = _Scratch()
_NOISE_BITS = 7.25
_HEAD = 64


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
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


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


def decode_map(data: bytes) -> Map:
    """A truth map from its PNG: H×W, uint8 or uint16 as it was written. Raises BadImageError."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if values is None or values.ndim != 2 or values.dtype not in (np.uint8, np.uint16):
        raise BadImageError("is no grey PNG of 8 or 16 bits")
    return values  # type: ignore[return-value]


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


# ---------------------------------------------------------------------------------------------------------------------
# Measures


def perceptual_hash(image: Image) -> str:
    """A 64-bit perceptual hash, 16 hex digits: signs of the 8×8 lowest cosine terms against their median.

    Near duplicates (recompressed, resized, slightly recoloured) differ in a few bits, unrelated photographs in about
    half of them.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    terms = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    bits = np.packbits(terms > np.median(terms[1:]))  # without the mean, which says how bright it is
    return bits.tobytes().hex()


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 30 MB for the next image, instead of giving them back to the kernel.

    Freeing one block of that size raises its thresholds for good (mallopt(3), M_MMAP_THRESHOLD): fresh memory costs a
    page fault every 4 KiB, which is a third of the time of degradations that work in floats. Elsewhere it does nothing.
    """
    np.empty(30 << 20, np.uint8)
