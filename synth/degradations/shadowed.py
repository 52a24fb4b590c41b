"""`shadowed`: something outside the picture keeps the sun, and not the sky, from a part of the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import CDLL
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.convolution import disc, spread
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
from patina.synth.depth import prior
from patina.synth.elementary import cosine_of, sine_of
from patina.synth.image import (
    FloatImage,
    Image,
    as_floats,
    as_levels,
    level_light,
    level_table,
    planes_of,
    to_encoded,
    to_encoded_levels,
    to_linear,
    to_uint16,
)
from patina.synth.occluders import KINDS, Occluder, Points
from patina.synth.resampling import Rows, averaged, enlarged, enlarged_rows, halvings, shrunk
from patina.synth.rng import Rng
from patina.synth.strips import InStrips, Strip, Strips

Matrix = NDArray[np.float64]
Plane = NDArray[np.float32]

DISC = 1 << 15
"""What a disc's weights add up to at most: 255 times as much is exact in float32."""

OUTDOORS = ("foliage", "person", "pole", "building")
"""What throws shadows on any scene; blinds do so in rooms, which no photograph says that it shows."""

COARSE = 32
"""Pixels for a picture's short side where a place is looked for."""

NEAR, FAR = 160.0, 640.0
"""Metres up to which a shadow falls, and from which there is none: what throws it stands beside the picture."""

TRIALS, CLOSE = 5, 0.15
"""How often a shadow is thrown at most, until its area is within what share of the one asked for."""

FIELD = 4
"""How far from the occluder's origin a place is looked for, in short sides."""


@dataclass(frozen=True)
class Shadowed(InStrips):
    """I = J·(1 − m·(1 − f)) − m·f·x in linear light, for each channel; m is the matte, 1 in the umbra.

    f is the sky's share of the light, sky/(sky + sun). The sky is bluer than the sun, so f rises from red to blue and a
    shadow is bluer than what it falls on. x is the gloss of the sun alone: red most, as the sun is. In
    sRGB levels the umbra is then nearly a line of J in each channel, with slope and intercept rising from red to blue:
    Le and Samaras's linear model (arXiv 1908.08628), the order of SynShadow's offsets (arXiv 2101.01713).

    The matte is a silhouette thrown slantwise on a plane. The sun is a disc of half a degree, so an edge is the softer
    the farther what throws it is from where it falls. The sky, as the depth prior guesses it, gets no shadow.

    ratio     sun over sky at green, 0..50: 3 to 8 on a clear day; 0 is no sun, and no shadow.
    blue      blue over green of the sky, and green over red, are 1 + blue times those of the sun. 0..1.
    offset    x at green, in linear light, for all sun and no sky, 0..0.1; x is (1 − f) times as much.
    area      share of the picture in shadow, 0.02..0.95, penumbra counted by its depth. It is met within a fifth where
              the picture shows enough ground; blinds alone have a share of their own, 0.15 to 0.45.
    penumbra  diameter of the sun's disc where it is largest, px at a short side of 512, 0..100.
    kinds     what throws it, one of them or a list to choose from: foliage, person, pole, building, blinds, which
              are for rooms.

    Truth: `matte`, H×W uint16, 65535 = 1. Where it is 0, I = J exactly. I is nowhere brighter than J.
    Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "shadowed"
    version: ClassVar[int] = 5
    reads_levels: ClassVar[bool] = True
    keeps_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "scene"
    truth: ClassVar[tuple[str, ...]] = ("matte",)
    knob: ClassVar[Knob | None] = Knob("ratio", 0.05, 30)

    ratio: Values = field(default_factory=lambda: {"min": 1.4, "max": 8})
    blue: Values = field(default_factory=lambda: {"min": 0.2, "max": 0.6})
    offset: Values = field(default_factory=lambda: {"min": 0, "max": 0.005})
    area: Values = field(default_factory=lambda: {"min": 0.08, "max": 0.4})
    penumbra: Values = field(default_factory=lambda: {"min": 6, "max": 30})
    kinds: str | Sequence[str] = OUTDOORS

    def __post_init__(self) -> None:
        check_values("ratio", self.ratio, 0, 50)
        check_values("blue", self.blue, 0, 1)
        check_values("offset", self.offset, 0, 0.1)
        check_values("area", self.area, 0.02, 0.95)
        check_values("penumbra", self.penumbra, 0, 100)
        if not self._kinds or any(kind not in KINDS for kind in self._kinds):
            raise SettingError(f"kinds: expected one or a list of {', '.join(KINDS)}, found {self.kinds!r}")

    @property
    def _kinds(self) -> list[str]:
        return [self.kinds] if isinstance(self.kinds, str) else list(self.kinds)

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with `kinds` always a list."""
        return super().settings() | {"kinds": self._kinds}

    def draw(self, rng: Rng, image: Any, place: Place | None = None) -> dict[str, Any]:
        """`kind`, `ratio`, `blue`, `offset`, `area` and `penumbra` as above, and the `seed` of shape and place; `crop`,
        which part of its photograph the image is: left, top, width and height as shares."""
        crop = [0.0, 0.0, 1.0, 1.0]
        if place is not None:
            whole = place.full_width, place.full_height
            crop = [place.x / whole[0], place.y / whole[1], place.width / whole[0], place.height / whole[1]]
        return {
            "crop": crop,
            "kind": rng.choice(self._kinds),
            "ratio": draw_value(rng, self.ratio),
            "blue": draw_value(rng, self.blue),
            "offset": draw_value(rng, self.offset),
            "area": draw_value(rng, self.area),
            "penumbra": draw_value(rng, self.penumbra),
            "seed": rng.seed(),
        }

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """Rows of the shadowed picture, sRGB in [0, 1]; truth `matte`."""
        hidden = _hidden(image, params)
        tints = [1 / (1 + params["blue"]), 1.0, 1 + params["blue"]]
        skies = [tint / (tint + params["ratio"]) for tint in tints]
        losses = [params["offset"] * sky * (1 - sky) / tint for sky, tint in zip(skies, tints, strict=True)]

        compiled = functions()

        def rows(top: int, bottom: int) -> Strip:
            out = image[top:bottom].copy()
            if compiled and out.dtype == np.uint8:
                return Strip(out, {"matte": _darken(compiled, out, hidden(top, bottom), skies, losses)})
            stored = to_uint16(hidden(top, bottom))
            left, above, wide, high = cv2.boundingRect((stored > 0).view(np.uint8))
            if wide:
                box = np.s_[above : above + high, left : left + wide]
                matte = np.multiply(stored[box], np.float32(1 / 65535), dtype=np.float32)
                shaded = [
                    _shaded(plane, matte, sky, loss)
                    for plane, sky, loss in zip(planes_of(out[box]), skies, losses, strict=True)
                ]
                cv2.copyTo(cv2.merge(shaded), (stored[box] > 0).view(np.uint8), out[box])
            return Strip(out, {"matte": stored})

        return Strips(rows, levels=as_levels, floats=as_floats)


