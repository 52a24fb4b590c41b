"""What tables, archives and datasets call their columns, and what their cells say."""

from __future__ import annotations

from collections.abc import Sequence
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

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
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
