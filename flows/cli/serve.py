"""Commands of Prefect: run, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.output import console, escape
from patina.flows.cli.prefect_env import prepare_prefect
from patina.flows.cli.signals import leave_signals_to_libraries


def run(
    name: Annotated[str, typer.Argument(help="A deployment: build-dataset, check-dataset, export-dataset, …")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", "-p", help="name=value, read as the flow takes it: a,b for a list, yes or no; repeatable."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--watch", help="Wait for its end; exit code 1 unless it completes.")] = False,
) -> None:
    """Let a deployment run where it is served, or on its worker: `prefect deployment run NAME/NAME`, in short."""
    prepare_prefect()
    from patina.flows.starting import follow, start

    started = start(name, param or ())
    console.print(escape(f"run      {started.name}   ({started.id})"))
    if wait and follow(started, lambda state: console.print(escape(f"state    {state}"))) != "COMPLETED":
        raise typer.Exit(1)


def serve(
    limit: Annotated[int, typer.Option(min=1, help="Flow runs at a time.")] = 2,
    watch: Annotated[str, typer.Option(help="A recipe whose dataset is rebuilt when its sources change.")] = "",
    out: Annotated[str, typer.Option("--out", "-o", help="That dataset's folder or address.")] = "",
    every: Annotated[float, typer.Option(min=10, help="Seconds from one look at its sources to the next.")] = 300.0,
    quiet: Annotated[float, typer.Option(min=0, help="Seconds for which they must rest before it is rebuilt.")] = 30.0,
) -> None:
    """Serve the deployments from this process, so that `prefect deployment run build-dataset/build-dataset` works."""
    if bool(watch) != bool(out):
        raise typer.BadParameter("--watch RECIPE and --out DATASET go together", param_hint="--watch")
    if watch:
        from patina.pipeline.recipe.parse import find_recipe

        find_recipe(Path(watch))
    prepare_prefect()
    leave_signals_to_libraries()
    from patina.flows.deployments import Watching
    from patina.flows.serving import serve_deployments
    from patina.flows.starting import as_seen_from_anywhere

    places = as_seen_from_anywhere({"recipe": watch, "out": out})
    watching = Watching(recipe=places["recipe"], out=places["out"], every=every, quiet=quiet) if watch else None
    serve_deployments(limit, watching)
