"""The flow `watch-sources`: looks whether a dataset is stale, and emits one event once its sources rest.

It builds nothing: the event starts `build-dataset`, which scans again itself. Meant for schedules, one for a dataset,
that `patina watch add` creates. Its parameters have no defaults that could be meant: a schedule without them fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from pydantic import Field

from patina.flows.artifacts import record
from patina.flows.errors import RunError
from patina.flows.events import absolute, tell_sources_changed
from patina.flows.outliving import outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.runners import run_step
from patina.flows.watchers import watcher
from patina.pipeline.builder.watch import Verdict, Watched, note_told, watch
from patina.pipeline.export.remote_output import dataset_folder_of
from patina.pipeline.machine import usable_cores
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import load_recipe

Named = Annotated[str, Field(json_schema_extra={"minLength": 1})]
"""What a run has to name. Prefect would refuse a schedule's run that names nothing too, but not say why it does."""

EMPTIED = (
    "watch-sources was given no recipe or no dataset to look after, and guesses none. If a schedule started it: "
    "Prefect's own pause and resume empty a schedule's parameters. `patina watch ls` tells which it is; "
    "`patina watch on NAME` fills it again"
)


@flow(name="watch-sources", flow_run_name=named("watch {recipe} for {out}"), persist_result=False)
def watch_sources(
    recipe: Named = "",
    out: Named = "",
    quiet: Annotated[float, Field(ge=0, le=3600)] = 30.0,
    again: Annotated[float, Field(ge=0)] = 3600.0,
    workers: Annotated[int, Field(ge=0)] = 0,
) -> str:
    """Look whether sources or recipe changed, and emit one event `patina.sources.changed` once they rest.

    Args:
        recipe: A recipe's TOML file, or the name of one that comes with patina.
        out: The dataset's folder, or an address such as s3://bucket/name.
        quiet: Seconds for which the sources must rest before a change is reported.
        again: Seconds after which the same change is reported once more, since the build may have failed.
        workers: Files read side by side; 0 for one on each core.
    """
    outlive_runner()
    if not recipe or not out:
        raise RunError(EMPTIED)
    tell_relative(recipe=recipe, out=out)
    loaded = load_recipe(Path(recipe))
    options = Options(workers=workers or usable_cores())
    folder = run_step("fetch", lambda: dataset_folder_of(out, watcher()))
    found = run_step("look", lambda: watch(loaded, folder, options, quiet=quiet, again=again))
    if found.verdict is Verdict.changed:
        tell_sources_changed(_for_others(recipe), absolute(out), found)
        note_told(folder, found.signature)
    run_step("artifacts", lambda: record("what was found", lambda: _artifact(found)))
    get_run_logger().info("%s", _words(found))
    return found.verdict.value


def _for_others(recipe: str) -> str:
    """A recipe's absolute path; the name of one of patina's as it is."""
    return str(Path(recipe).absolute()) if Path(recipe).is_file() else recipe


def _words(found: Watched) -> str:
    return f"{found.verdict.value}: {found.plan.summary()}" if found.plan else found.verdict.value


def _artifact(found: Watched) -> None:
    create_markdown_artifact(_words(found), key="watch", description=found.verdict.value)
