"""What a budget of seconds buys: three restorers trained for one degradation, beside OpenCV and the papers' figures.

    python -m benchmarks.denoise_cbsd PHOTOS [--seconds 120] [--words noisy jpeg-compressed] [--size tiny] [--save]

PHOTOS is a folder of photographs, such as the 400 of BSDS500's training and test sets; every twentieth is held out, and
no stage sees it. patina builds the pairs (noise of σ = 50, JPEG of quality 10), trains DA-CLIP's controller and
VLU-Net's adapter on both, then each restorer on one degradation alone, for as many images as it sees in the budget: the
rate is measured on a short training before. PSNR in RGB over whole photographs, by the same code as `patina evaluate`.

OpenCV's non-local means has the strength that is best on photographs of the training split. The papers measured on
CBSD68 after days on GPUs; figures beside theirs show an order of size.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.photos import build_dataset, machine, publish
from patina.pipeline.sources.reader import image_files
from patina.training.checkpoints.files import DONE, METRICS, read_table
from patina.training.data.index import read_index
from patina.training.data.reading import read_pair
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation.evaluate import evaluate
from patina.training.evaluation.metrics import psnr
from patina.training.jobs.stage import LaunchOptions, run_stage
from patina.training.restore.load import load_restorer
from patina.training.restore.options import default_tile_side
from patina.training.restore.tiles import Tiling
from patina.training.stages.plan import load_plan, parse_file_table

DEGRADATIONS = ("noisy", "jpeg-compressed")
RESTORERS = ("vlunet", "nafnet", "irsde")
STEERING = ("controller", "adapter")
HELD_OUT = 20
FEW = 8
STRENGTHS = (3, 6, 10, 15, 20, 30, 40, 50, 60)


def build(photos: Path, folder: Path) -> Path:
    """A dataset of the photographs, every twentieth in the split val."""
    for k, path in enumerate(Path(path) for _, path in image_files(str(photos.absolute()), "PHOTOS")[0]):
        split = folder / ("val" if k % HELD_OUT == 0 else "train")
        split.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, split / path.name)
    sources = "".join(f"[[sources]]\npath = '{split}'\nsplit = '{split}'\n" for split in ("train", "val"))
    return build_dataset(folder, "".join(f"[degradations.{degradation}]\n" for degradation in DEGRADATIONS), sources)


def steered(size: str, crop: int, images: int = 0) -> Iterator[dict[str, Any]]:
    """The stages that steer, tiny ones, which look at squares as the restorers are trained on.

    images  that each of them sees, in batches that few photographs are enough for; 0: as many as suit."""
    for name in STEERING:
        table = load_plan("tiny")[name].file_table()
        table["data"].update(crop=crop, group=0, entries=list(DEGRADATIONS))
        table["validation"]["every"] = 0
        if size == "tiny":
            table["max_images"] = table["max_images"] // 4
        if images:
            table["max_images"] = images
            table["data"]["batch"] = min(table["data"]["batch"], FEW)
        yield table


def restorer(name: str, degradation: str, size: str) -> dict[str, Any]:
    """A restorer's stage on one degradation, without looks in between."""
    table = load_plan(size)[name].file_table()
    table["data"].update(entries=[degradation], weights={}, repeats={})
    table["validation"]["every"] = 0
    table["save_every"] = 0
    return table


def train(table: dict[str, Any], dataset: Path, run: Path, cpu: bool) -> dict[str, Any]:
    """Train a stage; what its done.json says."""
    stage = parse_file_table(table, table["name"])
    run_stage(stage, dataset, run, LaunchOptions(cpu=cpu), lambda line: print(f"  {line}", file=sys.stderr))
    return read_table(run / stage.name / DONE)


