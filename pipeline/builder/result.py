"""What a build did."""

from __future__ import annotations

from dataclasses import dataclass, field

from patina.pipeline.builder.job import ShardResult
from patina.pipeline.format.manifest import Manifest
from patina.pipeline.plan.planning import PlannedBuild
from patina.pipeline.text import counted


@dataclass(frozen=True)
class BuildResult:
    """What a build did."""

    manifest: Manifest
    planned: PlannedBuild
    results: tuple[ShardResult, ...] = field(repr=False)
    seconds: float
    captions_made: int = 0

    def __repr__(self) -> str:
        shards = self.manifest.shards
        size = f"{counted(sum(shard.count for shard in shards), 'sample')} in {counted(len(shards), 'shard')}"
        return f"<{self.planned.out}: {size}, {len(self.results)} of them built; digest {self.manifest.digest[:16]}>"

    @property
    def samples_written(self) -> int:
        """Samples in the shards that were written, copied ones included."""
        return sum(result.shard.count for result in self.results)
