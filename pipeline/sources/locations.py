"""Where a source's bytes lie: in a local file, in a remote one, or in a part of a local one. How to list them, read
them, and tell that they changed.

A location is a text. A path is a local file; `protocol://…` is a remote file, read through fsspec; a part of a local
file is `path`, NUL, `offset+size`, such as a member of a tar. Remote bytes are kept in a local cache under their
SHA-256, so that what was read once is not fetched again; losing the cache costs time alone.

An address may hold a password or a signature. It is whole only where it is opened, and in a job's file while a build
runs; whatever is stored or told has it without them (`without_secrets`), and what is remembered of it is kept under
that (`place`), so that a renewed signature changes nothing.
"""

from __future__ import annotations

import errno
import hashlib
import html
import os
import posixpath
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from patina.pipeline.errors import PipelineError
from patina.pipeline.files import replacing
from patina.pipeline.redaction import holds_secret, without_secrets

R = TypeVar("R")

PART = "\0"  # no path and no address has it
REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://")
TAGS = (
    "ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "md5", "crc32c", "generation", "VersionId", "version_id",
    "Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified", "created",
)  # fmt: skip
"""What the file systems of fsspec call the thing that changes with a file's bytes, the surest first."""

OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of reading a source that are no fault of the source: the cache's disk is full, this machine has no more."""

WEB = ("http://", "https://")

PAUSES = (0.2, 1.0)
"""Seconds before a server is asked again that did not answer, or not well."""

FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, NotImplementedError)
"""Errors that the same question would meet again."""


class LocationError(PipelineError, OSError):
    """Bytes that cannot be had: what was asked for, and what the other side said. is_missing: that nothing is there."""

    is_missing = False


def is_remote(location: str) -> bool:
    """Whether the location is an address such as s3://bucket/key, and no local path."""
    return "://" in location and REMOTE.match(location) is not None


def part(location: str, offset: int, size: int) -> str:
    """The location of `size` bytes from `offset` in a local file."""
    return f"{location}{PART}{offset}+{size}"


def file_of(location: str) -> str:
    """The file that a location lies in: itself, unless it is a part."""
    return location.partition(PART)[0]


def base_name(location: str) -> str:
    """The file's name, without its folders; of a web address without its query, and as it is called there."""
    path = place(file_of(location)).rstrip("/")
    if path.startswith(WEB):
        path = re.split("[?#]", path.partition("://")[2], maxsplit=1)[0]  # as urlsplit, which refuses some hosts
        path = path.partition("/")[2].rstrip("/")
    return unquote(path).rpartition("/")[2]


def place(location: str) -> str:
    """What a location is known by: an address without its secrets, whatever signature it has today; a path as it is."""
    return without_secrets(location) if is_remote(location) else location


def display_address(location: str) -> str:
    """A location for people, without secrets."""
    path, found, span = place(location).partition(PART)
    offset, _, size = span.partition("+")
    return f"{path} ({size} bytes from {offset} on)" if found else path


def read_file(location: str) -> tuple[os.stat_result, bytes]:
    """Stat and bytes of a local file or a part of one. Raises OSError."""
    path, found, span = location.partition(PART)
    with Path(path).open("rb") as file:
        stat = os.fstat(file.fileno())  # before reading: a later change then shows
        if not found:
            return stat, file.read()
        offset, _, size = span.partition("+")
        file.seek(int(offset))
        data = file.read(int(size))
    if len(data) != int(size):
        raise LocationError(f"{path} ends before byte {int(offset) + int(size)}")
    return stat, data


def read(location: str, digest: str) -> bytes:
    """A location's bytes, from the cache if it holds those of `digest` (SHA-256). The caller compares. Raises OSError.

    What is fetched from elsewhere is put into the cache under the digest that it has.
    """
    if not is_remote(location):
        return read_file(location)[1]
    try:
        return (cache_folder() / digest[:2] / digest).read_bytes()
    except FileNotFoundError:
        return fetch(location)[0]


def fetch(location: str) -> tuple[bytes, str]:
    """Bytes and SHA-256 of a remote file, which is then in the cache. Raises LocationError."""
    try:
        data: bytes = _patiently(lambda: system_of(location).cat_file(within(location)))
    except Exception as error:  # each file system of fsspec has its own kinds
        raise _error_to_raise(f"cannot be read: {_why(error)}", error) from cause_to_tell(error)
    digest = hashlib.sha256(data).hexdigest()
    keep(data, digest, anew=True)
    return data, digest


def tag(location: str) -> tuple[str, int]:
    """What changes when a remote file's bytes change (empty if its server tells nothing), and its size (-1: unknown).

    Raises LocationError if it is not there.
    """
    try:
        info: Mapping[str, Any] = _patiently(lambda: system_of(location).info(within(location)))
    except Exception as error:
        raise _error_to_raise(f"cannot be read: {_why(error)}", error) from cause_to_tell(error)
    size = info.get("size")
    found = next((f"{name} {info[name]}" for name in TAGS if info.get(name)), "")
    return found, -1 if size is None else int(size)


def list_remote(folder: str) -> list[str]:
    """Addresses of all files below a remote folder, in order. Raises LocationError.

    An HTTP server must answer with an index page of links, as most do for a folder without an index.html.
    """
    system = system_of(folder)
    system.invalidate_cache()  # a folder that is listed again has to be looked at again
    try:
        if folder.startswith(WEB):
            return sorted(_linked(system, folder))
        # `ls` fails where nothing is there
        found = _patiently(lambda: system.find(within(folder)) or system.ls(within(folder), detail=False))
    except Exception as error:
        raise _error_to_raise(f"cannot list {folder}: {_why(error)}", error) from cause_to_tell(error)
    return sorted(system.unstrip_protocol(path) for path in found)


