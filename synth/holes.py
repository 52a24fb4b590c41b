"""Shapes of holes to inpaint: strokes, text, scratches of old film, lost blocks. Each hits the share that is asked for.

A mask is H×W uint8, KEEP = 255 or HOLE = 0 and nothing between. It grows mark by mark (a chain of strokes, a line of
text, a scratch, a run of blocks) until the hole has its size; of the last mark only so much is drawn as is needed. So a
larger hole holds the smaller one, and misses its share by less than a stroke, a letter, a part of a scratch or a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import cosine_of, power_of, sine_of
from patina.synth.rng import Rng

Mask: TypeAlias = NDArray[np.uint8]

KEEP, HOLE = 255, 0

# Strokes at 256 px, after LaMa's thin masks (arXiv 2109.07161): lengths and widths in pixels, turns in radians.
LENGTH, WIDTH, TURN, SEGMENTS = (10.0, 40.0), (4.0, 10.0), 2.5, (4, 12)

GRID = 16
"""Pixels of a side of a macroblock. Pictures of less than eight of them have smaller ones."""

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
"""OpenCV 5 draws all of them with the one outline font that it brings, in different weights and slants."""

LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyzaaeeeiioonrst", "0123456789"


@dataclass(frozen=True)
class Mark:
    """One mark of so many parts; `draw(mask, n)` makes the first n of them a hole."""

    parts: int
    draw: Callable[[Mask, int], None]


@dataclass(frozen=True)
class Shape:
    """A kind of hole: the least and the largest share of a picture that looks like it, and its endless marks."""

    least: float
    most: float
    marks: Callable[[int, int, Rng], Iterator[Mark]]


def hole(shape: str, height: int, width: int, hole_ratio: float, rng: Rng) -> Mask:
    """A height×width mask whose hole covers `hole_ratio` (0..1) of it; `shape` is one of SHAPES."""
    mask, before = np.full((2, height, width), KEEP, np.uint8)
    most_kept = (1 - hole_ratio) * mask.size
    for mark in SHAPES[shape].marks(height, width, rng):
        np.copyto(before, mask)
        mark.draw(mask, mark.parts)
        if cv2.countNonZero(mask) <= most_kept:
            break
    for parts in range(1, mark.parts + 1):
        np.copyto(mask, before)
        mark.draw(mask, parts)
        if cv2.countNonZero(mask) <= most_kept:
            break
    return mask.copy()  # of its own, so that it does not keep `before` alive


def _strokes(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """Chains of thick strokes, some of them outside the picture."""
    scale = math.sqrt(height * width) / 256
    most = SEGMENTS[1]
    while True:
        chance = iter(rng.uniforms(4 + 2 * most).tolist())
        x, y = next(chance) * width, next(chance) * height
        thickness = max(1, round(_between(WIDTH, next(chance)) * scale))
        segments = SEGMENTS[0] + int(next(chance) * (most - SEGMENTS[0] + 1))
        heading, points = 0.0, [(round(x), round(y))]
        for i in range(segments):
            turn = math.pi if i == 0 else TURN
            heading += turn * (2 * next(chance) - 1)
            length = max(1.0, _between(LENGTH, next(chance)) * scale)
            x, y = x + length * cosine_of(heading), y + length * sine_of(heading)
            points.append((round(x), round(y)))
        yield _line(points, thickness)


def _text(height: int, width: int, rng: Rng) -> Iterator[Mark]:
    """Short lines of words of random letters, level, each in a size and a weight of its own."""
    scale = math.sqrt(height * width) / 512
    while True:
        chance = iter(rng.uniforms(40).tolist())
        x, y = (next(chance) * 1.1 - 0.25) * width, next(chance) * 1.1 * height
        font = FONTS[int(next(chance) * len(FONTS))]
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

    def draw(mask: Mask, parts: int) -> None:
        """By way of a plate of its own, because OpenCV smooths the letters' edges: cut at their middle."""
        left, top = max(0, x - edge), max(0, y - high - edge)
        part = mask[top : max(top, y + below + edge), left : max(left, x + wide + edge)]
        if part.size:
            plate = np.zeros(part.shape, np.uint8)
            cv2.putText(plate, line[:parts], (x - left, y - top), font, size, 255, max(1, round(2 * size)))
            part[plate > 127] = HOLE

    return Mark(len(line), draw)


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
            yield _line(points, thickness)
        elif kind < 0.5:  # a hair
            heading, bend = 2 * math.pi * next(chance), 1.2 * (next(chance) - 0.5)
            for _ in range(9):
                points.append((round(x), round(y)))
                step = (2 + 5 * next(chance)) * scale
                x, y, heading = x + step * cosine_of(heading), y + step * sine_of(heading), heading + bend
            yield _line(points, max(1, round(scale)))
        else:  # a grain of dust
            corners = 7
            grain = next(chance)
            size = 1 + 4 * grain * grain * grain
            for i in range(corners):
                out, angle = size * scale * (0.5 + next(chance)), 2 * math.pi * i / corners
                points.append((round(x + out * cosine_of(angle)), round(y + out * sine_of(angle))))
            yield _grain(points)


def _grain(points: list[tuple[int, int]]) -> Mark:
    corners = np.array(points, np.int32)

    def draw(mask: Mask, parts: int) -> None:
        cv2.fillPoly(mask, [corners], HOLE)

    return Mark(1, draw)


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

    return Mark(high * wide, draw)


def _line(points: list[tuple[int, int]], thickness: int) -> Mark:
    """A chain of straight parts, each drawn whole."""
    corners = np.array(points, np.int32)

    def draw(mask: Mask, parts: int) -> None:
        cv2.polylines(mask, [corners[: parts + 1]], False, HOLE, thickness)

    return Mark(len(points) - 1, draw)


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _squared(number: float) -> float:
    return number * number


SHAPES: dict[str, Shape] = {
    "strokes": Shape(0.035, 0.5, _strokes),  # RePaint's thin masks run from 0.035 to 0.499
    "text": Shape(0.02, 0.3, _text),  # with more of it no line can be read
    "scratches": Shape(0.005, 0.12, _scratches),  # a film that was shown too often
    "blocks": Shape(0.035, 0.5, _blocks),
}
