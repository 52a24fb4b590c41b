"""Commands that restore photographs: restore, app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.options import ModelOption, OneDeviceOption, SdeOption, StageOption, SteeringOption
from patina.flows.cli.output import console, errors, escape, print_lines, print_restored
from patina.flows.cli.training import expect_torch
from patina.output import outlive_readers


def restore(
    photos: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the restored ones, under the same names.")],
    *,
    steering: SteeringOption = None,
    sde: SdeOption = "",
    stage: StageOption = "",
    sampler: Annotated[
        str, typer.Option(help="posterior, sde, ode, fast-ode or fast-sde. Default: as the model was validated.")
    ] = "",
    steps: Annotated[int, typer.Option(min=0, help="Its network calls; 0: its own number.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of its noise.")] = 0,
    tile: Annotated[
        int | None, typer.Option(min=0, help="Side of tiles, px; 0: never in tiles. Default: 512 if it is large.")
    ] = None,
    overlap: Annotated[int | None, typer.Option(min=0, help="Of two tiles, px. Default: 32.")] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(help="That the photographs bear, such as rainy, whatever the CLIP sees; repeatable."),
    ] = None,
    passes: Annotated[
        int, typer.Option(min=1, help="Restore step by step, the strongest degradation first, so often at the most.")
    ] = 1,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="The mean over the eight turns and mirrors, for eight times the work.")
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave EXIF data out, such as where it was taken.")] = False,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG, WebP and AVIF files.")] = 95,
    device: OneDeviceOption = "",
) -> None:
    """Restore photographs of any size by a trained model, and say which degradation was found.

    Each keeps its format, its EXIF data and its colour profile. Exit code 1 if one could not be restored.
    """
    outlive_readers()
    expect_torch()
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.progress import Meter
    from patina.training.restore.files import restore_files
    from patina.training.restore.load import load_model
    from patina.training.restore.options import RestoreOptions
    from patina.training.restore.places import plan_restoring

    options = RestoreOptions(
        sampler=sampler,
        steps=steps,
        seed=seed,
        tile=tile,
        overlap=overlap,
        degradations=tuple(degradation or ()),
        passes=passes,
        ensemble=ensemble,
        strip=strip,
        quality=quality,
    )
    print_lines(plan_restoring(photos, out).lines, 1000, "yellow")
    restorer = load_model(model, steering=steering, stage=stage, sde=sde, device=device)
    print_lines([f"note {note}" for note in restorer.notes], 20, "yellow")
    with TerminalEvents(console) as events, Meter(events, "restoring", "network calls") as meter:
        done = restore_files(photos, out, restorer, options, progress=meter, on_restored=print_restored)
    if lost := sum(1 for result in done if result.error):
        errors.print(f"[red]error[/]  {lost} of {len(done)} could not be restored, see above")
        raise typer.Exit(1)


def web_page(
    model: ModelOption,
    steering: SteeringOption = None,
    stage: StageOption = "",
    *,
    sde: SdeOption = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page is at http://127.0.0.1:PORT.")] = 7860,
    share: Annotated[
        bool, typer.Option("--share/--no-share", help="Also at a public address, through Gradio's servers.")
    ] = False,
    device: OneDeviceOption = "",
) -> None:
    """Restore photographs on a web page of this computer: upload, compare before and after, download."""
    expect_torch()
    from patina.training.restore.app import expect_gradio, serve
    from patina.training.restore.load import load_model

    expect_gradio()
    restorer = load_model(model, steering=steering, stage=stage, sde=sde, device=device)
    print_lines([f"note {note}" for note in restorer.notes], 20, "yellow")
    serve(
        restorer,
        port,
        name=model.resolve().name,
        share=share,
        on_message=lambda address: console.print(f"page     {escape(address)}"),
    )
