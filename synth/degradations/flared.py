"""`flared`: light that strays in the lens: ghosts, streaks and a veil, from lights in the picture or beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.air import Lights
from patina.synth.degradation import Knob, Params, Place, SettingError, Stage, Values, check_values, draw_value
from patina.synth.elementary import cosine_of, power_of, sine_of
from patina.synth.image import FloatImage, Image, to_uint16
from patina.synth.resampling import averaged, enlarged_rows, halvings
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

Field = NDArray[np.float32]

LIGHTS = ("picture", "outside", "placed")

FINE = 128
"""Pixels of the short side, at least, at which stray light is computed: all of it is out of focus."""

FAINTEST, LARGEST, MOST = 243, 0.015, 3
"""Luma from which on something in the picture is a light, its largest share of the picture, and how many are taken."""

DIM, AROUND = 100, 110
"""Mean luma up to which a picture shows lights, and of what surrounds one: brighter ones show white things by day."""

TRIES, PATCH = 16, 12
"""Places of which a light is put on the brightest, and parts of the short side over which they are bright."""

DAZZLED = 0.1
"""Glare from which on ghosts get no brighter, and the widest halo takes what is more: the light itself is white."""

LONGER = (1.12, 1.0, 0.85)
"""Diffraction spreads red, green and blue in proportion to their wavelengths."""

COATINGS = ((1.0, 0.5, 0.3), (0.5, 1.0, 0.45), (0.35, 0.6, 1.0), (1.0, 0.45, 0.9), (0.9, 0.85, 0.6), (0.3, 0.95, 0.9))
"""Colours of ghosts, red, green and blue: what a coating reflects is what it was not made for."""

HALOS = ((0.012, 0.25), (0.06, 0.35), (0.35, 0.4))
"""Radii of a light's halo over the short side, and the share of it that each has."""

WIDEST = 1.2
"""Radius over the short side of the halo that takes what is above `DAZZLED`."""

STAR, SMEAR, GHOST = 45.0, 12.0, 2.0
"""How bright a ray and a smear are over a halo of the same light, per unit of width, and a ghost over the mean of the
rest. Lenses differ by orders of magnitude; with these a light within the picture gives about half of its stray light to
the halo, a quarter to the star and the rest to smears and ghosts."""

LUMA = (0.2126, 0.7152, 0.0722)

FLARE = Scale(
    (
        (0, "a trace of lens flare"),
        (0.01, "light lens flare"),
        (0.04, "clear lens flare"),
        (0.1, "strong lens flare"),
        (0.25, "blinding lens flare"),
    )
)
"""Mean of the stray light over the picture's white. Nobody has defined classes for pictures; the names are ours."""


def _say(known: Known) -> Said:
    glare = known.number("glare")
    if glare is None or glare > 1:
        return Said("lens flare", "lens flare")
    if not glare:
        return nothing("lens flare")
    return on_scale(FLARE, glare, f"which adds {about(100 * glare)}% of white on average", "lens flare")


