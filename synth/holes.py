"""Shapes of holes to inpaint: strokes, text, scratches of old film, lost blocks. Each hits the share that is asked for.

A mask is H×W uint8, KEEP = 255 or HOLE = 0 and nothing between. It grows mark by mark (a chain of strokes, a line of
text, a scratch, a run of blocks) until the hole has its size; of the last mark only so much is drawn as is needed. So a
larger hole holds the smaller one, and misses its share by less than a stroke, a letter, a part of a scratch or a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import cosine, cosine_of, power_of, sine, sine_of
from patina.synth.rng import Rng

Mask: TypeAlias = NDArray[np.uint8]

KEEP, HOLE = 255, 0

# Strokes at 256 px, after LaMa's thin masks (arXiv 2109.07161): lengths and widths in pixels, turns in radians.
LENGTH, WIDTH, TURN, SEGMENTS = (10.0, 40.0), (4.0, 10.0), 2.5, (4, 12)

GRID = 16
"""Pixels of a side of a macroblock. Pictures of less than eight of them have smaller ones."""

AT_ONCE = 16
"""Chains of strokes whose courses are computed together."""

CORNERS = [(cosine_of(2 * math.pi * i / 7), sine_of(2 * math.pi * i / 7)) for i in range(7)]
"""Of a grain of dust."""

LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyzaaeeeiioonrst", "0123456789"


def fonts() -> tuple[int, ...]:
    """Of letters: OpenCV 5 draws them all with the one outline font that it brings, in different weights and slants."""
    return (
        cv2.FONT_HERSHEY_SIMPLEX,
        cv2.FONT_HERSHEY_DUPLEX,
        cv2.FONT_HERSHEY_COMPLEX,
        cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
        cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    )


@dataclass(frozen=True)
class Mark:
    """One mark of so many parts; `draw(mask, n)` makes the first n of them a hole.

    box  left, top, right and below, the last two not included: where it draws at most. It may reach beyond the picture.
    """

    parts: int
    draw: Callable[[Mask, int], None]
    box: tuple[int, int, int, int]

    def of(self, mask: Mask) -> Mask:
        """What of the mask it can change: a view."""
        left, top, right, below = (max(0, edge) for edge in self.box)
        return mask[top:below, left:right]


@dataclass(frozen=True)
class Shape:
    """A kind of hole: the least and the largest share of a picture that looks like it, and its endless marks."""

    least: float
    most: float
    marks: Callable[[int, int, Rng], Iterator[Mark]]


def hole(shape: str, height: int, width: int, hole_ratio: float, rng: Rng) -> Mask:
    """A height×width mask whose hole covers `hole_ratio` (0..1) of it; `shape` is one of SHAPES."""
    return filled(SHAPES[shape].marks(height, width, rng), height, width, hole_ratio)


def filled(marks: Iterator[Mark], height: int, width: int, hole_ratio: float) -> Mask:
    """A mask in which marks, drawn in turn from an endless supply, take `hole_ratio` of the pixels, the last one only
    as many of its parts as that needs."""
    mask = np.full((height, width), KEEP, np.uint8)
    kept, most_kept = mask.size, (1 - hole_ratio) * mask.size
    for mark in marks:
        part = mark.of(mask)
        before = part.copy()
        others = kept - _kept(part)  # outside of the mark's box
        mark.draw(mask, mark.parts)
        kept = others + _kept(part)
        if kept <= most_kept:
            break
    for parts in range(1, mark.parts + 1):
        np.copyto(part, before)
        mark.draw(mask, parts)
        if others + _kept(part) <= most_kept:
            break
    return mask


def _kept(part: Mask) -> int:
    return cv2.countNonZero(part) if part.size else 0


def _strokes(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """Chains of thick strokes, some of them outside the picture."""
    scale = math.sqrt(height * width) / 256
    most = SEGMENTS[1]
    while True:
        # Of each chain: where it begins, how thick and long it is; then the turn and the length of each of its parts.
        chance = rng.uniforms(AT_ONCE * (4 + 2 * most)).reshape(AT_ONCE, -1)
        thickness = np.maximum(1, np.rint(_between(WIDTH, chance[:, 2]) * scale)).astype(int).tolist()
        segments = (SEGMENTS[0] + (chance[:, 3] * (most - SEGMENTS[0] + 1)).astype(int)).tolist()
        turns = np.full(most, TURN)
        turns[0] = math.pi
        heading = np.cumsum(turns * (2 * chance[:, 4::2] - 1), axis=1)
        length = np.maximum(1.0, _between(LENGTH, chance[:, 5::2]) * scale)
        x = np.cumsum(np.column_stack([chance[:, 0] * width, length * cosine(heading)]), axis=1)
        y = np.cumsum(np.column_stack([chance[:, 1] * height, length * sine(heading)]), axis=1)
        points = np.rint(np.stack([x, y], axis=-1)).astype(np.int32)
        for chain, count, thick in zip(points, segments, thickness, strict=True):
            yield _line(chain[: count + 1], thick)


def _text(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """Short lines of words of random letters, level, each in a size and a weight of its own."""
    scale = math.sqrt(height * width) / 512
    while True:
        chance = iter(rng.uniforms(40).tolist())
        x, y = (next(chance) * 1.1 - 0.25) * width, next(chance) * 1.1 * height
        font = fonts()[int(next(chance) * len(fonts()))]
        size = max(0.3, 0.5 * power_of(5, next(chance)) * scale)  # times 22 px of a capital letter
        words = []
        for _ in range(1 + int(next(chance) * 4)):
            kind, count = int(next(chance) * 6), 2 + int(next(chance) * 5)
            letters = DIGITS if kind == 5 else LETTERS
            word = "".join(letters[int(next(chance) * len(letters))] for _ in range(count))
            words.append(word.title() if kind == 3 else word.upper() if kind == 4 else word)
        yield _line_of_text(" ".join(words), round(x), round(y), font, size)


def _line_of_text(line: str, x: int, y: int, font: int, size: float) -> Mark:
    (wide, high), below = cv2.getTextSize(line, font, size, max(1, round(2 * size)))
    edge = 4 + high // 2  # what goes deeper than the baseline, and slanted letters, go beyond the box
    left, top = max(0, x - edge), max(0, y - high - edge)
    box = left, top, max(left, x + wide + edge), max(top, y + below + edge)

    def draw(mask: Mask, parts: int) -> None:
        """By way of a plate of its own, because OpenCV smooths the letters' edges: cut at their middle."""
        part = mask[top : box[3], left : box[2]]
        if part.size:
            plate = np.zeros(part.shape, np.uint8)
            cv2.putText(plate, line[:parts], (x - left, y - top), font, size, 255, max(1, round(2 * size)))
            part[plate > 127] = HOLE

    return Mark(len(line), draw, box)


