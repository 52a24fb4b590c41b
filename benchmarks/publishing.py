"""What publishing by versions costs, beside the renames of earlier releases.

    python -m benchmarks.publishing [--counts 10 1000 10000] [--rounds 5] [--folder FOLDER] [--save]

A dataset of small shards, of which a tenth is new in each round; the staged shards are on the disk before the clock
starts. Both ways write the same files and force them to the disk:

    renames   a journal, one rename for each new shard and each table, the manifest last, as earlier releases did
    versions  `Workspace.publish`: a second name for every shard, one rename of a link; then `remove_old`, which removes
              the version before the last two

and both then keep the digests of those shards whose times changed, as a build does. Times are of the wall clock, since
the disk is waited for; the ways take turns, and medians are told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.photos import machine, publish
from patina.pipeline.builder.publish import remember_shards, trusted_shards
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.files import sync, write_atomically
from patina.pipeline.format.layout import CARD, CROISSANT, MANIFEST, PRIVATE, SAMPLES, SHARDS, SOURCES
from patina.pipeline.format.manifest import Manifest, ShardEntry, load_manifest
from patina.pipeline.plan.planning import Stores
from patina.pipeline.versions.lease import open_dataset
from patina.pipeline.versions.removal import own_bytes
from patina.pipeline.versions.version import all_versions, current_version

SHARD = 4096  # bytes
ROW = 64  # bytes of the tables for each shard; a real shard has a thousand samples, so this is little
OPENINGS = 50

Papers = dict[str, str | bytes | Path]


@dataclass
class Round:
    """What one publication is of: all shards, and the digests of those that are new."""

    shards: tuple[ShardEntry, ...]
    new: Mapping[str, str]
    papers: Papers
    digest: str


@dataclass
class Dataset:
    """A dataset that is published again and again. shards: what its shards are, by number."""

    out: Path
    shards: list[ShardEntry] = field(default_factory=list)
    rounds: int = 0

    def stage(self, count: int) -> Round:
        """Put a tenth of the shards, or all at first, into the staging folder, and make the tables and the manifest."""
        first = not self.shards
        changed = range(count) if first else range(self.rounds % 10, count, 10)
        new: dict[str, str] = {}
        for i in changed:
            content = f"{i} {self.rounds}".encode().ljust(SHARD, b".")
            digest = hashlib.sha256(content).hexdigest()
            entry = ShardEntry("train", "noisy", i, digest, digest, SHARD, 1)
            self.shards[i : i + 1] = [entry]
            staged = self.staged(entry.name)
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(content)
            new[entry.name] = entry.sha256
        self.rounds += 1
        manifest = Manifest(
            {}, "0" * 64, "codec", {}, "template@1", tuple(self.shards), count, 0, f"{self.rounds:064x}"
        )
        table = os.urandom(ROW * count)
        papers: Papers = {SAMPLES: table, SOURCES: table, CARD: "card", CROISSANT: "{}"}
        papers |= {MANIFEST: manifest.to_json()}
        os.sync()
        return Round(tuple(self.shards), new, papers, manifest.digest)

    def staged(self, name: str) -> Path:
        """Where a new shard lies before it is published."""
        return self.out / PRIVATE / "staging" / f"{name}.0123456789abcdef"


def by_renames(dataset: Dataset, made: Round) -> dict[str, float]:
    """Publish as releases before versions did; gives seconds by step."""
    out, private = dataset.out, dataset.out / PRIVATE
    with Stores.open(out) as stores:
        clock = Clock()
        fresh = private / "staging" / "publish"
        moves = [(dataset.staged(name), out / SHARDS / name) for name in made.new]
        for name, content in made.papers.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not isinstance(content, Path)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            sync(path)
            moves.append((path, out / name))
        for folder in (private / "staging", fresh, fresh / SHARDS):
            sync(folder)
        journal = private / "journal.json"
        told = json.dumps({"moves": [[str(a), str(b)] for a, b in moves], "drop": []})
        write_atomically(journal, told, durable=True)
        (out / SHARDS).mkdir(exist_ok=True)
        for source, target in moves[:-1]:
            source.replace(target)
        sync(out / SHARDS)
        moves[-1][0].replace(moves[-1][1])
        sync(out)
        journal.unlink()
        sync(private)
        (fresh / SHARDS).rmdir()
        fresh.rmdir()
        clock.lap("publish")
        remember_shards(out, made.new, stores)
        clock.lap("remember")
    return clock.laps


def by_versions(dataset: Dataset, made: Round) -> dict[str, float]:
    """Publish a version; gives seconds by step."""
    out = dataset.out
    with Workspace(out) as workspace, Stores.open(out) as stores:
        current = current_version(out)
        built_in = current.folder if current else out
        clock = Clock()
        kept = [shard for shard in made.shards if shard.name not in made.new]
        known = trusted_shards(out, built_in, kept, stores)
        clock.lap("remember")
        shards = {shard.name: built_in / SHARDS / shard.name for shard in kept}
        shards |= {name: dataset.staged(name) for name in made.new}
        workspace.publish(shards, made.papers, made.digest, "a tenth")
        clock.lap("publish")
        workspace.remove_old()
        clock.lap("remove")
        remember_shards(out, known | dict(made.new), stores)
        clock.lap("remember")
        assert len(known) == len(kept)
    return clock.laps


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What went by since the last lap belongs to this step."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now


WAYS: dict[str, Callable[[Dataset, Round], dict[str, float]]] = {"renames": by_renames, "versions": by_versions}


def measure(count: int, rounds: int, place: Path) -> dict[str, float]:
    """Medians for datasets of `count` shards: seconds by way and step, bytes, and seconds to open one."""
    datasets = {way: Dataset(place / f"{way}-{count}") for way in WAYS}
    laps: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds + 3):  # the first publication is of all shards; then two versions are there to be kept
        for way, run in WAYS.items():
            made = datasets[way].stage(count)
            found = run(datasets[way], made)
            if number >= 3:
                laps[way].append(found)
    result = {"count": float(count)}
    for way in WAYS:
        steps = {step for lap in laps[way] for step in lap}
        result |= {f"{way} {step}": statistics.median(lap[step] for lap in laps[way]) for step in steps}
        result[f"{way} all"] = statistics.median(sum(lap.values()) for lap in laps[way])
    out = datasets["versions"].out
    versions = all_versions(out)
    assert len(versions) == 2
    folder = versions[-1].folder
    result["own"] = own_bytes(versions)[versions[-1].number]
    result["new"] = (count + 9) // 10 * SHARD
    result["names"] = sum(path.stat().st_size for path in (folder, folder / SHARDS))
    result["whole"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    opened, read = [], []
    for _ in range(OPENINGS):
        begun = time.perf_counter()
        open_dataset(out).close()
        opened.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        load_manifest(out)
        read.append(time.perf_counter() - begun)
    result["open"], result["manifest"] = statistics.median(opened), statistics.median(read)
    return result


def report(counts: list[int], rounds: int, place: Path) -> str:
    """Markdown tables, and how it was measured."""
    found = [measure(count, rounds, place) for count in counts]
    lines = [
        "| shards | renames, s | versions, s | versions / renames | publish, s: renames | publish, s: versions | "
        "remove the oldest, s | digests, s: renames | digests, s: versions |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        lines.append(
            f"| {row['count']:,.0f} | {row['renames all']:.3f} | {row['versions all']:.3f} | "
            f"{row['versions all'] / row['renames all']:.1f} | {row['renames publish']:.3f} | "
            f"{row['versions publish']:.3f} | {row['versions remove']:.3f} | {row['renames remember']:.3f} | "
            f"{row['versions remember']:.3f} |"
        )
    lines += [
        "",
        "| shards | a version's own files, kB | of which new shards, kB | its two folders, kB | all its files, kB | "
        "open and close it, ms | read its manifest, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        sizes = " | ".join(f"{row[name] / 1000:,.0f}" for name in ("own", "new", "names", "whole"))
        lines.append(f"| {row['count']:,.0f} | {sizes} | {row['open'] * 1e3:.2f} | {row['manifest'] * 1e3:.2f} |")
    lines += [
        "",
        f"Shards of {SHARD:,} bytes, a tenth of them new in each of {rounds} rounds, after three that are not counted.",
        "The versions cost more: every shard gets a second name, the version before the last two loses its names, and",
        "the times of a shard change with its names, so that every digest is kept anew, where renames touch the new",
        "shards alone. All of it grows with the number of shards and not with their bytes: a shard of 500 tuples at",
        "25 ms each (`tuples.md`) takes 12 s of a core to build.",
        "",
        f"Measured by `python -m benchmarks.publishing` on {machine()}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the tables; with --save, keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=int, default=[10, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="On the disk that is to be measured; default: the temporary one.")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        text = report(options.counts, options.rounds, Path(folder))
    publish("Publishing by versions and by renames", text, "publishing" if options.save else None)


if __name__ == "__main__":
    main()
