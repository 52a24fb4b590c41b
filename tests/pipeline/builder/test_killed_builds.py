"""Killed at any moment, and run again: the same bytes, nothing left behind, no caption lost."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.format.layout import PRIVATE
from tests.pipeline.forking import BATCH, Ended, Forks, asked
from tests.pipeline.making import make_plain, photo, photos

POINTS = ("writev", "sample", "replace", "unlink", "fsync", "mkdir", "link", "symlink", "caption", "store")
"""In a shard, between samples, between two renames of any kind, while publishing, captioning, or storing."""


@dataclass
class World:
    """A folder with photographs and two recipes, the dataset of the first one, and what the second one makes of it."""

    folder: Path
    forks: Forks
    built: dict[str, str]
    expected: dict[str, str]
    whole: Ended  # the build from scratch, uninterrupted

    def killed_and_run_again(self, chance: random.Random, place: Path) -> Ended:
        """One unlucky build, from the first dataset or from nothing; gives how it ended before it was run again."""
        out, fresh = place / "dataset", chance.random() < 0.3
        if not fresh:
            shutil.copytree(self.folder / "first", out, symlinks=True)
        (self.folder / "asked.txt").unlink(missing_ok=True)
        kills, ended = 1 + (chance.random() < 0.25), Ended(0)
        for _ in range(kills):
            how: dict[str, Any] = {"delay": chance.uniform(0.0, self.whole.seconds)}
            if chance.random() < 0.7:
                name = chance.choice(POINTS)
                how = {"at": (name, chance.randint(1, self.whole.passed[name]))}
            ended = self.forks.build(self.folder, "second", out, **how)
            assert ended.status in {0, -signal.SIGKILL}, ended
            self.is_whole(out)
        again = self.forks.build(self.folder, "second", out)
        assert again.status == 0, again
        seen = self.forks.look(out)
        assert seen.public == self.expected
        assert seen.left == []
        times = asked(self.folder)
        assert max(times.values(), default=1) <= 1 + kills
        assert sum(count - 1 for count in times.values()) <= BATCH * kills, "no more was lost than was in flight"
        shutil.rmtree(out)
        return ended

    def is_whole(self, out: Path) -> None:
        """Readers find all of the old dataset, all of the new one, or none, at once and with no build in between."""
        assert (self.forks.look(out).public if out.exists() else {}) in ({}, self.built, self.expected)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("killed")
    photos(folder / "photos", 5, 40, 24)
    photo(folder / "photos" / "jpeg.jpg", 48, 32, seed=50)
    table: dict[str, Any] = {
        "sources": [{"path": "photos"}],
        "captions": {"kind": "slow"},
        "degradations": {"noisy": {"sigma": 25}, "uncompleted": {}},
        "buckets": 2,
        "split": {"val": 0.3},
    }
    (folder / "first.json").write_text(json.dumps(table))
    second = table | {
        "degradations": {"noisy": {"sigma": 15}, "jpeg-compressed": {}},
        "sources": [{"path": "photos"}, {"path": "more"}],
        "buckets": 3,
    }
    photos(folder / "more", 5, 36, 28, first=20)
    (folder / "second.json").write_text(json.dumps(second))
    with Forks() as forks:
        whole = forks.build(folder, "second", folder / "expected")
        assert whole.status == 0, whole
        assert set(POINTS) <= set(whole.passed), "every point is passed"
        expected = forks.look(folder / "expected").public
        # The captions of `more` are missing from what comes first, so that captioning is interrupted too.
        first = forks.build(folder, "first", folder / "first")
        assert first.status == 0, first
        yield World(folder, forks, forks.look(folder / "first").public, expected, whole)


def test_killed_at_random_moments_and_run_again(world: World, tmp_path: Path) -> None:
    ends = [world.killed_and_run_again(random.Random(f"few {i}"), tmp_path).status for i in range(6)]
    assert ends.count(-signal.SIGKILL) > 3, "most builds were killed before they ended"


@pytest.mark.parametrize("number", [2, 4])
def test_killed_while_captioning_loses_what_was_in_flight_alone(world: World, tmp_path: Path, number: int) -> None:
    (world.folder / "asked.txt").unlink(missing_ok=True)
    ended = world.forks.build(world.folder, "second", tmp_path / "dataset", at=("caption", number))
    assert ended.status == -signal.SIGKILL
    assert asked(world.folder).total() == BATCH * number
    assert world.forks.build(world.folder, "second", tmp_path / "dataset").status == 0
    times = asked(world.folder)
    assert (len(times), times.total()) == (11, 11 + BATCH)
    assert world.forks.look(tmp_path / "dataset").public == world.expected


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_and_run_again(world: World, tmp_path: Path) -> None:
    ends = [world.killed_and_run_again(random.Random(f"many {i}"), tmp_path).status for i in range(100)]
    assert ends.count(-signal.SIGKILL) > 40, "many builds were killed; how many depends on the machine"


STEPS = (("link", 1, 1), ("symlink", 1, 1), ("replace", -8, 1), ("fsync", -16, 1), ("unlink", 1, 2), ("rmdir", 1, 1))
"""What publishing does that reaches the disk: the operation, the first time that counts (from the last one, if below
0), and in what steps."""


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("plain", [False, True], ids=["versions", "none yet"])
def test_killed_at_any_step_of_publishing(world: World, tmp_path: Path, plain: bool, every: int) -> None:
    """Also where an older dataset is taken over. At one step of `every` so many, from the last one back."""
    start, out = tmp_path / "start", tmp_path / "dataset"
    shutil.copytree(world.folder / "first", start, symlinks=True)
    if plain:
        make_plain(start)
        (start / PRIVATE).mkdir()
    shutil.copytree(start, out, symlinks=True)
    counted = world.forks.build(world.folder, "second", out)
    assert counted.status == 0, counted
    passed = counted.passed
    shutil.rmtree(out)
    kills: list[str] = []
    for name, first, step in STEPS:
        last = passed.get(name, 0)
        for number in range(first if first > 0 else last + first, last + 1, step)[::-every]:
            shutil.copytree(start, out, symlinks=True)
            ended = world.forks.build(world.folder, "second", out, at=(name, number))
            assert ended.status == -signal.SIGKILL, (name, number, passed, ended)
            world.is_whole(out)
            kills.append(name)
            ended = world.forks.build(world.folder, "second", out)
            assert ended.status == 0, (name, number, ended)
            seen = world.forks.look(out)
            assert (seen.public, seen.left) == (world.expected, [])
            shutil.rmtree(out)
    assert every > 1 or len(kills) > 40
    assert {"link", "symlink", "replace", "fsync", "unlink"} <= set(kills)