def _scratches(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """What old film shows: long scratches along its way through the projector, which is upright, dust and hairs."""
    scale = math.sqrt(height * width) / 512
    while True:
        chance = iter(rng.uniforms(30).tolist())
        x, y, kind = next(chance) * width, next(chance) * height, next(chance)
        thickness = max(1, round((0.6 + 2 * _squared(next(chance))) * scale))
        points = []
        if kind < 0.35:  # a scratch
            whole, lean = next(chance) < 0.5, 0.03 * (next(chance) - 0.5)
            top, length = (-0.02 * height, 1.04 * height) if whole else (y, (0.1 + 0.6 * next(chance)) * height)
            for i in range(16):
                points.append((round(x), round(top + length * i / 15)))
                x += lean * length / 15 + 2.4 * (next(chance) - 0.5) * scale
            yield _line(np.array(points, np.int32), thickness)
        elif kind < 0.5:  # a hair
            heading, bend = 2 * math.pi * next(chance), 1.2 * (next(chance) - 0.5)
            for _ in range(9):
                points.append((round(x), round(y)))
                step = (2 + 5 * next(chance)) * scale
                x, y, heading = x + step * cosine_of(heading), y + step * sine_of(heading), heading + bend
            yield _line(np.array(points, np.int32), max(1, round(scale)))
        else:  # a grain of dust
            grain = next(chance)
            size = 1 + 4 * grain * grain * grain
            for right, down in CORNERS:
                out = size * scale * (0.5 + next(chance))
                points.append((round(x + out * right), round(y + out * down)))
            yield _grain(points)


def _grain(points: list[tuple[int, int]]) -> Mark:
    corners = np.array(points, np.int32)

    def draw(mask: Mask, parts: int) -> None:
        cv2.fillPoly(mask, [corners], HOLE)

    return Mark(1, draw, _around(corners, 2))


def _blocks(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """Macroblocks that never arrived, singly, in runs along a row of them, and in rectangles."""
    side = GRID if min(height, width) >= 8 * GRID else max(1, min(height, width) // 8)
    rows, columns = -(-height // side), -(-width // side)
    while True:
        chance = rng.uniforms(5).tolist()
        high, wide = 1 + int(chance[0] * 4), 1 + int(chance[1] * 6)
        if chance[2] < 0.4:
            high, wide = 1, 1 + int(chance[1] * columns)
        row, column = int(chance[3] * (rows - high + 1)), int(chance[4] * (columns - wide + 1))
        yield _lost(side, max(0, row), max(0, column), high, wide)


def _lost(side: int, row: int, column: int, high: int, wide: int) -> Mark:
    def draw(mask: Mask, parts: int) -> None:
        full, rest = divmod(parts, wide)
        top, left = row * side, column * side
        below = top + full * side
        mask[top:below, left : left + wide * side] = HOLE
        mask[below : below + side, left : left + rest * side] = HOLE

    left, top = column * side, row * side
    return Mark(high * wide, draw, (left, top, left + wide * side, top + high * side))


def _line(corners: NDArray[np.int32], thickness: int) -> Mark:
    """A chain of straight parts, each drawn whole."""

    def draw(mask: Mask, parts: int) -> None:
        cv2.polylines(mask, [corners[: parts + 1]], False, HOLE, thickness)

    return Mark(len(corners) - 1, draw, _around(corners, thickness + 2))


def _around(corners: NDArray[np.int32], reach: int) -> tuple[int, int, int, int]:
    """A box around points, N×2, and what lies so many pixels from them."""
    (left, top), (right, below) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left - reach, top - reach, right + reach + 1, below + reach + 1


def _between(bounds: tuple[float, float], shares: NDArray[np.float64]) -> Any:
    return bounds[0] + (bounds[1] - bounds[0]) * shares


def _squared(number: float) -> float:
    return number * number


SHAPES: dict[str, Shape] = {
    "strokes": Shape(0.035, 0.5, _strokes),  # RePaint's thin masks run from 0.035 to 0.499
    "text": Shape(0.02, 0.3, _text),  # with more of it no line can be read
    "scratches": Shape(0.005, 0.12, _scratches),  # a film that was shown too often
    "blocks": Shape(0.035, 0.5, _blocks),
}
