"""Where the members of a tar lie, from its headers alone: some ten microseconds each.

Reads ustar, GNU tar's long names and pax records, as POSIX.1-2001 and GNU tar's manual lay them out. The standard
library's tarfile takes four times as long for the same, and cannot say where a torn tar breaks off.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patina.pipeline.cache.scans import RECENT_NS
from patina.pipeline.errors import SourceError
from patina.pipeline.sources import locations
from patina.pipeline.text import printable

VERSION = 2
"""Raised when an index says something else of the same tar, so that all are made again."""

BLOCK = 512
WINDOW = 4096  # read at once: behind a header may follow a pax record, or a member smaller than that and the next one
LONGEST_RECORD = 1 << 20
LONGEST_NUMBER = 20  # digits; POSIX names no limit, 64 bits do
PLENTY = 64 << 20  # bytes that any compressed tar may hold
LARGEST_RATIO = 100
ZEROS = bytes(BLOCK)

# A header's type, one byte.
PLAIN = (b"0", b"\0", b"7")
RECORDS = (b"L", b"K", b"x", b"g")  # what is too long for the next header, in GNU tar's way and in pax's
WITHOUT_BYTES = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes
QUIET = (b"5", b"D", b"V")  # folders, GNU tar's lists of them, and its label of the whole: they hold no file
KINDS = {b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "pipe"}

COMPRESSED: dict[str, Callable[..., Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
SUFFIXES = (".tar", *COMPRESSED)


@dataclass(frozen=True)
class TarIndex:
    """The plain files in a tar.

    members  name, offset of its bytes, size; in the tar's order.
    others   members that are none, and no folders: of each kind its name, how many, and the first one's name.
    torn     the name of a member whose bytes the tar's end cuts off; empty if there is none.
    problem  where the tar breaks, in words; empty if it is whole.
    """

    members: tuple[tuple[str, int, int], ...]
    torn: str = ""
    problem: str = ""
    others: tuple[tuple[str, int, str], ...] = ()


def tar_index(path: Path) -> TarIndex:
    """The index of a local, uncompressed tar, kept in the cache under the file's stat. Raises OSError."""
    stat = path.stat()
    kept = locations.cache_folder() / "tars" / f"{_state(path, stat)}.json"
    if _settled(stat):
        try:
            record = json.loads(kept.read_bytes())
            members = tuple((str(name), int(offset), int(size)) for name, offset, size in record["members"])
            others = tuple((str(kind), int(count), str(first)) for kind, count, first in record["others"])
            return TarIndex(members, str(record["torn"]), str(record["problem"]), others)
        except (OSError, ValueError, KeyError, TypeError):  # a cache: what cannot be read is made again
            pass
    index = read_headers(path)
    if _settled(stat):
        with suppress(OSError), locations.caching(kept) as half:  # a cache: without room for it all goes on
            half.write_text(json.dumps(asdict(index), ensure_ascii=True), encoding="ascii")
    return index


def uncompressed(path: Path) -> Path:
    """The tar itself, or its uncompressed copy in the cache, made anew once the file's stat changes. Of a torn file
    there is as much as could be read. Raises OSError if that is nothing, or far more than photographs would give, and
    SourceError if the cache cannot hold it."""
    suffix = next((s for s in COMPRESSED if path.name.lower().endswith(s)), "")
    if not suffix:
        return path
    stat = path.stat()
    copy = locations.cache_folder() / "tars" / f"{_state(path, stat)}.tar"
    if _is_newer(copy, stat):
        return copy
    with path.open("rb") as file, COMPRESSED[suffix](file, "rb") as packed, _open_copy(copy, path) as write:
        written = 0
        while data := _more(packed, written):
            written += len(data)
            if written > PLENTY + LARGEST_RATIO * file.tell():
                raise OSError(
                    f"holds more than {LARGEST_RATIO} times its own size, as photographs never do: a decompression "
                    "bomb, or nearly empty; unpack it yourself if you know better"
                )
            write(data)
    return copy


@contextmanager
def _open_copy(copy: Path, path: Path) -> Iterator[Callable[[bytes], None]]:
    """What writes the bytes of `copy`, which appears whole at the end, its time that at which it was begun."""
    begun_ns = time.time_ns()
    with ExitStack() as stack:
        with _writing(path):
            half = stack.enter_context(locations.caching(copy))
            out = stack.enter_context(half.open("wb", buffering=0))

        def write(data: bytes) -> None:
            view = memoryview(data)
            with _writing(path):
                while view:
                    view = view[out.write(view) :]

        yield write
        os.utime(half, ns=(begun_ns, begun_ns))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Within it, an error is the cache's: the tar is not to blame, and must not leave the dataset for it."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"path: {printable(str(path))} cannot be unpacked into {locations.cache_folder()}: {error.strerror}; make "
            "room there, or name another folder as PATINA_CACHE"
        ) from error


def _is_newer(copy: Path, stat: os.stat_result) -> bool:
    """Whether a copy was begun when the file of this stat had rested long enough for it to prove something."""
    try:
        begun_ns = copy.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return begun_ns - max(stat.st_mtime_ns, stat.st_ctime_ns) >= RECENT_NS


def _more(packed: Any, so_far: int) -> bytes:
    """The next uncompressed bytes; none at the end, and none where a torn file breaks off."""
    try:
        data: bytes = packed.read1(1 << 18)  # `read` would withhold what it has when it meets the tear
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if not so_far:
            raise OSError(f"cannot be decompressed: {error}") from None
        return b""
    return data


def _state(path: Path, stat: os.stat_result) -> str:
    facts = (VERSION, str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _settled(stat: os.stat_result) -> bool:
    """Whether the stat proves anything: a file may change twice within one tick of its clock."""
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) >= RECENT_NS


