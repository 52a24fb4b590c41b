"""A camera's sensor and what the camera makes of it, in both directions: for `low-light` and for `noisy`.

The way there ("unprocessing") is after Brooks et al., arXiv 1811.11127: undo the tone curve, the colour matrix and the
white balance. It cannot be exact, since no file tells its camera; but one camera is used both ways, so that nothing
remains of it without noise. Raw light is linear, H×W×3, and 1 is where the sensor is full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.degradation import Params, Values, draw_value
from patina.synth.elementary import exp_of, interpolated, log_of
from patina.synth.image import (
    FloatImage,
    Image,
    encoded_of,
    linear_of,
    look_up,
    look_up_levels,
    planes_of,
    to_uint8,
    to_uint16,
    words_as_levels,
)
from patina.synth.rng import Rng, normal_table

Planes: TypeAlias = Sequence[NDArray[np.float32]]
"""Red, green and blue, each H×W: raw light."""

# What a camera's white-balanced red, green and blue give in linear sRGB: ours, of the size that common cameras have.
# Rows sum to 1, so grey stays grey. No entry of the inverse is below 0: every sRGB colour is light that can be.
COLOUR = np.array([[1.70, -0.55, -0.15], [-0.20, 1.50, -0.30], [0.02, -0.52, 1.50]])

EVEN_BALANCE = (1.0, 1.0, 1.0)

CONTRAST = 0.5
"""Tone curve x + CONTRAST (3x² - 2x³ - x). Brooks et al. have 1, which lets no light out of the deepest shadow."""

ISO_100 = 1e-4
"""Variance of shot noise at ISO 100 where the sensor is full, as of 10 000 electrons; it grows in proportion to ISO."""

PEDESTAL = 16
"""One part in this many of the raw levels lies below black, so that noise may go below it: 64 levels of 1024."""

GREENS = {2: (19 / 64, 3 / 19), 4: (101 / 1024, 6.5 / 101), 8: (457 / 16384, 13.5 / 457)}
"""What averaging over so many pixels a side leaves of a green site's variance, and the correlation of two neighbours:
bilinear demosaicing has the weights ¼, ¼, 1, ¼, ¼."""

EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
BAYER = ((0, (EVEN, EVEN)), (1, (EVEN, ODD)), (1, (ODD, EVEN)), (2, (ODD, ODD)))
"""Colour and sites. Reflecting the frame about its border pixels continues the pattern."""


def draw_sensor(rng: Rng, iso: Values, bits: Values) -> dict[str, Any]:
    """A camera and its noise, as numbers that JSON keeps.

    iso            the gain; a range is drawn so that each stop is as likely.
    shot, read     variance of the noise at raw signal x is shot·x + read, 1 = full. ln read is 2.18 ln shot + 1.20 and
                   a normal number of 0.26: natural logarithms (Brooks et al.).
    row            standard deviation of each row's own offset: a tenth to four tenths of √read.
    red, blue      white-balance gains over green, 1.9..2.4 and 1.5..1.9 (Brooks et al.).
    bits           of the raw levels.
    seed           seed of the noise.
    """
    gain = rng.log_uniform(iso["min"], iso["max"]) if isinstance(iso, Mapping) else draw_value(rng, iso)
    shot = ISO_100 * gain / 100
    read = exp_of(2.18 * log_of(shot) + 1.20 + rng.normal(0, 0.26))
    return {
        "iso": gain,
        "shot": shot,
        "read": read,
        "row": rng.uniform(0.1, 0.4) * math.sqrt(read),
        "red": rng.uniform(1.9, 2.4),
        "blue": rng.uniform(1.5, 1.9),
        "bits": int(draw_value(rng, bits, whole=True)),
        "seed": rng.seed(),
    }


def unprocess(image: FloatImage | Image, params: Params, light: float = 1.0) -> FloatImage:
    """The raw light that the camera of `params` would make `image` of, times `light`: sRGB in, linear out, 0..light."""
    return np.asarray(cv2.merge(unprocess_planes(image, params, light)), np.float32)


def unprocess_planes(image: FloatImage | Image, params: Params, light: float = 1.0) -> Planes:
    """The same as red, green and blue, each H×W."""
    matrix = _inverse_colour() * np.array([light / params["red"], light, light / params["blue"]])[:, None]
    compiled = functions()
    if compiled and image.dtype == np.uint8:
        levels, factors = np.ascontiguousarray(image), matrix.astype(np.float32)
        raw = [np.empty(levels.shape[:2], np.float32) for _ in range(3)]
        where = pointer(_raw_level_table()), pointer(factors), *map(pointer, raw)
        compiled.patina_unprocess(pointer(levels), raw[0].size, *where)
        return raw
    return _transformed([look_up(plane, _raw_table()) for plane in planes_of(image)], matrix)


def process(raw: Planes, params: Params) -> Planes:
    """What the camera of `params` makes of planes of raw light before its tone curve: `as_file` and `as_file_levels`
    give the picture of it."""
    return _transformed(raw, _processing(params, EVEN_BALANCE))


def develop(
    raw: Planes, params: Params, balance: tuple[float, float, float] = EVEN_BALANCE
) -> list[NDArray[np.uint16]]:
    """The same in 65535ths of full light, rounded and cut off: what `developed` and `developed_levels` give the picture
    of, sooner.

    balance: factors by which the camera's red, green and blue come out wrong.
    """
    factors = (_processing(params, balance) * 65535).astype(np.float32)
    if compiled := functions():
        raw = [np.ascontiguousarray(plane, np.float32) for plane in raw]
        light = [np.empty(plane.shape, np.uint16) for plane in raw]
        size = raw[0].size
        compiled.patina_develop(*map(pointer, raw), size, pointer(factors), *map(pointer, light))
        return light
    found = []
    for row in factors:
        total, term = np.multiply(raw[0], row[0]), np.multiply(raw[1], row[1])
        total += term
        np.multiply(raw[2], row[2], out=term)
        found.append(np.asarray(cv2.add(total, term, dtype=cv2.CV_16U), np.uint16))
    return found


def develop_levels(raw: Planes, params: Params, balance: tuple[float, float, float] = EVEN_BALANCE) -> Image:
    """What `developed_levels` makes of what `develop` gives, at once: H×W×3."""
    compiled = functions()
    if not compiled:
        return developed_levels(develop(raw, params, balance))
    factors = (_processing(params, balance) * 65535).astype(np.float32)
    raw = [np.ascontiguousarray(plane, np.float32) for plane in raw]
    levels = np.empty((*raw[0].shape, 3), np.uint8)
    where = pointer(factors), pointer(_file_level_table()), pointer(levels)
    compiled.patina_develop_levels(*map(pointer, raw), raw[0].size, *where)
    return levels


def _processing(params: Params, balance: tuple[float, float, float]) -> NDArray[np.float64]:
    red, green, blue = balance
    return np.asarray(COLOUR * np.array([red * params["red"], green, blue * params["blue"]]))


def developed(light: NDArray[np.uint16]) -> FloatImage:
    """The picture that the camera writes, sRGB in [0, 1], of what `develop` gives, a plane or all."""
    return np.asarray(cv2.LUT(light, _file_table()), np.float32)


def developed_levels(light: NDArray[np.uint16] | Sequence[NDArray[np.uint16]]) -> Image:
    """The same in 8-bit levels; three planes H×W become H×W×3."""
    return words_as_levels(light, _file_level_table())


@cache
def burning() -> int:
    """The least of what `develop` gives that becomes white, 255."""
    return int(np.argmax(_file_level_table()[0] == 255))


def as_file(processed: FloatImage) -> FloatImage:
    """The picture that the camera writes, sRGB in [0, 1], of what `process` gives."""
    return look_up(processed, _file_table())


def as_file_levels(processed: FloatImage | Planes) -> Image:
    """The same in 8-bit levels: what `to_uint8` makes of `as_file`, to the bit; three planes H×W become H×W×3."""
    return look_up_levels(processed, _file_level_table())


def _transformed(planes: Planes, matrix: NDArray[np.float64]) -> Planes:
    """Each pixel times a 3×3 matrix. In float32, in the order of the columns."""
    factors, term = matrix.astype(np.float32), np.empty_like(planes[0])
    found = []
    for row in range(3):
        total = np.multiply(planes[0], factors[row, 0])
        for column in (1, 2):
            np.multiply(planes[column], factors[row, column], out=term)
            total += term
        found.append(total)
    return found


@cache
def _inverse_colour() -> NDArray[np.float64]:
    """COLOUR's inverse, by its cofactors."""
    c = COLOUR
    cofactors = np.array(
        [
            [
                c[(i + 1) % 3, (j + 1) % 3] * c[(i + 2) % 3, (j + 2) % 3]
                - c[(i + 1) % 3, (j + 2) % 3] * c[(i + 2) % 3, (j + 1) % 3]
                for i in range(3)
            ]
            for j in range(3)
        ]
    )
    determinant = c[0, 0] * cofactors[0, 0] + c[0, 1] * cofactors[1, 0] + c[0, 2] * cofactors[2, 0]
    return np.asarray(cofactors / determinant)


