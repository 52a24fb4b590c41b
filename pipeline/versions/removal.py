"""Freeing the space of versions that nobody needs, and counting it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from patina.pipeline.files import sync
from patina.pipeline.format.earlier import papers
from patina.pipeline.format.layout import SHARD, SHARDS
from patina.pipeline.versions.publication import PUBLIC, put_aside
from patina.pipeline.versions.version import Version, published_versions


def remove_old(home: Path, keep: int, staging: Path, aside: Path) -> list[Version]:
    """Remove all published versions but the last `keep`, of which the current one is always one, and but those that
    somebody reads. Gives those that were removed. Whoever calls holds the dataset's lock."""
    old = published_versions(home)[: -max(keep, 1)]
    return [version for version in old if remove(version, staging, aside)]


def remove(version: Version, staging: Path, aside: Path) -> bool:
    """Remove one version, unless somebody reads it; gives whether it was. A file in it that no build wrote is moved to
    the folder `aside`."""
    version.record.touch(exist_ok=True)  # lost, or not copied: readers lock it
    descriptor = os.open(version.record, os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # the file system has no locks; the newest versions stay for those who read
        _keep_strays(version, aside)
        gone = staging / f"removed-{version.name}"
        shutil.rmtree(gone, ignore_errors=True)
        version.folder.replace(gone)  # at once: a reader finds all of it or nothing
        version.record.unlink()
        sync(version.folder.parent)
    finally:
        os.close(descriptor)
    shutil.rmtree(gone)
    return True


def own_bytes(versions: Sequence[Version]) -> dict[int, int]:
    """Bytes that each version alone holds, by number: what removing it would free. A file that two versions share
    counts for neither."""
    sizes = {version.number: file_sizes(version) for version in versions}
    names = Counter(inode for files in sizes.values() for inode in files)
    return {number: sum(size for inode, size in files.items() if names[inode] == 1) for number, files in sizes.items()}


def file_sizes(version: Version) -> dict[tuple[int, int], int]:
    """Bytes of each file of a version, by device and inode: second names of a file have the same."""
    stats = [p.stat() for p in (*version.folder.iterdir(), *(version.folder / SHARDS).glob("*")) if p.is_file()]
    return {(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}


def _keep_strays(version: Version, aside: Path) -> None:
    """Move away what people put into a version's folder, mostly by its public name OUT/shards. The manifest is not
    asked, which takes a second where there are ten thousand shards: a name tells what a build wrote."""
    for place, known in ((version.folder, PUBLIC), (version.folder / SHARDS, papers(2))):
        with os.scandir(place) as entries:
            strays = [
                entry.name
                for entry in entries
                if (entry.is_dir() and entry.name != SHARDS)
                or (entry.name not in known and not (place.name == SHARDS and SHARD.fullmatch(entry.name)))
            ]
        for name in strays:
            put_aside(place / name, aside)
