"""`patina watch run`: builds a dataset whenever its sources or its recipe changed and rest, in this process.

    build ─► wait for a change ─► wait until none has come for `quiet` seconds ─► read the recipe, build ─► …

A build that fails is told, and the next change is waited for. Knows no Prefect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from patina.flows.changes import Changes, changes_of
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.recipe.parse import find_recipe
from patina.pipeline.recipe.places import Places, places_of
from patina.pipeline.sources.locations import display_address, is_remote
from patina.pipeline.text import counted

SHOWN_NAMES = 3


class Watcher:
    """Looks after one dataset.

    recipe, out  a recipe's file, or the name of one that comes with patina; the dataset's folder or address.
    quiet        seconds for which nothing may change before a build begins.
    every        seconds from one look to the next where nothing tells of changes: at addresses, and everywhere without
                 watchfiles.
    build        builds, and gives the result. tell: shows a line. is_told: which errors of `build` are for the user.
    """

    def __init__(
        self,
        recipe: Path,
        out: str,
        *,
        quiet: float,
        every: float,
        build: Callable[[], BuildResult],
        tell: Callable[[str], None],
        is_told: Callable[[Exception], bool],
    ) -> None:
        self._recipe, self._out = recipe, out
        self._quiet, self._every = quiet, every
        self._build, self._tell, self._is_told = build, tell, is_told
        self._places = self._read()
        self._changes: Changes = self._begin()

    def run(self, rounds: int | None = None) -> None:
        """Build now, and then after each change, `rounds` times in all; none: until this process is interrupted."""
        try:
            self._announce()
            self._once("")
            while rounds is None or (rounds := rounds - 1) > 0:
                self._once(self._next())
        finally:
            self._changes.close()

    def _next(self) -> str:
        """The path of a change that rests; empty when it is time to look at what tells nothing."""
        path = self._changes.wait(self._every if self._places.remote else None)
        while path and (later := self._changes.wait(self._quiet)):
            path = later
        return path

    def _once(self, path: str) -> None:
        """Build once, because of the change at `path`, and follow the recipe where it names other places now."""
        start = time.monotonic()
        try:
            self._follow()
            result = self._build()
        except Exception as error:
            if not self._is_told(error):
                raise
            self._tell(f"error    {error}")
            self._tell("still watching: mend it, and the next change is built")
            return
        if result.results or result.planned.plan.drop:
            self._tell(f"changed  {path}" if path else "built    what was stale")
            self._tell(f"built    {_words(result)} in {time.monotonic() - start:.1f} s")
        elif not path and not self._places.remote:
            self._tell(f"up to date   {_words(result)}")

    def _follow(self) -> None:
        places = self._read()
        if places != self._places:
            self._places = places
            self._changes.close()
            self._changes = self._begin()
            self._announce()

    def _read(self) -> Places:
        recipe = find_recipe(self._recipe)
        return places_of(recipe, self._recipe if self._recipe.is_file() else None)

    def _begin(self) -> Changes:
        aside = None if is_remote(self._out) else Path(self._out)
        return changes_of(self._places.local, aside, self._every)

    def _announce(self) -> None:
        local, remote = self._places.local, self._places.remote
        if local:
            names = ", ".join(str(place) for place in local[:SHOWN_NAMES])
            more = f" and {counted(len(local) - SHOWN_NAMES, 'other place')}" if len(local) > SHOWN_NAMES else ""
            self._tell(f"watching {names}{more}: {self._changes.how}")
        for address in remote:
            self._tell(f"polling  {display_address(address)}, every {self._every:g} s: no address tells of changes")
        self._tell("Ctrl-C ends it")


def _words(result: BuildResult) -> str:
    manifest = result.manifest
    samples = sum(shard.count for shard in manifest.shards)
    return f"{counted(samples, 'sample')}, digest {manifest.digest[:16]}"
