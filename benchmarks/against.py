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
import hashlib
import importlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
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
    """A module of this child's tree by its path without `patina`, which older commits lack. Raises ImportError."""
    tree = Path.cwd().resolve()
    found = importlib.import_module(f"patina.{module}" if (tree / "patina").is_dir() else module)
    origin = Path(str(found.__file__)).resolve()
    if not origin.is_relative_to(tree):  # an installed one would be measured in its place
        raise SystemExit(f"expected {module} of {tree}, found {origin}; run it without an installed copy in its way")
    return found


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
                with contextlib.suppress(ValueError):  # three levels of a colour are no choice
                    kind(**{setting: value[0]})
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


@row(
    "severity",
    "The severity of ten degraded images of one photograph, 768×512 and at CLIP's size: each",
    goals={"CPU, ms": "÷ 1.35"},
    prepare=lay_out_small,
)
def severity(folder: Path, case: str) -> Figures:
    """The median of six photographs, after one that fills caches; the clean image's side once, where that is known."""
    del case
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    of = project("synth.severity")
    paths = sorted((folder / "photos").glob("*.jpg"))
    images: list[Any] = [np.asarray(cv2.imread(str(path)))[..., ::-1].copy() for path in paths]
    times: list[float] = []
    for gt in (images[0], *images):
        degraded = [cv2.GaussianBlur(gt, (0, 0), 0.5 + i / 4) for i in range(10)]
        start = time.process_time()
        if hasattr(of, "Reference"):
            full = of.Reference(gt)
            for lq in degraded:
                full.measure(lq)
                full.at_clip_size.measure(of.at_clip_size(lq))
        else:
            for lq in degraded:
                of.measure(gt, lq)
                of.measure(of.at_clip_size(gt), of.at_clip_size(lq))
        times.append(100 * (time.process_time() - start))
    return {"CPU, ms": statistics.median(times[1:])}


def lay_out_ten(folder: Path) -> None:
    """Photographs and two recipes of DA-CLIP's ten degradations: of them whole, and in tiles."""
    from benchmarks.photos import lay_out
    from patina.synth.degradations import DACLIP_DEGRADATIONS

    lay_out(folder / "photos", 24)
    tables = "".join(f"[degradations.{name}]\n" for name in DACLIP_DEGRADATIONS)
    for case, tiles in (("whole", ""), ("tiles", "[tiles]\nsize = 256\n")):
        text = f"name = 'ten'\n[[sources]]\npath = 'photos'\n[captions]\nkind = 'template'\n{tiles}{tables}"
        (folder / f"{case}.toml").write_text(text, "utf-8")


@row(
    "tuple",
    "A build of DA-CLIP's ten degradations, one worker: 768×512 whole, and tiles of 256 px",
    goals={"CPU, ms a tuple, whole": "÷ 1.3", "CPU, ms a tuple, tiles": "÷ 1.25"},
    cases=lambda: ["whole", "tiles"],
    prepare=lay_out_ten,
)
def tuple_of_ten(folder: Path, case: str) -> Figures:
    """Plan, build and publishing, over the number of tuples; after a build of one of the degradations."""
    figures: dict[str, float] = {}
    first = folder / "first.toml"
    first.write_text("name = 'one'\n[[sources]]\npath = 'photos'\n[degradations.noisy]\n", "utf-8")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        build_here(first, Path(name) / "first")
        with measured(figures, cpu="seconds"):
            build_here(folder / f"{case}.toml", Path(name) / "out")
        count = sum(len(samples_of(shard)) for shard in sorted((Path(name) / "out" / "shards").glob("*.tar")))
    return {f"CPU, ms a tuple, {case}": 1e3 * figures["seconds"] / count}


def samples_of(shard: Path) -> set[str]:
    """The keys in a shard."""
    with tarfile.open(shard) as members:
        return {member.partition(".")[0] for member in members.getnames()}


