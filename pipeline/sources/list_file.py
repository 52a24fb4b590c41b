"""A list of photographs or of pairs: lines `LQ,GT` as VLU-Net reads them, a table, JSON lines, DA-CLIP's own table."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources import columns, locations
from patina.pipeline.sources.pairs import check_label
from patina.pipeline.sources.reader import Candidate, Found, Refusal, below
from patina.pipeline.sources.table_checks import (
    Table,
    expect_clean,
    expect_no_degraded_folder,
    expect_no_sides,
    expect_no_slip,
    passed_over,
)
from patina.pipeline.text import one_line, printable
from patina.synth.compose import JOINT
from patina.synth.degradations import DACLIP_DEGRADATIONS

FORMATS = ("auto", "lines", "table", "jsonl", "daclip")
BY_SUFFIX = {".csv": "table", ".tsv": "table", ".jsonl": "jsonl", ".ndjson": "jsonl"}
COLUMN_SETTINGS = ("gt_column", "lq_column", "caption_column", "degradation_column", "split_column")
SIDES = {"LQ": "GT", "lq": "gt"}


@dataclass(frozen=True)
class _Entry:
    """One line of the list: paths as written, or the problem. With `partner`, the clean image is the file of that name
    in the folder GT beside LQ's."""

    line: int
    gt: str = ""
    lq: str = ""
    caption: str = ""
    degradation: str = ""
    split: str = ""
    partner: bool = False
    problem: str = ""


