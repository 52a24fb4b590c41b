"""The exports `mds` and `litdata`: their files by known answers, read here by a parser that knows only the formats."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.export import chunks, litdata, mds
from patina.pipeline.export.chunks import Chunks, packed
from patina.pipeline.export.format import ExportError
from patina.pipeline.export.litdata import LitData
from patina.pipeline.export.mds import Mds
from patina.pipeline.export.run import export
from patina.pipeline.format.manifest import SampleRow, read_members, read_samples
from tests.pipeline.making import photo, tiny_recipe

TEXTS = {"key", "caption", "facts"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs as PNG and JPEG, some of whose samples have truth maps, in two splits."""
    folder = tmp_path_factory.mktemp("records")
    for i in range(6):
        photo(folder / "photos" / f"p{i}.{'jpg' if i % 2 else 'png'}", seed=i)
    words: dict[str, Any] = {"hazy": {}, "uncompleted": {}, "jpeg-compressed": {}}
    build(tiny_recipe(folder, degradations=words, split={"val": 0.3}, buckets=2), folder / "out")
    return folder / "out"


def parts_of(data: bytes, count: int) -> list[bytes]:
    """The columns of one record: sizes, then bytes."""
    sizes = struct.unpack_from(f"<{count}I", data)
    parts, offset = [], 4 * count
    for size in sizes:
        parts.append(data[offset : offset + size])
        offset += size
    assert offset == len(data)
    return parts


def records_of(path: Path, description: bytes = b"") -> list[bytes]:
    """The records of one file, whose places must leave no gap and end where it ends."""
    data = path.read_bytes()
    (count,) = struct.unpack_from("<I", data)
    places = struct.unpack_from(f"<{count + 1}I", data, 4)
    begin = 4 * (count + 2)
    assert data[begin : begin + len(description)] == description
    assert places[0] == begin + len(description)
    assert places[-1] == len(data)
    return [data[a:b] for a, b in pairwise(places)]


def read_mds(folder: Path) -> list[dict[str, bytes]]:
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    rows = []
    for shard in index["shards"]:
        names = shard["column_names"]
        assert names == sorted(names)
        assert shard["column_encodings"] == ["str" if name in TEXTS else "bytes" for name in names]
        head = ("column_encodings", "column_names", "column_sizes", "compression", "format", "hashes", "size_limit")
        about = json.dumps({name: shard[name] for name in (*head, "version")}, sort_keys=True).encode()
        path = folder / shard["raw_data"]["basename"]
        assert path.stat().st_size == shard["raw_data"]["bytes"]
        records = records_of(path, about)
        assert len(records) == shard["samples"]
        rows += [dict(zip(names, parts_of(record, len(names)), strict=True)) for record in records]
    return rows


def read_litdata(folder: Path) -> list[dict[str, bytes]]:
    index = json.loads((folder / "index.json").read_text())
    protocol, tree = json.loads(index["config"]["data_spec"])
    names = json.loads(tree["context"])
    assert (protocol, tree["type"], len(tree["children_spec"])) == (1, "builtins.dict", len(names))
    kinds = ["str" if name in TEXTS else "bytes" for name in names]
    assert index["config"]["data_format"] == kinds == [index["config"]["types"][name] for name in names]
    rows = []
    for chunk in index["chunks"]:
        path = folder / chunk["filename"]
        assert path.stat().st_size == chunk["chunk_bytes"]
        records = records_of(path)
        assert len(records) == chunk["chunk_size"]
        rows += [dict(zip(names, parts_of(record, len(names)), strict=True)) for record in records]
    return rows


READERS: dict[str, Callable[[Path], list[dict[str, bytes]]]] = {"mds": read_mds, "litdata": read_litdata}
KINDS: dict[str, Callable[[int], Any]] = {"mds": Mds, "litdata": LitData}


