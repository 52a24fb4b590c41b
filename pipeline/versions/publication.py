"""Publishing: a version that is complete takes the place of the current one, by one rename of one symbolic link.

Before that rename, readers find the earlier version, and after it the new one, whatever happens to the process or to
the power: all that it leads to was forced to the disk before. Whoever calls holds the dataset's lock.
"""

from __future__ import annotations

import ctypes
import errno
import filecmp
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import ManifestError
from patina.pipeline.files import sync, write_atomically
from patina.pipeline.format.earlier import papers
from patina.pipeline.format.layout import (
    CARD,
    CROISSANT,
    CURRENT,
    MANIFEST,
    PAPERS,
    PRIVATE,
    SAMPLES,
    SHARDS,
    SOURCES,
    STRIP,
    VERSIONS,
)
from patina.pipeline.format.manifest import load_manifest, versions
from patina.pipeline.hashing import file_sha256
from patina.pipeline.versions.version import Record, Version, all_versions, current_or_none, current_version

PUBLIC = (SHARDS, SAMPLES, SOURCES, CARD, STRIP, CROISSANT, MANIFEST)
"""What lies in a version's folder, and what people find in OUT under these names."""

MAY_LACK = frozenset({STRIP})
"""Of these, what a version lacks that an earlier release published, or whose samples could not be read just then."""

NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
)
"""What file systems answer that have no hard links, or not this one."""

LINK, AWAY = ".link.tmp", ".away.tmp"
"""How names end that are on their way to or from a public name."""

RENAME_EXCHANGE = 2
"""renameat2(2): two names change places."""


# ---------------------------------------------------------------------------------------------------------------------
# What the file system allows


def links_lacking(folder: Path) -> list[str]:
    """Which kinds of links the file system of `folder` does not have: "hard", "symbolic", both, or none."""
    probe, link = folder / "probe.tmp", folder / "probe-link.tmp"
    lacking = []
    try:
        probe.touch()
        for kind, make in (("hard", os.link), ("symbolic", os.symlink)):
            link.unlink(missing_ok=True)
            try:
                make(probe, link)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                lacking.append(kind)
    finally:
        for path in (probe, link):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return lacking


def expect_links(home: Path, staging: Path, *, without_links: bool) -> None:
    """Raise OutputError if the file system lacks links, and it was not asked to do without them."""
    lacking = [] if without_links else links_lacking(staging)
    if not lacking:
        return
    ways = []
    if "hard" in lacking:
        ways.append("every version holds a copy of every shard")
    if "symbolic" in lacking:
        ways.append("files are replaced one after the other, so that readers other than patina's may meet a mixture")
    raise OutputError(
        f"{home}: its file system has no {' and no '.join(lacking)} links, by which a build publishes a version in one "
        f"step; choose another disk, or build with --without-links: then {', and '.join(ways)}"
    )


def place(source: Path, target: Path) -> None:
    """Give a file a second name; where there are no hard links, a copy that is forced to the disk."""
    try:
        os.link(os.path.realpath(source), target)  # a link to a link would not outlive it
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copy2(source, target)
        sync(target)


# ---------------------------------------------------------------------------------------------------------------------
# A new version


