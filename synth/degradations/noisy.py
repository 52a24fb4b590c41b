"""`noisy`: additive white Gaussian noise, the same in every pixel and channel."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.degradation import (
    Degradation,
    Degraded,
    Knob,
    Params,
    Place,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from synth.image import Image
from synth.rng import Rng, normal_table

CHUNK = 1 << 17
"""Values at a time, a multiple of four: random words, noise and table together stay within a second-level cache."""

_scratch = threading.local()  # shards are built by threads, and each needs a buffer of its own


@dataclass(frozen=True)
class Noisy(Degradation):
    """lq = clip(gt + n), n ~ N(0, σ²) drawn for each pixel and channel on its own, in sRGB levels.

    sigma         σ in 8-bit levels, 0..255. 50 as in DA-CLIP (arXiv 2310.01018); 15, 25 and 50 in three-task work.
    legacy_floor  True rounds down, as the truncating cast of most published sets does: half a level too dark.

    Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "noisy"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "sensor"
    knob: ClassVar[Knob | None] = Knob("sigma", 1, 200)

    sigma: Values = 50
    legacy_floor: bool = False

    def __post_init__(self) -> None:
        check_values("sigma", self.sigma, 0, 255)
        if not isinstance(self.legacy_floor, bool):
            raise SettingError(f"legacy_floor: expected true or false, found {self.legacy_floor!r}")

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`sigma` in 8-bit levels, the noise's `seed` (32 hex digits), and `legacy_floor`."""
        return {"sigma": draw_value(rng, self.sigma), "seed": rng.seed(), "legacy_floor": self.legacy_floor}

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out, saturating at 0 and 255."""
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
