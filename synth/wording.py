"""What the words for a degradation are made of: what is known of it, what is said of it, and how that is asked to undo.

The sentences of DA-CLIP's ten stand in `patina.synth.words`; a degradation beyond them brings its own, as `wording` of
its class, so that it stays one file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from patina.synth.scales import Scale


@dataclass(frozen=True)
class Known:
    """What is known of one degradation of a sample.

    params    what was drawn; of an ingested pair what its names or pixels tell, or nothing.
    residual  standard deviation of LQ − GT in 8-bit levels, where this degradation alone made it; else None.
    hole      share of the picture, 0..1, that the mask drawn makes a hole; None where no mask is known. A small picture
              can have more of it than was asked for, since a stroke or a letter is a pixel wide at the least.
    """

    params: Mapping[str, Any]
    residual: float | None = None
    hole: float | None = None

    def number(self, name: str) -> float | None:
        """The parameter of that name if it is a number ≥ 0; a pair's may be anything."""
        value = self.params.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond all floats
            return None
        return number if math.isfinite(number) and number >= 0 else None


@dataclass(frozen=True)
class Said:
    """What is said of one degradation.

    phrase  what was done, with its number and unit where that is known: "heavy rain, about 30 mm an hour".
    noun    what it is, as in "remove the …".
    place   how far up its scale it stands, 0 the mildest, -1 for nothing at all; None where its quantity is not known.
    """

    phrase: str
    noun: str
    place: int | None = None


@dataclass(frozen=True)
class Wording:
    """How to speak of one degradation.

    say   what is said of it, from what is known.
    undo  instructions that ask for its removal; {} stands for its noun.
    """

    say: Callable[[Known], Said]
    undo: tuple[str, ...]


def nothing(noun: str) -> Said:
    """That there is none of it."""
    return Said(f"no {noun}", noun, -1)


def on_scale(scale: Scale, value: float, detail: str, noun: str, *, suffix: str = "") -> Said:
    """A value's name on a scale, with its number."""
    return Said(f"{scale.name(value)}{suffix}, {detail}", noun, scale.place(value))