def lay_out_photographs(folder: Path) -> None:
    """Four photographs of 24 megapixels with a camera's noise, as JPEGs, and a recipe of the two degradations that took
    the most memory."""
    import cv2
    import numpy as np
    import sklearn.datasets

    (folder / "photos").mkdir()
    images = sklearn.datasets.load_sample_images().images
    for i, image in enumerate([*images, *(image[:, ::-1] for image in images)]):
        large: Any = cv2.resize(image, (6000, 4000), interpolation=cv2.INTER_CUBIC)
        noise = np.random.Generator(np.random.PCG64(i)).integers(-6, 7, large.shape, np.int8)
        large = cv2.add(large, noise, dtype=cv2.CV_8U)
        cv2.imwrite(str(folder / "photos" / f"{i}.jpg"), large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    (folder / "recipe.toml").write_text(
        "name = 'large'\n[[sources]]\npath = 'photos'\n[captions]\nkind = 'template'\n"
        "[degradations.motion-blurry]\n[degradations.hazy]\n",
        "utf-8",
    )


@row(
    "build-large",
    "A build of four 24-megapixel photographs by motion-blurry and hazy, two workers",
    goals={"peak, MB": "≤ 1200"},
    cases=lambda: ["threads", "processes"],
    prepare=lay_out_photographs,
)
def build_large(folder: Path, case: str) -> Figures:
    """Eight tuples. The peak is of all that is resident, libraries among it, in all processes of the build together."""
    parse = first_of("pipeline.recipe.parse", "pipeline.recipe")
    builder = first_of("pipeline.builder.build", "pipeline.dataset")
    if case == "threads":
        runner = first_of("pipeline.builder.runner", "pipeline.dataset").Threads(2)
    else:
        try:
            runner = project("pipeline.builder.processes").Processes(2)
        except ImportError:
            return {}
    recipe = parse.load_recipe(folder / "recipe.toml")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=folder) as out:
        if case == "threads":
            with measured(figures, cpu="CPU, s"):
                builder.build(recipe, Path(out) / "built", runner=runner)
            return {**figures, "peak, MB": _status("VmHWM") / 1e6}
        with resident() as peak:
            builder.build(recipe, Path(out) / "built", runner=runner)
        return {"peak, MB": peak[0] / 1e6}


@contextlib.contextmanager
def resident() -> Iterator[list[int]]:
    """Of this process and its children the most bytes, looked for ten times a second, that were resident at a time;
    memory that several share is counted once."""
    peak, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            peak[0] = max(peak[0], sum(map(_proportional, _family(os.getpid()))))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _family(process: int) -> list[int]:
    """A process and its children and theirs."""
    found = [process]
    for place in found:
        with contextlib.suppress(OSError):  # it has ended
            for task in Path(f"/proc/{place}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _proportional(process: int) -> int:
    """Resident bytes of a process, of those that it shares its part; 0 if it has ended."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


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
# Rows of plans, copies, leaks, starts and cores


def first_of(*modules: str) -> ModuleType:
    """The first of these modules of the project that there is: the older tree has other ones."""
    for module in modules[:-1]:
        with contextlib.suppress(ImportError):
            return project(module)
    return project(modules[-1])


def command() -> list[str]:
    """How the command `patina` of the tree that this child imports begins, as the console's script would."""
    return [sys.executable, "-c", f"from {first_of('flows.cli.main', 'flows.cli').__name__} import main; main()"]


def run_command(*arguments: str) -> None:
    """Run the tree's command. Raises CalledProcessError."""
    subprocess.run([*command(), *arguments], check=True, capture_output=True, text=True)


def own_folder(folder: Path) -> Path:
    """A folder for what this side builds, which stays for the next round."""
    return folder / f"of-{hashlib.sha256(os.environ['PYTHONPATH'].encode()).hexdigest()[:8]}"


def build_here(recipe: Path, out: Path, workers: int = 1) -> None:
    """Build in this process, without Prefect."""
    dataset = first_of("pipeline.builder.build", "pipeline.dataset")
    dataset.build(
        first_of("pipeline.recipe.parse", "pipeline.recipe").load_recipe(recipe), out, None, runner_of(workers)
    )


def runner_of(workers: int) -> Any:
    """What shards are made on: here the runner that a build of some length chooses, in the older tree threads."""
    if workers > 1:
        with contextlib.suppress(ImportError):
            return project("pipeline.builder.processes").Processes(workers)
    return first_of("pipeline.builder.runner", "pipeline.dataset").Threads(workers)


@row(
    "plan",
    "A plan of made-up photographs, three degradations",
    goals={"all built, CPU s": "÷ 15", "nothing built, CPU s": "÷ 15", "memory, MB": "÷ 3"},
    cases=lambda: ["100000", "1000000"],
)
def plan(folder: Path, case: str) -> Figures:
    """What benchmarks/plan_scale.py of either tree finds."""
    del folder
    call = [sys.executable, "-m", "benchmarks.plan_scale", "--one", case]
    found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    return {
        "all built, CPU s": found["again"],
        "nothing built, CPU s": found["first"],
        "memory, MB": found["peak_mb"],
    }


def lay_out_tiny(folder: Path) -> None:
    import cv2
    import numpy as np

    image = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (48, 64, 3), np.uint8)
    for name, count in (("many", 4000), ("six", 6)):
        (folder / name).mkdir()
        for i in range(count):
            image[0, 0] = (i >> 16, (i >> 8) & 255, i & 255)
            cv2.imwrite(str(folder / name / f"{i:06d}.png"), image)
        text = f"[[sources]]\npath = '{name}'\n[degradations.jpeg-compressed]\n"
        (folder / f"{name}.toml").write_text(text, "utf-8")
    time.sleep(3)  # files that changed just now are read again


