"""The command `patina`: parses, then calls a flow or a function. Heavy libraries are imported where they are used."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

if TYPE_CHECKING:
    from patina.captioning.captioner import Run
    from patina.flows.runners import RunnerName
    from patina.flows.train_stages import Trained
    from patina.pipeline.build.result import Report
    from patina.pipeline.plan.planning import Draft
    from patina.pipeline.recipe.recipe import Recipe
    from patina.pipeline.report.check import Checked
    from patina.training.jobs.evaluation import Options, SamplerName
    from patina.training.jobs.stage import Device
    from patina.training.restore.files import Restored

app = typer.Typer(
    help="Builds image-text-degradation datasets for image restoration, and rebuilds only what changed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class RunnerChoice(StrEnum):
    """What builds shards."""

    threads = "threads"
    processes = "processes"
    dask = "dask"
    ray = "ray"


class SplitChoice(StrEnum):
    """A dataset's splits."""

    train = "train"
    val = "val"
    test = "test"


class SamplerChoice(StrEnum):
    """How a network that estimates noise restores."""

    posterior = "posterior"
    sde = "sde"
    ode = "ode"
    fast_ode = "fast-ode"
    fast_sde = "fast-sde"


class ProtocolChoice(StrEnum):
    """Whose way of measuring."""

    daclip = "daclip"
    vlunet = "vlunet"


RecipeArgument = Annotated[
    Path, typer.Argument(help="A recipe's TOML file, or the name of one that comes with patina: see `patina recipes`.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The dataset's folder.")]
TargetOption = Annotated[
    str, typer.Option("--out", "-o", help="The dataset's folder, or an address such as s3://bucket/name.")
]
BatchOption = Annotated[int, typer.Option(min=0, help="Photographs that a captioner's model sees at once; 0: its own.")]
ThreadsOption = Annotated[
    int, typer.Option(min=0, help="Threads that decode photographs ahead of each such model; 0: as many as suit.")
]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option(help="Where that model runs, such as cuda:0; repeatable. Default: every GPU, else the CPU."),
]
FolderArgument = Annotated[str, typer.Argument(help="The dataset's folder, or its address, which is fetched first.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="How much is done side by side; 0: one for each core.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="An input that must be set aside is an error.")]
AsideOption = Annotated[float, typer.Option(min=0, max=1, help="Share of unusable inputs that stops a build.")]
RunnerOption = Annotated[
    RunnerChoice, typer.Option(help="What builds shards: threads or processes here, or a cluster of Dask or Ray.")
]
AddressOption = Annotated[
    str, typer.Option(help="Of a Dask scheduler or a Ray cluster that runs already; without it, one of --workers here.")
]
ParanoidOption = Annotated[bool, typer.Option("--paranoid", help="Read and hash every source and shard.")]


ModelOption = Annotated[
    Path,
    typer.Option(help="A run's folder, a stage's in it, a model.safetensors, or a published .pth or .ckpt file."),
]
SteeringOption = Annotated[
    Path | None, typer.Option(help="What steers a published model: daclip_ViT-B-32.pt beside universal-ir.pth.")
]
StageOption = Annotated[str, typer.Option(help="Which restorer of a run. Default: the one that was finished last.")]
RunOption = Annotated[str, typer.Option(help="The run's folder, with a folder for each stage.")]
StagesOption = Annotated[
    list[str] | None, typer.Option(help="A stage, with those that it starts from; repeatable. Default: all.")
]
CpuOption = Annotated[bool, typer.Option("--cpu", help="Leave GPUs alone.")]
OneDeviceOption = Annotated[str, typer.Option(help="Such as cuda:0. Default: a GPU if there is one, else the CPU.")]


def escape(text: str) -> str:
    """A text of any origin for the terminal: no markup, and no control character but the line feed acts on it."""
    plain = "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return escape_markup(plain)


class DemoCaptions(StrEnum):
    """Where the demo's captions come from."""

    csv = "csv"
    blip = "blip"


