"""What earlier scans found, in one SQLite file: digests by path and stat, inspections by digest. A cache: losing it
costs time and nothing else. Addresses are kept without secrets: a renewed signature finds what an earlier one left.

A local file is one row of bytes (`FILE`), which a scan of many reads into columns at once. It ends in a sum of itself
and of the path, for SQLite notices no bit that flipped in one; other tables have theirs in their texts (`seal`).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.database import open_database, seal, unseal
from patina.pipeline.redaction import holds_secret, without_secrets

SCHEMA = """
CREATE TABLE IF NOT EXISTS local (path BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kinds (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS remote (path TEXT PRIMARY KEY, tag TEXT, size INTEGER, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inspections (
    digest TEXT, inspector TEXT, record TEXT NOT NULL, PRIMARY KEY (digest, inspector)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pairs (
    gt TEXT, lq TEXT, inspector TEXT, record TEXT NOT NULL, PRIMARY KEY (gt, lq, inspector)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (
    first TEXT, second TEXT, matcher TEXT, record TEXT NOT NULL, PRIMARY KEY (first, second, matcher)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sums (shard TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS problems (
    model TEXT, content TEXT, name TEXT, reason TEXT NOT NULL, PRIMARY KEY (model, content, name)) WITHOUT ROWID;
"""
"""A column is never changed, added or taken away: every release that finds other columns begins the file anew. What is
new gets a table of its own."""

STAT = np.dtype([("size", "<i8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8"), ("inode", "<u8")])
"""What of a file's stat changes when it is written to, or replaced."""

FILE = np.dtype(
    [("stat", STAT), ("seen_ns", "<i8"), ("digest", "u1", 32), ("kind", "<u8"), ("own", "V32"), ("sum", "<u4")]
)
"""A local file: its stat and the time when it had that stat; the SHA-256 of its bytes; and what an inspection found, as
far as it is as short as that: `kind`, the number of a text that many files share, and 32 bytes of its `own`. A kind of
0: nothing is said of an inspection here."""

ASKED_AT_ONCE = 500
"""Files or digests in one query; SQLite may be built for 999."""

RECENT_NS = 2_000_000_000
"""Two seconds: the coarsest clock of a file system in use (FAT). A file written that shortly before it was read may
have been written again within the same tick, so its stat proves nothing."""


class ScanStore:
    """Digests and inspections of earlier runs. Safe to read from several threads."""

    def __init__(self, path: Path | None) -> None:
        """Open or make the file at `path`; in memory if None. A damaged file is put aside and begun anew."""
        self._lock = threading.Lock()
        self._connection = open_database(path, SCHEMA)
        self._forget_secrets()
        with suppress(sqlite3.OperationalError):  # of a disk that can only be read: its files are read again
            self._take_over()

    def _take_over(self) -> None:
        """Move the digests that an earlier release kept in a table of its own into today's. The table stays: a process
        of that release may be running, and goes on with it."""
        there = "SELECT 1 FROM sqlite_master WHERE type='table' AND name='files'"
        if not self._connection.execute(there).fetchone():
            return
        if not self._connection.execute("SELECT 1 FROM files LIMIT 1").fetchone():
            return
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            rows = self._connection.execute("SELECT * FROM files").fetchall()
            self._connection.executemany("INSERT OR REPLACE INTO local VALUES (?,?)", _as_now(rows))
            self._connection.execute("DELETE FROM files")

    def _forget_secrets(self) -> None:
        """Take out what an earlier release kept under addresses with secrets, so that no byte of it stays."""
        told = self._connection.execute("SELECT path FROM remote WHERE path LIKE '%@%' OR path LIKE '%=%'").fetchall()
        stale = [(path,) for (path,) in told if holds_secret(path)]
        if stale:
            self._connection.execute("PRAGMA secure_delete = ON")
            with self._connection:
                self._connection.executemany("DELETE FROM remote WHERE path=?", stale)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> ScanStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[object, ...] | None:
        with self._lock:
            row: tuple[object, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def trusted_digest(self, path: str, stat: os.stat_result) -> str | None:
        """The stored digest of the file, if its stat is as stored and was not too recent then; else None."""
        rows, is_trusted = self.trusted([path], stats_of([stat]))
        return rows["digest"][0].tobytes().hex() if is_trusted[0] else None

    def trusted(self, paths: Sequence[str], stats: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Of many files at once what is stored of each, N of FILE, and which of them are trusted: whose stat, of N of
        STAT, is as stored and was not too recent then. The rows of others hold anything."""
        keys = list(map(os.fsencode, paths))
        known: dict[bytes, bytes] = dict(self._many("SELECT path, row FROM local WHERE path IN", keys))
        nothing = bytes(FILE.itemsize)
        found = [r if isinstance(r, bytes) and len(r) == len(nothing) else nothing for r in map(known.get, keys)]
        rows = np.frombuffer(b"".join(found), FILE)
        sums = [zlib.crc32(row[:-4], zlib.crc32(key)) for key, row in zip(keys, found, strict=True)]
        last = np.maximum(stats["mtime_ns"], stats["ctime_ns"])
        is_as_stored = (rows["stat"] == stats) & (rows["sum"] == np.array(sums, np.uint32))
        return rows, is_as_stored & (rows["seen_ns"] - last >= RECENT_NS)

    def kinds(self) -> dict[int, str]:
        """The texts of all kinds of files, by number."""
        with self._lock:
            rows = self._connection.execute("SELECT id, text FROM kinds").fetchall()
        texts = [(number, text) for number, text in rows if isinstance(number, int) and isinstance(text, str)]
        return {number % 2**64: text for number, text in texts if kind_number(text) == number % 2**64}

    def inspections(self, digests: Iterable[str], inspector: str) -> dict[str, str]:
        """As `inspection`, of many digests at once: their records by digest."""
        wanted = list(dict.fromkeys(digests))
        rows = self._many("SELECT digest, record FROM inspections WHERE inspector=? AND digest IN", wanted, inspector)
        records = {digest: unseal(record, digest, inspector) for digest, record in rows}
        return {digest: record for digest, record in records.items() if record is not None}

    def _many(self, query: str, values: Sequence[object], *first: object) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(values), ASKED_AT_ONCE):
            some = values[start : start + ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._lock:
                rows += self._connection.execute(f"{query} ({marks})", (*first, *some)).fetchall()
        return rows

    def remote_digest(self, path: str, tag: str, size: int) -> str | None:
        """The stored digest of a remote file, if its tag and size are as stored; never without a tag."""
        query, path = "SELECT digest FROM remote WHERE path=? AND tag=? AND size=?", without_secrets(path)
        row = self._one(query, (path, tag, size)) if tag else None
        return None if row is None else unseal(row[0], path, tag, size)

    def put_remote(self, files: Iterable[tuple[str, str, int, str]]) -> None:
        """Keep digests of remote files: (path, tag, size, digest)."""
        keys = [((without_secrets(path), tag, size), digest) for path, tag, size, digest in files]
        rows = [(*key, seal(digest, *key)) for key, digest in keys]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO remote VALUES (?,?,?,?)", rows)

    def inspection(self, digest: str, inspector: str) -> str | None:
        """The record of an inspection, if this inspector has looked at these bytes before."""
        row = self._one("SELECT record FROM inspections WHERE digest=? AND inspector=?", (digest, inspector))
        return None if row is None else unseal(row[0], digest, inspector)

    def pair(self, gt: str, lq: str, inspector: str) -> str | None:
        """The record of a pair's check, by the digests of both files."""
        row = self._one("SELECT record FROM pairs WHERE gt=? AND lq=? AND inspector=?", (gt, lq, inspector))
        return None if row is None else unseal(row[0], gt, lq, inspector)

    def verdict(self, first: str, second: str, matcher: str) -> str | None:
        """The record of two clean images' comparison, by their digests, the lesser one first."""
        query = "SELECT record FROM verdicts WHERE first=? AND second=? AND matcher=?"
        row = self._one(query, (first, second, matcher))
        return None if row is None else unseal(row[0], first, second, matcher)

    def put(
        self,
        files: Iterable[tuple[str, os.stat_result, str]],
        inspections: Iterable[tuple[str, str, str]] = (),
        looks: Mapping[str, tuple[str, bytes]] | None = None,
        *,
        begun_ns: int | None = None,
        settled: bool = False,
    ) -> None:
        """Keep digests (path, stat, digest) and inspections (digest, inspector, record), in one transaction.

        `looks`: by digest an inspection in short, the text of its kind and 32 bytes; kept beside the file's digest.
        `begun_ns`: the time before the first of the files was read; they may have been written again since. None: now.
        `settled`: the files are our own and nobody else writes them, so they count as old enough to be trusted.
        """
        now = time.time_ns()  # which is the earlier of the two where a clock was set back
        seen = min(now, now if begun_ns is None else begun_ns) + (RECENT_NS if settled else 0)
        files, looks = list(files), looks or {}
        rows = np.zeros(len(files), FILE)
        rows["seen_ns"] = seen
        if files:
            rows["stat"] = stats_of([stat for _, stat, _ in files])
            digests = bytes.fromhex("".join(digest for *_, digest in files))
            rows["digest"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
        short = [(i, *looks[digest]) for i, (*_, digest) in enumerate(files) if digest in looks]
        for i, kind, own in short:
            rows["kind"][i], rows["own"][i] = kind_number(kind), np.void(own)
        self.put_rows([path for path, *_ in files], rows, {kind for _, kind, _ in short}, inspections)

    def put_rows(
        self,
        paths: Sequence[str],
        rows: NDArray[Any],
        kinds: Iterable[str] = (),
        inspections: Iterable[tuple[str, str, str]] = (),
    ) -> None:
        """Keep rows of FILE, whose sums are reckoned here, with the texts of their kinds; and inspections as `put`."""
        size, data = FILE.itemsize, rows.tobytes()
        parts = [data[start : start + size - 4] for start in range(0, len(data), size)]
        sealed = [_sealed(os.fsencode(path), part) for path, part in zip(paths, parts, strict=True)]
        records = [(*names, seal(record, *names)) for *names, record in inspections]
        texts = [(_signed(kind_number(kind)), kind) for kind in kinds]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO kinds VALUES (?,?)", texts)
            self._connection.executemany("INSERT OR REPLACE INTO local VALUES (?,?)", sealed)
            self._connection.executemany("INSERT OR REPLACE INTO inspections VALUES (?,?,?)", records)

    def put_pairs(self, records: Iterable[tuple[str, str, str, str]]) -> None:
        """Keep the records of pairs: (gt, lq, inspector, record)."""
        rows = [(*names, seal(record, *names)) for *names, record in records]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO pairs VALUES (?,?,?,?)", rows)

    def put_verdicts(self, records: Iterable[tuple[str, str, str, str]]) -> None:
        """Keep the records of comparisons: (first, second, matcher), the lesser digest first, and the record."""
        rows = [(*names, seal(record, *names)) for *names, record in records]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?,?,?,?)", rows)

    def sums(self, shard: str) -> Sequence[int]:
        """CRC-32 of each sample's bytes in the shard of that SHA-256, in their order; empty if nobody remembers."""
        row = self._one("SELECT record FROM sums WHERE shard=?", (shard,))
        record = None if row is None else unseal(row[0], shard)
        return [int(record[i : i + 8], 16) for i in range(0, len(record), 8)] if record else []

    def put_sums(self, sums: Mapping[str, Iterable[int]], keep: Collection[str]) -> None:
        """Keep the sums of shards by their SHA-256, and forget those of shards that are not among `keep`."""
        records = {shard: "".join(f"{one:08x}" for one in some) for shard, some in sums.items()}
        rows = [(shard, seal(record, shard)) for shard, record in records.items()]
        with self._lock, self._connection:
            there = [shard for (shard,) in self._connection.execute("SELECT shard FROM sums")]
            gone = [(shard,) for shard in there if shard not in keep]
            self._connection.executemany("DELETE FROM sums WHERE shard=?", gone)
            self._connection.executemany("INSERT OR REPLACE INTO sums VALUES (?,?)", rows)

    def problems(self) -> dict[tuple[str, str, str], str]:
        """Why models could not caption or judge images: (model's fingerprint, content, name) -> reason."""
        with self._lock:
            rows = self._connection.execute("SELECT model, content, name, reason FROM problems").fetchall()
        reasons = {tuple(names): unseal(reason, *names) for *names, reason in rows}
        return {(m, content, name): reason for (m, content, name), reason in reasons.items() if reason is not None}

    def put_problems(self, problems: Iterable[tuple[str, str, str, str]]) -> None:
        """Keep such reasons: (model's fingerprint, content, name, reason)."""
        rows = [(*names, seal(reason, *names)) for *names, reason in problems]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO problems VALUES (?,?,?,?)", rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop the digests of these files, so that they are read again."""
        paths = list(paths)
        with self._lock, self._connection:
            self._connection.executemany("DELETE FROM local WHERE path=?", [(os.fsencode(p),) for p in paths])
            self._connection.executemany("DELETE FROM remote WHERE path=?", [(without_secrets(p),) for p in paths])


def stats_of(stats: Sequence[os.stat_result]) -> NDArray[Any]:
    """N of STAT."""
    return np.array([(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in stats], STAT)


def kind_number(text: str) -> int:
    """The number of a kind, which follows from its text: the same in every process, and a sum of it."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")


def _sealed(path: bytes, row: bytes) -> tuple[bytes, bytes]:
    """A path and its row of FILE, which ends in a sum of both."""
    return path, row + zlib.crc32(row, zlib.crc32(path)).to_bytes(4, "little")


def _as_now(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[bytes, bytes]]:
    """Rows of the table `files` of an earlier release, each with a sum in its last text, as those of today; without
    those that are damaged: their files are read again."""
    for path, *numbers, sealed in rows:
        row = np.zeros((), FILE)
        try:
            key = bytes(path)
            digest = unseal(str(sealed), key, *numbers)
            if digest is None or len(digest) != 64:
                continue
            size, mtime_ns, ctime_ns, inode, row["seen_ns"] = numbers
            row["stat"] = (size, mtime_ns, ctime_ns, inode % 2**64)
            row["digest"] = np.frombuffer(bytes.fromhex(digest), np.uint8)
        except (ValueError, TypeError, OverflowError):
            continue
        yield _sealed(key, row.tobytes()[:-4])


def _signed(number: int) -> int:
    """SQLite's integers are signed."""
    return number - 2**64 if number >= 2**63 else number
