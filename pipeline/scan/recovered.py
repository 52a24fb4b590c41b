"""What the published sets of pairs tell of how they were made: parameters in file names, and layers in the pixels.

Only what is certain is told. Names of RESIDE's outdoor pairs carry airlight and β; the pairs of Rain100 are a clean
image plus a grey layer, clipped, so that the layer comes back exactly wherever one channel does not clip.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.codec.decode import SUFFIXES
from patina.synth.image import Image, Map

RECOVERIES: Mapping[str, int] = {"rainy": 2}
"""Raised when something is recovered of a label's pairs in another way, so that they are stored anew; 1 for others."""

TRUTH: Mapping[str, tuple[str, ...]] = {"rainy": ("streaks", "clipped")}
"""Truth maps that pairs of a label may have."""

Value: TypeAlias = float | int | str | list[float]

_OUTDOOR = re.compile(r"\d{4}_(0\.\d{1,2}|1|1\.0)_(0\.\d{1,2})")

EQUAL = 1
"""Levels by which the channels of a grey layer may differ: a set may have been rounded once more."""

MOST = 0.99
"""Share of the pixels that must fit the structure."""

COLOURED = (8, 0.05)
"""In a grey picture every layer is grey. So at least 5 % of the clean image's pixels must have channels that are 8
levels apart; under a veil, which lifts dark channels more, the residual's channels then differ too."""

VISIBLE = 2
"""Levels above which the layer counts as rain."""

LEAST = 0.001
"""Share of the pixels that it must cover at least; below, there is no layer to speak of."""


@dataclass(frozen=True)
class Recovered:
    """What was recovered of a pair: parameters, as KEY.json holds them, and truth maps of the pair's size, by name."""

    params: Mapping[str, Value] = field(default_factory=dict)
    truth: Mapping[str, Map] = field(default_factory=dict)


@dataclass(frozen=True)
class RainLayer:
    """The grey layer S of a pair LQ = clip(GT + S), and what it is like.

    layer      H×W uint8, levels; exact where not `clipped`, the least that it can be where it is.
    clipped    H×W bool: all channels of the LQ are white.
    coverage   share of the pixels with more than 2 levels of it; median: its levels there. saturated: share clipped.
    coherence  of its edges, 0..1: 1 where neighbours run one way. From the structure tensor, without clipped places.
    angle      of its edges to the vertical, degrees, -90..90; above 0 they fall to the right, as in `rainy`.
    """

    layer: NDArray[np.uint8] = field(repr=False)
    clipped: NDArray[np.bool_] = field(repr=False)
    coverage: float
    median: float
    saturated: float
    coherence: float
    angle: float


def recover(degradation: str, name: str, lq: Image, gt: Image) -> Recovered:
    """What can be told of a pair by the label `degradation`: its LQ's file name, and both images, RGB uint8 H×W×3.

    hazy   `airlight` and `beta`, from the name.
    rainy  `coverage`, `median`, `saturated`, `coherence` and `angle` of the layer; truth `streaks` (H×W uint8, levels,
           as in synthesised rain) and `clipped` (H×W uint8; 255 where `streaks` is only a lower bound).
    """
    if degradation == "hazy":
        return Recovered(dict(reside_parameters(name)))
    found = rain_layer(lq, gt) if degradation == "rainy" else None
    if found is None:
        return Recovered()
    params: dict[str, Value] = {
        "model": "clip(gt + grey layer)",
        "coverage": found.coverage,
        "median": found.median,
        "saturated": found.saturated,
        "coherence": found.coherence,
        "angle": found.angle,
    }
    return Recovered(params, {"streaks": found.layer, "clipped": np.where(found.clipped, 255, 0).astype(np.uint8)})


def unknown_maps(degradation: str, height: int, width: int) -> dict[str, Map]:
    """The truth maps that a pair of that label may have, saying that nothing is known: `streaks` of at least 0, which
    is a lower bound everywhere. No layer that is recovered looks so."""
    if degradation != "rainy":
        return {}
    return {"streaks": np.zeros((height, width), np.uint8), "clipped": np.full((height, width), 255, np.uint8)}


