"""Commands of one dataset: plan, build, check, gallery, show, diff, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patina.flows.cli.inputs import find_dataset
from patina.flows.cli.options import (
    AddressOption,
    AsideOption,
    BatchOption,
    DeviceOption,
    FolderArgument,
    KeepOption,
    NoBlipOption,
    ParanoidOption,
    PrefectOption,
    RecipeArgument,
    RunnerChoice,
    RunnerOption,
    StrictOption,
    TargetOption,
    ThreadsOption,
    WithoutLinksOption,
    WorkersOption,
)
from patina.flows.cli.output import (
    console,
    errors,
    escape,
    print_checked,
    print_passed_over,
    print_plan,
    print_report,
    print_table,
    progress,
)
from patina.flows.cli.prefect_env import prepare_prefect, server_there, tell_of_start
from patina.flows.cli.user_errors import is_for_the_user
from patina.later import without_collection
from patina.output import outlive_readers
from patina.pipeline.versions import KEEP

if TYPE_CHECKING:
    from patina.captioning.captioner import Run
    from patina.flows.runners import RunnerName
    from patina.pipeline.builder.result import BuildResult
    from patina.pipeline.progress import Events


def plan(
    recipe: RecipeArgument,
    out: TargetOption,
    *,
    workers: WorkersOption = 0,
    strict: StrictOption = False,
    max_set_aside: AsideOption = 0.05,
    paranoid: ParanoidOption = False,
    no_blip: NoBlipOption = False,
    show_recipe: Annotated[bool, typer.Option("--recipe", help="First print the recipe with every default.")] = False,
) -> None:
    """Say what a build would make, keep and drop, and why.

    It also estimates time and bytes, and changes nothing. The exit code is 1 if a build would refuse.
    """
    with without_collection():
        from patina.pipeline.builder.dry_run import dry_run
        from patina.pipeline.errors import BuildError
        from patina.pipeline.machine import usable_cores
        from patina.pipeline.plan.planning import Options
        from patina.pipeline.recipe.parse import find_recipe
        from patina.pipeline.sources.expect import expect_sources

    loaded = find_recipe(recipe, blip=not no_blip)
    if show_recipe:
        console.print(escape(loaded.to_toml()))
    expect_sources(loaded.sources)
    cores = workers or usable_cores()
    options = Options(workers=cores, strict=strict, max_set_aside=max_set_aside, paranoid=paranoid)
    with progress() as events:
        planned = dry_run(loaded, _folder_of(out, events), options, events)
    print_plan(planned, cores)
    if planned.blocked:
        raise BuildError(f"a build would stop: {planned.blocked}")


def _folder_of(out: str, events: Events) -> Path:
    """The folder of a dataset that is named by a path or an address; what an address holds is fetched first."""
    from patina.pipeline.sources.locations import is_remote

    if not is_remote(out):
        return Path(out).absolute()
    from patina.pipeline.export.remote_output import dataset_folder_of  # it brings all that writes datasets

    return dataset_folder_of(out, events)


def build(
    recipe: RecipeArgument,
    out: TargetOption,
    *,
    workers: WorkersOption = 0,
    strict: StrictOption = False,
    max_set_aside: AsideOption = 0.05,
    paranoid: ParanoidOption = False,
    replay: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="How many samples are made again and compared, byte for byte, when all is built."
        ),
    ] = 8,
    caption_batch: BatchOption = 0,
    caption_threads: ThreadsOption = 0,
    device: DeviceOption = None,
    runner: RunnerOption = RunnerChoice.threads,
    address: AddressOption = "",
    keep: KeepOption = KEEP,
    without_links: WithoutLinksOption = False,
    no_blip: NoBlipOption = False,
    prefect: PrefectOption = False,
) -> None:
    """Build the dataset, or rebuild what is stale in it.

    Run it again to continue after an interruption. It is a flow run where a Prefect server is configured, and runs
    here by itself where none is.
    """
    from patina.captioning.captioner import Run

    report = run_build(
        recipe,
        out,
        workers=workers,
        strict=strict,
        max_set_aside=max_set_aside,
        paranoid=paranoid,
        replay=replay,
        captioning=Run(batch=caption_batch, devices=tuple(device or ()), threads=caption_threads),
        runner=runner.value,
        address=address,
        keep=keep,
        without_links=without_links,
        no_blip=no_blip,
        prefect=prefect,
    )
    print_report(report)


def check(
    folder: FolderArgument,
    replay: Annotated[
        str, typer.Option(metavar="N", help="How many samples are made again and compared: a number, or `all`.")
    ] = "0",
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="The recipe, which is needed where a folder of masks must be found."),
    ] = None,
    workers: WorkersOption = 0,
) -> None:
    """Check that a dataset is whole, and is what its manifest says.

    It compares hashes and counts, decodes every image, looks for duplicates across splits, and makes samples again. The
    exit code is 1 if anything was found.
    """
    from patina.pipeline.format.manifest import load_manifest
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.report.check import check as run

    outlive_readers()
    if replay != "all" and not replay.isdigit():
        raise typer.BadParameter(f"expected a number or `all`, found {replay!r}", param_hint="--replay")
    out = find_dataset(folder)
    manifest = load_manifest(out)
    with progress() as events:
        events.begin("checking", len(manifest.shards) if manifest else 0, "shards")
        checked = run(
            out,
            None if replay == "all" else int(replay),
            workers=workers or usable_cores(),
            recipe_folder=recipe.resolve().parent if recipe else None,
            progress=events.advance,
        )
        events.end()
    print_checked(checked)
    if not checked.ok:
        raise typer.Exit(1)


def gallery(
    folder: FolderArgument,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page. Without it, it is gallery.html in the dataset."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many samples the page shows at the most.")] = 60,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one JPEG picture of a few samples, instead of the page.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="How many rows that picture has.")] = 3,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Show one photograph by rising severity in that picture.")
    ] = False,
) -> None:
    """Write one HTML page that shows the dataset.

    It shows GT beside LQ, captions, parameters, truth maps and statistics, and needs nothing beside itself.
    """
    from patina.pipeline.disk_errors import explain_disk_errors
    from patina.pipeline.report.gallery import contact_sheet, ladder_sheet, write_gallery

    if sheet:
        dataset = find_dataset(folder)
        picture = ladder_sheet(dataset) if ladder else contact_sheet(dataset, rows)
        with explain_disk_errors(sheet, building=False):
            sheet.write_bytes(picture)
        console.print(f"sheet    {escape(str(sheet))}")
        return
    path = write_gallery(find_dataset(folder), out, limit)
    console.print(f"gallery  {escape(str(path))}")


def show(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A sample's key or its beginning, or the name of a photograph.")
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            show_default=False,
            help="The dataset's folder, a version of it, or its address. Without it, it is the folder that you are in.",
        ),
    ] = "",
    extract: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write the files of the samples into this folder.")
    ] = None,
) -> None:
    """Print all that is known of a sample.

    It says which photograph the sample comes from, what was done to it, and where it lies.
    """
    from patina.flows.terminal import fitted
    from patina.pipeline.errors import ManifestError
    from patina.pipeline.report.show import find_samples, story

    try:
        folder = find_dataset(out or ".")
    except ManifestError as error:
        raise ManifestError(str(error) if out else f"{error}; or name one: --out FOLDER") from None
    rows = find_samples(folder, key)
    for row in rows:
        console.print(escape("\n".join(fitted(console, story(folder, row, extract).split("\n")))))


def diff(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="The dataset as it was: OUT@previous, OUT@3, a folder, or a manifest.json."),
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The dataset as it is, named in the same ways.")],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write one HTML page about the changes, with pictures.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="How many changed, added and dropped samples the page shows at the most."
        ),
    ] = 24,
    shown: Annotated[
        int, typer.Option(min=1, max=200, metavar="N", help="How many names of a kind are printed at the most.")
    ] = 12,
) -> None:
    """Say what changed between two datasets.

    The exit code is 0 if nothing changed, 1 if anything did, and 2 on an error.

    A build keeps the version before, so `patina diff OUT@previous OUT` says what the last one changed. A side may \
