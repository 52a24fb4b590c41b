"""`aged`: a scanned old print: faded dyes, yellowed paper, softness, stains, folds, tears, scratches, dust, grain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.air import Lights
from patina.synth.degradation import Knob, Params, Place, SettingError, Stage, Values, check_values, draw_value
from patina.synth.droplets import smooth
from patina.synth.elementary import cosine_of, fast_exp, log, power, sine_of
from patina.synth.holes import HOLE, KEEP
from patina.synth.image import FloatImage, Image, linear_of, look_up
from patina.synth.resampling import around, filtered_rows, gaussian_taps, halvings, stretched_rows, usual_rows
from patina.synth.rng import Rng, normal_table
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wear import dirt, worn
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

Field = NDArray[np.float32]
Plate = NDArray[np.uint8]
Cover: TypeAlias = tuple[Plate, Sequence[float], Field | None]
"""A plate, H×W uint8, 255 where something is; what shows there, red, green and blue, linear; and how much of it shows
at each place, small; None for all of it."""

Fold = tuple[tuple[float, float], tuple[float, float], float]

FADES: Mapping[str, tuple[float, float, float]] = {
    "dark": (1.0, 0.72, 0.75),
    "light": (0.75, 1.0, 0.9),
    "silver": (1.0, 1.0, 1.0),
    "sepia": (1.0, 1.0, 1.0),
}
"""How much of their density cyan, magenta and yellow dyes lose, over the one that loses most: of a colour print kept in
the dark, whose cyan goes first (it turns red), of one that hung in the light, whose magenta does, and of silver, black
or toned to sepia, which fades in all colours alike."""

BROWNS: Mapping[str, tuple[float, float]] = {"silver": (0.0, 0.25), "sepia": (0.5, 1.0)}
"""Least and most of the brown of prints in one colour: of silver as it was made, and toned or turned by sulphur."""

TONE = (-0.3, -0.04, 0.28)
"""By what share more density brown silver has in red, green and blue."""

DEEPEST = 2.2
"""Density of a glossy print's black (10^-2.2 of the light is sent back)."""

STAIN = (0.03, 0.11, 0.32)
"""Density that fully yellowed paper adds to red, green and blue."""

BROWN = (0.3, 0.7, 1.4)
"""Natural logarithms by which a stain of depth 1 dims red, green and blue."""

PAPER = (0.80, 0.76, 0.68)
"""What shows where the picture's layer is gone, linear: the paper's core."""

DIRT = (0.03, 0.03, 0.03)
"""What shows where dust or a hair lies on it, linear."""

LUMA = (0.2126, 0.7152, 0.0722)

FINE = 128
"""Pixels of the short side, at least, at which stains and folds' shading are computed."""

SHARP, SOFTEST = 0.25, 18.0
"""Pixels of the standard deviation of softness, up to which it is none, and at the most, where its filter's reach is
still one that compiled loops take."""

NOISE = 1 << 8
"""Steps to a standard deviation of grain, of which clumps of 3×3 pixels, weighted by 1 2 1, have 16 bits."""

LIVELY = 6.0
"""Standard deviation of such clumps of independent numbers of 1: the root of the sum of the weights' squares."""

FADING = Scale(
    (
        (0, "a hardly faded print"),
        (0.1, "a slightly faded print"),
        (0.3, "a faded print"),
        (0.6, "a badly faded print"),
    )
)
"""Share of density that the dye that faded most has lost. 30 % is where tests of the permanence of prints end (from the
literature on ISO 18909 and Wilhelm's criteria, not checked against the texts); the other bounds are ours."""


def _say(known: Known) -> Said:
    fading, damage = known.number("fading"), known.number("damage")
    if fading is None or fading > 1:
        return Said("an old print", "traces of age")
    marks = f", scratches and dust over {about(100 * damage)}% of it" if damage else ""
    if not fading:
        return Said(f"an old print{marks}", "traces of age", 0) if damage else nothing("traces of age")
    return on_scale(FADING, fading, f"{about(100 * fading)}% of its density lost{marks}", "traces of age")


