"""Each network beside its published structure: same weights, same inputs, same precision, turn by turn in one process.

    python -m benchmarks.models [NETWORK …] [--device cuda] [--images 2x64 1x256] [--save models]

published  benchmarks/published/: the structure that the released code has, re-stated.
patina     training/models/, its exact path, and on a GPU also bfloat16 autocast and torch.compile for both alike.
bf16       on a CPU: ours under bfloat16 autocast, beside the published structure in float32.
optimiser  on a CPU: ours is the fused one that training/loop/ takes, theirs the default, as the released code has.
inference  one forward pass without gradients. training: forward, a loss, backward and an AdamW step over what trains.

Milliseconds are wall time between synchronised ends, medians over the rounds; ratios are medians of each round's ratio.
With --clock cpu they are CPU time of one thread, for a machine that others use meanwhile.
Memory is the peak of a process of its own that trains two steps: of the GPU's allocator, or of the whole process less
what it held before them.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.photos import machine, publish
from patina.training.models import CATALOGUE, Published
from patina.training.models.daclip import joint_loss

STRUCTURES = {"daclip": "daclip", "unet": "unet", "nafnet": "nafnet", "vlunet": "vlunet"}
NETWORKS = ("daclip-b32", "unet-daclip", "unet-no-context", "unet-irsde", "nafnet-refusion", "vlunet-7")


@dataclass(frozen=True)
class Case:
    """One network, ours or the published: how it is called, and what it loses."""

    net: nn.Module
    infer: Callable[[], Any]
    loss: Callable[[], Tensor]


def made(entry: Published, structure: str, device: str, batch: int, side: int) -> dict[str, Case]:
    """Both networks with one set of weights on one set of inputs."""
    torch.manual_seed(0)
    ours = entry.build()
    for parameter in ours.parameters():  # what starts at zero would have parts of the network do nothing
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    assert entry.keys is not None
    theirs = import_module(f"benchmarks.published.{structure}").build(entry.keys.to_published(ours.state_dict()))
    ours, theirs = ours.to(device), theirs.to(device)
    generator = torch.Generator().manual_seed(1)

    def given(name: str, shape: str) -> Tensor:
        sizes = {"B": batch, "S": side}
        numbers = [sizes.get(part) or int(part) for part in shape.split()]
        if name == "t":
            return torch.randint(1, 101, numbers, generator=generator).to(device)
        return torch.rand(numbers, generator=generator).to(device)

    inputs = {name: given(name, shape) for name, shape in entry.inputs.items()}
    if structure != "daclip":

        def case(net: nn.Module) -> Case:
            values = list(inputs.values())
            return Case(net, lambda: net(*values), lambda: net(*values).abs().mean())

        return {"published": case(theirs), "patina": case(ours)}

    tokens = torch.randint(1, 49_000, (2, batch, 77), generator=generator)
    ends = torch.randint(6, 16, (2, batch, 1), generator=generator)
    tokens = torch.where(torch.arange(77) < ends, tokens, 0).scatter(2, ends, 49_407)
    recurring = torch.randint(0, min(10, batch), (batch,), generator=generator)  # ten degradations recur in a batch
    captions, degradations = tokens[0].to(device), tokens[1][recurring].to(device)
    images = inputs["images"]
    return {
        "published": Case(
            theirs,
            lambda: theirs.encode_image(images),
            lambda: theirs(images, torch.cat((captions, degradations), dim=1)),
        ),
        "patina": Case(
            ours,
            lambda: ours.encode_image(images),
            lambda: joint_loss(ours(images, captions, degradations), ours.logit_scale).total,
        ),
    }


class Bench:
    """Times cases on one device in one precision."""

    def __init__(self, device: str, precision: str, clock: str = "wall") -> None:
        self.device, self.precision = device, precision
        self.now = time.process_time if clock == "cpu" else time.perf_counter

    def _precise(self, name: str) -> AbstractContextManager[Any]:
        alike = self.device == "cuda" or name == "patina"
        is_low = self.precision == "bfloat16" and alike
        return torch.autocast(self.device, torch.bfloat16) if is_low else nullcontext()

    def inference(self, name: str, case: Case) -> None:
        with torch.inference_mode(), self._precise(name):
            case.infer()

    def training(self, name: str, case: Case, optimiser: torch.optim.Optimizer) -> None:
        with self._precise(name):
            loss = case.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def milliseconds(self, step: Callable[[], None], repeats: int) -> float:
        self._wait()
        start = self.now()
        for _ in range(repeats):
            step()
        self._wait()
        return 1e3 * (self.now() - start) / repeats

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def optimiser_of(name: str, net: nn.Module, device: str) -> torch.optim.Optimizer:
    fused = device == "cuda" or name == "patina"
    return torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-9, fused=fused)


def compare(cases: dict[str, Case], bench: Bench, rounds: int, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each case, round by round."""
    times: dict[str, dict[str, list[float]]] = {"inference": {}, "training": {}}
    optimisers = {name: optimiser_of(name, case.net, bench.device) for name, case in cases.items()}
    for round_number in range(rounds + 1):
        for name, case in cases.items():
            case.net.eval()
            took = bench.milliseconds(partial(bench.inference, name, case), repeats)
            case.net.train()
            step = partial(bench.training, name, case, optimisers[name])
            trained = bench.milliseconds(step, repeats)
            if round_number:  # the first warms up, and compiles
                times["inference"].setdefault(name, []).append(took)
                times["training"].setdefault(name, []).append(trained)
    return times


