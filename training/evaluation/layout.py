"""How results are laid out beside the papers' figures: the tables of an evaluation, for its Markdown and for a report.

Both have the same tables. Markdown (`MEASURES_BY_METRIC`) shows every column of a few measures; a report
(`REPORT_MEASURES`) shows all that was measured, and leaves out what is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from patina.pipeline.report.table import Cell, Column, Head, Table
from patina.training.evaluation.paper_rows import SAME_AS
from patina.training.evaluation.paper_rows import Metric as PaperMetric
from patina.training.evaluation.paper_rows import Row as PaperRow
from patina.training.evaluation.paper_rows import Table as PaperTable
from patina.training.numbers import Row, as_number, compact, decibels, percent, signed, thousandths

MEAN = "mean"
"""What the last row is called."""

NOTHING = "–"
"""What stands where there is no value."""

PAPERS = {"daclip": "DA-CLIP's paper", "vlunet": "VLU-Net's paper"}
"""Whose protocol an evaluation follows, by its name."""

Results: TypeAlias = Sequence[tuple[str, Row]]
"""Entries with their numbers, in order; the mean, called MEAN, comes last."""


@dataclass(frozen=True)
class Measure:
    """A metric as a table shows it. papers: its key in the papers' tables, empty if they have none.

    columns  keys of a row of the evaluation, with their heads and how a value is written.
    """

    title: str
    columns: Mapping[str, tuple[str, Callable[[float], str]]]
    papers: PaperMetric | None = None


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _plain_signed(value: float) -> str:
    return f"{value:+.2f}"


MEASURES_BY_METRIC: Mapping[PaperMetric, Measure] = {
    "psnr": Measure(
        "PSNR, dB",
        {
            "input_psnr": ("degraded", decibels),
            "psnr": ("restored", decibels),
            "gain": ("gain", _plain_signed),
            "worst_gain": ("worst", _plain_signed),
            "best_gain": ("best", _plain_signed),
            "lost": ("lost", _whole),
        },
        "psnr",
    ),
    "ssim": Measure("SSIM", {"input_ssim": ("degraded", thousandths), "ssim": ("restored", thousandths)}, "ssim"),
    "lpips": Measure(
        "LPIPS, lower is better",
        {"input_lpips": ("degraded", thousandths), "lpips": ("restored", thousandths)},
        "lpips",
    ),
    "fid": Measure("FID, lower is better", {"input_fid": ("degraded", decibels), "fid": ("restored", decibels)}, "fid"),
    "accuracy": Measure("Degradations named", {"accuracy": ("named", percent)}, "accuracy"),
}
"""What the Markdown of an evaluation shows, in the order of its tables."""

REPORT_MEASURES = (
    Measure(
        "PSNR, dB",
        {
            "input_psnr": ("degraded", decibels),
            "psnr": ("restored", decibels),
            "gain": ("gain", signed),
            "worst_gain": ("worst image", signed),
            "best_gain": ("best image", signed),
            "lost": ("images that lost", _whole),
        },
        "psnr",
    ),
    MEASURES_BY_METRIC["ssim"],
    Measure(
        "Luma",
        {
            "input_psnr_y": ("PSNR degraded, dB", decibels),
            "psnr_y": ("PSNR restored, dB", decibels),
            "input_ssim_y": ("SSIM degraded", thousandths),
            "ssim_y": ("SSIM restored", thousandths),
        },
    ),
    MEASURES_BY_METRIC["lpips"],
    MEASURES_BY_METRIC["fid"],
    Measure(
        "Degradation named, and time",
        {"accuracy": ("named rightly", percent), "seconds": ("seconds an image", lambda value: compact(value, 3))},
        "accuracy",
    ),
)
"""What a report shows, in the order of its tables. Other numbers stand in a last one, by their keys."""


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of results with its metrics of pyiqa beside the other numbers."""
    rest = {key: value for key, value in row.items() if key != "others"}
    others = row.get("others")
    return {**(others if isinstance(others, Mapping) else {}), **rest}


def others_measure(name: str) -> Measure:
    """How a metric of pyiqa is shown."""
    head = f"{name}, by pyiqa"
    return Measure(head, {f"input_{name}": ("degraded", thousandths), name: ("restored", thousandths)})


def complete_table(measure: Measure, results: Results, papers: PaperTable | None, more: Sequence[Column] = ()) -> Table:
    """A measure with all of its columns and all of a paper's methods, and `more` columns at the end."""
    columns = [_column("count", "images", _whole, results)]
    columns += [_column(key, head, write, results) for key, (head, write) in measure.columns.items()]
    columns += paper_columns(papers, results) if papers else [_dashes("paper", results)]
    return _table(measure.title, results, [*columns, *more], papers.notes if papers else ())


def table_without_gaps(
    measure: Measure, results: Results, papers: PaperTable | None, more: Sequence[Column] = ()
) -> Table | None:
    """A measure with the columns that have a value, the paper's methods that have one, and `more` columns before
    these; None where nothing was measured."""

    def has(key: str) -> bool:
        return any(as_number(row.get(key)) is not None for _, row in results)

    columns = [_column(key, head, write, results) for key, (head, write) in measure.columns.items() if has(key)]
    if not columns:
        return None
    count = [_column("count", "images", _whole, results)] if has("count") else []
    theirs = [c for c in paper_columns(papers, results) if any(cell.text != NOTHING for cell in c.cells)]
    return _table(measure.title, results, [*count, *columns, *more, *theirs])


def paper_columns(table: PaperTable | None, results: Results) -> list[Column]:
    """A paper's methods. Their mean stands only beside a mean over the same entries."""
    if table is None:
        return []
    same = {SAME_AS.get(name, name) for name, _ in results if name != MEAN} == set(table.entries)
    same = same or {name for name, _ in results if name != MEAN} == set(table.entries)

    def text(paper: PaperRow, name: str) -> str:
        if name == MEAN:
            return table.mean_text(paper) if same else NOTHING
        return paper.text(paper.of(name))

    shown = [paper for paper in table.rows if paper.mean is not None or any(paper.of(name) for name, _ in results)]
    return [
        Column(Head(f"{paper.method}, paper", "paper"), tuple(Cell(text(paper, name), "paper") for name, _ in results))
        for paper in shown
    ]


def _table(title: str, results: Results, columns: Sequence[Column], notes: tuple[str, ...] = ()) -> Table:
    names = Column(Head("degradation"), tuple(Cell(name) for name, _ in results))
    return Table.of_columns(title, [names, *columns], notes, has_mean=results[-1][0] == MEAN)


def _column(key: str, head: str, write: Callable[[float], str], results: Results) -> Column:
    """The values of a key as they are written; one that says that restoring did harm has a class."""
    values = [as_number(row.get(key)) for _, row in results]

    def cell(value: float | None) -> Cell:
        if value is None:
            return Cell(NOTHING)
        return Cell(write(value), "worse" if key in ("gain", "worst_gain") and value < 0 else "")

    return Column(Head(head), tuple(map(cell, values)))


def _dashes(head: str, results: Results) -> Column:
    return Column(Head(head), tuple(Cell(NOTHING) for _ in results))
