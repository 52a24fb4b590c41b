"""The report of a training: RUN as one HTML page that needs nothing beside itself, and in short as Markdown.

    RUN/STAGE/stage.json, done.json        ─► stages, how far each came, what the frozen parts saved
              metrics.jsonl                ─► curves, thinned: the mean of a stretch, and all of its points in a band
              evaluation.json              ─► tables in the papers' order, beside their figures
              samples/, evaluation/        ─► pictures, LQ | restored | GT
              model.safetensors            ─► where the model comes from

What is not there yet is left out, what cannot be read is named. The template escapes every text, and the page's own
policy forbids scripts and requests. Nothing in it depends on where it is written, and on when only what runs just then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from patina.pipeline.files import write_page
from patina.pipeline.format.manifest import Manifest
from patina.pipeline.markdown import markdown_text
from patina.pipeline.report.html import render
from patina.pipeline.report.table import Table
from patina.pipeline.text import counted
from patina.training.data.dataset import dataset_manifest
from patina.training.numbers import Row, as_number, compact
from patina.training.report.charts import Chart
from patina.training.report.curves import SmallCurves, charts, charts_note, curves_in_numbers, small_curves
from patina.training.report.evaluation import (
    Evaluated,
    evaluated,
    evaluation_notes,
    evaluation_tables,
    protocol_line,
)
from patina.training.report.lineage import DATASET_CHANGED, model_origins, read_origin
from patina.training.report.pictures import Picture, Pictured, encode_pictures, pictured
from patina.training.report.record import Record, read_run, run_name
from patina.training.report.tables import stage_table
from patina.training.restore.load import Origin
from patina.training.stages.stage import Stage

PAGE = "report.html"


def write_report(
    run: Path,
    dataset: Path | None = None,
    evaluations: Mapping[str, Row] | None = None,
    out: Path | None = None,
    *,
    plan: Mapping[str, Stage] | None = None,
    skipped: Collection[str] = (),
) -> Path:
    """Write the page about the stages in `run` to `out`, RUN/report.html unless given; gives its path.

    dataset      its folder, to name it and to tell whether the models are of what it is now.
    evaluations  by stage, as `Evaluation.to_json` has them; they come before a stage's own evaluation.json.
    plan         stages that the run is to have, in order: those without a folder are told as not begun.
    skipped      stages that the latest start left alone, as they were finished.
    Raises StageError for a run or a dataset that is not there, OSError.
    """
    manifest = dataset_manifest(dataset) if dataset else None
    records = read_run(run, plan, evaluations)
    models = {record.name: read_origin(record) for record in records if record.model}
    pictures = encode_pictures([p for record in records for p in record.pictures])
    begun = [record for record in records if record.begun]
    text = render(
        "report.html",
        script="report.js",
        package=__package__,
        title=run_name(run),
        lead=_lead(records),
        dataset=_dataset(manifest) if manifest else None,
        datasets=_datasets(records, models.values()),
        stages=stage_table(records, skipped),
        remarks=_remarks(records, manifest),
        sections=[_section(f"stage-{k}", record, pictures) for k, record in enumerate(begun)],
        lineage=model_origins(records, models, manifest),
    )
    return write_page(out or run / PAGE, text)


def summary_markdown(
    run: Path,
    evaluations: Mapping[str, Row] | None = None,
    *,
    plan: Mapping[str, Stage] | None = None,
    skipped: Collection[str] = (),
) -> str:
    """Stages, scores and evaluations of `run` as Markdown; arguments as of `write_report`. Raises StageError."""
    records = read_run(run, plan, evaluations)
    parts = [f"**{_text(run_name(run))}**: {_lead(records)}"]
    parts.append(stage_table(records, skipped).markdown(escape=_text))
    for record in records:
        notes = [*record.notes, *record.troubles]
        if record.evaluation is not None:
            parts.append(f"### {_text(record.name)}\n\n{_text(protocol_line(record.evaluation))}")
            parts += [table.markdown("####", _text) for table in evaluation_tables(record)]
            notes += evaluation_notes(record)
        if notes:
            parts.append("\n".join(f"- {_text(record.name)}: {_text(note)}" for note in notes))
    return "\n\n".join(parts) + "\n"


_text = partial(markdown_text, entities=True)
"""Artifacts show this Markdown on pages: no sign of a tag is left in it."""


def _lead(records: Sequence[Record]) -> str:
    """How many stages came how far."""
    states = [r.state.partition(" at ")[0] for r in records]
    parts = [
        f"{states.count(state)} {state}" for state in ("finished", "running", "stopped", "not begun") if state in states
    ]
    return f"{counted(len(records), 'stage')}: {', '.join(parts)}."


@dataclass(frozen=True)
class _Dataset:
    """What a run was trained on. samples: how many, in words, where the dataset is at hand."""

    name: str
    digest: str
    samples: str = ""


def _dataset(manifest: Manifest) -> _Dataset:
    count = counted(sum(s.count for s in manifest.shards), "sample")
    return _Dataset(manifest.recipe["name"], manifest.digest, count)


def _datasets(records: Sequence[Record], models: Iterable[tuple[Origin, str] | str]) -> list[_Dataset]:
    """The datasets that stages and models name."""
    notes = [model[0].notes for model in models if not isinstance(model, str)]
    names = {note.get("dataset", ""): note.get("dataset_folder", "") for note in notes}
    digests = sorted({r.dataset for r in records if r.dataset} | {digest for digest in names if digest})
    return [_Dataset(names.get(digest, ""), digest) for digest in digests]


def _remarks(records: Sequence[Record], manifest: Manifest | None) -> list[tuple[str, str]]:
    """What there is to say of each stage, with its class."""
    remarks = [(f"{r.name}: {note}", "") for r in records for note in r.notes]
    remarks += [(f"{r.name}: {saved}", "") for r in records if (saved := _saved(r))]
    remarks += [(f"{r.name}: {trouble}", "trouble") for r in records for trouble in r.troubles]
    if manifest:
        old = [r for r in records if r.dataset not in ("", manifest.digest)]
        remarks += [(f"{r.name}: {DATASET_CHANGED}", "trouble") for r in old]
    return remarks


def _saved(record: Record) -> str:
    """What the frozen parts saved, in words."""
    saved = record.done.get("saved") if record.done else None
    if not isinstance(saved, dict):
        return ""
    parts = [f"{name} {compact(value, 6)}" for name, v in saved.items() if (value := as_number(v)) is not None]
    asked, made = (as_number(saved.get(f"texts {what}")) for what in ("asked for", "computed"))
    share = f" ({_share_saved(asked, made)} not computed again)" if asked and made is not None and made < asked else ""
    return f"saved by frozen parts: {', '.join(parts)}{share}" if parts else ""


def _share_saved(asked: float, made: float) -> str:
    """The share that was not computed, rounded down: 100 % would be nothing at all."""
    return f"{math.floor(1000 * (1 - made / asked)) / 10:.1f} %"


@dataclass(frozen=True)
class _Section:
    """What the page tells of one stage. settings: all of them as JSON, empty where they cannot be read."""

    anchor: str
    name: str
    about: str
    charts: Sequence[Chart]
    charts_note: str
    small_curves: SmallCurves | None
    evaluation: Evaluated | None
    pictures: Pictured | None
    numbers: Sequence[Table]
    settings: str


def _section(anchor: str, record: Record, pictures: Mapping[Path, Picture]) -> _Section:
    stage = record.stage
    return _Section(
        anchor=anchor,
        name=record.name,
        about=_about(stage, record.state) if stage else "",
        charts=charts(record),
        charts_note=charts_note(record),
        small_curves=small_curves(record),
        evaluation=evaluated(record),
        pictures=pictured(record, pictures),
        numbers=curves_in_numbers(record),
        settings=json.dumps(stage.file_table(), indent=1, ensure_ascii=False) if stage else "",
    )


def _about(stage: Stage, state: str) -> str:
    parts = [f"{stage.network}, {stage.objective}", f"{stage.max_images:,} images in batches of {stage.data.batch:,}"]
    parts += [f"crops of {stage.data.crop} px"] if stage.data.crop else []
    return " · ".join([*parts, stage.precision, f"seed {stage.seed}", state])
