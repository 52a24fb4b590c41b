"""Sources that are watched: would a build do anything now, and do the sources rest?

A look lists the sources and asks what is stale, as `plan` does; two looks that agree, some seconds apart, say that
nobody is still copying. OUT/.patina/watch.json remembers what was told, so that one change is told once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from patina.pipeline.builder.workspace import Workspace, is_tidy
from patina.pipeline.errors import LockedError
from patina.pipeline.files import write_atomically
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.hashing import canonical_json
from patina.pipeline.plan.difference import BuildPlan
from patina.pipeline.plan.planning import Options, PlannedBuild, check_budget, plan_build
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.digests import ASKED_AT_ONCE
from patina.pipeline.sources import locations
from patina.pipeline.sources.locations import LocationError
from patina.pipeline.stopping import stoppable_threads

STATE_FILE = "watch.json"


class Verdict(StrEnum):
    """What a watcher found."""

    up_to_date = "up to date"
    changing = "still changing"
    building = "being built"
    told = "told before"
    changed = "changed"


@dataclass(frozen=True)
class Watched:
    """A verdict; with the plan of a build and the signature of sources and recipe as they are now, unless nothing is
    stale."""

    verdict: Verdict
    plan: BuildPlan | None = None
    signature: str = ""


def watch(
    recipe: Recipe,
    out: Path,
    options: Options | None = None,
    *,
    quiet: float = 30.0,
    again: float = 3600.0,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Watched:
    """Look whether the dataset of `recipe` in `out` is stale, and whether that should be told.

    quiet  seconds between the two looks that have to agree. again: seconds after which one and the same change is told
    a second time, since the build that it started may have failed.

    Raises SourceError and BuildError where a build would, such as for a disk that is not mounted; ManifestError for a
    folder with other files in it. Where nothing is stale it reads names and times alone, and does not wait.
    """
    options = options or Options()
    first = _look(recipe, out, options)
    if first.verdict is Verdict.up_to_date:
        return first
    sleep(quiet)
    second = _look(recipe, out, options)
    if second.verdict is Verdict.up_to_date:
        return second
    if first.signature != second.signature:
        return replace(second, verdict=Verdict.changing)
    try:
        with Workspace(out):  # asks for its lock, and refuses a folder with other files in it, as a build would
            pass
    except LockedError:
        return replace(second, verdict=Verdict.building)
    told, when = _read_state(out)
    if told == second.signature and 0 <= now() - when < again:
        return replace(second, verdict=Verdict.told)
    return second


def note_told(out: Path, signature: str, now: Callable[[], float] = time.time) -> None:
    """Remember that the change of that signature was told."""
    path = out / PRIVATE / STATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"signature": signature, "at": now()}), durable=False)


# ---------------------------------------------------------------------------------------------------------------------


def _look(recipe: Recipe, out: Path, options: Options) -> Watched:
    """What a build would do now. The files' own times are in the signature: one that grows stays a truncated one."""
    planned = plan_build(recipe, out, options)
    check_budget(planned, options)
    if planned.plan.is_empty and planned.built and is_tidy(out):
        return Watched(Verdict.up_to_date)
    if planned.built:
        (out / PRIVATE).mkdir(exist_ok=True)  # a dataset that was copied without it
    return Watched(Verdict.changed, planned.plan, _signature(planned))


def _signature(planned: PlannedBuild) -> str:
    """A digest of recipe, sources and what is built: equal where two looks found the same."""
    lines = [
        planned.recipe.digest,
        planned.sources_digest,
        planned.built.digest if planned.built else "",
        canonical_json(dict(planned.damage)),
        *(f"{shard.name} {shard.fingerprint}" for shard in planned.wanted.shards),
    ]
    paths = {
        locations.file_of(path)
        for reader in planned.recipe.sources
        for candidate in reader.find().candidates
        for path in (candidate.path, candidate.lq)
        if path
    }
    with stoppable_threads(ASKED_AT_ONCE) as pool:
        lines += pool.map(_stamp, sorted(paths))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: str) -> str:
    """What changes when a file changes, without reading it."""
    try:
        if locations.is_remote(path):
            return f"{path} {locations.tag(path)}"
        stat = Path(path).stat()
    except LocationError as error:
        return f"{path} {error}"
    except OSError as error:
        return f"{path} {error.errno}"
    return f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _read_state(out: Path) -> tuple[str, float]:
    """The signature of the change that was told last, and when, in seconds since 1970."""
    try:
        note = json.loads((out / PRIVATE / STATE_FILE).read_text("utf-8"))
        return str(note["signature"]), float(note["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0.0
