"""`impulse-noisy`: values that are lost: salt and pepper, dead and stuck pixels of a sensor, stripes and dead lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import (
    Knob,
    Params,
    Place,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.image import FloatImage, Image, as_floats, as_levels, to_uint8
from patina.synth.rng import Rng, normal_table
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

VALUES = ("extreme", "random")

CHANNELS = ("each", "all")

DIRECTIONS = ("columns", "rows")

COUNTS = 1 << 16
"""Of the random numbers, one for each value that may be hit."""

IMPULSES = Scale(
    (
        (0, "very light impulse noise"),
        (0.03, "light impulse noise"),
        (0.1, "medium impulse noise"),
        (0.3, "heavy impulse noise"),
        (0.6, "very heavy impulse noise"),
    )
)
"""Share of what is hit. Work on its removal goes from 10 to 90 %, and ImageNet-C from 3 to 27 %; the names are ours."""


def _said(known: Known) -> Said:
    density, lines, stripes = (known.number(name) for name in ("density", "lines", "stripes"))
    also = " and stripes" if lines or stripes else ""
    if density:
        of = "values" if known.params.get("channels") == "each" else "pixels"
        return on_scale(IMPULSES, density, f"{about(100 * density)}% of the {of}", "impulse noise", suffix=also)
    if also:
        return Said("stripes of a sensor", "stripes")
    if known.number("dead"):
        return Said("dead pixels of a sensor", "dead pixels")
    return Said("impulse noise", "impulse noise") if density is None else nothing("impulse noise")


@dataclass(frozen=True)
class ImpulseNoisy(InStrips):
    """Some values are replaced by others that tell nothing of the scene, and all others stay as they were.

    density    share of what is hit by salt and pepper, 0..0.95: of values, or of pixels where `channels` is "all".
    salt       share of white among the hits, 0..1; the others are black.
    values     "extreme" for salt and pepper, or "random" for any level, each as likely.
    channels   "each": red, green and blue are hit on their own; "all": a pixel is hit as a whole and becomes grey.
    dead       how many photosites in a million are dead or stuck at full, 0..5000. Each has one colour of a Bayer
               pattern, and bilinear demosaicing makes a small coloured cross of it.
    lines      share of lines that are dead, black or white from end to end, 0..0.3.
    stripes    standard deviation of an offset that each line has of its own, in 8-bit levels, 0..64.
    direction  of lines and stripes: "columns" or "rows", or a list to choose from.

    Truth: `mask`, H×W uint8: 255 where all three values are kept but for stripes, 0 where one is lost, or mixed with
    what is lost in the cross of a dead photosite.
    Salt and pepper at 0.03, 0.06, 0.09, 0.17 and 0.27 of the values are ImageNet-C's five severities (Hendrycks and
    Dietterich, ICLR 2019); the default runs over all of them. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "impulse-noisy"
    version: ClassVar[int] = 1
    reads_levels: ClassVar[bool] = True
    keeps_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "sensor"
    truth: ClassVar[tuple[str, ...]] = ("mask",)
    knob: ClassVar[Knob | None] = Knob("density", 0.001, 0.9)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"values": "random", "channels": "all"},
        {"dead": 3000, "lines": 0.05, "stripes": 12},
    )
    wording: ClassVar[Wording | None] = Wording(
        _said, ("remove the {}", "restore the lost pixels", "filter the {} out", "repair the {}")
    )

    density: Values = field(default_factory=lambda: {"min": 0.03, "max": 0.27})
    salt: Values = 0.5
    values: str = "extreme"
    channels: str = "each"
    dead: Values = field(default_factory=lambda: {"min": 0, "max": 200})
    lines: Values = 0
    stripes: Values = 0
    direction: str | Sequence[str] = DIRECTIONS

    def __post_init__(self) -> None:
        check_values("density", self.density, 0, 0.95)
        check_values("salt", self.salt, 0, 1)
        for name, known in (("values", VALUES), ("channels", CHANNELS)):
            if getattr(self, name) not in known:
                raise SettingError(f"{name}: expected one of {', '.join(known)}, found {getattr(self, name)!r}")
        check_values("dead", self.dead, 0, 5000)
        check_values("lines", self.lines, 0, 0.3)
        check_values("stripes", self.stripes, 0, 64)
        if not self._directions or any(one not in DIRECTIONS for one in self._directions):
            raise SettingError(f"direction: expected one or a list of columns, rows, found {self.direction!r}")

    @property
    def _directions(self) -> list[Any]:
        listed = isinstance(self.direction, Sequence) and not isinstance(self.direction, str)
        return list(self.direction) if listed else [self.direction]

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with `direction` always a list."""
        return super().settings() | {"direction": self._directions}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """All settings as above, each one value, and a `seed` for what is hit."""
        return {
            "density": draw_value(rng, self.density),
            "salt": draw_value(rng, self.salt),
            "values": self.values,
            "channels": self.channels,
            "dead": draw_value(rng, self.dead),
            "lines": draw_value(rng, self.lines),
            "stripes": draw_value(rng, self.stripes),
            "direction": rng.choice(self._directions),
            "seed": rng.seed(),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] in and out, or 8-bit levels; truth `mask`."""
        losses = _Losses(params, *image.shape[:2])

        def rows(top: int, bottom: int) -> Strip:
            part = losses.striped(image[top:bottom], top)
            mask = np.full(part.shape[:2], 255, np.uint8)
            losses.strike(part, mask, image[top:bottom], top)
            return Strip(part, {"mask": mask})

        return Strips(rows, levels=as_levels, floats=as_floats)


