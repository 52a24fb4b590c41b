"""`sidecar`: captions that exist already, in text files or in one table."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
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

SEVERAL = ("refuse", "first", "random", "all")
"""What becomes of an image for which a table has several captions."""

DELIMITERS = (",", "\t", ";", "|")

MOST_SHOWN = 300
"""Characters that a message shows of what was found."""

NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}  # a name that is too long cannot exist either


@dataclass(frozen=True)
class Sidecar(Captioner):
    """Looks captions up.

    path            "" for a text file beside each image: `photo.jpg.txt`, else `photo.txt`, all of it on one line.
                    A folder: the same, in a tree of its own that mirrors the images'. A file: a table with a header
                    (.csv, .tsv; its cells set apart by commas, tabs, semicolons or bars), one object a line (.jsonl),
                    or COCO's captions (.json). All of them UTF-8.
    name_column     the table's column with file names; "" for the first there is of NAME_COLUMNS.
    caption_column  the column with captions; "" for the first there is of CAPTION_COLUMNS.

    several         what becomes of an image that has several rows of one name, or a list of captions in JSON lines:
                    `refuse` sets it aside, `first` takes the first in the file, `random` one that follows from `seed`,
                    the image and the captions alone, wherever they stand. `all` gives the samples of a degradation's
                    `variants` one after the other, in the file's order, and begins again where there are fewer. COCO's
                    have the one with the lowest annotation id unless `random` or `all` is asked for.
    seed            of `random`; another one draws anew.

    A photo's row is the one with its relative name; else with its base name; else with that less its suffix. Several
    rows that fit equally well are a problem, unless they say the same. A row is one photograph's: where it fits two
    different ones, the one that it fits better has it, and none if they fit equally well.

    A table is read once, when the captioner is made. Raises CaptionError if it is not there or broken.
    """

    name: ClassVar[str] = "sidecar"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = False

    path: str = field(default="", metadata={"folder": True})
    name_column: str = ""
    caption_column: str = ""
    several: str = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.several not in SEVERAL:
            raise CaptionError(f"several: expected one of {', '.join(SEVERAL)}, found {self.several!r}")
        if self.several != "refuse" and Path(self.path).suffix.lower() not in READERS:
            kinds = ", ".join(READERS)
            raise CaptionError(f"several: expected a table ({kinds}) as path, found {self.path!r}; unset it")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise CaptionError(f"seed: expected a whole number from 0, found {self.seed!r}")
        if self.seed and self.several != "random":
            raise CaptionError(f'seed: it serves several = "random" alone, found several = {self.several!r}; unset it')
        for setting, column in (("name_column", self.name_column), ("caption_column", self.caption_column)):
            if not isinstance(column, str):
                raise CaptionError(f"{setting}: expected the name of a column, found {column!r}")
            if column and Path(self.path).suffix.lower() not in COLUMNED:
                kinds = ", ".join(COLUMNED)
                raise CaptionError(f"{setting}: expected a table ({kinds}) as path, found {self.path!r}; unset it")
        _ = self._table  # a table that cannot work is found here, before any work starts

    def settings(self) -> dict[str, Any]:
        """As the protocol says. Without the path: a file may move, and its captions count for themselves."""
        rule = {"several": self.several} if self.several != "refuse" else {}
        drawn = {"seed": self.seed} if self.several == "random" else {}
        return {"name_column": self.name_column, "caption_column": self.caption_column, **rule, **drawn}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """One caption for each photo, or the problem: none there, empty, not UTF-8, several that differ, or a row that
        fits two of them."""
        table = self._table
        if table is None:
            return [_from_text_file(photo, self.path) for photo in photos]
        owners = _owners(table, photos)
        return [self._look_up(photo, table.find(photo.name), owners) for photo in photos]

    def notes(self, photos: Sequence[Photo], others: Iterable[str] = ()) -> list[str]:
        """As the protocol says: captions that fit none of the photographs."""
        if not photos:
            return []
        if self._table is None:
            made = (_from_text_file(photo, self.path) for photo in photos)
            if not all(caption.missing for caption in made):
                return _shared_files(photos, self.path)
            where = f"in {Path(self.path).name}" if self.path else "beside it"
            return [f"captions: none of {_count(len(photos), 'photograph')} has a text file {where}"]
        file, rows = Path(self.path).name, self._table.rows
        found = {row.name for photo in photos for row in self._table.find(photo.name).rows}
        if not found:
            first = f", such as {rows[0].name!r}" if rows else ""
            there = f"{_count(self._table.counts.total(), 'row')}{first}"
            return [
                f"captions: no row of {file} fits any of {_count(len(photos), 'photograph')}, such as "
                f"{photos[0].name!r}; it has {there}: are the names relative to the source's folder?"
            ]
        found |= {row.name for name in others for row in self._table.find(name).rows}
        unused = [row for row in rows if row.name not in found]
        if not unused:
            return []
        count = sum(self._table.counts[row.name] for row in unused)
        some = f"{_count(count, 'row')} of {file} {'fits' if count == 1 else 'fit'} no photograph"
        return [f"captions: {some}; the first: {unused[0].name!r} ({unused[0].place})"]

    def _look_up(self, photo: Photo, fit: Fit, owners: Mapping[str, Owner]) -> Caption:
        file, rows = Path(self.path).name, fit.rows
        if not rows:
            return _no_caption(photo, f" in {file}", "add a row for it")
        one_image = len({row.name for row in rows}) == 1
        if len(rows) > 1 and not (one_image and self.several != "refuse"):
            both = " and ".join(f"{row.name!r} ({row.place})" for row in rows[:2])
            more = f", of {len(rows)}" if len(rows) > 2 else ""
            remedy = ', or set several = "first", "random" or "all"' if one_image else ""
            return Caption(
                "",
                f"two rows of {file}{more} fit {photo.name!r} and differ: {both}; keep one row, and name the "
                f"photograph there by its path relative to the source's folder{remedy}",
            )
        owner = owners[rows[0].name]
        if owner.level != fit.level or len(owner.photos) > 1:
            return Caption("", _shared(photo, f"{rows[0].name!r} ({rows[0].place}) of {file}", fit.level, owner))
        row = rows[0] if self.several != "random" else min(rows, key=lambda row: self._draw(photo, row))
        if self.several != "all":
            return _folded(row.text, f"{file}, {row.place}")
        lines = [line for row in rows if (line := one_line(row.text))]
        return Caption(lines[0], more=tuple(lines[1:])) if lines else _folded("", f"{file}, {row.place}")

    def _draw(self, photo: Photo, row: Row) -> str:
        """A number that orders an image's captions: the least is taken, so that one more displaces few."""
        return hashlib.sha256(f"{self.seed}:{photo.digest}:{row.text}".encode("utf-8", "surrogatepass")).hexdigest()

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
        reader, chosen = READERS[path.suffix.lower()], (self.name_column, self.caption_column)
        return Table(reader(path, text, chosen, self.several in ("random", "all")))


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


