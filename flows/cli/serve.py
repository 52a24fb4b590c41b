"""Commands of Prefect: run, deploy, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.output import console, escape, print_table
from patina.flows.cli.prefect_env import prepare_prefect
from patina.flows.cli.signals import leave_signals_to_libraries

TakeOverOption = Annotated[
    bool,
    typer.Option(
        "--take-over", help="Take the deployments over from the worker or the `patina serve` that runs them now."
    ),
]


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A deployment, such as build-dataset.")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME=VALUE",
            help="A parameter of the flow, read as the flow takes it: a,b for a list, yes or no for a switch. "
            "The option can be repeated.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--watch", help="Wait for its end. The exit code is then 1 unless it completes.")
    ] = False,
) -> None:
    """Let a deployment run where it is served, or on its worker.

    It is short for `prefect deployment run NAME/NAME`, and checks the parameters before the run is created.
    """
    prepare_prefect()
    from patina.flows.starting import follow, start

    started = start(name, param or ())
    console.print(escape(f"run      {started.name}   ({started.id})"))
    if wait and follow(started, lambda state: console.print(escape(f"state    {state}"))) != "COMPLETED":
        raise typer.Exit(1)


def deploy(
    pool: Annotated[
        str,
        typer.Option(
            metavar="POOL", help="The work pool whose workers take the runs. It is created if it is not there."
        ),
    ] = "local",
    take_over: TakeOverOption = False,
) -> None:
    """Register the deployments on the server, for a worker to run.

    Their automations and the limit for GPUs are registered too. What is paused or switched off stays so, and watches
    and other schedules stay as they are.
    """
    prepare_prefect()
    from patina.flows.gpu import create_limit
    from patina.flows.registering import register

    rows = register(pool, take_over=take_over)
    create_limit()
    print_table(
        [
            {
                "deployment": row.name,
                "pool": row.pool,
                "paused": "paused" if row.paused else "–",
                "schedules": ", ".join(row.schedules) or "–",
            }
            for row in rows
        ]
    )
    console.print(escape(f"a worker takes their runs: prefect worker start --pool {pool}"))


def serve(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many flow runs there are at a time.")] = 2,
    watch: Annotated[
        str,
        typer.Option(metavar="RECIPE", help="A recipe whose dataset is watched from now on, as by `patina watch add`."),
    ] = "",
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FOLDER", help="The folder or the address of that dataset.")
    ] = "",
    every: Annotated[
        float, typer.Option(min=10, metavar="SECONDS", help="The time from one look at its sources to the next.")
    ] = 300.0,
    quiet: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="The time for which they must not change before it is rebuilt."),
    ] = 30.0,
    take_over: TakeOverOption = False,
) -> None:
    """Serve the deployments from this process, without a worker.

    `patina run build-dataset` then runs here, as long as this process does.
    """
    if bool(watch) != bool(out):
        raise typer.BadParameter("--watch RECIPE and --out DATASET go together", param_hint="--watch")
    if watch:
        from patina.pipeline.recipe.parse import find_recipe

        find_recipe(Path(watch))
    prepare_prefect()
    leave_signals_to_libraries()
    from patina.flows.serving import serve_deployments
    from patina.flows.starting import as_seen_from_anywhere
    from patina.flows.watch_list import Watching

    places = as_seen_from_anywhere({"recipe": watch, "out": out})
    watching = Watching(recipe=places["recipe"], out=places["out"], every=every, quiet=quiet) if watch else None
    serve_deployments(limit, watching, take_over=take_over)