def rate_of(table: dict[str, Any], dataset: Path, run: Path, cpu: bool, steps: int = 40) -> float:
    """Images a second, of the later half of so many steps."""
    short = table | {"max_images": steps * table["data"]["batch"]}
    train(short, dataset, run, cpu)
    rows = [json.loads(line) for line in (run / table["name"] / METRICS).read_text("utf-8").splitlines()]
    rates = [row["images_per_s"] for row in rows if "images_per_s" in row and row["seen"] > short["max_images"] // 2]
    shutil.rmtree(run / table["name"])
    return float(np.median(rates))


def pairs(dataset: Path, split: str, degradation: str, count: int = 0) -> list[tuple[Any, Any]]:
    """LQ and GT of a split's first samples; 0: of all."""
    index = read_index(dataset, split, (degradation,))
    return [read_pair(index, row) for row in range(count or len(index))]


def non_local_means(dataset: Path, degradation: str) -> tuple[float, int, float]:
    """PSNR on the split val, the strength, and seconds a photograph."""

    def score(some: Sequence[tuple[Any, Any]], strength: int) -> float:
        done = (cv2.fastNlMeansDenoisingColored(lq, None, strength, strength, 7, 21) for lq, _ in some)
        return float(np.mean([psnr(out, gt) for out, (_, gt) in zip(done, some, strict=True)]))

    learnt = pairs(dataset, "train", degradation, 6)
    strength = max(STRENGTHS, key=lambda s: score(learnt, s))
    held = pairs(dataset, "val", degradation)
    began = time.perf_counter()
    return score(held, strength), strength, (time.perf_counter() - began) / len(held)


def table_of(degradation: str, dataset: Path, run: Path, options: argparse.Namespace, cpu: bool) -> list[str]:
    """A degradation's table."""
    rows, given, count, size = [], 0.0, 0, options.size
    for name in options.restorers:
        table = restorer(name, degradation, size)
        batch = table["data"]["batch"]
        rate = rate_of(table, dataset, run, cpu, options.rate_steps)
        table["max_images"] = max(1, round(rate * options.seconds / batch)) * batch
        done = train(table, dataset, run, cpu)
        device = "cpu" if cpu else "cuda"
        net = load_restorer(run / name, device=device)
        tiling = Tiling(default_tile_side(net) if net.is_diffusion and size == "tiny" else 0, 32)
        found = evaluate(
            net,
            dataset,
            entries=(degradation,),
            protocol="vlunet",
            tiling=tiling,
            lpips=False,
            fid=False,
            device=device,
        ).mean
        given, count = found.input_psnr, found.count
        rows.append(
            f"| {name} ({size}) | {found.psnr:.2f} | {found.gain:+.2f} | {found.ssim:.3f} | {done['seen']:,} | "
            f"{done['seconds']:.0f} | {found.seconds:.2f} |"
        )
        print(rows[-1], file=sys.stderr)
        shutil.rmtree(run / name)
    means, strength, took = non_local_means(dataset, degradation)
    rows.append(f"| non-local means, h = {strength} | {means:.2f} | {means - given:+.2f} | – | – | – | {took:.2f} |")
    papers = published.tables("vlunet", published.NHR)["psnr"] if degradation == "noisy" else None
    printed = ", ".join(f"{row.method} {row.of('noisy-50')}" for row in papers.rows) if papers else ""
    return [
        f"## {degradation}\n",
        f"{count} held-out photographs; degraded {given:.2f} dB.\n",
        "| restored by | PSNR, dB | gain | SSIM | images seen | trained, s | s a photograph |",
        "|---|---|---|---|---|---|---|",
        *rows,
        f"\n\nOn CBSD68 the papers print {printed} dB, of all tasks." if printed else "",
    ]


def main() -> None:
    """Print the tables, or save them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=120, help="of training, each restorer on each degradation")
    parser.add_argument("--words", dest="degradations", nargs="+", choices=DEGRADATIONS, default=list(DEGRADATIONS))
    parser.add_argument("--size", choices=("tiny", "paper"), default="tiny")
    parser.add_argument("--restorers", nargs="+", choices=RESTORERS, default=list(RESTORERS))
    parser.add_argument("--steering", type=int, default=0, help="images that the stages see that steer; 0: as suits")
    parser.add_argument("--rate-steps", type=int, default=40, help="steps whose later half tells how fast it is")
    parser.add_argument("--save", action="store_true", help="write benchmarks/denoise_cbsd.md")
    options = parser.parse_args()
    cpu = not torch.cuda.is_available()
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset = build(options.photos, folder)
        run = folder / "run"
        crop = restorer(RESTORERS[0], DEGRADATIONS[0], options.size)["data"]["crop"]
        for table in steered(options.size, crop, options.steering):
            train(table, dataset, run, cpu)
        for degradation in options.degradations:
            lines += table_of(degradation, dataset, run, options, cpu)
    where = machine() if cpu else f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {platform.platform()}"
    lines.append(
        f"\nMeasured by `python -m benchmarks.denoise_cbsd PHOTOS --seconds {options.seconds:.0f} "
        f"--size {options.size}` on {where}."
    )
    publish("What a budget of seconds buys", "\n".join(lines), "denoise_cbsd" if options.save else None)


if __name__ == "__main__":
    main()
