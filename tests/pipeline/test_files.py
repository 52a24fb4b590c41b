"""Files that appear whole or not at all, and the lock that one process holds."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from patina.pipeline.files import replacing, write_atomically, write_page


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("content", ["grüße", "grüße".encode(), lambda half: half.write_text("grüße", "utf-8")])
def test_text_bytes_and_what_writes_them(
    tmp_path: Path, content: str | bytes | Callable[[Path], object], durable: bool
) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    write_atomically(path, content, durable=durable)
    assert path.read_bytes() == "grüße".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_the_earlier_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    with replacing(path) as half:
        half.write_text("after")
        assert path.read_text() == "before"
        assert half.parent == tmp_path
    assert path.read_text() == "after"


@pytest.mark.parametrize("kind", [OSError, ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def fails(half: Path) -> None:
        half.write_text("aft")
        raise kind

    with pytest.raises(kind):
        write_atomically(path, fails, durable=True)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "a", b"x", durable=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a", b"x", durable=False)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the one that ended last
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_has_the_name_by_which_it_is_swept(tmp_path: Path) -> None:
    with replacing(tmp_path / "train-noisy-0000.tar") as half:
        assert half.name.startswith(".half-train-noisy-0000.tar.")
        assert half.suffix == ".tmp"
        assert half in tmp_path.glob("*.tmp")
    (tmp_path / "a.tmp").write_text("left by a process that was killed, and longer")
    with replacing(tmp_path / "a", temporary=tmp_path / "a.tmp") as half:
        assert half == tmp_path / "a.tmp"
        assert half.read_bytes() == b""
    assert not half.exists()


@pytest.mark.parametrize("letter", ["a", "ü", "写", "😀"])
def test_the_longest_name_that_a_file_can_have(tmp_path: Path, letter: str) -> None:
    path = tmp_path / (letter * (255 // len(letter.encode())))
    write_atomically(path, b"x", durable=False)
    assert path.read_bytes() == b"x"


def test_who_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "mine", private=True):
            pass
        with replacing(tmp_path / "ours") as half:
            half.chmod(0o600)  # as a library may do
    finally:
        os.umask(before)
    assert mode(tmp_path / "mine") == 0o600
    assert mode(tmp_path / "ours") == 0o640


def test_durable_files_are_forced_to_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, forced = tmp_path / "a", list[tuple[str, bool]]()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        forced.append(("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file", path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, b"x", durable=True)
    assert forced == [("file", False), ("folder", True)]
    write_atomically(path, b"y", durable=False)
    assert len(forced) == 2


def test_a_disk_that_takes_no_more_is_said_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a", b"x", durable=False)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_page_makes_its_folders_and_spells_what_is_no_text(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a" / "b" / "page.html", "ü\udcff")
    assert path.read_bytes() == "ü&#56575;".encode()