def assemble(folder: Path, shards: Mapping[str, Path], papers: Mapping[str, str | bytes | Path]) -> None:
    """Make a whole dataset in the new folder `folder`, and force it to the disk.

    shards  where each shard lies, by file name; each gets a second name. papers: all other files by their path in the
    dataset; one that is given as a path is moved.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / SHARDS).mkdir(parents=True)
    for name, source in shards.items():
        place(source, folder / SHARDS / name)
    for name, content in papers.items():
        path = folder / name
        if isinstance(content, Path):
            content.replace(path)
        else:
            path.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        sync(path)
    sync(folder / SHARDS)
    sync(folder)


def add_version(
    home: Path, assembled: Path, digest: str, change: str, written: Mapping[str, str] | None = None
) -> Version:
    """Take a folder that `assemble` made in as the next version, without publishing it.

    digest  of its manifest. written: SHA-256 of papers that are of an earlier version, by name, as its record has them:
    one that was damaged since is still told to be. Of other papers, what lies there is what was written.
    """
    place = home / PRIVATE / VERSIONS
    place.mkdir(exist_ok=True)
    number = max((version.number for version in all_versions(home)), default=0) + 1
    version = Version(number, digest[:16], place / f"{number}-{digest[:16]}")
    written = written or {}
    there = [name for name in PAPERS if name not in written and (assembled / name).is_file()]
    digests = {name: file_sha256(assembled / name) for name in there} | dict(written)
    record = Record(datetime.now(UTC).isoformat(timespec="seconds"), change, versions()["patina"], digests)
    half = home / PRIVATE / "record.tmp"  # by its name it is swept
    write_atomically(version.record, json.dumps(asdict(record), indent=2) + "\n", durable=False, temporary=half)
    sync(version.record)
    assembled.replace(version.folder)
    sync(place)
    sync(home / PRIVATE)
    return version


def switch(version: Version) -> None:
    """Make a version the current one. This is the one step that publishes."""
    private = version.home / PRIVATE
    half = private / f"{CURRENT}.tmp"
    half.unlink(missing_ok=True)
    target = f"{VERSIONS}/{version.name}"
    try:
        half.symlink_to(target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        half.write_text(f"{target}\n", "utf-8")
        sync(half)
    half.replace(private / CURRENT)
    sync(private)


# ---------------------------------------------------------------------------------------------------------------------
# The names that people use


def lost_names(home: Path) -> list[str]:
    """Public names that do not lead through the current version, and those that lead to nothing of it; where there are
    no links, names of nothing."""
    version = current_or_none(home)
    names = _names(version)
    if (home / PRIVATE / CURRENT).is_symlink():
        return [name for name in names if not leads(home, name)] + _dangling(home, version)
    return [name for name in names if not (home / name).exists()]


def _dangling(home: Path, version: Version | None) -> list[str]:
    """Links to what an earlier version had, and the current one has not."""
    return [name for name in sorted(MAY_LACK) if name not in _names(version) and leads(home, name)]


def _names(version: Version | None) -> list[str]:
    """Public names of what a version has."""
    return [name for name in PUBLIC if name not in MAY_LACK or (version and (version.folder / name).is_file())]


def has_names(home: Path) -> bool:
    """Whether all public names lead through the current version."""
    return not lost_names(home)


def make_free_names(home: Path, version: Version) -> None:
    """Make those public names that nothing has yet, before the version is the current one: they lead nowhere until
    then, and so a new dataset appears as a whole."""
    for name in _names(version):
        if not os.path.lexists(home / name):
            try:
                (home / name).symlink_to(f"{PRIVATE}/{CURRENT}/{name}")
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
    sync(home)


def make_names(home: Path, aside: Path) -> list[Path]:
    """Make every public name lead to the current version. What lies there and is not the version's own, such as a file
    that was edited or put among the shards, is moved to the folder `aside`; gives where to."""
    version = current_version(home)
    assert version is not None, "something was published"
    moved: list[Path] = []
    if not (home / PRIVATE / CURRENT).is_symlink():
        _copy_names(home, version, aside, moved)
        return moved
    for name in _names(version):
        if not leads(home, name):
            _make_link(home, name, version, aside, moved)
    for name in _dangling(home, version):
        (home / name).unlink()
    sync(home)
    return moved


def leads(home: Path, name: str) -> bool:
    """Whether a name in `home` is a link through the current version, be there one or not."""
    try:
        return str((home / name).readlink()) == f"{PRIVATE}/{CURRENT}/{name}"
    except OSError:
        return False


def _make_link(home: Path, name: str, version: Version, aside: Path, moved: list[Path]) -> None:
    """Replace what has a public name by the link, in one step where the system can exchange two names."""
    half = home / PRIVATE / f"{name}{LINK}"
    half.unlink(missing_ok=True)
    half.symlink_to(f"{PRIVATE}/{CURRENT}/{name}")  # relative to OUT, where it will lie
    there = home / name
    if not os.path.lexists(there):
        half.replace(there)
        return
    if not _exchange(half, there):
        away = home / PRIVATE / f"{name}{AWAY}"
        there.replace(away)
        half.replace(there)
        half = away
    _clear(half, version.folder / name, aside, moved)


def halves(home: Path) -> list[Path]:
    """What publishing was cut short with. Names with a dot in front are others', who may still write them."""
    return sorted((home / PRIVATE).glob("[!.]*.tmp"))


def finish_names(home: Path, aside: Path) -> list[Path]:
    """Clear away what a run that was killed within `make_names` left; gives what was moved to `aside`."""
    moved: list[Path] = []
    version = current_or_none(home)
    for half in halves(home):
        name = half.name.removesuffix(AWAY).removesuffix(LINK)
        if half.name.endswith(AWAY) and not os.path.lexists(home / name):
            half.replace(home / name)  # cut short between two renames
        elif half.is_symlink() or name not in PUBLIC:
            half.unlink()
        elif version:
            _clear(half, version.folder / name, aside, moved)
        else:
            moved.append(put_aside(half, aside))
    return moved


