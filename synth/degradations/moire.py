"""`moire`: a screen that was photographed, whose grid of sub-pixels beats with the camera's grid of colour filters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import Knob, Params, Place, SettingError, Stage, Values, check_values, draw_value
from patina.synth.elementary import cosine, cosine_of, exp, power_of, sine_of
from patina.synth.image import FloatImage, Image, level_light, to_linear, to_uint16
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

Field = NDArray[np.float32]

LAYOUTS: Mapping[str, tuple[tuple[tuple[float, float, float, float], ...], ...]] = {
    "stripes": (((1 / 6, 0.5, 0.28, 0.88),), ((3 / 6, 0.5, 0.28, 0.88),), ((5 / 6, 0.5, 0.28, 0.88),)),
    "upright": (((0.5, 1 / 6, 0.88, 0.28),), ((0.5, 3 / 6, 0.88, 0.28),), ((0.5, 5 / 6, 0.88, 0.28),)),
    "pentile": (
        ((0.75, 0.25, 0.36, 0.36),),
        ((0.25, 0.25, 0.27, 0.27), (0.75, 0.75, 0.27, 0.27)),
        ((0.25, 0.75, 0.36, 0.36),),
    ),
}
"""Of a cell of the screen, whose sides are 1, where its red, green and blue light up: middle and size of each patch.
Stripes are a monitor's, upright ones those of a telephone or a monitor on its side; pentile is most OLED."""

STEPS, HARMONICS = 256, 4
"""Places along a cell that the tables tell apart, and harmonics of the grid that they have."""

WHITE, ONE = 1 << 15, 1 << 14
"""Levels of the sensor, of 65536, for the screen's white, and of the truth map for light that the grid leaves as it is.
The sensor is full at twice the white: bands are clipped as the picture's white is."""

TAPS = 1 << 8
"""What the weights of a blur add up to: of 16-bit levels all sums stay below 2^24, and none is rounded."""

EDGE = 6
"""Rows and columns around: one for each blur and what demosaicing looks at. Even, as the filters' pattern is."""

FOCAL = 1.2
"""Focal length of the camera over the picture's longer side."""

SITES = ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))
"""Colour, first row and first column of the filters over the photosites: RGGB."""

MOIRE = Scale(((0, "faint moire"), (0.05, "light moire"), (0.15, "clear moire"), (0.35, "strong moire")))
"""Share of the grid's contrast that reaches the sensor. Nobody has defined classes; the names are ours."""


def _say(known: Known) -> Said:
    contrast = known.number("contrast")
    if contrast is None or contrast > 1:
        return Said("moire of a photographed screen", "moire")
    if not contrast:
        return nothing("moire")
    detail = f"with about {about(100 * contrast)[6:]}% of the screen's grid in the photograph"
    return on_scale(MOIRE, contrast, detail, "moire")


