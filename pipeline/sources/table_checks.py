"""Whether a table of photographs is what it is taken for: slips in its header, degraded images in a list of clean ones.

A column that nobody knows is passed over, so a slip would send test pairs to training; and what is taken for a list of
clean photographs would make ground truth of degraded ones. Both are asked about before anything is read.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.errors import SourceError
from patina.pipeline.sources import columns, locations
from patina.pipeline.sources.pairs import SIDES
from patina.pipeline.text import shown
from patina.synth.compose import JOINT
from patina.synth.degradations import DACLIP_DEGRADATIONS

DEGRADED_FOLDERS = frozenset({"lq", "degraded"})
"""Folders that hold no clean photograph, in small letters."""

LOOKED_AT = 1000  # rows by which a column is judged
NEAR_LABEL = 0.75  # as check_label has it
ROLES = {
    "gt": ("gt_column", columns.GT),
    "lq": ("lq_column", columns.LQ),
    "caption": ("caption_column", columns.CAPTION),
    "split": ("split_column", columns.SPLIT),
}
"""The setting that names each role's column, and the names by which it is known."""

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Table:
    """A table as it is read: its place for messages, its columns, its rows by column, and the column of each role that
    it has. ignored: columns that its reader was told to pass over."""

    path: str
    header: Sequence[str]
    rows: Rows
    roles: Mapping[str, str]
    ignored: Sequence[str] = ()

    @property
    def strange(self) -> list[str]:
        """Columns that are no role's, bear no known name and were not named as passed over."""
        taken = {*self.roles.values(), *self.ignored}
        return [c for c in self.header if c not in taken and c.lower() not in columns.NAMES]


def expect_no_slip(table: Table, roles: Iterable[str], *, chosen: bool) -> None:
    """Raise SourceError for an unknown column whose name is nearly a known one, where nothing else has its role.
    chosen: whether settings may name the columns of such a table."""
    for column in table.strange:
        for role in roles:
            setting, known = ROLES[role]
            there = table.roles.get(role, "")
            if (role == "gt" and there.lower() in columns.GT) or not (meant := columns.slip_of(column, known)):
                continue
            if role != "gt" and there and all(there in row for row in table.rows if column in row):
                continue
            named = f", name it as {setting} = {column!r}" if chosen else ""
            raise SourceError(
                f"path: {table.path} has a column {column!r}, which nobody knows; did you mean {meant!r}? rename it"
                f"{named}, or, if it is something else, pass it over: ignored_columns = [{column!r}]"
            )


def expect_no_sides(table: Table, *, chosen: bool) -> None:
    """Raise SourceError for an unknown column whose cells are train, val and test, where no column tells the split.
    chosen: as for `expect_no_slip`."""
    if table.roles.get("split"):
        return
    for column in table.header:
        if column in {*table.roles.values(), *table.ignored}:
            continue
        if columns.tells_one_side(column):
            raise SourceError(
                f"path: {table.path} has a column {shown(column)}, whose name speaks of held-out photographs, and no "
                f"column split; write a column split with train, val and test, or, if it is something else, "
                f"ignored_columns = [{shown(column)}]"
            )
        said = {row[column].strip().lower() for row in table.rows if row.get(column, "").strip()}
        if said and said <= columns.SPLITS.keys() and any(map(columns.held_out, said)):
            named = f"split_column = {shown(column)}" if chosen else "rename it to split"
            raise SourceError(
                f"path: {table.path} has a column {shown(column)} that says {', '.join(sorted(said))}, and no column "
                f"split; if it holds photographs out, {named}, else ignored_columns = [{shown(column)}]"
            )


def passed_over(table: Table) -> str:
    """A sentence on columns that are not read and do not tell plain facts; "" if there is none."""
    others = [column for column in table.strange if not columns.tells_facts(column) and not columns.is_aside(column)]
    if not others:
        return ""
    verb = "is" if len(others) == 1 else "are"
    return f"{locations.base_name(table.path)}: {columns.listed(others)} {verb} passed over"


