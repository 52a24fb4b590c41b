"""Whole builds by the command, from outside: CPU time per tuple against its parts, nothing changed, one changed.

    python -m benchmarks.builds [whole] [idle] [changed] [--save]

whole    `patina build` (scan, plan, Prefect and its server, synthesis, shards, tables, card, check) of N and of 3 N
         tuples, of photographs of 768×512 px. What one more tuple costs is the difference over the number of tuples, so
         that what every build costs alike drops out and is given beside it (Prefect's embedded server takes ten seconds
         to start). Parts are those of benchmarks/tuples.py, and looking a photograph over once before the plan
         (digest, decoding, perceptual hash), which all its degradations share; measured in the same round.
idle     `patina build` again over 10,000 photographs of which nothing changed, beside the start of the interpreter and
         its imports: `patina build` of six photographs of which nothing changed.
changed  one photograph of 200 and of 4 is replaced, all ten degradations. Both make ten samples and start Prefect; the
         difference is copying, beside writing as many bytes to files and flushing them.

CPU time is that of the process and all it started, as the operating system counts it; wall time is given where waiting
counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.photos import lay_out, machine, publish
from benchmarks.tuples import cpu, parts
from patina.pipeline.machine import keep_freed_memory
from patina.pipeline.scan.digests import inspect
from patina.synth.degradations import DACLIP_DEGRADATIONS

OVERHEAD = ("read and verify", "pack", "digest", "write")
"""Parts that are no image work."""


def spent(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """CPU seconds of a command and all that it waited for, and its wall seconds. Raises if it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def write_recipe(folder: Path, degradations: Sequence[str], photos: str = "photos") -> Path:
    """A recipe of one shard a degradation."""
    path = folder / f"{photos}-{len(degradations)}-{degradations[0]}.toml"
    tables = "".join(f"[degradations.{degradation}]\n" for degradation in degradations)
    path.write_text(f"name = 'timed'\n[[sources]]\npath = '{photos}'\n{tables}", "utf-8")
    return path


