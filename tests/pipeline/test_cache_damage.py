"""A cache in which a bit flipped, or that another release wrote, costs time: it is not believed, and stops nothing.

SQLite notices neither a row's value that became one of another type nor a column that is called otherwise."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from patina.pipeline.cache import captions, scans
from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.cache.database import damage_of
from patina.pipeline.cache.scans import ScanStore, stats_of
from patina.pipeline.codec.installed import known_fingerprint
from patina.pipeline.scan.digests import INSPECTION, _kind_of, _known_info
from patina.pipeline.scan.source import ImageInfo

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


def test_a_text_that_was_a_score_of_an_earlier_release_is_not_believed(tmp_path: Path) -> None:
    """A plain number is; a flipped bit may have made a text of it, which is no number any more."""
    with CaptionStore(tmp_path / "captions.sqlite") as store:
        store.put_scores([(("d", "a dog"), 0.5)], "me")
        for found in (0.1, 0.75, 1e-300):
            store._connection.execute("UPDATE scores SET score = ?", (found,))
            assert store.get_scores([("d", "a dog")], "me") == {("d", "a dog"): found}
        store._connection.execute("UPDATE scores SET score = '?'")
        assert store.get_scores([("d", "a dog")], "me") == {}


SCHEMAS = {ScanStore: scans.SCHEMA, CaptionStore: captions.SCHEMA}
VERSIONS = [8 * byte + bit for byte in (18, 19, 44, 45, 46, 47) for bit in (0, 2, 7)]
"""Bits of the header's versions of the format: SQLite tells damage of few of these."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("bits", [VERSIONS, pytest.param(range(800), marks=pytest.mark.slow)], ids=["versions", "all"])
def test_a_flipped_bit_in_the_header_stops_nothing(tmp_path: Path, kind: type, bits: Sequence[int]) -> None:
    """Either all that was known is found, or the file is put aside; a check says which before."""
    path, aside = tmp_path / "store", tmp_path / "store.damaged"

    def tell(word: str) -> None:
        store._connection.execute("PRAGMA synchronous = OFF")
        if isinstance(store, CaptionStore):
            store.put([(word, "text")], "me")
        else:
            store.put_pairs([(word, "lq", "me", "text")])

    def knows(word: str) -> bool:
        if isinstance(store, CaptionStore):
            return store.get([word], "me") == {word: "text"}
        return bool(store.pair(word, "lq", "me") == "text")

    with kind(path) as store:
        tell("before")
    sound = path.read_bytes()
    put_aside = 0
    for bit in bits:
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        aside.unlink(missing_ok=True)
        told = damage_of(path, SCHEMAS[kind])
        assert path.read_bytes() == data and {*tmp_path.iterdir()} == {path}
        with kind(path) as store:
            tell("after")
            assert knows("after")
            assert knows("before") == (not aside.exists()) == (not told), (bit, told)
        put_aside += aside.exists()
    assert 6 <= put_aside < len(bits)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_store_that_can_only_be_read_is_not_damaged(tmp_path: Path) -> None:
    """SQLite says of both that they can only be read."""
    path = tmp_path / "captions.sqlite"
    with CaptionStore(path) as store:
        store.put([("d", "a dog")], "me")
    path.chmod(0o400)
    assert damage_of(path, captions.SCHEMA) == ""
    with CaptionStore(path) as store:
        assert store.get(["d"], "me") == {"d": "a dog"}
    assert [*tmp_path.iterdir()] == [path]


def test_a_store_that_another_process_writes_is_not_damaged(tmp_path: Path) -> None:
    """Opening it does not wait for the other's transaction."""
    path = tmp_path / "captions.sqlite"
    with CaptionStore(path) as store:
        store.put([("d", "a dog")], "me")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert damage_of(path, captions.SCHEMA) == ""
        with CaptionStore(path) as store:
            assert store.get(["d"], "me") == {"d": "a dog"}


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
        (told,) = caplog.messages
        assert "is damaged (" in told or "has other columns than this release writes, in its table " in told
        open_store(path).close()
        assert len(caplog.messages) == 1


@pytest.mark.parametrize("sql", ["ALTER TABLE captions ADD COLUMN more TEXT", "ALTER TABLE scores RENAME score TO at"])
def test_a_table_of_another_release_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, sql: str) -> None:
    """Reading and writing it would fail in the middle of a build. Nothing is lost: the file lies beside the new one. A
    check tells of it before."""
    path = tmp_path / "captions.sqlite"
    CaptionStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as later, later:
        later.execute(sql)
        later.execute("INSERT INTO origins VALUES ('f', 'o')")
    told = damage_of(path, captions.SCHEMA)
    assert told.startswith("has other columns than this release writes, in its table ")
    with caplog.at_level(logging.WARNING), CaptionStore(path) as store:
        store.put([("d", "a dog")], "me")
        assert store.get(["d"], "me") == {"d": "a dog"}
    assert caplog.messages == [f"{path} {told}: moved to {path}.damaged, begun anew"]
    assert damage_of(path, captions.SCHEMA) == ""
    with contextlib.closing(sqlite3.connect(tmp_path / "captions.sqlite.damaged")) as aside:
        assert aside.execute("SELECT * FROM origins").fetchall() == [("f", "o")]


def test_a_store_with_fewer_or_more_tables_is_taken_as_it_is(tmp_path: Path) -> None:
    """As an earlier release left it, or a later one."""
    path = tmp_path / "captions.sqlite"
    with CaptionStore(path) as store:
        store.put([("d", "a dog")], "me")
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TABLE scores")
        other.execute("CREATE TABLE later (what TEXT)")
    assert damage_of(path, captions.SCHEMA) == ""
    with CaptionStore(path) as store:
        assert store.get(["d"], "me") == {"d": "a dog"} and store.get_scores([("d", "a dog")], "me") == {}
    assert [*tmp_path.iterdir()] == [path]


def test_an_inspection_of_another_release_is_made_again() -> None:
    """One that knew more of a photograph, or less, than this release asks for."""
    store = ScanStore(None)
    inspector = f"{INSPECTION}-{known_fingerprint()}"
    for facts in ('{"later": 1, "mean": [0,0,0], "lost": [], "suffix": "png"}', "{}", "[]", "7", "{"):
        store.put([], [("a" * 64, inspector, facts)])
        assert _known_info(store, "a" * 64) is None
        assert _kind_of(f'["{inspector}", {facts}]') is None


@pytest.mark.parametrize("name", ["mean", "lost", "suffix"])
def test_an_inspection_that_lacks_a_fact_is_made_again(name: str) -> None:
    """No default stands for what was not found."""
    store = ScanStore(None)
    info = ImageInfo("", 4, 3, "png", (1.0, 2.0, 3.0), "0" * 16)
    facts = json.loads(json.dumps(asdict(info)))
    store.put([], [("a" * 64, f"{INSPECTION}-{known_fingerprint()}", json.dumps(facts))])
    assert _known_info(store, "a" * 64) == info
    del facts[name]
    store.put([], [("b" * 64, f"{INSPECTION}-{known_fingerprint()}", json.dumps(facts))])
    assert _known_info(store, "b" * 64) is None
