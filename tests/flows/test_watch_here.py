"""`patina watch run`: what counts as a change, when a build begins, and that a failed one is told and not the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patina.flows import changes
from patina.flows.changes import Changes, Looked, changes_of
from patina.flows.watch_here import Watcher
from patina.pipeline.builder.build import build
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.errors import PipelineError
from patina.pipeline.recipe.parse import load_recipe
from tests.pipeline.making import photo

SOON = 5.0
"""Seconds within which a change is known at the latest, on a machine that does much else."""

KINDS = ["looked", "told"]


def made(kind: str, places: list[Path], aside: Path | None = None) -> Changes:
    if kind == "told":
        pytest.importorskip("watchfiles")
        found = changes_of(places, aside, every=60)
        assert found.how == "the system tells of changes"
        return found
    return Looked(places, aside, 0.05, "this is a test")


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Changes]]:
    """Makes changes of a folder `photos` and a file `recipe.toml`, with a dataset in the folder."""
    begun: list[Changes] = []
    (tmp_path / "photos" / "OUT").mkdir(parents=True)
    (tmp_path / "photos" / "a.png").write_bytes(b"a")
    (tmp_path / "recipe.toml").write_text("")

    def begin(kind: str) -> Changes:
        places = [tmp_path / "photos", tmp_path / "recipe.toml", tmp_path / "later"]
        begun.append(made(kind, places, tmp_path / "photos" / "OUT"))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new file": lambda root: (root / "photos" / "b.png").write_bytes(b"b"),
    "another content": lambda root: (root / "photos" / "a.png").write_bytes(b"aa"),
    "a file that is gone": lambda root: (root / "photos" / "a.png").unlink(),
    "a file moved in": lambda root: (root / "x").write_bytes(b"x") and (root / "x").rename(root / "photos" / "x.png"),
    "a new folder with a file": lambda root: (
        (root / "photos" / "n").mkdir() or (root / "photos" / "n" / "c.png").write_bytes(b"c")
    ),
    "the recipe": lambda root: (root / "recipe.toml").write_text("seed = 1"),
    "the recipe as editors write it": lambda root: (
        (root / "r").write_text("seed = 2") and (root / "r").replace(root / "recipe.toml")
    ),
    "a place that was not there": lambda root: (root / "later").mkdir(),
    "a folder that is gone": lambda root: (root / "photos").rename(root / "away"),
}


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_a_place_is_known(
    kind: str, change: str, watching: Callable[..., Changes], tmp_path: Path
) -> None:
    found = watching(kind)
    assert found.wait(0.1) == ""
    CHANGES[change](tmp_path)
    assert found.wait(SOON) != ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_build_writes_and_what_lies_beside_is_no_change(
    kind: str, watching: Callable[..., Changes], tmp_path: Path
) -> None:
    found = watching(kind)
    (tmp_path / "photos" / "OUT" / "manifest.json").write_text("{}")
    (tmp_path / "beside.txt").write_text("")
    assert found.wait(0.5) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_came_back_is_watched_as_before(
    kind: str, watching: Callable[..., Changes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "AGAIN_S", 0.05)
    found = watching(kind)
    (tmp_path / "photos").rename(tmp_path / "away")
    assert found.wait(SOON)
    (tmp_path / "photos").mkdir()
    time.sleep(0.4)
    while found.wait(0.3):
        pass
    (tmp_path / "photos" / "new.png").write_bytes(b"n")
    assert found.wait(SOON)


def test_without_watchfiles_it_looks_again_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(changes, "find_spec", lambda name: None)
    found = changes_of([tmp_path], None, 30)
    found.close()
    assert found.how == "looking every 30 s, as watchfiles is not installed (pip install 'patina-ir[watch]')"


@pytest.mark.parametrize("error", [OSError("OS file watch limit reached"), RuntimeError("no inotify")])
def test_a_system_that_has_no_watches_left_is_looked_at(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(places: object, aside: object) -> Changes:
        raise error

    monkeypatch.setattr(changes, "find_spec", lambda name: object())
    monkeypatch.setattr(changes, "Told", refuse)
    found = changes_of([tmp_path], None, 30)
    found.close()
    assert found.how == f"looking every 30 s, as the system cannot tell of changes ({error})"


class Scripted:
    """Changes that come when the test says so."""

    how = "a test tells of changes"

    def __init__(self, *paths: str) -> None:
        self.paths, self.waits = list(paths), list[float | None]()

    def wait(self, seconds: float | None) -> str:
        self.waits.append(seconds)
        return self.paths.pop(0) if self.paths else ""

    def close(self) -> None:
        pass


@pytest.fixture
def watcher(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Watcher, list[str]]]:
    def make(scripted: Scripted, *, do: Callable[[], BuildResult] | None = None) -> tuple[Watcher, list[str]]:
        monkeypatch.setattr("patina.flows.watch_here.changes_of", lambda places, aside, every: scripted)
        told: list[str] = []
        out = tmp_path / "OUT"
        made = Watcher(
            recipe,
            str(out),
            quiet=0.25,
            every=7,
            build=do or (lambda: build(load_recipe(recipe), out)),
            tell=told.append,
            is_told=lambda error: isinstance(error, PipelineError),
        )
        return made, told

    return make


def test_it_builds_at_once_and_after_a_change_that_rests(
    watcher: Callable[..., tuple[Watcher, list[str]]], tmp_path: Path
) -> None:
    scripted = Scripted("/p/new.png", "/p/new.png", "/p/other.png", "")
    one, told = watcher(scripted)
    photo(tmp_path / "photos" / "new.png", seed=9)
    one.run(1)
    photo(tmp_path / "photos" / "newer.png", seed=10)
    one.run(2)
    assert scripted.waits == [None, 0.25, 0.25, 0.25], "for a change without end, and then until none comes for a while"
    lines = [line for line in told if line.startswith(("changed", "built"))]
    assert [line.partition(" in ")[0].partition(",")[0] for line in lines] == [
        "built    what was stale",
        "built    10 samples",
        "built    what was stale",
        "built    12 samples",
    ]


def test_a_build_that_fails_is_told_and_the_next_change_is_built(
    watcher: Callable[..., tuple[Watcher, list[str]]], recipe: Path, tmp_path: Path
) -> None:
    scripted = Scripted(str(recipe), "", str(recipe), "")
    text, calls = recipe.read_text(), list[str]()

    def do() -> BuildResult:
        calls.append("build")
        if len(calls) == 1:
            raise PipelineError("a disk is full; free some of it")
        return build(load_recipe(recipe), tmp_path / "OUT")

    one, told = watcher(scripted, do=do)

    def wait(seconds: float | None) -> str:
        if len(scripted.paths) == 4:
            recipe.write_text("sources = 3")  # one that cannot be read, when it looks the second time
        elif len(scripted.paths) == 2:
            recipe.write_text(text)
        return Scripted.wait(scripted, seconds)

    scripted.wait = wait  # type: ignore[method-assign]
    one.run(3)
    errors = [line for line in told if line.startswith("error")]
    assert len(errors) == 2
    assert "a disk is full; free some of it" in errors[0]
    assert "recipe.toml: sources: expected" in errors[1]
    assert told.count("still watching: mend it, and the next change is built") == 2
    assert any(line.startswith("built    8 samples") for line in told)


def test_an_error_of_the_program_itself_ends_it(watcher: Callable[..., tuple[Watcher, list[str]]]) -> None:
    def do() -> BuildResult:
        raise KeyError("a slip of ours")

    one, told = watcher(Scripted(), do=do)
    with pytest.raises(KeyError):
        one.run(1)
    assert not any("still watching" in line for line in told)


def test_a_recipe_that_names_another_folder_is_followed(
    watcher: Callable[..., tuple[Watcher, list[str]]], recipe: Path, tmp_path: Path
) -> None:
    one, told = watcher(Scripted(str(recipe), ""))
    one.run(1)
    photo(tmp_path / "more" / "m.png", seed=5)
    recipe.write_text(
        recipe.read_text().replace("[degradations.noisy]", "[[sources]]\npath = 'more'\n[degradations.noisy]")
    )
    one.run(1)
    (watched,) = [line for line in told if str(tmp_path / "more") in line]
    assert watched.startswith("watching ")


def test_addresses_are_named_and_looked_at_now_and_then(
    watcher: Callable[..., tuple[Watcher, list[str]]], recipe: Path, tmp_path: Path
) -> None:
    kept = recipe.read_text()
    recipe.write_text(kept.replace("path = 'photos'", "path = 's3://name:secret@bucket/photos'"))
    scripted = Scripted()

    def do() -> BuildResult:
        raise PipelineError("nobody is there")

    one, told = watcher(scripted, do=do)
    one.run(2)
    (polled,) = [line for line in told if line.startswith("polling")]
    assert "every 7 s: no address tells of changes" in polled and "secret" not in polled
    assert scripted.waits == [7]


@pytest.mark.slow
def test_a_change_is_built_within_a_second_of_rest_and_ctrl_c_ends_it_in_a_line(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    log, out = tmp_path / "log", tmp_path / "photos" / "OUT"
    command = [sys.executable, "-m", "patina", "watch", "run", str(recipe), "--out", str(out), "--workers", "1"]
    root = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment |= {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": path}
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)
    try:
        _until(lambda: log.read_text().count("built    8 samples") == 1, log)
        photo(tmp_path / "photos" / "new.png", seed=3)
        _until(lambda: "built    10 samples" in log.read_text(), log)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
    text = log.read_text()
    assert "the system tells of changes" in text
    assert f"changed  {tmp_path / 'photos' / 'new.png'}" in text
    assert "Prefect" not in text
    assert text.endswith("stopped; nothing is lost, run it again to continue\n")


def _until(condition: Callable[[], Any], log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_a_wait_ends_when_asked_to() -> None:
    found = Looked([], None, 60, "this is a test")
    begun = time.monotonic()
    threading.Timer(0.05, lambda: found._queue.put("x")).start()
    assert found.wait(None) == "x"
    assert found.wait(0.01) == ""
    assert time.monotonic() - begun < SOON
    found.close()
