"""The gallery's words and figures: everything about a dataset that becomes HTML, around the template gallery.html.

File names, captions and attributions come from anywhere, so every text goes through `escaped`; the page's own policy
(`Content-Security-Policy`) forbids any request and any script but its one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.format.manifest import Manifest, SampleRow
from patina.pipeline.format.statistics import Captions, Statistics, statistics
from patina.pipeline.report.html import escaped, is_digest
from patina.pipeline.report.pictures import Box
from patina.pipeline.text import counted, decibels, human_bytes
from patina.synth.severity import CEILING, WORDS, word_of

LARGEST = 768
"""Pixels a side up to which an image is shown as a whole; of a larger one, its middle."""

LISTED = 200
"""Lines of a list at the most. The rest is counted, and is in the dataset's own files."""

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


def page(manifest: Manifest, samples: pa.Table, sources: Sequence[Mapping[str, Any]], shown: Sequence[Shown]) -> str:
    """The whole page. `samples` are all rows of samples.parquet, `sources` those of sources.parquet."""
    template = Path(__file__).with_name("gallery.html").read_text("utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    total = samples.num_rows
    aside = f' <a href="#aside">{counted(len(manifest.set_aside), "input")} set aside</a>' if manifest.set_aside else ""
    widths = [s.box[2] for s in shown]
    numbers = statistics(samples, sources)
    return Template(template).substitute(
        policy=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=escaped(manifest.recipe["name"]),
        facts=_facts(manifest, numbers) + aside,
        digest=manifest.digest,
        shown="" if len(shown) == total else f"{len(shown):,} of {total:,} samples, spread evenly over all of them.",
        largest=LARGEST,
        card=int(np.clip(max(widths, default=0), 260, 340)),
        filters=_filters(shown),
        samples=_samples(shown),
        counts=_counts(manifest),
        severity=_severity(numbers),
        psnr=_psnr(samples),
        sizes=_sizes(numbers),
        captions=_captions(numbers.captions),
        labels=_labels(numbers),
        aside=_aside(manifest, sources),
        licences=_licences(sources),
    )


def _facts(manifest: Manifest, numbers: Statistics) -> str:
    named = [f"{escaped(name or 'nobody')} ({count:,})" for name, count in numbers.captions.captioners.items()]
    facts = [
        counted(sum(s.count for s in manifest.shards), "sample"),
        f"of {counted(manifest.sources, 'photograph')}",
        f"in {counted(len(manifest.shards), 'shard')},",
        f"{human_bytes(sum(s.bytes for s in manifest.shards))}.",
        f"Captions by {', '.join(named) or escaped(manifest.captioner)}.",
    ]
    return " ".join(facts)


# ---------------------------------------------------------------------------------------------------------------------
# Samples


def _filters(shown: Sequence[Shown]) -> str:
    """Two rows of buttons: degradations and splits that are among the samples shown."""
    words = Counter(s.row.entry for s in shown)
    splits = Counter(s.row.split for s in shown)
    parts = []
    groups = (("degradation", sorted(words), words), ("split", [s for s in SPLITS if s in splits], splits))
    for name, values, counts in groups:
        buttons = [f'<button type="button" data-filter="{name}" data-value="" aria-pressed="true">all</button>']
        buttons += [
            f'<button type="button" data-filter="{name}" data-value="{escaped(v)}" aria-pressed="false">{escaped(v)} '
            f"<small>{counts[v]}</small></button>"
            for v in values
        ]
        parts.append(f'<div role="group" aria-label="Show {name}"><span>{name}</span>{"".join(buttons)}</div>')
    return "".join(parts)


def _samples(shown: Sequence[Shown]) -> str:
    """Sections of photographs by name, and in each its samples. A picture that several share is in the page once."""
    photographs: dict[str, list[Shown]] = defaultdict(list)
    for one in shown:
        photographs[one.source["content"]].append(one)
    pictures: dict[str, str] = {}
    sections = []
    for group in sorted(photographs.values(), key=lambda g: min(s.source["names"][0] for s in g)):
        group.sort(key=lambda s: (s.row.entry, s.row.y, s.row.x, s.row.variant, s.source["names"]))
        first = group[0]
        captions = list(dict.fromkeys(s.row.caption for s in group))
        names = list(dict.fromkeys(name for s in group for name in s.source["names"]))
        licence = first.source["licence"]
        rights = " · ".join(filter(None, (f"licence {licence}" if licence else "", first.source["attribution"])))
        facts = [
            f"<bdi>{', '.join(escaped(name) for name in names)}</bdi>",
            f"{first.source['width']}×{first.source['height']} px",
            escaped(first.row.split),
            f"<bdi>{escaped(rights)}</bdi>" if rights else "",
        ]
        room = f"--n: {len(group)}; --width: {max(s.box[2] for s in group)}px"
        cards = "".join(_card(s, names[0], len(captions) > 1, pictures) for s in group)
        sections.append(
            f'<section class="photograph"><h3 dir="auto">{escaped(captions[0]) or "(no caption)"}</h3>'
            f'<p class="facts">{" <i>·</i> ".join(filter(None, facts))}</p>'
            f'<div class="cards" style="{room}">{cards}</div></section>'
        )
    return "\n".join(sections)


def _card(one: Shown, name: str, captioned: bool, pictures: dict[str, str]) -> str:
    """One sample: slider, 1:1 detail, truth maps and facts. `pictures` are the ids of those that the page has."""
    row = one.row
    _, _, width, height = one.box
    word = escaped(row.entry)
    what = f"{word}, {escaped(name)}"
    lq = _picture(one.lq, one, f"LQ, {word}: {escaped(row.caption)}", pictures)
    gt = _picture(one.gt, one, f"GT: {escaped(row.caption)}", pictures)
    x, y, w, h = one.detail
    detail = "".join(
        f'<figure><span data-as="{pictures[uri]}" data-alt=""></span><figcaption>{side}</figcaption></figure>'
        for side, uri in (("LQ", one.lq), ("GT", one.gt))
    )
    maps = "".join(
        f'<button type="button" class="map" data-name="{escaped(kind)}"><img src="{uri}" width="{width}" '
        f'height="{height}" alt="{escaped(kind)} of {what}"><span>{escaped(kind)}</span></button>'
        for kind, uri in one.truth.items()
    )
    return f"""
<article class="sample" style="--width: {width}px" data-degradation="{word}" data-split="{escaped(row.split)}">
<h4>{word}{f" <small>variant {row.variant}</small>" if row.variant else ""}
<span>{escaped(word_of(row.severity))} · {decibels(row.psnr)}</span></h4>
<div class="slider" data-what="{what}">{gt}<span class="tag">GT</span>
<div class="over">{lq}<span class="tag">LQ</span></div><i></i>
<input type="range" min="0" max="100" step="2" value="50" aria-label="Divider between LQ and GT: {what}"></div>
<p class="scale"><span></span><button type="button" class="open">view at 1:1</button></p>
<div class="detail" data-x="{x + w // 2}" data-y="{y + h // 2}" hidden>{detail}</div>
{f'<div class="maps">{maps}</div>' if maps else ""}
{f'<p class="own" dir="auto">{escaped(row.caption)}</p>' if captioned else ""}
<p class="said">{escaped(row.sentence)}</p>
<dl>{_parameters(row.params)}{_item("image", _place(one))}{_item("key", f"<code>{escaped(row.key)}</code>")}</dl>
</article>"""


def _picture(uri: str, one: Shown, alt: str, pictures: dict[str, str]) -> str:
    """An image element; its data are in the page once, and a script copies them to where they come again."""
    if uri in pictures:
        return f'<span data-as="{pictures[uri]}" data-alt="{alt}"></span>'
    pictures[uri] = f"p{len(pictures)}"
    return f'<img id="{pictures[uri]}" src="{uri}" width="{one.box[2]}" height="{one.box[3]}" alt="{alt}">'


def _parameters(params: str) -> str:
    """A degradation's parameters, one a line."""
    values = json.loads(params)
    if not values:
        return _item("parameters", "none: the degraded image came with the clean one")
    rows = []
    for word, drawn in values.get("parts", [("", values)]):
        order = sorted(drawn.items(), key=lambda item: is_digest(item[1]))  # what tells a reader least comes last
        rows += [_item(escaped(f"{word} {name}".strip().replace("_", " ")), _value(value)) for name, value in order]
    return "".join(rows)


def _value(value: object) -> str:
    if value == "":
        return "–"
    if isinstance(value, float) and len(repr(value)) > 8:
        return f"{value:.6g}"  # samples.parquet has every digit
    if isinstance(value, str):
        return f"<code>{escaped(value)}</code>" if is_digest(value) else escaped(value)
    if isinstance(value, list) and not any(isinstance(v, list | dict) for v in value):
        return ", ".join(_value(v) for v in value)
    return escaped(json.dumps(value, ensure_ascii=False))


def _place(one: Shown) -> str:
    """What of the photograph the sample is, and what of the sample is shown."""
    row, source = one.row, one.source
    whole = (row.width, row.height) == (source["width"], source["height"])
    text = f"{row.width}×{row.height} px" + ("" if whole else f" tile at ({row.x}, {row.y})")
    if one.box[2:] != (row.width, row.height):
        text += f"; shown is the middle {one.box[2]}×{one.box[3]} px, cut out and not resized"
    return text


def _item(term: str, description: str) -> str:
    return f"<div><dt>{term}</dt><dd>{description}</dd></div>"


# ---------------------------------------------------------------------------------------------------------------------
# Statistics


def _counts(manifest: Manifest) -> str:
    """Samples by degradation and split."""
    counts: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards:
        for word in (shard.degradation, "all"):
            counts[word, shard.split] += shard.count
            counts[word, "all"] += shard.count
    splits = [s for s in SPLITS if counts["all", s]]
    columns = [*splits, "all"] if len(splits) > 1 else splits
    head = "".join(f'<th scope="col">{s}</th>' for s in columns)
    body = "".join(
        f'<tr><th scope="row">{escaped(word)}</th>'
        + "".join(f"<td>{counts[word, s]:,}</td>" for s in columns)
        + "</tr>"
        for word in [*sorted({s.degradation for s in manifest.shards}), "all"]
    )
    return f'<table><thead><tr><th scope="col">degradation</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _severity(numbers: Statistics) -> str:
    """How many samples of each degradation are how severe: bars of STEP points, a dashed line between two words."""
    rows = []
    for m in numbers.measures:
        said = ", ".join(f"{n:,} {word}" for word, n in zip(WORDS, m.words, strict=True) if n)
        label = f"Severity of {m.entry}: {said}; median {m.severity.median:.0f}"
        figure = _bars(m.bars, m.severity.median / 100, label, len(WORDS))
        value = f"{m.severity.median:.0f} {word_of(m.severity.median)}"
        rows.append(f"<li><span>{escaped(m.entry)}</span>{figure}<span>{value}</span></li>")
    axis = f"<span>{WORDS[0]}</span><span>{WORDS[-1]}</span>"
    return (
        '<ul class="plots short"><li class="head"><span>degradation</span><span>median, of 100</span></li>'
        f'{"".join(rows)}<li><div class="axis">{axis}</div></li></ul>'
    )


def _psnr(samples: pa.Table) -> str:
    """A distribution for each degradation, all on one axis."""
    values, words = samples["psnr"].to_numpy(), np.array(samples["entry"].to_pylist(), object)
    real = values[values != CEILING]
    low, high = (float(np.floor(real.min())), float(np.ceil(real.max()))) if real.size else (0.0, 1.0)
    rows = []
    for word in sorted(set(words)):
        every = values[words == word]
        found = every[every != CEILING]
        same = f"{counted(every.size - found.size, 'sample')} identical" if found.size < every.size else ""
        numbers = " / ".join(f"{v:.1f}" for v in _three(found)) if found.size else ""
        figure = _distribution(found, low, high, f"PSNR of {word} in dB: min, median, max {numbers}")
        rows.append(
            f"<li><span>{escaped(word)}</span>{figure}<span>{' '.join(filter(None, (numbers, same)))}</span></li>"
        )
    return (
        '<ul class="plots"><li class="head"><span>degradation</span><span>min / median / max, dB</span></li>'
        f'{"".join(rows)}<li><div class="axis"><span>{low:.0f} dB</span><span>{high:.0f} dB</span></div></li></ul>'
    )


def _three(values: NDArray[Any]) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())


