"""What falls past a camera while its shutter is open, drawn as light adds up: for rain and snow.

Each particle is a trace: a spot that moves along a straight line. Its mass, the sum of its brightness over all pixels,
is spread along the line and then by a blur of its own: a trace that is longer or less in focus is fainter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.elementary import fast_sine, sine_factors
from patina.synth.resampling import (
    Rows,
    enlarged,
    enlarged_rows,
    filter_in_place,
    filtered_rows,
    gaussian_taps,
)
from patina.synth.strips import heed

Values: TypeAlias = NDArray[np.float32]

FOCAL = 1.37
"""Focal length of the camera that rain and snow assume, in short sides of the image: 40° across the short side."""

SHARPEST = 0.5
"""Standard deviation in pixels of the blur that any lens and sensor have. Classes of blur are √2 apart from here."""

SMALLEST = 2**-1.5
"""Variance of the first class, px²: of a blur a fourth root of 2 above SHARPEST, the middle of its class."""

FINE = ((2, 2 * SMALLEST), (1, SMALLEST), (0, SMALLEST))
"""Classes in the order in which they are drawn, and the variance of the blur after each. A class has twice the variance
of the one before."""

COARSE = ((2, 2 * SMALLEST + 1 / 4), (1, 2 * SMALLEST - 1 / 4))
"""The same in pixels of 2^n × 2^n, of classes 2·n further: their variances are 4 and 2 times SMALLEST there. To be
shared by two pixels and to be enlarged by straight lines is a blur, too, of a third of a pixel's square: the narrower
class has less of its own for it."""

POINTS = 1 << 15
"""Points that are drawn at a time: they stay in a cache."""


@dataclass(frozen=True)
class Profile:
    """Brightness along traces, at places x from -½ to ½ of the way: level + fade·x⁴, times base + glint·sin 2π(swings·x
    + turns) if there are `swings` and `turns`, a number of each trace, N float32."""

    fade: float = 0.0
    level: float = 1.0
    glint: float = 0.0
    base: float = 1.0
    swings: Values | None = None
    turns: Values | None = None

    def at(self, along: Values, each: Callable[[Values], Values]) -> Values:
        """At any places, where `each` gives of a number of each trace that of the trace which a place belongs to."""
        bright = along * along
        bright *= bright
        bright *= np.float32(self.fade)
        bright += np.float32(self.level)
        if self.swings is None or self.turns is None:
            return bright
        turns = each(self.swings)
        turns *= along
        turns += each(self.turns)
        glint = fast_sine(turns)
        glint *= np.float32(self.glint)
        glint += np.float32(self.base)
        glint *= bright
        return glint


@dataclass(frozen=True)
class Traces:
    """N traces; every field is N float32.

    x, y    the middle of the way, px; the centre of the first pixel is (½, ½). y grows downwards.
    dx, dy  the way, px.
    mass    brightness summed over pixels.
    blur    standard deviation of the blur across it, px, at least SHARPEST.
    """

    x: Values
    y: Values
    dx: Values
    dy: Values
    mass: Values
    blur: Values


def expose(height: int, width: int, traces: Traces, profile: Profile) -> Values:
    """The picture of all traces together, height×width float32, ≥ 0: all rows of `exposed`."""
    return exposed(height, width, traces, profile)(0, height)


def exposed(height: int, width: int, traces: Traces, profile: Profile) -> Rows:
    """What gives any rows of the picture of all traces together, height×width float32, ≥ 0.

    Blurs are rounded to classes √2 apart. The two widest are drawn in pixels as coarse as their blur lets them, the
    next two in pixels of half that size, and so on. Of each size what is blurred most is drawn first, then blurred by
    what it has more than the next class, which is drawn into the same picture, and so on: all share their last blur.
    """
    ratio = (np.maximum(traces.blur, SHARPEST) / SHARPEST).astype(np.float64)
    classes = np.frexp(ratio * ratio)[1] - 1  # 2·log2 of the ratio, rounded down
    last = (int(classes.max()) - 1) // 2 if len(classes) else 0
    coarser: Values | None = None
    for level in range(last, 0, -1):
        layer = _Layer(height, width, level)
        for number, variance in COARSE:
            heed()
            layer.draw(traces, np.flatnonzero(classes == number + 2 * level), profile)
            layer.soften(variance)
        if coarser is not None:
            layer.pixels += enlarged(coarser, 2)[: layer.rows, : layer.columns]
        coarser = layer.pixels
    sharp = _Layer(height, width, 0)
    for number, variance in FINE:
        heed()
        sharp.draw(traces, np.flatnonzero(classes == number), profile)
        if number:
            sharp.soften(variance)
    behind = enlarged_rows(coarser, 2, height, width) if coarser is not None else None

    def rows(top: int, bottom: int) -> Values:
        if not sharp.is_drawn:
            return behind(top, bottom) if behind else np.zeros((bottom - top, width), np.float32)
        total = sharp.softened(top, bottom, FINE[-1][1])
        if behind:
            total += behind(top, bottom)
        return total

    return rows


class _Layer:
    """A picture in pixels of 2^level × 2^level, each of which holds the mean of what falls into it.

    pixels    rows×columns float32, within a frame of a pixel that catches what falls beside it.
    is_drawn  whether anything was drawn.
    """

    def __init__(self, height: int, width: int, level: int) -> None:
        self._step = 1 << level
        self.rows, self.columns = -(-height // self._step), -(-width // self._step)
        self._stride = self.columns + 3
        self._values = np.zeros((self.rows + 3) * self._stride, np.float32)
        self.pixels = self._values.reshape(self.rows + 3, self._stride)[1 : self.rows + 1, 1 : self.columns + 1]
        self.is_drawn = False

    def draw(self, traces: Traces, which: NDArray[np.intp], profile: Profile) -> None:
        """Add traces `which`, some at a time, so that their points stay in a cache."""
        steep = np.abs(traces.dy[which]) >= np.abs(traces.dx[which])
        for some, is_steep in ((which[steep], True), (which[~steep], False)):
            part = _Ways(traces, some, self._step, self.rows if is_steep else self.columns, is_steep)
            ends = np.cumsum(part.counts)
            first = 0
            while first < len(some):
                done = int(ends[first - 1]) if first else 0
                last = max(first + 1, int(np.searchsorted(ends, done + POINTS, side="right")))
                if ends[last - 1] > done:
                    self._draw(part, slice(first, last), some[first:last], profile, is_steep)
                first = last

    def _draw(self, ways: _Ways, part: slice, numbers: NDArray[np.intp], profile: Profile, is_steep: bool) -> None:
        """Each trace as a point a row, or a column if it is not steep: the share of it that lies in that row, between
        the two pixels that are nearest."""
        self.is_drawn = True
        if functions():
            self._draw_compiled(ways, part, numbers, profile, is_steep)
            return
        counts = ways.counts[part]
        ends = np.cumsum(counts)

        def each(values: NDArray[Any]) -> NDArray[Any]:
            return np.repeat(values[part], counts)

        line = np.arange(int(ends[-1]), dtype=np.int32)
        line += np.repeat((ways.first[part] - (ends - counts)).astype(np.int32), counts)
        upper = line.astype(np.float32)
        lower = upper + np.float32(1)
        np.minimum(lower, each(ways.end), out=lower)
        np.maximum(upper, each(ways.start), out=upper)
        share = lower - upper
        upper += lower
        upper *= np.float32(0.5)
        upper -= each(ways.middle)  # the middle of what lies in that row, from the middle of the way
        share *= each(ways.density)
        share *= profile.at(upper * each(ways.per_length), lambda values: np.repeat(values[numbers], counts))
        upper *= each(ways.slope)
        upper += each(ways.across)
        np.clip(upper, np.float32(0), np.float32((self.columns if is_steep else self.rows) + 1), out=upper)
        near = upper.astype(np.int32)
        upper -= near
        line += 1
        if is_steep:
            line *= self._stride
        else:
            near *= self._stride
        line += near
        place = line.astype(np.intp)  # with any other kind of integer, `add.at` takes twenty times as long
        far = np.multiply(share, upper, out=upper)
        share -= far
        np.add.at(self._values, place, share)
        place += 1 if is_steep else self._stride
        np.add.at(self._values, place, far)

    def _draw_compiled(
        self, ways: _Ways, part: slice, numbers: NDArray[np.intp], profile: Profile, is_steep: bool
    ) -> None:
        """The same by a compiled loop."""
        compiled = functions()
        assert compiled
        names = "first", "counts", "start", "end", "middle", "density", "per_length", "slope", "across"
        of_each = [getattr(ways, name)[part] for name in names]
        swinging = []
        if profile.swings is not None and profile.turns is not None:
            swinging = [profile.swings[numbers], profile.turns[numbers]]
        points = int(ways.counts[part].sum())
        places, far = np.empty(points, np.int32), np.empty(points, np.float32)
        apart = (self._stride, 1) if is_steep else (1, self._stride)
        most = (self.columns if is_steep else self.rows) + 1
        assert {values.dtype for values in [*of_each[2:], *swinging]} == {np.dtype(np.float32)}
        swing = tuple(map(pointer, swinging)) or (None, None)
        bright = profile.fade, profile.level, *swing, profile.glint, profile.base
        rest = pointer(sine_factors()), pointer(places), pointer(far)
        size = *apart, most, len(numbers)
        compiled.patina_draw(pointer(self._values), *size, *map(pointer, of_each), *bright, *rest)

    def softened(self, top: int, bottom: int, variance: float) -> Values:
        """Rows top to bottom, blurred by a Gaussian of this variance. A new array."""
        return filtered_rows(self.pixels, top, bottom, gaussian_taps(math.sqrt(variance)))

    def soften(self, variance: float) -> None:
        """Blur what is drawn by a Gaussian of this variance, in place."""
        if self.is_drawn:
            filter_in_place(self.pixels, gaussian_taps(math.sqrt(variance)))


class _Ways:
    """N ways along one axis of a layer, in its pixels; every field is of N.

    start, end   where it begins and ends along that axis: it is made as much longer as it gets wider across by being
                 shared by the two nearest pixels, a variance of a sixth of a pixel's square on average.
    first        the first row, or column, that it is in, and `counts` how many of them lie in the picture.
    middle, across, slope  of its middle, the places along and across that axis, and what it goes across a pixel along.
    per_length   one over its length along the axis, below 0 if it goes back. density: of mass, a pixel.
    """

    def __init__(self, traces: Traces, which: NDArray[np.intp], step: int, size: int, is_steep: bool) -> None:
        along, across = (traces.y, traces.x) if is_steep else (traces.x, traces.y)
        by, beside = (traces.dy, traces.dx) if is_steep else (traces.dx, traces.dy)
        scale = np.float32(1 / step)
        self.middle, self.across = along[which] * scale, across[which] * scale + np.float32(0.5)
        way, drift = by[which] * scale, beside[which] * scale
        length = np.sqrt(way * way + np.float32(2))
        self.start, self.end = self.middle - length * np.float32(0.5), self.middle + length * np.float32(0.5)
        first, last = np.clip(np.floor(self.start), 0, size), np.clip(np.ceil(self.end), 0, size)
        self.first, self.counts = first.astype(np.int64), (last - first).astype(np.int64)
        self.per_length = np.copysign(1 / length, way)
        self.slope = drift * self.per_length
        self.density = traces.mass[which] * (scale * scale) / length
