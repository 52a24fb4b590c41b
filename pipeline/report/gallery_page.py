"""The gallery: everything about a dataset that its page tells, around the template gallery.html."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup
from numpy.typing import NDArray

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.format.manifest import Manifest, SampleRow
from patina.pipeline.format.pictures import Box
from patina.pipeline.format.statistics import Captions, Statistics, statistics
from patina.pipeline.format.untrusted import params_of
from patina.pipeline.report.html import escaped, is_digest, render
from patina.pipeline.report.table import Table
from patina.pipeline.text import counted, decibels, human_bytes
from patina.synth.severity import CEILING, LEVELS, level_of

LARGEST = 768
"""Pixels a side up to which an image is shown as a whole; of a larger one, its middle."""

LISTED, NAMED = 200, 12
"""Lines of a list, and names beside a licence, at the most. The rest is counted, and is in the dataset's own files."""

FREQUENT = 16
"""Words of captions that are listed."""


@dataclass(frozen=True)
class Shown:
    """One sample as the page shows it.

    box     the part of the sample's images that is shown. detail: the part of that which is repeated at 1:1.
    lq, gt  data: URIs, as are the truth maps by name.
    """

    row: SampleRow
    source: Mapping[str, Any]
    box: Box
    detail: Box
    lq: str = field(repr=False)
    gt: str = field(repr=False)
    truth: Mapping[str, str] = field(repr=False)


def page(
    manifest: Manifest,
    samples: pa.Table,
    sources: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    *,
    name: str,
    version: int = 0,
) -> str:
    """The whole page of the dataset that is called `name`. `samples` are all rows of samples.parquet, `sources` those
    of sources.parquet; `version` is 0 for a dataset without versions."""
    total = samples.num_rows
    widths = [s.box[2] for s in shown]
    numbers = statistics(samples, sources)
    return render(
        "gallery.html",
        script="gallery.js",
        title=name,
        facts=_facts(manifest, numbers),
        origin=f"Recipe {manifest.recipe['name']}" + (f", version {version}" if version else ""),
        set_aside=counted(len(manifest.set_aside), "input") + " set aside" if manifest.set_aside else "",
        digest=manifest.digest,
        shown="" if len(shown) == total else f"{len(shown):,} of {total:,} samples, spread evenly over all of them.",
        largest=LARGEST,
        listed_most=LISTED,
        named_most=NAMED,
        card=int(np.clip(max(widths, default=0), 260, 340)),
        filters=_filters(shown),
        photographs=_photographs(shown),
        counts=_counts(manifest),
        severity=_severity(numbers),
        psnr=_psnr(samples),
        sizes=_sizes(numbers),
        captions=_captions(numbers.captions),
        labels=_labels(numbers),
        warnings=numbers.warnings,
        refused=manifest.set_aside,
        same=[source["names"] for source in sources if len(source["names"]) > 1],
        notes=manifest.notes,
        licences=_licences(sources),
    )


def _facts(manifest: Manifest, numbers: Statistics) -> str:
    named = [f"{name or 'nobody'} ({count:,})" for name, count in numbers.captions.captioners.items()]
    facts = [
        counted(sum(s.count for s in manifest.shards), "sample"),
        f"of {counted(manifest.sources, 'photograph')}",
        f"in {counted(len(manifest.shards), 'shard')},",
        f"{human_bytes(sum(s.bytes for s in manifest.shards))}.",
        f"Captions by {', '.join(named) or manifest.captioner}.",
    ]
    return " ".join(facts)


# ---------------------------------------------------------------------------------------------------------------------
# Samples


@dataclass(frozen=True)
class _Filter:
    """A row of buttons: what it filters by, and samples by value."""

    name: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class _Picture:
    """An image of a sample. is_repeated: whether the page has its data already, under this id."""

    id: str
    is_repeated: bool
    uri: str = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True)
class _Sample:
    """A sample's card. what: how its pictures are called. detail: the middle of the part at 1:1, pixels of the picture.

    parameters  names, each with its values: most have one, lists have several.
    """

    row: SampleRow
    what: str
    severity: str
    level: str
    width: int
    height: int
    lq: _Picture
    gt: _Picture
    detail: tuple[int, int]
    truth: Mapping[str, str] = field(repr=False)
    has_own_caption: bool
    parameters: Sequence[tuple[str, Sequence[str]]]
    place: str