@row(
    "idle",
    "Nothing changed, a photograph",
    goals={"CPU, µs": "÷ 5"},
    cases=lambda: ["many"],
    prepare=lay_out_tiny,
)
def idle(folder: Path, case: str) -> Figures:
    """A plan of 4,000 photographs that are built, in this process, a photograph."""
    out = own_folder(folder) / case
    recipe = folder / f"{case}.toml"
    if not out.exists():
        build_here(recipe, out)
    planning = first_of("pipeline.plan.planning", "pipeline.dataset")
    parse = first_of("pipeline.recipe.parse", "pipeline.recipe")
    times = []
    for _ in range(3):
        start = time.process_time()
        planned = planning.plan_build(parse.load_recipe(recipe), out, planning.Options())
        times.append(time.process_time() - start)
        assert planned.plan.is_empty, planned.plan.summary()
    return {"CPU, µs": 1e6 * statistics.median(times) / 4000}


@row(
    "cold",
    "`patina plan` of six photographs that are built, from outside",
    goals={"CPU, s": "0.70 → 0.40"},
    prepare=lay_out_tiny,
)
def cold(folder: Path, case: str) -> Figures:
    """The middle of five."""
    del case
    out = own_folder(folder) / "six"
    if not out.exists():
        build_here(folder / "six.toml", out)
    times = []
    for _ in range(5):
        figures: dict[str, float] = {}
        with measured(figures, cpu="CPU, s"):
            run_command("plan", str(folder / "six.toml"), "--out", str(out))
        times.append(figures["CPU, s"])
    return {"CPU, s": statistics.median(times)}


def lay_out_replaced(folder: Path) -> None:
    from benchmarks.photos import lay_out

    paths = lay_out(folder / "photos", 101)
    paths[-1].rename(folder / "spare.jpg")
    tables = "".join(f"[degradations.{name}]\n" for name in ("noisy", "jpeg-compressed", "uncompleted"))
    (folder / "few.toml").write_text(f"[[sources]]\npath = 'photos'\n{tables}", "utf-8")
    time.sleep(3)


@row(
    "copy",
    "One of 100 photographs replaced: making the three shards, CPU s for each GB copied",
    goals={"CPU, s a GB": "÷ 1.6"},
    prepare=lay_out_replaced,
)
def copy(folder: Path, case: str) -> Figures:
    """`build_batch` alone: 297 samples are copied, three are made, whose own time is taken off."""
    del case
    own = own_folder(folder)
    photos, out, recipe = own / "photos", own / "out", own / "few.toml"
    if not out.exists():
        shutil.copytree(folder / "photos", photos)
        shutil.copy(folder / "few.toml", recipe)
        time.sleep(3)
        build_here(recipe, out)
    victim = sorted(photos.glob("*.jpg"))[0]
    kept = victim.read_bytes()
    jobs_of = first_of("pipeline.builder.jobs", "pipeline.dataset")
    spent: dict[str, float] = {}
    make = jobs_of.build_batch

    def timed(jobs: Any, progress: Any = None) -> Any:
        figures: dict[str, float] = {}
        with measured(figures, cpu="CPU"):
            results = make(jobs, progress)
        spent["CPU"] = spent.get("CPU", 0.0) + figures["CPU"] - sum(getattr(r, "seconds", 0.0) for r in results)
        written = sum((r.shard if hasattr(r, "shard") else r.entry).bytes for r in results)
        spent["bytes"] = spent.get("bytes", 0.0) + written
        return results

    jobs_of.build_batch = timed
    try:
        shutil.copy(folder / "spare.jpg", victim)
        build_here(recipe, out)
    finally:
        victim.write_bytes(kept)
        jobs_of.build_batch = make
    figures = {"CPU, s a GB": spent["CPU"] / spent["bytes"] * 1e9}
    build_here(recipe, out)
    return figures


