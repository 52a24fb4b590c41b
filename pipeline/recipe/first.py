"""A first recipe for a folder of photographs, from a look at what lies there: for `patina init`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import posixpath
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import PIL.Image

from patina.pipeline.errors import SourceError
from patina.pipeline.hashing import file_sha256
from patina.pipeline.recipe.recipe import Split, Tiles
from patina.pipeline.recipe.shares import advised_share, count_on, is_far, wanted_of
from patina.pipeline.sources.folder import paired_folders
from patina.pipeline.sources.passed_over import passed_over
from patina.pipeline.sources.presets import PRESETS
from patina.pipeline.sources.presets.describe import table
from patina.pipeline.sources.presets.match import recognise
from patina.pipeline.sources.reader import list_images, walk
from patina.pipeline.text import counted
from patina.synth.degradations import DACLIP_DEGRADATIONS

LOOKED_AT = 200
"""Photographs whose size is looked at, spread over the folder."""

DIGESTED = 200
"""Photographs up to which all are read, since of so few a share can give far fewer or more than it asks for."""

READ = 256 * 2**20
"""Bytes that all of these have together at the most: more would take minutes from a disk in a network."""

USUAL = 0.1
"""The share for validation of a folder that is neither small nor large."""

HIGHEST = 0.3
"""The largest share for validation that is written for the sake of few photographs: all that come later go by it."""

TILE = 256

SAMPLES_A_SHARD = 1000

WORDS = {
    "blur": "motion-blurry",
    "gopro": "motion-blurry",
    "haz": "hazy",
    "fog": "hazy",
    "jpeg": "jpeg-compressed",
    "compress": "jpeg-compressed",
    "low": "low-light",
    "dark": "low-light",
    "nois": "noisy",
    "raindrop": "raindrop",
    "drop": "raindrop",
    "rain": "rainy",
    "shadow": "shadowed",
    "snow": "snowy",
    "mask": "uncompleted",
    "inpaint": "uncompleted",
}
"""Parts of folders' names, and the degradations that they speak of; the first that is found counts."""

KNOBS = {
    "motion-blurry": "# a shaken camera; `exposure` in seconds",
    "hazy": 'model = "reside" # an even veil as in RESIDE; without this line, haze by metres of depth',
    "jpeg-compressed": "quality = 10 # or a range: { min = 10, max = 40 }",
    "low-light": "# `stops` of exposure that are missing",
    "noisy": "sigma = 50 # in 8-bit levels; or a list: [15, 25, 50]",
    "raindrop": "# drops on the glass",
    "rainy": "# `rate` in mm of rain an hour",
    "shadowed": "# shadows of what stands outside the picture",
    "snowy": "# `rate` in mm of water an hour",
    "uncompleted": '# strokes, text, scratches and blocks; or your own masks: masks = "folder"',
}
"""What a first recipe sets or says for each degradation."""


@dataclass(frozen=True)
class Look:
    """What lies in a folder.

    names       relative names of its image files, in order.
    pairs       folders of degraded images beside folders of clean ones with the same names: (lq, gt), relative.
    presets     public sets that are all there: (name, how many pairs or images, how many of the commonest label).
    captions    how many of the images have a text file beside them.
    side        the median of the shorter sides, px; 0: no size could be read.
    tiles       how many tiles of TILE px an image gives on average; 0: no size could be read.
    contents    SHA-256 of each clean image, which decides its side of a split; none where there are more than DIGESTED,
                or than READ bytes, or where a public set has sides of its own.
    note        pictures of kinds that are not read; "" if there are none.
    """

    names: Sequence[str]
    pairs: Sequence[tuple[str, str]]
    presets: Sequence[tuple[str, int, int]]
    captions: int
    side: int
    tiles: float
    contents: frozenset[str]
    note: str


def look(folder: Path) -> Look:
    """Look at a folder: names, pairs, public sets, captions and sizes. Raises SourceError if it holds no image file."""
    listing = list_images(str(folder), "PHOTOS")
    note = passed_over(folder.name, listing.unread)
    if not listing.files:
        raise SourceError(
            f"{folder}: expected photographs, found none{f'; {note}' if note else ''}; name a folder of clean "
            "photographs, of LQ/GT pairs, or of a public set that `patina sources` lists"
        )
    names = [name for name, _ in listing.files]
    texts = {
        Path(path).relative_to(folder).as_posix()
        for path in walk(str(folder), "PHOTOS")
        if path.lower().endswith(".txt")
    }
    captions = sum(f"{name}.txt" in texts or f"{PurePosixPath(name).with_suffix('.txt')}" in texts for name in names)
    pairs = tuple(paired_folders(names))
    targets = {gt for _, gt in pairs}
    clean = [path for name, path in listing.files if not pairs or posixpath.dirname(name) in targets]
    presets = _presets(names, folder.absolute().as_posix())
    return Look(
        names,
        pairs,
        presets,
        captions,
        *_sizes([path for _, path in listing.files]),
        frozenset() if presets or len(clean) > DIGESTED else _contents(clean),
        note,
    )