@dataclass(frozen=True)
class _Photograph:
    """A photograph with its samples. width: of the widest of them, px."""

    caption: str
    names: str
    size: str
    split: str
    rights: str
    width: int
    samples: Sequence[_Sample]


def _filters(shown: Sequence[Shown]) -> list[_Filter]:
    """Three rows of buttons: degradations, splits and levels of severity that are among the samples shown."""
    entries = Counter(s.row.entry for s in shown)
    splits = Counter(s.row.split for s in shown)
    levels = Counter(level_of(s.row.severity) for s in shown)
    return [
        _Filter("degradation", dict(sorted(entries.items()))),
        _Filter("split", {split: splits[split] for split in SPLITS if split in splits}),
        _Filter("severity", {level: levels[level] for level in LEVELS if level in levels}),
    ]


def _photographs(shown: Sequence[Shown]) -> list[_Photograph]:
    """Photographs by name, each with its samples. A picture that several share is in the page once."""
    photographs: dict[str, list[Shown]] = defaultdict(list)
    for one in shown:
        photographs[one.source["content"]].append(one)
    pictures: dict[str, str] = {}
    found = []
    for group in sorted(photographs.values(), key=lambda g: min(s.source["names"][0] for s in g)):
        group.sort(key=lambda s: (s.row.entry, s.row.y, s.row.x, s.row.variant, s.source["names"]))
        row, source = group[0].row, group[0].source
        captions = list(dict.fromkeys(s.row.caption for s in group))
        names = list(dict.fromkeys(name for s in group for name in s.source["names"]))
        licence = f"licence {source['licence']}" if source["licence"] else ""
        found.append(
            _Photograph(
                caption=captions[0],
                names=", ".join(names),
                size=f"{source['width']}×{source['height']} px",
                split=row.split,
                rights=" · ".join(filter(None, (licence, source["attribution"]))),
                width=max(s.box[2] for s in group),
                samples=[_sample(s, names[0], len(captions) > 1, pictures) for s in group],
            )
        )
    return found


