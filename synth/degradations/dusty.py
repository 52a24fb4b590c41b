"""`dusty`: sand in the air, which dims what is behind and shines itself in its own colour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from patina.synth.air import CONTRAST, WAVELENGTHS, Lights, airlight_of, relative_depth, through_air, way_through
from patina.synth.degradation import Knob, Params, Place, Stage, Values, check_values, draw_value
from patina.synth.depth import FromDepth, as_truth, brightness
from patina.synth.elementary import cosine_of, exp_of, power_of, sine_of
from patina.synth.image import FloatImage, Image, linear_of
from patina.synth.resampling import Rows
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, on_scale

ABSORBED = (0.025, 0.042, 0.09)
"""Share of red, green and blue light that a grain of desert dust absorbs of what it takes from a ray: one less the
single scattering albedo, of the size that AERONET finds (Dubovik et al., J. Atmos. Sci. 2002: 0.92 to 0.93 at 440 nm,
0.97 to 0.98 at 670 nm)."""

IRON = (0.025, 0.07, 0.13)
"""The same of dust that is rich in iron's red oxide, which absorbs green light as well, and more of the blue."""

FORWARDS = 0.7
"""Mean cosine by which a grain scatters (the same source has 0.66 to 0.73)."""

DUST = Scale(
    (
        (math.inf, "thin dust haze"),
        (10000, "dust haze"),
        (5000, "blowing dust"),
        (1000, "a sandstorm"),
        (500, "a strong sandstorm"),
        (50, "an extremely strong sandstorm"),
    ),
    falling=True,
)
"""Metres of visibility. A dust or sandstorm has less than 1 km (WMO's International Meteorological Vocabulary); 10 km,
500 m and 50 m are bounds of China's national standard GB/T 20480; dust haze reaches to 5 km as WMO's haze does. From
the literature, not checked against the texts."""


def _say(known: Known) -> Said:
    visibility = known.number("visibility")
    if not visibility:
        return Said("dust in the air", "dust")
    return on_scale(DUST, visibility, f"visibility {about(visibility)} m", "dust")


