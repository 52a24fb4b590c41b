"""`sidecar`: captions that exist already, in text files or in one table."""

from __future__ import annotations

import codecs
import csv
import errno
import io
import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from patina.captioning.captioner import Caption, Captioner, CaptionError, Photo, one_line

__all__ = ["CaptionError", "Sidecar"]

# Column names in use, the likelier first: where a table has several, the first of these counts.
NAME_COLUMNS = ("name", "filepath", "file_name", "filename", "image")
CAPTION_COLUMNS = ("caption", "title", "text")

MOST_SHOWN = 300
"""Characters that a message shows of what was found."""

NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}  # a name that is too long cannot exist either


@dataclass(frozen=True)
class Sidecar(Captioner):
    """Looks captions up.

    path            "" for a text file beside each image: `photo.jpg.txt`, else `photo.txt`, all of it on one line.
                    A folder: the same, in a tree of its own that mirrors the images'. A file: a table with a header
                    (.csv, .tsv), one object a line (.jsonl), or COCO's captions (.json). All of them UTF-8.
    name_column     the table's column with file names; "" for the first there is of NAME_COLUMNS.
    caption_column  the column with captions; "" for the first there is of CAPTION_COLUMNS.

    A photo's row is the one with its relative name; else with its base name; else with that less its suffix. Several
    rows that fit equally well are a problem, unless they say the same. Of an image's captions in COCO, the one with
    the lowest annotation id counts.

    A table is read once, when the captioner is made. Raises CaptionError if it is not there or broken.
    """

    name: ClassVar[str] = "sidecar"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = False

    path: str = field(default="", metadata={"folder": True})
    name_column: str = ""
    caption_column: str = ""

    def __post_init__(self) -> None:
        for setting, column in (("name_column", self.name_column), ("caption_column", self.caption_column)):
            if not isinstance(column, str):
                raise CaptionError(f"{setting}: expected the name of a column, found {column!r}")
            if column and Path(self.path).suffix.lower() not in COLUMNED:
                kinds = ", ".join(COLUMNED)
                raise CaptionError(f"{setting}: expected a table ({kinds}) as path, found {self.path!r}; unset it")
        _ = self._table  # a table that cannot work is found here, before any work starts

    def settings(self) -> dict[str, Any]:
        """As the protocol says. Without the path: a file may move, and its captions count for themselves."""
        return {"name_column": self.name_column, "caption_column": self.caption_column}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """One caption for each photo, or the problem: none there, empty, not UTF-8, or several that differ."""
        return [_from_text_file(photo, self.path) if self._table is None else self._look_up(photo) for photo in photos]

    def _look_up(self, photo: Photo) -> Caption:
        assert self._table is not None
        file, rows = Path(self.path).name, self._table.find(photo.name)
        if not rows:
            return _no_caption(photo, f" in {file}", "add a row for it")
        if len(rows) > 1:
            both = " and ".join(f"{row.name!r} ({row.place})" for row in rows)
            return Caption(
                "",
                f"two rows of {file} fit {photo.name!r} and differ: {both}; keep one row, and name the photograph "
                "there by its path relative to the source's folder",
            )
        return _folded(rows[0].text, f"{file}, {rows[0].place}")

    @cached_property
    def _table(self) -> Table | None:
        """The table, or None where captions lie in text files. Kept outside the fields: equality is of settings."""
        path = Path(self.path)
        if not self.path or path.is_dir():
            return None
        if path.suffix.lower() not in READERS:
            kinds, found = ", ".join(READERS), path if path.exists() else f"nothing at {path}"
            raise CaptionError(f"path: expected a folder or a file {kinds}, found {found}; mend the path or the suffix")
        try:
            text = _decode(data := path.read_bytes())
        except OSError as error:
            raise CaptionError(
                f"path: expected a captions file, found {path}: {error.strerror}; put it there"
            ) from None
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise _broken(path, f"line {line}", "UTF-8", _bad_byte(error), "save the file as UTF-8") from None
        return Table(READERS[path.suffix.lower()](path, text, (self.name_column, self.caption_column)))