@repr_without_secrets
@dataclass(frozen=True)
class ListFile:
    """The photographs that the file `path` names, relative to `folder` (default: the list's own) or absolute.

    format   `lines`: `LQ,GT` or LQ, tab, GT for a pair, one path for a clean image; blank lines and those that start
             with # are passed over. `table`: a header and columns, separated by tabs, commas or semicolons. `jsonl`: an
             object a line. `daclip`: a table with `filepath` (the degraded image, in a folder LQ beside the clean
             image's GT) and `title` (`caption: degradation`, of a composite `caption: hazy, rainy`); what is listed in
             daclip_val.csv and daclip_test.csv stays on these sides, and a column `split` says it of each. `auto`: by
             the suffix; daclip if titles look like it.
    …_column names of columns; "" for those of pipeline/sources/columns.py. A table without a column of degraded images
             lists clean ones. A column of degradations gives each pair's label, unless `degradation` gives that of all.
    ignored_columns  columns that are no slips, though their names are near known ones or they name images, too: other
             such columns are an error.
    keep_order  take each pair's images as they are named, even where most of them look exchanged.
    """

    kind: ClassVar[str] = "list"
    path: str = field(metadata={"folder": True})
    folder: str = field(default="", metadata={"folder": True})
    degradation: str = ""
    format: str = "auto"
    gt_column: str = ""
    lq_column: str = ""
    caption_column: str = ""
    degradation_column: str = ""
    split_column: str = ""
    ignored_columns: tuple[str, ...] = ()
    degradations: tuple[str, ...] = ()
    keep_order: bool = False
    split: str = ""
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise SourceError(f"format: expected one of {', '.join(FORMATS)}, found {self.format!r}")
        if self.degradation:
            check_label(self.degradation)
        if self.degradation and self.degradation_column:
            raise SourceError("degradation and degradation_column: give the one or the other")
        if not isinstance(self.ignored_columns, tuple) or not all(isinstance(c, str) for c in self.ignored_columns):
            raise SourceError(f'ignored_columns: expected names such as ["tile"], found {self.ignored_columns!r}')
        for setting in COLUMN_SETTINGS:
            if getattr(self, setting) and self.format in {"lines", "daclip"}:
                raise SourceError(f"{setting}: a list of format {self.format!r} has no columns to choose; unset it")

    @property
    def title(self) -> str:
        """The list's name without its suffix."""
        return PurePosixPath(locations.base_name(self.path)).stem

    @property
    def has_pairs(self) -> bool:
        """Perhaps: the list tells."""
        return True

    @property
    def root(self) -> str:
        """Where relative paths start."""
        path = self.path.partition("?")[0] if self.path.startswith(locations.WEB) else self.path
        return self.folder or path.rpartition("/")[0] or "/"

    def find(self) -> Found:
        """Read the list. Local files must be there; remote ones are asked for when they are read.

        Raises SourceError if the list cannot be read, a column is missing, or no line can be used.
        """
        places = _Places(self.root)
        entries, notes = self._entries(self._text(), places)
        self._check_labels(entries)
        file = locations.base_name(self.path)
        candidates: list[Candidate] = []
        refusals: list[Refusal] = []
        seen: dict[tuple[str, str], _Entry] = {}
        repeated = differing = 0
        degraded: dict[str, int] = {}
        for entry in map(places.with_partner, entries):
            gt, lq = places.locate(entry.gt), places.locate(entry.lq)
            problem = entry.problem or self._problem(entry, places)
            earlier = seen.get((gt, lq))
            if not problem and earlier:
                problem = self._contradiction(entry, earlier)
            if not problem and earlier:
                repeated += 1  # lists are balanced that way; here `variants` and the trainer's weights do it
                differing += entry.caption.strip() != earlier.caption.strip()
                continue
            if not problem and lq in degraded:
                problem = f"pairs {entry.lq} with another clean image than line {degraded[lq]} does"
            if problem:
                refusals.append(Refusal(printable(f"{file}, line {entry.line}"), one_line(printable(problem), 500)))
                continue
            seen[gt, lq] = entry
            if lq:
                degraded[lq] = entry.line
            label = "" if self.degradation or not lq else entry.degradation
            side = columns.SPLITS[entry.split.lower()] if entry.split else ""
            candidates.append(Candidate(gt, gt, lq, degradation=label, split=side, caption=entry.caption))
        if not candidates:
            raise self._nothing(refusals)
        names = places.names([c.path for c in candidates])
        named = [replace(c, name=names[c.path]) for c in candidates]
        notes += [f"{file}: {_repeats(repeated, differing)}"] if repeated else []
        return Found(sorted(named, key=lambda c: (c.name, c.lq)), refusals, 0, notes)

    def _contradiction(self, entry: _Entry, earlier: _Entry) -> str:
        """What a line says of an image, or of a pair, otherwise than an earlier line did; empty if they agree."""
        sides = [columns.SPLITS.get(e.split.lower(), "") for e in (entry, earlier)]
        if sides[0] != sides[1] and not self.split:
            mine, first = (side or "none" for side in sides)
            return f"says of {entry.gt} the split {mine}, and line {earlier.line} says {first}; keep one of them"
        label, other = entry.degradation, earlier.degradation
        if entry.lq and label != other and not self.degradation:
            return f"calls {entry.lq} {label!r}, and line {earlier.line} {other!r}; keep one of them"
        return ""

    def _problem(self, entry: _Entry, places: _Places) -> str:
        """Why an entry cannot be used; empty if it can."""
        label = self.degradation or entry.degradation
        if entry.lq and not label:
            return "is a pair without a degradation"
        if entry.lq and (wrong := columns.label_problem(label)):
            return wrong
        if entry.split and entry.split.lower() not in columns.SPLITS:
            return f"has the split {entry.split!r}; expected train, val or test"
        missing = [path for path in (entry.lq, entry.gt) if path and not places.exists(places.locate(path))]
        return f"names {missing[0]}, and there is no file of that name" if missing else ""

    def _check_labels(self, entries: Sequence[_Entry]) -> None:
        pairs = [e for e in entries if e.lq]
        if pairs and not self.degradation and not any(e.degradation for e in pairs):
            raise SourceError(
                f"degradation: {self.path} lists pairs, and no column {' or '.join(columns.DEGRADATION)} tells theirs; "
                'set one for all, such as degradation = "rainy"'
            )

    def _nothing(self, refusals: Sequence[Refusal]) -> SourceError:
        if not refusals:
            return SourceError(f"path: expected paths of photographs in {self.path}, found none")
        first, line = refusals[0].reason, refusals[0].name.rpartition(", ")[2]
        hint = f"; relative paths start at {self.root}, set `folder` if they should not" * ("no file" in first)
        what = f"none of the {len(refusals)} entries of {self.path} can be used"
        return SourceError(f"path: {what}, the first ({line}) since it {first}{hint}")

    def _text(self) -> str:
        try:
            data = Path(locations.local_copy(self.path)).read_bytes()
        except locations.LocationError as error:
            raise SourceError(f"path: {error}") from None
        except OSError as error:
            raise SourceError(f"path: expected a list at {self.path}: {error.strerror}") from None
        data = data.removeprefix(codecs.BOM_UTF8)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            bad = f"byte 0x{data[error.start]:02x}"
            raise SourceError(
                f"path: {self.path}, line {line}: expected UTF-8, found {bad}; save it as UTF-8"
            ) from None

    def _entries(self, text: str, places: _Places) -> tuple[list[_Entry], list[str]]:
        """The list's lines, and notes. Raises SourceError for a table that is not what it seems."""
        suffix = PurePosixPath(locations.base_name(self.path)).suffix.lower()
        kind = self.format
        if kind == "auto":
            kind = BY_SUFFIX.get(suffix) or ("table" if _is_header(text) or self._chosen else "lines")
        if kind == "lines":
            entries = list(_lines(text))
            if self.format == "auto" and not any(entry.lq for entry in entries):
                remedy = '; write the line of a pair as LQ,GT, or set format = "lines" if these are clean photographs'
                expect_no_degraded_folder(self.path, self.root, (entry.gt for entry in entries), remedy)
            return entries, []
        if kind == "jsonl":
            header, rows = _json_rows(text)
        else:
            header, rows = self._table_rows(text, suffix)
        for column in self.ignored_columns:
            columns.pick(header, "ignored_columns", column, ())
        daclip = kind == "daclip" or (self.format == "auto" and not self._chosen and _is_daclip(header, rows))
        roles = self._daclip_roles(header) if daclip else self._column_roles(header)
        table = Table(self.path, header, [row.cells for row in rows if not row.problem], roles, self.ignored_columns)
        loose = [role for role in self._loose_roles if role == "split" or not daclip]
        expect_no_slip(table, loose, chosen=not daclip)
        if not self.split:
            expect_no_sides(table, chosen=not daclip)
        if not daclip and not roles["lq"] and not self.gt_column:
            expect_clean(table, self.root, lambda path: places.exists(places.locate(path)))
        note = passed_over(table)
        entries = list(_daclip(roles, rows, self.title) if daclip else self._from_columns(roles, rows))
        return entries, [note] if note else []

    @property
    def _loose_roles(self) -> list[str]:
        """The roles whose column no setting names, and which some column might have."""
        loose = [role for role in ("gt", "lq", "caption", "split") if not getattr(self, f"{role}_column")]
        return [role for role in loose if not (role == "split" and self.split)]

    @cached_property
    def _chosen(self) -> bool:
        """Whether a setting names a column."""
        return any(getattr(self, setting) for setting in COLUMN_SETTINGS)

    def _daclip_roles(self, header: Sequence[str]) -> dict[str, str]:
        """DA-CLIP's columns, in whatever case. Raises SourceError if one is not there."""
        roles = {
            role: columns.pick(header, "", "", (name,))
            for role, name in (("lq", "filepath"), ("caption", "title"), ("split", "split"))
        }
        for role, name in (("lq", "filepath"), ("caption", "title")):
            if not roles[role]:
                near = next((c for c in header if columns.slip_of(c, (name,))), "")
                hint = f"; did you mean {name!r} by {near!r}?" if near else ""
                raise SourceError(
                    f"path: expected in {self.path} DA-CLIP's columns filepath and title, found "
                    f"{columns.listed(header)}{hint}"
                )
        return roles

    def _column_roles(self, header: Sequence[str]) -> dict[str, str]:
        """The columns that settings or their names choose. Raises SourceError if there is none of clean images."""
        gt = columns.pick(header, "gt_column", self.gt_column, (*columns.GT, *columns.IMAGE))
        lq = columns.pick(header, "lq_column", self.lq_column, columns.LQ)
        caption = columns.pick(header, "caption_column", self.caption_column, columns.CAPTION)
        label = columns.pick(header, "degradation_column", self.degradation_column, columns.DEGRADATION)
        split = columns.pick(header, "split_column", self.split_column, columns.SPLIT)
        if not gt:
            known = (*columns.GT, *columns.IMAGE)
            near = next((c for c in header if columns.slip_of(c, known)), "")
            hint = f"; did you mean {columns.slip_of(near, known)!r} by {near!r}?" if near else ""
            raise SourceError(
                f"path: expected in {self.path} a column of clean images ({', '.join(known)}), found "
                f"{columns.listed(header)}{hint}; name it in gt_column, or set "
                'format = "lines" if the list has no header'
            )
        return {"gt": gt, "lq": lq, "caption": caption, "degradation": label, "split": split}

    def _from_columns(self, roles: Mapping[str, str], rows: Sequence[_Row]) -> Iterator[_Entry]:
        gt, lq = roles["gt"], roles["lq"]
        for row in rows:
            entry = _Entry(
                row.line,
                row.cell(gt).strip(),
                row.cell(lq).strip(),
                row.cell(roles["caption"]),
                columns.label_of(row.cell(roles["degradation"])),
                row.cell(roles["split"]).strip(),
                problem=row.problem,
            )
            empty = next((c for c in (gt, lq) if c and not row.cell(c).strip()), "")
            yield replace(entry, problem=f"has no path in its column {empty!r}") if empty and not row.problem else entry

    def _table_rows(self, text: str, suffix: str) -> tuple[list[str], list[_Row]]:
        first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
        # By what the header has most of: DA-CLIP's daclip_train.csv is tab-separated in spite of its suffix.
        delimiter = "\t" if suffix == ".tsv" else max("\t,;", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] = []
        rows: list[_Row] = []
        begin = 1
        try:
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    pass
                elif not header:
                    header = [cell.strip() for cell in cells]
                elif len(cells) != len(header):
                    found = f"has {len(cells)} fields, the header {len(header)}"
                    rows.append(_Row(begin, {}, f'{found}; put a text with delimiters into "…"'))
                else:
                    rows.append(_Row(begin, dict(zip(header, cells, strict=True))))
                begin = reader.line_num + 1
        except csv.Error as error:  # what follows an unclosed quote cannot be told from what it holds
            remedy = 'close the quotes, and write those inside as ""'
            raise SourceError(f"path: {self.path}, line {begin}: {error}; {remedy}") from None
        twice = next((c for c in header if header.count(c) > 1), "")
        if twice:
            raise SourceError(f"path: {self.path} has two columns {twice!r}; rename one of them")
        return header, rows


