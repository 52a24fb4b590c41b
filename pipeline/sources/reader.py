"""The protocol of a source reader: it finds files, and opens none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, overload
from urllib.parse import unquote

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources import locations
from patina.pipeline.sources.passed_over import unread_kinds
from patina.pipeline.text import printable

NO_PARAMS: Mapping[str, float | int | str] = {}
"""What a source tells of a clean image's degradation: one object for a million photographs, which nobody changes."""


@repr_without_secrets
@dataclass(frozen=True, slots=True)
class Candidate:
    """One clean image, or one LQ/GT pair, that a reader found.

    name         path of the clean image relative to its folder, forward slashes; for people and for caption files.
    path         location of the clean image (GT): see pipeline/sources/locations.py.
    lq           location of the degraded image, for a pair; empty otherwise.
    lq_name      the degraded image's file name, where its location does not tell.
    degradation  a pair's label, where the reader as a whole has none.
    split        the split it belongs to, where the reader as a whole has none.
    caption      the caption that the source itself brings.
    params       what the source tells of a pair's degradation, such as {"sigma": 25.0}; stored with its samples.
    border       the clean image may be larger by so many pixels on every side; if it is, it is cut to fit.
    licence, attribution  what the source states of it, where the recipe states nothing.
    published    of an image that a public set is taken to hold: the set's name, `sizes` that its images have, either
                 way up, and whether they are in `colour`; another one is refused.
    """

    name: str
    path: str
    lq: str = ""
    lq_name: str = ""
    degradation: str = ""
    split: str = ""
    caption: str = ""
    params: Mapping[str, float | int | str] = field(default_factory=lambda: NO_PARAMS)
    border: int = 0
    licence: str = ""
    attribution: str = ""
    published: str = ""
    sizes: tuple[tuple[int, int], ...] = ()
    colour: bool = False


