"""Water on a pane of glass: where it is and how its surface slopes. Drops, drops that ran together, drops that run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import Params
from patina.synth.elementary import Floats, cosine_of, exp, fast_exp, fast_log, log_of, sine_of
from patina.synth.resampling import Places, curved
from patina.synth.rng import Rng

Field = NDArray[np.float32]

SMALLEST = 3.0
"""Least radius of a drop, pixels at a short side of 512."""

REACH = 6.0
"""How far a drop's field reaches over its rim, pixels at a short side of 512: closer neighbours flow together."""

AT_ONCE = 1 << 19
"""Pixels of drops that are added up together."""

SAG = 0.35
"""How much steeper water is at a drop's foot than at its middle: gravity."""


def water(rows: int, cols: int, params: Params) -> tuple[Field, Places, Field, Field]:
    """What water covers, 0..1, rows×cols float32; the N places where it is above 0, as indices into the flattened
    field; and there the surface's slope to the right and down, N float32 each.

    The slope is the sine of the surface's angle over that of the contact angle: the place in a unit circle, for a
    round drop. A drop's field is exp(k·(1 − r²)), r = 1 at its rim. Where the sum of all fields is above 1 there is
    water, and slopes are means with the fields as weights: drops that come close flow together with a smooth neck.
    """
    scale = min(rows, cols) / 512
    rng = Rng(params["seed"])
    # Dirt pins the water's edge, which therefore wanders: by some pixels, whatever the drop's size. Drawn before the
    # drops are, so that it stays when there are more of them.
    wander = smooth(rng, rows, cols, 20 * scale) * 0.35
    total, slope_right, slope_down = np.full((3, rows, cols), 1e-6, np.float32)
    x, y, wide, high = np.array([(0.0, 0.0, 0.0, 0.0), *drops(rows, cols, params, rng)])[1:].T
    k = np.clip(np.sqrt(wide * high) / (REACH * scale), 1.6, 14.0)
    reach = np.sqrt(1 + 3 / k)
    left, right = np.maximum(0, np.ceil(x - wide * reach)), np.minimum(cols, np.floor(x + wide * reach) + 1)
    top, bottom = np.maximum(0, np.ceil(y - high * reach)), np.minimum(rows, np.floor(y + high * reach) + 1)
    seen = (left < right) & (top < bottom)
    if seen.any():
        xs, ys, wides, highs, ks = (part[seen] for part in (x, y, wide, high, k))
        lefts, rights, tops, bottoms = (edge[seen].astype(np.intp) for edge in (left, right, top, bottom))
        columns = _Profiles(lefts, rights, xs, wides, ks, np.zeros_like(ks))
        lines = _Profiles(tops, bottoms, ys, highs, ks, ks)
        areas = np.cumsum((rights - lefts) * (bottoms - tops))
        # Some at a time, which bounds the memory; many at once, since most are small.
        ends = np.flatnonzero(np.diff(areas // AT_ONCE)) + 1
        for first, end in pairwise([0, *ends.tolist(), len(areas)]):
            _add_up((total, slope_right, slope_down), columns, lines, slice(first, end))
    cover = fast_log(total)
    cover += wander
    cover *= np.float32(REACH * scale / 2)
    cover += np.float32(0.5)
    np.clip(cover, 0, 1, out=cover)
    places = np.flatnonzero(cover > 0)
    weight, right, down = (field.reshape(-1)[places] for field in (total, slope_right, slope_down))
    right /= weight
    down /= weight
    bulge = np.maximum(1 - right * right - down * down, 0)
    lean = 1 + SAG * down
    right *= lean
    down *= lean
    down -= SAG / 2 * bulge
    return cover, places, right, down


class _Profiles:
    """Along one axis, of all drops one after the other: their pixels from first to end, in halves of their widths from
    their middles (`away`), and exp(top − k·r²) at each (`values`). `pixel` is where each of them is in the picture."""

    def __init__(self, firsts: Places, ends: Places, middles: Floats, halves: Floats, ks: Floats, tops: Floats) -> None:
        self.counts = ends - firsts
        self.starts = np.cumsum(self.counts) - self.counts
        drop = np.repeat(np.arange(len(self.counts)), self.counts)
        self.pixel = np.arange(len(drop)) - (self.starts - firsts)[drop]
        self.away = ((self.pixel - middles[drop]) / halves[drop]).astype(np.float32)
        self.values = fast_exp(self.away * self.away * (-ks).astype(np.float32)[drop])
        self.values *= exp(tops).astype(np.float32)[drop]


def _add_up(fields: tuple[Field, Field, Field], columns: _Profiles, lines: _Profiles, which: slice) -> None:
    """Add drops `which` to the sum of fields, and their places in them times their fields to the slopes; in place.

    A drop's rows are segments as long as it is wide; all segments' pixels stand one after the other.
    """
    high, wide = lines.counts[which], columns.counts[which]
    first = int(lines.starts[which.start])
    row = np.arange(first, first + int(high.sum()))
    lengths = np.repeat(wide, high)
    segment = np.repeat(np.arange(len(row)), lengths)
    column = np.arange(len(segment)) + np.repeat(
        np.repeat(columns.starts[which], high) - np.cumsum(lengths) + lengths, lengths
    )
    place = (lines.pixel[row] * fields[0].shape[1])[segment] + columns.pixel[column]
    weight = lines.values[row][segment] * columns.values[column]
    for field, factor in zip(fields, (None, columns.away[column], lines.away[row][segment]), strict=True):
        part = weight if factor is None else weight * factor
        sums = np.bincount(place, part, field.size).reshape(field.shape)
        np.add(field, sums, out=field, casting="same_kind")


def drops(rows: int, cols: int, params: Params, rng: Rng) -> Iterator[tuple[float, float, float, float]]:
    """Ellipses as (x, y, half width, half height) in pixels until they cover what they should.

    More area gives the same drops and others: a larger `area` holds the smaller one.
    """
    scale = min(rows, cols) / 512
    largest, smallest = params["size"] * scale, SMALLEST * scale
    # Drops at independent places cover 1 − exp(−Σ areas) of a picture.
    missing = -log_of(1 - params["area"]) * rows * cols
    for _ in range(params["runs"]):
        if missing > 0:
            for x, y, radius in _run(rows, cols, largest, rng):
                missing -= radius * radius
                yield x, y, radius, radius
    while missing > 0:
        for chance in rng.uniforms(50 * 14).reshape(-1, 14).tolist():
            x, y = chance[0] * cols, chance[1] * rows
            # Radii of density r⁻²: between the smallest and the largest, the inverse of the radius is uniform.
            radius = 1 / (1 / largest + chance[2] * (1 / smallest - 1 / largest))
            tall = 0.92 + 0.35 * chance[3]
            wide, high = radius / math.sqrt(tall), radius * math.sqrt(tall)
            missing -= math.pi * wide * high
            yield x, y, wide, high
            if radius > 8 * scale:
                for i in range(5, 5 + 3 * int(4 * chance[4]), 3):
                    turn, out, share = 2 * math.pi * chance[i], 0.4 + 0.4 * chance[i + 1], 0.4 + 0.35 * chance[i + 2]
                    yield (
                        x + out * wide * cosine_of(turn),
                        y + out * high * sine_of(turn),
                        wide * share,
                        high * share,
                    )
                    missing -= 0.2 * math.pi * wide * high * share
            if missing <= 0:
                return


def _run(rows: int, cols: int, largest: float, rng: Rng) -> Iterator[tuple[float, float, float]]:
    """Circles (x, y, radius) of one drop that ran down: its body, and what it left above, that breaks into beads."""
    body = largest * rng.uniform(0.35, 0.7)
    x, y = rng.uniform(0, cols), rng.uniform(0.3, 1.0) * rows
    length = rng.uniform(0.2, 0.8) * rows
    yield x, y, body
    yield x, y - body * 0.6, body * 0.75
    lean, gone, width, whole = 0.0, body, 0.55, rng.uniform(0.2, 0.9) * length
    for chance in rng.uniforms(480).reshape(-1, 3).tolist():
        lean = 0.9 * lean + (chance[0] - 0.5) * 0.16
        width = min(max(width + (chance[1] - 0.58) * 0.1, 0.16), 0.55)
        radius = body * width
        gap = radius * (0.6 if gone < whole else 1.2 + 4 * chance[2] * chance[2])
        gone += gap
        x += lean * gap
        if gone > length:
            return
        yield x, y - gone, radius


def smooth(rng: Rng, rows: int, cols: int, grain: float) -> Field:
    """Smooth noise of variance about 1 whose bumps are about `grain` pixels apart."""
    grain = max(grain, 1.0)
    high, wide = math.ceil(rows / grain) + 3, math.ceil(cols / grain) + 3
    knots = ((rng.uniforms(high * wide) - 0.5) * math.sqrt(12)).astype(np.float32).reshape(high, wide)
    return curved(knots, rows, cols)
