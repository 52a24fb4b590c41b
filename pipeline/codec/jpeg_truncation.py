"""Whether a JPEG file is whole, by its entropy-coded data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError
from patina.synth.image import Image

_RESTART = re.compile(rb"\xff+[\xd0-\xd7]", re.DOTALL)


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