@app.command()
def plan(
    recipe: RecipeArgument,
    out: TargetOption,
    workers: WorkersOption = 0,
    paranoid: ParanoidOption = False,
    show_recipe: Annotated[bool, typer.Option("--recipe", help="Print the recipe with every default first.")] = False,
) -> None:
    """Say what a build would make, keep and drop, why, and what it would cost. Changes nothing."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.export.remote_output import dataset_folder_of
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.plan.planning import Options, plan_build
    from patina.pipeline.sources.expect import expect_sources

    loaded = _recipe(recipe)
    if show_recipe:
        console.print(escape(loaded.to_toml()))
    expect_sources(loaded.sources)
    cores = workers or usable_cores()
    with TerminalEvents(console) as events:
        draft = plan_build(loaded, dataset_folder_of(out, events), Options(cores, paranoid=paranoid), events)
    _print_plan(draft, cores)


@app.command()
def build(
    recipe: RecipeArgument,
    out: TargetOption,
    workers: WorkersOption = 0,
    strict: StrictOption = False,
    max_set_aside: AsideOption = 0.05,
    paranoid: ParanoidOption = False,
    replay: Annotated[int, typer.Option(min=0, help="Samples to make again and compare when all is built.")] = 8,
    caption_batch: BatchOption = 0,
    caption_threads: ThreadsOption = 0,
    device: DeviceOption = None,
    runner: RunnerOption = RunnerChoice.threads,
    address: AddressOption = "",
) -> None:
    """Build the dataset, or rebuild what is stale. Running it again is the way to continue after an interruption."""
    from patina.captioning.captioner import Run

    captioning = Run(caption_batch, tuple(device or ()), caption_threads)
    run: tuple[RunnerName, str] = (runner.value, address)
    report = _build(recipe, out, workers, strict, max_set_aside, paranoid, replay, captioning, run)
    _print_report(report)


@app.command()
def check(
    folder: FolderArgument,
    replay: Annotated[str, typer.Option(help="Samples to make again and compare: a number, or `all`.")] = "0",
    recipe: Annotated[Path | None, typer.Option(help="The recipe, if a mask folder in it must be found.")] = None,
    workers: WorkersOption = 0,
) -> None:
    """Check hashes, counts, readability, duplicates across splits, and replays. Exit code 1 on any finding."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.format.manifest import load_manifest
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.report.check import check as run

    if replay != "all" and not replay.isdigit():
        raise typer.BadParameter(f"expected a number or `all`, found {replay!r}", param_hint="--replay")
    out = _dataset(folder)
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
    from patina.pipeline.disk_errors import speaking_of
    from patina.pipeline.report.gallery import contact_sheet, ladder_sheet, write_gallery

    if sheet:
        dataset = _dataset(folder)
        picture = ladder_sheet(dataset) if ladder else contact_sheet(dataset, rows)
        with speaking_of(sheet, building=False):
            sheet.write_bytes(picture)
        console.print(f"sheet    {escape(str(sheet))}")
        return
    path = write_gallery(_dataset(folder), out, limit)
    console.print(f"gallery  {escape(str(path))}")


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="A sample's key or its beginning, or a photograph's name.")],
    out: TargetOption = ".",
    extract: Annotated[Path | None, typer.Option(help="Also write the samples' files into this folder.")] = None,
) -> None:
    """Print the whole story of a sample: from which photograph, what was done to it, where it lies."""
    from patina.flows.terminal import fitted
    from patina.pipeline.report.show import find_samples, story

    folder = _dataset(out)
    rows = find_samples(folder, key)
    for row in rows:
        console.print(escape("\n".join(fitted(console, story(folder, row, extract).split("\n")))))


