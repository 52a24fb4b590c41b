"""The types of a shard that is to be made, and of one that was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from patina.pipeline.format.layout import shard_name
from patina.pipeline.format.manifest import SampleRow, ShardEntry
from patina.pipeline.format.shard import Span
from patina.pipeline.plan.wanted import WantedSample
from patina.pipeline.recipe.recipe import Storage
from patina.synth.degradation import Degradation

PART = ".part"
"""How the name of a shard's part ends in the staging folder."""


@dataclass(frozen=True)
class Copy:
    """Where a sample lies already: a shard's path and the place in it.

    row  of samples.parquet, where it can be taken over as it stands; with it nobody has to look into the sample.
    sum  CRC-32 of its bytes when they were written; None where nobody remembers.
    """

    path: str
    span: Span
    row: SampleRow | None = None
    sum: int | None = None


Stamp: TypeAlias = tuple[int, int, int, int]
"""Size, times of change of contents and of inode (ns), and inode of a file."""


def stamp_of(stat: os.stat_result) -> Stamp:
    """What of a file's stat changes when anybody writes it."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


@dataclass(frozen=True)
class ShardJob:
    """All that is needed to make one shard, on any machine that sees the sources and the dataset's folder.

    same         copies of samples that are wholly as wanted, by fingerprint.
    same_pixels  copies of samples that lack only their present caption, by the digest of what decides their images.
    old_shards   SHA-256 of every shard that is copied from, by path. trusted: stamps of those whose bytes the plan knew
                 to have it, by path: as long as such a file has its stamp, it is not hashed again.
    part         empty: it is the whole shard. Else the samples are some of the shard's, which this names; they lie in
                 the staging folder until they are joined with the others.
    """

    split: str
    entry: str
    bucket: int
    group: str
    fingerprint: str
    samples: tuple[WantedSample, ...] = field(repr=False)
    degradation: Degradation | None
    same: Mapping[str, Copy] = field(repr=False)
    same_pixels: Mapping[str, Copy] = field(repr=False)
    old_shards: Mapping[str, str] = field(repr=False)
    staging: str
    codec: str
    storage: Storage
    trusted: Mapping[str, Stamp] = field(default_factory=dict, repr=False)
    part: str = ""

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.split, self.entry, self.bucket, self.group)

    @property
    def staged(self) -> Path:
        """Where it is written; beside it, with `.json` behind its name, what is known of it once it is whole."""
        name = f"{self.parts}.{self.part}{PART}" if self.part else f"{self.name}.{self.fingerprint[:16]}"
        return Path(self.staging) / name

    @property
    def parts(self) -> str:
        """What the names of this shard's parts begin with: a digest, since a shard's name may be as long as a file
        system takes."""
        return hashlib.sha256(f"{self.name}\n{self.fingerprint}".encode()).hexdigest()[:24]

    @property
    def copied_bytes(self) -> int:
        """Bytes of the samples that are wholly there already."""
        copies = (self.same.get(sample.fingerprint) for sample in self.samples)
        return sum(copy.span.size for copy in copies if copy)

    def part_of(self, samples: Sequence[WantedSample]) -> ShardJob:
        """The job of making some of this shard's samples, in their order. Its name tells which, whoever divided them:
        a later run finds what is there already."""
        same, pixels = ({s.fingerprint for s in samples}, {s.pixels for s in samples})
        return replace(
            self,
            samples=tuple(samples),
            same={name: copy for name, copy in self.same.items() if name in same},
            same_pixels={name: copy for name, copy in self.same_pixels.items() if name in pixels},
            part=hashlib.sha256("\n".join(s.key for s in samples).encode()).hexdigest()[:16],
        )


@dataclass(frozen=True)
class ShardResult:
    """A shard that lies in the staging folder, ready to be published. `seconds`: of one core, for the samples that were
    made. sums: CRC-32 of each sample's bytes, in their order."""

    shard: ShardEntry
    rows: tuple[SampleRow, ...] = field(repr=False)
    staged: str
    synthesised: int = 0
    captioned: int = 0
    copied: int = 0
    seconds: float = 0.0
    sums: tuple[int, ...] = field(default=(), repr=False)

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a shard, which nobody publishes."""
        return not self.shard.sha256
