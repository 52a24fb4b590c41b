"""What an image file has and its 8-bit RGB pixels have not, in words: for whoever restores or stores photographs.

Each loss is a short text such as `16 bits a channel`; tables of sentences stand below.
"""

from __future__ import annotations

import re

import PIL.Image

from patina.pipeline.codec.boxes import boxes
from patina.pipeline.codec.colours import colours_of
from patina.pipeline.codec.extra_formats import jxl_header
from patina.pipeline.text import plain

BITS, PROFILE = " bits a channel", "colours of "
"""What a loss of bits ends with, after their number, and one of colours begins with, before their name."""

ALPHA, PALETTE, CMYK, PICTURES = "alpha channel", "palette", "CMYK", "further pictures"


def lost_of(picture: PIL.Image.Image, data: bytes) -> tuple[str, ...]:
    """The losses of a file that `decode` takes, opened by Pillow, in the order in which they are told.

    `16 bits a channel` (or so many), `alpha channel` (opaque everywhere), `further pictures` (of an MPO or HEIC file),
    `palette`, `CMYK`, and `colours of NAME`, where a profile or a tag says that the levels are not those of sRGB.
    """
    losses = [f"{bits}{BITS}"] if (bits := bits_of(picture, data)) > 8 else []
    if picture.has_transparency_data:
        losses.append(ALPHA)
    if picture.format == "MPO" or (picture.format == "HEIF" and getattr(picture, "n_frames", 1) > 1):
        losses.append(PICTURES)
    if picture.mode in {"P", "PA"}:
        losses.append(PALETTE)
    if picture.mode == "CMYK":
        losses.append(CMYK)
    elif colours := colours_of(picture, data):
        losses.append(f"{PROFILE}{plain(colours)}")
    return tuple(losses)


def bits_of(picture: PIL.Image.Image, data: bytes) -> int:
    """Bits a channel. Pillow opens 16-bit colours as 8-bit ones, so the headers are asked."""
    if picture.format == "PNG":
        return data[24]
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(258, 8)  # type: ignore[attr-defined]
        return int(max(bits) if isinstance(bits, tuple) else bits)
    if picture.format == "PPM":
        head = re.sub(rb"#[^\n]*\n", b" ", data[:1024]).split(maxsplit=4)
        return 16 if len(head) > 3 and head[3].isdigit() and int(head[3]) > 255 else 8
    if picture.format == "HEIF":
        return int(picture.info.get("bit_depth", 8))
    if picture.format in {"JXL", "AVIF"}:
        return jxl_header(data).bits if picture.format == "JXL" else _avif_bits(data)
    return 16 if picture.mode.startswith("I") else 8


def _avif_bits(data: bytes) -> int:
    """Bits a channel of an AVIF file: the most that one of its pictures has, alpha and grids among them.

    Each has a property `av1C` in the box `meta`; of its third byte, bit 6 says more than 8 bits and bit 5 then 12 bits
    rather than 10 (AV1 Codec ISO Media File Format Binding, 2.3.3).
    """
    metas = (data[start:end] for kind, start, end in boxes(data) if kind == b"meta")
    flags = [found[1][0] for meta in metas for found in re.finditer(rb"av1C..(.)", meta, re.DOTALL)]
    return max([8, *(12 if flag & 0x20 else 10 for flag in flags if flag & 0x40)])


def told_of_many(loss: str) -> str:
    """What becomes of it where photographs are stored, in words."""
    if loss.endswith(BITS):
        return f"of the {loss}, 8 are stored"
    if loss.startswith(PROFILE):
        return f"the levels are stored as they are and count as sRGB, which leaves out the {loss}"
    return {
        ALPHA: "the alpha channel, opaque everywhere, is left out",
        PALETTE: "stored as RGB, without the palette of at most 256 colours",
        CMYK: "stored as RGB, not CMYK",
        PICTURES: "of the pictures in a file, the first is read",
    }[loss]
