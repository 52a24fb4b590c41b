"""Degradations that are one line of others' code, and ours at settings that come nearer published sets.

    python -m benchmarks.protocols PHOTOS [--count 100] [--save]

Salt and pepper by scikit-image, at three of ImageNet-C's densities; few bits by Pillow; bicubic by Pillow, which grows
its kernel with the step as MATLAB's does; one Gaussian by OpenCV. PSNR and SSIM are as papers have them, RGB and luma.
Of bicubic, papers print 29.56 dB / 0.843 and 25.96 dB / 0.668 for the luma of BSD100, whose borders they cut off. The
rows of ours are what docs/degradations.md names beside sets whose strength the defaults do not have.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import skimage.util

from benchmarks.photos import machine, publish
from patina.pipeline.codec.decode import decode
from patina.pipeline.sources.reader import image_files
from patina.synth.degradations import CATALOGUE
from patina.synth.figures import figures
from patina.synth.image import Image
from patina.synth.rng import Rng, sample_seed


def peppered(image: Image, density: float) -> Image:
    """Salt and pepper of this share of all values, by scikit-image."""
    noisy = skimage.util.random_noise(image, mode="s&p", rng=0, amount=density)
    return np.rint(noisy * 255).astype(np.uint8)


def posterized(image: Image, bits: int) -> Image:
    """So many bits of each colour, the others cut off, by Pillow."""
    return np.asarray(PIL.ImageOps.posterize(PIL.Image.fromarray(image), bits))


def bicubic(image: Image, factor: int) -> Image:
    """Made smaller by a whole factor and larger again, by Pillow; what the factor does not divide is cut off."""
    height, width = (side // factor * factor for side in image.shape[:2])
    whole = PIL.Image.fromarray(image[:height, :width])
    small = whole.resize((width // factor, height // factor), PIL.Image.Resampling.BICUBIC)
    return np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC))


def gaussian(image: Image, sigma: float) -> Image:
    """One Gaussian of 21×21 px in levels, by OpenCV."""
    return np.asarray(cv2.GaussianBlur(image, (21, 21), sigma))


PROTOCOLS: dict[str, Callable[[Image], Image]] = {
    "impulse-noisy: scikit-image, 3 % of the values": lambda image: peppered(image, 0.03),
    "impulse-noisy: scikit-image, 9 %": lambda image: peppered(image, 0.09),
    "impulse-noisy: scikit-image, 27 %": lambda image: peppered(image, 0.27),
    "banded: Pillow, 5 bits": lambda image: posterized(image, 5),
    "banded: Pillow, 3 bits": lambda image: posterized(image, 3),
    "banded: Pillow, 2 bits": lambda image: posterized(image, 2),
    "downsampled: Pillow, bicubic ×2": lambda image: bicubic(image, 2),
    "downsampled: Pillow, bicubic ×4": lambda image: bicubic(image, 4),
    "blurred: OpenCV, Gaussian of σ = 0.6": lambda image: gaussian(image, 0.6),
    "blurred: OpenCV, Gaussian of σ = 1.6": lambda image: gaussian(image, 1.6),
    "blurred: OpenCV, Gaussian of σ = 3": lambda image: gaussian(image, 3),
}

NEARER: dict[str, tuple[str, dict[str, Any]]] = {
    "moire, contrast 0.2 to 0.6": ("moire", {"contrast": {"min": 0.2, "max": 0.6}}),
    "defocus-blurry, radius 4 to 16": ("defocus-blurry", {"radius": {"min": 4, "max": 16}}),
    "aged, fading 0.4 to 0.8": ("aged", {"fading": {"min": 0.4, "max": 0.8}}),
    "over-exposed, 1 to 1.5 stops": ("over-exposed", {"stops": {"min": 1, "max": 1.5}}),
}
"""Settings that come nearer the published sets than the defaults do, by title."""


def degraded(name: str, settings: dict[str, Any], image: Image, photo: str) -> Image:
    """The photograph under one of ours; what chance decides is as `patina calibrate` has it."""
    height, width = image.shape[:2]
    one = CATALOGUE[name](**settings)
    return one.apply(image, one.draw(Rng(sample_seed(0, photo, name, 0, (0, 0, width, height))), image)).image


def row(title: str, pairs: Iterable[tuple[Image, Image]]) -> str:
    """Means over pairs of clean and degraded; the clean one may be larger at its right and lower border."""
    found = [figures(np.ascontiguousarray(gt[: lq.shape[0], : lq.shape[1]]), lq) for gt, lq in pairs]
    rgb, luma = (
        f"{statistics.fmean(getattr(one, f'psnr{of}') for one in found):.2f} / "
        f"{statistics.fmean(getattr(one, f'ssim{of}') for one in found):.3f}"
        for of in ("", "_y")
    )
    return f"| {title} | {rgb} | {luma} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=100, help="photographs, evenly over the folder's list")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    files, _ = image_files(str(options.photos), "PHOTOS")
    count = min(options.count, len(files))
    chosen = [files[i * len(files) // count] for i in range(count)]
    clean = {photo: decode(Path(path).read_bytes()).image for photo, path in chosen}
    lines = ["| protocol | PSNR/SSIM, RGB | luma |", "|---|---|---|"]
    lines += [row(title, ((gt, degrade(gt)) for gt in clean.values())) for title, degrade in PROTOCOLS.items()]
    lines += [
        row(f"ours: {title}", ((gt, degraded(*asked, gt, photo)) for photo, gt in clean.items()))
        for title, asked in NEARER.items()
    ]
    command = f"python -m benchmarks.protocols PHOTOS --count {count} --save"
    lines += ["", f"Made by `{command}` on {time.strftime('%Y-%m-%d')}: {machine()}."]
    publish("Degradations of one line, by others' code", "\n".join(lines), "protocols" if options.save else None)


if __name__ == "__main__":
    main()
