"""Files of records that can be read in any order: a number, places, and the records one behind the other.

MosaicML's shards and litdata's chunks are both such files: `count`, `count + 1` places from the start of the file, and
the records. All numbers have 32 bits, little-endian. In a shard of MosaicML a description lies before the records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from patina.pipeline.export.format import ExportError

WIDEST = 2**32
"""Places have 32 bits, so that a file is smaller than this, in bytes."""


def packed(parts: Sequence[bytes]) -> bytes:
    """One record of columns of no fixed size: their sizes, 32 bits each, then their bytes."""
    return struct.pack(f"<{len(parts)}I", *map(len, parts)) + b"".join(parts)


class Chunks:
    """Writes records of one split into files of about equal size. Holds the records of one file in memory.

    folder       made when the first file is written.
    description  lies in each file between places and records.
    file_bytes   no file gets longer, unless it is of one record alone.
    name         gives the name of the file of that number.
    """

    def __init__(self, folder: Path, description: bytes, file_bytes: int, name: Callable[[int], str]) -> None:
        self._folder, self._description, self._limit, self._name = folder, description, file_bytes, name
        self._records: list[bytes] = []
        self._size = self._empty = 8 + len(description)
        self.written: list[tuple[str, int, int]] = []
        """Name, records and bytes of each finished file."""

    def add(self, record: bytes, key: str) -> None:
        """Add one record. Raises ExportError if no file can hold it."""
        size = len(record) + 4
        if self._empty + size >= WIDEST:
            raise ExportError(
                f"{key}: the format holds samples below 4 GiB, found {len(record)} bytes; export with --to parquet"
            )
        if self._records and self._size + size > self._limit:
            self.finish()
        self._records.append(record)
        self._size += size

    def finish(self) -> None:
        """Write the file of the records that wait, if there are any."""
        if not self._records:
            return
        count = len(self._records)
        first = 4 * (count + 2) + len(self._description)
        places = accumulate(map(len, self._records), initial=first)
        head = struct.pack(f"<{count + 2}I", count, *places)
        name = self._name(len(self.written))
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("wb") as file:
            file.writelines([head, self._description, *self._records])
        self.written.append((name, count, self._size))
        self._records, self._size = [], self._empty