def _linked(system: Any, folder: str) -> set[str]:
    """Addresses of the files that a web folder's index pages link to, below it: links that lead up, elsewhere, or to
    the same page sorted otherwise are not followed. A page that does not come is an error, or its photographs would
    leave the dataset in silence."""
    root = unquote(folder).rstrip("/") + "/"
    pages, seen, files = [""], {""}, set[str]()
    while pages:
        page = pages.pop()
        try:
            # Quoted as servers write links, or fsspec would take absolute ones for those of another folder.
            address = quote(f"{folder.rstrip('/')}/{page}", safe="%/:?#[]@!$&'()*+,;=~")
            links = _patiently(lambda address=address: system.ls(address, detail=False))  # type: ignore[misc]
        except FileNotFoundError:
            if page or folder.endswith("/") or not system.exists(folder):
                raise
            return {folder}
        for link in map(_tidied, links):
            if not unquote(link).startswith(root):
                continue
            below = "/".join(link.split("/")[root.count("/") :])
            place = below.partition("?")[0]
            if place and not place.endswith("/"):
                files.add(f"{folder.rstrip('/')}/{below}")
            elif place not in seen:
                seen.add(place)
                pages.append(place)
    return files


def _tidied(link: str) -> str:
    """A link without entities, a fragment, and steps such as `./` and `../`."""
    address, _, query = html.unescape(link).partition("#")[0].partition("?")
    path = urlsplit(address).path
    server, plain = address.removesuffix(path), posixpath.normpath(path or "/")
    slash = "/" if path.endswith(("/", "/.", "/..")) and plain != "/" else ""
    return f"{server}{plain}{slash}" + (f"?{query}" if query else "")


def local_copy(location: str) -> Path:
    """A local file with a remote one's bytes: fetched, unless the cache has it under its present tag. Raises
    LocationError. A local path is given back as it is."""
    if not is_remote(location):
        return Path(location)
    now, size = tag(location)
    name = hashlib.sha256(f"{place(location)}\n{now}\n{size}".encode("utf-8", "backslashreplace")).hexdigest()
    plain = re.sub(r"[^\w.-]", "_", base_name(location))[-80:]  # the end, which tells what kind of file it is
    target = cache_folder() / "files" / f"{name[:32]}-{plain}"
    if now and target.exists() and size in {-1, target.stat().st_size}:
        return target
    try:
        with caching(target) as half:
            _patiently(lambda: system_of(location).get_file(within(location), str(half)))
    except Exception as error:
        raise _error_to_raise(f"cannot fetch {location}: {_why(error)}", error) from cause_to_tell(error)
    return target


def keep(data: bytes, digest: str, anew: bool = False) -> Path:
    """Put bytes into the cache under their SHA-256, `anew` even over what is there; gives the file."""
    target = cache_folder() / digest[:2] / digest
    if anew or not target.exists():
        with caching(target) as half:
            half.write_bytes(data)
    return target


def cache_folder() -> Path:
    """Where remote bytes are kept: $PATINA_CACHE, or `patina` in the user's folder for caches. Several machines that
    build together share it, or each fetches for itself."""
    own = os.environ.get("PATINA_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "patina"


@contextmanager
def caching(target: Path) -> Iterator[Path]:
    """A temporary file, to be written within, that becomes the cache's file `target` at the end, with the folders above
    it. Only this user may read it: what an address gives may be meant for one person alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, private=True) as half:
        yield half


@cache
def _protocol(protocol: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as error:
        raise LocationError(f"no reader for {protocol}:// is installed: {error}") from None
    except TypeError as error:  # ftp and others want a host
        what = f"the reader for {protocol}:// cannot be made ({error})"
        raise LocationError(f"{what}; set what it wants in fsspec's configuration, or mount the place") from None


def system_of(location: str) -> Any:
    """The file system of an address; its credentials come from fsspec's own configuration or the environment."""
    return _protocol(location.partition("://")[0])


def within(location: str) -> str:
    """The address as its file system names it."""
    path: str = system_of(location)._strip_protocol(location)
    return path


def _patiently(ask: Callable[[], R]) -> R:
    """Ask a server, and again after a pause where the error may pass. Raises the last error."""
    for pause in PAUSES:
        try:
            return ask()
        except Exception as error:
            status = getattr(error, "status", 0)  # of an HTTP answer: 4xx is ours to fix, but for "too slow, too many"
            if isinstance(error, (*FINAL, LocationError)) or (400 <= status < 500 and status not in {408, 429}):
                raise
            time.sleep(pause)
    return ask()


def _error_to_raise(what: str, error: Exception) -> OSError:
    """The error to raise: one that is this machine's own stays what it is, and sets no source aside."""
    if isinstance(error, OSError) and error.errno in OURS:
        return error
    told = LocationError(what)
    told.is_missing = isinstance(error, FileNotFoundError)
    return told


def cause_to_tell(error: BaseException) -> BaseException | None:
    """The error as the cause of another, unless it or what led to it tells a secret: logs print causes too."""
    told: BaseException | None = error
    while told is not None:
        if holds_secret(str(told)):
            return None
        told = told.__cause__ or told.__context__
    return error


def _why(error: BaseException) -> str:
    """An error in words, without the queries of addresses: they may hold a key, and this is stored with the dataset."""
    text = re.sub(r"\?[^\s'\")]+", "?…", without_secrets(str(error).strip())) or type(error).__name__
    return text if len(text) < 300 else text[:297] + "…"
