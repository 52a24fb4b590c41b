"""`motion-blurry`: the camera shook while the shutter was open."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.degradation import Params, Place, Rendered, Rendering, Stage, Values, check_values, draw_value
from synth.image import FloatImage, Map, to_encoded, to_linear
from synth.rng import Rng, normal_table

STEPS = 500
"""Steps of a simulated movement. Boracchi and Foi take 2000; the constants below are theirs, for four at a time."""

KNEE, CROWDED = 0.8, 0.4
"""From what luminance light may really have been brighter than white, and the share of white around it that says no."""

BLOCK = 11
"""The largest kernel side that OpenCV filters tap by tap; above it, it goes through a Fourier transform."""


@dataclass(frozen=True)
class MotionBlurry(Rendered):
    """lq = k * gt in linear light, highlights included, with a kernel k that a random shake of the camera draws.

    The shake is Boracchi and Foi's (IEEE TIP 21(8), 2012): a particle of constant speed whose heading is disturbed by
    tremor (Gaussian), by sudden jerks that nearly reverse it, and by a pull back to where it started. The shutter closes
    after a share of the movement. A roll of the camera around the frame's centre makes the kernel vary over the frame.

    length      px that a point travels over the whole movement, for an image of 512 px short side; 0..200.
    exposure    the share of the movement that the open shutter sees, 0..1.
    shake       0 is a straight line, 1 their usual hand, 4 a shiver: stronger shake keeps the path closer together.
    rotation    degrees between the extremes of the roll while the shutter is open, 0..3. 0: one kernel for all.
    highlights  stops by which what the photograph shows as white was brighter, 0..6, so that lamps and glints leave
                streaks. Large white areas, such as a sky, are left as they are.

    Truth: `kernel`, the centre's, k×k uint16 with k odd, Σ = 65535 exactly, centroid at its middle within half a pixel,
    drawn as a point of light would draw it. Without roll it is the very kernel that was applied.
    Defaults give GoPro's input on photographs: 25.6 dB. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "motion-blurry"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("kernel",)

    length: Values = ...
    exposure: Values = ...
    shake: Values = ...
    rotation: Values = ...
    highlights: Values = ...

    def __post_init__(self) -> None:
        check_values("length", self.length, 0, 200)
        check_values("exposure", self.exposure, 0, 1)
        check_values("shake", self.shake, 0, 4)
        check_values("rotation", self.rotation, 0, 3)
        check_values("highlights", self.highlights, 0, 6)

    def draw(self, rng: Rng, image: Any, place: Place | None = None) -> dict[str, Any]:
        """`length`, `exposure`, `shake`, `rotation` and `highlights` as above, and the movement's `seed`."""
        return {
            "length": draw_value(rng, self.length),
            "exposure": draw_value(rng, self.exposure),
            "shake": draw_value(rng, self.shake),
            "rotation": draw_value(rng, self.rotation),
            "highlights": draw_value(rng, self.highlights),
            "seed": rng.seed(),
        }
