"""Forty ways for what is given and where it goes to lie: nothing given changes, nothing is passed over unseen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from patina.pipeline.errors import SourceError
from patina.training.errors import CheckpointError
from patina.training.restore import places
from patina.training.restore.files import restore_files
from patina.training.restore.places import note_result, plan_restoring
from tests.pipeline.making import photo
from tests.training.restore.test_restorer import of_pixels

Given = tuple[list[str], str]
"""The paths that are given and the output folder, below the test's folder."""

Links = dict[str, str] | None
State = dict[Path, tuple[bytes, int, int]]


def files(at: Path, *names: str) -> None:
    """Small photographs, each another one."""
    for name in names:
        photo(at / name, 32, 24, seed=sum(map(ord, name)))


def made(
    *names: str, links: dict[str, str] | None = None, hard: dict[str, str] | None = None
) -> Callable[[Path], None]:
    """Makes photographs, then symbolic links (by their text) and hard links."""

    def make(at: Path) -> None:
        files(at, *names)
        for link, target in (links or {}).items():
            (at / link).parent.mkdir(parents=True, exist_ok=True)
            (at / link).symlink_to(target)
        for link, target in (hard or {}).items():
            (at / link).parent.mkdir(parents=True, exist_ok=True)
            os.link(at / target, at / link)

    return make


def dataset(at: Path) -> None:
    files(at, "in/a.png", "in/set/gallery/b.png")
    (at / "in" / "set" / ".patina").mkdir()


def pipe(at: Path) -> None:
    files(at, "in/a.png")
    os.mkfifo(at / "in" / "b.png")


def folder_called_so(at: Path) -> None:
    files(at, "in/a.png")
    (at / "out" / "a.png").mkdir(parents=True)


def file_where_a_folder_goes(at: Path) -> None:
    files(at, "in/deep/a.png", "elsewhere.png")
    (at / "out").mkdir()
    (at / "out" / "deep").write_text("notes")


