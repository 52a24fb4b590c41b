"""Commands of watches: `patina watch add`, ls, on, off, rm on a server, and `patina watch run` here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patina.flows.cli.command import with_voice
from patina.flows.cli.options import RecipeArgument, TargetOption, WorkersOption
from patina.flows.cli.output import console, escape, print_table
from patina.flows.cli.prefect_env import prepare_prefect

if TYPE_CHECKING:
    from patina.flows.watch_list import Watch
    from patina.pipeline.builder.result import BuildResult

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the watch: see `patina watch ls`.")]
EveryOption = Annotated[float, typer.Option(min=10, metavar="SECONDS", help="The time from one look to the next.")]
QuietOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=3600,
        metavar="SECONDS",
        help="The time for which sources and recipe must not change before it is rebuilt.",
    ),
]

app = typer.Typer(
    help="Rebuild datasets when their sources or recipes change. `run` watches here; the other commands let a Prefect "
    "server watch.",
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("add")
@with_voice
def add(
    recipe: RecipeArgument,
    out: TargetOption,
    *,
    every: EveryOption = 300.0,
    quiet: QuietOption = 30.0,
    train: Annotated[
        str,
        typer.Option(
            metavar="PLAN", help="A training plan. What is published is then also trained on, in the folder OUT-run."
        ),
    ] = "",
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the watch is called. Without it, it is called as the dataset.")
    ] = "",
) -> None:
    """Let the server watch a dataset.

    A schedule of `watch-sources` is created, which a worker or `patina serve` runs. Given again for a dataset that is
    watched, the command changes that watch, and switches it on.
    """
    from patina.pipeline.recipe.parse import find_recipe

    find_recipe(recipe)
    if train:
        from patina.training.stages.plan import load_plan

        load_plan(train)
    prepare_prefect()
    from patina.flows.starting import as_seen_from_anywhere
    from patina.flows.watch_list import Watching
    from patina.flows.watches import add as add_watch

    places = as_seen_from_anywhere({"recipe": str(recipe), "out": out, "plan": train})
    watch = add_watch(
        Watching(recipe=places["recipe"], out=places["out"], every=every, quiet=quiet, train=places["plan"], name=name)
    )
    console.print(escape(f"watched  {watch.line}"))
    _print_state(watch)


@app.command("ls")
@with_voice
def ls() -> None:
    """List what the server watches, and what is wrong with it.

    The exit code is 1 if something of a watch is broken.
    """
    prepare_prefect()
    from patina.flows.watch_list import listed

    watches = listed()
    if not watches:
        console.print("nothing is watched: patina watch add RECIPE --out OUT")
        return
    print_table(
        [
            {
                "name": watch.watching.name or "–",
                "every": f"{watch.watching.every:g} s",
                "quiet": f"{watch.watching.quiet:g} s",
                "train": watch.watching.train or "–",
                "recipe": watch.watching.recipe or "–",
                "out": watch.watching.out or "–",
                "state": watch.state,
            }
            for watch in watches
        ]
    )
    for note in dict.fromkeys(note for watch in watches for note in watch.notes):
        console.print(escape(f"note     {note}"), style="yellow")
    if any(watch.is_broken for watch in watches):
        raise typer.Exit(1)


@app.command("on")
@with_voice
def on(name: NameArgument) -> None:
    """Switch a watch on.

    It is mended where its schedule was emptied or deleted.
    """
    _switch(name, on=True)


@app.command("off")
@with_voice
def off(name: NameArgument) -> None:
    """Switch a watch off, with its training.

    It stays off until `patina watch on`. A run that has begun goes on.
    """
    _switch(name, on=False)


@app.command("rm")
@with_voice
def rm(name: NameArgument) -> None:
    """Remove a watch from the server. The dataset stays."""
    prepare_prefect()
    from patina.flows.watches import remove

    remove(name)
    console.print(escape(f"removed  {name}"))


@app.command("run")
@with_voice
def run(
    recipe: RecipeArgument,
    out: TargetOption,
    *,
    quiet: Annotated[
        float,
        typer.Option(
            min=0, max=3600, metavar="SECONDS", help="The time for which nothing may change before it is rebuilt."
        ),
    ] = 0.3,
    every: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="The time from one look to the next where the operating system reports no changes, as at addresses.",
        ),
    ] = 30.0,
    workers: WorkersOption = 0,
) -> None:
    """Build here, and build again after each change, until Ctrl-C.

    A change of the photographs, the captions, other files or the recipe counts. No server is needed.
    """
    from patina.flows.cli.dataset import run_build
    from patina.flows.cli.user_errors import is_for_the_user
    from patina.flows.watch_here import Watcher

    def build() -> BuildResult:
        return run_build(recipe, out, workers=workers, strict=False, max_set_aside=0.05, paranoid=False, replay=8)

    Watcher(
        Path(recipe),
        out,
        quiet=quiet,
        every=every,
        build=build,
        tell=lambda line: console.print(escape(line)),
        is_told=is_for_the_user,
    ).run()


def _switch(name: str, *, on: bool) -> None:
    prepare_prefect()
    from patina.flows.watches import switch

    watch = switch(name, on=on)
    console.print(escape(f"{'watched' if on else 'off    '}  {watch.line}"))
    if on:
        _print_state(watch)


def _print_state(watch: Watch) -> None:
    for note in watch.notes:
        console.print(escape(f"note     {note}"), style="yellow")
