"""The cache of scans asked of many files at once says what it says of each."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.cache.scans import RECENT_NS, ScanStore
from patina.pipeline.sources.reader import relative_name, suffix_of


@pytest.fixture
def store() -> ScanStore:
    return ScanStore(None)


def test_many_files_at_once_are_trusted_as_each_alone(tmp_path: Path, store: ScanStore) -> None:
    """Also those that changed since, that were too recent, that are unknown, and whose digest is damaged."""
    paths = [tmp_path / f"{i:04d}" for i in range(1200)]  # more than one query takes
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i % 256]))
    known = [(str(path), path.stat(), f"{i:064x}") for i, path in enumerate(paths) if i % 7]
    store.put(known[::2], settled=True)
    store.put(known[1::2], begun_ns=0)  # read before it was written: proves nothing
    for path in paths[::5]:
        os.utime(path, ns=(1, 1))
    broken = os.fsencode(paths[8])
    store._connection.execute("UPDATE files SET digest = 'f' || substr(digest, 2) WHERE path = ?", (broken,))
    files = [(str(path), path.stat()) for path in paths]
    alone = {path: digest for path, stat in files if (digest := store.trusted_digest(path, stat))}
    assert store.trusted_digests(files) == alone
    assert 100 < len(alone) < 700 and str(paths[8]) not in alone


def test_many_inspections_at_once_are_those_of_each(store: ScanStore) -> None:
    records = [(f"{i:064x}", f"inspector-{i % 2}", f'{{"i": {i}}}') for i in range(1300)]
    store.put([], records)
    digests = [digest for digest, _, _ in records] + ["unknown"]
    alone = {digest: record for digest in digests if (record := store.inspection(digest, "inspector-1"))}
    assert store.inspections(digests, "inspector-1") == alone and len(alone) == 650
    assert store.trusted_digests([]) == store.inspections([], "inspector-1") == {}


def test_a_recent_file_is_not_trusted(tmp_path: Path, store: ScanStore) -> None:
    path = tmp_path / "new"
    path.write_bytes(b"1")
    stat = path.stat()
    store.put([(str(path), stat, "a" * 64)], begun_ns=stat.st_mtime_ns + RECENT_NS - 1)
    assert store.trusted_digests([(str(path), stat)]) == {}


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(lambda n: n != ".")
)
def test_the_suffix_is_that_of_pathlib(name: str) -> None:
    name = name.strip("/") or "x"
    assert suffix_of(name) == PurePosixPath(name).suffix.lower() or name.endswith((".", "/.")) or "/." in name


@pytest.mark.parametrize("folder", ["/photos", "/photos/", "photos", "./photos", "."])
def test_a_relative_name_is_that_of_pathlib(folder: str) -> None:
    for name in ("a.jpg", "b/c d.png", "ü/x.y.tif"):
        path = os.path.join(folder, name)  # noqa: PTH118 - as `walk` gives it
        assert relative_name(path, folder) == Path(path).relative_to(folder).as_posix() == name