@app.command()
def export(
    folder: FolderArgument,
    to: Annotated[str, typer.Option(help="The layout: daclip, vlunet, folders or parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write. An earlier export in it is replaced.")],
    split: Annotated[list[str] | None, typer.Option(help="train, val or test; repeatable. Default: all.")] = None,
    degradation: Annotated[
        list[str] | None, typer.Option(help="An entry of the recipe, or a label; repeatable. Default: all.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="daclip: goes before every path in its tables. Default: paths relative to --out.")
    ] = "",
    absolute: Annotated[bool, typer.Option("--absolute", help="daclip: absolute paths in its tables.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Threads that write files; 0: one for each core.")] = 0,
) -> None:
    """Lay a dataset out as DA-CLIP, VLU-Net or `datasets` reads it, or as plain folders. Images keep their bytes."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.export.run import choose
    from patina.pipeline.export.run import export as run
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.progress import Meter

    if absolute and prefix:
        raise typer.BadParameter("give one of --prefix and --absolute", param_hint="--absolute")
    kind = choose(to, prefix=str(out.absolute()) if absolute else prefix)
    with TerminalEvents(console) as events, Meter(events, f"exporting for {to}", "samples") as meter:
        done = run(
            _dataset(folder),
            out,
            kind,
            splits=split or (),
            degradations=degradation or (),
            workers=workers or usable_cores(),
            progress=meter,
        )
    what = f"{done.samples} samples in {done.files} files"
    console.print(f"export   {escape(str(out))}   ({what}{'' if done.fresh else '; nothing to do, it is as before'})")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The dataset as it was: its folder, or its manifest.json.")],
    new: Annotated[Path, typer.Argument(help="The dataset as it is, likewise.")],
    html: Annotated[Path | None, typer.Option(help="Also write one HTML page about it, with pictures.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Changed, added, dropped samples on the page at the most.")] = 24,
    shown: Annotated[int, typer.Option(min=1, max=200, help="Names of a kind to print at the most.")] = 12,
) -> None:
    """Say what changed between two datasets. Exit code 0 if nothing did, 1 if anything did, 2 on an error.

    A build replaces a dataset in place, so copy it before: all of it (cp -r OUT OLD), or only manifest.json, \
samples.parquet and sources.parquet, if pictures of the old samples are not wanted.
    """
    from patina.pipeline.report.diff import diff as compare
    from patina.pipeline.report.diff import read_snapshot
    from patina.pipeline.report.diff_page import write_diff_page

    try:
        sides = read_snapshot(old.absolute()), read_snapshot(new.absolute())
        found = compare(*sides)
        page = write_diff_page(*sides, found, html, limit) if html else None
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        errors.print(f"[red]error[/]  {escape(str(error))}")
        raise typer.Exit(2) from None
    for line in found.lines(shown):
        console.print(escape(line))
    if page:
        console.print(f"page     {escape(str(page))}   (open it in a browser)")
    if not found.is_empty:
        raise typer.Exit(1)


@app.command()
def push(
    folder: FolderArgument,
    repo_id: Annotated[str, typer.Argument(help="The dataset's repository on the Hugging Face hub: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Make a private repository, if it is new.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch other than main; created if it is not there.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go up, and change nothing.")] = False,
    may_redistribute: Annotated[
        bool, typer.Option("--i-may-redistribute", help="I answer for photographs whose licence does not say so.")
    ] = False,
) -> None:
    """Upload a dataset to the Hugging Face hub: only what differs from what is there, the manifest last."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.export.push import plan_push
    from patina.pipeline.export.push import push as run
    from patina.pipeline.progress import Meter

    path = _dataset(folder)
    if dry_run:
        plan = plan_push(path, repo_id, revision=revision, may_redistribute=may_redistribute)
        _print_lines(plan.lines(), 100)
    else:
        with TerminalEvents(console) as events, Meter(events, "uploading", "shards") as meter:
            pushed = run(
                path,
                repo_id,
                private=private,
                revision=revision,
                may_redistribute=may_redistribute,
                progress=meter,
            )
        plan = pushed.plan
        console.print(f"dataset  {escape(pushed.url)}")
    _print_lines([f"note {note}" for note in plan.notes], 20, "yellow")
    console.print(f"[bold]{escape(plan.summary())}[/]")


@app.command()
def calibrate(
    photos: Annotated[Path, typer.Argument(help="A folder of clean photographs.")],
    limit: Annotated[int, typer.Option(min=1, help="Photographs to measure, spread over the folder.")] = 100,
    workers: WorkersOption = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Measure every degradation at its defaults on your photographs, beside the figures of the published sets."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.progress import Meter
    from patina.pipeline.report.calibrate import calibrate as run

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
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.progress import Meter
    from patina.training.restore.depth import write_depths

    with TerminalEvents(console) as events, Meter(events, "estimating depth", "photographs") as meter:
        refusals = write_depths(photos, model, out, revision=revision, near=near, far=far, progress=meter)
    _print_lines([f"set aside {r.name}: {r.reason}" for r in refusals], 20, "yellow")
    console.print(f"depth    {escape(str(out))}")


@app.command()
def sources(
    name: Annotated[str, typer.Argument(help="A public set; without it, all that are known.")] = "",
    at: Annotated[str, typer.Option(help="A folder, or an address: what does it hold of that set?")] = "",
) -> None:
    """List the public sets that recipes know by name, tell all about one, or look what a folder holds of it."""
    from patina.flows.terminal import fitted
    from patina.pipeline.errors import SourceError
    from patina.pipeline.sources.preset import unrecognised
    from patina.pipeline.sources.presets import PRESETS
    from patina.pipeline.sources.presets.describe import inventory, rows, story, table
    from patina.pipeline.sources.reader import image_files
    from patina.pipeline.text import nearest

    if not name:
        if at:
            raise typer.BadParameter("say which set it should hold: patina sources NAME --at FOLDER", param_hint="--at")
        overview = Table(box=None, pad_edge=False, header_style="bold")
        every = rows(PRESETS)
        for column in every[0]:
            overview.add_column(column, no_wrap=column == "name")
        for row in every:
            overview.add_row(*(escape(value) for value in row.values()))
        console.print(overview)
        console.print("unknown: neither page nor copies state it; ask the authors. All about one: patina sources NAME")
        return
    if name not in PRESETS:
        raise SourceError(f"no set is called {name!r}; {nearest(name, PRESETS)}")
    preset = PRESETS[name]
    if not at:
        console.print(escape("\n".join([*fitted(console, story(preset)), "", *table(preset, f"data/{name}")])))
        return
    files, _ = image_files(at, "--at")
    names, place = [file for file, _ in files], at if "://" in at else str(Path(at).absolute())
    lines, found = inventory(preset, names, place)
    if not found:
        raise SourceError(unrecognised(preset, names, at, preset.parts, preset.variant("")))
    console.print(escape("\n".join([*fitted(console, lines), "", *table(preset, at)])))


@app.command()
def recipes(
    name: Annotated[str, typer.Argument(help="One of them, to print it; without it, all are listed.")] = "",
) -> None:
    """List the recipes that come with patina; or print one, to change a copy: patina recipes NAME > my.toml."""
    from patina.pipeline.errors import RecipeError
    from patina.pipeline.recipe.shipped import about, shipped
    from patina.pipeline.text import nearest

    own = shipped()
    if name and name not in own:
        raise RecipeError(f"no recipe that comes with patina is called {name!r}; {nearest(name, own)}")
    if name:
        console.print(escape(own[name]), end="")
        return
    overview = Table(box=None, pad_edge=False, show_header=False)
    overview.add_column(no_wrap=True)
    overview.add_column()
    for word, text in own.items():
        overview.add_row(word, escape(about(text)))
    console.print(overview)
    console.print("patina recipes NAME > my.toml makes a copy to change; its paths start at the copy's folder")


@app.command()
def demo(
    out: OutOption = Path("patina-demo"),
    workers: WorkersOption = 0,
    captions: Annotated[
        DemoCaptions, typer.Option(help="Written captions that come with patina, or BLIP's, if it is at hand.")
    ] = DemoCaptions.csv,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Also train small models, minutes on a CPU, and restore a photo.")
    ] = True,
) -> None:
    """Build a dataset from photographs that come inside scikit-image and scikit-learn, show it, train."""
    if train:
        _expect_torch()
    from patina.flows.demo import WHY, lay_out
    from patina.pipeline.report.gallery import write_gallery

    recipe, dataset = lay_out(out, captions.value)
    console.print(escape(WHY[captions.value]))
    report = _build(recipe, str(dataset), workers, True, 0.0, False, 10**6)
    page = write_gallery(dataset, None, 100)
    _print_report(report)
    console.print(f"recipe   {escape(str(recipe))}")
    console.print(f"dataset  {escape(str(dataset))}")
    console.print(f"gallery  {escape(str(page))}   (open it in a browser)")
    console.print(f"next     change a photograph in {escape(str(out / 'photos'))}, then run")
    console.print(f"         patina plan {escape(str(recipe))} --out {escape(str(dataset))}")
    if train:
        _train_demo(out)


@app.command()
def models(
    words: Annotated[list[str] | None, typer.Argument(help="Networks by their words; default: all.")] = None,
    file: Annotated[Path | None, typer.Option(help="A released checkpoint: say what it holds, instead.")] = None,
) -> None:
    """The networks at their released sizes: parameters and work beside the papers' figures; or what a checkpoint is."""
    _expect_torch()
    if file:
        from patina.training.official import load

        for line in load(file)[1].lines():
            console.print(escape(line))
        return
    from patina.training.models import CATALOGUE
    from patina.training.models.table import model_table, rendered

    chosen = words or list(CATALOGUE)
    if unknown := sorted(set(chosen) - set(CATALOGUE)):
        raise typer.BadParameter(f"no network {', '.join(unknown)}; known: {', '.join(CATALOGUE)}", param_hint="WORDS")
    for line in rendered(model_table(chosen)):
        console.print(escape(line))


@app.command()
def train(
    folder: Annotated[str, typer.Argument(help="The dataset's folder.")],
    run: RunOption,
    plan: Annotated[str, typer.Option(help="See `patina stages`; or a folder of TOML files, or one file.")] = "tiny",
    stage: StagesOption = None,
    cpu: CpuOption = False,
    processes: Annotated[
        int, typer.Option(min=0, help="That train a stage together; 0: one on each GPU, or one on the CPU.")
    ] = 0,
    workers: Annotated[
        int, typer.Option(min=-1, help="Processes that read ahead, for each of these; -1: as many as suit.")
    ] = -1,
    compile: Annotated[bool, typer.Option("--compile", help="Compile networks by torch.compile.")] = False,
    pieces: Annotated[int, typer.Option(min=1, help="Parts of a process's batch, to save memory.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and why; train nothing.")
    ] = False,
) -> None:
    """Train the stages of a plan that are not finished. Run it again to continue after an interruption."""
    _expect_torch()
    from patina.pipeline.text import human_seconds
    from patina.training.data.dataset import open_dataset
    from patina.training.jobs.evaluation import PAGE, outcome, run_report
    from patina.training.jobs.stage import Device
    from patina.training.runs.plan import todo
    from patina.training.stages.plan import chosen, load_plan

    wanted = chosen(load_plan(plan), stage or ())
    open_dataset(folder)
    dataset, place = Path(folder), Path(run)
    items = todo(wanted, dataset, place)
    stale = [item for item in items if item.what != "done"]
    if dry_run:
        from patina.flows.train_stages import plan_rows

        _print_table(plan_rows(items))
        return
    skipped = tuple(item.stage.name for item in items if item.what == "done")
    if stale:
        skipped = _train(folder, run, plan, list(stage or ()), Device(processes, workers, 0, cpu, compile, pieces))
    elif not (place / PAGE).exists():
        run_report(place, dataset, wanted, skipped, say=lambda line: None)
    found = [outcome(place, one) for one in wanted.values()]
    _print_table(
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


@app.command()
def stages(
    plan: Annotated[str, typer.Argument(help="One of them, or a folder of your own; without it, all are listed.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Copy its files to this folder, to change them.")
    ] = None,
) -> None:
    """List the plans of training that come with patina, the stages of one; or copy one, to change it."""
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
    _print_table(
        [
            {
                **({} if plan else {"plan": name}),
                "stage": one.name,
                "learns": one.objective,
                "network": f"{one.network} ({one.size})",
                "starts from": one.after or "–",
                "images": f"{one.images:,}",
                "batch": str(one.data.batch),
                "rate": f"{one.optimiser.rate:.0e}",
            }
            for name in ([plan] if plan else PLANS)
            for one in load_plan(name).values()
        ]
    )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    folder: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    split: Annotated[SplitChoice, typer.Option(help="The split to restore.")] = SplitChoice.val,
    stage: StagesOption = None,
    entry: Annotated[
        list[str] | None, typer.Option(help="An entry of the recipe; repeatable. Default: those it was trained on.")
    ] = None,
    per_entry: Annotated[int, typer.Option(min=0, help="Images of each entry; 0: all.")] = 0,
    protocol: Annotated[ProtocolChoice, typer.Option(help="Whose PSNR and SSIM.")] = ProtocolChoice.daclip,
    sampler: Annotated[
        SamplerChoice | None, typer.Option(help="Of a network that estimates noise. Default: as it was validated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Of the sampler; 0: its own number.")] = 0,
    seed: Annotated[int, typer.Option(help="Of its noise.")] = 0,
    tile: Annotated[int, typer.Option(min=0, help="Side of tiles, px; 0: whole photographs.")] = 0,
    overlap: Annotated[int, typer.Option(min=0, help="Of two tiles, px.")] = 32,
    side: Annotated[int, typer.Option(min=0, help="Of the middle square that is restored, px; 0: all of it.")] = 0,
    lpips: Annotated[
        bool, typer.Option("--lpips/--no-lpips", help="Measure LPIPS, if its weights are at hand.")
    ] = True,
    fid: Annotated[bool, typer.Option("--fid/--no-fid", help="Measure FID, if its weights are at hand.")] = True,
    cpu: CpuOption = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was evaluated so before.")] = False,
) -> None:
    """Restore a split with every finished stage of a run and measure it, beside the papers' figures."""
    _expect_torch()
    from patina.training.jobs.evaluation import PAGE, Options, candidates, summary_rows

    how: SamplerName = sampler.value if sampler else ""
    options = Options(
        split.value,
        tuple(entry or ()),
        per_entry,
        protocol.value,
        how,
        steps,
        seed,
        tile,
        overlap,
        side,
        lpips,
        fid,
        cpu,
    )
    found = candidates(run, folder, options, stage or ())
    stale = again or not all(one.held for one in found) or not (run / PAGE).exists()
    if stale:
        _evaluate(run, folder, options, list(stage or ()), again)
    rows, notes = summary_rows(found)
    _print_table(rows)
    _print_lines([f"note {note}" for note in notes], 20, "yellow")
    if not stale:
        console.print("nothing was stale: each evaluation is of this model, dataset and these options")
    console.print(f"report   {escape(str(run / PAGE))}   (open it in a browser)")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    dataset: Annotated[Path | None, typer.Option(help="Its dataset: is it still as the models saw it?")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The page; default: report.html in the run.")] = None,
) -> None:
    """Write one HTML page about a run, finished or not: curves, tables beside the papers', pictures, lineage."""
    _expect_torch()
    from patina.training.report.page import write_report

    console.print(f"report   {escape(str(write_report(run, dataset, out=out)))}   (open it in a browser)")


@app.command()
def lineage(
    file: Annotated[Path, typer.Argument(help="A model.safetensors of a run, or its stage's folder.")],
) -> None:
    """Print where a model comes from: dataset, settings, the model it starts from, seed, code."""
    from patina.flows.terminal import fitted
    from patina.training.runs.lineage import lineage as told

    path = file / "model.safetensors" if file.is_dir() else file
    console.print(escape("\n".join(fitted(console, told(path)))))


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="A deployment: build-dataset, check-dataset, export-dataset, …")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="name=value, the value as JSON or as text; repeatable.")
    ] = None,
    wait: Annotated[bool, typer.Option("--watch", help="Wait for its end; exit code 1 unless it completes.")] = False,
) -> None:
    """Let a deployment run where it is served, or on its worker: `prefect deployment run NAME/NAME`, in short."""
    _prepare_prefect()
    from patina.flows.starting import as_seen_from_anywhere, follow, parse_parameters, start

    started = start(name, as_seen_from_anywhere(parse_parameters(param or ())))
    console.print(escape(f"run      {started.name}   ({started.id})"))
    if wait and follow(started, lambda state: console.print(escape(f"state    {state}"))) != "COMPLETED":
        raise typer.Exit(1)


