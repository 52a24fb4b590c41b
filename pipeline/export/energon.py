"""`energon`: the shards as megatron-energon reads them, with the indexes that `energon prepare` would make of them.

    shards/{shard}.tar, {shard}.tar.idx    a link to the shard; where its samples begin and the last one ends
    .nv-meta/.info.json, split.yaml        samples of each shard; shards of each split
    .nv-meta/index.sqlite, index.uuid      place of every sample and member; a name for this index
    .nv-meta/dataset.yaml                  samples come as plain dictionaries of members

What follows from a tar is as megatron-energon 7.4 writes it (flavors/webdataset/prepare.py, indexing.py, itar.py).
`dataset.yaml` asks for members as bytes, since energon's own decoder of images clips truth maps of 16 bits at 255.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from patina.pipeline.export.format import ExportError, Sample, View, Writer
from patina.pipeline.export.linked import link_shards
from patina.pipeline.format.layout import SHARDS, SPLITS
from patina.pipeline.format.manifest import ShardEntry
from patina.pipeline.versions.version import called

UNIQUE_KEYS = 3
"""The first version of the stored format in which no two samples share a key."""

META = ".nv-meta"
INDEX = "index.sqlite"

DATASET = """\
__module__: megatron.energon
__class__: CrudeWebdataset
# Members come as bytes: energon's own decoder clips truth maps of 16 bits at 255.
decoder: null
"""

TABLES = """
CREATE TABLE samples (
    tar_file_id INTEGER NOT NULL,
    sample_key TEXT NOT NULL UNIQUE,
    sample_index INTEGER NOT NULL,
    byte_offset INTEGER,
    byte_size INTEGER
);
CREATE TABLE sample_parts (
    tar_file_id INTEGER,
    sample_index INTEGER,
    part_name TEXT,
    content_byte_offset INTEGER,
    content_byte_size INTEGER
);
"""

INDEXES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full
    ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""


@dataclass(frozen=True)
class Energon:
    """The format has no settings."""

    name: ClassVar[str] = "energon"
    version: ClassVar[int] = 1
    copies: ClassVar[bool] = False

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`. Raises ExportError for a dataset in whose shards a key can stand twice."""
        if view.manifest.schema < UNIQUE_KEYS:
            raise ExportError(
                f"{called(view.folder)}: energon expects keys that are unique in the dataset, and in the stored format "
                f"{view.manifest.schema} the samples of a photograph share one; `patina build` writes it anew"
            )
        return _Writer(folder, view)


class _Writer:
    def __init__(self, folder: Path, view: View) -> None:
        self._folder = folder
        self._shards = {shard.name: shard for shard in view.shards}
        self._numbers = {name: number for number, name in enumerate(sorted(self._shards))}
        link_shards(folder / SHARDS, view)
        meta = folder / META
        meta.mkdir()
        write_papers(meta, [self._shards[name] for name in self._numbers])
        # energon draws a random one, by which copies of an index are told apart; here equal shards give an equal one.
        name = uuid.UUID(hex=view.digest[:32], version=4)
        (meta / "index.uuid").write_text(str(name), "utf-8")
        self._index = sqlite3.connect(meta / INDEX)
        # No journal: the export gets its name when all of it is written, and a torn one is thrown away.
        self._index.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES}")
        self._shard, self._count, self._end = "", 0, 0
        self._offsets: BinaryIO | None = None

    def add(self, sample: Sample) -> Callable[[], None]:
        row = sample.row
        places = sample.places()

        def then() -> None:
            if row.shard != self._shard:
                self._finish_shard()
                self._shard = row.shard
                self._offsets = (self._folder / SHARDS / f"{row.shard}.idx").open("wb")
            number, count = self._numbers[row.shard], self._count
            place = (number, row.key, count, row.offset, row.size)
            self._index.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", place)
            parts = [(number, count, name, part.offset, part.size) for name, part in places.items()]
            self._index.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", parts)
            self._append(row.offset)
            self._count, self._end = count + 1, row.offset + row.size

        return then

    def _append(self, offset: int) -> None:
        if self._offsets is not None:
            self._offsets.write(struct.pack("<Q", offset))

    def _finish_shard(self) -> None:
        self._append(self._end)
        if self._offsets is not None:
            self._offsets.close()
        self._offsets, self._count, self._end = None, 0, 0

    def close(self) -> None:
        self._finish_shard()
        self._index.executescript(INDEXES)
        self._index.commit()
        self._index.close()


def write_papers(meta: Path, shards: list[ShardEntry]) -> None:
    """Write what follows from the list of shards, which is in the order of their names, into `.nv-meta`."""
    counts = {f"{SHARDS}/{shard.name}": shard.count for shard in shards}
    parts = {split: [f"{SHARDS}/{s.name}" for s in shards if s.split == split] for split in SPLITS}
    (meta / ".info.json").write_text(json.dumps({"shard_counts": counts}, indent=2) + "\n", "utf-8")
    lines = ["split_parts:"]
    for split, names in parts.items():
        lines += [f"  {split}:", *(f"  - {name}" for name in names)] if names else [f"  {split}: []"]
    (meta / "split.yaml").write_text("\n".join([*lines, "exclude: []", ""]), "utf-8")
    (meta / "dataset.yaml").write_text(DATASET, "utf-8")
