"""One shard: a ustar file whose bytes depend on its samples alone, written once and copied from by offset.

A sample's members lie together: KEY.png or KEY.jpg (LQ), KEY.gt.png or KEY.gt.jpg, KEY.txt, KEY.json, then its truth
maps. Samples lie in key order. Every header has mtime 0, uid and gid 0 and mode 0644.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

BLOCK = 512
END = b"\0" * (2 * BLOCK)

Members: TypeAlias = Sequence[tuple[str, bytes]]
"""One sample's members: extension without the leading dot (`gt.png`), and bytes."""


class DamagedShardError(ValueError):
    """A shard that is not what was written. Says which, where and what was found."""


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


def tar_header(name: str, size: int) -> bytes:
    """One 512-byte ustar header (POSIX.1-1988) of a plain file with fixed owner, mode and time."""
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ValueError(f"a member's name may have 100 bytes, {name!r} has {len(encoded)}")
    head = b"%-100s0000644\x000000000\x000000000\x00%011o\x0000000000000\x00" % (encoded.ljust(100, b"\0"), size)
    tail = b"0" + b"\0" * 100 + b"ustar\x0000" + b"\0" * 247
    checksum = sum(head) + sum(tail) + 8 * ord(" ")
    return head + b"%06o\0 " % checksum + tail


def pack(key: str, members: Members) -> bytes:
    """One sample's bytes in a shard. The same sample gives the same bytes in whatever shard it lies."""
    parts: list[bytes] = []
    for extension, body in members:
        parts += [tar_header(f"{key}.{extension}", len(body)), body, b"\0" * (-len(body) % BLOCK)]
    return b"".join(parts)


def unpack(data: bytes, where: str) -> tuple[str, dict[str, bytes]]:
    """Key and members of one packed sample. Raises DamagedShardError, naming `where`, for anything else."""
    try:
        with tarfile.open(fileobj=BytesIO(data + END), mode="r:") as archive:
            samples = list(_samples(archive, where))
    except tarfile.TarError as error:
        raise DamagedShardError(f"{where}: expected a sample, found bytes that are no tar ({error})") from None
    if len(samples) != 1:
        raise DamagedShardError(f"{where}: expected one sample, found {len(samples)}")
    key, members, _ = samples[0]
    return key, members


def write_shard(path: Path, samples: Iterable[bytes]) -> Written:
    """Write packed samples to `path` in the order given, flushed to the disk before returning.

    `path` is a temporary name: the caller renames it when this has returned.
    """
    digest = hashlib.sha256()
    spans: list[Span] = []
    offset = 0
    with path.open("wb", buffering=0) as file:
        for sample in samples:
            _write_all(file.fileno(), sample)
            digest.update(sample)
            spans.append(Span(offset, len(sample)))
            offset += len(sample)
        _write_all(file.fileno(), END)
        digest.update(END)
        os.fsync(file.fileno())
    return Written(digest.hexdigest(), offset + len(END), tuple(spans))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:  # one write may take less than it was given: a full disk, a signal
        view = view[os.write(descriptor, view) :]


def read_span(path: Path, span: Span) -> bytes:
    """A sample's packed bytes. Raises DamagedShardError if the file ends before them."""
    with path.open("rb") as file:
        file.seek(span.offset)
        data = file.read(span.size)
    if len(data) != span.size:
        raise DamagedShardError(f"{path.name}: expected {span.size} bytes at {span.offset}, found {len(data)}")
    return data


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes], Span]]:
    """Every sample of a shard in its order: key, members by extension, place.

    Raises DamagedShardError for anything that patina would not have written: a torn or longer file, links, folders,
    a name outside the pattern, a sample in two places.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            end = 0
            for key, members, span in _samples(archive, path.name):
                yield key, members, span
                end = span.offset + span.size
        if path.stat().st_size != end + len(END):
            raise DamagedShardError(f"{path.name}: expected {end + len(END)} bytes, found {path.stat().st_size}")
    except (tarfile.TarError, EOFError) as error:
        raise DamagedShardError(f"{path.name}: not a readable tar ({error})") from None


def _samples(archive: tarfile.TarFile, where: str) -> Iterator[tuple[str, dict[str, bytes], Span]]:
    key, members, start, seen = "", dict[str, bytes](), 0, set[str]()
    end = 0
    for info in archive:
        name, _, extension = info.name.partition(".")
        if not info.isreg() or not name or not extension or "/" in info.name:
            raise DamagedShardError(f"{where}: expected KEY.extension as a plain file, found {info.name!r}")
        if name != key:
            if key:
                yield key, members, Span(start, info.offset - start)
            if name in seen:
                raise DamagedShardError(f"{where}: sample {name} lies in two places")
            seen.add(name)
            key, members, start = name, {}, info.offset
        file = archive.extractfile(info)
        body = file.read() if file else b""
        if extension in members or len(body) != info.size:
            raise DamagedShardError(f"{where}: {info.name} is there twice or torn")
        members[extension] = body
        end = info.offset_data + -(-info.size // BLOCK) * BLOCK
    if key:
        yield key, members, Span(start, end - start)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
