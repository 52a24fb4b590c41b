"""The tables of an evaluation, beside the papers' figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from patina.pipeline.report.html import escaped
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation.paper_tables import in_papers_order
from patina.training.report.numbers import Row, as_number, as_texts, compact, decibels, percent, signed, thousandths
from patina.training.report.record import Record
from patina.training.report.tables import Cell, Head, html_remarks, html_table


@dataclass(frozen=True)
class Measure:
    """A metric as a table shows it. papers: its key in the papers' tables, empty if they have none.

    columns  keys of a row of the evaluation, with their heads and how a value is written.
    """

    title: str
    columns: Mapping[str, tuple[str, Callable[[float], str]]]
    papers: published.Metric | None = None


MEASURES = (
    Measure(
        "PSNR, dB",
        {
            "input_psnr": ("degraded", decibels),
            "psnr": ("restored", decibels),
            "gain": ("gain", signed),
            "worst_gain": ("worst image", signed),
            "best_gain": ("best image", signed),
            "lost": ("images that lost", lambda value: f"{value:,.0f}"),
        },
        "psnr",
    ),
    Measure("SSIM", {"input_ssim": ("degraded", thousandths), "ssim": ("restored", thousandths)}, "ssim"),
    Measure(
        "Luma",
        {
            "input_psnr_y": ("PSNR degraded, dB", decibels),
            "psnr_y": ("PSNR restored, dB", decibels),
            "input_ssim_y": ("SSIM degraded", thousandths),
            "ssim_y": ("SSIM restored", thousandths),
        },
    ),
    Measure(
        "LPIPS, lower is better",
        {"input_lpips": ("degraded", thousandths), "lpips": ("restored", thousandths)},
        "lpips",
    ),
    Measure("FID, lower is better", {"fid": ("restored", decibels)}, "fid"),
    Measure(
        "Degradation named, and time",
        {"accuracy": ("named rightly", percent), "seconds": ("seconds an image", lambda value: compact(value, 3))},
        "accuracy",
    ),
)
"""What an evaluation measures, in the order of its tables. Other numbers stand in a last one, by their keys."""

MEAN = "mean"


def evaluation_tables(record: Record) -> list[tuple[str, list[Head], list[list[Cell]]]]:
    """A table for each metric: title, heads, and entries in the papers' order beside the papers' figures, mean last.

    A column without a value is left out, and so is a table without one.
    """
    held = record.evaluation or {}
    objective = record.stage.objective if record.stage else None
    listed = held.get("rows")
    rows = (
        {str(row.get("entry", "–")): row for row in listed if isinstance(row, dict)} if isinstance(listed, list) else {}
    )
    order: list[tuple[str, Row]] = [(name, rows[name]) for name in in_papers_order(rows, objective)]
    mean = held.get("mean")
    if isinstance(mean, dict) and any(as_number(value) is not None for value in mean.values()):
        order.append((MEAN, mean))
    protocol = held.get("protocol")
    papers = published.tables(protocol, rows) if isinstance(protocol, str) else {}
    known = {"count", *(key for measure in MEASURES for key in measure.columns)}
    others = sorted({key for _, row in order for key, v in row.items() if as_number(v) is not None} - known)
    shown = {key: (key.replace("_", " "), compact) for key in others}
    found = []
    for measure in (*MEASURES, Measure("Other figures", shown)):
        columns = [
            (Head(head), [_cell(key, as_number(row.get(key)), write) for _, row in order])
            for key, (head, write) in measure.columns.items()
            if any(as_number(row.get(key)) is not None for _, row in order)
        ]
        if not columns:
            continue
        if measure.papers == "accuracy" and any(row.get("taken_for") for _, row in order):
            columns.append((Head("taken for", "text"), [Cell(_taken_for(row), "text") for _, row in order]))
        table = papers.get(measure.papers) if measure.papers else None
        columns += _paper_columns(table, [name for name, _ in order], rows) if table else []
        if any(as_number(row.get("count")) is not None for _, row in order):
            count = [_cell("count", as_number(row.get("count")), lambda v: f"{v:,.0f}") for _, row in order]
            columns.insert(0, (Head("images"), count))
        heads = [Head("degradation"), *(head for head, _ in columns)]
        names = [Cell(name) for name, _ in order]
        found.append(
            (measure.title, heads, [list(c) for c in zip(names, *(cells for _, cells in columns), strict=True)])
        )
    return found


def _cell(key: str, value: float | None, write: Callable[[float], str]) -> Cell:
    """A value as it is written; one that says that restoring did harm has a class."""
    harm = key in ("gain", "worst_gain") and value is not None and value < 0
    return Cell("–" if value is None else write(value), "worse" if harm else "")


def _paper_columns(
    table: published.Table, names: Sequence[str], entries: Collection[str]
) -> list[tuple[Head, list[Cell]]]:
    """The methods of a paper's table that have a figure here. Its mean stands beside a mean over the same entries."""
    columns = []
    for row in table.rows:
        same = set(entries) == set(table.entries)
        figures = [(row.mean if same else None) if name == MEAN else row.of(name) for name in names]
        if any(figure is not None for figure in figures):
            columns.append((Head(f"{row.method}, paper", "paper"), [Cell(row.text(f), "paper") for f in figures]))
    return columns


