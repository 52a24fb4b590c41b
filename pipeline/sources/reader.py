"""The protocol of a source reader: it finds files, and opens none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from pipeline.codec import SUFFIXES


class SourceError(ValueError):
    """A source that cannot be used as a whole. Says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Candidate:
    """One clean image, or one LQ/GT pair, that a reader found.

    name   path of the clean image relative to its folder, forward slashes; for people and for caption files.
    path   the clean image (GT).
    lq     the degraded image, for a pair; empty otherwise.
    """

    name: str
    path: str
    lq: str = ""


@dataclass(frozen=True)
class Refusal:
    """An input that was set aside: its name, and the reason in words for the user."""

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What a reader found: candidates in name order, inputs set aside already, and the number of other files."""

    candidates: Sequence[Candidate]
    refusals: Sequence[Refusal] = field(default_factory=tuple)
    ignored: int = 0


class Reader(Protocol):
    """Finds the photographs of one [[sources]] table. A dataclass whose fields are the table's keys."""

    kind: ClassVar[str]

    @property
    def split(self) -> str:
        """The split that all its photographs belong to; empty: by the recipe's rule."""
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
        """The label of its pairs; empty for a source of clean images."""
        ...

    @property
    def root(self) -> str:
        """The folder that candidates' names are relative to."""
        ...

    def find(self) -> Found:
        """List what is there. Raises SourceError if the source as a whole is not usable."""
        ...


def image_files(folder: str, setting: str) -> tuple[list[tuple[str, str]], int]:
    """(relative name, path) of every image file below `folder` in name order, and how many other files lie there.

    By suffix alone; nothing is opened. Linked folders are followed. Hidden files and folders are passed over, and so
    is a patina dataset that was built below the folder: its shards are no photographs, but its gallery's pictures
    could be.
    """
    if not Path(folder).is_dir():
        found = "a file" if Path(folder).exists() else "nothing"
        raise SourceError(f"{setting}: expected a folder of photographs at {folder}, found {found}")
    names, ignored = [], 0
    for path in _walk(folder, setting):
        if Path(path).suffix.lower() in SUFFIXES:
            names.append((printable(Path(path).relative_to(folder).as_posix()), path))
        else:
            ignored += 1
    return sorted(names), ignored


def printable(name: str) -> str:
    """A file's name as text that any terminal, table and page can take: bytes that are no UTF-8 and control characters
    become escapes such as \\x1b. Names without them stay as they are."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _walk(folder: str, setting: str) -> Iterator[str]:
    def stop(error: OSError) -> None:  # passed over in silence, its photographs would leave the dataset
        raise SourceError(f"{setting}: cannot list the folder {printable(str(error.filename))}: {error.strerror}")

    above: dict[str, frozenset[str]] = {}  # the real folders on the way to each folder: a link may lead back up
    for root, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        place, over = os.path.realpath(root), above.get(os.path.dirname(root), frozenset())  # noqa: PTH120
        if place in over or ".patina" in folders:
            folders.clear()
            continue
        above[root] = over | {place}
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (os.path.join(root, name) for name in files if not name.startswith("."))  # noqa: PTH118
