"""The boxes of which files of JPEG XL, AVIF and HEIF are made (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

from collections.abc import Iterator


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each box that lies in no other: its kind, and where its contents begin and end. The last one may end beyond the
    data, which is cut, or before it begins, if its length is no length."""
    place = 0
    while place + 8 <= len(data):
        length, kind, head = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        end = place + length if length else len(data)
        yield kind, place + head, end
        if end < place + head:
            return
        place = end
