"""How often a photograph is degraded: in the split that is learnt from, and in those that are held out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import find_recipe
from patina.pipeline.recipe.shipped import shipped
from tests.pipeline.making import photo, tiny_recipe

SPLIT = {"val": 0.4, "test": 0.3}


def counts(folder: Path, settings: dict[str, Any], entry: str = "noisy") -> dict[str, Counter[str]]:
    """Rows of each photograph by split."""
    for k in range(12):
        photo(folder / "photos" / f"{k}.png", seed=k, width=24, height=24)
    recipe = tiny_recipe(folder, split=SPLIT, degradations={entry: settings})
    build(recipe, folder / "out", Options())
    found: dict[str, Counter[str]] = {}
    for row in read_samples(folder / "out"):
        found.setdefault(row.split, Counter())[row.source_sha256] += 1
    assert set(found) == {"train", "val", "test"}
    return found


@pytest.mark.parametrize(
    ("settings", "learnt", "held_out"),
    [
        ({"variants": 3}, 3, 1),
        ({"variants": 3, "held_out_variants": 2}, 3, 2),
        ({"held_out_variants": 2}, 1, 2),
        ({}, 1, 1),
    ],
)
@pytest.mark.parametrize("entry", ["noisy", "hazy+noisy"])
def test_held_out_photographs_have_one_variant_unless_more_are_asked_for(
    tmp_path: Path, settings: dict[str, int], learnt: int, held_out: int, entry: str
) -> None:
    found = counts(tmp_path, settings, entry)
    assert {split: set(rows.values()) for split, rows in found.items()} == {
        "train": {learnt},
        "val": {held_out},
        "test": {held_out},
    }


def test_the_first_variant_is_the_one_that_stays(tmp_path: Path) -> None:
    counts(tmp_path / "one", {})
    counts(tmp_path / "three", {"variants": 3})
    one, three = (
        {row.key: row.fingerprint for row in read_samples(tmp_path / name / "out")} for name in ("one", "three")
    )
    assert one.items() <= three.items()


def test_how_often_is_a_whole_number(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"noisy\.held_out_variants: expected a whole number from 1 to 1000, found 0"):
        tiny_recipe(tmp_path, degradations={"noisy": {"held_out_variants": 0}})


def test_a_recipe_that_asks_for_nothing_is_stored_as_before(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, degradations={"noisy": {"variants": 2}})
    assert "held_out_variants" not in recipe.table["degradations"]["noisy"]
    asked = tiny_recipe(tmp_path, degradations={"noisy": {"held_out_variants": 2}})
    assert asked.table["degradations"]["noisy"]["held_out_variants"] == 2


@pytest.mark.parametrize("name", ["nhr", "nhr-public", "nhrbl", "nhrbl-public"])
def test_the_papers_test_sets_are_as_large_as_the_papers(name: str) -> None:
    assert name in shipped()
    recipe = find_recipe(Path(name))
    assert {recipe.degradations[f"noisy-{sigma}"].variants_in("test") for sigma in (15, 25, 50)} == {1}
