"""The flow `build-dataset`: scan → plan → captions → batches of shards → publish → check → artifacts.

What a build does stands in `patina.pipeline.builder.build`; here its steps become Prefect tasks, and its plan, progress
and results become artifacts. Prefect's result cache stays off: `plan` decides what is stale, and a rerun is the way to
resume.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from pydantic import Field

from patina.captioning.captioner import Run
from patina.flows.artifacts import PrefectEvents, record, record_check
from patina.flows.building import build_and_check
from patina.flows.events import announce, is_announced
from patina.flows.gpu import WithGpuLease, needs_lease
from patina.flows.outliving import await_server, outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.run_log import WithRunLog, log_result
from patina.flows.runners import RunnerName, make_runner, run_step
from patina.flows.watchers import watcher
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.machine import usable_cores
from patina.pipeline.plan.planning import Options, PlannedBuild
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.report.check import Checked
from patina.pipeline.report.gallery import contact_sheet, write_gallery
from patina.pipeline.report.summary import plan_markdown, summary_rows
from patina.pipeline.sources.expect import expect_sources
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.versions import KEEP

GALLERY, SHOWN = "gallery.html", 40
"""The page that a flow run writes in the dataset's private folder, and samples on it at the most."""


@flow(name="build-dataset", flow_run_name=named("build {recipe} into {out}"), persist_result=False)
def build_dataset(
    recipe: Annotated[str, Field(min_length=1)],
    out: Annotated[str, Field(min_length=1)],
    *,
    workers: Annotated[int, Field(ge=0)] = 0,
    strict: bool = False,
    max_set_aside: Annotated[float, Field(ge=0, le=1)] = 0.05,
    paranoid: bool = False,
    replay: Annotated[int, Field(ge=0)] = 8,
    caption_batch: Annotated[int, Field(ge=0)] = 0,
    caption_threads: Annotated[int, Field(ge=0)] = 0,
    devices: Sequence[str] = (),
    runner: RunnerName = "threads",
    address: str = "",
    keep: Annotated[int, Field(ge=1)] = KEEP,
    without_links: bool = False,
    no_blip: bool = False,
) -> BuildResult:
    """Build or rebuild a dataset: only what is stale is made, and all of it appears at once.

    Args:
        recipe: A recipe's TOML file, or the name of one that comes with patina.
        out: The dataset's folder, or an address such as s3://bucket/name.
        workers: Shards built side by side; 0 for one on each core.
        strict: Whether an input that must be set aside is an error.
        max_set_aside: Share of unusable inputs, 0 to 1, above which a build stops. Ten are always allowed, but never
            more than half of all.
        paranoid: Whether every source and shard is read and hashed, whatever its times say.
        replay: Samples to make again and compare when all is built.
        caption_batch: Photographs that a captioner's model sees at once; 0 for as many as suit the device.
        caption_threads: Threads that decode photographs ahead of each such model; 0 for as many as suit.
        devices: Where a captioner's model runs, such as cuda:0; empty for every GPU, else the CPU.
        runner: What builds shards - threads or processes here, or a cluster of Dask or Ray.
        address: Of a Dask scheduler or a Ray cluster that runs already; empty for one of `workers` here.
        keep: Versions of the dataset that stay, the new one among them.
        without_links: Whether to publish by copies where the file system has no hard or symbolic links.
        no_blip: Whether a recipe that captions by BLIP takes captions beside the photographs instead, or a template's.
    """
    outlive_runner()
    tell_relative(recipe=recipe, out=out)
    loaded = load_recipe(Path(recipe), blip=not no_blip)
    expect_sources(loaded.sources)
    workers = workers or usable_cores()
    batches = make_runner(runner, workers, address)
    if needs_lease(devices):
        batches = WithGpuLease(batches)
    options = Options(
        workers=workers,
        strict=strict,
        max_set_aside=max_set_aside,
        paranoid=paranoid,
        captioning=Run(batch=caption_batch, devices=tuple(devices), threads=caption_threads),
        keep=keep,
        without_links=without_links,
    )
    report = build_and_check(
        loaded,
        out,
        options,
        runner=WithRunLog(batches),
        events=PrefectEvents(watcher()),
        replay=replay,
        depth="digests" if paranoid or runner in ("dask", "ray") else "sizes",
        built=lambda report, checked: run_step(
            "artifacts", lambda: record("what was built", lambda: _artifacts(report, checked, out))
        ),
        is_known=is_announced,  # which it was after its check
    )
    log_result(report)
    await_server()
    announce(report, out)
    return report


def _artifacts(report: BuildResult, checked: Checked, out: str) -> None:
    """What was built and why, the summary, the gallery's picture, and a link to the gallery."""
    planned: PlannedBuild = report.planned
    create_markdown_artifact(plan_markdown(planned), key="plan", description=planned.plan.summary())
    create_table_artifact(summary_rows(report), key="summary", description=f"manifest {report.manifest.digest[:16]}")
    record_check(checked)
    if not checked.ok:
        return  # a picture cannot be made of a damaged shard, and must not hide the findings
    if not is_remote(out):  # else the folder is a copy that is removed
        page = write_gallery(planned.out, planned.out / PRIVATE / GALLERY, SHOWN)
        create_link_artifact(page.absolute().as_uri(), GALLERY, key="gallery-page", description=str(page.absolute()))
    sheet = base64.b64encode(contact_sheet(planned.out)).decode()
    create_image_artifact(f"data:image/jpeg;base64,{sheet}", key="gallery", description="GT beside LQ")
