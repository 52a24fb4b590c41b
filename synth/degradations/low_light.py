"""`low-light`: the photograph taken with a fraction of its light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

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
from patina.synth.elementary import power_of
from patina.synth.image import FloatImage, Image
from patina.synth.rng import Rng
from patina.synth.sensor import (
    GREENS,
    develop,
    develop_levels,
    developed,
    developed_levels,
    draw_sensor,
    noise_map,
    sensor,
    unprocess_planes,
)
from patina.synth.strips import InStrips, Strip, Strips


@dataclass(frozen=True)
class LowLight(InStrips):
    """lq = camera(2^-stops · light of gt): fewer photons, not a gamma curve.

    The clean photograph is taken back to raw light (`patina.synth.sensor`), dimmed, read out by a sensor that adds
    shot, read and row noise and rounds to its levels, and processed again with a white balance and a
    black a little off.

    stops  exposure steps of light that are missing, 0..10: each halves it.
    iso    the sensor's gain, 50..25600, which sets its noise; a range is drawn so that each stop is as likely.
    bits   of the raw levels, 8..16, whole.
    finer  by what factor the sensor is wider and higher than the photograph, 1, 2, 4 or 8: its picture is averaged down
           to the photograph, as published ones mostly are, and so is its noise. At 1 the sensor has the photograph's
           own size, and its demosaicing makes coloured grain of more than a pixel.
    cast   stops by which red comes out too bright against blue, -2..2: above 0 the picture is too warm.
    tint   stops by which green comes out too dark, -1..1: above 0 the picture is too magenta.

    Truth: `noise`, H×W uint16, 65535 = 1: the standard deviation of green's noise, as it would be seen after
    brightening by 2^stops: √(c·(shot·x + read + step²/12) + row²/finer) · 2^stops, where x is raw light and full is 1,
    and c what averaging leaves (`patina.synth.sensor.GREENS`; 1 where finer is 1). Defaults give LOL's input: 7.8 dB.
    `iso = { min = 100, max = 3200 }` with `finer = 1` is a high gain on a small sensor: 4 to 8 times the noise of LOL.
    Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "low-light"
    version: ClassVar[int] = 4
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "sensor"
    truth: ClassVar[tuple[str, ...]] = ("noise",)
    knob: ClassVar[Knob | None] = Knob("stops", 0.25, 8)

    stops: Values = field(default_factory=lambda: {"min": 3.5, "max": 6.25})
    iso: Values = field(default_factory=lambda: {"min": 50, "max": 200})
    bits: Values = field(default_factory=lambda: {"min": 10, "max": 14})
    finer: Values = (4, 8)
    cast: Values = field(default_factory=lambda: {"min": -0.25, "max": 0.4})
    tint: Values = field(default_factory=lambda: {"min": -0.1, "max": 0.1})

    def __post_init__(self) -> None:
        check_values("stops", self.stops, 0, 10)
        check_values("iso", self.iso, 50, 25600)
        check_values("bits", self.bits, 8, 16, whole=True)
        check_values("finer", self.finer, 1, 8, whole=True)
        wrong = [n for n in self._finer if n not in (1, *GREENS)]
        if wrong:
            raise SettingError(f"finer: expected one or a list of 1, 2, 4 and 8, found {wrong[0]}")
        check_values("cast", self.cast, -2, 2)
        check_values("tint", self.tint, -1, 1)

    @property
    def _finer(self) -> list[int]:
        if isinstance(self.finer, Mapping):
            raise SettingError("finer: expected one or a list of 1, 2, 4 and 8, found a range; write the list")
        return [int(n) for n in (self.finer if isinstance(self.finer, Sequence) else [self.finer])]

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with `finer` always a list."""
        return super().settings() | {"finer": self._finer}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`stops`, `finer`, `cast` and `tint` as above, `black` (raw light that is taken for none; full = 1), and the
        sensor's gain, noise levels and seed: see `draw_sensor`."""
        return {
            "stops": draw_value(rng, self.stops),
            "finer": rng.choice(self._finer),
            "cast": draw_value(rng, self.cast),
            "tint": draw_value(rng, self.tint),
            "black": rng.normal(0, 2e-4),
            **draw_sensor(rng, self.iso, self.bits),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of what the camera makes, before its tone curve, by `develop`; truth `noise`."""
        light, warm, magenta, finer = _stops(-params["stops"]), params["cast"] / 2, params["tint"], params["finer"]
        balance = (_stops(warm), _stops(-magenta), _stops(-warm))
        camera = sensor(image.shape[0], image.shape[1], params, finer, params["black"])

        def rows(top: int, bottom: int, as_levels: bool = False) -> Strip:
            first, end = camera.span(top, bottom)
            raw = unprocess_planes(image[first:end], params, light)
            noise = noise_map(raw[1][top - first : bottom - first], params, finer, 65535 / light)
            develop_as = develop_levels if as_levels else develop
            return Strip(develop_as(camera.sense(raw, top, bottom), params, balance), {"noise": noise})

        level_rows = partial(rows, as_levels=True)
        return Strips(rows, levels=developed_levels, floats=developed, level_rows=level_rows)


def _stops(stops: float) -> float:
    """The factor of light that so many stops are."""
    return power_of(2.0, stops)
