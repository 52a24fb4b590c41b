"""What each [storage] costs in bytes and milliseconds, of JPEG, PNG and mixed photographs: the reason for the default.

Make benchmarks/storage.md:  python -m benchmarks.storage PHOTOS --save
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from benchmarks.photos import lay_out, machine, publish

ENTRIES = ("noisy", "hazy", "jpeg-compressed")
SOURCES = ("JPEG", "PNG", "mixed")
STORED: dict[str, dict[str, Any]] = {
    "as they come, not uniform": {"uniform": False},
    "as they come, uniform": {},
    "GT as PNG": {"gt": "png"},
    "all as PNG": {"lq": "png", "gt": "png"},
}
"""What is compared: `[storage]` by its name in the table."""


@dataclass(frozen=True)
class Measured:
    """One dataset. bytes: of its shards; build, read: CPU milliseconds a sample; kinds: most members of one shard."""

    samples: int
    shards: int
    bytes: int
    kinds: int
    build: float
    read: float


def lay_out_sources(photos: list[Path], folder: Path) -> None:
    """The same photographs as JPEG files, as PNG files, and every second one as each."""
    for kind in SOURCES:
        (folder / kind).mkdir()
        for i, path in enumerate(photos):
            if kind == "JPEG" or (kind == "mixed" and i % 2):
                (folder / kind / path.name).write_bytes(path.read_bytes())
            else:
                cv2.imwrite(str(folder / kind / f"{path.stem}.png"), cv2.imread(str(path)))


def measure(folder: Path, source: str, storage: dict[str, Any], out: Path, buckets: int) -> Measured:
    """Build the dataset of one kind of sources with one storage, with one thread, and read it once."""
    from patina.pipeline.builder.build import build
    from patina.pipeline.builder.runner import Threads
    from patina.pipeline.format.manifest import load_manifest
    from patina.pipeline.plan.planning import Options
    from patina.pipeline.recipe.parse import parse_recipe

    degradations: dict[str, Any] = {entry: {} for entry in ENTRIES}
    table = {"sources": [{"path": source}], "degradations": degradations, "storage": storage, "buckets": buckets}
    start = time.process_time()
    build(parse_recipe(table, folder), out, Options(workers=1), Threads(1))
    building = time.process_time() - start
    manifest = load_manifest(out)
    assert manifest is not None
    start = time.process_time()
    kinds = [len(set(found)) for found in read(out)]
    reading = time.process_time() - start
    count = sum(shard.count for shard in manifest.shards)
    total = sum(shard.bytes for shard in manifest.shards)
    shards = len(manifest.shards)
    return Measured(count, shards, total, max(kinds), 1e3 * building / count, 1e3 * reading / count)


def read(out: Path) -> Iterator[list[tuple[str, ...]]]:
    """The members of every sample of each shard, once LQ and GT are decoded."""
    from patina.pipeline.codec.decode import decode
    from patina.pipeline.format.layout import IMAGES, SHARDS
    from patina.pipeline.format.shard import read_shard

    for path in sorted((out / SHARDS).glob("*.tar")):
        found = []
        for _, members, _ in read_shard(path):
            for name in IMAGES:
                if name in members:
                    decode(members[name])
            found.append(tuple(members))
        yield found


def run(photos: list[Path], rounds: int, buckets: int) -> dict[tuple[str, str], list[Measured]]:
    """All of it, `rounds` times, in turns, so that what else the machine does falls on all alike."""
    found: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out_sources(photos, folder)
        measure(folder, SOURCES[-1], {}, folder / "first", buckets)  # what is loaded and made once falls on none
        for number in range(rounds):
            for source in SOURCES:
                for stored, storage in STORED.items():
                    out = folder / f"{source}-{stored}-{number}"
                    found[source, stored].append(measure(folder, source, storage, out, buckets))
                    print(source, stored, found[source, stored][-1], file=sys.stderr)
    return found


def table(found: dict[tuple[str, str], list[Measured]]) -> Iterator[str]:
    """A row for each kind of sources and storage; in brackets against the first storage."""
    yield "| photographs | stored | shards | unlike members in a shard | KB a sample | build, ms | read, ms |"
    yield "|---|---|---|---|---|---|---|"
    for (source, stored), rounds in found.items():
        one, base = rounds[0], found[source, next(iter(STORED))]
        size, first = one.bytes / one.samples / 1e3, base[0].bytes / base[0].samples / 1e3
        times = []
        for name in ("build", "read"):
            mine, theirs = (statistics.median(getattr(m, name) for m in group) for group in (rounds, base))
            times.append(f"{mine:.1f} ({mine / theirs - 1:+.0%})")
        unlike = "yes" if one.kinds > 1 else "no"
        told = [source, stored, str(one.shards), unlike, f"{size:.1f} ({size / first - 1:+.2%})", *times]
        yield f"| {' | '.join(told)} |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of JPEG files; else those inside scikit-image")
    parser.add_argument("--limit", type=int, default=24, help="photographs that are taken")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--buckets", type=int, default=2)
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/storage.md")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        every = sorted(options.photos.glob("*.jpg")) if options.photos else lay_out(Path(name), options.limit)
        photos = every[:: max(1, len(every) // options.limit)][: options.limit]
        found = run(photos, options.rounds, options.buckets)
        sizes = sum(path.stat().st_size for path in photos) / len(photos) / 1e3
        shape = "×".join(map(str, reversed(cv2.imread(str(photos[0])).shape[:2])))
    whose = f"of the folder {options.photos.name}" if options.photos else "inside scikit-image and scikit-learn"
    text = [
        f"{len(photos)} photographs {whose} ({sizes:.0f} KB as JPEG in the mean, the first {shape} px), each under "
        f"{', '.join(ENTRIES)}, whole, in {options.buckets} buckets. PNG: the same pixels. CPU time of one thread for "
        f"a sample, medians of {options.rounds} rounds in turns: of the whole build, scan and tables included; and of "
        "decoding LQ and GT from the shards. In brackets: against the first of the same photographs. Rows of equal "
        "bytes are the same dataset: what their times differ by is noise.",
        "",
        *table(found),
        "",
        machine(),
    ]
    publish("What [storage] costs", "\n".join(text), "storage" if options.save else None)


if __name__ == "__main__":
    main()
