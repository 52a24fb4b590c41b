"""`parquet`: tables that hold the images themselves, as `datasets` and the Hugging Face hub read them.

    {split}-{nnnnn}.parquet     a row a sample: lq and gt as image columns, words, numbers, truth maps

`datasets.load_dataset(FOLDER)` gives image columns without a script: the schema carries its features.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from patina.pipeline.export.format import Sample, View, Writer, map_names
from patina.pipeline.format.layout import SPLITS

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LQ_GT = ("lq", "gt")
TEXTS = (
    "key", "caption", "sentence", "instruction", "prompt", "entry", "degradation", "params", "seed", "severity_word",
    "source_sha256", "licence", "attribution",
)  # fmt: skip
LISTS = ("words", "names")
WHOLE = ("variant", "x", "y", "width", "height")
FIGURES = ("psnr", "psnr_y", "ssim", "ssim_y", "structure", "clip_psnr", "clip_structure")
NUMBERS = (*FIGURES, "severity", "clip_severity")


@dataclass(frozen=True)
class Parquet:
    """Sizes, for tests; a user has no reason to change them.

    file_bytes  a file is closed once it has so many; the last row group may go beyond. group_bytes, group_rows: a row
    group is closed at either: readers hold one in memory at a time.
    """

    name: ClassVar[str] = "parquet"
    version: ClassVar[int] = 2
    copies: ClassVar[bool] = True

    file_bytes: int = 500_000_000
    group_bytes: int = 64_000_000
    group_rows: int = 100

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`. Raises ExportError if a shard cannot be read."""
        return _Writer(folder, self, schema(map_names(view)))


def schema(maps: list[str]) -> pa.Schema:
    """The columns, with the features that `datasets` makes of them; truth maps are null where a sample has none."""
    fields = [
        *((name, IMAGE) for name in LQ_GT),
        *((name, pa.string()) for name in TEXTS),
        *((name, pa.list_(pa.string())) for name in LISTS),
        *((name, pa.int32()) for name in WHOLE),
        *((name, pa.float64()) for name in NUMBERS),
        *((name, IMAGE) for name in maps),
    ]
    features = {name: _feature(kind) for name, kind in fields}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {pa.float64(): "float64"}.get(kind, str(kind)), "_type": "Value"}


def _row(sample: Sample) -> dict[str, Any]:
    """A sample's columns; pictures with their bytes."""
    row, fact, source = sample.row, sample.fact, sample.source
    severity = fact["severity"]
    same = ("key", "caption", "entry", "degradation", "params", "seed", "source_sha256", *WHOLE)
    return {
        "lq": {"bytes": sample.lq[1], "path": f"{row.key}.{sample.lq[0]}"},
        "gt": {"bytes": sample.gt[1], "path": f"{row.key}.gt.{sample.gt[0]}"},
        **{name: {"bytes": body, "path": f"{row.key}.{name}.png"} for name, body in sample.maps.items()},
        **{name: getattr(row, name) for name in same},
        **{name: fact["text"][name] for name in ("sentence", "instruction", "prompt")},
        **{name: source[name] for name in ("licence", "attribution", "names")},
        "words": sample.degradations,
        **{name: severity[name] for name in FIGURES},
        "severity": severity["score"],
        "severity_word": severity["word"],
        "clip_severity": severity["clip_score"],
    }


class _Writer:
    def __init__(self, folder: Path, sizes: Parquet, columns: pa.Schema) -> None:
        self._folder, self._sizes, self._schema = folder, sizes, columns
        self._file: pq.ParquetWriter | None = None
        self._split = ""
        self._numbers = dict.fromkeys(SPLITS, 0)
        self._written = self._held = 0  # bytes in the open file, and in the rows that wait for their group
        self._rows: list[dict[str, Any]] = []

    def add(self, sample: Sample) -> Callable[[], None]:
        row, size = _row(sample), len(sample.lq[1]) + len(sample.gt[1]) + sum(map(len, sample.maps.values()))
        return lambda: self._take(sample.row.split, row, size)

    def _take(self, split: str, row: dict[str, Any], size: int) -> None:
        if split != self._split:
            self._finish_file()
            self._split = split
        self._rows.append(row)
        self._held += size
        if len(self._rows) >= self._sizes.group_rows or self._held >= self._sizes.group_bytes:
            self._finish_group()
            if self._written >= self._sizes.file_bytes:
                self._finish_file()

    def _finish_group(self) -> None:
        if not self._rows:
            return
        if self._file is None:
            path = self._folder / f"{self._split}-{self._numbers[self._split]:05d}.parquet"
            pictures = {f"{f.name}.bytes" for f in self._schema if f.type == IMAGE}
            plain = [name for name in _leaves(self._schema) if name not in pictures]
            self._file = pq.ParquetWriter(
                path,
                self._schema,
                compression=dict.fromkeys(plain, "zstd") | dict.fromkeys(pictures, "none"),
                use_dictionary=plain,  # pictures never repeat, and a dictionary of them would be held in memory
                write_statistics=plain,
            )
            self._numbers[self._split] += 1
        self._file.write_table(pa.Table.from_pylist(self._rows, self._schema), row_group_size=len(self._rows))
        self._written += self._held
        self._rows, self._held = [], 0

    def _finish_file(self) -> None:
        self._finish_group()
        if self._file is not None:
            self._file.close()
        self._file, self._written = None, 0

    def close(self) -> None:
        self._finish_file()


def _leaves(columns: pa.Schema) -> list[str]:
    """Names of the Parquet columns below the schema's, as Parquet spells them."""
    names: list[str] = []
    for one in columns:
        if one.type == IMAGE:
            names += [f"{one.name}.bytes", f"{one.name}.path"]
        elif pa.types.is_list(one.type):
            names.append(f"{one.name}.list.element")
        else:
            names.append(one.name)
    return names