def peak(network: str, name: str, batch: int, side: int, device: str, precision: str) -> float:
    """MB that two training steps need, in a process of its own."""
    call = [sys.executable, "-m", "benchmarks.models", network, "--peak", name, "--precision", precision]
    call += ["--device", device, "--images", f"{batch}x{side}"]
    return float(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout))


def measure_peak(network: str, name: str, batch: int, side: int, device: str, precision: str) -> float:
    """The same, in this process."""
    entry = CATALOGUE[network]
    case = made(entry, STRUCTURES[entry.class_path.partition(":")[0]], device, batch, side)[name]
    bench, optimiser = Bench(device, precision), optimiser_of(name, case.net, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = forget_peak()
    for _ in range(2):
        bench.training(name, case, optimiser)
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resident("VmHWM") - before


def forget_peak() -> float:
    """Give back to Linux what this process has freed, and let its peak begin anew; MB that it holds now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is freed and kept would hide as much of what is needed later
    Path("/proc/self/clear_refs").write_text("5")  # getrusage's peak is the parent's as well
    return resident("VmRSS")


def resident(what: str) -> float:
    """MB of this process's memory now (VmRSS) or at most (VmHWM), as Linux counts."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition(f"{what}:")[2].split()[0]) / 1024


def difference(cases: dict[str, Case]) -> float:
    """How far both outputs lie apart, relative to the largest number."""
    with torch.inference_mode():
        outs = []
        for case in cases.values():
            out = case.infer()
            outs.append(torch.cat([part.flatten() for part in (out if isinstance(out, tuple) else (out,))]))
    return float((outs[0] - outs[1]).abs().max() / outs[0].abs().max())


def report(networks: list[str], options: argparse.Namespace) -> list[str]:
    """The table's lines."""
    lines = [
        "| network | images | precision | inference, ms: published | patina | times | training, ms: published | "
        "patina | times | training, MB: published | patina | outputs differ by |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    middle = statistics.median
    ways = (
        [("float32", False)]
        if options.device == "cpu" and not options.bf16
        else [("float32", False), ("bfloat16", False)]
    )
    if options.compile:
        ways.append((ways[-1][0], True))
    for network in networks:
        entry = CATALOGUE[network]
        structure = STRUCTURES[entry.class_path.partition(":")[0]]
        images = options.images[:1] if structure == "daclip" else options.images
        for (batch, side), (precision, compiled) in itertools.product(images, ways):
            cases = made(entry, structure, options.device, batch, side)
            apart = difference(cases)
            if compiled:
                for case in cases.values():
                    case.net.compile()
            times = compare(cases, Bench(options.device, precision, options.clock), options.rounds, options.repeats)
            shown = 224 if structure == "daclip" else side
            cells = [network, f"{batch}×{shown}²", precision + (", compiled" if compiled else "")]
            for kind in ("inference", "training"):
                theirs, ours = times[kind]["published"], times[kind]["patina"]
                cells += [f"{middle(theirs):.1f}", f"{middle(ours):.1f}"]
                cells.append(f"{middle(t / o for t, o in zip(theirs, ours, strict=True)):.2f}")
            cells += (
                ["–", "–"]
                if compiled
                else [
                    f"{peak(network, n, batch, side, options.device, precision):.0f}" for n in ("published", "patina")
                ]
            )
            lines.append("| " + " | ".join([*cells, f"{apart:.0e}"]) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
            del cases
    return lines


def sizes(text: str) -> tuple[int, int]:
    """Batch and side of `2x64`."""
    batch, _, side = text.partition("x")
    return int(batch), int(side)


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[*NETWORKS, []], default=[])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--images", type=sizes, nargs="+", default=[(2, 64)], metavar="BATCHxSIDE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1, help="steps in each round")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: CPU time, of one thread")
    parser.add_argument("--compile", action="store_true", help="torch.compile both, too")
    parser.add_argument("--bf16", action="store_true", help="on a CPU: ours in bfloat16 too")
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--peak", default="", help=argparse.SUPPRESS)
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/NAME.md")
    options = parser.parse_args()
    networks = options.networks or list(NETWORKS)
    if options.clock == "cpu":
        torch.set_num_threads(1)  # several would wait for one another, and waiting counts as well
    if options.peak:
        print(measure_peak(networks[0], options.peak, *options.images[0], options.device, options.precision))
        return
    lines = report(networks, options)
    where = (
        torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads of the CPU"
    )
    images = " ".join(f"{batch}x{side}" for batch, side in options.images)
    settings = f"--device {options.device} --images {images} --rounds {options.rounds}"
    settings += " --bf16" if options.bf16 else ""
    settings += " --clock cpu" if options.clock == "cpu" else ""
    command = " ".join(["python -m benchmarks.models", *options.networks, settings])
    text = "\n".join(
        [
            *lines,
            "",
            f"Medians of {options.rounds} rounds of {options.repeats}, by `{command}`",
            f"on {where}, {machine()}, torch {torch.__version__}.",
        ]
    )
    publish("The networks beside their published structure", text, options.save)


if __name__ == "__main__":
    main()