def _clear(old: Path, own: Path, aside: Path, moved: list[Path]) -> None:
    """Remove what had a public name, and keep aside what is not the version's."""
    if old.is_symlink():
        old.unlink()
    elif old.is_dir() and own.is_dir():
        for path in sorted(old.iterdir()):
            _clear(path, own / path.name, aside, moved)
        old.rmdir()
    elif old.is_file() and own.is_file() and (old.samefile(own) or filecmp.cmp(old, own, shallow=False)):
        old.unlink()
    else:
        moved.append(put_aside(old, aside))


def _copy_names(home: Path, version: Version, aside: Path, moved: list[Path]) -> None:
    """The public names where there are no symbolic links: second names or copies, replaced one by one."""
    (home / SHARDS).mkdir(exist_ok=True)
    wanted = {f"{SHARDS}/{path.name}" for path in (version.folder / SHARDS).iterdir()}
    known = {f"{SHARDS}/{path.name}" for other in all_versions(home) for path in (other.folder / SHARDS).iterdir()}
    for path in sorted((home / SHARDS).iterdir()):
        name = f"{SHARDS}/{path.name}"
        if name not in wanted:
            if name in known and path.is_file():
                path.unlink()
            else:
                moved.append(put_aside(path, aside))
    for name in [*sorted(wanted), *_names(version)]:
        source, target = version.folder / name, home / name
        if name == SHARDS or (target.is_file() and target.samefile(source)):
            continue
        half = home / PRIVATE / f"{Path(name).name}.copy.tmp"
        half.unlink(missing_ok=True)
        place(source, half)
        if target.is_dir():
            moved.append(put_aside(target, aside))
        half.replace(target)
    for name in MAY_LACK - {*_names(version)}:
        there = home / name
        earlier = [path for other in all_versions(home) if (path := other.folder / name).is_file()]
        if there.is_file() and any(filecmp.cmp(path, there, shallow=False) for path in earlier):
            there.unlink()
    sync(home / SHARDS)
    sync(home)


def clear_copy(home: Path, copy: Path, aside: Path) -> list[Path]:
    """Remove what became of the link `current` in a copy that followed links: one more copy of what has public names.
    What has none, or another size, is moved to `aside`; gives where to."""
    moved: list[Path] = []
    for path in sorted([*(copy / SHARDS).glob("*"), *copy.iterdir()]):
        own = home / path.relative_to(copy)
        if path.name == SHARDS and path.is_dir():
            continue
        if path.is_file() and own.is_file() and path.stat().st_size == own.stat().st_size:
            path.unlink()
        else:
            moved.append(put_aside(path, aside))
    shutil.rmtree(copy)
    return moved


def put_aside(path: Path, aside: Path) -> Path:
    """Move what is no file of ours out of the way, into a folder where nothing is ever removed; gives where to."""
    aside.mkdir(exist_ok=True)
    stem = path.name.removesuffix(AWAY).removesuffix(LINK)
    free = next(p for i in range(1 << 20) if not os.path.lexists(p := aside / f"{stem}.{i}"))
    path.replace(free)
    return free


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False where the system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux, or an old C library
        return False
    here = -100  # AT_FDCWD
    return bool(call(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE) == 0)


# ---------------------------------------------------------------------------------------------------------------------
# Datasets of earlier releases, and copies


def take_over(home: Path, staging: Path, aside: Path) -> list[Path]:
    """Make what lies in a dataset without versions its first one, as it is, without reading a shard; gives what was
    moved aside. Nothing that readers find changes: every name leads to the same bytes before and after."""
    if current_or_none(home) is not None:
        return []
    try:
        manifest = load_manifest(home)
    except ManifestError:
        manifest = None
    if manifest is None:
        return []
    known = {shard.name for shard in manifest.shards} | papers(manifest.schema)
    shards = {name: home / SHARDS / name for name in sorted(known) if (home / SHARDS / name).is_file()}
    assembled = staging / "taken"
    assemble(assembled, shards, {})
    for name in PUBLIC:
        if name != SHARDS and (home / name).is_file():
            place(home / name, assembled / name)
    sync(assembled)
    version = add_version(home, assembled, manifest.digest, "taken over from a dataset without versions")
    switch(version)
    return make_names(home, aside)


def unpublished(home: Path) -> list[Path]:
    """Folders and records of versions that a build made and could not publish any more."""
    current, versions = current_or_none(home), all_versions(home)
    late = [version for version in versions if current and version.number > current.number]
    known = {version.record for version in versions}
    alone = [path for path in (home / PRIVATE / VERSIONS).glob("*.json") if path not in known]
    return [*(version.folder for version in late), *(version.record for version in late), *alone]