def _shared_files(photos: Sequence[Photo], folder: str) -> list[str]:
    """A note on text files that several different photographs have for theirs, x.txt of x.png and x.jpg."""
    alike: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for photo in photos:
        alike[folder or photo.folder, posixpath.splitext(photo.name)[0]].append(photo)
    shared: dict[str, dict[str, str]] = defaultdict(dict)  # by file, the photographs' names by digest
    for (place, stem), group in alike.items():
        for photo in group if len({photo.digest for photo in group}) > 1 else ():
            names = (f"{photo.name}.txt", f"{stem}.txt")
            if found := next((name for name in names if Path(place, name).is_file()), ""):
                shared[str(Path(place, found))].setdefault(photo.digest, photo.name)
    several = {file: named for file, named in shared.items() if len(named) > 1}
    if not several:
        return []
    file, named = next(iter(several.items()))
    what = (
        f"{_count(len(several), 'text file')} {'is' if len(several) == 1 else 'are'} of several different photographs"
    )
    first, second, *_ = named.values()
    return [f"captions: {what}; the first: {Path(file).name!r} of {first!r} and {second!r}"]


def _folded(text: str, where: str) -> Caption:
    line = one_line(text)
    return Caption(line) if line else Caption("", f"the caption in {where} is empty: write one", missing=True)


