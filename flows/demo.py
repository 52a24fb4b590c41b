"""Lays out the demo: photographs that come inside scikit-image and scikit-learn, their captions and two recipes.

photos/  six, in colour    recipe.toml    ─► dataset/        ten degradations and two composites, to look at
more/    six, grey         training.toml  ─► training-set/   ten degradations, five draws each ─┬► run/
                                             plan/           the plan `tiny`, shortened ────────┘
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patina.pipeline.errors import RecipeError
from patina.pipeline.recipe.shipped import FOLDER as RECIPES
from patina.training.stages.plan import load_plan, plan_texts

PHOTOS = {
    "skimage": ("data", ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}
LENGTHS = {"adapter": 6_000, "controller": 10_000, "irsde": 2_800, "vlunet": 750}
"""Images that each stage of the demo sees, where `tiny` has about twice as many: so that all of it takes less than five
minutes on two cores, and every stage still beats its input on photographs that it did not see."""

GREY_PHOTOS = {"skimage": ("data", ("brick.png", "camera.png", "coins.png", "grass.png", "gravel.png", "moon.png"))}
"""Grey ones, which only the training has use for: the more it sees, the more it learns of what is no degradation."""


CAPTION_REMARKS = {
    "csv": "captions of the demo come from captions.csv, sentences written for its six photographs, so that every "
    "machine builds the same dataset and needs no model; with --captions blip they are BLIP's",
    "blip": "captions of the demo are made by BLIP, as --captions blip asks; where BLIP refuses, from captions.csv",
}
"""Which captioner the demo runs, and why, by the word that chooses it."""


CSV_CAPTIONS = '[captions]\nkind = "sidecar"\npath = "captions.csv"\n'
BLIP_CAPTIONS = '[captions]\nkind = "blip"\nfallback = {kind = "sidecar", path = "captions.csv"}\n'


def lay_out(out: Path, captions: str = "csv") -> tuple[Path, Path]:
    """Make `out`/photos, captions.csv and the recipe where they are missing; gives the paths of recipe and dataset.

    What is there already stays, so that a changed photograph or recipe is what the next run builds. Raises RecipeError
    if the two packages are not installed.
    """
    _copy_photographs(PHOTOS, out / "photos")
    _copy_captions((PHOTOS,), out / "captions.csv")
    _copy(RECIPES / "demo.toml", out / "recipe.toml")
    if captions == "csv":
        return out / "recipe.toml", out / "dataset"
    recipe = out / f"recipe-{captions}.toml"
    if not recipe.exists():
        recipe.write_text((RECIPES / "demo.toml").read_text("utf-8").replace(CSV_CAPTIONS, BLIP_CAPTIONS), "utf-8")
    return recipe, out / f"dataset-{captions}"


@dataclass(frozen=True)
class Training:
    """The demo's second half: what is built, trained and evaluated, and where.

    side   of the squares that are restored to measure the restorers, px: whole photographs would take an hour on a CPU.
    """

    recipe: Path
    dataset: Path
    run: Path
    plan: str
    stages: tuple[str, ...] = ("irsde", "vlunet")
    per_entry: int = 2
    side: int = 256


def lay_out_training(out: Path) -> Training:
    """Make what the training wants beside what `lay_out` makes. Raises RecipeError as that."""
    _copy_photographs(GREY_PHOTOS, out / "more")
    _copy_captions((PHOTOS, GREY_PHOTOS), out / "training-captions.csv")
    _copy(RECIPES / "demo-training.toml", out / "training.toml")
    for name, images in LENGTHS.items():
        _lay_out_stage(name, images, out / "plan" / f"{name}.toml")
    return Training(out / "training.toml", out / "training-set", out / "run", str(out / "plan"))


def _lay_out_stage(name: str, images: int, target: Path) -> None:
    """Write a stage of the plan `tiny` with another length; its states, its warm-up and its validation keep their
    shares of it."""
    if target.exists():
        return
    text = plan_texts("tiny")[f"{name}.toml"]
    whole = load_plan("tiny")[name].max_images

    def shortened(found: re.Match[str]) -> str:
        return f"{found[1]} = {int(found[2].replace('_', '')) * images // whole}"

    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(re.sub(r"(?m)^(max_images|save_every|warmup|every) = ([\d_]+)", shortened, text), "utf-8")


def verdict(rows: Sequence[Mapping[str, str]], words: int = 10) -> list[str]:
    """Whether each stage beats its input, in words: a restorer the degraded photographs, and what names degradations
    the guess of one of `words`. rows: of an evaluation, as it is printed."""
    beaten: list[str] = []
    not_yet: list[str] = []
    for row in rows:
        if row["gain"] != "–":
            good, told = float(row["gain"].replace("−", "-")) > 0, f"{row['stage']} {row['gain']} dB"
        elif row["named rightly"] == "–":
            good, told = False, f"{row['stage']} (nothing was measured)"
        else:
            share = float(row["named rightly"].rstrip("%")) / 100
            good, told = share > 1 / words, f"{row['stage']} {row['named rightly']} named rightly of {words} words"
        (beaten if good else not_yet).append(told)
    lines = [f"better   than what came in, on photographs that no stage saw: {', '.join(beaten)}"] if beaten else []
    if not_yet:
        lines.append(f"not yet  {', '.join(not_yet)}: raise max_images in plan/, and run the demo again")
    return lines


def lay_out_example(training: Training, folder: Path, entry: str = "noisy") -> tuple[Path, Path]:
    """Write a degraded photograph that no stage saw, and the clean one, as PNG files; gives their paths."""
    import numpy as np

    from patina.pipeline.codec.png import encode_png
    from patina.training.data.index import read_index
    from patina.training.data.reading import read_pair

    index = read_index(training.dataset, "val", (entry,))
    row = int(np.argmax(index.scene))
    paths = folder / f"{entry}.png", folder / f"{entry}-clean.png"
    folder.mkdir(parents=True, exist_ok=True)
    for path, image in zip(paths, read_pair(index, row), strict=True):
        path.write_bytes(encode_png(image))
    return paths


def _copy_photographs(packages: Mapping[str, tuple[str, Sequence[str]]], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for package, (folder, names) in packages.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise RecipeError(f"the demo's photographs come inside {package}: pip install 'patina-ir[demo]'")
        for name in names:
            _copy(Path(spec.origin).parent / folder / name, target / name)


def _copy_captions(sets: Sequence[Mapping[str, tuple[str, Sequence[str]]]], target: Path) -> None:
    """Write the captions of these photographs, and no others: a row that fits none would be told."""
    if target.exists():
        return
    names = {name for packages in sets for _, some in packages.values() for name in some}
    header, *rows = (RECIPES / "demo-captions.csv").read_text("utf-8").splitlines(keepends=True)
    target.write_text(header + "".join(row for row in rows if row.partition(",")[0] in names), "utf-8")


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copyfile(source, target)