@dataclass(frozen=True)
class Aged(InStrips):
    """A print's density, −log₁₀ of the share of light that it sends back, fades in proportion: D′ = (1 − f)·D + y.

    f is of each dye, so that colours shift, and greater towards the edges, where air and light come in; y is the yellow
    of aged paper. Over that lie stains with dark rims and foxing, folds and tears, scratches down to the paper, dust
    and hairs, and the grain of a small negative. No set of old prints and fresh ones of the same scene is known to us.

    fading     share of its density that the dye that fades most has lost, 0..0.95.
    kinds      of fading, one or a list to choose from: "dark" (cyan goes first, the print turns red), "light" (magenta
               goes first), "silver": a black-and-white print, so the picture's colours are gone, too, "sepia": the
               same, and brown.
    yellowing  of the paper when half of the density is lost, and less before, in proportion, 0..1; at 1 half of the
               blue light is lost.
    uneven     by what share of f fading is less in the middle and more at the edges, 0..1.
    softness   of an old lens: standard deviation in thousandths of the short side, 0..8; 18 pixels at the most.
    stains     blots, 0..12, whole, each with some spots of foxing.
    folds      across the whole print, 0..6, whole.
    tears      from the edge inwards, or lost corners, 0..6, whole.
    damage     share of the print that scratches, rubbed places, flakes, dust and hairs cover, 0..0.12.
    grain      standard deviation in density, 0..0.15.

    Truth: `mask`, H×W uint8: 0 where the picture's layer is gone or covered, also in part, 255 elsewhere. Raises
    SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "aged"
    version: ClassVar[int] = 2
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "loss"
    truth: ClassVar[tuple[str, ...]] = ("mask",)
    knob: ClassVar[Knob | None] = Knob("fading", 0.03, 0.85)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"kinds": "silver", "stains": 6, "folds": 3, "tears": 4},
        {"kinds": "light", "softness": 0, "stains": 0, "folds": 0, "tears": 0, "damage": 0, "grain": 0},
        {"kinds": "sepia", "softness": 6, "damage": 0.06, "grain": 0.08},
    )
    wording: ClassVar[Wording | None] = Wording(
        _say, ("restore the old print", "remove the {}", "repair the old photograph")
    )

    fading: Values = field(default_factory=lambda: {"min": 0.15, "max": 0.6})
    kinds: str | Sequence[str] = ("dark", "light", "sepia")
    yellowing: Values = field(default_factory=lambda: {"min": 0.1, "max": 0.7})
    uneven: Values = field(default_factory=lambda: {"min": 0, "max": 0.5})
    softness: Values = field(default_factory=lambda: {"min": 0, "max": 3.5})
    stains: Values = field(default_factory=lambda: {"min": 0, "max": 2})
    folds: Values = field(default_factory=lambda: {"min": 0, "max": 2})
    tears: Values = field(default_factory=lambda: {"min": 0, "max": 2})
    damage: Values = field(default_factory=lambda: {"min": 0.001, "max": 0.009})
    grain: Values = field(default_factory=lambda: {"min": 0.01, "max": 0.045})

    def __post_init__(self) -> None:
        check_values("fading", self.fading, 0, 0.95)
        check_values("yellowing", self.yellowing, 0, 1)
        check_values("uneven", self.uneven, 0, 1)
        check_values("softness", self.softness, 0, 8)
        check_values("stains", self.stains, 0, 12, whole=True)
        check_values("folds", self.folds, 0, 6, whole=True)
        check_values("tears", self.tears, 0, 6, whole=True)
        check_values("damage", self.damage, 0, 0.12)
        check_values("grain", self.grain, 0, 0.15)
        known = isinstance(self.kinds, str | Sequence) and all(kind in FADES for kind in self._kinds)
        if not known or not self._kinds:
            raise SettingError(f"kinds: expected one or a list of {', '.join(FADES)}, found {self.kinds!r}")

    @property
    def _kinds(self) -> list[str]:
        return [self.kinds] if isinstance(self.kinds, str) else list(self.kinds)

    def settings(self) -> dict[str, Any]:
        """As the protocol says; the kinds as a list, however they are written."""
        return {**super().settings(), "kinds": self._kinds}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """All settings as above, with `kind` for one of the kinds; `rates`, by which `fading` is multiplied for red,
        green and blue, and `tone`, by which their density is; and the `seed` of all marks and of the grain."""
        kind = rng.choice(self._kinds)
        rates = [min(1.0, rate * rng.uniform(0.85, 1.15)) if rate < 1 else rate for rate in FADES[kind]]
        brown = rng.uniform(*BROWNS.get(kind, (0.0, 0.0)))
        return {
            "fading": draw_value(rng, self.fading),
            "kind": kind,
            "rates": [round(rate, 6) for rate in rates],
            "tone": [round(1 + brown * more, 6) for more in TONE],
            "yellowing": draw_value(rng, self.yellowing),
            "uneven": draw_value(rng, self.uneven),
            "softness": draw_value(rng, self.softness),
            "stains": int(draw_value(rng, self.stains, whole=True)),
            "folds": int(draw_value(rng, self.folds, whole=True)),
            "tears": int(draw_value(rng, self.tears, whole=True)),
            "damage": draw_value(rng, self.damage),
            "grain": draw_value(rng, self.grain),
            "seed": rng.seed(),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] or levels in, linear light out; truth `mask`."""
        height, width = image.shape[:2]
        marks, fields, grain = (Rng(f"{int(params['seed'], 16) ^ part:x}") for part in (1, 2, 3))
        step = halvings(min(height, width) / FINE)
        small = -(-height // step), -(-width // step)
        dark = _stains(*small, fields, params)
        browned = [fast_exp(dark * np.float32(-brown)) for brown in BROWN] if dark is not None else []
        stains = [stretched_rows(factor, height, width) for factor in browned]
        edges = stretched_rows(_edges(*small, fields), height, width) if params["uneven"] else None
        opaque = _opaque(*small, fields) if params["damage"] else None
        plates = _marks(height, width, marks, params, opaque)
        one_colour, sigma = params["kind"] in BROWNS, min(params["softness"] * min(height, width) / 1000, SOFTEST)
        taps = gaussian_taps(sigma) if sigma > SHARP else None
        reach = taps.size // 2 if taps is not None else 0
        in_light, lights = one_colour or taps is not None, Lights()
        least, most = (params["fading"] * (1 + part * params["uneven"]) for part in (-1, 1))
        finest = 1 if in_light or image.dtype != np.uint8 else 257  # levels stand at every 257th entry
        depths = np.ascontiguousarray(_depths(in_light)[:, ::finest])
        tables = _faded(params, least, depths)
        more = [b - a for a, b in zip(tables, _faded(params, most, depths), strict=True)] if edges else []
        seed = grain.seed()
        factors = _factors(params["grain"]) if params["grain"] else None

        def rows(top: int, bottom: int) -> Strip:
            part = around(image, top, bottom, reach)
            planes: Any = lights.of(part) if in_light else cv2.split(part)
            if one_colour:
                planes = [_luminance(planes)]
            if taps is not None:
                planes = [filtered_rows(plane, reach, reach + bottom - top, taps) for plane in planes]
            if one_colour:
                planes *= 3
            channels = [_found(plane, table) for plane, table in zip(planes, tables, strict=True)]
            if edges:
                share = edges(top, bottom)
                for channel, plane, table in zip(channels, planes, more, strict=True):
                    extra = _found(plane, table)
                    np.multiply(extra, share, out=extra)
                    np.add(channel, extra, out=channel)
            grey = _grain(top, bottom, width, Rng(seed), factors) if factors is not None else None
            for i, channel in enumerate(channels):
                if stains:
                    np.multiply(channel, stains[i](top, bottom), out=channel)
                if grey is not None:
                    np.multiply(channel, grey, out=channel)
            kept = np.full((bottom - top, width), KEEP, np.uint8)
            for plate, shows, thin in plates:
                _cover(channels, kept, plate, shows, thin, top, height)
            return Strip(channels, {"mask": kept})

        return Strips(rows, is_linear=True, count=max(usual_rows(width), 2 * reach))


def _luminance(planes: Sequence[FloatImage]) -> Field:
    red, green, blue = planes
    grey: Any = red * np.float32(LUMA[0])
    grey += green * np.float32(LUMA[1])
    grey += blue * np.float32(LUMA[2])
    return np.asarray(grey, np.float32)


def _found(plane: FloatImage | Image, table: Field) -> Field:
    """A table at every value of a plane: of 256 entries at levels, of 65536 at floats."""
    return look_up(plane, table) if plane.dtype == np.float32 else np.asarray(cv2.LUT(plane, table), np.float32)


def _faded(params: Params, fading: float, depth: Field) -> list[Field]:
    """Tables, as long as `depth`, of the light that red, green and blue send back; see `_depths`."""
    yellow = params["yellowing"] * min(1.0, 2 * params["fading"])
    darkest = float(power(10.0, -DEEPEST))
    tables = []
    for rate, tone, stain in zip(params["rates"], params["tone"], STAIN, strict=True):
        kept = tone * (1 - min(fading * rate, 0.97))
        faded = fast_exp(depth * np.float32(kept))
        faded -= np.float32(darkest * kept)  # the scanner's black is where an unfaded print has its own
        faded *= np.float32(float(power(10.0, -stain * yellow)) / (1 - darkest * kept))
        tables.append(np.clip(faded, 0, 1, out=faded))
    return tables


@cache
def _depths(in_light: bool) -> Field:
    """Natural logarithms of the light that a fresh print sends back, 1×65536: of sRGB values, or of linear ones."""
    places = np.arange(65536) / 65535
    darkest = float(power(10.0, -DEEPEST))
    depths = log(darkest + (1 - darkest) * (places if in_light else linear_of(places))).astype(np.float32)[None]
    depths.setflags(write=False)
    return depths


def _edges(rows: int, cols: int, rng: Rng) -> Field:
    """How much more fades at each place, 0..1: towards the edges, unevenly."""
    x = np.abs((np.arange(cols) + 0.5) * 2 / cols - 1)
    y = np.abs((np.arange(rows) + 0.5) * 2 / rows - 1)[:, None]
    out = x * x * x + y * y * y + 0.25 * smooth(rng, rows, cols, min(rows, cols) / 3)
    return np.asarray(np.clip(0.15 + 0.6 * out, 0, 1), np.float32)


def _stains(rows: int, cols: int, rng: Rng, params: Params) -> Field | None:
    """The depth of stains, ≥ 0, and the shading of folds, on a small copy; None without either."""
    if not params["stains"] and not params["folds"]:
        return None
    short = min(rows, cols)
    x = ((np.arange(cols) + 0.5) / short).astype(np.float32)
    y = ((np.arange(rows) + 0.5) / short).astype(np.float32)[:, None]
    wide, high = cols / short, rows / short
    wobble = smooth(rng, rows, cols, short / 10)
    fine = smooth(rng, rows, cols, short / 40)
    total = np.zeros((rows, cols), np.float32)
    for _ in range(params["stains"]):
        at = rng.uniform(0, wide), rng.uniform(0, high)
        radius, depth = rng.uniform(0.05, 0.3), rng.uniform(0.1, 0.5)
        out = np.sqrt((x - np.float32(at[0])) ** 2 + (y - np.float32(at[1])) ** 2) * np.float32(1 / radius)
        out += np.float32(0.22) * wobble + np.float32(0.05) * fine
        inside = np.clip((1 - out) * np.float32(9), 0, 1)
        rim = (out - np.float32(0.93)) * np.float32(14)
        rim = inside / (1 + rim * rim)
        total += inside * np.float32(0.35 * depth) * (1 + np.float32(0.3) * wobble).clip(0.3)
        total += rim * np.float32(depth)
        for _ in range(6):
            spot = at[0] + rng.uniform(-0.5, 0.5), at[1] + rng.uniform(-0.5, 0.5)
            size, dark = rng.uniform(0.005, 0.012), rng.uniform(0.15, 0.5)
            away = ((x - np.float32(spot[0])) ** 2 + (y - np.float32(spot[1])) ** 2) * np.float32(1 / (size * size))
            total += np.float32(dark) / (1 + away * away)
    for start, end, _ in _folds(wide, high, Rng(f"{int(params['seed'], 16) ^ 4:x}"), params["folds"]):
        along = math.sqrt((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2)
        right, down = (end[0] - start[0]) / along, (end[1] - start[1]) / along
        aside = ((x - np.float32(start[0])) * np.float32(-down) + (y - np.float32(start[1])) * np.float32(right)) * 40
        total += np.float32(0.16) * (1 + aside) / (1 + aside * aside * aside * aside)
    return np.maximum(total, 0, out=total)


def _folds(wide: float, high: float, rng: Rng, count: int) -> list[Fold]:
    """Ends of each fold, and how worn it is: across the print, nearly upright or level; or over a corner."""
    found: list[Fold] = []
    for _ in range(count):
        kind, at, lean, worn = rng.uniform(), rng.uniform(0.15, 0.85), rng.uniform(-0.12, 0.12), rng.uniform(0.3, 1)
        if kind < 0.4:
            found.append((((at - lean) * wide, 0.0), ((at + lean) * wide, high), worn))
        elif kind < 0.8:
            found.append(((0.0, (at - lean) * high), (wide, (at + lean) * high), worn))
        else:
            far = 0.15 + 0.35 * at
            corner = wide if kind < 0.9 else 0.0
            found.append(((abs(corner - far), 0.0), (corner, far * (1 + 2 * lean)), worn))
    return found


def _opaque(rows: int, cols: int, rng: Rng) -> Field:
    """How much of the layer a scratch takes away, and dust hides, at each place, 0.3..1: scratches come and go."""
    short = min(rows, cols)
    return np.asarray(np.clip(0.68 + 0.28 * smooth(rng, rows, cols, short / 9), 0.3, 1), np.float32)


def _marks(height: int, width: int, rng: Rng, params: Params, opaque: Field | None) -> list[Cover]:
    """What lies over the picture, or is gone of it."""
    seeds, found = (rng.seed(), rng.seed()), list[Cover]()
    if params["damage"]:
        for make, share, shows, seed in zip((worn, dirt), (0.85, 0.15), (PAPER, DIRT), seeds, strict=True):
            marks = make(height, width, share * params["damage"], Rng(seed))
            found.append((np.subtract(KEEP, marks, out=marks), shows, opaque))
    if params["folds"] or params["tears"]:
        torn, short = np.zeros((height, width), np.uint8), min(height, width)
        folds = _folds(width / short, height / short, Rng(f"{int(params['seed'], 16) ^ 4:x}"), params["folds"])
        for start, end, how in folds:
            _crack(torn, start, end, how, Rng(rng.seed()))
        for _ in range(params["tears"]):
            _tear(torn, Rng(rng.seed()))
        found.append((torn, PAPER, None))
    return found


def _crack(plate: Plate, start: tuple[float, float], end: tuple[float, float], worn: float, rng: Rng) -> None:
    """The layer breaks along a fold, here and there, in pieces of different widths."""
    short, pieces = min(plate.shape), 90
    chance = rng.uniforms(3 * (pieces + 1)).reshape(-1, 3).tolist()
    points = []
    for i, (aside, _, _) in enumerate(chance):
        share, off = i / pieces, 0.004 * (aside - 0.5)
        points.append((round((start[0] + (end[0] - start[0]) * share + off) * short),
                       round((start[1] + (end[1] - start[1]) * share + off) * short)))  # fmt: skip
    wear = worn
    for (one, other), (_, gap, size) in zip(pairwise(points), chance, strict=False):
        wear = 0.75 * wear + 0.25 * (worn + gap - 0.5)
        if gap < wear:
            cv2.line(plate, one, other, KEEP, max(1, round((0.0015 + 0.004 * size * size * worn) * short)))


def _tear(plate: Plate, rng: Rng) -> None:
    """From an edge inwards, jagged, ever thinner, with the white of the paper's core; or a corner that is gone."""
    height, width = plate.shape
    short = min(height, width)
    side, at, corner = rng.integer(0, 3), rng.uniform(0.05, 0.95), rng.uniform()
    if corner < 0.25:
        x, y = (0, width - 1)[side % 2], (0, height - 1)[side // 2]
        size = rng.uniform(0.03, 0.12) * short
        inner = [(x, y)]
        for i in range(9):
            turn, out = math.pi / 16 * i, size * (1 + 0.25 * (rng.uniform() - 0.5))
            inner.append((round(x + (1 - 2 * (side % 2)) * out * cosine_of(turn)),
                          round(y + (1 - 2 * (side // 2)) * out * sine_of(turn))))  # fmt: skip
        cv2.fillPoly(plate, [np.array(inner, np.int32)], KEEP)
        return
    x, y, turn = [(at * width, 0.0, 0.5), (at * width, height - 1.0, 1.5), (0.0, at * height, 0.0),
                  (width - 1.0, at * height, 1.0)][side]  # fmt: skip
    length, heading = rng.uniform(0.06, 0.4) * short, math.pi * (turn + rng.uniform(-0.2, 0.2))
    pieces, bend = 36, 0.0
    for i in range(pieces):
        bend = 0.8 * bend + rng.uniform(-0.5, 0.5)
        way = heading + bend * 0.6
        step = length / pieces * rng.uniform(0.6, 1.4)
        other = x + step * cosine_of(way), y + step * sine_of(way)
        thick = (0.009 * (1 - i / pieces) * rng.uniform(0.5, 1.2) + 0.001) * short
        cv2.line(plate, (round(x), round(y)), (round(other[0]), round(other[1])), KEEP, max(1, round(thick)))
        x, y = other


def _cover(
    channels: Sequence[Field],
    kept: Plate,
    plate: Plate,
    shows: Sequence[float],
    opaque: Field | None,
    top: int,
    height: int,
) -> None:
    """Put what `plate` has in the rows of three channels from `top` on over them, in place, and tell `kept` where."""
    count, width = kept.shape
    places, shares = _softened(plate, top, top + count)
    kept.reshape(-1)[places] = HOLE
    if opaque is not None:
        lines, columns = np.divmod(places, width)
        shares = shares * opaque[(lines + top) * len(opaque) // height, columns * opaque.shape[1] // width]
    for channel, shown in zip(channels, shows, strict=True):
        values = channel.reshape(-1)
        own = values[places]
        values[places] = own + shares * (np.float32(shown) - own)


def _softened(plate: Plate, top: int, bottom: int) -> tuple[NDArray[np.intp], Field]:
    """Where in rows of a plate, counted row by row, something is, and its share there, 0..1, with edges that the
    scanner made soft: means of 3×3 pixels."""
    first, end = max(0, top - 1), min(len(plate), bottom + 1)
    sums: Any = cv2.boxFilter(plate[first:end], cv2.CV_16U, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
    own = sums[top - first : top - first + bottom - top].reshape(-1)
    places = np.flatnonzero(own > 0)
    return places, np.multiply(own[places], np.float32(1 / (9 * KEEP)), dtype=np.float32)


def _grain(top: int, bottom: int, width: int, rng: Rng, factors: Field) -> Field:
    """Factors of light of any rows, by a table for clumps of steps of noise, see `_factors`: alike in neighbours."""
    words = -(-(width + 2) // 4)
    rng.skip(top * words)
    count = bottom - top + 2  # one above and one below, each with a part of the stream of its own
    index = rng.levels(4 * words * count).reshape(count, 4 * words)[:, : width + 2]
    noise: Any = cv2.LUT(np.ascontiguousarray(index), _steps())
    pairs = noise[:-1] + noise[1:]
    noise = pairs[:-1] + pairs[1:]
    pairs = noise[:, :-1] + noise[:, 1:]
    clumped = pairs[:, :-1] + pairs[:, 1:]  # by 1 2 1 along either axis
    return np.asarray(cv2.LUT(clumped.view(np.uint16), factors), np.float32)


def _factors(deviation: float) -> Field:
    """10^(−deviation·n), 1×65536, of n clumps of steps over their standard deviation; negative ones are counted from
    the end."""
    clumped = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.float32)
    x = clumped * np.float32(-deviation * 2.302585 / (NOISE * LIVELY))
    factor = x * np.float32(0.5)
    factor += np.float32(1)
    factor *= x
    factor += np.float32(1)
    return factor[None]


@cache
def _steps() -> NDArray[np.int16]:
    """Normal numbers of whole steps, 1×65536, for `Rng.levels`."""
    steps = np.rint(normal_table() * NOISE).astype(np.int16)[None]
    steps.setflags(write=False)
    return steps
