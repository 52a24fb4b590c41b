"""The flow `check-dataset`: every hash, count and image of a dataset, and samples made again. Fails on findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from patina.flows.artifacts import PrefectEvents, record, record_check
from patina.flows.errors import expect_ok
from patina.flows.outliving import await_server, outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.run_log import log_check
from patina.flows.runners import run_step
from patina.flows.watchers import watcher
from patina.pipeline.export.remote_output import dataset_at
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.machine import usable_cores
from patina.pipeline.progress import Events
from patina.pipeline.report.check import Checked, check


@flow(name="check-dataset", flow_run_name=named("check {dataset}"), persist_result=False)
def check_dataset(
    dataset: Annotated[str, Field(min_length=1)],
    replay: Annotated[int, Field(ge=0)] = 64,
    replay_all: bool = False,
    recipe: str = "",
    workers: Annotated[int, Field(ge=0)] = 0,
) -> Checked:
    """Check that a dataset is, byte for byte, what its manifest says, and its samples what they say they are.

    Args:
        dataset: The dataset's folder, a version of it such as OUT@3, or its address such as s3://bucket/name, which is
            fetched first.
        replay: Samples, spread over the dataset, to make again and compare pixel by pixel.
        replay_all: Whether every sample is made again, whatever the number above says.
        recipe: The recipe's file, if it names folders of masks; without it, those samples are not made again.
        workers: Shards checked side by side; 0 for one on each core.
    """
    outlive_runner()
    tell_relative(dataset=dataset, recipe=recipe)
    events = PrefectEvents(watcher())
    with run_step("fetch", lambda: dataset_at(dataset, events)) as opened:
        checked = run_step(
            "check",
            lambda: _check(
                opened.folder,
                replay=None if replay_all else replay,
                recipe=recipe,
                workers=workers or usable_cores(),
                events=events,
            ),
        )
    log_check(checked)
    run_step("artifacts", lambda: record("what was found", lambda: record_check(checked)))
    await_server()
    expect_ok(checked, dataset)
    return checked


def _check(folder: Path, *, replay: int | None, recipe: str, workers: int, events: Events) -> Checked:
    manifest = load_manifest(folder)
    events.begin("checking", len(manifest.shards) if manifest else 0, "shards")
    found = check(
        folder,
        replay,
        workers=workers,
        recipe_folder=Path(recipe).resolve().parent if recipe else None,
        progress=events.advance,
    )
    events.end()
    return found
