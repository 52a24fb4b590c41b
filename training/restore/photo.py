"""A photograph's file: pixels, orientation, profile and tags, in and out."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image

from patina.pipeline.codec import lost
from patina.pipeline.codec.decode import Decoded, decode, readable_formats
from patina.training.images import Pixels

PROFILES = {"RGB": b"RGB ", "L": b"GRAY"}
"""The colours of an ICC profile that fits an image, in its header."""

LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
DESCRIPTIVE = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)
"""TIFF's tags that describe a photograph rather than how it is stored."""

LOST = {
    lost.ALPHA: "its alpha channel, opaque everywhere, is left out",
    lost.PICTURES: "of its pictures the first is restored",
    lost.PALETTE: "written as RGB, without its palette",
    lost.CMYK: "written as RGB, not CMYK",
}
"""What becomes of what a restored photograph cannot have, in words."""

MAX_EXIF_BYTES = 65533
"""Bytes that a JPEG file takes of EXIF data."""

EXIF_FOLDERS = (0x8769, 0x8825)
"""Of the camera, and of the place."""


@dataclass(frozen=True)
class Photo:
    """A photograph as it was read.

    image    H x W x 3 uint8 RGB, upright.
    format   of the file to write; mode: RGB, or L of a grey one.
    exif     EXIF block, upright; profile: ICC, fitting `mode`; both may be empty.
    options  of Pillow's writer of that format.
    notes    what the written file lacks, in words.
    """

    image: Pixels
    format: str
    mode: str = "RGB"
    exif: bytes = b""
    profile: bytes = b""
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# One photograph


def read_photo(data: bytes) -> Photo:
    """The photograph in an image file, and what of the file goes into the restored one. Raises BadImageError."""
    decoded = decode(data)
    with PIL.Image.open(io.BytesIO(data), formats=readable_formats()) as picture:
        picture.load()  # a PNG's EXIF data may come last
        written = writable(decoded.format)
        notes = _lost_notes(decoded, bool(picture.info.get("icc_profile")))
        mode = "L" if picture.mode in ("1", "L", "LA", "I") or picture.mode.startswith("I;16") else "RGB"
        profile = picture.info.get("icc_profile") or b""
        if profile and profile[16:20] != PROFILES[mode]:
            profile = b""
            notes.append("its colour profile, of other colours, is left out")
        exif = _tiff_exif(picture) if decoded.format == "TIFF" else picture.info.get("exif") or b""
        upright = upright_exif(exif, *decoded.image.shape[:2])
        if exif and not upright:
            notes.append("its EXIF data cannot be followed and is left out")
        options: dict[str, Any] = {}
        if decoded.format == "TIFF":
            own = picture.info.get("compression", "raw")
            options["compression"] = own if own in LOSSLESS_TIFF else "tiff_adobe_deflate"
        elif decoded.format == "WEBP":
            options["lossless"] = _is_lossless(data)
    return Photo(decoded.image, written, mode, upright, profile, options, tuple(notes))


def writable(format: str) -> str:
    """The format of a restored photograph, by that of its file: the same, or what comes nearest."""
    nearest = {"MPO": "JPEG", "HEIF": "JPEG", "GIF": "PNG", "JXL": "PNG"}.get(format, format)
    return nearest if nearest in PIL.Image.SAVE else "PNG"


def _lost_notes(decoded: Decoded, has_profile: bool) -> list[str]:
    """What the written file lacks of the one that was read; its profile, if it has one, is written again."""
    notes, written = [], writable(decoded.format)
    for loss in decoded.lost:
        if loss == lost.PALETTE and written != decoded.format:
            continue  # said below: all pictures of that format have one
        if loss.endswith(lost.BITS):
            notes.append(f"of its {loss}, 8 are restored")
        elif not loss.startswith(lost.PROFILE):
            notes.append(LOST[loss])
        elif not has_profile:
            notes.append(f"written without the {loss}")
    if decoded.format not in (written, "MPO"):
        notes.append(f"written as {written}, not {decoded.format}")
    return notes


def _is_lossless(data: bytes) -> bool:
    """Of a WebP file: whether the picture's chunk is a lossless one."""
    place = 12
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        place += 8 + length + length % 2
    return False


def _tiff_exif(picture: PIL.Image.Image) -> bytes:
    """A TIFF has its EXIF data among the tags that say how it is stored: those that describe it, as a block."""
    own, kept = picture.getexif(), PIL.Image.Exif()
    kept.update({tag: own[tag] for tag in DESCRIPTIVE if tag in own})
    for tag in EXIF_FOLDERS:
        if found := own.get_ifd(tag):
            kept[tag] = dict(found)
    return kept.tobytes() if len(kept) else b""


def upright_exif(exif: bytes, height: int, width: int) -> bytes:
    """The same EXIF block for an upright image of this size, with `Exif` before it; empty if it cannot be followed.

    Orientation becomes 1 and the sides are set, in place: what a camera's maker keeps there by offsets stays right.
    The preview, which shows the photograph as it was, is unlinked.
    """
    block = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]), "")
    if not order:
        return b""
    try:
        first = struct.unpack_from(order + "I", block, 4)[0]
        inner, end = _set_tags(block, order, first, {0x0112: 1})
        struct.pack_into(order + "I", block, end, 0)
        if inner:
            _set_tags(block, order, inner, {0xA002: width, 0xA003: height})
    except struct.error:
        return b""
    return b"Exif\0\0" + bytes(block)


def _set_tags(block: bytearray, order: str, place: int, values: Mapping[int, int]) -> tuple[int, int]:
    """Set single numbers of the folder of tags at `place`. Returns where the camera's folder lies, 0 if there is none,
    and where this folder ends."""
    inner, entry = 0, place + 2
    for _ in range(struct.unpack_from(order + "H", block, place)[0]):
        tag, kind, count = struct.unpack_from(order + "HHI", block, entry)
        if tag in values and count == 1 and kind in (3, 4) and values[tag] < (1 << 16 if kind == 3 else 1 << 32):
            struct.pack_into(order + ("H" if kind == 3 else "I"), block, entry + 8, values[tag])
        elif tag == EXIF_FOLDERS[0]:
            inner = struct.unpack_from(order + "I", block, entry + 8)[0]
        entry += 12
    return inner, entry


def encode_photo(image: Pixels, photo: Photo, *, quality: int = 95, strip: bool = False) -> tuple[bytes, list[str]]:
    """An image file with the pixels of `image` and the rest of `photo`; and what did not go into it, in words.

    strip  leave EXIF data out. JPEG with full chroma.
    """
    notes, options, exif = [], dict(photo.options), b"" if strip else photo.exif
    if photo.format == "JPEG" and len(exif) > MAX_EXIF_BYTES:
        exif = b""
        notes.append("its EXIF data is too long for a JPEG file and is left out")
    if photo.format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if photo.format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if photo.format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        if photo.profile:
            options["icc_profile"] = photo.profile
        if exif:
            options["exif"] = exif
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(np.ascontiguousarray(image))
    (picture.convert("L") if photo.mode == "L" else picture).save(buffer, photo.format, **options)
    return buffer.getvalue(), notes
