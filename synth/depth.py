"""How far away things are: guessed from a photograph, or read from a user's depth maps. For haze, rain and snow.

Depth is H×W float32, metres from the camera, in [NEAREST, FARTHEST].

The guess is a **prior and no truth**: it takes every photograph for one of open country, with level ground from the
bottom edge up to a horizon and sky above. It knows no objects; what stands upright leans back with the ground. It is
right about the order of near ground, background and sky in most outdoor photographs, and about little else. Where
metres matter, bring depth maps.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patina.synth.degradation import Params, Place, Rendered, SettingError
from patina.synth.elementary import exp, log1p, power_of, rough_power
from patina.synth.image import FloatImage, Image, Map, as_levels, planes_of, to_float
from patina.synth.resampling import Rows, means, shrunk, smoothed, stretched, stretched_rows
from patina.synth.rng import Rng

Depth: TypeAlias = NDArray[np.float32]
"""H×W, float32, metres from the camera, in [NEAREST, FARTHEST]."""

NEAREST, FARTHEST = 0.1, 2000.0
"""Metres. The prior puts the sky at FARTHEST; depth maps are clipped to both."""

NEARNESS = 0.999 * FARTHEST / NEAREST
"""FARTHEST over the metres of what the prior sees nearest."""

EYE, FOCAL = 1.6, 1.1
"""The prior's camera: metres above level ground, and focal length in heights of the photograph (49° top to bottom)."""

ENCLOSED, CLOSE = 16.0, 3.0
"""Metres that the prior sees at most where no sky shows, and in a close-up."""

SMALL = 144
"""Pixels of the short side at which the prior looks for sky and ground. Its edges are those of the full size."""

MATCHING = 0.03
"""By how much the proportions of a depth map may differ from its photograph's."""