class _Losses:
    """What is lost in a picture of `height`×`width` pixels, for any of its rows. They are levels or floats, h×w×3: what
    becomes of levels is rounded as the floats are, and what comes in a lost value's place is a level already."""

    def __init__(self, params: Params, height: int, width: int) -> None:
        rng = Rng(params["seed"])
        self._seed, dead, lines = (rng.seed() for _ in range(3))
        self._each = params["channels"] == "each"
        self._hits, self._table = _table(params["density"], params["salt"], params["values"] == "random")
        self._dead = _crosses(Rng(dead), params["dead"], height, width)
        self._down = params["direction"] == "columns"
        self._offsets, self._lines = _lines(Rng(lines), params, width if self._down else height)

    def striped(self, part: FloatImage | Image, top: int) -> FloatImage | Image:
        """A copy of rows that begin with the row `top`, with the offsets of their lines."""
        offsets = self._offsets if self._down else self._offsets[top : top + len(part)]
        if not offsets.any():
            return part.copy()
        floats = np.array(as_floats(part), order="C")
        floats += np.repeat(offsets, 3).reshape(1, -1, 3) if self._down else offsets[:, None, None]
        np.clip(floats, 0, 1, out=floats)
        return floats if part.dtype == np.float32 else to_uint8(floats)

    def strike(self, part: FloatImage | Image, mask: NDArray[np.uint8], clean: FloatImage | Image, top: int) -> None:
        """Change striped rows that begin with the row `top`, in place; note in `mask` what is lost. `clean`: the rows
        before all of it."""
        white = np.float32(1) if part.dtype == np.float32 else np.uint8(255)
        lines = self._lines if self._down else self._lines[top : top + len(part)]
        for line in np.flatnonzero(lines >= 0):
            at = np.s_[:, line] if self._down else np.s_[line]
            part[at], mask[at] = white if lines[line] else 0, 0
        rows, columns, colours, shares, values = self._dead
        first, last = np.searchsorted(rows, (top, top + len(part)))
        if first < last:
            sites: Any = (rows[first:last] - top, columns[first:last], colours[first:last])
            along = columns[first:last] if self._down else rows[first:last]
            found = np.array(as_floats(clean[sites]))
            found += self._offsets[along]
            np.clip(found, 0, 1, out=found)
            np.copyto(found, self._lines[along], where=self._lines[along] >= 0)
            found += shares[first:last] * (values[first:last] - found)
            part[sites] = found if part.dtype == np.float32 else to_uint8(found)
            mask[sites[:2]] = 0
        self._sprinkle(part, mask, top)

    def _sprinkle(self, part: FloatImage | Image, mask: NDArray[np.uint8], top: int) -> None:
        """Salt and pepper. A row begins with a random word of its own: so it is the same whichever rows are made."""
        if not self._hits:
            return
        height, width = part.shape[:2]
        count = width * (3 if self._each else 1)
        words = -(-count // 4)
        rng = Rng(self._seed)
        rng.skip(top * words)
        chance = np.ascontiguousarray(rng.levels(4 * words * height).reshape(height, -1)[:, :count])
        lost: Any = cv2.inRange(chance, 0, self._hits - 1)
        value: Any = cv2.LUT(chance, self._table)
        if part.dtype == np.float32:
            value = as_floats(value)
        if self._each:
            cv2.copyTo(value, lost, part.reshape(height, -1))
            red, green, blue = cv2.split(lost.reshape(part.shape))
            lost = cv2.bitwise_or(cv2.bitwise_or(red, green), blue)
        else:
            cv2.copyTo(cv2.merge([value, value, value]), lost, part)
        mask[:] &= np.bitwise_not(lost)


def _table(density: float, salt: float, is_random: bool) -> tuple[int, NDArray[np.uint8]]:
    """How many of the 16-bit numbers are hits, the lowest ones, so that a denser noise hits the same values and others;
    and for each of them what comes in a value's place, 0..255, 1×65536.

    As many of them are white as were asked for, spread evenly, so that those stay white.
    """
    hits = int(density * COUNTS + 0.5)
    table = np.zeros(COUNTS, np.uint8)
    order = np.arange(hits, dtype=np.int64)
    if is_random:
        table[:hits] = order * 40503 % COUNTS >> 8  # 40503 is odd: a step that visits all numbers
    else:
        white = int(salt * COUNTS + 0.5)
        table[:hits] = ((order + 1) * white // COUNTS > order * white // COUNTS) * 255
    return hits, table[None]


def _lines(rng: Rng, params: Params, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each line's offset, and the value of each that is dead, -1 of the others; `count` float32 each."""
    offsets = normal_table()[rng.levels(count)] * (params["stripes"] / 255)
    chance, white = rng.uniforms(count), rng.uniforms(count) < 0.5
    return offsets.astype(np.float32), np.where(chance < params["lines"], white, -1).astype(np.float32)


def _crosses(rng: Rng, dead: float, height: int, width: int) -> tuple[NDArray[Any], ...]:
    """Row, column, colour, share and value, in the order of rows, of all that dead photosites change.

    A site of green gives its four neighbours a quarter of what they get; one of red or blue gives those at its sides a
    half, and those at its corners a quarter.
    """
    count = int(dead * height * width / 1e6 + 0.5)
    rows, columns = ((rng.uniforms(count) * side).astype(np.int64) for side in (height, width))
    stuck = (rng.uniforms(count) < 0.5).astype(np.float32)
    colours = rows % 2 + columns % 2  # 0 red, 1 green, 2 blue: see `patina.synth.sensor.BAYER`
    found: list[tuple[NDArray[Any], ...]] = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            far = abs(down) + abs(right)
            shares = np.where(colours == 1, (1.0, 0.25, 0.0)[far], (1.0, 0.5, 0.25)[far]).astype(np.float32)
            found.append((rows + down, columns + right, colours, shares, stuck))
    parts = [np.concatenate(one) for one in zip(*found, strict=True)]
    inside = (parts[0] >= 0) & (parts[0] < height) & (parts[1] >= 0) & (parts[1] < width) & (parts[3] > 0)
    parts = [part[inside] for part in parts]
    # Where two crosses meet, the greater share counts; of one pixel and colour only one is left.
    place = (parts[0] * width + parts[1]) * 3 + parts[2]
    order = np.lexsort((parts[4], -parts[3], place))
    order = order[np.concatenate(([True], np.diff(place[order]) > 0))] if len(order) else order
    return tuple(part[order] for part in parts)
