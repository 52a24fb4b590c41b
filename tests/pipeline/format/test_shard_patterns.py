"""Patterns of shards' names expand to these names, each once, and to no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.format.manifest import ShardEntry
from patina.pipeline.format.shard_patterns import shard_patterns


def entry(degradation: str, bucket: int) -> ShardEntry:
    return ShardEntry("train", degradation, bucket, fingerprint="", sha256="", bytes=0, count=1)


@pytest.mark.parametrize(
    ("given_shards", "expected"),
    [
        ({"noisy": [0]}, ["train-0000-noisy.tar"]),
        ({"noisy": [0, 1]}, ["train-{0000,0001}-noisy.tar"]),
        ({"noisy": [0, 1, 2, 3]}, ["train-{0000..0003}-noisy.tar"]),
        ({"noisy": [0, 1, 2, 5, 7]}, ["train-{{0000..0002},0005,0007}-noisy.tar"]),
        ({"noisy": [2, 1, 0], "hazy+rainy": [0, 1, 2]}, ["train-{0000..0002}-{hazy+rainy,noisy}.tar"]),
        ({"noisy": [0, 1], "hazy": [1]}, ["train-0001-hazy.tar", "train-{0000,0001}-noisy.tar"]),
        ({}, []),
    ],
)
def test_known_patterns(given_shards: dict[str, list[int]], expected: list[str]) -> None:
    assert shard_patterns([entry(name, n) for name, numbers in given_shards.items() for n in numbers]) == expected


@given(st.sets(st.tuples(st.sampled_from(["noisy", "noisy-50", "hazy+rainy", "hazy"]), st.integers(0, 12))))
def test_a_pattern_is_expanded_by_webdataset_to_the_names(chosen: set[tuple[str, int]]) -> None:
    from braceexpand import braceexpand

    shards = [entry(*one) for one in chosen]
    found = [name for pattern in shard_patterns(shards) for name in braceexpand(pattern)]
    assert sorted(found) == sorted(shard.name for shard in shards)
