"""Time and memory against an older commit, both in one run, A B A B.

    python -m benchmarks.against COMMIT [--rows NAME …] [--rounds 3] [--save]
    python -m benchmarks.against --list

The commit is checked out beside this tree (`git worktree`), and each figure is measured by a fresh process of either in
turn: the old, the new, the old, … Both get the same files and the same numbers. What one side lacks is a dash. A
ratio is the median of the rounds' old / new. CPU time is user and system of the process and its children, unless a row
says otherwise. Memory is what the process's largest resident size was above what it was before.

A row is a function with `@row`: it runs in the child, imports the project by `project("synth.rng")`, since the old
commit has no package `patina`, and gives its figures by name. `prepare` runs once, here, and lays out files.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parent.parent

Figures: TypeAlias = Mapping[str, float]
"""Figures of one process by name, such as {"CPU, ms": 12.3}. Less is better."""

Work: TypeAlias = Callable[[Path, str], Figures]
"""What a child does: with the folder that was prepared, and the name of a case. Figures of a case that this side does
not know are left out."""


@dataclass(frozen=True)
class Row:
    """One row of the issue's table, and so some lines of ours.

    goals  by the name of a figure, in words.
    """

    name: str
    title: str
    work: Work
    cases: Callable[[], Sequence[str]]
    prepare: Callable[[Path], None]
    goals: Mapping[str, str]


ROWS: dict[str, Row] = {}


def row(
    name: str,
    title: str,
    *,
    goals: Mapping[str, str],
    cases: Callable[[], Sequence[str]] = lambda: [""],
    prepare: Callable[[Path], None] = lambda folder: None,
) -> Callable[[Work], Work]:
    """Register a function as the row `name`."""

    def register(work: Work) -> Work:
        ROWS[name] = Row(name, title, work, cases, prepare, goals)
        return work

    return register


# ---------------------------------------------------------------------------------------------------------------------
# In a child


def project(module: str) -> ModuleType:
    """A module of the project by its path without `patina`, as in this tree or as in the older one; ImportError."""
    try:
        return importlib.import_module(f"patina.{module}")
    except ModuleNotFoundError as error:
        if error.name not in {"patina", f"patina.{module}"}:
            raise
        return importlib.import_module(module)


@contextlib.contextmanager
def measured(figures: dict[str, float], cpu: str = "", memory: str = "", wall: str = "") -> Iterator[None]:
    """Put what happens within it into `figures`, under the names that are given.

    cpu     seconds of user and system, of the process and its children that have ended.
    memory  MB that the largest resident size lay above the size before.
    wall    seconds.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten
    size, times, start = _status("VmRSS"), os.times(), time.perf_counter()
    yield
    if wall:
        figures[wall] = time.perf_counter() - start
    if cpu:
        figures[cpu] = sum(os.times()[:4]) - sum(times[:4])
    if memory:
        figures[memory] = (_status("VmHWM") - size) / 1e6


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    if found is None:
        raise OSError(f"expected a line {name} in /proc/self/status, found none; this needs Linux")
    return 1024 * int(found[1])


def child(name: str, folder: str, case: str) -> None:
    """Do a row's work and print its figures: what a child process runs."""
    print(json.dumps(dict(ROWS[name].work(Path(folder), case))))


# ---------------------------------------------------------------------------------------------------------------------
# Rows


def ours() -> list[str]:
    """The words of all degradations here, old ones and new ones."""
    from patina.synth.degradations import CATALOGUE

    return list(CATALOGUE)


def drawn(name: str, image: Any) -> tuple[Any, Any] | None:
    """A degradation and its parameters for an image; None where the commit has no such degradation.

    Its settings are the middles of their ranges here, for all that both sides know, so that both do the same work as
    far as their models are the same.
    """
    catalogue = project("synth.degradations").CATALOGUE
    if name not in catalogue:
        return None
    middles = json.loads(os.environ["AGAINST_SETTINGS"])[name]
    known = {field: value for field, value in middles.items() if field in catalogue[name].__dataclass_fields__}
    degradation = catalogue[name](**known)
    return degradation, degradation.draw(project("synth.rng").Rng("2a"), image)


def middles() -> dict[str, dict[str, Any]]:
    """Every degradation's settings that are ranges or choices, each as one number."""
    from patina.synth.degradations import CATALOGUE

    found: dict[str, dict[str, Any]] = {}
    for name, kind in CATALOGUE.items():
        found[name] = {}
        for setting, value in kind().settings().items():
            if isinstance(value, Mapping) and set(value) == {"min", "max"}:
                middle = (value["min"] + value["max"]) / 2
                whole = isinstance(value["min"], int) and isinstance(value["max"], int)
                found[name][setting] = int(middle) if whole else middle
            elif isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value):
                found[name][setting] = value[0]
    return found


