"""What a million and a hundred million photographs would take, from what a few take here.

    python -m benchmarks.scale [--counts 100000 1000000] [--save]

Measures reading a photograph for the first time (digest, decoding, likeness), one tuple of each of the ten degradations
(benchmarks/tuples.py: `build_shard` on one thread), and the plan of made-up photographs (benchmarks/plan_scale.py), and
multiplies. Photographs are 768×512 px, as those are that it times; time and bytes grow with the pixels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from benchmarks.photos import lay_out, machine, publish
from benchmarks.plan_scale import captions_of, peak_megabytes, recipe_of, sources_of
from benchmarks.tuples import cpu, whole
from patina.pipeline.format.manifest import SampleRow
from patina.pipeline.plan.wanted import Wanted
from patina.pipeline.scan.digests import inspect
from patina.pipeline.scan.source import Source
from patina.synth.degradations import DACLIP_DEGRADATIONS

SHARD = 512e6
"""Bytes of a shard: large enough to stream, small enough to rebuild."""
SIZES = (1_000_000, 100_000_000)


def per_photograph(count: int, rounds: int) -> tuple[float, float, float]:
    """Milliseconds to read a new photograph, milliseconds of its ten tuples, bytes of these."""
    reads, tuples = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = lay_out(folder / "photos", count)
        for round_number in range(rounds + 1):
            read = cpu(lambda: [inspect(path.read_bytes()) for path in paths]) / count
            took = size = 0.0
            for degradation in DACLIP_DEGRADATIONS:
                took += whole(folder, degradation, count)
                size += sum(path.stat().st_size for path in (folder / "out").rglob("*.tar*")) / count
            if round_number:
                reads.append(read)
                tuples.append(took)
    return statistics.median(reads), statistics.median(tuples), size


def planned(count: int) -> dict[str, float]:
    """What benchmarks/plan_scale.py finds for `count` photographs, in a process of its own."""
    call = [sys.executable, "-m", "benchmarks.plan_scale", "--one", str(count)]
    found: dict[str, float] = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    return found


def hold(count: int) -> float:
    """KB that a build holds for each sample it makes: what is wanted, its share of the photograph as an object, and the
    row of the table that it gives."""
    recipe = recipe_of(count)
    sources = sources_of(count, recipe)
    wanted = Wanted(recipe, "codec", captions_of(sources), sources)
    before, kept = peak_megabytes(), []
    photographs: dict[str, Source] = {}
    for shard in wanted.shards:
        for source in (photographs.setdefault(source.digest, source) for source in shard.sources):
            for sample in wanted.samples(source, shard.degradation):
                x, y, width, height = sample.tile
                params = json.dumps({"sigma": 50.0, "seed": sample.seed})  # the shortest that there are
                row = SampleRow(
                    key=sample.key, shard=shard.name, offset=512, size=1024, split=shard.split, entry=sample.entry,
                    degradation=sample.label, variant=sample.variant, x=x, y=y, width=width, height=height,
                    source_sha256=source.digest, params=params, seed=sample.seed, psnr=15.0, psnr_y=16.3, ssim=0.3,
                    ssim_y=0.4, severity=70.0, clip_severity=60.0, caption=sample.caption.text,
                    captioner=sample.caption.captioner, sentence=f"noise {sample.seed}",
                    fingerprint=sample.fingerprint, pixels=sample.pixels,
                )  # fmt: skip
                kept.append((sample, row))
    return 1000 * (peak_megabytes() - before) / len(kept)


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs=2, type=int, default=[100_000, 1_000_000])
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hold", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    if options.hold:
        print(json.dumps(hold(options.hold)))
        return
    cv2.setNumThreads(1)
    read, tuples, size = per_photograph(options.photos, options.rounds)
    few, many = (planned(count) for count in options.counts)
    span = many["count"] - few["count"]
    memory = (many["peak_mb"] - few["peak_mb"]) / span  # MB a photograph, three degradations
    plan = (many["again"] - few["again"]) / span / 3  # seconds a sample
    entry = many["manifest_mb"] / many["shards"]
    call = [sys.executable, "-m", "benchmarks.scale", "--hold", "50000"]
    held = float(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    lines = ["| | " + " | ".join(f"{n / 1e6:.0f} M photographs" for n in SIZES) + " |", "|---|" + "---|" * len(SIZES)]

    def row(name: str, *values: str) -> None:
        lines.append(f"| {name} | " + " | ".join(values) + " |")

    row("tuples, ten degradations", *(f"{10 * n / 1e6:,.0f} M" for n in SIZES))
    row("bytes of shards", *(f"{n * size / 1e12:,.1f} TB" for n in SIZES))
    row("shards of 512 MB", *(f"{n * size / SHARD:,.0f}" for n in SIZES))
    row("`buckets` to set, a degradation", *(f"{n * size / SHARD / 10:,.0f}" for n in SIZES))
    row("core-hours, reading for the first time", *(f"{n * read / 3.6e6:,.1f}" for n in SIZES))
    row("core-hours, synthesis and shards", *(f"{n * tuples / 3.6e6:,.0f}" for n in SIZES))
    row("core-minutes, a plan", *(f"{10 * n * plan / 60:,.1f}" for n in SIZES))
    row("memory of a plan", *(f"{n * memory / 1000:,.1f} GB" for n in SIZES))
    row("memory of a build of all at once", *(f"{10 * n * held / 1e6:,.0f} GB" for n in SIZES))
    row("manifest.json", *(f"{n * size / SHARD * entry:,.1f} MB" for n in SIZES))
    text = "\n".join(
        [
            *lines,
            "",
            f"From {read:.1f} ms to read a photograph, {tuples:.0f} ms and {size / 1e6:.2f} MB for its ten tuples, "
            f"{1e6 * plan:.1f} µs a sample to plan,",
            f"{1000 * memory:.1f} KB a photograph to hold sources, captions and plan, {held:.1f} KB a sample that a "
            f"build makes, and {1000 * entry:.2f} KB of manifest a shard.",
            "",
            f"Measured by `python -m benchmarks.scale` on one core of {machine()}.",
        ]
    )
    publish("A million and a hundred million", text, "scale" if options.save else None)


if __name__ == "__main__":
    main()
