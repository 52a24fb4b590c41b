"""What falls past a camera while its shutter is open, drawn as light adds up: for rain and snow.

Each particle is a trace: a spot that moves along a straight line. Its mass, the sum of its brightness over all pixels,
is spread along the line and then by a blur of its own: a trace that is longer or less in focus is fainter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from patina.synth.resampling import Rows, cuts, enlarged_rows, halvings, smoothed, smoothed_rows

Values: TypeAlias = NDArray[np.float32]

FOCAL = 1.37
"""Focal length of the camera that rain and snow assume, in short sides of the image: 40° across the short side."""

SHARPEST = 0.5
"""Standard deviation in pixels of the blur that any lens and sensor have. Classes of blur are √2 apart from here."""

MIDDLES = 1.189207115002721, 1.681792830507429
"""2^¼ and 2^¾: the middles of two classes."""

Profile: TypeAlias = Callable[[Values, NDArray[np.int32]], Values]
"""Brightness along traces: of places from -½ to ½ of the way, and of the numbers of the traces that they belong to."""


@dataclass(frozen=True)
class Traces:
    """N traces; every field is N float32.

    x, y    the middle of the way, px; the centre of the first pixel is (½, ½). y grows downwards.
    dx, dy  the way, px.
    mass    brightness summed over pixels.
    blur    standard deviation of the blur across it, px, at least SHARPEST.
    """

    x: Values
    y: Values
    dx: Values
    dy: Values
    mass: Values
    blur: Values


def expose(height: int, width: int, traces: Traces, profile: Profile) -> Values:
    """The picture of all traces together, height×width float32, ≥ 0: all rows of `exposed`."""
    return exposed(height, width, traces, profile)(0, height)


def exposed(height: int, width: int, traces: Traces, profile: Profile) -> Rows:
    """What gives any rows of the picture of all traces together, height×width float32, ≥ 0.

    Blurs are rounded to classes √2 apart, and each class is drawn in pixels as coarse as its blur lets it. What is
    sharp is added up in one picture, and what is not is kept as small as it is drawn.
    """
    sharp = np.zeros((height, width), np.float32)
    others: list[Rows] = []
    ratio = (np.maximum(traces.blur, SHARPEST) / SHARPEST).astype(np.float64)
    classes = np.frexp(ratio * ratio)[1] - 1  # 2·log2 of the ratio, rounded down
    for number in np.unique(classes).tolist():  # in the order of their steps
        blur = SHARPEST * 2.0 ** (number // 2) * (MIDDLES[number % 2])
        step = halvings(blur / 1.1)
        lines, columns = -(-height // step), -(-width // step)
        layer = _scattered(lines, columns, step, traces, np.flatnonzero(classes == number), profile)
        if step > 1:
            others.append(enlarged_rows(smoothed(layer, blur / step), step, height, width))
            continue
        soft = smoothed_rows(layer, blur)
        for top, bottom in cuts(height):
            sharp[top:bottom] += soft(top, bottom)

    def rows(top: int, bottom: int) -> Values:
        total = sharp[top:bottom].copy()
        for other in others:
            total += other(top, bottom)
        return total

    return rows


def _scattered(rows: int, columns: int, step: int, traces: Traces, which: NDArray[np.intp], profile: Profile) -> Values:
    """Traces `which` as rows of points a pixel apart at most, each point spread over the four pixels around it.

    Pixels are step×step of the picture's, and hold the mean of what falls into them.
    """
    dx, dy = traces.dx[which] / step, traces.dy[which] / step
    counts = np.ceil(np.maximum(np.abs(dx), np.abs(dy))).astype(np.int32) + 1
    trace = np.repeat(np.arange(len(which), dtype=np.int32), counts)
    first = (np.cumsum(counts) - counts).astype(np.int32)
    share = (1 / counts).astype(np.float32)
    along = (np.arange(len(trace), dtype=np.int32) - first[trace]).astype(np.float32)
    along += 0.5
    along *= share[trace]
    along -= 0.5
    mass = (traces.mass[which] * share / step**2)[trace] * profile(along, which.astype(np.int32)[trace])
    # A frame of a pixel all around catches what falls outside.
    x = np.clip((traces.x[which] / step + 0.5)[trace] + dx[trace] * along, 0, columns + 1)
    y = np.clip((traces.y[which] / step + 0.5)[trace] + dy[trace] * along, 0, rows + 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    stride = columns + 3
    place = (top * stride + left).astype(np.intp)  # with any other kind of integer, `add.at` takes twenty times as long
    x -= left
    y -= top
    below = mass * y
    mass -= below
    below_right = below * x
    right = mass * x
    layer = np.zeros((rows + 3) * stride, np.float32)
    for offset, part in ((0, mass - right), (1, right), (stride, below - below_right), (stride + 1, below_right)):
        np.add.at(layer, place + offset, part)
    return layer.reshape(rows + 3, stride)[1 : rows + 1, 1 : columns + 1]
