"""How good a finished model is, degradation by degradation, beside what the papers print.

    split of a dataset ─ each entry in turn ─► LQ ─ look ─► does the CLIP name it?   (the papers' accuracy)
                                               └─ restore ─► PSNR, SSIM, LPIPS, FID against GT, and LQ's own

An image's noise follows from the seed and its key, so which others are evaluated, and in which order, changes nothing.
Means are over entries, each counted once whatever the number of its images, as the papers average.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patina.training import published
from patina.training.data import Index, Kept, Pixels, read_image, read_index, read_pair
from patina.training.draws import Rows
from patina.training.errors import ModelInputError, StageError
from patina.training.metrics import (
    PERFECT,
    PROTOCOLS,
    Fid,
    Lpips,
    UnavailableMetricError,
    fid_caution,
    frechet_distance,
    measure,
)
from patina.training.models.clip_adapter import PROMPTS
from patina.training.models.daclip import DEGRADATIONS
from patina.training.restorer import Progress, Restorer, Tiling, load_restorer, load_steering, origin_of
from patina.training.runs import dataset_digest
from patina.training.samplers import SAMPLERS
from patina.training.validate import centre, photographs_first, save_strips, to_bytes

STRIP = 512
"""Largest side of a picture in a strip, px; of larger ones the centre is shown, at 1:1."""

Features: TypeAlias = Sequence[NDArray[np.float64]]

Weights: TypeAlias = bool | Path
"""Of a metric's network: True by name, a file, or False: the metric is not asked for."""

_ENTRY_OF_PROMPT = dict(
    zip(PROMPTS, ("noisy-15", "noisy-25", "noisy-50", "hazy", "rainy", "motion-blurry", "low-light"), strict=True)
)


@dataclass(frozen=True)
class Row:
    """One entry, or the mean. None: not measured, see the notes.

    psnr (dB), ssim, lpips  of the restored pictures, means over `count`; input_…: of the degraded ones; _y: of luma.
    gain      dB of PSNR. worst_gain, best_gain: of single images, `worst` and `best` their keys. lost: how many fell.
    accuracy  share, 0 to 1, whose degradation the steering CLIP names.
    seconds   to look at and restore one; no part of a comparison.
    """

    entry: str
    degradation: str
    count: int
    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float
    input_psnr: float
    input_ssim: float
    input_psnr_y: float
    input_ssim_y: float
    gain: float
    worst_gain: float
    best_gain: float
    lost: int
    worst: str = ""
    best: str = ""
    accuracy: float | None = None
    lpips: float | None = None
    input_lpips: float | None = None
    fid: float | None = None
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Evaluation:
    """A restorer on one split. rows: entries in the papers' order. mean: over them; its `count` and `lost` are sums.

    stage     of the restorer. dataset: digest of its manifest.
    sampler   `` for a network that restores at once; steps 0: the sampler's own number.
    notes     what was not measured and why, and what a reader must know.
    """

    stage: str
    dataset: str
    split: str
    protocol: str
    sampler: str
    steps: int
    seed: int
    rows: tuple[Row, ...]
    mean: Row
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Undo `to_json`. Raises StageError."""
        table = _parsed(text, "an evaluation")
        try:
            rows, mean = tuple(Row(**row) for row in table["rows"]), Row(**table["mean"])
            return cls(**{**table, "rows": rows, "mean": mean, "notes": tuple(table["notes"])})
        except (KeyError, TypeError) as error:
            raise StageError(f"no evaluation that this patina wrote ({error}); evaluate again") from None

    def markdown(self) -> str:
        """Tables in the papers' order beside the papers' figures, then the notes."""
        tables = published.tables(self.protocol, [row.entry for row in self.rows])
        parts = [self._head(), *(self._table(metric, tables.get(metric)) for metric in _SHOWN if self._has(metric))]
        if any(row.accuracy is not None for row in self.rows):
            parts.append(
                _accuracy_table([(r.entry, r.count, r.accuracy) for r in (*self.rows, self.mean)], self.protocol)
            )
        parts.append(_listed([*self._caution(), *self.notes]))
        return "\n\n".join(parts) + "\n"

    def _head(self) -> str:
        how = f"by {self.sampler}, {self.steps or 'all'} steps" if self.sampler else "in one pass"
        return (
            f"**{self.stage}** on {self.mean.count:,} images of `{self.split}`, restored {how}, seed {self.seed}, "
            f"measured as {_PAPERS[self.protocol]} does: PSNR {self.mean.psnr:.2f} dB, {self.mean.gain:+.2f} on the "
            f"degraded images; {self.mean.lost:,} of them lost; {self.mean.seconds:.2f} s an image."
        )

    def _caution(self) -> list[str]:
        sets = published.TEST_SETS[self.protocol]
        theirs = "; ".join(f"{row.entry} {sets[row.entry]}" for row in self.rows if row.entry in sets)
        return [f"The papers measured on other photographs ({theirs}), so only orders of size compare."] * bool(theirs)

    def _has(self, metric: published.Metric) -> bool:
        return any(getattr(row, metric) is not None for row in self.rows)

    def _table(self, metric: published.Metric, table: published.Table | None) -> str:
        title, decimals = _SHOWN[metric]
        head = ["degradation", "images", "degraded", "restored"]
        if metric == "psnr":
            head += ["gain", "worst", "best", "lost"]
        papers = table.rows if table else ()
        head += [f"{row.method}, paper" for row in papers] or ["paper"]
        lines = []
        for row in (*self.rows, self.mean):
            cells = [row.entry, f"{row.count:,}", _figure(getattr(row, f"input_{metric}", None), decimals)]
            cells.append(_figure(getattr(row, metric), decimals))
            if metric == "psnr":
                cells += [f"{row.gain:+.2f}", f"{row.worst_gain:+.2f}", f"{row.best_gain:+.2f}", f"{row.lost:,}"]
            cells += [paper.text(self._printed(row, paper, table)) for paper in papers] or ["–"]
            lines.append(cells)
        where = f"\n\nPapers' figures: {table.source}." if table else ""
        return f"### {title}\n\n{_markdown(head, lines)}{where}"

    def _printed(self, row: Row, paper: published.Row, table: published.Table | None) -> float | None:
        """The paper's figure for an entry; its mean only beside a mean over the same entries."""
        if row is not self.mean:
            return paper.of(row.entry)
        same = table is not None and {r.entry for r in self.rows} == set(table.entries)
        return paper.mean if same else None