@dataclass(frozen=True)
class _Row:
    line: int
    cells: Mapping[str, str]
    problem: str = ""

    def cell(self, column: str) -> str:
        """What stands in a column; "" where there is none, even if the table has one without a name."""
        return self.cells.get(column, "") if column else ""


def _is_header(text: str) -> bool:
    """Whether the first line names columns and no files."""
    cells = [c.strip().lower() for c in re.split(r"[\t,;]", text.lstrip().partition("\n")[0])]
    paths = {*columns.GT, *columns.LQ, *columns.IMAGE}
    return set(cells) <= {*paths, *columns.CAPTION, *columns.DEGRADATION, *columns.SPLIT} and not paths.isdisjoint(
        cells
    )


def _repeats(count: int, differing: int) -> str:
    """A sentence on lines that repeat earlier ones, `differing` of them with other captions."""
    lines = "line repeats an earlier one and counts" if count == 1 else "lines repeat earlier ones and count"
    others = f", {differing} of them with other captions, of which the first counts" if differing else ""
    return f"{count} {lines} once{others}"


def _lines(text: str) -> Iterator[_Entry]:
    entries = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: file names may hold other separators
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        paths = [p.strip() for p in stripped.split("\t" if "\t" in stripped else ",")]
        if len(paths) > 2:
            what = f"has {len(paths)} parts where LQ,GT has two, so it is ambiguous where a path ends"
            entries.append(_Entry(number, problem=f"{what}; separate the two by a tab"))
        elif not all(paths):
            entries.append(_Entry(number, problem=f"has an empty path: {stripped!r}"))
        else:
            entries.append(_Entry(number, paths[-1], paths[0] if len(paths) == 2 else ""))
    pairs = any(e.lq for e in entries)
    alone = "has one path in a list of pairs, and might be a degraded image without its clean one"
    return (replace(e, problem=alone) if pairs and e.gt and not e.lq else e for e in entries)