@app.command()
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
        _recipe(Path(watch))
    _prepare_prefect()
    from patina.flows.deployments import Watching
    from patina.flows.serving import serve_deployments
    from patina.flows.starting import as_seen_from_anywhere

    places = as_seen_from_anywhere({"recipe": watch, "out": out})
    serve_deployments(limit, Watching(places["recipe"], places["out"], every, quiet) if watch else None)


@app.command()
def restore(
    photos: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the restored ones, under the same names.")],
    steering: SteeringOption = None,
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
    strip: Annotated[bool, typer.Option("--strip", help="Leave EXIF data out, such as where it was taken.")] = False,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG, WebP and AVIF files.")] = 95,
    device: OneDeviceOption = "",
) -> None:
    """Restore photographs of any size by a trained model, and say which degradation was found.

    Each keeps its format, its EXIF data and its colour profile. Exit code 1 if one could not be restored.
    """
    _expect_torch()
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.progress import Meter
    from patina.training.restore.files import errands, restore_files
    from patina.training.restore.load import load_model
    from patina.training.restore.options import How

    how = How(sampler, steps, seed, tile, overlap, strip, quality)
    errands(photos, out)
    restorer = load_model(model, steering=steering, stage=stage, device=device)
    with TerminalEvents(console) as events, Meter(events, "restoring", "network calls") as meter:
        done = restore_files(photos, out, restorer, how, progress=meter, told=_print_restored)
    if lost := sum(1 for result in done if result.error):
        errors.print(f"[red]error[/]  {lost} of {len(done)} could not be restored, see above")
        raise typer.Exit(1)


