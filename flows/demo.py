"""Lays out the demo: six photographs that come inside scikit-image and scikit-learn, their captions and a recipe."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pipeline
from pipeline.recipe import RecipeError

PHOTOS = {
    "skimage": ("data", ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


WHY = {
    "csv": "captions of the demo come from captions.csv, sentences written for its six photographs, so that every "
    "machine builds the same dataset and needs no model; with --captions blip they are BLIP's",
    "blip": "captions of the demo are made by BLIP, as --captions blip asks; where BLIP refuses, from captions.csv",
}
"""Which captioner the demo runs, and why, by the word that chooses it."""

WRITTEN = '[captions]\nkind = "sidecar"\npath = "captions.csv"\n'
BY_BLIP = '[captions]\nkind = "blip"\nfallback = {kind = "sidecar", path = "captions.csv"}\n'


def lay_out(out: Path, captions: str = "csv") -> tuple[Path, Path]:
    """Make `out`/photos, captions.csv and the recipe where they are missing; gives the paths of recipe and dataset.

    What is there already stays, so that a changed photograph or recipe is what the next run builds. Raises RecipeError
    if the two packages are not installed.
    """
    photos = out / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for package, (folder, names) in PHOTOS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise RecipeError(f"the demo's photographs come inside {package}: pip install 'patina[demo]'")
        for name in names:
            _copy(Path(spec.origin).parent / folder / name, photos / name)
    recipes = Path(pipeline.__file__).parent / "recipes"
    _copy(recipes / "demo-captions.csv", out / "captions.csv")
    _copy(recipes / "demo.toml", out / "recipe.toml")
    if captions == "csv":
        return out / "recipe.toml", out / "dataset"
    recipe = out / f"recipe-{captions}.toml"
    if not recipe.exists():
        recipe.write_text((recipes / "demo.toml").read_text("utf-8").replace(WRITTEN, BY_BLIP), "utf-8")
    return recipe, out / f"dataset-{captions}"


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copyfile(source, target)