@dataclass(frozen=True)
class Depths:
    """Where depth comes from: the prior, or a folder with a file for each photograph.

    folder  "" for the prior. Else it holds, for the photograph `there/name.jpg`, one of `there/name.png`,
            `there/name.npy`, `name.png` and `name.npy`: PNG of 16-bit grey in **millimetres**, or a NumPy array of
            floats in **metres**, each H×W of any size that has the photograph's proportions. 0 and NaN mean unknown
            and take the farther of the nearest known values in the row, as what one camera of a pair cannot see;
            infinity is the sky.

    Raises SettingError for a folder that cannot be used.
    """

    folder: str = ""

    def __post_init__(self) -> None:
        _ = self._files  # a folder that cannot work is found here, before any work starts

    def path_for(self, photograph: str) -> Path | None:
        """Where a photograph's depth map lies; None for the prior, and where there is none for it."""
        if not self.folder or self.missing_input(photograph):
            return None
        return self._files[self._named(photograph)]

    def digest_for(self, photograph: str) -> str:
        """The sha256 of a photograph's depth map; "" for the prior.

        Raises SettingError if there is a folder and no file in it for the photograph.
        """
        return self._digest(self._named(photograph)) if self.folder else ""

    def draw(self, rng: Rng, place: Place | None) -> dict[str, Any]:
        """What `of` needs, as JSON: `depth`, the file's sha256, or "" for the prior; `crop`, which part of the
        photograph the image is, left, top, width and height as shares of it; `depth_step`, metres to a level of the
        truth map (`as_truth`), 1/32, or 1/1000 where all is within 65 m; and for the prior `horizon`, the share of the
        photograph above it where no sky tells, and `background`, metres to what stands there.

        Raises SettingError if there is a folder and no file in it for the photograph, or none that can be used.
        """
        params: dict[str, Any] = {"depth": "", "crop": [0.0, 0.0, 1.0, 1.0], "depth_step": 1 / 32}
        if place is not None:
            whole = place.full_width, place.full_height
            params["crop"] = [place.x / whole[0], place.y / whole[1], place.width / whole[0], place.height / whole[1]]
        params |= {"horizon": rng.uniform(0.3, 0.5), "background": rng.log_uniform(100, 800)}
        if self.folder:
            if place is None:
                raise SettingError("depth: a folder of depth maps needs to know which photograph it is; leave it empty")
            name = self._named(place.name)
            depth = _read(self._files[name])[1]
            _check_proportions(self._files[name], depth, place)
            params["depth"] = self._digest(name)
            if float(depth.max()) <= 65.535:
                params["depth_step"] = 0.001
        return params

    def of(self, image: FloatImage | Image, params: Params) -> Depth:
        """Depth of `image` (H×W×3 float32 sRGB in [0, 1], or its levels), by what was drawn. Pure and free of chance.

        Raises SettingError if `params` name a file that the folder no longer holds.
        """
        return self.rows_of(image, params)(0, len(image))

    def rows_of(self, image: FloatImage | Image, params: Params) -> Rows:
        """What gives any rows of `of(image, params)`, to the bit, without making the whole."""
        if not params["depth"]:
            return prior_rows(image, params)
        names = [name for name, digest in self._known.items() if digest == params["depth"]]
        names = names or [name for name in self._files if self._digest(name) == params["depth"]]
        if not names:
            where = f"{len(self._files)} others in {self.folder}" if self.folder else "no folder: depth is not set"
            raise SettingError(f"depth: expected a file of sha256 {params['depth']}, found {where}; put that file back")
        found, depth = _read(self._files[names[0]])
        if found != params["depth"]:
            raise SettingError(
                f"depth: {self._files[names[0]]} has changed: expected sha256 {params['depth']}; start again"
            )
        left, top, width, height = params["crop"]
        rows, columns = depth.shape
        y, x = round(top * rows), round(left * columns)
        part = depth[y : max(y + 1, round((top + height) * rows)), x : max(x + 1, round((left + width) * columns))]
        return stretched_rows(part, *image.shape[:2])

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Each depth map by its name in the folder, without its suffix: `there/name`."""
        if not self.folder:
            return {}
        folder = Path(self.folder)
        if not folder.is_dir():
            raise SettingError(f"depth: expected a folder of depth maps, found no folder at {folder}")
        found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in (".png", ".npy") or path.name.startswith(".") or not path.is_file():
                continue
            name = path.relative_to(folder).with_name(path.stem).as_posix()
            if name in found:
                raise SettingError(f"depth: expected one depth map a photograph, found {found[name]} and {path}")
            found[name] = path
        if not found:
            raise SettingError(
                f"depth: expected depth maps (.npy, .png) in {folder}, found none; add some or unset depth"
            )
        return found

    @cached_property
    def _known(self) -> dict[str, str]:
        """The sha256 of each file that was asked for, by the same names."""
        return {}

    def _digest(self, name: str) -> str:
        path = self._files[name]
        try:
            if name not in self._known:
                self._known[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise SettingError(f"depth: {path} cannot be read: {error.strerror}; mend or remove it") from None
        return self._known[name]

    def missing_input(self, photograph: str) -> str:
        """That there is a folder and no file in it for the photograph, in words; "" otherwise."""
        try:
            _ = self.folder and self._named(photograph)
        except SettingError as error:
            return str(error)
        return ""

    def _named(self, photograph: str) -> str:
        there = Path(photograph)
        for name in (there.with_name(there.stem).as_posix(), there.stem):
            if name in self._files:
                return name
        raise SettingError(
            f"depth: expected {there.stem}.png or {there.stem}.npy for {photograph} in {self.folder}, found neither"
        )


class FromDepth(Rendered, Protocol):
    """A degradation that looks at distances, with a setting `depth`: a folder of depth maps, or "" for the prior."""

    depth: str

    @cached_property
    def depths(self) -> Depths:
        """Where its depth comes from."""
        return Depths(self.depth)

    def missing_input(self, name: str) -> str:
        """Its depth map, where there is a folder of them."""
        return self.depths.missing_input(name)

    def side_input_digest(self, name: str) -> str:
        """The digest of its depth map, where there is a folder of them."""
        return self.depths.digest_for(name)

    def settings(self) -> dict[str, Any]:
        """As the protocol says; of a folder of depth maps only that there is one: `side_input_digest` tells them."""
        return {**super().settings(), "depth": "maps" if self.depth else ""}


def as_truth(depth: Depth, step: float) -> Map:
    """Depth as a truth map: H×W uint16, `step` metres to a level, saturating at 65535."""
    bounded = np.minimum(depth, np.float32(65536 * step))  # OpenCV makes 0 of what is above 2^31
    stored: Any = cv2.multiply(bounded, np.full(depth.shape, 1 / step, np.float32), dtype=cv2.CV_16U)
    return stored  # type: ignore[no-any-return]


def read_map(path: Path) -> tuple[str, Depth, NDArray[np.bool_]]:
    """A depth map's sha256, its metres as they are, H×W float32, and where they are known. Raises SettingError."""
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".npy":
            depth = np.load(io.BytesIO(data), allow_pickle=False)
            if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
                raise ValueError(f"{depth.dtype} of shape {depth.shape}")
            depth = depth.astype(np.float32)
        else:
            with PIL.Image.open(io.BytesIO(data)) as picture:  # unlike OpenCV, refuses a file that ends too early
                if not picture.mode.startswith("I"):
                    raise ValueError(f"a PNG of mode {picture.mode}")
                depth = np.asarray(picture).astype(np.float32) / 1000
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise SettingError(
            f"depth: expected a 16-bit grey PNG in millimetres or H×W floats in metres at {path}, found {error}"
        ) from error
    known = depth > 0
    if not known.any():
        raise SettingError(f"depth: expected distances above 0 in {path}, found none")
    return hashlib.sha256(data).hexdigest(), depth, known


