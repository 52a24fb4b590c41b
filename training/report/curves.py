"""The curves of a stage: losses, learning rate, scores."""

from __future__ import annotations

import numpy as np

from patina.pipeline.report.html import escaped
from patina.training.evaluation.paper_tables import in_papers_order
from patina.training.report.charts import POINTS, Axis, Curve, axis_of, chart, curve_of, svg_points, thinned
from patina.training.report.numbers import as_number, compact
from patina.training.report.record import Record
from patina.training.report.tables import Cell, Head, html_table


def html_curves(record: Record) -> str:
    """All charts of a stage."""
    rows, images = record.training, float(record.images)
    scores = ("psnr", "accuracy")
    aside = {"seen", "rate", "images_per_s", "waited", "loss", *scores}
    terms = sorted({name for row in rows for name in row if name not in aside and not name.startswith("val_")})
    losses = [curve_of(rows, name, name, f"c{k % 5}") for k, name in enumerate(["loss", *terms])]
    rate, speed = curve_of(rows, "rate", "rate"), curve_of(rows, "images_per_s", "images/s")
    waited = curve_of(rows, "waited", "waited", scale=100)
    figures = [chart("Loss", "", losses, axis_of([c for c in losses if c.x.size], log=True), images, compact)]
    figures += [_score_chart(record, what, images) for what in scores]
    figures += [
        chart("Learning rate", "", [rate], axis_of([rate], low=0), images, lambda v: compact(v, 3)),
        chart("Speed", "images/s", [speed], axis_of([speed], low=0), images, lambda v: compact(v, 3)),
        chart("Time waited for data", "%", [waited], axis_of([waited], low=0, high=10), images, lambda v: f"{v:.1f} %"),
    ]
    drawn = "".join(figures)
    long = len(rows) > POINTS
    note = f"Means of {POINTS} stretches; the bands hold every value." if long else ""
    return f'<div class="curves">{drawn}</div>{f"<p class=note>{note}</p>" if note else ""}' if drawn else ""


def _score_chart(record: Record, what: str, images: float) -> str:
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


def html_small_curves(record: Record) -> str:
    """The validation of every entry as a small curve, equally steep where it changes as fast."""
    what = record.what
    prefix = f"val_{what}/"
    names = {name.removeprefix(prefix) for row in record.scores for name in row if what and name.startswith(prefix)}
    objective = record.stage.objective if record.stage else None
    scale, unit = (100.0, "%") if what == "accuracy" else (1.0, "dB")
    found = [curve_of(record.scores, prefix + n, n, scale=scale) for n in in_papers_order(names, objective)]
    curves = [curve for curve in found if curve.x.size]
    if not curves:
        return ""
    span = max(float(np.ptp(curve.y)) for curve in curves) or 1.0
    across = Axis(0.0, max(float(record.images), *(float(c.x.max()) for c in curves), 1.0))
    digits = 0 if what == "accuracy" else 2
    rows = []
    for curve in curves:
        thin = thinned(curve)
        first, last = f"{curve.y[0]:.{digits}f}", f"{curve.y[-1]:.{digits}f} {unit}"
        x, y = 300 * across.at(thin.x), 34 - 28 * _base(curve, what, span).at(thin.y)
        line = svg_points(np.array([x[0], *x]), np.array([y[0], *y]))  # one point alone would draw nothing
        ending = f'<path class="run" d="M{max(0.0, x[-1] - 3):.1f} {y[-1]:.1f}h3" style="stroke-width: 5"/>'
        label = f"{escaped(curve.name)}: {first} at first, {last} at last"
        rows.append(
            f'<li><span>{escaped(curve.name)}</span><svg class="c0" viewBox="0 0 300 40" preserveAspectRatio="none" '
            f'role="img" aria-label="{label}"><path class="base" d="M0 37H300"/><polyline class="run" points="{line}"/>'
            f"{ending}</svg><span>{f'{first} → ' if len(curve.x) > 1 else ''}{last}</span></li>"
        )
    ends = (
        "All from 0 to 100 %." if what == "accuracy" else f"Each from its own lowest value, over {span:.1f} dB alike."
    )
    head = '<li class="head"><span>degradation</span><span>first → last</span></li>'
    return (
        '<h3 class="part">Validation by degradation</h3>'
        f'<ul class="plots each">{head}{"".join(rows)}</ul><p class="note below">{ends}</p>'
    )


def _base(curve: Curve, what: str, span: float) -> Axis:
    """The vertical axis of a small curve: levels of PSNR differ far more between entries than any of them changes."""
    return Axis(0, 100) if what == "accuracy" else Axis(float(curve.y.min()), float(curve.y.min()) + span)


def html_numbers(record: Record, most: int = 12) -> str:
    """The curves as tables, a dozen lines each, spread evenly and ending with the last."""
    tables = []
    for rows, told in ((record.training, "training"), (record.scores, "validation")):
        keys = list(dict.fromkeys(name for row in rows for name in row if name != "seen" and "/" not in name))
        if not keys:
            continue
        places = sorted({round(k) for k in np.linspace(0, len(rows) - 1, min(most, len(rows)))})
        heads = [
            Head("images seen"),
            *(Head(key.removeprefix("val_").replace("_per_", "/").replace("_", " ")) for key in keys),
        ]
        body = [
            [
                Cell(f"{int(rows[k]['seen']):,}"),
                *(Cell(compact(v) if (v := as_number(rows[k].get(key))) is not None else "–") for key in keys),
            ]
            for k in places
        ]
        tables.append(html_table(heads, body, f"{record.name}: {told} in numbers"))
    return f"<details><summary>The curves in numbers</summary>{''.join(tables)}</details>" if tables else ""
