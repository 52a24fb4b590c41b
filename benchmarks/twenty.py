"""Every degradation's CPU time and memory, beside other libraries' of that name.

    python -m benchmarks.twenty [--peers PYTHON] [--runs 25] [--save]

--peers  a Python in whose environment albumentationsx, kornia, deepinv and augrs-py are installed; without it, patina
         alone.

Each case is a process of its own, on one thread. CPU time is of one 768×512 picture, parameters drawn anew each time,
the median and the least of the runs. Memory is what the resident set grows by at its peak for 24 megapixels (6000×4000,
uint8 in and out), over what is there before, in bytes a pixel.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.photos import machine, publish
from patina.synth.degradations import CATALOGUE

TREE = Path(__file__).parents[1]

OURS = """
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng
from patina.pipeline.machine import keep_freed_memory

keep_freed_memory()
degradation, seeds = CATALOGUE[case](), iter(range(1, 1 << 20))


def work(image):
    return degradation.apply(image, degradation.draw(Rng(f"{next(seeds):x}"), image)).image
"""

OF_ARRAYS = """
import LIBRARY

transform = {call}


def work(image):
    return transform(image=image)["image"]
"""
ALBUMENTATIONS, AUGRS = (OF_ARRAYS.replace("LIBRARY", library) for library in ("albumentations", "augrs"))

TORCH = """
import numpy as np
import torch
{imports}

torch.set_num_threads(1)
transform = {call}


