"""How often a photograph's own depth map is taken for another's, and how many of others' are found.

    python -m benchmarks.depth_maps PHOTOS [--limit 200] [--save]

True maps of photographs were not at hand. So things are cut out of other photographs, with outlines of five to nine
corners, and pasted onto each one at a depth of their own, in front of level ground: then the map is known to the pixel,
and what lies behind an edge is as rich as what lies before it. Maps are softened as networks soften them. Beside them
stand patina's prior, which follows a photograph's edges, and segments of colour with a depth each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import machine, publish
from patina.pipeline.codec.decode import decode
from patina.pipeline.sources.reader import image_files
from patina.synth.depth import prior
from patina.synth.depth_fit import DepthFit, depth_fit
from patina.synth.image import Image

Depth = NDArray[np.float32]
Scene = tuple[Image, Depth]
PRIOR = {"crop": [0.0, 0.0, 1.0, 1.0], "horizon": 0.4, "background": 80.0}


def ground(height: int, width: int) -> Depth:
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    return np.repeat(1.6 / np.maximum(rows - 0.35, 0.02) + 1, width, axis=1).astype(np.float32)


def softened(depth: Depth, sigma: float) -> Depth:
    return (1 / cv2.GaussianBlur(1 / depth, (0, 0), sigma)).astype(np.float32) if sigma else depth


def pasted(images: list[Image], i: int, things: int, sigma: float, rng: np.random.Generator) -> Scene:
    image = images[i].copy()
    height, width = image.shape[:2]
    depth = ground(height, width)
    for metres in sorted(rng.uniform(1.5, 20, things), reverse=True):
        centre = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.3, 0.9) * height])
        corners = int(rng.integers(5, 10))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(0.1, 0.32) * height * rng.uniform(0.5, 1, corners)
        outline = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
        other = images[int(rng.integers(len(images)))]
        image[mask > 0], depth[mask > 0] = other[mask > 0], metres
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.uint8), softened(depth, sigma)


def segments(image: Image, sigma: float, rng: np.random.Generator) -> Scene:
    from skimage.segmentation import felzenszwalb

    found = felzenszwalb(image, scale=300, sigma=0.8, min_size=200)
    metres = rng.uniform(2, 40, int(found.max()) + 1).astype(np.float32)
    return image, softened(metres[found], sigma)


def of_one_size(folder: Path, limit: int) -> list[Image]:
    """The photographs of the size that most have."""
    images = [decode(Path(path).read_bytes()).image for _, path in image_files(str(folder), "PHOTOS")[0]]
    shapes = [image.shape for image in images]
    usual = max(set(shapes), key=shapes.count)
    return [image for image in images if image.shape == usual][:limit]


def row(name: str, scenes: list[Scene]) -> str:
    def fits(depth_of: Callable[[int], Depth]) -> list[DepthFit]:
        everywhere = np.ones(scenes[0][1].shape, np.bool_)
        return [depth_fit(image, np.ascontiguousarray(depth_of(i)), everywhere) for i, (image, _) in enumerate(scenes)]

    cells = []
    for depth_of in (
        lambda i: scenes[i][1],
        lambda i: scenes[(i + 1) % len(scenes)][1],
        lambda i: scenes[i][1][:, ::-1],
    ):
        found = fits(depth_of)
        cells.append(f"{sum(one.is_anothers for one in found)} of {sum(one.places > 0 for one in found)}")
    return f"| {name} | {len(scenes)} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    images = of_one_size(options.photos, options.limit)
    lines = [
        "Maps told to be another photograph's, of those that can be judged: a map without sides of things cannot be.",
        "",
        "| depth | photographs | its own | the next one's | its own, mirrored |",
        "|---|---|---|---|---|",
    ]
    for things, sigma in ((1, 0), (2, 0), (2, 3), (2, 6), (4, 6), (8, 8)):
        rng = np.random.Generator(np.random.PCG64(things))
        scenes = [pasted(images, i, things, sigma, rng) for i in range(len(images))]
        lines.append(row(f"{things} pasted things, softened by σ = {sigma} px", scenes))
    for sigma in (0, 3, 6):
        rng = np.random.Generator(np.random.PCG64(1))
        lines.append(row(f"segments of colour, softened by σ = {sigma} px", [segments(i, sigma, rng) for i in images]))
    lines.append(row("patina's prior", [(image, prior(image, PRIOR)) for image in images]))
    lines.append(row("level ground alone", [(image, ground(*image.shape[:2])) for image in images]))
    lines += ["", f"Measured by `python -m benchmarks.depth_maps PHOTOS --limit {options.limit}`, on {machine()}."]
    text = "\n".join(lines)
    publish("Depth maps of other photographs", text, "depth_maps" if options.save else None)


if __name__ == "__main__":
    main()
