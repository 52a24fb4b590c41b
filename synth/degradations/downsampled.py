"""`downsampled`: a photograph that was stored with fewer pixels, and enlarged again.

What is lost is what the small picture cannot hold; what is added is what the two methods do: aliases, rings, blocks.
DIV2K's tracks (NTIRE 2017) shrink by MATLAB's `imresize`, bicubic with an antialiasing kernel; BSRGAN (arXiv
2103.14006) and Real-ESRGAN (arXiv 2107.10833) by area, bilinear or bicubic without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from patina.synth.degradation import (
    Degradation,
    Degraded,
    Knob,
    Params,
    Place,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.image import Image
from patina.synth.resizing import METHODS, bands
from patina.synth.rng import Rng
from patina.synth.scales import Scale, about
from patina.synth.strips import tell
from patina.synth.wording import Known, Said, Wording, on_scale

LARGEST = 2.0
"""The largest scale: above 1 the picture is enlarged first."""


SMALL = Scale(
    (
        (math.inf, "slightly reduced resolution"),
        (0.75, "reduced resolution"),
        (0.5, "low resolution"),
        (0.25, "very low resolution"),
        (0.125, "extremely low resolution"),
    ),
    falling=True,
)
"""The small picture's width over the photograph's: the bounds are ×2, ×4 and ×8 of super-resolution. The names are
ours."""


def _said(known: Known) -> Said:
    scale = known.number("scale")
    if not scale:
        return Said("lost resolution", "lost resolution")
    if scale >= 1:
        return Said("a resampling without loss of size", "resampling", -1)
    return on_scale(SMALL, scale, f"stored at about {about(100 * scale)}% of its width", "lost resolution")


@dataclass(frozen=True)
class Downsampled(Degradation):
    """lq = up(round(down(gt))): made smaller, stored in 8-bit levels, and made as large as it was.

    scale      of the width and the height of the small picture, 0.02..2: ¼ is the ×4 of super-resolution. Above 1 it is
               enlarged first and shrunk again, which does next to nothing. A range is drawn so that each ratio is as
               likely. The small picture has 1 px a side at least.
    method     how it is shrunk, one of nearest, area, bilinear, bicubic, lanczos, or a list to choose from.
    antialias  whether bilinear, bicubic and Lanczos kernels grow with the step, as Pillow's and MATLAB's do; else, as
               in OpenCV and torch, fine structure comes back as coarse. true, false, or a number: how often, 0..1.
    back       how it is enlarged, one of the same methods or a list to choose from; nearest gives blocks.

    Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "downsampled"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "codec"
    knob: ClassVar[Knob | None] = Knob("scale", 0.9, 0.04)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"method": "nearest", "back": "nearest"},
        {"method": "bicubic", "antialias": False},
        {"method": "lanczos", "antialias": True, "back": "lanczos"},
        {"method": "area", "back": "area"},
    )
    wording: ClassVar[Wording | None] = Wording(
        _said, ("restore the {}", "bring the detail back", "increase the resolution")
    )

    scale: Values = field(default_factory=lambda: {"min": 0.25, "max": 0.5})
    method: str | Sequence[str] = field(default_factory=lambda: ["area", "bilinear", "bicubic", "lanczos"], hash=False)
    antialias: float = 0.5
    back: str | Sequence[str] = field(default_factory=lambda: ["bilinear", "bicubic"], hash=False)

    def __post_init__(self) -> None:
        check_values("scale", self.scale, 0.02, LARGEST)
        check_methods("method", self.method)
        check_methods("back", self.back)
        for name in ("method", "back"):  # a recipe's lists arrive as tuples
            if not isinstance(getattr(self, name), str):
                object.__setattr__(self, name, list(getattr(self, name)))
        check_values("antialias", float(self.antialias) if isinstance(self.antialias, bool) else self.antialias, 0, 1)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`scale`, `method`, `antialias` (true or false) and `back`; and `height` and `width` of the small picture."""
        scale = draw_scale(rng, self.scale)
        params = {"scale": scale, "method": drawn_method(rng, self.method), "antialias": rng.uniform() < self.antialias}
        height, width = (small_side(side, scale) for side in image.shape[:2])
        return {**params, "back": drawn_method(rng, self.back), "height": height, "width": width}

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out."""
        small = _levels(image, (params["height"], params["width"]), params["method"], params["antialias"])
        return Degraded(_levels(small, image.shape[:2], params["back"], True))


def small_side(side: int, scale: float) -> int:
    """Pixels of a side at a scale."""
    return max(1, round(side * scale))


def draw_scale(rng: Rng, scale: Values) -> float:
    """A scale; of a range, so that each ratio is as likely."""
    return rng.log_uniform(scale["min"], scale["max"]) if isinstance(scale, Mapping) else draw_value(rng, scale)


def drawn_method(rng: Rng, methods: str | Sequence[str]) -> str:
    """One of the methods."""
    return rng.choice([methods] if isinstance(methods, str) else methods)


def check_methods(name: str, methods: str | Sequence[str]) -> None:
    """Raise SettingError unless `methods` is a method, or a list of some."""
    written: Any = [methods] if isinstance(methods, str) else methods
    if not isinstance(written, Sequence) or not written:
        raise SettingError(f"{name}: expected one of {', '.join(METHODS)}, or a list of some, found {methods!r}")
    for method in written:
        if method not in METHODS:
            raise SettingError(f"{name}: expected one of {', '.join(METHODS)}, found {method!r}")


def _levels(image: Image, size: tuple[int, ...], method: str, antialias: bool) -> Image:
    """8-bit levels of `image` at another size, rounded, some rows at a time."""
    height, width = size[:2]
    result = np.empty((height, width, 3), np.uint8)
    for top, part in bands(image, (height, width), method, antialias):
        np.clip(np.rint(part, out=part), 0, 255, out=part)
        result[top : top + len(part)] = part
        tell((top + len(part)) / height)
    return result