class Timed:
    """Builds in a folder of their own, with a Prefect of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "NO_COLOR": "1"}
        self.patina = str(Path(sys.executable).parent / "patina")

    def build(self, recipe: Path, out: Path, *options: str) -> tuple[float, float]:
        """CPU and wall seconds of one build."""
        return spent([self.patina, "build", str(recipe), "--out", str(out), *options], self.environment)


def whole(timed: Timed, count: int, rounds: int) -> list[str]:
    """The table of tuples, whole against parts."""
    folder = timed.folder
    laid_out = lay_out(folder / "all", 3 * count)
    lines = [
        "| degradation | one more tuple, ms | its parts, ms | whole / parts | no image work | a build of none, s |",
        "|---|---|---|---|---|---|",
    ]
    groups = {"noisy": ("noisy",), "jpeg-compressed": ("jpeg-compressed",), "mean of all ten": DACLIP_DEGRADATIONS}
    photos = {}
    for share in {-(-count // len(degradations)) for degradations in groups.values()}:
        photos[share] = (
            _copied(laid_out[:share], folder / f"few-{share}"),
            _copied(laid_out[: 3 * share], folder / f"many-{share}"),
        )
    timed.build(write_recipe(folder, ("noisy",), f"few-{min(photos)}"), folder / "warm")  # makes Prefect's database
    for name, degradations in groups.items():
        share = -(-count // len(degradations))  # as many tuples of each kind
        paths = photos[share][1]
        tuples, sums, overheads, fixed = [], [], [], []
        for _ in range(rounds):
            spans = []
            for kind in ("few", "many"):
                out = folder / "out"
                shutil.rmtree(out, ignore_errors=True)
                recipe = write_recipe(folder, degradations, f"{kind}-{share}")
                spans.append(timed.build(recipe, out, "--workers", "1", "--replay", "0")[0])
            alone = [parts(paths[:share], degradation) for degradation in degradations]
            once = cpu(partial(_look_over, paths[:share])) / share / len(degradations)
            took = 1e3 * (spans[1] - spans[0]) / (2 * share * len(degradations))
            tuples.append(took)
            sums.append(once + sum(sum(part.values()) for part in alone) / len(degradations))
            image = sum(sum(v for k, v in part.items() if k not in OVERHEAD) for part in alone) / len(degradations)
            overheads.append((took - once - image) / took)
            fixed.append(spans[0] - (spans[1] - spans[0]) / 2)
        ratio = statistics.median(t / s for t, s in zip(tuples, sums, strict=True))
        middle = statistics.median
        lines.append(
            f"| {name} | {middle(tuples):.2f} | {middle(sums):.2f} | {ratio:.2f} | {100 * middle(overheads):.0f} % | "
            f"{middle(fixed):.1f} |"
        )
    return [
        *lines,
        "",
        f"Builds of some {count:,} and {3 * count:,} tuples, one worker; medians of {rounds} rounds. `no image "
        "work` is",
        "all but looking over, decoding, drawing, degrading, encoding and measuring: hashing shards, tar, JSON,",
        "tables, the check and Prefect.",
    ]


def _copied(paths: Sequence[Path], folder: Path) -> list[Path]:
    folder.mkdir()
    return [Path(shutil.copyfile(path, folder / path.name)) for path in paths]


def _look_over(paths: Sequence[Path]) -> None:
    for path in paths:
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        inspect(data)


def idle(timed: Timed, count: int, rounds: int) -> list[str]:
    """Nothing changed: `count` photographs, and six."""
    folder = timed.folder
    image = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (48, 64, 3), np.uint8)
    for name, many in (("small", count), ("six", 6)):
        (folder / name).mkdir()
        for i in range(many):
            image[0, 0] = (i >> 16, (i >> 8) & 255, i & 255)
            cv2.imwrite(str(folder / name / f"{i:06d}.png"), image)
    recipes = {name: write_recipe(folder, ("jpeg-compressed",), name) for name in ("small", "six")}
    first = timed.build(recipes["small"], folder / "idle-small", "--replay", "0")
    timed.build(recipes["six"], folder / "idle-six", "--replay", "0")
    time.sleep(3)  # files that changed just now are read again
    for name, recipe in recipes.items():
        timed.build(recipe, folder / f"idle-{name}")
    found: dict[str, list[tuple[float, float]]] = {"small": [], "six": []}
    for _ in range(rounds):
        for name, values in found.items():
            values.append(timed.build(recipes[name], folder / f"idle-{name}"))
    cpu = {name: statistics.median(c for c, _ in values) for name, values in found.items()}
    wall = {name: statistics.median(w for _, w in values) for name, values in found.items()}
    return [
        "| nothing changed | wall, s | CPU, s |",
        "|---|---|---|",
        f"| {count:,} photographs | {wall['small']:.2f} | {cpu['small']:.2f} |",
        f"| six photographs: the interpreter and its imports | {wall['six']:.2f} | {cpu['six']:.2f} |",
        f"| difference | {wall['small'] - wall['six']:.2f} | {cpu['small'] - cpu['six']:.2f} |",
        f"| the first build of the {count:,} | {first[1]:.1f} | {first[0]:.1f} |",
        "",
        f"Medians of {rounds} rounds; photographs of 64×48 px, one degradation.",
    ]


def changed(timed: Timed, count: int, rounds: int) -> list[str]:
    """One photograph of `count`, and one of four, replaced; all ten degradations in one shard each."""
    folder = timed.folder
    paths = lay_out(folder / "replaced", count + 2 * rounds)
    spare = [path.rename(folder / path.name) for path in paths[count:]]
    (folder / "four").mkdir()
    many, few = paths[:count], [Path(shutil.copy(path, folder / "four" / path.name)) for path in paths[:4]]
    builds = {
        name: (write_recipe(folder, DACLIP_DEGRADATIONS, name), folder / f"changed-{name}")
        for name in ("replaced", "four")
    }
    first = {name: timed.build(*build, "--workers", "1", "--replay", "0") for name, build in builds.items()}
    time.sleep(3)  # files that changed just now are read again
    for build in builds.values():
        timed.build(*build, "--workers", "1", "--replay", "0")
    rows = []
    for k in range(rounds):
        spent_on = []
        for name, victims in (("replaced", many), ("four", few)):
            spare.pop().replace(victims[k % 4])
            spent_on.append(timed.build(*builds[name], "--workers", "1", "--replay", "0"))
        sizes = [
            sum(s["bytes"] for s in json.loads((out / "manifest.json").read_text())["shards"])
            for _, out in builds.values()
        ]
        copied = sizes[0] - sizes[1]
        rows.append((*spent_on, copied, _writing(folder, copied)))
    middle = statistics.median
    large, small = ([middle(row[which][unit] for row in rows) for unit in (1, 0)] for which in (0, 1))
    wall, cpu_s = (middle(row[0][unit] - row[1][unit] for row in rows) for unit in (1, 0))
    disk, copied = middle(row[3] for row in rows), rows[-1][2]
    return [
        "| one photograph replaced, ten degradations | wall, s | CPU, s |",
        "|---|---|---|",
        f"| the first build of all {count} | {first['replaced'][1]:.1f} | {first['replaced'][0]:.1f} |",
        f"| the rebuild, one of {count} | {large[0]:.2f} | {large[1]:.2f} |",
        f"| the rebuild, one of 4 | {small[0]:.2f} | {small[1]:.2f} |",
        f"| difference: {10 * (count - 4)} samples copied, {copied / 1e6:.0f} MB | {wall:.2f} | {cpu_s:.2f} |",
        f"| writing {copied / 1e6:.0f} MB to files and flushing them | {disk:.2f} | – |",
        "",
        f"Medians of {rounds} rounds. Copied at {copied / wall / 1e6:.0f} MB/s, {disk / wall:.0%} of the speed of "
        "writing alone:",
        "a copy is read, its digest verified, written, and hashed once more, for the new shard.",
    ]


def _writing(folder: Path, size: int) -> float:
    block = np.random.Generator(np.random.PCG64(2)).bytes(size // 10)
    start = time.monotonic()
    for i in range(10):
        with (folder / f"written-{i}").open("wb", buffering=0) as file:
            file.write(block)
            os.fsync(file.fileno())
    return time.monotonic() - start


def main() -> None:
    """Print the tables; with --save, keep each beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["whole", "idle", "changed", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=240, help="tuples of the smaller build")
    parser.add_argument("--sources", type=int, default=10_000, help="photographs of which nothing changed")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    keep_freed_memory()  # as in a build
    todo: dict[str, Callable[[Timed], list[str]]] = {
        "whole": lambda timed: whole(timed, options.count, options.rounds),
        "idle": lambda timed: idle(timed, options.sources, options.rounds),
        "changed": lambda timed: changed(timed, 200, options.rounds),
    }
    titles = {"whole": "A whole build", "idle": "Nothing changed", "changed": "One photograph changed"}
    text = ""
    for what in todo if "all" in options.what else options.what:
        with tempfile.TemporaryDirectory() as name:
            text += f"## {titles[what]}\n\n" + "\n".join(todo[what](Timed(Path(name)))) + "\n\n"
    text += f"Measured by `python -m benchmarks.builds` on {machine()}."
    publish("Builds by the command", text, "builds" if options.save else None)


if __name__ == "__main__":
    main()
