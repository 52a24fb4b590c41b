"""`litdata`: chunks as Lightning's litdata reads them (`StreamingDataset`), one folder a split.

    {split}/index.json, {split}/chunk-0-{n}.bin

A sample is a dictionary: key, caption and facts (KEY.json) as text; lq, gt and truth maps as the bytes of their files,
of which a map that the sample does not have is empty. Chunks are laid out as litdata's BinaryWriter does it
(litdata/streaming/writer.py), with its serializers `str` and `bytes`, which keep what they are given.
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

LEAF = {"type": None, "context": None, "children_spec": list[Any]()}


@dataclass(frozen=True)
class LitData:
    """A size, for tests; a user has no reason to change it.

    file_bytes  a chunk gets no larger, which is the size that litdata's own documentation uses.
    """

    name: ClassVar[str] = "litdata"
    version: ClassVar[int] = 1
    copies: ClassVar[bool] = True

    file_bytes: int = 64_000_000

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`. Raises ExportError if a shard cannot be read."""
        return _Writer(folder, self.file_bytes, map_names(view), view.digest)


def described(names: tuple[str, ...], file_bytes: int) -> dict[str, Any]:
    """The `config` of index.json: how a record's columns become a dictionary again."""
    tree = {"type": "builtins.dict", "context": json.dumps(names), "children_spec": [LEAF] * len(names)}
    return {
        "compression": None,
        "compression_level": None,
        "compression_batch_size": None,
        "ipc_compression": None,
        "chunk_size": None,
        "chunk_bytes": file_bytes,
        "data_format": ["str" if name in TEXTS else "bytes" for name in names],
        "data_spec": json.dumps([1, tree]),
        "types": {name: "str" if name in TEXTS else "bytes" for name in names},
        "encryption": None,
        "item_loader": "PyTreeLoader",
    }


class _Writer:
    def __init__(self, folder: Path, file_bytes: int, maps: list[str], digest: str) -> None:
        self._folder, self._maps, self._digest = folder, maps, digest
        self._config = described(columns(maps), file_bytes)
        self._chunks: dict[str, Chunks] = {}

    def add(self, sample: Sample) -> Callable[[], None]:
        data = packed(record(sample, self._maps))
        return lambda: self._of(sample.row.split).add(data, sample.row.key)

    def _of(self, split: str) -> Chunks:
        if split not in self._chunks:
            limit = self._config["chunk_bytes"]
            self._chunks[split] = Chunks(self._folder / split, b"", limit, "chunk-0-{}.bin".format)
        return self._chunks[split]

    def close(self) -> None:
        for split, chunks in self._chunks.items():
            chunks.finish()
            files = [
                {"chunk_bytes": size, "chunk_size": count, "dim": None, "filename": name}
                for name, count, size in chunks.written
            ]
            # A name for the contents, by which litdata throws away cached chunks of an earlier export: it takes a time.
            index = {"chunks": files, "config": self._config, "updated_at": self._digest}
            text = json.dumps(index, sort_keys=True)
            (self._folder / split / "index.json").write_text(text, "utf-8")
