"""A folder tree of clean photographs, here or at an address such as s3://bucket/photos."""

from __future__ import annotations

import fnmatch
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources import locations
from patina.pipeline.sources.pairs import SIDES
from patina.pipeline.sources.passed_over import passed_over
from patina.pipeline.sources.reader import Candidate, Found, Listed, check_entries, list_images

_DEGRADED = """
lq lr degraded input inputs low blur blurred blurry noisy noise hazy haze rain rainy snow snowy shadow
shadowed raindrop compressed
"""
DEGRADED = frozenset(_DEGRADED.split())
"""Folders, in small letters, of degraded images where one of SIDES, with files of the same names, lies beside."""


@repr_without_secrets
@dataclass(frozen=True)
class Folder:
    """Every image file below `path`; with `include`, those whose relative name matches one of its patterns.
    With `degradations`, they undergo these entries of the recipe alone."""

    kind: ClassVar[str] = "folder"
    path: str = field(metadata={"folder": True})
    include: str | tuple[str, ...] = ("*",)
    degradations: tuple[str, ...] = ()
    split: str = ""
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        check_entries(self.degradations)
        if isinstance(self.include, str):
            object.__setattr__(self, "include", (self.include,))
        if not isinstance(self.include, tuple) or not all(isinstance(i, str) for i in self.include):
            raise SourceError(f'include: expected patterns such as ["*.jpg"], found {self.include!r}')

    @property
    def title(self) -> str:
        """The folder's name."""
        return locations.base_name(self.path)

    @property
    def has_pairs(self) -> bool:
        """Never."""
        return False

    @property
    def degradation(self) -> str:
        """Empty: these are clean images."""
        return ""

    @property
    def root(self) -> str:
        """The folder itself."""
        return self.path

    def find(self) -> Found:
        """List the folder. Raises SourceError if it is not there or holds no image file."""
        listing = list_images(self.path, "path")
        files, ignored = listing.files, listing.ignored
        every = "*" in self.include
        chosen = files if every else [(name, path) for name, path in files if self._includes(name)]
        note = passed_over(self.title, {name: kind for name, kind in listing.unread.items() if self._includes(name)})
        if not chosen:
            beside = f" ({ignored} other files, {len(files)} images outside `include`)" if ignored or files else ""
            raise SourceError(
                f"path: expected photographs below {self.path}, found none{beside}{f'; {note}' if note else ''}"
            )
        _expect_no_pairs(self.path, [name for name, _ in chosen])
        candidates = [Candidate(*file) for file in chosen] if locations.is_remote(self.path) else Listed(chosen)
        return Found(candidates, (), ignored + len(files) - len(chosen), (note,) if note else ())

    def _includes(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.include)


def paired_folders(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Folders of degraded images, each with one of clean images beside it that has half of its files' names or more."""
    names = list(names)
    folders = {name.rpartition("/")[0] for name in names}
    if not any(posixpath.basename(folder).lower() in DEGRADED for folder in folders):
        return  # as nearly always: a million names need not be taken apart
    stems: dict[str, set[str]] = defaultdict(set)
    for name in names:
        folder, file = posixpath.split(name)
        stems[folder].add(posixpath.splitext(file)[0])
    for folder, files in stems.items():
        above, own = posixpath.split(folder)
        if own.lower() not in DEGRADED:
            continue
        for other, clean in stems.items():
            beside, side = posixpath.split(other)
            if beside == above and side.lower() in SIDES and 2 * len(files & clean) >= len(files):
                yield folder, other


def _expect_no_pairs(path: str, names: Iterable[str]) -> None:
    """Raise SourceError where a folder of degraded images lies beside one of clean ones: all would count as clean."""
    for folder, other in paired_folders(names):
        raise SourceError(
            f"path: {path} holds degraded images in {folder!r} beside the clean ones in {other!r}, and all of "
            f'them would count as clean; read them as kind = "pairs" with lq and gt, or take the clean ones '
            f'alone: include = ["{other}/*"]'
        )
