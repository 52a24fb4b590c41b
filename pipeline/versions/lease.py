"""Opening a dataset: which version is read is decided once, and it stays there until the reader has ended.

A reader holds a shared lock of the kernel on the version's record. Whoever removes versions asks for that lock alone,
and lets a version be that somebody reads. The kernel drops a lock with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import weakref
from contextlib import suppress
from pathlib import Path

from patina.pipeline.errors import DamagedShardError
from patina.pipeline.files import still_names
from patina.pipeline.format.layout import MANIFEST
from patina.pipeline.format.manifest import SampleRow, dataset_folder, read_members
from patina.pipeline.versions.version import Version, VersionError, all_versions, find_version, split_name, version_of

ATTEMPTS = 100
"""Times that a version is looked for again, where the one that was found is removed just then."""


class OpenDataset:
    """A dataset that is open for reading. Close it, leave its `with` block, or drop it to let its version go.

    home     the folder of the dataset, where its private folder lies.
    folder   manifest, tables and shards: the version's folder, or `home` where there are no versions. It never changes.
    version  None where there are no versions: in a plain copy, or in a dataset of an earlier release.

    A copy of it for another process holds the same version, for as long as that one lives.
    """

    def __init__(self, home: Path, version: Version | None, descriptor: int | None) -> None:
        self.home, self.version = home, version
        self.folder = version.folder if version else home
        self._end = None if descriptor is None else weakref.finalize(self, os.close, descriptor)
        if self._end:
            self._end.atexit = False  # the kernel lets go with the process

    def __enter__(self) -> OpenDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return open_dataset, (self.folder,)

    def close(self) -> None:
        """Let the version go. Dropping the last reference does so too."""
        if self._end:
            self._end()


def open_dataset(named: Path) -> OpenDataset:
    """Open what `named` says: a dataset's folder, OUT@VERSION (see `find_version`), or the folder of a version.

    A folder without a dataset opens too, as one without versions. Raises VersionError for a version that is not there.
    """
    named = named.absolute()
    for _ in range(ATTEMPTS):
        version = version_of(named)
        home = version.home if version else named
        if version is None:
            home, spec = split_name(named)
            version = find_version(home, spec)
        if version is None:
            return OpenDataset(home, None, None)
        try:
            return OpenDataset(home, version, _held(version))
        except BlockingIOError:  # it is being removed
            time.sleep(0.01)
        except FileNotFoundError:  # it was removed
            if version_of(named):
                break
    raise VersionError(f"{named}: this version was removed; `patina versions` lists those that are there")


def open_built(named: Path) -> OpenDataset:
    """As `open_dataset`. Raises ManifestError if there is no dataset, or one whose manifest is damaged."""
    opened = open_dataset(named)
    try:
        dataset_folder(opened.folder)
    except BaseException:
        opened.close()
        raise
    return opened


_pinned: dict[Path, OpenDataset] = {}


def pinned(named: Path) -> OpenDataset:
    """As `open_dataset`, and what is opened stays there until this process ends: for commands, and for workers."""
    opened = open_dataset(named)
    return _pinned.setdefault(opened.folder, opened)


def is_open(version: Version) -> bool:
    """Whether somebody reads a version just now; False also where the file system has no locks."""
    try:
        descriptor = os.open(version.record, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _held(version: Version) -> int | None:
    """A descriptor that holds the version; None where nothing can be locked. Raises BlockingIOError while it is being
    removed, FileNotFoundError if it is gone."""
    try:
        descriptor = os.open(version.record, os.O_RDONLY)
    except FileNotFoundError:
        if not (version.folder / MANIFEST).exists():
            raise
        return None  # copied without its record
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # the file system has no locks
        os.close(descriptor)
        return None
    if not still_names(version.record, descriptor) or not version.folder.is_dir():
        os.close(descriptor)
        raise FileNotFoundError(version.folder)
    return descriptor


def members_of(opened: OpenDataset, row: SampleRow) -> dict[str, bytes]:
    """A sample's members by extension, from the version that `row` is of: the open one, or the newest other one that
    has this very sample. Raises DamagedShardError, OSError."""
    try:
        return _members(opened.folder, row)
    except (DamagedShardError, OSError):
        for version in reversed(all_versions(opened.home)):
            if version == opened.version:
                continue
            with suppress(DamagedShardError, OSError, VersionError), open_dataset(version.folder) as other:
                return _members(other.folder, row)
        raise


def _members(folder: Path, row: SampleRow) -> dict[str, bytes]:
    members = read_members(folder, row)
    try:
        there = json.loads(members["json"])["fingerprint"]
    except (KeyError, ValueError, TypeError):
        there = ""
    if there != row.fingerprint:
        raise DamagedShardError(f"{row.shard}: another sample lies where {row.key} was; read the rows again")
    return members