def expected(folder: Path, row: SampleRow, maps: list[str]) -> dict[str, bytes]:
    members = read_members(folder, row)
    return {
        "key": row.key.encode(),
        "caption": members["txt"],
        "facts": members["json"],
        "lq": members.get("png") or members["jpg"],
        "gt": members.get("gt.png") or members["gt.jpg"],
        **{name: members.get(f"{name}.png", b"") for name in maps},
    }


@pytest.mark.parametrize("format_name", READERS)
@pytest.mark.parametrize("file_bytes", [1 << 26, 30_000, 1])
def test_every_sample_is_a_record_of_its_stored_bytes(
    dataset: Path, tmp_path: Path, format_name: str, file_bytes: int
) -> None:
    export(dataset, tmp_path / "x", KINDS[format_name](file_bytes))
    rows = read_samples(dataset)
    maps = ["depth", "mask", "transmission"]
    for split in ("train", "val"):
        found = READERS[format_name](tmp_path / "x" / split)
        told = [expected(dataset, row, maps) for row in rows if row.split == split]
        assert sorted(found, key=lambda r: r["key"]) == sorted(told, key=lambda r: r["key"])
        files = [path for path in (tmp_path / "x" / split).iterdir() if path.name != "index.json"]
        assert len(files) == {1 << 26: 1, 1: len(told)}.get(file_bytes, len(files))
        assert len(told) > 1
        if file_bytes == 30_000:
            assert len(files) > 1
            assert all(path.stat().st_size <= file_bytes for path in files)
    assert not (tmp_path / "x" / "test").exists()


def test_a_shard_of_mosaicml_by_hand(tmp_path: Path) -> None:
    """Byte for byte what MDSWriter of mosaicml-streaming 0.13 writes for columns `a` (str) and `b` (bytes)."""
    about = json.dumps(
        mds.described(["a", "b"], 1000) | {"column_encodings": ["str", "bytes"]}, sort_keys=True
    ).encode()
    shards = Chunks(tmp_path, about, 1000, "shard.{:05d}.mds".format)
    for text, data in ((b"one", b"\0\1"), (b"", b"xyz")):
        shards.add(packed([text, data]), "key")
    shards.finish()
    begin = 16 + len(about)
    first, second = b"\3\0\0\0\2\0\0\0one\0\1", b"\0\0\0\0\3\0\0\0xyz"
    places = struct.pack("<4I", 2, begin, begin + len(first), begin + len(first) + len(second))
    assert (tmp_path / "shard.00000.mds").read_bytes() == places + about + first + second


def test_chunks_grow_to_their_size_and_not_beyond(tmp_path: Path) -> None:
    files = Chunks(tmp_path, b"", 8 + 3 * 14, "{}".format)
    for _ in range(7):
        files.add(b"x" * 10, "key")
    files.finish()
    assert files.written == [("0", 3, 50), ("1", 3, 50), ("2", 1, 22)]
    assert [(tmp_path / name).stat().st_size for name, _, _ in files.written] == [50, 50, 22]


def test_nothing_gives_no_file(tmp_path: Path) -> None:
    files = Chunks(tmp_path / "x", b"", 100, "{}".format)
    files.finish()
    assert files.written == []
    assert not (tmp_path / "x").exists()


def test_a_record_that_32_bits_cannot_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "WIDEST", 100)
    files = Chunks(tmp_path, b"", 50, "{}".format)
    files.add(b"x" * 87, "fits")
    with pytest.raises(ExportError, match=r"longer-key: .* found 88 bytes; export with --to parquet"):
        files.add(b"x" * 88, "longer-key")


def test_an_export_of_another_dataset_has_another_name_for_litdatas_cache(dataset: Path, tmp_path: Path) -> None:
    names = set()
    for i, how in enumerate(({}, {"splits": ["train"]}, {"degradations": ["hazy"], "splits": ["train"]})):
        export(dataset, tmp_path / str(i), litdata.LitData(), **how)
        names.add(json.loads((tmp_path / str(i) / "train" / "index.json").read_text())["updated_at"])
    assert len(names) == 3