def _distribution(values: NDArray[Any], low: float, high: float, label: str) -> str:
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
    return (
        f'<svg viewBox="0 0 300 40" preserveAspectRatio="none" role="img" aria-label="{escaped(label)}">'
        f'<path class="base" d="M0 36H300"/>{shapes}</svg>'
    )


def _bars(counts: Sequence[int], middle: float, label: str, parts: int = 1) -> str:
    """A histogram of counts that are there already; the median as a line at `middle`, 0 to 1, and the figure divided
    into `parts` by dashed lines."""
    wide, top = 300 / len(counts), max(*counts, 1)
    bars = "".join(f"M{i * wide:.1f} 36v{-32 * n / top:.1f}h{wide * 0.88:.1f}V36z" for i, n in enumerate(counts) if n)
    lines = "".join(f"M{i * 300 / parts:.0f} 2V36" for i in range(1, parts))
    return (
        f'<svg viewBox="0 0 300 40" preserveAspectRatio="none" role="img" aria-label="{escaped(label)}">'
        f'<path class="base" d="M0 36H300"/><path class="base thin" d="{lines}"/>'
        f'<path class="bars" d="{bars}"/><path class="median" d="M{300 * middle:.1f} 2V38"/></svg>'
    )


def _sizes(numbers: Statistics) -> str:
    """Every photograph as a point, width by height, and in words what the samples have."""
    sides, area = numbers.sources.sides, numbers.sources.megapixels
    if area is None:
        return ""
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
    return (
        f'<svg class="sizes" viewBox="-8 -2 268 262" role="img" aria-label="{label}"><path class="base" '
        f'd="M0 0V240H240"/><path class="base thin" d="M0 240L240 0"/>{dots}<text x="240" y="256" text-anchor="end">'
        f'width, to {most} px</text><text x="6" y="8">height</text></svg><p>{words}</p>'
    )


