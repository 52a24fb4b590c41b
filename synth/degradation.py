"""The protocol that every degradation follows, and the settings that a recipe can give it.

Chance and effect are apart: `draw` looks at a generator and gives a dictionary, `apply` is a pure function of an
image and that dictionary. So any stored sample can be made again: `apply(gt, params).image` is its LQ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from patina.synth.elementary import power_of
from patina.synth.image import FloatImage, Image, Map, to_encoded, to_encoded_levels, to_float, to_uint8
from patina.synth.rng import Rng
from patina.synth.wording import Wording

Params: TypeAlias = Mapping[str, Any]
"""What was drawn for one sample: strings, numbers, booleans and lists of them, so that JSON keeps it exactly."""

Values: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""A setting as a recipe writes it: one number, a list to choose from, or a range `{min = 5, max = 55}`."""


class SettingError(ValueError):
    """A degradation's setting that cannot work. Says what was found, what was expected and what to write."""


@dataclass(frozen=True)
class Degraded:
    """What a degradation made of one image.

    image  the degraded image as a reader of the stored LQ will see it: same shape as the clean one, RGB uint8.
    truth  truth maps by name (`mask`), H×W uint8 or uint16 each (a blur `kernel` k×k): what was done where.
    file   suffix and bytes, where the degradation *is* a codec: then these bytes are the stored LQ.
    steps  intermediate targets of a composite by name (`step-1`), H×W×3 RGB uint8 each.
    """

    image: Image
    truth: Mapping[str, Map] = field(default_factory=dict)
    file: tuple[str, bytes] | None = None
    steps: Mapping[str, Image] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendering:
    """An image on its way: float32 in [0, 1], not yet quantised; and the truth maps so far.

    pixels  sRGB-encoded, or linear light where `is_linear`; there what is brighter than white is not yet cut off.
    """

    pixels: FloatImage
    truth: Mapping[str, Map] = field(default_factory=dict)
    is_linear: bool = False

    @property
    def image(self) -> FloatImage:
        """The image, sRGB-encoded in [0, 1]."""
        return to_encoded(self.pixels) if self.is_linear else self.pixels

    @property
    def levels(self) -> Image:
        """The image, rounded to 8-bit levels."""
        return to_encoded_levels(self.pixels) if self.is_linear else to_uint8(self.pixels)


@dataclass(frozen=True)
class Place:
    """Which photograph, and which part of it, a sample is cut from: for settings that bring a file for each photograph.

    name  the photograph's name relative to its source's folder. x, y, width, height: the part, in pixels of the whole,
    which is full_width×full_height.
    """

    name: str
    x: int
    y: int
    width: int
    height: int
    full_width: int
    full_height: int


Stage: TypeAlias = Literal["scene", "atmosphere", "optics", "sensor", "codec", "loss"]
"""Where on light's way from the scene to the file a degradation happens; composites follow this order."""

STAGES: tuple[Stage, ...] = ("scene", "atmosphere", "optics", "sensor", "codec", "loss")


@dataclass(frozen=True)
class Knob:
    """The setting that makes a degradation stronger, and the numbers between which it runs.

    Severity rises from `mildest` to `strongest`. Both above 0: places between them are at equal ratios; else at equal
    distances. whole: the setting takes whole numbers.
    """

    setting: str
    mildest: float
    strongest: float
    whole: bool = False

    def at(self, place: float) -> float:
        """The setting's value at a place from 0 (mildest) to 1 (strongest)."""
        if self.mildest > 0 and self.strongest > 0:
            value = self.mildest * power_of(self.strongest / self.mildest, place)
        else:
            value = self.mildest + (self.strongest - self.mildest) * place
        return float(round(value)) if self.whole else float(value)


