"""Restoring in bfloat16 beside float32, by networks that have learnt: PSNR, time and memory.

    python -m benchmarks.bf16 PHOTOS [--seconds 60] [--restorers nafnet vlunet irsde] [--held 6] [--save]

PHOTOS is a folder of photographs; every twentieth is held out. Each restorer learns to take white noise of σ = 50 (of
255) from crops of the others, in float32, for so many seconds of CPU time. Nothing steers it: NAFNet and U-Net leave
their contexts out, and VLU-Net gets a vector of zeros. The restorers are of a size between `tiny` and the papers': wide
enough that products weigh as in the released ones, and small enough to learn in a minute.

Each held-out photograph is then restored whole by `patina.training.restore`, in float32 and in bfloat16 (as `patina
restore --precision bf16` does), turn by turn in one process. PSNR is of the bytes, in RGB. Time is CPU time of one
thread; `times` is the median of the photographs' ratios. Memory is the peak of restoring one photograph in a process of
its own, less what the process held after it had restored a crop of 64 px: the weights, and the libraries' own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.models import forget_peak, resident
from benchmarks.photos import machine, publish
from patina.pipeline.sources.reader import image_files
from patina.training.diffusion.sde import IRSDE
from patina.training.evaluation.metrics import psnr
from patina.training.images import Pixels, to_bytes
from patina.training.models.nafnet import DirectNAFNet, DirectNAFNetSettings
from patina.training.models.unet import UNet, UNetSettings
from patina.training.models.vlunet import VluNet, VluNetSettings
from patina.training.restore.restorer import Condition, Precision, Restorer
from patina.training.stages.stage import Data, Objective, Optimiser, Sde, Stage, Validation

HELD_OUT, CROP, BATCH, SIGMA, RATE = 20, 64, 4, 50, 1e-3
PRECISIONS: tuple[Precision, Precision] = ("fp32", "bf16")


@dataclass(frozen=True)
class Case:
    """A restorer of the benchmark: its network, and the objective and network that a stage would name."""

    build: Callable[[], nn.Module]
    objective: Objective
    network: str


CASES = {
    "nafnet": Case(
        lambda: DirectNAFNet(
            DirectNAFNetSettings(width=32, encoder_blocks=(1, 2, 4), middle_blocks=2, decoder_blocks=(1, 1, 1))
        ),
        "direct",
        "nafnet-direct",
    ),
    "vlunet": Case(
        lambda: VluNet(VluNetSettings(channels=24, blocks=(1, 1, 2, 2), refinement=1, prompt_side=48)),
        "described",
        "vlunet-7",
    ),
    "irsde": Case(lambda: UNet(UNetSettings(widths=(32, 64, 128))), "sde", "unet-no-context"),
}


def restorer_of(name: str, net: nn.Module) -> tuple[Restorer, Condition]:
    """The network as a restorer, and what it is told of a photograph."""
    case = CASES[name]
    stage = Stage(
        name,
        case.objective,
        case.network,
        Data(BATCH),
        Optimiser(RATE),
        1,
        sde=Sde(max_sigma=10, eps=0.3),
        validation=Validation(sampler="fast-ode", steps=3),
    )
    contexts = {"degradation": torch.zeros(1, net.settings.width)} if isinstance(net, VluNet) else {}
    return Restorer(net, None, stage), Condition(contexts, {})


def read(path: Path) -> Pixels:
    """A photograph, H x W x 3 uint8 RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        sys.exit(f"{path}: OpenCV cannot read it; leave it out of the folder")
    return np.asarray(image, np.uint8)


def noisy(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """White noise added, clipped to bytes."""
    return np.clip(np.rint(photo + rng.normal(0, SIGMA, photo.shape)), 0, 255).astype(np.uint8)


def batch_of(photos: Sequence[Pixels], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """LQ and GT of a batch of crops: B x 3 x CROP x CROP in [0, 1]."""
    crops = []
    for photo in rng.choice(len(photos), BATCH):
        top, left = (int(rng.integers(side - CROP + 1)) for side in photos[photo].shape[:2])
        crops.append(photos[photo][top : top + CROP, left : left + CROP])
    pair = (np.stack([noisy(crop, rng) for crop in crops]), np.stack(crops))
    lq, gt = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 for images in pair)
    return lq, gt


def trained(name: str, photos: Sequence[Pixels], seconds: float) -> tuple[nn.Module, int]:
    """A network that learnt for so many seconds of CPU time, and how many images it saw."""
    torch.manual_seed(0)
    rng = np.random.Generator(np.random.PCG64(0))
    net = CASES[name].build()
    restorer, told = restorer_of(name, net)
    sde: IRSDE = restorer.sde
    if isinstance(net, UNet):
        net.start_as_noise(sde.lam)
    contexts = {key: value.expand(BATCH, -1) for key, value in told.contexts.items()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, fused=True)
    net.train()
    began, seen, share = time.process_time(), 0, 0.0
    while share < 1:
        optimiser.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * share)) / 2
        lq, gt = batch_of(photos, rng)
        if restorer.is_diffusion:
            t, z = torch.randint(1, sde.steps + 1, (BATCH,)), torch.randn(gt.shape)
            t[0] = sde.steps  # where a sampler starts
            loss = sde.image_loss(lq, net(sde.marginal(gt, lq, t, z), lq, t), z, t)
        else:
            loss = functional.l1_loss(net(lq, **contexts), gt)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seen += BATCH
        share = (time.process_time() - began) / seconds
    return net.eval(), seen


