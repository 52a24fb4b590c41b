"""What tables, archives and datasets call their columns, and what their cells say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache

from patina.pipeline.errors import SourceError
from patina.pipeline.sources.pairs import check_label

# Names in use, the likelier first: where a table has several, the first of these counts.
GT = ("gt", "hq", "clean")
LQ = ("lq", "input", "degraded")
IMAGE = ("image", "filepath", "file_name")
CAPTION = ("caption", "text", "title")
DEGRADATION = ("degradation", "label")
SPLIT = ("split",)
LICENCE = ("licence", "license")
ATTRIBUTION = ("attribution",)

AS_NEAR = 0.8
"""Likeness, 0 to 1, from which an unknown name is taken for a slip: splt, captoin, titel; context is none."""

LONGEST_NAME = 64
"""Characters of a column's name; a longer one is a sentence, and nobody's slip."""

_OF_FILES = "path paths file files filepath filename name names image images img imgs photo picture pic"
OF_FILES = frozenset(_OF_FILES.split())
"""Words that may stand beside a known one without another meaning: lq_path, input_image."""

_SIDE_PICTURES = """
mask masks depth disparity seg segmentation semantic instance panoptic edge edges canny hed sketch lineart normal
normals pose keypoints openpose scribble conditioning control thumb thumbnail preview icon alpha matte saliency flow
heatmap annotation annotations annotated overlay transmission kernel streaks drops noise
"""
SIDE_PICTURES = frozenset(_SIDE_PICTURES.split())
"""Words that name a picture beside a photograph, which is neither its clean nor its degraded version."""

_FACTS = """
width height length w h channels size bytes filesize resolution aspect ratio original id ids uid uuid key keys index idx
no number row unnamed url uri urls link href page hash md5 sha1 sha256 phash blurhash digest format mode mime type
similarity score scores clip aesthetic nsfw punsafe unsafe pwatermark watermark status error message exif date time
timestamp year month day created updated author artist photographer user owner source dataset set origin provider camera
lens iso lat lon latitude longitude gps location country city tag tags keyword keywords category categories class
classes language lang psnr ssim severity fold
"""
FACTS = frozenset(_FACTS.split())
"""Words of columns that tell facts about a photograph, and that nobody takes for anything else."""

NAMES = frozenset({*GT, *LQ, *IMAGE, *CAPTION, *DEGRADATION, *SPLIT})
"""Every name by which a column of a list is known."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}
"""What tables write, and the split that it means."""


def held_out(name: str) -> str:
    """The side that `name` keeps away from training, val or test; "" for a training split, which the recipe may divide,
    and for any other name."""
    side = SPLITS.get(name.lower(), "")
    return "" if side == "train" else side


def pick(columns: Sequence[str], setting: str, wanted: str, known: Sequence[str]) -> str:
    """The column that is `wanted`, else the first that bears a `known` name in whatever case; "" if there is none.

    Raises SourceError, naming `setting`, if a wanted one is not there.
    """
    if wanted and wanted not in columns:
        raise SourceError(f"{setting}: expected a column {wanted!r}, found {listed(columns)}")
    return wanted or next((c for k in known for c in columns if c.lower() == k), "")


def words_of(column: str) -> list[str]:
    """The words of a column's name, in small letters: of input_image, inputImage and `Input image` the same."""
    return [word.lower() for word in re.findall(r"[A-Z]?[^\W_A-Z]+|[A-Z]+(?![a-z])", column)]


def slip_of(column: str, known: Iterable[str]) -> str:
    """The known name that an unknown column's most likely was to be: by a slip, by another spelling, or by words such
    as path beside it; "" if it is something else."""
    if len(column) > LONGEST_NAME:
        return ""
    words = words_of(column)
    spelt = {"".join(words_of(name)): name for name in known}
    close = difflib.get_close_matches("".join(words), spelt, n=1, cutoff=AS_NEAR)
    if close and FACTS.isdisjoint(words):  # caption_id is near caption, and tells a fact
        return spelt[close[0]]
    return next((name for word, name in spelt.items() if word in words and {*words} - {word} <= OF_FILES), "")


def tells_one_side(column: str) -> bool:
    """Whether a column's name asks whether a photograph is held out, as is_test and in_val do."""
    words = words_of(column)
    return len(words) == 2 and words[0] in {"is", "in", "for"} and bool(held_out(words[1]))


def is_aside(column: str) -> bool:
    """Whether a column's name says that it holds pictures beside a photograph: masks, depths, thumbnails."""
    return not SIDE_PICTURES.isdisjoint(words_of(column))


def tells_facts(column: str) -> bool:
    """Whether a column's name says that it holds facts such as sizes and addresses, of whatever: caption_id does; and
    so does one without a name."""
    words = {word for word in words_of(column) if not word.isdecimal()}
    return not words or (words <= FACTS | OF_FILES | NAMES and not words.isdisjoint(FACTS))


def listed(columns: Sequence[str]) -> str:
    """The columns there are, for a message."""
    if not columns:
        return "no column"
    names = ", ".join(map(repr, columns))
    return f"the column{'s' * (len(columns) > 1)} {names if len(names) < 500 else names[:500] + '…'}"


def label_of(cell: str) -> str:
    """A cell's label: without the space around it, in small letters."""
    return cell.strip().lower()


@cache
def label_problem(label: str) -> str:
    """Why `label` cannot name a degradation; empty if it can."""
    try:
        check_label(label)
    except SourceError as error:
        return str(error)
    return ""
