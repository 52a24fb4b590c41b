"""What is measured of one image, and the means of all."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patina.pipeline.text import counted
from patina.training.data.index import Index, Kept, photographs_first
from patina.training.data.order import Rows
from patina.training.data.reading import read_pair
from patina.training.errors import ModelInputError, NotFiniteError
from patina.training.evaluation.layout import MEAN
from patina.training.evaluation.metrics import (
    LPIPS_LEAST,
    PERFECT,
    PROTOCOLS,
    Fid,
    Lpips,
    UnavailableMetricError,
    frechet_distance,
    measure,
)
from patina.training.evaluation.named_metrics import NamedMetric, expect_distinct
from patina.training.evaluation.results import NamedRow, Row
from patina.training.images import Pixels, centre, grey, middle, to_bytes
from patina.training.models.clip_adapter import ENTRY_OF_PROMPT
from patina.training.models.daclip import DEGRADATIONS
from patina.training.restore.restorer import Precision, Restorer
from patina.training.restore.tiles import Tiling

STRIP = 512
"""Largest side of a picture in a strip, px; of larger ones the centre is shown, at 1:1."""

Features: TypeAlias = Sequence[NDArray[np.float64]]

Weights: TypeAlias = bool | Path
"""Of a metric's network: True by name, a file, or False: the metric is not asked for."""


def image_seed(seed: int, key: str) -> int:
    """The seed of an image's noise, from its key alone: 62 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]) >> 2


def right_names(entry: str, degradation: str, known: Collection[str]) -> set[str]:
    """The names among those a CLIP knows that are right for an entry; none if it does not know the degradation.

    The entry's own; else its degradation's; else those of its degrees, as any of `noisy-15`, … for `noisy`. Published
    prompts count as the entries they stand for.
    """
    stands_for = {name: ENTRY_OF_PROMPT.get(name, name) for name in known}
    for wanted in (entry, degradation):
        if found := {name for name, meant in stands_for.items() if meant == wanted}:
            return found
    return {name for name, meant in stands_for.items() if meant.startswith(f"{degradation}-")}


class Notes:
    """Notes, each once, in the order in which they came up."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, note: str) -> None:
        """Add a note that is not there yet."""
        if note and note not in self.texts:
            self.texts.append(note)


LEFT_OUT_SHOWN = 5
"""Samples that a note about what was left out names."""


@contextmanager
def named(index: Index, row: int) -> Iterator[None]:
    """Within it an error about an image tells which sample it is of."""
    try:
        yield
    except (ModelInputError, NotFiniteError) as error:
        raise type(error)(f"{index.label(row)}: {error}") from error


def left_out_note(told: Sequence[str]) -> str:
    """The note about samples that count nowhere, each told with its reason; empty if there are none."""
    if not told:
        return ""
    return f"{counted(len(told), 'picture')} left out of every mean: {_first(told)}"


def _first(told: Sequence[str]) -> str:
    return "; ".join(told[:LEFT_OUT_SHOWN]) + (
        f"; and {len(told) - LEFT_OUT_SHOWN:,} more" * (len(told) > LEFT_OUT_SHOWN)
    )


@dataclass(frozen=True)
class RestoreSettings:
    """How each image is restored: see `evaluate`."""

    sampler: str
    steps: int
    tiling: Tiling
    seed: int
    side: int
    precision: Precision = "fp32"


