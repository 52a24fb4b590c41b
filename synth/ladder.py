"""What each knob does over its whole range: its value, the words for it, and what is measured, on one fixed picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.severity import measure
from patina.synth.wording import Said
from patina.synth.words import hole_in, say, to_see

RUNGS = 13
"""Values of a knob: its ends, and eleven places between."""

SEED = "1ad" * 10 + "de"

OTHERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "hazy": ({"model": "reside"},),
    "jpeg-compressed": ({"codec": "webp"},),
    "noisy": ({"model": "sensor"}, {"model": "poisson"}),
}
"""Settings with which one of DA-CLIP's ten has another knob than by default, or the same with another meaning; of the
others, their `ways`."""


@dataclass(frozen=True)
class Rung:
    """One value of a knob.

    value  as a recipe writes it. said: the words for it. score: measured severity, 0 to 100, of the fixed picture.
    """

    value: float
    said: Said
    score: float

    @property
    def words(self) -> str:
        """What a sample's sentence says, without its frame."""
        return f"{self.said.phrase}, {to_see(self.score)}"


@dataclass(frozen=True)
class Ladder:
    """A knob over its whole range, mildest first; `settings` are those that are not the defaults."""

    setting: str
    settings: Mapping[str, Any]
    rungs: tuple[Rung, ...]


def ladders(name: str, count: int = RUNGS) -> list[Ladder]:
    """The ladder of each knob of a degradation of the catalogue, `count` values each, fewer of a whole setting.

    All that chance decides is the same on every rung, and so is the picture (`picture`).
    """
    fields = {field.name for field in dataclasses.fields(CATALOGUE[name])}  # type: ignore[arg-type]
    chosen = [s for s in ({}, *OTHERS.get(name, CATALOGUE[name].ways)) if s.keys() <= fields]
    return [_ladder(CATALOGUE[name](**settings), settings, count) for settings in chosen]


def _ladder(degradation: Degradation, settings: Mapping[str, Any], count: int) -> Ladder:
    knob = degradation.knob
    assert knob is not None, "every degradation has a knob at its defaults"
    values = dict.fromkeys(knob.at(i / (count - 1)) for i in range(count))
    rungs = tuple(rung(dataclasses.replace(degradation, **{knob.setting: v}), v) for v in values)  # type: ignore[type-var]
    return Ladder(knob.setting, settings, rungs)


def rung(degradation: Degradation, value: float) -> Rung:
    """One rung: the picture degraded, worded and measured."""
    image = picture()
    params = degradation.draw(Rng(SEED), image)
    degraded = degradation.apply(image, params)
    measured = measure(image, degraded.image)
    hole = hole_in(degraded.truth["mask"]) if "mask" in degraded.truth else None
    return Rung(value, say(degradation.name, params, measured.residual_std, hole), measured.score)


@cache
def picture() -> Image:
    """A street under a sky, made of whole numbers: 192×256×3 RGB uint8, read-only.

    It has what degradations look for: a bright even sky, texture in bands, straight edges, dark and bright parts.
    """
    height, width, horizon = 192, 256, 84
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    grain = np.rint(cv2.blur((Rng(SEED).levels(height * width).reshape(height, width) >> 8).astype(np.uint8), (3, 3)))
    image = np.empty((height, width, 3), np.int64)
    for channel, (top, bottom, ground) in enumerate(((90, 190, 120), (140, 210, 116), (205, 225, 104))):
        sky = top + (bottom - top) * rows // horizon + 0 * columns
        earth = ground - (rows - horizon) // 4 + (grain.astype(np.int64) - 128) // 2
        image[..., channel] = np.where(rows < horizon, sky, earth)
    for left, top, wide, colour in (
        (8, 30, 52, (150, 84, 66)),
        (70, 52, 60, (206, 196, 172)),
        (196, 14, 50, (72, 84, 98)),
    ):
        house = image[top : horizon + 20, left : left + wide]
        house[:] = np.array(colour) + (grain[top : horizon + 20, left : left + wide, None].astype(np.int64) - 128) // 6
        for y in range(8, len(house) - 12, 16):
            for x in range(6, wide - 8, 12):
                house[y : y + 9, x : x + 6] = (38, 44, 56) if (x + y) % 5 else (250, 238, 190)
    image[horizon + 20 :, 120:136] = (236, 232, 224)  # a white line on the road
    levels: Image = np.clip(image, 0, 255).astype(np.uint8)
    levels.setflags(write=False)
    return levels
