"""How near the stored SSIM comes to scikit-image's, and what papers' figures cost beside the rest of a sample.

    python -m benchmarks.figures [PHOTOS] [--limit 6] [--save]

Every degradation at its defaults on photographs spread over a folder, or on those of `lay_out`. Differences are those
of each picture, stored minus scikit-image's over all windows at full size. Times are CPU times of this thread, the best
of three, on crops of 768×512 or the photographs themselves where they are smaller.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from skimage import metrics

from benchmarks.photos import lay_out, machine, publish
from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.png import encode_png
from patina.pipeline.machine import keep_freed_memory
from patina.pipeline.sources.reader import image_files
from patina.synth.degradations import CATALOGUE
from patina.synth.figures import Reference, figures, luma
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.severity import at_clip_size, measure

WIDTH, HEIGHT = 768, 512
EXPLAINED = (
    "SSIM: stored less scikit-image's over all windows, root mean square and largest. 7×7: scikit-image's own windows "
    "less its Gaussian ones. ms: CPU time of the figures, alone and where the clean image's side is kept (as it is for "
    "all degradations made together), and of the rest of a sample (draw, apply, PNGs, severity)."
)
ssim: Any = metrics.structural_similarity


def theirs(gt: Image, lq: Image) -> tuple[float, float, float]:
    """scikit-image's SSIM of RGB and of luma by Gaussian windows, and of RGB by its own 7×7 ones."""
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    rgb = ssim(gt, lq, channel_axis=2, **gaussian)
    return rgb, ssim(luma(gt), luma(lq), **gaussian), ssim(gt, lq, channel_axis=2, data_range=255)


def cpu(work: Callable[[], object]) -> float:
    """Milliseconds, the best of three."""
    best = math.inf
    for _ in range(3):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best * 1000


def rest_of_a_sample(name: str, image: Image) -> Image:
    """What else a build computes of a sample: its degraded image, its file, its severity at two sizes."""
    degradation = CATALOGUE[name]()
    result = degradation.apply(image, degradation.draw(Rng("f16"), image))
    if not result.file:
        encode_png(result.image)
    for values in result.truth.values():
        encode_png(values)
    measure(image, result.image)
    measure(at_clip_size(image), at_clip_size(result.image))
    return result.image


def table(photographs: Sequence[Image]) -> str:
    """The Markdown table, a row for each degradation and one for all."""
    columns = "SSIM of RGB: rms, largest | of luma: rms, largest | 7×7 windows instead: mean | ms | kept | rest"
    lines, every = [f"| degradation | {columns} |", "|---|---:|---:|---:|---:|---:|---:|"], []
    for name in CATALOGUE:
        found = []
        for image in photographs:
            lq = rest_of_a_sample(name, image)
            own, (rgb, y, uniform) = figures(image, lq), theirs(image, lq)
            reference = Reference(image)
            works = partial(figures, image, lq), partial(reference.figures, lq), partial(rest_of_a_sample, name, image)
            found.append((own.ssim - rgb, own.ssim_y - y, uniform - rgb, *map(cpu, works)))
        every += found
        lines.append(row(name, found))
    return "\n".join([*lines, row("all", every)])


def row(name: str, found: Sequence[tuple[float, ...]]) -> str:
    """One row of the table."""
    rgb, y, uniform, *costs = np.array(found).T
    errors = [f"{math.sqrt(np.mean(one**2)):.5f}, {np.abs(one).max():.5f}" for one in (rgb, y)]
    told = " | ".join(f"{one.mean():.1f}" for one in costs)
    return f"| {name} | {errors[0]} | {errors[1]} | {uniform.mean():+.4f} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?", help="without it, the six photographs of scikit-image and co.")
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        if not options.photos:
            lay_out(Path(folder), options.limit)
        files = image_files(str(options.photos or folder), "PHOTOS")[0]
        chosen = [files[i * len(files) // options.limit][1] for i in range(min(options.limit, len(files)))]
        pictures = [decode(Path(path).read_bytes()).image for path in chosen]
    photographs = [np.ascontiguousarray(image[:HEIGHT, :WIDTH]) for image in pictures]
    sizes = ", ".join(sorted({f"{image.shape[1]}×{image.shape[0]}" for image in photographs}))
    told = (
        f"Of {len(photographs)} photographs of {sizes}, by `python -m benchmarks.figures`. {machine()}\n\n{EXPLAINED}"
    )
    publish(
        "The stored figures beside scikit-image's",
        f"{told}\n\n{table(photographs)}",
        "figures" if options.save else None,
    )


if __name__ == "__main__":
    main()