def _read(path: Path) -> tuple[str, Depth]:
    """A file's sha256 and its depth, unknown places filled in."""
    digest, depth, known = read_map(path)
    return digest, np.clip(_filled(depth, known), NEAREST, FARTHEST)


def _filled(depth: Depth, known: NDArray[np.bool_]) -> Depth:
    """Unknown places take the farther of the nearest known to the left and right; empty rows the farthest of all."""
    if known.all():
        return depth
    column = np.arange(depth.shape[1])
    before = np.maximum.accumulate(np.where(known, column, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, column, depth.shape[1])[:, ::-1], axis=1)[:, ::-1]
    depth = np.where(known, depth, 0)
    padded = np.pad(depth, ((0, 0), (0, 1)))  # so that both "none" indices, -1 and the width, read 0
    either = np.maximum(np.take_along_axis(padded, before, 1), np.take_along_axis(padded, after, 1))
    filled: Depth = np.where(known, depth, np.where(either > 0, either, depth.max()))
    return filled


def _check_proportions(path: Path, depth: Depth, place: Place) -> None:
    rows, columns = depth.shape
    if abs(columns / rows * place.full_height / place.full_width - 1) > MATCHING + 1 / min(rows, columns):
        raise SettingError(
            f"depth: expected the proportions of {place.name}, {place.full_width}×{place.full_height}, "
            f"found {columns}×{rows} at {path}"
        )


def brightness(image: Image) -> float:
    """How brightly lit the scene of an H×W×3 uint8 photograph is, from 0.25 to 1, to the fourth decimal place.

    0.25 more than its 95th percentile of luma: 1 by day, about 0.6 at dusk. What floats in the air is lit no better.
    """
    step = max(1, min(image.shape[:2]) // 128)
    luma = np.ravel(cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_RGB2GRAY))
    up_to = np.cumsum(np.bincount(luma, minlength=256))  # a level's place in the order, without sorting
    return round(min(1.0, 0.25 + int(np.searchsorted(up_to, int(0.95 * luma.size), "right")) / 255), 4)


def prior(image: FloatImage | Image, params: Params) -> Depth:
    """A guess at the depth of `image` (H×W×3 float32 sRGB in [0, 1], or its levels), from it and `params` alone; see
    `Depths.draw`. Floats are rounded to levels first.

    What adds up is nearness, one over metres: the ground's rises evenly from the horizon to the bottom edge; what has
    more detail than the rest is nearer, the less so the paler it is, by its dark channel (He et al., CVPR 2009). A
    guided filter (He et al., TPAMI 2013) takes it to the image's own edges. Where no sky shows, something fills the
    view: nothing is farther than ENCLOSED metres then, and CLOSE in a close-up. The sky has next to no nearness, and
    what stands before it gets farther towards it, since nothing tells how far that is.
    """
    return prior_rows(image, params)(0, len(image))


