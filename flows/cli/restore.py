"""Commands that restore photographs: restore, app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.options import (
    ModelOption,
    OneDeviceOption,
    PrecisionChoice,
    PrecisionOption,
    SdeOption,
    StageOption,
    SteeringOption,
)
from patina.flows.cli.output import console, errors, escape, print_lines, print_notes, print_restored, progress
from patina.flows.cli.training import expect_torch
from patina.output import outlive_readers


def restore(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS", help="Photographs, or folders of them.")],
    model: ModelOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="The folder for the restored photographs, which keep their names."
        ),
    ],
    *,
    steering: SteeringOption = None,
    sde: SdeOption = "",
    stage: StageOption = "",
    sampler: Annotated[
        str,
        typer.Option(
            metavar="SAMPLER",
            help="The sampler: posterior, sde, ode, fast-ode or fast-sde. Without it, the one that the model "
            "was validated with.",
        ),
    ] = "",
    steps: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="How many times the sampler calls the network. 0 stands for its own number."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, metavar="SEED", help="The seed of the sampler's noise.")] = 0,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="PX",
            help="The side of a tile in pixels. 0 stands for no tiles. Without it, large photographs are "
            "restored in tiles of 512.",
        ),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, metavar="PX", help="By how many pixels two tiles overlap. Without it, by 32.")
    ] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="A degradation that the photographs bear, such as rainy, whatever the CLIP sees. The option "
            "can be repeated.",
        ),
    ] = None,
    passes: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Restore step by step, the strongest degradation first, in at most this many passes.",
        ),
    ] = 1,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over the eight turns and mirrorings, for eight times the work.")
    ] = False,
    precision: PrecisionOption = PrecisionChoice.fp32,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave EXIF data out, such as the place where the photograph was taken.")
    ] = False,
    quality: Annotated[
        int,
        typer.Option(min=1, max=100, metavar="Q", help="The quality at which JPEG, WebP and AVIF files are written."),
    ] = 95,
    device: OneDeviceOption = "",
) -> None:
    """Restore photographs of any size by a trained model.

    It also says which degradation was found. Each photograph keeps its format, its EXIF data and its colour profile.
    The exit code is 1 if one could not be restored.
    """
    outlive_readers()
    expect_torch()
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
        precision=precision.value,
        strip=strip,
        quality=quality,
    )
    print_lines(plan_restoring(photos, out).lines, 1000, "yellow")
    restorer = load_model(model, steering=steering, stage=stage, sde=sde, device=device)
    print_notes(restorer.notes)
    with progress() as events, Meter(events, "restoring", "network calls") as meter:
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
    port: Annotated[
        int,
        typer.Option(min=1, max=65535, metavar="PORT", help="The port of the page, which is at http://127.0.0.1:PORT."),
    ] = 7860,
    share: Annotated[
        bool,
        typer.Option("--share/--no-share", help="Show the page at a public address too, through Gradio's servers."),
    ] = False,
    device: OneDeviceOption = "",
) -> None:
    """Restore photographs on a web page of this computer.

    The page takes a photograph, shows it before and after, and gives it back.
    """
    expect_torch()
    from patina.training.restore.app import expect_gradio, serve
    from patina.training.restore.load import load_model

    expect_gradio()
    restorer = load_model(model, steering=steering, stage=stage, sde=sde, device=device)
    print_notes(restorer.notes)
    serve(
        restorer,
        port,
        name=model.resolve().name,
        share=share,
        on_message=lambda address: console.print(f"page     {escape(address)}"),
    )
