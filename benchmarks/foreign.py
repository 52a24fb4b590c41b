"""Restorers that others trained on the published sets, run on patina's damage: does it look like theirs?

    python -m benchmarks.foreign PHOTOS [--packages FOLDER] [--photos 40] [--recipe universal] [--save NAME]

MAXIM (Tu et al., CVPR 2022; a row of DA-CLIP's tables) in the npm packages `@upscalerjs/maxim-TASK`, version 0.1.0,
which `npm pack` fetches into FOLDER where they are not there yet (310 MB; package licence MIT, weights Apache-2.0).
Photographs are degraded whole, as the recipe's entries say; a centre square of each is restored. PSNR over RGB.
A network that never saw patina restores what looks like the set that it was trained on. Nothing here is fitted to it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.photos import machine, publish
from patina.pipeline.codec.decode import decode
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.sources.reader import image_files
from patina.synth.image import Image
from patina.synth.rng import Rng, sample_seed
from patina.synth.severity import psnr_of

VERSION = "0.1.0"


@dataclass(frozen=True)
class Restorer:
    """One network: its package's task and sha512 (base64, as npm gives it), the set that it was trained on; PSNR in dB
    before it, recalled from the literature, and after it by DA-CLIP's tables (Rain100H, LOL, RESIDE-6k, GoPro).
    """

    task: str
    sha512: str
    trained: str
    before: float
    after: float


RESTORERS = {
    "rainy": Restorer(
        "deraining",
        "+nCU/d+8elGa7Vpr6Cer5ILA0lZHNvHcIxuTQCtjjFZIm6d9OiQJqkrQ8QZVh4+83nQNsfjolP7SVADMYUbz9g==",
        "Rain13k",
        13.6,
        30.8,
    ),
    "low-light": Restorer(
        "enhancement",
        "z36ih4TfMMnX/CaMkXYxpAg8Z3IOtYJMX3Z5zdE5dUe392JTAoa3k4AIHEZmHJ/7SY/4NPTA7+go1Soz4q5cQA==",
        "LOL",
        7.8,
        23.4,
    ),
    "hazy": Restorer(
        "dehazing-outdoor",
        "vOPYJU2vqe3gdBDgwfCu1rO6bpBILrXy6e6uFuC0WdcOOvjyWCIT75m5yZXW+egtC9Z9MSBu9s8+sHCFj0fZnA==",
        "RESIDE outdoor",
        15.9,
        29.1,
    ),
    "motion-blurry": Restorer(
        "deblurring",
        "tq9AP/6E3vVAkPcYDlSNop1lax0KT6wcxZQ5z01OcD/CVbQOPrNJLZOWv56lDncOQ+eXlJzgNqL+/h8Oogi9mw==",
        "GoPro",
        25.6,
        32.9,
    ),
}


def fetched(folder: Path, restorer: Restorer) -> Path:
    """The folder of a package's model, fetched by npm and held to its digest where it is not there yet."""
    models = folder / restorer.task / "package" / "models"
    if (models / "model.json").exists():
        return models
    name = f"@upscalerjs/maxim-{restorer.task}@{VERSION}"
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(f"{name} is not in {folder} and there is no npm to fetch it with; install Node.js")
    with tempfile.TemporaryDirectory() as empty:
        subprocess.run([npm, "pack", "--silent", "--pack-destination", empty, name], check=True, cwd=empty)
        (archive,) = Path(empty).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != restorer.sha512:
            raise SystemExit(f"{name}: expected the sha512 {restorer.sha512}, found {found}; nothing was unpacked")
        with tarfile.open(archive) as tar:
            tar.extractall(folder / restorer.task, filter="data")
    return models


