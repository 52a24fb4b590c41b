"""What earlier scans found, in one SQLite file: digests by path and stat, inspections by digest. A cache: losing it
costs time and nothing else. Addresses are kept without secrets: a renewed signature finds what an earlier one left.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from patina.pipeline.cache.database import open_database, seal, unseal
from patina.pipeline.redaction import holds_secret, without_secrets

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER,
    seen_ns INTEGER, digest TEXT NOT NULL) WITHOUT ROWID;
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
        key = _key(path, stat)
        row = self._one(
            "SELECT digest, seen_ns FROM files WHERE path=? AND size=? AND mtime_ns=? AND ctime_ns=? AND inode=?", key
        )
        if row is None or int(str(row[1])) - max(stat.st_mtime_ns, stat.st_ctime_ns) < RECENT_NS:
            return None
        return unseal(str(row[0]), *key, row[1])

    def trusted_digests(self, files: Sequence[tuple[str, os.stat_result]]) -> dict[str, str]:
        """As `trusted_digest`, of many files at once: by path, of those that are trusted."""
        keys = {path: _key(path, stat) for path, stat in files}
        rows = self._many("SELECT * FROM files WHERE path IN", [key[0] for key in keys.values()])
        known = {bytes(row[0]): row for row in rows}
        found = {}
        for path, stat in files:
            row = known.get(keys[path][0])
            if row is None or tuple(row[:5]) != keys[path]:
                continue
            if row[5] - max(stat.st_mtime_ns, stat.st_ctime_ns) >= RECENT_NS:
                digest = unseal(str(row[6]), *keys[path], row[5])
                if digest is not None:
                    found[path] = digest
        return found

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
        return None if row is None else unseal(str(row[0]), path, tag, size)

    def put_remote(self, files: Iterable[tuple[str, str, int, str]]) -> None:
        """Keep digests of remote files: (path, tag, size, digest)."""
        keys = [((without_secrets(path), tag, size), digest) for path, tag, size, digest in files]
        rows = [(*key, seal(digest, *key)) for key, digest in keys]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO remote VALUES (?,?,?,?)", rows)

    def inspection(self, digest: str, inspector: str) -> str | None:
        """The record of an inspection, if this inspector has looked at these bytes before."""
        row = self._one("SELECT record FROM inspections WHERE digest=? AND inspector=?", (digest, inspector))
        return None if row is None else unseal(str(row[0]), digest, inspector)

    def pair(self, gt: str, lq: str, inspector: str) -> str | None:
        """The record of a pair's check, by the digests of both files."""
        row = self._one("SELECT record FROM pairs WHERE gt=? AND lq=? AND inspector=?", (gt, lq, inspector))
        return None if row is None else unseal(str(row[0]), gt, lq, inspector)

    def verdict(self, first: str, second: str, matcher: str) -> str | None:
        """The record of two clean images' comparison, by their digests, the lesser one first."""
        query = "SELECT record FROM verdicts WHERE first=? AND second=? AND matcher=?"
        row = self._one(query, (first, second, matcher))
        return None if row is None else unseal(str(row[0]), first, second, matcher)

    def put(
        self,
        files: Iterable[tuple[str, os.stat_result, str]],
        inspections: Iterable[tuple[str, str, str]] = (),
        *,
        begun_ns: int | None = None,
        settled: bool = False,
    ) -> None:
        """Keep digests (path, stat, digest) and inspections (digest, inspector, record), in one transaction.

        `begun_ns`: the time before the first of the files was read; they may have been written again since. None: now.
        `settled`: the files are our own and nobody else writes them, so they count as old enough to be trusted.
        """
        now = time.time_ns()  # which is the earlier of the two where a clock was set back
        seen = min(now, now if begun_ns is None else begun_ns) + (RECENT_NS if settled else 0)
        rows = [(*(key := _key(path, stat)), seen, seal(digest, *key, seen)) for path, stat, digest in files]
        records = [(*names, seal(record, *names)) for *names, record in inspections]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?)", rows)
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
        record = None if row is None else unseal(str(row[0]), shard)
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
            self._connection.executemany("DELETE FROM files WHERE path=?", [(os.fsencode(p),) for p in paths])
            self._connection.executemany("DELETE FROM remote WHERE path=?", [(without_secrets(p),) for p in paths])


def _key(path: str, stat: os.stat_result) -> tuple[bytes, int, int, int, int]:
    return os.fsencode(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, _signed(stat.st_ino)


def _signed(inode: int) -> int:
    """SQLite's integers are signed; some file systems use all 64 bits."""
    return inode - 2**64 if inode >= 2**63 else inode
