"""`patina watch`: what it says where there is no server, and that `run` needs none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from patina.flows.cli.app import app

ROOT = Path(__file__).parents[3]


def patina(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "patina", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=home, env=environment)


def test_the_commands_are_listed() -> None:
    said = CliRunner().invoke(app, ["watch", "--help"]).output
    for name in ("add", "ls", "on", "off", "rm", "run"):
        assert f" {name} " in said


@pytest.mark.slow  # it imports Prefect
def test_without_a_server_it_says_what_to_do(recipe: Path, tmp_path: Path) -> None:
    done = patina(tmp_path, "watch", "add", recipe, "--out", "OUT")
    assert done.returncode == 1
    assert "watch: no server is named; start one, `patina serve` or `prefect server start`, and export" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory; looked for it in "),
        (["universl"], "no recipe of this name; did you mean 'universal'?"),
        (["recipe.toml", "--train", "tinny"], "tinny"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_what_cannot_be_watched_is_told_before_a_server_is_asked(words: list[str], told: str, tmp_path: Path) -> None:
    done = patina(tmp_path, "watch", "add", *words, "--out", "OUT")
    assert done.returncode == 1
    assert told in done.stderr
    assert "no server" not in done.stderr
