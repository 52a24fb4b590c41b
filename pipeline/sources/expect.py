"""Whether all sources of a recipe are there, before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from patina.pipeline.errors import SourceError
from patina.pipeline.sources import locations
from patina.pipeline.sources.folder import Folder
from patina.pipeline.sources.pairs import Pairs
from patina.pipeline.sources.preset import FromPreset
from patina.pipeline.sources.reader import Reader


def expect_sources(readers: Sequence[Reader]) -> None:
    """List the local folders that readers want, and open no file. Raises one SourceError about all that are unusable.

    What is elsewhere, or takes long to list, is left to the scan, which stops at the first.
    """
    problems: list[str] = []
    for number, reader in enumerate(readers, 1):
        if isinstance(reader, Folder | Pairs | FromPreset) and not locations.is_remote(reader.root):
            try:
                reader.find()
            except SourceError as error:
                problems.append(f"[[sources]] {number}: {error}")
    if len(problems) == 1:
        raise SourceError(problems[0])
    if problems:
        firsts = (problem.partition("\n")[0].rstrip(":;") for problem in problems)
        raise SourceError(
            "\n  ".join([f"{len(problems)} of {len(readers)} sources cannot be used:", *firsts])
            + "\nto build without them, leave their tables out of a copy of the recipe; `patina recipes NAME` prints "
            "those that come with patina"
        )