def _json_rows(text: str) -> tuple[list[str], list[_Row]]:
    header: dict[str, None] = {}
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.append(_Row(number, {}, f"is no JSON: {error}"))
            continue
        if not isinstance(entry, dict):
            rows.append(_Row(number, {}, f'is {entry!r:.60}; expected an object such as {{"gt": …}}'))
            continue
        header |= dict.fromkeys(entry)
        rows.append(_Row(number, {key: value for key, value in entry.items() if isinstance(value, str)}))
    return list(header), rows


# ---------------------------------------------------------------------------------------------------------------------
# DA-CLIP's table


def _is_daclip(header: Sequence[str], rows: Sequence[_Row]) -> bool:
    """Whether it has DA-CLIP's columns, and most titles end in one of its ten names."""
    title = columns.pick(header, "", "", ("title",))
    if not columns.pick(header, "", "", ("filepath",)) or not title or columns.pick(header, "", "", columns.LQ):
        return False
    labelled = sum(
        set(_daclip_label(row.cells.get(title, "")).split(JOINT)) <= set(DACLIP_DEGRADATIONS) for row in rows
    )
    return labelled > 0 and labelled * 2 >= len(rows)


def _daclip_label(title: str) -> str:
    """The label that a title ends in; a composite's names, which it sets apart by commas, are joined."""
    return JOINT.join(columns.label_of(name) for name in title.rpartition(": ")[2].split(","))


