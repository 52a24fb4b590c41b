"""What users give as images, folders and recipes: taken, or refused in words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image

from patina.pipeline.recipe.parse import find_recipe, parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.text import nearest
from patina.synth.image import Image, check_image

AnyPath: TypeAlias = str | os.PathLike[str]
"""A path, as a text or a Path."""

AnyRecipe: TypeAlias = AnyPath | Mapping[str, Any] | Recipe
"""A recipe: its TOML file, the name of one that comes with patina, its table, or one that is loaded."""


def image_of(given: Any, what: str = "image") -> Image:
    """`given`, C-contiguous, if it is an H×W×3 uint8 array of 16 px a side at least.

    Raises TypeError for what is no array, and ValueError for another dtype, shape or size; both say what to do.
    """
    if isinstance(given, PIL.Image.Image):
        raise TypeError(
            f'{what}: expected a NumPy array, found a Pillow image; give numpy.asarray({what}.convert("RGB"))'
        )
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{what}: expected a NumPy array, H×W×3 uint8 RGB, found {type(given).__name__}")
    found = f"found {given.dtype} of shape {given.shape}"
    if given.dtype != np.uint8:
        scaled = " floats in 0..1 become levels by numpy.rint(image * 255).astype(numpy.uint8)"
        advice = scaled if given.dtype.kind == "f" else " scale it to levels 0..255, then .astype(numpy.uint8)"
        raise ValueError(f"{what}: expected an H×W×3 uint8 RGB image, {found};{advice}")
    if given.ndim == 2 or (given.ndim == 3 and given.shape[2] == 1):
        advice = "numpy.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) makes RGB of a grey one"
        raise ValueError(f"{what}: expected an H×W×3 uint8 RGB image, {found}; {advice}")
    if given.ndim == 3 and given.shape[2] == 4:
        raise ValueError(f"{what}: expected an H×W×3 uint8 RGB image, {found}; leave alpha out: image[..., :3]")
    if given.ndim == 3 and given.shape[0] == 3 and given.shape[2] != 3:
        raise ValueError(f"{what}: expected an H×W×3 uint8 RGB image, {found}; give image.transpose(1, 2, 0)")
    try:
        check_image(given)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    return np.ascontiguousarray(given)


def photo_of(given: Any, what: str = "photo") -> Image:
    """The pixels of an array, as `image_of` takes it, or of a Pillow image of mode RGB or L."""
    if not isinstance(given, PIL.Image.Image):
        return image_of(given, what)
    if given.mode not in ("RGB", "L"):
        advice = 'convert it: image.convert("RGB")'
        raise ValueError(f"{what}: expected a Pillow image of mode RGB or L, found mode {given.mode}; {advice}")
    return image_of(np.array(given.convert("RGB")), what)


def recipe_of(given: AnyRecipe) -> Recipe:
    """The recipe that is meant; relative paths in a table start at the working folder. Raises RecipeError."""
    if isinstance(given, Recipe):
        return given
    if isinstance(given, Mapping):
        return parse_recipe(given, Path.cwd())
    if isinstance(given, str | os.PathLike):
        return find_recipe(Path(given))
    raise TypeError(f"recipe: expected a path, a name, a table or a Recipe, found {type(given).__name__}")


def one_of(what: str, name: str, known: tuple[str, ...]) -> str:
    """`name`, if it is known. Raises ValueError that names the nearest."""
    if name not in known:
        raise ValueError(f"{what}: there is no {name!r}; {nearest(str(name), known)}")
    return name
