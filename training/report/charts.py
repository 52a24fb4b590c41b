"""Curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from patina.pipeline.report.html import escaped
from patina.training.numbers import Floats, Row, as_number, compact

POINTS = 400
"""Points of a curve at the most; a longer one is thinned."""


@dataclass(frozen=True)
class Curve:
    """A line of a chart: y over x, both finite and of one length. look: the class that colours it."""

    name: str
    x: Floats
    y: Floats
    look: str = "c0"


@dataclass(frozen=True)
class Thinned:
    """A curve in stretches: the mean of each (x, y), its least and largest y, its first and last x."""

    x: Floats
    y: Floats
    low: Floats
    high: Floats
    first: Floats
    last: Floats


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` along a length; `log`: by their logarithm."""

    low: float
    high: float
    log: bool = False

    def at(self, values: Floats) -> Floats:
        """Where values lie, from 0 to 1."""
        if self.log:
            return np.asarray(np.log(values / self.low) / math.log(self.high / self.low))
        return np.asarray((values - self.low) / (self.high - self.low))

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Round values on it, at most `most`, with their labels."""
        if self.log:
            return _log_ticks(self.low, self.high, most)
        step = _step(self.low, self.high, most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(k * step, _label(k * step, step)) for k in range(first, last + 1)]


def curve_of(rows: Iterable[Row], key: str, name: str, look: str = "c0", scale: float = 1.0) -> Curve:
    """The finite values of `key` over images seen, times `scale`."""
    points = [(float(row["seen"]), value) for row in rows if (value := as_number(row.get(key))) is not None]
    x, y = (np.array(v, np.float64) for v in (zip(*points, strict=True) if points else ((), ())))
    finite = np.isfinite(y) & np.isfinite(x)
    return Curve(name, x[finite], y[finite] * scale, look)


def thinned(curve: Curve, most: int = POINTS) -> Thinned:
    """A curve of at most `most` stretches of about as many points each; a short one is itself."""
    parts = [np.arange(len(curve.x))] if not len(curve.x) else np.array_split(np.arange(len(curve.x)), most)
    parts = [part for part in parts if part.size]

    def over(values: Floats, what: Callable[[Floats], float]) -> Floats:
        return np.array([what(values[part]) for part in parts], np.float64)

    return Thinned(
        x=over(curve.x, lambda v: float(v.mean())),
        y=over(curve.y, lambda v: float(v.mean())),
        low=over(curve.y, lambda v: float(v.min())),
        high=over(curve.y, lambda v: float(v.max())),
        first=over(curve.x, lambda v: float(v[0])),
        last=over(curve.x, lambda v: float(v[-1])),
    )


def axis_of(curves: Sequence[Curve], *, low: float | None = None, high: float | None = None, log: bool = False) -> Axis:
    """An axis that holds every value, and `low` and `high` where given.

    log: whether it may be logarithmic; it is if all values are above zero and the largest is 20 times the least.
    """
    values = np.concatenate([curve.y for curve in curves]) if curves else np.zeros(0)
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if log and least > 0 and most >= 20 * least:
        return Axis(least / 1.15, most * 1.15, log=True)
    least, most = (min(least, low) if low is not None else least), (max(most, high) if high is not None else most)
    room = 0.06 * (most - least) or 0.05 * abs(most) or 0.5
    return Axis(least if least == low else least - room, most if most == high else most + room)


WIDTH, HEIGHT = 440, 240
"""Units of a chart, of which letters are 12.5 high."""

LEFT, RIGHT, TOP, BOTTOM = 58.0, 432.0, 10.0, 196.0
"""The frame of a chart: where its axes cross and end."""


@dataclass(frozen=True)
class Named:
    """A curve in a legend: its class, its name and its last value."""

    look: str
    name: str
    last: str


@dataclass(frozen=True)
class Chart:
    """Curves over images seen. unit: what the vertical axis has, beside the title."""

    title: str
    unit: str
    legend: Sequence[Named]
    svg: Markup


def chart(
    title: str, unit: str, curves: Sequence[Curve], axis: Axis, images: float, shown: Callable[[float], str]
) -> Chart | None:
    """Title, legend with the last values, and curves over images seen; None without a point.

    unit    beside the title. images: where the horizontal axis ends at the least. shown: a value in the legend.
    """
    curves = [curve for curve in curves if curve.x.size]
    if not curves:
        return None
    across = Axis(0.0, max(images, *(float(curve.x.max()) for curve in curves), 1.0))
    drawn = "".join(_drawn(curve, across, axis) for curve in reversed(curves))  # the first is on top
    grid, labels = _grid(across, axis)
    ends = [f"{c.name}: {shown(float(c.y[0]))} at first, {shown(float(c.y[-1]))} at last" for c in curves]
    name = f"{title} ({unit}) over images seen" if unit else f"{title} over images seen"
    frame = Markup('<svg viewBox="0 0 {} {}" role="img"><title>{}</title><desc>{}</desc>{}</svg>')
    return Chart(
        title,
        ", ".join(filter(None, (unit, "logarithmic" if axis.log else ""))),
        [Named(curve.look, curve.name, shown(float(curve.y[-1]))) for curve in curves],
        # Grid, curves and labels are made of numbers and our own words alone
        frame.format(WIDTH, HEIGHT, escaped(name), escaped("; ".join(ends)), Markup(grid + drawn + labels)),
    )


def _drawn(curve: Curve, across: Axis, axis: Axis) -> str:
    """A curve's band, if it is thinned, its line, and its points, if they are few."""
    thin = thinned(curve)

    def x(values: Floats) -> Floats:
        return LEFT + (RIGHT - LEFT) * across.at(values)

    def y(values: Floats) -> Floats:
        return BOTTOM - (BOTTOM - TOP) * axis.at(values)

    band = ""
    if len(curve.x) > len(thin.x):
        # Stretches as wide as they are: slopes from middle to middle would leave points outside
        along = np.stack([thin.first, thin.last], axis=1).ravel()
        upper, lower = (np.repeat(v, 2) for v in (thin.high, thin.low))
        outline = svg_points(x(np.concatenate([along, along[::-1]])), y(np.concatenate([upper, lower[::-1]])))
        band = f'<polygon class="spread" points="{outline}"/>'
    places = svg_points(x(thin.x), y(thin.y))
    few = 40 if curve.look != "reference" else 1
    marks = "".join(
        f'<circle class="mark" cx="{p.partition(",")[0]}" cy="{p.partition(",")[2]}" r="2.4"/>'
        for p in (places.split(" ") if len(thin.x) <= few else ())
    )
    return f'<g class="{curve.look}">{band}<polyline class="run" points="{places}"/>{marks}</g>'


