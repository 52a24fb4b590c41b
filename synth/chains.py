"""The random chains of the papers, as a recipe would write them: `chain = "wild-ir"` stands for a list of rounds.

A round is a list of steps. `use` is a degradation, whose settings stand beside it; `either` are several, of which one
is taken by its `odds`; `chance` is how often the step is taken at all, `word` what a label calls it, `return` the way
back to the picture's size. Figures are those of the papers, or of the code beside them where they say no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

StepTable = Mapping[str, Any]


@dataclass(frozen=True)
class NamedChain:
    """A chain of a paper. rounds and shuffle: as in `patina.synth.chain.Chain`, the steps as tables."""

    about: str
    rounds: tuple[tuple[StepTable, ...], ...]
    shuffle: tuple[bool, ...]


OPENCV = ["area", "bilinear", "bicubic"]

# ---------------------------------------------------------------------------------------------------------------------
# Real-ESRGAN (arXiv 2107.10833), ×4: its options file `train_realesrgan_x4plus.yml`, and the paper's Section 3.
# Pictures come back at their own size, by bicubic. Its last round is sinc and the last resizing, then JPEG, or JPEG
# first; here those three come in any order.

REAL_KERNELS = {
    "kernels": {"gaussian": 0.63, "generalised": 0.135, "plateau": 0.135, "sinc": 0.1},
    "round": 0.69,
    "size": {"min": 7, "max": 21},
    "shape": {"min": 0.5, "max": 4},
    "plateau": {"min": 1, "max": 2},
}


def _real_resize(down: float, up: float, odds: tuple[float, float, float], keep: float) -> StepTable:
    """Smaller, larger or as it is, between factors of the size that the round starts from."""
    own = {"use": "downsampled", "method": OPENCV, "antialias": False}
    sizes = [{"min": down * keep, "max": keep}, {"min": keep, "max": up * keep}, keep]
    return {"either": [{**own, "scale": scale, "odds": share} for scale, share in zip(sizes, odds, strict=True)]}


def _noise(sigma: dict[str, float], scale: dict[str, float], gaussian: float, word: str = "noisy") -> StepTable:
    """Gaussian or Poisson noise, grey in 40 % of cases."""
    choices = [
        {"use": "noisy", "sigma": sigma, "grey": 0.4, "odds": gaussian},
        {"use": "noisy", "model": "poisson", "scale": scale, "grey": 0.4, "odds": 1 - gaussian},
    ]
    return {"either": choices, "word": word}


REAL_ESRGAN = NamedChain(
    "Real-ESRGAN's second order for ×4: blur, resize, noise and JPEG twice, and a sinc at the end",
    (
        (
            {"use": "blurred", "sigma": {"min": 0.2, "max": 3}, "aspect": {"min": 0.1, "max": 1}, **REAL_KERNELS},
            _real_resize(0.15, 1.5, (0.7, 0.2, 0.1), 1),
            _noise({"min": 1, "max": 30}, {"min": 0.05, "max": 3}, 0.5),
            {"use": "jpeg-compressed", "quality": {"min": 30, "max": 95}},
        ),
        (
            {
                "use": "blurred",
                "sigma": {"min": 0.2, "max": 1.5},
                "aspect": {"min": 0.15, "max": 1},
                "chance": 0.8,
                **REAL_KERNELS,
            },
            _real_resize(0.3, 1.2, (0.4, 0.3, 0.3), 0.25),
            _noise({"min": 1, "max": 25}, {"min": 0.05, "max": 2.5}, 0.5),
        ),
        (
            {"use": "downsampled", "scale": 0.25, "method": OPENCV, "antialias": False},
            {"use": "blurred", "kernels": {"sinc": 1}, "size": {"min": 7, "max": 21}, "chance": 0.8},
            {"use": "jpeg-compressed", "quality": {"min": 30, "max": 95}},
        ),
    ),
    (False, False, True),
)

# ---------------------------------------------------------------------------------------------------------------------
# BSRGAN (arXiv 2103.14006), ×4: two blurs, two resizings, Gaussian noise, JPEG and camera noise in any order, but the
# second resizing after the first; and a last JPEG. Of its resizings, the one by a shifted Gaussian kernel is not here.

_BSR_BLUR: StepTable = {
    "use": "blurred",
    "sigma": {"min": 0.1, "max": 2.8},
    "aspect": {"min": 0.1, "max": 1},
    "round": 0.5,
    "kernels": {"gaussian": 1},
    "size": {"min": 7, "max": 25},
}
_BSR_JPEG: StepTable = {"use": "jpeg-compressed", "quality": {"min": 30, "max": 95}}

BSRGAN = NamedChain(
    "BSRGAN's shuffle for ×4: blur twice, resize twice, noise, camera noise and JPEG in any order, and JPEG at the end",
    (
        (
            _BSR_BLUR,
            _BSR_BLUR,
            {
                "use": "downsampled",
                "scale": {"min": 0.125, "max": 1},
                "method": ["bilinear", "bicubic", "area"],
                "antialias": False,
                "chance": 0.75,
            },
            {"use": "downsampled", "scale": 0.25, "method": ["bilinear", "bicubic", "area"], "antialias": False},
            {"use": "noisy", "sigma": {"min": 2, "max": 25}, "grey": 0.4},
            {**_BSR_JPEG, "chance": 0.9},
            {"use": "noisy", "model": "sensor", "chance": 0.25},
        ),
        (_BSR_JPEG,),
    ),
    (True, False),
)

# ---------------------------------------------------------------------------------------------------------------------
# wild-IR (Luo et al., arXiv 2404.09732): the chain of DA-CLIP's follow-up, from `deg_util.py` beside its code. Its
# words are those of `wild-daclip_ViT-L-14.pt`. Not here: stored kernels (3 % of its blurs), the filter of displays (a
# fifth of what is not blurred) and a deblurring after a tenth of the small kernels. Its code labels a resize as a blur;
# here it is labelled resize.

WILD_KERNELS = {
    "kernels": {"gaussian": 0.55, "generalised": 0.13, "plateau": 0.13, "disc": 0.1, "box": 0.03, "line": 0.03},
    "round": 0.68,
    "aspect": {"min": 0.1, "max": 1},
    "shape": {"min": 0.5, "max": 2},
    "plateau": {"min": 1, "max": 1.5},
}


def _wild_blur(sigma: float, size: int, chance: float, sinc: float) -> StepTable:
    kinds: Mapping[str, float] = WILD_KERNELS["kernels"]  # type: ignore[assignment]
    all_kinds = {kind: share * (1 - sinc) for kind, share in kinds.items()} | {"sinc": sinc}
    own = {"use": "blurred", "word": "blur", "chance": chance, "sigma": {"min": 0.2, "max": sigma}}
    return {
        **own,
        **WILD_KERNELS,
        "size": {"min": 5, "max": size},
        "kernels": all_kinds,
        "cutoff": {"min": 0.63, "max": 3.14},
    }


_WILD_NOISE = _noise({"min": 1, "max": 5}, {"min": 0.01, "max": 0.5}, 0.6, "noise")

WILD_IR = NamedChain(
    "wild-IR's three rounds of blur, resize, noise and JPEG in any order, milder each time, at the picture's own size",
    (
        (
            _wild_blur(2.2, 19, 0.8, 0.1),
            {
                "use": "downsampled",
                "scale": {"min": 0.714, "max": 2},
                "method": OPENCV,
                "antialias": False,
                "word": "resize",
                "chance": 0.8,
            },
            {**_WILD_NOISE, "chance": 0.4},
            {"use": "jpeg-compressed", "quality": {"min": 60, "max": 95}, "word": "jpeg", "chance": 0.4},
        ),
        (_wild_blur(1.5, 9, 0.4, 0.1), {**_WILD_NOISE, "chance": 0.2}),
        (
            _wild_blur(1, 19, 0.8, 0.8),
            {"return": OPENCV},
            {"use": "jpeg-compressed", "quality": {"min": 80, "max": 100}, "word": "jpeg", "chance": 0.4},
        ),
    ),
    (True, True, True),
)

CHAINS: dict[str, NamedChain] = {"real-esrgan": REAL_ESRGAN, "bsrgan": BSRGAN, "wild-ir": WILD_IR}
