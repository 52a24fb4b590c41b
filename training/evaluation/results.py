"""The results of an evaluation, and their tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from patina.pipeline.report.table import Cell, Column, Head
from patina.training.errors import StageError
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation.layout import (
    MEAN,
    MEASURES_BY_METRIC,
    PAPERS,
    Results,
    complete_table,
    flat,
    others_measure,
)


@dataclass(frozen=True)
class Row:
    """One entry, or the mean. None: not measured, see the notes.

    psnr (dB), ssim, lpips  of the restored pictures, means over `count`; input_…: of the degraded ones; _y: of luma.
    gain      dB of PSNR. worst_gain, best_gain: of single images, `worst` and `best` their keys. lost: how many fell.
    accuracy  share, 0 to 1, whose degradation the steering CLIP names.
    others    metrics of pyiqa that were asked for, by name; `input_…`: of the degraded pictures.
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
    others: Mapping[str, float] = field(default_factory=dict)
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
        papers = published.tables(self.protocol, [row.entry for row in self.rows])
        results = _results(self.rows, self.mean)
        tables = [
            complete_table(measure, results, papers.get(metric)).markdown("###")
            for metric, measure in MEASURES_BY_METRIC.items()
            if any(getattr(row, metric) is not None for row in self.rows)
        ]
        tables += [complete_table(others_measure(name), results, None).markdown("###") for name in self._others()]
        return "\n\n".join([self._head(), *tables, _listed([*self._caution(), *self.notes])]) + "\n"

    def _others(self) -> list[str]:
        """The metrics of pyiqa that some entry has."""
        return list(dict.fromkeys(n for row in self.rows for n in row.others if not n.startswith("input_")))

    def _head(self) -> str:
        how = f"by {self.sampler}, {self.steps or 'all'} steps" if self.sampler else "in one pass"
        return (
            f"**{self.stage}** on {self.mean.count:,} images of `{self.split}`, restored {how}, seed {self.seed}, "
            f"measured as {PAPERS[self.protocol]} does: PSNR {self.mean.psnr:.2f} dB, {self.mean.gain:+.2f} on the "
            f"degraded images; {self.mean.lost:,} of them lost; {self.mean.seconds:.2f} s an image."
        )

    def _caution(self) -> list[str]:
        sets = published.TEST_SETS[self.protocol]
        theirs = "; ".join(f"{row.entry} {sets[row.entry]}" for row in self.rows if row.entry in sets)
        return [f"The papers measured on other photographs ({theirs}), so only orders of size compare."] * bool(theirs)


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


_STORED_NAMES = {"degradations": "words"}
"""Fields of `Classification` that its JSON calls otherwise."""


@dataclass(frozen=True)
class Classification:
    """A CLIP's names for degradations on one split: DA-CLIP's Table 4. degradations: all that it could name."""

    stage: str
    dataset: str
    split: str
    degradations: tuple[str, ...]
    rows: tuple[NamedRow, ...]
    mean: NamedRow
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """All of it."""
        table = {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}
        return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Classification:
        """Undo `to_json`. Raises StageError."""
        table = _parsed(text, "a classification")
        try:
            rows = tuple(_parsed_named_row(row) for row in table["rows"])
            held = {"rows": rows, "mean": _parsed_named_row(table["mean"]), "degradations": tuple(table.pop("words"))}
            return cls(**{**table, **held, "notes": tuple(table["notes"])})
        except (KeyError, TypeError) as error:
            raise StageError(f"no classification that this patina wrote ({error}); classify again") from None

    def markdown(self) -> str:
        """The table in the papers' order, with what was taken for what."""
        results = _results(self.rows, self.mean)
        papers = published.tables("daclip", [row.entry for row in self.rows]).get("accuracy")
        table = complete_table(MEASURES_BY_METRIC["accuracy"], results, papers, self._taken_for())
        what = f"{len(self.degradations)} names to choose from"
        head = f"**{self.stage}** on {self.mean.count:,} images of `{self.split}`, {what}"
        parts = [head, table.markdown("###")]
        return "\n\n".join([*parts, _listed(self.notes)] if self.notes else parts) + "\n"

    def _taken_for(self) -> list[Column]:
        """For what images were taken, the most frequent names first; no column where all were named rightly."""
        wrong = [row.accuracy != 1 for row in self.rows]
        names = [", ".join(f"{name} {count}" for name, count in row.taken_for[:3]) for row in self.rows]
        cells = [Cell(text if is_wrong else "") for text, is_wrong in zip(names, wrong, strict=True)]
        return [Column(Head("taken for"), (*cells, Cell("")))] if any(wrong) else []


def _parsed_named_row(table: Mapping[str, Any]) -> NamedRow:
    return NamedRow(**{**table, "taken_for": tuple((str(name), int(count)) for name, count in table["taken_for"])})


# Text


def _parsed(text: str, what: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError as error:
        raise StageError(f"not {what}: no JSON ({error})") from None
    if not isinstance(table, dict):
        raise StageError(f"not {what}: a JSON {type(table).__name__}, expected an object")
    return table


def _results(rows: Sequence[Row | NamedRow], mean: Row | NamedRow) -> Results:
    return [*((row.entry, flat(asdict(row))) for row in rows), (MEAN, flat(asdict(mean)))]


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)
