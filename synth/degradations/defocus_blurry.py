"""`defocus-blurry`: the lens is focused at another distance, so that a point becomes the shape of its aperture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.convolution import Taps
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
from patina.synth.depth import FromDepth
from patina.synth.elementary import cosine_of, power_of, sine_of
from patina.synth.image import FloatImage, Image, as_levels, level_light, planes_of, to_linear
from patina.synth.resampling import Rows, around, cuts, enlarged_rows, means, shortened, shrunk, stretched_rows
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import InStrips, Strip, Strips
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

BLADES = (0, 5, 6, 7, 8, 9)

SMALL = 160
"""Pixels of the short side at which distances are looked for: blur has no fine edges."""

STEP = 1 / 64
"""Pixels to a level of the truth map."""

WHITE = 65536
"""Light of white, so that all light is of whole numbers, whose means are exact."""

WEIGHT = 4095
"""What a kernel adds up to."""

WIDEST = (2.0, 4.0, 8.0, 12.0)
"""Pixels: the largest radius of a kernel at the full size, the half, the quarter and at less. What is blurred more is
blurred at a smaller size, where large kernels cost little and keep their corners."""

TALL = 128
"""Rows at a time of what is not of the full size; an even number."""

LUMINANCE = 0.2126, 0.7152, 0.0722
KNEE, BRIGHT = 0.85, 0.3
"""From what luminance light may really have been brighter than white, and what mean of it all around says no."""

GREEN = 0.79
"""Less green has no pixel of that luminance."""

DEFOCUS = Scale(
    (
        (0, "very slight defocus blur"),
        (1, "slight defocus blur"),
        (3, "medium defocus blur"),
        (7, "strong defocus blur"),
        (15, "very strong defocus blur"),
    )
)
"""Pixels of radius of what is most out of focus, at a short side of 512. The names are ours."""


def _said(known: Known) -> Said:
    radius = known.number("radius")
    if not radius:
        return Said("defocus blur", "defocus blur") if radius is None else nothing("defocus blur")
    return on_scale(DEFOCUS, radius, f"a radius of up to {about(radius)} px at a short side of 512", "defocus blur")


@dataclass(frozen=True)
class DefocusBlurry(FromDepth, InStrips):
    """lq = k(r) * gt in linear light, highlights included; k is the shape of the aperture, and r goes with the depth.

    A thin lens focused at a distance s sees a point at z as a disc whose radius is in proportion to |1/z − 1/s|. The
    shape is a polygon of as many sides as the aperture has blades, of a disc's area.

    radius      px of what is most out of focus, for an image of 512 px short side; 0..40.
    focus       where the lens is focused, 0..1, by one over the distance: 0 is at the farthest, 1 at the nearest.
    even        0..1: 1 blurs all alike, as a lens that is focused on nothing of the picture; 0 leaves something sharp.
    blades      of the aperture, 5..9, or 0 for a round one; or a list to choose from.
    highlights  stops by which what the photograph shows as white was brighter, 0..6, so that lamps and glints become
                shapes of light. What is white amid bright things, such as a cloud, is left as it is.
    depth       a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior, which is a guess.

    Truth: `radius`, H×W uint16, r in 1/64 px. With `blades` and `angle` (radians, of one corner) it is the map of
    kernels. Kernels are made at radii a factor of √2 apart; between two of them the picture is mixed so that the
    kernel's second moment is right. Depth is smoothed, since a blurred edge before what is sharp would need
    what is behind it. The defaults give about the input of DPDD (Abuolaim and Brown, ECCV 2020), 23.9 dB. Raises
    SettingError for a setting out of its range and for a folder that cannot be used.
    """

    name: ClassVar[str] = "defocus-blurry"
    version: ClassVar[int] = 2
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("radius",)
    knob: ClassVar[Knob | None] = Knob("radius", 0.5, 40)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"even": 1, "blades": 6},
        {"even": 0, "focus": 1, "radius": 25, "blades": 0},
    )
    maps: ClassVar[Mapping[str, tuple[str, str]]] = {
        "radius": (
            "radius of the disc, or of the polygon of its area, that a point of light became",
            "16 bits, 1/64 px",
        ),
    }
    wording: ClassVar[Wording | None] = Wording(
        _said, ("remove the {}", "bring all of it into focus", "make the picture sharp")
    )

    radius: Values = field(default_factory=lambda: {"min": 2.5, "max": 13})
    focus: Values = field(default_factory=lambda: {"min": 0, "max": 1})
    even: Values = field(default_factory=lambda: {"min": 0, "max": 0.6})
    blades: int | Sequence[int] = BLADES
    highlights: Values = field(default_factory=lambda: {"min": 0, "max": 4})
    depth: str = field(default="", metadata={"folder": True})

    def __post_init__(self) -> None:
        check_values("radius", self.radius, 0, 40)
        check_values("focus", self.focus, 0, 1)
        check_values("even", self.even, 0, 1)
        if not self._blades or any(type(one) is not int or one not in BLADES for one in self._blades):
            raise SettingError(f"blades: expected one or a list of 0 and 5 to 9, found {self.blades!r}")
        check_values("highlights", self.highlights, 0, 6)
        _ = self.depths

    @property
    def _blades(self) -> list[Any]:
        listed = isinstance(self.blades, Sequence) and not isinstance(self.blades, str)
        return list(self.blades) if listed else [self.blades]  # type: ignore[arg-type]

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with `blades` always a list."""
        return super().settings() | {"blades": self._blades}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`radius`, `focus`, `even`, `blades` and `highlights` as above, `angle` (radians, of one corner of the
        aperture), and where depth comes from: see `Depths.draw`."""
        return {
            "radius": draw_value(rng, self.radius),
            "focus": draw_value(rng, self.focus),
            "even": draw_value(rng, self.even),
            "blades": rng.choice(self._blades),
            "angle": round(rng.uniform(0, 2 * math.pi), 6),
            "highlights": draw_value(rng, self.highlights),
            **self.depths.draw(rng, place),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """H×W×3 float32 sRGB in [0, 1] in and out; truth `radius`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        height, width = image.shape[:2]
        most = params["radius"] * min(height, width) / 512
        small = _small(image)
        blur = self._blur(small, params)
        blur *= np.float32(most)
        light = _Light(image, small, params["highlights"])
        layers = _layers(most, params["blades"], params["angle"])
        wanted = stretched_rows(blur, height, width)
        pyramid = _pyramid(light, blur, layers)

        def rows(top: int, bottom: int) -> Strip:
            levels = wanted(top, bottom)
            levels *= np.float32(1 / STEP)
            np.clip(np.rint(levels, out=levels), np.float32(0), np.float32(65535), out=levels)
            stored = levels.astype(np.uint16)
            levels *= np.float32(STEP)
            out = pyramid(levels, top, bottom)
            return Strip([np.multiply(plane, np.float32(1 / WHITE), out=plane) for plane in out], {"radius": stored})

        return Strips(rows, is_linear=True)

    def _blur(self, small: Image, params: Params) -> NDArray[np.float32]:
        """The radius at each pixel of a reduced copy over the largest, 0..1, smooth."""
        if params["even"] == 1:
            return np.ones(small.shape[:2], np.float32)
        near = np.float32(1) / self.depths.of(small, params)
        ordered = np.sort(near[::2, ::2], axis=None)
        first, last = (float(ordered[int(share * (ordered.size - 1))]) for share in (0.03, 0.97))
        near -= np.float32(first)
        near *= np.float32(1 / max(last - first, 1e-6))
        np.clip(near, 0, 1, out=near)
        side = 2 * max(1, round(params["radius"] * SMALL / 512)) + 1
        near = means(means(near, side), side)
        focus = params["focus"]
        away = np.abs(near - np.float32(focus))
        away *= np.float32((1 - params["even"]) / max(focus, 1 - focus))
        away += np.float32(params["even"])
        return np.asarray(np.minimum(away, 1, out=away), np.float32)


