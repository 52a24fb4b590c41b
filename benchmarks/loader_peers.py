"""Pairs a second out of one dataset: `patina.Stream` beside webdataset, datasets and litdata.

    python -m benchmarks.loader_peers [--pairs 64] [--crop 256] [--rounds 3]

All read the same 96 samples (24 photographs of 768×512 px; noise, haze, low light, JPEG), decode LQ and GT of each
once, cut the same square out of both, and make batches of 8 in DataLoader's workers. webdataset and datasets read the
shards as they are, litdata what `litdata.optimize` makes of their images' bytes. Those three are timed twice: with the
decoder that their documents name (Pillow), and with OpenCV's, which is the fastest that is installed. litdata is not
among patina's extras: pip install litdata. What is not installed is left out and named.

Turn by turn, each gives so many pairs; CPU seconds are of this process and all its workers, as other programs may keep
the machine busy.
"""

from __future__ import annotations

import argparse
import gc
import io
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch
from torch.utils.data import DataLoader

import patina
from benchmarks.photos import build_dataset, lay_out, machine, publish
from patina.training.data.index import read_index

PHOTOS = 24
DEGRADATIONS = ("noisy", "hazy", "low-light", "jpeg-compressed")
BATCH = 8
DECODERS = ("Pillow", "OpenCV")


# What the peers make of two files


def by_pillow(data: bytes) -> Any:
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))


def by_opencv(data: bytes) -> Any:
    found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return found[..., ::-1]


def tensor(image: Any, floats: bool) -> torch.Tensor:
    levels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return levels.float().div_(255) if floats else levels


def pair(decoder: str, crop: int, floats: bool, lq: bytes, gt: bytes) -> dict[str, torch.Tensor]:
    """LQ and GT of two files, cut alike."""
    decode = by_pillow if decoder == "Pillow" else by_opencv
    images = [decode(lq), decode(gt)]
    top, left = (int(np.random.randint(side - crop + 1)) for side in images[0].shape[:2])
    lq, gt = (tensor(image[top : top + crop, left : left + crop], floats) for image in images)
    return {"lq": lq, "gt": gt}


def of_sample(make: Callable[..., Any], sample: dict[str, Any]) -> Any:
    """The pair of a sample as webdataset, datasets and litdata name its files."""

    def file(*names: str) -> bytes:
        found = next(value for name in names if (value := sample.get(name)) is not None)
        return found["bytes"] if isinstance(found, dict) else found

    return make(file("png", "jpg"), file("gt.png", "gt.jpg"))


def one_thread(_: int) -> None:
    cv2.setNumThreads(1)


# The loaders


def loader_of(items: Any, workers: int) -> DataLoader[Any]:
    return DataLoader(
        items,
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="fork",
        worker_init_fn=one_thread,
    )


def patina_stream(dataset: Path, crop: int, floats: bool, workers: int, **words: Any) -> Any:
    stream = patina.Stream(dataset, crop=crop, batch=BATCH, epochs=None, as_bytes=not floats, **words)
    return DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context="fork")


def webdataset(dataset: Path, make: Callable[..., Any], workers: int) -> Any:
    import webdataset as wds

    tars = sorted(map(str, (dataset / "shards").glob("*.tar")))
    items = wds.WebDataset(tars, shardshuffle=len(tars), workersplitter=wds.split_by_worker)
    return loader_of(items.shuffle(100).map(partial(of_sample, make)), workers)


def hf_datasets(dataset: Path, make: Callable[..., Any], workers: int) -> Any:
    import datasets

    found = datasets.load_dataset(str(dataset), split="train", streaming=True)
    assert found.features is not None
    wanted = ("png", "jpg", "gt.png", "gt.jpg")
    for name in wanted:
        if name in found.features:
            found = found.cast_column(name, datasets.Image(decode=False))
    found = found.select_columns([name for name in wanted if name in found.features]).shuffle(buffer_size=100)
    return loader_of(Mapped(found, partial(of_sample, make)), workers)


class Mapped(torch.utils.data.IterableDataset[Any]):
    """A stream of datasets', whose own `map` would write pairs as Arrow's lists; workers share its shards."""

    def __init__(self, items: Any, make: Callable[[Any], Any]) -> None:
        self.items, self.make = items, make

    def __iter__(self) -> Iterator[Any]:
        return map(self.make, iter(self.items))