@app.command("app")
def web_page(
    model: ModelOption,
    steering: SteeringOption = None,
    stage: StageOption = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page is at http://127.0.0.1:PORT.")] = 7860,
    share: Annotated[
        bool, typer.Option("--share/--no-share", help="Also at a public address, through Gradio's servers.")
    ] = False,
    device: OneDeviceOption = "",
) -> None:
    """Restore photographs on a web page of this computer: upload, compare before and after, download."""
    _expect_torch()
    from patina.training.restore.app import expect_gradio, serve
    from patina.training.restore.load import load_model

    expect_gradio()
    restorer = load_model(model, steering=steering, stage=stage, device=device)
    serve(restorer, port, share=share, told=lambda address: console.print(f"page     {escape(address)}"))


def main() -> None:
    """The console command. Errors that a user can mend are printed in words and exit with 1; others raise."""
    from patina.flows.errors import ServerAwayError

    try:
        app()
    except KeyboardInterrupt:
        errors.print("\nstopped; nothing is lost, run it again to continue")
        sys.exit(130)
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        errors.print(f"[red]error[/]  {escape(str(error))}")
        if isinstance(error, ServerAwayError):  # at exit, Prefect would try for seven seconds to send each event left
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        sys.exit(1)


def _expect_torch() -> None:
    """Raise MissingTorchError, before anything is imported, if the networks' libraries are not installed."""
    from importlib.util import find_spec

    from patina.training.errors import MissingTorchError

    if missing := [name for name in ("torch", "open_clip", "safetensors") if find_spec(name) is None]:
        raise MissingTorchError(f"the networks need {', '.join(missing)}: pip install 'patina-ir[train]'")


