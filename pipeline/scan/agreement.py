"""Whether two images of one size show one scene in one place, with the same colours, by the details that they share.

A picture's details are its levels without what is coarser than about nine pixels and finer than two, at four scales.
They are compared window by window and each window counts alike, so that a strong edge of a shadow, a hole or a flake
outweighs nothing, and what is left of the scene between such edges still shows. Two scenes agree in as many windows as
they disagree in: their mean lies near 0, by chance alone. Degraded pairs agree at one scale at least: blurs at the
coarse ones, holes at the fine ones.

All sums are of whole numbers that float64 holds exactly, so that no processor judges otherwise than another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.image import Image
from patina.synth.resampling import averaged

Plane = NDArray[np.float64]
"""H×W whole numbers."""

SCALES = 4
SIDE = 256
"""Pixels of the short side at the finest scale: a larger picture is averaged down to about that first."""

WINDOW = 16
DETAIL = 81
"""What a difference of one level is as a detail: the sum of the weights of both boxes."""

LEAST_DETAIL = (WINDOW * DETAIL // 2) ** 2
"""Sum of squares over a window below which there is nothing to compare: details of half a level. And for colours, of
one level: a JPEG's chroma has steps of its own."""
LEAST_COLOUR = 4 * LEAST_DETAIL

ENOUGH_WINDOWS = 60
"""With details on both sides, before a pair is called another scene: a picture of 128×128 px has 64."""

STRUCTURED = 3.5
"""How much more of a picture's details there is two scales up than white noise would have there. Noise alone, as in a
photograph by starlight, has 3 at most, since cameras' noise is not quite white; clean photographs have 7 to 100."""

BLURRED = 3.0
"""The same measure of the degraded picture over that of the clean one, from which the finer scales tell nothing since
they are blurred away: then the coarse levels must disagree too, by a correlation of less than UNLIKE."""
UNLIKE = 0.45

LAYOUT, FAINT = 0.4, 0.04
"""Correlation of the coarse levels, and mean agreement at each of the three finest scales, from which too little to be
sure of a pair is too much for another scene: heavy drops leave so much of a small picture."""

HIDDEN = 16
"""Sum of squares of the degraded picture's details over that of the clean one's, from which what was added, such as
rain, may hide a scene of little contrast: of a true pair's details a correlation of a quarter would be left."""

REVERSED, ENOUGH_COLOUR, COLOURED = 0.3, 24, 0.15
"""Mean agreement of colours, negated, from which red and blue count as exchanged; in how many windows at least; and the
share of red less blue that does not go with brightness: less in a sepia print."""

ELSEWHERE = 0.25
"""Mean agreement that a mirrored or turned copy has at least, and twice that of the picture as it is."""

IN_PLACE = (0.35, 0.5, 0.8)
"""Mean agreement, at the three finest scales, from which no other place is tried: even a symmetric front has less when
it is mirrored."""


@dataclass(frozen=True)
class Scale:
    """A picture at one scale: grey levels, their details, and the details of red less blue."""

    grey: Plane
    detail: Plane
    colour: Plane


@dataclass(frozen=True)
class Likeness:
    """Mean correlation over the windows that have details on both sides, -1..1, and how many these are."""

    mean: float
    count: int

    @property
    def chance(self) -> float:
        """What two scenes hardly reach by chance: over two standard deviations of a mean, and as much again, since
        neighbouring windows go together."""
        return 0.04 + 0.6 / math.sqrt(self.count) if self.count else math.inf

    @property
    def told(self) -> bool:
        """Whether it is more than chance, be it as a negative."""
        return abs(self.mean) >= self.chance


def scales(image: Image) -> list[Scale]:
    """An H×W×3 RGB uint8 image at up to SCALES scales, each half the size of the one before, down to one window."""
    step = max(1, min(image.shape[:2]) // SIDE)
    small = averaged(image, step) if step > 1 else image
    found: list[Scale] = []
    while len(found) < SCALES and min(small.shape[:2]) >= WINDOW:
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.int32)
        colour = np.subtract(small[..., 0], small[..., 2], dtype=np.int32)
        found.append(Scale(grey.astype(np.float64), _detail(grey), _detail(colour)))
        small = averaged(small, 2)
    return found