def lay_out_leaks(folder: Path) -> None:
    from benchmarks.photos import lay_out

    lay_out(folder / "photos", 60)


@row(
    "leaks",
    "Two photographs that are not linked, from their thumbnails to the verdict: the mean of 40 pairs",
    goals={"CPU, ms": "÷ 10"},
    cases=lambda: ["different photographs", "cuts of one photograph"],
    prepare=lay_out_leaks,
)
def leaks(folder: Path, case: str) -> Figures:
    """The likest pairs of 60 cuts of six photographs: of two of them, or of one and too far apart to be found."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    registration = first_of("pipeline.scan.leaks.registration", "pipeline.leaks")
    reduced = getattr(registration, "reduced", None) or registration._reduced
    registered = getattr(registration, "registered", None) or registration._registered
    thumbnail = first_of("pipeline.scan.leaks.thumbnails", "pipeline.leaks").thumbnail
    images = [np.asarray(cv2.imread(str(path)))[..., ::-1].copy() for path in sorted((folder / "photos").glob("*.jpg"))]
    small = [reduced(image) for image in images]  # as a scan keeps them
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    thumbs = np.array([thumbnail(image) for image in images])
    likeness = np.corrcoef(thumbs.astype(np.float64))
    first, second = np.triu_indices(len(images), 1)
    wanted = (first % 6 == second % 6) == (case != "different photographs")  # as they were laid out
    first, second = first[wanted], second[wanted]
    pairs: list[tuple[int, int]] = []
    for k in np.argsort(-likeness[first, second], kind="stable"):
        i, j = int(first[k]), int(second[k])
        if not registered(small[i], small[j], sizes[i], sizes[j]).same:
            pairs.append((i, j))
        if len(pairs) == 40:
            break
    places = np.array(pairs, np.int32)
    like_pairs = getattr(first_of("pipeline.scan.leaks.candidates", "pipeline.leaks"), "LikePairs", None)
    start = time.process_time()
    if like_pairs:
        pairs = like_pairs(places, thumbs).fitting(places).tolist()
    for i, j in pairs:
        registered(small[i], small[j], sizes[i], sizes[j])
    return {"CPU, ms": 1e3 * (time.process_time() - start) / 40}


def lay_out_cores(folder: Path) -> None:
    from benchmarks.photos import lay_out
    from patina.synth.degradations import CATALOGUE

    lay_out(folder / "photos", 120)
    tables = "".join(f"[degradations.{name}]\n" for name in list(CATALOGUE)[:10])
    (folder / "all.toml").write_text(f"[[sources]]\npath = 'photos'\n{tables}", "utf-8")


@row(
    "cores",
    "1200 samples, above ten seconds, with one worker and with two, start included: only where the machine is idle",
    goals={"wall, two workers over one": "≤ 0.54 (1.85 times as fast)"},
    prepare=lay_out_cores,
)
def cores(folder: Path, case: str) -> Figures:
    """Two builds, one after the other."""
    del case
    figures: dict[str, float] = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(dir=folder) as name, measured(figures, wall=f"wall, {workers}"):
            build_here(folder / "all.toml", Path(name) / "out", workers)
    return {"wall, two workers over one": figures["wall, 2"] / figures["wall, 1"]}


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
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": str(tree),
            "PYTHONPYCACHEPREFIX": str(folder.parent / "compiled"),  # as of an installed program, and beside no tree
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
