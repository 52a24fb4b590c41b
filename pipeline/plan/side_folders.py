"""What lies in the folders of masks that degradations read, and is passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Set
from pathlib import Path

from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.sources.passed_over import passed_over, unread_kinds
from patina.pipeline.sources.reader import walk
from patina.pipeline.text import counted, printable
from patina.synth.chain import Chain
from patina.synth.compose import Composite
from patina.synth.degradation import Degradation
from patina.synth.depth import Depths
from patina.synth.graded import Graded


def parts_of(degradation: Degradation) -> Iterator[Degradation]:
    """The degradations of the catalogue that one of a recipe is made of: itself, or each part."""
    if isinstance(degradation, Composite):
        for part in degradation.parts.values():
            yield from parts_of(part)
    elif isinstance(degradation, Chain):
        for part in degradation.parts:
            yield from parts_of(part)
    elif isinstance(degradation, Graded):
        yield from parts_of(degradation.base)
    else:
        yield degradation


def reads_beside(degradation: Degradation) -> bool:
    """Whether it may read something beside a photograph, such as a depth map, so that `side_input_digest` and
    `missing_input` have to be asked for each one."""
    return any(
        (type(part).side_input_digest, type(part).missing_input)
        != (Degradation.side_input_digest, Degradation.missing_input)
        and not (isinstance(depths := getattr(part, "depths", None), Depths) and not depths.folder)
        for part in parts_of(degradation)
    )


def side_folder_notes(recipe: Recipe) -> list[str]:
    """Sentences on pictures in folders of masks that are not read: those of other suffixes, and those in sub-folders.

    A setting of a degradation that names such a folder says in its metadata which `suffixes` are read.
    """
    told = []
    for entry, synthesis in recipe.degradations.items():
        for part in parts_of(synthesis.degradation):
            for setting in dataclasses.fields(part):  # type: ignore[arg-type]
                suffixes, folder = setting.metadata.get("suffixes"), getattr(part, setting.name)
                if suffixes and folder:
                    told += _notes(f"[degradations.{entry}] {setting.name}", folder, suffixes)
    return told


def _notes(where: str, folder: str, suffixes: Set[str]) -> list[str]:
    paths = {Path(path).relative_to(folder).as_posix(): path for path in walk(folder, where)}
    here = {name: path for name, path in paths.items() if "/" not in name}
    below = [name for name in paths if "/" in name and Path(name).suffix.lower() in suffixes]
    notes = [passed_over(where, unread_kinds(here, here, suffixes))]
    if below:
        example = f"{counted(len(below), 'picture')}, such as {printable(min(below))}"
        notes.append(f"{where}: sub-folders are passed over, and with them {example}")
    return [note for note in notes if note]