def _darken(
    compiled: CDLL, pixels: NDArray[Any], hidden: Plane, skies: Sequence[float], losses: Sequence[float]
) -> NDArray[np.uint16]:
    """Put rows of levels in the shadow, in place; the matte as 16 bits."""
    matte = np.empty(hidden.shape, np.uint16)
    suns, lost = (np.array(part, np.float32) for part in ([1 - sky for sky in skies], losses))
    light, levels = level_light(), level_table()
    rows = pointer(hidden), hidden.strides[0] // 4
    tables = (pointer(part) for part in (suns, lost, light, levels, matte))
    compiled.patina_in_shadow(pointer(pixels), *pixels.shape[:2], *rows, *tables)
    return matte


def _shaded(plane: NDArray[Any], matte: Plane, sky: float, loss: float) -> NDArray[Any]:
    """A colour in the shadow: levels of levels, and floats of floats."""
    factor = matte * np.float32(1 - sky)
    np.subtract(np.float32(1), factor, out=factor)
    light = to_linear(plane)
    light *= factor
    if loss:
        light -= np.multiply(matte, np.float32(loss), out=factor)
    shaded = to_encoded_levels(light) if plane.dtype == np.uint8 else to_encoded(light)
    np.minimum(shaded, plane, out=shaded)
    return shaded


