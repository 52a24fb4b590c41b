"""What a dataset is like in numbers: how much of what, how severe, in which words, how large, under which licences.

Columns in, counts out: a million rows take seconds. The same tables give the same numbers, to the last digit printed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from patina.pipeline.format.layout import SAMPLES, SPLITS
from patina.pipeline.format.manifest import read_sources, read_table, samples_schema
from patina.synth.severity import LEVELS

BATCHES = (784, 3136)
"""Batch sizes for which the floor of DA-CLIP's loss is told: one of its GPUs, and its four."""

FIGURES = ("psnr", "ssim", "psnr_y", "ssim_y")
"""Columns of papers' figures, as `Measures` names them."""

STEP = 5
"""Points of severity to a bar: 20 bars from 0 to 100, four to a level."""

STORED = {"levels": "words"}
"""Fields of Measures that `statistics.json` calls otherwise, by their names here."""

FREQUENT = 30
"""Words that are listed, and sizes."""

STOP_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "into", "is", "it", "its",
    "of", "on", "or", "out", "over", "some", "that", "the", "their", "there", "they", "this", "to", "two", "under",
    "up", "very", "while", "with",
))  # fmt: skip
"""Words that say nothing about a photograph."""


WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
"""A word of a caption: letters, with single apostrophes and hyphens inside."""


@dataclass(frozen=True)
class Spread:
    """Least, quartiles and greatest of some numbers."""

    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> Spread:
        """Of one number or more; quartiles are interpolated."""
        low, quarter, median, three_quarters, high = np.percentile(values, (0, 25, 50, 75, 100)).tolist()
        return cls(round(low, 4), round(quarter, 4), round(median, 4), round(three_quarters, 4), round(high, 4))


@dataclass(frozen=True)
class Measures:
    """What was measured on the samples of one entry.

    levels  samples at each of the five levels of severity, mildest first. bars: in each STEP of its scale.
    severity, and the median at CLIP's 224 px, are scores from 0 to 100; psnr (dB, 100 = identical) and ssim medians,
    both over RGB; psnr_y and ssim_y over luma.
    """

    entry: str
    count: int
    levels: tuple[int, ...]
    bars: tuple[int, ...]
    severity: Spread
    clip_severity: float
    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float


@dataclass(frozen=True)
class Captions:
    """The captions, that of each photograph counted once.

    lengths     how many captions have so many words. frequent: words but STOP_WORDS, and how many captions hold them.
    vocabulary  different words, without regard to case. captioners: photographs by `name@version`.
    similarity  of image and caption, where the sources' table has it.
    """

    photographs: int
    distinct: int
    lengths: Mapping[int, int]
    vocabulary: int
    frequent: tuple[tuple[str, int], ...]
    captioners: Mapping[str, int]
    similarity: Spread | None = None

    @property
    def words(self) -> Spread | None:
        """Words to a caption; None without captions."""
        return Spread.of(np.repeat(list(self.lengths), list(self.lengths.values()))) if self.lengths else None


@dataclass(frozen=True)
class Sizes:
    """Widths and heights in pixels with their counts, the most frequent first; and the megapixels of them all."""

    sides: tuple[tuple[int, int, int], ...] = field(repr=False)
    megapixels: Spread | None

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(n for _, _, n in self.sides)


@dataclass(frozen=True)
class Labels:
    """The mix p of degradation labels that DA-CLIP's contrastive loss meets, in the training split where there is one.

    Samples of one label are false negatives of each other, so that a batch of N cannot bring the loss far below
    ln N − H(p). entropy: H(p) in nats. floors: that bound in nats by batch size, 0 at least.
    """

    counts: Mapping[str, int]
    entropy: float
    floors: Mapping[int, float]


@dataclass(frozen=True)
class Rights:
    """Photographs and samples that share set, licence and attribution; "" is what nobody stated.

    set  what the source that they came from is called. degradation: their label, of pairs; empty for clean images.
    """

    set: str
    degradation: str
    licence: str
    attribution: str
    photographs: int
    samples: int


