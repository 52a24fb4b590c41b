"""Commands of training: train, stages, models, evaluate, report, lineage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patina.flows.cli.evaluating import Asked, evaluates_model
from patina.flows.cli.options import (
    BaseOption,
    CpuOption,
    PrecisionChoice,
    PrecisionOption,
    PrefectOption,
    ProtocolChoice,
    RunOption,
    SamplerChoice,
    SdeOption,
    SplitChoice,
    StagesOption,
    SteeringOption,
)
from patina.flows.cli.output import console, escape, print_notes, print_table
from patina.flows.cli.prefect_env import prepare_for_training, training_shown
from patina.output import outlive_readers

if TYPE_CHECKING:
    from patina.flows.train_stages import Trained
    from patina.training.jobs.evaluation import Options, SamplerName
    from patina.training.jobs.stage import LaunchOptions


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="The networks to list, by their words. Without it, all are listed."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A released checkpoint. The command then says what it holds.")
    ] = None,
) -> None:
    """List the networks, or say what a released checkpoint holds.

    Parameters and work of the networks at their released sizes stand beside the figures of the papers.
    """
    expect_torch()
    if file:
        from patina.training.official import load

        for line in load(file)[1].lines():
            console.print(escape(line))
        return
    from patina.training.models import CATALOGUE
    from patina.training.models.table import model_table, notes, shown_rows

    chosen = words or list(CATALOGUE)
    if unknown := sorted(set(chosen) - set(CATALOGUE)):
        raise typer.BadParameter(f"no network {', '.join(unknown)}; known: {', '.join(CATALOGUE)}", param_hint="WORDS")
    found = model_table(chosen)
    print_table(shown_rows(found))
    console.print(escape("\n".join(["", *notes(found)])))


def train(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The dataset's folder.")],
    run: RunOption,
    *,
    plan: Annotated[
        str,
        typer.Option(metavar="PLAN", help="The plan: a name of `patina stages`, a folder of TOML files, or one file."),
    ] = "tiny",
    stage: StagesOption = None,
    cpu: CpuOption = False,
    processes: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="How many processes train a stage together. 0 stands for one on each GPU, or one on the CPU.",
        ),
    ] = 0,
    workers: Annotated[
        int,
        typer.Option(
            min=-1,
            metavar="N",
            help="How many further processes read ahead for each of these. -1 stands for as many as suit.",
        ),
    ] = -1,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the networks by torch.compile.")] = False,
    pieces: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="In how many pieces a process computes its batch. More pieces need less memory."
        ),
    ] = 1,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A tracker that gets the metrics too, beside TensorBoard: wandb or mlflow. The option can be "
            "repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and why, and train nothing.")
    ] = False,
    prefect: PrefectOption = False,
) -> None:
    """Train the stages of a plan that are not finished.

    Run it again to continue after an interruption. It is a flow run where a Prefect server is configured, and runs
    here by itself where none is.
    """
    outlive_readers()
    expect_torch(*FOR_TRAINING)
    from patina.pipeline.text import human_seconds
    from patina.training.data.dataset import dataset_manifest
    from patina.training.jobs.evaluation import PAGE, outcome, run_report
    from patina.training.jobs.readiness import expect_trainable
    from patina.training.jobs.stage import LaunchOptions
    from patina.training.runs.plan import plan_stages
    from patina.training.stages.plan import chosen, load_plan

    wanted = chosen(load_plan(plan), stage or ())
    dataset_manifest(folder)
    dataset, place = Path(folder), Path(run)
    items = plan_stages(wanted, dataset, place)
    stale = [item for item in items if item.what != "done"]
    options = LaunchOptions(
        processes=processes,
        workers=workers,
        cpu=cpu,
        compile=compile,
        gradient_accumulation=pieces,
        trackers=tuple(tracker or ()),
    )
    if dry_run:
        from patina.flows.training_artifacts import plan_rows

        print_table(plan_rows(items))
    print_notes(expect_trainable(items, dataset, place, options))
    if dry_run:
        return
    skipped = tuple(item.stage.name for item in items if item.what == "done")
    if stale:
        skipped = _train(folder, run, plan=plan, stages=list(stage or ()), options=options, prefect=prefect)
    elif not (place / PAGE).exists():
        run_report(place, dataset, plan=wanted, skipped=skipped, on_message=lambda line: None)
    found = [outcome(place, one) for one in wanted.values()]
    print_table(
        [
            {
                "stage": one.stage,
                "images": f"{one.images:,}",
                "time": human_seconds(one.seconds),
                "score": one.score,
                "": "as before" if one.stage in skipped else "",
            }
            for one in found
        ]
    )
    if not stale:
        console.print("nothing was stale: every stage is of this dataset and these settings")
    console.print(f"report   {escape(str(place / PAGE))}   (open it in a browser)")


def stages(
    plan: Annotated[
        str,
        typer.Argument(
            metavar="PLAN", help="The plan to list: a name, or a folder of your own. Without it, all are listed."
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Copy the files of the plan to this folder, to change them."
        ),
    ] = None,
) -> None:
    """List the training plans and their stages, or copy one.

    A copy is made by --out, and its TOML files can be changed.
    """
    from patina.training.stages.plan import PLANS, load_plan, plan_texts

    if out:
        from patina.training.errors import StageError

        if plan not in PLANS:
            raise StageError(f"no plan {plan!r} to copy; expected {', '.join(PLANS)}")
        texts = plan_texts(plan)
        if there := [name for name in texts if (out / name).exists()]:
            raise StageError(f"{out}: {', '.join(there)} would be overwritten; choose another folder, or remove them")
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, "utf-8")
        console.print(escape(f"copied   {', '.join(texts)} to {out}"))
        console.print(escape(f"next     patina train DATASET --run RUN --plan {out}"))
        return
    print_table(
        [
            {
                **({} if plan else {"plan": name}),
                "stage": one.name,
                "learns": one.objective,
                "network": f"{one.network} ({one.size})",
                "starts from": one.after or "–",
                "images": f"{one.max_images:,}",
                "batch": str(one.data.batch),
                "lr": f"{one.optimiser.lr:.0e}",
            }
            for name in ([plan] if plan else PLANS)
            for one in load_plan(name).values()
        ]
    )


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="The folder of a run. Or one model: the folder of a stage, or a file that `restore` takes.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The dataset's folder.")],
    *,
    steering: SteeringOption = None,
    base: BaseOption = None,
    sde: SdeOption = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The folder for the results of one model. Without it, it is MODEL-evaluation.",
        ),
    ] = None,
    split: Annotated[SplitChoice, typer.Option(help="The split to restore.")] = SplitChoice.val,
    stage: StagesOption = None,
    entry: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENTRY",
            help="An entry of the recipe to restore. The option can be repeated. Without it, those that the "
            "model was trained on are.",
        ),
    ] = None,
    per_entry: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many images of each entry are restored. 0 stands for all.")
    ] = 0,
    protocol: Annotated[
        ProtocolChoice, typer.Option(help="The paper whose way of measuring PSNR and SSIM is used.")
    ] = ProtocolChoice.daclip,
    sampler: Annotated[
        SamplerChoice | None,
        typer.Option(
            help="The sampler of a network that estimates noise. Without it, the one that it was validated with."
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="How many times the sampler calls the network. 0 stands for its own number."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="SEED", help="The seed of the sampler's noise.")] = 0,
    tile: Annotated[
        int, typer.Option(min=0, metavar="PX", help="The side of a tile in pixels. 0 stands for whole photographs.")
    ] = 0,
    overlap: Annotated[int, typer.Option(min=0, metavar="PX", help="By how many pixels two tiles overlap.")] = 32,
    side: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="PX",
            help="The side of the square in the middle that is restored, in pixels. 0 stands for all of it.",
        ),
    ] = 0,
    lpips: Annotated[
        bool, typer.Option("--lpips/--no-lpips", help="Measure LPIPS, if its weights are available.")
    ] = True,
    fid: Annotated[bool, typer.Option("--fid/--no-fid", help="Measure FID, if its weights are available.")] = True,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further metric of pyiqa, such as niqe. The option can be repeated."),
    ] = None,
    lpips_weights: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The weights of AlexNet for LPIPS, alexnet-owt-7be5be79.pth.",
        ),
    ] = None,
    fid_weights: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The weights of Inception for FID, weights-inception-2015-12-05-6726825d.pth of torch-fidelity.",
        ),
    ] = None,
    precision: PrecisionOption = PrecisionChoice.fp32,
    cpu: CpuOption = False,
    again: Annotated[
        bool, typer.Option("--again", help="Evaluate again what was evaluated with these options before.")
    ] = False,
    prefect: PrefectOption = False,
) -> None:
    """Restore a split and measure it, beside the papers' figures.

    Every finished stage of a run is evaluated, or one model. It is a flow run where a Prefect server is configured,
    and runs here by itself where none is.
    """
    outlive_readers()
    expect_torch()
    from patina.training.jobs.evaluation import PAGE, Options, candidates, summary_rows

    sampler_name: SamplerName = sampler.value if sampler else ""
    options = Options(
        split=split.value,
        entries=tuple(entry or ()),
        per_entry=per_entry,
        protocol=protocol.value,
        sampler=sampler_name,
        steps=steps,
        seed=seed,
        tile=tile,
        overlap=overlap,
        side=side,
        lpips=lpips,
        fid=fid,
        metrics=tuple(metric or ()),
        lpips_weights=str(lpips_weights or ""),
        fid_weights=str(fid_weights or ""),
        precision=precision.value,
        cpu=cpu,
    )
    if evaluates_model(run, folder, options, Asked(steering, base, sde, out, tuple(stage or ()))):
        return
    found = candidates(run, folder, options, stage or ())
    stale = again or not all(one.held for one in found) or not (run / PAGE).exists()
    if stale:
        _evaluate(run, folder, options, stages=list(stage or ()), again=again, prefect=prefect)
    rows, notes = summary_rows(found)
    print_table(rows)
    print_notes(notes)
    if not stale:
        console.print("nothing was stale: each evaluation is of this model, dataset and these options")
    console.print(f"report   {escape(str(run / PAGE))}   (open it in a browser)")


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of the run.")],
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The dataset of the run. The page then says whether it is still as the models saw it.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page. Without it, it is report.html in the run."),
    ] = None,
) -> None:
    """Write one HTML page about a run, finished or not.

    It shows curves, tables beside those of the papers, pictures, and the lineage of the models.
    """
    expect_torch()
    from patina.training.report.page import write_report

    console.print(f"report   {escape(str(write_report(run, dataset, out=out)))}   (open it in a browser)")


def lineage(
    file: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model.safetensors of a run, or the folder of its stage.")
    ],
) -> None:
    """Print where a model comes from.

    It prints the dataset, the settings, the model that it starts from, the seed and the code.
    """
    from patina.flows.terminal import fitted
    from patina.training.runs.lineage import lineage as lineage_lines

    path = file / "model.safetensors" if file.is_dir() else file
    console.print(escape("\n".join(fitted(console, lineage_lines(path)))))


FOR_TRAINING = ("accelerate", "webdataset", "tqdm", "tensorboard")
"""Libraries that a stage's process wants beside those of the networks."""