class Degradation(Protocol):
    """One way in which photographs go wrong. A dataclass whose fields are its settings, with defaults.

    name     the field's word for it, also in recipes, labels and shard names.
    version  raised whenever the same parameters give other pixels, so that old samples are made again.
    stage    where on light's way it happens.
    truth    names of the truth maps that every result carries (`mask`); none by default.
    knob     the setting that a recipe turns when it asks for a severity; None if there is none.
    ways     settings with which it goes another way, or its knob means something else: for ladders and checks.
    wording  how to speak of it; DA-CLIP's ten have theirs in `patina.synth.words`.
    maps     of each truth map that no other degradation has, its meaning and its levels, for the card of a dataset.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    stage: ClassVar[Stage]
    truth: ClassVar[tuple[str, ...]] = ()
    knob: ClassVar[Knob | None] = None
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    wording: ClassVar[Wording | None] = None
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> Params:
        """Parameters for one sample of `image` (H×W×3 uint8 RGB). Reads the image at most; never changes it.

        `place` tells which photograph it is, for degradations that look a file up for it (a depth map).
        """
        ...

    def missing_input(self, name: str) -> str:
        """What it would need for the photograph called `name` and has not, such as a depth map, in words; mostly "".

        Asked before a build, so that such a photograph is set aside and stops nothing.
        """
        del name
        return ""

    def side_input_digest(self, name: str) -> str:
        """A digest of what it reads beside the image for the photograph called `name`, such as a depth map; mostly "".

        Part of that photograph's fingerprints: another map makes its samples anew, and no others.
        """
        del name
        return ""

    def apply(self, image: Image, params: Params) -> Degraded:
        """Degrade `image` (H×W×3 uint8 RGB, unchanged afterwards) as `params` say. Pure and free of chance."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that decides what `draw` can give, as JSON: part of every sample's fingerprint."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


@runtime_checkable
class Rendered(Degradation, Protocol):
    """A degradation that is computed in floats: it gives `render`, and `apply` quantises once, by rounding.

    In a composite the renderings of several are chained, and only the last result is quantised.

    reads_levels  whether `render` takes 8-bit levels, too: as the floats that they are, with the same bits, and sooner.
    """

    reads_levels: ClassVar[bool] = False

    def render(self, image: FloatImage, params: Params) -> Rendering:
        """Degrade `image` (H×W×3 float32 in [0, 1], sRGB-encoded, unchanged afterwards). Pure and free of chance."""
        ...

    def apply(self, image: Image, params: Params) -> Degraded:
        """`render`, from 8-bit levels and back to them."""
        rendering = self.render(image if self.reads_levels else to_float(image), params)  # type: ignore[arg-type]
        return Degraded(rendering.levels, rendering.truth)


def check_values(name: str, values: Values, low: float, high: float, *, whole: bool = False) -> None:
    """Raise SettingError unless every number in `values` lies in [low, high] and, if `whole`, is an integer."""
    written: Any = values  # a recipe can hold anything
    if isinstance(written, Mapping):
        if set(written) != {"min", "max"}:
            raise SettingError(f"{name}: expected a range {{min = …, max = …}}, found the keys {sorted(written)}")
        numbers = [written["min"], written["max"]]
    else:
        numbers = list(written) if isinstance(written, Sequence) and not isinstance(written, str) else [written]
    if not numbers:
        raise SettingError(f"{name}: the list is empty; give at least one number")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise SettingError(f"{name}: expected a number from {low:g} to {high:g}, found {number!r}")
        if whole and number != int(number):
            raise SettingError(f"{name}: expected a whole number, found {number}")
        if not low <= number <= high:
            raise SettingError(f"{name}: expected {low:g} to {high:g}, found {number:g}")
    if isinstance(values, Mapping) and values["min"] > values["max"]:
        raise SettingError(f"{name}: min {values['min']:g} is above max {values['max']:g}; swap them")


def draw_value(rng: Rng, values: Values, *, whole: bool = False) -> float:
    """One number from `values`: itself, one of a list, or uniform in a range (ends included if `whole`)."""
    if isinstance(values, Mapping):
        if whole:
            return rng.integer(int(values["min"]), int(values["max"]))
        return rng.uniform(values["min"], values["max"])
    number = rng.choice(values) if isinstance(values, Sequence) else values
    return int(number) if whole else float(number)