@dataclass(frozen=True)
class Statistics:
    """All of it. counts: samples by split, then entry. warnings: sentences about what will hurt in training."""

    counts: Mapping[str, Mapping[str, int]]
    measures: tuple[Measures, ...]
    captions: Captions
    samples: Sizes
    sources: Sizes
    labels: Labels
    rights: tuple[Rights, ...]
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As JSON can hold them; of sizes the FREQUENT most frequent."""
        body = asdict(self)
        for name in ("samples", "sources"):
            sizes = body[name]
            body[name] = {**sizes, "different": len(sizes["sides"]), "sides": sizes["sides"][:FREQUENT]}
        body["measures"] = [{STORED.get(key, key): value for key, value in m.items()} for m in body["measures"]]
        body["captions"]["lengths"] = {str(n): count for n, count in self.captions.lengths.items()}
        body["labels"]["floors"] = {str(n): nats for n, nats in self.labels.floors.items()}
        return _plain(body)  # type: ignore[no-any-return]

    def severity_rows(self) -> list[list[str]]:
        """A row an entry, headed: samples, share of each level, median and quartiles, at 224 px, papers' figures."""
        head = ["degradation", "samples", *LEVELS, "severity", "quartiles", "at 224 px", "PSNR, dB", "SSIM"]
        head += ["PSNR of luma, dB", "SSIM of luma"]
        return [head] + [
            [
                m.entry,
                f"{m.count:,}",
                *(f"{n / m.count:.0%}" if n else "–" for n in m.levels),
                f"{m.severity.median:.0f}",
                f"{m.severity.quarter:.0f}–{m.severity.three_quarters:.0f}",
                f"{m.clip_severity:.0f}",
                f"{m.psnr:.2f}",
                f"{m.ssim:.3f}",
                f"{m.psnr_y:.2f}",
                f"{m.ssim_y:.3f}",
            ]
            for m in self.measures
        ]

    def count_rows(self) -> list[list[str]]:
        """A row a split, headed: samples of each entry and of all."""
        entries = [m.entry for m in self.measures]
        rows = [["split", *entries, "all"]]
        for split, counts in self.counts.items():
            rows.append([split, *(f"{counts.get(e, 0):,}" for e in entries), f"{sum(counts.values()):,}"])
        return rows

    def rights_rows(self) -> list[list[str]]:
        """A row for each set, licence and attribution, headed."""
        rows = [["source", "photographs", "samples", "licence", "attribution"]]
        for r in self.rights:
            place = (r.set or "–") + (f" (pairs, {r.degradation})" if r.degradation else "")
            stated = (r.licence or "not stated", r.attribution or "–")
            rows.append([place, f"{r.photographs:,}", f"{r.samples:,}", *stated])
        return rows


def statistics(samples: pa.Table, sources: Sequence[Mapping[str, Any]]) -> Statistics:
    """The numbers of a dataset from all rows of samples.parquet and of sources.parquet."""
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for row in samples.group_by(["split", "entry"]).aggregate([([], "count_all")]).to_pylist():
        counts[row["split"]][row["entry"]] = row["count_all"]
    labels = _labels(samples)
    near = [s["similarity"] for s in sources if s.get("similarity") is not None]
    captions = replace(_captions(samples), similarity=Spread.of(np.array(near, np.float64)) if near else None)
    return Statistics(
        counts={split: dict(sorted(found.items())) for split, found in counts.items() if found},
        measures=tuple(_measures(samples)),
        captions=captions,
        samples=_sizes(_column(samples, "width"), _column(samples, "height")),
        sources=_sizes(
            np.array([s["width"] for s in sources], np.int64), np.array([s["height"] for s in sources], np.int64)
        ),
        labels=labels,
        rights=tuple(_rights(samples, sources)),
        warnings=tuple(_warnings(labels, captions)),
    )


