"""A build whose captions a model makes: real transformers code on a tiny BLIP, and no torch where none is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from patina.captioning.captioner import CaptionError
from patina.pipeline.builder.build import build
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.recipe.recipe import Recipe
from tests.captioning import tiny_models
from tests.pipeline.making import photo, photos, tiny_recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_models.blip(tmp_path / "model")
    photos(tmp_path / "photos", 4)
    return tmp_path


def recipe_of(folder: Path, **more: object) -> Recipe:
    captions = {"kind": "blip", "model": "./model", "max_new_tokens": 6, "filter": {"max_repeats": 0}, **more}
    return tiny_recipe(folder, captions=captions)


AGAIN = """
import sys
from pathlib import Path
from patina.pipeline.builder.build import build, result_if_idle
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import parse_recipe
from tests.pipeline.builder.test_build_with_blip import recipe_of
folder = Path(sys.argv[1])
heavy = ("torch", "transformers", "open_clip", "torchvision")
for module in [m for m in sys.modules if m.partition(".")[0] in heavy]:
    raise SystemExit(f"{module} is imported by the tests themselves")
report = build(recipe_of(folder), folder / "out")
assert report.captions_made == 0 and report.planned.plan.captions == 0, report
assert len(report.results) == int(sys.argv[2]), report.results
print(",".join(m for m in heavy if m in sys.modules))
"""


def test_captions_come_from_the_model_once_and_a_build_that_has_them_imports_no_torch(folder: Path) -> None:
    first = build(recipe_of(folder), folder / "out")
    assert first.captions_made == 4
    rows = read_samples(folder / "out")
    assert {row.captioner for row in rows} == {"blip@1"}
    assert all(row.caption.strip() for row in rows)
    for shards in (0, 1):
        if shards:  # a shard that has to be made again does not ask the model again either
            (folder / "out" / "shards" / "train-0000-noisy.tar").unlink()
        words = [sys.executable, "-c", AGAIN, str(folder), str(shards)]
        said = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
        assert said.returncode == 0, said.stderr
        assert said.stdout.strip() == "", "imported, though every caption was there"


def test_another_model_captions_anew_and_one_photograph_more_costs_one_caption(folder: Path) -> None:
    build(recipe_of(folder), folder / "out")
    photo(folder / "photos" / "more.png", seed=20)
    assert build(recipe_of(folder), folder / "out").captions_made == 1
    assert build(recipe_of(folder, max_new_tokens=4), folder / "out").captions_made == 5
    (folder / "model").rename(folder / "moved")
    moved = tiny_recipe(
        folder, captions={"kind": "blip", "model": "./moved", "max_new_tokens": 4, "filter": {"max_repeats": 0}}
    )
    assert build(moved, folder / "out").captions_made == 0, "a folder counts by its contents"


def test_no_model_no_hub_is_one_clear_error_before_any_work(folder: Path) -> None:
    build(tiny_recipe(folder), folder / "out")
    before = sorted((p.name, p.stat().st_mtime_ns) for p in (folder / "out").rglob("*.tar"))
    recipe = tiny_recipe(folder, captions={"kind": "blip"})
    with pytest.raises(CaptionError) as raised:
        build(recipe, folder / "out")
    said = str(raised.value)
    assert "Salesforce/blip-image-captioning-large" in said
    assert "hf download Salesforce/blip-image-captioning-large" in said
    assert "\n" not in said and ".;" not in said
    assert sorted((p.name, p.stat().st_mtime_ns) for p in (folder / "out").rglob("*.tar")) == before
