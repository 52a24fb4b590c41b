"""Values of options that Typer's check would let pass as they are do not go through it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from patina.flows.cli.app import app
from patina.flows.cli.command import Command, Group, is_as_wanted, with_voice
from patina.flows.cli.commands import COMMANDS, app_of
from patina.flows.cli.main import asked_for
from patina.later import without_collection

VALUES = ("", "0", "3", "-1", "2.5", "text", "threads", "no\nline", ".", "there.toml", "missing/there.toml", "~")


def every_parameter() -> list[Any]:
    group: Any = typer.main.get_command(app)
    commands = [group, *group.commands.values(), *group.commands["watch"].commands.values()]
    return [parameter for command in commands for parameter in command.params]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_passes_unchecked_is_what_the_check_would_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every option of every command: its default, nothing, and texts of all kinds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.toml").write_text("", "utf-8")
    unchecked = 0
    context = typer.main.get_command(app).make_context("patina", ["plan", "r", "--out", "o"])
    for parameter in every_parameter():
        for value in (parameter.default, None, *VALUES):
            if parameter.callback or not is_as_wanted(parameter, value):
                continue
            unchecked += 1
            found = Path(value) if isinstance(value, str) and parameter.type_descriptor.annotation is Path else value
            wanted = parameter.process_value(context, value)
            assert found == wanted, (parameter.name, value)
            assert type(found) is type(wanted), (parameter.name, value)
    assert unchecked > 500


def told(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_what_is_wrong_is_still_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, part in (
        (["plan"], "Missing argument 'RECIPE'"),
        (["plan", "r.toml"], "Missing option '--out'"),
        (["plan", "r.toml", "--out", "o", "--workers", "-1"], "--workers"),
        (["plan", "r.toml", "--out", "o", "--workers", "two"], "--workers"),
        (["plan", "r.toml", "--out", "o", "--max-set-aside", "1.5"], "--max-set-aside"),
        (["build", "r.toml", "--out", "o", "--runner", "snails"], "snails"),
    ):
        code, output = told(*words)
        assert code == 2, words
        assert part in output, words


def test_a_check_takes_what_has_to_be_checked() -> None:
    small = typer.Typer()

    @small.command(cls=Command)
    def run(where: Path, count: int = 3, name: str = "a", exact: float = 0.5) -> None:
        assert (type(where), type(count), type(name), type(exact)) == (type(Path()), int, str, float)
        typer.echo(f"{where} {count} {name} {exact}")

    done = CliRunner().invoke(small, ["a/b", "--count", " 7", "--exact", "1"])
    assert done.output.split() == ["a/b", "7", "a", "1.0"]
    assert CliRunner().invoke(small, ["a", "--count", "many"]).exit_code == 2


def test_a_command_alone_says_the_same_of_itself_as_among_all() -> None:
    for name in COMMANDS:
        alone = CliRunner().invoke(app_of([name]), [name, "--help"]).output
        assert alone == told(name, "--help")[1], name


def test_words_choose_the_application() -> None:
    def names(words: list[str]) -> list[str]:
        group = typer.main.get_command(asked_for(words))
        assert isinstance(group, Group)
        return list(group.commands)

    assert names(["plan", "--help"]) == ["plan"]
    for words in ([], ["--help"], ["watch", "run"], ["plna"], ["-q", "plan"]):
        assert names(words) == [*COMMANDS, "watch"]
    assert "plan" in told("plna")[1], "what was meant is found among all"


def test_a_command_looks_for_garbage_though_its_beginning_does_not() -> None:
    """A build of hours, or a watch, must not keep what nobody refers to."""
    small = typer.Typer()
    seen: list[bool] = []
    small.command(cls=Command)(with_voice(lambda: seen.append(gc.isenabled())))
    with without_collection():
        assert CliRunner().invoke(small, []).exit_code == 0
        assert not gc.isenabled()
    assert seen == [True]
    gc.unfreeze()  # what was frozen is this whole test run's