@dataclass(frozen=True)
class Flared(InStrips):
    """I = J + F in linear light, F ≥ 0: the sum of what each light leaves of itself elsewhere than in its image.

    F has a halo around each light, scattered by dust and glass; a star of diffraction at the edges of the aperture's
    blades, two rays to a blade, which opposite blades share; broad streaks across smears of grease; ghosts, images of
    the aperture by two reflections, on the line through the light and the picture's middle; and an even veil. Hullin et
    al. (2011) have the optics; Wu et al. (ICCV 2021, arXiv 2011.12485) call the parts scattering and reflection.

    glare    mean luminance of F over the picture's white, 0..0.6.
    lights   where they are, one or a list to choose from. "picture": the brightest small spots, at most three; where
             there are none, or where the picture is too bright for them to be lights, "outside": beside the picture,
             out of view. "placed": within it, where it is bright, such as in the sky; the light is part of F.
    blades   of the aperture, whole, 0..12: 0 and below 4 are none, a round hole, without a star.
    ghosts   whole, 0..20, of the brightest light.
    smears   of grease, whole, 0..4.
    veil     share of the glare that is an even veil, 0..1.
    warmth   colour of lights outside or placed, -1..1: red over blue is 4^warmth.

    Truth: `flare`, H×W uint16: luminance of F, 65535 = white. The camera's exposure stays as it is. Raises SettingError
    for a setting out of its range.
    """

    name: ClassVar[str] = "flared"
    version: ClassVar[int] = 3
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("flare",)
    knob: ClassVar[Knob | None] = Knob("glare", 0.002, 0.5)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"lights": "placed", "blades": 8, "ghosts": 12, "smears": 0},
        {"lights": "outside", "blades": 7, "ghosts": 3, "smears": 3},
        {"lights": "picture", "blades": 0, "ghosts": 0, "veil": 1},
    )
    wording: ClassVar[Wording | None] = Wording(_say, ("remove the {}", "take away the stray light"))
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {
        "flare": ("luminance of the stray light that was added, linear", "16 bits, 65535 = white"),
    }

    glare: Values = field(default_factory=lambda: {"min": 0.01, "max": 0.08})
    lights: str | Sequence[str] = LIGHTS
    blades: Values = (0, 5, 6, 7, 8, 9)
    ghosts: Values = field(default_factory=lambda: {"min": 2, "max": 9})
    smears: Values = field(default_factory=lambda: {"min": 0, "max": 2})
    veil: Values = field(default_factory=lambda: {"min": 0.1, "max": 0.4})
    warmth: Values = field(default_factory=lambda: {"min": -0.3, "max": 0.6})

    def __post_init__(self) -> None:
        check_values("glare", self.glare, 0, 0.6)
        check_values("blades", self.blades, 0, 12, whole=True)
        check_values("ghosts", self.ghosts, 0, 20, whole=True)
        check_values("smears", self.smears, 0, 4, whole=True)
        check_values("veil", self.veil, 0, 1)
        check_values("warmth", self.warmth, -1, 1)
        if (
            not isinstance(self.lights, str | Sequence)
            or not self._lights
            or any(x not in LIGHTS for x in self._lights)
        ):
            raise SettingError(f"lights: expected one or a list of {', '.join(LIGHTS)}, found {self.lights!r}")

    @property
    def _lights(self) -> list[str]:
        return [self.lights] if isinstance(self.lights, str) else list(self.lights)

    def settings(self) -> dict[str, Any]:
        """As the protocol says; lights and blades as lists, however they are written."""
        blades = list(self.blades) if isinstance(self.blades, tuple) else self.blades
        return {**super().settings(), "lights": self._lights, "blades": blades}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`glare` and `veil` as above. `lights`: of each its place, 0..1 within the picture, right and down, and its
        red, green and blue. `rays` and `smears`: of each line through a light the direction, radians, half its width
        and its length, over the short side. `blades`, 0 for a round aperture, and their `turn`. `ghosts`: of each its
        place on the line from the middle (0) to the light (1), its radius over the short side, red, green and blue."""
        glare, veil = draw_value(rng, self.glare), draw_value(rng, self.veil)
        lights = self._found(rng, image)
        blades = int(draw_value(rng, self.blades, whole=True))
        blades, turn = blades if blades >= 4 else 0, rng.uniform(0, math.pi)
        lines = blades // 2 if blades % 2 == 0 else blades
        long = rng.uniform(0.05, 0.16)
        rays = [[turn + math.pi * (i + 0.5) / lines, rng.uniform(0.003, 0.005), long * rng.uniform(0.5, 1.5)]
                for i in range(lines)]  # fmt: skip
        smears = [[rng.uniform(0, math.pi), rng.uniform(0.006, 0.03), rng.uniform(0.25, 0.8)]
                  for _ in range(int(draw_value(rng, self.smears, whole=True)))]  # fmt: skip
        ghosts = []
        for _ in range(int(draw_value(rng, self.ghosts, whole=True))):
            size = rng.uniform()
            colour, pale = rng.choice(COATINGS), rng.uniform(0, 0.6)
            strength = rng.uniform(0.4, 1.6)
            ghosts.append([rng.uniform(-1.7, 0.8), 0.012 + 0.16 * size * size,
                           *(strength * (pale + (1 - pale) * c) for c in colour)])  # fmt: skip
        return {
            "glare": glare,
            "veil": veil,
            "lights": _rounded(lights),
            "blades": blades,
            "turn": round(turn, 6),
            "rays": _rounded(rays),
            "smears": _rounded(smears),
            "ghosts": _rounded(ghosts),
        }

    def _found(self, rng: Rng, image: Image) -> list[list[float]]:
        where, warm = rng.choice(self._lights), power_of(2.0, draw_value(rng, self.warmth))
        colour = [warm, 1.0, 1 / warm]
        side, away, along = rng.uniform(), rng.uniform(0.06, 0.45), rng.uniform()
        if where == "picture" and (found := _in_picture(image)):
            return found
        if where == "placed":
            return [[*_brightest(rng, image), *colour]]
        if side < 0.6:
            return [[1.2 * along - 0.1, -away, *colour]]
        return [[-away if side < 0.8 else 1 + away, 0.7 * along, *colour]]

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] or levels in, linear light out; truth `flare`."""
        height, width = image.shape[:2]
        step = halvings(min(height, width) / FINE)
        small = _stray(-(-height // step), -(-width // step), params)
        brightness = np.float32(LUMA[0]) * small[0] + np.float32(LUMA[1]) * small[1] + np.float32(LUMA[2]) * small[2]
        stray = [enlarged_rows(plane, step, height, width) for plane in (*small, brightness)]
        lights = Lights()

        def rows(top: int, bottom: int) -> Strip:
            light = lights.of(image[top:bottom])
            for plane, more in zip(light, stray[:3], strict=True):
                np.add(plane, more(top, bottom), out=plane)
            return Strip(light, {"flare": to_uint16(stray[3](top, bottom), 65535)})

        return Strips(rows, is_linear=True)


def _rounded(table: list[list[float]]) -> list[list[float]]:
    return [[round(number, 6) for number in row] for row in table]


def _brightest(rng: Rng, image: Image) -> tuple[float, float]:
    """A place, 0..1 right and down, in the upper two thirds: of some by chance the one where most light comes from,
    since a sun is in the sky and a lamp is brighter than what it lights. At night they differ by little."""
    height, width = image.shape[:2]
    step = max(1, min(height, width) // PATCH)
    patches = averaged(np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8), step)
    rows, columns = patches.shape
    found, most = (0.5, 0.5), -1.0
    for _ in range(TRIES):
        x, y, chance = rng.uniform(0.06, 0.94), rng.uniform(0.05, 0.65), rng.uniform()
        light = int(patches[min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)]) + 20 * chance - 40 * y
        if light > most:
            found, most = (x, y), light
    return found


def _in_picture(image: Image) -> list[list[float]]:
    """The largest small spots that are next to white with darker surroundings, in a picture that is dark enough for
    them to be lights: place, 0..1, and colour of each, that of their surroundings in part, since the spot itself is
    clipped."""
    height, width = image.shape[:2]
    step = max(1, min(height, width) // FINE)
    grey: Any = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if int(np.sum(grey, dtype=np.int64)) > DIM * grey.size:
        return []
    bright = averaged(np.asarray(cv2.inRange(grey, FAINTEST, 255), np.uint8), step)
    small = averaged(np.ascontiguousarray(image), step)
    count, parts, stats, middles = cv2.connectedComponentsWithStats((bright > 96).astype(np.uint8), connectivity=8)
    parts, dim = np.asarray(parts), averaged(grey, step)
    found = []
    for part in range(1, count):
        left, top, wide, high, area = (int(n) for n in np.asarray(stats)[part])
        if area > LARGEST * bright.size or max(wide, high) > 4 * min(wide, high):
            continue
        frame = slice(max(0, top - high - 2), top + 2 * high + 2), slice(max(0, left - wide - 2), left + 2 * wide + 2)
        around = parts[frame] == 0
        if not around.any() or float(dim[frame][around].mean(dtype=np.float64)) > AROUND:
            continue
        near = small[frame][around].mean(axis=0, dtype=np.float64) + 60
        colour = near / near.max()
        x, y = (float(place) for place in np.asarray(middles)[part])
        found.append([(x + 0.5) / bright.shape[1], (y + 0.5) / len(bright), *(math.sqrt(area) * c for c in colour)])
    return sorted(found, key=lambda light: -max(light[2:]))[:MOST]


def _stray(rows: int, cols: int, params: Params) -> Field:
    """F, 3×rows×cols, of the mean luminance `glare`, cut off at white: what is brighter shows as white anyway."""
    short = min(rows, cols)
    x = ((np.arange(cols) + 0.5) / short).astype(np.float32)
    y = ((np.arange(rows) + 0.5) / short).astype(np.float32)[:, None]
    total = np.zeros((3, rows, cols), np.float32)
    dazzling = 4 * max(0.0, params["glare"] / DAZZLED - 1)
    for light in params["lights"]:
        across, down = x - np.float32(light[0] * cols / short), y - np.float32(light[1] * rows / short)
        colour = np.array(light[2:], np.float32)
        square = across * across + down * down
        halo = np.zeros_like(square)
        for radius, share in (*HALOS, (WIDEST, dazzling)):
            fall = square * np.float32(1 / (radius * radius)) + np.float32(1)
            fall *= np.sqrt(fall)
            halo += np.divide(np.float32(share / radius), fall, out=fall)
        total += halo * colour[:, None, None]
        for strength, lines in ((STAR, params["rays"]), (SMEAR, params["smears"])):
            for line in lines:
                _add_line(total, across, down, colour * np.float32(strength), *line)
    if params["lights"]:
        brightest = max(params["lights"], key=lambda light: max(light[2:]))
        strength = GHOST * _luminance(total) * (DAZZLED / max(params["glare"], DAZZLED))
        middle = cols / short / 2, rows / short / 2
        for place, radius, *reflected in params["ghosts"]:
            at = [half * (1 + place * (2 * there - 1)) for half, there in zip(middle, brightest, strict=False)]
            _add_ghost(total, x, y, at, radius, [strength * share for share in reflected], params)
    return _of_mean(total, params["glare"], params["veil"])


def _add_line(total: Field, across: Field, down: Field, colour: Field, turn: float, half: float, length: float) -> None:
    """A ray both ways: as bright as 1/(1 + along/length)³ along it, a little wider outwards, red ones longer."""
    right, up = np.float32(cosine_of(turn)), np.float32(sine_of(turn))
    along = across * right + down * up
    np.abs(along, out=along)
    aside = across * up - down * right
    width = along * np.float32(0.02)
    width += np.float32(half)
    aside /= width
    aside *= aside
    aside += np.float32(1)
    aside *= aside
    aside *= width
    np.divide(np.float32(half), aside, out=aside)
    fall, cube = width, np.empty_like(width)
    for channel, longer in enumerate(LONGER):
        np.multiply(along, np.float32(1 / (length * longer)), out=fall)
        fall += np.float32(1)
        np.multiply(fall, fall, out=cube)
        cube *= fall
        np.divide(aside, cube, out=cube)
        cube *= colour[channel]
        total[channel] += cube


def _add_ghost(
    total: Field, x: Field, y: Field, at: Sequence[float], radius: float, colour: Sequence[float], params: Params
) -> None:
    """An image of the aperture: brighter towards its rim, which is soft, and redder outside than inside."""
    reach, soft = 1.15 * radius, 0.1 * radius + 0.008
    left, right = np.searchsorted(x, [at[0] - reach - soft, at[0] + reach + soft])
    top, bottom = np.searchsorted(y[:, 0], [at[1] - reach - soft, at[1] + reach + soft])
    if left >= right or top >= bottom:
        return
    across, down = x[left:right] - np.float32(at[0]), y[top:bottom] - np.float32(at[1])
    away = np.sqrt(across * across + down * down)
    if params["blades"]:
        sides = [params["turn"] + 2 * math.pi * i / params["blades"] for i in range(params["blades"])]
        flat = across * np.float32(cosine_of(sides[0])) + down * np.float32(sine_of(sides[0]))
        for side in sides[1:]:
            np.maximum(flat, across * np.float32(cosine_of(side)) + down * np.float32(sine_of(side)), out=flat)
        away = away * np.float32(0.3) + flat * np.float32(0.7)  # blades are bent
    inside = away * np.float32(1 / radius)
    inside *= inside
    inside *= inside
    glow = inside * np.float32(0.5) + np.float32(0.5)
    for channel, wider in enumerate((1.02, 1.0, 0.98)):
        edge = np.clip((np.float32(radius * wider) - away) * np.float32(1 / soft) + np.float32(0.5), 0, 1)
        edge *= edge * (np.float32(3) - np.float32(2) * edge)
        total[channel, top:bottom, left:right] += edge * glow * np.float32(colour[channel])


def _of_mean(total: Field, glare: float, veil: float) -> Field:
    """`total` and an even veil of its mean colour, multiplied so that the mean luminance of what stays below white is
    `glare`; in place."""
    whole = _luminance(total)
    tint = _means(total) / whole if whole else np.ones(3)
    total *= np.float32((1 - veil) / whole if whole else 0)
    total += (tint * (veil if whole else 1)).astype(np.float32)[:, None, None]
    # Of the values in their order, all from one on are cut off: so what is left below white is a sum that is known.
    ordered = np.sort(total.reshape(3, -1), axis=1)
    sums = np.cumsum(ordered, axis=1, dtype=np.float64)
    count = ordered.shape[1]

    def lit(factor: float) -> float:
        """The mean luminance of `total` times `factor`, cut off at white."""
        mean = 0.0
        for share, values, sum_of in zip(LUMA, ordered, sums, strict=True):
            below = int(np.searchsorted(values, np.float32(1 / factor)))
            mean += share * ((factor * float(sum_of[below - 1]) if below else 0.0) + (count - below)) / count
        return mean

    low, high = 0.0, 1.0
    while lit(high) < glare:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if lit(middle) < glare else (low, middle)
    total *= np.float32(high if glare else 0)
    return np.minimum(total, np.float32(1), out=total)


def _means(total: Field) -> NDArray[np.float64]:
    return np.asarray(total.reshape(3, -1).mean(axis=1, dtype=np.float64))


def _luminance(total: Field) -> float:
    """The mean luminance of three planes."""
    return float(np.sum(_means(total) * LUMA))
