"""The results of an evaluation, and their tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from patina.training.errors import StageError
from patina.training.evaluation import paper_tables as published


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
            rows = tuple(_parsed_named_row(row) for row in table["rows"])
            held = {"rows": rows, "mean": _parsed_named_row(table["mean"])}
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


# The parts of an evaluation

MEAN = "mean"


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