class Listed(Sequence[Candidate]):
    """Candidates that are nothing but a name and the path of a local file, each made when it is looked at."""

    def __init__(self, files: Sequence[tuple[str, str]]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...

    @overload
    def __getitem__(self, index: slice) -> Listed: ...

    def __getitem__(self, index: int | slice) -> Candidate | Listed:
        return Listed(self.files[index]) if isinstance(index, slice) else Candidate(*self.files[index])


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that was set aside: its name, and the reason in words for the user."""

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What a reader found: candidates in name order, inputs set aside already, the number of other files, and notes:
    things to know that stop nothing."""

    candidates: Sequence[Candidate]
    refusals: Sequence[Refusal] = field(default_factory=tuple)
    ignored: int = 0
    notes: Sequence[str] = field(default_factory=tuple)


class Reader(Protocol):
    """Finds the photographs of one [[sources]] table. A dataclass whose fields are the table's keys."""

    kind: ClassVar[str]

    @property
    def title(self) -> str:
        """What to call it in reports: the name of the set, or of its folder."""
        ...

    @property
    def has_pairs(self) -> bool:
        """Whether it may bring LQ/GT pairs, so that a recipe needs no degradations of its own."""
        ...

    @property
    def split(self) -> str:
        """The split that all its photographs belong to; empty: each candidate's own, or by the recipe's rule."""
        ...

    @property
    def licence(self) -> str:
        """Carried into sources.parquet and the dataset's card."""
        ...

    @property
    def attribution(self) -> str:
        """Whom to name, carried likewise."""
        ...

    @property
    def degradation(self) -> str:
        """The label of its pairs; empty for a source of clean images, and where each candidate brings its own."""
        ...

    @property
    def degradations(self) -> tuple[str, ...]:
        """The recipe's [degradations] that its clean images undergo, by entry; empty: all of them."""
        ...

    @property
    def root(self) -> str:
        """The folder that candidates' names are relative to; caption files are looked for in it."""
        ...

    def find(self) -> Found:
        """List what is there. Raises SourceError if the source as a whole is not usable."""
        ...


def check_entries(entries: object) -> None:
    """Raise SourceError unless `entries` can be a reader's `degradations`: texts in a tuple."""
    if not isinstance(entries, tuple) or not all(isinstance(entry, str) and entry for entry in entries):
        raise SourceError(f'degradations: expected names of [degradations] tables such as ["noisy"], found {entries!r}')


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    files    (relative name, path) of every image file, in name order. ignored: how many other files lie there.
    unread   of those others the picture files, by relative name: each with its suffix, or its kind if that tells none.
    """

    files: list[tuple[str, str]]
    ignored: int
    unread: Mapping[str, str]


def image_files(folder: str, setting: str) -> tuple[list[tuple[str, str]], int]:
    """The files and the number of others of `list_images`, for whoever needs no more. Raises SourceError."""
    listing = list_images(folder, setting)
    return listing.files, listing.ignored


def list_images(folder: str, setting: str) -> Listing:
    """Every image file below `folder`, by suffix alone, and what else lies there. Raises SourceError.

    Nothing is opened but files whose suffix tells nothing, for their first bytes; at an address not those either.
    Linked folders are followed. Hidden files and folders are passed over, and so is a patina dataset that was built
    below the folder: its shards are no photographs, but its gallery's pictures could be. `folder` may be an address
    such as s3://bucket/photos.
    """
    if locations.is_remote(folder):
        return _listing(_remote_files(folder, setting), is_local=False)
    if not Path(folder).is_dir():
        found = "a file" if Path(folder).exists() else "nothing"
        raise SourceError(f"{setting}: expected a folder of photographs at {folder}, found {found}")
    return _listing(((relative_name(path, folder), path) for path in walk(folder, setting)), is_local=True)


def relative_name(path: str, folder: str) -> str:
    """The name of a file that `walk` found, relative to its folder, with forward slashes."""
    above = folder if folder.endswith("/") else f"{folder}/"
    if os.sep == "/" and path.startswith(above) and "//" not in path:  # no object for each of a million files
        return path[len(above) :]
    return Path(path).relative_to(folder).as_posix()


def suffix_of(name: str) -> str:
    """The suffix of a file's name or path with forward slashes, in small letters, as `PurePosixPath.suffix` has it."""
    base = name.rpartition("/")[2]
    at = base.rfind(".")
    return base[at:].lower() if 0 < at < len(base) - 1 else ""


def _listing(found: Iterable[tuple[str, str]], *, is_local: bool) -> Listing:
    """Files by name and place, sorted by what they are."""
    files, others = [], {}
    for name, place in found:
        if suffix_of(name) in SUFFIXES:
            files.append((printable(name), place))
        else:
            others[name] = place
    return Listing(sorted(files), len(others), unread_kinds(others, others if is_local else None))


def _remote_files(folder: str, setting: str) -> Iterator[tuple[str, str]]:
    try:
        addresses = locations.list_remote(folder)
    except locations.LocationError as error:
        raise SourceError(f"{setting}: {error}") from None
    for address in addresses:
        name = locations.base_name(address) if address == folder else below(folder, address)
        if not any(step.startswith(".") for step in name.split("/")):
            yield name, address


def below(folder: str, address: str) -> str:
    """An address relative to a folder's, without secrets. Some file systems spell what stands between `://` and the
    path anew."""
    address, folder = locations.place(address), locations.place(folder)
    inner, outer = address.partition("://")[2].lstrip("/"), folder.partition("://")[2].strip("/")
    return unquote(inner.removeprefix(outer).lstrip("/"))


def walk(folder: str, setting: str, *, datasets: bool = False) -> Iterator[str]:
    """Every file below a local folder. Linked folders are followed, hidden names passed over, and patina's datasets too
    unless `datasets`. Raises SourceError, naming `setting`, where a folder cannot be listed."""

    def stop(error: OSError) -> None:  # passed over in silence, its photographs would leave the dataset
        raise SourceError(f"{setting}: cannot list the folder {printable(str(error.filename))}: {error.strerror}")

    above: dict[str, frozenset[str]] = {}  # the real folders on the way to each folder: a link may lead back up
    for root, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        place, over = os.path.realpath(root), above.get(os.path.dirname(root), frozenset())  # noqa: PTH120
        if place in over or (".patina" in folders and not datasets):
            folders.clear()
            continue
        above[root] = over | {place}
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        begin = os.path.join(root, "")  # noqa: PTH118
        yield from [begin + name for name in files if not name.startswith(".")]