class Sensor(Protocol):
    """Gives raw light as a sensor does, some rows of a picture at a time."""

    def span(self, top: int, bottom: int) -> tuple[int, int]:
        """First row and end of the light that decides what it gives for the rows top to bottom."""
        ...

    def sense(self, raw: Planes, top: int, bottom: int) -> Planes:
        """What it gives for the rows top to bottom of the light of their `span`, which it may change."""
        ...


def sensor(height: int, width: int, params: Params, times: int = 1, black: float = 0.0) -> Sensor:
    """The sensor of `params` for a picture of this size: of `times` as many sites along either side, an even number,
    or of the picture's own. black: raw light that is added to all that it gives."""
    return _Reduced(height, width, params, times, black) if times > 1 else _Sites(height, width, params, black)


class _Sites:
    """A sensor of the picture's own size.

    A photograph has been through a demosaicer already. So the light stays as sharp as it is, and only what the sensor
    adds to it, rounding included, is sampled on a Bayer pattern and interpolated: grain of more than a pixel.
    """

    def __init__(self, height: int, width: int, params: Params, black: float) -> None:
        self._height, self._width, self._params, self._added = height, width, params, np.float32(black)
        self._rng = Rng(params["seed"])
        self._offsets = normal_table()[self._rng.levels(self._height)] * params["row"]

    def span(self, top: int, bottom: int) -> tuple[int, int]:
        """A row more above and below; the first of them even, as the pattern is."""
        return max(0, (top - 1) // 2 * 2), min(self._height, bottom + 1)

    def sense(self, raw: Planes, top: int, bottom: int) -> Planes:
        """Light and what its grain adds to it."""
        first, end = self.span(top, bottom)
        sites = mosaic(raw)
        noise = self._rng.levels_from(first * self._width, sites.size).reshape(sites.shape)
        added = read_out(sites, self._params, noise, self._offsets[first:end])
        added -= sites
        part = np.s_[top - first : bottom - first]
        found = [plane[part] + grain[part] for plane, grain in zip(raw, _interpolated(added), strict=True)]
        if self._added:
            for plane in found:
                np.add(plane, self._added, out=plane)
        return found


class _Reduced:
    """A sensor of `times` as many sites along either side; the camera's picture is averaged down.

    Bilinear demosaicing and averaging over times×times pixels weight a colour's sites: along an axis (3 4 … 4 1)/2 over
    `times` for red and blue, the last beyond the pixel. Neighbours share it. White noise through two taps has the same
    variance and the same correlation, and so it is made here, at the size of the picture. Rounding counts as noise.
    """

    def __init__(self, height: int, width: int, params: Params, times: int, black: float) -> None:
        self._height, self._width, self._shot = height, width, params["shot"]
        below, span = _levels(params)
        self._ends = np.float32(black - below / span), np.float32(black + 1)
        self._constant = params["read"] + 1 / (12 * span * span)
        self._taps = [taps(colour, times) for colour in range(3)]
        rng = Rng(params["seed"])
        offsets = normal_table()[rng.levels(self._height)] * (params["row"] / math.sqrt(times)) + black
        self._offsets = offsets[:, None].astype(np.float32)
        self._rng, self._each = rng, -(-self._height * self._width // 4) * 4

    def span(self, top: int, bottom: int) -> tuple[int, int]:
        """A row more above and below."""
        return max(0, top - 1), min(self._height, bottom + 1)

    def sense(self, raw: Planes, top: int, bottom: int) -> Planes:
        """Light and its noise."""
        first, end = self.span(top, bottom)
        found = []
        part = np.s_[top - first : bottom - first]
        for colour, plane in enumerate(raw):
            # Red stands at the left above, blue at the right below.
            forwards = colour == 0
            a, b = (top, end) if forwards else (first, bottom)
            near, far = self._taps[colour]
            words = self._rng.levels_from(colour * self._each + a * self._width, (b - a) * self._width)
            share = near * near * near * near  # of the variance, since both rows and columns are multiplied by `near`
            if compiled := functions():
                light, table = np.ascontiguousarray(plane[a - first : b - first], np.float32), _normal_table()
                offsets, scratch = self._offsets[top:bottom], np.empty(3 * self._width + 1, np.float32)
                out = np.empty((bottom - top, self._width), np.float32)
                size = b - a, self._width, bottom - top, forwards
                factors = share * self._shot, share * self._constant, far / near
                rest = pointer(offsets), *self._ends, pointer(scratch), pointer(out)
                compiled.patina_sense(pointer(light), pointer(words), *size, pointer(table), *factors, *rest)
                found.append(out)
                continue
            noise: Any = cv2.LUT(words.reshape(b - a, self._width), _normal_table())
            noise *= _deviation(plane[a - first : b - first], share * self._shot, share * self._constant)
            noise = _two_taps(noise, far / near, forwards, bottom - top)
            noise += self._offsets[top:bottom]
            noise += plane[part]
            found.append(np.clip(noise, *self._ends, out=noise))
        return found


def taps(colour: int, times: int) -> tuple[float, float]:
    """What noise is filtered by along an axis: a ≥ b, so that a² + b² is the root of what is left of a site's variance
    after averaging, and ab/(a² + b²) the correlation of two neighbours."""
    if colour == 1:
        left, correlation = GREENS[times]
    else:
        squares = (1.5 * 1.5 + 4 * (times // 2 - 1) + 0.5 * 0.5) / (times * times)
        left, correlation = squares * squares, 0.75 / (times * times) / squares
    root = math.sqrt(left)
    high, low = math.sqrt(root * (1 + 2 * correlation)), math.sqrt(root * (1 - 2 * correlation))
    return (high + low) / 2, (high - low) / 2


def _two_taps(plane: NDArray[np.float32], far: float, forwards: bool, count: int) -> NDArray[np.float32]:
    """`count` rows of `plane` filtered along both axes by two taps, 1 and `far` for the pixel after or before; where no
    row lies beyond, the end repeats itself. Changes `plane`."""
    here, there = (np.s_[:-1], np.s_[1:]) if forwards else (np.s_[1:], np.s_[:-1])
    end = np.s_[-1:] if forwards else np.s_[:1]
    other = np.empty((count, plane.shape[1]), np.float32)
    if len(plane) > count:
        np.multiply(plane[there], np.float32(far), out=other)
        own = plane[here]
    else:
        own = plane
        np.multiply(own[there], np.float32(far), out=other[here])
        np.multiply(own[end], np.float32(far), out=other[end])
    own += other
    np.multiply(own[:, there], np.float32(far), out=other[:, here])
    np.multiply(own[:, end], np.float32(far), out=other[:, end])
    own += other
    return own


def mosaic(raw: Planes) -> NDArray[np.float32]:
    """What each site of a Bayer pattern sees, H×W: red and green in even rows, green and blue in odd ones."""
    sites = np.empty(raw[0].shape, np.float32)
    for colour, place in BAYER:
        sites[place] = raw[colour][place]
    return sites


def read_out(
    sites: NDArray[np.float32], params: Params, noise: NDArray[np.uint16], offsets: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The levels that the sensor gives for the light on its sites, H×W, as raw light: noisy, and in 2^bits steps.

    Poisson's noise of the light is taken as normal, of the right variance. noise: 16 random bits a site. offsets: of
    each row, in raw light.
    """
    levels: Any = cv2.LUT(noise, _normal_table())
    levels *= _deviation(sites, params["shot"], params["read"])
    levels += sites
    levels += offsets[:, None].astype(np.float32)
    black, span = _levels(params)
    levels *= np.float32(span)
    np.rint(levels, out=levels)
    np.clip(levels, -black, span, out=levels)
    levels *= np.float32(1 / span)
    return levels  # type: ignore[no-any-return]


def noise_map(light: NDArray[np.float32], params: Params, times: int, scale: float) -> NDArray[np.uint16]:
    """`noise_level` times `scale`, rounded to 16 bits."""
    if compiled := functions():
        light = np.ascontiguousarray(light, np.float32)
        found, level = np.empty(light.shape, np.uint16), _noise_of(params, times)
        compiled.patina_noise_map(pointer(light), light.size, *level, scale, pointer(found))
        return found
    return to_uint16(noise_level(light, params, times), scale)


def noise_level(light: NDArray[np.float32], params: Params, times: int = 1) -> NDArray[np.float32]:
    """The standard deviation of what `read_out` adds to that light, or `sense_reduced` to green, the same shape, in raw
    light."""
    return _deviation(light, *_noise_of(params, times))


def _noise_of(params: Params, times: int) -> tuple[float, float]:
    """What the variance of `noise_level` is: so much of the light, and so much more."""
    left, span = GREENS[times][0] if times > 1 else 1.0, _levels(params)[1]
    constant = left * (params["read"] + 1 / (12 * span * span)) + params["row"] * params["row"] / times
    return left * params["shot"], constant


def _deviation(light: NDArray[np.float32], shot: float, constant: float) -> NDArray[np.float32]:
    """The root of shot·light + constant, the same shape."""
    variance = np.multiply(light, np.float32(shot))
    variance += np.float32(constant)
    return np.sqrt(variance, out=variance)


def _levels(params: Params) -> tuple[int, int]:
    """How many raw levels lie below black, and from there to full."""
    black = 2 ** params["bits"] // PEDESTAL
    return black, 2 ** params["bits"] - 1 - black


def _interpolated(sites: NDArray[np.float32]) -> Planes:
    """Bilinear demosaicing of H×W sites to three planes: a colour that a site lacks is the mean of those beside it that
    have it, two or four. At the border the pattern goes on."""
    framed = np.asarray(cv2.copyMakeBorder(sites, 1, 1, 1, 1, cv2.BORDER_REFLECT_101), np.float32)
    beside = framed[1:-1, :-2] + framed[1:-1, 2:]
    column = framed[:-2] + framed[2:]
    corners = column[:, :-2] + column[:, 2:]
    corners *= np.float32(0.25)
    around = beside + column[:, 1:-1]
    around *= np.float32(0.25)
    beside *= np.float32(0.5)
    column *= np.float32(0.5)
    column = column[:, 1:-1]
    red, green, blue = np.empty((3, *sites.shape), np.float32)
    for plane, own, other in ((red, EVEN, ODD), (blue, ODD, EVEN)):
        plane[own, own], plane[own, other] = sites[own, own], beside[own, other]
        plane[other, own], plane[other, other] = column[other, own], corners[other, other]
        green[own, own], green[own, other] = around[own, own], sites[own, other]
    return [red, green, blue]


def _toned(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """The tone curve, raw light 0..1 to linear sRGB 0..1."""
    return raw + CONTRAST * (3 * raw * raw - 2 * raw * raw * raw - raw)


@cache
def _raw_table() -> NDArray[np.float32]:
    """sRGB-encoded 0..1 to raw light, 1×65536: IEC 61966-2-1, then the tone curve undone."""
    encoded, raw = np.arange(65536) / 65535, np.linspace(0, 1, 1 << 20)
    return _table(interpolated(linear_of(encoded), _toned(raw), raw))


@cache
def _raw_level_table() -> NDArray[np.float32]:
    """The same at the 256 levels."""
    table = np.ascontiguousarray(_raw_table()[:, ::257])
    table.setflags(write=False)
    return table


@cache
def _file_table() -> NDArray[np.float32]:
    """Raw light 0..1 to sRGB-encoded, 1×65536."""
    return _table(encoded_of(_toned(np.arange(65536) / 65535)))


@cache
def _file_level_table() -> NDArray[np.uint8]:
    """Raw light 0..1 to 8-bit sRGB levels, 1×65536."""
    table = to_uint8(_file_table())
    table.setflags(write=False)
    return table


@cache
def _normal_table() -> NDArray[np.float32]:
    return _table(normal_table())


def _table(values: NDArray[np.float64]) -> NDArray[np.float32]:
    table = values.astype(np.float32)[None]
    table.setflags(write=False)
    return table
