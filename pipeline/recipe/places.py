"""What a recipe names: the files, folders and addresses whose change may change its dataset."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.sources.locations import is_remote

PATTERN = re.compile(r"[{*?\[]")
"""Where the variable part of a pattern such as train-{0000..0009}.tar begins."""

HUB = "hf://"


@dataclass(frozen=True)
class Places:
    """Absolute local paths, whether there or not, and addresses, each once and sorted. Folders are meant with all that
    lies below them; of a pattern the folder of what it names is there."""

    local: tuple[Path, ...]
    remote: tuple[str, ...]


def places_of(recipe: Recipe, file: Path | None = None) -> Places:
    """The places of a recipe's sources, captions, masks, depth maps and models.

    file  the recipe's own file, which is one of them; none for a recipe that comes with patina.
    """
    parts = (*recipe.sources, recipe.captioner, recipe.fallback, recipe.similarity, *recipe.degradations.values())
    found = {place for part in parts for place in _named(part)}
    local = {Path(place) for place in found if not is_remote(place)}
    local |= {file.absolute()} if file else set()
    return Places(tuple(sorted(local)), tuple(sorted(place for place in found if is_remote(place))))


def _named(part: Any) -> Iterator[str]:
    """The paths and addresses in the fields of a dataclass that are marked to hold some, and in dataclasses within."""
    if isinstance(part, Mapping):
        part = tuple(part.values())
    if isinstance(part, tuple):
        for one in part:
            yield from _named(one)
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.metadata.get("folder") and isinstance(value, str) and value:
            yield _fixed(value)
        elif field.metadata.get("folder_or_name") and isinstance(value, str):
            if Path(value).expanduser().is_absolute():
                yield str(Path(value).expanduser())
        else:
            yield from _named(value)
    root = getattr(part, "root", "")
    if isinstance(root, str) and root.startswith(HUB):
        yield root


def _fixed(place: str) -> str:
    """A place without its pattern: the folder that the variable part lies in."""
    if is_remote(place) or Path(place).exists() or not (match := PATTERN.search(place)):
        return place
    return place[: match.start()].rpartition("/")[0] or "/"
