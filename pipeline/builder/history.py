"""A dataset's earlier versions: publishing one again, and freeing their space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from patina.pipeline.builder.publish import remember_shards, trusted_shards
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.disk_errors import explain_disk_errors
from patina.pipeline.format.layout import PRIVATE, SHARDS
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.hashing import is_intact
from patina.pipeline.plan.planning import Stores
from patina.pipeline.text import counted
from patina.pipeline.versions.publication import MAY_LACK, PUBLIC, place
from patina.pipeline.versions.removal import file_sizes
from patina.pipeline.versions.version import (
    Version,
    VersionError,
    current_or_none,
    current_version,
    find_version,
    published_versions,
    read_record,
)


@dataclass(frozen=True)
class Freed:
    """What was removed: versions, and the bytes that they alone held. used: versions that stay, since somebody reads
    them."""

    versions: tuple[Version, ...]
    bytes: int
    used: tuple[Version, ...]


def rollback(out: Path, spec: str) -> Version:
    """Publish an earlier version of the dataset in `out` again, as the newest one; gives that. Nothing is removed, and
    no shard is copied. `spec`: its number, `previous`, or the beginning of its digest.

    A damaged card, picture or Croissant file stops nothing: the new version's record says of it what the earlier one's
    does, so that a check names it, and the next build makes it again.

    Raises VersionError for a version that is not there, is damaged, or is the current one; LockedError, OSError.
    """
    _expect_versions(out)
    with explain_disk_errors(out), Workspace(out) as workspace, Stores.open(workspace.out) as stores:
        version = find_version(workspace.out, spec)
        if version is None or version == current_or_none(workspace.out):
            raise VersionError(f"{out}: version {spec} is the current one; `patina versions {out}` lists those before")
        manifest = _whole_manifest(version)
        known = trusted_shards(workspace.out, version.folder, manifest.shards, stores)
        _expect_sound(version, manifest, known)
        known = {shard.name: shard.sha256 for shard in manifest.shards}
        shards = {shard.name: version.folder / SHARDS / shard.name for shard in manifest.shards}
        papers: dict[str, str | bytes | Path] = {}
        for name in (name for name in PUBLIC if name != SHARDS and (version.folder / name).is_file()):
            papers[name] = second = workspace.staging / Path(name).name
            second.unlink(missing_ok=True)
            place(version.folder / name, second)
        written = read_record(version).papers
        new = workspace.publish(shards, papers, manifest.digest, f"version {version.number} again", written)
        remember_shards(workspace.out, known, stores)
        return new


def free(out: Path, keep: int) -> Freed:
    """Remove the versions of the dataset in `out` before the last `keep`, but for those that somebody reads.

    Raises VersionError for a folder without versions; LockedError, OSError.
    """
    _expect_versions(out)
    with explain_disk_errors(out), Workspace(out) as workspace, Stores.open(workspace.out) as stores:
        before, current = published_versions(workspace.out), current_version(workspace.out)
        if current is None:
            raise _no_versions(out)
        manifest = load_manifest(current.folder)
        entries = manifest.shards if manifest else ()
        known = trusted_shards(workspace.out, current.folder, entries, stores)  # a name less changes a file's ctime
        size = _size(before)
        removed = workspace.remove_old(keep)
        remember_shards(workspace.out, known, stores)
        workspace.sweep(())
        left = published_versions(workspace.out)
        used = tuple(version for version in left[: -max(keep, 1)] if version not in removed)
        return Freed(tuple(removed), size - _size(left), used)


def _expect_versions(out: Path) -> None:
    if current_or_none(out) is None and not (out / PRIVATE).is_dir():
        raise _no_versions(out)


def _no_versions(out: Path) -> VersionError:
    return VersionError(f"{out}: expected a dataset with versions, found none; the next build of it makes the first")


def _whole_manifest(version: Version) -> Manifest:
    """The manifest of a version of which nothing is missing. Raises VersionError."""
    manifest = load_manifest(version.folder)
    if manifest is None:
        raise VersionError(f"{version.folder}: its manifest is missing; choose another version")
    sizes = [(version.folder / SHARDS / shard.name, shard.bytes) for shard in manifest.shards]
    lost = [path.name for path, size in sizes if not path.is_file() or path.stat().st_size != size]
    needed = [name for name in PUBLIC if name not in MAY_LACK and name != SHARDS]
    lost += [name for name in needed if not (version.folder / name).is_file()]
    if lost:
        raise VersionError(
            f"{version.folder}: {counted(len(lost), 'file')} of it, such as {lost[0]}, are missing or of another size; "
            "choose another version"
        )
    return manifest


def _expect_sound(version: Version, manifest: Manifest, known: Mapping[str, str]) -> None:
    """Raise VersionError if a shard or a table of a version is not what was written. `known`: shards that need not be
    read."""
    digests = {f"{SHARDS}/{s.name}": s.sha256 for s in manifest.shards if s.name not in known} | dict(manifest.tables)
    for name, digest in digests.items():
        if not is_intact(version.folder / name, digest):
            raise VersionError(
                f"{version.folder / name}: its bytes are not those that were written; choose another version"
            )


def _size(versions: Iterable[Version]) -> int:
    """Bytes of all files of these versions, each file once."""
    files: dict[tuple[int, int], int] = {}
    for version in versions:
        files |= file_sizes(version)
    return sum(files.values())
