"""A recipe that captions by BLIP, and the same without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from patina.captioning.blip import Blip
from patina.captioning.sidecar import Sidecar
from patina.captioning.template import Template
from patina.flows.cli import main as cli
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.recipe.parse import find_recipe
from tests.pipeline.making import photo

BY_BLIP = """
[[sources]]
path = "photos"
[captions]
kind = "blip"
[captions.filter]
max_words = 40
[degradations.noisy]
"""


def test_daclip_captions_by_blip_as_the_paper_does() -> None:
    recipe = find_recipe(Path("daclip"))
    assert isinstance(recipe.captioner, Blip)
    assert recipe.captioner.model == "Salesforce/blip-image-captioning-large"
    assert isinstance(recipe.fallback, Template)
    without = find_recipe(Path("daclip"), blip=False)
    assert isinstance(without.captioner, Sidecar)
    assert isinstance(without.fallback, Template)
    assert (without.degradations, without.sources) == (recipe.degradations, recipe.sources)


def test_filters_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(BY_BLIP)
    recipe = find_recipe(tmp_path / "mine.toml", blip=False)
    assert recipe.filters == find_recipe(tmp_path / "mine.toml").filters


@pytest.mark.parametrize("name", ["universal", "nhr-public"])
def test_a_recipe_without_a_model_has_none_to_leave_out(name: str) -> None:
    with pytest.raises(RecipeError, match=r"--no-blip: expected .captions. kind = 'blip', found 'sidecar'"):
        find_recipe(Path(name), blip=False)


def test_the_command_builds_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "b.png", seed=1)
    (tmp_path / "photos" / "b.txt").write_text("a cat on a wall")
    (tmp_path / "mine.toml").write_text(BY_BLIP)
    for words in (["plan"], ["build"]):
        line = ["patina", *words, str(tmp_path / "mine.toml"), "--out", str(tmp_path / "out"), "--no-blip"]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, capsys.readouterr().err
    captions = {row.caption for row in read_samples(tmp_path / "out")}
    assert "a cat on a wall" in captions
    assert len(captions) == 2
