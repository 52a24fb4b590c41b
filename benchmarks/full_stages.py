"""One step of every stage at the papers' settings: that it runs, its memory, and what the whole training would take.

    python -m benchmarks.full_stages [--plans paper nhrbl] [--batch 1] [--device cpu] [--save]

Each stage runs in a process of its own: network, frozen networks that steer it, batch from shards, loss, backward, a
step of AdamW; the second step is timed. CLIPs have random weights, which changes no size and no time. FLOPs are three
times torch's count of a forward pass over the batch: backward costs twice that, and torch counts that of depthwise
convolutions far too high.

Hours are images x FLOPs an image over a rate. `here` is the rate of the timed step, so it is honest for this device and
batch alone. For GPUs it is a share of the maker's dense bf16 peak that well-fed trainings of such networks reach: that
is an assumption, not a measurement, and stands in the table's head.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.photos import build_dataset, lay_out, machine, publish
from patina.training.models.daclip import DEGRADATIONS

SHARE = 0.3
PEAKS = {"A100": 312e12, "H200": 989e12}
ENTRIES = {
    "paper": (DEGRADATIONS, {}),
    "nhrbl": (
        ["noisy-15", "noisy-25", "noisy-50", "hazy", "rainy", "motion-blurry", "low-light"],
        {f"noisy-{sigma}": f"use = 'noisy'\nsigma = {sigma}\n" for sigma in (15, 25, 50)},
    ),
}


def build(folder: Path, plan: str) -> Path:
    """A dataset of six photographs with all entries that the plan's stages want."""
    lay_out(folder / "photos", 6)
    entries, settings = ENTRIES[plan]
    return build_dataset(folder, "".join(f"[degradations.{e}]\n{settings.get(e, '')}" for e in entries), name=plan)


def one(plan: str, name: str, dataset: Path, batch: int, device: str) -> dict[str, Any]:
    """Figures of one stage's step, in this process."""
    from patina.training.data.batches import Plan, load
    from patina.training.data.index import read_index
    from patina.training.objectives.make import make_learner
    from patina.training.restore.conditioning import Conditioner
    from patina.training.stages.plan import load_plan

    stages = load_plan(plan)
    stage = replace(stages[name], pretrained="")
    index = read_index(dataset, "train", stage.data.entries)
    conditioner = None
    if stage.after:
        before = replace(stages[stage.after], pretrained="")
        conditioner = Conditioner(make_learner(before, index, None).net, before)
    learner = make_learner(stage, index, conditioner).to(device)
    learner.place(device)
    data = replace(stage.data, batch=batch, order="balanced")
    found = load(index, data, Plan(0, 3 * batch, batch), seed=0, view_side=learner.view_side)
    optimiser = torch.optim.AdamW(learner.groups(stage.optimiser.weight_decay), lr=1e-6)

    def step(counter: AbstractContextManager[Any]) -> float:
        with counter:
            loss = learner(next(batches).to(device))["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return float(loss)

    batches, counter = iter(found), FlopCounterMode(display=False)
    first = step(counter)
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    second = step(nullcontext())
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated()
    parameters = sum(p.numel() for p in learner.net.parameters())
    return {
        "parameters": parameters,
        "flops": 3 * counter.get_total_flops() / batch,
        "seconds": seconds / batch,
        "memory": peak,
        "images": stage.max_images,
        "finite": all(abs(x) < float("inf") for x in (first, second)),
    }


def row(plan: str, name: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    if not found["finite"]:
        raise SystemExit(f"{plan} {name}: the loss is not finite")
    here = found["images"] * found["seconds"] / 3600
    hours = [found["images"] * found["flops"] / (SHARE * peak) / 3600 for peak in PEAKS.values()]
    return (
        f"| {plan} {name} | {found['parameters'] / 1e6:.1f} | {found['memory'] / 2**30:.2f} | "
        f"{found['flops'] / 1e9:.0f} | {found['seconds']:.2f} | {found['images']:,} | {here:,.0f} | "
        f"{hours[0]:,.1f} | {hours[1]:,.1f} |"
    )


def main() -> None:
    """Print the table, or save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", nargs="+", choices=tuple(ENTRIES), default=list(ENTRIES))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="write benchmarks/full_stages.md")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        plan, name, dataset = options.one
        print(json.dumps(one(plan, name, Path(dataset), options.batch, options.device)))
        return
    from patina.training.stages.plan import load_plan

    gpus = " | ".join(f"h on one {name}, at {SHARE:.0%} of its peak" for name in PEAKS)
    lines = [
        "| stage | parameters, M | memory, GiB | GFLOP an image | s an image, here | images in all | h here | "
        f"{gpus} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for plan in options.plans:
            dataset = build(Path(folder), plan)
            for name in load_plan(plan):
                command = [sys.executable, "-m", "benchmarks.full_stages", "--one", plan, name, str(dataset)]
                command += ["--batch", str(options.batch), "--device", options.device]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stdout + done.stderr)
                lines.append(row(plan, name, json.loads(done.stdout.splitlines()[-1])))
                print(lines[-1], file=sys.stderr)
    where = machine() if options.device == "cpu" else torch.cuda.get_device_name()
    lines.append(
        f"\nBatch {options.batch}, {options.device}. Memory is the process's peak, libraries included (on a GPU: the "
        "allocator's). Hours here and on GPUs are estimates, see the module's head; a frozen network that steers is in "
        f"both.\n\nMeasured by `python -m benchmarks.full_stages --batch {options.batch} --device {options.device}` on "
        f"{where}."
    )
    publish("A step at the papers' settings", "\n".join(lines), "full_stages" if options.save else None)


if __name__ == "__main__":
    main()
