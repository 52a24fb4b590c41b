"""Whether two photographs show one scene, by laying one on the other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.scan.leaks.thumbnails import FITS, NEAR_THUMBS, fit, likeness, thumbnail
from patina.pipeline.scan.leaks.types import SAME, Match
from patina.synth.image import Image

AT_ONCE = 0.99
"""Agreement without any registration that needs none."""

HOPE = 0.4
"""Agreement at 40 px below which two pictures are not compared at 160: copies come to 0.6 or more where the search goes
on as long, and of the 2000 pairs of 400 photographs of BSDS500 that have the likest thumbnails one comes to as much:
`benchmarks.leaks` counts them."""

COARSE = 40
COARSE_DETAILS, COARSE_EVENED = (0.5, 2.0), (0.4, 2.5)
DETAILS, EVENED = (1.0, 4.0), (1.0, 8.0)
"""Between which scales, standard deviations of Gaussians in px, details lie that are compared, and those that are
searched by; at 40 px and at 160."""

SIDE = 160
MIN_DETAIL = 0.5
"""Standard deviation of a picture's details, in levels, below which there is nothing to compare."""


def match(first: Image, second: Image) -> Match:
    """Whether two RGB uint8 images show the same photograph; score 0 where the thumbnails deny it."""
    one, other = (thumbnail(image)[None] for image in (first, second))
    if likeness(one, other)[0] < NEAR_THUMBS or fit(one, other)[0] < FITS:
        return Match(0.0)
    return register(first, second)


def register(first: Image, second: Image) -> Match:
    """Lay one RGB uint8 image over the other, both at 160×160 px, and compare their details."""
    sizes = [(image.shape[1], image.shape[0]) for image in (first, second)]
    return registered(reduced(first), reduced(second), *sizes)