def read_statistics(folder: Path) -> Statistics:
    """`statistics` of the dataset in `folder`, from its two tables. Raises ManifestError."""
    return statistics(read_samples_table(folder), read_sources(folder))


def read_samples_table(folder: Path) -> pa.Table:
    """samples.parquet as columns: a million rows as objects would take gigabytes. Raises ManifestError."""
    return read_table(folder / SAMPLES, samples_schema())


def floor(batch: int, entropy: float) -> float:
    """Nats below which a contrastive loss over `batch` samples cannot fall far, if their labels' entropy is that."""
    return max(math.log(batch) - entropy, 0.0)


def entropy_of(counts: Iterable[int]) -> float:
    """Shannon entropy in nats of a mix given by counts."""
    found = np.array([n for n in counts if n > 0], np.float64)
    shares = found / found.sum() if found.size else found
    return float(abs(-(shares * np.log(shares)).sum()))  # abs: one label gives -0


# ---------------------------------------------------------------------------------------------------------------------


def _column(samples: pa.Table, name: str) -> NDArray[Any]:
    values: NDArray[Any] = samples[name].to_numpy()
    return values


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def numbered(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of texts as numbers, in one piece; the texts stand in the order in which they appear."""
    return _one(column).dictionary_encode()


def _codes(samples: pa.Table, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """A column of texts as numbers, and what they stand for, in order of the alphabet."""
    encoded = numbered(samples[name])
    texts: list[str] = encoded.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.empty(len(texts), np.int64)
    rank[order] = np.arange(len(texts))
    return rank[encoded.indices.to_numpy()], [texts[i] for i in order]


def _measures(samples: pa.Table) -> Iterable[Measures]:
    if not samples.num_rows:
        return
    codes, entries = _codes(samples, "entry")
    columns = {name: _column(samples, name) for name in ("severity", "clip_severity", *FIGURES)}
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(entries)))
    for i, entry in enumerate(entries):
        rows = order[ends[i - 1] if i else 0 : ends[i]]
        severity, small = (columns[name][rows] for name in ("severity", "clip_severity"))
        bars = np.bincount(np.clip(severity // STEP, 0, 100 // STEP - 1).astype(np.int64), minlength=100 // STEP)
        yield Measures(
            entry,
            len(rows),
            tuple(bars.reshape(len(LEVELS), -1).sum(axis=1).tolist()),
            tuple(bars.tolist()),
            Spread.of(severity),
            round(float(np.median(small)), 4),
            *(round(float(np.median(columns[name][rows])), 4) for name in FIGURES),
        )


def _captions(samples: pa.Table) -> Captions:
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    codes = numbered(samples["source_sha256"]).indices.to_numpy()
    new = np.diff(np.maximum.accumulate(codes), prepend=-1) > 0  # codes are given in order of appearance
    first = samples.filter(pa.array(new))  # one row a source
    texts = _one(first["caption"])
    captioners = first["captioner"].value_counts().to_pylist() if "captioner" in first.column_names else []
    tokens = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.utf8_lower(texts)))
    flat = pc.list_flatten(tokens)
    there = pc.not_equal(flat, "")  # an empty text is split into one empty token
    owners = pc.list_parent_indices(tokens).filter(there).to_numpy().astype(np.int64)
    encoded = flat.filter(there).dictionary_encode()
    lengths = np.bincount(np.bincount(owners, minlength=len(texts))) if len(texts) else np.zeros(0, np.int64)
    # only different tokens are taken apart; most are one word, some are none ("&") or several ("black/white")
    inside = [WORD.findall(token) for token in encoded.dictionary.to_pylist()]
    names = sorted({word for words in inside for word in words})
    number = {word: i for i, word in enumerate(names)}
    pairs = _holders(owners, encoded.indices.to_numpy(), inside, number)
    held = np.bincount(pairs % max(len(names), 1), minlength=len(names))
    said = [(word, n) for word, n in zip(names, held.tolist(), strict=True) if word not in STOP_WORDS]
    return Captions(
        photographs=len(texts),
        distinct=pc.count_distinct(texts).as_py(),
        lengths={n: count for n, count in enumerate(lengths.tolist()) if count},
        vocabulary=len(names),
        frequent=tuple(sorted(said, key=lambda word: (-word[1], word[0]))[:FREQUENT]),
        captioners=dict(sorted((row["values"], row["counts"]) for row in captioners)),
    )


def _holders(
    owners: NDArray[np.int64], codes: NDArray[np.int32], inside: Sequence[Sequence[str]], number: Mapping[str, int]
) -> NDArray[np.int64]:
    """Every caption with every word that it holds, each pair once, as caption · words + word.

    owners and codes: the caption and the token of each place. inside: the words of each token.
    """
    parts = [np.zeros(0, np.int64)]
    for place in range(max(map(len, inside), default=0)):  # the first word of all tokens, then the second
        word = np.array([number[w[place]] if place < len(w) else -1 for w in inside], np.int64)[codes]
        parts.append((owners * len(number) + word)[word >= 0])
    pairs = np.sort(np.concatenate(parts))
    return pairs[np.diff(pairs, prepend=-1) > 0]


def _sizes(width: NDArray[np.integer[Any]], height: NDArray[np.integer[Any]]) -> Sizes:
    if not width.size:
        return Sizes((), None)
    found = pa.array(width.astype(np.int64) << 32 | height.astype(np.int64)).value_counts()
    sides = [(row["values"] >> 32, row["values"] & 0xFFFFFFFF, row["counts"]) for row in found.to_pylist()]
    area = width.astype(np.float64) * height.astype(np.float64) / 1e6
    return Sizes(tuple(sorted(sides, key=lambda s: (-s[2], s[0], s[1]))), Spread.of(area))


def _labels(samples: pa.Table) -> Labels:
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    training = samples.filter(pc.equal(samples["split"], "train"))
    found = (training if training.num_rows else samples)["degradation"].value_counts()
    counts = dict(sorted((row["values"], row["counts"]) for row in found.to_pylist()))
    entropy = entropy_of(counts.values())
    return Labels(counts, round(entropy, 4), {n: round(floor(n, entropy), 3) for n in BATCHES})


def _rights(samples: pa.Table, sources: Sequence[Mapping[str, Any]]) -> Iterable[Rights]:
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    of_source = [
        (s.get("set") or "", s["degradation"] or "", s["licence"] or "", s["attribution"] or "") for s in sources
    ]
    photographs = Counter(of_source)
    groups = sorted(photographs)
    rank = {group: i for i, group in enumerate(groups)}
    digests = pa.array([s["digest"] for s in sources], pa.string())
    found = pc.index_in(samples["source_sha256"], value_set=digests).drop_null().to_numpy().astype(np.int64)
    in_group = np.array([rank[group] for group in of_source], np.int64)
    counts = np.bincount(in_group[found], minlength=len(groups)).tolist()
    for group, count in zip(groups, counts, strict=True):
        yield Rights(*group, photographs[group], count)


def _warnings(labels: Labels, captions: Captions) -> Iterable[str]:
    if len(labels.counts) == 1:
        (label,) = labels.counts
        batch = BATCHES[0]
        yield (
            f"every training sample has the label {label!r}: DA-CLIP's degradation loss then stays at ln N "
            f"({labels.floors[batch]:.3f} for a batch of {batch}) and its image controller learns nothing from it; add "
            "degradations, or train on the severity sentences instead of the label"
        )
    if captions.photographs > 1 and captions.distinct == 1:
        yield "all captions are the same text, so a contrastive loss cannot tell one photograph from another by them"


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down: what JSON gives back."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
