"""The cache of scans asked of many files at once says what it says of each."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.cache.database import seal
from patina.pipeline.cache.scans import FILE, RECENT_NS, ScanStore, stats_of
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
    at = FILE.fields["digest"][1]
    (row,) = store._connection.execute("SELECT row FROM local WHERE path = ?", (broken,)).fetchone()
    flipped = row[:at] + bytes([row[at] ^ 1]) + row[at + 1 :]
    store._connection.execute("UPDATE local SET row = ? WHERE path = ?", (flipped, broken))
    files = [(str(path), path.stat()) for path in paths]
    alone = {path: digest for path, stat in files if (digest := store.trusted_digest(path, stat))}
    rows, is_trusted = store.trusted([path for path, _ in files], stats_of([stat for _, stat in files]))
    found = zip(files, rows["digest"], is_trusted, strict=True)
    assert {path: digest.tobytes().hex() for (path, _), digest, is_known in found if is_known} == alone
    assert 100 < len(alone) < 700 and str(paths[8]) not in alone


def test_a_short_inspection_comes_back_with_its_file(tmp_path: Path, store: ScanStore) -> None:
    """Of a number that is the text's own sum: a text that changed is no kind of any file."""
    path = tmp_path / "a"
    path.write_bytes(b"1")
    store.put([(str(path), path.stat(), "a" * 64)], (), {"a" * 64: ("kind", bytes(range(32)))}, settled=True)
    rows, is_trusted = store.trusted([str(path)], stats_of([path.stat()]))
    assert is_trusted.all() and rows["own"][0].tobytes() == bytes(range(32))
    assert store.kinds() == {int(rows["kind"][0]): "kind"}
    store._connection.execute("UPDATE kinds SET text = 'kinds'")
    assert store.kinds() == {}


EARLIER = """
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER,
    seen_ns INTEGER, digest TEXT NOT NULL) WITHOUT ROWID;
"""


def test_digests_of_an_earlier_release_are_taken_over(tmp_path: Path) -> None:
    """But those whose sum is wrong. What it stores, gone back to, is taken over again."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(b"1")
    stats = [path.stat() for path in paths]
    keys = [
        (os.fsencode(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for p, s in zip(paths, stats, strict=True)
    ]
    seen = [max(s.st_mtime_ns, s.st_ctime_ns) + RECENT_NS for s in stats]
    texts = ["a" * 64, seal("b" * 64, *keys[1], seen[1]), seal("c" * 64, *keys[1], seen[2])]  # the first, without a sum
    with contextlib.closing(sqlite3.connect(tmp_path / "scan.sqlite")) as earlier, earlier:
        earlier.executescript(EARLIER)
        rows = [(*key, when, text) for key, when, text in zip(keys, seen, texts, strict=True)]
        earlier.executemany("INSERT INTO files VALUES (?,?,?,?,?,?,?)", rows)
    for _ in range(2):
        with ScanStore(tmp_path / "scan.sqlite") as store:
            found = [store.trusted_digest(str(path), stat) for path, stat in zip(paths, stats, strict=True)]
            assert found == ["a" * 64, "b" * 64, None]
    with contextlib.closing(sqlite3.connect(tmp_path / "scan.sqlite")) as earlier, earlier:  # or one that still runs
        earlier.execute("INSERT INTO files VALUES (?,?,?,?,?,?,?)", (*keys[0], seen[0], "d" * 64))
    with ScanStore(tmp_path / "scan.sqlite") as store:
        assert store.trusted_digest(str(paths[0]), stats[0]) == "d" * 64
        assert store.trusted_digest(str(paths[1]), stats[1]) == "b" * 64


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("digest", text) for text in ("x" * 64, "a" * 63, "", b"a" * 64)),
        *(("size", value) for value in (None, "many", 2.5, b"x")),
        *(("inode", value) for value in (None, "one")),
        ("path", "text"),
    ],
)
def test_a_damaged_row_of_an_earlier_release_is_left_out(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    stat = path.stat()
    row = {"path": os.fsencode(path), "size": 1, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}
    row |= {"inode": stat.st_ino, "seen_ns": stat.st_mtime_ns + RECENT_NS, "digest": "a" * 64}
    sound = {**row, "path": os.fsencode(tmp_path / "b")}
    with contextlib.closing(sqlite3.connect(tmp_path / "scan.sqlite")) as earlier, earlier:
        earlier.executescript(EARLIER)
        for one in ({**row, column: value}, sound):
            earlier.execute("INSERT INTO files VALUES (?,?,?,?,?,?,?)", tuple(one.values()))
    with ScanStore(tmp_path / "scan.sqlite") as store:
        assert store.trusted_digest(str(path), stat) is None
        assert store.trusted_digest(str(tmp_path / "b"), stat) == "a" * 64


def test_a_file_of_any_inode_is_known_again(store: ScanStore) -> None:
    """Some file systems use all 64 bits, which SQLite's integers do not."""
    facts = {"st_size": 5, "st_mtime_ns": 1, "st_ctime_ns": 1}
    stat, other = (cast(os.stat_result, SimpleNamespace(**facts, st_ino=inode)) for inode in (2**64 - 2, 2**63 - 2))
    store.put([("a", stat, "a" * 64)], settled=True)
    assert store.trusted_digest("a", stat) == "a" * 64
    assert store.trusted_digest("a", other) is None


def test_many_inspections_at_once_are_those_of_each(store: ScanStore) -> None:
    records = [(f"{i:064x}", f"inspector-{i % 2}", f'{{"i": {i}}}') for i in range(1300)]
    store.put([], records)
    digests = [digest for digest, _, _ in records] + ["unknown"]
    alone = {digest: record for digest in digests if (record := store.inspection(digest, "inspector-1"))}
    assert store.inspections(digests, "inspector-1") == alone and len(alone) == 650
    assert store.inspections([], "inspector-1") == {}


def test_a_recent_file_is_not_trusted(tmp_path: Path, store: ScanStore) -> None:
    path = tmp_path / "new"
    path.write_bytes(b"1")
    stat = path.stat()
    store.put([(str(path), stat, "a" * 64)], begun_ns=stat.st_mtime_ns + RECENT_NS - 1)
    assert not store.trusted([str(path)], stats_of([stat]))[1].any()


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
