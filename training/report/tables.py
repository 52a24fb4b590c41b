"""The table of stages."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from patina.pipeline.report.table import Cell, Head, Table
from patina.pipeline.text import human_seconds
from patina.training.numbers import as_number, compact
from patina.training.report.charts import curve_of
from patina.training.report.record import Record


def stage_table(records: Sequence[Record], skipped: Collection[str]) -> Table:
    """Every stage in a row; a column that would be empty is left out."""
    heads = ["stage", "state", "images seen", "time", "images/s", "waited for data", "score", "network", "starts from"]
    rows = []
    for r in records:
        _, speed, waited = r.pace
        state = r.state + (", skipped: nothing had changed" if r.name in skipped else "")
        if r.begun and r.done is None and r.resumes and not r.holder:
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
    columns = [(heads[k], kinds[k].partition(" ")[0]) for k in kept]
    return Table(
        "Stages of the run",
        tuple(Head(text, kind, "left" if kind == "text" else "right") for text, kind in columns),
        tuple(tuple(Cell(row[k], kinds[k]) for k in kept) for row in rows),
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
