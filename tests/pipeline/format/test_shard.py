"""Shards: tar files that every reader knows, with bytes that depend on their samples alone; and no damage passes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from patina.pipeline.errors import DamagedShardError
from patina.pipeline.format.shard import (
    AT_ONCE,
    BLOCK,
    END,
    ShardWriter,
    Span,
    pack,
    read_shard,
    read_span,
    tar_header,
    unpack,
    write_shard,
)
from patina.pipeline.hashing import file_sha256

# Keys as patina writes them: 16 hex digits, then tile and variant.
FIRST = ("0123456789abcdef", {"png": b"lq" * 400, "gt.png": b"gt" * 256, "txt": "crêpe".encode(), "json": b"{}"})
SECOND = ("0123456789abcdef-y00032x00064", {"jpg": b"", "gt.jpg": b"x", "json": b"[]", "mask.png": b"m" * 512})
THIRD = ("fedcba9876543210-v001", {"png": b"p" * 511, "gt.png": b"g" * 513, "txt": b"t", "json": b"{}"})
SAMPLES = (FIRST, SECOND, THIRD)

keys = st.from_regex(r"[0-9a-f]{16}(-y[0-9]{5}x[0-9]{5})?(-v[0-9]{3})?", fullmatch=True)
bodies = st.fixed_dictionaries(
    {"png": st.binary(max_size=1200), "gt.png": st.binary(max_size=1200), "txt": st.binary(max_size=40)},
    optional={"mask.png": st.binary(max_size=600), "json": st.binary(max_size=100)},
)
shards = st.dictionaries(keys, bodies, max_size=4)


def packed(samples: object = SAMPLES) -> list[bytes]:
    return [pack(key, list(members.items())) for key, members in samples]  # type: ignore[attr-defined]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A shard of three samples."""
    path = tmp_path / "train-0000-noisy.tar"
    write_shard(path, packed())
    return path


# ---------------------------------------------------------------------------------------------------------------------
# What is written


@given(
    name=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=100),
    size=st.one_of(st.integers(0, 2**20), st.integers(0, 8**11 - 1)),
)
def test_a_header_is_the_one_of_the_standard_library(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    assert tar_header(name, size) == info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


@pytest.mark.parametrize(("name", "size"), [("n" * 101, 1), ("a.png", 8**11), ("a.png", -1), ("é.png", 1)])
def test_what_no_header_can_hold_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=r"8 GiB and a name of 100 bytes|ascii"):
        tar_header(name, size)


@settings(deadline=None)
@given(shards)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, samples: dict) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard.tar"
    written = write_shard(path, packed(samples.items()))

    assert written.size == path.stat().st_size
    assert written.sha256 == file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()

    found = list(read_shard(path))
    assert [(key, members) for key, members, _ in found] == list(samples.items())
    assert [list(members) for _, members, _ in found] == [list(members) for members in samples.values()]  # in order
    assert tuple(span for _, _, span in found) == written.spans

    for (key, members), span in zip(samples.items(), written.spans, strict=True):
        data = read_span(path, span)
        assert data == pack(key, list(members.items()))
        assert unpack(data, "here") == (key, members)

    with tarfile.open(path) as archive:
        names = [f"{key}.{extension}" for key, members in samples.items() for extension in members]
        assert archive.getnames() == names
        bodies = [body for members in samples.values() for body in members.values()]
        assert [archive.extractfile(info).read() for info in archive] == bodies  # type: ignore[union-attr]


def test_every_member_has_the_same_owner_mode_and_time(shard: Path) -> None:
    with tarfile.open(shard) as archive:
        facts = {(i.uid, i.gid, i.uname, i.gname, i.mode, i.mtime, i.type, i.linkname) for i in archive}
    assert facts == {(0, 0, "", "", 0o644, 0, tarfile.REGTYPE, "")}


def test_the_same_samples_give_the_same_bytes(tmp_path: Path, shard: Path) -> None:
    again = tmp_path / "again.tar"
    assert write_shard(again, iter(packed())).sha256 == file_sha256(shard)
    assert again.read_bytes() == shard.read_bytes()


def test_a_sample_has_the_same_bytes_in_every_shard(tmp_path: Path) -> None:
    """So a copy is a copy of bytes, and nothing is decoded for it."""
    both, alone = tmp_path / "both.tar", tmp_path / "alone.tar"
    in_both = write_shard(both, packed()).spans[1]
    in_one = write_shard(alone, packed([SECOND])).spans[0]
    assert read_span(both, in_both) == read_span(alone, in_one)


