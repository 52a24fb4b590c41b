"""`noisy`: additive white Gaussian noise, the same in every pixel and channel; or Poisson's, or a sensor's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
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
from patina.synth.image import FloatImage, Image, as_floats, to_uint8
from patina.synth.rng import Rng, normal_table
from patina.synth.sensor import as_file, as_file_levels, draw_sensor, process, sensor, unprocess_planes
from patina.synth.strips import Strip, Strips, applied, rendered

MODELS = ("gaussian", "poisson", "sensor")

CHUNK = 1 << 17
"""Values at a time, a multiple of four: random words, noise and table together stay within a second-level cache."""

PIXELS = 1 << 15
"""Pixels at a time where noise depends on the light or is the same in all channels."""

_scratch = threading.local()  # shards are built by threads, and each needs a buffer of its own


@dataclass(frozen=True)
class Noisy(Rendered):
    """lq = clip(gt + n), n ~ N(0, σ²) drawn for each pixel and channel on its own, in sRGB levels.

    sigma         σ in 8-bit levels, 0..255. 50 as in DA-CLIP (arXiv 2310.01018); 15, 25 and 50 in three-task work.
    legacy_floor  `true` rounds down, as the truncating cast of most published sets does: half a level too dark.
    grey          how often the noise is the same in all three channels, 0..1: 0.4 in Real-ESRGAN (arXiv 2107.10833).
                  It has no effect where the model is "sensor".
    scale         model "poisson": noise of photons counted, as blind super-resolution has it, in sRGB levels: gt is n/N
                  with n from Poisson's distribution of mean N·gt, N = 256/scale², 0.01..16. At white, σ is 16·scale
                  levels.
    model         "gaussian" for the above, "poisson", or "sensor": gt is taken back to raw light, noise that
                  grows with the light is added there, and the camera's processing makes coloured grain of it
                  (`patina.synth.sensor`). Then `iso` and `bits` count alone.
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
    grey: float = 0
    scale: Values = field(default_factory=lambda: {"min": 0.05, "max": 3})

    @property
    def knob(self) -> Knob | None:  # type: ignore[override]
        """`sigma`, or `iso` or `scale` where that decides."""
        knobs = {"gaussian": ("sigma", 1, 200), "poisson": ("scale", 0.05, 12), "sensor": ("iso", 50, 25600)}
        return Knob(*knobs[self.model])

    def __post_init__(self) -> None:
        check_values("sigma", self.sigma, 0, 255)
        if not isinstance(self.legacy_floor, bool):
            raise SettingError(f"legacy_floor: expected true or false, found {self.legacy_floor!r}")
        if self.model not in MODELS:
            raise SettingError(f"model: expected one of {', '.join(MODELS)}, found {self.model!r}")
        check_values("iso", self.iso, 50, 25600)
        check_values("bits", self.bits, 8, 16, whole=True)
        check_values("grey", self.grey, 0, 1)
        check_values("scale", self.scale, 0.01, 16)

    def settings(self) -> dict[str, Any]:
        """What came after the first version is left out where it says nothing: earlier samples stay as they are."""
        kept = super().settings()
        if self.model != "poisson":
            del kept["scale"]
        return kept if self.grey else {name: value for name, value in kept.items() if name != "grey"}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`model`, and `sigma` in 8-bit levels, the noise's `seed` (32 hex digits) and `legacy_floor`; for a sensor
        its gain, noise levels and seed instead: see `draw_sensor`; for Poisson's noise `scale` and `seed`. And `grey`,
        true or false, if that is asked for."""
        if self.model == "sensor":
            return {"model": "sensor", **draw_sensor(rng, self.iso, self.bits)}
        if self.model == "poisson":
            params = {"model": "poisson", "scale": draw_value(rng, self.scale), "seed": rng.seed()}
        else:
            sigma = draw_value(rng, self.sigma)
            params = {"model": "gaussian", "sigma": sigma, "seed": rng.seed(), "legacy_floor": self.legacy_floor}
        return params | ({"grey": rng.uniform() < self.grey} if self.grey else {})

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out. Of 8-bit levels, it quantises to what `apply` gives."""
        if params.get("model") == "sensor":
            return rendered(self._sensed(image, params), image.shape)
        if _is_pixelwise(params):
            result = np.empty(image.shape, np.float32)
            for place, values in _pixelwise(image, params):
                result.reshape(-1, 3)[place] = values
            return Rendering(result)
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
        if _is_pixelwise(params):
            levels = np.empty_like(image, order="C")
            for place, values in _pixelwise(image, params):
                levels.reshape(-1, 3)[place] = to_uint8(values)
            return Degraded(levels)
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
        camera = sensor(image.shape[0], image.shape[1], params)

        def rows(top: int, bottom: int) -> Strip:
            first, end = camera.span(top, bottom)
            return Strip(process(camera.sense(unprocess_planes(image[first:end], params), top, bottom), params))

        return Strips(rows, levels=as_file_levels, floats=as_file)


def _is_pixelwise(params: Params) -> bool:
    """Whether the noise of a pixel needs all of it: Poisson's, and noise of no colour."""
    return params.get("model") == "poisson" or bool(params.get("grey"))


def _pixelwise(image: FloatImage | Image, params: Params) -> Iterator[tuple[slice, FloatImage]]:
    """The noisy image in [0, 1], n×3 float32 for PIXELS pixels at a time, and which of H·W they are."""
    rng, clean = Rng(params["seed"]), image.reshape(-1, 3)
    floor = np.float32(0.5 / 255 if params.get("legacy_floor") else 0)
    for start in range(0, len(clean), PIXELS):
        part = slice(start, start + PIXELS)
        light = as_floats(clean[part])
        seen = _luma(light) if params.get("grey") else light
        normal: Any = cv2.LUT(rng.levels(seen.size)[None], _normal_floats()).reshape(seen.shape)
        noise = _counted(seen, normal, params["scale"]) if params["model"] == "poisson" else None
        if noise is None:
            noise = normal * np.float32(params["sigma"] / 255)
        values = light + noise
        values -= floor
        yield part, np.clip(values, 0, 1, out=values)


def _luma(light: FloatImage) -> FloatImage:
    """BT.601's luma of n×3, n×1."""
    luma: Any = light[:, :1] * np.float32(0.299)
    luma += light[:, 1:2] * np.float32(0.587)
    luma += light[:, 2:] * np.float32(0.114)
    found: FloatImage = np.asarray(luma, np.float32)
    return found


def _counted(light: FloatImage, normal: FloatImage, scale: float) -> FloatImage:
    """Poisson's noise of N·light photons, in the unit of `light`, from normal numbers, which are changed.

    By Cornish and Fisher's expansion to the third moment, rounded to whole photons: the variance is within 3 % of
    Poisson's from four photons up, and 6 % from one; where there are fewer the noise is somewhat too strong.
    """
    full = np.float32(256 / (scale * scale))
    mean = light * full
    np.maximum(mean, 0, out=mean)
    count = np.sqrt(mean)
    count *= normal
    count += mean
    normal *= normal
    normal -= np.float32(1)
    normal *= np.float32(1 / 6)
    count += normal
    np.rint(count, out=count)
    np.maximum(count, 0, out=count)
    count *= mean > 0
    count -= mean
    count *= np.float32(1) / full
    found: FloatImage = np.asarray(count, np.float32)
    return found


@cache
def _normal_floats() -> NDArray[np.float32]:
    table = normal_table().astype(np.float32)[None]
    table.setflags(write=False)
    return table


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
