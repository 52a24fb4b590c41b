"""One 768×512 tuple of each degradation: the build's CPU time against its parts alone and, for three, the usual loop.

    python -m benchmarks.tuples [--count 48] [--rounds 7] [--save]

whole   `build_shard` on one thread: read, verify, decode, degrade, encode, JSON, tar, digest, write, fsync; divided by
        the number of samples.
parts   the same work in tight loops, one part at a time, summed: what a perfect assembly of them would take.
loop    what people write: cv2.imread, NumPy (float64 noise, clip, truncate), cv2.imwrite to PNG, and the clean file
        copied beside it. One process, no manifest, no digest, no caption, no tar.

All three alternate within each round; the figures are medians of CPU time (user and system) over the rounds, and the
ratios are medians of each round's ratio.

A second table has all ten degradations of the same photographs, whole and in tiles of 256 px: each shard made alone,
and all ten together (`build_together`), where a photograph is decoded and a tile cut, encoded and measured once.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.photos import lay_out, machine, publish
from patina.pipeline.builder.jobs import make_jobs
from patina.pipeline.builder.samples import severity_facts
from patina.pipeline.builder.shards import build_shard, build_together
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.png import encode_png
from patina.pipeline.format.shard import pack
from patina.pipeline.hashing import canonical_json
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.recipe.parse import parse_recipe
from patina.synth.degradations import CATALOGUE, DACLIP_DEGRADATIONS
from patina.synth.rng import Rng

USUAL = ("noisy", "jpeg-compressed", "uncompleted")
"""What `loop` makes."""


def cpu(function: Callable[[], object]) -> float:
    """CPU milliseconds of one call, user and system, all threads."""
    start = time.process_time()
    function()
    return 1e3 * (time.process_time() - start)


def whole(folder: Path, degradation: str, count: int) -> float:
    """Milliseconds a tuple of `build_shard`, all in one shard."""
    table = {"sources": [{"path": "photos"}], "degradations": {degradation: {}}}
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    with Workspace(out) as workspace, Stores.open(out) as stores:
        planned = plan_from_stores(parse_recipe(table, folder), out, stores, Options())
        (job,) = make_jobs(planned, workspace)
        assert len(job.samples) == count
        return cpu(lambda: build_shard(job)) / count


def all_ten(folder: Path, tile: int, sizes: Sequence[int]) -> list[float]:
    """Milliseconds a tuple of all ten degradations, so many shards made together at a time."""
    entries: dict[str, object] = {name: {} for name in DACLIP_DEGRADATIONS}
    table: dict[str, object] = {"sources": [{"path": "photos"}], "degradations": entries}
    if tile:
        table["tiles"] = {"size": tile}
    took = []
    for size in sizes:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        with Workspace(out) as workspace, Stores.open(out) as stores:
            planned = plan_from_stores(parse_recipe(table, folder), out, stores, Options())
            jobs = make_jobs(planned, workspace)
            groups = [jobs[i : i + size] for i in range(0, len(jobs), size)]
            count = sum(len(job.samples) for job in jobs)
            took.append(cpu(lambda groups=groups: [build_together(group) for group in groups]) / count)  # type: ignore[misc]
    return took


def table_of_all(folder: Path, rounds: int) -> list[str]:
    """The second table."""
    lines = [
        "| all ten degradations | a shard at a time, ms a tuple | ten together | ratio |",
        "|---|---|---|---|",
    ]
    for tile, name in ((0, "768×512"), (256, "tiles of 256 px")):
        found = [all_ten(folder, tile, (1, len(DACLIP_DEGRADATIONS))) for _ in range(rounds + 1)][1:]
        alone, joined = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(a / b for a, b in found)
        lines.append(f"| {name} | {alone:.2f} | {joined:.2f} | {ratio:.2f} |")
    return lines


def parts(paths: Sequence[Path], degradation: str) -> dict[str, float]:
    """Milliseconds a tuple of each part, on its own."""
    method = CATALOGUE[degradation]()
    files = [path.read_bytes() for path in paths]
    images = [decode(data).image for data in files]
    rngs = [Rng(f"{i:032x}") for i in range(len(paths))]
    count = len(paths)
    seconds: dict[str, float] = {}

    def part(name: str, function: Callable[[], list[object]]) -> list[object]:
        kept: list[object] = []
        seconds[name] = cpu(lambda: kept.extend(function())) / count
        return kept

    part("read and verify", lambda: [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
    part("decode", lambda: [decode(data) and None for data in files])
    drawn = [method.draw(rng, image) for rng, image in zip(rngs, images, strict=True)]
    part("draw", lambda: [method.draw(rng, image) for rng, image in zip(rngs, images, strict=True)])
    # results are dropped as a build drops them: keeping a hundred megabytes would time the page faults
    part("degrade", lambda: [method.apply(i, p) and None for i, p in zip(images, drawn, strict=True)])
    results = [method.apply(image, params) for image, params in zip(images, drawn, strict=True)]
    if not any(result.file for result in results):
        part("encode LQ", lambda: [encode_png(result.image) and None for result in results])
    if any(result.truth for result in results):
        part("encode truth", lambda: [encode_png(m) and None for r in results for m in r.truth.values()])
    part("measure", lambda: [severity_facts(i, r.image) for i, r in zip(images, results, strict=True)])
    bodies = [
        [
            ("png", result.file[1] if result.file else encode_png(result.image)),
            ("gt.jpg", data),
            ("txt", b"a photograph"),
            ("json", canonical_json({"params": dict(params)}).encode()),
            *((f"{name}.png", encode_png(values)) for name, values in result.truth.items()),
        ]
        for result, data, params in zip(results, files, drawn, strict=True)
    ]
    packed = [pack("0123456789abcdef", body) for body in bodies]
    part("pack", lambda: [pack("0123456789abcdef", body) and None for body in bodies])
    part("digest", lambda: [hashlib.sha256(data).hexdigest() for data in packed])
    with tempfile.TemporaryFile(buffering=0, dir=paths[0].parent.parent) as file:

        def write() -> list[object]:
            for data in packed:
                os.write(file.fileno(), data)
            os.fsync(file.fileno())
            return []

        part("write", write)
    return seconds


def loop(paths: Sequence[Path], folder: Path, degradation: str) -> float:
    """Milliseconds a tuple of the loop that people use."""
    target = folder / "loop"
    shutil.rmtree(target, ignore_errors=True)
    (target / "LQ").mkdir(parents=True)
    (target / "GT").mkdir()
    random = np.random.default_rng(0)

    def degrade(image: np.ndarray) -> np.ndarray:
        if degradation == "noisy":
            return np.clip(image + random.normal(0, 50, image.shape), 0, 255).astype(np.uint8)
        if degradation == "jpeg-compressed":
            return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_COLOR)
        mask = np.full(image.shape[:2], 255, np.uint8)
        for _ in range(30):
            points = random.integers(0, [image.shape[1], image.shape[0]], (6, 2))
            cv2.polylines(mask, [points.astype(np.int32)], False, 0, 12)
        return (image * (mask[..., None] / 255.0) + 255 * (1 - mask[..., None] / 255.0)).astype(np.uint8)

    def run() -> None:
        for path in paths:
            image = cv2.imread(str(path))
            cv2.imwrite(str(target / "LQ" / f"{path.stem}.png"), degrade(image))
            shutil.copyfile(path, target / "GT" / path.name)

    return cpu(run) / len(paths)


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    lines = [
        "| 768×512 | whole, ms | parts, ms | whole / parts | usual loop, ms | whole / loop | tuples/s/core | KB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    mean_whole, mean_parts, mean_bytes = [], [], []
    details = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = lay_out(folder / "photos", options.count)
        second = table_of_all(folder, options.rounds)
        for degradation in DACLIP_DEGRADATIONS:
            wholes, sums, loops = [], [], []
            every: dict[str, list[float]] = {}
            for round_number in range(options.rounds + 1):
                took = whole(folder, degradation, options.count)
                alone = parts(paths, degradation)
                usual = loop(paths, folder, degradation) if degradation in USUAL else 0.0
                if round_number == 0:  # the first fills caches, tables and scratch buffers
                    continue
                wholes.append(took)
                sums.append(sum(alone.values()))
                loops.append(usual)
                for part, milliseconds in alone.items():
                    every.setdefault(part, []).append(milliseconds)
            middle = statistics.median
            ratio = middle(w / s for w, s in zip(wholes, sums, strict=True))
            size = sum(path.stat().st_size for path in (folder / "out").rglob("*.tar*")) / options.count / 1000
            against = "– | –"
            if degradation in USUAL:
                share = middle(u / w for w, u in zip(wholes, loops, strict=True))
                against = f"{middle(loops):.1f} | 1/{share:.1f}"
            lines.append(
                f"| {degradation} | {middle(wholes):.2f} | {middle(sums):.2f} | {ratio:.2f} | {against} | "
                f"{1000 / middle(wholes):.0f} | {size:.0f} |"
            )
            mean_whole.append(middle(wholes))
            mean_parts.append(middle(sums))
            mean_bytes.append(size)
            details.append(f"{degradation}: " + ", ".join(f"{p} {middle(v):.2f}" for p, v in every.items()))
    took, alone_took, size = (statistics.mean(values) for values in (mean_whole, mean_parts, mean_bytes))
    lines.append(
        f"| mean of all ten | {took:.2f} | {alone_took:.2f} | {took / alone_took:.2f} | – | – | {1000 / took:.0f} | "
        f"{size:.0f} |"
    )
    text = "\n".join(
        [
            *lines,
            "",
            *second,
            "",
            "Parts, ms: " + "; ".join(details) + ".",
            "",
            f"Measured by `python -m benchmarks.tuples --count {options.count} --rounds {options.rounds}`",
            f"on {machine()}.",
        ]
    )
    publish("One tuple, whole and in parts", text, "tuples" if options.save else None)


if __name__ == "__main__":
    main()