def _from_text_file(photo: Photo, folder: str) -> Caption:
    """The caption in `photo.jpg.txt` or else, being less exact a name, `photo.txt`, below `folder` or beside it."""
    for name in (f"{photo.name}.txt", f"{posixpath.splitext(photo.name)[0]}.txt"):
        try:
            text = _decode(Path(folder or photo.folder, name).read_bytes())
        except OSError as error:
            if error.errno in NOT_THERE:
                continue
            return Caption("", f"the caption in {name!r} cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            return Caption("", f"the caption in {name!r} is not UTF-8, it has {_bad_byte(error)}: save it as UTF-8")
        return _folded(text, repr(name))
    where = f" in {Path(folder).name}" if folder else ""
    return _no_caption(photo, where, f"write it into {name!r} {'there' if folder else 'beside it'}")


def _folded(text: str, where: str) -> Caption:
    line = one_line(text)
    return Caption(line) if line else Caption("", f"the caption in {where} is empty: write one")


def _no_caption(photo: Photo, where: str, remedy: str) -> Caption:
    return Caption("", f"no caption for {photo.name!r}{where}: {remedy}, or set a fallback")


def _decode(data: bytes) -> str:
    # By hand, because the codec utf-8-sig counts a bad byte's place from behind the mark.
    return data.removeprefix(codecs.BOM_UTF8).decode()


def _bad_byte(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x}"


# ---------------------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One caption of a table: the file's name as written, the text as written, and where, such as `line 3`."""

    name: str
    text: str
    place: str


class Table:
    """Rows by file name: whole, base name, and base name less its suffix, in this order."""

    def __init__(self, rows: Iterable[Row]) -> None:
        # For each level and name the first row, and the first that says something else.
        self._levels: tuple[dict[str, tuple[Row, ...]], ...] = ({}, {}, {})
        for row in rows:
            for level, key in zip(self._levels, _keys(row.name), strict=True):
                found = level.setdefault(key, (row,))
                if len(found) == 1 and found[0].text != row.text:
                    level[key] = (*found, row)

    def find(self, name: str) -> tuple[Row, ...]:
        """The row that fits best; two, if equally good ones differ; or none."""
        for level, key in zip(self._levels, _keys(name), strict=True):
            if key in level:
                return level[key]
        return ()


def _keys(name: str) -> tuple[str, str, str]:
    # Tables come from other systems, which write backslashes, or composed letters where the disk has decomposed ones.
    whole = posixpath.normpath(unicodedata.normalize("NFC", name.strip()).replace("\\", "/"))
    base = posixpath.basename(whole)
    return whole, base, posixpath.splitext(base)[0]


def _csv_rows(path: Path, text: str, columns: tuple[str, str]) -> Iterator[Row]:
    lines = _csv_lines(path, text)
    place, header = next(lines, ("line 1", []))
    header = [cell.strip() for cell in header]
    name, caption = (header.index(column) for column in _columns(path, place, header, columns))
    for place, cells in lines:
        if len(cells) != len(header):
            found = f"{len(cells)}: {cells!r:.120}"
            raise _broken(path, place, f"{len(header)} fields", found, 'put a text with delimiters into "…"')
        yield _row(path, place, cells[name], cells[caption])


def _csv_lines(path: Path, text: str) -> Iterator[tuple[str, list[str]]]:
    """Cells of each line that has any, with its place: where it begins, since a quoted text may hold line ends."""
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    # DA-CLIP's daclip_train.csv, and others like it, are tab-separated in spite of the suffix.
    tabs = path.suffix.lower() == ".tsv" or ("\t" in header and "," not in header)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True)
    begin = 1
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield f"line {begin}", cells
            begin = lines.line_num + 1
    except csv.Error as error:
        expected, remedy = 'fields in "…" that close, with quotes inside written ""', "mend that line"
        raise _broken(path, f"line {begin}", expected, str(error), remedy) from None


def _jsonl_rows(path: Path, text: str, columns: tuple[str, str]) -> Iterator[Row]:
    names: tuple[str, str] | None = None
    # Not splitlines: JSON texts may hold other line separators, such as U+2028, as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place, entry = f"line {number}", _parse_json(path, line, number)
        if not isinstance(entry, dict):
            raise _broken(path, place, "one object a line", f"{entry!r:.60}", 'write {"name": …, "caption": …}')
        names = names or _columns(path, place, list(entry), columns)
        yield _row(path, place, _get(path, place, entry, names[0], str), _get(path, place, entry, names[1], str))
    if names is None:
        _columns(path, "line 1", [], columns)