@dataclass(frozen=True)
class Moire(InStrips):
    """raw(p) = J(p)·m(P(p)) at each photosite p, of its colour alone, then demosaicked: aliases are true ones.

    The picture J is what the camera sees of the screen without its grid: so GT and LQ lie over each other. m is the
    light of the screen's sub-pixels of that colour, periodic in the screen's cells, of mean 1, blurred by lens and
    photosite; P is where on the screen a photosite looks: perspective, a turn, and the lens's distortion. All in linear
    light. Bands come where the grid's frequency is near that of the filters: 1/2 or 1 per photosite.

    contrast    of the grid's first harmonic behind the lens over that on the screen, 0..1; of the k-th, contrast^k².
    pitch       photosites to a cell of the screen, 0.5..8. Near 2 bands are coloured, red and blue against green, and
                at 1 of all colours; far from 1, 2 and 4 there are hardly any.
    rotation    of the camera to the screen, degrees, -45..45.
    tilt        of the camera's axis to the screen's normal, degrees, 0..40, in any direction: bands widen and bend.
    distortion  of the lens, -0.1..0.1: by what share of its radius the picture's corner is moved.
    layouts     of the screens, names of LAYOUTS, one or a list: "stripes", "upright", "pentile".
    softness    of lens and photosite together, standard deviation in pixels, 0..0.8.
    smoothing   by the camera, of the demosaicked picture, standard deviation in pixels, 0..0.8. Without it the finest
                grid stays, as dots of two pixels.
    exposure    stops by which the photograph comes out brighter than the screen, -3..1.
    cast        how far the camera's white balance may be off, 0..1: red and blue by up to so many half stops.

    Truth: `bands`, H×W uint16: by what the grid multiplies the light, the mean of red, twice green and blue, 16384 = 1.
    There is no noise: add `noisy`. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "moire"
    version: ClassVar[int] = 1
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "sensor"
    truth: ClassVar[tuple[str, ...]] = ("bands",)
    knob: ClassVar[Knob | None] = Knob("contrast", 0.02, 0.8)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"layouts": "stripes", "pitch": 1.03, "tilt": 25, "distortion": 0.08},
        {"layouts": "pentile", "pitch": 4.1, "softness": 0, "smoothing": 0, "rotation": -20},
        {"layouts": "upright", "softness": 0.8, "cast": 1},
    )
    wording: ClassVar[Wording | None] = Wording(_say, ("remove the {}", "clean up the photographed screen"))
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {
        "bands": ("by what the screen's grid multiplies the light at each pixel", "16 bits, 16384 = 1"),
    }

    contrast: Values = field(default_factory=lambda: {"min": 0.08, "max": 0.45})
    pitch: Values = field(default_factory=lambda: {"min": 1.86, "max": 2.18})
    rotation: Values = field(default_factory=lambda: {"min": -6, "max": 6})
    tilt: Values = field(default_factory=lambda: {"min": 0, "max": 15})
    distortion: Values = field(default_factory=lambda: {"min": -0.03, "max": 0.03})
    layouts: str | Sequence[str] = tuple(LAYOUTS)
    softness: Values = field(default_factory=lambda: {"min": 0.2, "max": 0.5})
    smoothing: Values = field(default_factory=lambda: {"min": 0.5, "max": 0.75})
    exposure: Values = field(default_factory=lambda: {"min": -0.5, "max": 0.2})
    cast: Values = field(default_factory=lambda: {"min": 0, "max": 0.25})

    def __post_init__(self) -> None:
        check_values("contrast", self.contrast, 0, 1)
        check_values("pitch", self.pitch, 0.5, 8)
        check_values("rotation", self.rotation, -45, 45)
        check_values("tilt", self.tilt, 0, 40)
        check_values("distortion", self.distortion, -0.1, 0.1)
        check_values("softness", self.softness, 0, 0.8)
        check_values("smoothing", self.smoothing, 0, 0.8)
        check_values("exposure", self.exposure, -3, 1)
        check_values("cast", self.cast, 0, 1)
        if not isinstance(self.layouts, str | Sequence) or not self._layouts:
            raise SettingError(f"layouts: expected one or a list of {', '.join(LAYOUTS)}, found {self.layouts!r}")
        if any(layout not in LAYOUTS for layout in self._layouts):
            raise SettingError(f"layouts: expected one or a list of {', '.join(LAYOUTS)}, found {self.layouts!r}")

    @property
    def _layouts(self) -> list[str]:
        return [self.layouts] if isinstance(self.layouts, str) else list(self.layouts)

    def settings(self) -> dict[str, Any]:
        """As the protocol says; the layouts as a list, however they are written."""
        return {**super().settings(), "layouts": self._layouts}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`contrast`, `pitch`, `rotation`, `tilt`, `distortion`, `softness` and `smoothing` as above; `layout`;
        `towards`, in which direction the screen leans away, radians; `phase`, where in a cell the middle of the picture
        is, right and down; `gains` of red, green and blue, in linear light."""
        contrast, pitch = draw_value(rng, self.contrast), draw_value(rng, self.pitch)
        gain, cast = power_of(2.0, draw_value(rng, self.exposure)), draw_value(rng, self.cast) / 2
        off = (rng.uniform(-cast, cast), 0.0, rng.uniform(-cast, cast))
        return {
            "contrast": contrast,
            "pitch": pitch,
            "rotation": draw_value(rng, self.rotation),
            "tilt": draw_value(rng, self.tilt),
            "towards": round(rng.uniform(0, 2 * math.pi), 6),
            "distortion": draw_value(rng, self.distortion),
            "softness": draw_value(rng, self.softness),
            "smoothing": draw_value(rng, self.smoothing),
            "layout": rng.choice(self._layouts),
            "phase": [round(rng.uniform(), 6), round(rng.uniform(), 6)],
            "gains": [round(gain * power_of(2.0, stops), 6) for stops in off],
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] or levels in, linear light out; truth `bands`."""
        height, width = image.shape[:2]
        tables = _tables(LAYOUTS[params["layout"]], params["contrast"])
        lens, smoothing = _blur(params["softness"]), _blur(params["smoothing"])
        gains = [np.float32(gain / WHITE / TAPS) for gain in params["gains"]]

        def rows(top: int, bottom: int) -> Strip:
            first = top - top % 2 - EDGE
            lines = _mirrored(first, bottom + EDGE, height)
            part = image[lines[0] : lines[-1] + 1] if _rising(lines) else image[lines]
            framed: Any = cv2.copyMakeBorder(part, 0, 0, EDGE, EDGE, cv2.BORDER_REFLECT_101)
            light = [
                np.asarray(cv2.filter2D(plane, -1, lens), np.float32) for plane in map(_counted, cv2.split(framed))
            ]
            cell = _cells(first, bottom + EDGE, height, width, params)
            raw, bands = np.empty(cell.shape, np.uint16), np.empty(cell.shape, np.uint16)
            for colour, row, column in SITES:
                sites = slice(row, None, 2), slice(column, None, 2)
                grid: Any = cv2.LUT(np.ascontiguousarray(cell[sites]), tables[colour : colour + 1])
                bands[sites] = to_uint16(grid, ONE)
                grid *= light[colour][sites]
                raw[sites] = to_uint16(grid, 1 / TAPS)
            own = slice(top - first, bottom - first), slice(EDGE, EDGE + width)
            shown = [
                np.asarray(cv2.filter2D(plane, cv2.CV_32F, smoothing)[own], np.float32) * gain
                for plane, gain in zip(cv2.split(cv2.cvtColor(raw, cv2.COLOR_BayerBG2RGB)), gains, strict=True)
            ]
            red, green, blue = cv2.split(np.asarray(cv2.cvtColor(bands, cv2.COLOR_BayerBG2RGB))[own])
            # (red + 2·green + blue + 2)//4: nothing is rounded but the end, where an eighth makes a half the larger one
            others = cv2.addWeighted(red, 0.25, blue, 0.25, 0.125, dtype=cv2.CV_32F)
            mean = cv2.addWeighted(green, 0.5, others, 1, 0, dtype=cv2.CV_16U)
            return Strip(shown, {"bands": np.asarray(mean, np.uint16)})

        return Strips(rows, is_linear=True)


def _counted(plane: Any) -> Field:
    """Levels of the sensor of a plane of the picture, as whole numbers."""
    if plane.dtype == np.uint8:
        return np.asarray(cv2.LUT(plane, _counts()), np.float32)
    light = to_linear(plane)
    light *= np.float32(WHITE)
    return np.rint(light, out=light)


@cache
def _counts() -> Field:
    """Levels of the sensor of the picture's, 1×256."""
    table = np.asarray(np.rint(level_light() * np.float32(WHITE)), np.float32)
    table.setflags(write=False)
    return table


