"""Tables are read as they were written, with columns of earlier and later releases, and without a thread more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patina.pipeline.tables import read_columns

SCHEMA = pa.schema([("key", pa.string()), ("names", pa.list_(pa.string())), ("psnr", pa.float64())])
ROWS = [{"key": f"k{i}", "names": [f"n{i}", "ü"][: i % 3], "psnr": i / 7 if i % 2 else None} for i in range(2500)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), tmp_path / "t.parquet", row_group_size=700, compression="zstd")
    return tmp_path / "t.parquet"


def test_a_table_comes_back_as_it_was_written_from_a_file_or_its_bytes(path: Path) -> None:
    for source in (path, path.read_bytes()):
        table = read_columns(source, SCHEMA)
        assert table.schema == SCHEMA
        assert table.to_pylist() == ROWS


def test_columns_that_are_not_there_are_null_and_others_are_left_out(path: Path) -> None:
    schema = pa.schema([("similarity", pa.float64()), ("psnr", pa.float32()), ("key", pa.string())])
    table = read_columns(path, schema)
    assert table.schema == schema
    assert table["similarity"].null_count == len(ROWS)
    assert table["key"].to_pylist() == [row["key"] for row in ROWS]


def test_what_cannot_be_read_is_an_error_of_pyarrow_or_the_system(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])
    for source in (path, path.parent, path.with_name("none")):
        with pytest.raises((pa.ArrowException, OSError)):
            read_columns(source, SCHEMA)
    pq.write_table(pa.table({"key": ["a"], "names": ["b"], "psnr": ["high"]}), path)
    with pytest.raises(pa.ArrowException):
        read_columns(path, SCHEMA)


COUNT = """
import os, sys
from pathlib import Path
from patina.pipeline.format.manifest import samples_schema
from patina.pipeline.tables import read_columns
before = len(os.listdir("/proc/self/task"))
read_columns(Path(sys.argv[1]), samples_schema())
print(len(os.listdir("/proc/self/task")) - before, "pyarrow.dataset" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux alone")
def test_no_thread_is_started_and_no_datasets_are_imported(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COUNT, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