def first_recipe(folder: Path, found: Look, recipe: Path) -> str:
    """A recipe, as TOML with comments, for a folder that was looked at; its paths are relative to the file `recipe`
    where the folder is below it.

    Example: `first_recipe(folder, look(folder), Path("recipe.toml"))`.
    """
    place = _relative(folder, recipe)
    clean = not found.pairs and not any(_has_pairs(name) for name, *_ in found.presets)
    lines = [
        f"# A dataset from {place}, where {counted(len(found.names), 'image')} lie"
        f"{'s' if len(found.names) == 1 else ''}.",
        "# `patina plan` says what a build would make of this file; docs/recipe.md explains it.",
        f"name = {json.dumps(_name(folder))}",
        "seed = 1 # another seed draws every degradation anew",
        f"buckets = {_buckets(place, found)} # shards for each degradation; about {SAMPLES_A_SHARD} samples in each "
        "are a good size",
        "",
    ]
    lines += _sources(place, found)
    lines += _split(found)
    lines += _captions(found)
    if _is_cut(found):
        lines += [f"[tiles] # the shorter side of the images is {found.side} px, so each gives several tiles"]
        lines += [f"size = {TILE}", ""]
    elif found.side:
        lines += [f"# The shorter side of the images is {found.side} px, so they are taken whole: no [tiles].", ""]
    if clean:
        lines += ["# What each photograph undergoes. `patina degradations WORD` lists the settings of one."]
        for word in DACLIP_DEGRADATIONS:
            lines += [f"[degradations.{word}]", KNOBS[word], ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _is_cut(found: Look) -> bool:
    """Whether the recipe cuts the images into tiles."""
    return found.side >= 2 * TILE


def _val_share(found: Look) -> float:
    """The share of the photographs that the recipe keeps for validation: a tenth, or of a few what gives a tenth, up to
    HIGHEST."""
    if len(found.names) >= 2000:
        return 0.02
    few = found.contents
    if len(few) == 1 or len(found.names) == 1:  # it is to learn from
        return 0.0
    return _fitted_share(few) or USUAL


def _fitted_share(few: frozenset[str]) -> float:
    """The share by which a tenth of these is for validation; 0: USUAL gives that, or nothing up to HIGHEST does."""
    if not few or not is_far(count_on(Split(val=USUAL), "val", few), len(few), USUAL):
        return 0.0
    share = float(advised_share(Split(), "val", few, wanted_of(len(few), USUAL)) or 0)
    return share if share <= HIGHEST else 0.0


def _buckets(place: str, found: Look) -> str:
    """The shards of one degradation, as TOML: a number of each split, or one of them all. A recipe's `buckets` are of
    each degradation, so that more degradations take no more of them."""
    if found.presets:
        pictures = max(most for *_, most in found.presets)
    elif found.pairs:  # folders of one word are one degradation
        words = Counter[str]()
        for lq, _ in found.pairs:
            words[_word(posixpath.join(place, lq))] += sum(posixpath.dirname(name) == lq for name in found.names)
        pictures = max(words.values())
    else:
        pictures = len(found.names)
    samples = pictures * (found.tiles if _is_cut(found) else 1)
    if found.presets:  # the set's sides are of sizes of their own
        return str(max(1, math.floor(samples / SAMPLES_A_SHARD)))
    val = samples * _val_share(found)
    train, held = (max(1, math.floor(n / SAMPLES_A_SHARD)) for n in (samples - val, val))
    return f"{{ train = {train}, val = {held} }}" if train > held else str(train)


def _sources(place: str, found: Look) -> list[str]:
    lines: list[str] = []
    for name, count, _ in found.presets:
        lines += [f"# {PRESETS[name].title}: {count} of its {PRESETS[name].parts[0].unit} are there."]
        lines += [*table(PRESETS[name], place), ""]
    if found.presets:
        return lines
    for lq, gt in found.pairs:
        word = _word(posixpath.join(place, lq))
        remark = f"guessed from the names; the words are {', '.join(DACLIP_DEGRADATIONS)}"
        if not word:
            remark = f"change this: no name tells what was degraded; the words are {', '.join(DACLIP_DEGRADATIONS)}"
        lines += [
            "[[sources]] # degraded images, and the clean ones of the same names",
            'kind = "pairs"',
            f"lq = {json.dumps(posixpath.join(place, lq))}",
            f"gt = {json.dumps(posixpath.join(place, gt))}",
            f"# The degradation is {remark}." if word else f"# {remark[0].upper()}{remark[1:]}.",
            f"degradation = {json.dumps(word or 'degraded')}",
            "",
        ]
    if found.pairs:
        return lines
    return [
        "[[sources]] # clean photographs",
        f"path = {json.dumps(place)}",
        '# licence = "CC0-1.0" # an SPDX identifier: it goes into the dataset, and a push wants it',
        "",
    ]


def _split(found: Look) -> list[str]:
    if found.presets:
        return ["# The set has sides of its own, so there is no [split].", ""]
    share, few = _val_share(found), found.contents
    if not share:
        return ["# A single photograph is not divided, so there is no [split]; from two on: [split] val = 0.1.", ""]
    held = count_on(Split(val=share), "val", few)
    remark, more = "", []
    if held:
        remark = f" # {held} of these {len(few)}: sides follow from the digests of the files"
        more = ["# The share fits these; photographs that are added later go by it too."] if share != USUAL else []
    elif few:
        remark = f" # none of these {len(few)} falls there yet: sides follow from the digests of the files"
        more = ['# Add photographs, or give val a folder of its own: a source with split = "val".']
    return [
        "[split] # by photograph, so that no scene is on two sides",
        f"val = {share}{remark}",
        *more,
        "# test = 0.1",
        "",
    ]


def _captions(found: Look) -> list[str]:
    if found.captions:
        return [
            f"[captions] # text files lie beside {found.captions} of the {len(found.names)} images",
            'kind = "sidecar"',
            'fallback = "template" # for the others',
            "",
        ]
    return [
        "[captions]",
        'kind = "template" # a sentence by size and colour; "blip" describes what is seen, and needs torch',
        "",
    ]


def _presets(names: Sequence[str], place: str) -> list[tuple[str, int, int]]:
    """The public set that has most of these images, if a part of it is there in its published number."""
    best: tuple[int, str, int] = (0, "", 0)
    for preset in PRESETS.values():
        if preset.masks:
            continue
        for variant in preset.variants or (None,):
            matches = recognise(preset, names, place, preset.parts, variant).matches
            labels = Counter(
                pair.label
                for match in matches
                if len(match.pairs) == preset.expected(match.part, match.layout, variant)
                for pair in match.pairs
            )
            best = max(best, (labels.total(), preset.name, max(labels.values(), default=0)))
    count, name, most = best
    return [(name, count, most)] if count else []


def _has_pairs(name: str) -> bool:
    return any(part.paired for part in PRESETS[name].parts)


def _contents(paths: Sequence[str]) -> frozenset[str]:
    """The digests of files, without those that cannot be read; none if they have more than READ bytes."""
    sizes = {}
    for path in map(Path, paths):
        with contextlib.suppress(OSError):  # a build sets it aside, and says why
            if path.is_file():  # reading a pipe would wait
                sizes[path] = path.stat().st_size
    found = set()
    for path in sizes if sum(sizes.values()) <= READ else ():
        with contextlib.suppress(OSError):
            found.add(file_sha256(path))
    return frozenset(found)


def _sizes(paths: Sequence[str]) -> tuple[int, float]:
    """Of some of the images: the median of their shorter sides, px, and how many tiles they give on average."""
    sides, tiles = [], []
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        try:
            if not Path(path).is_file():  # opening a pipe would wait
                continue
            with PIL.Image.open(path) as picture:
                sides.append(min(picture.size))
                tiles.append(len(Tiles(TILE).cut(*picture.size)))
        except (OSError, ValueError, PIL.Image.DecompressionBombError):  # a build sets it aside, and says why
            continue
    return (int(statistics.median(sides)), statistics.fmean(tiles)) if sides else (0, 0.0)


def _word(path: str) -> str:
    """The degradation that a path speaks of, the last step first; "" for none."""
    for step in reversed(path.lower().split("/")):
        for part, word in WORDS.items():
            if part in step:
                return word
    return ""


def _relative(folder: Path, recipe: Path) -> str:
    """How a recipe writes the path of a folder: relative where the folder is below the recipe's."""
    path, above = folder.absolute(), recipe.absolute().parent
    inner = os.path.normpath(path)
    return Path(inner).relative_to(above).as_posix() if Path(inner).is_relative_to(above) else Path(inner).as_posix()


def _name(folder: Path) -> str:
    """A dataset's name from the folder's."""
    return " ".join(folder.absolute().name.split()) or "dataset"
