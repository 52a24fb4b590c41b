"""What users give as images, folders and recipes: taken, or refused in words."""

from __future__ import annotations

import operator
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
    """The pixels, H×W×3 uint8 RGB, of an array that `image_of` takes, or of a Pillow image of mode RGB or L.

    Raises ValueError for another mode, and what `image_of` raises.
    """
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
        return parse_recipe(as_written(given, "recipe"), Path.cwd())
    if isinstance(given, str | os.PathLike):
        return find_recipe(Path(given))
    raise TypeError(f"recipe: expected a path, a name, a table or a Recipe, found {type(given).__name__}")


def as_written(value: Any, what: str) -> Any:
    """A value as a recipe's file would give it: paths are texts, tuples lists, NumPy's numbers and arrays Python's.

    Raises TypeError for a table whose keys are no texts; `what` names it.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"{what}: expected texts as keys, found {odd[0]!r}")
        return {key: as_written(part, what) for key, part in value.items()}
    return [as_written(part, what) for part in value] if isinstance(value, tuple | list) else value


def whole(value: Any, what: str, least: int = 0) -> int:
    """A whole number, Python's or NumPy's. Raises TypeError for anything else, ValueError for one below `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what}: expected a whole number from {least}, found {value!r}")
    if (number := operator.index(value)) < least:
        raise ValueError(f"{what}: expected a whole number from {least}, found {number}")
    return number


def share(value: Any, what: str) -> float:
    """A number from 0 to 1. Raises TypeError, ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{what}: expected a number from 0 to 1, found {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{what}: expected a number from 0 to 1, found {value}")
    return float(value)


def path_of(value: Any, what: str) -> str:
    """A path or an address as a text. Raises TypeError, and ValueError for an empty one."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{what}: expected a path, as a text or a Path, found {type(value).__name__}")
    if not (text := os.fspath(value)):
        raise ValueError(f'{what}: expected a path, found an empty text; "." is the working folder')
    return text


def one_of(what: str, name: str, known: tuple[str, ...]) -> str:
    """`name`, if it is known. Raises ValueError that names the nearest."""
    if name not in known:
        raise ValueError(f"{what}: there is no {name!r}; {nearest(str(name), known)}")
    return name
