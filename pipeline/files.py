"""Files that appear whole or not at all, and the lock that one process holds on a place."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ATTEMPTS = 100
"""Times that a lock is asked for again, where another process removes its file just then."""

_BUSY = frozenset({errno.EWOULDBLOCK, errno.EACCES})
"""What a file system answers where another process holds the lock."""


# ---------------------------------------------------------------------------------------------------------------------
# Writing in one step


@contextmanager
def replacing(
    path: Path, *, durable: bool = False, private: bool = False, temporary: Path | None = None
) -> Iterator[Path]:
    """A temporary file, to be written within; at the end it takes the name `path`, over an earlier file of that name.
    After any failure it is removed, and `path` is what it was.

    durable    force the file and its folder to the disk, so that a power cut finds the earlier file or the new one.
    private    only this user may read the file; else everyone whom the umask lets.
    temporary  its path, where someone looks for what a killed process left; else `.half-NAME.RANDOM.tmp` beside `path`:
               several threads, processes and machines may write the same file at the same time.

    Raises OSError.
    """
    if temporary is None:  # a part of the name, since a name has at most 255 bytes, and a character up to four
        temporary = path.with_name(f".half-{path.name[:56]}.{secrets.token_hex(4)}.tmp")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666))
        mode = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != mode:  # safetensors makes files that only we may read
            temporary.chmod(mode)
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the error that led here is the one to be told
            temporary.unlink()
        raise
    if durable:
        sync(path.parent)


def write_atomically(
    path: Path, content: bytes | str | Callable[[Path], object], *, durable: bool, temporary: Path | None = None
) -> None:
    """Write a file in one step: `content` is its bytes, its text (as UTF-8), or what writes it to the path given.

    The rest is as `replacing` has it.
    """
    with replacing(path, durable=durable, temporary=temporary) as half:
        if callable(content):
            content(half)
        else:
            half.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_page(path: Path, text: str) -> Path:
    """Write a page, with the folders above it, in one step; gives its path. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode("utf-8", "xmlcharrefreplace"), durable=False)
    return path


def sync(path: Path) -> None:
    """Force a file's contents, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