FREE: dict[str, tuple[Callable[[Path], None], Given]] = {
    "a folder": (made("in/a.png", "in/deep/b.jpg"), (["in"], "out")),
    "a file": (made("in/a.png", "in/b.png"), (["in/a.png"], "out")),
    "several files": (made("a.png", "b.png"), (["a.png", "b.png"], "out")),
    "two folders": (made("x/a.png", "y/b.png"), (["x", "y"], "out")),
    "a folder and a file in it": (made("in/a.png", "in/b.png"), (["in", "in/a.png"], "out")),
    "a folder twice": (made("in/a.png"), (["in", "in/../in"], "out")),
    "a nested folder given too": (made("in/a.png", "in/deep/b.png"), (["in", "in/deep"], "out")),
    "output in the input, empty": (made("in/a.png", "in/deep/b.png"), (["in"], "in/restored")),
    "output in the input, with others": (made("in/a.png", "in/sub/b.png"), (["in"], "in/sub")),
    "output deep in the input": (made("in/a.png", "in/sub/deep/b.png"), (["in"], "in/sub/deep")),
    "output above the input": (made("in/a.png"), (["in"], ".")),
    "output above, another there": (made("in/a.png", "b.png"), (["in"], ".")),
    "output beside, by dots": (made("in/a.png"), (["in"], "in/../out")),
    "a linked folder in the input": (made("in/a.png", "far/b.png", links={"in/link": "../far"}), (["in"], "out")),
    "a link that leads up": (made("in/a.png", links={"in/up": "."}), (["in"], "out")),
    "a link that leads far up": (made("in/deep/a.png", links={"in/deep/up": "../.."}), (["in"], "out")),
    "a linked photograph": (made("far/a.png", links={"in/a.png": "../far/a.png"}), (["in"], "out")),
    "a broken link": (made("in/a.png", links={"in/b.png": "nowhere.png"}), (["in"], "out")),
    "hidden ones": (made("in/a.png", "in/.b.png", "in/.hidden/c.png"), (["in"], "out")),
    "a dataset in the input": (dataset, (["in"], "out")),
    "a pipe": (pipe, (["in"], "out")),
    "hard links in the input": (made("in/a.png", hard={"in/b.png": "in/a.png"}), (["in"], "out")),
    "a linked output folder": (made("in/a.png", "far/z.png", links={"out": "far"}), (["in"], "out")),
    "odd names": (made("in/ä ö.png", "in/a\n.png", "in/-x.png"), (["in"], "out")),
    "one name in two cases": (made("in/a.png", "in/A.png"), (["in"], "out")),
    "upper case suffix": (made("in/a.PNG", "in/a.Jpg"), (["in"], "out")),
    "a file named as the output": (made("in/out.png"), (["in"], "in/out")),
    "output in another input": (made("x/a.png", "y/b.png"), (["x", "y"], "y/out")),
}
REFUSED: dict[str, tuple[Callable[[Path], None], Given]] = {
    "the folder itself": (made("in/a.png"), (["in"], "in")),
    "the folder itself by dots": (made("in/a.png", "in/deep/b.png"), (["in"], "in/deep/..")),
    "the folder itself by a link": (made("in/a.png", links={"out": "in"}), (["in"], "out")),
    "output in the input, equal names": (made("in/a.png", "in/sub/a.png"), (["in"], "in/sub")),
    "output in the input by a link": (made("in/a.png", "in/sub/a.png", links={"out": "in/sub"}), (["in"], "out")),
    "output is a linked folder of it": (
        made("in/a.png", "far/a.png", links={"in/link": "../far"}), (["in"], "in/link"),
    ),
    "equal names, two folders": (made("x/a.png", "y/a.png"), (["x", "y"], "out")),
    "equal names, output in one": (made("x/a.png", "y/a.png"), (["x", "y"], "y")),
    "a file where its output goes": (made("in/a.png", "b/a.png"), (["b/a.png", "in/a.png"], "in")),
    "a hard link at the output": (made("in/a.png", hard={"out/a.png": "in/a.png"}), (["in"], "out")),
    "a link at the output": (made("in/a.png", links={"out/a.png": "../in/a.png"}), (["in"], "out")),
    "a given link at the output": (made("far/a.png", links={"in/a.png": "../far/a.png"}), (["in"], "far")),
    "two linked folders of the output": (
        made("x/p/a.png", "y/q/a.png", "out/p/z.png", links={"out/q": "p"}), (["x", "y"], "out"),
    ),
    "a hidden one at the output": (made("in/.x/a.png", "in/a.png"), (["in"], "in/.x")),
    "output above, an equal name given": (made("in/a.png", "a.png"), (["in", "a.png"], ".")),
    "equal names after conversion": (made("in/a.png", "in/a.gif"), (["in"], "out")),
    "the output is a file": (made("in/a.png", "out.png"), (["in"], "out.png")),
    "the output is the photograph": (made("in/a.png"), (["in/a.png"], "in/a.png")),
    "the output is a broken link": (made("in/a.png", links={"out": "nowhere"}), (["in"], "out")),
    "a folder at the output": (folder_called_so, (["in"], "out")),
    "a file where a folder goes": (file_where_a_folder_goes, (["in"], "out")),
    "a file that is a folder too": (made("x/a.png", "y/a.png/b.png"), (["x", "y"], "out")),
}  # fmt: skip


def state(at: Path) -> State:
    """Every file below a folder: its bytes, time and place on the disk. Links are not followed."""
    found: State = {}
    for root, _, names in os.walk(at):
        for path in (Path(root, name) for name in names):
            stat = path.lstat()
            data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[path] = (data, stat.st_mtime_ns, stat.st_ino)
    return found


def images_given(at: Path, paths: list[str]) -> set[str]:
    """Real paths of all image files in what is given, by another walk than the one that is tested."""
    found = set()
    for path in (at / name for name in paths):
        for root, _, names in os.walk(path, followlinks=False):
            found |= {os.path.realpath(Path(root, n)) for n in names if n.lower().endswith((".png", ".jpg", ".gif"))}
        if path.is_file():
            found.add(os.path.realpath(path))
    return found


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path_factory.mktemp("cache")))
    torch.manual_seed(3)


def test_there_are_forty_layouts() -> None:
    assert len(FREE) + len(REFUSED) >= 40