def pairs_of(recipe: Path, word: str, photos: list[tuple[str, str]], side: int) -> dict[str, list[tuple[Image, Image]]]:
    """Centre squares (lq, gt) of each photograph, by the recipe's entries of one degradation."""
    found: dict[str, list[tuple[Image, Image]]] = {}
    for entry, synthesis in load_recipe(recipe).degradations.items():
        if synthesis.degradation.name != word:
            continue
        for name, path in photos:
            gt = decode(Path(path).read_bytes()).image
            height, width = gt.shape[:2]
            seed = sample_seed(0, name, entry, 0, (0, 0, width, height))
            lq = synthesis.degradation.apply(gt, synthesis.degradation.draw(Rng(seed), gt)).image
            top, left = (height - side) // 2, (width - side) // 2
            square = np.s_[top : top + side, left : left + side]
            found.setdefault(entry, []).append((np.ascontiguousarray(lq[square]), np.ascontiguousarray(gt[square])))
    return found


def restored(net: Any, squares: list[Image], batch: int = 5) -> list[Image]:
    """What the network makes of squares, rounded to levels."""
    import torch

    out: list[Image] = []
    for at in range(0, len(squares), batch):
        values = torch.from_numpy(np.stack(squares[at : at + batch]).astype(np.float32) / 255)
        out += list((net(values).clamp(0, 1) * 255).round().byte().numpy())
    return out


def row_of(entry: str, restorer: Restorer, pairs: list[tuple[Image, Image]], results: list[Image]) -> str:
    """One row of the table."""
    before = [psnr_of(gt, lq) for lq, gt in pairs]
    after = [psnr_of(gt, result) for (_, gt), result in zip(pairs, results, strict=True)]
    gain = np.subtract(after, before)
    published = restorer.after - restorer.before
    return (
        f"| {entry} | {restorer.task} ({restorer.trained}) | {np.mean(before):.2f} → {np.mean(after):.2f} "
        f"| {np.mean(gain):+.2f} | {np.median(gain):+.2f} | {int((gain > 0).sum())} of {len(gain)} "
        f"| {restorer.before:.1f} → {restorer.after:.1f}, {published:+.1f} | {np.mean(gain) / published:.0%} |"
    )


HEAD = """| entry | network (trained on) | PSNR, dB | mean gain | median gain | gained | published | share of it |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--packages", type=Path, default=Path.home() / ".cache" / "patina-foreign")
    parser.add_argument("--recipe", type=Path, nargs="*", help="recipes with the entries to try; default: universal")
    parser.add_argument("--only", nargs="*", default=list(RESTORERS), help="degradations' words")
    parser.add_argument("--count", type=int, default=40, help="photographs, evenly over the folder's list")
    parser.add_argument("--side", type=int, default=128, help="of the squares, px; a multiple of 64")
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/foreign.md")
    options = parser.parse_args()
    import torch

    from benchmarks.tfjs_graph import Graph

    torch.set_num_threads(1)
    files, _ = image_files(str(options.photos), "PHOTOS")
    count = min(options.count, len(files))
    photos = [files[i * len(files) // count] for i in range(count)]
    recipes = options.recipe or [Path(__file__).parents[1] / "pipeline" / "recipe" / "recipes" / "universal.toml"]
    lines = [HEAD]
    print(HEAD, flush=True)
    for word in options.only:
        net = Graph(fetched(options.packages, RESTORERS[word]))
        for recipe in recipes:
            for entry, pairs in pairs_of(recipe, word, photos, options.side).items():
                lines.append(row_of(entry, RESTORERS[word], pairs, restored(net, [lq for lq, _ in pairs])))
                print(lines[-1], flush=True)
    command = f"python -m benchmarks.foreign PHOTOS --count {count} --save"
    told = f"{count} photographs, their {options.side} px centre squares; `{command}`"
    lines += ["", f"{told}, {time.strftime('%Y-%m-%d')}, on {machine()}, torch {torch.__version__}."]
    publish("Restorers that others trained, on patina's damage", "\n".join(lines), "foreign" if options.save else None)


if __name__ == "__main__":
    main()
