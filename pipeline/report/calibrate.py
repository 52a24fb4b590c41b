"""What the degradations do to given photographs at their default settings, beside the figures of the published sets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2

from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError
from patina.pipeline.report.form import form_of
from patina.pipeline.sources.reader import image_files
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.rng import Rng, sample_seed
from patina.synth.severity import Measured, at_clip_size, level_of, measure


@dataclass(frozen=True)
class Anchor:
    """The input PSNR (dB) and SSIM of a published set's degraded images.

    known  `measured`: from the set's files; `published`: in its paper or repository; `recalled`: from the literature,
    not verified here: a hint.
    """

    name: str
    psnr: float
    ssim: float | None
    known: str


ANCHORS: dict[str, tuple[Anchor, ...]] = {
    "motion-blurry": (Anchor("GoPro test", 25.64, 0.793, "recalled"),),
    "hazy": (
        Anchor("SOTS outdoor", 15.92, None, "recalled"),
        Anchor("SOTS indoor", 11.97, None, "recalled"),
        Anchor("CDD-11 haze", 15.87, 0.808, "published"),
    ),
    "jpeg-compressed": (
        Anchor("LIVE1, q10", 25.69, 0.749, "measured"),
        Anchor("CBSD68, q10", 25.83, 0.745, "measured"),
    ),
    "low-light": (Anchor("LOL v1", 7.77, None, "recalled"), Anchor("CDD-11 low", 12.00, 0.369, "published")),
    "noisy": (Anchor("CBSD68, σ = 50", 15.00, 0.219, "measured"),),
    "raindrop": (Anchor("RainDrop test_a", 24.0, None, "recalled"),),
    "rainy": (
        Anchor("Rain100H, luma", 13.56, 0.371, "recalled"),
        Anchor("Rain100L, luma", 26.90, 0.838, "recalled"),
        Anchor("CDD-11 rain", 22.02, 0.792, "published"),
    ),
    "shadowed": (Anchor("ISTD", 20.6, None, "recalled"), Anchor("SRD", 18.0, None, "recalled")),
    "snowy": (
        Anchor("Snow100K-S", 25.1, None, "recalled"),
        Anchor("Snow100K-L", 18.7, None, "recalled"),
        Anchor("CDD-11 snow", 23.62, 0.879, "published"),
    ),
    "uncompleted": (Anchor("CBSD68 crops, RePaint thin masks", 10.2, None, "measured"),),
}


Look: TypeAlias = tuple[Measured, Measured, tuple[float, ...]]
"""What one photograph and its degraded image show: at full size, at CLIP's, and the figures of form."""


@dataclass(frozen=True)
class Calibrated:
    """One degradation at its defaults over all photographs: means, the standard deviation of PSNR, and the figures of
    form of each photograph (`patina.pipeline.report.form`)."""

    name: str
    psnr: float
    psnr_std: float
    ssim: float
    score: float
    clip_score: float
    photographs: int
    form: tuple[tuple[float, ...], ...] = ()

    @property
    def row(self) -> dict[str, str]:
        """The figures as text, beside the anchors."""
        anchors = "; ".join(
            f"{a.name} {a.psnr:.2f}{f'/{a.ssim:.3f}' if a.ssim else ''} ({a.known})" for a in ANCHORS.get(self.name, ())
        )
        return {
            "degradation": self.name,
            "PSNR, dB": f"{self.psnr:.2f} ± {self.psnr_std:.2f}",
            "SSIM": f"{self.ssim:.3f}",
            "severity": f"{self.score:.0f} {level_of(self.score)}",
            "at 224 px": f"{self.clip_score:.0f} {level_of(self.clip_score)}",
            "published inputs, PSNR/SSIM": anchors,
        }


def calibrate(
    folder: Path, limit: int, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Calibrated]:
    """Measure every degradation of the catalogue on `limit` photographs, spread evenly over the folder's list.

    Raises SourceError for a folder without photographs. Images that cannot be decoded are passed over.
    """
    files, _ = image_files(str(folder), "PHOTOS")
    chosen = [files[i * len(files) // min(limit, len(files))] for i in range(min(limit, len(files)))]

    def one(item: tuple[str, str]) -> dict[str, Look]:
        expect_wanted()
        cv2.setNumThreads(1)
        try:
            image = decode(Path(item[1]).read_bytes()).image
        except BadImageError:
            return {}
        return {name: _measured(name, image, item[0]) for name in CATALOGUE}

    with stoppable_threads(workers) as pool:
        found = []
        for i, figures in enumerate(pool.map(one, chosen)):
            if progress:
                progress(i + 1, len(chosen))
            found += [figures] if figures else []
    return [_mean(name, [figures[name] for figures in found]) for name in CATALOGUE if found]


def _measured(name: str, image: Image, photo: str) -> Look:
    height, width = image.shape[:2]
    degradation = CATALOGUE[name]()
    params = degradation.draw(Rng(sample_seed(0, photo, name, 0, (0, 0, width, height))), image)
    degraded = degradation.apply(image, params).image
    clip = measure(at_clip_size(image), at_clip_size(degraded))
    return measure(image, degraded), clip, form_of(name, image, degraded)


def _mean(name: str, figures: Sequence[Look]) -> Calibrated:
    full = [one for one, _, _ in figures]
    mean = statistics.fmean
    return Calibrated(
        name,
        mean(m.psnr for m in full),
        statistics.pstdev(m.psnr for m in full),
        mean(m.ssim for m in full),
        mean(m.score for m in full),
        mean(clip.score for _, clip, _ in figures),
        len(figures),
        tuple(form for _, _, form in figures),
    )
