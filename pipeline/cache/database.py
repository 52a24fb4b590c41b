"""Opening SQLite files that may be damaged, and rows that carry their own checksum."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path

DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SEAL = "\x1e\x1e"
"""Before a row's checksum, at the end of its text: SQLite itself does not notice a bit that flipped in one. A row
without a seal is of an earlier release, and believed."""
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
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return f"is damaged ({error})"
    return "" if found == "ok" else f"is damaged ({found})"


def is_blank(path: Path) -> bool:
    """Whether the SQLite file at `path` has not a row in any table; False if it cannot be read. Changes nothing."""
    try:
        with closing(_read_only(path)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            return not any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in names)
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=PATIENCE, uri=True)


def seal(text: str, *names: object) -> str:
    """`text` with a checksum of itself and of what it belongs to."""
    return f"{text}{SEAL}{zlib.crc32(repr((names, text)).encode('utf-8', 'surrogatepass')):08x}"


def unseal(sealed: object, *names: object) -> str | None:
    """The text that was sealed; None if it, or what it belongs to, is not what it was: one flipped bit makes a value of
    another type of it, too."""
    if not isinstance(sealed, str):
        return None
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
        connection.text_factory = _text
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except UnicodeDecodeError as error:  # of SQLite's own words, which name what it cannot read
            found = f"a name in it is no text: {error}"
        if found == "ok":
            connection.executescript(schema)
            found = _unlike(connection, schema)
        if found != "ok":
            damaged = sqlite3.DatabaseError(found)
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged
        if path and path.with_name(f"{path.name}-journal").exists():
            # A kill left a journal with nothing in it, which SQLite keeps until something is written.
            with suppress(sqlite3.OperationalError):  # a disk that can only be read
                connection.execute("PRAGMA user_version = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _unlike(connection: sqlite3.Connection, schema: str) -> str:
    """Which table has other columns than `schema` says: a bit flipped in its definition, or another release made it.
    "ok" if none has."""
    with closing(sqlite3.connect(":memory:")) as blank:
        blank.executescript(schema)
        for (name,) in blank.execute("SELECT name FROM sqlite_master WHERE type='table'"):
            columns = f'PRAGMA table_info("{name}")'
            if connection.execute(columns).fetchall() != blank.execute(columns).fetchall():
                return f"its table {name} has other columns than expected"
    return "ok"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # a flipped bit then breaks the seal, and not the build