def reside_parameters(file_name: str) -> dict[str, float]:
    """Airlight A (0.8..1) and β (0.04..0.2 per unit of the set's own depth) from a name of RESIDE's OTS, SOTS outdoor
    or RESIDE-6k, such as `0025_0.8_0.1.jpg`; empty for every other name.

    Numbers off the set's grid (A by 0.05, β by 0.02) are none of its. The last number of ITS's names, such as
    `1_1_0.90179.png`, is read as airlight by some and as β by others and documented by nobody, so nothing is said.
    """
    name = PurePosixPath(file_name).name
    stem = name[: -len(PurePosixPath(name).suffix)] if PurePosixPath(name).suffix.lower() in SUFFIXES else name
    found = _OUTDOOR.fullmatch(stem)
    if not found:
        return {}
    airlight, beta = float(found[1]), float(found[2])
    a, b = round(airlight * 100), round(beta * 100)
    if not (80 <= a <= 100 and a % 5 == 0 and 4 <= b <= 20 and b % 2 == 0):
        return {}
    return {"airlight": airlight, "beta": beta}


def rain_layer(lq: Image, gt: Image) -> RainLayer | None:
    """The layer S ≥ 0, equal in all channels, for which LQ = clip(GT + S); None if the pair is not made so.

    Judged by the pixels of which two channels do not clip: 99 of 100 must have equal residuals (±1 level) that are not
    negative. None also for sizes that differ, pictures too grey to tell, and pairs without rain.
    """
    if lq.shape != gt.shape or not _coloured(gt):
        return None
    residual = lq.astype(np.int16) - gt
    white = lq == 255
    open_channels = 3 - white.sum(axis=2)
    high = np.where(white, -256, residual).max(axis=2)
    low = np.where(white, 256, residual).min(axis=2)
    judged = open_channels >= 2
    if judged.mean() < LEAST:
        return None
    fits = (high - low <= EQUAL) & (low >= 0)
    if fits[judged].mean() < MOST:
        return None
    at_least = residual.max(axis=2)  # S lifts every clipped channel to white, so it has at least what that takes
    over = np.where(white, residual, -256).max(axis=2) - high
    if (over[judged] <= EQUAL).mean() < MOST:
        return None
    clipped = open_channels == 0
    total = np.where(white, 0, residual).sum(axis=2)
    mean = np.rint(total / np.maximum(open_channels, 1))
    layer = np.clip(np.where(clipped, at_least, mean), 0, 255).astype(np.uint8)
    visible = layer > VISIBLE
    if visible.mean() < LEAST:
        return None
    coherence, angle = _orientation(layer, clipped)
    return RainLayer(
        layer,
        clipped,
        round(float(visible.mean()), 4),
        float(np.median(layer[visible])),
        round(float(clipped.mean()), 4),
        coherence,
        angle,
    )


def _coloured(gt: Image) -> bool:
    levels, share = COLOURED
    spread = gt.max(axis=2) - gt.min(axis=2)
    return bool((spread >= levels).mean() >= share)


def _orientation(layer: NDArray[np.uint8], clipped: NDArray[np.bool_]) -> tuple[float, float]:
    """Coherence (0..1) and angle to the vertical (degrees) of a layer's edges, from its structure tensor.

    The coherence is that of neighbourhoods of some pixels, weighted by their edges, so that rain of several directions
    counts as coherent too; the angle is that of the whole.
    """
    values = layer.astype(np.float64)
    gx, gy = cv2.Scharr(values, cv2.CV_64F, 1, 0), cv2.Scharr(values, cv2.CV_64F, 0, 1)
    known = cv2.dilate(clipped.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0  # bounds have the clean image's edges
    xx, yy, xy = (np.where(known, product, 0.0) for product in (gx * gx, gy * gy, gx * gy))
    if not (xx + yy).any():
        return 0.0, 0.0
    near = [np.asarray(cv2.GaussianBlur(v, (0, 0), 2.0), np.float64) for v in (xx, yy, xy)]
    coherence = np.hypot(near[0] - near[1], 2 * near[2]).sum() / (near[0] + near[1]).sum()
    across = 0.5 * math.atan2(2 * xy.sum(), xx.sum() - yy.sum())  # the gradient's way; edges run at a right angle to it
    return round(float(coherence), 3), round(-math.degrees(across), 1)
