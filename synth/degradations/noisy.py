"""`noisy`: additive white Gaussian noise, the same in every pixel and channel; or the noise of a sensor."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import (
    Degraded,
    Knob,
    Params,
    Place,
    Rendered,
    Rendering,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.image import FloatImage, Image, as_floats
from patina.synth.rng import Rng, normal_table
from patina.synth.sensor import as_file, as_file_levels, draw_sensor, process, sensor, unprocess
from patina.synth.strips import Strip, Strips, applied, rendered

MODELS = ("gaussian", "sensor")

CHUNK = 1 << 17
"""Values at a time, a multiple of four: random words, noise and table together stay within a second-level cache."""

_scratch = threading.local()  # shards are built by threads, and each needs a buffer of its own


@dataclass(frozen=True)
class Noisy(Rendered):
    """lq = clip(gt + n), n ~ N(0, σ²) drawn for each pixel and channel on its own, in sRGB levels.

    sigma         σ in 8-bit levels, 0..255. 50 as in DA-CLIP (arXiv 2310.01018); 15, 25 and 50 in three-task work.
    legacy_floor  `true` rounds down, as the truncating cast of most published sets does: half a level too dark.
    model         "gaussian" for the above, or "sensor": gt is taken back to raw light, noise that grows with the light
                  is added there, and the camera's processing makes coloured grain of it (`patina.synth.sensor`). Then σ
                  and legacy_floor say nothing, and the two settings below decide.
    iso           the sensor's gain, 50..25600; a range is drawn so that each stop is as likely. The default is the
                  range of Brooks et al., whose shot noise runs from 1e-4 to 0.012.
    bits          of the sensor's levels, 8..16, whole.

    Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "noisy"
    version: ClassVar[int] = 2
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "sensor"

    sigma: Values = 50
    legacy_floor: bool = False
    model: str = "gaussian"
    iso: Values = field(default_factory=lambda: {"min": 100, "max": 12000})
    bits: Values = field(default_factory=lambda: {"min": 10, "max": 14})

    @property
    def knob(self) -> Knob | None:  # type: ignore[override]
        """`sigma`, or `iso` where that decides."""
        return Knob("sigma", 1, 200) if self.model == "gaussian" else Knob("iso", 50, 25600)

    def __post_init__(self) -> None:
        check_values("sigma", self.sigma, 0, 255)
        if not isinstance(self.legacy_floor, bool):
            raise SettingError(f"legacy_floor: expected true or false, found {self.legacy_floor!r}")
        if self.model not in MODELS:
            raise SettingError(f"model: expected one of {', '.join(MODELS)}, found {self.model!r}")
        check_values("iso", self.iso, 50, 25600)
        check_values("bits", self.bits, 8, 16, whole=True)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`model`, and `sigma` in 8-bit levels, the noise's `seed` (32 hex digits) and `legacy_floor`; for a sensor
        its gain, noise levels and seed instead: see `draw_sensor`."""
        if self.model == "sensor":
            return {"model": "sensor", **draw_sensor(rng, self.iso, self.bits)}
        sigma = draw_value(rng, self.sigma)
        return {"model": "gaussian", "sigma": sigma, "seed": rng.seed(), "legacy_floor": self.legacy_floor}

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out. Of 8-bit levels, it quantises to what `apply` gives."""
        if params.get("model") == "sensor":
            return rendered(self._sensed(image, params), image.shape)
        rng, table = Rng(params["seed"]), _float_table(params["sigma"], params["legacy_floor"])
        image = as_floats(image)
        noisy = np.empty_like(image, order="C")
        clean, out = image.reshape(1, -1), noisy.reshape(1, -1)
        for start in range(0, image.size, CHUNK):
            part = out[:, start : start + CHUNK]
            cv2.LUT(rng.levels(part.size)[None], table, part)
            part += clean[:, start : start + CHUNK]
            np.clip(part, 0, 1, out=part)
        return Rendering(noisy)

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out, saturating at 0 and 255."""
        if params.get("model") == "sensor":
            return applied(self._sensed(image, params), image.shape)
        # In integers, which takes a third of the time.
        rng, table = Rng(params["seed"]), _noise_table(params["sigma"], params["legacy_floor"])
        lq = np.empty_like(image, order="C")
        clean, out = image.reshape(-1), lq.reshape(-1)
        for start in range(0, image.size, CHUNK):
            part = clean[start : start + CHUNK]
            noise = _buffer()[:, : part.size]
            cv2.LUT(rng.levels(part.size)[None], table, noise)
            noise += part
            np.clip(noise, 0, 255, out=noise)
            out[start : start + CHUNK] = noise[0]
        return Degraded(lq)

    @staticmethod
    def _sensed(image: FloatImage | Image, params: Params) -> Strips:
        camera = sensor(*image.shape[:2], params)

        def rows(top: int, bottom: int) -> Strip:
            first, end = camera.span(top, bottom)
            return Strip(process(camera.sense(unprocess(image[first:end], params), top, bottom), params))

        return Strips(rows, levels=as_file_levels, floats=as_file)


def _buffer() -> NDArray[np.int16]:
    """This thread's 1×CHUNK int16 to write noise into. Fresh memory for every image costs more than the noise."""
    if not hasattr(_scratch, "noise"):
        _scratch.noise = np.empty((1, CHUNK), np.int16)
    buffer: NDArray[np.int16] = _scratch.noise
    return buffer


@lru_cache(maxsize=32)
def _noise_table(sigma: float, floor: bool) -> NDArray[np.int16]:
    """Noise in whole levels for each 16-bit number, 1×65536 int16.

    Pixels are integers, so rounding the noise gives what rounding the sum would; a sum clips at integers, so
    clipping after rounding is no different either.
    """
    noise = sigma * normal_table()
    table = (np.floor(noise) if floor else np.rint(noise)).astype(np.int16)[None]
    table.setflags(write=False)
    return table


@lru_cache(maxsize=32)
def _float_table(sigma: float, floor: bool) -> NDArray[np.float32]:
    """The same noise unrounded, in [0, 1] floats, 1×65536 float32.

    Kept a thousandth of a level away from halves, where the float sum would round by chance: so a level and its noise
    round to what `_noise_table` says.
    """
    noise, whole = sigma * normal_table() - (0.5 if floor else 0.0), _noise_table(sigma, floor)[0]
    table = (np.clip(noise, whole - 0.499, whole + 0.499) / 255).astype(np.float32)[None]
    table.setflags(write=False)
    return table
