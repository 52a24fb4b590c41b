"""Training steps fed by the loader beside the same steps on batches that are in memory, and the loader beside others.

    python -m benchmarks.loader [--seconds 10] [--workers 1] [--device cpu] [--save]

Each stage of the plan `tiny` takes steps for some seconds, turn by turn: on a few batches made before, and on batches
that worker processes read from shards, decode, cut and turn. The workers have been through the dataset before, as at
any time of a training but its beginning: a small dataset is decoded once and kept. On a CPU the network has the threads
that the workers leave. `loader alone` is what the workers make when nobody trains.

The other loaders are those of benchmarks.loader_peers, which says what to install.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks import loader_peers
from benchmarks.photos import build_dataset, lay_out, machine, publish
from patina.synth.degradations import CATALOGUE
from patina.training.data.batches import Batch, Plan, load
from patina.training.data.index import Index, read_index
from patina.training.objectives.base import Learner
from patina.training.objectives.make import make_learner
from patina.training.restore.conditioning import Conditioner
from patina.training.stages.plan import load_plan
from patina.training.stages.stage import Stage

PHOTOS = 24  # of 768 x 512 px
ROUNDS = 3
WARM = 2


@dataclass(frozen=True)
class Rate:
    """Images a second; CPU seconds of this process for an image, and of the workers."""

    images: float
    own: float
    workers: float


def rate(step: Callable[[Batch], None], batches: Iterator[Batch], size: int, seconds: float) -> Rate:
    """What some seconds give, after three steps."""
    for batch in itertools.islice(batches, 3):
        step(batch)
    began, done = time.perf_counter(), 0
    own, all_of_it = time.process_time(), loader_peers.cpu_seconds()
    while time.perf_counter() - began < seconds:
        step(next(batches))
        done += size
    own, all_of_it = time.process_time() - own, loader_peers.cpu_seconds() - all_of_it
    return Rate(done / (time.perf_counter() - began), own / done, max(0.0, all_of_it - own) / done)


def training_step(learner: Learner, device: str) -> Callable[[Batch], None]:
    """What a step of the loop does."""
    optimiser = torch.optim.AdamW(learner.groups(0.0), lr=1e-5)

    def step(batch: Batch) -> None:
        learner(batch.to(device))["loss"].backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.cuda.synchronize()

    return step


def decoding(index: Index, seconds: float) -> float:
    """Images (LQ and GT of each) that one core decodes in a second."""
    cv2.setNumThreads(1)
    began = time.perf_counter()
    for done, row in enumerate(itertools.cycle(range(len(index))), start=1):
        members = index.members(row)
        for name in ("png", "jpg", "gt.png", "gt.jpg"):
            if name in members:
                cv2.imdecode(np.frombuffer(members[name], np.uint8), cv2.IMREAD_COLOR)
        if time.perf_counter() - began > seconds:
            return done / (time.perf_counter() - began)
    raise AssertionError


def of_stage(
    stage: Stage, conditioner: Conditioner | None, index: Index, seconds: float, workers: int, device: str
) -> tuple[Learner, str]:
    """The stage's line of the table."""
    learner = make_learner(stage, index, conditioner).to(device)
    learner.place(device)
    step, size = training_step(learner, device), stage.data.batch

    plan, wanted = Plan(0, size * 10_000_000, size), {"view_side": learner.view_side, "images": learner.sees_images}
    batches = iter(load(index, stage.data, plan, seed=0, workers=workers, **wanted))
    held = list(itertools.islice(batches, 8))
    for _ in range(WARM * len(index) * max(1, workers) // size):  # so that each worker has seen each image
        next(batches)
    memory, fed = [], []
    for _ in range(ROUNDS):
        memory.append(rate(step, itertools.cycle(held), size, seconds))
        fed.append(rate(step, batches, size, seconds))
    alone = rate(lambda _: None, batches, size, seconds)
    ratio = statistics.median(f.images / m.images for f, m in zip(fed, memory, strict=True))
    # What would be without other programs: the slower of the process that trains and the workers sets the pace
    pace = [max(f.own, f.workers / max(1, workers)) for f in fed]
    by_cpu = min(m.own for m in memory) / min(pace)
    rates = [statistics.median(r.images for r in rounds) for rounds in (memory, fed)]
    cpu = [1e3 * min(times) for times in ([m.own for m in memory], [f.own for f in fed], [f.workers for f in fed])]
    cells = [*(f"{r:.1f}" for r in rates), f"{ratio:.2f}", f"{alone.images:.0f}", *(f"{c:.2f}" for c in cpu)]
    return learner, f"| {' | '.join([stage.name, *cells, f'{by_cpu:.2f}'])} |"


def main() -> None:
    """Print the table, or save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="write benchmarks/loader.md")
    parser.add_argument("--stages", nargs="*", help="these alone; without a name none")
    loader_peers.arguments(parser)
    options = parser.parse_args()
    threads = max(1, (os.cpu_count() or 1) - options.workers) if options.device == "cpu" else 1
    torch.set_num_threads(threads)
    cells = ["in memory, img/s", "by the loader, img/s", "ratio", "loader alone, img/s"]
    cells += ["in memory, CPU ms an image", "by the loader", "its workers", "ratio by CPU time"]
    lines = [f"| stage | {' | '.join(cells)} |", f"|---{'|---' * len(cells)}|"]
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder) / "photos", PHOTOS)
        dataset = build_dataset(Path(folder), "".join(f"[degradations.{degradation}]\n" for degradation in CATALOGUE))
        index = read_index(dataset, "train")
        conditioners: dict[str, Conditioner] = {}
        for name, stage in load_plan("tiny").items():
            if options.stages is not None and name not in options.stages:
                continue
            before = conditioners.get(stage.after)
            learner, line = of_stage(stage, before, index, options.seconds, options.workers, options.device)
            if stage.names_degradations:
                conditioners[name] = Conditioner(learner.net, stage)
            lines.append(line)
            print(line, file=sys.stderr)
        alone = decoding(index, options.seconds)
    where = machine() if options.device == "cpu" else torch.cuda.get_device_name()
    lines.append(
        f"\n{options.workers} worker(s), {threads} thread(s) of the network; medians of {ROUNDS} rounds of "
        f"{options.seconds:.0f} s, and the least CPU times. The machine was shared: `ratio by CPU time` is what is "
        "left where nothing else runs, as the slower of training process and workers sets the pace. One core decodes "
        f"{alone:.0f} pairs of 768×512 px a second; small datasets are decoded once and kept.\n\n"
        f"Measured by `{shlex.join(['python', '-m', 'benchmarks.loader', *sys.argv[1:]])}` on {where}."
    )
    if options.rounds:
        lines.append(f"\n## Beside other loaders\n\n{loader_peers.table(options)}")
    publish("Training fed by the loader", "\n".join(lines), "loader" if options.save else None)


if __name__ == "__main__":
    main()