def _captions(captions: Captions) -> str:
    """Lengths of captions, and their words that say most; each photograph's counts once."""
    words = captions.words
    if words is None:
        return ""
    low, high = int(words.low), int(words.high)
    step = -(-(high - low + 1) // 60)  # words to a bar
    bars = [0] * (-(-(high - low + 1) // step))
    for length, count in captions.lengths.items():
        bars[(length - low) // step] += count
    middle = (words.median - low + 0.5) / (step * len(bars))
    listed = "".join(
        f"<li><bdi>{escaped(word)}</bdi> <small>{n:,}</small></li>" for word, n in captions.frequent[:FREQUENT]
    )
    return (
        f'{_bars(bars, middle, "Lengths of captions in words")}<div class="axis"><span>{low}</span>'
        f"<span>{high} words</span></div><p>"
        f"{counted(captions.distinct, 'different caption')} of {low} to {high} words, {words.median:g} in the median; "
        f"{counted(captions.vocabulary, 'different word')}. "
        f'The most frequent words, and how many captions hold them:</p><ul class="words">{listed}</ul>'
    )


def _labels(numbers: Statistics) -> str:
    """The mix of labels, what it means for DA-CLIP's loss, and warnings."""
    labels = numbers.labels
    floors = " and ".join(f"{nats:.2f} for a batch of {batch:,}" for batch, nats in labels.floors.items())
    warnings = "".join(f"<p><strong>{escaped(warning)}</strong></p>" for warning in numbers.warnings)
    return (
        f"<p>{counted(len(labels.counts), 'label')}, entropy {labels.entropy:.2f} nats. DA-CLIP's contrastive loss "
        f"over labels cannot fall far below ln N − H: {floors}.</p>{warnings}"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Inputs


def _aside(manifest: Manifest, sources: Sequence[Mapping[str, Any]]) -> str:
    """What was set aside and why, duplicates, and notes."""
    refused = [f"<b><bdi>{escaped(r['name'])}</bdi></b> {escaped(r['reason'])}" for r in manifest.set_aside]
    twice = [s["names"] for s in sources if len(s["names"]) > 1]
    same = [f"<bdi>{' = '.join(escaped(name) for name in names)}</bdi>" for names in twice]
    parts = [_list(refused, "manifest.json") if refused else "<p>No input was set aside.</p>"]
    if same:
        parts.append(f"<h3>Files with equal bytes, used once</h3>{_list(same, 'sources.parquet')}")
    if manifest.notes:
        parts.append(f"<h3>Notes</h3>{_list([escaped(note) for note in manifest.notes], 'manifest.json')}")
    return "".join(parts)


def _licences(sources: Iterable[Mapping[str, Any]]) -> str:
    """Photographs by licence and attribution."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source in sources:
        groups[source["licence"], source["attribution"]].append(source["names"][0])  # pairs may share one name
    rows = []
    for (licence, attribution), names in sorted(groups.items()):
        different = sorted(set(names))
        some = ", ".join(f"<bdi>{escaped(name)}</bdi>" for name in different[:12])
        more = f" and {len(different) - 12:,} more" if len(different) > 12 else ""
        rows.append(
            f"<div><dt>{escaped(licence or 'no licence stated')}</dt><dd>{escaped(attribution) or 'nobody named'}"
            f"<small>{counted(len(names), 'photograph')}: {some}{more}</small></dd></div>"
        )
    return f'<dl class="licences">{"".join(rows)}</dl>'


def _list(items: Sequence[str], where: str) -> str:
    more = f"<li>… and {len(items) - LISTED:,} more in {where}</li>" if len(items) > LISTED else ""
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items[:LISTED])}{more}</ul>"