def _is_for_the_user(error: Exception) -> bool:
    from sqlite3 import OperationalError

    from patina.captioning.captioner import CaptionError
    from patina.flows.errors import FindingsError, RunError
    from patina.pipeline.errors import (
        BuildError,
        DamagedShardError,
        LockedError,
        ManifestError,
        RecipeError,
        SourceError,
    )
    from patina.pipeline.export.format import ExportError
    from patina.pipeline.export.push import PushError
    from patina.pipeline.export.remote_output import RemoteOutputError
    from patina.synth.degradation import SettingError
    from patina.training.errors import CheckpointError, MissingTorchError, ModelInputError, StageError, TrainingError
    from patina.training.restore.depth import DepthModelError

    pipelines = (RemoteOutputError, RecipeError, SourceError, BuildError, LockedError, ManifestError, DamagedShardError)
    trained = (DepthModelError, CheckpointError, ModelInputError, MissingTorchError, StageError, TrainingError)
    ours = (*pipelines, *trained, CaptionError, SettingError)
    return isinstance(error, (*ours, FindingsError, RunError, ExportError, PushError, OSError, OperationalError))


# ---------------------------------------------------------------------------------------------------------------------


def _build(
    recipe: Path,
    out: str,
    workers: int,
    strict: bool,
    max_set_aside: float,
    paranoid: bool,
    replay: int,
    captioning: Run | None = None,
    run: tuple[RunnerName, str] = ("threads", ""),
) -> Report:
    """Run the flow in this process; or, where nothing is stale, say so without starting Prefect at all."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.build.build import idle_report
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.plan.planning import Options
    from patina.pipeline.sources.expect import expect_sources
    from patina.pipeline.sources.locations import is_remote

    loaded = _recipe(recipe)
    cores = workers or usable_cores()
    options = Options(cores, strict, max_set_aside, paranoid)
    with TerminalEvents(console) as events:
        idle = None if is_remote(out) else idle_report(loaded, Path(out).absolute(), options, events)
        if idle:
            return idle
        expect_sources(loaded.sources)
        _prepare_prefect("CRITICAL")  # an error that stops the flow is printed once, in words, by `main`
        _tell_of_start()
        from patina.flows.build_dataset import build_dataset, watched_by

        with watched_by(events), _server_there():
            asked = (captioning.batch, captioning.threads, list(captioning.devices)) if captioning else (0, 0, [])
            report: Report = build_dataset(
                str(recipe), out, cores, strict, max_set_aside, paranoid, replay, *asked, *run
            )
    return report


def _train_demo(out: Path) -> None:
    """The demo's second half: build, train, evaluate, restore one photograph, report."""
    from patina.flows.demo import lay_out_example, lay_out_training

    training = lay_out_training(out)
    console.print(
        "\nnow the models: a DA-CLIP controller, IR-SDE's U-Net, VLU-Net's adapter and VLU-Net, all of them tiny"
    )
    _prepare_for_training()
    with _training_told():
        from patina.flows.end_to_end import train_end_to_end

        done = train_end_to_end(
            str(training.dataset),
            str(training.run),
            str(training.recipe),
            training.plan,
            training.stages,
            per_entry=training.per_entry,
            side=training.side,
            lpips=False,
            fid=False,
            cpu=True,
        )
    _print_table(done.rows)
    from patina.training.evaluation.metrics import psnr
    from patina.training.restore.files import restore_files
    from patina.training.restore.load import load_model
    from patina.training.restore.options import How
    from patina.training.restore.photo import read_photo

    photo, clean = lay_out_example(training, out / "photo")
    model = training.run / training.stages[-1]
    (restored,) = restore_files([photo], out / "restored", load_model(model, device="cpu"), How())
    _print_restored(restored)
    if restored.out:
        before, after, truth = (read_photo(path.read_bytes()).image for path in (photo, restored.out, clean))
        console.print(
            f"         {psnr(before, truth):.2f} → {psnr(after, truth):.2f} dB, a photograph that no stage saw"
        )
    console.print(f"report   {escape(str(done.report))}   (open it in a browser)")


