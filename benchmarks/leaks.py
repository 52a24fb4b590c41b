"""How well `patina.pipeline.scan.leaks` finds copies of photographs, what it links by mistake, and what it takes.

    python -m benchmarks.leaks PHOTOS [--limit 400] [--hashes 10000 30000 100000] [--save]

Each photograph is copied in every way of `COPIES`, and the copy is compared with its original: recall counts those that
all steps keep (hash, thumbnail, registration). False links are pairs of different photographs in the folder that are
linked, except for true duplicates, which one has to look for by eye: their names are printed.

Matcher 1, at commit b0245d9, registered all pairs with like thumbnails at 160 px. Since then details of the thumbnails
and a registration at 40 px turn away what is unrelated. `as_matcher_1` leaves these two out, and no verdict may differ:
of a copy, of the 2000 likest pairs, and of the links among some photographs and all their copies. Times beside each
other are CPU time of one thread, in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

from benchmarks.photos import machine, publish
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.decode import decode
from patina.pipeline.scan.leaks import candidates as steps
from patina.pipeline.scan.leaks import registration
from patina.pipeline.scan.leaks.candidates import NEAR_BITS, LikePairs, candidates
from patina.pipeline.scan.leaks.find import links_between
from patina.pipeline.scan.leaks.perceptual_hash import perceptual_hash
from patina.pipeline.scan.leaks.registration import HOPE, coarse_agreement, match, reduced, registered
from patina.pipeline.scan.leaks.thumbnails import FITS, NEAR_THUMBS, fit, likeness, thumbnail
from patina.pipeline.scan.leaks.types import Scene
from patina.pipeline.sources.reader import image_files
from patina.synth.image import Image

WITH_COPIES = 100
"""Photographs that are linked together with all their copies, twice."""

MANY = 100_000
"""Photographs that the estimate is for."""


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


def _drawn(image: Image, number: int) -> Image:
    """A copy by several changes at once, drawn from the photograph and the number; some go beyond what is found."""
    rng = np.random.Generator(np.random.PCG64([crc32(image.tobytes()), number]))
    shares = rng.uniform(0, 0.13, 4) * rng.integers(0, 2, 4)
    small = _resized(_cut(image, *shares), rng.uniform(0.3, 1.3))
    curved = 255 * (small / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.6, 1.5)
    noisy = _levels(curved + rng.normal(0, rng.uniform(0, 30) * rng.integers(0, 2), curved.shape))
    return _jpeg(noisy, int(rng.integers(10, 95)))


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
    **{f"drawn: cut, ×0.3 to ×1.3, curve, noise, JPEG; {n}": partial(_drawn, number=n) for n in range(1, 5)},
}


def _bits(first: Image, second: Image) -> int:
    return (int(perceptual_hash(first), 16) ^ int(perceptual_hash(second), 16)).bit_count()


@contextmanager
def as_matcher_1() -> Iterator[None]:
    """Within it all pairs with like thumbnails are registered at 160 px."""
    kept = registration.HOPE, registration.FITS, steps.FITS
    registration.HOPE = registration.FITS = steps.FITS = -2.0
    try:
        yield
    finally:
        registration.HOPE, registration.FITS, steps.FITS = kept


@dataclass(frozen=True)
class _Compared:
    """What the comparison of a copy with its original gave."""

    found: bool
    bits: int
    like: float
    fit: float
    score: float
    took: float


def _row(name: str, images: list[Image], copy: Callable[[Image], Image]) -> str:
    """A line of the table of copies."""

    def one(image: Image) -> _Compared:
        cv2.setNumThreads(1)
        other = copy(image)
        a, b = thumbnail(image)[None], thumbnail(other)[None]
        bits, start = _bits(image, other), time.thread_time()
        found = match(image, other)
        took = time.thread_time() - start
        hit = bits <= NEAR_BITS and found.same
        return _Compared(hit, bits, likeness(a, b)[0], fit(a, b)[0], found.score, took)

    with ThreadPoolExecutor(max_workers=2) as pool:
        here = list(pool.map(one, images))
        with as_matcher_1():
            before = list(pool.map(one, images))
    other = sum(a.found != b.found for a, b in zip(here, before, strict=True))
    fits = min((copied.fit for copied in here if copied.found), default=0.0)
    return (
        f"| {name} | {np.mean([c.found for c in here]):.2%} | {max(c.bits for c in here)} | "
        f"{min(c.like for c in here):.2f} | {fits:.2f} | {min(c.score for c in here):.2f} | "
        f"{1e3 * np.mean([c.took for c in here]):.1f} | {1e3 * np.mean([c.took for c in before]):.1f} | {other} |"
    )


def _scene(number: int, name: str, image: Image, load: Callable[[], Image]) -> Scene:
    height, width = image.shape[:2]
    return Scene(f"{number:064x}", name, perceptual_hash(image), width, height, "train", False, "", load)


def _copied(images: list[Image]) -> list[str]:
    """Whether the links among photographs and all their copies are those of matcher 1."""
    scenes = []
    for image in images:
        for copy in (lambda same: same, *COPIES.values()):
            scenes.append(_scene(len(scenes), str(len(scenes)), copy(image), partial(copy, image)))
    with ScanStore(None) as store:
        here = links_between(scenes, store, workers=2)
    with as_matcher_1(), ScanStore(None) as store:
        before = links_between(scenes, store, workers=2)
    same = "the same pairs with the same scores" if here == before else "NOT the same"
    return [
        f"{len(images)} photographs and all their copies, {len(scenes)} pictures, are joined by {len(here)} links; "
        f"by matcher 1 by {len(before)}: {same}."
    ]


def _between(images: list[Image], paths: list[str]) -> tuple[list[str], dict[str, float]]:
    """What is linked among different photographs, and how many pairs each step lets through; and shares of pairs: near
    ones of all, like ones of near ones, fitting ones of like ones."""
    scenes = [
        _scene(i, Path(path).name, image, lambda x=image: x)
        for i, (path, image) in enumerate(zip(paths, images, strict=True))
    ]
    near = candidates([scene.phash for scene in scenes])
    thumbs = np.array([thumbnail(image) for image in images])
    alike = near[likeness(thumbs[near[:, 0]], thumbs[near[:, 1]]) >= NEAR_THUMBS]
    with ScanStore(None) as store:
        links = links_between(scenes, store, workers=2)
    with as_matcher_1(), ScanStore(None) as store:
        before = links_between(scenes, store, workers=2)
    everything = np.stack(np.triu_indices(len(images), 1), axis=1).astype(np.int32)
    like = likeness(thumbs[everything[:, 0]], thumbs[everything[:, 1]])
    order = np.argsort(-like, kind="stable")
    alike_ones = everything[order[: int((like >= NEAR_THUMBS).sum())]]
    fitting = LikePairs(alike_ones, thumbs).fitting(alike_ones)
    # Beside the thresholds: what registration says of the likeliest, had hash and thumbnail let them through.
    likest, small = everything[order[:2000]], [reduced(image) for image in images]
    sizes = [(image.shape[1], image.shape[0]) for image in images]

    def compare(pair: tuple[int, int]) -> float:
        cv2.setNumThreads(1)
        i, j = pair
        return registered(small[i], small[j], sizes[i], sizes[j]).score

    fits = fit(thumbs[likest[:, 0]], thumbs[likest[:, 1]]) >= FITS
    hopeful = np.array([coarse_agreement(small[i], small[j]) >= HOPE for i, j in likest.tolist()])
    with ThreadPoolExecutor(max_workers=2) as pool, as_matcher_1():
        scores = np.array(list(pool.map(compare, likest.tolist())))
    lines = [
        f"Of {len(everything)} pairs of different photographs {len(near)} have near hashes, {len(alike)} of these like "
        f"thumbnails, and {len(links)} are linked; {len(before)} by matcher 1.",
        *(f"linked: {scenes[int(x.first, 16)].name} and {scenes[int(x.second, 16)].name}" for x in links),
        f"Of the {len(likest)} pairs with the likest thumbnails {fits.sum()} fit by {FITS} or more, "
        f"{(fits & hopeful).sum()} of these agree by {HOPE} or more at 40 px, and the highest score of all at 160 px "
        f"is {scores.max():.2f}.",
    ]
    shares = {
        "near": len(near) / len(everything),
        "like": len(alike) / max(len(near), 1),
        "fit": len(fitting) / max(len(alike_ones), 1),
        **_taken(alike_ones, thumbs, small, sizes),
    }
    lines += [
        f"Of {len(alike_ones)} pairs of different photographs whose thumbnails are alike {len(fitting)} fit. One of "
        f"them takes {shares['here']:.2f} ms from its thumbnails to its verdict, and {shares['before']:.1f} ms by "
        f"matcher 1: {shares['before'] / shares['here']:.0f} times as long.",
    ]
    return lines, shares


def _taken(
    pairs: np.ndarray, thumbs: np.ndarray, small: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]
) -> dict[str, float]:
    """CPU ms of one thread that a pair takes from its thumbnails to its verdict: here, and by matcher 1."""
    cv2.setNumThreads(1)

    def once() -> float:
        like, start = LikePairs(pairs, thumbs), time.thread_time()
        for at in range(0, len(pairs), 64):  # as a scan does
            for i, j in like.fitting(pairs[at : at + 64]).tolist():
                registered(small[i], small[j], sizes[i], sizes[j])
        return 1e3 * (time.thread_time() - start) / max(len(pairs), 1)

    here, before = [], []
    for _ in range(2):
        with as_matcher_1():
            before.append(once())
        here.append(once())
    return {"here": float(np.mean(here)), "before": float(np.mean(before))}


def _estimate(paths: list[str], shares: Mapping[str, float], hashing: float) -> list[str]:
    """CPU seconds that leaks among `MANY` photographs take, at the rates of these; `hashing`: for their hashes."""
    some = [Path(path).read_bytes() for path in paths[:100]]
    start = time.thread_time()
    images = [decode(data).image for data in some]
    loading = (time.thread_time() - start) / len(some)
    start = time.thread_time()
    thumbs = np.array([thumbnail(image) for image in images])
    reducing = (time.thread_time() - start) / len(some)
    many = np.resize(thumbs, (4096, thumbs.shape[1]))
    start = time.thread_time()
    likeness(many, many[::-1].copy())
    liking = (time.thread_time() - start) / len(many)
    near = shares["near"] * MANY * (MANY - 1) / 2
    like = near * shares["like"]
    fitting = like * shares["fit"]
    rows = [
        ("hashes, compared", hashing, hashing),
        ("each photograph, decoded for its thumbnail", *[MANY * (loading + reducing)] * 2),
        ("thumbnails, compared", near * liking, near * liking),
        ("two photographs of each pair to register, decoded", 2 * like * loading, 2 * fitting * loading),
        ("from like thumbnails to verdicts", like * shares["before"] / 1e3, like * shares["here"] / 1e3),
    ]
    rows.append(("all", *(sum(values) for values in zip(*(row[1:] for row in rows), strict=True))))
    return [
        f"{MANY:,} photographs like these would have {near:.2g} pairs of near hashes, {like:.2g} of these with like "
        f"thumbnails, and {fitting:.2g} that fit. CPU seconds, by these rates:",
        "",
        "| step | by matcher 1 | here |",
        "|---|---|---|",
        *(f"| {step} | {before:.0f} | {here:.0f} |" for step, before, here in rows),
        "",
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
        "| copy | found | hash bits, at most | thumbnails, at least | fit of those found, at least | score, at least | "
        "ms | ms by matcher 1 | other verdicts by matcher 1 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, copy in COPIES.items():
        lines.append(_row(name, images, copy))
    told, shares = _between(images, paths)
    lines += ["", *_copied(images[:WITH_COPIES]), *told, ""]
    hashing = 0.0
    for count in options.hashes:
        numbers = np.random.Generator(np.random.PCG64(1)).integers(0, 2**64, count, np.uint64)
        hashes = [f"{int(n):016x}" for n in numbers]
        start = time.process_time()
        pairs = candidates(hashes, workers=2)
        spent = time.process_time() - start
        hashing = spent * (MANY / count) ** 2
        lines.append(f"Candidates among {count} random hashes: {spent:.1f} s of CPU, {len(pairs)} found.")
    lines += [
        "",
        *_estimate(paths, shares, hashing),
        f"Measured by `python -m benchmarks.leaks PHOTOS --limit {options.limit}` on {len(images)} photographs,",
        f"on {machine()}.",
    ]
    text = "\n".join(lines)
    publish("Leaks: what is found, and what it takes", text, "leaks" if options.save else None)


if __name__ == "__main__":
    main()
