"""The tables of an evaluation, beside the papers' figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patina.pipeline.report.table import Cell, Column, Head, Table
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation.layout import MEAN, NOTHING, PAPERS, REPORT_MEASURES, Measure, flat, table_without_gaps
from patina.training.evaluation.paper_tables import in_papers_order
from patina.training.numbers import Row, as_number, as_texts, compact
from patina.training.report.record import Record


def evaluation_tables(record: Record) -> list[Table]:
    """A table for each metric: entries in the papers' order beside the papers' figures, mean last.

    A column without a value is left out, and so is a table without one.
    """
    held = record.evaluation or {}
    objective = record.stage.objective if record.stage else None
    listed = held.get("rows")
    rows = (
        {str(row.get("entry", "–")): flat(row) for row in listed if isinstance(row, dict)}
        if isinstance(listed, list)
        else {}
    )
    results: list[tuple[str, Row]] = [(name, rows[name]) for name in in_papers_order(rows, objective)]
    mean = held.get("mean")
    if isinstance(mean, dict) and any(as_number(value) is not None for value in mean.values()):
        results.append((MEAN, flat(mean)))
    protocol = held.get("protocol")
    papers = published.tables(protocol, rows) if isinstance(protocol, str) else {}
    known = {"count", *(key for measure in REPORT_MEASURES for key in measure.columns)}
    others = sorted({key for _, row in results for key, v in row.items() if as_number(v) is not None} - known)
    found = []
    for measure in (
        *REPORT_MEASURES,
        Measure("Other figures", {key: (key.replace("_", " "), compact) for key in others}),
    ):
        taken = measure.papers == "accuracy" and any(row.get("taken_for") for _, row in results)
        more = [Column(Head("taken for", "text", "left"), tuple(Cell(_taken_for(row), "text") for _, row in results))]
        theirs = papers.get(measure.papers) if measure.papers else None
        found.append(table_without_gaps(measure, results, theirs, more if taken else ()))
    return [table for table in found if table]


def _taken_for(row: Row) -> str:
    """The names a CLIP gave most often, where it was not always right."""
    taken = row.get("taken_for")
    if row.get("accuracy") == 1 or not isinstance(taken, list | tuple):
        return NOTHING
    pairs = [pair for pair in taken if isinstance(pair, list | tuple) and len(pair) == 2]
    return ", ".join(f"{name} {count}" for name, count in pairs[:3]) or NOTHING


def evaluation_notes(record: Record) -> list[str]:
    """The evaluation's own notes, and what the papers' figures are worth."""
    held = record.evaluation or {}
    notes = as_texts(held.get("notes"))
    if any(head.kind == "paper" for table in evaluation_tables(record) for head in table.heads):
        rows = [str(row.get("entry")) for row in held["rows"] if isinstance(row, dict)]
        tables = published.tables(str(held["protocol"]), rows).values()
        sources = sorted({row.source or table.source for table in tables for row in table.rows})
        cautions = [caution for table in tables for caution in table.cautions]
        notes[:0] = [f"Figures of papers: {', '.join(sources)}; {PAPERS_CAUTION}", *cautions]
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


@dataclass(frozen=True)
class Evaluated:
    """What a page tells of a stage's evaluation. notes: with their classes."""

    name: str
    about: str
    tables: Sequence[Table]
    notes: Sequence[tuple[str, str]]


def evaluated(record: Record) -> Evaluated | None:
    """The evaluation's tables and notes; None without one."""
    if record.evaluation is None:
        return None
    told = protocol_line(record.evaluation)
    notes = [(note, "") for note in evaluation_notes(record)]
    return Evaluated(record.name, f"{told[:1].upper()}{told[1:]}.", evaluation_tables(record), notes)
