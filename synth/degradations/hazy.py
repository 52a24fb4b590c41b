"""`hazy`: air between the camera and the scene that dims what is behind and shines itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from patina.synth.air import CONTRAST, WAVELENGTHS, Lights, airlight_of, relative_depth, through_air, way_through
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
from patina.synth.depth import FromDepth, as_truth, brightness
from patina.synth.elementary import cosine_of, log_of, power_of, sine_of
from patina.synth.image import FloatImage, Image, to_linear
from patina.synth.rng import Rng
from patina.synth.strips import InStrips, Strip, Strips

MODELS = ("physical", "reside")

LIGHTS = ("linear", "encoded")

RELATIVE_STEP = 2.0**-14
"""Of relative depth, to a level of its truth map."""


@dataclass(frozen=True)
class Hazy(FromDepth, InStrips):
    """I = J·t + A·(1 − t) in each channel: Koschmieder's law. Two models say what t and A are.

    model         "physical": t = exp(−β·d), d being the metres of air before each pixel, in linear light. "reside":
                  what RESIDE's pairs show when they are measured, a nearly even veil of grey air in sRGB levels,
                  t = transmission^r with a relative depth r. Then `transmission`, `relief`, `airlight` and `depth`
                  count alone.
    transmission  model "reside": t where r is 1, in the middle of the scene's depth, 0.01..1.
    relief        model "reside": r of the farthest over r of the nearest, 1..4; 1 is a veil without depth.
    airlight      brightness of the air A, sRGB-encoded, 0..1, by day. Where the photograph is dark, so is its air: see
                  `patina.synth.depth.brightness`.
    beta          extinction of green light, per metre, near the ground, 0..1. Visibility is 3.912/beta metres.
    warmth        colour of A, -1..1: its red over its blue is 1 + warmth/4. Below 0 it is bluish.
    gradient      by how much A is brighter at one side of the photograph than at the other, towards the sun, 0..1.
    spectrum      Ångström's exponent, 0..4: extinction goes with wavelength^-spectrum. 0 is fog, whose drops are large
                  and treat all colours alike; 1.3 is dry haze, through which distant things look blue.
    layer         metres over which the air thins upwards to 1/e of its density, 5..10000. A shallow layer leaves the
                  zenith clearer than the horizon.
    patches       unevenness: the standard deviation of ln(density), 0..1, in wide banks.
    depth         a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior, which is a guess.
    light         "linear", where light adds, or "encoded" to compute in sRGB levels, where the same beta looks thinner.

    Truth: `transmission`, H×W uint16, t of green with 65535 = 1; red and blue have t to the powers in `extinction`.
    `depth`, H×W uint16, in steps of `depth_step` metres; of model "reside" r, in steps of `depth_step`.
    The defaults of model "reside" give about the input of RESIDE's SOTS outdoor, 15.9 dB.
    Raises SettingError for a setting out of its range and for a folder that cannot be used.
    """

    name: ClassVar[str] = "hazy"
    version: ClassVar[int] = 5
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "atmosphere"
    truth: ClassVar[tuple[str, ...]] = ("transmission", "depth")

    model: str = "physical"
    transmission: Values = field(default_factory=lambda: {"min": 0.46, "max": 0.63})
    relief: Values = field(default_factory=lambda: {"min": 1.2, "max": 2.2})
    airlight: Values = field(default_factory=lambda: {"min": 0.75, "max": 0.95})
    beta: Values = field(default_factory=lambda: {"min": 0.004, "max": 0.03})
    warmth: Values = field(default_factory=lambda: {"min": -0.4, "max": 0.2})
    gradient: Values = field(default_factory=lambda: {"min": 0, "max": 0.4})
    spectrum: Values = field(default_factory=lambda: {"min": 0, "max": 1})
    layer: Values = field(default_factory=lambda: {"min": 30, "max": 400})
    patches: Values = field(default_factory=lambda: {"min": 0, "max": 0.25})
    depth: str = field(default="", metadata={"folder": True})
    light: str = "linear"

    @property
    def knob(self) -> Knob | None:  # type: ignore[override]
        """`beta`, or `transmission` where that decides."""
        return Knob("transmission", 0.98, 0.05) if self.model == "reside" else Knob("beta", 0.001, 0.5)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise SettingError(f"model: expected one of {', '.join(MODELS)}, found {self.model!r}")
        check_values("transmission", self.transmission, 0.01, 1)
        check_values("relief", self.relief, 1, 4)
        check_values("gradient", self.gradient, 0, 1)
        check_values("beta", self.beta, 0, 1)
        check_values("airlight", self.airlight, 0, 1)
        check_values("warmth", self.warmth, -1, 1)
        check_values("spectrum", self.spectrum, 0, 4)
        check_values("layer", self.layer, 5, 10000)
        check_values("patches", self.patches, 0, 1)
        if self.light not in LIGHTS:
            raise SettingError(f"light: expected one of {', '.join(LIGHTS)}, found {self.light!r}")
        _ = self.depths

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`model`, `airlight` (A of red, green and blue in 0..1, in the domain that `light` names), `extinction` (of
        each over green's), `light`, and where depth comes from: see `Depths.draw`. Of model "reside" also
        `transmission` and `relief`; of the other `beta`, `visibility` (metres; 0 if beta is), `gradient` (of A over
        its mean, along the photograph's width and its height), `layer`, `patches` and the patches' `seed`."""
        level = draw_value(rng, self.airlight) * brightness(image)
        if self.model == "reside":
            return {
                "model": "reside",
                "transmission": draw_value(rng, self.transmission),
                "relief": draw_value(rng, self.relief),
                "airlight": [round(level, 6)] * 3,
                "extinction": [1.0, 1.0, 1.0],
                "light": "encoded",
                **self.depths.draw(rng, place),
                "depth_step": RELATIVE_STEP,
            }
        beta, warm = draw_value(rng, self.beta), math.sqrt(1 + draw_value(rng, self.warmth) / 4)
        air = np.array([[[level * warm, level, level / warm]]], np.float32).clip(0, 1)
        rise, heading = draw_value(rng, self.gradient), rng.uniform(0, 2 * math.pi)
        spectrum = draw_value(rng, self.spectrum)
        return {
            "model": "physical",
            "beta": beta,
            "visibility": CONTRAST / beta if beta else 0.0,
            "airlight": [round(float(a), 6) for a in (to_linear(air) if self.light == "linear" else air)[0, 0]],
            "gradient": [round(rise * cosine_of(heading), 6), round(rise * sine_of(heading), 6)],
            "extinction": [round(power_of(550.0 / wavelength, spectrum), 6) for wavelength in WAVELENGTHS],
            "layer": draw_value(rng, self.layer),
            "patches": draw_value(rng, self.patches),
            "light": self.light,
            "seed": rng.seed(),
            **self.depths.draw(rng, place),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of the hazy picture; truth `transmission` and `depth`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        height, width = image.shape[:2]
        metres = self.depths.rows_of(image, params)
        relative = params["model"] == "reside"
        depths = relative_depth(metres, height, width, params["relief"]) if relative else metres
        way = None if relative else way_through(height, width, params)
        factor = log_of(params["transmission"]) if relative else -params["beta"]
        factors = [factor * extinction for extinction in params["extinction"]]
        linear = params["light"] == "linear"
        lights = Lights(is_linear=linear)
        airs = [airlight_of(height, width, params, level) for level in params["airlight"]]

        def rows(top: int, bottom: int, encoded: bool = False) -> Strip:
            depth = depths(top, bottom)
            thickness = depth if way is None else way(depth, top, bottom)
            channels, truth = through_air(image[top:bottom], lights, thickness, factors, airs, top, encoded)
            maps = {"transmission": truth, "depth": as_truth(depth, params["depth_step"])}
            return Strip(channels if linear else [np.clip(plane, 0, 1, out=plane) for plane in channels], maps)

        return Strips(rows, is_linear=linear, level_rows=partial(rows, encoded=True) if linear else None)