@dataclass(frozen=True)
class NamedRow:
    """How often one entry's images were named. accuracy: 0 to 1, None if the CLIP does not know the degradation.

    taken_for  the names it gave, with their number, most frequent first.
    """

    entry: str
    degradation: str
    count: int
    accuracy: float | None
    taken_for: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Classification:
    """A CLIP's names for degradations on one split: DA-CLIP's Table 4. words: all that it could say."""

    stage: str
    dataset: str
    split: str
    words: tuple[str, ...]
    rows: tuple[NamedRow, ...]
    mean: NamedRow
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Classification:
        """Undo `to_json`. Raises StageError."""
        table = _parsed(text, "a classification")
        try:
            rows = tuple(_named_row(row) for row in table["rows"])
            held = {"rows": rows, "mean": _named_row(table["mean"])}
            return cls(**{**table, **held, "words": tuple(table["words"]), "notes": tuple(table["notes"])})
        except (KeyError, TypeError) as error:
            raise StageError(f"no classification that this patina wrote ({error}); classify again") from None

    def markdown(self) -> str:
        """The table in the papers' order, with what was taken for what."""
        rows = [(row.entry, row.count, row.accuracy) for row in (*self.rows, self.mean)]
        taken = {
            row.entry: ", ".join(f"{name} {count}" for name, count in row.taken_for[:3])
            for row in self.rows
            if row.accuracy != 1
        }
        what = f"{len(self.words)} names to choose from"
        head = f"**{self.stage}** on {self.mean.count:,} images of `{self.split}`, {what}"
        parts = [head, _accuracy_table(rows, "daclip", taken)]
        return "\n\n".join([*parts, _listed(self.notes)] if self.notes else parts) + "\n"


_SHOWN: Mapping[published.Metric, tuple[str, int]] = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 3),
    "lpips": ("LPIPS, lower is better", 3),
    "fid": ("FID, lower is better", 2),
}
"""What tables show, in order, with decimals."""

