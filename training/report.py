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

import base64
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

import patina.pipeline.report
from patina.pipeline.files import write_page
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.report.html import escaped
from patina.pipeline.text import counted, human_seconds
from patina.training import published
from patina.training.errors import StageError
from patina.training.files import DONE, MODEL, SAMPLES, STAGE
from patina.training.models.daclip import DEGRADATIONS
from patina.training.restorer import Origin, origin_of
from patina.training.runs import dataset_digest
from patina.training.stage import Objective, Stage, parse_table
from patina.training.states import STATE, StageFolder

PAGE = "report.html"

EVALUATION, PICTURES = "evaluation.json", "evaluation"
"""In a stage's folder: what the evaluation found, and the folder of its pictures."""

POINTS = 400
"""Points of a curve at the most; a longer one is thinned."""

PICTURE_BYTES = 11_000_000
"""Of all pictures together, as they stand in the page: with the rest it stays below about 12 MB."""

WIDEST, NARROWEST = 1600, 240
"""Widths of a picture, px: it is scaled down to the first, and if need be further, but not below the second."""

DESCRIBED_ORDER = ("noisy", "hazy", "rainy", "motion-blurry", "low-light")
"""VLU-Net's order of tasks: noise, haze, rain, blur, low light."""

Floats: TypeAlias = NDArray[np.float64]
Row: TypeAlias = Mapping[str, Any]


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
    models = {record.name: _origin(record) for record in records if record.model}
    pictures = _encoded([p for record in records for p in record.pictures])
    base = Path(patina.pipeline.report.__file__).with_name("gallery.html").read_text("utf-8")
    style = Template(base.partition("<style>")[2].partition("</style>")[0]).substitute(card=320)
    begun = [record for record in records if record.begun]
    links = [("stages", "Stages"), *((f"stage-{k}", record.name) for k, record in enumerate(begun))]
    page = Template(Path(__file__).with_name("report.html").read_text("utf-8")).substitute(
        style=style,
        title=escaped(_run_name(run)),
        lead=_lead(records),
        facts=_facts(manifest, records, models.values()),
        links="".join(f'<a href="#{a}">{escaped(name)}</a>' for a, name in [*links, ("lineage", "Lineage")]),
        stages=_stages(records, skipped, manifest),
        sections="\n".join(_section(f"stage-{k}", record, pictures) for k, record in enumerate(begun)),
        lineage=_lineage(records, models, manifest),
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
    parts = [f"**{_marked(_run_name(run))}**: {_lead(records)}"]
    parts.append(_markdown_table(*_stage_table(records, skipped)))
    for record in records:
        told = [*record.notes, *record.troubles]
        if record.evaluation is not None:
            parts.append(f"### {_marked(record.name)}\n\n{_marked(_protocol(record.evaluation))}")
            tables = _evaluation_tables(record)
            parts += [f"#### {title}\n\n{_markdown_table(heads, rows)}" for title, heads, rows in tables]
            told += _evaluation_notes(record)
        if told:
            parts.append("\n".join(f"- {_marked(record.name)}: {_marked(note)}" for note in told))
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------------------------------------------------------------
# What is in a run


@dataclass(frozen=True)
class Record:
    """One stage of a run as its folder tells it.

    stage       its settings, None where they cannot be read.
    dataset     the digest of the dataset that it is trained on, empty if unknown.
    begun       whether it has a folder. images: to see in all, 0 if unknown. seen: so far.
    resumes     images after which a start would go on; 0: from the beginning.
    training    lines of metrics.jsonl about steps, and scores: those about validations, both by images seen.
    done        what done.json says, None while the stage is not finished.
    model       whether model.safetensors is there.
    evaluation  as evaluation.json has it, None without one.
    pictures    files to show. troubles: what could not be read.
    """

    name: str
    path: Path
    stage: Stage | None = None
    dataset: str = ""
    begun: bool = False
    images: int = 0
    seen: int = 0
    resumes: int = 0
    training: list[Row] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    done: Row | None = None
    model: bool = False
    evaluation: Row | None = None
    pictures: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """How far it came."""
        if not self.begun:
            return "not begun"
        if self.done is not None:
            return "finished"
        return f"stopped at {self.seen:,} of {f'{self.images:,}' if self.images else 'an unknown number of'} images"

    @property
    def notes(self) -> list[str]:
        """What the training noted, such as memory that ran out."""
        told = _texts(self.done.get("notes")) if self.done else []
        return [note.removeprefix(f"stage {self.name}: ") for note in told]

    @property
    def what(self) -> str:
        """What its validation measures: `psnr`, `accuracy`, or nothing."""
        held = {name for row in self.scores for name in row}
        return next((what for what in ("psnr", "accuracy") if f"val_{what}" in held), "")

    @cached_property
    def pace(self) -> tuple[float, float, float]:
        """Seconds in steps, images a second in them, and the share of the seconds that waited for data; NaN if unknown.

        Summed over the lines, so that stops and restarts do not count.
        """
        seconds = waited = 0.0
        images, before = 0.0, 0.0
        for row in self.training:
            speed, seen = _number(row.get("images_per_s")), float(row["seen"])
            if speed and speed > 0:
                images += seen - before
                seconds += (seen - before) / speed
                waited += (seen - before) / speed * (_number(row.get("waited")) or 0.0)
            before = seen
        return (seconds, images / seconds, waited / seconds) if seconds else (math.nan, math.nan, math.nan)

    @property
    def seconds(self) -> float:
        """How long it took: the longer of the last start and of all steps, as the one lacks restarts, the other
        validations. NaN if unknown."""
        last = _number(self.done.get("seconds")) if self.done else None
        known = [s for s in (last, self.pace[0]) if s is not None and math.isfinite(s)]
        return max(known, default=math.nan)


def read_run(
    run: Path, plan: Mapping[str, Stage] | None = None, evaluations: Mapping[str, Row] | None = None
) -> list[Record]:
    """The stages of a run, each after the one that it starts from. Raises StageError for a folder that is no run."""
    if not run.is_dir():
        raise StageError(f"{run}: no such folder; expected the folder of a run, with a folder for each stage")
    held = sorted(p.parent for p in run.glob(f"*/{STAGE}") if not p.parent.name.endswith(".before"))
    if not held and not plan:
        raise StageError(f"{run}: no run: none of its folders has a {STAGE}; train a stage first")
    found = {path.name: _record(path) for path in held}
    for name, stage in (plan or {}).items():
        found.setdefault(name, Record(name, run / name, stage, images=_images(stage)))
    records = _ordered(found, [*(plan or {}), *sorted(found)], run)
    given = evaluations or {}
    return [replace(r, evaluation=given[r.name]) if r.name in given else r for r in records]


def _ordered(found: Mapping[str, Record], names: Iterable[str], run: Path) -> list[Record]:
    """Records in the order of `names`, but each after the one that it starts from, which may have no folder."""
    done: dict[str, Record] = {}

    def put(name: str, waiting: tuple[str, ...]) -> None:
        if name in done or name in waiting:
            return
        record = found.get(name, Record(name, run / name))
        if record.stage and record.stage.after:
            put(record.stage.after, (*waiting, name))
        done[name] = record

    for name in names:
        put(name, ())
    return list(done.values())


def _record(path: Path) -> Record:
    """A stage from its folder."""
    folder, troubles = StageFolder(path), list[str]()
    held = _json(path / STAGE, troubles)
    stage = None
    try:
        stage = parse_table(held["stage"], path.name)
    except (KeyError, TypeError, StageError) as error:
        if held:
            troubles.append(f"{STAGE}: {error}" if isinstance(error, StageError) else f"{STAGE} lacks the settings")
    done: Row | None = _json(path / DONE, troubles) if (path / DONE).exists() else None
    if done and done.get("fingerprint") != held.get("fingerprint"):
        troubles.append(f"{DONE} is of another training than {STAGE}; start the stage again")
        done = None
    model = (path / MODEL).is_file()
    if done and not model:
        troubles.append(f"{DONE} says that the stage is finished, but there is no {MODEL}; start the stage again")
        done = None
    try:
        rows = [row for row in folder.rows() if isinstance(row, dict) and _number(row.get("seen")) is not None]
    except (OSError, ValueError) as error:
        rows = []
        troubles.append(f"metrics.jsonl cannot be read: {error}")
    rows.sort(key=lambda row: float(row["seen"]))
    states = [int(m[1]) for p in folder.states() if (m := STATE.fullmatch(p.name))]
    evaluation = (_json(path / EVALUATION, troubles) or None) if (path / EVALUATION).exists() else None
    return Record(
        path.name,
        path,
        stage,
        dataset=str(held.get("dataset", "")),
        begun=True,
        images=_images(stage) if stage else 0,
        seen=max([*states, *(int(row["seen"]) for row in rows)], default=0),
        resumes=max(states, default=0),
        training=[row for row in rows if "loss" in row],
        scores=[row for row in rows if any(name.startswith("val_") for name in row)],
        done=done or None,
        model=model,
        evaluation=evaluation,
        pictures=_pictures(path, stage.objective if stage else None),
        troubles=troubles,
    )


def _pictures(path: Path, objective: Objective | None) -> list[Path]:
    """The latest validation's picture, and those of the evaluation, which go by their entries."""
    latest = sorted((path / SAMPLES).glob("*.png"))[-1:]
    files = sorted(p for p in (path / PICTURES).glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    order = in_papers_order({p.stem for p in files}, objective)
    return [*latest, *sorted(files, key=lambda p: order.index(p.stem))]


def _images(stage: Stage) -> int:
    """Images that it will have seen at its end: whole batches."""
    return stage.steps * stage.data.batch


def _json(path: Path, troubles: list[str]) -> dict[str, Any]:
    """The object in a file; an empty one, and a trouble, where there is none."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        troubles.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(table, dict):
        troubles.append(f"{path.name} holds {type(table).__name__}; expected an object")
        return {}
    return table


def _number(value: object) -> float | None:
    """A number, also infinite or NaN; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _texts(value: object) -> list[str]:
    """A list's texts, or none."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _run_name(run: Path) -> str:
    return run.resolve().name or "run"


def in_papers_order(names: Iterable[str], objective: Objective | None = None) -> list[str]:
    """Entries such as `noisy-25` in the order of the paper that the objective is of: by their degradation, then by
    name with numbers as numbers; unknown words and composites last."""
    order = DESCRIBED_ORDER if objective in ("prompts", "described") else DEGRADATIONS

    def place(name: str) -> tuple[int, float, str]:
        for k, word in enumerate(order):
            if name == word or name.startswith(f"{word}-"):
                tail = name[len(word) + 1 :]
                return k, float(tail) if tail.isdecimal() else 0.0, name
        return len(order), 0.0, name

    return sorted(names, key=place)


# ---------------------------------------------------------------------------------------------------------------------
# Curves


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
    points = [(float(row["seen"]), value) for row in rows if (value := _number(row.get(key))) is not None]
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


def chart(
    title: str, unit: str, curves: Sequence[Curve], axis: Axis, images: float, shown: Callable[[float], str]
) -> str:
    """A figure: title, legend with the last values, and curves over images seen. Empty without a point.

    unit    beside the title. images: where the horizontal axis ends at the least. shown: a value in the legend.
    """
    curves = [curve for curve in curves if curve.x.size]
    if not curves:
        return ""
    across = Axis(0.0, max(images, *(float(curve.x.max()) for curve in curves), 1.0))
    drawn = "".join(_drawn(curve, across, axis) for curve in reversed(curves))  # the first is on top
    grid, labels = _grid(across, axis)
    ends = [f"{c.name}: {shown(float(c.y[0]))} at first, {shown(float(c.y[-1]))} at last" for c in curves]
    small = ", ".join(filter(None, (unit, "logarithmic" if axis.log else "")))
    legend = "".join(
        f'<li><svg class="{c.look}" viewBox="0 0 24 8" aria-hidden="true"><path class="run" d="M0 4H24"/></svg>'
        f"{escaped(c.name)} <b>{escaped(shown(float(c.y[-1])))}</b></li>"
        for c in curves
    )
    name = f"{title} ({unit}) over images seen" if unit else f"{title} over images seen"
    return (
        f'<figure class="curve"><figcaption><b>{escaped(title)}</b><small>{escaped(small)}</small>'
        f'<ul class="legend">{legend}</ul></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escaped(name)}</title>'
        f"<desc>{escaped('; '.join(ends))}</desc>"
        f"{grid}{drawn}{labels}</svg></figure>"
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
        outline = _points(x(np.concatenate([along, along[::-1]])), y(np.concatenate([upper, lower[::-1]])))
        band = f'<polygon class="spread" points="{outline}"/>'
    places = _points(x(thin.x), y(thin.y))
    few = 40 if curve.look != "reference" else 1
    marks = "".join(
        f'<circle class="mark" cx="{p.partition(",")[0]}" cy="{p.partition(",")[2]}" r="2.4"/>'
        for p in (places.split(" ") if len(thin.x) <= few else ())
    )
    return f'<g class="{curve.look}">{band}<polyline class="run" points="{places}"/>{marks}</g>'


def _points(x: Floats, y: Floats) -> str:
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
        return _compact(value, 3)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}".replace("-", "−")


def _compact(value: float, digits: int = 4) -> str:
    """A number of so many digits: 0.03124, 12,345, 2e-4."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    if abs(value) >= 1e-3 or value == 0:
        return f"{value:.{digits}g}".replace("-", "−")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return mantissa.rstrip("0").rstrip(".").replace("-", "−") + f"e{int(power)}"


def _curves(record: Record) -> str:
    """All charts of a stage."""
    rows, images = record.training, float(record.images)
    scores = ("psnr", "accuracy")
    aside = {"seen", "rate", "images_per_s", "waited", "loss", *scores}
    terms = sorted({name for row in rows for name in row if name not in aside and not name.startswith("val_")})
    losses = [curve_of(rows, name, name, f"c{k % 5}") for k, name in enumerate(["loss", *terms])]
    rate, speed = curve_of(rows, "rate", "rate"), curve_of(rows, "images_per_s", "images/s")
    waited = curve_of(rows, "waited", "waited", scale=100)
    figures = [chart("Loss", "", losses, axis_of([c for c in losses if c.x.size], log=True), images, _compact)]
    figures += [_score_chart(record, what, images) for what in scores]
    figures += [
        chart("Learning rate", "", [rate], axis_of([rate], low=0), images, lambda v: _compact(v, 3)),
        chart("Speed", "images/s", [speed], axis_of([speed], low=0), images, lambda v: _compact(v, 3)),
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


def _each(record: Record) -> str:
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
        line = _points(np.array([x[0], *x]), np.array([y[0], *y]))  # one point alone would draw nothing
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


def _numbers(record: Record, most: int = 12) -> str:
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
                *(Cell(_compact(v) if (v := _number(rows[k].get(key))) is not None else "–") for key in keys),
            ]
            for k in places
        ]
        tables.append(_table(heads, body, f"{record.name}: {told} in numbers"))
    return f"<details><summary>The curves in numbers</summary>{''.join(tables)}</details>" if tables else ""


# ---------------------------------------------------------------------------------------------------------------------
# Tables


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


def _table(heads: Sequence[Head], rows: Sequence[Sequence[Cell]], told: str, mean: bool = False) -> str:
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


def _markdown_table(heads: Sequence[Head], rows: Sequence[Sequence[Cell]]) -> str:
    rule = ["---", *("---" if head.kind == "text" else "---:" for head in heads[1:])]
    lines = [[_marked(head.text) for head in heads], rule, *([_marked(cell.text) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _marked(text: str) -> str:
    """Text as Markdown that is no markup and stays on its line, in a table too."""
    plain = escaped(text).replace("&#x27;", "'").replace("&quot;", '"').replace("\n", " ").replace("\\", "\\\\")
    return "".join(f"\\{c}" if c in "|`*_[]#~" else c for c in plain)


def _stage_table(records: Sequence[Record], skipped: Collection[str]) -> tuple[list[Head], list[list[Cell]]]:
    """Every stage in a row; a column that would be empty is left out."""
    heads = ["stage", "state", "images seen", "time", "images/s", "waited for data", "score", "network", "starts from"]
    rows = []
    for r in records:
        _, speed, waited = r.pace
        state = r.state + (", skipped: nothing had changed" if r.name in skipped else "")
        if r.begun and r.done is None and r.resumes:
            state += f"; goes on after {r.resumes:,}"
        seen = _number(r.done.get("seen")) if r.done else None
        rows.append(
            [
                r.name,
                state,
                f"{int(seen if seen is not None else r.seen):,}" if r.begun else "–",
                human_seconds(r.seconds) if math.isfinite(r.seconds) else "–",
                _compact(speed, 3),
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


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation


def _decibels(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else _compact(value)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else _compact(value)


def _thousandths(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else _compact(value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if math.isfinite(value) else _compact(value)


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
            "input_psnr": ("degraded", _decibels),
            "psnr": ("restored", _decibels),
            "gain": ("gain", _signed),
            "worst_gain": ("worst image", _signed),
            "best_gain": ("best image", _signed),
            "lost": ("images that lost", lambda value: f"{value:,.0f}"),
        },
        "psnr",
    ),
    Measure("SSIM", {"input_ssim": ("degraded", _thousandths), "ssim": ("restored", _thousandths)}, "ssim"),
    Measure(
        "Luma",
        {
            "input_psnr_y": ("PSNR degraded, dB", _decibels),
            "psnr_y": ("PSNR restored, dB", _decibels),
            "input_ssim_y": ("SSIM degraded", _thousandths),
            "ssim_y": ("SSIM restored", _thousandths),
        },
    ),
    Measure(
        "LPIPS, lower is better",
        {"input_lpips": ("degraded", _thousandths), "lpips": ("restored", _thousandths)},
        "lpips",
    ),
    Measure("FID, lower is better", {"fid": ("restored", _decibels)}, "fid"),
    Measure(
        "Degradation named, and time",
        {"accuracy": ("named rightly", _percent), "seconds": ("seconds an image", lambda value: _compact(value, 3))},
        "accuracy",
    ),
)
"""What an evaluation measures, in the order of its tables. Other numbers stand in a last one, by their keys."""

MEAN = "mean"


def _evaluation_tables(record: Record) -> list[tuple[str, list[Head], list[list[Cell]]]]:
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
    if isinstance(mean, dict) and any(_number(value) is not None for value in mean.values()):
        order.append((MEAN, mean))
    protocol = held.get("protocol")
    papers = published.tables(protocol, rows) if isinstance(protocol, str) else {}
    known = {"count", *(key for measure in MEASURES for key in measure.columns)}
    others = sorted({key for _, row in order for key, v in row.items() if _number(v) is not None} - known)
    shown = {key: (key.replace("_", " "), _compact) for key in others}
    found = []
    for measure in (*MEASURES, Measure("Other figures", shown)):
        columns = [
            (Head(head), [_cell(key, _number(row.get(key)), write) for _, row in order])
            for key, (head, write) in measure.columns.items()
            if any(_number(row.get(key)) is not None for _, row in order)
        ]
        if not columns:
            continue
        if measure.papers == "accuracy" and any(row.get("taken_for") for _, row in order):
            columns.append((Head("taken for", "text"), [Cell(_taken_for(row), "text") for _, row in order]))
        table = papers.get(measure.papers) if measure.papers else None
        columns += _paper_columns(table, [name for name, _ in order], rows) if table else []
        if any(_number(row.get("count")) is not None for _, row in order):
            count = [_cell("count", _number(row.get("count")), lambda v: f"{v:,.0f}") for _, row in order]
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


def _evaluation_notes(record: Record) -> list[str]:
    """The evaluation's own notes, and what the papers' figures are worth."""
    held = record.evaluation or {}
    notes = _texts(held.get("notes"))
    if any(head.kind == "paper" for _, heads, _ in _evaluation_tables(record) for head in heads):
        rows = [str(row.get("entry")) for row in held["rows"] if isinstance(row, dict)]
        sources = sorted({table.source for table in published.tables(str(held["protocol"]), rows).values()})
        notes.insert(0, f"Figures of papers: {', '.join(sources)}; {PAPERS_CAUTION}")
    return notes


PAPERS_CAUTION = "they are of the papers' own test sets, so beside other photographs they show an order of size"


def _protocol(evaluation: Row) -> str:
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


def _evaluated(record: Record) -> str:
    """The evaluation's tables and notes."""
    if record.evaluation is None:
        return ""
    tables = "".join(
        f"<div><h4>{escaped(title)}</h4>"
        f"{_table(heads, rows, f'{record.name}: {title}', rows[-1][0].text == MEAN)}</div>"
        for title, heads, rows in _evaluation_tables(record)
    )
    drawn = f'<div class="measures">{tables}</div>' if tables else "<p>No degradation was evaluated.</p>"
    told = _protocol(record.evaluation)
    notes = _remarks([(note, "") for note in _evaluation_notes(record)])
    return f'<h3 class="part">Evaluation</h3><p class="about">{escaped(told[:1].upper() + told[1:])}.</p>{drawn}{notes}'


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


@dataclass(frozen=True)
class Picture:
    """A picture in the page. uri: data:, empty if it could not be read or had no room, which `told` then says."""

    uri: str
    width: int = 0
    height: int = 0
    told: str = ""


def _encoded(paths: Sequence[Path], room: int = PICTURE_BYTES) -> dict[Path, Picture]:
    """Pictures as JPEG; each may fill its share of what is left of the room, so small ones leave more to others."""
    found = {}
    for k, path in enumerate(paths):
        picture = _jpeg(path, room // (len(paths) - k))
        room -= len(picture.uri)
        found[path] = picture
    return found


def _jpeg(path: Path, room: int) -> Picture:
    """A picture of at most `room` characters, as wide as that lets it be."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        return Picture("", told="could not be read")
    height, width = image.shape[:2]
    across = min(width, WIDEST)
    while True:
        size = (across, max(1, round(height * across / width)))
        scaled = image if across == width else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        # Full chroma: halved, it would hide what restorers do to colours
        how = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        uri = "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", scaled, how)[1].tobytes()).decode()
        if len(uri) <= room:
            return Picture(uri, *size, told="" if across == width else f"scaled to {100 * across / width:.0f} %")
        if across <= NARROWEST:
            return Picture("", told="left out, as the page would be too large")
        across = max(NARROWEST, min(int(across * 0.8), across - 1))


def _shown(record: Record, pictures: Mapping[Path, Picture]) -> str:
    """A stage's pictures with what they are."""
    figures, missing, gains = [], [], _gains(record)
    for path in record.pictures:
        picture, name = pictures[path], path.stem
        if not picture.uri:
            missing.append((f"{path.parent.name}/{path.name} {picture.told}", "trouble"))
            continue
        if path.parent.name == SAMPLES:
            what = f"validation after {int(name):,} images" if name.isdecimal() else f"validation, {name}"
        else:
            what = name + gains.get(name, "")
        figures.append(
            f'<figure><img src="{picture.uri}" width="{picture.width}" height="{picture.height}" '
            f'style="--natural: {picture.width}px" alt="LQ, restored and GT side by side: {escaped(what)}">'
            f"<figcaption>{escaped(', '.join(filter(None, (what, picture.told))))}</figcaption></figure>"
        )
    if not figures and not missing:
        return ""
    note = "LQ | restored | GT, from left to right; recompressed (JPEG, quality 88, full chroma)."
    if any(path.parent.name == PICTURES for path in record.pictures):
        note += " Of an evaluation the image that gained most comes first, the one that gained least last."
    drawn = f'<p class="note below">{note}</p><div class="pictures">{"".join(figures)}</div>' if figures else ""
    return f'<h3 class="part">Pictures</h3>{drawn}{_remarks(missing)}'


def _gains(record: Record) -> dict[str, str]:
    """What each entry of the evaluation gained, for the captions of its pictures."""
    listed = (record.evaluation or {}).get("rows")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    found = {}
    for row in rows:
        gain, worst, best = (_number(row.get(key)) for key in ("gain", "worst_gain", "best_gain"))
        if gain is not None:
            span = f", {_signed(worst)} to {_signed(best)}" if worst is not None and best is not None else ""
            found[str(row.get("entry"))] = f": {_signed(gain)} dB in the mean{span}"
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The page's parts


DATASET_CHANGED = "the dataset has changed since; a start of the stage would train it anew"


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
        return f"<p>Trained on the dataset {name}, {count}, digest {_digest(manifest.digest)}</p>"
    notes = [model[0].notes for model in models if not isinstance(model, str)]
    names = {note.get("dataset", ""): note.get("dataset_folder", "") for note in notes}
    digests = sorted({r.dataset for r in records if r.dataset} | {digest for digest in names if digest})
    if not digests:
        return "<p>Nothing here tells which dataset it was trained on.</p>"
    named = ", ".join(f"<bdi>{escaped(names.get(d, ''))}</bdi> (digest {_digest(d)})" for d in digests)
    return f"<p>Trained on the dataset{'s' if len(digests) > 1 else ''} {named}</p>"


def _digest(digest: str) -> str:
    """A digest's beginning; the rest where a pointer rests on it."""
    if len(digest) <= 16:
        return f"<code>{escaped(digest) or '–'}</code>"
    return f'<abbr title="{escaped(digest)}"><code>{escaped(digest[:16])}…</code></abbr>'


def _stages(records: Sequence[Record], skipped: Collection[str], manifest: Manifest | None) -> str:
    """The table of stages, and what there is to say of each."""
    table = _table(*_stage_table(records, skipped), "Stages of the run")
    remarks = [(f"{r.name}: {note}", "") for r in records for note in r.notes]
    remarks += [(f"{r.name}: {saved}", "") for r in records if (saved := _saved(r))]
    remarks += [(f"{r.name}: {trouble}", "trouble") for r in records for trouble in r.troubles]
    if manifest:
        old = [r for r in records if r.dataset not in ("", manifest.digest)]
        remarks += [(f"{r.name}: {DATASET_CHANGED}", "trouble") for r in old]
    return table + _remarks(remarks)


def _saved(record: Record) -> str:
    """What the frozen parts saved, in words."""
    saved = record.done.get("saved") if record.done else None
    if not isinstance(saved, dict):
        return ""
    parts = [f"{name} {_compact(value, 6)}" for name, v in saved.items() if (value := _number(v)) is not None]
    asked, made = (_number(saved.get(f"texts {what}")) for what in ("asked for", "computed"))
    share = f" ({_share_saved(asked, made)} not computed again)" if asked and made is not None and made < asked else ""
    return f"saved by frozen parts: {', '.join(parts)}{share}" if parts else ""


def _share_saved(asked: float, made: float) -> str:
    """The share that was not computed, rounded down: 100 % would be nothing at all."""
    return f"{math.floor(1000 * (1 - made / asked)) / 10:.1f} %"


def _remarks(told: Sequence[tuple[str, str]]) -> str:
    """Texts as a list, each with its class."""
    items = "".join(f"<li{_class(kind)}>{escaped(text)}</li>" for text, kind in told)
    return f'<ul class="remarks">{items}</ul>' if items else ""


def _section(anchor: str, record: Record, pictures: Mapping[Path, Picture]) -> str:
    """One stage: what it is, its curves, its evaluation and its pictures."""
    stage = record.stage
    about = ""
    if stage:
        parts = [f"{stage.network}, {stage.objective}", f"{stage.images:,} images in batches of {stage.data.batch:,}"]
        parts += [f"crops of {stage.data.crop} px"] if stage.data.crop else []
        parts += [stage.precision, f"seed {stage.seed}", record.state]
        about = f'<p class="about">{escaped(" · ".join(parts))}</p>'
    settings = json.dumps(stage.table(), indent=1, ensure_ascii=False) if stage else ""
    curves = _curves(record) or '<p class="about">No step has been logged yet.</p>'
    return (
        f'<section id="{anchor}"><h2 dir="auto">{escaped(record.name)}</h2>{about}{curves}{_each(record)}'
        f"{_evaluated(record)}{_shown(record, pictures)}{_numbers(record)}"
        + (f"<details><summary>All settings</summary><pre>{escaped(settings)}</pre></details>" if settings else "")
        + "</section>"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Lineage


def _origin(record: Record) -> tuple[Origin, str] | str:
    """What a stage's model says of itself, with its digest; or why it cannot be read."""
    try:
        origin, held = origin_of(record.path / MODEL)
    except (ValueError, KeyError, TypeError) as error:  # CheckpointError and StageError are ValueErrors
        return str(error).replace(f"{record.path}/", "")
    return origin, held.digest


def _lineage(
    records: Sequence[Record], models: Mapping[str, tuple[Origin, str] | str], manifest: Manifest | None
) -> str:
    """Every model's notes, and whether they agree with each other and with the dataset."""
    digests = {name: model[1] for name, model in models.items() if not isinstance(model, str)}
    parts = []
    for record in records:
        model = models.get(record.name)
        if model is None:
            continue
        if isinstance(model, str):
            parts.append(
                f'<article class="origin"><h3>{escaped(record.name)}</h3>{_remarks([(model, "trouble")])}</article>'
            )
            continue
        origin, digest = model
        notes = {name: value for name, value in origin.notes.items() if name != "stage"}
        items = [("model", _digest(digest)), ("network", escaped(origin.stage.network))]
        items += [(escaped(name.replace("_", " ")), _note(name, value, origin.stage)) for name, value in notes.items()]
        rows = "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in items)
        troubles = [(told, "trouble") for told in _disagreements(record, origin, digest, digests, manifest)]
        parts.append(
            f'<article class="origin"><h3>{escaped(record.name)}</h3>{_remarks(troubles)}<dl>{rows}</dl></article>'
        )
    return "".join(parts) or '<p class="about">No stage is finished yet.</p>'


def _note(name: str, value: str, stage: Stage) -> str:
    """A note as HTML: digests shortened, lists as words, numbers with separators."""
    if name in ("fingerprint", "dataset", "start"):
        of = f" {escaped(stage.after)}" if name == "start" and stage.after else ""
        return f"{_digest(value)}{of}" if value else "–"
    if name == "seen" and value.isdecimal():
        return f"{int(value):,} images"
    if value.startswith("["):
        try:
            return escaped(", ".join(str(one) for one in json.loads(value))) or "–"
        except (ValueError, TypeError):
            return escaped(value)
    return escaped(value) or "–"


def _disagreements(
    record: Record, origin: Origin, digest: str, digests: Mapping[str, str], manifest: Manifest | None
) -> list[str]:
    """What does not fit together, with what to do."""
    found = []
    if record.done and record.done.get("model") != digest:
        found.append(f"{MODEL} is not the one that {DONE} names; start the stage again")
    after = origin.stage.after
    if after in digests and digests[after] != origin.notes.get("start", ""):
        found.append(f"it was trained on another {after} than the one in this run; train it again")
    if manifest and origin.notes.get("dataset") not in (None, manifest.digest):
        found.append(DATASET_CHANGED)
    return found
