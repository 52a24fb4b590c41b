"""`raindrop`: drops of water on the glass in front of a lens that is focused on the scene behind."""

from __future__ import annotations

import math
from ctypes import CDLL
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.convolution import disc, spread
from patina.synth.degradation import Knob, Params, Place, Stage, Values, check_values, draw_value
from patina.synth.depth import brightness
from patina.synth.droplets import Field, smooth, water
from patina.synth.elementary import arc_sine, power_of, sine, sine_of, tangent
from patina.synth.image import (
    FloatImage,
    Image,
    as_floats,
    as_levels,
    level_light,
    level_table,
    to_encoded,
    to_encoded_levels,
    to_linear,
    to_uint16,
)
from patina.synth.resampling import Places, enlarged_rows, halvings, shrunk, smoothed
from patina.synth.rng import Rng
from patina.synth.strips import InStrips, Strip, Strips

WATER = 1.333
"""Refractive index. The pane's own two faces are parallel and bend nothing."""

FOCAL = 0.9
"""Focal length over the picture's long side: 58° across, a phone's main camera."""

FINEST, LIGHTEST = 1 << 13, 1 << 10
"""Steps to a unit of what is out of focus, up to 2, and what a disc's weights add up to at most: sums are exact."""

SKYWARDS = 0.25
"""How far above the picture, in its heights, there is nothing but sky."""

LINE = 1 << 12
"""Columns of a picture of wet places alone."""

GLOOM = 0.05
"""What shows where light is reflected inside the drop, over the scene's mean: the dark side of the pane."""