class Measures:
    """What is measured of each image; a metric that cannot be had leaves a note and is None.

    named  metrics of pyiqa. equal: pictures that were equal to the clean ones. left_out: samples that cannot be
           restored or measured, with the reason. without_lpips: those that are measured, but too small for LPIPS.
    """

    def __init__(
        self,
        protocol: str,
        lpips: Weights,
        fid: Weights,
        device: torch.device | str,
        notes: Notes,
        metrics: Sequence[str] = (),
    ) -> None:
        self.protocol, self.notes, self.equal = protocol, notes, 0
        self.left_out, self.without_lpips = list[str](), list[str]()
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
        self.named: list[NamedMetric] = []
        expect_distinct(metrics)
        for name in metrics:
            try:
                self.named.append(NamedMetric(name, device))
            except UnavailableMetricError as error:
                notes.add(f"{name}: not computed: {error}")

    def others(self, restored: Tensor, lq: Pixels, gt: Pixels, label: str) -> dict[str, float]:
        """Each named metric of the restored picture, and, as `input_…`, of the degraded one, where both have one."""
        given, found = torch.from_numpy(lq.transpose(2, 0, 1) / np.float32(255)), dict[str, float]()
        for metric in self.named:
            try:
                found |= {metric.name: metric(restored, gt), f"input_{metric.name}": metric(given, gt)}
            except ModelInputError as error:
                self.notes.add(f"{label}: {error}")
        return found

    def simple(self, restored: Tensor | Pixels, gt: Pixels) -> dict[str, float]:
        """PSNR and SSIM; equal pictures count as PERFECT."""
        found = measure(restored, gt, self.protocol)
        self.equal += math.isinf(found["psnr"])
        return {name: min(value, PERFECT) if name.startswith("psnr") else value for name, value in found.items()}

    def fits(self, image: Pixels, label: str) -> bool:
        """Whether a picture is large enough for PSNR and SSIM; one that is not is left out."""
        (height, width), least = image.shape[:2], PROTOCOLS[self.protocol].least
        if min(height, width) < least:
            told = f"{label}: {width} x {height} px; {self.protocol} measures from {least} px on each side"
            self.left_out.append(told)
        return bool(min(height, width) >= least)

    def perceptual(self, restored: Tensor, lq: Pixels, gt: Pixels, label: str) -> tuple[float | None, float | None]:
        """LPIPS of the restored picture and of the degraded one, or None."""
        if not self.lpips:
            return None, None
        if min(gt.shape[:2]) < LPIPS_LEAST:
            self.without_lpips.append(label)
            return None, None
        given = torch.from_numpy(lq.transpose(2, 0, 1) / np.float32(255))
        return self.lpips(restored, gt), self.lpips(given, gt)

    def note_left_out(self, restored: int) -> None:
        """Note what was left out, of so many pictures that were restored and measured."""
        self.notes.add(left_out_note(self.left_out))
        if small := self.without_lpips:
            what = f"without {counted(len(small), 'picture')}" if len(small) < restored else "not computed: each is"
            self.notes.add(f"LPIPS: {what} of less than {LPIPS_LEAST} px on a side: {_first(small)}")

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
    others: Mapping[str, float]
    features: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    name: str
    known: tuple[str, ...]
    seconds: float

    @property
    def gain(self) -> float:
        """dB."""
        return self.restored["psnr"] - self.input["psnr"]


def restore_row(
    restorer: Restorer, index: Index, row: int, settings: RestoreSettings, measures: Measures
) -> tuple[_Image, Pixels] | None:
    """One image, measured, and its strip; None for one that is left out, as it is too small.

    Of a network for grey images all is measured in grey levels. A protocol that cuts images to multiples cuts them
    before they are looked at and restored, as VLU-Net's code does.

    Raises NotFiniteError where no picture comes out: a mean over the others would praise a network for what it lost.
    """
    key = str(index.keys[row])
    whole, gt = read_pair(index, row)
    multiple = PROTOCOLS[measures.protocol].multiple
    whole, gt = middle(whole, multiple), middle(gt, multiple)
    lq, gt = (middle(centre(image, settings.side), multiple) for image in (whole, gt))
    if restorer.is_grey:
        lq, gt = grey(lq), grey(gt)
    if not measures.fits(gt, index.label(row)):
        return None
    began = time.perf_counter()
    try:
        with named(index, row):
            condition = restorer.look(whole)
            restored = restorer.restore(
                lq,
                condition=condition,
                seed=image_seed(settings.seed, key),
                sampler=settings.sampler,
                steps=settings.steps,
                tiling=settings.tiling,
                precision=settings.precision,
            )
    except ModelInputError as error:  # such as a photograph that is too small for the network
        measures.left_out.append(str(error))
        return None
    seconds = time.perf_counter() - began
    picture = to_bytes(restored)
    fid = measures.fid
    image = _Image(
        key,
        measures.simple(restored, gt),
        measures.simple(lq, gt),
        *measures.perceptual(restored, lq, gt, index.label(row)),
        measures.others(restored, lq, gt, index.label(row)),
        (fid.features(picture), fid.features(gt)) if fid else None,
        next(iter(condition.degradations), ""),
        tuple(condition.degradations),
        seconds,
    )
    return image, np.concatenate([_shown_part(shown) for shown in (lq, picture, gt)], axis=1)


