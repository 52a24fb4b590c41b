"""Builds without Prefect: the same dataset as a flow run gives, the same retries, and when a server is asked at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from patina.flows import building
from patina.flows.building import RetryingThreads, build_here, is_server_configured
from patina.flows.errors import FindingsError
from patina.flows.retries import RETRIES
from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan.planning import Options
from patina.pipeline.progress import Silent
from tests.pipeline.making import photos, tiny_recipe


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def passing(times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """A step that fails so often, and a list that counts its tries."""
    tries: list[int] = []

    def step() -> str:
        tries.append(1)
        if len(tries) <= times:
            raise error
        return "done"

    return step, tries


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept, which takes no time here."""
    slept: list[float] = []
    monkeypatch.setattr(building.time, "sleep", slept.append)
    return slept


def test_what_may_pass_by_itself_is_tried_again_with_growing_pauses(waited: list[float]) -> None:
    step, tries = passing(RETRIES, OSError(errno.EIO, "the disk hiccups"))
    assert RetryingThreads(2).call("fetch", step) == "done"
    assert len(tries) == RETRIES + 1
    assert all(2 * i <= pause <= 3 * i for i, pause in zip((1, 2, 4, 8), waited, strict=True))


def test_what_does_not_pass_is_raised(waited: list[float]) -> None:
    error = OSError(errno.EIO, "the disk is broken")
    step, tries = passing(RETRIES + 1, error)
    with pytest.raises(OSError, match="the disk is broken"):
        RetryingThreads(2).call("fetch", step)
    assert len(tries) == RETRIES + 1


@pytest.mark.parametrize(
    ("step", "error"),
    [("publish", OSError(errno.EIO, "the disk hiccups")), ("scan and plan", PermissionError(errno.EACCES, "no"))],
)
def test_what_must_not_or_need_not_be_tried_again(step: str, error: Exception, waited: list[float]) -> None:
    function, tries = passing(1, error)
    with pytest.raises(OSError, match=str(error.args[1])):
        RetryingThreads(2).call(step, function)
    assert (len(tries), waited) == (1, [])


def test_batches_are_tried_again_too(waited: list[float]) -> None:
    step, tries = passing(2, TimeoutError("slow"))
    assert RetryingThreads(1).map("build shards", lambda item: (item, step()), [1]) == [(1, "done")]
    assert (len(tries), len(waited)) == (3, 2)


def test_the_dataset_is_the_one_that_every_build_gives(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    recipe = tiny_recipe(tmp_path)
    report = build_here(recipe, str(tmp_path / "here" / "out"), Options(workers=2), Silent(), replay=3)
    build(recipe, tmp_path / "other")
    assert report.manifest.digest == load_manifest(tmp_path / "other").digest  # type: ignore[union-attr]


def test_findings_of_the_check_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", 1)

    def damaged(*given: object, **named: object) -> object:
        report = build(*given, **named)  # type: ignore[arg-type]
        shard = report.planned.out / SHARDS / report.manifest.shards[0].name
        shard.write_bytes(shard.read_bytes()[:-512])
        return report

    monkeypatch.setattr(building, "build", damaged)
    with pytest.raises(FindingsError, match="`patina build` mends the dataset"):
        build_here(tiny_recipe(tmp_path), str(tmp_path / "out"), Options(), Silent(), replay=0)


# ---------------------------------------------------------------------------------------------------------------------


PROFILE = 'active = "own"\n[profiles.own]\n{}\n[profiles.other]\n{}\n'
URL = 'PREFECT_API_URL = "http://10.0.0.5:4200/api"'


def test_without_settings_there_is_no_server() -> None:
    assert not is_server_configured()


def test_a_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://10.0.0.5:4200/api")
    assert is_server_configured()


SETTINGS: dict[str, tuple[str, str, bool]] = {
    "the active profile": ("prefect/profiles.toml", PROFILE.format(URL, ""), True),
    "another profile": ("prefect/profiles.toml", PROFILE.format("", URL), False),
    "profiles without one": ("prefect/profiles.toml", PROFILE.format("", ""), False),
    "prefect.toml": ("here/prefect.toml", '[api]\nurl = "http://10.0.0.5:4200/api"\n', True),
    "pyproject.toml": ("here/pyproject.toml", '[tool.prefect.api]\nurl = "http://10.0.0.5:4200/api"\n', True),
    ".env": ("here/.env", "PREFECT_API_URL=http://10.0.0.5:4200/api\n", True),
    "a project of another kind": (
        "here/pyproject.toml",
        '[project]\nname = "x"\ndependencies = ["prefect"]\nurls = {home = "https://x"}\n',
        False,
    ),
}
"""A file in a folder, its text, and whether a process of that folder has a server."""

ASK = """
import os, sys
import httpx, pydantic_settings, rich.console, typer  # most of what Prefect imports, once for all of them
from patina.flows.building import is_server_configured
for folder in sys.argv[1:]:
    if not (child := os.fork()):
        os.chdir(f"{folder}/here")
        os.environ["PREFECT_HOME"] = f"{folder}/prefect"
        print(is_server_configured(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def asked_anew(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process of its own finds of each, since Prefect reads its settings when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    folders = []
    for name, text, _ in SETTINGS.values():
        folders.append(tmp_path_factory.mktemp("settings"))
        (folders[-1] / "here").mkdir()
        (folders[-1] / "prefect").mkdir()
        (folders[-1] / name).write_text(text)
    command = [sys.executable, "-c", ASK, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(zip(SETTINGS, done.stdout.split(), strict=True))


@pytest.mark.parametrize("where", SETTINGS)
def test_a_server_in_a_file(where: str, asked_anew: dict[str, str]) -> None:
    assert asked_anew[where] == str(SETTINGS[where][2])
