"""Whether two images are a pair: equal sizes, the same scene in the same place, the degraded one where it belongs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError, SourceError
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.digests import inspector_id
from patina.pipeline.scan.reading import SourceChangedError, load_clean, read_verified
from patina.pipeline.scan.source import Source, display_name
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.synth.image import Image

MAX_SHIFT = 1.5
"""Pixels. GoPro's and RainDrop's pairs lie below one; a border that was cropped on one side gives five or more."""

MIN_RESPONSE = 0.1
"""Phase correlation's peak, 0..1: below it the estimate is chance and says nothing."""

MIN_GAIN = 0.1
"""By how much two images must agree better (in correlation, -1..1) once the shift is undone. A motion blur doubles
edges, and the estimate may lead from one copy to the other: undoing that gains 0.05 at most, undoing a true shift 0.2.
"""

# Which way sharpness goes when a clean image is degraded. Words that are not here change it either way.
BLUNTED = frozenset({"motion-blurry", "hazy", "low-light"})
SHARPENED = frozenset({"noisy", "rainy", "snowy"})


@dataclass(frozen=True)
class PairCheck:
    """What the comparison of an LQ with its GT found; `problem` if they cannot be a pair.

    shift_x, shift_y  pixels by which the LQ lies to the right of and below the GT; 0 where it cannot be told.
    ratio             sharpness of the LQ over that of the GT.
    """

    problem: str = ""
    shift_x: float = 0.0
    shift_y: float = 0.0
    ratio: float = 1.0


def sharpness(image: Image) -> float:
    """Mean absolute luminance gradient in levels per pixel, of an H×W×3 RGB uint8 image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def check_pair(lq: Image, gt: Image) -> PairCheck:
    """Compare two RGB uint8 images that are said to be a pair."""
    if lq.shape != gt.shape:
        (h, w), (gh, gw) = lq.shape[:2], gt.shape[:2]
        return PairCheck(f"its degraded image is {w}×{h} px and the clean one {gw}×{gh}; they must be equal")
    dx, dy, response = _shift(lq, gt)
    ratio = round(sharpness(lq) / max(sharpness(gt), 1e-6), 4)
    far = max(abs(dx), abs(dy)) > MAX_SHIFT
    if response < MIN_RESPONSE or (far and _gain(lq, gt, round(dx), round(dy)) < MIN_GAIN):
        return PairCheck("", 0.0, 0.0, ratio)
    problem = ""
    if far:
        problem = f"its degraded image is shifted by ({dx:+.1f}, {dy:+.1f}) px against the clean one; align them first"
    return PairCheck(problem, round(dx, 2), round(dy, 2), ratio)


def swapped(degradation: str, check: PairCheck) -> bool:
    """Whether, for `degradation`, the LQ looks like the clean one of the two."""
    if degradation in BLUNTED:
        return check.ratio > 1.1
    return degradation in SHARPENED and check.ratio < 1 / 1.1


def _shift(lq: Image, gt: Image) -> tuple[float, float, float]:
    """Phase correlation of the two images' edges: (x, y, peak)."""
    first, second = _edges(gt), _edges(lq)
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (dx, dy), response = cv2.phaseCorrelate(first, second, window)
    return float(dx), float(dy), float(response)


def _edges(image: Image) -> NDArray[np.float32]:
    """Gradient magnitude after a slight blur, with local contrast evened out: haze and darkness change it little."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    magnitude = np.hypot(gx, gy).astype(np.float32)
    return (magnitude / (cv2.GaussianBlur(magnitude, (0, 0), 8) + 1.0)).astype(np.float32)


def _gain(lq: Image, gt: Image, dx: int, dy: int) -> float:
    """How much better the two images' details agree if the LQ is taken to be shifted by (dx, dy) px."""
    height, width = gt.shape[:2]
    if abs(dx) * 2 > width or abs(dy) * 2 > height:
        return 0.0  # too little is left to compare
    first, second = _details(gt), _details(lq)
    here = first[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    there = second[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
    return _correlation(here, there) - _correlation(first, second)


def _details(image: Image) -> NDArray[np.float32]:
    """Luminance without its coarsest parts, which agree at any small shift, and its finest, which are noise."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.subtract(cv2.GaussianBlur(grey, (0, 0), 1.5), cv2.GaussianBlur(grey, (0, 0), 8), dtype=np.float32)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    a, b = first - first.mean(), second - second.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))


def check_pairs(
    sources: Sequence[Source], recipe: Recipe, store: ScanStore, workers: int
) -> tuple[dict[int, str], list[str]]:
    """Pairs to set aside by their place in `sources`, with reasons; and notes."""
    pairs = [i for i, s in enumerate(sources) if s.is_pair]
    keys = {i: (_as_cut(sources[i]), sources[i].lq_digest) for i in pairs}
    new = [i for i in pairs if store.pair(*keys[i], inspector_id()) is None]
    with stoppable_threads(workers) as pool:
        for start in range(0, len(new), 256):  # stored by the batch, as digests are
            batch = new[start : start + 256]
            records = list(pool.map(lambda i: _compare(sources[i]), batch))
            store.put_pairs([(*keys[i], inspector_id(), r) for i, r in zip(batch, records, strict=True) if r])
    bad: dict[int, str] = {}
    notes: list[str] = []
    by_source: dict[int, list[tuple[int, PairCheck]]] = defaultdict(list)
    for i in pairs:
        record = store.pair(*keys[i], inspector_id())
        if record is None:
            bad[i] = "changed or vanished while it was read"
            continue
        check = PairCheck(**json.loads(record))
        if check.problem:
            bad[i] = check.problem
        else:
            by_source[sources[i].source_index].append((i, check))
    for source_index, checks in by_source.items():
        wrong = [i for i, check in checks if swapped(sources[i].degradation, check)]
        names = [display_name(sources[i].names[0], sources[i].lq_name) for i in wrong]
        if len(wrong) * 2 > len(checks):
            raise SourceError(
                f"[[sources]] {source_index + 1}: in {len(wrong)} of {len(checks)} pairs the `lq` image looks like the "
                f"clean one for {sources[wrong[0]].degradation!r}, as in {names[0]}; are the folders `lq` and `gt` "
                "swapped?"
            )
        notes += [f"{name}: its degraded image looks like the cleaner one of the two" for name in names]
    return bad, notes


def _as_cut(source: Source) -> str:
    return f"{source.content} less {source.border}" if source.border else source.content


def _compare(source: Source) -> str:
    """The record of one pair's check; empty if the files are no longer what the scan saw."""
    expect_wanted()
    try:
        clean = load_clean(source.path, source.content, source.border)
        degraded: Image = decode(read_verified(source.lq, source.lq_digest)).image
    except (SourceChangedError, BadImageError):
        return ""
    return json.dumps(asdict(check_pair(degraded, clean)))
