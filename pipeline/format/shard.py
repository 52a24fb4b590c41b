"""One shard: a ustar file whose bytes depend on its samples alone, written once and copied from by offset.

A sample's members lie together: KEY.png or KEY.jpg (LQ), KEY.gt.png or KEY.gt.jpg, KEY.txt, KEY.json, then its truth
maps. Samples lie in key order. Every header has mtime 0, uid and gid 0 and mode 0644.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

from isal.isal_zlib import crc32

from patina.pipeline.disk import begin_writing, reserve
from patina.pipeline.errors import DamagedShardError

BLOCK = 512
END = b"\0" * (2 * BLOCK)

MEMBER = re.compile(r"([\w-]+)\.([\w.-]+)", re.ASCII)
"""A member's name: key, dot, extension."""

Members: TypeAlias = Sequence[tuple[str, bytes]]
"""One sample's members: extension without the leading dot (`gt.png`), and bytes."""

AT_ONCE = 1 << 18
"""Bytes of pieces that are written together: few calls, and still in a cache when they are hashed."""

BEGUN = 1 << 23
"""Bytes that the disk is told to begin with together."""

MOST = 1 << 30
"""Bytes that are given to one call of writev: macOS refuses more than 2 GiB, and Python does not divide them."""

PIECES = 512
"""Pieces that are written together; every system takes 1,024."""


@dataclass(frozen=True)
class Span:
    """Where a sample's members lie in a shard: bytes from `offset`, headers and padding included."""

    offset: int
    size: int


@dataclass(frozen=True)
class Written:
    """A shard as written: digest and size of the whole file, and every sample's place in the order given."""

    sha256: str
    size: int
    spans: tuple[Span, ...]


_MODE_AND_OWNER = b"0000644\x000000000\x000000000\x00"
_TIME = b"\x0000000000000\x00"
_TAIL = b"0" + b"\0" * 100 + b"ustar\x0000" + b"\0" * 247
_REST = sum(_MODE_AND_OWNER) + sum(_TIME) + sum(_TAIL) + 8 * ord(" ")
"""What all headers add to their checksums, which count the checksum's own place as blanks."""


def tar_header(name: str, size: int) -> bytes:
    """One 512-byte ustar header (POSIX.1-1988) of a plain file with fixed owner, mode and time.

    Raises ValueError for a file of 8 GiB or more, or a name of more than 100 bytes.
    """
    encoded = name.encode("ascii")
    if len(encoded) > 100 or not 0 <= size < 8**11:
        raise ValueError(f"a member may have 8 GiB and a name of 100 bytes; {name!r} has {size} and {len(encoded)}")
    digits = b"%011o" % size
    checksum = sum(encoded) + sum(digits) + _REST
    return b"".join((encoded.ljust(100, b"\0"), _MODE_AND_OWNER, digits, _TIME, b"%06o\0 " % checksum, _TAIL))


def pack(key: str, members: Members) -> bytes:
    """One sample's bytes in a shard. The same sample gives the same bytes in whatever shard it lies."""
    return b"".join(packed(key, ((extension, [body]) for extension, body in members)))


def packed(key: str, members: Iterable[tuple[str, Sequence[bytes]]]) -> Iterator[bytes]:
    """What `pack` gives, piece by piece, of members that are in pieces themselves. Each is asked for when those before
    it were taken, and let go then: of a photograph, no two need to be held at a time."""
    for extension, pieces in members:
        size = sum(map(len, pieces))
        yield tar_header(f"{key}.{extension}", size)
        yield from pieces
        yield b"\0" * (-size % BLOCK)
        del pieces  # before the next one is made


def unpack(data: bytes, where: str) -> tuple[str, dict[str, bytes]]:
    """Key and members of one packed sample. Raises DamagedShardError, naming `where`, for anything else."""
    samples = list(_samples(BytesIO(data), len(data), where))
    if len(samples) != 1:
        raise DamagedShardError(f"{where}: expected one sample, found {len(samples)}")
    key, members, _ = samples[0]
    return key, members


class ShardWriter:
    """Writes packed samples to `path` in the order given. As a context manager; without `finish` nothing is whole.

    `path` is a temporary name: the caller renames it once `finish` has returned.

    lasting   False for what is read again soon and sample by sample: it has no digest, and nothing waits until it lies
              on the disk.
    expected  bytes for which room is reserved: of what is known already, such as samples that are copied. It may have
              more or fewer.
    """

    def __init__(self, path: Path, *, lasting: bool = True, expected: int = 0) -> None:
        self._file = path.open("wb", buffering=0)
        self._digest = hashlib.sha256() if lasting else None
        self._reserved = expected if expected and reserve(self._file.fileno(), expected) else 0
        self._begun = self._written = 0
        self._spans: list[Span] = []
        self._size = 0
        self._waiting: list[bytes] = []
        self._held = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, sample: Iterable[bytes], known: int | None = None) -> int:
        """Write one packed sample, which comes in pieces; gives the CRC-32 of its bytes, or what is `known` of it."""
        start, total = self._size, 0
        for piece in sample:
            if known is None:
                total = crc32(piece, total)
            self._waiting.append(piece)
            self._size += len(piece)
            self._held += len(piece)
            if self._held >= AT_ONCE or len(self._waiting) >= PIECES:
                self._write()
            del piece  # before the next one is made
        self._spans.append(Span(start, self._size - start))
        return total if known is None else known

    def finish(self) -> Written:
        """End the shard, and flush it to the disk before returning."""
        self._waiting.append(END)
        self._size += len(END)
        self._write()
        if self._reserved > self._size:
            os.ftruncate(self._file.fileno(), self._size)  # gives back what is too much
        if self._digest is None:
            return Written("", self._size, tuple(self._spans))
        os.fsync(self._file.fileno())
        return Written(self._digest.hexdigest(), self._size, tuple(self._spans))

    def _write(self) -> None:
        """Write the pieces that wait."""
        _write_all(self._file.fileno(), self._waiting)
        self._written += self._held
        if self._digest is not None:
            if self._written - self._begun >= BEGUN:
                begin_writing(self._file.fileno(), self._begun, self._written - self._begun)
                self._begun = self._written
            for piece in self._waiting:
                self._digest.update(piece)
        self._waiting.clear()
        self._held = 0