def svg_points(x: Floats, y: Floats) -> str:
    """Points as SVG's polylines have them."""
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _grid(across: Axis, axis: Axis) -> tuple[str, str]:
    """Lines at the ticks, and their labels with the name of the horizontal axis."""
    lines, labels = [f'<path class="grid" d="M{LEFT} {BOTTOM}H{RIGHT}"/>'], []
    for value, label in axis.ticks(6):
        y = BOTTOM - (BOTTOM - TOP) * float(axis.at(np.array(value)))
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        labels.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for value, label in across.ticks(4):
        x = LEFT + (RIGHT - LEFT) * float(across.at(np.array(value)))
        wide = x + 3.8 * len(label) > WIDTH  # half of its letters: it would be cut off
        anchor, x_text = ("end", WIDTH) if wide else ("middle", x)
        lines.append(f'<path class="grid" d="M{x:.1f} {BOTTOM}v5"/>')
        labels.append(f'<text x="{x_text:.1f}" y="{BOTTOM + 19}" text-anchor="{anchor}">{label}</text>')
    labels.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 38}" text-anchor="middle">images seen</text>')
    return "".join(lines), "".join(labels)


def _step(low: float, high: float, most: int) -> float:
    """The least of 1, 2, 5, 10, … that gives at most `most` multiples from `low` to `high`."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        if math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1 <= most:
            break
    return step


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Powers of ten, each n-th if they are many, with their 2- and 5-folds if they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(values) <= most:
            break
    values = values[:: -(-len(values) // most)]
    return [(value, _label(value, 10.0 ** math.floor(math.log10(value)))) for value in values]


def _label(value: float, step: float) -> str:
    """A tick's label: 20,000, 0.05, 2e-4."""
    if abs(value) < step / 2:
        return "0"
    if step < 1e-4:
        return compact(value, 3)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}".replace("-", "−")
