"""`over-exposed`: the photograph taken with too much light, so that its highlights burn out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.degradation import Knob, Params, Place, Stage, Values, check_values, draw_value
from patina.synth.elementary import power_of
from patina.synth.image import FloatImage, Image
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.sensor import burning, develop, developed, developed_levels, unprocess_planes
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

BALANCED = {"red": 1.0, "blue": 1.0}
"""Light is cut off after the white balance, where all three colours are full: else highlights would turn magenta."""

BRIGHTNESS = Scale(
    (
        (0, "slight overexposure"),
        (0.75, "overexposure"),
        (1.75, "strong overexposure"),
        (3, "very strong overexposure"),
        (4.5, "extreme overexposure"),
    )
)
"""Stops of light too many. A stop is the photographer's step; cameras offer a correction of up to three, and the
exposure sets rendered from raw files have one and one and a half. The names are ours."""


def _said(known: Known) -> Said:
    stops = known.number("stops")
    if not stops:
        return Said("overexposure", "overexposure") if stops is None else nothing("overexposure")
    return on_scale(BRIGHTNESS, stops, f"{about(stops)} stops too bright", "overexposure")


@dataclass(frozen=True)
class OverExposed(InStrips):
    """lq = camera(2^stops · light of gt): more light on the same sensor, which ends where it is full.

    The clean photograph is taken back to the balanced light of a camera (`patina.synth.sensor`: sRGB, tone curve and
    colour matrix undone), made brighter, cut off where the camera's own colours are full, and processed as before. So
    each colour is cut on its own: what was coloured and bright turns yellow, cyan or magenta before it turns white.

    stops     exposure steps of light too many, 0..6: each doubles it.
    shoulder  of the camera's response, 0..1: 0 ends at once where the sensor is full. With s it is straight up to 1 − s
              and then bends over to end at 1 + s, as film does and as cameras imitate it: highlights fade, and up to a
              stop of what is brighter than white is still told apart.

    Truth: `burnt`, H×W uint8: 0, 85, 170 or 255 where none, one, two or all three colours of `lq` are at 255.
    The default runs from +0.5 to +2.25 stops, since more leaves nothing of a bright photograph, and has the shoulder
    that cameras' own files show; the set of exposure errors that was rendered from raw files (Afifi et al.,
    CVPR 2021) has +1 and +1.5. What is white in `gt` was cut off before and stays white. Raises SettingError for a
    setting out of its range.
    """

    name: ClassVar[str] = "over-exposed"
    version: ClassVar[int] = 3
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "sensor"
    truth: ClassVar[tuple[str, ...]] = ("burnt",)
    knob: ClassVar[Knob | None] = Knob("stops", 0.125, 5)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = ({"shoulder": 0}, {"shoulder": 1})
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {
        "burnt": ("how many of a pixel's three colours are at white", "8 bits, 85 for each, 255 = all three"),
    }
    wording: ClassVar[Wording | None] = Wording(
        _said, ("darken the picture", "restore the highlights", "correct the {}", "bring the burnt parts back")
    )

    stops: Values = field(default_factory=lambda: {"min": 0.5, "max": 2.25})
    shoulder: Values = field(default_factory=lambda: {"min": 0.2, "max": 1})

    def __post_init__(self) -> None:
        check_values("stops", self.stops, 0, 6)
        check_values("shoulder", self.shoulder, 0, 1)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`stops` and `shoulder` as above."""
        return {"stops": draw_value(rng, self.stops), "shoulder": draw_value(rng, self.shoulder)}

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] in and out; truth `burnt`."""
        times, shoulder = power_of(2.0, params["stops"]), params["shoulder"]

        def rows(top: int, bottom: int) -> Strip:
            raw = unprocess_planes(image[top:bottom], BALANCED)
            for plane in raw:
                _expose(plane, times, shoulder)
            lq = develop(raw, BALANCED)
            return Strip(lq, {"burnt": _burnt(lq)})

        return Strips(rows, levels=developed_levels, floats=developed)


def _expose(raw: NDArray[np.float32], times: float, shoulder: float) -> None:
    """`times` as much raw light, to 1 at the most, in place."""
    if compiled := functions():
        bends = (1 - shoulder, 1 + shoulder, 1 / shoulder, 1 / (2 * shoulder)) if shoulder else (0.0, 0.0, 0.0, 0.0)
        compiled.patina_more_light(pointer(raw), raw.size, times, shoulder, *bends)
        return
    if shoulder:
        _unbend(raw, shoulder)
    np.multiply(raw, np.float32(times), out=raw)
    if shoulder:
        _bend(raw, shoulder)
    np.minimum(raw, 1, out=raw)


def _unbend(raw: NDArray[np.float32], shoulder: float) -> None:
    """The light, up to 1 + shoulder, that the response made `raw`, 0..1, of; in place: `_bend` solved for its x."""
    bright = (raw > np.float32(1 - shoulder)).view(np.uint8)
    found = np.subtract(np.float32(1), raw)
    np.maximum(found, 0, out=found)
    found *= np.float32(1 / shoulder)
    np.sqrt(found, out=found)
    found *= np.float32(-2 * shoulder)
    found += np.float32(1 + shoulder)
    cv2.copyTo(found, bright, raw)


def _bend(raw: NDArray[np.float32], shoulder: float) -> None:
    """The response to light, in place: 1 − s·(1 − t)², t = (x − 1 + s)/2s, from x = 1 − s, where its slope is 1, to
    1 + s, where it ends."""
    bright = (raw > np.float32(1 - shoulder)).view(np.uint8)
    found = np.subtract(np.float32(1 + shoulder), raw)
    np.maximum(found, 0, out=found)
    found *= np.float32(1 / (2 * shoulder))
    found *= found
    found *= np.float32(-shoulder)
    found += np.float32(1)
    cv2.copyTo(found, bright, raw)


def _burnt(planes: Sequence[NDArray[np.uint16]]) -> NDArray[np.uint8]:
    """85 for each of three colours that is at 255 in the file, h×w."""
    red, green, blue = ((plane >= burning()).view(np.uint8) for plane in planes)
    count = np.asarray(red + green + blue, np.uint8)
    count *= np.uint8(85)
    return count
