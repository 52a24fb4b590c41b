"""Opening SQLite files that may be damaged, and rows that carry their own checksum."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SEAL = "\x1e\x1e"
"""Before a row's checksum, at the end of its text: SQLite itself does not notice a bit that flipped in one. A row
without a seal is of an earlier release, and believed."""
PATIENCE = 60.0  # seconds to wait for another process's transaction


class _UnusableError(sqlite3.DatabaseError):
    """A file to put aside and begin anew. Says what is wrong with it, as a predicate."""


def open_database(path: Path | None, schema: str) -> sqlite3.Connection:
    """Open or make the SQLite file at `path`, with the tables of `schema`; in memory if None.

    A damaged file, one whose tables have other columns, or a folder in its place, is moved to `<name>.damaged` with a
    warning, and begun anew. Other troubles, such as a folder that cannot be written to, raise sqlite3.OperationalError.
    Use from several threads is left to the caller's lock.
    """
    try:
        return _open(path, schema)
    except sqlite3.DatabaseError as error:
        if path is None or not (path.is_dir() or isinstance(error, _UnusableError) or _is_damage(error)):
            raise
        what = str(error) if isinstance(error, _UnusableError) else f"is damaged ({error})"
        what = "is a folder" if path.is_dir() else what
        logging.getLogger(__name__).warning("%s %s: moved to %s.damaged, begun anew", path, what, path)
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


def damage_of(path: Path, schema: str) -> str:
    """Why `open_database` would put the SQLite file at `path` aside, as a predicate; empty if it would not, or the file
    is not there. Changes nothing."""
    if path.is_dir():
        return "is a folder"
    if not path.exists() or not path.stat().st_size:
        return ""
    try:
        with closing(_existing(path, "ro")) as connection:
            return _fault(connection, path, schema)
    except sqlite3.DatabaseError as error:  # otherwise it is in use or forbidden, which is no damage
        return f"is damaged ({error})" if _is_damage(error) else ""


def is_blank(path: Path) -> bool:
    """Whether the SQLite file at `path` has not a row in any table; False if it cannot be read. Changes nothing."""
    try:
        with closing(_existing(path, "ro")) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            return not any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in names)
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False


def _existing(path: Path, mode: Literal["ro", "rw"], patience: float = PATIENCE) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", timeout=patience, uri=True)
    connection.text_factory = _text
    return connection


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
        if fault := _fault(connection, path, schema):
            raise _UnusableError(fault)
        connection.executescript(schema)
        if path and path.with_name(f"{path.name}-journal").exists():
            # A kill left a journal with nothing in it, which SQLite keeps until something is written.
            with suppress(sqlite3.OperationalError):  # a disk that can only be read
                connection.execute("PRAGMA user_version = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.DatabaseError) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # what Python's own module raises has none


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return _code(error) in DAMAGE


def _fault(connection: sqlite3.Connection, path: Path | None, schema: str) -> str:
    """What is wrong with the file at `path`, which is open, as a predicate; empty if it is sound. Raises
    sqlite3.DatabaseError where SQLite refuses it."""
    try:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except UnicodeDecodeError as error:  # of SQLite's own words, which name what it cannot read
        found = f"a name in it is no text: {error}"
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_ERROR or not _is_header_wrong(path):
            raise
        found = str(error)
    if found != "ok":
        return f"is damaged ({found})"
    return _unlike(connection, schema) or (_fault_for_writing(path) if path else "")


def _fault_for_writing(path: Path) -> str:
    """As `_fault`, of what only stops a process that writes. Writes nothing, and waits for nobody."""
    with closing(_existing(path, "rw", patience=0)) as connection:  # one that has read knows, and would read
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_READONLY and _is_header_wrong(path):
                return "is damaged (its header names a format that SQLite does not have)"
    return ""


def _is_header_wrong(path: Path | None) -> bool:
    """Whether a file's header names versions of the format that do not exist. Of these SQLite tells no damage, but that
    the file can only be read, or is of a later SQLite.

    To be asked only where SQLite refuses the file: closing it takes the locks of all this process's connections to it.
    """
    if path is None:
        return False
    with path.open("rb") as file:
        header = file.read(100)
    # https://www.sqlite.org/fileformat.html: 18 and 19, versions for writing and reading; 44 to 47, format of schemas
    return len(header) == 100 and not ({*header[18:20]} <= {1, 2} and int.from_bytes(header[44:48], "big") <= 4)


def _unlike(connection: sqlite3.Connection, schema: str) -> str:
    """Which table that is there has other columns than `schema` says, as a predicate; empty if none has. A bit flipped
    in its definition, or another release made it."""
    with closing(sqlite3.connect(":memory:")) as blank:
        blank.executescript(schema)
        for (name,) in blank.execute("SELECT name FROM sqlite_master WHERE type='table'"):
            columns = f'PRAGMA table_info("{name}")'
            found = connection.execute(columns).fetchall()
            if found and found != blank.execute(columns).fetchall():
                return f"has other columns than this release writes, in its table {name}"
    return ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # a flipped bit then breaks the seal, and not the build