also be a copy: of all of it, or, where no pictures are wanted, of manifest.json, samples.parquet and sources.parquet.
    """
    from patina.pipeline.report.diff import diff as compare
    from patina.pipeline.report.diff import read_snapshot
    from patina.pipeline.report.diff_page import write_diff_page

    try:
        sides = read_snapshot(old.absolute()), read_snapshot(new.absolute())
        found = compare(*sides)
        page = write_diff_page(*sides, found, html, limit) if html else None
    except Exception as error:
        if not is_for_the_user(error):
            raise
        errors.print(f"[red]error[/]  {escape(str(error))}")
        raise typer.Exit(2) from None
    for line in found.lines(shown):
        console.print(escape(line))
    if page:
        console.print(f"page     {escape(str(page))}   (open it in a browser)")
    if not found.is_empty:
        raise typer.Exit(1)


def calibrate(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of clean photographs.")],
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many photographs are measured, spread over the folder.")
    ] = 100,
    workers: WorkersOption = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """Measure every degradation on your photographs, beside published sets.

    Each is drawn at its defaults. The tables give its strength and its form.
    """
    from patina.pipeline.errors import SourceError
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.markdown import markdown_table
    from patina.pipeline.progress import Meter
    from patina.pipeline.report.calibrate import calibrate as run
    from patina.pipeline.report.form import form_rows

    print_passed_over(photos.absolute())
    with progress(errors) as events:
        found = run(photos.absolute(), limit, workers or usable_cores(), Meter(events, "measuring", "photographs"))
    if not found:
        raise SourceError(f"{photos}: expected photographs, found none that can be read; name a folder of clean ones")
    strength = [figures.row for figures in found]
    form = form_rows({figures.name: figures.form for figures in found})
    for rows in (strength, form):
        if markdown:
            lines = markdown_table([list(rows[0]), *(list(row.values()) for row in rows)], escape=str)
            console.print(escape("\n".join([*lines, ""])))
            continue
        print_table(rows, below=[name for name in rows[0] if "published" in name])
        console.print()


def run_build(
    recipe: Path,
    out: str,
    *,
    workers: int,
    strict: bool,
    max_set_aside: float,
    paranoid: bool,
    replay: int,
    captioning: Run | None = None,
    runner: RunnerName = "threads",
    address: str = "",
    keep: int = KEEP,
    without_links: bool = False,
    no_blip: bool = False,
    prefect: bool = False,
) -> BuildResult:
    """Build in this process: as a flow run if `prefect`, or if a server is configured, or if `runner` needs Prefect's;
    and not where nothing is stale."""
    from patina.captioning.captioner import Run
    from patina.flows.building import build_here, is_server_configured
    from patina.pipeline.builder.build import result_if_idle
    from patina.pipeline.export.remote_output import expect_no_secret
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.plan.planning import Options
    from patina.pipeline.recipe.parse import find_recipe
    from patina.pipeline.sources.expect import expect_sources
    from patina.pipeline.sources.locations import is_remote

    outlive_readers()
    expect_no_secret(out)
    loaded = find_recipe(recipe, blip=not no_blip)
    cores = workers or usable_cores()
    captioning = captioning or Run()
    options = Options(
        workers=cores,
        strict=strict,
        max_set_aside=max_set_aside,
        paranoid=paranoid,
        captioning=captioning,
        keep=keep,
        without_links=without_links,
    )
    with progress() as events:
        idle = None if is_remote(out) else result_if_idle(loaded, Path(out).absolute(), options, events)
        if idle:
            return idle
        expect_sources(loaded.sources)
        if runner == "threads" and not prefect and not is_server_configured():
            return build_here(loaded, out, options, events, replay=replay)
        prepare_prefect("CRITICAL")  # an error that stops the flow is printed once, in words, by `main`
        tell_of_start()
        from patina.flows.build_dataset import build_dataset
        from patina.flows.watchers import watched_by

        with watched_by(events), server_there():
            report: BuildResult = build_dataset(
                recipe=str(recipe),
                out=out,
                workers=cores,
                strict=strict,
                max_set_aside=max_set_aside,
                paranoid=paranoid,
                replay=replay,
                caption_batch=captioning.batch,
                caption_threads=captioning.threads,
                devices=list(captioning.devices),
                runner=runner,
                address=address,
                keep=keep,
                without_links=without_links,
                no_blip=no_blip,
            )
    return report