def expect_clean(table: Table, root: str, exists: Callable[[str], bool]) -> None:
    """Raise SourceError if what is to be a list of clean photographs rather lists degraded ones.

    root: where its relative paths start; exists: whether a path, as the table writes it, leads to a file.
    """
    gt = table.roles["gt"]
    remedy = (
        f"; if these are clean photographs all the same, say so: gt_column = {shown(gt)}; if they are degraded, set "
        'format = "daclip" for such a table, or name lq_column and gt_column'
    )
    for column in table.header:
        said = [row[column] for row in table.rows[:LOOKED_AT] if row.get(column, "").strip()]
        if _most(said, _ends_in_label):
            found = next(text for text in said if _ends_in_label(text))
            raise SourceError(
                f"path: {table.path} looks like DA-CLIP's table, which lists degraded images with titles such as "
                f"'a dog on grass: hazy', and is not wholly so: it should have columns filepath and title, and most "
                f"titles should end in one of {', '.join(DACLIP_DEGRADATIONS)}; found {columns.listed(table.header)} "
                f"and {shown(found)}; mend them{remedy}"
            )
        if column.lower() in columns.DEGRADATION and _most(said, _is_label):
            raise SourceError(
                f"path: {table.path} tells degradations in its column {shown(column)}, such as {shown(said[0])}, and "
                f"has no column of degraded images ({', '.join(columns.LQ)}), so those in {shown(gt)} would become "
                f"clean ones{remedy}"
            )
    _expect_one_column(table, gt, exists)
    expect_no_degraded_folder(table.path, root, (row.get(gt, "") for row in table.rows), remedy)


def _expect_one_column(table: Table, gt: str, exists: Callable[[str], bool]) -> None:
    """Raise SourceError for a second column of images."""

    def leads_to_picture(path: str) -> bool:
        return _is_picture(path) and exists(path.strip())

    for column in table.strange:
        rows = [row for row in table.rows[:LOOKED_AT] if row.get(column, "").strip() and row[column] != row.get(gt)]
        if not columns.is_aside(column) and _most([row[column] for row in rows], leads_to_picture):
            raise SourceError(
                f"path: {table.path} has two columns of images, {shown(gt)} and {shown(column)}, and their names do "
                "not tell which is clean; set gt_column and, for pairs, lq_column; or "
                f"ignored_columns = [{shown(column)}]"
            )


def expect_no_degraded_folder(path: str, root: str, images: Iterable[str], remedy: str) -> None:
    """Raise SourceError for a clean image of the list `path` that lies in a folder LQ, which `root` itself may be."""
    sides = DEGRADED_FOLDERS | SIDES
    for image in images:
        steps = [locations.base_name(root), *image.replace("\\", "/").split("/")[:-1]]
        folder = next((step for step in reversed(steps) if step.lower() in sides), "")  # the innermost one tells
        if folder.lower() in DEGRADED_FOLDERS:
            raise SourceError(
                f"path: {path} lists clean photographs, and {shown(image)} lies in a folder {folder!r}, as degraded "
                f"images do{remedy}"
            )


def _most(cells: Sequence[str], holds: Callable[[str], bool]) -> bool:
    """Whether half of the cells or more are so; of none, no."""
    return len(cells) > 0 and 2 * sum(map(holds, cells)) >= len(cells)


def _is_label(text: str) -> bool:
    """Whether a text is one of DA-CLIP's names, or several, or nearly so."""
    names = [name for name in re.split(rf"[,{re.escape(JOINT)}]", columns.label_of(text)) if name.strip()]
    return bool(names) and all(
        difflib.get_close_matches(name.strip(), DACLIP_DEGRADATIONS, n=1, cutoff=NEAR_LABEL) for name in names
    )


def _ends_in_label(text: str) -> bool:
    """Whether a title ends or begins in a label, set apart by a colon or what might be meant for one."""
    parts = re.split(r"\s*[:;|]\s*", text.strip())
    return len(parts) > 1 and (_is_label(parts[-1]) or _is_label(parts[0]))


def _is_picture(path: str) -> bool:
    return not locations.is_remote(path) and posixpath.splitext(path.strip())[1].lower() in SUFFIXES
