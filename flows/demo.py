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


def lay_out(out: Path) -> Path:
    """Make `out`/photos, captions.csv and recipe.toml where they are missing; gives the recipe's path.

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
    return out / "recipe.toml"


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copyfile(source, target)