def _shared(photo: Photo, row: str, level: int, owner: Owner) -> str:
    """Why a photograph does not get the sentence of a row that fits another one, too."""
    other = next(name for digest, name in owner.photos.items() if digest != photo.digest)
    remedy = "name each of them there by its path relative to the source's folder"
    if not level:
        remedy = "both have this name in a source's folder: rename one, or write text files beside them"
    better = f", which it fits {LEVELS[owner.level]}" if owner.level < level else ""
    return (
        f"the row {row} fits two different photographs, {photo.name!r} {LEVELS[level]} and {other!r}{better}; {remedy}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _no_caption(photo: Photo, where: str, remedy: str) -> Caption:
    return Caption("", f"no caption for {photo.name!r}{where}: {remedy}, or set a fallback", missing=True)


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


LEVELS = ("by its whole name", "by its base name", "by its base name less the suffix")
"""How well a row may fit a photograph, the best first."""


class Fit(NamedTuple):
    """The rows that fit a name best, those that say the same once, in their order; and how well, as in LEVELS."""

    rows: tuple[Row, ...]
    level: int


class Owner(NamedTuple):
    """The photographs that a row fits best: how well, and their names by digest."""

    level: int
    photos: dict[str, str]


class Table:
    """Rows by file name: whole, base name, and base name less its suffix, in this order.

    rows   the first of each name, in the file's order; counts: how many there are of each name.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._levels: tuple[dict[str, tuple[Row, ...]], ...] = ({}, {}, {})
        self.counts: Counter[str] = Counter()
        for row in rows:
            keys = _keys(row.name)
            self.counts[keys[0]] += 1
            row = row._replace(name=keys[0])  # noqa: PLW2901 - one spelling of a name
            for level, key in zip(self._levels, keys, strict=True):
                found = level.setdefault(key, (row,))
                if all(other.text != row.text for other in found):
                    level[key] = (*found, row)
        self.rows = [found[0] for found in self._levels[0].values()]

    def find(self, name: str) -> Fit:
        """The rows that fit a photograph's name best; none if none does."""
        for number, (level, key) in enumerate(zip(self._levels, _keys(name), strict=True)):
            if key in level:
                return Fit(level[key], number)
        return Fit((), len(LEVELS))


def _owners(table: Table, photos: Sequence[Photo]) -> dict[str, Owner]:
    """By the name of each row that fits a photograph, the different photographs that it fits best."""
    owners: dict[str, Owner] = {}
    for photo in photos:
        fit = table.find(photo.name)
        for row in fit.rows:
            owner = owners.get(row.name)
            if owner is None or fit.level < owner.level:
                owner = owners[row.name] = Owner(fit.level, {})
            if fit.level == owner.level:
                owner.photos.setdefault(photo.digest, photo.name)
    return owners


def _keys(name: str) -> tuple[str, str, str]:
    # Tables come from other systems, which write backslashes, or composed letters where the disk has decomposed ones.
    whole = posixpath.normpath(unicodedata.normalize("NFC", name.strip()).replace("\\", "/"))
    base = posixpath.basename(whole)
    return whole, base, posixpath.splitext(base)[0]


def _csv_rows(path: Path, text: str, columns: tuple[str, str], every: bool) -> Iterator[Row]:
    del every  # each row is one
    lines = _csv_lines(path, text, columns)
    place, header = next(lines, ("line 1", []))
    header = [cell.strip() for cell in header]
    name, caption = (header.index(column) for column in _columns(path, place, header, columns))
    for place, cells in lines:
        if len(cells) != len(header):
            found = f"{len(cells)}: {cells!r:.120}"
            raise _broken(path, place, f"{len(header)} fields", found, 'put a text with delimiters into "…"')
        yield _row(path, place, cells[name], cells[caption])


def _csv_lines(path: Path, text: str, columns: tuple[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Cells of each line that has any, with its place: where it begins, since a quoted text may hold line ends."""
    delimiter = _delimiter(path, re.split(r"[\r\n]", text, maxsplit=1)[0], columns)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield f"line {begin}", cells
            begin = lines.line_num + 1
    except csv.Error as error:
        expected, remedy = 'fields in "…" that close, with quotes inside written ""', "mend that line"
        raise _broken(path, f"line {begin}", expected, str(error), remedy) from None


def _delimiter(path: Path, header: str, columns: tuple[str, str]) -> str:
    """What stands between the cells: what makes a header of which the columns are known.

    The suffix does not tell: DA-CLIP's daclip_train.csv has tabs, and spreadsheets of half of Europe write semicolons.
    """
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    for delimiter in sorted(DELIMITERS, key=lambda delimiter: delimiter != usual):
        try:
            cells = [cell.strip() for cell in next(csv.reader([header], delimiter=delimiter), [])]
        except csv.Error:
            continue
        if all(_fitting(cells, *wanted) for wanted in _wanted(columns)):
            return delimiter
    return "\t" if "\t" in header and "," not in header else usual


def _jsonl_rows(path: Path, text: str, columns: tuple[str, str], every: bool) -> Iterator[Row]:
    del every  # each line, and each text of a list, is one
    names: tuple[str, str] | None = None
    # Not splitlines: JSON texts may hold other line separators, such as U+2028, as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place, entry = f"line {number}", _parse_json(path, line, number)
        if not isinstance(entry, dict):
            raise _broken(path, place, "one object a line", f"{entry!r:.60}", 'write {"name": …, "caption": …}')
        names = names or _columns(path, place, list(entry), columns)
        said = entry.get(names[1])
        texts = said if isinstance(said, list) and said and all(isinstance(t, str) for t in said) else None
        for caption in texts or [_get(path, place, entry, names[1], str)]:
            yield _row(path, place, _get(path, place, entry, names[0], str), caption)
    if names is None:
        _columns(path, "line 1", [], columns)


def _coco_rows(path: Path, text: str, columns: tuple[str, str], every: bool) -> Iterator[Row]:
    """The caption with the lowest annotation id of each image; with `every`, all of them."""
    del columns  # COCO's are fixed
    top = _parse_json(path, text, 1)
    images, annotations = (_coco_list(path, top, key) for key in ("images", "annotations"))
    said: dict[Any, list[tuple[tuple[bool, Any], Row]]] = defaultdict(list)  # by image id: annotation id and row
    for place, entry in annotations:
        image, own = _get(path, place, entry, "image_id", int, str), _get(path, place, entry, "id", int, str)
        found = ((isinstance(own, str), own), Row("", _get(path, place, entry, "caption", str), place))
        if every or image not in said:
            said[image].append(found)
        elif found[0] < said[image][0][0]:
            said[image] = [found]
    seen: dict[Any, str] = {}
    for place, entry in images:
        image = _get(path, place, entry, "id", int, str)
        if image in seen:
            raise _broken(path, place, "an id of its own", f"{image!r}, which {seen[image]} has too", "renumber one")
        seen[image] = place
        for _, row in sorted(said.get(image, ()), key=lambda found: found[0]):
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
    for setting, (wanted, known) in zip(("name_column", "caption_column"), _wanted(chosen), strict=True):
        fit = _fitting(header, wanted, known)
        if not fit:
            expected = f"a column {wanted!r}" if wanted else f"one of the columns {', '.join(known)}"
            found = f"the columns {', '.join(map(repr, header))}" if header else "none"
            raise _broken(path, place, expected, found, f"rename one, or name it in {setting}")
        if header.count(fit[0]) > 1:
            raise _broken(path, place, f"one column {fit[0]!r}", "two", "rename one of them")
        result.append(fit[0])
    return result[0], result[1]


def _wanted(chosen: tuple[str, str]) -> tuple[tuple[str, Sequence[str]], ...]:
    """The column that is chosen for names, or "", and the known ones; and likewise for captions."""
    return (chosen[0], NAME_COLUMNS), (chosen[1], CAPTION_COLUMNS)


def _fitting(header: Sequence[str], wanted: str, known: Sequence[str]) -> list[str]:
    """The columns that fit: the one that is wanted, else those of a known name in whatever case, the likelier first."""
    return [c for c in header if c == wanted] if wanted else [c for k in known for c in header if c.lower() == k]


def _row(path: Path, place: str, name: str, text: str) -> Row:
    if not name.strip():
        raise _broken(path, place, "a file name", f"none, for {one_line(text)!r:.60}", "add it or remove the row")
    return Row(name, text, place)


def _broken(path: Path, place: str, expected: str, found: str, remedy: str) -> CaptionError:
    found = found if len(found) <= MOST_SHOWN else found[:MOST_SHOWN] + "…"
    return CaptionError(f"{path}, {place}: expected {expected}, found {found}; {remedy}")


READERS: dict[str, Callable[[Path, str, tuple[str, str], bool], Iterator[Row]]] = {
    ".csv": _csv_rows,  # comma-separated; by tabs, semicolons or bars where the header says so
    ".tsv": _csv_rows,  # tab-separated
    ".jsonl": _jsonl_rows,  # an object a line
    ".json": _coco_rows,  # images[].id, file_name and annotations[].id, image_id, caption
}
COLUMNED = (".csv", ".tsv", ".jsonl")  # where a setting may name the columns
