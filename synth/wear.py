"""What a print collects in drawers and hands: scratches, rubbed places, specks, hairs, flakes, nibbled edges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from patina.synth.elementary import cosine_of, sine_of
from patina.synth.holes import HOLE, Mark, Mask, filled
from patina.synth.rng import Rng

ROUND = [(cosine_of(math.pi * i / 6), sine_of(math.pi * i / 6)) for i in range(12)]
"""Corners of what is jagged, before chance moves them; of small things every other one."""

PIECES = 12
"""Straight parts of a scratch or a hair."""

NUMBERS, AT_ONCE = 20, 32
"""Of chance for each mark, and marks for which it is drawn together."""

Way = tuple[float, float]
"""A direction, right and down, of length 1 or nearly that."""


def worn(height: int, width: int, share: float, rng: Rng) -> Mask:
    """Where the layer is scratched, rubbed or gone: H×W uint8, 0 there and 255 elsewhere; `share` of it, 0..1."""
    return filled(_wear(height, width, rng), height, width, share)


def dirt(height: int, width: int, share: float, rng: Rng) -> Mask:
    """The same of what lies on a print: specks of dust and hairs."""
    return filled(_dirt(height, width, rng), height, width, share)


def _chances(rng: Rng) -> Iterator[list[float]]:
    while True:
        yield from rng.uniforms(AT_ONCE * NUMBERS).reshape(AT_ONCE, NUMBERS).tolist()


def _wear(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """Most marks are small and most scratches short, as it is of what happens by chance; but one of them may cross the
    whole print. Scratches lean to one direction, that in which the print was pushed about."""
    scale, short, turn = math.sqrt(height * width) / 512, min(height, width), rng.uniform(0, math.pi)
    axis, chances = (cosine_of(turn), sine_of(turn)), _chances(rng)
    for chance in chances:
        kind, x, y = chance[0], chance[1] * width, chance[2] * height
        if kind < 0.26:
            rare = chance[3] * chance[3]
            yield _scratch(chance, (x, y), axis, (0.02 + 0.98 * rare * rare * chance[3]) * short, scale)
        elif kind < 0.32:  # rubbed by something rough: short scratches side by side
            (right, down), length = _leaning(chance, axis), (0.02 + 0.06 * chance[6]) * short
            for _ in range(3 + int(7 * chance[7])):
                own = next(chances)
                aside, along = 28 * (own[1] - 0.5) * scale, (own[2] - 0.5) * length
                start = x + along * right - aside * down, y + along * down + aside * right
                near = _unit(right + 0.06 * (own[4] - 0.5), down + 0.06 * (own[5] - 0.5))
                yield _thread(own, start, near, length * (0.3 + 0.7 * own[3]) / PIECES, 0.0, 0.04, max(1, round(scale)))
        elif kind < 0.88:
            yield _speck(chance, x, y, scale)
        elif kind < 0.94:
            yield _flake(chance, x, y, scale)
        else:  # at the print's edge the layer comes off first
            at = ((x, 0.0), (x, height - 1.0), (0.0, y), (width - 1.0, y))[int(4 * chance[6])]
            yield _flake(chance, *at, 0.8 * scale)


def _dirt(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    scale = math.sqrt(height * width) / 512
    for chance in _chances(rng):
        kind, x, y = chance[0], chance[1] * width, chance[2] * height
        yield _speck(chance, x, y, scale) if kind < 0.92 else _hair(chance, x, y, scale)


def _unit(right: float, down: float) -> Way:
    length = math.sqrt(right * right + down * down)
    return (right / length, down / length) if length else (1.0, 0.0)


def _leaning(chance: Sequence[float], axis: Way) -> Way:
    """About two of three times within some degrees of the axis, else anywhere."""
    right, down = 2 * chance[4] - 1, 2 * chance[5] - 1
    if (7 * chance[4]) % 1 < 0.65:
        return _unit(axis[0] + 0.25 * right, axis[1] + 0.25 * down)
    return _unit(right, down)


def _scratch(chance: Sequence[float], start: Way, axis: Way, length: float, scale: float) -> Mark:
    """Nearly straight, bending one way and trembling a little."""
    rare = chance[6] * chance[6]
    thickness, bend = max(1, round((0.4 + 1.2 * rare * rare) * scale)), 0.08 * (chance[7] - 0.5)
    return _thread(chance, start, _leaning(chance, axis), length / PIECES, bend, 0.04, thickness)


def _hair(chance: Sequence[float], x: float, y: float, scale: float) -> Mark:
    way, step = _unit(2 * chance[4] - 1, 2 * chance[5] - 1), (1.5 + 3.5 * chance[6]) * scale
    return _thread(chance, (x, y), way, step, 0.9 * (chance[7] - 0.5), 0.2, max(1, round(0.7 * scale)))


def _thread(
    chance: Sequence[float], start: Way, way: Way, step: float, bend: float, tremble: float, thickness: int
) -> Mark:
    """Pieces that each turn by `bend` and by chance, up to `tremble`: tangents of angles, which are small."""
    (x, y), right, down = start, step * way[0], step * way[1]
    points, shorter = [(round(x), round(y))], 1 / math.sqrt(1 + bend * bend)
    for number in chance[-PIECES:]:
        aside = tremble * (2 * number - 1)
        x, y = x + right - aside * down, y + down + aside * right
        points.append((round(x), round(y)))
        right, down = shorter * (right - bend * down), shorter * (down + bend * right)
    return _mark(points, thickness)


def _speck(chance: Sequence[float], x: float, y: float, scale: float) -> Mark:
    """A pixel or two, rarely more."""
    rare = chance[3] * chance[3]
    return _shape(chance, x, y, (0.3 + 3 * rare * rare * rare) * scale, 1.0, 2)


def _flake(chance: Sequence[float], x: float, y: float, scale: float) -> Mark:
    """A jagged piece, longer than wide."""
    size = chance[3]
    return _shape(chance, x, y, (1.5 + 9 * size * size * size) * scale, 1 + 1.5 * chance[7], 1)


def _shape(chance: Sequence[float], x: float, y: float, radius: float, longer: float, every: int) -> Mark:
    (right, down), points = _unit(2 * chance[4] - 1, 2 * chance[5] - 1), []
    for corner, number in zip(ROUND[::every], chance[-12::every], strict=True):
        out = radius * (0.45 + 0.85 * number)
        along, across = longer * out * corner[0], out * corner[1]
        points.append((round(x + along * right - across * down), round(y + along * down + across * right)))
    return _mark(points, 0)


def _mark(points: Sequence[tuple[int, int]], thickness: int) -> Mark:
    """A line through points, or what lies between them where it has no thickness."""
    corners, (across, along) = np.array(points, np.int32), zip(*points, strict=True)
    reach = thickness + 2

    def draw(mask: Mask, parts: int) -> None:
        if thickness:
            cv2.polylines(mask, [corners[: parts + 1]], False, HOLE, thickness)
        else:
            cv2.fillPoly(mask, [corners], HOLE)

    box = min(across) - reach, min(along) - reach, max(across) + reach + 1, max(along) + reach + 1
    return Mark(len(points) - 1 if thickness else 1, draw, box)
