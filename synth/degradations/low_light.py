"""`low-light`: the photograph taken with a fraction of its light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from patina.synth.degradation import Knob, Params, Place, Rendered, Rendering, Stage, Values, check_values, draw_value
from patina.synth.elementary import power_of
from patina.synth.image import FloatImage, Image
from patina.synth.rng import Rng
from patina.synth.sensor import draw_sensor, noise_level, process, sense, unprocess


@dataclass(frozen=True)
class LowLight(Rendered):
    """lq = camera(2^-stops · light of gt): fewer photons, not a gamma curve.

    The clean photograph is taken back to raw light (`patina.synth.sensor`), dimmed, read out by a sensor that adds
    shot, read and row noise and rounds to its levels, and processed again with a white balance and a
    black a little off.

    stops  exposure steps of light that are missing, 0..10: each halves it.
    iso    the sensor's gain, 50..25600, which sets its noise; a range is drawn so that each stop is as likely.
    bits   of the raw levels, 8..16, whole.
    cast   stops by which red comes out too bright against blue, -2..2: above 0 the picture is too warm.
    tint   stops by which green comes out too dark, -1..1: above 0 the picture is too magenta.

    Truth: `noise`, H×W uint16, 65535 = 1: the standard deviation of the green sites' noise, as it would be seen after
    brightening by 2^stops: √(shot·x + read + row² + step²/12) · 2^stops, where x is raw light and full is 1.
    Defaults give LOL's input: 7.8 dB. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "low-light"
    version: ClassVar[int] = 2
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "sensor"
    truth: ClassVar[tuple[str, ...]] = ("noise",)
    knob: ClassVar[Knob | None] = Knob("stops", 0.25, 8)

    stops: Values = field(default_factory=lambda: {"min": 3.5, "max": 6.25})
    iso: Values = field(default_factory=lambda: {"min": 100, "max": 3200})
    bits: Values = field(default_factory=lambda: {"min": 10, "max": 14})
    cast: Values = field(default_factory=lambda: {"min": -0.25, "max": 0.4})
    tint: Values = field(default_factory=lambda: {"min": -0.1, "max": 0.1})

    def __post_init__(self) -> None:
        check_values("stops", self.stops, 0, 10)
        check_values("iso", self.iso, 50, 25600)
        check_values("bits", self.bits, 8, 16, whole=True)
        check_values("cast", self.cast, -2, 2)
        check_values("tint", self.tint, -1, 1)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`stops`, `cast` and `tint` as above, `black` (raw light that is taken for none; full = 1), and the sensor's
        gain, noise levels and seed: see `draw_sensor`."""
        return {
            "stops": draw_value(rng, self.stops),
            "cast": draw_value(rng, self.cast),
            "tint": draw_value(rng, self.tint),
            "black": rng.normal(0, 2e-4),
            **draw_sensor(rng, self.iso, self.bits),
        }

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out; truth `noise`."""
        light, warm, magenta = _stops(-params["stops"]), params["cast"] / 2, params["tint"]
        raw = unprocess(image, params, light)
        truth = noise_level(raw[..., 1], params)
        truth *= np.float32(65535 / light)
        balance = (_stops(warm), _stops(-magenta), _stops(-warm))
        lq = process(sense(raw, params), params, balance, params["black"])
        np.rint(truth, out=truth)
        return Rendering(lq, {"noise": np.clip(truth, 0, 65535, out=truth).astype(np.uint16)})


def _stops(stops: float) -> float:
    """The factor of light that so many stops are."""
    return power_of(2.0, stops)