def _train(folder: str, run: str, plan: str, stages: list[str], device: Device) -> tuple[str, ...]:
    """Run the flow in this process; gives the stages that it left alone."""
    _prepare_for_training()
    from patina.flows.train_stages import expect_trainable
    from patina.training.runs.plan import todo
    from patina.training.stages.plan import chosen, load_plan

    expect_trainable(todo(chosen(load_plan(plan), stages), Path(folder), Path(run)), Path(folder), device)
    with _training_told():
        from patina.flows.train_stages import train_stages

        d = device
        trained: Trained = train_stages(
            folder, run, plan, stages, d.cpu, d.processes, d.workers, d.threads, d.compile, d.pieces, d.patience
        )
    return trained.skipped


def _evaluate(run: Path, folder: Path, options: Options, stages: list[str], again: bool) -> None:
    """Run the flow in this process."""
    _prepare_for_training()
    from dataclasses import fields

    from patina.flows.evaluate_run import evaluate_run, expect_evaluable
    from patina.training.jobs.evaluation import candidates

    expect_evaluable(candidates(run, folder, options, stages), folder, options)
    with _training_told():
        evaluate_run(
            str(run),
            str(folder),
            stages=stages,
            again=again,
            **{field.name: getattr(options, field.name) for field in fields(options)},
        )


@cache
def _tell_of_start() -> None:
    """Say, once, why nothing happens for a while."""
    if "PREFECT_API_URL" not in os.environ:
        console.print("starting Prefect's embedded API, about ten seconds")


def _prepare_for_training() -> None:
    """Prefect's settings, before it is imported. A terminal's Ctrl-C also ends the embedded API, which Prefect would
    then ask for minutes, and tell of in a page of text, before it lets go."""
    _prepare_prefect("CRITICAL")  # an error that stops the flow is printed once, in words, by `main`
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    if "PREFECT_API_URL" not in os.environ:
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "1")


