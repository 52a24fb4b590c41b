"""How a table of a paper is kept: a method's figures by entry, and the mean that is printed with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Metric: TypeAlias = Literal["psnr", "ssim", "lpips", "fid", "accuracy"]
"""psnr in dB, accuracy in percent."""

MISPRINT = "†"
"""After a mean that does not fit its row."""

SAME_AS: Mapping[str, str] = {"noisy-50": "noisy"}
"""Entries by other names, where a paper's table lacks their own: DA-CLIP's noise has a sigma of 50."""


@dataclass(frozen=True)
class Row:
    """A method's figures by entry, the mean that is printed with them, and their decimals; or the mean alone.

    mean    None: none is printed. source: the paper that the figures are of, where it is not the table's own.
    """

    method: str
    figures: Mapping[str, float]
    mean: float | None
    decimals: int
    source: str = ""

    def of(self, entry: str) -> float | None:
        """The figure of an entry, None where none is known."""
        return self.figures.get(entry, self.figures.get(SAME_AS.get(entry, "")))

    def text(self, figure: float | None) -> str:
        """A figure as it is printed; a dash for None."""
        return "–" if figure is None else f"{figure:.{self.decimals}f}"


@dataclass(frozen=True)
class Table:
    """One metric of one paper. entries: the columns whose mean `Row.mean` is."""

    source: str
    metric: Metric
    entries: tuple[str, ...]
    rows: tuple[Row, ...]

    def is_misprinted(self, row: Row) -> bool:
        """Whether the mean that is printed with a whole row is further from the row's than rounding takes it: the row's
        figures by a small part of their last digit, as their errors cancel, the mean by half of it."""
        if row.mean is None or set(row.figures) != set(self.entries):
            return False
        own = math.fsum(row.figures.values()) / len(row.figures)
        return abs(own - row.mean) > 0.75 * 10.0**-row.decimals

    def mean_text(self, row: Row) -> str:
        """The mean as it is printed with a row, marked where it is a misprint."""
        return row.text(row.mean) + MISPRINT * self.is_misprinted(row)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the figures: where they are from, and which means are misprints."""
        others = sorted({f"{row.method}'s are of {row.source}" for row in self.rows if row.source})
        return ("; ".join([f"Papers' figures: {self.source}", *others]) + ".", *self.cautions)

    @property
    def cautions(self) -> tuple[str, ...]:
        """A sentence on means that are misprints, if there are any."""
        wrong = [row.method for row in self.rows if self.is_misprinted(row)]
        told = f"{MISPRINT} of {self.source}: the printed mean does not fit its row ({', '.join(wrong)}); hold the row"
        return (told + ".",) * bool(wrong)
