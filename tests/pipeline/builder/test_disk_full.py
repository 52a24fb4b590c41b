"""A disk that takes no more, or nothing: a clear error, the earlier dataset as it was, and on once it is fixed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import PIL.ImageFile
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.codec.installed import known_fingerprint
from patina.pipeline.errors import BuildError
from patina.synth.degradations.noisy import Noisy
from tests.pipeline.builder.test_incremental import public_files
from tests.pipeline.forking import Ended, Forks
from tests.pipeline.making import photos, picture, save, tiny_recipe

MOUNTS = ("unshare", "--mount", "--map-root-user")
"""A mount namespace of its own: a small disk in it is seen by nobody else, and goes with it."""


@dataclass
class World:
    """Two recipes, the dataset of the first, and the digests of what the second makes of it."""

    folder: Path
    forks: Forks
    built: dict[str, str]
    expected: dict[str, str]
    largest: int

    def fails(self, out: Path, **how: Any) -> Ended:
        """A build of the second recipe that meets trouble: in words on one line, and the dataset is as it was."""
        ended = self.forks.build(self.folder, "second", out, **how)
        if ended.status == 0:
            assert self.forks.look(out).public == self.expected
            return ended
        assert ended.error == "OutputError", ended
        assert ended.words.startswith(f"{out}"), ended
        assert "\n" not in ended.words
        seen = self.forks.look(out)
        public = seen.public
        assert not [name for name in seen.left if name.endswith(".tmp") and "staging" in name], "room for the rest"
        assert public in (self.built, self.expected, {}), "renames may be over when a store cannot be written"
        return ended

    def goes_on(self, out: Path) -> None:
        """Once it is fixed, the next build ends where an untroubled one would have."""
        ended = self.forks.build(self.folder, "second", out)
        assert ended.status == 0, ended
        seen = self.forks.look(out)
        assert (seen.public, seen.left) == (self.expected, [])


def lay_out(folder: Path) -> None:
    """Photographs and two recipes; the second one's dataset is larger, and has none of the first one's shards."""
    photos(folder / "photos", 6, 64, 48)
    save(folder / "photos" / "large.png", picture(200, 150, seed=9))
    table = {"sources": [{"path": "photos"}], "captions": {"kind": "slow"}, "degradations": {"jpeg-compressed": {}}}
    (folder / "first.json").write_text(json.dumps(table))
    second = table | {"degradations": {"noisy": {}, "uncompleted": {}}, "buckets": 2}
    (folder / "second.json").write_text(json.dumps(second))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("full")
    lay_out(folder)
    with Forks() as forks:
        assert forks.build(folder, "second", folder / "expected").status == 0
        expected = forks.look(folder / "expected").public
        largest = max((folder / "expected" / name).stat().st_size for name in expected)
        assert forks.build(folder, "first", folder / "first").status == 0
        yield World(folder, forks, forks.look(folder / "first").public, expected, largest)


def unlucky(world: World, out: Path, chance: random.Random) -> Ended:
    """One build whose files may not grow beyond a size by chance: shards, tables, manifest, stores, or nothing."""
    shutil.copytree(world.folder / "first", out)
    ended = world.fails(out, largest=int(world.largest ** chance.uniform(0, 1)))
    if ended.status:
        assert "files may not grow so large" in ended.words or "the disk is full" in ended.words
    world.goes_on(out)
    shutil.rmtree(out)
    return ended


def test_files_that_cannot_grow(world: World, tmp_path: Path) -> None:
    ends = [unlucky(world, tmp_path / "dataset", random.Random(f"few {i}")) for i in range(4)]
    assert sum(ended.status != 0 for ended in ends) >= 3


@pytest.mark.slow
def test_files_that_cannot_grow_again_and_again(world: World, tmp_path: Path) -> None:
    ends = [unlucky(world, tmp_path / "dataset", random.Random(f"many {i}")) for i in range(40)]
    assert sum(ended.status != 0 for ended in ends) > 30
    assert len({str(ended.passed) for ended in ends}) > 2, "they failed in different places"


# ---------------------------------------------------------------------------------------------------------------------
# A real, small disk


@pytest.fixture(scope="module")
def disk(world: World) -> Iterator[tuple[World, Path]]:
    """An empty folder of a process that may mount a disk of any size there."""
    can = shutil.which("unshare") and not subprocess.run([*MOUNTS, "true"], check=False, capture_output=True).returncode
    if not can:
        pytest.skip("this machine lets no process mount disks of its own")
    place = world.folder / "disk"
    place.mkdir()
    with Forks(MOUNTS) as forks:
        if forks.run("mount", "-t", "tmpfs", "-o", "size=16m", "none", place):
            pytest.skip("this machine lets no process mount a disk in memory")
        yield World(world.folder, forks, world.built, world.expected, world.largest), place


def filled(there: World, place: Path, room: int) -> Ended:
    """A build on a disk with `room` bytes left beside the first dataset; then one with more."""
    forks, out = there.forks, place / "dataset"
    forks.run("rm", "-rf", out, place / "stuffing")
    assert forks.run("mount", "-o", "remount,size=16m", place) == 0
    assert forks.run("cp", "-r", there.folder / "first", out) == 0
    # `stat` counts in blocks, and the stuffing leaves just so many of them
    sized = f"truncate -s 0 {place}/stuffing; free=$(($(stat -f -c '%a*%S' {place}) - {room}))"
    assert forks.run("sh", "-c", f"{sized}; head -c $free /dev/zero > {place}/stuffing") == 0
    ended = there.fails(out)
    if ended.status:
        assert "the disk is full" in ended.words
        assert "make room and run it again: what is finished is kept" in ended.words
    forks.run("rm", place / "stuffing")
    there.goes_on(out)
    return ended


def test_a_disk_that_is_full(disk: tuple[World, Path]) -> None:
    ends = [filled(*disk, room) for room in (0, 4096, 60_000, 200_000)]
    assert all(ended.status for ended in ends[:3])


@pytest.mark.slow
def test_a_disk_that_is_full_sooner_or_later(disk: tuple[World, Path]) -> None:
    chance = random.Random("disks")
    ends = [filled(*disk, chance.randrange(0, 900_000)) for _ in range(30)]
    failed = [ended for ended in ends if ended.status]
    assert len(failed) > 8
    assert len({str(ended.passed) for ended in failed}) > 5, "they failed in different places"


def test_a_disk_that_can_only_be_read(disk: tuple[World, Path]) -> None:
    there, place = disk
    forks, out = there.forks, place / "dataset"
    forks.run("rm", "-rf", out)
    assert forks.run("cp", "-r", there.folder / "first", out) == 0
    assert forks.run("mount", "-o", "remount,ro", place) == 0
    ended = there.fails(out)
    assert "the disk can only be read; make it writable, or name another folder with --out" in ended.words
    assert there.fails(place / "new").words.startswith(f"{place}/new")
    assert forks.run("mount", "-o", "remount,rw", place) == 0
    there.goes_on(out)


@pytest.mark.parametrize("way", ["", pytest.param("--prefect", marks=pytest.mark.slow)])
def test_the_command_says_it_on_one_line(disk: tuple[World, Path], way: str) -> None:
    there, place = disk
    (there.folder / "recipe.toml").write_text('[[sources]]\npath = "photos"\n[degradations.noisy]\n')
    there.forks.run("rm", "-rf", place / "dataset", place / "stuffing")
    assert there.forks.run("mount", "-o", "remount,size=100k", place) == 0
    command = f"{sys.executable} -m patina build recipe.toml --out {place}/dataset {way}"
    # without the level that the tests set, under which Prefect logs every error of a flow with its traceback
    environment = f"env -u PREFECT_LOGGING_LEVEL PYTHONPATH={Path.cwd()}"
    code = there.forks.run("sh", "-c", f"cd {there.folder} && {environment} {command} 2> said.txt")
    said = (there.folder / "said.txt").read_text()
    assert code == 1, said
    assert "Traceback" not in said
    (line,) = (line for line in said.splitlines() if line.startswith("error"))
    assert line.startswith(f"error  {place}/dataset: the disk is full; make room and run it again"), said
    assert there.forks.run("test", "-e", place / "dataset" / "manifest.json") == 1
    assert there.forks.run("mount", "-o", "remount,size=16m", place) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_forbidden(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder / "first", tmp_path / "dataset")
    private = tmp_path / "dataset" / ".patina"
    private.chmod(0o500)
    assert "writing is forbidden" in world.fails(tmp_path / "dataset").words
    private.chmod(0o700)
    world.goes_on(tmp_path / "dataset")


# ---------------------------------------------------------------------------------------------------------------------
# Little memory


def no_memory_for_opencv() -> None:
    cv2.resize(picture(), (1 << 20, 1 << 20))  # three terabytes


def no_memory_for_python() -> None:
    raise MemoryError


def no_memory_for_pillow() -> None:
    raise OSError("out of memory error when reading image file")  # its codecs' code -9


@pytest.mark.parametrize("fail", [no_memory_for_opencv, no_memory_for_python])
def test_a_worker_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]) -> None:
    photos(tmp_path / "photos", 3)
    before, after = tiny_recipe(tmp_path), tiny_recipe(tmp_path, degradations={"noisy": {"sigma": 5}})
    build(before, tmp_path / "out")
    was = public_files(tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(Noisy, "apply", lambda *_: fail())
        with pytest.raises(BuildError) as caught:
            build(after, tmp_path / "out")
    assert str(caught.value).startswith("train-0000-noisy.tar: too little memory for 64×48 px of good-00")
    assert str(caught.value).endswith(
        "build with fewer --workers, or cut photographs into [tiles]; what is finished is kept"
    )
    assert public_files(tmp_path / "out") == was
    build(after, tmp_path / "out")
    build(after, tmp_path / "fresh")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "fresh")


@pytest.mark.parametrize("fail", [no_memory_for_python, no_memory_for_pillow])
def test_a_photograph_is_not_to_blame_for_too_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]
) -> None:
    """Set aside and remembered as bad, it would be missing from every later build."""
    photos(tmp_path / "photos", 3)
    known_fingerprint()  # found by decoding, which no photograph is named in
    with monkeypatch.context() as patched:
        patched.setattr(PIL.ImageFile.ImageFile, "load", lambda self: fail())
        with pytest.raises(BuildError, match=r"too little memory for .*good-00\d.png; build with fewer --workers"):
            build(tiny_recipe(tmp_path), tmp_path / "out")
    report = build(tiny_recipe(tmp_path), tmp_path / "out")
    assert (report.manifest.sources, report.manifest.set_aside) == (3, ())