def _daclip(roles: Mapping[str, str], rows: Sequence[_Row], name: str) -> Iterator[_Entry]:
    side = columns.held_out(name.removeprefix("daclip_"))
    for row in rows:
        lq = row.cell(roles["lq"]).strip()
        title = row.cell(roles["caption"])
        caption, found, _ = title.rpartition(": ")  # a caption may hold ": " itself
        label = _daclip_label(title)
        problem = row.problem
        if not problem and not lq:
            problem = f"has no path in its column {roles['lq']!r}"
        elif not problem and (not found or columns.label_problem(label)):
            problem = f"has the title {title!r:.80}; expected one such as 'a dog on grass: hazy'"
        split = row.cell(roles["split"]).strip() or side
        yield _Entry(row.line, "", lq, caption, label, split, partner=True, problem=problem)


# ---------------------------------------------------------------------------------------------------------------------
# Where the paths of a list lead to


class _Places:
    """Paths as a list writes them, made into locations: relative ones start at `root`."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") or "/"
        self._folders: dict[str, dict[str, list[str]]] = {}

    def locate(self, written: str) -> str:
        """The location that a written path means; "" for none."""
        if not written or locations.is_remote(written):
            return written
        path = written.replace("\\", "/")  # lists come from other systems
        if not locations.is_remote(self._root):
            return os.path.normpath(os.path.join(self._root, path))  # noqa: PTH118 - a Path keeps the `..`
        protocol, _, rest = self._root.partition("://")
        return f"{protocol}://{posixpath.normpath(posixpath.join(rest, path))}"

    def exists(self, location: str) -> bool:
        """Whether a local file is there; a remote one is believed to be."""
        return locations.is_remote(location) or os.path.isfile(location)  # noqa: PTH113 - a list may have a million

    def names(self, paths: Sequence[str]) -> dict[str, str]:
        """What to call each of these locations: its path relative to the root, without `..` and never absolute.

        What lies elsewhere is named relative to the folder that holds all such files. Addresses are named without
        their secrets.
        """
        root = locations.place(self._root)
        inner = root if root.endswith("/") else root + "/"
        plain = {path: locations.place(path) for path in paths}
        inside = {path: there.removeprefix(inner) for path, there in plain.items() if there.startswith(inner)}
        others = {path: there for path, there in plain.items() if path not in inside}
        steps = {
            path: there.partition("://")[2] if locations.is_remote(there) else there.lstrip("/")
            for path, there in others.items()
        }
        common = os.path.commonpath([posixpath.dirname(s) for s in steps.values()]) if others else ""
        outside = {path: posixpath.relpath(s, common) if common else s for path, s in steps.items()}
        return {path: printable(name) for path, name in (inside | outside).items()}

    def with_partner(self, entry: _Entry) -> _Entry:
        """The entry with its clean image, where that is the file beside it in the folder GT."""
        if not entry.partner or entry.problem:
            return entry
        steps = entry.lq.replace("\\", "/").split("/")
        turn = next((i for i in range(len(steps) - 2, -1, -1) if steps[i] in SIDES), -1)
        if turn < 0:
            return replace(entry, problem=f"names {entry.lq}, which lies in no folder LQ that has a GT beside it")
        steps[turn] = SIDES[steps[turn]]
        folder, stem = "/".join(steps[:-1]), posixpath.splitext(steps[-1])[0]
        try:
            there = self._files(self.locate(folder)).get(stem, [])
        except OSError as error:
            return replace(entry, problem=f"names {entry.lq}, whose clean image has to be looked up: {error}")
        if there and steps[-1] not in there and len(there) > 1:
            return replace(
                entry, problem=f"names {entry.lq}, which several clean images fit: {' and '.join(there[:2])}"
            )
        if not there:
            return replace(entry, problem=f"names {entry.lq}, and there is no file {folder}/{stem} of any suffix")
        return replace(entry, gt=f"{folder}/{steps[-1] if steps[-1] in there else there[0]}")

    def _files(self, folder: str) -> Mapping[str, list[str]]:
        """The image files of a folder, by name without suffix. Raises LocationError."""
        if folder not in self._folders:
            if locations.is_remote(folder):
                names = [below(folder, address) for address in locations.list_remote(folder)]
            else:
                names = [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else []
            self._folders[folder] = _by_stem(sorted(names))
        return self._folders[folder]


def _by_stem(names: Sequence[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = {}
    for name in names:
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() in SUFFIXES:
            stems.setdefault(stem, []).append(name)
    return stems
