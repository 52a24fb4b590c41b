"""Files that appear whole or not at all, and the lock that one process holds on a place."""

from __future__ import annotations

import errno
import fcntl
import getpass
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

ATTEMPTS = 100
"""Times that a lock is asked for again, where another process removes its file just then."""

_BUSY = frozenset({errno.EWOULDBLOCK, errno.EACCES})
"""What a file system answers where another process holds the lock."""


# ---------------------------------------------------------------------------------------------------------------------
# Writing in one step
#
# A process that is killed leaves its temporary files. They have names by which they are known, and their writer holds a
# lock on each (below), which ends with it: so whoever writes into that folder next removes those that nobody holds.


@contextmanager
def replacing(
    path: Path, *, durable: bool = False, private: bool = False, temporary: Path | None = None, apart: bool = False
) -> Iterator[Path]:
    """A temporary file, to be written within; at the end it takes the name `path`, over an earlier file of that name.
    After any failure it is removed, and `path` is what it was.

    durable    force the file and its folder to the disk, so that a power cut finds the earlier file or the new one.
    private    only this user may read the file; else everyone whom the umask lets.
    temporary  its path, where someone looks for what a killed process left; else `.half-NAME.RANDOM.tmp` beside `path`:
               several threads, processes and machines may write the same file at the same time.
    apart      it lies in a temporary folder of that name instead, for a library that makes temporary files of its own.

    Raises OSError.
    """
    with ExitStack() as held:
        if apart:
            temporary = held.enter_context(temporary_folder(path, private=private)) / path.name
        own = temporary is None
        if temporary is None:
            _remove_leftovers_now_and_then(path.parent)
            temporary = _temporary(path)
        try:
            make = partial(os.open, temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666)
            held.callback(os.close, _held_anew(temporary, make) if own else make())
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


@contextmanager
def temporary_folder(path: Path, *, private: bool = False) -> Iterator[Path]:
    """An empty folder `.half-NAME.RANDOM.tmp` beside `path`, to be filled within; at the end it is removed, unless it
    was renamed. If this process is killed, whoever writes beside `path` next removes it. Raises OSError."""
    _remove_leftovers_now_and_then(path.parent)
    folder = _temporary(path)

    def make() -> int:
        folder.mkdir(0o700 if private else 0o777, exist_ok=True)
        return os.open(folder, os.O_RDONLY)

    descriptor = _held_anew(folder, make)
    try:
        yield folder
    finally:
        if still_names(folder, descriptor):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


LEFTOVER = re.compile(r"\.half-.*\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""The names of temporary files and folders."""


def remove_leftovers(folder: Path, names: re.Pattern[str] = LEFTOVER) -> None:
    """Remove the temporary files and folders that killed processes left in `folder`, and none that a live one writes.

    names  which these are, where nothing of a user's lies. Where the file system has no locks, all stay.
    """
    try:
        with os.scandir(folder) as entries:
            left = [Path(entry.path) for entry in entries if names.fullmatch(entry.name)]
    except OSError:  # whoever writes there will say why it cannot
        return
    for path in left:
        with suppress(OSError):  # gone meanwhile, held, or another user's
            _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    is_folder = path.is_dir()
    descriptor = os.open(path, os.O_NOFOLLOW | (os.O_RDONLY if is_folder else os.O_RDWR))  # NFS locks what is writable
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if still_names(path, descriptor):
            shutil.rmtree(path, ignore_errors=True) if is_folder else path.unlink()
    finally:
        os.close(descriptor)


_LOOK_SECONDS = 30.0
"""Seconds between two looks for leftovers in a folder: a folder of a million files takes a second to list."""

_looked: dict[Path, float] = {}


def _remove_leftovers_now_and_then(folder: Path) -> None:
    """Remove what killed processes left in `folder`, at the first call for it, and again after a while."""
    now = time.monotonic()
    if now - _looked.get(folder, float("-inf")) < _LOOK_SECONDS:
        return
    if len(_looked) > 10_000:  # folders of a cache, for one
        _looked.clear()
    _looked[folder] = now
    remove_leftovers(folder)


def _temporary(path: Path) -> Path:
    # a part of the name, since a name has at most 255 bytes, and a character up to four
    return path.with_name(f".half-{path.name[:56]}.{secrets.token_hex(4)}.tmp")


def _held_anew(path: Path, make: Callable[[], int]) -> int:
    """A descriptor that holds the lock of the temporary file or folder `path`, as `make` makes and opens it."""
    for _ in range(ATTEMPTS):
        try:
            descriptor = make()
        except FileNotFoundError:  # a folder that went as below; else its parent is not there
            if not path.parent.is_dir():
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # taken for a leftover before it was held, and removed just now
            os.close(descriptor)
            continue
        except OSError:  # no locks here: nobody removes it either
            return descriptor
        if still_names(path, descriptor):
            return descriptor
        os.close(descriptor)
    raise OSError(f"{path} cannot be made and locked; remove what is in the way")


def write_atomically(
    path: Path, content: bytes | str | Callable[[Path], object], *, durable: bool, temporary: Path | None = None
) -> None:
    """Write a file in one step: `content` is its bytes, its text (as UTF-8), or what writes it to the path given.

    The rest is as `replacing` has it.
    """
    with replacing(path, durable=durable, temporary=temporary, apart=callable(content) and not temporary) as half:
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


def lock_holder(path: Path) -> str:
    """Who holds the lock `path` now, as `lock` writes it there; empty if nobody does, or if it cannot be told.

    The kernel is asked: the words in the file outlive a process that was killed. For a moment the question holds a
    shared lock, so whoever takes the lock just then has to ask again: for locks that are taken with `seconds`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return _holder(descriptor) if error.errno in _BUSY else ""
    finally:
        os.close(descriptor)
    return ""


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