def _mirrored(first: int, end: int, count: int) -> NDArray[np.intp]:
    """Rows or columns first to end of `count`, those beyond mirrored about the border's own, as the filters' are."""
    place = np.abs(np.arange(first, end))
    return np.where(place < count, place, 2 * (count - 1) - place)


def _rising(lines: NDArray[np.intp]) -> bool:
    return bool(lines[-1] - lines[0] == len(lines) - 1 and (np.diff(lines) == 1).all())


def _blur(sigma: float) -> Field:
    """Weights of 3×3 photosites, whole numbers that add up to TAPS."""
    side = float(exp(-0.5 / (sigma * sigma))) if sigma else 0.0
    weights = np.array([side, 1, side]) / (1 + 2 * side)
    taps = np.rint(TAPS * weights[:, None] * weights)
    taps[1, 1] += TAPS - taps.sum()
    return taps.astype(np.float32)


def _tables(layout: tuple[tuple[tuple[float, float, float, float], ...], ...], contrast: float) -> Field:
    """The light of red, green and blue over a cell, 3×65536, mean 1: STEPS places along a row of it, and of rows."""
    tables = np.empty((3, STEPS, STEPS), np.float32)
    for table, patches in zip(tables, layout, strict=True):
        total = np.zeros((STEPS, STEPS))
        for x, y, wide, high in patches:
            total += _profile(y, high, contrast)[:, None] * _profile(x, wide, contrast)
        np.maximum(total / len(patches), 0, out=table, casting="same_kind")
    return tables.reshape(3, -1)


