"""Which versions a dataset has, which of them is current, and how a user names one.

OUT/.patina/versions/3-689b045964f4bd08/        a whole dataset: manifest, tables, card, Croissant file, shards
OUT/.patina/versions/3-689b045964f4bd08.json    its record: when it was published, and what changed
OUT/.patina/current                             a link to versions/3-689b045964f4bd08: replacing it publishes
OUT/manifest.json, OUT/shards, …                links through `current`, which never change

Shards that did not change are hard links, so that a version costs what changed. Numbers go up by one; one above the
current number was never published, and belongs to a build that is under way or was cut short.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import CURRENT, PAPERS, PRIVATE, VERSIONS
from patina.pipeline.hashing import is_intact

NAME = re.compile(r"([1-9][0-9]{0,8})-([0-9a-f]{16})")
"""A version's folder: its number, and the beginning of its manifest's digest."""

NAMED = re.compile(rf"previous|current|{NAME.pattern}|[1-9][0-9]{{0,8}}|[0-9a-f]{{4,64}}")
"""What may follow the @ of OUT@VERSION."""


class VersionError(ManifestError):
    """A version that a dataset does not have, or not any more. Says which ones there are."""


@dataclass(frozen=True)
class Version:
    """One version of a dataset, in a folder that never changes once it is there.

    digest  the first 16 hex digits of its manifest's digest. folder: OUT/.patina/versions/NUMBER-DIGEST.
    """

    number: int
    digest: str
    folder: Path

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.number}-{self.digest}"

    @property
    def home(self) -> Path:
        """The dataset's folder, OUT."""
        return self.folder.parents[2]

    @property
    def record(self) -> Path:
        """The file that says when it was published; readers hold a shared lock on it."""
        return self.folder.with_name(f"{self.name}.json")


@dataclass(frozen=True)
class Record:
    """What is known of a version beside what lies in it. published: UTC, ISO 8601. change: what it changed, in words.
    patina: the release that published it. papers: SHA-256 of the files that are made of its tables, by name. All are
    empty where the record is lost; of an earlier release, papers are."""

    published: str = ""
    change: str = ""
    patina: str = ""
    papers: Mapping[str, str] = field(default_factory=dict)


def version_of(folder: Path) -> Version | None:
    """The version whose folder this is; None for any other folder."""
    match = NAME.fullmatch(folder.name)
    if not match or folder.parent.name != VERSIONS or folder.parent.parent.name != PRIVATE:
        return None
    return Version(int(match[1]), match[2], folder)


def home_of(folder: Path) -> Path:
    """The folder by which people know a dataset, of that of a version too."""
    version = version_of(folder)
    return version.home if version else folder


def called(folder: Path) -> str:
    """What people call the dataset or the version whose folder this is: OUT@3, or the folder itself."""
    version = version_of(folder)
    return f"{version.home}@{version.number}" if version else str(folder)


def current_version(home: Path) -> Version | None:
    """The version that is published in the folder `home`; None where there are no versions: no dataset, or a plain
    copy of one. Raises VersionError if what should name it names something else, or what is not there."""
    pointer = home / PRIVATE / CURRENT
    try:
        target = str(pointer.readlink())
    except OSError as error:
        if error.errno != errno.EINVAL or pointer.is_dir():  # EINVAL: no link; a folder is a link that was copied
            return None
        target = pointer.read_text("utf-8", "replace").strip()  # where a file system has no links
    folder, _, name = target.rpartition("/")
    if folder != VERSIONS or not NAME.fullmatch(name):  # a stranger's dataset must not lead elsewhere
        raise VersionError(f"{pointer}: expected versions/NUMBER-DIGEST, found {target!r}; `patina build` mends it")
    version = version_of(home / PRIVATE / VERSIONS / name)
    if version is None or not version.folder.is_dir():
        others = [f"{v.number}" for v in all_versions(home)]
        way = f"`patina rollback OUT {others[-1]}` publishes that one, or " if others else ""
        raise VersionError(f"{home}: its current version, {name}, is missing; {way}`patina build` makes it again")
    return version


def current_or_none(home: Path) -> Version | None:
    """As `current_version`; None also where what names it is damaged, so that the next build mends it."""
    try:
        return current_version(home)
    except VersionError:
        return None


def built_folder(home: Path) -> Path:
    """Where manifest, tables and shards of the dataset in `home` lie just now."""
    version = current_or_none(home)
    return version.folder if version else home


def expect_home(out: Path) -> None:
    """Raise VersionError for OUT@VERSION where a build is to write."""
    home, spec = split_name(out)
    if spec and (home / PRIVATE).is_dir():
        raise VersionError(
            f"{out}: a build makes the next version of {home}, and changes no earlier one; name {home}, or publish an "
            f"earlier version again: `patina rollback {home} {spec}`"
        )


def all_versions(home: Path) -> list[Version]:
    """All versions whose folders are there, by number, published or not."""
    try:
        folders = [version_of(path) for path in (home / PRIVATE / VERSIONS).iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted((version for version in folders if version), key=lambda version: version.number)


def published_versions(home: Path) -> list[Version]:
    """The versions that were published, the current one last; all that are there where the current one is lost, so that
    another can take its place."""
    try:
        current = current_version(home)
    except VersionError:
        return all_versions(home)
    return [version for version in all_versions(home) if current and version.number <= current.number]


def split_name(named: Path) -> tuple[Path, str]:
    """OUT@VERSION as OUT and VERSION; "" for what names no version, as does a folder that is called so."""
    home, at, spec = str(named).rpartition("@")
    if not at or not home or home.endswith("/") or not NAMED.fullmatch(spec) or os.path.lexists(named):
        return named, ""
    return Path(home), spec


def find_version(home: Path, spec: str) -> Version | None:
    """The version of `home` by its number, by `previous`, by the beginning of its digest, or by NUMBER-DIGEST; for ""
    and `current` the current one, None where there are no versions. Raises VersionError."""
    if spec in {"", "current"}:
        return current_version(home)
    versions = published_versions(home)
    found = _matching(versions, spec)
    if found:
        return found[-1]
    have = ", ".join(version.name for version in versions)
    lack = "it has no versions yet" if not versions else f"it has {have}"
    raise VersionError(f"{home}: there is no version {spec!r}; {lack} (`patina versions {home}`)")


def _matching(versions: Sequence[Version], spec: str) -> Sequence[Version]:
    if spec == "previous":
        return versions[:-1]
    exact = [version for version in versions if spec in {str(version.number), version.name}]
    return exact or [version for version in versions if len(spec) >= 4 and version.digest.startswith(spec[:16])]


def read_record(version: Version) -> Record:
    """What a version's record says; an empty one where it is lost or damaged."""
    try:
        body = json.loads(version.record.read_text("utf-8"))
        published, change, patina = (str(body[name]) for name in ("published", "change", "patina"))
        papers = {str(name): str(digest) for name, digest in body.get("papers", {}).items()}
        return Record(published, change, patina, papers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Record()


def changed_papers(folder: Path) -> list[str]:
    """Names of those files of a version, beside shards, tables and manifest, that are not what was written: a disk that
    was full, or somebody, changed them. None where nobody knows what was written."""
    version = version_of(folder)
    papers = read_record(version).papers if version else {}
    return [name for name in PAPERS if name in papers and not is_intact(folder / name, papers[name])]
