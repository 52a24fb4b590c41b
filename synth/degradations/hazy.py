"""`hazy`: air between the camera and the scene that dims what is behind and shines itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import (
    Knob,
    Params,
    Place,
    Rendering,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.depth import FOCAL, Depth, FromDepth, as_truth, brightness
from patina.synth.elementary import exp, fast_exp, power_of
from patina.synth.image import FloatImage, Image, as_floats, to_linear
from patina.synth.resampling import curved, stretched
from patina.synth.rng import Rng

LIGHTS = ("linear", "encoded")

CONTRAST = 3.912
"""-ln 0.02: at the visibility V = CONTRAST/β, a black thing's contrast to the air behind is 2 % (Koschmieder)."""

WAVELENGTHS = (610.0, 550.0, 465.0)
"""Nanometres, of red, green and blue."""


@dataclass(frozen=True)
class Hazy(FromDepth):
    """I = J·t + A·(1 − t) in each channel, with t = exp(−β·d): Koschmieder's law, d being the way through the air.

    beta      extinction of green light, per metre, near the ground, 0..1. Visibility is 3.912/beta metres.
    airlight  brightness of the air A, sRGB-encoded, 0..1, by day. Where the photograph is dark, so is its air: see
              `patina.synth.depth.brightness`.
    warmth    colour of A, -1..1: its red over its blue is 1 + warmth/4. Below 0 it is bluish.
    spectrum  Ångström's exponent, 0..4: extinction goes with wavelength^-spectrum. 0 is fog, whose drops are large and
              treat all colours alike; 1.3 is dry haze, through which distant things look blue.
    layer     metres over which the air thins upwards to 1/e of its density, 5..10000. A shallow layer leaves the zenith
              clearer than the horizon.
    patches   unevenness: the standard deviation of ln(density), 0..1, in wide banks.
    depth     a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior, which is a guess.
    light     "linear", where light adds, or "encoded" to compute in sRGB levels as RESIDE and its followers do; then
              the same beta looks thinner.

    Truth: `transmission`, H×W uint16, t of green with 65535 = 1; red and blue have t to the powers in `extinction`.
    `depth`, H×W uint16, in steps of `depth_step` metres. Defaults give the input of RESIDE's SOTS outdoor, 15.9 dB.
    Raises SettingError for a setting out of its range and for a folder that cannot be used.
    """

    name: ClassVar[str] = "hazy"
    version: ClassVar[int] = 2
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "atmosphere"
    truth: ClassVar[tuple[str, ...]] = ("transmission", "depth")
    knob: ClassVar[Knob | None] = Knob("beta", 0.001, 0.5)

    beta: Values = field(default_factory=lambda: {"min": 0.004, "max": 0.02})
    airlight: Values = field(default_factory=lambda: {"min": 0.75, "max": 0.95})
    warmth: Values = field(default_factory=lambda: {"min": -0.4, "max": 0.2})
    spectrum: Values = field(default_factory=lambda: {"min": 0, "max": 1})
    layer: Values = field(default_factory=lambda: {"min": 30, "max": 400})
    patches: Values = field(default_factory=lambda: {"min": 0, "max": 0.25})
    depth: str = field(default="", metadata={"folder": True})
    light: str = "linear"

    def __post_init__(self) -> None:
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
        """`beta` and `visibility` (metres; 0 if beta is), `airlight` (A of red, green and blue in 0..1, in the domain
        that `light` names), `extinction` (of red, green and blue over green's), `layer`, `patches`, `light`, the
        patches' `seed`, and where depth comes from: see `Depths.draw`."""
        beta, level = draw_value(rng, self.beta), draw_value(rng, self.airlight) * brightness(image)
        warm = math.sqrt(1 + draw_value(rng, self.warmth) / 4)
        air = np.array([[[level * warm, level, level / warm]]], np.float32).clip(0, 1)
        spectrum = draw_value(rng, self.spectrum)
        return {
            "beta": beta,
            "visibility": CONTRAST / beta if beta else 0.0,
            "airlight": [round(float(a), 6) for a in (to_linear(air) if self.light == "linear" else air)[0, 0]],
            "extinction": [round(power_of(550.0 / wavelength, spectrum), 6) for wavelength in WAVELENGTHS],
            "layer": draw_value(rng, self.layer),
            "patches": draw_value(rng, self.patches),
            "light": self.light,
            "seed": rng.seed(),
            **self.depths.draw(rng, place),
        }

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out; truth `transmission` and `depth`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        depth = self.depths.of(image, params)
        thickness = _way(depth, params)
        thickness *= np.float32(-params["beta"])
        linear = params["light"] == "linear"
        out = to_linear(image) if linear else as_floats(image)
        channels: list[Any] = list(cv2.split(out))
        truth = None
        for i, (extinction, air) in enumerate(zip(params["extinction"], params["airlight"], strict=True)):
            t = fast_exp(thickness if extinction == 1 else thickness * np.float32(extinction))
            channels[i] -= np.float32(air)
            channels[i] *= t
            channels[i] += np.float32(air)
            if i == 1:
                t *= np.float32(65535)
                truth = np.rint(t, out=t).astype(np.uint16)
        assert truth is not None
        out = np.asarray(cv2.merge(channels, dst=out if linear else None), np.float32)
        maps = {"transmission": truth, "depth": as_truth(depth, params["depth_step"])}
        return Rendering(out if linear else np.clip(out, 0, 1, out=out), maps, linear)


def _way(depth: Depth, params: Params) -> NDArray[np.float32]:
    """Metres of ground-level air that lie before each pixel, H×W.

    Where density falls as exp(−z/layer), a ray that rises by s metres a metre meets d·(1 − exp(−x))/x of it,
    x = d·s/layer. Rays below the horizon stay within metres of the ground and meet the full density.
    """
    height, width = depth.shape
    rows = params["crop"][1] + params["crop"][3] * (np.arange(height, dtype=np.float32) + 0.5) / height
    up = (params["horizon"] - rows[rows < params["horizon"]]) / FOCAL
    rise = up / np.sqrt(1 + up * up) / params["layer"]
    way = depth.copy()
    above = way[: len(rise)]
    if above.size:  # a tile may lie wholly below the horizon
        x = np.maximum(above * rise.astype(np.float32)[:, None], np.float32(1e-3))
        above *= (1 - fast_exp(-x)) / x
    if params["patches"]:
        way *= stretched(_banks(height, width, Rng(params["seed"]), params["patches"]), height, width)
    return np.asarray(way, np.float32)


def _banks(height: int, width: int, rng: Rng, patches: float) -> NDArray[np.float32]:
    """Factors of density, an eighth of the picture's size: e^(patches·noise), smooth noise of mean 0 and variance about
    1, twice as wide as it is high, in two sizes."""
    small = max(2, height // 8), max(2, width // 8)
    total = np.zeros(small, np.float32)
    for count, amount in ((3, 1.1), (7, 0.6)):
        knots = (rng.uniforms((count + 3) * (count // 2 + 3)) - 0.5) * (math.sqrt(12) * amount)
        total += curved(knots.astype(np.float32).reshape(count + 3, count // 2 + 3), *small)
    return exp(total * np.float32(patches)).astype(np.float32)
