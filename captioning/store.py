"""Captions kept by image digest and captioner fingerprint, so that none is made twice. Losing them costs only time."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from captioning.captioner import Caption, Captioner, Photo

SCHEMA = """
CREATE TABLE IF NOT EXISTS captions (
    fingerprint TEXT, digest TEXT, text TEXT NOT NULL, PRIMARY KEY (fingerprint, digest)) WITHOUT ROWID;
"""

DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
ASKED_AT_ONCE = 500  # digests in one query; SQLite may be built for 999
PATIENCE = 60.0  # seconds to wait for another process's transaction


def open_database(path: Path | None, schema: str) -> sqlite3.Connection:
    """Open or make the SQLite file at `path`, with the tables of `schema`; in memory if None.

    A damaged file is moved to `<name>.damaged` with a warning, and begun anew. Other troubles, such as a folder that
    cannot be written to, raise sqlite3.OperationalError. Use from several threads is left to the caller's lock.
    """
    try:
        return _open(path, schema)
    except sqlite3.DatabaseError as error:
        if path is None or error.sqlite_errorcode & 0xFF not in DAMAGE:
            raise
        logging.getLogger(__name__).warning("%s is damaged (%s): moved to %s.damaged, begun anew", path, error, path)
        for suffix in ("-journal", "-wal", "-shm", ""):  # the file last: its journals would be taken for the new one's
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(path.with_name(path.name + ".damaged" + suffix))
    return _open(path, schema)


def _open(path: Path | None, schema: str) -> sqlite3.Connection:
    # The rollback journal and not a write-ahead log, which needs memory shared by all readers: network disks have none.
    connection = sqlite3.connect(path or ":memory:", timeout=PATIENCE, check_same_thread=False)
    try:
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            error = sqlite3.DatabaseError(found)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


class CaptionStore:
    """Captions of earlier runs: (image digest, captioner fingerprint) -> text. Safe to use from several threads."""

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
                found.update(self._connection.execute(query, (fingerprint, *some)).fetchall())
        return found

    def put(self, items: Iterable[tuple[str, str]], fingerprint: str) -> None:
        """Keep (digest, text) pairs in one transaction: after a crash all of them are there, or none."""
        rows = [(fingerprint, digest, text) for digest, text in items]
        with self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO captions VALUES (?,?,?)", rows)

    def count(self) -> int:
        """Captions in the store, of all captioners."""
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM captions").fetchone()[0])


def fingerprint(captioner: Captioner) -> str:
    """16 hex digits for all that decides the captioner's sentences beside the image: name, version and settings."""
    facts = {"name": captioner.name, "version": captioner.version, "settings": captioner.settings()}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def caption_all(
    captioner: Captioner,
    photos: Sequence[Photo],
    store: CaptionStore,
    batch: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Caption]:
    """The caption of every photo, by digest.

    What a `stored` captioner has captioned before comes from the store; the rest is made, `batch` photos at a time, and
    each batch is kept as soon as it is made. `progress(done, total)` counts the images to be made, after each batch.

    Photos of one digest are one image under several names: they are tried in the names' order until one of them has a
    text; if none has, the first one's problem is the image's.
    """
    names: dict[str, list[Photo]] = {}
    for photo in sorted(photos, key=lambda photo: (photo.name, photo.folder)):
        names.setdefault(photo.digest, []).append(photo)
    key = fingerprint(captioner)
    made = {d: Caption(text) for d, text in store.get(names, key).items()} if captioner.stored else {}
    queue = deque(namesakes for digest, namesakes in names.items() if digest not in made)
    total = len(queue)
    while queue:
        some = [queue.popleft() for _ in range(min(batch, len(queue)))]
        captions = captioner.caption([namesakes[0] for namesakes in some])
        texts = []
        for (photo, *others), caption in zip(some, captions, strict=True):
            if not caption.problem:
                made[photo.digest] = caption
                texts.append((photo.digest, caption.text))
                continue
            made.setdefault(photo.digest, caption)  # not over the problem that its first name had
            if others:
                queue.append(others)
        if captioner.stored:
            store.put(texts, key)
        if progress:
            progress(total - len(queue), total)
    return {digest: made[digest] for digest in names}
