"""Files that appear whole or not at all, and the lock that one process holds on a place."""

from __future__ import annotations

import errno
import fcntl
import getpass
import hashlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

ATTEMPTS = 100
"""Times that a lock is asked for again, where another process removes its file just then."""

HALF = re.compile(r"\.half-.*\.([0-9a-f]{4})([0-9a-f]{6,})[0-9a-f]{8}\.tmp", re.DOTALL)
"""The name of a file that is being written: of what machine and process."""

ABANDONED_SECONDS = 3600
"""After which a half file whose process cannot be asked is taken for left."""

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
    temporary  its path, where someone looks for what a killed process left; else `.half-NAME.WHO.tmp` beside `path`:
               several threads, processes and machines may write the same file at the same time. WHO names machine and
               process, so that `remove_halves` knows whether anybody still writes it.

    Raises OSError.
    """
    if temporary is None:  # a part of the name, since a name has at most 255 bytes, and a character up to four
        temporary = path.with_name(f".half-{path.name[:56]}.{_machine()}{os.getpid():06x}{secrets.token_hex(4)}.tmp")
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


def remove_halves(folder: Path) -> list[Path]:
    """Remove what `replacing` left below a folder in processes that were killed; gives what it removed.

    A file of a process that lives here stays. One of another machine, or of an earlier release, which did not say whose
    it is, stays until nobody wrote to it for an hour.
    """
    removed = []
    for path in sorted(folder.rglob(".half-*.tmp")):
        who = HALF.fullmatch(path.name)
        with suppress(OSError):  # it may have taken its name just now
            if who and who[1] == _machine():
                live = _lives(int(who[2], 16))
            else:
                live = time.time() - path.stat().st_mtime < ABANDONED_SECONDS
            if not live:
                path.unlink()
                removed.append(path)
    return removed


@cache
def _machine() -> str:
    """Four hex digits for this machine since it was started: process numbers begin anew with it."""
    name = socket.gethostname()
    with suppress(OSError):
        name += Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    return hashlib.sha256(name.encode()).hexdigest()[:4]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


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


# ---------------------------------------------------------------------------------------------------------------------
# Locks
#
# They are flocks of the kernel, which drops one with its process: a dead holder's lock is free at once. The library
# filelock would give the same for plain files, but it does not lock a folder, it empties the file (and with it the
# holder's name) when it asks in some of its versions, and on a file system without flocks it goes on with files that
# outlive their process.


@contextmanager
def lock(
    path: Path,
    refusal: Callable[[str], Exception],
    *,
    make: Callable[[], object],
    folder: bool = False,
    seconds: int = 0,
) -> Iterator[int]:
    """Within it nobody else holds the lock `path`, in this process or another; gives the descriptor that holds it.

    refusal  the error to raise while another holds it, made from its name: `process 4711 of anna on node7`.
    make     makes the folder above the lock. It is called again where another process removes the lock just then.
    folder   `path` is a folder, which `make` makes, and is locked itself. No name lies in it, so its holder is
             `an unknown process`; else the lock is a file that says who holds it.
    seconds  for how long to ask again, once a second.

    The lock's file stays. Raises what `refusal` gives, and OSError if there can be no lock.
    """
    descriptor = _locked(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, refusal, make, seconds)
    try:
        if not folder:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} of {_user()} on {socket.gethostname()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def still_names(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the file or folder that was opened."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _locked(
    path: Path, flags: int, refusal: Callable[[str], Exception], make: Callable[[], object], seconds: int
) -> int:
    """A descriptor that holds the lock of what has the name `path` by then."""
    trouble: OSError | None = None
    for _ in range(ATTEMPTS):  # whoever holds it may remove it just now
        try:
            make()
            descriptor = os.open(path, flags, 0o666)
        except (FileNotFoundError, FileExistsError) as error:  # also where mkdir finds it, and it goes at once
            trouble = error
            continue
        try:
            _take(path, descriptor, refusal, seconds)
            if still_names(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(f"{path.parent} cannot be made and locked ({trouble}); remove what is in the way")


def _take(path: Path, descriptor: int, refusal: Callable[[str], Exception], seconds: int) -> None:
    for left in range(seconds, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if left:  # of whatever kind: a network's lock server may answer a second later
                time.sleep(1)
            elif error.errno in _BUSY:
                raise refusal(_holder(descriptor)) from None
            else:
                what = "folders" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "files"
                raise OSError(f"{path.parent}: the file system cannot lock {what}: {error.strerror}") from None


def _holder(descriptor: int) -> str:
    try:
        return os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip() or "an unknown process"
    except IsADirectoryError:
        return "an unknown process"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
