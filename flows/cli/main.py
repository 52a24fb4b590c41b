"""The command `patina`: parses, then calls a flow or a function. Heavy libraries are imported where they are used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from patina import __version__
from patina.flows.cli import dataset, demo, init, restore, serve, share, sources, training, versions, watch
from patina.flows.cli.command import Group, with_voice
from patina.flows.cli.output import console, errors, escape
from patina.flows.cli.signals import Signals
from patina.flows.cli.user_errors import is_for_the_user

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

app = typer.Typer(
    cls=Group,
    help="patina builds image-text-degradation datasets for image restoration, rebuilds only what changed, and trains "
    "models on them. `patina COMMAND --help` tells all about a command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"patina {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version, and end.")
    ] = False,
) -> None:
    """What stands before any command."""
    del version


for name, command in COMMANDS.items():
    app.command(name)(with_voice(command))
app.add_typer(watch.app, name="watch")


def main() -> None:
    """The console command. Errors that a user can mend are printed in words and exit with 1; others raise. A signal to
    end is told in one line, and its exit code is 128 and its number."""
    signals = Signals()
    with signals.heeded():
        try:
            _run()
        except BaseException as error:  # typer's SystemExit too, and whatever comes of an interruption in the middle
            if not signals.received or (isinstance(error, SystemExit) and not error.code):
                raise
            signals.leave()


def _run() -> None:
    from patina.flows.errors import ServerAwayError

    try:
        app()
    except Exception as error:
        if not is_for_the_user(error):
            raise
        errors.print(f"[red]error[/]  {escape(str(error))}")
        if isinstance(error, ServerAwayError):  # at exit, Prefect would try for seven seconds to send each event left
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        sys.exit(1)
