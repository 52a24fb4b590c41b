"""Recipes and datasets by what a user typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patina.flows.cli.output import console

if TYPE_CHECKING:
    from patina.pipeline.recipe.recipe import Recipe


def find_recipe(path: Path) -> Recipe:
    """The recipe of that file or name. Raises RecipeError, for a name that is none with the nearest one."""
    from patina.pipeline.errors import RecipeError
    from patina.pipeline.recipe.parse import load_recipe
    from patina.pipeline.recipe.shipped import shipped
    from patina.pipeline.text import nearest

    own = shipped()
    if not path.exists() and str(path) not in own and len(path.parts) == 1 and not path.suffix:
        raise RecipeError(f"{path}: there is no such file, and no recipe of this name; {nearest(str(path), own)}")
    return load_recipe(path)


def find_dataset(named: str) -> Path:
    """The folder of a dataset that is named by a path or an address. Raises ManifestError if it holds none."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.errors import ManifestError
    from patina.pipeline.export.remote_output import dataset_folder_of
    from patina.pipeline.format.layout import MANIFEST
    from patina.pipeline.format.manifest import dataset_folder, load_manifest
    from patina.pipeline.sources.locations import is_remote

    with TerminalEvents(console) as events:
        folder = dataset_folder_of(named, events)
    if is_remote(named) and load_manifest(folder) is None:
        raise ManifestError(f"{named}: expected a patina dataset, found no {MANIFEST}")
    return dataset_folder(folder)