def reduced(image: Image) -> NDArray[np.uint8]:
    """Grey, 160×160: stretched to a square, so that a copy's shape does not matter."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def registered(
    first: NDArray[np.uint8], second: NDArray[np.uint8], first_size: tuple[int, int], second_size: tuple[int, int]
) -> Match:
    """Lay one reduced picture over the other, in three tries of rising cost: as they are, shifted, and by ECC
    (Evangelidis and Psarakis, TPAMI 2008), which finds the affine map for which two pictures correlate best. The same
    is tried at 40×40 px before: where next to nothing agrees there, that is the answer, in a tenth of the time.

    The search sees details with their local contrast evened out, since light would lead it astray; the score sees them
    as they are. Sizes are (width, height) in px.
    """
    if (hope := coarse_agreement(first, second)) < HOPE:
        return Match(round(hope, 4))
    one, other = first.astype(np.float32), second.astype(np.float32)
    details = _details(one, *DETAILS)
    best, where = _agreement(details, other, _IDENTITY), _IDENTITY
    if best < AT_ONCE:
        a, b = _evened(one), _evened(other)
        (dx, dy), _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow((SIDE, SIDE), cv2.CV_32F))
        start = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        for begin in (start, _IDENTITY):  # a chance peak of the phase leads far away; then the place itself is better
            for warp in _steps(a, b, begin):
                score = _agreement(details, other, warp)
                if score > best:
                    best, where = score, warp
            if best >= SAME:
                break
    scale = [float(where[i, i]) * second_size[i] / first_size[i] for i in (0, 1)]
    corner = where.astype(np.float64) @ [-0.5, -0.5, 1]
    shift = [(float(corner[i]) + 0.5) * second_size[i] / SIDE for i in (0, 1)]
    return Match(round(best, 4), (round(scale[0], 3), round(scale[1], 3)), (round(shift[0], 1), round(shift[1], 1)))


def coarse_agreement(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """How well two reduced pictures agree at 40×40 px, once one is laid over the other: from HOPE on as well as it came
    while that took no time, else as well as can be."""
    a, b = (
        np.asarray(cv2.resize(grey, (COARSE, COARSE), interpolation=cv2.INTER_AREA), np.float32)
        for grey in (first, second)
    )
    details = _details(a, *COARSE_DETAILS)
    best = _coarsely(details, b, _IDENTITY)
    if best >= HOPE:
        return best
    one, other = _evened(a, COARSE_EVENED), _evened(b, COARSE_EVENED)
    (dx, dy), _ = cv2.phaseCorrelate(one, other, cv2.createHanningWindow((COARSE, COARSE), cv2.CV_32F))
    seen, over = (cv2.GaussianBlur(v, (0, 0), 0.8) for v in (one, other))
    soon = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-3)
    for start in (np.array([[1, 0, dx], [0, 1, dy]], np.float32), _IDENTITY):
        best = max(best, _coarsely(details, b, start))
        if best < HOPE:
            with suppress(cv2.error):  # no correlation to climb on, or it ran out of the picture
                _, found = cv2.findTransformECC(seen, over, start.copy(), cv2.MOTION_AFFINE, soon, _ALL_COARSE, 3)
                best = max(best, _coarsely(details, b, np.asarray(found, np.float32)))
        if best >= HOPE:
            break
    return best


def _coarsely(details: NDArray[np.float32], b: NDArray[np.float32], warp: NDArray[np.float32]) -> float:
    """As `_agreement`, at 40×40 px and less strict about the map, which is rougher."""
    if np.abs(np.diag(warp[:, :2]) - 1).max() > 0.3 or max(abs(warp[0, 1]), abs(warp[1, 0])) > 0.15:
        return 0.0
    return _correlation(details, b, warp, 0.6, COARSE_DETAILS)


_IDENTITY = np.eye(2, 3, dtype=np.float32)
_ALL = np.full((SIDE, SIDE), 255, np.uint8)
_ALL_COARSE = np.full((COARSE, COARSE), 255, np.uint8)


def _steps(a: NDArray[np.float32], b: NDArray[np.float32], start: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
    """Better and better maps (2×3) from places in `a` to places in `b`, from `start` on; fewer where ECC gives up."""
    yield start
    warp = start
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    for blur in (2.0, 0.0):  # coarse first: ECC climbs only where the slopes overlap
        seen = [cv2.GaussianBlur(v, (0, 0), blur) if blur else v for v in (a, b)]
        try:
            _, found = cv2.findTransformECC(seen[0], seen[1], warp.copy(), cv2.MOTION_AFFINE, enough, _ALL, 5)
        except cv2.error:  # no correlation to climb on, or it ran out of the picture
            return
        warp = np.asarray(found, np.float32)
        yield warp


def _agreement(details: NDArray[np.float32], b: NDArray[np.float32], warp: NDArray[np.float32]) -> float:
    """Correlation of a picture's details with those of `b` under `warp`, over their overlap; 0 for maps that no copy
    needs (scaled by over a quarter, turned, an overlap under two thirds) and where there is no detail."""
    straight = np.abs(np.diag(warp[:, :2]) - 1).max() <= 0.25 and max(abs(warp[0, 1]), abs(warp[1, 0])) <= 0.1
    if not straight:
        return 0.0
    return _correlation(details, b, warp, 2 / 3, DETAILS)


def _correlation(
    details: NDArray[np.float32],
    b: NDArray[np.float32],
    warp: NDArray[np.float32],
    least: float,
    scales: tuple[float, float],
) -> float:
    """Correlation of details, between these scales, over the overlap; 0 where that is less than `least` of the picture,
    or has no detail."""
    how, size = cv2.WARP_INVERSE_MAP, (b.shape[1], b.shape[0])
    inside = cv2.warpAffine(np.ones_like(b), warp, size, flags=cv2.INTER_NEAREST | how) > 0
    if inside.mean() < least:
        return 0.0
    over = cv2.warpAffine(b, warp, size, flags=cv2.INTER_LINEAR | how, borderMode=cv2.BORDER_REPLICATE)
    over_details = _details(np.asarray(over, np.float32), *scales)
    p, q = (values[inside].astype(np.float64) for values in (details, over_details))
    p, q = p - p.mean(), q - q.mean()
    spreads = float(p.std()), float(q.std())
    if min(spreads) < MIN_DETAIL:
        return 0.0
    return float((p * q).mean() / (spreads[0] * spreads[1]))


def _details(grey: NDArray[np.float32], finest: float, coarsest: float) -> NDArray[np.float32]:
    """Grey levels without their coarsest parts, in which unrelated pictures agree, and their finest: noise."""
    return np.subtract(
        cv2.GaussianBlur(grey, (0, 0), finest), cv2.GaussianBlur(grey, (0, 0), coarsest), dtype=np.float32
    )


def _evened(grey: NDArray[np.float32], scales: tuple[float, float] = EVENED) -> NDArray[np.float32]:
    details = _details(grey, *scales)
    return np.divide(details, np.sqrt(cv2.GaussianBlur(details * details, (0, 0), scales[1]) + 4), dtype=np.float32)


def match_record(found: Match) -> str:
    """A match as the cache keeps it."""
    return json.dumps([found.score, found.scale, found.shift])


def match_from_record(record: str) -> Match:
    """The match that a record of the cache holds."""
    score, scale, shift = json.loads(record)
    return Match(score, (scale[0], scale[1]), (shift[0], shift[1]))
