"""A dataset's folder: one build at a time, nobody else's files, and publishing that any interruption leaves whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.errors import BuildError, LockedError, ManifestError, SourceError
from patina.pipeline.format.layout import MANIFEST, PRIVATE
from patina.pipeline.format.manifest import dataset_folder
from patina.pipeline.machine import usable_cores
from patina.pipeline.plan.planning import Options, Stores
from tests.pipeline.making import photos, tiny_recipe

HOLD = """
import sys, time
from pathlib import Path
from patina.pipeline.builder.workspace import Workspace
with Workspace(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder's lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------------------------------------------------------------
# The lock


def test_a_locked_folder_says_who_holds_it_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "out") as process:
        for _ in range(2):  # being refused leaves nothing behind
            with pytest.raises(LockedError) as caught, Workspace(tmp_path / "out"):
                pass
            told = str(caught.value)
            assert told.startswith(f"{tmp_path}/out is being built by process {process.pid} of ")
            assert told.endswith("; wait for it or stop it")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Workspace(tmp_path / "out"):
            assert (tmp_path / "out" / PRIVATE / "lock").read_text().startswith(f"process {os.getpid()} of ")


def test_a_second_workspace_in_one_process_is_refused_too(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out"):
        with pytest.raises(LockedError, match=f"process {os.getpid()} of "), Workspace(tmp_path / "out"):
            pass
        with Workspace(tmp_path / "another"):
            pass
    with Workspace(tmp_path / "out"):
        pass


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Workspace(tmp_path / "out"):
        _ = 1 / 0
    with Workspace(tmp_path / "out"):
        pass


# ---------------------------------------------------------------------------------------------------------------------
# The folder


@pytest.mark.parametrize("name", ["thesis.docx", ".hidden", "folder/"])
def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    other = tmp_path / name
    if name.endswith("/"):
        other.mkdir()
    else:
        other.write_text("of great worth")
    with pytest.raises(ManifestError) as caught, Workspace(tmp_path):
        pass
    assert str(caught.value) == (
        f"{tmp_path} holds files and is no patina dataset; name a new or empty folder with --out"
    )
    assert [path.name for path in tmp_path.iterdir()] == [name.strip("/")]


def test_a_new_an_empty_and_an_own_folder_are_welcome(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "deep" / "er" / "new", tmp_path / "empty", tmp_path / "empty"):
        with Workspace(out) as workspace:
            assert workspace.staging.is_dir()
        (out / "notes.txt").write_text("a user's own, beside the dataset")


def test_a_file_in_the_folders_place_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="out"), Workspace(tmp_path / "out"):
        pass


def test_what_is_no_dataset_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=f"expected a patina dataset, found no {MANIFEST}; build one with `patina"):
        dataset_folder(tmp_path)


