"""Folders, files and addresses in flow runs: short in a run's name, and told in its log where they are relative."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from string import Formatter

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from patina.pipeline.sources import locations
from patina.pipeline.text import one_line

LONGEST_NAME = 60
"""Characters of a place in a run's name at the most."""


def named(template: str) -> Callable[[], str]:
    """What names the runs of a flow: a template of its parameters such as `build {recipe} into {out}`, where a place is
    told by its last name alone: `build mine into OUT`, for /home/me/mine.toml and s3://bucket/OUT."""
    names = [name for _, name, _, _ in Formatter().parse(template) if name]

    def name_of_run() -> str:
        given = flow_run.parameters
        return template.format(**{name: short(str(given.get(name, ""))) for name in names})

    return name_of_run


def short(place: str) -> str:
    """The last name of a path or an address, a recipe's or a plan's without `.toml`; what is no place as it is."""
    last = locations.base_name(place) or place
    return one_line(last.removesuffix(".toml") or last, LONGEST_NAME)


def tell_relative(**places: str) -> None:
    """Warn, in the log of a deployment's run, of places that are relative: whoever asked for the run may have meant a
    folder of theirs, and it runs in another one. Names of recipes and plans that come with patina are no places."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return  # called here, where a relative path means what its caller means
    for name, place in places.items():
        if name == "recipe" and place and not is_relative(name, place) and not _is_whole(place):
            get_run_logger().warning(
                "the recipe %s comes with patina: relative paths in it start at %s, where this run started; give a "
                "recipe of your own, whose paths start at its folder",
                place,
                Path.cwd(),
            )
        if not is_relative(name, place):
            continue
        get_run_logger().warning(
            "%s = %r is relative, and is taken to be %s, below the folder that this run started in; give an absolute "
            "path, as `patina run` does by itself",
            name,
            place,
            Path(place).absolute(),
        )


def is_relative(name: str, place: str) -> bool:
    """Whether a parameter's value is a relative path."""
    if not place or _is_whole(place):
        return False
    return not (name in ("recipe", "plan") and not Path(place).suffix and not Path(place).exists())


def _is_whole(place: str) -> bool:
    """Whether it means the same from every folder."""
    return locations.is_remote(place) or Path(place).is_absolute()