def _detail(levels: NDArray[np.int32]) -> Plane:
    """DETAIL times the mean of 3×3 pixels less that of 9×9."""
    fine, coarse = (cv2.boxFilter(levels, cv2.CV_32S, (side, side), normalize=False) for side in (3, 9))
    return np.subtract(9 * fine, coarse, dtype=np.float64)


def _windows(products: Plane) -> Plane:
    """Sums over windows; what does not fill one at the right and below is left out."""
    rows, columns = products.shape[0] // WINDOW, products.shape[1] // WINDOW
    whole = products[: rows * WINDOW, : columns * WINDOW]
    return np.asarray(whole.reshape(rows, WINDOW, columns * WINDOW).sum(1).reshape(rows, columns, WINDOW).sum(2))


def _mean(first: Plane, both: Plane, second: Plane, least: int) -> Likeness:
    """The likeness by sums of squares and of products over the windows. Each is rounded to a thousandth: whole numbers
    have one sum."""
    full = (first >= least) & (second >= least)
    count = int(full.sum())
    if not count:
        return Likeness(0.0, 0)
    found = both[full] / (np.sqrt(first[full]) * np.sqrt(second[full]))
    return Likeness(int(np.rint(found * 1000).astype(np.int64).sum()) / (1000 * count), count)


def likeness(first: Plane, second: Plane) -> Likeness:
    """How alike two pictures' details of one shape are."""
    squares = _windows(first * first), _windows(second * second)
    return _mean(squares[0], _windows(first * second), squares[1], LEAST_DETAIL)


# ---------------------------------------------------------------------------------------------------------------------
# Another scene

Turn = Callable[[Plane], Plane]

MIRRORED: Mapping[str, Turn] = {
    "mirrored left to right": lambda plane: plane[:, ::-1],
    "mirrored top to bottom": lambda plane: plane[::-1],
    "turned by 180°": lambda plane: plane[::-1, ::-1],
}
QUARTERS: Mapping[str, Turn] = {
    "turned by 90° clockwise": lambda plane: plane.T[:, ::-1],
    "turned by 90° counter-clockwise": lambda plane: plane.T[::-1],
    "mirrored and turned by 90° clockwise": lambda plane: plane.T[::-1, ::-1],
    "mirrored and turned by 90° counter-clockwise": lambda plane: plane.T,
}
"""What was done to the clean picture, by its name: all that an EXIF orientation can say."""


def likenesses(lq: Sequence[Scale], gt: Sequence[Scale]) -> list[Likeness]:
    """How alike two pictures of one shape are as they lie, at every scale."""
    return [likeness(one.detail, other.detail) for one, other in zip(lq, gt, strict=True)]


def turned(lq: Sequence[Scale], gt: Sequence[Scale], own: Sequence[Likeness]) -> str:
    """What was done to the clean picture so that it became the degraded one, of MIRRORED or, where the shapes allow it,
    QUARTERS; "" where neither fits clearly better than the pictures as they lie, of which `own` tells: empty where
    their shapes differ."""
    if not lq or any(each.mean >= enough for each, enough in zip(own, IN_PLACE, strict=False)):
        return ""
    quarters = lq[0].detail.shape == gt[0].detail.shape[::-1]
    best, name = 0.0, ""
    for what, turn in {**(MIRRORED if own else {}), **(QUARTERS if quarters else {})}.items():
        for i, (one, other) in enumerate(zip(lq[:3], gt, strict=False)):
            found = likeness(one.detail, np.ascontiguousarray(turn(other.detail)))
            least = max(ELSEWHERE, found.chance + 0.15, 2 * own[i].mean if own else 0.0)
            if found.mean >= least and found.mean > best:
                best, name = found.mean, what
    return name


def same_scene(own: Sequence[Likeness]) -> bool:
    """Whether the likenesses of all scales show one scene, beyond chance."""
    return any(each.told for each in own)


def another_scene(lq: Sequence[Scale], gt: Sequence[Scale], own: Sequence[Likeness]) -> bool:
    """Whether the two pictures show different scenes beyond doubt: both have details enough, more than noise, that were
    not blurred away, and at no scale do they agree."""
    if len(own) < 3 or own[0].count < ENOUGH_WINDOWS or same_scene(own):
        return False
    one, other = structure(lq), structure(gt)
    if min(one, other) < STRUCTURED or any(_energy(a) > HIDDEN * _energy(b) for a, b in zip(lq[:3], gt, strict=False)):
        return False
    coarse = _correlation(lq[-1].grey, gt[-1].grey)
    if coarse >= LAYOUT and all(each.mean >= FAINT for each in own[:3]):
        return False
    return one < BLURRED * other or coarse < UNLIKE


