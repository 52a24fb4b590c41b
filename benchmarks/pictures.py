"""The two pictures of the pages: the strip of every degradation, and the ladder of each knob.

    python -m benchmarks.pictures [--png FOLDER] [--save]

strip   crops of two photographs, clean and under each degradation at its defaults; composites and a chain at the end.
ladder  one photograph, clean and at five places of each degradation's knob, with the severity that was measured.

Of some draws the first is shown whose damage does not lie beside the crop.

--save writes docs/strip.jpg and docs/ladder.jpg, --png both as PNG into a folder, to look at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import skimage.data
import sklearn.datasets

from patina.pipeline.recipe.parse import parse_degradation
from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.rng import Rng, sample_seed
from patina.synth.severity import measure

DOCS = Path(__file__).parents[1] / "docs"

GAP, LINE = 8, 24
"""Pixels between crops, and of a line of text above each."""

LAST: Mapping[str, tuple[str, dict[str, Any]]] = {
    "hazy+rainy": ("hazy+rainy", {}),
    "chain: real-esrgan": ("chain", {"chain": "real-esrgan"}),
}
"""What the strip shows after the catalogue: title, name and settings."""

PLACES = (0.05, 0.3, 0.55, 0.8, 1.0)
"""Where on each knob the ladder stands."""

VARIANTS = 24
"""Draws of a degradation of which one is shown."""

Tile = tuple[str, Image]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--png", type=Path)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    for name, picture in (("strip", strip()), ("ladder", ladder())):
        if options.png:
            picture.save(options.png / f"{name}.png")
        if options.save:
            picture.save(DOCS / f"{name}.jpg", quality=86, subsampling="4:2:0", optimize=True)


def strip(columns: int = 9, side: int = 180) -> PIL.Image.Image:
    """Crops of the cat and of the temple, `columns` in a row."""
    temple = sklearn.datasets.load_sample_images().images[0]
    rows = []
    for image, x, y in ((skimage.data.chelsea(), 120, 40), (temple, 250, 90)):
        part = np.s_[y : y + side, x : x + side]
        tiles = [("clean", image[part])]
        methods = {name: kind() for name, kind in CATALOGUE.items()}
        methods |= {title: parse_degradation(name, settings, DOCS) for title, (name, settings) in LAST.items()}
        tiles += [
            (title, degraded(image, one, title, shown(image, one, title, part))[part]) for title, one in methods.items()
        ]
        rows += [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return board(rows, side)


def ladder(side: int = 120) -> PIL.Image.Image:
    """A crop of the cup, each degradation in a row, two of them side by side."""
    image: Image = np.ascontiguousarray(skimage.data.coffee())
    part = np.s_[220 : 220 + side, 330 : 330 + side]
    rows = []
    for name, kind in CATALOGUE.items():
        degradation = kind()
        assert degradation.knob is not None
        tiles = [(name, image[part])]
        rungs = [replace(degradation, **{degradation.knob.setting: degradation.knob.at(at)}) for at in PLACES]  # type: ignore[type-var]
        variant = shown(image, rungs[-1], name, part)
        for rung in rungs:
            lq = degraded(image, rung, name, variant)
            found = measure(image, lq)
            tiles.append((f"{found.level} {found.score:.0f}", lq[part]))
        rows.append(tiles)
    half = -(-len(rows) // 2)
    blank = [("", np.full((side, side, 3), 255, np.uint8))] * (1 + len(PLACES))
    return board([[*a, *b] for a, b in zip(rows[:half], [*rows[half:], blank], strict=False)], side)


def shown(image: Image, degradation: Degradation, title: str, part: Any) -> int:
    """Of `VARIANTS` draws the first that changes the crop half as much as the photograph on average, or more: a shadow
    or a flare can lie beside the crop. Where none does, the one that changes the crop most."""
    changes = []
    for variant in range(VARIANTS):
        change = np.abs(degraded(image, degradation, title, variant).astype(np.int16) - image)
        changes.append(float(change[part].mean()))
        if changes[-1] >= change.mean() / 2:
            return variant
    return int(np.argmax(changes))


def degraded(image: Image, degradation: Degradation, title: str, variant: int) -> Image:
    """The degraded photograph; what chance decides depends on the title and the variant alone."""
    seed = sample_seed(0, "pictures", title, variant, (0, 0, image.shape[1], image.shape[0]))
    return degradation.apply(image, degradation.draw(Rng(seed), image)).image


def board(rows: Sequence[Sequence[Tile]], side: int) -> PIL.Image.Image:
    """Tiles with their titles above, on white."""
    width = max(map(len, rows)) * (side + GAP) - GAP
    paper = PIL.Image.new("RGB", (width, len(rows) * (side + LINE + GAP) - GAP), "white")
    pen, font = PIL.ImageDraw.Draw(paper), PIL.ImageFont.load_default(size=13)
    for i, row in enumerate(rows):
        for k, (title, tile) in enumerate(row):
            x, y = k * (side + GAP), i * (side + LINE + GAP)
            pen.text((x, y + 4), fitted(title, font, side), fill=(40, 40, 40), font=font)
            paper.paste(PIL.Image.fromarray(np.ascontiguousarray(tile)), (x, y + LINE))
    return paper


def fitted(title: str, font: Any, side: int) -> str:
    """The title, or as much of it as is no wider than a tile."""
    lengths: Iterable[int] = range(len(title), 0, -1)
    return next((title[:n] for n in lengths if font.getlength(title[:n]) <= side), "")


if __name__ == "__main__":
    main()
