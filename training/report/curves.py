"""The curves of a stage: losses, learning rate, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from patina.pipeline.report.html import escaped
from patina.pipeline.report.table import Table
from patina.training.evaluation.paper_tables import in_papers_order
from patina.training.numbers import as_number, compact
from patina.training.report.charts import POINTS, Axis, Chart, Curve, axis_of, chart, curve_of, svg_points, thinned
from patina.training.report.record import Record


def charts(record: Record) -> list[Chart]:
    """All charts of a stage."""
    rows, images = record.training, float(record.images)
    scores = ("psnr", "accuracy")
    aside = {"seen", "rate", "images_per_s", "waited", "loss", *scores}
    terms = sorted({name for row in rows for name in row if name not in aside and not name.startswith("val_")})
    losses = [curve_of(rows, name, name, f"c{k % 5}") for k, name in enumerate(["loss", *terms])]
    rate, speed = curve_of(rows, "rate", "rate"), curve_of(rows, "images_per_s", "images/s")
    waited = curve_of(rows, "waited", "waited", scale=100)
    found = [chart("Loss", "", losses, axis_of([c for c in losses if c.x.size], log=True), images, compact)]
    found += [_score_chart(record, what, images) for what in scores]
    found += [
        chart("Learning rate", "", [rate], axis_of([rate], low=0), images, lambda v: compact(v, 3)),
        chart("Speed", "images/s", [speed], axis_of([speed], low=0), images, lambda v: compact(v, 3)),
        chart("Time waited for data", "%", [waited], axis_of([waited], low=0, high=10), images, lambda v: f"{v:.1f} %"),
    ]
    return [one for one in found if one]


def charts_note(record: Record) -> str:
    """What thinned curves show."""
    return f"Means of {POINTS} stretches; the bands hold every value." if len(record.training) > POINTS else ""


def _score_chart(record: Record, what: str, images: float) -> Chart | None:
    """Validation by images seen, beside the degraded input and the batches of the training."""
    scale = 100.0 if what == "accuracy" else 1.0
    curves = [
        curve_of(record.scores, f"val_{what}", "validation", "c0", scale),
        curve_of(record.scores, f"val_{what}_input", "degraded input", "reference", scale),
        curve_of(record.training, what, "training batches", "c1", scale),
    ]
    curves = [curve for curve in curves if curve.x.size]
    if what == "accuracy":
        return chart("Named rightly", "%", curves, axis_of(curves, low=0, high=100), images, lambda v: f"{v:.0f} %")
    return chart("PSNR", "dB", curves, axis_of(curves), images, lambda v: f"{v:.2f}")


@dataclass(frozen=True)
class SmallCurve:
    """One entry's validation. values: the first and the last in words."""

    name: str
    svg: Markup
    values: str


@dataclass(frozen=True)
class SmallCurves:
    """The validation of every entry. note: what their vertical axes are."""

    rows: Sequence[SmallCurve]
    note: str


def small_curves(record: Record) -> SmallCurves | None:
    """The validation of every entry as a small curve, equally steep where it changes as fast; None without one."""
    what = record.what
    prefix = f"val_{what}/"
    names = {name.removeprefix(prefix) for row in record.scores for name in row if what and name.startswith(prefix)}
    objective = record.stage.objective if record.stage else None
    scale, unit = (100.0, "%") if what == "accuracy" else (1.0, "dB")
    found = [curve_of(record.scores, prefix + n, n, scale=scale) for n in in_papers_order(names, objective)]
    curves = [curve for curve in found if curve.x.size]
    if not curves:
        return None
    span = max(float(np.ptp(curve.y)) for curve in curves) or 1.0
    across = Axis(0.0, max(float(record.images), *(float(c.x.max()) for c in curves), 1.0))
    digits = 0 if what == "accuracy" else 2
    rows = []
    for curve in curves:
        first, last = f"{curve.y[0]:.{digits}f}", f"{curve.y[-1]:.{digits}f} {unit}"
        svg = _small(curve, f"{curve.name}: {first} at first, {last} at last", across, _base(curve, what, span))
        rows.append(SmallCurve(curve.name, svg, f"{f'{first} → ' if len(curve.x) > 1 else ''}{last}"))
    alike = f"Each from its own lowest value, over {span:.1f} dB alike."
    return SmallCurves(rows, "All from 0 to 100 %." if what == "accuracy" else alike)


def _small(curve: Curve, label: str, across: Axis, axis: Axis) -> Markup:
    """A curve of 300 by 40 units above a line; its end is thicker."""
    thin = thinned(curve)
    x, y = 300 * across.at(thin.x), 34 - 28 * axis.at(thin.y)
    line = svg_points(np.array([x[0], *x]), np.array([y[0], *y]))  # one point alone would draw nothing
    return Markup(
        '<svg class="c0" viewBox="0 0 300 40" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="base" d="M0 37H300"/><polyline class="run" points="{}"/>'
        '<path class="run" d="M{:.1f} {:.1f}h3" style="stroke-width: 5"/></svg>'
    ).format(escaped(label), line, max(0.0, x[-1] - 3), y[-1])


def _base(curve: Curve, what: str, span: float) -> Axis:
    """The vertical axis of a small curve: levels of PSNR differ far more between entries than any of them changes."""
    return Axis(0, 100) if what == "accuracy" else Axis(float(curve.y.min()), float(curve.y.min()) + span)


def curves_in_numbers(record: Record, most: int = 12) -> list[Table]:
    """The curves as tables, a dozen lines each, spread evenly and ending with the last."""
    tables = []
    for rows, told in ((record.training, "training"), (record.scores, "validation")):
        keys = list(dict.fromkeys(name for row in rows for name in row if name != "seen" and "/" not in name))
        if not keys:
            continue
        places = sorted({round(k) for k in np.linspace(0, len(rows) - 1, min(most, len(rows)))})
        heads = [key.removeprefix("val_").replace("_per_", "/").replace("_", " ") for key in keys]
        values = [[as_number(rows[k].get(key)) for key in keys] for k in places]
        body = [
            [f"{int(rows[k]['seen']):,}", *("–" if v is None else compact(v) for v in line)]
            for k, line in zip(places, values, strict=True)
        ]
        tables.append(Table.of_texts(f"{told} in numbers", ["images seen", *heads], body))
    return tables
