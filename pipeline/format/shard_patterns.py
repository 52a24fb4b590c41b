"""Names of many shards in few words: patterns with braces, as shells, webdataset and open_clip expand them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from patina.pipeline.format.manifest import ShardEntry


def shard_patterns(shards: Sequence[ShardEntry]) -> list[str]:
    """Patterns that expand to the names of these shards, which are of one split: each once, and to no others.

    Entries that have the same buckets share a pattern: `train-{0000..0003}-{hazy,noisy}.tar`.
    """
    buckets: dict[str, list[int]] = {}
    for shard in shards:
        buckets.setdefault(shard.degradation, []).append(shard.bucket)
    entries: dict[tuple[int, ...], list[str]] = {}
    for entry in sorted(buckets):
        entries.setdefault(tuple(sorted(buckets[entry])), []).append(entry)
    split = shards[0].split if shards else ""
    return [f"{split}-{_braces(_runs(numbers))}-{_braces(names)}.tar" for numbers, names in entries.items()]


def _runs(numbers: Iterable[int]) -> list[str]:
    """Sorted numbers of four digits, with runs of three and more as ranges."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words: list[str] = []
    for run in runs:
        words += [f"{{{run[0]:04d}..{run[-1]:04d}}}"] if len(run) > 2 else [f"{number:04d}" for number in run]
    return words


def _braces(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{{{','.join(words)}}}"