def _taken_for(row: Row) -> str:
    """The names a CLIP gave most often, where it was not always right."""
    taken = row.get("taken_for")
    if row.get("accuracy") == 1 or not isinstance(taken, list | tuple):
        return "–"
    pairs = [pair for pair in taken if isinstance(pair, list | tuple) and len(pair) == 2]
    return ", ".join(f"{name} {count}" for name, count in pairs[:3]) or "–"


def evaluation_notes(record: Record) -> list[str]:
    """The evaluation's own notes, and what the papers' figures are worth."""
    held = record.evaluation or {}
    notes = as_texts(held.get("notes"))
    if any(head.kind == "paper" for _, heads, _ in evaluation_tables(record) for head in heads):
        rows = [str(row.get("entry")) for row in held["rows"] if isinstance(row, dict)]
        sources = sorted({table.source for table in published.tables(str(held["protocol"]), rows).values()})
        notes.insert(0, f"Figures of papers: {', '.join(sources)}; {PAPERS_CAUTION}")
    return notes


PAPERS_CAUTION = "they are of the papers' own test sets, so beside other photographs they show an order of size"


def protocol_line(evaluation: Row) -> str:
    """What was evaluated, and how."""
    parts = []
    if split := evaluation.get("split"):
        parts.append(f"split {split}")
    if sampler := evaluation.get("sampler"):
        parts.append(f"sampler {sampler}, {evaluation.get('steps') or 'all'} steps")
    elif sampler == "":
        parts.append("restored in one pass")
    if protocol := evaluation.get("protocol"):
        parts.append(f"measured as {PAPERS.get(str(protocol), protocol)} does")
    if (seed := evaluation.get("seed")) is not None:
        parts.append(f"seed {seed}")
    return ", ".join(parts) or "how is not told"


PAPERS = {"daclip": "DA-CLIP's paper", "vlunet": "VLU-Net's paper"}


def html_evaluation(record: Record) -> str:
    """The evaluation's tables and notes."""
    if record.evaluation is None:
        return ""
    tables = "".join(
        f"<div><h4>{escaped(title)}</h4>"
        f"{html_table(heads, rows, f'{record.name}: {title}', rows[-1][0].text == MEAN)}</div>"
        for title, heads, rows in evaluation_tables(record)
    )
    drawn = f'<div class="measures">{tables}</div>' if tables else "<p>No degradation was evaluated.</p>"
    told = protocol_line(record.evaluation)
    notes = html_remarks([(note, "") for note in evaluation_notes(record)])
    return f'<h3 class="part">Evaluation</h3><p class="about">{escaped(told[:1].upper() + told[1:])}.</p>{drawn}{notes}'
