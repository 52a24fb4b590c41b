"""What a build will cost, and sizes of shards that are out of the usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Protocol, TypeVar

import numpy as np

from patina.pipeline.format.manifest import ShardEntry
from patina.pipeline.plan.wanted import Wanted, WantedShard
from patina.pipeline.text import counted, human_bytes

SECONDS_PER_MEGAPIXEL, BYTES_PER_MEGAPIXEL = 0.06, 4.0e6
"""Of one core, and of a sample, where nothing was made on trial: the middle of the ten degradations."""

SHARED_SECONDS_PER_MEGAPIXEL = 0.03
"""Of a photograph, once for all of its samples that are made together: decoding it, measuring and storing its tiles."""

COPY_SECONDS_PER_BYTE = 2.5e-9
HELD = 0.25
"""Share of the work that holds the interpreter's lock, so that threads do it one after another: two gain 1.6."""

SMALL_SHARD, LARGE_SHARD = 4 << 20, 2 << 30


DECODING, SYNTHESIS = 8, 15
"""Bytes for each pixel of a photograph that a worker decodes, and of a tile that it degrades: what `apply` takes at the
most, which is more than encoding does later."""

WORKER_BYTES = 200_000_000
"""What a worker takes beside them."""


def memory_warning(wanted: Wanted, shards: Sequence[WantedShard], workers: int, available: int) -> str:
    """What to do where `workers` that make these shards side by side would want more than the `available` bytes, going
    by the largest photographs; empty where they fit, or nothing tells what is there."""
    tiles = wanted.recipe.tiles
    areas = nlargest(workers, _areas(wanted, shards))
    degraded = (min(area, tiles.size**2) if tiles else area for area in areas)
    largest = [WORKER_BYTES + area * DECODING + part * SYNTHESIS for area, part in zip(areas, degraded, strict=True)]
    if not available or not largest or sum(largest) <= available:
        return ""
    fit, total = 0, 0
    for need in largest:
        total += need
        fit += total <= available
    there = f"{human_bytes(available)} are free"
    return (
        f"{counted(workers, 'worker')} may want {human_bytes(sum(largest))} of memory for photographs of up to "
        f"{max(areas) / 1e6:.0f} megapixels, and {there}: build with --workers {max(fit, 1)}, or "
        "cut them into [tiles]"
    )


def _areas(wanted: Wanted, shards: Sequence[WantedShard]) -> list[int]:
    """The pixels of each photograph of which these shards have samples."""
    columns = wanted.columns
    of_kinds = [example.info.width * example.info.height for example in columns.examples]
    if not shards:
        return []
    places = np.unique(np.concatenate([shard.sources.places for shard in shards]))
    found: list[int] = np.array(of_kinds, np.int64)[columns.kinds[places]].tolist()
    return found


@dataclass(frozen=True)
class Cost:
    """What a build will take: bytes of the shards that are written, seconds of one core, and warnings of shards whose
    size is out of the usual."""

    bytes: int
    seconds: float
    warnings: tuple[str, ...]


class Counted(Protocol):
    """A shard to build, and how many of its samples are to be made (`difference.Step`)."""

    @property
    def shard(self) -> WantedShard: ...  # noqa: D102

    @property
    def synthesised(self) -> int: ...  # noqa: D102


S = TypeVar("S", bound=Counted)


def cost_of(
    wanted: Wanted,
    steps: Sequence[S],
    keep: Sequence[ShardEntry],
    size_of: Callable[[S], float],
    seconds_of: Callable[[S], float],
) -> Cost:
    """What these steps take beside the shards to `keep`. size_of: bytes of a step's shard; seconds_of: what making all
    of its samples would take. Those that are not made are copied."""
    sizes = {shard.name: float(shard.bytes) for shard in keep}
    total = seconds = 0.0
    for step in steps:
        size, share = size_of(step), step.synthesised / max(step.shard.count, 1)
        seconds += seconds_of(step) * share + size * (1 - share) * COPY_SECONDS_PER_BYTE
        sizes[step.shard.name] = size
        total += size
    return Cost(int(total), seconds, size_warnings(wanted, sizes))


def size_warnings(wanted: Wanted, sizes: Mapping[str, float]) -> tuple[str, ...]:
    """What to set `buckets` to where shards would be too small to stream well or too large to rebuild cheaply.
    `sizes`: bytes of each shard, by name."""
    warnings = []
    for split in dict.fromkeys(shard.split for shard in wanted.shards):
        shards = [s for s in wanted.shards if s.split == split]
        per_degradation: Counter[str] = Counter()
        for shard in shards:
            per_degradation[shard.degradation] += int(sizes[shard.name])
        largest = max(per_degradation.values())
        buckets = wanted.recipe.buckets[split]
        if largest / buckets > LARGE_SHARD:
            better = -(-largest // (512 << 20))
            warnings.append(
                f"shards of {split} would hold {human_bytes(largest // buckets)}; set buckets.{split} = {better}"
            )
        elif buckets > 16 and largest / buckets < SMALL_SHARD:
            better = max(1, largest // (64 << 20))
            warnings.append(
                f"shards of {split} would hold {human_bytes(largest // buckets)} at the most; buckets.{split} = "
                f"{better} reads faster"
            )
    return tuple(warnings)