def test_an_empty_shard_is_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "empty.tar"
    assert write_shard(path, []).size == len(END)
    assert list(read_shard(path)) == []
    with tarfile.open(path) as archive:
        assert archive.getnames() == []


# ---------------------------------------------------------------------------------------------------------------------
# What is damaged


WHOLE = b"".join(packed()) + END
MEMBERS = {(key, name): body for key, members in SAMPLES for name, body in members.items()}


def members_in(path: Path, data: bytes) -> dict[tuple[str, str], bytes] | None:
    """What a reader makes of these bytes; None if it refuses them. Any other error is a failure of the test."""
    path.write_bytes(data)
    try:
        return {(key, name): body for key, members, _ in read_shard(path) for name, body in members.items()}
    except DamagedShardError as error:
        assert str(error).startswith(f"{path.name}: ")
        return None


@settings(deadline=None, max_examples=400)
@given(start=st.integers(0, len(WHOLE) - 1), new=st.binary(min_size=1, max_size=16))
@example(start=14, new=b"Tw")
def test_bytes_that_changed_are_refused_or_change_one_body(
    tmp_path_factory: pytest.TempPathFactory, start: int, new: bytes
) -> None:
    """A changed body cannot be told from the tar, nor a name whose bytes have the same sum, which is all that a tar's
    header has of them; its shard's SHA-256 tells both, and stands in the manifest."""
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    damaged = (WHOLE[:start] + new + WHOLE[start + len(new) :])[: len(WHOLE)]
    found = members_in(path, damaged)
    if damaged == WHOLE:
        assert found == MEMBERS
    elif found is not None and list(found) != list(MEMBERS):
        assert sum(damaged) == sum(WHOLE)
        assert list(found.values()) == list(MEMBERS.values())
    elif found is not None:
        assert sum(found[name] != MEMBERS[name] for name in MEMBERS) == 1


@settings(deadline=None, max_examples=200)
@given(start=st.integers(0, len(WHOLE) - 1), length=st.integers(1, len(WHOLE)))
def test_bytes_that_are_cut_out_are_refused_unless_they_are_whole_members(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int
) -> None:
    found = members_in(tmp_path_factory.getbasetemp() / "cut.tar", WHOLE[:start] + WHOLE[start + length :])
    if found is not None:
        assert set(found) < set(MEMBERS)  # a cut may join the bodies of two; that, too, the SHA-256 tells


def test_a_shard_cut_anywhere_at_its_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.tar"
    for length in range(0, len(WHOLE), 64):
        assert members_in(path, WHOLE[:length]) is None


def in_every_header(change: Callable[[bytearray], None]) -> list[bytes]:
    """The shard with one header changed, and its checksum made to fit: what a reader that checks sums would believe."""
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as archive:
        places = [info.offset for info in archive]
    found = []
    for place in places:
        header = bytearray(WHOLE[place : place + BLOCK])
        change(header)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        found.append(WHOLE[:place] + bytes(header) + WHOLE[place + BLOCK :])
    return found


def put(place: int, value: bytes) -> Callable[[bytearray], None]:
    def change(header: bytearray) -> None:
        header[place : place + len(value)] = value

    return change


