"""A training on the recipe `wild`: random chains, built, learnt on a CPU, and measured on photographs held out.

    python -m benchmarks.wild PHOTOS [--count 30] [--images 4000] [--save]

Of `count` photographs of the folder every fifth is held out, and no stage sees it. The recipe is the shipped one, of
their tiles of 256 px; the plan is the shipped `wild`, cut to so many images, so that any machine gives the same model.
PSNR and SSIM in RGB over held-out tiles, by the code of `patina evaluate`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.photos import machine, publish
from patina.pipeline.builder.build import build
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.recipe.shipped import shipped
from patina.pipeline.sources.reader import image_files
from patina.training.checkpoints.files import DONE, read_table
from patina.training.evaluation.evaluate import evaluate
from patina.training.jobs.stage import LaunchOptions, run_stage
from patina.training.restore.load import load_restorer
from patina.training.stages.plan import load_plan, parse_file_table

HELD_OUT = 5


def dataset_of(photos: Path, count: int, folder: Path) -> Path:
    """The shipped recipe on `count` photographs, every fifth in the split val."""
    files, _ = image_files(str(photos.absolute()), "PHOTOS")
    count = min(count, len(files))
    for k in range(count):
        path = Path(files[k * len(files) // count][1])
        split = folder / ("val" if k % HELD_OUT == 0 else "train")
        split.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, split / f"{k:04}{path.suffix}")  # of two folders, two may have one name
    head, found, entries = shipped()["wild"].partition("[degradations.blur]")
    assert found and "[tiles]\nsize = 256\n" in head
    recipe = folder / "wild.toml"
    recipe.write_text(
        "name = 'wild'\nseed = 1\nbuckets = { train = 2, val = 1 }\n"
        + "".join(f"[[sources]]\npath = '{split}'\nsplit = '{split}'\n" for split in ("train", "val"))
        + f"[captions]\nkind = 'template'\n[tiles]\nsize = 256\n[degradations.blur]{entries}",
        "utf-8",
    )
    build(load_recipe(recipe), folder / "dataset")
    return folder / "dataset"


def train(table: dict[str, Any], dataset: Path, run: Path) -> dict[str, Any]:
    """Train a stage on the CPU; what its done.json says."""
    stage = parse_file_table(table, table["name"])
    run_stage(stage, dataset, run, LaunchOptions(cpu=True), lambda line: print(f"  {line}", file=sys.stderr))
    return read_table(run / stage.name / DONE)


def quiet(name: str, images: int) -> dict[str, Any]:
    """A stage of the plan of another length, without looks in between."""
    table = load_plan("wild")[name].file_table()
    table["validation"]["every"] = table["save_every"] = 0
    return table | {"max_images": images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=30, help="photographs, evenly over the folder's list")
    parser.add_argument("--images", type=int, default=4000, help="crops that the restorer sees")
    parser.add_argument("--steering", type=int, default=2000, help="images that the controller sees")
    parser.add_argument("--per-entry", type=int, default=12, help="held-out tiles of each entry that are restored")
    parser.add_argument("--pictures", type=Path, help="a folder for strips of degraded, restored and clean")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset = dataset_of(options.photos, options.count, folder)
        run = folder / "run"
        controller = train(quiet("controller", options.steering), dataset, run)
        done = train(quiet("nafnet", options.images), dataset, run)
        found = evaluate(
            load_restorer(run / "nafnet"),
            dataset,
            per_entry=options.per_entry,
            protocol="vlunet",
            lpips=False,
            fid=False,
            pictures=options.pictures,
        )
    lines = ["| entry | tiles | degraded, dB | restored | gain | SSIM: degraded | restored |", "|---|" + "---:|" * 6]
    lines += [
        f"| {one.entry} | {one.count} | {one.input_psnr:.2f} | {one.psnr:.2f} | {one.gain:+.2f} | "
        f"{one.input_ssim:.3f} | {one.ssim:.3f} |"
        for one in (*found.rows, found.mean)
    ]
    command = f"python -m benchmarks.wild PHOTOS --count {options.count} --images {options.images}"
    command += f" --steering {options.steering} --per-entry {options.per_entry} --save"
    lines += [
        "",
        f"NAFNet of the plan `wild` saw {done['seen']:,} crops of 64 px in {done['seconds']:.0f} s, after the "
        f"controller's {controller['seen']:,} images in {controller['seconds']:.0f} s.",
        "",
        f"Made by `{command}` on {time.strftime('%Y-%m-%d')}: {machine()}.",
    ]
    publish("A training on random chains", "\n".join(lines), "wild" if options.save else None)


if __name__ == "__main__":
    main()
