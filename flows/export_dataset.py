"""The flow `export-dataset`: a dataset laid out as others' trainers read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from patina.flows.artifacts import PrefectEvents, record
from patina.flows.outliving import await_server, outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.run_log import log_lines
from patina.flows.runners import run_step
from patina.flows.watchers import watcher
from patina.pipeline.export.format import ExportError, Format
from patina.pipeline.export.remote_output import dataset_at
from patina.pipeline.export.run import Exported, choose, export
from patina.pipeline.machine import usable_cores
from patina.pipeline.progress import Events, Meter
from patina.pipeline.text import counted

Layout = Literal["daclip", "vlunet", "folders", "parquet", "mds", "litdata", "energon", "webshart"]
Split = Literal["train", "val", "test"]


@flow(name="export-dataset", flow_run_name=named("export {dataset} for {to} into {out}"), persist_result=False)
def export_dataset(
    dataset: Annotated[str, Field(min_length=1)],
    to: Layout,
    out: Annotated[str, Field(min_length=1)],
    *,
    splits: Sequence[Split] = (),
    degradations: Sequence[str] = (),
    prefix: str = "",
    absolute: bool = False,
    workers: Annotated[int, Field(ge=0)] = 0,
) -> Exported:
    """Write a dataset in the layout of another tool, or as plain folders. Images keep their bytes.

    Args:
        dataset: The dataset's folder, a version of it such as OUT@3, or its address such as s3://bucket/name, which is
            fetched first.
        to: Whose layout - DA-CLIP's, VLU-Net's, plain folders, Parquet tables for `datasets`, MosaicML's streaming
            (mds), litdata's, megatron-energon's or webshart's; these last two link the shards and copy none.
        out: The folder to write. An earlier export in it is replaced.
        splits: What to export; empty for every split.
        degradations: The recipe's names or labels, such as hazy; empty for all of them.
        prefix: For daclip, what goes before every path in its tables; empty for paths relative to `out`.
        absolute: For daclip, whether its tables have absolute paths.
        workers: Threads that write files; 0 for one on each core.
    """
    outlive_runner()
    tell_relative(dataset=dataset, out=out)
    if absolute and prefix:
        raise ExportError("give one of prefix and absolute: both say what goes before the paths of daclip's tables")
    target = Path(out).absolute()
    layout = choose(to, prefix=str(target) if absolute else prefix)
    events = PrefectEvents(watcher())
    with run_step("fetch", lambda: dataset_at(dataset, events)) as opened:
        done = run_step(
            "export",
            lambda: _export(
                opened.folder,
                target,
                layout,
                splits=splits,
                degradations=degradations,
                workers=workers or usable_cores(),
                events=events,
            ),
        )
    log_lines([_words(done, layout)])
    run_step("artifacts", lambda: record("what was written", lambda: _artifact(done, layout)))
    await_server()
    return done


def _export(
    folder: Path,
    out: Path,
    layout: Format,
    *,
    splits: Sequence[str],
    degradations: Sequence[str],
    workers: int,
    events: Events,
) -> Exported:
    with Meter(events, f"exporting for {layout.name}", "samples") as meter:
        return export(folder, out, layout, splits=splits, degradations=degradations, workers=workers, progress=meter)


def _words(done: Exported, layout: Format) -> str:
    what = "written" if done.fresh else "as before: nothing had changed"
    size = f"{counted(done.samples, 'sample')} in {counted(done.files, 'file')}"
    return f"{size} for {layout.name}, {what}: `{done.out.name}`"


def _artifact(done: Exported, layout: Format) -> None:
    create_markdown_artifact(_words(done, layout), key="export", description=f"{layout.name} {layout.version}")
