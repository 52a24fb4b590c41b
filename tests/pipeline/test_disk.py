"""Hints to the disk: room that is reserved, and bytes that it may begin with. The file is the same without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from patina.pipeline import disk
from patina.pipeline.disk import begin_writing, reserve
from patina.pipeline.format import shard
from patina.pipeline.format.shard import ShardWriter, pack, write_shard

SAMPLES = [pack(key, [("png", key.encode() * 3_000), ("txt", b"words")]) for key in ("a", "b", "c")]


def room(path: Path) -> int:
    """Bytes that the file takes on the disk."""
    return path.stat().st_blocks * 512


def test_room_is_there_before_anything_is_written(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        reserved = reserve(file.fileno(), 1 << 20)
        assert (room(tmp_path / "a") >= 1 << 20) is reserved
        assert (tmp_path / "a").stat().st_size == 0


@pytest.mark.parametrize("expected", [0, 1, 5_000, 1 << 22])
def test_a_shard_takes_the_room_of_its_samples_whatever_was_expected(expected: int, tmp_path: Path) -> None:
    plain = write_shard(tmp_path / "plain.tar", SAMPLES)
    with ShardWriter(tmp_path / "told.tar", expected=expected) as writer:
        for sample in SAMPLES:
            writer.add([sample])
        assert writer.finish() == plain
    assert (tmp_path / "told.tar").read_bytes() == (tmp_path / "plain.tar").read_bytes()
    assert room(tmp_path / "told.tar") < plain.size + (1 << 16)


def test_the_disk_begins_with_each_stretch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []

    def told(descriptor: int, offset: int, size: int) -> None:
        assert offset + size <= os.fstat(descriptor).st_size, "it is asked for what was written"
        begin_writing(descriptor, offset, size)
        begun.append((offset, size))

    monkeypatch.setattr(shard, "begin_writing", told)
    monkeypatch.setattr(shard, "AT_ONCE", 1_000)
    monkeypatch.setattr(shard, "BEGUN", 4_000)
    written = write_shard(tmp_path / "a.tar", SAMPLES)
    ends = [offset + size for offset, size in begun]
    assert len(begun) > 1
    assert [0, *ends[:-1]] == [offset for offset, _ in begun]
    assert written.size - ends[-1] < 4_000 + len(SAMPLES[0])


def test_parts_that_are_read_again_soon_are_left_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "begin_writing", lambda *_: pytest.fail("the disk was told"))
    monkeypatch.setattr(shard, "BEGUN", 1)
    with ShardWriter(tmp_path / "part", lasting=False) as writer:
        writer.add(SAMPLES)


def test_systems_without_such_calls_do_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_them = write_shard(tmp_path / "with.tar", SAMPLES)
    monkeypatch.setattr(disk, "_call", lambda name: None)
    monkeypatch.setattr(shard, "BEGUN", 1)
    with ShardWriter(tmp_path / "without.tar", expected=1 << 20) as writer:
        for sample in SAMPLES:
            writer.add([sample])
        assert writer.finish() == with_them
