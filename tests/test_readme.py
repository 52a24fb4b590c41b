"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from patina.flows.cli.main import app
from patina.pipeline.recipe.parse import parse_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_recipe_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    recipe = parse_recipe(tomllib.loads(block), tmp_path)
    assert set(recipe.degradations) == {"noisy", "jpeg-compressed", "rainy", "hazy+rainy"}
    assert parse_recipe(tomllib.loads(recipe.to_toml()), tmp_path).digest == recipe.digest


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^patina (\w+)", README, re.M))))
def test_its_commands_exist(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_its_pictures_and_links_are_there() -> None:
    for target in re.findall(r"\]\(([\w/.-]+)\)", README):
        assert (ROOT / target).exists(), target


def test_it_leaves_no_gap() -> None:
    assert not re.search(r"\b[A-Z]+_(OUTPUT|TABLE)\b", README)