@contextmanager
def _ended_in_words() -> Iterator[None]:
    """Within it Ctrl-C says that nothing is lost, and SIGTERM also ends the embedded API, which would go on."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except KeyboardInterrupt:  # typer would only give the exit code
        errors.print("\nstopped; nothing is lost, run it again to continue")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _training_told() -> Iterator[None]:
    """What flows of training say is shown: a bar with the loss on a terminal, else lines."""
    _tell_of_start()
    from patina.flows.build_dataset import watched_by
    from patina.flows.terminal import TerminalEvents
    from patina.flows.train_stages import PROGRESS, heard_by
    from patina.pipeline.progress import Silent

    class Bar(TerminalEvents):
        """A bar that also shows the loss; lines that tell of something else go above it."""

        def hear(self, line: str) -> None:
            """One line of a process."""
            if not PROGRESS.match(line):
                console.print(escape(line))
            elif self._bar is not None and ", loss " in line:
                description = f"{self._step}, loss {line.rpartition(', loss ')[2]}"
                self._bar.update(self._bar.task_ids[0], description=escape(description))

    bar = Bar(console)
    with bar, _ended_in_words(), _server_there("what was trained or evaluated is kept"):
        if console.is_terminal:
            with watched_by(bar), heard_by(bar.hear):
                yield
        else:
            with watched_by(Silent()), heard_by(lambda line: console.print(escape(line))):
                yield


@contextmanager
def _server_there(kept: str = "the dataset is whole, as it was or as it should be") -> Iterator[None]:
    """Turns the errors of a Prefect server that is away, or goes away, into one for the user."""
    import httpx

    from patina.flows.errors import ServerAwayError

    try:
        yield
    except httpx.TransportError as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise ServerAwayError(
            f"the Prefect server at {os.environ.get('PREFECT_API_URL', 'an address of its own')} does not answer "
            f"({error}); {kept}: start the server and run it again"
        ) from error


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error came up while an interruption was dealt with."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _recipe(path: Path) -> Recipe:
    """The recipe of that file or name. Raises RecipeError, for a name that is none with the nearest one."""
    from patina.pipeline.errors import RecipeError
    from patina.pipeline.recipe.parse import load_recipe
    from patina.pipeline.recipe.shipped import shipped
    from patina.pipeline.text import nearest

    own = shipped()
    if not path.exists() and str(path) not in own and len(path.parts) == 1 and not path.suffix:
        raise RecipeError(f"{path}: there is no such file, and no recipe of this name; {nearest(str(path), own)}")
    return load_recipe(path)


def _dataset(named: str) -> Path:
    """The folder of a dataset that is named by a path or an address. Raises ManifestError if it holds none."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.errors import ManifestError
    from patina.pipeline.export.remote_output import dataset_folder_of
    from patina.pipeline.format.layout import MANIFEST
    from patina.pipeline.format.manifest import dataset_folder, load_manifest
    from patina.pipeline.sources.locations import is_remote

    with TerminalEvents(console) as events:
        folder = dataset_folder_of(named, events)
    if is_remote(named) and load_manifest(folder) is None:
        raise ManifestError(f"{named}: expected a patina dataset, found no {MANIFEST}")
    return dataset_folder(folder)


def _prepare_prefect(level: str = "WARNING") -> None:
    """Settings that make Prefect's embedded API quiet, private and patient; what the user has set stays."""
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": level,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect").setLevel(level)


def _print_plan(draft: Draft, cores: int) -> None:
    from patina.pipeline.report.summary import SHOWN, plan_lines

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
    from patina.pipeline.report.summary import caption_line, summary_rows
    from patina.pipeline.text import human_bytes

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
    made_now = f" ({report.captions_made} made now, the rest earlier)" if report.captions_made else ""
    console.print(escape(caption_line(report.draft) + made_now))
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
        f"{total} samples, {size}; {made} made, {worded} captioned anew, {copied} copied "
        f"in {report.seconds:.1f} s ({rate:.0f} samples/s); digest {manifest.digest[:16]}"
    )


def _print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Rows with the same columns, aligned, never cut; a column without a figure is left out."""
    kept = [name for name in rows[0] if any(row[name] not in ("", "–") for row in rows)]
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in kept}
    right = {name for name in kept if all(row[name][:1] in "+-−–0123456789" for row in rows)}
    for i, row in enumerate(({name: name for name in kept}, *rows)):
        cells = [row[name].rjust(width[name]) if name in right else row[name].ljust(width[name]) for name in kept]
        console.print(escape("  ".join(cells).rstrip()), style=None if i else "bold")


def _print_restored(result: Restored) -> None:
    (errors if result.error else console).print(escape(result.line), style="red" if result.error else None)


def _print_checked(checked: Checked) -> None:
    for finding in checked.findings:
        console.print(escape(f"finding  {finding}"), style="red")
    for reason in checked.skipped:
        console.print(escape(f"skipped  {reason}"), style="yellow")
    verdict = "[green]ok[/]" if checked.ok else f"[red]{len(checked.findings)} findings[/]"
    console.print(f"{verdict}: {checked.summary}")