def _profile(middle: float, size: float, contrast: float) -> NDArray[np.float64]:
    """Fourier's series of a patch of a cell, repeated, mean 1, each harmonic times contrast^k²."""
    total = np.ones(STEPS)
    for k, wave in enumerate(_waves(middle), 1):
        half = math.pi * k * size
        total = total + 2 * sine_of(half) / half * power_of(contrast, float(k * k)) * wave
    return total


@cache  # of the few middles of LAYOUTS
def _waves(middle: float) -> list[NDArray[np.float64]]:
    """cos 2πk(x − middle) for each harmonic k, over a cell."""
    turns = 2 * math.pi * ((np.arange(STEPS) + 0.5) / STEPS - middle)
    return [cosine(k * turns) for k in range(1, HARMONICS + 1)]


def _cells(first: int, end: int, height: int, width: int, params: Params) -> NDArray[np.uint16]:
    """Where in a cell of the screen the photosites of rows first to end look, with EDGE columns beside the picture:
    its row times STEPS and its column."""
    lean, turn = math.radians(params["tilt"]), math.radians(params["rotation"])
    along, across = cosine_of(params["towards"]), sine_of(params["towards"])
    u = np.arange(-EDGE, width + EDGE, dtype=np.float32) - np.float32((width - 1) / 2)
    v = (np.arange(first, end, dtype=np.float32) - np.float32((height - 1) / 2))[:, None]
    # Along the direction of the lean a ray meets the screen at s = t/(cos − sin·t/f), and across it at p·cos over that.
    fall = sine_of(lean) / (FOCAL * max(height, width))
    stretch: Field = (v * np.float32(-across * fall) + np.float32(cosine_of(lean))) + u * np.float32(-along * fall)
    np.divide(np.float32(STEPS / params["pitch"]), stretch, out=stretch)
    if params["distortion"]:
        per = params["distortion"] / ((height * height + width * width) / 4)
        stretch *= (v * v * np.float32(per) + np.float32(1)) + u * u * np.float32(per)
    found = []
    for angle, phase in ((turn, params["phase"][0]), (turn + math.pi / 2, params["phase"][1])):
        # The screen's axis in the photograph, of which the part across the lean is foreshortened.
        x, y = cosine_of(angle), sine_of(angle)
        part, rest = x * along + y * across, (y * along - x * across) * cosine_of(lean)
        x, y = part * along - rest * across, part * across + rest * along
        place = v * np.float32(y) + u * np.float32(x)
        place *= stretch
        place += np.float32(phase * STEPS + (1 << 20))
        found.append(place.astype(np.int32))
    column, row = found
    column &= STEPS - 1
    row *= STEPS
    row += column
    return row.astype(np.uint16)  # its 16 lowest bits
