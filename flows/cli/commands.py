"""The table of commands, and Typer's application of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from patina.flows.cli import dataset, demo, init, restore, serve, share, sources, training, versions, watch
from patina.flows.cli.command import Command, Group, with_voice
from patina.flows.cli.output import console
from patina.flows.cli.version import LINE

COMMANDS: dict[str, Callable[..., None]] = {
    "init": init.init,
    "demo": demo.demo,
    "plan": dataset.plan,
    "build": dataset.build,
    "check": dataset.check,
    "gallery": dataset.gallery,
    "show": dataset.show,
    "diff": dataset.diff,
    "versions": versions.versions,
    "rollback": versions.rollback,
    "gc": versions.gc,
    "export": share.export,
    "push": share.push,
    "recipes": sources.recipes,
    "degradations": sources.degradations,
    "calibrate": dataset.calibrate,
    "sources": sources.sources,
    "depth": sources.depth,
    "stages": training.stages,
    "train": training.train,
    "evaluate": training.evaluate,
    "report": training.report,
    "lineage": training.lineage,
    "models": training.models,
    "restore": restore.restore,
    "app": restore.web_page,
    "deploy": serve.deploy,
    "serve": serve.serve,
    "run": serve.run,
}
"""Every command but the group `watch`, in the order of `patina --help`; each one's text is its function's docstring."""

WATCH = "watch"
"""The group of commands."""


def app_of(names: Iterable[str]) -> typer.Typer:
    """The command `patina` with these commands alone: Typer makes all that it has, whichever was asked for."""
    app = typer.Typer(
        cls=Group,
        help="patina builds image-text-degradation datasets for image restoration, rebuilds only what changed, and "
        "trains models on them. `patina COMMAND --help` describes a command.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(about)
    for name in names:
        if name == WATCH:
            app.add_typer(watch.app, name=WATCH)
        else:
            app.command(name, cls=Command)(with_voice(COMMANDS[name]))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(LINE)
        raise typer.Exit


def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version, and end.")
    ] = False,
) -> None:
    """What stands before any command."""
    del version
