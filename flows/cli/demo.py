"""The command demo: from photographs that come inside packages to a restored one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.dataset import run_build
from patina.flows.cli.options import DemoCaptions, OutOption, WorkersOption
from patina.flows.cli.output import console, escape, print_report, print_restored, print_table
from patina.flows.cli.prefect_env import prepare_for_training, training_shown
from patina.flows.cli.training import expect_torch


def demo(
    out: OutOption = Path("patina-demo"),
    workers: WorkersOption = 0,
    captions: Annotated[
        DemoCaptions, typer.Option(help="Written captions that come with patina, or those of BLIP, if it is available.")
    ] = DemoCaptions.csv,
    train: Annotated[
        bool,
        typer.Option(
            "--train/--no-train",
            help="Also train small models, which takes minutes on a CPU, and restore a photograph.",
        ),
    ] = True,
) -> None:
    """Build a dataset of real photographs, show it, and train on it.

    The photographs come inside scikit-image and scikit-learn.
    """
    if train:
        expect_torch()
    from patina.flows.demo import CAPTION_REMARKS, lay_out
    from patina.pipeline.report.gallery import write_gallery

    recipe, dataset = lay_out(out, captions.value)
    console.print(escape(CAPTION_REMARKS[captions.value]))
    report = run_build(
        recipe,
        str(dataset),
        workers=workers,
        strict=True,
        max_set_aside=0.0,
        paranoid=False,
        replay=10**6,
        prefect=True,
    )
    page = write_gallery(dataset, None, 100)
    print_report(report)
    console.print(f"recipe   {escape(str(recipe))}")
    console.print(f"dataset  {escape(str(dataset))}")
    console.print(f"gallery  {escape(str(page))}   (open it in a browser)")
    console.print(f"next     change a photograph in {escape(str(out / 'photos'))}, then run")
    console.print(f"         patina plan {escape(str(recipe))} --out {escape(str(dataset))}")
    if train:
        _train_demo(out)


def _train_demo(out: Path) -> None:
    """The demo's second half: build, train, evaluate, restore one photograph, report."""
    from patina.flows.demo import lay_out_example, lay_out_training, verdict

    training = lay_out_training(out)
    console.print(
        "\nnow the models: a DA-CLIP controller, IR-SDE's U-Net, VLU-Net's adapter and VLU-Net, all of them tiny"
    )
    prepare_for_training()
    with training_shown():
        from patina.flows.end_to_end import train_end_to_end

        done = train_end_to_end(
            out=str(training.dataset),
            run=str(training.run),
            recipe=str(training.recipe),
            plan=training.plan,
            stages=training.stages,
            per_entry=training.per_entry,
            side=training.side,
            lpips=False,
            fid=False,
            cpu=True,
        )
    print_table(done.rows)
    for line in verdict(done.rows):
        console.print(escape(line))
    from patina.training.evaluation.metrics import psnr
    from patina.training.restore.files import restore_files
    from patina.training.restore.load import load_model
    from patina.training.restore.options import RestoreOptions
    from patina.training.restore.photo import read_photo

    photo, clean = lay_out_example(training, out / "photo")
    model = training.run / training.stages[-1]
    (restored,) = restore_files([photo], out / "restored", load_model(model, device="cpu"), RestoreOptions())
    print_restored(restored)
    if restored.out:
        before, after, truth = (read_photo(path.read_bytes()).image for path in (photo, restored.out, clean))
        console.print(
            f"         {psnr(before, truth):.2f} → {psnr(after, truth):.2f} dB, a photograph that no stage saw"
        )
    console.print(f"report   {escape(str(done.report))}   (open it in a browser)")
