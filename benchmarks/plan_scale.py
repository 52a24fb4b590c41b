"""How planning grows: a million simulated photographs, nothing built yet and everything built.

    python -m benchmarks.plan_scale [--counts 10000 100000 1000000] [--save]

No file is opened: the sources are made up from their digests, as a scan would hand them over. Each count runs in a
process of its own, so that its peak memory is its own. Times are CPU seconds of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.photos import machine, publish
from patina.pipeline.format.manifest import Manifest, ShardEntry
from patina.pipeline.plan.difference import make_plan
from patina.pipeline.plan.wanted import AssignedCaption, Wanted
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.columns import ByDigest, Sources
from patina.pipeline.scan.source import ImageInfo, Source
from patina.synth.degradations import CATALOGUE

DEGRADATIONS = ("noisy", "jpeg-compressed", "hazy")
A_SHARD = 1000  # photographs


def recipe_of(count: int) -> Recipe:
    """Three degradations, shards of about a thousand photographs each."""
    table = {
        "sources": [{"path": "photos"}],
        "buckets": max(1, count // A_SHARD),
        "split": {"val": 0.01},
        "degradations": {degradation: {} for degradation in DEGRADATIONS},
    }
    return parse_recipe(table, Path("/"), "scale")


def sources_of(count: int, recipe: Recipe) -> Sources:
    """Photographs of 768×512 px that nobody took."""
    return Sources.of(_source(i, recipe) for i in range(count)).in_order()


def _source(i: int, recipe: Recipe) -> Source:
    digest = hashlib.sha256(str(i).encode()).hexdigest()
    info = ImageInfo("", 768, 512, "jpg", (100.0, 110.0, 120.0), digest[:16])
    name = f"{i // 10_000:04d}/{i:09d}.jpg"
    side = recipe.split.side(digest)
    return Source(digest, digest, (name,), ("/photos",), f"/photos/{name}", 0, side, 200_000, info)


def captions_of(sources: Sources) -> ByDigest[AssignedCaption | None]:
    """One for all, as a template gives them."""
    words = [AssignedCaption("a photograph of something", "template@2")]
    return ByDigest(sources.digests, np.zeros(len(sources), np.int32), words)


def peak_megabytes() -> float:
    """The most memory that this process ever had, in MB. Linux alone: getrusage begins with what the parent had."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    if found is None:
        raise OSError("expected a line VmHWM in /proc/self/status, found none; this needs Linux")
    return int(found[1]) * 1024 / 1e6


def measure(count: int) -> dict[str, float]:
    """Seconds and megabytes for one count."""
    recipe = recipe_of(count)
    sources = sources_of(count, recipe)
    captions = captions_of(sources)
    before = peak_megabytes()
    start = time.process_time()
    wanted = Wanted(recipe, "codec", captions, sources)
    fresh = make_plan(wanted, None, {}, lambda names: [])
    first = time.process_time() - start
    entries = tuple(
        ShardEntry(s.split, s.degradation, s.bucket, s.fingerprint, "0" * 64, 1, s.count, s.group)
        for s in wanted.shards
    )
    identities = json.loads(json.dumps(wanted.identities))
    built = Manifest(recipe.table, recipe.digest, "codec", identities, "blip@1", entries, count, 0, "")
    text = built.to_json()
    start = time.process_time()
    idle = make_plan(Wanted(recipe, "codec", captions, sources), built, {}, lambda names: [])
    again = time.process_time() - start
    assert len(fresh.build) == len(entries) and idle.is_empty
    return {
        "count": count,
        "shards": len(entries),
        "first": first,
        "again": again,
        "sources_mb": before,
        "peak_mb": peak_megabytes(),
        "manifest_mb": len(text) / 1e6,
    }


def report(counts: list[int]) -> str:
    """A Markdown table, and how it was measured."""
    lines = [
        "| photographs | samples | shards | plan, nothing built, s | plan, all built, s | µs a sample | memory, MB | "
        "manifest, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count in counts:
        call = [sys.executable, "-m", "benchmarks.plan_scale", "--one", str(count)]
        found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
        samples = count * len(DEGRADATIONS)
        lines.append(
            f"| {count:,} | {samples:,} | {found['shards']:,} | {found['first']:.1f} | {found['again']:.1f} | "
            f"{found['again'] / samples * 1e6:.1f} | {found['peak_mb']:.0f} | {found['manifest_mb']:.2f} |"
        )
    lines += [
        "",
        f"Three of {len(CATALOGUE)} degradations, whole photographs, shards of about {A_SHARD:,}.",
        "Memory is the peak of the whole process, sources and captions included.",
        "",
        f"Measured by `python -m benchmarks.plan_scale` on {machine()}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    text = report(options.counts)
    publish("Planning a million photographs", text, "plan_scale" if options.save else None)


if __name__ == "__main__":
    main()
