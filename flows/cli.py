"""The command `patina`: parses, then calls a flow or a function. Heavy libraries are imported where they are used."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.check import Checked
    from pipeline.dataset import Draft, Report

app = typer.Typer(
    help="Builds image-text-degradation datasets for image restoration, and rebuilds only what changed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

RecipeArgument = Annotated[
    Path, typer.Argument(help="A recipe's TOML file, or the name of one that comes with patina.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The dataset's folder.")]
FolderArgument = Annotated[Path, typer.Argument(help="The dataset's folder.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="Shards built side by side; 0: one for each core.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="An input that must be set aside is an error.")]
AsideOption = Annotated[float, typer.Option(min=0, max=1, help="Share of unusable inputs that stops a build.")]
ParanoidOption = Annotated[bool, typer.Option("--paranoid", help="Read and hash every source and shard.")]


@app.command()
def plan(
    recipe: RecipeArgument,
    out: OutOption,
    workers: WorkersOption = 0,
    paranoid: ParanoidOption = False,
    show_recipe: Annotated[bool, typer.Option("--recipe", help="Print the recipe with every default first.")] = False,
) -> None:
    """Say what a build would make, keep and drop, why, and what it would cost. Changes nothing."""
    from flows.terminal import TerminalEvents
    from pipeline.dataset import Options, Stores, make_draft
    from pipeline.recipe import load_recipe
    from pipeline.workspace import usable_cores

    loaded = load_recipe(recipe)
    if show_recipe:
        console.print(escape(loaded.to_toml()))
    cores = workers or usable_cores()
    with Stores.open(out.absolute()) as stores, TerminalEvents(console) as events:
        draft = make_draft(loaded, out.absolute(), stores, Options(cores, paranoid=paranoid), events)
    _print_plan(draft, cores)


@app.command()
def build(
    recipe: RecipeArgument,
    out: OutOption,
    workers: WorkersOption = 0,
    strict: StrictOption = False,
    max_set_aside: AsideOption = 0.05,
    paranoid: ParanoidOption = False,
    replay: Annotated[int, typer.Option(min=0, help="Samples to make again and compare when all is built.")] = 8,
) -> None:
    """Build the dataset, or rebuild what is stale. Running it again is the way to continue after an interruption."""
    report = _build(recipe, out, workers, strict, max_set_aside, paranoid, replay)
    _print_report(report)


@app.command()
def check(
    folder: FolderArgument,
    replay: Annotated[str, typer.Option(help="Samples to make again and compare: a number, or `all`.")] = "0",
    recipe: Annotated[Path | None, typer.Option(help="The recipe, if a mask folder in it must be found.")] = None,
    workers: WorkersOption = 0,
) -> None:
    """Check hashes, counts, readability, duplicates across splits, and replays. Exit code 1 on any finding."""
    from flows.terminal import TerminalEvents
    from pipeline.check import check as run
    from pipeline.manifest import load_manifest
    from pipeline.workspace import dataset_folder, usable_cores

    if replay != "all" and not replay.isdigit():
        raise typer.BadParameter(f"expected a number or `all`, found {replay!r}", param_hint="--replay")
    out = dataset_folder(folder.absolute())
    manifest = load_manifest(out)
    with TerminalEvents(console) as events:
        events.begin("checking", len(manifest.shards) if manifest else 0, "shards")
        checked = run(
            out,
            None if replay == "all" else int(replay),
            workers=workers or usable_cores(),
            recipe_folder=recipe.resolve().parent if recipe else None,
            progress=events.advance,
        )
        events.end()
    _print_checked(checked)
    if not checked.ok:
        raise typer.Exit(1)


@app.command()
def gallery(
    folder: FolderArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; default: gallery.html in the dataset.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Samples to show at the most.")] = 60,
    sheet: Annotated[Path | None, typer.Option(help="Write one JPEG picture of a few samples instead.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of that picture.")] = 3,
    ladder: Annotated[bool, typer.Option("--ladder", help="That picture is of one photograph, by severity.")] = False,
) -> None:
    """Write one HTML page that shows the dataset: GT beside LQ, captions, parameters, truth maps, statistics."""
    from pipeline.gallery import contact_sheet, ladder_sheet, write_gallery
    from pipeline.workspace import dataset_folder

    if sheet:
        dataset = dataset_folder(folder.absolute())
        sheet.write_bytes(ladder_sheet(dataset) if ladder else contact_sheet(dataset, rows))
        console.print(f"sheet    {escape(str(sheet))}")
        return
    path = write_gallery(dataset_folder(folder.absolute()), out, limit)
    console.print(f"gallery  {escape(str(path))}")


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="A sample's key or its beginning, or a photograph's name.")],
    out: OutOption = Path(),
    extract: Annotated[Path | None, typer.Option(help="Also write the samples' files into this folder.")] = None,
) -> None:
    """Print the whole story of a sample: from which photograph, what was done to it, where it lies."""
    from pipeline.show import find_samples, story
    from pipeline.workspace import dataset_folder

    folder = dataset_folder(out.absolute())
    rows = find_samples(folder, key)
    for row in rows:
        console.print(escape(story(folder, row, extract)))


@app.command()
def calibrate(
    photos: Annotated[Path, typer.Argument(help="A folder of clean photographs.")],
    limit: Annotated[int, typer.Option(min=1, help="Photographs to measure, spread over the folder.")] = 100,
    workers: WorkersOption = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Measure every degradation at its defaults on your photographs, beside the figures of the published sets."""
    from flows.terminal import TerminalEvents
    from pipeline.calibrate import calibrate as run
    from pipeline.dataset import Meter
    from pipeline.workspace import usable_cores

    with TerminalEvents(errors) as events:
        found = run(photos.absolute(), limit, workers or usable_cores(), Meter(events, "measuring", "photographs"))
    rows = [figures.row for figures in found]
    if markdown:
        lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
        console.print(escape("\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, no_wrap=name != "published inputs, PSNR/SSIM")
    for row in rows:
        table.add_row(*(escape(value) for value in row.values()))
    console.print(table)


@app.command()
def depth(
    photos: Annotated[Path, typer.Argument(help="A folder of clean photographs.")],
    model: Annotated[str, typer.Option(help="A depth model of transformers: its name on the hub, or a local folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps: `depth = …` of hazy, rainy, snowy.")],
    revision: Annotated[str, typer.Option(help="The model's revision on the hub.")] = "main",
    near: Annotated[
        float, typer.Option(min=0.1, help="Metres to the nearest point, if the model gives no unit.")
    ] = 1.0,
    far: Annotated[float, typer.Option(min=0.2, help="Metres to the farthest point, likewise.")] = 60.0,
) -> None:
    """Write a depth map for each photograph that has none yet, by a transformers model."""
    from flows.terminal import TerminalEvents
    from pipeline.dataset import Meter
    from training.depth import write_depths

    with TerminalEvents(console) as events, Meter(events, "estimating depth", "photographs") as meter:
        refusals = write_depths(photos, model, out, revision=revision, near=near, far=far, progress=meter)
    _print_lines([f"set aside {r.name}: {r.reason}" for r in refusals], 20, "yellow")
    console.print(f"depth    {escape(str(out))}")


@app.command()
def demo(
    out: OutOption = Path("patina-demo"),
    workers: WorkersOption = 0,
) -> None:
    """Build a dataset from six photographs that come inside scikit-image and scikit-learn, and show it."""
    from flows.demo import lay_out
    from pipeline.gallery import write_gallery

    recipe = lay_out(out)
    dataset = out / "dataset"
    report = _build(recipe, dataset, workers, True, 0.0, False, 10**6)
    page = write_gallery(dataset, None, 100)
    _print_report(report)
    console.print(f"recipe   {escape(str(recipe))}")
    console.print(f"dataset  {escape(str(dataset))}")
    console.print(f"gallery  {escape(str(page))}   (open it in a browser)")
    console.print(f"next     change a photograph in {escape(str(out / 'photos'))}, then run")
    console.print(f"         patina plan {escape(str(recipe))} --out {escape(str(dataset))}")


@app.command()
def serve(
    limit: Annotated[int, typer.Option(min=1, help="Flow runs at a time.")] = 1,
) -> None:
    """Serve the deployments from this process, so that `prefect deployment run build-dataset/build-dataset` works."""
    _prepare_prefect()
    from flows.serving import serve_deployments

    serve_deployments(limit)


def main() -> None:
    """The console command. Errors that a user can mend are printed in words and exit with 1; others raise."""
    try:
        app()
    except KeyboardInterrupt:
        errors.print("\nstopped; nothing is lost, run it again to continue")
        sys.exit(130)
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        errors.print(f"[red]error[/]  {escape(str(error))}")
        sys.exit(1)


def _is_for_the_user(error: Exception) -> bool:
    from sqlite3 import OperationalError

    from captioning.captioner import CaptionError
    from pipeline.build import BuildError
    from pipeline.manifest import ManifestError
    from pipeline.recipe import RecipeError
    from pipeline.shard import DamagedShardError
    from pipeline.sources.reader import SourceError
    from pipeline.workspace import LockedError
    from synth.degradation import SettingError
    from training.depth import DepthModelError

    pipelines = (RecipeError, SourceError, BuildError, LockedError, ManifestError, DamagedShardError)
    ours = (*pipelines, CaptionError, SettingError, DepthModelError)
    return isinstance(error, (*ours, OSError, OperationalError))


# ---------------------------------------------------------------------------------------------------------------------


def _build(
    recipe: Path, out: Path, workers: int, strict: bool, max_set_aside: float, paranoid: bool, replay: int
) -> Report:
    """Run the flow in this process; or, where nothing is stale, say so without starting Prefect at all."""
    from flows.terminal import TerminalEvents
    from pipeline.dataset import Options, idle_report
    from pipeline.recipe import load_recipe
    from pipeline.workspace import usable_cores

    loaded = load_recipe(recipe)
    cores = workers or usable_cores()
    options = Options(cores, strict, max_set_aside, paranoid)
    with TerminalEvents(console) as events:
        idle = idle_report(loaded, out.absolute(), options, events)
        if idle:
            return idle
        _prepare_prefect()
        if "PREFECT_API_URL" not in os.environ:
            console.print("starting Prefect's embedded API, about ten seconds")
        from flows.build_dataset import build_dataset, watched_by

        with watched_by(events):
            report: Report = build_dataset(str(recipe), str(out), cores, strict, max_set_aside, paranoid, replay)
    return report


def _prepare_prefect() -> None:
    """Settings that make Prefect's embedded API quiet, private and patient; what the user has set stays."""
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect").setLevel(logging.WARNING)


def _print_plan(draft: Draft, cores: int) -> None:
    from pipeline.summary import SHOWN, plan_lines

    lines = plan_lines(draft)
    _print_lines(lines, SHOWN)
    _print_aside(draft)
    console.print(f"[bold]{escape(draft.plan.summary(cores))}[/]")


def _print_aside(draft: Draft) -> None:
    _print_lines([f"set aside {r.name}: {r.reason}" for r in draft.refusals], 20, "yellow")
    _print_lines([f"note {note}" for note in (*draft.notes, *draft.plan.warnings)], 20, "yellow")


def _print_lines(lines: Sequence[str], limit: int, style: str = "") -> None:
    for line in lines[:limit]:
        console.print(escape(line), style=style or None)
    if len(lines) > limit:
        console.print(f"… and {len(lines) - limit} more", style=style or None)


def _print_report(report: Report) -> None:
    from pipeline.plan import human_bytes
    from pipeline.summary import summary_rows

    manifest = report.manifest
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    numeric = {"samples", "bytes", "shards", "rebuilt"}
    rows = summary_rows(report)
    for name in ("split", "degradation", "samples", "bytes", "shards", "rebuilt"):
        table.add_column(name, justify="right" if name in numeric else "left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
    _print_aside(report.draft)
    size = human_bytes(sum(shard.bytes for shard in manifest.shards))
    total = sum(shard.count for shard in manifest.shards)
    if not report.results:
        console.print(f"nothing was stale: {total} samples, {size}, as before")
        return
    made = sum(r.synthesised for r in report.results)
    copied = sum(r.copied for r in report.results)
    worded = sum(r.captioned for r in report.results)
    rate = report.samples_written / max(report.seconds, 1e-9)
    console.print(
        f"{total} samples, {size}; {made} synthesised, {worded} captioned anew, {copied} copied "
        f"in {report.seconds:.1f} s ({rate:.0f} samples/s); digest {manifest.digest[:16]}"
    )


def _print_checked(checked: Checked) -> None:
    for finding in checked.findings:
        console.print(escape(f"finding  {finding}"), style="red")
    for reason in checked.skipped:
        console.print(escape(f"skipped  {reason}"), style="yellow")
    verdict = "[green]ok[/]" if checked.ok else f"[red]{len(checked.findings)} findings[/]"
    console.print(f"{verdict}: {checked.shards} shards, {checked.samples} samples, {checked.replayed} replayed")