Layer = tuple[float, NDArray[np.int64]]
"""A radius in pixels of the full size, and its kernel at the size at which it is applied."""

Planes = list[NDArray[np.float32]]
"""Red, green and blue, h×w each."""

Source = tuple[float, Callable[[], Planes]]
"""A radius, and what makes some rows of the picture blurred by it: new arrays."""


def _small(image: FloatImage | Image) -> Image:
    """A reduced copy, of SMALL pixels on its short side, of which depth and what is bright all around are taken."""
    height, width = image.shape[:2]
    scale = min(1.0, SMALL / min(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    if image.dtype == np.uint8:
        return shrunk(image, size)  # type: ignore[arg-type]
    levels = np.empty(image.shape, np.uint8)
    for top, bottom in cuts(height, TALL):
        levels[top:bottom] = as_levels(image[top:bottom])
    return shrunk(levels, size)


def _level(radius: float) -> int:
    """How often the picture is halved for a kernel of that radius."""
    level = 0
    while radius > WIDEST[min(level, len(WIDEST) - 1)] * (1 << level) * (1 + 1e-9):
        level += 1
    return level


def _layers(most: float, blades: int, angle: float) -> list[Layer]:
    """Kernels, smallest first, up to that of the largest radius."""
    radii, radius = [], WIDEST[0]
    while radius < most / 1.1:
        radii.append(radius)
        radius *= 2 if radius == WIDEST[0] else math.sqrt(2)
    radii += [most] if most > 0 else []
    return [(radius, _aperture(radius / (1 << _level(radius)), blades, angle)) for radius in radii]


def _aperture(radius: float, blades: int, angle: float) -> NDArray[np.int64]:
    """A polygon of a disc's area with soft edges, k×k whole numbers that add up to WEIGHT."""
    reach = math.ceil(1.25 * radius + 0.5)
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    if blades:
        part = math.pi / blades
        inner = radius * math.sqrt(part * cosine_of(part) / sine_of(part))  # of the circle within
        sides = [angle + part + 2 * part * i for i in range(blades)]
        out = np.max([cosine_of(side) * x + sine_of(side) * x[:, None] for side in sides], axis=0) - inner
    else:
        out = np.sqrt(x * x + (x * x)[:, None]) - radius
    shares = np.clip(0.5 - out, 0, 1)
    exact = shares * (WEIGHT / shares.sum())
    kernel: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    short = WEIGHT - int(kernel.sum())
    order = np.argsort(kernel.ravel() - exact.ravel(), kind="stable")[:short]
    kernel.ravel()[order] += 1
    return kernel


class _Light:
    """The light of a picture, in whole numbers of which white has WHITE, with its highlights."""

    def __init__(self, image: FloatImage | Image, small: Image, stops: float) -> None:
        self._image, self._gain = image, power_of(2.0, stops) - 1
        self.height, self.width = image.shape[:2]
        if self._gain:
            luminance = _luminance([to_linear(plane) for plane in planes_of(small)])
            side = min(luminance.shape) // 16 * 2 + 1
            self._around = stretched_rows(means(luminance, side), self.height, self.width)

    def rows(self, top: int, bottom: int, reach: int = 0) -> Planes:
        """Rows of it, and `reach` more above and below; beyond the picture they are mirrored, border rows repeated."""
        first, end = max(0, top - reach), min(self.height, bottom + reach)
        planes = planes_of(self._image[first:end])
        if self._image.dtype == np.uint8:
            found: Planes = [np.asarray(cv2.LUT(plane, _whole_light()), np.float32) for plane in planes]
        else:
            found = [_whole(to_linear(plane)) for plane in planes]
        if self._gain:
            self._brighten(planes, found, first, end)
        if end - first == bottom - top + 2 * reach:
            return found
        places = np.arange(top - reach, bottom + reach) % (2 * self.height)
        places = np.where(places < self.height, places, 2 * self.height - 1 - places) - first
        return [np.take(plane, places, axis=0) for plane in found]

    def _brighten(self, encoded: Sequence[NDArray[Any]], light: Planes, top: int, bottom: int) -> None:
        """Make what is nearly white amid darker things brighter, in place: as `motion-blurry` does, and as much a
        guess."""
        places = np.flatnonzero(light[1] > np.float32(GREEN * WHITE))  # few, mostly
        if not len(places):
            return
        pixels = [to_linear(np.take(plane, places)[None])[0] for plane in encoded]
        white = _luminance(pixels)
        white -= np.float32(KNEE)
        white *= np.float32(1 / (1 - KNEE))
        np.clip(white, 0, 1, out=white)
        dark = np.take(self._around(top, bottom), places)
        dark *= np.float32(-1 / BRIGHT)
        dark += np.float32(1)
        gain = white * white
        gain *= np.clip(dark, 0, 1, out=dark)
        gain *= np.float32(self._gain)
        gain += np.float32(1)
        for plane, pixel in zip(light, pixels, strict=True):
            plane.reshape(-1)[places] = _whole(pixel * gain)


def _whole(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light as whole numbers of which white has WHITE, in place."""
    light *= np.float32(WHITE)
    return np.rint(light, out=light)


@cache
def _whole_light() -> NDArray[np.float32]:
    table = _whole(level_light().copy())
    table.setflags(write=False)
    return table


def _luminance(planes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    red, green, blue = planes
    total = np.multiply(red, np.float32(LUMINANCE[0]))
    for plane, share in ((green, LUMINANCE[1]), (blue, LUMINANCE[2])):
        total += np.multiply(plane, np.float32(share))
    return total


def _halved(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2×2 pixels, in whole numbers; an odd row or column counts twice."""
    height, width = light.shape
    if height % 2 or width % 2:
        light = cv2.copyMakeBorder(light, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    # Four whole numbers of at most 2^22 have an exact sum, in whatever order.
    size = -(-width // 2), -(-height // 2)
    half = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)
    return np.rint(half, out=half)


def _halved_again(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same of a picture that is smaller than the full size, whose pixels go to the two nearest of the half size in
    either direction, so that a point stays where it is: by 1 2 1 before the means."""
    height, width = light.shape
    half = np.empty((-(-height // 2), -(-width // 2)), np.float32)
    for top, bottom in cuts(height, TALL):
        framed: Any = around(light, top, bottom, 1)
        column = framed[1:-1] * np.float32(2)
        column += framed[:-2]
        column += framed[2:]
        wide: Any = cv2.copyMakeBorder(column, 0, 0, 1, 1, cv2.BORDER_REFLECT)
        soft = wide[:, 1:-1] * np.float32(2)
        soft += wide[:, :-2]
        soft += wide[:, 2:]
        soft *= np.float32(1 / 16)
        half[top // 2 : -(-bottom // 2)] = _halved(np.rint(soft, out=soft))
    return half


def _pyramid(
    light: _Light, blur: NDArray[np.float32], layers: list[Layer]
) -> Callable[[NDArray[np.float32], int, int], Planes]:
    """What makes rows of the blurred light, by the radius of each pixel and the rows' first and end."""
    fine = [layer for layer in layers if _level(layer[0]) == 0]
    coarse = layers[len(fine) :]
    behind: list[Rows] = []
    if coarse:
        half = [np.empty((-(-light.height // 2), -(-light.width // 2)), np.float32) for _ in range(3)]
        for top, bottom in cuts(light.height, TALL):
            for part, plane in zip(half, light.rows(top, bottom), strict=True):
                part[top // 2 : -(-bottom // 2)] = _halved(plane)
        behind = [enlarged_rows(part, 2, light.height, light.width) for part in _blurred(half, blur, coarse, 1)]
    reach = len(fine[0][1]) // 2 if fine else 0
    kernels = [(radius, _taps(kernel)) for radius, kernel in fine]

    def rows(asked: NDArray[np.float32], top: int, bottom: int) -> Planes:
        framed = light.rows(top, bottom, reach)
        sources: list[Source] = [(0.0, lambda: [plane[reach : len(plane) - reach].copy() for plane in framed])]
        sources += [(radius, _convolving(framed, taps)) for radius, taps in kernels]
        if behind:
            sources.append((coarse[0][0], lambda: [part(top, bottom) for part in behind]))
        return _mixed(asked, sources)

    return rows


def _blurred(light: Planes, blur: NDArray[np.float32], layers: list[Layer], level: int) -> Planes:
    """Light at 1/2^level of the full size, blurred by `layers`; by the coarser ones at half of that size."""
    height, width = light[0].shape
    here = [(radius, _taps(kernel)) for radius, kernel in layers if _level(radius) == level]
    coarser = layers[len(here) :]
    behind: list[Rows] = []
    if coarser:
        again = _blurred([_halved_again(plane) for plane in light], blur, coarser, level + 1)
        behind = [enlarged_rows(plane, 2, height, width) for plane in again]
    asked, found = stretched_rows(blur, height, width), [np.empty_like(plane) for plane in light]
    for top, bottom in cuts(height, TALL):
        sources: list[Source] = [
            (
                radius,
                lambda taps=taps: [  # type: ignore[misc]
                    _convolved(around(plane, top, bottom, taps.side // 2), taps)  # noqa: B023
                    for plane in light
                ],
            )
            for radius, taps in here
        ]
        if behind:
            sources.append((coarser[0][0], lambda: [part(top, bottom) for part in behind]))  # noqa: B023
        for whole, part in zip(found, _mixed(asked(top, bottom), sources), strict=True):
            whole[top:bottom] = part
    return found


def _taps(kernel: NDArray[np.int64]) -> Taps:
    y, x = np.nonzero(kernel)
    return Taps(len(kernel), y, x, kernel[y, x])


def _convolved(framed: NDArray[np.float32], taps: Taps) -> NDArray[np.float32]:
    """Rows with at least a frame of the kernel's reach above and below, convolved, without the frame."""
    reach = taps.side // 2
    wide: Any = cv2.copyMakeBorder(framed, 0, 0, reach, reach, cv2.BORDER_REFLECT)
    return taps.convolve(shortened(wide), 1 / WEIGHT)


def _convolving(framed: Planes, taps: Taps) -> Callable[[], Planes]:
    return lambda: [_convolved(plane, taps) for plane in framed]


def _mixed(asked: NDArray[np.float32], sources: Sequence[Source]) -> Planes:
    """Each pixel between the two sources whose radii are next to the one asked for, h×w; of the first below its radius,
    of the last beyond its. A source that no pixel needs is not made; the others give the same bits all the same."""
    low, high = float(asked.min()), float(asked.max())
    found: Planes = []
    for i in range(len(sources) - 1, -1, -1):
        radius, make = sources[i]
        if i and high <= sources[i - 1][0]:
            continue
        if found and low >= sources[i + 1][0]:
            break
        planes = make()
        if found and high > radius:
            share = _share(asked, radius, sources[i + 1][0])
            rest = np.float32(1) - share
            for own, wider in zip(planes, found, strict=True):
                np.multiply(own, rest, out=own)
                np.add(own, np.multiply(wider, share, out=wider), out=own)
        found = planes
    assert found
    return found


def _share(asked: NDArray[np.float32], lower: float, upper: float) -> NDArray[np.float32]:
    """The share of the wider of two kernels by which their mixture has the spread of the one asked for, 0..1."""
    share = asked * asked
    share -= np.float32(lower) * np.float32(lower)
    share *= np.float32((1 + 1e-6) / (upper * upper - lower * lower))  # a little more, so that it is 1 at `upper`
    return np.clip(share, np.float32(0), np.float32(1), out=share)
