"""`motion-blurry`: the camera shook while the shutter was open."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from ctypes import CDLL
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.convolution import BLOCK, Taps
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
from patina.synth.elementary import cosine, cosine_of, exp, interpolated, power_of, sine, sine_of
from patina.synth.image import FloatImage, Image, as_floats, encoded_of, to_linear
from patina.synth.resampling import BITS, Places, Rows, means, shortened, stretched_rows, strided_rows
from patina.synth.rng import Rng, normal_table
from patina.synth.strips import InStrips, Strip, Strips, heed

LIGHTS = ("linear", "encoded")

STEPS = 500
"""Steps of a simulated movement. Boracchi and Foi take 2000; the constants below are theirs, for four at a time."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
LEVELS = np.arange(256, dtype=np.uint8)[None]
WHOLE = 65535
APART = 1.0
"""Pixels by which a point's way changes at most from one tile to the next, at 512 px."""

PIXELS = {True: 100_000, False: 1 << 19}
"""Of a strip, at least, whether loops are compiled or not: its light is made from more rows than are blurred."""

PIECE = 128, 256
"""Rows and columns of a tile that are convolved together: they stay within a second-level cache."""

KNEE, BRIGHT = 0.85, 0.3
"""From what luminance light may really have been brighter than white, and what mean of it all around says no."""


BAND = 1 << 18
"""Pixels of rows whose bright ones are found together, once, while strips of more rows than are blurred overlap."""

MOST = 1 << 21
"""Values of a frame for which a thread keeps its memory."""

_scratch = threading.local()  # shards are built by threads


