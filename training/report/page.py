"""The report of a training: RUN as one HTML page that needs nothing beside itself, and in short as Markdown.

    RUN/STAGE/stage.json, done.json        ─► stages, how far each came, what the frozen parts saved
              metrics.jsonl                ─► curves, thinned: the mean of a stretch, and all of its points in a band
              evaluation.json              ─► tables in the papers' order, beside their figures
              samples/, evaluation/        ─► pictures, LQ | restored | GT
              model.safetensors            ─► where the model comes from

What is not there yet is left out, what cannot be read is named. Every text of a file goes through `escaped`, and the
page's own policy forbids scripts and requests. Nothing in it depends on when or where it is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from string import Template

import patina.pipeline.report
from patina.pipeline.files import write_page
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.report.html import escaped
from patina.pipeline.text import counted
from patina.training.data.dataset import dataset_digest
from patina.training.report.curves import html_curves, html_numbers, html_small_curves
from patina.training.report.evaluation import evaluation_notes, evaluation_tables, html_evaluation, protocol_line
from patina.training.report.lineage import DATASET_CHANGED, html_digest, html_lineage, read_origin
from patina.training.report.numbers import Row, as_number, compact
from patina.training.report.pictures import Picture, encode_pictures, html_pictures
from patina.training.report.record import Record, read_run, run_name
from patina.training.report.tables import html_remarks, html_table, markdown_table, markdown_text, stage_table
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
    manifest = load_manifest(dataset) if dataset and dataset_digest(dataset) else None
    records = read_run(run, plan, evaluations)
    models = {record.name: read_origin(record) for record in records if record.model}
    pictures = encode_pictures([p for record in records for p in record.pictures])
    base = Path(patina.pipeline.report.__file__).with_name("gallery.html").read_text("utf-8")
    style = Template(base.partition("<style>")[2].partition("</style>")[0]).substitute(card=320)
    begun = [record for record in records if record.begun]
    links = [("stages", "Stages"), *((f"stage-{k}", record.name) for k, record in enumerate(begun))]
    page = Template(Path(__file__).with_name("report.html").read_text("utf-8")).substitute(
        style=style,
        title=escaped(run_name(run)),
        lead=_lead(records),
        facts=_facts(manifest, records, models.values()),
        links="".join(f'<a href="#{a}">{escaped(name)}</a>' for a, name in [*links, ("lineage", "Lineage")]),
        stages=_stages(records, skipped, manifest),
        sections="\n".join(_section(f"stage-{k}", record, pictures) for k, record in enumerate(begun)),
        lineage=html_lineage(records, models, manifest),
    )
    return write_page(out or run / PAGE, page)


def summary_markdown(
    run: Path,
    evaluations: Mapping[str, Row] | None = None,
    *,
    plan: Mapping[str, Stage] | None = None,
    skipped: Collection[str] = (),
) -> str:
    """Stages, scores and evaluations of `run` as Markdown; arguments as of `write_report`. Raises StageError."""
    records = read_run(run, plan, evaluations)
    parts = [f"**{markdown_text(run_name(run))}**: {_lead(records)}"]
    parts.append(markdown_table(*stage_table(records, skipped)))
    for record in records:
        told = [*record.notes, *record.troubles]
        if record.evaluation is not None:
            parts.append(f"### {markdown_text(record.name)}\n\n{markdown_text(protocol_line(record.evaluation))}")
            tables = evaluation_tables(record)
            parts += [f"#### {title}\n\n{markdown_table(heads, rows)}" for title, heads, rows in tables]
            told += evaluation_notes(record)
        if told:
            parts.append("\n".join(f"- {markdown_text(record.name)}: {markdown_text(note)}" for note in told))
    return "\n\n".join(parts) + "\n"


def _lead(records: Sequence[Record]) -> str:
    """How many stages came how far."""
    states = [r.state.partition(" at ")[0] for r in records]
    parts = [f"{states.count(state)} {state}" for state in ("finished", "stopped", "not begun") if state in states]
    return f"{counted(len(records), 'stage')}: {', '.join(parts)}."


def _facts(manifest: Manifest | None, records: Sequence[Record], models: Iterable[tuple[Origin, str] | str]) -> str:
    """Which dataset it is about."""
    if manifest:
        count = counted(sum(s.count for s in manifest.shards), "sample")
        name = f"<bdi>{escaped(manifest.recipe['name'])}</bdi>"
        return f"<p>Trained on the dataset {name}, {count}, digest {html_digest(manifest.digest)}</p>"
    notes = [model[0].notes for model in models if not isinstance(model, str)]
    names = {note.get("dataset", ""): note.get("dataset_folder", "") for note in notes}
    digests = sorted({r.dataset for r in records if r.dataset} | {digest for digest in names if digest})
    if not digests:
        return "<p>Nothing here tells which dataset it was trained on.</p>"
    named = ", ".join(f"<bdi>{escaped(names.get(d, ''))}</bdi> (digest {html_digest(d)})" for d in digests)
    return f"<p>Trained on the dataset{'s' if len(digests) > 1 else ''} {named}</p>"


def _stages(records: Sequence[Record], skipped: Collection[str], manifest: Manifest | None) -> str:
    """The table of stages, and what there is to say of each."""
    table = html_table(*stage_table(records, skipped), "Stages of the run")
    remarks = [(f"{r.name}: {note}", "") for r in records for note in r.notes]
    remarks += [(f"{r.name}: {saved}", "") for r in records if (saved := _saved(r))]
    remarks += [(f"{r.name}: {trouble}", "trouble") for r in records for trouble in r.troubles]
    if manifest:
        old = [r for r in records if r.dataset not in ("", manifest.digest)]
        remarks += [(f"{r.name}: {DATASET_CHANGED}", "trouble") for r in old]
    return table + html_remarks(remarks)


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


def _section(anchor: str, record: Record, pictures: Mapping[Path, Picture]) -> str:
    """One stage: what it is, its curves, its evaluation and its pictures."""
    stage = record.stage
    about = ""
    if stage:
        parts = [
            f"{stage.network}, {stage.objective}",
            f"{stage.max_images:,} images in batches of {stage.data.batch:,}",
        ]
        parts += [f"crops of {stage.data.crop} px"] if stage.data.crop else []
        parts += [stage.precision, f"seed {stage.seed}", record.state]
        about = f'<p class="about">{escaped(" · ".join(parts))}</p>'
    settings = json.dumps(stage.file_table(), indent=1, ensure_ascii=False) if stage else ""
    curves = html_curves(record) or '<p class="about">No step has been logged yet.</p>'
    return (
        f'<section id="{anchor}"><h2 dir="auto">{escaped(record.name)}</h2>{about}{curves}{html_small_curves(record)}'
        f"{html_evaluation(record)}{html_pictures(record, pictures)}{html_numbers(record)}"
        + (f"<details><summary>All settings</summary><pre>{escaped(settings)}</pre></details>" if settings else "")
        + "</section>"
    )