def expect_torch(*more: str) -> None:
    """Raise MissingTorchError, before anything is imported, if the networks' libraries, or others named here, are not
    installed."""
    from importlib.util import find_spec

    from patina.training.errors import MissingTorchError

    if missing := [name for name in ("torch", "open_clip", "safetensors", *more) if find_spec(name) is None]:
        raise MissingTorchError(f"the networks need {', '.join(missing)}: pip install 'patina-ir[train]'")


def _train(
    folder: str, run: str, *, plan: str, stages: list[str], options: LaunchOptions, prefect: bool
) -> tuple[str, ...]:
    """Train in this process's charge, as a flow run if `prefect`, or if a server is configured; gives the stages that
    were left alone."""
    from patina.flows.building import is_server_configured

    if not prefect and not is_server_configured():
        from patina.flows.training_steps import train_here
        from patina.training.stages.plan import chosen, load_plan

        with training_shown(prefect=False):
            return train_here(chosen(load_plan(plan), stages), Path(folder), Path(run), options)
    prepare_for_training()
    with training_shown():
        from patina.flows.train_stages import train_stages

        trained: Trained = train_stages(
            dataset=folder,
            run=run,
            plan=plan,
            stages=stages,
            cpu=options.cpu,
            processes=options.processes,
            workers=options.workers,
            threads=options.threads,
            compile=options.compile,
            pieces=options.gradient_accumulation,
            patience=options.patience,
            trackers=list(options.trackers),
        )
    return trained.skipped


def _evaluate(run: Path, folder: Path, options: Options, *, stages: list[str], again: bool, prefect: bool) -> None:
    """Evaluate likewise."""
    from patina.flows.building import is_server_configured
    from patina.flows.training_steps import evaluate_here, expect_evaluable
    from patina.training.jobs.evaluation import candidates

    if not prefect and not is_server_configured():
        with training_shown(prefect=False):
            evaluate_here(run, folder, options, stages, again)
        return
    prepare_for_training()
    from dataclasses import fields

    from patina.flows.evaluate_run import evaluate_run

    expect_evaluable(candidates(run, folder, options, stages), folder, options)
    with training_shown():
        evaluate_run(
            run=str(run),
            dataset=str(folder),
            stages=stages,
            again=again,
            **{field.name: getattr(options, field.name) for field in fields(options)},
        )
