"""Too little memory and disks that are gone, in other work than a build: one clear sentence, whatever was under way."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.ImageFile
import pyarrow as pa
import pytest

from patina.pipeline.builder.build import build, result_if_idle
from patina.pipeline.builder.watch import watch
from patina.pipeline.disk_errors import OutputError, explain_disk_errors
from patina.pipeline.errors import BuildError
from patina.pipeline.export import run as exporting
from patina.pipeline.export.run import choose, export
from patina.pipeline.format import manifest as manifests
from patina.pipeline.format.layout import PRIVATE, SAMPLES, SHARDS
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.report import check as checking
from patina.pipeline.report import gallery as showing
from patina.pipeline.report.check import check
from patina.pipeline.report.gallery import contact_sheet, ladder_sheet, write_gallery
from tests.pipeline.making import photos, tiny_recipe


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    photos(tmp_path / "photos", 3)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    return tmp_path / "out"


def no_memory(*_: object, **__: object) -> Any:
    raise MemoryError


def plan(out: Path) -> object:
    photos(out.parent / "photos", 4)  # one that is new, and has to be looked at
    return plan_build(tiny_recipe(out.parent), out, Options())


def idle(out: Path) -> object:
    photos(out.parent / "photos", 4)
    return result_if_idle(tiny_recipe(out.parent), out, Options())


def watched(out: Path) -> object:
    photos(out.parent / "photos", 4)
    return watch(tiny_recipe(out.parent), out, Options(), quiet=0.0)


def page(out: Path) -> object:
    return write_gallery(out, None, 5)


def folders(out: Path) -> object:
    return export(out, out.parent / "export", choose("folders"))


WORK: dict[Callable[[Path], object], tuple[Any, str, str]] = {
    plan: (PIL.ImageFile.ImageFile, "load", "too little memory for .*good-003.png; plan with fewer --workers"),
    idle: (PIL.ImageFile.ImageFile, "load", "too little memory for .*good-003.png; plan with fewer --workers"),
    watched: (PIL.ImageFile.ImageFile, "load", "too little memory for .*good-003.png; plan with fewer --workers"),
    check: (checking, "decode", "too little memory; check with fewer --workers"),
    folders: (exporting, "read_shard", "too little memory; export with fewer --workers"),
    page: (showing, "lq_and_gt", "too little memory; show fewer samples"),
    contact_sheet: (showing, "lq_and_gt", "too little memory; show fewer samples"),
    ladder_sheet: (showing, "lq_and_gt", "too little memory; show fewer samples"),
}


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_too_little_memory(dataset: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path], object]) -> None:
    whose, name, told = WORK[work]
    with monkeypatch.context() as patched:
        patched.setattr(whose, name, no_memory)
        with pytest.raises(BuildError, match=told):
            work(dataset)
    work(dataset)


def test_a_table_for_which_memory_does_not_suffice_is_not_damaged(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> pa.Table:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(manifests, "read_columns", full)
    with pytest.raises(BuildError, match="too little memory for malloc of size 64 failed; check with fewer"):
        check(dataset)


@pytest.mark.parametrize("work", [plan, check, folders, page, contact_sheet, ladder_sheet])
def test_a_disk_that_is_gone(dataset: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path], object]) -> None:
    """Shards that cannot be found any more are no finding, and not for a build to make again."""

    def then_it_goes(function: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*args: Any) -> Any:
            found = function(*args)
            if dataset.exists():
                dataset.rename(dataset.with_name("unmounted"))
            return found

        return reading

    for module in ("format.manifest", "export.run", "format.statistics"):
        monkeypatch.setattr(f"patina.pipeline.{module}.read_table", then_it_goes(manifests.read_table))
    monkeypatch.setattr("patina.pipeline.plan.planning.load_manifest", then_it_goes(manifests.load_manifest))
    with pytest.raises(OutputError) as caught:
        work(dataset)
    assert str(caught.value) == (
        f"{dataset}: the folder was there and is gone; see that its disk is connected, and run it again"
    )


def test_a_missing_shard_alone_is_a_finding_as_before(dataset: Path) -> None:
    next((dataset / SHARDS).glob("*.tar")).unlink()
    assert [finding.what for finding in check(dataset).findings] == ["is missing; `patina build` makes it again"]


def test_a_dataset_that_can_only_be_read_is_checked_all_the_same(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next((dataset / SHARDS).glob("*.tar")).unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    monkeypatch.setattr(checking.ScanStore, "forget", lambda *_: pytest.fail("it cannot be written to"))
    assert len(check(dataset).findings) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EIO, "Input/output error", "x"),
            " (at x): the disk fails, or is gone; see that it is connected",
        ),
        (OSError(errno.ESTALE, "Stale file handle"), ": the disk on the network is gone; see that it is connected"),
        (OSError(errno.ENOSPC, "No space left"), ": the disk is full; make room and run it again"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), " (at x): access is forbidden; make it writable"),
        (OSError(errno.EROFS, "Read-only file system"), ": the disk can only be read; make it writable, or name"),
    ],
)
def test_what_a_disk_says(tmp_path: Path, error: OSError, words: str) -> None:
    with pytest.raises(OutputError) as caught, explain_disk_errors(tmp_path, building=False):
        raise error
    assert str(caught.value).startswith(f"{tmp_path}{words}")
    assert "kept" not in str(caught.value)


@pytest.mark.parametrize(("versions", "is_told"), [(0, False), (1, False), (2, True)])
def test_a_full_disk_tells_of_versions_that_can_go(tmp_path: Path, versions: int, is_told: bool) -> None:
    for number in range(versions):
        (tmp_path / PRIVATE / "versions" / f"{number}-0123456789abcdef").mkdir(parents=True)
    with pytest.raises(OutputError) as caught, explain_disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left")
    assert (f"`patina gc {tmp_path}` removes earlier versions" in str(caught.value)) == is_told
    with pytest.raises(OutputError) as caught, explain_disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert "patina gc" not in str(caught.value)


def test_a_busy_database_is_not_taken_for_a_failing_disk(tmp_path: Path) -> None:
    """Numbers of SQLite's errors and of the system's mean other things: 5 is busy here, a failing disk there."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    assert int(sqlite3.SQLITE_BUSY) == errno.EIO
    with pytest.raises(OutputError, match="database is locked; run it again"), explain_disk_errors(tmp_path):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explain_disk_errors(tmp_path):
        (tmp_path / SAMPLES).read_bytes()
    with pytest.raises(ZeroDivisionError), explain_disk_errors(tmp_path):
        _ = 1 / 0


def test_too_many_open_files_say_what_to_do(tmp_path: Path) -> None:
    """Wherever it happened: a shard, a store, a photograph."""
    for code, who in ((errno.EMFILE, "this process"), (errno.ENFILE, "this machine")):
        told = rf"{who} may open no more files; allow more \(ulimit -n 4096\), or use fewer --workers"
        with pytest.raises(OutputError, match=told), explain_disk_errors(tmp_path):
            raise OSError(code, os.strerror(code), str(tmp_path / "shard.tar"))
