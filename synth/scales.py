"""The field's names for ranges of a quantity: rain by millimetres an hour, fog by visibility, wind by Beaufort.

A number is rounded as it will be told, and then named, so that the two never disagree: 49.6 mm/h is told as 50, and 50
is violent. Sources stand with each scale; where nobody has defined classes, that is said too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from patina.synth.elementary import log_of

LN_2 = 0.6931471805599453

LEAST = 0.01
"""What is smaller is told as less than this, never as 0."""


@dataclass(frozen=True)
class Scale:
    """Names of the ranges of a quantity that is 0 or more, mildest first.

    steps    (bound, name): the name holds from the bound on, or, of a `falling` scale, below it.
    falling  whether less is stronger, as of visibility.
    """

    steps: tuple[tuple[float, str], ...]
    falling: bool = False

    def place(self, value: float) -> int:
        """Which of the steps a number belongs to as it is told, 0 the mildest."""
        told = rounded(value)
        held = [told < bound if self.falling else told >= bound for bound, _ in self.steps]
        return max((i for i, holds in enumerate(held) if holds), default=0)

    def name(self, value: float) -> str:
        """What a number is called, as it is told."""
        return self.steps[self.place(value)][1]


def rounded(value: float) -> float:
    """A number as it is told: to two significant digits."""
    return float(f"{value:.2g}")


def written(value: float) -> str:
    """A number ≥ 0 as it is told: two significant digits, never 0 unless it is 0.

    >>> written(393.7), written(0.0412), written(0.0001), written(0)
    ('390', '0.041', 'less than 0.01', '0')
    """
    return f"less than {LEAST:g}" if 0 < value < LEAST else f"{rounded(value):.10g}"


def about(value: float) -> str:
    """`about 390`, or `less than 0.01`."""
    return written(value) if 0 < value < LEAST else f"about {written(value)}"


def metres(value: float) -> str:
    """A distance ≥ 0 in metres: `about 390 m`, `about 1.2 km`."""
    return f"{about(value / 1000)} km" if rounded(value) >= 1000 else f"{about(value)} m"


def stops_of(ratio: float) -> float:
    """Stops by which a shadow is darker than the sun beside it, where the sun is `ratio` times as bright as the sky."""
    return log_of(1 + ratio) / LN_2


RAIN = Scale(((0, "light rain"), (2.5, "moderate rain"), (10, "heavy rain"), (50, "violent rain")))
"""Millimetres an hour: WMO's Guide to Instruments and Methods of Observation (WMO-No. 8)."""

SNOW = Scale(((0, "light snow"), (1, "moderate snow"), (5, "heavy snow")))
"""Millimetres of melted water an hour: the same guide."""

BEAUFORT = Scale(
    (
        (0, "calm air"),
        (0.3, "light air"),
        (1.6, "a light breeze"),
        (3.4, "a gentle breeze"),
        (5.5, "a moderate breeze"),
        (8, "a fresh breeze"),
        (11, "a strong breeze"),
        (14, "a near gale"),
    )
)
"""Metres a second: WMO's Beaufort scale, 0 to 7; from 10.8 and 13.9 on, which are told as 11 and 14."""

BLIZZARD = 7
"""Beaufort's number from which heavy snow is a blizzard: the U.S. National Weather Service asks for 35 miles an hour
(15.6 m/s), which is a near gale."""

_FOGS = ((1000.0, "fog"), (200.0, "thick fog"), (50.0, "dense fog"))
MIST = Scale(((math.inf, "thin haze"), (5000, "mist"), *_FOGS), falling=True)
HAZE = Scale(((math.inf, "thin haze"), (5000, "haze"), *_FOGS), falling=True)
"""Metres of visibility: fog is below 1 km, mist of drops and haze of dry particles up to 5 km (WMO, ICAO's Annex 3);
thick and dense fog are the Met Office's, below 200 and 50 m."""

DROPS = 0.95
"""Red's extinction over green's from which particles are drops, which dim all colours alike: dry haze dims blue most
(Ångström's exponent is then above 0.5)."""

VEIL = Scale(
    (
        (math.inf, "a thin veil of haze"),
        (0.8, "a veil of haze"),
        (0.5, "a dense veil of haze"),
        (0.25, "a very dense veil of haze"),
    ),
    falling=True,
)
"""Share of the light that passes, where there is no distance. Nobody has defined classes; the measured pairs of
RESIDE's outdoor set lie between 0.46 and 0.63."""

NOISE = Scale(
    ((0, "very weak"), (5, "weak"), (20, "medium"), (37.5, "strong"), (75, "very strong")),
)
"""Standard deviation in 8-bit levels: 15, 25 and 50 are the three classes of denoising work, and the bounds lie between
them; very weak is below what is seen at a glance."""

JPEG = Scale(
    (
        (math.inf, "very light"),
        (90, "light"),
        (75, "medium"),
        (50, "strong"),
        (25, "very strong"),
        (10, "extreme"),
    ),
    falling=True,
)
"""Quality as libjpeg counts it: 75 is its default, 50 the standard's own tables, and its guide recommends 50 to 95;
below 25 some tables are at their coarsest. 10 to 40 are the qualities of the work on artefacts."""

DARKNESS = Scale(
    (
        (0, "slight underexposure"),
        (1, "underexposure"),
        (2, "strong underexposure"),
        (4, "low light"),
        (6, "near darkness"),
    )
)
"""Stops of exposure that are missing. A stop is the photographer's step; the names are ours."""

SHADOW = Scale(
    (
        (0, "a faint shadow"),
        (0.5, "a light shadow"),
        (1.5, "a clear shadow"),
        (2.5, "a deep shadow"),
        (3.5, "a very deep shadow"),
    )
)
"""Stops by which it is darker than the sun beside it: two to three on a clear day. The names are ours."""

BLUR = Scale(
    (
        (0, "very short motion blur"),
        (2, "short motion blur"),
        (8, "medium motion blur"),
        (20, "long motion blur"),
        (50, "very long motion blur"),
    )
)
"""Pixels of the path at a short side of 512. The names are ours."""

COVER = Scale(
    ((0, "sparse"), (0.05, "scattered"), (0.15, "dense"), (0.35, "very dense")),
)
"""Share of the view that drops cover. The names are ours."""

HOLES = Scale(
    (
        (0, "tiny parts missing"),
        (0.01, "small parts missing"),
        (0.1, "parts missing"),
        (0.3, "large parts missing"),
        (0.5, "half or more of the picture missing"),
    )
)
"""Share of the picture: the bounds are among those of Liu et al.'s irregular masks (ECCV 2018), 0.01, 0.1 … 0.5."""