def lit(folder: Path, make: Callable[..., Any], workers: int) -> Any:
    from litdata import StreamingDataLoader, StreamingDataset

    class Pairs(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            return of_sample(make, super().__getitem__(index))

    return StreamingDataLoader(
        Pairs(str(folder), shuffle=True),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="fork",
        worker_init_fn=one_thread,
    )


def for_litdata(dataset: Path, folder: Path) -> Path:
    """The same files in litdata's chunks."""
    from litdata import optimize

    rows = patina.read_samples(dataset)
    optimize(partial(files_of, dataset), rows, str(folder), chunk_bytes="64MB", num_workers=1, start_method="fork")
    return folder


def files_of(dataset: Path, row: Any) -> dict[str, bytes]:
    files = patina.read_members(dataset, row)
    return {"png" if "png" in files else "jpg": files["png" if "png" in files else "jpg"]} | {
        name: files[name] for name in ("gt.png", "gt.jpg") if name in files
    }


def contestants(dataset: Path, lit_folder: Path | None, crop: int, floats: bool) -> dict[tuple[str, str], Any]:
    """By name and decoder: what makes a loader for so many workers."""
    found: dict[tuple[str, str], Any] = {("patina.Stream", "own"): partial(patina_stream, dataset, crop, floats)}
    for decoder in ("OpenCV",) if floats else DECODERS:
        make = partial(pair, decoder, crop, floats)
        found["webdataset", decoder] = partial(webdataset, dataset, make)
        found["datasets, streaming", decoder] = partial(hf_datasets, dataset, make)
        if lit_folder:
            found["litdata", decoder] = partial(lit, lit_folder, make)
    return found


# Time


def cpu_seconds() -> float:
    """Of this process and its workers."""
    ticks = 0
    for pid in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def without_end(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


@dataclass
class Timed:
    """Of each round: wall and CPU seconds a pair."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, make: Callable[[int], Any], workers: int, pairs: int, warm: int = 32) -> None:
        """One round, by fresh workers, each of which has made so many pairs before."""
        loader = make(workers)
        batches = without_end(loader)
        for _ in range(warm // BATCH * workers):
            next(batches)
        began, cpu, done = time.perf_counter(), cpu_seconds(), 0
        while done < pairs:
            done += len(next(batches)["lq"])
        self.wall.append((time.perf_counter() - began) / done)
        self.cpu.append((cpu_seconds() - cpu) / done)
        batches.close()
        del loader, batches
        gc.collect()  # ends the workers here, and not in those that are forked next


def ratios(timed: dict[Any, Timed], ours: Any) -> dict[Any, float]:
    """How many times as many CPU seconds each takes as ours, in the round that was disturbed least."""
    return {name: min(t.cpu) / min(timed[ours].cpu) for name, t in timed.items()}


def rows_of(
    dataset: Path, lit_folder: Path | None, options: Any, floats: bool, workers: int
) -> tuple[list[str], list[str]]:
    """Lines of the table for one kind of output, and how the best of the others compare, by decoder."""
    made = contestants(dataset, lit_folder, options.crop, floats)
    timed = {name: Timed() for name in made}
    for _ in range(options.rounds):
        for name, make in made.items():
            timed[name].measure(make, workers, options.pairs)
    found = ratios(timed, ("patina.Stream", "own"))
    lines = []
    for (name, decoder), t in timed.items():
        cpu, wall = min(t.cpu), min(t.wall)
        kind = "floats" if floats else "bytes"
        lines.append(
            f"| {kind} | {workers} | {name} | {decoder} | {1 / cpu:.0f} | {1e3 * cpu:.2f} | {1 / wall:.0f} | "
            f"{found[name, decoder]:.2f} |"
        )
        print(lines[-1], file=sys.stderr)
    kind = f"{'floats' if floats else 'bytes'}, {workers} worker{'s' * (workers > 1)}"
    best = []
    for decoder in DECODERS:
        peers = {name: ratio for (name, by), ratio in found.items() if by == decoder}
        if peers:
            name = min(peers, key=lambda peer: peers[peer])
            fastest = min(min(timed[peer, decoder].wall) for peer in peers)
            speed = fastest / min(timed["patina.Stream", "own"].wall)
            best.append(f"| {kind} | {decoder} | {name} | {peers[name]:.2f} | {speed:.2f} |")
    return lines, best


def fewer_decodings(dataset: Path, options: Any) -> list[str]:
    """What Stream's own options add, which no peer was given."""
    lines = []
    for words, says in (
        ({}, "one crop of each decoding"),
        ({"crops_per_image": 4}, "`crops_per_image=4`"),
        ({"keep": 1 << 30}, "`keep=1 << 30`: all images fit"),
    ):
        timed = Timed()
        for _ in range(options.rounds):
            timed.measure(
                partial(patina_stream, dataset, options.crop, False, **words),
                1,
                2 * options.pairs,
                2 * PHOTOS * len(DEGRADATIONS),
            )
        lines.append(f"| {says} | {1 / min(timed.cpu):.0f} |")
        print(lines[-1], file=sys.stderr)
    return lines


def from_disk(dataset: Path) -> str:
    """Bytes of LQ and GT a second off a disk whose cache is empty, in the order of the shards and in a random one."""
    index = read_index(dataset, "train")
    paths = [dataset / "shards" / shard for shard in index.shards]
    in_a_row = np.lexsort((index.offset, index.shard))
    found: dict[str, list[float]] = {"in a row": [], "random": []}
    for k in range(5):
        for name, rows in (("in a row", in_a_row), ("random", np.random.default_rng(k).permutation(in_a_row))):
            for path in paths:
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
            began, size = time.perf_counter(), 0
            for row in rows:
                size += sum(map(len, index.images(int(row)).values()))
            found[name].append(size / (time.perf_counter() - began) / 1e6)
    row, random = (statistics.median(found[name]) for name in ("in a row", "random"))
    return (
        f"One process reads LQ and GT off a disk whose cache is empty at {row:.0f} MB/s in the order of the shards and "
        f"at {random:.0f} MB/s in a random order, {size / len(in_a_row) / 1e6:.2f} MB a pair (medians of 5; wall time)."
    )


def table(options: Any) -> str:
    """The section of loader.md."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    lines = [
        "| output | workers | loader | decoder | pairs a CPU second | CPU ms a pair | pairs a second | CPU time beside "
        "patina's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    best = [
        "| output | decoder of the others | the one that takes least CPU time | its CPU time beside patina's | "
        "patina's pairs a second beside the fastest's |",
        "|---|---|---|---|---|",
    ]
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder) / "photos", PHOTOS)
        tables = "".join(f"[degradations.{degradation}]\n" for degradation in DEGRADATIONS)
        dataset = build_dataset(Path(folder), tables)
        lit_folder = for_litdata(dataset, Path(folder) / "lit") if find_spec("litdata") else None
        for floats in (False, True):
            for workers in (1, 2):
                more_lines, more_best = rows_of(dataset, lit_folder, options, floats, workers)
                lines += more_lines
                best += more_best
        more, disk = fewer_decodings(dataset, options), from_disk(dataset)
    loads.append(os.getloadavg()[0])
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "webdataset", "datasets", "litdata"))
    return "\n".join(
        [
            *lines,
            "",
            f"The best of {options.rounds} rounds of {options.pairs} pairs, as the machine was shared, each by fresh "
            f"workers; {versions}. The machine's load was {loads[0]:.0f} when this began and {loads[1]:.0f} when it "
            f"ended, on {os.cpu_count()} cores; above the number of cores, pairs a second say little.",
            "",
            *best,
            "",
            "The goal is 1.5. Pillow is the decoder that their documents name, OpenCV's is the fastest.",
            "",
            "With its own options `patina.Stream` (bytes, one worker) decodes less, which is no comparison:",
            "",
            "| | pairs a CPU second |",
            "|---|---|",
            *more,
            "",
            disk,
        ]
    )


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name) if find_spec(name) else "not installed"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    publish("Pairs a second beside other loaders", f"{table(parser.parse_args())}\n\n{machine()}", None)


if __name__ == "__main__":
    main()
