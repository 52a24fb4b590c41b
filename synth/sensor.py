"""A camera's sensor and what the camera makes of it, in both directions: for `low-light` and for `noisy`.

The way there ("unprocessing") is after Brooks et al., arXiv 1811.11127: undo the tone curve, the colour matrix and the
white balance. It cannot be exact, since no file tells its camera; but one camera is used both ways, so that nothing
remains of it without noise. Raw light is linear, H×W×3, and 1 is where the sensor is full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import Params, Values, draw_value
from patina.synth.image import FloatImage, encoded_of, linear_of, look_up
from patina.synth.rng import Rng, normal_table

# What a camera's white-balanced red, green and blue give in linear sRGB: ours, of the size that common cameras have.
# Rows sum to 1, so grey stays grey. No entry of the inverse is below 0: every sRGB colour is light that can be.
COLOUR = np.array([[1.70, -0.55, -0.15], [-0.20, 1.50, -0.30], [0.02, -0.52, 1.50]])

CONTRAST = 0.5
"""Tone curve x + CONTRAST (3x² - 2x³ - x). Brooks et al. have 1, which lets no light out of the deepest shadow."""

ISO_100 = 1e-4
"""Variance of shot noise at ISO 100 where the sensor is full, as of 10 000 electrons; it grows in proportion to ISO."""

PEDESTAL = 16
"""One part in this many of the raw levels lies below black, so that noise may go below it: 64 levels of 1024."""

EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
BAYER = ((0, (EVEN, EVEN)), (1, (EVEN, ODD)), (1, (ODD, EVEN)), (2, (ODD, ODD)))
"""Colour and sites. Reflecting the frame about its border pixels continues the pattern."""

CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
SQUARE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
BILINEAR = (SQUARE, CROSS, SQUARE)
"""What a site gives to its neighbours of another colour, for red, green and blue."""


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
    read = math.exp(2.18 * math.log(shot) + 1.20 + rng.normal(0, 0.26))
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


def unprocess(image: FloatImage, params: Params, light: float = 1.0) -> FloatImage:
    """The raw light that the camera of `params` would make `image` of, times `light`: sRGB in, linear out, 0..light."""
    raw = look_up(image, _raw_table())
    matrix = np.diag([light / params["red"], light, light / params["blue"]]) @ np.linalg.inv(COLOUR)
    return cv2.transform(raw, matrix.astype(np.float32), dst=raw)  # type: ignore[return-value]


def process(
    raw: FloatImage, params: Params, balance: tuple[float, float, float] = (1.0, 1.0, 1.0), black: float = 0.0
) -> FloatImage:
    """The picture that the camera of `params` makes of raw light, which is changed: linear in, sRGB in [0, 1] out.

    balance: factors by which its red, green and blue come out wrong. black: raw light that it adds to all.
    """
    red, green, blue = balance
    matrix = COLOUR @ np.diag([red * params["red"], green, blue * params["blue"]])
    affine = np.hstack([matrix, matrix.sum(axis=1, keepdims=True) * black])
    return look_up(cv2.transform(raw, affine.astype(np.float32), dst=raw), _file_table())  # type: ignore[arg-type]


def sense(raw: FloatImage, params: Params) -> FloatImage:
    """Raw light as the sensor of `params` gives it, in place of `raw`, H×W×3.

    A photograph has been through a demosaicer already. So the light stays as sharp as it is, and only what the sensor
    adds to it, rounding included, is sampled on a Bayer pattern and interpolated: grain of more than a pixel.
    """
    sites = mosaic(raw)
    added = _interpolated(read_out(sites, params) - sites)
    return cv2.add(raw, added, dst=raw)  # type: ignore[return-value]


def mosaic(raw: FloatImage) -> NDArray[np.float32]:
    """What each site of a Bayer pattern sees, H×W: red and green in even rows, green and blue in odd ones."""
    sites = np.empty(raw.shape[:2], np.float32)
    for colour, place in BAYER:
        sites[place] = raw[place][..., colour]
    return sites


def read_out(sites: NDArray[np.float32], params: Params) -> NDArray[np.float32]:
    """The levels that the sensor gives for the light on its sites, H×W, as raw light: noisy, and in 2^bits steps.

    Poisson's noise of the light is taken as normal, of the right variance.
    """
    rng = Rng(params["seed"])
    rows = normal_table()[rng.levels(len(sites))] * params["row"]
    levels: Any = cv2.LUT(rng.levels(sites.size).reshape(sites.shape), _normal_table())
    variance = cv2.addWeighted(sites, params["shot"], sites, 0, params["read"])
    levels *= cv2.sqrt(variance, dst=variance)
    levels += sites
    levels += rows[:, None].astype(np.float32)
    black, span = _levels(params)
    levels *= np.float32(span)
    np.rint(levels, out=levels)
    np.clip(levels, -black, span, out=levels)
    levels *= np.float32(1 / span)
    return levels  # type: ignore[no-any-return]


def noise_level(light: NDArray[np.float32], params: Params) -> NDArray[np.float32]:
    """The standard deviation of what `read_out` adds to that light, the same shape, in raw light."""
    constant = params["read"] + params["row"] ** 2 + 1 / (12 * _levels(params)[1] ** 2)
    variance = cv2.addWeighted(light, params["shot"], light, 0, constant)
    return cv2.sqrt(variance, dst=variance)  # type: ignore[return-value]


def _levels(params: Params) -> tuple[int, int]:
    """How many raw levels lie below black, and from there to full."""
    black = 2 ** params["bits"] // PEDESTAL
    return black, 2 ** params["bits"] - 1 - black


def _interpolated(sites: NDArray[np.float32]) -> FloatImage:
    """Bilinear demosaicing of H×W sites, to H×W×3."""
    planes = []
    for colour, kernel in enumerate(BILINEAR):
        plane = np.zeros_like(sites)
        for own, place in BAYER:
            if own == colour:
                plane[place] = sites[place]
        planes.append(cv2.filter2D(plane, -1, kernel, dst=plane, borderType=cv2.BORDER_REFLECT_101))
    return cv2.merge(planes)  # type: ignore[return-value]


def _toned(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """The tone curve, raw light 0..1 to linear sRGB 0..1."""
    return raw + CONTRAST * (3 * raw**2 - 2 * raw**3 - raw)


@cache
def _raw_table() -> NDArray[np.float32]:
    """sRGB-encoded 0..1 to raw light, 1×65536: IEC 61966-2-1, then the tone curve undone."""
    encoded, raw = np.arange(65536) / 65535, np.linspace(0, 1, 1 << 20)
    return _table(np.interp(linear_of(encoded), _toned(raw), raw))


@cache
def _file_table() -> NDArray[np.float32]:
    """Raw light 0..1 to sRGB-encoded, 1×65536."""
    return _table(encoded_of(_toned(np.arange(65536) / 65535)))


@cache
def _normal_table() -> NDArray[np.float32]:
    return _table(normal_table())


def _table(values: NDArray[np.float64]) -> NDArray[np.float32]:
    table = values.astype(np.float32)[None]
    table.setflags(write=False)
    return table