def _hidden(image: FloatImage | Image, params: Params) -> Rows:
    """What share of the sun is hidden at each pixel of any rows, about 0..1."""
    height, width = image.shape[:2]
    short = min(height, width)
    # What the sun's disc blurs anyway need not be drawn pixel by pixel.
    step = halvings(min(short // 256, 4))
    ground = _ground(as_levels(image), step, params["crop"])
    rng = Rng(params["seed"])
    occluder = KINDS[params["kind"]](rng)
    lit = _fitted(occluder, _thrown(occluder, rng), ground, short / step, params, rng)
    return enlarged_rows((1 - lit) * ground, step, height, width)


def _lit(
    occluder: Occluder, throw: Matrix, corner: Matrix, size: tuple[int, int], zoom: float, penumbra: float
) -> Plane:
    """The sun's share that is left in a picture of this size (width, height), `zoom` px to a short side."""
    to_picture = np.column_stack([throw * zoom, -corner * zoom])
    widest = penumbra / 2 * zoom / 512
    lit = np.ones(size[::-1], np.float32)
    for layer in occluder.layers:
        mask = np.zeros(size[::-1], np.uint8)
        _fill(mask, layer.polygons, to_picture)
        if layer.near == layer.far:
            hidden = _sunned(mask, layer.near * widest)
        else:
            # Three softnesses, mixed by how far from its foot the occluder hides the sun.
            near, middle, far = (
                _sunned(mask, share * widest) for share in (layer.near, (layer.near + layer.far) / 2, layer.far)
            )
            if compiled := functions():
                _soften(compiled, lit, (near, middle, far), to_picture, layer.top)
                continue
            place = np.clip(_along(to_picture, size) * np.float32(2 / layer.top), 0, 2)
            hidden = np.where(place < 1, near + (middle - near) * place, middle + (far - middle) * (place - 1))
        lit *= 1 - hidden
    return lit


def _soften(compiled: CDLL, lit: Plane, softnesses: tuple[Plane, Plane, Plane], to_picture: Matrix, top: float) -> None:
    """Take from `lit` what three softnesses hide, mixed by how far from the occluder's foot, in place."""
    parts = [np.ascontiguousarray(part) for part in softnesses]
    right, down = _upwards(to_picture)
    compiled.patina_softened(
        pointer(lit), *map(pointer, parts), *lit.shape, right, to_picture[0, 2], down, to_picture[1, 2], 2 / top
    )


def _fitted(occluder: Occluder, throw: Matrix, ground: Plane, zoom: float, params: Params, rng: Rng) -> Plane:
    """The sun's share that is left, from a throw and a place with which the share of `ground` in shadow is as asked.

    What stands nearer throws a larger shadow: so it is tried larger or smaller where no place has the area. And what a
    coarse grid promises is not what fine twigs and penumbrae leave of it: so more or less is asked for the next time.
    """
    area = min(params["area"], 0.95 * float(ground.mean(dtype=np.float64)))
    wanted, scale = area / occluder.thickness, 1.0
    best, closest = np.ones_like(ground), math.inf
    for _ in range(TRIALS):
        corner, promised = _place(occluder, throw * scale, ground, wanted, rng)
        lit = _lit(occluder, throw * scale, corner, ground.shape[::-1], zoom, params["penumbra"])
        found = max(float(((1 - lit) * ground).mean(dtype=np.float64)), 0.002)
        miss = abs(found / area - 1)
        if miss < closest:
            best, closest = lit, miss
        if miss < CLOSE:
            break
        wanted = min(max(area * promised / found, 0.5 * area), 2 * area)
        ratio = wanted / max(promised, 0.002)
        if not 0.9 < ratio < 1.1 and (occluder.inside or occluder.outside):
            scale *= min(max(ratio if occluder.is_long else math.sqrt(ratio), 0.3), 4)
    return best


def _ground(levels: Image, step: int, crop: Sequence[float]) -> Plane:
    """Where a shadow can fall, 0..1, in squares of step×step pixels: not on the sky, as far as the depth prior knows
    it."""
    small = averaged(_filled(levels, step), step) if step > 1 else levels
    depth = prior(small, {"crop": crop, "horizon": 0.4, "background": NEAR})
    ground: Plane = np.float32(1) / depth
    ground -= np.float32(1 / FAR)
    ground *= np.float32(1 / (1 / NEAR - 1 / FAR))
    np.clip(ground, 0, 1, out=ground)
    # An island in the sky is a cloud that the prior did not know.
    parts = np.asarray(cv2.connectedComponents((ground > 0).view(np.uint8))[1])
    below = np.zeros(int(parts.max()) + 1, np.float32)
    below[np.unique(parts[-1])] = 1
    ground *= below[parts]
    # Of a picture with next to no ground more likely the prior is wrong.
    return ground if ground.mean() > 0.2 else np.ones_like(ground)


def _thrown(occluder: Occluder, rng: Rng) -> Matrix:
    """2×2: from the occluder's plane to the ground's picture, both in short sides; y points down in the picture."""
    long, flat, turn = rng.uniform(1.0, 2.0), rng.uniform(0.55, 1.0), rng.uniform(-1, 1) * occluder.turn
    lean = rng.uniform(-0.35, 0.35)
    c, s = cosine_of(turn), sine_of(turn)
    # A turn, times [[1, lean], [0, -long]], and flattened.
    return np.array([[c, c * lean + s * long], [flat * s, flat * (s * lean - c * long)]])


def _place(occluder: Occluder, throw: Matrix, ground: Plane, area: float, rng: Rng) -> tuple[Matrix, float]:
    """The picture's upper left corner (x, y) in the plane, in short sides: where its share in shadow is as asked. And
    that share as far as the coarse grid knows it.

    Looked for among all places on a coarse grid at once, by correlation with the ground, in whole pixels: so another
    machine's last digit cannot decide.
    """
    height, width = ground.shape
    zoom = min(COARSE / min(height, width), 4 * COARSE / max(height, width))
    unit = zoom * min(height, width)
    rows, columns, half = max(1, round(height * zoom)), max(1, round(width * zoom)), math.ceil(FIELD * unit)
    mask = np.zeros((3 * (2 * half + rows), 3 * (2 * half + columns)), np.uint8)  # finer first: leaves are small
    for layer in occluder.layers:
        _fill(mask, layer.polygons, 3 * np.column_stack([throw * unit, [half, half]]))
    mask = averaged(mask, 3)
    floor = shrunk(np.rint(ground * np.float32(255)).astype(np.uint8), (columns, rows)) > 127
    covered = _covered(mask, floor)[: 2 * half, : 2 * half]
    miss = np.abs(covered - round(area * floor.size))
    for points, part in ((occluder.outside, np.ones_like(floor)), (occluder.inside, floor)):
        for point in points:
            x, y = np.rint((throw[:, 0] * point[0] + throw[:, 1] * point[1]) * unit).astype(int) + half
            # A picture at (row, column) shows the point at (y − row, x − column).
            row, column = np.clip([y - rows + 1, x - columns + 1], 0, 2 * half)
            turned = part[y - row :: -1, x - column :: -1] if y >= row and x >= column else part[:0]
            shows = np.zeros(miss.shape, bool)
            target = shows[row : row + turned.shape[0], column : column + turned.shape[1]]
            target[:] = turned[: target.shape[0], : target.shape[1]]
            miss[shows != (points is occluder.inside)] += floor.size
    choices = np.flatnonzero(miss <= max(miss.min() + 0.005 * floor.size, 0.05 * area * floor.size))
    row, column = divmod(int(choices[rng.integer(0, len(choices) - 1)]), miss.shape[1])
    return np.array([column - half, row - half]) / unit, float(covered[row, column]) / floor.size


def _covered(mask: NDArray[np.uint8], floor: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much of `floor` lies under the mask, in pixels, for every place of the one in the other that has room.

    By Fourier transforms of whole numbers: their sums are rounded to whole ones again, which no error comes near.
    """
    rows, columns = floor.shape
    if compiled := functions():
        high, wide = mask.shape
        mask, floor = np.ascontiguousarray(mask), np.ascontiguousarray(floor)
        found = np.empty((high - rows + 1, wide - columns + 1))
        sums, line = np.empty((high, wide + 1), np.int32), np.empty(wide, np.int32)
        room = pointer(sums), pointer(line), pointer(found)
        compiled.patina_covered(pointer(mask), high, wide, pointer(floor), rows, columns, *room)
        return found
    size = cv2.getOptimalDFTSize(mask.shape[0]), cv2.getOptimalDFTSize(mask.shape[1])
    spectra = []
    for plane in (mask, floor):
        padded = np.zeros(size)
        padded[: plane.shape[0], : plane.shape[1]] = plane
        spectra.append(cv2.dft(padded))
    product = cv2.mulSpectrums(spectra[0], spectra[1], 0, conjB=True)
    sums = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
    whole = np.rint(sums[: mask.shape[0] - rows + 1, : mask.shape[1] - columns + 1])
    return np.asarray(np.rint(whole / 255))


def _filled(levels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Levels with their last rows and columns repeated until squares of step×step pixels fill them."""
    below, beside = (-side % step for side in levels.shape[:2])
    return cv2.copyMakeBorder(levels, 0, below, 0, beside, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _fill(mask: NDArray[np.uint8], polygons: list[Points], matrix: Matrix) -> None:
    """Draw blocks of polygons N×V×2, moved by a 2×3 matrix to pixels, as 255.

    One polygon at a time: of several together, OpenCV cuts out where they overlap.
    """
    # Blocks of as many corners go together, and all are drawn in their own order.
    alike: dict[int, list[tuple[int, Points]]] = {}
    count = 0
    for block in polygons:
        alike.setdefault(block.shape[1], []).append((count, block))
        count += len(block)
    drawn: list[tuple[int, NDArray[np.int32]]] = []
    compiled = functions()
    for blocks in alike.values():
        points = np.concatenate([block for _, block in blocks]) if len(blocks) > 1 else blocks[0][1]
        moved = points, matrix, mask.shape
        corners, seen = _corners_compiled(compiled, *moved) if compiled else _corners(*moved)
        numbers = np.concatenate([np.arange(first, first + len(block)) for first, block in blocks])[seen]
        drawn += zip(numbers.tolist(), corners[seen], strict=True)
    for _, corners in sorted(drawn, key=itemgetter(0)) if len(alike) > 1 else drawn:
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)


def _corners(points: Points, matrix: Matrix, shape: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Polygons N×V×2, moved by a 2×3 matrix to pixels, in sixteenths, and which of them are in a picture of this shape,
    N."""
    factors, ends = matrix[:, :, None, None], np.array(shape[::-1])[:, None]
    x, y = np.ascontiguousarray(points.transpose(2, 1, 0))  # 2×V×N
    moved = x * factors[:, 0]
    moved += y * factors[:, 1]
    moved += factors[:, 2]
    # OpenCV also fills the pixels that a polygon's edge runs through: half a pixel too much all around.
    excess = moved - np.add.reduce(moved, axis=1, keepdims=True) / moved.shape[1]
    np.minimum(excess, 0.5, out=excess)
    moved -= np.maximum(excess, -0.5, out=excess)
    seen = ((moved.max(axis=1) > 0) & (moved.min(axis=1) < ends)).all(axis=0)
    moved *= 16
    moved -= 8
    return np.ascontiguousarray(np.rint(moved, out=moved).astype(np.int32).transpose(2, 1, 0)), seen


def _corners_compiled(
    compiled: CDLL, points: Points, matrix: Matrix, shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The same, to the bit."""
    points, matrix = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(matrix, np.float64)
    corners, seen = np.empty(points.shape, np.int32), np.empty(len(points), np.bool_)
    memory = np.empty(3 * points.shape[1])
    where = pointer(memory), pointer(corners), pointer(seen)
    compiled.patina_corners(pointer(points), *points.shape[:2], pointer(matrix), shape[1], shape[0], *where)
    return corners, seen


def _along(matrix: Matrix, size: tuple[int, int]) -> Plane:
    """The occluder's y at each pixel of a picture of this size (width, height)."""
    right, down = _upwards(matrix)
    x, y = np.arange(size[0]) - matrix[0, 2], np.arange(size[1]) - matrix[1, 2]
    return np.asarray(right * x + down * y[:, None], np.float32)


def _upwards(matrix: Matrix) -> tuple[float, float]:
    """By how much the occluder's y grows from pixel to pixel to the right and down: the second row of the inverse."""
    determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
    return -matrix[1, 0] / determinant, matrix[0, 0] / determinant


def _sunned(mask: NDArray[np.uint8], radius: float) -> Plane:
    """A silhouette's sharp shadow, 255 = all, blurred by the sun's disc of this radius in pixels; 0..1."""
    height, width = mask.shape
    step = halvings(radius / 3)
    small = averaged(_filled(mask, step), step) if step > 1 else mask
    kernel = disc(max(radius / step, 0.5), DISC)
    soft = spread(small.astype(np.float32), kernel, cv2.BORDER_REPLICATE, 1 / (255 * int(kernel.sum())))
    return enlarged(soft, step)[:height, :width]
