"""Training steps fed by the loader beside the same steps on batches that are in memory.

    python -m benchmarks.loader [--seconds 20] [--workers 1] [--device cpu] [--save]

Each stage of the plan `tiny` takes steps for some seconds, turn by turn: on a few batches made before, and on batches
that worker processes read from shards, decode, cut and turn. On a CPU the network has the threads that the workers
leave. `loader alone` is what the workers make when nobody trains, `decoding` what one core decodes of the same images
and does nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

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


def rate(step: Callable[[Batch], None], batches: Iterator[Batch], size: int, seconds: float) -> float:
    """Images a second over some seconds, after three steps."""
    for batch in itertools.islice(batches, 3):
        step(batch)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step(next(batches))
        done += size
    return done / (time.perf_counter() - began)


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

    def batches() -> Iterator[Batch]:
        plan = Plan(0, size * 10_000_000, size)
        loaded = load(index, stage.data, plan, seed=0, view_side=learner.view_side, workers=workers)
        return iter(loaded)

    held = list(itertools.islice(batches(), 8))
    memory, fed = [], []
    for _ in range(ROUNDS):
        memory.append(rate(step, itertools.cycle(held), size, seconds))
        fed.append(rate(step, batches(), size, seconds))
    alone = rate(lambda _: None, batches(), size, seconds)
    ratio = statistics.median(f / m for f, m in zip(fed, memory, strict=True))
    middle = statistics.median
    return learner, f"| {stage.name} | {middle(memory):.1f} | {middle(fed):.1f} | {ratio:.2f} | {alone:.0f} |"


def main() -> None:
    """Print the table, or save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="write benchmarks/loader.md")
    options = parser.parse_args()
    threads = max(1, (os.cpu_count() or 1) - options.workers) if options.device == "cpu" else 1
    torch.set_num_threads(threads)
    lines = [
        "| stage | in memory, img/s | by the loader, img/s | ratio | loader alone, img/s |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder) / "photos", PHOTOS)
        dataset = build_dataset(Path(folder), "".join(f"[degradations.{degradation}]\n" for degradation in CATALOGUE))
        index = read_index(dataset, "train")
        conditioners: dict[str, Conditioner] = {}
        for name, stage in load_plan("tiny").items():
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
        f"{options.seconds:.0f} s. One core decodes {alone:.0f} pairs of 768×512 px a second; small datasets are "
        "decoded once and kept.\n\n"
        f"Measured by `python -m benchmarks.loader --seconds {options.seconds:.0f}` on {where}."
    )
    publish("Training fed by the loader", "\n".join(lines), "loader" if options.save else None)


if __name__ == "__main__":
    main()
