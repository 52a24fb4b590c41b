"""A dataset that somebody else wrote: its names become paths here, and must be such as patina writes."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import MANIFEST, SAMPLES
from patina.pipeline.format.manifest import load_manifest, read_samples, samples_table
from patina.pipeline.sources import locations
from tests.pipeline.making import photos, tiny_recipe


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    photos(tmp_path / "photos", 2)
    build(tiny_recipe(tmp_path, tiles={"size": 24}), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("field", "value"), [("split", "../train"), ("degradation", "a/../../b"), ("split", "\x1b[2J")]
)
def test_names_of_shards_lead_nowhere_else(dataset: Path, field: str, value: str) -> None:
    body = json.loads((dataset / MANIFEST).read_text("utf-8"))
    body["shards"][0][field] = value
    del body["sum"]
    (dataset / MANIFEST).write_text(json.dumps(body), "utf-8")
    with pytest.raises(ManifestError, match="is no name of a shard"):
        load_manifest(dataset)


@pytest.mark.parametrize(("field", "value"), [("key", "../../etc/passwd"), ("shard", "../../other.tar")])
def test_names_in_the_table_lead_nowhere_else(dataset: Path, field: str, value: str) -> None:
    table = pq.read_table(dataset / SAMPLES)
    assert len(read_samples(dataset)) == len(table), "its own names, of tiles too, are such as they must be"
    column = table.column_names.index(field)
    values = [value, *table[field].to_pylist()[1:]]
    pq.write_table(table.set_column(column, field, [values]), dataset / SAMPLES)
    with pytest.raises(ManifestError, match=f"column '{field}' holds what patina never writes"):
        read_samples(dataset)


def test_a_table_without_rows_is_fine(dataset: Path) -> None:
    pq.write_table(samples_table(()), dataset / SAMPLES)
    assert read_samples(dataset) == []


def test_a_full_disk_of_ours_is_not_a_fault_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    system.pipe_file("/set/a.tar", b"x" * 100)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(system), "get_file", full)
    with pytest.raises(OSError, match="No space left") as raised:
        locations.local_copy("memory://set/a.tar")
    assert not isinstance(raised.value, locations.LocationError)