def test_there_is_a_core_to_use() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_sweeping_removes_leftovers_and_keeps_what_is_named(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out") as workspace:
        for name in ("train-0000-noisy.tar.0123", "train-0000-noisy.tar.0123.tmp", "kept"):
            (workspace.staging / name).write_bytes(b"x")
        (workspace.staging / "publish" / "shards").mkdir(parents=True)
        (workspace.staging / "publish" / "shards" / "half.tar").write_text("{}")
        workspace.sweep(["kept"])
        assert [path.name for path in workspace.staging.iterdir()] == ["kept"]
        workspace.sweep(())
        assert list(workspace.staging.iterdir()) == []


def test_a_lock_is_asked_for_and_not_waited_for(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out"):
        start = time.monotonic()
        with pytest.raises(LockedError), Workspace(tmp_path / "out"):
            pass
        assert time.monotonic() - start < 1


# ---------------------------------------------------------------------------------------------------------------------
# A folder that was made for nothing


def fails(out: Path, leaving: Callable[[Workspace], object] = lambda _: None) -> None:
    """A run that opens its stores, leaves something, and fails."""
    with pytest.raises(ZeroDivisionError), Workspace(out) as workspace, Stores.open(out):
        leaving(workspace)
        _ = 1 / 0


def test_what_a_failed_run_made_for_nothing_goes_again(tmp_path: Path) -> None:
    fails(tmp_path / "deep" / "er" / "out")
    assert not (tmp_path / "deep").exists()
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    (tmp_path / "deep").mkdir()
    fails(tmp_path / "deep" / "er" / "out", lambda w: (w.out.parent / "notes.txt").write_text("a user's own"))
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["notes.txt"]


def keep_digest(workspace: Workspace) -> None:
    with ScanStore(workspace.private / "scan.sqlite") as store:
        store.put_remote([("https://example.org/a.png", "etag", 1, "00" * 32)])


def keep_caption(workspace: Workspace) -> None:
    with CaptionStore(workspace.private / "captions.sqlite") as store:
        store.put([("00" * 32, "a caption")], "fingerprint")


@pytest.mark.parametrize(
    "leaving",
    [
        keep_digest,
        keep_caption,
        lambda w: (w.staging / "train-0000-noisy.tar.0123").touch(),
        lambda w: (w.private / "journal.json").write_text("half"),
        lambda w: (w.private / "aside").mkdir(),
        lambda w: (w.private / "scan.sqlite").write_bytes(b"damaged, and perhaps to be rescued"),
    ],
)
def test_what_is_worth_keeping_stays(tmp_path: Path, leaving: Callable[[Workspace], object]) -> None:
    fails(tmp_path / "out", leaving)
    assert {"lock", "scan.sqlite", "captions.sqlite"} <= {p.name for p in (tmp_path / "out" / PRIVATE).iterdir()}


def test_a_folder_of_an_earlier_run_stays_and_so_does_one_that_went_well(tmp_path: Path) -> None:
    with Workspace(tmp_path / "out"):
        pass
    fails(tmp_path / "out")
    with Workspace(tmp_path / "new"), pytest.raises(LockedError), Workspace(tmp_path / "new"):
        pass
    assert (tmp_path / "out" / PRIVATE / "lock").exists()
    assert (tmp_path / "new" / PRIVATE / "lock").exists()


@pytest.mark.parametrize("step", ["mkdir", "open", "flock"])
def test_a_folder_removed_while_its_lock_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whoever has opened a lock that has no name any more would share the folder with the next one."""
    out = tmp_path / "out"
    first = Workspace(out)
    first.__enter__()
    whose, name = {"mkdir": (Path, "mkdir"), "open": (os, "open"), "flock": (fcntl, "flock")}[step]
    real = getattr(whose, name)

    def then_the_first_fails(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(whose, name, real)
        if step == "flock":
            first.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
            return real(*args, **kwargs)
        result = real(*args, **kwargs)
        first.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        return result

    monkeypatch.setattr(whose, name, then_the_first_fails)
    with Workspace(out) as second:
        assert second.staging.is_dir()
        assert os.path.samestat((out / PRIVATE / "lock").stat(), os.fstat(second._lock or 0))
        with pytest.raises(LockedError), Workspace(out):
            pass


def test_many_that_fail_at_once_never_share_the_folder(tmp_path: Path) -> None:
    out, inside, together = tmp_path / "out", threading.Lock(), threading.Barrier(5)

    def run() -> None:
        times = 0
        together.wait()
        while times < 20:
            with contextlib.suppress(LockedError, ZeroDivisionError), Workspace(out):
                assert inside.acquire(blocking=False), "two are in"
                times += 1
                inside.release()
                _ = 1 / 0

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(run) for _ in range(5)]:
            done.result()
    left = {path.relative_to(out).as_posix() for path in out.rglob("*")} if out.exists() else set()
    assert left <= {PRIVATE, f"{PRIVATE}/staging", f"{PRIVATE}/lock"}


def test_a_lock_that_cannot_be_made_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    (tmp_path / "out" / PRIVATE).mkdir(parents=True)
    (tmp_path / "out" / PRIVATE / "lock").symlink_to(tmp_path / "nowhere" / "lock")
    with pytest.raises(OSError, match=r"out/\.patina cannot be made and locked .*/lock.*remove what is"):
        Workspace(tmp_path / "out").__enter__()
    (tmp_path / "new" / PRIVATE).mkdir(parents=True)
    (tmp_path / "new" / PRIVATE / "staging").touch()
    with pytest.raises(OSError, match=r"new/\.patina cannot be made and locked .*/staging.*remove what is"):
        Workspace(tmp_path / "new").__enter__()


def test_a_build_that_finds_nothing_leaves_nothing(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    with pytest.raises(SourceError, match="expected a folder of photographs"):
        build(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    photos(tmp_path / "photos", 1)
    (tmp_path / "photos" / "bad.png").write_bytes(b"no image")
    with pytest.raises(BuildError, match="--strict"):
        build(recipe, tmp_path / "out", Options(strict=True))
    assert (tmp_path / "out" / PRIVATE / "scan.sqlite").exists(), "what was found out about the photographs"