def _sample(one: Shown, name: str, captioned: bool, pictures: dict[str, str]) -> _Sample:
    """One sample's card. `pictures` are the ids of those that the page has."""
    row = one.row
    _, _, width, height = one.box
    x, y, w, h = one.detail
    return _Sample(
        row=row,
        what=f"{row.entry}, {name}",
        severity=f"{level_of(row.severity)} · {decibels(row.psnr)}",
        level=level_of(row.severity),
        width=width,
        height=height,
        lq=_picture(one.lq, one, pictures),
        gt=_picture(one.gt, one, pictures),
        detail=(x + w // 2, y + h // 2),
        truth=one.truth,
        has_own_caption=captioned,
        parameters=_parameters(row.params),
        place=_place(one),
    )


def _picture(uri: str, one: Shown, pictures: dict[str, str]) -> _Picture:
    is_repeated = uri in pictures
    name = pictures.setdefault(uri, f"p{len(pictures)}")
    return _Picture(name, is_repeated, uri, one.box[2], one.box[3])


def _parameters(params: str) -> list[tuple[str, list[str]]]:
    """A degradation's parameters by name, in the order of the page."""
    values = params_of(params, "a sample")
    if not values:
        return [("parameters", ["none: the degraded image came with the clean one"])]
    rows = []
    for part, drawn in values.get("parts", [("", values)]):
        order = sorted(drawn.items(), key=lambda item: is_digest(item[1]))  # what tells a reader least comes last
        rows += [(f"{part} {name}".strip().replace("_", " "), _values(value)) for name, value in order]
    return rows


def _values(value: object) -> list[str]:
    """A parameter as texts: one, or those of a list."""
    if isinstance(value, list) and not any(isinstance(v, list | dict) for v in value):
        return [text for v in value for text in _values(v)]
    if value == "":
        return ["–"]
    if isinstance(value, float) and len(repr(value)) > 8:
        return [f"{value:.6g}"]  # samples.parquet has every digit
    return [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]


def _place(one: Shown) -> str:
    """What of the photograph the sample is, and what of the sample is shown."""
    row, source = one.row, one.source
    whole = (row.width, row.height) == (source["width"], source["height"])
    text = f"{row.width}×{row.height} px" + ("" if whole else f" tile at ({row.x}, {row.y})")
    if one.box[2:] != (row.width, row.height):
        text += f"; shown is the middle {one.box[2]}×{one.box[3]} px, cut out and not resized"
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Statistics


def _counts(manifest: Manifest) -> Table:
    """Samples by degradation and split."""
    counts: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards:
        for degradation in (shard.degradation, "all"):
            counts[degradation, shard.split] += shard.count
            counts[degradation, "all"] += shard.count
    splits = [s for s in SPLITS if counts["all", s]]
    columns = [*splits, "all"] if len(splits) > 1 else splits
    degradations = [*sorted({s.degradation for s in manifest.shards}), "all"]
    rows = [[degradation, *(f"{counts[degradation, s]:,}" for s in columns)] for degradation in degradations]
    return Table.of_texts("Samples", ["degradation", *columns], rows)


@dataclass(frozen=True)
class _Plot:
    """A degradation's figure, and its numbers in words."""

    name: str
    figure: Markup
    numbers: str


@dataclass(frozen=True)
class _Plots:
    """Figures on one axis, which goes from one text to the other."""

    rows: Sequence[_Plot]
    axis: tuple[str, str]


@dataclass(frozen=True)
class _Described:
    """A figure, and what it shows in words. axis: its ends. frequent: words with their number."""

    figure: Markup
    text: str
    axis: tuple[str, str] = ("", "")
    frequent: Sequence[tuple[str, int]] = ()


def _severity(numbers: Statistics) -> _Plots:
    """How many samples of each degradation are how severe: bars of STEP points, a dashed line between two levels."""
    rows = []
    for m in numbers.measures:
        said = ", ".join(f"{n:,} {level}" for level, n in zip(LEVELS, m.levels, strict=True) if n)
        label = f"Severity of {m.entry}: {said}; median {m.severity.median:.0f}"
        figure = _bars(m.bars, m.severity.median / 100, label, len(LEVELS))
        rows.append(_Plot(m.entry, figure, f"{m.severity.median:.0f} {level_of(m.severity.median)}"))
    return _Plots(rows, (LEVELS[0], LEVELS[-1]))


def _psnr(samples: pa.Table) -> _Plots:
    """A distribution for each degradation, all on one axis."""
    values, entries = samples["psnr"].to_numpy(), np.array(samples["entry"].to_pylist(), object)
    real = values[values != CEILING]
    low, high = (float(np.floor(real.min())), float(np.ceil(real.max()))) if real.size else (0.0, 1.0)
    rows = []
    for entry in sorted(set(entries)):
        every = values[entries == entry]
        found = every[every != CEILING]
        same = f"{counted(every.size - found.size, 'sample')} identical" if found.size < every.size else ""
        numbers = " / ".join(f"{v:.1f}" for v in _three(found)) if found.size else ""
        figure = _distribution(found, low, high, f"PSNR of {entry} in dB: min, median, max {numbers}")
        rows.append(_Plot(entry, figure, " ".join(filter(None, (numbers, same)))))
    return _Plots(rows, (f"{low:.0f} dB", f"{high:.0f} dB"))


def _three(values: NDArray[Any]) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())


def _distribution(values: NDArray[Any], low: float, high: float, label: str) -> Markup:
    """A strip of single values where they are few, otherwise a histogram; the median as a line."""
    span = max(high - low, 1e-9)
    if values.size == 0:
        shapes = ""
    elif values.size <= 60:
        path = "".join(f"M{(float(v) - low) / span * 300:.1f} 8V32" for v in np.sort(values))
        shapes = f'<path class="strip" d="{path}"/>'
    else:
        bars = np.histogram(values, 60, (low, low + span))[0]
        tall = 32 * bars / bars.max()
        path = "".join(f"M{i * 5} 36v{-h:.1f}h4.4v{h:.1f}z" for i, h in enumerate(tall) if h)
        shapes = f'<path class="bars" d="{path}"/>'
    if values.size:
        middle = (float(np.median(values)) - low) / span * 300
        shapes += f'<path class="median" d="M{middle:.1f} 2V38"/>'
    return _strip(label, shapes)


def _bars(counts: Sequence[int], middle: float, label: str, parts: int = 1) -> Markup:
    """A histogram of counts that are there already; the median as a line at `middle`, 0 to 1, and the figure divided
    into `parts` by dashed lines."""
    wide, top = 300 / len(counts), max(*counts, 1)
    bars = "".join(f"M{i * wide:.1f} 36v{-32 * n / top:.1f}h{wide * 0.88:.1f}V36z" for i, n in enumerate(counts) if n)
    lines = "".join(f"M{i * 300 / parts:.0f} 2V36" for i in range(1, parts))
    return _strip(
        label,
        f'<path class="base thin" d="{lines}"/><path class="bars" d="{bars}"/>'
        f'<path class="median" d="M{300 * middle:.1f} 2V38"/>',
    )


