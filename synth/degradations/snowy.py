"""`snowy`: snow that falls through the picture while the shutter is open."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from patina.synth.air import Lights, airlight_of, through_air
from patina.synth.degradation import Knob, Params, Place, Stage, Values, check_values, draw_value
from patina.synth.depth import FromDepth, brightness
from patina.synth.elementary import fast_cube_root, fast_exp, fast_log, fast_sine, power_of
from patina.synth.falling import FOCAL, SHARPEST, Profile, Traces, exposed
from patina.synth.image import FloatImage, Image, to_linear
from patina.synth.resampling import Rows
from patina.synth.rng import Rng
from patina.synth.strips import InStrips, Strip, Strips

SHAPE = 3
"""Of the gamma distribution that flakes' diameters have: many small ones, and a long tail of clumps."""

MASS = 0.089
"""Milligrams of a flake over the square of its diameter in mm: a density of 0.17/D g/cm³ (Holroyd 1971)."""

NEAREST, FARTHEST, MOST = 0.4, 3.5, 16000
"""Metres between which flakes are drawn, and how many at most, the nearest; the others are the veil. One of 10 mm
is a pixel there of a photograph of 320: the published sets show larger ones as snow."""

NEAREST_CUBED = NEAREST * NEAREST * NEAREST

FOCUS = 8.0
"""Metres at which the lens is focused."""

CRYSTALS, LARGE = 14, 2.5
"""Clumps that make up a flake, and the pixels across from which it is large enough to have a shape."""

REACH = 120.0
"""Metres of falling snow that lie before the sky: it keeps a little of itself, where more would leave a blank."""

OPAQUE = 1.5
"""Optical thickness of a flake through which it is seen flat on."""