@dataclass(frozen=True)
class Dusty(FromDepth, InStrips):
    """I = s·J·t + A·(1 − t) in each channel, linear light: Koschmieder's law, as in `hazy`, with the colours of dust.

    A photograph tells neither its scale nor how far each thing is: so where distances are a guess, they are relative
    and without fine edges, and `scene` gives the metres. All of the picture lies in dust then, what is far more so.

    Dust absorbs blue light more than red. What a thick cloud of it sends back has been scattered many times and lost
    blue each time: A has the colour of a very thick layer's reflectance, R = (1 − q)(1 − 0.139q)/(1 + 1.17q) with
    q² = (1 − ω)/(1 − ωg) (van de Hulst's similarity), which is ochre. Sun and sky come through the dust above, too: the
    thicker it is, the more of that colour have the scene's light s and the light on the air. Extinction itself is
    nearly grey.

    visibility  metres at which a black thing's contrast to the air is 2 %, 10..50000; extinction is 3.912/visibility.
    scene       metres of air before the middle of the scene's depth where that is a guess, 0..2000; 0 takes the
                guess's own metres. With a folder of depth maps it does not count.
    relief      distance of the farthest over that of the nearest where `scene` counts, 1..10.
    tint        of the dust, 0..3: by what its absorption is multiplied. 0 is white, 1 a desert's dust.
    iron        share of iron's red oxide in it, 0..1: ochre dust has little, red soil much.
    airlight    brightness of the air, sRGB-encoded, of its brightest colour, 0..1, by day; less over a dark photograph.
    spectrum    Ångström's exponent, -0.5..1.5: extinction goes with wavelength^-spectrum. Dust has 0 to 0.4.
    gradient    by how much the air is brighter at one side of the photograph than at the other, 0..1.
    layer       metres over which the dust thins upwards to 1/e, 5..10000.
    patches     unevenness: the standard deviation of ln(density), 0..1, in wide banks.
    depth       a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior, which is a guess.

    Truth: `transmission`, H×W uint16, t of green with 65535 = 1; red and blue have t to the powers in `extinction`.
    `depth`, H×W uint16, in steps of `depth_step` metres. There is no set of pairs of dusty and clear photographs to
    measure beside. Raises SettingError for a setting out of its range and for a folder that cannot be used.
    """

    name: ClassVar[str] = "dusty"
    version: ClassVar[int] = 3
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "atmosphere"
    truth: ClassVar[tuple[str, ...]] = ("transmission", "depth")
    knob: ClassVar[Knob | None] = Knob("visibility", 20000, 40)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tint": 2.5, "patches": 0.7, "layer": 30},
        {"tint": 0.5, "spectrum": 1, "gradient": 0.8, "patches": 0},
    )
    wording: ClassVar[Wording | None] = Wording(_say, ("remove the {}", "clear the {} from the air"))

    visibility: Values = field(default_factory=lambda: {"min": 80, "max": 500})
    scene: Values = field(default_factory=lambda: {"min": 25, "max": 80})
    relief: Values = field(default_factory=lambda: {"min": 3, "max": 7})
    tint: Values = field(default_factory=lambda: {"min": 0.8, "max": 2.8})
    iron: Values = field(default_factory=lambda: {"min": 0, "max": 0.5})
    airlight: Values = field(default_factory=lambda: {"min": 0.65, "max": 0.9})
    spectrum: Values = field(default_factory=lambda: {"min": 0, "max": 0.4})
    gradient: Values = field(default_factory=lambda: {"min": 0, "max": 0.3})
    layer: Values = field(default_factory=lambda: {"min": 100, "max": 1500})
    patches: Values = field(default_factory=lambda: {"min": 0, "max": 0.2})
    depth: str = field(default="", metadata={"folder": True})

    def __post_init__(self) -> None:
        check_values("visibility", self.visibility, 10, 50000)
        check_values("scene", self.scene, 0, 2000)
        check_values("relief", self.relief, 1, 10)
        check_values("tint", self.tint, 0, 3)
        check_values("iron", self.iron, 0, 1)
        check_values("airlight", self.airlight, 0, 1)
        check_values("spectrum", self.spectrum, -0.5, 1.5)
        check_values("gradient", self.gradient, 0, 1)
        check_values("layer", self.layer, 5, 10000)
        check_values("patches", self.patches, 0, 1)
        _ = self.depths

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`visibility`, `beta` (extinction of green, per metre), `scene` (0 where metres are known, or are the guess's
        own), `relief`, `layer`, `patches` and the patches' `seed`; `airlight` and `sunlight` (A and s of red, green and
        blue, linear), `extinction` (of each over green's), `gradient` (of A over its mean, along the photograph's width
        and its height), and where depth comes from: see `Depths.draw`."""
        visibility, layer = draw_value(rng, self.visibility), draw_value(rng, self.layer)
        beta = CONTRAST / visibility
        scene, relief = draw_value(rng, self.scene), draw_value(rng, self.relief)
        colour = colour_of(draw_value(rng, self.tint), draw_value(rng, self.iron))
        level = float(linear_of(np.array(draw_value(rng, self.airlight) * brightness(image))))
        spectrum = draw_value(rng, self.spectrum)
        rise, heading = draw_value(rng, self.gradient), rng.uniform(0, 2 * math.pi)
        # How much of the light has come through the dust above. It lights scene and air alike; and what the air sends
        # back then is of a thick layer's colour, and paler where dust is thin.
        thick = 1 - exp_of(-beta * layer)
        return {
            "visibility": visibility,
            "beta": beta,
            "scene": 0.0 if self.depth else scene,
            "relief": relief,
            "airlight": [round(level * power_of(c, 0.5 + 1.5 * thick), 6) for c in colour],
            "sunlight": [round(power_of(c, thick), 6) for c in colour],
            "extinction": [round(power_of(550.0 / wavelength, spectrum), 6) for wavelength in WAVELENGTHS],
            "gradient": [round(rise * cosine_of(heading), 6), round(rise * sine_of(heading), 6)],
            "layer": layer,
            "patches": draw_value(rng, self.patches),
            "seed": rng.seed(),
            **self.depths.draw(rng, place),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] or levels in, linear light out; truth `transmission` and `depth`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        height, width = image.shape[:2]
        metres = _metres(self.depths.rows_of(image, params), height, width, params)
        way = way_through(height, width, params)
        beta, lights = -params["beta"], Lights(params["sunlight"])
        factors = [beta * extinction for extinction in params["extinction"]]
        airs = [airlight_of(height, width, params, level) for level in params["airlight"]]

        def rows(top: int, bottom: int, encoded: bool = False) -> Strip:
            depth = metres(top, bottom)
            thickness = way(depth, top, bottom)
            channels, truth = through_air(image[top:bottom], lights, thickness, factors, airs, top, encoded)
            return Strip(channels, {"transmission": truth, "depth": as_truth(depth, params["depth_step"])})

        return Strips(rows, is_linear=True, level_rows=partial(rows, encoded=True))


def _metres(depth: Rows, height: int, width: int, params: Params) -> Rows:
    """Metres of air before any rows: those of `depth`, or of a scene that is so far away."""
    scene = params["scene"]
    if not scene:
        return depth
    places = relative_depth(depth, height, width, params["relief"])

    def rows(top: int, bottom: int) -> NDArray[np.float32]:
        found = places(top, bottom)
        found *= np.float32(scene)
        return found

    return rows


def colour_of(tint: float, iron: float = 0.0) -> list[float]:
    """Red, green and blue, linear, of light that a very thick layer of dust sends back, the brightest 1.

    >>> [round(c, 2) for c in colour_of(0)], [round(c, 2) for c in colour_of(1)]
    ([1.0, 1.0, 1.0], [1.0, 0.83, 0.57])
    """
    back = []
    for absorbed, by_iron in zip(ABSORBED, IRON, strict=True):
        away = min(tint * (absorbed + iron * (by_iron - absorbed)), 0.9)
        q = math.sqrt(away / (1 - (1 - away) * FORWARDS))
        back.append((1 - q) * (1 - 0.139 * q) / (1 + 1.17 * q))
    return [c / max(back) for c in back]