def _strip(label: str, shapes: str) -> Markup:
    """A figure of 300 by 40 units with a base line. shapes: SVG made of numbers alone."""
    frame = Markup(
        '<svg viewBox="0 0 300 40" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="base" d="M0 36H300"/>{}</svg>'
    )
    return frame.format(escaped(label), Markup(shapes))


def _sizes(numbers: Statistics) -> _Described | None:
    """Every photograph as a point, width by height, and in words what the samples have."""
    sides, area = numbers.sources.sides, numbers.sources.megapixels
    if area is None:
        return None
    most = max(max(w, h) for w, h, _ in sides)
    # near sizes fall together, so that a figure of a million photographs stays small
    points: Counter[tuple[int, int]] = Counter()
    for w, h, n in sides:
        points[w * 90 // most, h * 90 // most] += n
    top = max(points.values())
    dots = "".join(
        f'<circle cx="{x * 2.6:.1f}" cy="{240 - y * 2.6:.1f}" r="{3 + 5 * (n / top) ** 0.5 if top > 1 else 4:.1f}"/>'
        for (x, y), n in sorted(points.items())
    )
    order = sorted(sides, key=lambda side: (side[0] * side[1], side))
    ends = np.cumsum([n for _, _, n in order])
    places = (0, int(np.searchsorted(ends, (int(ends[-1]) + 1) // 2)), -1)
    small, middle, large = (f"{order[i][0]}×{order[i][1]}" for i in places)
    words = f"Photographs from {small} to {large} px; the median by area is {middle} px, {area.median:.2f} megapixels."
    if len(numbers.samples.sides) == 1:
        ((w, h, _),) = numbers.samples.sides
        words += f" All samples are {w}×{h} px."
    label = f"Widths and heights of {counted(numbers.sources.count, 'photograph')}. {words}"
    frame = Markup(
        '<svg class="sizes" viewBox="-8 -2 268 262" role="img" aria-label="{}"><path class="base" '
        'd="M0 0V240H240"/><path class="base thin" d="M0 240L240 0"/>{}<text x="240" y="256" text-anchor="end">'
        'width, to {} px</text><text x="6" y="8">height</text></svg>'
    )
    return _Described(frame.format(escaped(label), Markup(dots), most), words)


def _captions(captions: Captions) -> _Described | None:
    """Lengths of captions, and their words that say most; each photograph's counts once."""
    words = captions.words
    if words is None:
        return None
    low, high = int(words.low), int(words.high)
    step = -(-(high - low + 1) // 60)  # words to a bar
    bars = [0] * (-(-(high - low + 1) // step))
    for length, count in captions.lengths.items():
        bars[(length - low) // step] += count
    middle = (words.median - low + 0.5) / (step * len(bars))
    text = (
        f"{counted(captions.distinct, 'different caption')} of {low} to {high} words, {words.median:g} in the median; "
        f"{counted(captions.vocabulary, 'different word')}. The most frequent words, and how many captions hold them:"
    )
    figure = _bars(bars, middle, "Lengths of captions in words")
    return _Described(figure, text, (f"{low}", f"{high} words"), captions.frequent[:FREQUENT])


def _labels(numbers: Statistics) -> str:
    """The mix of labels, and what it means for DA-CLIP's loss."""
    labels = numbers.labels
    floors = " and ".join(f"{nats:.2f} for a batch of {batch:,}" for batch, nats in labels.floors.items())
    return (
        f"{counted(len(labels.counts), 'label')}, entropy {labels.entropy:.2f} nats. DA-CLIP's contrastive loss "
        f"over labels cannot fall far below ln N − H: {floors}."
    )


@dataclass(frozen=True)
class _Rights:
    """Photographs of one licence and attribution. count: how many, in words."""

    licence: str
    attribution: str
    count: str
    names: Sequence[str]


def _licences(sources: Iterable[Mapping[str, Any]]) -> list[_Rights]:
    """Photographs by licence and attribution."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source in sources:
        groups[source["licence"], source["attribution"]].append(source["names"][0])  # pairs may share one name
    return [
        _Rights(licence, attribution, counted(len(names), "photograph"), sorted(set(names)))
        for (licence, attribution), names in sorted(groups.items())
    ]
