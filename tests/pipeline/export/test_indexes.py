"""The exports `energon` and `webshart`: indexes that fit the tars beside them, which are the dataset's own files."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import struct
import tarfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from patina.pipeline.builder.build import build
from patina.pipeline.export.energon import Energon
from patina.pipeline.export.format import ExportError, View, map_names
from patina.pipeline.export.run import export
from patina.pipeline.export.webshart import WebShart
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest, read_samples
from patina.pipeline.format.shard import tar_header
from patina.pipeline.plan.planning import Options
from tests.pipeline.making import make_plain, photo, tiny_recipe

WORDS: dict[str, Any] = {"noisy": {}, "hazy": {}, "uncompleted": {}}


def make(folder: Path, seed: int = 0) -> Path:
    for i in range(5):
        photo(folder / "photos" / f"p{i}.{'jpg' if i % 2 else 'png'}", seed=seed + i)
    build(tiny_recipe(folder, degradations=WORDS, split={"val": 0.3}, buckets=2), folder / "out", Options())
    return folder / "out"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("indexes"))


def tars(folder: Path) -> list[Path]:
    return sorted((folder / SHARDS).glob("*.tar"))


def groups(path: Path) -> dict[str, list[tarfile.TarInfo]]:
    """A tar's members by key, as Python's own tarfile sees them."""
    found: dict[str, list[tarfile.TarInfo]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            found.setdefault(member.name.partition(".")[0], []).append(member)
    return found


@pytest.mark.parametrize("kind", [Energon, WebShart])
def test_shards_are_the_datasets_own_files(dataset: Path, tmp_path: Path, kind: type[Energon | WebShart]) -> None:
    done = export(dataset, tmp_path / "x", kind())
    assert done.samples == len(read_samples(dataset))
    assert [p.name for p in tars(tmp_path / "x")] == [p.name for p in tars(dataset)]
    assert all(a.samefile(b) for a, b in zip(tars(tmp_path / "x"), tars(dataset), strict=True))
    assert not any(path.is_symlink() for path in (tmp_path / "x").rglob("*"))


@pytest.mark.parametrize("kind", [Energon, WebShart])
def test_an_export_outlives_the_next_builds(tmp_path: Path, kind: type[Energon | WebShart]) -> None:
    out = make(tmp_path)
    export(out, tmp_path / "x", kind())
    before = {path.name: path.read_bytes() for path in tars(tmp_path / "x")}
    (tmp_path / "photos" / "p0.png").unlink()
    recipe = tiny_recipe(tmp_path, degradations={"noisy": {"sigma": 50}}, split={"val": 0.3}, buckets=2)
    build(recipe, out, Options(keep=1))
    assert {path.name: path.read_bytes() for path in tars(tmp_path / "x")} == before
    assert export(out, tmp_path / "x", kind()).fresh


@pytest.mark.parametrize("kind", [Energon, WebShart])
def test_where_there_are_no_links_shards_are_copied(
    dataset: Path, tmp_path: Path, kind: type[Energon | WebShart], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    export(dataset, tmp_path / "linked", kind())
    monkeypatch.setattr(os, "link", refuse)
    export(dataset, tmp_path / "copied", kind())
    for one, other in zip(tars(tmp_path / "linked"), tars(tmp_path / "copied"), strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert not one.samefile(other)


# ---------------------------------------------------------------------------------------------------------------------
# energon


def rows_of(folder: Path, table: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / ".nv-meta" / "index.sqlite")
    try:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
    finally:
        connection.close()


def test_energons_indexes_are_those_that_tarfile_would_give(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    export(dataset, out, Energon())
    samples, parts, counts = [], [], {}
    for number, path in enumerate(tars(out)):
        starts = []
        found = groups(path)
        for index, (key, members) in enumerate(found.items()):
            starts.append(members[0].offset)
            end = members[-1].offset_data + members[-1].size + -members[-1].size % 512
            samples.append((number, key, index, members[0].offset, end - members[0].offset))
            parts += [
                (number, index, member.name.partition(".")[2], member.offset_data, member.size) for member in members
            ]
        places = struct.unpack(f"<{len(found) + 1}Q", Path(f"{path}.idx").read_bytes())
        assert places == (*starts, end)
        counts[f"{SHARDS}/{path.name}"] = len(found)
    assert rows_of(out, "samples") == sorted(samples)
    assert rows_of(out, "sample_parts") == sorted(parts)
    assert json.loads((out / ".nv-meta" / ".info.json").read_text()) == {"shard_counts": counts}
    assert list(counts) == sorted(counts)


def test_energons_splits_are_the_datasets(dataset: Path, tmp_path: Path) -> None:
    export(dataset, tmp_path / "x", Energon())
    found = yaml.safe_load((tmp_path / "x" / ".nv-meta" / "split.yaml").read_text())
    names = [f"{SHARDS}/{path.name}" for path in tars(dataset)]
    parts = {split: [n for n in names if n.startswith(f"{SHARDS}/{split}-")] for split in ("train", "val", "test")}
    assert found == {"split_parts": parts, "exclude": []}
    assert parts["train"] and parts["val"] and not parts["test"]
    dataset_yaml = yaml.safe_load((tmp_path / "x" / ".nv-meta" / "dataset.yaml").read_text())
    assert dataset_yaml == {"__module__": "megatron.energon", "__class__": "CrudeWebdataset", "decoder": None}


def test_energons_name_of_an_index_follows_from_the_shards(dataset: Path, tmp_path: Path) -> None:
    names = []
    for i, splits in enumerate(([], [], ["val"])):
        export(dataset, tmp_path / str(i), Energon(), splits=splits)
        names.append((tmp_path / str(i) / ".nv-meta" / "index.uuid").read_text())
        assert uuid.UUID(names[-1]).version == 4
    assert names[0] == names[1] != names[2]


def test_energon_is_refused_a_dataset_whose_keys_can_stand_twice(dataset: Path, tmp_path: Path) -> None:
    manifest = load_manifest(dataset)
    assert manifest is not None
    former = View(dataset, replace(manifest, schema=2), manifest.shards)
    with pytest.raises(ExportError, match=r"stored format 2 .*`patina build` writes it anew"):
        Energon().open(tmp_path / "x", former)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# webshart


def test_webshart_counts_a_sample_once_and_finds_its_bytes(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    export(dataset, out, WebShart())
    rows = {row.key: row for row in read_samples(dataset)}
    for path in tars(out):
        found, data = groups(path), path.read_bytes()
        for folder, names in ((SHARDS, {"png", "jpg"}), ("gt", {"gt.png", "gt.jpg"})):
            index = json.loads((out / folder / path.name).with_suffix(".json").read_text())
            assert (index["path"], index["filesize"]) == (path.name, len(data))
            assert [name.partition(".")[0] for name in index["files"]] == list(found)
            for name, entry in index["files"].items():
                key, _, extension = name.partition(".")
                members = {member.name.partition(".")[2]: member for member in found[key]}
                assert extension in names
                assert (entry["offset"], entry["length"]) == (members[extension].offset_data, members[extension].size)
                facts = data[entry["json_offset"] :][: entry["json_length"]]
                assert json.loads(facts)["key"] == key
                assert (entry["path"], entry["json_path"]) == (name, f"{key}.json")
                assert entry["captions"] == rows[key].caption
                assert (entry["width"], entry["height"]) == (rows[key].width, rows[key].height)
                assert entry["aspect"] == entry["width"] / entry["height"]


def test_every_index_of_webshart_has_a_file_for_every_shard(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    export(dataset, out, WebShart())
    stems = sorted(path.stem for path in tars(out))
    counts = {}
    for folder in ("gt", "mask", "transmission", "depth"):
        assert sorted(path.stem for path in (out / folder).iterdir()) == stems
        indexes = [json.loads(path.read_text())["files"] for path in (out / folder).iterdir()]
        counts[folder] = sum(map(len, indexes))
    rows = read_samples(dataset)
    kinds = {entry: sum(row.entry == entry for row in rows) for entry in WORDS}
    expected = {"mask": kinds["uncompleted"], "transmission": kinds["hazy"], "depth": kinds["hazy"]}
    assert counts == {"gt": len(rows), **expected}


@pytest.mark.parametrize("name", ["../out", "a\0b", "..", "a/b"])
def test_a_strangers_map_names_no_folder(tmp_path: Path, name: str) -> None:
    """A map's name becomes a folder's: one that patina would not write is refused before anything is made."""
    photo(tmp_path / "photos" / "a.png")
    build(tiny_recipe(tmp_path), tmp_path / "out")
    make_plain(tmp_path / "out")
    manifest = load_manifest(tmp_path / "out")
    assert manifest is not None
    shard = tmp_path / "out" / SHARDS / manifest.shards[0].name
    key = read_samples(tmp_path / "out")[0].key
    header = bytearray(tar_header(f"{key}.mask.png", 0))
    header[:100] = f"{key}.{name}.png".encode().ljust(100, b"\0")
    shard.write_bytes(shard.read_bytes()[: -2 * 512] + bytes(header) + bytes(1024))
    with pytest.raises(ExportError, match=r"cannot be read: expected KEY\.extension, found"):
        map_names(View(tmp_path / "out", manifest, manifest.shards))
