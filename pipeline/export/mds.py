"""`mds`: shards as MosaicML's streaming reads them (`StreamingDataset`), one folder a split.

    {split}/index.json, {split}/shard.{nnnnn}.mds

A sample is a dictionary: key, caption and facts (KEY.json) as text; lq, gt and truth maps as the bytes of their files,
of which a map that the sample does not have is empty. The bytes are the library's own MDSWriter's (format version 2,
streaming/base/format/mds/writer.py) for these columns, which are of the kinds `str` and `bytes`: its kinds for images
encode anew what they are given.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from patina.pipeline.export.chunks import Chunks, packed
from patina.pipeline.export.format import Sample, View, Writer, map_names
from patina.pipeline.export.records import TEXTS, columns, record


@dataclass(frozen=True)
class Mds:
    """A size, for tests; a user has no reason to change it.

    file_bytes  a shard gets no larger, which is the library's own default.
    """

    name: ClassVar[str] = "mds"
    version: ClassVar[int] = 1
    copies: ClassVar[bool] = True

    file_bytes: int = 1 << 26

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`. Raises ExportError if a shard cannot be read."""
        return _Writer(folder, self.file_bytes, map_names(view))


def described(names: list[str], file_bytes: int) -> dict[str, Any]:
    """What each shard says of its columns, which are in the order of their names."""
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": file_bytes,
        "column_names": names,
        "column_encodings": ["str" if name in TEXTS else "bytes" for name in names],
        "column_sizes": [None] * len(names),
    }


class _Writer:
    def __init__(self, folder: Path, file_bytes: int, maps: list[str]) -> None:
        self._folder, self._maps = folder, maps
        given = columns(maps)
        self._order = sorted(range(len(given)), key=given.__getitem__)
        self._about = described(sorted(given), file_bytes)
        self._chunks: dict[str, Chunks] = {}

    def add(self, sample: Sample) -> Callable[[], None]:
        parts = record(sample, self._maps)
        data = packed([parts[place] for place in self._order])
        return lambda: self._of(sample.row.split).add(data, sample.row.key)

    def _of(self, split: str) -> Chunks:
        if split not in self._chunks:
            about = json.dumps(self._about, sort_keys=True).encode()
            limit = self._about["size_limit"]
            self._chunks[split] = Chunks(self._folder / split, about, limit, "shard.{:05d}.mds".format)
        return self._chunks[split]

    def close(self) -> None:
        for split, chunks in self._chunks.items():
            chunks.finish()
            shards = [
                {**self._about, "samples": count, "zip_data": None}
                | {"raw_data": {"basename": name, "bytes": size, "hashes": {}}}
                for name, count, size in chunks.written
            ]
            text = json.dumps({"version": 2, "shards": shards}, sort_keys=True)
            (self._folder / split / "index.json").write_text(text, "utf-8")
