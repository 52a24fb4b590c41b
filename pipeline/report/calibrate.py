"""What the degradations do to given photographs at their default settings, beside the figures of the published sets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError
from patina.pipeline.report.form import form_of
from patina.pipeline.sources.reader import image_files
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.synth.degradations import CATALOGUE
from patina.synth.figures import Figures, figures
from patina.synth.image import Image
from patina.synth.rng import Rng, sample_seed
from patina.synth.severity import Measured, at_clip_size, level_of, measure


@dataclass(frozen=True)
class Anchor:
    """The input PSNR (dB) and SSIM of a published set's degraded images.

    known  `measured`: from the set's files, or of BSDS500's photographs under others' code (`benchmarks.protocols`);
    `published`: in a paper or a repository; `recalled`: from the literature, not verified here: a hint.
    luma   over the luma Y of BT.601, 16 to 235 with a peak of 255, as deraining papers have it; else over RGB.
    note   in what the SSIM differs from ours, if it does.
    """

    name: str
    psnr: float
    ssim: float | None
    known: str
    luma: bool = False
    note: str = ""

    @property
    def text(self) -> str:
        """In a line."""
        ssim = f"/{self.ssim:.3f}" if self.ssim else ""
        return f"{self.name} {self.psnr:.2f}{ssim} ({self.known}{self.note and f', {self.note}'})"


UNIFORM = "SSIM by 7×7 windows"


ANCHORS: dict[str, tuple[Anchor, ...]] = {
    "motion-blurry": (Anchor("GoPro test", 25.64, 0.793, "recalled"),),
    "hazy": (
        Anchor("SOTS outdoor", 15.92, None, "recalled"),
        Anchor("SOTS indoor", 11.97, None, "recalled"),
        Anchor("CDD-11 haze", 15.87, 0.808, "published"),
    ),
    "jpeg-compressed": (
        Anchor("LIVE1, q10", 25.69, 0.749, "measured", note=UNIFORM),
        Anchor("CBSD68, q10", 25.83, 0.745, "measured", note=UNIFORM),
    ),
    "low-light": (Anchor("LOL v1", 7.77, None, "recalled"), Anchor("CDD-11 low", 12.00, 0.369, "published")),
    "noisy": (Anchor("CBSD68, σ = 50", 15.00, 0.219, "measured", note=UNIFORM),),
    "raindrop": (Anchor("RainDrop test_a", 24.0, None, "recalled"),),
    "rainy": (
        Anchor("Rain100H", 13.56, 0.371, "recalled", luma=True),
        Anchor("Rain100L", 26.90, 0.838, "recalled", luma=True),
        Anchor("CDD-11 rain", 22.02, 0.792, "published"),
    ),
    "shadowed": (Anchor("ISTD", 20.6, None, "recalled"), Anchor("SRD", 18.0, None, "recalled")),
    "snowy": (
        Anchor("Snow100K-S", 25.1, None, "recalled"),
        Anchor("Snow100K-L", 18.7, None, "recalled"),
        Anchor("CDD-11 snow", 23.62, 0.879, "published"),
    ),
    "uncompleted": (Anchor("CBSD68 crops, RePaint thin masks", 10.2, None, "measured"),),
    # the inputs as IFAN (CVPR 2021) and DRBNet (CVPR 2022) print them
    "defocus-blurry": (
        Anchor("DPDD test", 23.89, 0.725, "recalled"),
        Anchor("LFDOF test", 25.87, 0.777, "recalled"),
        Anchor("RealDOF", 22.33, 0.633, "recalled"),
    ),
    # MATLAB's bicubic, as papers of super-resolution print it since VDSR
    "downsampled": (
        Anchor("BSD100, bicubic ×2", 29.56, 0.843, "published", luma=True),
        Anchor("BSD100, bicubic ×4", 25.96, 0.668, "published", luma=True),
    ),
    # the inputs as ESDNet (ECCV 2022) prints them
    "moire": (
        Anchor("TIP2018 test", 20.30, 0.738, "recalled"),
        Anchor("FHDMi test", 17.97, 0.703, "recalled"),
        Anchor("UHDM test", 17.12, 0.509, "recalled"),
    ),
    # the inputs as WGSF-Net (AAAI 2026) prints them
    "flared": (
        Anchor("Flare7K real test", 22.56, 0.857, "published"),
        Anchor("Flare7K synthetic test", 22.77, 0.921, "published"),
    ),
    # UIEB: 134 of its pairs, by others; EUVP: as FUnIE-GAN (RA-L 2020) prints it
    "underwater": (
        Anchor("UIEB at 256 px", 16.99, 0.758, "published"),
        Anchor("EUVP test", 17.27, 0.620, "recalled"),
    ),
    "impulse-noisy": (
        Anchor("BSDS500, scikit-image, 3 %", 20.29, 0.566, "measured"),
        Anchor("BSDS500, scikit-image, 9 %", 15.48, 0.272, "measured"),
        Anchor("BSDS500, scikit-image, 27 %", 10.72, 0.096, "measured"),
    ),
    "banded": (
        Anchor("BSDS500, Pillow, 5 bits", 35.63, 0.969, "measured"),
        Anchor("BSDS500, Pillow, 2 bits", 16.89, 0.548, "measured"),
    ),
    "blurred": (
        Anchor("BSDS500, OpenCV, Gaussian of σ = 0.6", 33.24, 0.950, "measured"),
        Anchor("BSDS500, OpenCV, Gaussian of σ = 1.6", 25.65, 0.709, "measured"),
        Anchor("BSDS500, OpenCV, Gaussian of σ = 3", 23.36, 0.575, "measured"),
    ),
    # DIV2K with scratches, noise and blur, as Wan et al. (CVPR 2020) print it; nothing of theirs fades
    "aged": (Anchor("Wan et al., synthetic", 12.92, 0.49, "recalled"),),
}

UNKNOWN = {
    "over-exposed": "MSEC's pictures are 1 and 1.5 stops too bright",
    "dusty": "SIE has 500 pairs, made from clean photographs",
    "video-compressed": "MFQE and its followers print gains, of whole sequences",
}
"""Degradations of whose published inputs no figures are known to us, and what there is."""


@dataclass(frozen=True)
class Calibrated:
    """One degradation at its defaults over all photographs: means, the standard deviation of PSNR, and the figures of
    form of each photograph (`patina.pipeline.report.form`)."""

    name: str
    psnr: float
    psnr_std: float
    ssim: float
    psnr_y: float
    ssim_y: float
    score: float
    clip_score: float
    photographs: int
    form: tuple[tuple[float, ...], ...] = ()

    @property
    def row(self) -> dict[str, str]:
        """The figures as text, beside the anchors: RGB's by RGB's, luma's by luma's."""
        anchors = ANCHORS.get(self.name, ())
        none = f"none known; {UNKNOWN[self.name]}" if self.name in UNKNOWN else ""
        return {
            "degradation": self.name,
            "PSNR/SSIM, RGB": f"{self.psnr:.2f} ± {self.psnr_std:.2f} / {self.ssim:.3f}",
            "published inputs, RGB": "; ".join(a.text for a in anchors if not a.luma) or none,
            "luma": f"{self.psnr_y:.2f} / {self.ssim_y:.3f}",
            "published inputs, luma": "; ".join(a.text for a in anchors if a.luma),
            "severity": f"{self.score:.0f} {level_of(self.score)}",
            "at 224 px": f"{self.clip_score:.0f} {level_of(self.clip_score)}",
        }


@dataclass(frozen=True)
class _Found:
    """What was measured of one photograph, degraded: as papers do, for severity at two sizes, and its form."""

    papers: Figures
    full: Measured
    clip: Measured
    form: tuple[float, ...]


def calibrate(
    folder: Path, limit: int, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Calibrated]:
    """Measure every degradation of the catalogue on `limit` photographs, spread evenly over the folder's list.

    Raises SourceError for a folder without photographs. Images that cannot be decoded are passed over.
    """
    files, _ = image_files(str(folder), "PHOTOS")
    chosen = [files[i * len(files) // min(limit, len(files))] for i in range(min(limit, len(files)))]

    def one(item: tuple[str, str]) -> dict[str, _Found]:
        expect_wanted()
        cv2.setNumThreads(1)
        try:
            image = decode(Path(item[1]).read_bytes()).image
        except BadImageError:
            return {}
        return {name: _measured(name, image, item[0]) for name in CATALOGUE}

    with stoppable_threads(workers) as pool:
        found = []
        for i, measured in enumerate(pool.map(one, chosen)):
            if progress:
                progress(i + 1, len(chosen))
            found += [measured] if measured else []
    return [_mean(name, [measured[name] for measured in found]) for name in CATALOGUE if found]


def _measured(name: str, image: Image, photo: str) -> _Found:
    height, width = image.shape[:2]
    degradation = CATALOGUE[name]()
    params = degradation.draw(Rng(sample_seed(0, photo, name, 0, (0, 0, width, height))), image)
    degraded = degradation.apply(image, params).image
    small = measure(at_clip_size(image), at_clip_size(degraded))
    form = form_of(name, image, degraded)
    return _Found(figures(image, degraded), measure(image, degraded), small, form)


def _mean(name: str, found: Sequence[_Found]) -> Calibrated:
    mean = statistics.fmean
    return Calibrated(
        name,
        mean(one.papers.psnr for one in found),
        statistics.pstdev(one.papers.psnr for one in found),
        mean(one.papers.ssim for one in found),
        mean(one.papers.psnr_y for one in found),
        mean(one.papers.ssim_y for one in found),
        mean(one.full.score for one in found),
        mean(one.clip.score for one in found),
        len(found),
        tuple(one.form for one in found),
    )