def lay_out_large(folder: Path) -> None:
    """One photograph of 24 megapixels, as it is decoded."""
    import cv2
    import numpy as np
    import sklearn.datasets

    china = sklearn.datasets.load_sample_images().images[0]
    np.save(folder / "large.npy", cv2.resize(china, (6000, 4000), interpolation=cv2.INTER_CUBIC))


@row(
    "large",
    "`apply` on 24 megapixels",
    goals={"memory, bytes a pixel": "≤ 15", "CPU, s": "÷ 2.5 for hazy, low-light, motion-blurry, snowy"},
    cases=ours,
    prepare=lay_out_large,
)
def large(folder: Path, case: str) -> Figures:
    """One `apply`, after one on a corner that has made the tables."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    image = np.load(folder / "large.npy")
    found = drawn(case, image)
    if found is None:
        return {}
    degradation, params = found
    corner = np.ascontiguousarray(image[:64, :96])
    degradation.apply(corner, params)
    figures: dict[str, float] = {}
    with measured(figures, cpu="CPU, s", memory="memory, bytes a pixel"):
        degradation.apply(image, params)
    figures["memory, bytes a pixel"] *= 1e6 / (image.shape[0] * image.shape[1])
    return figures


def lay_out_small(folder: Path) -> None:
    from benchmarks.photos import lay_out

    lay_out(folder / "photos", 6)


@row(
    "degrade",
    "`apply` on 768×512",
    goals={"CPU, ms": "motion-blurry ÷ 2, hazy ÷ 1.35, low-light ÷ 1.3"},
    cases=ours,
    prepare=lay_out_small,
)
def degrade(folder: Path, case: str) -> Figures:
    """The median of three rounds of six photographs, after one that fills caches."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    # In a build, freed memory is kept.
    for module in ("pipeline.machine", "pipeline.codec"):
        with contextlib.suppress(ImportError, AttributeError):
            project(module).keep_freed_memory()
            break
    paths = sorted((folder / "photos").glob("*.jpg"))
    images: list[Any] = [np.asarray(cv2.imread(str(path)))[..., ::-1].copy() for path in paths]
    times: list[float] = []
    for number in range(4 * len(images)):
        image = images[number % len(images)]
        found = drawn(case, image)
        if found is None:
            return {}
        start = time.process_time()
        found[0].apply(image, found[1])
        times.append(1e3 * (time.process_time() - start))
    return {"CPU, ms": statistics.median(times[len(images) :])}


def lay_out_photographs(folder: Path) -> None:
    """Two photographs of 24 megapixels, as JPEGs, and a recipe of the two degradations that took the most memory."""
    import cv2
    import sklearn.datasets

    (folder / "photos").mkdir()
    for i, image in enumerate(sklearn.datasets.load_sample_images().images):
        large: Any = cv2.resize(image, (6000, 4000), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "photos" / f"{i}.jpg"), large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    (folder / "recipe.toml").write_text(
        "name = 'large'\n[[sources]]\npath = 'photos'\n[captions]\nkind = 'template'\n"
        "[degradations.motion-blurry]\n[degradations.hazy]\n",
        "utf-8",
    )


@row(
    "build-large",
    "A build of two 24-megapixel photographs by motion-blurry and hazy, two workers",
    goals={"peak, MB": "≤ 1200"},
    prepare=lay_out_photographs,
)
def build_large(folder: Path, case: str) -> Figures:
    """Four tuples by two threads; the peak is the process's whole resident size, its libraries among it."""
    del case
    try:
        parse, builder = project("pipeline.recipe.parse"), project("pipeline.builder.build")
        runner = project("pipeline.builder.runner")
    except ImportError:  # as it was called before
        parse, builder = project("pipeline.recipe"), project("pipeline.dataset")
        runner = builder
    recipe = parse.load_recipe(folder / "recipe.toml")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=folder) as out, measured(figures, cpu="CPU, s", memory="peak, MB"):
        size = _status("VmRSS")
        builder.build(recipe, Path(out) / "built", runner=runner.Threads(2))
    figures["peak, MB"] += size / 1e6
    return figures