def structure(picture: Sequence[Scale]) -> float:
    """How much more details there are two scales up than white noise has there, whose variance falls to a 16th; 0 for a
    picture of fewer scales."""
    if len(picture) < 3:
        return 0.0
    finest, coarse = picture[0], picture[2]
    return 16 * _energy(coarse) * finest.detail.size / (coarse.detail.size * max(_energy(finest), 1.0))


def _energy(picture: Scale) -> float:
    return float((picture.detail * picture.detail).sum())


def _correlation(first: Plane, second: Plane) -> float:
    count = first.size
    a, b = int(first.sum()), int(second.sum())
    both = count * int((first * second).sum()) - a * b
    spread = [count * int((plane * plane).sum()) - total * total for plane, total in ((first, a), (second, b))]
    return both / math.sqrt(max(spread[0], 1)) / math.sqrt(max(spread[1], 1))


# ---------------------------------------------------------------------------------------------------------------------
# Colours


def channels_exchanged(lq: Sequence[Scale], gt: Sequence[Scale], own: Sequence[Likeness]) -> bool:
    """Whether red and blue are exchanged: what of red less blue is no brightness agrees, but as a negative. Brightness
    itself must agree: in a photographic negative both are turned about."""
    pairs = list(zip(lq[1:3], gt[1:3], own[1:3], strict=True))
    if not any(each.mean >= max(each.chance, REVERSED) for _, _, each in pairs):
        return False
    found = [_colours(one, other) for one, other, _ in pairs]
    clear = [each for each in found if each.count >= ENOUGH_COLOUR and each.mean <= -max(REVERSED, each.chance + 0.15)]
    return bool(clear) and all(each.mean <= 0 for each in found)


def _colours(lq: Scale, gt: Scale) -> Likeness:
    """The likeness of red less blue, once the part that goes with brightness is taken out of each: a colour cast makes
    brightness look like colour."""
    x, g, y, h = lq.colour, lq.detail, gt.colour, gt.detail
    xy, gy, xh, gh, xx, xg, gg, yy, yh, hh = (
        _windows(a * b) for a, b in ((x, y), (g, y), (x, h), (g, h), (x, x), (x, g), (g, g), (y, y), (y, h), (h, h))
    )
    a, b = (float(part.sum()) / max(float(whole.sum()), 1.0) for part, whole in ((xg, gg), (yh, hh)))
    both = ((xy - a * gy) - b * xh) + (a * b) * gh
    first, second = (xx - (2 * a) * xg) + (a * a) * gg, (yy - (2 * b) * yh) + (b * b) * hh
    left = [float(whole.sum()) - c * float(part.sum()) for whole, c, part in ((xx, a, xg), (yy, b, yh))]
    if any(rest < COLOURED * float(whole.sum()) for rest, whole in zip(left, (xx, yy), strict=True)):
        return Likeness(0.0, 0)
    return _mean(first, both, second, LEAST_COLOUR)


# ---------------------------------------------------------------------------------------------------------------------
# Sharpness, as far as the scene goes


def gains(lq: Sequence[Scale], gt: Sequence[Scale]) -> tuple[float, float]:
    """How much of the finest details the LQ has, as a multiple of the GT's, over the same of coarse ones: the least and
    the most that it may be. Below 1 the LQ is the blurrier of the two, above 1 the GT is; (1, 1) where nothing tells.

    The least counts what both share against all that the GT has, the most all that the LQ has against what both share:
    noise of the one or the other lies between the two.
    """
    if len(lq) < 3:
        return 1.0, 1.0
    found = []
    for i in (0, 2):
        one, other = lq[i].detail, gt[i].detail
        both, first, second = (float((a * b).sum()) for a, b in ((one, other), (one, one), (other, other)))
        if both <= 0 or not second:
            return 1.0, 1.0
        found.append((both / second, first / both))
    fine, coarse = found
    ratios = sorted((round(fine[0] / coarse[0], 4), round(fine[1] / coarse[1], 4)))
    return ratios[0], ratios[1]