def write_shard(path: Path, samples: Iterable[bytes]) -> Written:
    """Write packed samples to `path` in the order given, flushed to the disk before returning: see `ShardWriter`."""
    with ShardWriter(path) as writer:
        for sample in samples:
            writer.add([sample])
        return writer.finish()


def _write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    written = os.writev(descriptor, pieces) if sum(map(len, pieces)) <= MOST else 0
    for piece in pieces:  # one call may take less than it was given: a full disk, a signal
        if written < len(piece):
            view = memoryview(piece)[written:]
            while view:
                view = view[os.write(descriptor, view[:MOST]) :]
        written = max(0, written - len(piece))


class ShardReader:
    """A shard, open for samples to be read from their places in it. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is read after that."""
        self._file.close()

    def stat(self) -> os.stat_result:
        """The open file's, which the path may not lead to any more."""
        return os.fstat(self._file.fileno())

    def sha256(self) -> str:
        """The digest of all of it, hexadecimal."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def read(self, span: Span) -> bytes:
        """A sample's packed bytes. Raises DamagedShardError if the file ends before them."""
        return _pread(self._file.fileno(), span.size, span.offset, self.path.name)


def read_span(path: Path, span: Span) -> bytes:
    """A sample's packed bytes. Raises DamagedShardError if the file ends before them."""
    with ShardReader(path) as shard:
        return shard.read(span)


def read_first(path: Path, span: Span, wanted: Collection[str], count: int) -> tuple[str, dict[str, bytes]]:
    """The key and the first `count` members, of the extensions `wanted`, of one sample; what lies behind them is not
    read. Raises DamagedShardError."""
    key, members, offset, end = "", dict[str, bytes](), span.offset, span.offset + span.size
    descriptor = os.open(path, os.O_RDONLY)
    try:
        header = os.pread(descriptor, BLOCK, offset)
        while True:
            name, size = _parse_header(header, f"{path.name}: at {offset}")
            sample, _, extension = name.partition(".")
            if key and sample != key:
                raise DamagedShardError(f"{path.name}: expected one sample at {span.offset}, found {key} and {sample}")
            key, body, offset = sample, offset + BLOCK, offset + BLOCK + size + -size % BLOCK
            if offset > end:
                raise DamagedShardError(f"{path.name}: expected {name} before {end}, found it torn")
            if extension in wanted:
                members[extension] = _pread(descriptor, size, body, path.name)
            if len(members) == count or offset == end:
                return key, members
            header = os.pread(descriptor, BLOCK, offset)
    finally:
        os.close(descriptor)


def _pread(descriptor: int, size: int, offset: int, where: str) -> bytes:
    data = os.pread(descriptor, size, offset)
    while 0 < len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more  # one read gives 2 GiB at the most
    if len(data) != size:
        raise DamagedShardError(f"{where}: expected {size} bytes at {offset}, found {len(data)}")
    return data


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes], Span]]:
    """Every sample of a shard in its order: key, members by extension, place.

    Raises DamagedShardError for anything that patina would not have written: a torn or longer file, links, folders,
    a name outside the pattern, a sample in two places.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size - len(END)
        yield from _samples(file, end, path.name)
        if file.read() != END:
            raise DamagedShardError(f"{path.name}: expected {len(END)} zeros at its end, found other bytes")


def _samples(file: BinaryIO, end: int, where: str) -> Iterator[tuple[str, dict[str, bytes], Span]]:
    key, members, start, offset, seen = "", dict[str, bytes](), 0, 0, set[str]()
    while offset < end:
        name, size = _parse_header(file.read(BLOCK), f"{where}: at {offset}")
        if not (match := MEMBER.fullmatch(name)):
            raise DamagedShardError(f"{where}: expected KEY.extension at {offset}, found {name!r}")
        sample, extension = match.groups()
        if sample != key:
            if key:
                yield key, members, Span(start, offset - start)
            if sample in seen:
                raise DamagedShardError(f"{where}: sample {sample} lies in two places")
            seen.add(sample)
            key, members, start = sample, {}, offset
        offset += BLOCK + size + -size % BLOCK
        if extension in members or offset > end:
            raise DamagedShardError(f"{where}: {name} is there twice or torn")
        members[extension] = file.read(size)
        if file.read(-size % BLOCK).strip(b"\0"):
            raise DamagedShardError(f"{where}: expected zeros behind {name}, found other bytes")
    if key:
        yield key, members, Span(start, offset - start)


def _parse_header(header: bytes, where: str) -> tuple[str, int]:
    """Name and size in a header, if it is byte for byte the one that patina writes for them."""
    try:
        name, size = header[:100].rstrip(b"\0").decode("ascii"), int(header[124:135], 8)
        if tar_header(name, size) == header:
            return name, size
    except ValueError:
        pass
    raise DamagedShardError(f"{where}: expected the header of a plain file as patina writes it, found other bytes")
