"""Files that appear whole or not at all, and the lock that one process holds."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.files import (
    lock,
    remove_leftovers,
    replacing,
    still_names,
    temporary_folder,
    write_atomically,
    write_page,
)


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
    with replacing(tmp_path / "train-0000-noisy.tar") as half:
        assert half.name.startswith(".half-train-0000-noisy.tar.")
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


# ---------------------------------------------------------------------------------------------------------------------
# The lock


class HeldError(Exception):
    """Of these tests: another holds the lock."""


def nothing() -> None:
    """The folder of the lock is there."""


HOLD = """
import sys, time
from pathlib import Path
from patina.pipeline.files import lock
path = Path(sys.argv[1])
with lock(path, ValueError, make=lambda: None, folder=path.is_dir()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("folder", [False, True])
def test_another_process_holds_it_until_it_is_killed(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "place"
    if folder:
        path.mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        for _ in range(2):  # being refused changes nothing
            began = time.monotonic()
            with pytest.raises(HeldError) as caught, lock(path, HeldError, make=nothing, folder=folder):
                pass
            assert time.monotonic() - began < 1
            who = "an unknown process" if folder else f"process {process.pid} of "
            assert str(caught.value).startswith(who)
    finally:
        process.kill()
        process.communicate()
    with lock(path, HeldError, make=nothing, folder=folder):
        pass
    assert path.exists()
    if not folder:
        assert path.read_text().startswith(f"process {os.getpid()} of ")


def test_one_process_holds_it_once_and_an_error_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), lock(path, HeldError, make=nothing) as descriptor:
        assert still_names(path, descriptor)
        with pytest.raises(HeldError, match=f"process {os.getpid()} of "), lock(path, HeldError, make=nothing):
            pass
        _ = 1 / 0
    with lock(path, HeldError, make=nothing):
        pass


def test_it_is_waited_for_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    with lock(tmp_path / "lock", HeldError, make=nothing) as descriptor:
        monkeypatch.setattr(time, "sleep", slept.append)
        with pytest.raises(HeldError), lock(tmp_path / "lock", HeldError, make=nothing, seconds=3):
            pass
        assert slept == [1, 1, 1]
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(descriptor, fcntl.LOCK_UN))
        with lock(tmp_path / "lock", HeldError, make=nothing, seconds=3):
            pass


@pytest.mark.parametrize("folder", [False, True])
def test_what_was_removed_before_it_was_locked_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    """Whoever held a lock without a name would share the place with the next one."""
    path, real = tmp_path / "place", fcntl.flock

    def removed_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        path.rmdir() if folder else path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    make = partial(path.mkdir, exist_ok=True) if folder else nothing
    with lock(path, HeldError, make=make, folder=folder) as descriptor:
        assert still_names(path, descriptor)
        path.rmdir() if folder else path.unlink()
        assert not still_names(path, descriptor)


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    path = tmp_path / "place"
    make = partial(path.mkdir, exist_ok=True) if folder else nothing
    what = "folders" if folder else "files"
    with (
        pytest.raises(OSError, match=f"{tmp_path}: the file system cannot lock {what}: Function not implemented"),
        lock(path, HeldError, make=make, folder=folder),
    ):
        pass


def test_what_is_in_the_way_of_the_lock_is_told(tmp_path: Path) -> None:
    def make() -> None:
        raise FileExistsError(errno.EEXIST, "File exists", "in the way")

    with (
        pytest.raises(OSError, match=f"{tmp_path} cannot be made and locked .*in the way.*remove what is in the way"),
        lock(tmp_path / "lock", HeldError, make=make),
    ):
        pass


# ---------------------------------------------------------------------------------------------------------------------
# What killed processes leave

WRITER = """
import sys, time
from pathlib import Path
from patina.pipeline.files import replacing, temporary_folder
folder, kind = Path(sys.argv[1]), sys.argv[2]
with (temporary_folder if kind == "folder" else replacing)(folder / "a") as half:
    (half / "part" if kind == "folder" else half).write_text("half of it")
    print(half, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_and_what_a_live_one_writes_stays(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), kind]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        halves = []
        for writer in writers:
            assert writer.stdout is not None
            halves.append(Path(writer.stdout.readline().strip()))
        remove_leftovers(tmp_path)
        assert all(half.exists() for half in halves)
        writers[0].kill()
        writers[0].wait()
        assert halves[0].exists(), "it could not remove it"
        remove_leftovers(tmp_path)
        assert [half.exists() for half in halves] == [False, True]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def test_whoever_writes_next_in_a_folder_removes_what_was_left_there(tmp_path: Path) -> None:
    left = [tmp_path / ".half-a.0123abcd.tmp", tmp_path / ".half-b.png.89abcdef.tmp"]
    others = [tmp_path / ".half-a.tmp", tmp_path / "half-a.0123abcd.tmp", tmp_path / ".half-a.0123abcd.tmp.png"]
    for path in (*left, *others):
        path.write_text("x")
    folder = tmp_path / ".half-c.00000000.tmp"
    (folder / "deep").mkdir(parents=True)
    write_atomically(tmp_path / "a", b"x", durable=False)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a", *others]), "users' own names are let be"


def test_a_library_writes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    """safetensors writes another file first, whose name nobody knows, and gives it the name that it was told."""

    def write(half: Path) -> None:
        assert half.name == "a"
        assert half.parent.parent == tmp_path
        half.with_name(".tmp123").write_text("what it would leave if it were killed")
        fresh = half.with_name("b")
        fresh.write_text("whole")
        fresh.replace(half)

    write_atomically(tmp_path / "a", write, durable=True)
    assert (tmp_path / "a").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_temporary_folder_that_is_renamed_stays(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "a") as half:
        (half / "x").touch()
        half.rename(tmp_path / "a")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "x"]
    with pytest.raises(ValueError), temporary_folder(tmp_path / "b"):
        raise ValueError
    assert not list(tmp_path.glob(".half-*"))