def prior_rows(image: FloatImage | Image, params: Params) -> Rows:
    """What gives any rows of `prior(image, params)`, to the bit, without making the whole."""
    levels = as_levels(image)
    height, width = levels.shape[:2]
    scale = min(1.0, SMALL / min(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = shrunk(levels, size)
    first, high = params["crop"][1], params["crop"][3]
    seen = _look(small.tobytes(), size, first)

    def middles(count: int) -> NDArray[np.float32]:
        """Of that many rows, as shares of the photograph."""
        return np.asarray(first + high * (np.arange(count, dtype=np.float32) + 0.5) / count, np.float32)

    horizon = _horizon(seen.sky, middles(size[1]), params["horizon"])
    background = _background(seen.sky, seen.fine, params)

    softness = 0.06  # of the bend from ground to background, heights of the photograph
    bend = (middles(len(seen.rising)).astype(np.float64) - horizon) / softness
    bent = np.maximum(bend, 0) + log1p(exp(-np.abs(bend)))  # ln(1 + e^bend)
    ground = bent.astype(np.float32) * np.float32(softness / (EYE * FOCAL))
    near = ground[:, None] * seen.rising + seen.standing
    # In units of the sky's nearness, so that what is nearest is FARTHEST of them over its metres.
    least = max(FARTHEST / background, 1.0)
    slopes, offsets = seen.wide.guide(near)
    slopes, offsets = slopes * np.float32(FARTHEST), offsets * np.float32(FARTHEST) + np.float32(least)
    slope, offset = stretched_rows(slopes, height, width, 8), stretched_rows(offsets, height, width, 8)
    share, lowest = _share(seen, height, width)

    def rows(top: int, bottom: int) -> Depth:
        grey = to_float(np.asarray(cv2.cvtColor(levels[top:bottom], cv2.COLOR_RGB2GRAY), np.uint8))
        near = slope(top, bottom)
        near *= grey
        near += offset(top, bottom)
        np.clip(near, np.float32(least), np.float32(NEARNESS), out=near)
        open_ = max(0, min(lowest, bottom) - top)
        if open_:
            # By the logarithm, because a thing before the sky is as likely twice as far as half as far.
            depth = rough_power(near[:open_], share(grey[:open_], top, top + open_))
            np.multiply(depth, np.float32(FARTHEST), out=near[:open_])
        np.divide(np.float32(FARTHEST), near[open_:], out=near[open_:])
        return near

    return rows


@dataclass(frozen=True)
class _Seen:
    """What the prior sees in a small picture, h×w, whatever is drawn for it; float32 and read-only. What has no fine
    edges is of half its size.

    sky       where it is, 0..1. slopes, offsets: the coefficients that give it the picture's edges.
    around    how much sky is around, half size. fine: detail, smoothed, half size.
    rising    by what the ground's nearness is multiplied; standing: what is nearer by itself. By detail, half size.
    wide      the filter that gives nearness the picture's edges, half size (He and Sun, arXiv 1505.00996).
    """

    fine: Depth
    sky: Depth
    around: Depth
    rising: Depth
    standing: Depth
    wide: _Guide
    slopes: Depth
    offsets: Depth


@lru_cache(maxsize=4)  # degradations of one photograph, and variants of one, are often made one after the other
def _look(small: bytes, size: tuple[int, int], first_row: float) -> _Seen:
    """What is seen in the levels of a small picture of this size (width, height), whose first row has that share of its
    photograph above it."""
    picture = to_float(np.frombuffer(small, np.uint8).reshape(size[1], size[0], 3))
    planes = planes_of(picture)
    luma = _luma(planes)
    detail = np.abs(luma - means(luma, 3))
    sky = _sky(planes, luma, detail, first_row)
    half = (size[1] + 1) // 2, (size[0] + 1) // 2
    fine, coarse = stretched(means(detail, 9), *half), stretched(luma, *half)
    dark = stretched(np.asarray(cv2.min(cv2.min(planes[0], planes[1]), planes[2]), np.float32), *half)
    sharp = smoothed(fine, 4.5)
    sharp = np.minimum(sharp / max(_ordered(sharp, 0.97), 0.008), 1)
    pale = smoothed(np.asarray(cv2.erode(dark, np.ones((3, 3), np.uint8)), np.float32), 2)
    slopes, offsets = _Guide(luma, 2, 2e-4).guide(sky)
    found = _Seen(
        fine=fine,
        sky=sky,
        around=smoothed(stretched(sky, *half), 0.05 * min(half)) * np.float32(0.7),
        rising=np.asarray(0.8 + 0.3 * sharp, np.float32),
        standing=np.asarray(0.03 * sharp * sharp * np.clip(1 - 1.2 * pale, 0.3, 1), np.float32),
        wide=_Guide(coarse, 4, 4e-3),
        slopes=slopes * np.float32(1 / 0.7),
        offsets=(offsets - np.float32(0.15)) * np.float32(1 / 0.7),
    )
    for part in vars(found).values():
        if isinstance(part, np.ndarray):
            part.setflags(write=False)
    return found


def _share(looked: _Seen, height: int, width: int) -> tuple[Callable[[Depth, int, int], Depth], int]:
    """What gives, for any rows of grey, the share of the way on which each pixel is taken to the sky, less 1: 0 is the
    sky, and -1 is no part of the way. And the row from which on it is -1.

    All of the way where the guided filter sees sky, and part of it where sky is around.
    """
    slopes, offsets, around = looked.slopes, looked.offsets, looked.around
    ends = []
    for part in (slopes != 0, offsets > 0, around != 0):
        seen = np.flatnonzero(part.any(axis=1))
        ends.append(math.ceil((int(seen[-1]) + 2) * height / len(part)) + 1 if seen.size else 0)
    lowest = min(height, max(ends))
    if not lowest:
        return lambda grey, top, bottom: np.full_like(grey, -1), 0
    slope, offset, cover = (stretched_rows(part, height, width, 8) for part in (slopes, offsets - 1, around - 1))

    def rows(grey: Depth, top: int, bottom: int) -> Depth:
        found = slope(top, bottom)
        found *= grey
        found += offset(top, bottom)
        cv2.max(found, cover(top, bottom), dst=found)
        return np.clip(found, np.float32(-1), np.float32(0), out=found)

    return rows, lowest


def _background(sky: NDArray[np.float32], fine: Depth, params: Params) -> float:
    """Metres to what stands behind the ground: as drawn under a wide sky, ENCLOSED at most without any, CLOSE in a
    close-up.

    A close-up has a part in focus before one that is not: next to no detail in a good share of a picture without sky.
    """
    share = min(1.0, float(sky.mean(dtype=np.float64)) / 0.08)
    clear = _ordered(fine, 0.95)
    blank = float((fine < 0.12 * max(clear, 0.01)).mean(dtype=np.float64))
    enclosed = ENCLOSED * power_of(CLOSE / ENCLOSED, min(1.0, max(0.0, blank - 0.08) / 0.15))
    far = float(params["background"])
    return min(far, enclosed) * power_of(far / min(far, enclosed), share)


def _sky(planes: Sequence[Depth], luma: Depth, detail: Depth, first_row: float) -> NDArray[np.float32]:
    """Where the sky is, h×w in [0, 1]: smooth, blue or pale, and joined to the top edge; then what has its colour."""
    red, green, blue = planes
    span = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    smooth = np.clip(1.6 - means(detail, 7) / 0.012, 0, 1)
    is_blue = np.clip(6 * (blue - red), 0, 1) * np.clip(10 * (blue - green) + 1.2 * blue - 0.1, 0, 1)
    teal = 2.5 * green - red - 1.5 * blue  # of leaves and water
    is_blue *= np.clip(blue / 0.12 - 1.2, 0, 1) * np.clip(1 - 6 * teal, 0, 1)
    is_pale = np.clip((luma - 0.42) / 0.2, 0, 1) * np.clip(1.3 - 3 * span, 0, 1)
    seen = (smooth * np.maximum(is_blue, is_pale) > 0.4).astype(np.uint8)
    count, labels = cv2.connectedComponents(seen, connectivity=4)
    parts = np.asarray(labels).astype(np.intp)
    top = parts[: max(2, len(parts) // 20)]  # more than a row, because scans of slides have a black rim
    at_top = np.bincount(top.ravel(), minlength=count) / top.size
    areas = np.bincount(parts.ravel(), minlength=count)
    # Much is pale that is no sky: behind a face there is mostly a wall.
    blue_share = np.bincount(parts[is_blue > 0.4], minlength=count) / np.maximum(areas, 1)
    kept = (at_top >= np.where(blue_share > 0.5, 0.1, 0.22)) & (areas > 0.01 * luma.size)
    kept[0] = False
    if not kept.any() or first_row > 0.5:
        return np.zeros_like(luma)
    sky = kept[parts].astype(np.float32)
    shore = _shore(luma, sky)
    sky[shore:] = 0
    weight = means(sky, 61)
    around = cv2.split(means(np.asarray(cv2.merge([red * sky, green * sky, blue * sky]), np.float32), 61))
    divisor = weight + np.float32(1e-3)
    away: Any = None
    for plane, mean in zip((red, green, blue), around, strict=True):
        difference = np.abs(plane - mean / divisor)
        away = difference if away is None else cv2.max(away, difference, dst=away)
    tolerance = 0.04 + 0.08 * np.clip(2 * is_blue - 0.6, 0, 1)
    alike = np.clip(2 - away / tolerance, 0, 1) * np.clip(weight / 0.03, 0, 1)
    lines = np.arange(1, len(sky) + 1, dtype=np.float32)[:, None]
    ends = np.sort((lines * (sky > 0.5)).max(axis=0))
    alike[min(shore, int(ends[int(0.9 * ends.size)]) + len(sky) // 20) :] = 0
    return np.asarray(_without_islands(np.maximum(sky, alike)), np.float32)


def _shore(luma: Depth, sky: NDArray[np.float32]) -> int:
    """The row from which on there is no sky, because water is seen there that looks like it: where a straight line goes
    across, and below it is darker in most of the columns whose sky reaches down to there. The height if there is none.
    """
    reach = 2
    above, below = luma[: -2 * reach], luma[2 * reach :]
    open_ = sky[: -2 * reach] > 0.5
    darker = (above - below > 0.025) & open_
    # A line may rise or fall by a row or two.
    wide = np.asarray(cv2.dilate(darker.astype(np.uint8), np.ones((3, 1), np.uint8))) > 0
    wide &= open_
    counts, spans = wide.sum(axis=1), open_.sum(axis=1)
    found = (counts >= 0.6 * spans) & (spans >= 0.25 * luma.shape[1]) & (np.arange(len(counts)) > 0.08 * len(luma))
    return int(np.argmax(found)) + reach if found.any() else len(luma)


def _without_islands(sky: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sky also where it is all around: a moon, a bird or a cloud is no nearer than what it is before."""
    gaps = (sky <= 0.5).astype(np.uint8)
    gaps[-1] = 1  # what meets the ground is none
    count, labels = cv2.connectedComponents(gaps, connectivity=4)
    parts = np.asarray(labels).astype(np.intp)
    alone = np.bincount(parts.ravel(), minlength=count) < 0.03 * sky.size
    alone[0] = False
    alone[parts[[0, -1]].ravel()] = False
    alone[parts[:, [0, -1]].ravel()] = False
    return np.where(alone[parts], np.float32(1), sky) if alone.any() else sky


def _horizon(sky: NDArray[np.float32], rows: NDArray[np.float32], otherwise: float) -> float:
    """The horizon's row as a share of the photograph: about where most columns' sky ends, the surer the more sky."""
    share = float(sky.mean())
    if share < 0.04:
        return otherwise
    ends = np.sort((rows[:, None] * (sky > 0.5)).max(axis=0))
    sure = min(1.0, 4 * share)
    return otherwise * (1 - sure) + sure * min(max(float(ends[int(0.8 * ends.size)]), 0.15), 0.8)


def _ordered(values: Depth, share: float) -> float:
    """The value, ≥ 0, before which that share of all `values` lies. It is looked for among those alone that
    share its first bits."""
    place = int(share * values.size)
    first_bits = np.ravel(values).view(np.uint32) >> np.uint32(18)
    counts = np.cumsum(np.bincount(first_bits.astype(np.intp)))
    number = int(np.searchsorted(counts, place, side="right"))
    alike = np.sort(np.ravel(values)[first_bits == number])
    return float(alike[place - (int(counts[number - 1]) if number else 0)])


def _luma(planes: Sequence[Depth]) -> Depth:
    red, green, blue = planes
    return np.asarray(red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114), np.float32)


class _Guide:
    """A guided filter of a small picture, `luma`: what gives a field the edges of the picture that it is small of."""

    def __init__(self, luma: Depth, radius: int, smoothness: float) -> None:
        self._luma, self._side = luma, 2 * radius + 1
        self._mean = means(luma, self._side)
        self._variance = means(luma * luma, self._side) - self._mean * self._mean + np.float32(smoothness)

    def guide(self, values: Depth) -> tuple[Depth, Depth]:
        """Slopes and offsets by which the large picture's grey gives `values` with its edges."""
        mean = means(values, self._side)
        slope = np.asarray((means(values * self._luma, self._side) - mean * self._mean) / self._variance, np.float32)
        return means(slope, self._side), means(mean - slope * self._mean, self._side)
