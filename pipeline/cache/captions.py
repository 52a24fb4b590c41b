"""Captions, and how well they fit, by image digest and the fingerprint of the model. Losing them costs only time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from patina.pipeline.cache.database import SEAL, open_database, seal, unseal

SCHEMA = """
CREATE TABLE IF NOT EXISTS captions (
    fingerprint TEXT, digest TEXT, text TEXT NOT NULL, PRIMARY KEY (fingerprint, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scores (
    fingerprint TEXT, digest TEXT, text TEXT, score REAL NOT NULL, PRIMARY KEY (fingerprint, digest, text))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origins (fingerprint TEXT PRIMARY KEY, origin TEXT NOT NULL) WITHOUT ROWID;
"""
"""A column is never changed, added or taken away: every release that finds other columns begins the file anew. What is
new gets a table of its own."""

ASKED_AT_ONCE = 500  # digests in one query; SQLite may be built for 999


class CaptionStore:
    """What models said in earlier runs. Safe to use from several threads.

    (image digest, captioner's fingerprint) -> text; (image digest, text, scorer's fingerprint) -> score; captioner's
    fingerprint -> the commit that its model was at first.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or make the file at `path`; in memory if None. A damaged file is put aside and begun anew."""
        self._lock = threading.Lock()
        self._connection = open_database(path, SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> CaptionStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def get(self, digests: Iterable[str], fingerprint: str) -> dict[str, str]:
        """Digest -> text, of those `digests` that the captioner of this fingerprint has captioned."""
        wanted = list(dict.fromkeys(digests))
        found: dict[str, str] = {}
        for start in range(0, len(wanted), ASKED_AT_ONCE):
            some = wanted[start : start + ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT digest, text FROM captions WHERE fingerprint=? AND digest IN ({marks})"
            with self._lock:
                rows = self._connection.execute(query, (fingerprint, *some)).fetchall()
            texts = {digest: unseal(text, fingerprint, digest) for digest, text in rows}
            found |= {digest: text for digest, text in texts.items() if text is not None}
        return found

    def put(self, items: Iterable[tuple[str, str]], fingerprint: str) -> None:
        """Keep (digest, text) pairs in one transaction: after a crash all of them are there, or none."""
        rows = [(fingerprint, digest, text and seal(text, fingerprint, digest)) for digest, text in items]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO captions VALUES (?,?,?)", rows)

    def get_scores(self, items: Iterable[tuple[str, str]], fingerprint: str) -> dict[tuple[str, str], float]:
        """(Digest, text) -> score, of those `items` that the scorer of this fingerprint has compared."""
        wanted = list(dict.fromkeys(items))
        found: dict[tuple[str, str], float] = {}
        half = ASKED_AT_ONCE // 2  # each item is two of the query's values
        for start in range(0, len(wanted), half):
            some = wanted[start : start + half]
            pairs = ",".join(["(?,?)"] * len(some))
            query = f"SELECT digest, text, score FROM scores WHERE fingerprint=? AND (digest, text) IN (VALUES {pairs})"
            values = [value for item in some for value in item]
            with self._lock:
                rows = self._connection.execute(query, (fingerprint, *values)).fetchall()
            for digest, text, sealed in rows:
                if isinstance(sealed, float):  # of an earlier release
                    found[digest, text] = sealed
                elif isinstance(sealed, str) and SEAL in sealed:  # a text without one was never a score
                    score = unseal(sealed, fingerprint, digest, text)
                    found |= {} if score is None else {(digest, text): float(score)}
        return found

    def put_scores(self, items: Iterable[tuple[tuple[str, str], float]], fingerprint: str) -> None:
        """Keep ((digest, text), score) pairs in one transaction: after a crash all of them are there, or none."""
        rows = [(fingerprint, d, text, seal(repr(score), fingerprint, d, text)) for (d, text), score in items]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO scores VALUES (?,?,?,?)", rows)

    def origin(self, fingerprint: str, found: str) -> str:
        """What the model of this fingerprint came from at first: `found`, if it is not known yet."""
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO origins VALUES (?,?)", (fingerprint, found))
            query = "SELECT origin FROM origins WHERE fingerprint=?"
            return str(self._connection.execute(query, (fingerprint,)).fetchone()[0])

    def count(self) -> int:
        """Captions in the store, of all captioners."""
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM captions").fetchone()[0])
