"""How commands are listed and what each of them can be told: sections of `patina --help`, and -q and -v."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from patina.flows.cli import output
from patina.later import with_collection

SECTIONS: Mapping[str, Sequence[str]] = {
    "Begin": ("init", "demo"),
    "Build a dataset": ("plan", "build", "check", "watch"),
    "Look at it": ("gallery", "show", "diff", "versions", "rollback", "gc"),
    "Export it": ("export", "push"),
    "Look up and prepare what goes in": ("recipes", "degradations", "calibrate", "sources", "depth"),
    "Train on it": ("stages", "train", "evaluate", "report", "lineage", "models"),
    "Restore photographs": ("restore", "app"),
    "Run on a Prefect server": ("deploy", "serve", "run"),
}
"""The sections of `patina --help`, and the commands in each."""

SENTENCE = re.compile(r".+?[.](?=\s|$)", re.DOTALL)


def first_sentence(text: str) -> str:
    """The first sentence of a help text, in one line."""
    found = SENTENCE.match(text)
    return " ".join((found.group() if found else text).split()).removesuffix(".")


class _Looking:
    """A command whose parameters import pydantic only where there is something to check.

    Typer has pydantic check all values, also texts, paths and its own defaults, and importing it takes as long as a
    plan of a small dataset.
    """

    def get_params(self, ctx: Any) -> Any:
        """The parameters, `--help` too, each with a check that looks first."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in found:
            if not isinstance(one.process_value, functools.partial):
                one.process_value = functools.partial(_checked, one, one.process_value)
        return found


class Command(_Looking, TyperCommand):
    """One of its commands."""


def _checked(parameter: Any, check: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """A parameter's value, by Typer's own `check` if there is something to check."""
    if not is_as_wanted(parameter, value):
        return check(context, value)
    if isinstance(value, str) and parameter.type_descriptor.annotation is Path:
        value = Path(value)
    return parameter.callback(context, parameter, value) if parameter.callback else value


def is_as_wanted(parameter: Any, value: Any) -> bool:
    """Whether Typer's check would let the value pass as it is, a path's text as the path."""
    wanted = getattr(parameter, "type_descriptor", None)  # earlier Typers have none, and no pydantic
    if wanted is None or parameter.nargs != 1 or getattr(parameter, "multiple", False):
        return False
    if value is None:
        return not parameter.required
    if wanted.annotation is str:
        return type(value) is str
    if wanted.annotation is Path and isinstance(value, str):
        told = wanted.parameter_info
        plain = told.file_okay and told.dir_okay and told.readable and not told.writable and not told.exists
        plain = plain and not told.resolve_path and not told.allow_dash and told.path_type is None
        return plain and told.parser is None and (os.access(value, os.R_OK) or not os.path.lexists(value))
    return value is parameter.default and type(value) is wanted.annotation


class Group(_Looking, TyperGroup):
    """The command `patina`, whose help lists its commands by what they are for, with each one's first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the sections."""
        width = max(len(name) for name in self.commands)
        for section, names in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(
                    [(name.ljust(width), first_sentence(self.commands[name].help or "")) for name in names]
                )


def with_voice(command: Callable[..., None]) -> Callable[..., None]:
    """A command that can also be told to be quiet, or to tell more.

    Where `--quiet` is an option of the command's own, as of a watch, which waits for sources to be quiet, there is -q
    alone.
    """
    signature = inspect.signature(command, eval_str=True)
    spellings = ("-q",) if "quiet" in signature.parameters else ("--quiet", "-q")

    @functools.wraps(command)
    def told(*, hushed: bool, talkative: bool, **given: Any) -> None:
        with output.voice(hushed=hushed, in_full=talkative), with_collection():
            command(**given)

    hush = typer.Option(
        *spellings, help="Print no progress, no notes and no summary: only errors, and what was asked for."
    )
    talk = typer.Option("--verbose", "-v", help="Print lists in full, the time of each step, and what libraries log.")
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
        for name, option in (("hushed", hush), ("talkative", talk))
    ]
    whole = signature.replace(parameters=[*signature.parameters.values(), *more])
    told.__signature__ = whole  # type: ignore[attr-defined]
    told.__annotations__ = {name: one.annotation for name, one in whole.parameters.items()}
    return told
