"""Water on a pane of glass: where it is and how its surface slopes. Drops, drops that ran together, drops that run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from ctypes import CDLL
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.degradation import Params
from patina.synth.elementary import Floats, cosine, exp, fast_exp, fast_log, log_of, sine
from patina.synth.resampling import Places, curved
from patina.synth.rng import Rng

Field = NDArray[np.float32]

SMALLEST = 3.0
"""Least radius of a drop, pixels at a short side of 512."""

REACH = 6.0
"""How far a drop's field reaches over its rim, pixels at a short side of 512: closer neighbours flow together."""

AT_ONCE = 1 << 19
"""Pixels of drops that are added up together."""

DRAWN = 500
"""Drops that are drawn together."""

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
    x, y, wide, high = drops(rows, cols, params, rng).T
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
    if compiled := functions():
        return _surface(compiled, (total, slope_right, slope_down), cover, wander, REACH * scale / 2)
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


def _surface(
    compiled: CDLL, fields: tuple[Field, Field, Field], cover: Field, wander: Field, steep: float
) -> tuple[Field, Places, Field, Field]:
    """What `water` makes of the sums of fields and the logarithm of the first, `cover`, which is changed in place."""
    wander = np.ascontiguousarray(wander)
    places, right, down = np.empty(cover.size, np.intp), *np.empty((2, cover.size), np.float32)
    count = np.empty(1, np.int64)
    found = (pointer(part) for part in (cover, places, right, down, count))
    compiled.patina_surface(*map(pointer, fields), pointer(wander), cover.size, steep, SAG, SAG / 2, *found)
    return cover, places[: count[0]], right[: count[0]], down[: count[0]]


class _Profiles:
    """Along one axis, of all drops one after the other: their pixels from first to end, in halves of their widths from
    their middles (`away`), and exp(top − k·r²) at each (`values`). `pixel` is where each of them is in the picture."""

    def __init__(self, firsts: Places, ends: Places, middles: Floats, halves: Floats, ks: Floats, tops: Floats) -> None:
        self.firsts, self.counts = firsts, ends - firsts
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
    if compiled := functions():
        _add_up_compiled(compiled, fields, columns, lines, which)
        return
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


def _add_up_compiled(
    compiled: CDLL, fields: tuple[Field, Field, Field], columns: _Profiles, lines: _Profiles, which: slice
) -> None:
    """The same, to the bit."""
    rows, cols = fields[0].shape
    sums, near = np.empty((3, cols)), np.empty(which.stop - which.start, np.int32)
    profiles = (
        pointer(part)
        for axis in (columns, lines)
        for part in (axis.starts, axis.counts, axis.firsts, axis.values, axis.away)
    )
    places = (pointer(field) for field in fields)
    compiled.patina_add_drops(*places, rows, cols, which.start, which.stop, *profiles, pointer(sums), pointer(near))


def drops(rows: int, cols: int, params: Params, rng: Rng) -> Floats:
    """Ellipses, N×4, as (x, y, half width, half height) in pixels, until they cover what they should.

    More area gives the same drops and others: a larger `area` holds the smaller one.
    """
    scale = min(rows, cols) / 512
    largest = params["size"] * scale
    # Drops at independent places cover 1 − exp(−Σ areas) of a picture.
    missing = -log_of(1 - params["area"]) * rows * cols
    found: list[Floats] = [np.zeros((0, 4))]
    for _ in range(params["runs"]):
        if missing > 0:
            run = list(_run(rows, cols, largest, rng))
            for _, _, radius in run:
                missing -= radius * radius
            found.append(np.array(run)[:, [0, 1, 2, 2]])
    while missing > 0:
        some, covered = _some_drops(rows, cols, largest, scale, rng)
        left = np.subtract.accumulate(np.concatenate([[missing], covered.ravel()]))[
            covered.shape[1] :: covered.shape[1]
        ]
        enough = np.flatnonzero(left <= 0)[:1]
        count = int(enough[0]) + 1 if enough.size else len(some)
        missing = float(left[count - 1])
        some = some[:count].reshape(-1, 4)
        found.append(some[some[:, 2] > 0])
    return np.concatenate(found)


def _some_drops(rows: int, cols: int, largest: float, scale: float, rng: Rng) -> tuple[Floats, Floats]:
    """DRAWN drops, each of up to four ellipses: DRAWN×4×4, whose sizes are 0 where there are fewer; what each covers,
    DRAWN×4."""
    chance = rng.uniforms(DRAWN * 14).reshape(-1, 14)
    found, covered = np.zeros((DRAWN, 4, 4)), np.zeros((DRAWN, 4))
    x, y = chance[:, 0] * cols, chance[:, 1] * rows
    # Radii of density r⁻²: between the smallest and the largest, the inverse of the radius is uniform.
    radius = 1 / (1 / largest + chance[:, 2] * (1 / (SMALLEST * scale) - 1 / largest))
    root = np.sqrt(0.92 + 0.35 * chance[:, 3])
    wide, high = radius / root, radius * root
    found[:, 0] = np.stack([x, y, wide, high], axis=1)
    covered[:, 0] = math.pi * wide * high
    # Large ones are no ellipses: others run into them.
    drop, other = np.nonzero((radius > 8 * scale)[:, None] & (np.arange(3) < (4 * chance[:, 4]).astype(int)[:, None]))
    turn, out, share = (chance[drop, 5 + 3 * other + i] for i in range(3))
    turn, out, share = 2 * math.pi * turn, 0.4 + 0.4 * out, 0.4 + 0.35 * share
    x, y, wide, high = x[drop], y[drop], wide[drop], high[drop]
    places = x + out * wide * cosine(turn), y + out * high * sine(turn)
    found[drop, 1 + other] = np.stack([*places, wide * share, high * share], axis=1)
    covered[drop, 1 + other] = 0.2 * math.pi * wide * high * share
    return found, covered


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