@dataclass(frozen=True)
class MotionBlurry(FromDepth, InStrips):
    """lq = k * gt in linear light, highlights included, with a kernel k that a random shake of the camera draws.

    The shake is Boracchi and Foi's (IEEE TIP 21(8), 2012): a particle of constant speed whose heading is disturbed by
    tremor (Gaussian), by sudden jerks that nearly reverse it, and by a pull back to where it started. The shutter
    closes after a share of the movement. A roll around the frame's centre and a move forwards make the kernel vary over
    the frame, and so does depth: what is near moves more.

    With `light = "encoded"` it is GoPro's way, the mean of levels, of all or of some `frames`. Its exposures take some
    40 ms, less than half a swing of a hand's tremor (about 10 Hz): with them goes `shake = { min = 0, max = 0.15 }`.

    length      px that a point travels over the whole movement, for an image of 512 px short side; 0..300.
    exposure    the share of the movement that the open shutter sees, 0..1.
    shake       0..4: 0 is a straight line, 1 their usual hand, 4 a shiver; the stronger, the closer together the path.
    rotation    degrees between the extremes of the roll while the shutter is open, 0..2. 0: one kernel for all.
    zoom        per cent by which the frame grows while the shutter is open, as the camera moves forwards, 0..10.
    parallax    by what share the farthest things move less than the nearest, 0..1; 0 asks for no depth.
    frames      of which the picture is the mean, 2..64, whole, or 0 for all that the open shutter sees.
    light       "linear", where light adds, or "encoded": the mean of levels, as GoPro's `blur` has it; then the mean
                level stays, and `highlights` has no effect.
    depth       for parallax: a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior.
    highlights  stops by which what the photograph shows as white was brighter, 0..6, so that lamps and glints leave
                streaks. What is white amid bright things, such as a cloud, is left as it is.

    Truth: `kernel`, the centre's, k×k uint16 with k odd, Σ = 65535 exactly, centroid at its middle within half a pixel,
    drawn as a point of light would draw it. Without roll it is the very kernel that was applied.
    Defaults give GoPro's input on photographs: 25.6 dB. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "motion-blurry"
    version: ClassVar[int] = 5
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("kernel",)
    knob: ClassVar[Knob | None] = Knob("length", 1, 300)

    length: Values = field(default_factory=lambda: {"min": 10, "max": 52})
    exposure: Values = field(default_factory=lambda: {"min": 0.25, "max": 1})
    shake: Values = field(default_factory=lambda: {"min": 0.1, "max": 1})
    rotation: Values = field(default_factory=lambda: {"min": 0, "max": 0.7})
    zoom: Values = field(default_factory=lambda: {"min": 0, "max": 1.2})
    parallax: Values = 0
    frames: Values = 0
    light: str = "linear"
    depth: str = field(default="", metadata={"folder": True})
    highlights: Values = field(default_factory=lambda: {"min": 0, "max": 4})

    def __post_init__(self) -> None:
        check_values("length", self.length, 0, 300)
        check_values("exposure", self.exposure, 0, 1)
        check_values("shake", self.shake, 0, 4)
        check_values("rotation", self.rotation, 0, 2)
        check_values("zoom", self.zoom, 0, 10)
        check_values("parallax", self.parallax, 0, 1)
        check_values("frames", self.frames, 0, 64, whole=True)
        if self.light not in LIGHTS:
            raise SettingError(f"light: expected one of {', '.join(LIGHTS)}, found {self.light!r}")
        _ = self.depths
        check_values("highlights", self.highlights, 0, 6)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`length`, `exposure`, `shake`, `rotation`, `zoom`, `parallax`, `frames`, `light` and `highlights` as above,
        the movement's `seed`, and of parallax where depth comes from: see `Depths.draw`."""
        parallax = draw_value(rng, self.parallax)
        return {
            "length": draw_value(rng, self.length),
            "exposure": draw_value(rng, self.exposure),
            "shake": draw_value(rng, self.shake),
            "rotation": draw_value(rng, self.rotation),
            "zoom": draw_value(rng, self.zoom),
            "parallax": parallax,
            "frames": int(draw_value(rng, self.frames, whole=True)),
            "light": self.light,
            "highlights": draw_value(rng, self.highlights) if self.light == "linear" else 0.0,
            "seed": rng.seed(),
            **(self.depths.draw(rng, place) if parallax else {}),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of the blurred picture, in the domain of `light`; truth `kernel`.

        Raises SettingError if `params` name a depth map that the folder no longer holds.
        """
        height, width = image.shape[:2]
        movement = _Movement.of(params, min(height, width) / 512)
        truth = movement.kernel(0, 0)
        light = _Light(image, params["light"] == "linear", params["highlights"])
        blur = _Tiles(height, width, movement)
        far = _Tiles(height, width, movement.less(1 - params["parallax"])) if params["parallax"] else None
        near = _nearness(self.depths.rows_of(image, params), height, width) if far else None
        reach = max(blur.reach, far.reach if far else 0)

        def rows(top: int, bottom: int) -> Strip:
            framed = light.framed(top, bottom, reach)
            blurred = blur.rows(framed, reach, top, bottom)
            if far and near:
                rest, part = far.rows(framed, reach, top, bottom), near(top, bottom)
                blurred -= rest
                blurred *= np.asarray(cv2.merge([part, part, part]))
                blurred += rest
            return Strip(blurred if light.is_linear else np.clip(blurred, 0, 1, out=blurred))

        return Strips(
            rows, light.is_linear, {"kernel": truth}, count=max(2 * reach, PIXELS[functions() is not None] // width, 16)
        )


class _Tiles:
    """The picture in tiles, each convolved with the kernel of its own middle.

    lines, columns  where a tile begins, and where the last one ends, px.
    reach           of the largest kernel, px to either side.
    """

    def __init__(self, height: int, width: int, movement: _Movement) -> None:
        apart = APART * math.sqrt(max(min(height, width) / 512, 1))
        self.lines, self.columns = (
            [side * i // count for i in range(count + 1)]
            for side in (height, width)
            for count in [max(1, math.ceil(side * movement.turn / apart - 0.05))]
        )
        middles = np.array([(left + right - width) / 2 for left, right in pairwise(self.columns)])
        self._taps = [movement.taps(middles, (top + bottom - height) / 2) for top, bottom in pairwise(self.lines)]
        self.reach = max(taps.side for line in self._taps for taps in line) // 2

    def rows(self, framed: FloatImage, border: int, top: int, bottom: int) -> FloatImage:
        """Rows top to bottom; `framed` is what they are blurred from, with `border` px more all around."""
        out = np.empty((bottom - top, self.columns[-1], 3), np.float32)
        for line, (upper, lower) in zip(self._taps, pairwise(self.lines), strict=True):
            for taps, (left, right) in zip(line, pairwise(self.columns), strict=True):
                more = border - taps.side // 2
                heed()
                for y, low in _pieces(max(upper, top), min(lower, bottom), PIECE[0]):
                    for x, end in _pieces(left, right, PIECE[1]):
                        part = framed[
                            y - top + more : low - top + 2 * border - more, x + more : end + 2 * border - more
                        ]
                        taps.convolve(part, 1 / WHOLE, out[y - top : low - top, x:end])
        return out


def _pieces(first: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """What lies between, in nearly equal pieces of so many at most."""
    count = max(0, -(-(end - first) // most))
    return ((first + (end - first) * i // count, first + (end - first) * (i + 1) // count) for i in range(count))


class _Light:
    """What is blurred: any rows of a picture as light, or as levels, `shortened`; white may be brighter than white.

    A file ends at white and a lamp does not. How far it went on is lost, so this is a guess: what is nearly white amid
    darker things gets up to 2^stops times as bright.
    """

    def __init__(self, image: FloatImage | Image, is_linear: bool, stops: float) -> None:
        self.is_linear = is_linear
        self._image, self._stops = image, stops
        self._around: Rows | None = None
        self._bands: dict[int, tuple[Places, Places, FloatImage]] = {}
        least = np.array((KNEE - 1) / LUMINANCE[1] + 1, np.float64)
        self._least = float(encoded_of(least) if is_linear else least) - 0.01
        """Where green, 0..1, is less, luminance is below KNEE."""

    def framed(self, top: int, bottom: int, reach: int) -> FloatImage:
        """Rows top to bottom, H×W×3 float32, with `reach` px more on each side; mirrored where the picture ends. They
        are this thread's until it asks for others."""
        height, width = self._image.shape[:2]
        first, end = max(0, top - reach), min(height, bottom + reach)
        above, below = first - (top - reach), bottom + reach - end
        if reach > min(width, height):  # mirrored more than once
            light = np.empty((end - first, width, 3), np.float32)
            self._light_rows(first, end, light)
            frame = above, below, reach, reach
            return np.asarray(cv2.copyMakeBorder(light, *frame, cv2.BORDER_REFLECT), np.float32)
        framed = _kept((bottom - top + 2 * reach, width + 2 * reach, 3))
        rows = framed[above : len(framed) - below]
        light = rows[:, reach : reach + width]
        self._light_rows(first, end, light)
        rows[:, :reach] = light[:, :reach][:, ::-1]
        rows[:, reach + width :] = light[:, width - reach :][:, ::-1]
        framed[:above] = rows[:above][::-1]
        framed[len(framed) - below :] = rows[len(rows) - below :][::-1]
        return framed

    def _light_rows(self, top: int, bottom: int, light: FloatImage) -> None:
        """Write rows into `light`, whose rows need not follow one another."""
        part = self._image[top:bottom]
        if part.dtype == np.uint8:
            cv2.LUT(part, shortened(self._of(LEVELS)), light)
        else:
            light[:] = shortened(self._of(part))
        if not self._stops:
            return
        count = max(16, BAND // light.shape[1])
        starts = range(top // count * count, bottom, count)
        self._bands = {start: self._bands.get(start) or self._brightened(start, start + count) for start in starts}
        for lines, columns, pixels in self._bands.values():
            a, b = np.searchsorted(lines, [top, bottom])
            light[lines[a:b] - top, columns[a:b]] = pixels[a:b]

    def _of(self, part: FloatImage | Image) -> FloatImage:
        return to_linear(part) if self.is_linear else np.array(as_floats(part))

    def _brightened(self, top: int, bottom: int) -> tuple[Places, Places, FloatImage]:
        """Rows and columns of the pixels that are made brighter, row by row, and their light."""
        part = self._image[top:bottom]
        bright, white = self._bright(part)
        if not bright.size:
            return bright, bright, np.empty((0, 3), np.float32)
        if self._around is None:
            self._around = _around(self._image, self.is_linear)
        white -= np.float32(KNEE)
        white *= np.float32(1 / (1 - KNEE))
        np.minimum(white, 1, out=white)
        width = part.shape[1]
        first, last = int(bright[0]) // width, int(bright[-1]) // width
        dark = self._around(top + first, top + last + 1).take(bright - first * width)
        dark *= np.float32(-1 / BRIGHT)
        dark += np.float32(1)
        gain = white * white
        gain *= np.clip(dark, 0, 1, out=dark)
        gain *= np.float32(power_of(2, self._stops) - 1)
        gain += np.float32(1)
        few = np.flatnonzero(gain > 1)
        lines, columns = np.divmod(bright[few], width)
        pixels = self._of(part[lines, columns]) * gain[few, None]
        lines += top
        return lines, columns, shortened(pixels)

    def _bright(self, part: FloatImage | Image) -> tuple[Places, FloatImage]:
        """The pixels, counted row by row, whose luminance is above KNEE, and it."""
        # What is not bright in green is not bright.
        least = self._least if part.dtype == np.float32 else math.floor(255 * self._least)
        if part.dtype == np.uint8 and (compiled := functions()):
            levels = np.ascontiguousarray(part)
            count = levels.size // 3
            places, luminance = np.empty(count, np.intp), np.empty(count, np.float32)
            tables, found = _luminance_tables(self.is_linear), np.empty(1, np.int64)
            where = pointer(places), pointer(luminance), pointer(found)
            compiled.patina_bright(pointer(levels), count, *map(pointer, tables), least, KNEE, *where)
            return places[: found[0]], luminance[: found[0]]
        green = np.asarray(cv2.extractChannel(part, 1))
        bright = np.flatnonzero(green >= least)  # few, mostly
        if not bright.size:
            return bright, np.empty(0, np.float32)
        luminance = _luminance(part.reshape(-1, 3)[bright][None], self.is_linear)[0]
        return bright[some := luminance > np.float32(KNEE)], luminance[some]


def _kept(shape: tuple[int, ...]) -> FloatImage:
    """This thread's memory for so many values: fresh memory for each strip costs more than what is put there."""
    count = math.prod(shape)
    if count > MOST:
        return np.empty(shape, np.float32)
    if getattr(_scratch, "values", np.empty(0)).size < count:
        _scratch.values = np.empty(count, np.float32)
    values: FloatImage = _scratch.values[:count].reshape(shape)
    return values


def _luminance(part: FloatImage | Image, is_linear: bool) -> NDArray[np.float32]:
    """Of rows of a picture, H×W; of levels by a table for each channel."""
    planes: list[Any] = list(cv2.split(part))
    total: Any = None
    tables = _luminance_tables(is_linear)
    for plane, share, table in zip(planes, LUMINANCE, tables, strict=True):
        if part.dtype == np.uint8:
            term: Any = cv2.LUT(plane, table)
        else:
            term = (to_linear(plane) if is_linear else plane) * share
        total = term if total is None else np.add(total, term, out=total)
    return np.asarray(total, np.float32)


@cache
def _luminance_tables(is_linear: bool) -> list[NDArray[np.float32]]:
    """The shares of red, green and blue in luminance, of each level, 1×256. Read-only."""
    tables = [(to_linear(LEVELS) if is_linear else as_floats(LEVELS)) * share for share in LUMINANCE]
    for table in tables:
        table.setflags(write=False)
    return tables


def _around(image: FloatImage | Image, is_linear: bool) -> Rows:
    """Means of luminance over a square of an eighth of the short side, any rows; of every so many pixels in either
    direction that some sixteen fall on a side."""
    height, width = image.shape[:2]
    side = min(height, width) // 16 * 2 + 1
    step = max(1, side // 16)
    rows, columns = (np.arange(step // 2, length + step // 2, step).clip(0, length - 1) for length in (height, width))
    few = image[rows].take(columns, axis=1)
    coarse = means(_luminance(few, is_linear), max(1, side // step // 2 * 2 + 1))
    stretch = stretched_rows(coarse, len(rows) * step, len(columns) * step)
    return lambda top, bottom: stretch(top, bottom)[:, :width]


def _nearness(depth: Rows, height: int, width: int) -> Rows:
    """How much of the nearest things' movement each pixel has, any rows, 0..1: one over its metres, over that of the
    nearest twentieth. Smooth, since blurred edges of depth would need what is behind them."""
    step = max(1, min(height, width) // 64)
    coarse = np.float32(1) / strided_rows(depth, height, step)[:, step // 2 :: step]
    nearest = float(np.sort(coarse, axis=None)[int(0.95 * (coarse.size - 1))])
    return stretched_rows(means(np.minimum(coarse * np.float32(1 / nearest), 1), 3), height, width)


@dataclass(frozen=True)
class _Movement:
    """Where the image went while the shutter was open, at equal steps along the way.

    right, down  px. roll: radians. growth: of the frame, over its size. weight: the time spent there, Σ = 1.
    Shift, roll and growth are centred on their mean in time, so that the blurred image stays where the clean one is.
    """

    right: NDArray[np.float64]
    down: NDArray[np.float64]
    roll: NDArray[np.float64]
    growth: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, params: Params, scale: float) -> _Movement:
        """From the drawn parameters; `scale` is the image's short side over 512 px."""
        rng, exposure = Rng(params["seed"]), params["exposure"]
        (right, down), (roll, growth) = (_shaken(rng, params["shake"]) for _ in range(2))
        length = params["length"] * scale
        # A quarter of a pixel at most, or what so many frames see.
        time = np.linspace(0, exposure * STEPS, params["frames"] or 64 + math.ceil(4 * length * exposure))
        steps = np.arange(STEPS + 1)
        right, down, roll, growth = (interpolated(time, steps, path) for path in (right, down, roll, growth))
        # Hands linger and hurry, unlike their particle: kernels of real shake have bright spots.
        pace = normal_table()[rng.levels(9)] * 0.7 * min(params["shake"], 1)
        weight = exp(interpolated(time, np.linspace(0, STEPS, 9), pace))
        weight = np.ones_like(weight) if params["frames"] else weight
        weight /= weight.sum()
        most = math.radians(params["rotation"]), params["zoom"] / 100
        roll, growth = (_ranging(path, end) for path, end in zip((roll, growth), most, strict=True))
        right *= length
        down *= length
        right, down, roll, growth = (path - (weight * path).sum() for path in (right, down, roll, growth))
        return cls(right, down, roll, growth, weight)

    def less(self, share: float) -> _Movement:
        """The movement of what is so far that it makes a share of it alone; a roll has no parallax."""
        return replace(self, right=self.right * share, down=self.down * share, growth=self.growth * share)

    @property
    def turn(self) -> float:
        """How much farther apart two points' ways are at most, over their distance: by the roll or the growth."""
        return float(max(np.ptp(self.roll), np.ptp(self.growth)))

    def kernel(self, x: float, y: float) -> NDArray[np.uint16]:
        """The kernel (x, y) px away from the frame's centre, k×k, in steps of 1/65535 that sum to 1 exactly."""
        side, places, steps = self._kernels(np.array([x]), y)
        whole = np.zeros(side * side, np.uint16)
        whole[places[0]] = steps[0]
        return whole.reshape(side, side)

    def taps(self, xs: NDArray[np.float64], y: float) -> list[Taps]:
        """The kernels at several places of a row of the frame."""
        if compiled := functions():
            return self._ordered_taps(compiled, xs, y)
        side, places, steps = self._kernels(xs, y)
        return [Taps(side, *np.divmod(p, side), w) for p, w in zip(places, steps, strict=True)]

    def _ordered_taps(self, compiled: CDLL, xs: NDArray[np.float64], y: float) -> list[Taps]:
        """The same, by compiled loops."""
        paths = [pointer(path) for path in (self.right, self.down, self.roll, self.growth)]
        steps, count = len(self.right), len(xs)
        farthest, row = np.empty(1), (pointer(xs), count, y)
        compiled.patina_farthest(*paths, steps, *row, pointer(farthest))
        radius, room = math.ceil(float(farthest[0]) - 1e-9), 8 * steps
        sums, shares = np.zeros((2 * radius + 2) ** 2), np.empty(room // 2)
        memory, counts = np.empty(2 * room, np.int32), np.empty((count, 2), np.int32)
        places, weights = np.empty((count, 2 * room), np.int32), np.empty((count, room), np.float32)
        ends = np.empty((count, room), np.int32)
        found = (pointer(part) for part in (sums, shares, memory, places, weights, ends, counts))
        compiled.patina_kernels(*paths, pointer(self.weight), steps, *row, radius, WHOLE, BITS, BLOCK, room, *found)
        return [
            Taps.ordered(2 * radius + 1, where, weight, last[:blocks])
            for where, weight, last, (_, blocks) in zip(places, weights, ends, counts.tolist(), strict=True)
        ]

    def _kernels(
        self, xs: NDArray[np.float64], y: float
    ) -> tuple[int, list[NDArray[np.intp]], list[NDArray[np.uint16]]]:
        """The side of the kernels (xs, y) px away from the centre, and of each the places that are not 0, counted row
        by row, with their steps of 1/65535. Every position is spread over four pixels."""
        right = self.right - self.roll * y + self.growth * xs[:, None]
        down = self.down + self.growth * y + self.roll * xs[:, None]
        radius = math.ceil(max(float(np.abs(right).max()), float(np.abs(down).max())) - 1e-9)
        side, wide = 2 * radius + 1, 2 * radius + 2
        np.clip(right + radius, 0, 2 * radius, out=right)
        np.clip(down + radius, 0, 2 * radius, out=down)
        left, top = np.floor(right), np.floor(down)
        right -= left
        down -= top
        at = (top * wide + left).astype(np.intp)
        at += np.arange(len(xs))[:, None] * (wide * wide)
        lower = down * self.weight
        upper = self.weight - lower
        shares = [upper * (1 - right), upper * right, lower * (1 - right), lower * right]
        spots = np.concatenate([(at + more).ravel() for more in (0, 1, wide, wide + 1)])
        weights = np.concatenate([share.ravel() for share in shares])
        sums = np.asarray(np.bincount(spots, weights, len(xs) * wide * wide), np.float64)
        found = np.flatnonzero(sums)
        ends = np.searchsorted(found, np.arange(1, len(xs)) * (wide * wide))
        places, steps = [], []
        line, column = np.divmod(found % (wide * wide), wide)
        place, shares_found = line * side + column, sums[found]
        for first, end in pairwise([0, *ends.tolist(), len(found)]):
            places.append(place[first:end])
            steps.append(_steps(shares_found[first:end]))
        return side, places, steps


def _ranging(path: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """`path`, moved and scaled to run from 0 to `most`."""
    path = path - path.min()
    return np.asarray(path * (most / max(float(path.max()), 1e-9)))


def _shaken(rng: Rng, shake: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A path of length 1 from (0, 0), STEPS + 1 positions in x and in y: Boracchi and Foi's random motion."""
    pull, jerks, tremor = rng.uniform(0, 0.7), rng.uniform(0, 0.2), rng.uniform(0, 10)
    first = rng.uniform(0, 2 * math.pi)
    first_x, first_y = cosine_of(first), sine_of(first)
    anxiety, coarser = 0.005 * shake, 2000 / STEPS
    shocks = normal_table()[rng.levels(2 * STEPS)] * (anxiety * tremor * math.sqrt(coarser))
    jerk, turned = rng.uniforms(STEPS) < anxiety * jerks * coarser, rng.uniforms(STEPS) - 0.5
    back = anxiety * pull * coarser * 60
    if compiled := functions():
        jerks_now, cosines, sines = jerk.view(np.uint8), np.zeros(STEPS), np.zeros(STEPS)
        cosines[jerk], sines[jerk] = cosine(turned[jerk]), sine(turned[jerk])
        heading, found = np.array([first_x, first_y]), np.empty((STEPS + 1, 2))
        turns = (pointer(part) for part in (jerks_now, cosines, sines))
        compiled.patina_shaken(pointer(heading), pointer(shocks), back, *turns, STEPS, pointer(found))
        return found[:, 0].copy(), found[:, 1].copy()
    x, y, to_x, to_y = 0.0, 0.0, first_x, first_y
    path = [(x, y)]
    for jerks_now, turn, right, down in zip(
        jerk.tolist(), turned.tolist(), shocks[0::2].tolist(), shocks[1::2].tolist(), strict=True
    ):
        to_x += right - back * x
        to_y += down - back * y
        if jerks_now:
            c, s = cosine_of(turn), sine_of(turn)
            to_x -= 2 * (first_x * c - first_y * s)
            to_y -= 2 * (first_x * s + first_y * c)
        speed = math.sqrt(to_x * to_x + to_y * to_y)
        to_x /= speed
        to_y /= speed
        x += to_x / STEPS
        y += to_y / STEPS
        path.append((x, y))
    found = np.array(path)
    return found[:, 0], found[:, 1]


def _steps(shares: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Shares of a kernel in steps of 1/65535 that sum to 1 exactly: those that are cut off most are rounded up."""
    exact = shares * (WHOLE / shares.sum())
    steps = np.floor(exact)
    short = WHOLE - int(steps.sum())
    steps[np.argsort(steps - exact, kind="stable")[:short]] += 1
    return np.asarray(steps, np.uint16)
