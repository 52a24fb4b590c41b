"""Captions, and how well they fit, kept by image digest and the fingerprint of the model, so that none is made twice.

Losing them costs only time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol

from patina.captioning.captioner import Caption, Captioner, Photo, Run

SCHEMA = """
CREATE TABLE IF NOT EXISTS captions (
    fingerprint TEXT, digest TEXT, text TEXT NOT NULL, PRIMARY KEY (fingerprint, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scores (
    fingerprint TEXT, digest TEXT, text TEXT, score REAL NOT NULL, PRIMARY KEY (fingerprint, digest, text))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origins (fingerprint TEXT PRIMARY KEY, origin TEXT NOT NULL) WITHOUT ROWID;
"""

DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SEAL = "\x1e\x1e"
"""Before a row's checksum, at the end of its text: SQLite itself does not notice a bit that flipped in one. A row
without a seal is of an earlier release, and believed."""
ASKED_AT_ONCE = 500  # digests in one query; SQLite may be built for 999
PATIENCE = 60.0  # seconds to wait for another process's transaction


def open_database(path: Path | None, schema: str) -> sqlite3.Connection:
    """Open or make the SQLite file at `path`, with the tables of `schema`; in memory if None.

    A damaged file, or a folder in its place, is moved to `<name>.damaged` with a warning, and begun anew. Other
    troubles, such as a folder that cannot be written to, raise sqlite3.OperationalError. Use from several threads is
    left to the caller's lock.
    """
    try:
        return _open(path, schema)
    except sqlite3.DatabaseError as error:
        if path is None or not (path.is_dir() or error.sqlite_errorcode & 0xFF in DAMAGE):
            raise
        what = "a folder" if path.is_dir() else str(error)
        logging.getLogger(__name__).warning("%s is damaged (%s): moved to %s.damaged, begun anew", path, what, path)
        for suffix in ("-journal", "-wal", "-shm", ""):  # the file last: its journals would be taken for the new one's
            part = path.with_name(path.name + suffix)
            if part.exists():
                aside = path.with_name(path.name + ".damaged" + suffix)
                if aside.is_dir() and not aside.is_symlink():
                    shutil.rmtree(aside)  # an earlier one: nothing replaces a folder that is not empty
                elif part.is_dir():
                    aside.unlink(missing_ok=True)
                part.replace(aside)
    return _open(path, schema)


def damage_of(path: Path) -> str:
    """What is wrong with the SQLite file at `path`, in words; empty if it is sound or not there. Changes nothing."""
    if path.is_dir():
        return "is a folder"
    if not path.exists() or not path.stat().st_size:
        return ""
    try:
        with closing(_read_only(path)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:  # in use or forbidden, which is no damage
        return ""
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})"
    return "" if found == "ok" else f"is damaged ({found})"


def is_blank(path: Path) -> bool:
    """Whether the SQLite file at `path` has not a row in any table; False if it cannot be read. Changes nothing."""
    try:
        with closing(_read_only(path)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            return not any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in names)
    except sqlite3.DatabaseError:
        return False


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=PATIENCE, uri=True)


def seal(text: str, *names: object) -> str:
    """`text` with a checksum of itself and of what it belongs to."""
    return f"{text}{SEAL}{zlib.crc32(repr((names, text)).encode('utf-8', 'surrogatepass')):08x}"


def unseal(sealed: str, *names: object) -> str | None:
    """The text that was sealed; None if it, or what it belongs to, is not what it was."""
    text, found, _ = sealed.rpartition(SEAL)
    if not found:
        return None if SEAL[0] in sealed else sealed
    return text if seal(text, *names) == sealed else None


def _open(path: Path | None, schema: str) -> sqlite3.Connection:
    # The rollback journal and not a write-ahead log, which needs memory shared by all readers: network disks have none.
    try:
        connection = sqlite3.connect(path or ":memory:", timeout=PATIENCE, check_same_thread=False)
    except sqlite3.OperationalError as trouble:
        trouble.args = (f"{path}: {trouble}",)  # SQLite names no file
        raise
    try:
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            error = sqlite3.DatabaseError(found)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        connection.executescript(schema)
        if path and path.with_name(f"{path.name}-journal").exists():
            # A kill left a journal with nothing in it, which SQLite keeps until something is written.
            with suppress(sqlite3.OperationalError):  # a disk that can only be read
                connection.execute("PRAGMA user_version = 0")
        connection.text_factory = _text
    except BaseException:
        connection.close()
        raise
    return connection


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # a flipped bit then breaks the seal, and not the build


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
            for digest, text, sealed in rows:  # a plain number is of an earlier release
                score = unseal(str(sealed), fingerprint, digest, text)
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


class Fingerprinted(Protocol):
    """A captioner or a scorer: a name, a version, and settings as JSON."""

    name: ClassVar[str]
    version: ClassVar[int]

    def settings(self) -> dict[str, Any]:
        """All that decides what it says beside the image."""
        ...


class Scorer(Fingerprinted, Protocol):
    """Says how well sentences fit images: `clip_score.ClipScore`, or its double."""

    def prepare(self, run: Run) -> None:
        """Make ready for `stream`. Raises CaptionError, before any work, if it cannot run here."""
        ...

    def stream(self, items: Sequence[tuple[Photo, str]], run: Run) -> Generator[list[tuple[int, float | str]]]:
        """Scores, or problems in words, with the index of their item; batches in any order."""
        ...

    def release(self) -> None:
        """Give back the memory that it took."""
        ...


def fingerprint(model: Fingerprinted) -> str:
    """16 hex digits for all that decides what a captioner or scorer says beside the image: name, version, settings."""
    facts = {"name": model.name, "version": model.version, "settings": model.settings()}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def caption_all(
    captioner: Captioner,
    photos: Sequence[Photo],
    store: CaptionStore,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Caption]:
    """The caption of every photo, by digest.

    What a `stored` captioner has captioned before comes from the store; the rest is made as `run` says, and each batch
    is kept as soon as it is made: an interruption loses what is in flight. `progress(done, total)` counts the images to
    be made, after each batch. Raises CaptionError, before any work, if the captioner cannot run here.

    Photos of one digest are one image under several names: they are tried in the names' order until one of them has a
    text; if none has, the first one's problem is the image's.
    """
    run = run or Run()
    names: dict[str, deque[Photo]] = {}
    for photo in sorted(photos, key=lambda photo: (photo.name, photo.folder)):
        names.setdefault(photo.digest, deque()).append(photo)
    key = fingerprint(captioner)
    made = {d: Caption(text) for d, text in store.get(names, key).items()} if captioner.stored else {}
    queue = [digest for digest in names if digest not in made]
    done, total = 0, len(queue)
    try:
        if queue:
            captioner.prepare(run)
            if captioner.stored:
                _compare_origins(captioner, store, key)
        while queue:
            asked = [names[digest].popleft() for digest in queue]
            again = []
            with closing(captioner.stream(asked, run)) as batches:
                for batch in batches:
                    texts = []
                    for i, caption in batch:
                        digest = asked[i].digest
                        if not caption.problem:
                            made[digest] = caption
                            texts.append((digest, caption.text))
                            continue
                        made.setdefault(digest, caption)  # not over the problem that its first name had
                        if names[digest]:
                            again.append(digest)
                            done -= 1
                    if captioner.stored:
                        store.put(texts, key)
                    done += len(batch)
                    if progress:
                        progress(done, total)
            queue = again
    finally:
        captioner.release()
    return {digest: made[digest] for digest in names}


def _compare_origins(captioner: Captioner, store: CaptionStore, key: str) -> None:
    """Warn if the captions that are kept are of another commit of the model than those to come."""
    found = captioner.origin()
    if found and (first := store.origin(key, found)) != found:
        logging.getLogger(__name__).warning(
            "%s: its model was at %s when its first captions were made, and is at %s now; to have all from one, set "
            "revision to either",
            captioner.name,
            first,
            found,
        )


def score_all(
    scorer: Scorer,
    items: Sequence[tuple[Photo, str]],
    store: CaptionStore,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], float | str]:
    """How well each text fits its photo, by (digest, text); a problem in words for a photo that cannot be looked at.

    What was compared before comes from the store; each batch of the rest is kept as soon as it is done. Raises
    CaptionError, before any work, if the scorer cannot run here.
    """
    run = run or Run()
    key = fingerprint(scorer)
    wanted = {(photo.digest, text): (photo, text) for photo, text in items}
    made: dict[tuple[str, str], float | str] = dict(store.get_scores(wanted, key))
    rest = [name for name in wanted if name not in made]
    done = 0
    try:
        if rest:
            scorer.prepare(run)
        with closing(scorer.stream([wanted[name] for name in rest], run)) as batches:
            for batch in batches:
                some = {rest[i]: score for i, score in batch}
                made |= some
                store.put_scores([(name, score) for name, score in some.items() if not isinstance(score, str)], key)
                done += len(batch)
                if progress:
                    progress(done, len(rest))
    finally:
        scorer.release()
    return {name: made[name] for name in wanted}