@dataclass(frozen=True)
class Snowy(FromDepth, InStrips):
    """K = J·(1 − α) + c·α in linear light, with α from a population of flakes in space and a veil of those too far.

    Diameters D have a gamma distribution and all places before the camera are equally likely, so that sizes in the
    picture go with one over the distance and have a long tail. Each flake moves while the shutter is open: it falls
    (0.8·D^0.2 m/s, D in mm; after Locatelli and Hobbs 1974), drifts with the wind and flutters. The longer its way and
    the worse its focus, the thinner it gets. Optical thicknesses add up where flakes overlap: α = 1 − exp(−Σ).

    rate        of snowfall, mm/h of melted water, 0.05..30. 1 is moderate, 5 heavy.
    size        mean diameter of the flakes, mm, 0.5..15. Fewer of them carry the same water.
    wind        across the picture, m/s, -15..15; above 0 flakes drift to the right.
    exposure    seconds, 0.0005..0.05.
    aperture    of the lens, mm, 0..30. 2 is a phone, 10 a camera with a large sensor.
    veil        how much of the extinction by far flakes is shown, 0..5: 1 is what `rate` says, 0 shows none.
    brightness  of the snow c, sRGB-encoded, 0..1, by day; less in a dark photograph (`patina.synth.depth.brightness`).
    warmth      colour of c, -1..1: its red over its blue is 1 + warmth/4. Below 0 it is bluish.
    depth       for the veil: a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior.

    Truth: `alpha`, H×W uint16, α with 65535 = 1. The camera sees 40° across its short side. Defaults give the input of
    Snow100K-L, about 19 dB; rate = 3 and veil = 0 give that of its S, 25 dB. Raises SettingError for a setting out of
    its range and for a folder that cannot be used.
    """

    name: ClassVar[str] = "snowy"
    version: ClassVar[int] = 5
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "atmosphere"
    truth: ClassVar[tuple[str, ...]] = ("alpha",)
    knob: ClassVar[Knob | None] = Knob("rate", 0.05, 30)

    rate: Values = field(default_factory=lambda: {"min": 1.5, "max": 10})
    size: Values = field(default_factory=lambda: {"min": 9, "max": 15})
    wind: Values = field(default_factory=lambda: {"min": -2.5, "max": 2.5})
    exposure: Values = field(default_factory=lambda: {"min": 0.001, "max": 0.008})
    aperture: Values = field(default_factory=lambda: {"min": 1, "max": 8})
    veil: Values = field(default_factory=lambda: {"min": 0, "max": 0.3})
    brightness: Values = field(default_factory=lambda: {"min": 0.85, "max": 1})
    warmth: Values = field(default_factory=lambda: {"min": -0.05, "max": 0.05})
    depth: str = field(default="", metadata={"folder": True})

    def __post_init__(self) -> None:
        check_values("rate", self.rate, 0.05, 30)
        check_values("size", self.size, 0.5, 15)
        check_values("wind", self.wind, -15, 15)
        check_values("exposure", self.exposure, 0.0005, 0.05)
        check_values("aperture", self.aperture, 0, 30)
        check_values("veil", self.veil, 0, 5)
        check_values("brightness", self.brightness, 0, 1)
        check_values("warmth", self.warmth, -1, 1)
        _ = self.depths

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`rate`, `size`, `wind`, `exposure`, `aperture` and `veil` as above, `colour` (c of red, green and blue, in
        linear light, 0..1), the flakes' `seed`, and where the veil's depth comes from: see `Depths.draw`."""
        params: dict[str, Any] = {
            name: draw_value(rng, getattr(self, name))
            for name in ("rate", "size", "wind", "exposure", "aperture", "veil")
        }
        level, warm = draw_value(rng, self.brightness), math.sqrt(1 + draw_value(rng, self.warmth) / 4)
        level *= brightness(image)
        colour = to_linear(np.array([[[level * warm, level, level / warm]]], np.float32).clip(0, 1))[0, 0]
        params["colour"] = [round(float(part), 6) for part in colour]
        return {**params, "seed": rng.seed(), **self.depths.draw(rng, place)}

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of the picture in linear light; truth `alpha`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        fall = _Snowfall(params, *image.shape[:2])
        flakes = fall.flakes()
        metres = self.depths.rows_of(image, params) if params["veil"] else None
        height, width = image.shape[:2]
        lights, airs = Lights(), [airlight_of(height, width, {}, level) for level in params["colour"]]

        def rows(top: int, bottom: int, encoded: bool = False) -> Strip:
            thickness = flakes(top, bottom)
            if metres:
                behind = metres(top, bottom)
                np.clip(behind, np.float32(fall.far), np.float32(REACH), out=behind)
                behind -= np.float32(fall.far)
                behind *= np.float32(fall.extinction * params["veil"])
                thickness += behind
            channels, clear = through_air(image[top:bottom], lights, thickness, (-1.0, -1.0, -1.0), airs, top, encoded)
            return Strip(channels, {"alpha": np.subtract(np.uint16(65535), clear, out=clear)})

        return Strips(rows, is_linear=True, level_rows=partial(rows, encoded=True))


class _Snowfall:
    """The flakes before one picture of `height`×`width` pixels.

    number      in a cubic metre. extinction: per metre, twice the cross-sections of them all.
    far         metres up to which flakes are drawn one by one.
    """

    def __init__(self, params: Params, height: int, width: int) -> None:
        self._params, self._height, self._width = params, height, width
        square = params["size"] * params["size"] * (1 + 1 / SHAPE)  # mean of the squared diameter, mm²
        speed = 0.8 * power_of(params["size"], 0.2)
        self.number = params["rate"] / 3600 * 1e6 / (MASS * square * speed)
        self.extinction = math.pi / 2 * square * 1e-6 * self.number
        self._focal = FOCAL * min(height, width)
        self._seen = height * width / (self._focal * self._focal) / 3  # m³ of the view before a depth of 1 m
        metres = params["exposure"] * math.sqrt(params["wind"] * params["wind"] + speed * speed)  # that a flake moves
        most = MOST * min(1, 0.05 / metres)  # fewer where their ways are long, for time's sake
        self.far = min(FARTHEST, power_of(NEAREST_CUBED + most / (self.number * self._seen), 1 / 3))

    def flakes(self) -> Rows:
        """Optical thickness of those that are drawn, any rows."""
        params, width, height = self._params, self._width, self._height
        span = self.far * self.far * self.far - NEAREST_CUBED
        count = int(self.number * self._seen * span + 0.5)
        # A row for each flake: more flakes are the same ones and others.
        rng = Rng(params["seed"])
        chance = rng.uniforms(8 * count).reshape(count, 8).T.astype(np.float32)
        # The sum of three exponential numbers has a gamma distribution of shape 3.
        product = (1 - chance[0]) * (1 - chance[1]) * (1 - chance[2])
        diameter = -fast_log(np.maximum(product, np.float32(1e-12))) * np.float32(params["size"] / SHAPE)
        depth = fast_cube_root(NEAREST_CUBED + chance[3] * span).astype(np.float32)
        scale = self._focal / depth  # px to a metre
        across = diameter * scale / 1000
        way = scale * np.float32(params["exposure"])
        dx = (params["wind"] + 1.2 * (chance[6] - 0.5)) * way
        # A diameter of 10³ mm is none of a flake's: with it, no power is above what `fast_exp` takes.
        fall = 0.8 * 3.9810717055349722 * fast_exp(0.2 * fast_log(np.clip(diameter / 1000, np.float32(1e-12), 1)))
        dy = (fall + 0.8 * (chance[7] - 0.5)) * way
        x = chance[4] * (width + np.abs(dx) + across) - (np.abs(dx) + across) / 2
        y = chance[5] * (height + np.abs(dy) + across) - (np.abs(dy) + across) / 2
        mass = across * across * np.float32(math.pi / 4 * OPAQUE)
        focus = self._focal * params["aperture"] / 2000 * np.abs(1 / depth - 1 / FOCUS)  # radius of a point's disc, px
        # Large ones are clumps of crystals; small ones are spots, and so is what smears.
        large = (across > LARGE) & (dx * dx + dy * dy < 36 * across * across)
        clumps = np.where(large, CRYSTALS, 1)

        def parts(values: NDArray[Any]) -> NDArray[Any]:
            return np.repeat(values, clumps)

        of_part = rng.uniforms(3 * int(clumps.sum())).reshape(-1, 3).T.astype(np.float32)
        clump = parts(large)
        out = np.sqrt(of_part[0])
        out *= parts(across * np.float32(0.42) * large)
        weight = np.where(clump, (np.float32(0.3) + np.float32(1.4) * of_part[2]) / np.float32(CRYSTALS), np.float32(1))
        size = across * np.where(large, np.float32(0.13), np.float32(0.25))
        blur = np.sqrt(SHARPEST * SHARPEST + size * size + focus * focus / 4).astype(np.float32)
        traces = Traces(
            x=parts(x) + out * fast_sine(of_part[1] + np.float32(0.25)),
            y=parts(y) + out * fast_sine(of_part[1]),
            dx=parts(dx),
            dy=parts(dy),
            mass=parts(mass) * weight,
            blur=parts(blur),
        )

        return exposed(height, width, traces, Profile(fade=-20, level=1.25))
