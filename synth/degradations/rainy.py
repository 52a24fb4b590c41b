"""`rainy`: rain that falls through the picture while the shutter is open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
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
from patina.synth.depth import FromDepth, brightness
from patina.synth.elementary import cosine_of, exp_of, fast_cube_root, fast_exp, fast_log, power_of, sine_of
from patina.synth.falling import FOCAL, SHARPEST, Profile, Traces, exposed
from patina.synth.image import FloatImage, Image, as_floats, as_levels, to_encoded, to_linear
from patina.synth.resampling import Rows
from patina.synth.rng import Rng
from patina.synth.strips import InStrips, Strip, Strips

LIGHTS = ("encoded", "linear")

BLENDS = ("add", "screen")

LIKE: dict[str, dict[str, Any]] = {
    "rain100l": {"rate": 10, "exposure": 0.01, "brightness": 14, "angle": {"min": -15, "max": 15}},
    "rain100h": {
        "rate": 200,
        "exposure": 0.033,
        "brightness": 26.5,
        "angle": {"min": -5, "max": 5},
        "directions": 5,
        "fan": 20,
    },
    "rain1200": {
        "rate": {"min": 5, "max": 120},
        "exposure": {"min": 0.01, "max": 0.03},
        "brightness": 20,
        "angle": {"min": -30, "max": 30},
        "blend": "screen",
    },
}
"""Settings that give the input and the form of three published sets: luma of 26.9, 13.6 and about 23.6 dB."""

PER_MM = 8000.0
"""Drops in a cubic metre per millimetre of diameter, at diameter 0 (Marshall and Palmer)."""

SMALLEST, LARGEST = 1.0, 6.0
"""Diameters in mm: what is smaller is not seen as a streak, what is larger breaks up."""

NEAREST, FARTHEST, MOST = 0.5, 12.0, 6000
"""Metres between which drops are drawn, and how many at most, the nearest: the others are too faint to tell apart."""

FOCUS = 8.0
"""Metres at which the lens is focused."""


@dataclass(frozen=True)
class Rainy(FromDepth, InStrips):
    """lq = clip(gt + S), S a grey layer of streaks, ≥ 0: the structure that the pairs of Rain100 have. Or the streaks
    are screened over the picture, gt + S·(1 − gt), as with an image editor and in Rain1200.

    Drops are a population in space: diameters D after Marshall and Palmer (1948), N(D) = 8000·exp(−4.1·rate^−0.21·D)
    per m³ and mm; speeds v = 9.65 − 10.3·exp(−0.6·D) m/s (Atlas et al. 1973); all places before the camera are equally
    likely. A drop is before each point of its streak for D/v of the exposure, and adds that share of its brightness
    (Garg and Nayar, IJCV 2007). Nearer drops leave longer, wider and less sharp streaks, slower ones lean more.

    rate        of rain, mm/h, 0.1..300. 2.5 is light, 10 moderate, 50 violent.
    angle       of the streaks to the vertical, degrees, -45..45; above 0 they fall to the right.
    directions  in which the drops of one picture fall, 1..9, whole. One wind gives 1; Rain100H has several.
    fan         degrees from the first of them to the last, 0..60, about `angle`.
    exposure    seconds, 0.0005..0.05: longer streaks, each fainter.
    brightness  of a drop over the photograph's white, 0..100. 1 to 3 is a drop that shows a bright sky; back light does
                the rest, and Rain100 has about ten.
    aperture    of the lens, mm, 0..30. 2 is a phone, 10 a camera with a large sensor.
    veil        how much of the extinction by far drops is shown as haze, 0..20: 1 is what `rate` says; 0 shows none
                and keeps lq − gt grey.
    depth       for the veil: a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior.
    blend       "add" or "screen".
    light       "encoded", as Rain100 adds its layer, or "linear" to add it to light.

    Truth: `streaks`, H×W: S in the domain of `light`. Added in sRGB levels: uint8, 255 = 1, so that without a veil
    lq = clip(gt + S) holds exactly, in levels. Linear or blended: uint16, 65535 = 1. The camera sees 40° across its
    short side. Defaults lie between the inputs of Rain100L (26.9 dB) and Rain100H (13.6 dB), both of luma; LIKE has the
    settings of these two and of Rain1200, and so has the shipped recipe `rain`. Raises SettingError for a setting out
    of its range and for a folder that cannot be used.
    """

    name: ClassVar[str] = "rainy"
    version: ClassVar[int] = 5
    reads_levels: ClassVar[bool] = True
    keeps_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "atmosphere"
    truth: ClassVar[tuple[str, ...]] = ("streaks",)
    knob: ClassVar[Knob | None] = Knob("rate", 0.5, 300)

    rate: Values = field(default_factory=lambda: {"min": 10, "max": 130})
    angle: Values = field(default_factory=lambda: {"min": -15, "max": 15})
    directions: Values = 1
    fan: Values = 15
    exposure: Values = field(default_factory=lambda: {"min": 0.006, "max": 0.03})
    brightness: Values = field(default_factory=lambda: {"min": 7, "max": 20})
    aperture: Values = field(default_factory=lambda: {"min": 1, "max": 6})
    veil: Values = 0
    depth: str = field(default="", metadata={"folder": True})
    blend: str = "add"
    light: str = "encoded"

    def __post_init__(self) -> None:
        check_values("rate", self.rate, 0.1, 300)
        check_values("angle", self.angle, -45, 45)
        check_values("directions", self.directions, 1, 9, whole=True)
        check_values("fan", self.fan, 0, 60)
        check_values("exposure", self.exposure, 0.0005, 0.05)
        check_values("brightness", self.brightness, 0, 100)
        check_values("aperture", self.aperture, 0, 30)
        check_values("veil", self.veil, 0, 20)
        if self.blend not in BLENDS:
            raise SettingError(f"blend: expected one of {', '.join(BLENDS)}, found {self.blend!r}")
        if self.light not in LIGHTS:
            raise SettingError(f"light: expected one of {', '.join(LIGHTS)}, found {self.light!r}")
        _ = self.depths

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`rate`, `angle`, `directions`, `fan`, `exposure`, `brightness`, `aperture`, `veil`, `blend` and `light` as
        above, the drops' `seed`, the veil's `airlight` (linear light, grey), and where its depth comes from: see
        `Depths.draw`."""
        return {
            "rate": draw_value(rng, self.rate),
            "angle": draw_value(rng, self.angle),
            "directions": int(draw_value(rng, self.directions, whole=True)),
            "fan": draw_value(rng, self.fan),
            "exposure": draw_value(rng, self.exposure),
            "brightness": draw_value(rng, self.brightness),
            "aperture": draw_value(rng, self.aperture),
            "veil": draw_value(rng, self.veil),
            "blend": self.blend,
            "light": self.light,
            "seed": rng.seed(),
            "airlight": round(0.6 * power_of(brightness(image), 2.2), 6),
            **self.depths.draw(rng, place),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of the picture, in the domain of `light`; truth `streaks`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        fallen = _streaks(image.shape[0], image.shape[1], params)
        linear, screen = params["light"] == "linear", params["blend"] == "screen"
        veil = self._veil(image, params) if params["veil"] else None
        # Levels and a layer of 16 bits have a sum of 16 bits, in which a level is 257.
        whole = image.dtype == np.uint8 and not (linear or screen or veil)

        def rows(top: int, bottom: int) -> Strip:
            layer, part = fallen(top, bottom), image[top:bottom]
            compiled = functions()
            if whole and compiled:
                levels, layer = np.ascontiguousarray(part), np.ascontiguousarray(layer, np.float32)
                lq, streaks = np.empty(part.shape, np.uint8), np.empty(layer.shape, np.uint8)
                compiled.patina_rain(pointer(levels), pointer(layer), layer.size, pointer(lq), pointer(streaks))
                return Strip(lq, {"streaks": streaks})
            stored: Any = cv2.multiply(layer, 65535.0, dtype=cv2.CV_16U)  # type: ignore[call-overload]
            if whole:
                behind: Any = cv2.LUT(part, _sixteen_bits())
                out: Any = cv2.add(behind, cv2.merge([stored, stored, stored]), dst=behind)
                return Strip(_whole_levels(out), {"streaks": _whole_levels(stored)})
            # The layer as it is stored: its steps never end half-way between two levels, where channels round apart.
            streaks = np.multiply(stored, np.float32(1 / 65535), dtype=np.float32)
            behind = veil(part, top, bottom) if veil else part
            behind = to_linear(behind) if linear else as_floats(behind)
            layer = np.asarray(cv2.merge([streaks, streaks, streaks]), np.float32)
            if screen:
                layer *= 1 - behind
            out = np.asarray(cv2.add(behind, layer, dst=layer), np.float32)
            truth = {"streaks": stored if linear or screen else _whole_levels(stored)}
            return Strip(out if linear else np.minimum(out, 1, out=out), truth)

        if whole:
            return Strips(rows, levels=as_levels)
        return Strips(rows, is_linear=linear)

    def _veil(self, image: FloatImage | Image, params: Params) -> Callable[[FloatImage | Image, int, int], FloatImage]:
        """What gives rows of a picture behind the far drops' haze. They take away twice their cross-sections:
        β = π·8000/Λ³·10⁻⁶ a metre."""
        slope = _slope(params["rate"])
        beta = math.pi * PER_MM / (slope * slope * slope) * 1e-6 * params["veil"]
        metres, air = self.depths.rows_of(image, params), np.float32(params["airlight"])

        def rows(part: FloatImage | Image, top: int, bottom: int) -> FloatImage:
            t = fast_exp(metres(top, bottom) * np.float32(-beta))
            return to_encoded(np.asarray((to_linear(part) - air) * t[..., None] + air, np.float32))

        return rows


def _whole_levels(values: NDArray[Any]) -> Image:
    """Values of 65535 = 1 in levels of 255 = 1: the nearest one, of which there is always one, as 257 is odd."""
    levels: Any = cv2.LUT(values, _nearest_levels())
    return levels  # type: ignore[no-any-return]


@cache
def _nearest_levels() -> NDArray[np.uint8]:
    table = ((np.arange(65536) + 128) // 257).astype(np.uint8)[None]
    table.setflags(write=False)
    return table


@cache
def _sixteen_bits() -> NDArray[np.uint16]:
    table = (np.arange(256) * 257).astype(np.uint16)[None]
    table.setflags(write=False)
    return table


def _leans(params: Params) -> NDArray[np.float32]:
    """The tangents of the directions in which drops fall."""
    count = params["directions"]
    away = [params["fan"] * (i / (count - 1) - 0.5) if count > 1 else 0.0 for i in range(count)]
    angles = [math.radians(params["angle"] + degrees) for degrees in away]
    return np.array([sine_of(angle) / cosine_of(angle) for angle in angles], np.float32)


def _slope(rate: float) -> float:
    """Marshall and Palmer's Λ, per mm: the number of drops falls as exp(−Λ·D)."""
    return 4.1 * power_of(rate, -0.21)


def _streaks(height: int, width: int, params: Params) -> Rows:
    """The layer of streaks, any rows, ≥ 0 and not yet cut at 1."""
    focal, slope = FOCAL * min(height, width), _slope(params["rate"])
    number = PER_MM / slope * exp_of(-slope * SMALLEST)  # in a cubic metre
    seen = height * width / (focal * focal) / 3  # m³ of the view before a depth of 1 m
    most = MOST * min(1, 0.033 / params["exposure"])  # fewer where they are long, for time's sake
    far = min(FARTHEST, power_of(NEAREST * NEAREST * NEAREST + most / (number * seen), 1 / 3))
    count = int(number * seen * (far * far * far - NEAREST * NEAREST * NEAREST) + 0.5)
    # A row for each drop: more drops are the same ones and others.
    chance = Rng(params["seed"]).uniforms(8 * count).reshape(count, 8).T.astype(np.float32)
    diameter = np.minimum(SMALLEST - fast_log(1 - chance[0]) / slope, LARGEST)
    depth = fast_cube_root(
        NEAREST * NEAREST * NEAREST + chance[1] * (far * far * far - NEAREST * NEAREST * NEAREST)
    ).astype(np.float32)
    speed = 9.65 - 10.3 * fast_exp(-0.6 * diameter)
    scale = focal / depth  # px to a metre
    width_px = diameter * scale / 1000
    # What a drop adds across its streak, px: its width, for the share of the exposure that it is there.
    across = width_px * diameter / 1000 / (speed * params["exposure"])
    focus = focal * params["aperture"] / 2000 * np.abs(1 / depth - 1 / FOCUS)  # radius of a point's disc, px
    blur = np.sqrt(SHARPEST * SHARPEST + width_px * width_px / 16 + focus * focus / 4)
    fall = speed * params["exposure"] * scale
    # The wind carries all drops equally fast. It is such that the streaks lean as asked, each by what it does to the
    # picture's gradients.
    weight = across * across * fall / (blur * blur * blur)
    usual = float((weight * speed).sum() / max(float(weight.sum()), 1e-9))
    turbulence = (chance[2] + chance[3] - 1) * np.float32(0.08)
    wind = _leans(params)[np.arange(count) % params["directions"]] * np.float32(usual) / speed
    lean = (wind + turbulence) / (1 - wind * turbulence)  # the tangent of a sum; that of turbulence is nearly itself
    dx, dy = fall * lean, fall
    traces = Traces(
        x=chance[4] * (width + np.abs(dx)) - np.abs(dx) / 2,
        y=chance[5] * (height + dy) - dy / 2,
        dx=dx,
        dy=dy,
        mass=across * np.sqrt(dx * dx + dy * dy) * np.float32(params["brightness"]),
        blur=blur,
    )
    # A falling drop swings between flat and tall some hundred times a second, and glints as it does.
    swings = (1 + chance[6]) * np.float32(60 * params["exposure"])  # whole ones
    # Brighter in the middle, fading out at both ends; mean 1 but for the glint.
    profile = Profile(fade=-16, level=1, glint=0.4, base=1.25, swings=swings, turns=chance[7])
    return exposed(height, width, traces, profile)
