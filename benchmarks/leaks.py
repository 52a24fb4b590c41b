"""How well `patina.pipeline.scan.leaks` finds copies of photographs, what it links by mistake, and how long
candidates take.

    python -m benchmarks.leaks PHOTOS [--limit 400] [--hashes 10000 30000 100000] [--save]

Each photograph is copied in every way of `COPIES`, and the copy is compared with its original: recall counts those that
all three steps keep (hash, thumbnail, registration). False links are pairs of different photographs in the folder that
are linked, except for true duplicates, which one has to look for by eye: their names are printed.

Before two pictures are registered at 160 px they are at 40 px, which turns away what is unrelated. Every copy and each
of the 2000 likest pairs is registered at 160 px without that as well, as matcher 1 did: no verdict may differ.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from benchmarks.photos import machine, publish
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.decode import decode
from patina.pipeline.scan.leaks import registration
from patina.pipeline.scan.leaks.candidates import NEAR_BITS, candidates
from patina.pipeline.scan.leaks.find import links_between
from patina.pipeline.scan.leaks.perceptual_hash import perceptual_hash
from patina.pipeline.scan.leaks.registration import HOPE, coarse_agreement, match, reduced, register
from patina.pipeline.scan.leaks.thumbnails import NEAR_THUMBS, thumbnail
from patina.pipeline.scan.leaks.types import Scene
from patina.pipeline.sources.reader import image_files
from patina.synth.image import Image


def _jpeg(image: Image, quality: int) -> Image:
    bgr = np.ascontiguousarray(image[..., ::-1])
    body = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(body, cv2.IMREAD_COLOR)[..., ::-1])


def _resized(image: Image, factor: float) -> Image:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=how)


def _levels(values: np.ndarray) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _noisy(image: Image, sigma: float) -> Image:
    return _levels(image + np.random.Generator(np.random.PCG64(1)).normal(0, sigma, image.shape))


def _cut(image: Image, left: float, top: float, right: float, bottom: float) -> Image:
    """Without these shares of its sides."""
    height, width = image.shape[:2]
    rows, columns = slice(round(height * top), round(height * (1 - bottom))), slice(round(width * left), None)
    return image[rows, columns][:, : round(width * (1 - left - right))].copy()


COPIES: Mapping[str, Callable[[Image], Image]] = {
    "JPEG, quality 30": lambda i: _jpeg(i, 30),
    "resize ×0.5": lambda i: _resized(i, 0.5),
    "resize ×1.5": lambda i: _resized(i, 1.5),
    "stretched to a square": lambda i: cv2.resize(i, (400, 400), interpolation=cv2.INTER_AREA),
    "border of 10 px cut": lambda i: i[10:-10, 10:-10].copy(),
    "5 % of each side cut, in the middle": lambda i: _cut(i, 0.025, 0.025, 0.025, 0.025),
    "5 % of each side cut, in a corner": lambda i: _cut(i, 0, 0, 0.05, 0.05),
    "10 % of each side cut, in the middle": lambda i: _cut(i, 0.05, 0.05, 0.05, 0.05),
    "brightness +20 %": lambda i: _levels(i * 1.2),
    "brightness -20 %": lambda i: _levels(i * 0.8),
    "noise, σ = 10": lambda i: _noisy(i, 10),
    "noise, σ = 25": lambda i: _noisy(i, 25),
    "grey": lambda i: np.repeat(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "all: cut by 8 px, ×0.8, +20 %, σ = 5, quality 60": lambda i: _jpeg(
        _noisy(_levels(_resized(i[8:-8, 8:-8].copy(), 0.8) * 1.2), 5), 60
    ),
}


def _bits(first: Image, second: Image) -> int:
    return (int(perceptual_hash(first), 16) ^ int(perceptual_hash(second), 16)).bit_count()


def _alike(first: Image, second: Image) -> float:
    return float(np.corrcoef(thumbnail(first), thumbnail(second))[0, 1])


@contextmanager
def at_160_px_alone() -> Iterator[None]:
    """Within it nothing is turned away at 40 px."""
    hope, registration.HOPE = registration.HOPE, -2.0
    try:
        yield
    finally:
        registration.HOPE = hope


def recall(images: list[Image], copy: Callable[[Image], Image]) -> tuple[float, int, float, float, float, int]:
    """Share of copies found, the largest distance of hashes, the least likeness of thumbnails, the least score of those
    compared, ms a comparison, and how many verdicts are other ones at 160 px alone."""

    def one(image: Image) -> tuple[bool, int, float, float, float, bool]:
        cv2.setNumThreads(1)
        other = copy(image)
        bits, alike = _bits(image, other), _alike(image, other)
        start = time.thread_time()
        found = match(image, other)
        took = time.thread_time() - start
        return bits <= NEAR_BITS and found.same, bits, alike, found.score, took * 1000, found.same

    with ThreadPoolExecutor(max_workers=2) as pool:
        hits, bits, alike, scores, took, same = zip(*pool.map(one, images), strict=True)
        with at_160_px_alone():
            fine = list(pool.map(lambda image: match(image, copy(image)).same, images))
    other = sum(a != b for a, b in zip(same, fine, strict=True))
    return float(np.mean(hits)), max(bits), min(alike), min(scores), float(np.mean(took)), other


def between(images: list[Image], paths: list[str]) -> list[str]:
    """What is linked among different photographs, and how many pairs each step let through."""
    hashes = [perceptual_hash(image) for image in images]
    scenes = [
        Scene(
            f"{i:064x}", Path(path).name, digits, image.shape[1], image.shape[0], "train", False, "", lambda x=image: x
        )
        for i, (path, digits, image) in enumerate(zip(paths, hashes, images, strict=True))
    ]
    pairs = candidates(hashes)
    alike = sum(_alike(images[i], images[j]) >= NEAR_THUMBS for i, j in pairs)
    with ScanStore(None) as store:
        links = links_between(scenes, store, workers=2)
    everything = len(images) * (len(images) - 1) // 2
    lines = [
        f"Of {everything} pairs of different photographs {len(pairs)} have near hashes, {alike} of these like "
        f"thumbnails, and {len(links)} are linked."
    ]
    lines += [
        f"linked: {scenes[int(x.first, 16)].name} and {scenes[int(x.second, 16)].name}, {x.match.score}" for x in links
    ]
    # Beside the thresholds: what registration says of the likeliest, had hash and thumbnail let them through.
    thumbs = np.array([thumbnail(image) for image in images], np.float64)
    likeness = np.corrcoef(thumbs)[np.triu_indices(len(images), 1)]
    first, second = np.triu_indices(len(images), 1)
    order = np.argsort(-likeness, kind="stable")[:2000]
    small = [reduced(image) for image in images]
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(lambda k: register(images[first[k]], images[second[k]]), order))
        coarse = list(pool.map(lambda k: coarse_agreement(small[first[k]], small[second[k]]), order))
        with at_160_px_alone():
            fine = list(pool.map(lambda k: register(images[first[k]], images[second[k]]), order))
    other = sum(a.same != b.same for a, b in zip(found, fine, strict=True))
    hopeful = sum(agreement >= HOPE for agreement in coarse)
    return [
        *lines,
        f"Of the 2000 pairs with the likest thumbnails {hopeful} agree by {HOPE} or more at 40 px, and the highest "
        f"score at 160 px is {max(one.score for one in fine):.2f}; {other} verdicts are other ones without the "
        "registration at 40 px.",
    ]


def main() -> None:
    """Print the tables; with --save, keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--hashes", type=int, nargs="*", default=[10_000, 30_000, 100_000])
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    paths = [path for _, path in image_files(options.photos, "photos")[0]][: options.limit]
    images = [decode(Path(path).read_bytes()).image for path in paths]
    lines = [
        "| copy | found | hash bits, at most | thumbnails, at least | score, at least | ms | other verdicts at 160 px "
        "alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, copy in COPIES.items():
        share, bits, alike, score, took, other = recall(images, copy)
        lines.append(f"| {name} | {share:.2%} | {bits} | {alike:.2f} | {score:.2f} | {took:.1f} | {other} |")
    lines += ["", *between(images, paths), ""]
    for count in options.hashes:
        numbers = np.random.Generator(np.random.PCG64(1)).integers(0, 2**64, count, np.uint64)
        hashes = [f"{int(n):016x}" for n in numbers]
        start = time.perf_counter()
        pairs = candidates(hashes, workers=2)
        lines.append(
            f"Candidates among {count} random hashes: {time.perf_counter() - start:.1f} s, {len(pairs)} found."
        )
    lines += [
        "",
        f"Measured by `python -m benchmarks.leaks PHOTOS --limit {options.limit}` on {len(images)} photographs,",
        f"on {machine()}.",
    ]
    text = "\n".join(lines)
    publish("Leaks: what is found, and what it takes", text, "leaks" if options.save else None)


if __name__ == "__main__":
    main()
