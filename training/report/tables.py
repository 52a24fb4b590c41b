"""Tables in HTML and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from patina.pipeline.report.html import escaped
from patina.pipeline.text import human_seconds
from patina.training.report.charts import curve_of
from patina.training.report.numbers import as_number, compact
from patina.training.report.record import Record


@dataclass(frozen=True)
class Head:
    """A column's head; kind: a class of its cells."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in a table; kind: a class."""

    text: str
    kind: str = ""


def html_table(heads: Sequence[Head], rows: Sequence[Sequence[Cell]], told: str, mean: bool = False) -> str:
    """A table that scrolls within the page; the first cell of a row names it. mean: the last row is one."""
    head = "".join(f'<th scope="col"{_class(h.kind)}>{escaped(h.text)}</th>' for h in heads)
    body = []
    for k, (first, *others) in enumerate(rows):
        cells = "".join(f"<td{_class(cell.kind)}>{escaped(cell.text)}</td>" for cell in others)
        kind = _class("mean" if mean and k == len(rows) - 1 else "")
        body.append(f'<tr{kind}><th scope="row">{escaped(first.text)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(told)}"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def markdown_table(heads: Sequence[Head], rows: Sequence[Sequence[Cell]]) -> str:
    """A table as Markdown; numbers stand at the right."""
    rule = ["---", *("---" if head.kind == "text" else "---:" for head in heads[1:])]
    lines = [
        [markdown_text(head.text) for head in heads],
        rule,
        *([markdown_text(cell.text) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def markdown_text(text: str) -> str:
    """Text as Markdown that is no markup and stays on its line, in a table too."""
    plain = escaped(text).replace("&#x27;", "'").replace("&quot;", '"').replace("\n", " ").replace("\\", "\\\\")
    return "".join(f"\\{c}" if c in "|`*_[]#~" else c for c in plain)


def stage_table(records: Sequence[Record], skipped: Collection[str]) -> tuple[list[Head], list[list[Cell]]]:
    """Every stage in a row; a column that would be empty is left out."""
    heads = ["stage", "state", "images seen", "time", "images/s", "waited for data", "score", "network", "starts from"]
    rows = []
    for r in records:
        _, speed, waited = r.pace
        state = r.state + (", skipped: nothing had changed" if r.name in skipped else "")
        if r.begun and r.done is None and r.resumes:
            state += f"; goes on after {r.resumes:,}"
        seen = as_number(r.done.get("seen")) if r.done else None
        rows.append(
            [
                r.name,
                state,
                f"{int(seen if seen is not None else r.seen):,}" if r.begun else "–",
                human_seconds(r.seconds) if math.isfinite(r.seconds) else "–",
                compact(speed, 3),
                f"{waited:.0%}" if math.isfinite(waited) else "–",
                _score(r),
                r.stage.network if r.stage else "–",
                (r.stage.after if r.stage else "") or "–",
            ]
        )
    kinds = ["", "text long", "", "", "", "", "text", "text", "text"]
    kept = [k for k, name in enumerate(heads) if k in (0, 1) or any(row[k] != "–" for row in rows)]
    return (
        [Head(heads[k], kinds[k].partition(" ")[0]) for k in kept],
        [[Cell(row[k], kinds[k]) for k in kept] for row in rows],
    )


def _score(record: Record) -> str:
    """The best validation, and of restorers what the degraded input has."""
    what = record.what
    values = curve_of(record.scores, f"val_{what}", what).y if what else np.zeros(0)
    if not values.size:
        return "–"
    if what == "accuracy":
        return f"{values.max():.0%} named rightly"
    inputs = curve_of(record.scores, "val_psnr_input", what).y
    return f"{values.max():.2f} dB" + (f", degraded {inputs[-1]:.2f}" if inputs.size else "")


def html_remarks(told: Sequence[tuple[str, str]]) -> str:
    """Texts as a list, each with its class."""
    items = "".join(f"<li{_class(kind)}>{escaped(text)}</li>" for text, kind in told)
    return f'<ul class="remarks">{items}</ul>' if items else ""
