"""How commands are listed and what each of them can be told: sections of `patina --help`, and -q and -v."""

from __future__ import annotations

import functools
import inspect
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from patina.flows.cli import output

SECTIONS: Mapping[str, Sequence[str]] = {
    "Begin": ("init", "demo"),
    "Build a dataset": ("plan", "build", "check", "watch"),
    "Look at it": ("gallery", "show", "diff", "versions", "rollback", "gc"),
    "Hand it on": ("export", "push"),
    "Know what goes in": ("recipes", "degradations", "calibrate", "sources", "depth"),
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


class Group(TyperGroup):
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
        output.status.quiet, output.told_in_full = hushed, talkative
        if talkative:
            logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
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