@dataclass(frozen=True)
class Raindrop(InStrips):
    """I = (1 − M)·J + R in linear light, with M = D∗m and R = D∗(m·T·J(refracted)); the form is Qian et al.'s.

    m is what the drops cover, D the disc over which the lens spreads a point of the glass, T Fresnel's transmission.
    A drop is a spherical cap that shows the scene upside down and from a wide angle; at its rim light would have to
    leave so flat that the rim turns dark. Where no disc reaches, M = 0 and I = J exactly (arXiv 1711.10098, eq. 1).

    area     share of the picture that drops cover before they are spread by D, 0..0.8.
    size     radius of the largest drop, 4..120; the number of drops falls with the square of their radius.
    defocus  radius of D, 0..20. At 0 glass and scene are both sharp, as through a tiny aperture.
    contact  angle between water and glass, 15..60 degrees: flatter drops see less. From 48.6° the rims are black.
    sky      linear light that drops gather from above the picture, of a bright day's white, 0..2; less in a dark
             photograph (`patina.synth.depth.brightness`). At 0 drops see the photograph alone.
    runs     drops that run down and leave a trail, 0..12, whole.
    film     radius of the blur by a film of water between the drops, 0..8; 0: dry. With it nothing is J exactly.

    `size`, `defocus` and `film` are pixels at a short side of 512 and scale with the image.
    Truth: `drops` is M, H×W uint16, 65535 = 1. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "raindrop"
    version: ClassVar[int] = 3
    reads_levels: ClassVar[bool] = True
    keeps_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("drops",)
    knob: ClassVar[Knob | None] = Knob("area", 0.01, 0.7)

    area: Values = field(default_factory=lambda: {"min": 0.1, "max": 0.24})
    size: Values = field(default_factory=lambda: {"min": 7, "max": 15})
    defocus: Values = field(default_factory=lambda: {"min": 3.5, "max": 8})
    contact: Values = field(default_factory=lambda: {"min": 25, "max": 42})
    sky: Values = field(default_factory=lambda: {"min": 1.6, "max": 2})
    runs: Values = field(default_factory=lambda: {"min": 0, "max": 2})
    film: Values = 0

    def __post_init__(self) -> None:
        check_values("area", self.area, 0, 0.8)
        check_values("size", self.size, 4, 120)
        check_values("defocus", self.defocus, 0, 20)
        check_values("contact", self.contact, 15, 60)
        check_values("sky", self.sky, 0, 2)
        check_values("runs", self.runs, 0, 12, whole=True)
        check_values("film", self.film, 0, 8)

    def draw(self, rng: Rng, image: Any, place: Place | None = None) -> dict[str, Any]:
        """`area`, `size`, `defocus`, `contact`, `sky`, `runs` and `film` as above, and the drops' `seed`."""
        return {
            "area": draw_value(rng, self.area),
            "size": draw_value(rng, self.size),
            "defocus": draw_value(rng, self.defocus),
            "contact": draw_value(rng, self.contact),
            "sky": round(draw_value(rng, self.sky) * power_of(brightness(image), 2.2), 6),
            "runs": draw_value(rng, self.runs, whole=True),
            "film": draw_value(rng, self.film),
            "seed": rng.seed(),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of the picture behind drops, sRGB in [0, 1]; truth `drops`, H×W uint16."""
        height, width = image.shape[:2]
        radius = params["defocus"] * min(height, width) / 512
        step = halvings(radius / 2)  # what the disc smooths needs no pixel of its own for each of the image's
        cover, places, right, down = water(-(-height // step), -(-width // step), params)
        seen = _refracted(_thumbnail(image), cover, places, right, down, params)
        covers, views = (enlarged_rows(_spread(part, radius / step), step, height, width) for part in (cover, seen))
        if params["film"]:
            scene = as_floats(image)
            image = _through_film(scene, params["film"] * min(height, width) / 512, Rng(params["seed"]))

        compiled = functions()

        def rows(top: int, bottom: int) -> Strip:
            out = image[top:bottom].copy()
            if compiled and out.dtype == np.uint8:
                return Strip(out, {"drops": _behind(compiled, out, covers(top, bottom), views(top, bottom))})
            drops = to_uint16(covers(top, bottom))
            left, above, wide, high = cv2.boundingRect((drops > 0).view(np.uint8))
            if wide:
                box = np.s_[above : above + high, left : left + wide]
                dry = np.multiply(drops[box], np.float32(-1 / 65535), dtype=np.float32)
                dry += np.float32(1)
                mixed = _times(to_linear(out[box]), dry)
                mixed += views(top + above, top + above + high)[:, left : left + wide]
                seen = to_encoded_levels(mixed) if out.dtype == np.uint8 else to_encoded(mixed)
                cv2.copyTo(seen, (drops[box] > 0).view(np.uint8), out[box])
            return Strip(out, {"drops": drops})

        return Strips(rows, levels=as_levels, floats=as_floats)


def _behind(compiled: CDLL, pixels: NDArray[Any], covers: Field, views: FloatImage) -> NDArray[np.uint16]:
    """Put rows of levels behind the drops, in place; the drops' cover as 16 bits."""
    drops = np.empty(pixels.shape[:2], np.uint16)
    light, levels = level_light(), level_table()
    rows = (part for field in (covers, views) for part in (pointer(field), field.strides[0] // 4))
    compiled.patina_behind_drops(
        pointer(pixels), *pixels.shape[:2], *rows, pointer(light), pointer(levels), pointer(drops)
    )
    return drops


def _spread(layer: Field, radius: float) -> Field:
    """What the lens makes of a layer that it has out of focus."""
    if radius <= 0.3:
        return layer
    whole = _in_steps(layer)
    lens = disc(radius, LIGHTEST)
    return spread(whole, lens, cv2.BORDER_REFLECT, 1 / (FINEST * int(lens.sum())))


def _thumbnail(image: FloatImage | Image) -> FloatImage:
    """The scene, 256 px or less on its long side, in linear light: a drop makes it many times smaller anyway. It is
    averaged as it is encoded, which is quick, and wrong for nothing larger than a pixel."""
    levels = as_levels(image)
    height, width = levels.shape[:2]
    ratio = min(1.0, 256 / max(height, width))
    return to_linear(shrunk(levels, (max(8, round(width * ratio)), max(8, round(height * ratio)))))


def _times(image: FloatImage, plane: Field) -> FloatImage:
    """Each channel times `plane`: several times as fast as NumPy with its short last axis."""
    return np.asarray(cv2.multiply(image, cv2.merge([plane, plane, plane])), np.float32)


def _with_sky(whole: FloatImage, scene: FloatImage, sky: float) -> FloatImage:
    """The scene in steps, `whole`, with as much again above and below it: above it fades into the sky, below the last
    row goes on.

    A drop is a wide-angle lens: at its foot it shows what is far above the picture, and by day that is the brightest.
    """
    height = len(scene)
    share = np.clip((height - np.arange(height) - 0.5) / (SKYWARDS * height), 0, 1).astype(np.float32)[:, None, None]
    above = scene[:1] * (1 - share)
    above += share * np.float32(sky)
    return np.concatenate([_in_steps(above), whole, np.broadcast_to(whole[-1:], whole.shape)])


def _in_steps(light: FloatImage) -> FloatImage:
    """Light in whole steps of 1/FINEST."""
    steps = light * np.float32(FINEST)
    return np.asarray(np.rint(steps, out=steps), np.float32)


def _refracted(
    scene: FloatImage, cover: Field, places: Places, right: Field, down: Field, params: Params
) -> FloatImage:
    """What is seen through the water, times `cover`, in linear light. `places`, `right`, `down`: as of `water`.

    A ray from the camera meets the surface at an angle a to its normal and leaves at b, sin b = WATER·sin a (Snell):
    it is turned by b − a towards the drop's middle, which turns the view around. Beyond the photograph nothing is
    known but a sky, so the drop's place counts less than it should, by just so much that the view stays inside.
    """
    rows, cols = cover.shape
    result = np.zeros((rows, cols, 3), np.float32)
    if not places.size:
        return result
    small, whole = scene.shape[1::-1], _in_steps(scene)
    table = _bending(sine_of(math.radians(params["contact"])))
    focal = FOCAL * max(small)
    x = _aim(cols, small[0], focal * float(table[0, 1000]))
    if params["sky"]:
        y = ((np.arange(rows) + 0.5) * (small[1] / rows) - 0.5 + small[1]).astype(np.float32)
        whole = _with_sky(whole, scene, params["sky"])
    else:
        y = _aim(rows, small[1], focal * float(table[0, 1000]))
    # Sums of whole numbers are the same in any order.
    gloom = [level * (GLOOM / FINEST / whole[..., 0].size) for level in cv2.sumElems(whole)[:3]]
    if compiled := functions():
        swings = table[0] * np.float32(focal)
        fields = (pointer(part) for part in (right, down, cover, x, y, swings, table[1]))
        water = pointer(places), places.size, cols, *fields
        dark = np.array(gloom, np.float32)
        compiled.patina_refracted(pointer(whole), *whole.shape[:2], *water, 1 / FINEST, pointer(dark), pointer(result))
        return result
    index = np.minimum((right * right + down * down) * np.float32(1000), 1023).astype(np.uint16)
    swing, shine = (table[0] * np.float32(focal)).take(index), table[1].take(index)
    row, column = np.divmod(places.astype(np.uint32), np.uint32(cols))
    x, y = x.take(column) - swing * right, y.take(row) - swing * down
    x, y = (_in_lines(_thirty_seconds(aim)) for aim in (x, y))  # as OpenCV has them: nothing that it adds up is rounded
    found: Any = cv2.remap(whole, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
    seen = np.asarray(found, np.float32).reshape(1, -1, 3)[:, : places.size]
    wet = cover.take(places)
    shine *= wet
    seen = _times(seen, (shine * np.float32(1 / FINEST))[None])
    wet -= shine
    seen += cv2.merge([(wet * np.float32(level))[None] for level in gloom])
    result.reshape(-1, 3)[places] = seen[0]
    return result


def _in_lines(values: Field) -> Field:
    """Values one after the other as a picture of no more than LINE columns, as OpenCV wants it; with some more."""
    width = min(len(values), LINE)
    lines = np.zeros((-(-len(values) // width), width), np.float32)
    lines.reshape(-1)[: len(values)] = values
    return lines


def _thirty_seconds(places: Field) -> Field:
    places *= np.float32(32)
    np.rint(places, out=places)
    places *= np.float32(1 / 32)
    return places


def _aim(count: int, side: int, far: float) -> Field:
    """Where in the scene, 0..side, the middles of drops at `count` places look whose rims look `far` beyond."""
    near = max(0.0, 1 - 2 * far / side)
    return ((side - 1) / 2 + near * side * ((np.arange(count) + 0.5) / count - 0.5)).astype(np.float32)


def _through_film(image: FloatImage, radius: float, rng: Rng) -> FloatImage:
    """The scene through a film of water that is here thick and there dry: blurred by up to `radius` pixels."""
    height, width = image.shape[:2]
    linear = to_linear(image)
    share = np.clip(0.5 + smooth(rng, height, width, min(height, width) / 6), 0, 1)
    blurred = smoothed(linear, radius)
    return to_encoded(linear + _times(blurred - linear, share))


@cache
def _bending(contact: float) -> NDArray[np.float32]:
    """For squared slopes of 0, 0.001 … 1.023: tan(b − a) over the slope, and Fresnel's transmission; 2×1024."""
    slope = np.sqrt(np.maximum(np.arange(1024), 1) / 1000)
    a = np.minimum(slope * contact, 0.999)
    out = np.minimum(WATER * a, 1)
    inner, outer = arc_sine(a), arc_sine(out)
    with np.errstate(invalid="ignore"):
        across = sine(outer - inner) / sine(outer + inner)
        along = tangent(outer - inner) / tangent(outer + inner)
    passed = np.where(out < 1, 1 - (across * across + along * along) / 2, 0)
    return np.stack([tangent(outer - inner) / slope, passed]).astype(np.float32)