_PAPERS = {"daclip": "DA-CLIP's paper", "vlunet": "VLU-Net's paper"}


def evaluate(
    run: Path | Restorer,
    dataset: Path,
    *,
    split: str = "val",
    entries: Sequence[str] = (),
    per_entry: int = 0,
    protocol: str = "daclip",
    sampler: str = "",
    steps: int = 0,
    tiling: Tiling | None = None,
    side: int = 0,
    seed: int = 0,
    lpips: Weights = True,
    fid: Weights = True,
    device: torch.device | str = "cpu",
    pictures: Path | None = None,
    progress: Progress | None = None,
    stage: str = "",
    best: bool = False,
) -> Evaluation:
    """Restore a split and measure it.

    run        a run's folder, a stage's, a model file (`stage`, `best` as of `load_restorer`), or a restorer.
    entries    to take; empty: all that are one degradation. per_entry: images of each, the first by key, of as many
               photographs as there are; 0: all.
    side       of the centre that is restored and measured, px; 0: whole images. The CLIP looks at whole ones.
    protocol   `daclip` or `vlunet`: how PSNR and SSIM are measured.
    sampler    empty: the stage's. steps: 0: the sampler's own number, or the stage's.
    lpips, fid weights of their networks. What cannot be had becomes a note.
    pictures   folder for ENTRY.png: strips of LQ, restored, GT; the best image first, the worst last.
    Raises StageError, CheckpointError, ModelInputError, SamplingError, DamagedShardError in words.
    """
    _check(protocol, sampler, per_entry, steps)
    restorer = run if isinstance(run, Restorer) else load_restorer(run, stage=stage, best=best, device=device)
    digest = dataset_digest(dataset)
    index = _uncached(read_index(dataset, split, entries))
    notes = _Notes()
    measures = _Measures(protocol, lpips, fid, restorer.device, notes)
    how = _How(sampler, steps, tiling or Tiling(), seed, side)
    if side:
        notes.add(f"restored and measured: squares of at most {side} px from the middle")
    taken = _taken(index, per_entry)
    total, done, rows = sum(len(chosen) for _, chosen in taken), 0, []
    for entry, chosen in taken:
        found = _Entry(index.names[entry], index.words[entry])
        for row in chosen:
            found.add(*_restored(restorer, index, int(row), how, measures))
            done += 1
            if progress:
                progress(done, total)
        rows.append(found.row(measures))
        notes.add(found.caution())
        if pictures:
            save_strips(found.strips(), pictures / f"{found.name}.png")
    if measures.fid:
        notes.add(fid_caution(row.count for row in rows))
    if equal := measures.equal:
        notes.add(f"{equal:,} pictures equal to the clean ones count as {PERFECT:g} dB")
    if not restorer.is_diffusion and (sampler or steps):
        notes.add(f"{restorer.stage.name} restores in one pass; sampler and steps were not used")
    return Evaluation(
        restorer.stage.name,
        digest,
        split,
        protocol,
        (sampler or restorer.stage.validation.sampler) if restorer.is_diffusion else "",
        (steps or (0 if sampler else restorer.stage.validation.steps)) if restorer.is_diffusion else 0,
        seed,
        tuple(rows),
        _mean(rows),
        tuple(notes.told),
    )


