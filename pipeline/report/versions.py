"""The versions of a dataset as a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from patina.pipeline.errors import ManifestError
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.versions.lease import is_open
from patina.pipeline.versions.removal import own_bytes
from patina.pipeline.versions.version import (
    Record,
    Version,
    VersionError,
    current_or_none,
    published_versions,
    read_record,
)


@dataclass(frozen=True)
class Told:
    """One version, for people. samples: how many; -1 where its manifest cannot be read. own: bytes that it alone holds,
    which removing it would free. used: whether somebody reads it just now."""

    version: Version
    record: Record
    samples: int
    own: int
    used: bool
    current: bool

    @property
    def when(self) -> str:
        """When it was published, in the machine's own time."""
        try:
            return datetime.fromisoformat(self.record.published).astimezone().strftime("%Y-%m-%d %H:%M")
        except ValueError:
            return "unknown"

    @property
    def state(self) -> str:
        """`current`, `in use`, both or nothing."""
        return ", ".join(what for what, is_so in (("current", self.current), ("in use", self.used)) if is_so)


def list_versions(out: Path) -> list[Told]:
    """The published versions of the dataset in `out`, the newest last. Raises VersionError where there are none."""
    versions = published_versions(out)
    if not versions:
        raise VersionError(
            f"{out}: found no versions; the next build that changes anything there makes the first ones, without "
            "making a sample again"
        )
    own = own_bytes(versions)
    return [
        Told(
            version,
            read_record(version),
            _samples(version),
            own[version.number],
            is_open(version),
            version == current_or_none(out),
        )
        for version in versions
    ]


def _samples(version: Version) -> int:
    try:
        manifest = load_manifest(version.folder)
    except ManifestError:
        manifest = None
    return sum(shard.count for shard in manifest.shards) if manifest else -1