class EntryResults:
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

    def __bool__(self) -> bool:
        return bool(self._images)

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

    def row(self, measures: Measures) -> Row:
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
            lpips=_mean_of_some([image.lpips for image in images]),
            input_lpips=_mean_of_some([image.input_lpips for image in images]),
            fid=measures.distance([f for f, _ in both], [f for _, f in both], self.name),
            others=_means_by_name([image.others for image in images]),
            seconds=_mean_of([image.seconds for image in images]),
        )


def mean_row(rows: Sequence[Row]) -> Row:
    """Each entry counted once. Accuracy is of the entries that the CLIP knows; what one entry lacks, the mean lacks."""
    sums: dict[str, Any] = {"count": sum(r.count for r in rows), "lost": sum(r.lost for r in rows)}
    sums |= {"worst_gain": min(r.worst_gain for r in rows), "best_gain": max(r.best_gain for r in rows)}
    sums |= {"entry": MEAN, "degradation": "", "worst": "", "best": ""}
    known = [r.accuracy for r in rows if r.accuracy is not None]
    sums["accuracy"] = _mean_of(known) if known else None
    shared = [name for name in rows[0].others if all(name in r.others for r in rows)]
    sums["others"] = {name: _mean_of([r.others[name] for r in rows]) for name in shared}
    rest = [f.name for f in fields(Row) if f.name not in sums]
    sums |= {name: _mean_or_none([getattr(r, name) for r in rows]) for name in rest}
    return Row(**sums)


def _mean_of(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _means_by_name(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each name over the images that have it, in the order in which they came up."""
    names = dict.fromkeys(name for image in images for name in image)
    return {name: _mean_of([image[name] for image in images if name in image]) for name in names}


def _mean_of_some(values: Sequence[float | None]) -> float | None:
    """Over those that there are: a picture that is too small for a measure was noted."""
    found = [value for value in values if value is not None]
    return _mean_of(found) if found else None


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return _mean_of(found) if len(found) == len(values) else None


def uncached(index: Index) -> Index:
    """Each image is read once, so none is kept."""
    return replace(index, kept=Kept(0))


def rows_by_entry(index: Index, per_entry: int) -> list[tuple[int, Rows]]:
    """The entries in the papers' order, with the rows to take: by key, so that they depend on no list's order."""
    order = sorted(range(len(index.names)), key=lambda k: _papers_place(index.degradations[k], index.names[k]))
    taken = []
    for entry in order:
        rows = np.flatnonzero(index.entry == entry)
        rows = rows[np.argsort(index.keys[rows], kind="stable")]
        taken.append((entry, photographs_first(index, rows)[:per_entry] if per_entry else rows))
    return taken


def _papers_place(degradation: str, entry: str) -> tuple[int, list[int], str]:
    place = DEGRADATIONS.index(degradation) if degradation in DEGRADATIONS else len(DEGRADATIONS)
    return place, [int(number) for number in re.findall(r"\d+", entry)], entry


def named_row(entry: str, degradation: str, names: Counter[str], known: Collection[str]) -> NamedRow:
    """How often an entry was named rightly, and what it was named."""
    right = right_names(entry, degradation, known)
    count = names.total()
    accuracy = sum(names[name] for name in right) / count if right else None
    return NamedRow(entry, degradation, count, accuracy, tuple(sorted(names.items(), key=lambda n: (-n[1], n[0]))))


def _shown_part(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    top, left = max(0, height - STRIP) // 2, max(0, width - STRIP) // 2
    return image[top : top + STRIP, left : left + STRIP]