def classify(
    model: Path | Restorer,
    dataset: Path,
    *,
    split: str = "val",
    entries: Sequence[str] = (),
    per_entry: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Classification:
    """How often a CLIP names the degradation, from the whole photograph alone: a controller's or adapter's model file.

    A restorer is asked for what steers it. The rest as of `evaluate`. Raises StageError, CheckpointError,
    DamagedShardError in words.
    """
    _check("daclip", "", per_entry, 0)
    looker = model if isinstance(model, Restorer) else _looker(model, device)
    if looker.steering is None:
        raise StageError(f"{looker.stage.name} has no CLIP that names degradations; choose a controller or adapter")
    digest = dataset_digest(dataset)
    index = _uncached(read_index(dataset, split, entries))
    taken = _taken(index, per_entry)
    total, done, rows, words = sum(len(chosen) for _, chosen in taken), 0, [], set[str]()
    for entry, chosen in taken:
        names: Counter[str] = Counter()
        for row in chosen:
            seen = looker.look(read_image(index, int(row), "")).words
            words |= set(seen)
            names[next(iter(seen), "")] += 1
            done += 1
            if progress:
                progress(done, total)
        rows.append(_named_as(index.names[entry], index.words[entry], names, words))
    unknown = [row.entry for row in rows if row.accuracy is None]
    note = (f"{', '.join(unknown)}: unknown to the CLIP, which has {', '.join(sorted(words))}",) if unknown else ()
    known = [row.accuracy for row in rows if row.accuracy is not None]
    mean = NamedRow(MEAN, "", total, float(np.mean(known)) if known else None)
    return Classification(looker.stage.name, digest, split, tuple(sorted(words)), tuple(rows), mean, note)


def image_seed(seed: int, key: str) -> int:
    """The seed of an image's noise, from its key alone: 62 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]) >> 2


def right_names(entry: str, degradation: str, known: Collection[str]) -> set[str]:
    """The names among those a CLIP knows that are right for an entry; none if it does not know the degradation.

    The entry's own; else its degradation's; else those of its degrees, as any of `noisy-15`, … for `noisy`. Published
    prompts count as the entries they stand for.
    """
    stands_for = {name: _ENTRY_OF_PROMPT.get(name, name) for name in known}
    for wanted in (entry, degradation):
        if found := {name for name, meant in stands_for.items() if meant == wanted}:
            return found
    return {name for name, meant in stands_for.items() if meant.startswith(f"{degradation}-")}


# The parts of an evaluation

MEAN = "mean"


class _Notes:
    """Notes, each once, in the order in which they came up."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def add(self, note: str) -> None:
        if note and note not in self.told:
            self.told.append(note)


@dataclass(frozen=True)
class _How:
    sampler: str
    steps: int
    tiling: Tiling
    seed: int
    side: int


class _Measures:
    """What is measured of each image; a metric that cannot be had leaves a note and is None from then on."""

    def __init__(self, protocol: str, lpips: Weights, fid: Weights, device: torch.device | str, notes: _Notes) -> None:
        self.protocol, self.notes, self.equal = protocol, notes, 0
        self.lpips: Lpips | None = None
        self.fid: Fid | None = None
        try:
            self.lpips = Lpips(lpips if isinstance(lpips, Path) else None, device) if lpips else None
        except UnavailableMetricError as error:
            notes.add(f"LPIPS: not computed: {error}")
        try:
            self.fid = Fid(fid if isinstance(fid, Path) else None, device) if fid else None
        except UnavailableMetricError as error:
            notes.add(f"FID: not computed: {error}")

    def simple(self, restored: Tensor | Pixels, gt: Pixels) -> dict[str, float]:
        """PSNR and SSIM; equal pictures count as PERFECT."""
        found = measure(restored, gt, self.protocol)
        self.equal += math.isinf(found["psnr"])
        return {name: min(value, PERFECT) if name.startswith("psnr") else value for name, value in found.items()}

    def perceptual(self, restored: Tensor, gt: Pixels) -> float | None:
        """LPIPS, or None."""
        try:
            return self.lpips(restored, gt) if self.lpips else None
        except ModelInputError as error:
            self.notes.add(f"LPIPS: not computed: {error}")
            self.lpips = None
            return None

    def distance(self, restored: Features, gt: Features, entry: str) -> float | None:
        """FID, or None."""
        if not self.fid:
            return None
        try:
            return frechet_distance(restored, gt)
        except ModelInputError as error:
            self.notes.add(f"FID of {entry}: not computed: {error}")
            return None


@dataclass(frozen=True)
class _Image:
    """One image, measured. name: what the CLIP calls it, of `known`. features: of restored and GT."""

    key: str
    restored: Mapping[str, float]
    input: Mapping[str, float]
    lpips: float | None
    input_lpips: float | None
    features: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    name: str
    known: tuple[str, ...]
    seconds: float

    @property
    def gain(self) -> float:
        """dB."""
        return self.restored["psnr"] - self.input["psnr"]


def _restored(restorer: Restorer, index: Index, row: int, how: _How, measures: _Measures) -> tuple[_Image, Pixels]:
    """One image, measured, and its strip."""
    key = str(index.keys[row])
    lq, gt = read_pair(index, row)
    began = time.perf_counter()
    look = restorer.look(lq)
    lq, gt = centre(lq, how.side), centre(gt, how.side)
    restored = restorer.restore(
        lq, look=look, seed=image_seed(how.seed, key), sampler=how.sampler, steps=how.steps, tiling=how.tiling
    )
    seconds = time.perf_counter() - began
    try:
        found, given = measures.simple(restored, gt), measures.simple(lq, gt)
    except ModelInputError as error:
        raise ModelInputError(f"{index.names[index.entry[row]]} {key}: {error}") from None
    picture = to_bytes(restored)
    fid = measures.fid
    image = _Image(
        key,
        found,
        given,
        measures.perceptual(restored, gt),
        measures.perceptual(torch.from_numpy(lq.transpose(2, 0, 1) / np.float32(255)), gt),
        (fid.features(picture), fid.features(gt)) if fid else None,
        next(iter(look.words), ""),
        tuple(look.words),
        seconds,
    )
    return image, np.concatenate([_shown_part(shown) for shown in (lq, picture, gt)], axis=1)


class _Entry:
    """The images of one entry as they come. Strips are kept of the best, the first and the worst."""

    def __init__(self, name: str, degradation: str) -> None:
        self.name, self.degradation = name, degradation
        self._images: list[_Image] = []
        self._best = self._worst = 0
        self._strips: dict[int, Pixels] = {}

    def add(self, image: _Image, strip: Pixels) -> None:
        """Take in one more."""
        number = len(self._images)
        self._images.append(image)
        self._strips[number] = strip
        if image.gain > self._images[self._best].gain:
            self._best = number
        if image.gain < self._images[self._worst].gain:
            self._worst = number
        self._strips = {k: self._strips[k] for k in self._shown()}

    def _shown(self) -> list[int]:
        return list(dict.fromkeys([self._best, *({0} - {self._best, self._worst}), self._worst]))

    def strips(self) -> list[Pixels]:
        """LQ | restored | GT of the best image, of the first, and of the worst; each once."""
        return [self._strips[k] for k in self._shown()]

    def _right(self) -> set[str]:
        return right_names(self.name, self.degradation, self._images[0].known)

    def caution(self) -> str:
        """A note if the CLIP does not know the entry."""
        known = self._images[0].known
        return f"{self.name}: unknown to the CLIP, which has {', '.join(sorted(known))}" * bool(
            known and not self._right()
        )

    def row(self, measures: _Measures) -> Row:
        """The entry's means."""
        images = self._images
        gains = [image.gain for image in images]
        worst, best = images[self._worst], images[self._best]
        both = [image.features for image in images if image.features is not None]
        right = self._right()
        return Row(
            self.name,
            self.degradation,
            len(images),
            **{name: _mean_of([image.restored[name] for image in images]) for name in images[0].restored},
            **{f"input_{name}": _mean_of([image.input[name] for image in images]) for name in images[0].input},
            gain=_mean_of(gains),
            worst_gain=worst.gain,
            best_gain=best.gain,
            lost=sum(gain < 0 for gain in gains),
            worst=worst.key,
            best=best.key,
            accuracy=_mean_of([float(image.name in right) for image in images]) if right else None,
            lpips=_mean_or_none([image.lpips for image in images]),
            input_lpips=_mean_or_none([image.input_lpips for image in images]),
            fid=measures.distance([f for f, _ in both], [f for _, f in both], self.name),
            seconds=_mean_of([image.seconds for image in images]),
        )


def _mean(rows: Sequence[Row]) -> Row:
    """Each entry counted once. Accuracy is of the entries that the CLIP knows; what one entry lacks, the mean lacks."""
    sums: dict[str, Any] = {"count": sum(r.count for r in rows), "lost": sum(r.lost for r in rows)}
    sums |= {"worst_gain": min(r.worst_gain for r in rows), "best_gain": max(r.best_gain for r in rows)}
    sums |= {"entry": MEAN, "degradation": "", "worst": "", "best": ""}
    known = [r.accuracy for r in rows if r.accuracy is not None]
    sums["accuracy"] = _mean_of(known) if known else None
    rest = [f.name for f in fields(Row) if f.name not in sums]
    sums |= {name: _mean_or_none([getattr(r, name) for r in rows]) for name in rest}
    return Row(**sums)


def _mean_of(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return _mean_of(found) if len(found) == len(values) else None


def _check(protocol: str, sampler: str, per_entry: int, steps: int) -> None:
    if protocol not in PROTOCOLS:
        raise StageError(f"no protocol {protocol!r}; expected {' or '.join(PROTOCOLS)}")
    if sampler and sampler not in SAMPLERS:
        raise StageError(f"no sampler {sampler!r}; known are {', '.join(SAMPLERS)}")
    if per_entry < 0 or steps < 0:
        raise StageError(f"per_entry = {per_entry}, steps = {steps}; expected 0 (all) or more")


def _uncached(index: Index) -> Index:
    """Each image is read once, so none is kept."""
    return replace(index, kept=Kept(0))


def _taken(index: Index, per_entry: int) -> list[tuple[int, Rows]]:
    """The entries in the papers' order, with the rows to take: by key, so that they depend on no list's order."""
    order = sorted(range(len(index.names)), key=lambda k: _papers_place(index.words[k], index.names[k]))
    taken = []
    for entry in order:
        rows = np.flatnonzero(index.entry == entry)
        rows = rows[np.argsort(index.keys[rows], kind="stable")]
        taken.append((entry, photographs_first(index, rows)[:per_entry] if per_entry else rows))
    return taken


def _papers_place(degradation: str, entry: str) -> tuple[int, list[int], str]:
    place = DEGRADATIONS.index(degradation) if degradation in DEGRADATIONS else len(DEGRADATIONS)
    return place, [int(number) for number in re.findall(r"\d+", entry)], entry


def _looker(path: Path, device: torch.device | str) -> Restorer:
    """What looks and does not restore: the CLIP of a stage's model file."""
    stage = origin_of(path)[0].stage
    if not stage.names_degradations:
        raise StageError(
            f"{path} restores; give the model of a controller or adapter, or evaluate this one, which names them too"
        )
    steering, words, texts = load_steering(path)
    return Restorer(nn.Identity(), steering, stage, words=words, texts=texts, device=device)


def _named_as(entry: str, degradation: str, names: Counter[str], known: Collection[str]) -> NamedRow:
    right = right_names(entry, degradation, known)
    count = names.total()
    accuracy = sum(names[name] for name in right) / count if right else None
    return NamedRow(entry, degradation, count, accuracy, tuple(sorted(names.items(), key=lambda n: (-n[1], n[0]))))


def _named_row(table: Mapping[str, Any]) -> NamedRow:
    return NamedRow(**{**table, "taken_for": tuple((str(name), int(count)) for name, count in table["taken_for"])})


def _shown_part(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    top, left = max(0, height - STRIP) // 2, max(0, width - STRIP) // 2
    return image[top : top + STRIP, left : left + STRIP]


# Text


def _parsed(text: str, what: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError as error:
        raise StageError(f"not {what}: no JSON ({error})") from None
    if not isinstance(table, dict):
        raise StageError(f"not {what}: a JSON {type(table).__name__}, expected an object")
    return table


def _accuracy_table(
    rows: Sequence[tuple[str, int, float | None]], protocol: str, taken: Mapping[str, str] | None = None
) -> str:
    """The papers' Table 4: entries, images, share named rightly; with `taken`, for what images were taken."""
    table = published.tables(protocol, [entry for entry, _, _ in rows]).get("accuracy")
    papers = table.rows if table else ()
    head = ["degradation", "images", "named", *([f"{p.method}, paper" for p in papers] or ["paper"])]
    head += ["taken for"] if taken else []
    lines = []
    for entry, count, accuracy in rows:
        cells = [entry, f"{count:,}", "–" if accuracy is None else f"{100 * accuracy:.1f} %"]
        cells += [p.text(p.of(entry)) for p in papers] or ["–"]
        lines.append([*cells, taken.get(entry, "")] if taken else cells)
    return f"### Degradations named\n\n{_markdown(head, lines)}"


def _figure(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)
