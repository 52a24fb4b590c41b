"""What the degradations look like at their defaults, in figures, beside another commit's and the published sets'.

    python -m benchmarks.form PHOTOS [--count 40] [--beside ecc6b25] [--save]

Each tree degrades the same photographs in a process of its own; `patina.pipeline.report.form` measures both here.
CPU time is of one 768×512 photograph, the median of draws. What the shipped recipes ask for beyond the defaults is
measured, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import machine, publish
from patina.pipeline.markdown import markdown_table
from patina.pipeline.report.form import MEASURES, form_of, form_rows
from patina.pipeline.sources.reader import image_files
from patina.synth.severity import psnr_of

ENTRIES = {"hazy": {"model": "reside"}, "motion-blurry": {"light": "encoded", "shake": {"min": 0, "max": 0.15}}}
"""Settings of the recipes `universal`, `nhr` and `nhrbl` that are no defaults."""

WORK = """
import json, sys, time
from pathlib import Path
import cv2
import numpy as np
from patina.pipeline.codec.decode import decode
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng, sample_seed

cv2.setNumThreads(1)
asked = json.load(sys.stdin)
told = {}
for row, (name, settings) in asked["rows"].items():
    one, kept = CATALOGUE[name](**settings), {}
    for i, path in enumerate(asked["photos"]):
        gt = decode(Path(path).read_bytes()).image
        seed = sample_seed(0, Path(path).name, name, 0, (0, 0, gt.shape[1], gt.shape[0]))
        kept[str(i)] = one.apply(gt, one.draw(Rng(seed), gt)).image
    np.savez(Path(asked["out"]) / (row.replace(" ", "_") + ".npz"), **kept)
    image = cv2.resize(decode(Path(asked["photos"][0]).read_bytes()).image, (768, 512), interpolation=cv2.INTER_CUBIC)
    times = []
    for seed in range(asked["timed"]):
        start = time.process_time_ns()
        one.apply(image, one.draw(Rng(f"{seed:x}"), image))
        times.append((time.process_time_ns() - start) / 1e6)
    told[row] = sorted(times)[len(times) // 2] if times else 0.0
print(json.dumps(told))
"""


def degraded(
    tree: Path, rows: dict[str, tuple[str, dict[str, object]]], photos: list[str], out: Path, timed: int
) -> dict[str, float]:
    """Let a tree degrade the photographs, into OUT/ROW.npz; CPU milliseconds by row."""
    out.mkdir(exist_ok=True)
    asked = json.dumps({"rows": rows, "photos": photos, "out": str(out), "timed": timed})
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-P", "-c", WORK], input=asked, env=environment, check=True, capture_output=True, text=True
    )
    times: dict[str, float] = json.loads(child.stdout)
    return times


def figures(row: str, name: str, folder: Path, clean: list[NDArray[np.uint8]]) -> tuple[list[dict[str, str]], float]:
    """Rows of form, and the mean PSNR, of what lies in a folder."""
    with np.load(folder / f"{row.replace(' ', '_')}.npz") as kept:
        lqs = [kept[str(i)] for i in range(len(clean))]
    found = form_rows({name: [form_of(name, gt, lq) for gt, lq in zip(clean, lqs, strict=True)]})
    return found, statistics.fmean(psnr_of(gt, lq) for gt, lq in zip(clean, lqs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--count", type=int, default=40, help="photographs, evenly over the folder's list")
    parser.add_argument("--beside", default="ecc6b25", help="the commit to compare with")
    parser.add_argument("--timed", type=int, default=21, help="draws that are timed")
    parser.add_argument("--save", action="store_true", help="keep the tables in benchmarks/form.md")
    options = parser.parse_args()
    from patina.pipeline.codec.decode import decode

    here = Path(__file__).parents[1]
    files, _ = image_files(str(options.photos), "PHOTOS")
    count = min(options.count, len(files))
    photos = [str(Path(files[i * len(files) // count][1]).resolve()) for i in range(count)]
    clean = [decode(Path(path).read_bytes()).image for path in photos]
    plain: dict[str, tuple[str, dict[str, object]]] = {name: (name, {}) for name in MEASURES}
    asked = plain | {f"{name} of the recipes": (name, settings) for name, settings in ENTRIES.items()}
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", other, options.beside], check=True, cwd=here)
        try:
            earlier = degraded(other, plain, photos, Path(folder) / "before", options.timed)
            now = degraded(here, asked, photos, Path(folder) / "after", options.timed)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", other], check=True, cwd=here)
        table = [
            ["degradation", "form", f"{options.beside}: 10 %, median, 90 %", "now", "published", "the median now is"]
        ]
        costs = [["degradation", f"PSNR, dB: {options.beside}", "now", f"CPU, ms: {options.beside}", "now"]]
        for row, (name, _) in asked.items():
            before, was = figures(name, name, Path(folder) / "before", clean)
            after, psnr = figures(row, name, Path(folder) / "after", clean)
            for one, two in zip(before, after, strict=True):
                ours = "ours: 10 %, median, 90 %"
                table.append([row, two["form"], one[ours], two[ours], two["published"], two["median"]])
            costs.append([row, f"{was:.2f}", f"{psnr:.2f}", f"{earlier[name]:.1f}", f"{now[row]:.1f}"])
    command = f"python -m benchmarks.form PHOTOS --count {count} --beside {options.beside} --save"
    told = f"Made by `{command}` on {time.strftime('%Y-%m-%d')}: {machine()}."
    lines = [*markdown_table(table, escape=str), "", *markdown_table(costs, escape=str), "", told]
    publish("The form of each degradation", "\n".join(lines), "form" if options.save else None)


if __name__ == "__main__":
    main()