@torch.inference_mode()
def work(image):
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    found = transform(batch)
    return (found[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
"""

MEASURE = """
import json
import sys
import time

import numpy as np

case, runs = sys.argv[1], int(sys.argv[2])
{setup}
y, x = np.mgrid[0:512, 0:768]
small = np.stack([(x * 5 + y) % 256, (x // 3 + y * 2) % 256, (x * y // 97) % 256], axis=-1).astype(np.uint8)
small = np.ascontiguousarray(small)
for _ in range(3):
    work(small)
times = []
for _ in range(runs):
    start = time.process_time_ns()
    work(small)
    times.append((time.process_time_ns() - start) / 1e6)
large = np.ascontiguousarray(np.tile(small, (8, 8, 1))[:4000, :6000])
before = max(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak is counted anew
result = work(large)
peak = max(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([times, (peak - before) * 1024 / (4000 * 6000)]))
"""

PEERS: dict[str, dict[str, str]] = {
    "motion-blurry": {
        "albumentationsx MotionBlur": ALBUMENTATIONS.format(call="albumentations.MotionBlur((15, 31), p=1)"),
        "kornia RandomMotionBlur": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomMotionBlur((15, 31), 180.0, 0.5, p=1.0)"
        ),
        "deepinv MotionBlurGenerator, BlurFFT": TORCH.format(
            imports="import deepinv",
            call="(lambda make: lambda x: deepinv.physics.BlurFFT(x.shape[1:])(x, **make.step(1)))"
            "(deepinv.physics.generator.MotionBlurGenerator((31, 31)))",
        ),
    },
    "hazy": {
        "albumentationsx AtmosphericFog": ALBUMENTATIONS.format(call="albumentations.AtmosphericFog(p=1)"),
        "albumentationsx RandomFog": ALBUMENTATIONS.format(call="albumentations.RandomFog(p=1)"),
    },
    "jpeg-compressed": {
        "albumentationsx ImageCompression": ALBUMENTATIONS.format(
            call="albumentations.ImageCompression(quality_range=(10, 10), p=1)"
        ),
        "kornia RandomJPEG": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomJPEG((10, 10), p=1.0)"
        ),
    },
    "low-light": {
        "albumentationsx RandomGamma, ISONoise": ALBUMENTATIONS.format(
            call="albumentations.Compose([albumentations.RandomGamma((200, 300), p=1), albumentations.ISONoise(p=1)])"
        ),
        "augrs RandomGamma, GaussNoise": AUGRS.format(
            call="augrs.Compose([augrs.RandomGamma((200, 300), p=1), augrs.GaussNoise(p=1)])"
        ),
    },
    "noisy": {
        "albumentationsx GaussNoise": ALBUMENTATIONS.format(call="albumentations.GaussNoise((0.196, 0.196), p=1)"),
        "augrs GaussNoise": AUGRS.format(call="augrs.Compose([augrs.GaussNoise(p=1)])"),
        "kornia RandomGaussianNoise": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomGaussianNoise(0.0, 0.196, p=1.0)"
        ),
        "deepinv GaussianNoise": TORCH.format(imports="import deepinv", call="deepinv.physics.GaussianNoise(0.196)"),
    },
    "raindrop": {"albumentationsx Spatter": ALBUMENTATIONS.format(call="albumentations.Spatter(p=1)")},
    "rainy": {
        "albumentationsx RandomRain": ALBUMENTATIONS.format(call="albumentations.RandomRain(p=1)"),
        "kornia RandomRain": TORCH.format(imports="import kornia", call="kornia.augmentation.RandomRain(p=1.0)"),
    },
    "shadowed": {
        "albumentationsx RandomShadow": ALBUMENTATIONS.format(call="albumentations.RandomShadow(p=1)"),
        "albumentationsx PlasmaShadow": ALBUMENTATIONS.format(call="albumentations.PlasmaShadow(p=1)"),
        "kornia RandomPlasmaShadow": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomPlasmaShadow(p=1.0)"
        ),
    },
    "snowy": {
        "albumentationsx RandomSnow, bleach": ALBUMENTATIONS.format(call="albumentations.RandomSnow(p=1)"),
        "albumentationsx RandomSnow, texture": ALBUMENTATIONS.format(
            call="albumentations.RandomSnow(method='texture', p=1)"
        ),
        "kornia RandomSnow": TORCH.format(imports="import kornia", call="kornia.augmentation.RandomSnow(p=1.0)"),
    },
    "uncompleted": {
        "albumentationsx CoarseDropout": ALBUMENTATIONS.format(call="albumentations.CoarseDropout(p=1)"),
        "augrs CoarseDropout": AUGRS.format(call="augrs.Compose([augrs.CoarseDropout(p=1)])"),
        "kornia RandomErasing": TORCH.format(imports="import kornia", call="kornia.augmentation.RandomErasing(p=1.0)"),
    },
    "defocus-blurry": {"albumentationsx Defocus": ALBUMENTATIONS.format(call="albumentations.Defocus((4, 8), p=1)")},
    "downsampled": {
        "albumentationsx Downscale": ALBUMENTATIONS.format(call="albumentations.Downscale((0.25, 0.5), p=1)"),
        "deepinv Downsampling, ×4 and back": TORCH.format(
            imports="import deepinv",
            call="(lambda down: lambda x: torch.nn.functional.interpolate(down(x), x.shape[2:], mode='bicubic'))"
            "(deepinv.physics.Downsampling(filter='bicubic', factor=4))",
        ),
    },
    "flared": {
        "albumentationsx RandomSunFlare": ALBUMENTATIONS.format(call="albumentations.RandomSunFlare(p=1)"),
        "albumentationsx LensFlare": ALBUMENTATIONS.format(call="albumentations.LensFlare(p=1)"),
    },
    "impulse-noisy": {
        "albumentationsx SaltAndPepper": ALBUMENTATIONS.format(call="albumentations.SaltAndPepper(p=1)"),
        "kornia RandomSaltAndPepperNoise": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomSaltAndPepperNoise(p=1.0)"
        ),
        "deepinv SaltPepperNoise": TORCH.format(imports="import deepinv", call="deepinv.physics.SaltPepperNoise()"),
    },
    "banded": {
        "albumentationsx Posterize": ALBUMENTATIONS.format(call="albumentations.Posterize((3, 5), p=1)"),
        "kornia RandomPosterize": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomPosterize(4, p=1.0)"
        ),
    },
    "blurred": {
        "albumentationsx AdvancedBlur": ALBUMENTATIONS.format(call="albumentations.AdvancedBlur((7, 21), p=1)"),
        "kornia RandomGaussianBlur": TORCH.format(
            imports="import kornia", call="kornia.augmentation.RandomGaussianBlur((21, 21), (0.6, 3.0), p=1.0)"
        ),
        "deepinv Blur": TORCH.format(
            imports="import deepinv", call="deepinv.physics.Blur(deepinv.physics.blur.gaussian_blur((2.0, 1.0), 30.0))"
        ),
    },
}
"""Transforms of that name, or of that effect, by degradation: each library's own, simpler than ours in most cases."""


def measured(python: str, setup: str, case: str, runs: int) -> tuple[list[float], float] | str:
    """Milliseconds of each run, and bytes a pixel; what the process said if it failed."""
    environment = {**os.environ, "PYTHONPATH": str(TREE), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    setup = f"import os, sys\ntry:\n    import cv2\n    cv2.setNumThreads(1)\nexcept ImportError:\n    pass\n{setup}"
    command = [python, "-W", "ignore", "-c", MEASURE.replace("{setup}", setup), case, str(runs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["killed"])[-1][:90]
    times, memory = json.loads(done.stdout.strip().splitlines()[-1])
    return times, memory


def row(title: str, python: str, setup: str, case: str, runs: int) -> str:
    """One row of the table."""
    found = measured(python, setup, case, runs)
    if isinstance(found, str):
        return f"| {title} | – | – | {found} |"
    times, memory = found
    return f"| {title} | {statistics.median(times):.1f} | {min(times):.1f} | {memory:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="")
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--only", default="", help="degradations whose name holds this")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    lines = ["| | CPU ms, median | least | bytes a pixel at 24 megapixels |", "|---|---:|---:|---:|"]
    for name in CATALOGUE:
        if options.only not in name:
            continue
        lines.append(row(f"**{name}**", sys.executable, OURS, name, options.runs))
        print(lines[-1], file=sys.stderr, flush=True)
        for title, setup in PEERS.get(name, {}).items() if options.peers else ():
            lines.append(row(title, options.peers, setup, name, options.runs))
            print(lines[-1], file=sys.stderr, flush=True)
    versions = ""
    if options.peers:
        asked = "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in %r), sep=', ')"
        names = ("albumentationsx", "kornia", "deepinv", "augrs-py", "torch")
        versions = subprocess.run(
            [options.peers, "-c", asked % (names,)], capture_output=True, text=True, check=True
        ).stdout
    asked = " --peers PYTHON" if options.peers else ""
    text = "\n".join(lines) + (
        f"\n\nA picture of 768×512 px, {options.runs} runs, one thread, by `python -m benchmarks.twenty{asked} --save` "
        f"on {machine()} {versions}".rstrip()
    )
    if options.peers:
        text += (
            "\n\nOther libraries' rows are of simpler models, JPEG and noise aside: a kernel without turning, a haze, "
            "rain or shadow painted over the picture without depth, a disc without depth, a painted flare. None of "
            "them has truth maps. They have no moire, over-exposure by a response, water, dust or old prints."
        )
    publish("Every degradation beside other libraries", text, "twenty" if options.save else None)


if __name__ == "__main__":
    main()
