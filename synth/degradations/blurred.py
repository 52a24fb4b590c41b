"""`blurred`: convolved with one small kernel, as in the work on blind super-resolution.

The kernels are those of Real-ESRGAN (arXiv 2107.10833, appendix) and of the code beside it: Gaussians, generalised
Gaussians and plateaus, round or stretched, and the sinc that rings; discs, boxes and lines as well. They say nothing of
a camera: `defocus-blurry` and `motion-blurry` do. A chain takes this one as its blur.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.convolution import convolve
from patina.synth.degradation import (
    Degraded,
    Knob,
    Params,
    Place,
    Rendered,
    Rendering,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.elementary import cosine, cosine_of, exp, power, sine, sine_of
from patina.synth.image import FloatImage, Image, as_floats, to_uint8
from patina.synth.opencv import correlated
from patina.synth.resampling import shortened
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import tell
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

KERNELS = ("gaussian", "generalised", "plateau", "sinc", "disc", "box", "line")

TOP = 511
"""The largest weight of a kernel: what is below half of one in 511 is left out, beyond 3.7 σ of a Gaussian."""

BAND = 1 << 18
"""Values of a result at a time: they and what is around them take no more than a few megabytes."""


SPREAD = Scale(((0, "very slight blur"), (0.8, "slight blur"), (1.6, "medium blur"), (3.2, "strong blur")))
"""Pixels of a kernel's standard deviation. The names are ours; 0.2 to 3 are Real-ESRGAN's."""


def _said(known: Known) -> Said:
    if known.params.get("kind") == "sinc":
        return Said("ringing beside edges", "ringing")
    sigma = known.number("sigma")
    if not sigma:
        return Said("blur", "blur") if sigma is None else nothing("blur")
    return on_scale(SPREAD, sigma, f"standard deviation about {about(sigma)} px", "blur")


@dataclass(frozen=True)
class Blurred(Rendered):
    """lq = k * gt in sRGB levels: one kernel for the whole image, whose weights add up to 1.

    sigma      px, the standard deviation of a Gaussian, a disc and a box, and of a line along its length; a plateau's
               half width. 0..12; 0 is no blur.
    aspect     of the widths across and along, 0.05..1, for Gaussians, generalised ones and plateaus; 1 is round. Each
               stretched kernel is turned by any angle.
    round      how often such a kernel is round all the same, 0..1.
    kernels    the odds of each kind, a table with keys of gaussian, generalised, plateau, sinc, disc, box, line.
    size       px, the side of the kernel, odd, 3..41: what lies beyond is cut off.
    shape      β of generalised Gaussians exp(−½ r^2β), 0.3..8; half of a range's draws lie below 1, half above.
    plateau    β of plateaus 1/(1 + r^2β), 1..8.
    cutoff     of a sinc, radians a pixel, 0.3..3.14: frequencies above it are lost, and edges ring.

    A range of sizes is drawn in odd numbers. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "blurred"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("kernel",)
    knob: ClassVar[Knob | None] = Knob("sigma", 0.3, 6)
    reads_levels: ClassVar[bool] = True
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"kernels": {kind: 1}} for kind in ("gaussian", "generalised", "plateau", "disc", "box", "line")
    )
    wording: ClassVar[Wording | None] = Wording(_said, ("remove the {}", "sharpen the picture"))

    sigma: Values = field(default_factory=lambda: {"min": 0.6, "max": 3})
    aspect: Values = field(default_factory=lambda: {"min": 0.3, "max": 1})
    round: float = 0.6
    kernels: Mapping[str, float] = field(
        default_factory=lambda: {"gaussian": 0.8, "generalised": 0.1, "plateau": 0.1},
        hash=False,
    )
    size: Values = 21
    shape: Values = field(default_factory=lambda: {"min": 0.5, "max": 4})
    plateau: Values = field(default_factory=lambda: {"min": 1, "max": 2})
    cutoff: Values = field(default_factory=lambda: {"min": 1.05, "max": 3.14})

    def __post_init__(self) -> None:
        check_values("sigma", self.sigma, 0, 12)
        check_values("aspect", self.aspect, 0.05, 1)
        check_values("round", self.round, 0, 1)
        odds: Any = self.kernels
        if not isinstance(odds, Mapping) or not odds or set(odds) - set(KERNELS):
            raise SettingError(f"kernels: expected a table with odds of {', '.join(KERNELS)}, found {odds!r}")
        for kind, share in odds.items():
            check_values(f"kernels {kind}", share, 0, 1e6)
        if not sum(odds.values()):
            raise SettingError("kernels: all odds are 0; give one of them more")
        check_values("size", self.size, 3, 41, whole=True)
        check_values("shape", self.shape, 0.3, 8)
        check_values("plateau", self.plateau, 1, 8)
        check_values("cutoff", self.cutoff, 0.3, 3.14)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`kind`, `size` (odd, px), `sigma` and `across` (px), `angle` (degrees), `beta` and `cutoff`: 0 where the kind
        has none. And `light`, "encoded", as readers of the kernel expect it."""
        kind = chosen(rng, self.kernels)
        size = int(draw_value(rng, self.size, whole=True)) // 2 * 2 + 1
        sigma, aspect, is_round = draw_value(rng, self.sigma), draw_value(rng, self.aspect), rng.uniform() < self.round
        angle, beta, cutoff = rng.uniform(0, 180), _beta(rng, kind, self), draw_value(rng, self.cutoff)
        stretched = kind in {"gaussian", "generalised", "plateau"}
        across = sigma * aspect if stretched and not is_round else sigma
        return {
            "kind": kind,
            "size": size,
            "sigma": sigma if kind != "sinc" else 0.0,
            "across": across if kind != "sinc" else 0.0,
            "angle": angle if across < sigma or kind == "line" else 0.0,
            "beta": beta,
            "cutoff": cutoff if kind == "sinc" else 0.0,
            "light": "encoded",
        }

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out; `kernel`: k×k uint16, of which 65535 is the largest weight, negative
        ones 0."""
        kernel = kernel_of(params)
        result = np.empty(image.shape, np.float32)
        for top, part in _bands(image, kernel, _row_of(params)):
            result[top : top + len(part)] = part
        return Rendering(result, _truth(kernel))

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out."""
        kernel = kernel_of(params)
        lq = np.empty_like(image, order="C")
        for top, part in _bands(image, kernel, _row_of(params)):
            lq[top : top + len(part)] = to_uint8(part)
        return Degraded(lq, _truth(kernel))


def _truth(kernel: NDArray[np.int64]) -> dict[str, NDArray[np.uint16]]:
    return {"kernel": np.asarray(np.clip(kernel, 0, None) * 65535 // kernel.max(), np.uint16)}


def _bands(
    image: FloatImage | Image, kernel: NDArray[np.int64], row: NDArray[np.int64] | None
) -> Iterator[tuple[int, FloatImage]]:
    """The convolved image in [0, 1], some rows of it at a time, each band with the number of its first row.

    Of a kernel that is `row` times itself, rows are filtered and then columns.

    Beyond the border lie mirrored pixels: of images smaller than the kernel the same ones again.
    """
    reach, height = len(kernel) // 2, len(image)
    count = max(1, BAND // image[0].size)
    for top in range(0, height, count):
        bottom = min(height, top + count)
        above, below = max(0, top - reach), min(height, bottom + reach)
        part = np.array(as_floats(image[above:below]), np.float32)
        if not reach:
            yield top, part
            tell(bottom / height)
            continue
        sides = above - (top - reach), bottom + reach - below, reach, reach
        framed: Any = cv2.copyMakeBorder(shortened(part), *sides, cv2.BORDER_REFLECT)
        if row is None:
            blurred = convolve(framed, kernel)
            blurred *= np.float32(1 / kernel.sum())
        else:
            blurred = framed
            for taps, cut in ((row[None], np.s_[:, reach:-reach]), (row[:, None], np.s_[reach:-reach])):
                # OpenCV adds up in the order of the taps; no product is rounded, see `patina.synth.convolution`.
                filtered = correlated(shortened(blurred), taps.astype(np.float32))
                blurred = np.ascontiguousarray(filtered[cut])
                blurred *= np.float32(1 / row.sum())
        yield top, np.clip(blurred, 0, 1, out=blurred)
        tell(bottom / height)


def chosen(rng: Rng, odds: Mapping[str, float]) -> str:
    """One of the keys, as likely as its odds say."""
    place = rng.uniform(0, sum(odds.values()))
    likely = [(key, share) for key, share in odds.items() if share]
    for key, share in likely:
        place -= share
        if place < 0:
            return key
    return likely[-1][0]


def _beta(rng: Rng, kind: str, settings: Blurred) -> float:
    """The exponent of a kind that has one."""
    if kind == "plateau":
        return draw_value(rng, settings.plateau)
    if kind != "generalised":
        return 0.0
    shape = settings.shape
    if isinstance(shape, Mapping) and shape["min"] < 1 < shape["max"]:
        low, high = (shape["min"], 1.0) if rng.uniform() < 0.5 else (1.0, shape["max"])
        return rng.uniform(low, high)
    return draw_value(rng, shape)


def kernel_of(params: Params) -> NDArray[np.int64]:
    """k×k whole numbers, k odd, of which the largest is TOP, or its square where the kernel is a row times a column.

    Rows and columns of nothing are left out at the borders.
    """
    kind, size, sigma = params["kind"], params["size"], params["sigma"]
    if kind != "sinc" and sigma < 0.05:
        return np.full((1, 1), TOP)
    if (row := _row_of(params)) is not None:
        return np.asarray(row[:, None] * row)
    reach = size // 2
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    y = x[:, None]
    weights = _weights(kind, x + 0 * y, y + 0 * x, params)
    whole = np.rint(weights * (TOP / weights.max())).astype(np.int64)
    while reach and not (whole[0].any() or whole[-1].any() or whole[:, 0].any() or whole[:, -1].any()):
        whole, reach = np.ascontiguousarray(whole[1:-1, 1:-1]), reach - 1
    return np.asarray(whole)


def _row_of(params: Params) -> NDArray[np.int64] | None:
    """k whole numbers, the largest TOP, of which the kernel is the product with themselves; None for most kernels."""
    kind, sigma = params["kind"], params["sigma"]
    if sigma < 0.05 or not (kind == "box" or (kind == "gaussian" and params["across"] == sigma)):
        return None
    x = np.arange(-(params["size"] // 2), params["size"] // 2 + 1, dtype=np.float64)
    weights = _inside(x, math.sqrt(3) * sigma) if kind == "box" else exp(-x * x / (2 * sigma * sigma))
    whole = np.rint(weights * (TOP / weights.max())).astype(np.int64)
    return np.asarray(whole[whole > 0])


def _weights(kind: str, x: NDArray[np.float64], y: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    """The kernel at offsets of pixels."""
    sigma, turn = params["sigma"], np.pi / 180 * params["angle"]
    if kind == "sinc":
        return _sinc(np.sqrt(x * x + y * y), params["cutoff"])
    if kind == "disc":
        return np.asarray(np.clip(2 * sigma + 0.5 - np.sqrt(x * x + y * y), 0, 1))
    along, across = x * cosine_of(turn) + y * sine_of(turn), y * cosine_of(turn) - x * sine_of(turn)
    if kind == "line":
        return np.asarray(_inside(along, math.sqrt(3) * sigma) * np.maximum(1 - np.abs(across), 0))
    square = along * along / (sigma * sigma) + across * across / (params["across"] * params["across"])
    if kind == "gaussian":
        return exp(-square / 2)
    raised = np.where(square > 0, power(np.where(square > 0, square, 1), params["beta"]), 0)
    return exp(-raised / 2) if kind == "generalised" else np.asarray(1 / (1 + raised))


def _inside(x: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """How much of each pixel lies within `half` px of the middle."""
    return np.asarray(np.clip(half + 0.5 - np.abs(x), 0, 1))


def _sinc(radius: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    """The round low-pass ω J₁(ωr)/(2πr): J₁(x) is the mean of cos(t − x sin t) over half a turn."""
    t = (np.arange(64) + 0.5) * (np.pi / 64)
    swing = sine(t)
    safe = np.where(radius == 0, 1, radius)
    bessel = np.zeros_like(radius)
    for angle, side in zip(t, swing, strict=True):
        bessel += cosine(angle - cutoff * safe * side)
    value = cutoff * bessel / (64 * 2 * np.pi * safe)
    return np.where(radius == 0, cutoff * cutoff / (4 * np.pi), value)
