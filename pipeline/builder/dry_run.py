"""What a build would do, cost and refuse, without doing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from patina.pipeline.builder.workspace import expect_place, expect_writable
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import BuildError
from patina.pipeline.plan.planning import Options, PlannedBuild, check_budget, plan_build
from patina.pipeline.progress import Events
from patina.pipeline.recipe.recipe import Recipe


def dry_run(recipe: Recipe, out: Path, options: Options, events: Events | None = None) -> PlannedBuild:
    """Plan the build of `recipe` into `out`: what it would make and why, what it would cost, and in `blocked` what it
    would stop for, such as too many inputs that must be set aside.

    Writes nothing but the dataset's stores of what it found. Raises what a build raises before it has a plan:
    SourceError, ManifestError, BuildError, OSError; also for what can be no dataset's folder.
    """
    out = out.absolute()
    expect_place(out)
    planned = plan_build(recipe, out, options, events)
    try:
        check_budget(planned, options)
        if not planned.plan.is_empty:
            expect_writable(out)
    except (BuildError, OutputError) as error:
        return replace(planned, blocked=str(error))
    if planned.plan.is_empty:
        return planned
    from patina.pipeline.builder.estimate import estimated  # it brings all that makes samples

    return estimated(planned)
