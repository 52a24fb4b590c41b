"""Recipes, lists and captions as they come broken: each is read, or one line says what and where."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from patina.pipeline.errors import PipelineError, RecipeError, SourceError
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.recipe.shipped import shipped
from patina.pipeline.sources.list_file import FORMATS, ListFile
from tests.fuzzing import expect_one_line, mutations
from tests.pipeline.making import photo

EVERYTHING = b"""name = "all"
seed = 7
buckets = {train = 2, val = 1}

[[sources]]
path = "photos"
include = ["*.png"]
split = "train"
licence = "CC0-1.0"
degradations = ["noisy"]

[[sources]]
kind = "pairs"
lq = "lq"
gt = "gt"
degradation = "rainy"
match = "regex"
pattern = "(.*)-lq"

[[sources]]
kind = "list"
path = "list.csv"
format = "table"

[[sources]]
kind = "webdataset"
path = "train-{0000..0002}.tar"

[captions]
kind = "template"
[captions.filter]

[tiles]
size = 64
stride = 32

[split]
val = 0.1
leaks = "report"

[degradations.noisy]
sigma = 25
variants = 2

[degradations.jpeg-compressed]
severity = "mild..severe"

[degradations."hazy+rainy"]
steps = true
"""


def tried(path: Path, data: bytes) -> bool:
    """Whether a recipe of these bytes is read; else one line tells."""
    path.write_bytes(data)
    try:
        load_recipe(path).to_toml()
    except RecipeError as error:
        expect_one_line(error, path.name)
        return False
    return True


def test_the_whole_recipe_is_read(tmp_path: Path) -> None:
    assert tried(tmp_path / "mine.toml", EVERYTHING)


@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_broken_recipes(seed: int, tmp_path: Path) -> None:
    read = [tried(tmp_path / "mine.toml", data) for data in mutations(EVERYTHING, 200, seed)]
    assert 0 < sum(read) < 200


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_that_were_edited(name: str, tmp_path: Path) -> None:
    for data in mutations(shipped()[name].encode(), 40, 11):
        tried(tmp_path / "mine.toml", data)


@pytest.mark.parametrize("format", FORMATS)
def test_broken_lists(format: str, tmp_path: Path) -> None:
    photo(tmp_path / "LQ" / "a.png")
    photo(tmp_path / "GT" / "a.png")
    texts = {
        "lines": b"LQ/a.png,GT/a.png\n# a note\nLQ/a.png\tGT/a.png\n",
        "table": b'gt,lq,caption,degradation,split\nGT/a.png,LQ/a.png,"a dog, on grass",rainy,val\n',
        "jsonl": b'{"gt": "GT/a.png", "lq": "LQ/a.png", "degradation": "hazy"}\n{"gt": "GT/a.png"}\n',
        "daclip": b"filepath\ttitle\nLQ/a.png\ta dog on grass: hazy\n",
    }
    label = "rainy" if format in {"lines", "auto"} else ""
    for data in mutations(texts.get(format, texts["lines"]), 200, 5):
        (tmp_path / "list.txt").write_bytes(data)
        try:
            found = ListFile(path=str(tmp_path / "list.txt"), format=format, degradation=label).find()
        except SourceError as error:
            expect_one_line(error, "list.txt", "degradation")
            continue
        for refusal in found.refusals:
            assert "\n" not in refusal.reason + refusal.name


def test_a_recipe_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    for name in ("none.toml", "folder.toml", "no\0.toml", "x" * 300 + ".toml", "none.toml/deeper.toml"):
        with pytest.raises(PipelineError) as caught:
            load_recipe(tmp_path / name)
        expect_one_line(caught.value, "toml", "xxx")


def test_patterns_that_warn_are_read_quietly(tmp_path: Path) -> None:
    """A doubtful regular expression is no reason for a Python warning in the middle of a build."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tried(tmp_path / "mine.toml", EVERYTHING.replace(b"(.*)-lq", b"([[a]*)-lq"))
        assert (tmp_path / "mine.toml").exists()
