"""One build by every runner: the same bytes, and how long it takes beside one thread.

    python -m benchmarks.runners PHOTOS [--save]

Wall time of the step that builds shards, since the work is in several processes; starting the workers is in it, and
Prefect's API, started before, is not. Compare within the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.photos import machine, publish
from patina.pipeline.sources.reader import image_files

RECIPE = """
name = "runners"
buckets = {buckets}
[[sources]]
path = 'photos'
[degradations.noisy]
[degradations.jpeg-compressed]
[degradations.hazy]
"""
RUNS = (("threads", 1), ("threads", 2), ("processes", 2), ("dask", 2), ("ray", 2))


class Clock:
    """Seconds from the beginning of the shards' step to its end, and to the first progress that is told."""

    def __init__(self) -> None:
        self.step = self.first = 0.0
        self._start: float | None = None

    def begin(self, step: str, total: int, unit: str) -> None:
        del total, unit
        if step == "building shards":
            self._start, self.first = time.monotonic(), 0.0

    def advance(self, count: int) -> None:
        del count
        if self._start is not None and not self.first:
            self.first = time.monotonic() - self._start

    def end(self) -> None:
        if self._start is not None:
            self.step, self._start = time.monotonic() - self._start, None


def run(recipe: Path, out: Path, runner: str, workers: int) -> tuple[float, float, int, str]:
    """Seconds of the shards' step, seconds to the first progress, samples, and the dataset's digest."""
    from patina.flows.build_dataset import build_dataset
    from patina.flows.watchers import watched_by

    clock = Clock()
    with watched_by(clock):
        report = build_dataset(str(recipe), str(out), workers=workers, runner=runner, replay=0)
    return clock.step, clock.first, report.samples_written, report.manifest.digest


def measure(photos: Path, limit: int, buckets: int, rounds: int) -> list[str]:
    """The table's lines."""
    times: dict[tuple[str, int], list[tuple[float, float]]] = {}
    digests: dict[tuple[str, int], set[str]] = {}
    samples = 0
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        recipe.write_text(RECIPE.format(buckets=buckets), "utf-8")
        (Path(name) / "photos").mkdir()
        paths = [Path(path) for _, path in image_files(str(photos.absolute()), "photos")[0]][:limit]
        for path in paths:
            shutil.copyfile(path, Path(name) / "photos" / path.name)
        for i in range(rounds):
            for key in RUNS:
                step, first, samples, digest = run(recipe, Path(name) / f"{key[0]}-{key[1]}-{i}", *key)
                times.setdefault(key, []).append((step, first))
                digests.setdefault(key, set()).add(digest)
    alone = [step for step, _ in times[RUNS[0]]]
    expected = digests[RUNS[0]]
    lines = [
        "| runner | workers | seconds | to the first progress | samples/s | times one thread | same bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in RUNS:
        seconds = statistics.median(step for step, _ in times[key])
        first = statistics.median(first for _, first in times[key])
        ratio = statistics.median(one / step for one, (step, _) in zip(alone, times[key], strict=True))
        same = "yes" if digests[key] == expected and len(expected) == 1 else "no"
        lines.append(
            f"| {key[0]} | {key[1]} | {seconds:.1f} | {first:.1f} | {samples / seconds:.0f} | {ratio:.2f} | {same} |"
        )
    return [*lines, "", f"{samples} samples of {len(paths)} photographs: noisy, jpeg-compressed, hazy."]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--buckets", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("PREFECT_HOME", home)
        lines = measure(options.photos, options.limit, options.buckets, options.rounds)
    text = "\n".join(
        [
            *lines,
            "",
            f"Medians of {options.rounds} rounds by `python -m benchmarks.runners PHOTOS --limit {options.limit} "
            f"--buckets {options.buckets} --rounds {options.rounds}`",
            f"on {machine()}, under a load of {load:.1f} from others before it began: on a busy machine",
            "read the ratios alone, and those as lower bounds.",
        ]
    )
    publish("One build by every runner", text, "runners" if options.save else None)


if __name__ == "__main__":
    main()