@pytest.mark.parametrize("name", FREE)
def test_what_is_given_stays_and_is_restored_or_named(name: str, tmp_path: Path) -> None:
    make, (given, out) = FREE[name]
    make(tmp_path)
    paths, before = [tmp_path / path for path in given], state(tmp_path)
    inputs = images_given(tmp_path, given)
    net = of_pixels("described", lambda x: x * 0.4)[0]
    for _ in range(2):  # a second run finds the first one's results, which are nobody's photographs
        plan = plan_restoring(paths, tmp_path / out)
        results = restore_files(paths, tmp_path / out, net)
        after = state(tmp_path)
        assert {path: after[path] for path in before} == before
        assert [result.error for result in results] == [""] * len(results)
        told = {os.path.realpath(result.source) for result in results} | {os.path.realpath(p) for p, _ in plan.passed}
        assert inputs <= told
        assert all(any(str(path) in line or "\n" in path.name for line in plan.lines) for path, _ in plan.passed)
        written = {result.out for result in results}
        assert len(written) == len(results)
        assert {path.resolve() for path in written if path} <= {path.resolve() for path in after}
    assert {path.resolve() for path in after.keys() - before.keys()} == {path.resolve() for path in written if path}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_replace_something_is_refused_before_the_first_picture(name: str, tmp_path: Path) -> None:
    make, (given, out) = REFUSED[name]
    make(tmp_path)
    before = state(tmp_path)
    with pytest.raises((SourceError, CheckpointError)) as caught:
        restore_files([tmp_path / path for path in given], tmp_path / out, of_pixels("described", lambda x: x * 0.4)[0])
    assert state(tmp_path) == before
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_names_that_a_file_system_takes_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here `A` and `a` are two; where they are one, the second restored photograph would replace the first."""
    files(tmp_path, "x/a.png", "y/A.png", "x/gr\u00fcn.png", "z/gru\u0308n.png")
    assert len(plan_restoring([tmp_path / "x", tmp_path / "y"], tmp_path / "out").jobs) == 3
    monkeypatch.setattr(places, "ignores_case", lambda folder: True)
    for other in ("y", "z"):
        with pytest.raises(SourceError, match="would both become"):
            plan_restoring([tmp_path / "x", tmp_path / other], tmp_path / "out")


def test_the_file_system_is_asked_whether_case_counts(tmp_path: Path) -> None:
    (tmp_path / "Folder").mkdir()
    assert not places.ignores_case(tmp_path / "Folder" / "not" / "there")
    (tmp_path / "fOLDER").symlink_to("Folder")  # as a file system answers that takes both for one
    assert places.ignores_case(tmp_path / "Folder" / "1")


def test_a_result_that_was_changed_counts_as_a_photograph(tmp_path: Path) -> None:
    files(tmp_path, "in/a.png")
    net = of_pixels("described", lambda x: x * 0.4)[0]
    out = tmp_path / "in" / "restored"
    restore_files([tmp_path / "in"], out, net)
    photo(out / "a.png", 32, 24, seed=99)
    with pytest.raises(SourceError, match="a photograph that was given"):
        restore_files([tmp_path / "in"], out, net)


def test_without_the_cache_results_count_as_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "in/a.png")
    net = of_pixels("described", lambda x: x * 0.4)[0]
    out = tmp_path / "in" / "restored"
    (result,) = restore_files([tmp_path / "in"], out, net)
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "empty"))
    with pytest.raises(SourceError, match="or remove it if it is a result"):
        plan_restoring([tmp_path / "in"], out)
    shutil.rmtree(out)
    assert len(plan_restoring([tmp_path / "in"], out).jobs) == 1
    (tmp_path / "empty").write_text("no folder")  # a cache that cannot be written to stops nothing
    note_result(out, tmp_path / "x.png", b"")
    assert result.out


def test_many_that_are_passed_over_share_a_line(tmp_path: Path) -> None:
    files(tmp_path, "in/a.png", *(f"in/.old/{i}.png" for i in range(8)))
    lines = plan_restoring([tmp_path / "in"], tmp_path / "out").lines
    assert len(lines) == 1
    assert f"8 files in {tmp_path / 'in' / '.old'}, 0.png to 7.png" in lines[0]


def test_pictures_of_kinds_that_are_not_read_are_told_for_each_folder(tmp_path: Path) -> None:
    files(tmp_path, "in/a.png", "in/deep/b.png", "other/c.png")
    for name in ("in/d.dng", "in/deep/e.PSD", "in/deep/f", "other/readme", "other/notes.txt"):
        (tmp_path / name).write_bytes(b"8BPS" if name.endswith("f") else b"text")
    plan = plan_restoring([tmp_path / "in", tmp_path / "in", tmp_path / "other"], tmp_path / "out")
    assert len(plan.jobs) == 3
    (line,) = plan.lines
    assert line == (
        f"{tmp_path}/in: 3 picture files were passed over: 1 .dng (develop to PNG or 16-bit TIFF); 1 .psd (export as "
        "PNG); 1 PSD without a suffix of its kind, such as deep/f (export as PNG)"
    )
    (tmp_path / "in" / "a.png").unlink()
    (tmp_path / "in" / "deep" / "b.png").unlink()
    with pytest.raises(SourceError, match=r"found none among 3 other files; .*: 3 picture files were passed over: 1"):
        plan_restoring([tmp_path / "in"], tmp_path / "out")