def restored(restorer: Restorer, told: Condition, lq: Pixels, gt: Pixels, precision: Precision) -> tuple[float, float]:
    """Restore a photograph whole: dB, and seconds of CPU time."""
    began = time.process_time()
    picture = restorer.restore(lq, condition=told, precision=precision)
    took = time.process_time() - began
    return psnr(to_bytes(picture), gt), took


def peak(name: str, weights: Path, lq: Path, precision: Precision) -> float:
    """MB that restoring one photograph needs beside the weights, in a process of its own."""
    call = [sys.executable, "-m", "benchmarks.bf16", str(lq), "--peak", str(weights), "--precision", precision]
    call += ["--restorers", name]
    return float(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout))


def measure_peak(name: str, weights: Path, lq: Path, precision: Precision) -> float:
    """The same, in this process."""
    net = CASES[name].build()
    net.load_state_dict(torch.load(weights, weights_only=True))
    restorer, told = restorer_of(name, net)
    photo: Pixels = np.load(lq)
    restorer.restore(photo[:CROP, :CROP], condition=told, precision=precision)  # loads what libraries load
    before = forget_peak()
    restorer.restore(photo, condition=told, precision=precision)
    return resident("VmHWM") - before


def row(name: str, photos: Sequence[Pixels], held: Sequence[Pixels], seconds: float, folder: Path) -> str:
    """Train a restorer, and its line of the table."""
    net, seen = trained(name, photos, seconds)
    weights, first = folder / f"{name}.pt", folder / "lq.npy"
    torch.save(net.state_dict(), weights)
    rng = np.random.Generator(np.random.PCG64(1))
    pairs = [(noisy(gt, rng), gt) for gt in held]
    np.save(first, pairs[0][0])
    restorer, told = restorer_of(name, net)
    for precision in PRECISIONS:  # warms up
        restored(restorer, told, pairs[0][0][:CROP, :CROP], pairs[0][1][:CROP, :CROP], precision)
    found = [[restored(restorer, told, lq, gt, precision) for precision in PRECISIONS] for lq, gt in pairs]
    exact, low = ([one[k] for one in found] for k in range(2))
    apart = [b[0] - a[0] for a, b in zip(exact, low, strict=True)]
    memory = [peak(name, weights, first, precision) for precision in PRECISIONS]
    cells = [
        name,
        f"{sum(p.numel() for p in net.parameters()) / 1e6:.1f}",
        f"{seen:,}",
        f"{statistics.fmean(psnr(lq, gt) for lq, gt in pairs):.2f}",
        *(f"{statistics.fmean(one[0] for one in some):.3f}" for some in (exact, low)),
        f"{statistics.fmean(apart):+.3f}",
        f"{max(apart, key=abs):+.3f}",
        *(f"{statistics.fmean(one[1] for one in some):.2f}" for some in (exact, low)),
        f"{statistics.median(a[1] / b[1] for a, b in zip(exact, low, strict=True)):.2f}",
        *(f"{one:.0f}" for one in memory),
        f"{memory[0] / memory[1]:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| restorer | parameters, million | images seen | degraded, dB | float32, dB | bfloat16, dB | difference "
    "| of the worst | float32, s | bfloat16, s | times | float32, MB | bfloat16, MB | times |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of CPU time, for each restorer to learn")
    parser.add_argument("--restorers", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--held", type=int, default=6, help="held-out photographs that are restored")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help=argparse.SUPPRESS)
    parser.add_argument("--save", action="store_true", help="write benchmarks/bf16.md")
    options = parser.parse_args()
    torch.set_num_threads(1)  # several would wait for one another, and waiting counts as CPU time
    if options.peak:
        print(measure_peak(options.restorers[0], options.peak, options.photos, options.precision))
        return
    files = [Path(path) for _, path in image_files(str(options.photos.absolute()), "PHOTOS")[0]]
    read_ones = (read(path) for k, path in enumerate(files) if k % HELD_OUT)
    photos = [photo for photo in read_ones if min(photo.shape[:2]) >= CROP]
    held = [read(path) for path in files[::HELD_OUT][: options.held]]
    lines = list(HEAD)
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.restorers:
            lines.append(row(name, photos, held, options.seconds, Path(temporary)))
            print(lines[-1], file=sys.stderr, flush=True)
    command = f"python -m benchmarks.bf16 PHOTOS --seconds {options.seconds:.0f} --held {options.held}"
    text = "\n".join(
        [
            *lines,
            "",
            f"Means over {len(held)} held-out photographs, by `{command}`",
            f"on one thread of {machine()}, torch {torch.__version__}; the load of the last five minutes was "
            f"{os.getloadavg()[1]:.1f}.",
        ]
    )
    publish("Restoring in bfloat16", text, "bf16" if options.save else None)


if __name__ == "__main__":
    main()