def _coco_rows(path: Path, text: str, columns: tuple[str, str]) -> Iterator[Row]:
    del columns  # COCO's are fixed
    top = _parse_json(path, text, 1)
    images, annotations = (_coco_list(path, top, key) for key in ("images", "annotations"))
    first: dict[Any, tuple[tuple[bool, Any], Row]] = {}  # image id -> its lowest annotation id so far, and the row
    for place, entry in annotations:
        image, own = _get(path, place, entry, "image_id", int, str), _get(path, place, entry, "id", int, str)
        order = (isinstance(own, str), own)
        if image not in first or order < first[image][0]:
            first[image] = (order, Row("", _get(path, place, entry, "caption", str), place))
    seen: dict[Any, str] = {}
    for place, entry in images:
        image = _get(path, place, entry, "id", int, str)
        if image in seen:
            raise _broken(path, place, "an id of its own", f"{image!r}, which {seen[image]} has too", "renumber one")
        seen[image] = place
        if image in first:
            row = first[image][1]
            yield _row(path, row.place, _get(path, place, entry, "file_name", str), row.text)


def _coco_list(path: Path, top: Any, key: str) -> Iterable[tuple[str, Any]]:
    """The objects in one of COCO's two lists, each with its place."""
    remedy = "use COCO's captions_*.json, or write a .jsonl"
    if not isinstance(top, dict) or not isinstance(top.get(key), list):
        found = f"the keys {', '.join(top) or 'of none'}" if isinstance(top, dict) else f"a {type(top).__name__}"
        raise _broken(path, "top level", f'an object with a list "{key}"', found, remedy)
    for i, entry in enumerate(top[key]):
        if not isinstance(entry, dict):
            raise _broken(path, f"{key}[{i}]", "an object", f"{entry!r:.60}", remedy)
    return ((f"{key}[{i}]", entry) for i, entry in enumerate(top[key]))


def _parse_json(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place, found = f"line {line + error.lineno - 1}", f"{error.msg} (column {error.colno})"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        place, found = f"line {line}", str(error)
    raise _broken(path, place, "JSON", found, "mend it there")


def _get(path: Path, place: str, entry: Mapping[str, Any], key: str, *kinds: type) -> Any:
    """A value of one of the `kinds`; null is a text not written yet, which is its photo's problem and not the file's"""
    value = entry.get(key)
    if value is None and key in entry and str in kinds and int not in kinds:
        return ""
    if not isinstance(value, kinds) or isinstance(value, bool):
        found = f"{value!r:.60}" if key in entry else f"the keys {', '.join(entry) or 'of none'}"
        expected = "a text" if kinds == (str,) else "a number or a text"
        raise _broken(path, place, f'{expected} under "{key}"', found, "mend or remove it")
    return value


def _columns(path: Path, place: str, header: Sequence[str], chosen: tuple[str, str]) -> tuple[str, str]:
    """The columns with names and with captions, as the header writes them: those chosen, else the first known ones."""
    result = []
    for setting, wanted, known in zip(
        ("name_column", "caption_column"), chosen, (NAME_COLUMNS, CAPTION_COLUMNS), strict=True
    ):
        fit = [c for k in known for c in header if c.lower() == k] if not wanted else [c for c in header if c == wanted]
        if not fit:
            expected = f"a column {wanted!r}" if wanted else f"one of the columns {', '.join(known)}"
            found = f"the columns {', '.join(map(repr, header))}" if header else "none"
            raise _broken(path, place, expected, found, f"rename one, or name it in {setting}")
        if header.count(fit[0]) > 1:
            raise _broken(path, place, f"one column {fit[0]!r}", "two", "rename one of them")
        result.append(fit[0])
    return result[0], result[1]


def _row(path: Path, place: str, name: str, text: str) -> Row:
    if not name.strip():
        raise _broken(path, place, "a file name", f"none, for {one_line(text)!r:.60}", "add it or remove the row")
    return Row(name, text, place)


def _broken(path: Path, place: str, expected: str, found: str, remedy: str) -> CaptionError:
    found = found if len(found) <= MOST_SHOWN else found[:MOST_SHOWN] + "…"
    return CaptionError(f"{path}, {place}: expected {expected}, found {found}; {remedy}")


READERS: dict[str, Callable[[Path, str, tuple[str, str]], Iterator[Row]]] = {
    ".csv": _csv_rows,  # comma-separated; tab-separated where the header says so
    ".tsv": _csv_rows,  # tab-separated
    ".jsonl": _jsonl_rows,  # an object a line
    ".json": _coco_rows,  # images[].id, file_name and annotations[].id, image_id, caption
}
COLUMNED = (".csv", ".tsv", ".jsonl")  # where a setting may name the columns