def lay_out_wide(folder: Path) -> None:
    """100 megapixels of 16 bits in colour, as a PNG."""
    import cv2
    import numpy as np
    import sklearn.datasets

    china = sklearn.datasets.load_sample_images().images[0]
    wide = cv2.resize(china, (10000, 10000), interpolation=cv2.INTER_LINEAR).astype(np.uint16)
    wide *= 257
    cv2.imwrite(str(folder / "wide.png"), wide[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


@row(
    "decode-16",
    "Decoding a PNG of 100 megapixels with 16 bits a channel",
    goals={"memory, MB": "≤ 1200"},
    prepare=lay_out_wide,
)
def decode_16(folder: Path, case: str) -> Figures:
    """With the file's bytes, which are counted."""
    del case
    try:
        decode = project("pipeline.codec.decode").decode
    except ImportError:
        decode = project("pipeline.codec").decode
    figures: dict[str, float] = {}
    with measured(figures, cpu="CPU, s", memory="memory, MB"):
        decode((folder / "wide.png").read_bytes())
    return figures


# ---------------------------------------------------------------------------------------------------------------------
# In the parent


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The commit's tree in a folder of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="against-") as name:
        tree = Path(name) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def in_child(tree: Path, name: str, folder: Path, case: str, settings: str) -> Figures:
    """A row's figures of one case, by a fresh process that imports `tree`."""
    ended = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).resolve()), "--child", name, str(folder), case],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": str(tree),
            "OMP_NUM_THREADS": "1",
            "AGAINST_SETTINGS": settings,
            "PREFECT_LOGGING_LEVEL": "ERROR",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(f"{name} {case}: the process that imports {tree} ended with {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def compare(chosen: Row, trees: tuple[Path, Path], folder: Path, rounds: int, only: Sequence[str]) -> list[str]:
    """The lines of one row's table."""
    folder.mkdir()
    chosen.prepare(folder)
    settings = json.dumps(middles())
    lines = [
        "| case | figure | old | new | old / new | rounds' ratios | goal |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in chosen.cases():
        if only and case not in only:
            continue
        found: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
        for _ in range(rounds):
            for side, tree in zip(found, trees, strict=True):
                for figure, value in in_child(tree, chosen.name, folder, case, settings).items():
                    side.setdefault(figure, []).append(value)
        for figure in dict.fromkeys([*found[0], *found[1]]):
            old, new = (side.get(figure, []) for side in found)
            ratios = [a / b for a, b in zip(old, new, strict=True) if b] if old and new else []
            cells = [f"{statistics.median(values):.3g}" if values else "–" for values in (old, new, ratios)]
            every = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            lines.append(f"| {case} | {figure} | {' | '.join(cells)} | {every} | {chosen.goals.get(figure, '')} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the tables; with --save, keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="the older commit")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="which rows; all by default")
    parser.add_argument("--cases", nargs="+", default=[], help="which cases of them; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="keep the rows' tables in against.md; others stay there")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--child", nargs=3, metavar=("ROW", "FOLDER", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    if options.list or not options.commit:
        print("\n".join(f"{name}: {chosen.title}" for name, chosen in ROWS.items()))
        return
    tables: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="against-files-") as name, checked_out(options.commit) as tree:
        for chosen in options.rows:
            print(f"\n{ROWS[chosen].title}")
            lines = compare(ROWS[chosen], (tree, ROOT), Path(name) / chosen, options.rounds, options.cases)
            tables[chosen] = "\n".join([*lines, "", measured_by(options.commit, chosen, options.rounds)])
    if options.save:
        save(tables)


def measured_by(commit: str, chosen: str, rounds: int) -> str:
    """How a table was made, under it."""
    from benchmarks.photos import machine

    here = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return (
        f"Old is {commit}, new is {here.stdout.strip()}; `python -m benchmarks.against {commit} --rows {chosen} "
        f"--rounds {rounds}` on {machine()}, {os.getloadavg()[0]:.1f} processes waiting or running at its end."
    )


def save(tables: Mapping[str, str]) -> None:
    """Put these rows' tables into against.md, and leave those of other rows as they are."""
    path = Path(__file__).with_suffix(".md")
    text = path.read_text("utf-8") if path.exists() else ""
    kept = dict(re.findall(r"^## .*? \(`(\S+)`\)\n\n(.*?)\n(?=## |\Z)", text, re.M | re.S))
    parts = ["# Against an older commit\n"]
    for name, chosen in ROWS.items():
        if table := tables.get(name, kept.get(name, "").strip()):
            parts.append(f"## {chosen.title} (`{name}`)\n\n{table.strip()}\n")
    path.write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