HOSTILE: dict[str, Callable[[bytearray], None]] = {
    "leads up": put(0, b"../etc/passwd.png\0"),
    "absolute": put(0, b"/etc/cron.d/a.png\0"),
    "in a folder": put(0, b"a/b.png\0"),
    "no extension": put(0, b"README\0"),
    "no key": put(0, b".png\0"),
    "an escape": put(0, b"\x1b[2J.png\0"),
    "a hidden end": put(0, b"a.png\0.exe\0"),
    "a prefix": put(345, b"elsewhere\0"),
    "a hard link": put(156, b"1etc/passwd"),
    "a symbolic link": put(156, b"2/etc/passwd"),
    "a character device": put(156, b"3"),
    "a block device": put(156, b"4"),
    "a folder": put(156, b"5"),
    "a pipe": put(156, b"6"),
    "a contiguous file": put(156, b"7"),
    "GNU's long name": put(156, b"L"),
    "GNU's long link": put(156, b"K"),
    "GNU's sparse file": put(156, b"S"),
    "a pax header": put(156, b"x"),
    "a global pax header": put(156, b"g"),
    "an old file": put(156, b"\0"),
    "set-user-id": put(100, b"0004755\0"),
    "an owner": put(108, b"0001750\0"),
    "a time": put(136, b"14706754000\0"),
    "a size beyond the end": put(124, b"77777777777\0"),
    "a size in base 256": put(124, b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7),
    "a negative size": put(124, b"\xff" * 12),
    "no size": put(124, b"\0" * 12),
    "a size in words": put(124, b"many bytes\0\0"),
    "GNU's magic": put(257, b"ustar  \0"),
    "no magic": put(257, b"\0" * 8),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "hostile.tar"
    for data in in_every_header(HOSTILE[kind]):
        path.write_bytes(data)
        with pytest.raises(DamagedShardError, match=r"^hostile.tar: "):
            list(read_shard(path))


def test_the_same_key_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.tar"
    write_shard(path, packed([FIRST, THIRD, FIRST]))
    with pytest.raises(DamagedShardError, match="sample 0123456789abcdef lies in two places"):
        list(read_shard(path))
    write_shard(path, packed([FIRST, FIRST]))
    with pytest.raises(DamagedShardError, match=r"0123456789abcdef.png is there twice or torn"):
        list(read_shard(path))


def test_a_longer_file_is_refused(shard: Path) -> None:
    whole = shard.read_bytes()
    for more in (b"\0", b"\0" * BLOCK, packed([("0000000000000000", {"png": b"x"})])[0]):
        shard.write_bytes(whole + more)
        with pytest.raises(DamagedShardError):
            list(read_shard(shard))


@pytest.mark.parametrize("data", [b"", b"\0" * BLOCK, b"PK\x03\x04 a zip", b"\x1f\x8b" + b"\0" * 2000], ids=range(4))
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.tar"
    path.write_bytes(data)
    with pytest.raises(DamagedShardError, match=r"^other.tar: "):
        list(read_shard(path))


def test_a_span_beyond_the_end_is_refused(shard: Path) -> None:
    size = shard.stat().st_size
    with pytest.raises(DamagedShardError, match=f"train-0000-noisy.tar: expected 900 bytes at {size - 512}, found 512"):
        read_span(shard, Span(size - 512, 900))


@pytest.mark.parametrize("data", [b"", b"x" * 700, packed()[0] + packed()[1], packed()[0][:-1], packed()[0] + END])
def test_what_is_not_one_sample_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedShardError, match=r"^here: "):
        unpack(data, "here")


@pytest.mark.parametrize("cut", [1, 511, 512, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 10**6])
def test_a_sample_in_pieces_is_written_as_the_whole(cut: int, tmp_path: Path) -> None:
    """Digest, places and sums do not depend on where pieces end, nor on which of them are large."""
    body = bytes(range(256)) * (AT_ONCE // 100)
    samples = [pack("a", [("png", body), ("txt", b"one")]), pack("b", [("txt", b"two"), ("gt.png", body[7:])])]
    whole = write_shard(tmp_path / "whole.tar", samples)
    step = max(cut, 100)
    with ShardWriter(tmp_path / "pieces.tar") as writer:
        sums = [writer.add(data[i : i + step] for i in range(0, len(data), step)) for data in samples]
        assert writer.finish() == whole
    assert sums == [zlib.crc32(data) for data in samples]
    assert (tmp_path / "pieces.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_no_call_is_given_more_bytes_than_every_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [b"a" * 700, b"", b"b" * 3_000, b"c" * 10, b"d" * 999]
    given: list[int] = []
    write, writev = os.write, os.writev

    def one(descriptor: int, data: memoryview) -> int:
        given.append(len(data))
        return write(descriptor, data)

    def several(descriptor: int, data: list[bytes]) -> int:
        given.append(sum(map(len, data)))
        return writev(descriptor, data)

    monkeypatch.setattr("patina.pipeline.format.shard.MOST", 1_000)
    monkeypatch.setattr(os, "write", one)
    monkeypatch.setattr(os, "writev", several)
    with ShardWriter(tmp_path / "large.tar") as writer:
        writer.add(pieces)
        written = writer.finish()
    assert (tmp_path / "large.tar").read_bytes() == b"".join(pieces) + END
    assert written.sha256 == file_sha256(tmp_path / "large.tar")
    assert max(given) <= 1_000