def read_headers(path: Path) -> TarIndex:
    """The index of a local tar, from its headers. Raises OSError if the file cannot be read."""
    with path.open("rb", buffering=0) as file:
        walk = _Walk(file.fileno(), os.fstat(file.fileno()).st_size)
        walk.run()
    others = tuple((kind, count, first) for kind, (count, first) in walk.others.items())
    return TarIndex(tuple(walk.members), walk.torn, walk.problem, others)


class _Walk:
    def __init__(self, descriptor: int, size: int) -> None:
        self.members: list[tuple[str, int, int]] = []
        self.others: dict[str, tuple[int, str]] = {}
        self.torn = ""
        self.problem = ""
        self._descriptor = descriptor
        self._size = size
        self._window = b""
        self._start = 0
        self._known: dict[str, str] = {}  # what pax and GNU records say of the next member
        self._global: dict[str, str] = {}  # and of all that follow

    def run(self) -> None:
        position = 0
        while position >= 0 and not self.problem:
            header = self._read(position, BLOCK)
            if header == ZEROS:
                self._expect_nothing_behind(position + BLOCK)
                return
            if len(header) < BLOCK:
                self.problem = f"ends at byte {self._size} without its end mark: cut off, or still being written"
                return
            position = self._member(header, position)

    def _member(self, header: bytes, position: int) -> int:
        """Take in the member or record whose header is at `position`; gives the next header's place."""
        try:
            right = sum(header) - sum(header[148:156]) + 8 * ord(" ") == _number(header[148:156])
            size = _number(header[124:136])
        except ValueError:
            right, size = False, -1
        if not right or size < 0:
            self.problem = f"is damaged: at byte {position} there is no header of a member"
            return -1
        kind = header[156:157]
        body = position + BLOCK
        if kind in RECORDS:
            return self._record(kind, body, size)
        known, self._known = self._global | self._known, {}
        name = known.get("path") or _name(header)
        if kind == b"S" or any(key.startswith("GNU.sparse") for key in known):
            self.problem = (
                f"holds {name} as a sparse file, which is not read, nor what follows; pack it without --sparse"
            )
            return -1
        if "size" in known:
            size = int(known["size"])
        if kind not in PLAIN and kind not in QUIET:
            self._count(kind, f"{name} → {link}" if (link := self._link(header, known)) else name)
        if kind in WITHOUT_BYTES:
            return body
        if body + size > self._size:
            self.torn = name
            self.problem = f"is cut off at byte {self._size}, within {name}"
            return -1
        if kind in PLAIN and not name.endswith("/"):
            self.members.append((name, body, size))
        return body + size + -size % BLOCK

    def _count(self, kind: bytes, told: str) -> None:
        word = KINDS.get(kind) or f"member with the unknown kind {kind.decode('latin-1')!r}"
        count, first = self.others.get(word, (0, told))
        self.others[word] = (count + 1, first)

    def _link(self, header: bytes, known: dict[str, str]) -> str:
        """What a link leads to; "" for anything else."""
        if header[156:157] not in (b"1", b"2"):
            return ""
        return known.get("linkpath") or _text(header[157:257])

    def _record(self, kind: bytes, body: int, size: int) -> int:
        data = self._read(body, size) if size <= LONGEST_RECORD else b""
        if len(data) < size:
            cut = body + size > self._size
            self.problem = (
                f"is cut off at byte {self._size}" if cut else f"is damaged at byte {body}: a record too long"
            )
            return -1
        if kind in (b"L", b"K"):
            self._known["path" if kind == b"L" else "linkpath"] = _text(data)
        elif kind in b"xg":
            try:
                (self._known if kind == b"x" else self._global).update(_pax(data))
            except ValueError:
                self.problem = f"is damaged: at byte {body} there is no pax record"
                return -1
        return body + size + -size % BLOCK

    def _read(self, position: int, size: int) -> bytes:
        start = position - self._start
        if not 0 <= start <= len(self._window) - size:
            self._window = os.pread(self._descriptor, max(size, WINDOW), position)
            self._start, start = position, 0
        return self._window[start : start + size]

    def _expect_nothing_behind(self, position: int) -> None:
        """Behind the first block of zeros there may be more zeros. `cat a.tar b.tar` puts members there."""
        if os.pread(self._descriptor, 1 << 16, position).strip(b"\0"):
            self.problem = (
                f"goes on behind its end mark at byte {position}: several tars joined? What follows is not read"
            )


def _number(digits: bytes) -> int:
    """A header's number: octal, or base 256 where the first byte is 0x80. Raises ValueError."""
    if digits[:1] == b"\x80":
        return int.from_bytes(digits[1:], "big")
    return int(digits.partition(b"\0")[0].strip() or b"0", 8)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    if header[257:263] != b"ustar\0":  # GNU tar keeps times where POSIX has the prefix
        return name
    prefix = _text(header[345:500])
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    """The records that matter here, out of `length key=value\\n` ones. Raises ValueError."""
    if b"path=" not in data and b"size=" not in data and b"GNU.sparse" not in data:
        return {}  # times alone, as Python's tarfile writes for every member
    found = {}
    data = data.rstrip(b"\0")
    place = 0
    while place < len(data):
        head = data[place : place + LONGEST_NUMBER].partition(b" ")[0]
        end = place + int(head)
        key, equals, value = data[place + len(head) + 1 : end].partition(b"=")
        if not equals or end > len(data) or end <= place:
            raise ValueError("no record")
        if key in {b"path", b"size", b"linkpath"} or key.startswith(b"GNU.sparse"):
            found[key.decode()] = value.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        place = end
    if "size" in found and not (found["size"].isdecimal() and len(found["size"]) < LONGEST_NUMBER):
        raise ValueError("no size")
    return found
