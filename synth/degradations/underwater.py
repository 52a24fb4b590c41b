"""`underwater`: water before the camera and above the scene, which takes colours away and shines itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np

from patina.synth.air import Lights, airlight_of, seen_through, through_air
from patina.synth.degradation import Knob, Params, Place, SettingError, Stage, Values, check_values, draw_value
from patina.synth.depth import FromDepth, as_truth, brightness
from patina.synth.elementary import exp_of, power_of, rough_exp, rough_share
from patina.synth.image import FloatImage, Image, as_levels, linear_of, to_linear
from patina.synth.resampling import Rows, enlarged_rows, halvings, shrunk, smoothed
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, on_scale

JERLOV: Mapping[str, tuple[float, float, float]] = {
    "I": (0.263, 0.063, 0.0184),
    "IA": (0.268, 0.067, 0.0254),
    "IB": (0.273, 0.072, 0.0342),
    "II": (0.290, 0.089, 0.0644),
    "III": (0.327, 0.120, 0.1236),
    "1C": (0.328, 0.120, 0.202),
    "3C": (0.358, 0.190, 0.330),
    "5C": (0.432, 0.300, 0.482),
    "7C": (0.504, 0.460, 0.782),
    "9C": (0.620, 0.630, 1.378),
}
"""Diffuse attenuation of daylight per metre of depth at 610, 550 and 465 nm, of ocean water (I to III) and of coasts
(1C to 9C): Jerlov, Marine Optics (1976), table XXVII, with straight lines between its wavelengths."""

SLANT = 0.75
"""Absorption over diffuse attenuation: daylight under water comes at a slant (Kirk 1994)."""

SIGHTING = 4.8
"""Visibility times beam attenuation: so far a diver sees a black disc (Davies-Colley 1988; Zaneveld and Pegau 2003)."""

LEAST = 1.15
"""Beam attenuation of green over its absorption, at least: no water scatters nothing."""

BLUR = 0.012
"""Standard deviation of the light that is scattered forwards, over the short side."""

FINE = 96
"""Pixels of the short side, at least, at which that light is computed."""

MOST = 6.0
"""By how much a white balance multiplies a colour, at most."""

WATER = Scale(
    (
        (math.inf, "very clear water"),
        (30, "clear water"),
        (12, "slightly turbid water"),
        (5, "turbid water"),
        (2, "very turbid water"),
    ),
    falling=True,
)
"""Metres of horizontal visibility. Nobody has defined classes; the names are ours, and divers call less than about 5 m
poor."""


def _say(known: Known) -> Said:
    visibility = known.number("visibility")
    if not visibility:
        return Said("a scene under water", "water's veil")
    return on_scale(WATER, visibility, f"visibility {about(visibility)} m", "water's veil")


@dataclass(frozen=True)
class Underwater(FromDepth, InStrips):
    """I = s·J·T + B·(1 − T) in each channel, linear light, over z metres of water: what is left of daylight s, of what
    the scene sends to the camera, T = exp(−c·z), and what water scatters into the way (Jaffe 1990; Akkaynak and
    Treibitz, CVPR 2018).

    Water absorbs red within metres; what floats in it scatters all colours alike. So c = a + b, a of the water's type
    (Jerlov's), b by the visibility. Daylight has come `below` metres down, s = exp(−K·below); the water far away has
    the colour of b/c times that light: B is blue where water is pure, and green where it holds plankton and silt. Of
    the light that is scattered, a share goes on nearly straight, and blurs what is far.

    visibility  metres at which a diver still sees a black disc, green light, 0.5..80; c is 4.8/visibility. Where a
                type of water absorbs too much for that, the visibility is the largest that it allows: see `draw`.
    waters      Jerlov's types, one or a list to choose from: I, IA, IB, II, III of oceans, 1C, 3C, 5C, 7C, 9C of
                coasts.
    below       metres of water above the scene, 0..40.
    reach       metres of water before what is farthest away, 0.3..60: d metres of the photograph are d/(1 + d/reach),
                so that what is near keeps its metres. Few photographs from the air would show anything otherwise.
    veil        brightness of the water far away, sRGB-encoded, of its brightest colour, 0..1; less where the photograph
                is dark.
    surface     by how much water is brighter at the top of the photograph than at its bottom, 0..1.
    forward     share of the scattered light that goes on nearly straight, 0..0.9.
    exposure    share of the daylight's loss, in stops of its brightest colour, that the camera makes up, 0..1.
    balance     share of the loss of the other colours that its white balance makes up, 0..1.
    depth       a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior, which is a guess.

    Truth: `transmission`, H×W uint16, T of green with 65535 = 1; `depth`, H×W uint16, z in steps of `depth_step`
    metres. No lamps, no caustics, no floating specks. Raises SettingError for a setting out of its range and for a
    folder that cannot be used.
    """

    name: ClassVar[str] = "underwater"
    version: ClassVar[int] = 2
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "atmosphere"
    truth: ClassVar[tuple[str, ...]] = ("transmission", "depth")
    knob: ClassVar[Knob | None] = Knob("visibility", 60, 1.5)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"waters": "I", "below": 25, "forward": 0, "balance": 1},
        {"waters": "7C", "below": 2, "reach": 2, "surface": 0},
    )
    wording: ClassVar[Wording | None] = Wording(
        _say, ("remove the {}", "restore the colours that water took away", "make it look as if there were no water")
    )

    visibility: Values = field(default_factory=lambda: {"min": 4, "max": 25})
    waters: str | Sequence[str] = ("I", "IA", "IB", "II", "III", "1C", "3C", "5C")
    below: Values = field(default_factory=lambda: {"min": 1, "max": 8})
    reach: Values = field(default_factory=lambda: {"min": 0.8, "max": 4})
    veil: Values = field(default_factory=lambda: {"min": 0.4, "max": 0.7})
    surface: Values = field(default_factory=lambda: {"min": 0.1, "max": 0.8})
    forward: Values = field(default_factory=lambda: {"min": 0.2, "max": 0.6})
    exposure: Values = field(default_factory=lambda: {"min": 0.7, "max": 1})
    balance: Values = field(default_factory=lambda: {"min": 0, "max": 0.5})
    depth: str = field(default="", metadata={"folder": True})

    def __post_init__(self) -> None:
        check_values("visibility", self.visibility, 0.5, 80)
        check_values("below", self.below, 0, 40)
        check_values("reach", self.reach, 0.3, 60)
        check_values("veil", self.veil, 0, 1)
        check_values("surface", self.surface, 0, 1)
        check_values("forward", self.forward, 0, 0.9)
        check_values("exposure", self.exposure, 0, 1)
        check_values("balance", self.balance, 0, 1)
        known = isinstance(self.waters, str | Sequence) and all(water in JERLOV for water in self._waters)
        if not known or not self._waters:
            raise SettingError(f"waters: expected one or a list of {', '.join(JERLOV)}, found {self.waters!r}")
        _ = self.depths

    @property
    def _waters(self) -> list[str]:
        return [self.waters] if isinstance(self.waters, str) else list(self.waters)

    def settings(self) -> dict[str, Any]:
        """As the protocol says; the waters as a list, however they are written."""
        return {**super().settings(), "waters": self._waters}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`water`; `visibility`, which is less than was asked for where the water absorbs too much; `below` and `reach`
        as above; `attenuation` (c of red, green and blue, per metre) and `forward` (the part of b that goes on nearly
        straight, per metre); `daylight` and `water_light` (s and B of red, green and blue, linear, as exposed);
        `gradient` (of B over its mean, along the photograph's width and its height), and where depth comes from: see
        `Depths.draw`."""
        water = rng.choice(self._waters)
        diffuse = JERLOV[water]
        absorbed = [SLANT * k for k in diffuse]
        green = max(SIGHTING / draw_value(rng, self.visibility), LEAST * absorbed[1])
        scattered = green - absorbed[1]
        attenuation = [a + scattered for a in absorbed]
        below = draw_value(rng, self.below)
        left = [exp_of(-k * below) for k in diffuse]
        gain = power_of(1 / max(left), draw_value(rng, self.exposure))
        balance = draw_value(rng, self.balance)
        level = float(linear_of(np.array(draw_value(rng, self.veil) * brightness(image))))
        far = [light / c for light, c in zip(left, attenuation, strict=True)]
        gains = [min(power_of(max(left) / light, balance), MOST) for light in left]
        return {
            "water": water,
            "visibility": round(SIGHTING / green, 6),
            "below": below,
            "reach": draw_value(rng, self.reach),
            "attenuation": [round(c, 6) for c in attenuation],
            "forward": round(scattered * draw_value(rng, self.forward), 6),
            "daylight": [round(g * gain * light, 6) for g, light in zip(gains, left, strict=True)],
            "water_light": [round(g * level * light / max(far), 6) for g, light in zip(gains, far, strict=True)],
            "gradient": [0.0, -draw_value(rng, self.surface)],
            **self.depths.draw(rng, place),
            "depth_step": 0.001,
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] or levels in, linear light out; truth `transmission` and `depth`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        height, width = image.shape[:2]
        metres, forward = self.depths.rows_of(image, params), params["forward"]
        attenuation, daylight = params["attenuation"], params["daylight"]
        airs = [airlight_of(height, width, params, level) for level in params["water_light"]]
        blurred = _blurred(image, daylight) if forward else ()
        lights, factors = Lights(daylight), [forward - lost for lost in attenuation]

        def rows(top: int, bottom: int) -> Strip:
            way = metres(top, bottom)
            way /= way * np.float32(1 / params["reach"]) + np.float32(1)
            depth = as_truth(way, params["depth_step"])
            if not blurred:
                channels, truth = through_air(image[top:bottom], lights, way, factors, airs, top)
                return Strip(channels, {"transmission": truth, "depth": depth})
            mixed, sharp = lights.of(image[top:bottom]), rough_exp(way, -forward)
            green, truth = rough_share(way, factors[1])
            for i, channel in enumerate(mixed):
                seen_through(channel, sharp, blurred[i](top, bottom))
                share = green if i == 1 else rough_exp(way, factors[i])
                seen_through(channel, share, airs[i].rows(top, bottom))
            return Strip(mixed, {"transmission": truth, "depth": depth})

        return Strips(rows, is_linear=True)


def _blurred(image: FloatImage | Image, daylight: Sequence[float]) -> list[Rows]:
    """Any rows of red, green and blue light under this daylight, blurred by what goes on nearly straight: from a small
    copy."""
    height, width = image.shape[:2]
    step = halvings(min(height, width) / FINE)
    levels = as_levels(image)
    size = -(-width // step), -(-height // step)
    small = smoothed(to_linear(shrunk(levels, size) if step > 1 else levels), BLUR * min(size))
    planes = [plane * np.float32(share) for plane, share in zip(cv2.split(small), daylight, strict=True)]
    return [enlarged_rows(plane, step, height, width) for plane in planes]
