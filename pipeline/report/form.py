"""The form of each degradation in figures, beside those of the published sets: what PSNR of the input does not say.

Published ranges are of real pairs, measured for this project where files of the sets were at hand, and facts alone: no
image of theirs is here. `patina.synth.form` has the measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from patina.synth.form import (
    blobs,
    changed,
    flat_noise,
    lean,
    line_fit,
    local_contrast,
    mean_change,
    psnr_y,
    shade,
)
from patina.synth.image import Image
from patina.synth.severity import psnr_of

FLAKE = 60
"""Levels of luma by which a snowflake is brighter: what is fainter is the veil, or far."""


@dataclass(frozen=True)
class Measure:
    """One figure of form.

    name        of the measure. unit: after its numbers; "" for none.
    low, high   the published pairs' range. known: which set.
    digits      that are told.
    """

    name: str
    unit: str
    low: float
    high: float
    known: str
    digits: int = 2

    @property
    def published(self) -> str:
        """The range and its set as text."""
        ends = f"{self.low:.{self.digits}f} to {self.high:.{self.digits}f}" if self.high > self.low else f"{self.low:g}"
        return f"{ends}{self.unit} ({self.known})"


MEASURES: dict[str, tuple[Measure, ...]] = {
    "hazy": (
        Measure("R² of one line a channel", "", 0.86, 0.99, "RESIDE outdoor"),
        Measure("local contrast kept", "", 0.49, 0.64, "RESIDE outdoor"),
    ),
    "low-light": (
        Measure("luma noise, brightened", " levels", 2.5, 5.0, "LOL", 1),
        Measure("chroma noise, brightened", " levels", 1.7, 5.2, "LOL", 1),
        Measure("correlation of neighbours", "", 0.01, 0.18, "LOL"),
    ),
    "rainy": (
        Measure("PSNR of luma", " dB", 13.55, 26.9, "Rain100H to Rain100L", 1),
        Measure("lean from the vertical", "°", 0.0, 15.0, "Rain100H", 0),
    ),
    "raindrop": (
        Measure("bright blobs a picture", "", 175.0, 385.0, "RainDrop", 0),
        Measure("changed pixels", "", 0.26, 0.53, "RainDrop"),
        Measure("mean change", " levels", 6.0, 9.0, "RainDrop", 1),
        Measure("median blob", " px", 6.0, 6.0, "RainDrop", 1),
        Measure("ninetieth blob of 100", " px", 13.0, 13.0, "RainDrop", 1),
    ),
    "shadowed": (
        Measure("green that is left", "", 0.11, 0.44, "ISTD"),
        Measure("blue over red", "", 1.3, 2.2, "ISTD"),
    ),
    "motion-blurry": (Measure("mean change", " levels", -0.4, 0.4, "GoPro"),),
    "snowy": (Measure("large flakes", " px", 7.5, 9.5, "Snow100K", 1),),
    "moire": (Measure("PSNR", " dB", 15.0, 24.0, "80 % of TIP2018's 11,851 test pairs", 1),),
}


def _drops(gt: Image, lq: Image) -> Sequence[float]:
    found = blobs(gt, lq)
    return found.count, changed(gt, lq), mean_change(gt, lq), found.median, found.ninetieth


def _noise(gt: Image, lq: Image) -> Sequence[float]:
    found = flat_noise(gt, lq)
    return found.luma, found.chroma, found.correlation


def _shadow(gt: Image, lq: Image) -> Sequence[float]:
    found = shade(gt, lq)
    return found.green, found.blue_over_red


_FIGURES: dict[str, Callable[[Image, Image], Sequence[float]]] = {
    "hazy": lambda gt, lq: (line_fit(gt, lq), local_contrast(gt, lq)),
    "low-light": _noise,
    "rainy": lambda gt, lq: (psnr_y(gt, lq), abs(lean(gt, lq))),
    "raindrop": _drops,
    "shadowed": _shadow,
    "motion-blurry": lambda gt, lq: (mean_change(gt, lq),),
    "snowy": lambda gt, lq: (blobs(gt, lq, FLAKE).largest,),
    "moire": lambda gt, lq: (psnr_of(gt, lq),),
}


def form_of(name: str, gt: Image, lq: Image) -> tuple[float, ...]:
    """The figures of one pair, H×W×3 uint8 RGB each, in the order of MEASURES; none for a degradation without any."""
    return tuple(float(figure) for figure in _FIGURES[name](gt, lq)) if name in _FIGURES else ()


def form_rows(found: Mapping[str, Sequence[tuple[float, ...]]]) -> list[dict[str, str]]:
    """A row of text for each measure: ours as the 10th, 50th and 90th percentile of all pictures, beside the published.

    found: the figures of each picture, by the degradation's name.

    >>> form_rows({"snowy": [(8.0,), (9.0,), (10.0,)]})[0]["ours: 10 %, median, 90 %"]
    '8.2, 9.0, 9.8'
    """
    rows = []
    for name, pictures in found.items():
        for i, measure in enumerate(MEASURES.get(name, ())):
            figures = np.quantile([picture[i] for picture in pictures], (0.1, 0.5, 0.9))
            near = 0.15 * measure.low if measure.low == measure.high else 0  # one number stands for a range
            within = measure.low - near <= figures[1] <= measure.high + near
            rows.append(
                {
                    "degradation": name,
                    "form": measure.name + (f", {unit}" if (unit := measure.unit.strip()) else ""),
                    "ours: 10 %, median, 90 %": ", ".join(f"{figure:.{measure.digits}f}" for figure in figures),
                    "published": measure.published,
                    "median": "inside" if within else "below" if figures[1] < measure.low else "above",
                }
            )
    return rows
