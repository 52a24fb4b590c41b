"""What a plan tells of a build's cost, beside what the build then took.

    python -m benchmarks.estimates PHOTOS [--count 24] [--save]

Every recipe that comes with patina, with PHOTOS in place of its sets and template captions, on one thread. Seconds are
CPU seconds of making the samples, which is what a plan tells of; the ratio is what was told over what was found.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.photos import machine, publish
from patina.pipeline.builder.build import build
from patina.pipeline.builder.dry_run import dry_run
from patina.pipeline.builder.runner import Threads
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.shipped import shipped

MANY = 20
"""Degradations of a recipe beyond which a quarter of the photographs is enough."""


@dataclass(frozen=True)
class Row:
    """One recipe: samples, and bytes and seconds as they were told and as they were found."""

    name: str
    samples: int
    told: tuple[float, float]
    found: tuple[float, float]

    def line(self) -> str:
        """A line of the table."""
        (size, seconds), (wrote, took) = self.told, self.found
        return (
            f"| {self.name} | {self.samples} | {size / 1e6:.1f} | {wrote / 1e6:.1f} | {size / wrote:.2f} | "
            f"{seconds:.1f} | {took:.1f} | {seconds / took:.2f} |"
        )


def measure(name: str, table: dict[str, Any], photos: Path, names: list[str], out: Path) -> Row | None:
    """A recipe planned and built; None for one that makes nothing of photographs."""
    if not table.get("degradations"):
        return None
    few = names[:: 4 if len(table["degradations"]) > MANY else 1]
    table |= {"captions": {"kind": "template"}, "sources": [{"path": str(photos), "include": few}]}
    recipe = parse_recipe(table, photos, name)
    planned = dry_run(recipe, out, Options())
    result = build(recipe, out, runner=Threads(1))
    shards = result.manifest.shards
    return Row(
        name,
        sum(shard.count for shard in shards),
        (planned.plan.bytes, planned.plan.seconds),
        (sum(shard.bytes for shard in shards), sum(shard.seconds for shard in result.results)),
    )


def main() -> None:
    """Measure every recipe that comes with patina."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=24, help="photographs, at equal distances in the folder")
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/estimates.md")
    options = parser.parse_args()
    photos = options.photos.absolute()
    every = sorted(path.relative_to(photos).as_posix() for kind in ("jpg", "png") for path in photos.rglob(f"*.{kind}"))
    names = every[:: max(1, len(every) // options.count)][: options.count]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in shipped().items():
            row = measure(name, tomllib.loads(text), photos, names, Path(folder) / name)
            rows += [row] if row else []
    lines = [
        f"`patina plan` beside the build it speaks of, on {len(names)} photographs ({photos.name}), a quarter of them",
        f"for recipes of more than {MANY} degradations. Each of {len(rows)} shipped recipes that make samples, with",
        "these photographs in place of its sets and template captions; CPU seconds of making samples, one thread.",
        "Nothing was built before: the plan makes a few samples of each degradation on trial, and tells from these.",
        "",
        "| recipe | samples | MB told | MB written | ratio | s told | s taken | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(row.line() for row in rows),
        "",
        f"Measured by `python -m benchmarks.estimates PHOTOS --count {options.count}` on {machine()}.",
    ]
    publish("What a plan tells of a build's cost", "\n".join(lines), "estimates" if options.save else None)


if __name__ == "__main__":
    main()
