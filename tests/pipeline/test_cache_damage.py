"""A cache in which a bit flipped, or that another release wrote, costs time: it is not believed, and stops nothing.

SQLite notices neither a row's value that became one of another type nor a column that is called otherwise."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.cache.scans import ScanStore, stats_of
from patina.pipeline.codec.installed import known_fingerprint
from patina.pipeline.scan.digests import INSPECTION, _kind_of, _known_info

OTHERS = (b"", bytes(9), bytes(116))
"""What a text may have become, beside its own bytes. SQLite would make texts of numbers."""

VALUES = {
    "local": ("row",),
    "kinds": ("text",),
    "remote": ("tag", "digest"),
    "inspections": ("record",),
    "pairs": ("record",),
    "verdicts": ("record",),
    "sums": ("record",),
    "problems": ("reason", "name"),
}


def _filled(path: Path) -> tuple[Path, ScanStore]:
    file = path / "a"
    file.write_bytes(b"1")
    store = ScanStore(path / "scan.sqlite")
    store.put(
        [(str(file), file.stat(), "a" * 64)], [("a" * 64, "me", "{}")], {"a" * 64: ("kind", bytes(32))}, settled=True
    )
    store.put_remote([("http://x/y", "tag", 3, "b" * 64)])
    store.put_pairs([("g", "l", "me", "sound")])
    store.put_verdicts([("f", "s", "me", "other")])
    store.put_sums({"shard": [1, 2]}, {"shard"})
    store.put_problems([("m", "c", "n", "why")])
    return file, store


def _found(file: Path, store: ScanStore) -> list[object]:
    """All that the store says, or a blank for each thing that it does not."""
    rows, is_trusted = store.trusted([str(file)], stats_of([file.stat()]))
    return [
        rows["digest"][0].tobytes().hex() if is_trusted[0] else None,
        store.kinds() or None,
        store.remote_digest("http://x/y", "tag", 3),
        store.inspection("a" * 64, "me"),
        store.inspections(["a" * 64], "me") or None,
        store.pair("g", "l", "me"),
        store.verdict("f", "s", "me"),
        list(store.sums("shard")) or None,
        store.problems() or None,
    ]


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in VALUES for column in VALUES[table]])
def test_a_value_of_another_type_is_not_believed(tmp_path: Path, table: str, column: str) -> None:
    """What else the store says stays as it was."""
    file, store = _filled(tmp_path)
    truth = _found(file, store)
    assert None not in truth
    (was,) = store._connection.execute(f"SELECT {column} FROM {table}").fetchone()
    for value in [*OTHERS, was.encode()] if isinstance(was, str) else [b"", bytes(116), 7, -1.5, "x" * 116]:
        store._connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        found = _found(file, store)
        lacks = [i for i, one in enumerate(found) if one != truth[i]]
        assert all(found[i] is None for i in lacks) and 1 <= len(lacks) <= 2, (value, found)
    store.close()


def test_a_caption_of_another_type_is_not_believed(tmp_path: Path) -> None:
    """Nor is a score."""
    with CaptionStore(tmp_path / "captions.sqlite") as store:
        store.put([("d", "a dog")], "me")
        store.put_scores([(("d", "a dog"), 0.5)], "me")
        assert store.get(["d"], "me") == {"d": "a dog"} and store.get_scores([("d", "a dog")], "me")
        for value in (b"", b"a dog", bytes(9)):
            store._connection.execute("UPDATE captions SET text = ?", (value,))
            assert store.get(["d"], "me") == {}, value
        for score in (b"", b"0.7", bytes(9)):
            store._connection.execute("UPDATE scores SET score = ?", (score,))
            assert store.get_scores([("d", "a dog")], "me") == {}, score


@pytest.mark.parametrize("open_store", [ScanStore, CaptionStore])
@pytest.mark.parametrize(
    ("was", "became"),
    [(b"TEXT", b"T\xffXT"), (b"digest", b"digesu"), (b"TEXT", b"TEXU"), (b" KEY", b" KEX"), (b" NOT", b"\xa0NOT")],
)
def test_a_flipped_bit_in_the_names_of_columns_is_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, open_store: Callable[[Path], ScanStore], was: bytes, became: bytes
) -> None:
    """Wherever it stands, the file is put aside and begun anew."""
    path = tmp_path / "store.sqlite"
    open_store(path).close()
    sound = path.read_bytes()
    places = [i for i in range(len(sound)) if sound[i : i + len(was)] == was]
    assert len(places) >= 2
    for place in places:
        path.write_bytes(sound[:place] + became + sound[place + len(was) :])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            open_store(path).close()
        assert len(caplog.messages) == 1 and "is damaged" in caplog.messages[0]
        open_store(path).close()
        assert len(caplog.messages) == 1


@pytest.mark.parametrize("sql", ["ALTER TABLE captions ADD COLUMN more TEXT", "ALTER TABLE scores RENAME score TO at"])
def test_a_table_of_another_release_is_put_aside(tmp_path: Path, sql: str) -> None:
    """Reading and writing it would fail in the middle of a build. Nothing is lost: the file lies beside the new one."""
    path = tmp_path / "captions.sqlite"
    CaptionStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as later, later:
        later.execute(sql)
        later.execute("INSERT INTO origins VALUES ('f', 'o')")
    with CaptionStore(path) as store:
        store.put([("d", "a dog")], "me")
        assert store.get(["d"], "me") == {"d": "a dog"}
    with contextlib.closing(sqlite3.connect(tmp_path / "captions.sqlite.damaged")) as aside:
        assert aside.execute("SELECT * FROM origins").fetchall() == [("f", "o")]


def test_an_inspection_of_another_release_is_made_again() -> None:
    """One that knew more of a photograph, or less, than this release asks for."""
    store = ScanStore(None)
    inspector = f"{INSPECTION}-{known_fingerprint()}"
    for facts in ('{"later": 1, "mean": [0,0,0], "lost": [], "suffix": "png"}', "{}", "[]", "7", "{"):
        store.put([], [("a" * 64, inspector, facts)])
        assert _known_info(store, "a" * 64) is None
        assert _kind_of(f'["{inspector}", {facts}]') is None
