"""Which sample comes when: pure functions of the seed and of how many images were seen.

The n-th image of a training is the n-th whatever the batch, the processes, the workers and the interruptions: one
process with a batch of 2B sees what two with B see, and a run that continues after n images goes on with image n.
Nothing has to be stored or replayed for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from patina.training.errors import StageError

Rows = NDArray[np.int64]

_GOLDEN = (5**0.5 - 1) / 2
_CHUNK = 1 << 16


class Order(Protocol):
    """Gives rows of an index by number."""

    def rows(self, start: int, count: int) -> Rows:
        """The rows of images `start`, …, `start` + `count` - 1."""
        ...


class Balanced:
    """Each entry as often as its share says, evenly spread; its samples in an order of their own, all before any again.

    The entry of image n is the one in whose part of [0, 1), as long as its share, n φ + offset falls (modulo 1, φ the
    golden ratio's): of the first N images each entry has its share up to a few, so small batches are balanced too.
    """

    def __init__(self, entries: NDArray[np.integer], shares: Sequence[float], seed: int) -> None:
        """`entries`: of each row, 0..K-1. `shares`: K numbers. Raises StageError for entries without rows, all 0."""
        self._rows = [np.flatnonzero(entries == k) for k in range(len(shares))]
        if lacking := [k for k, share in enumerate(shares) if share > 0 and not len(self._rows[k])]:
            raise StageError(f"entries {lacking} have a weight and no sample")
        if sum(shares) <= 0:
            raise StageError("all weights are 0; nothing is left to train on")
        self._ends = np.cumsum(shares) / sum(shares)
        self._seed = seed
        self._offset = float(_generator(seed, 0).random())
        self._counts = [np.zeros(len(shares), np.int64)]  # of each entry before each chunk
        self._rounds: dict[int, tuple[int, Rows]] = {}
        self._kept: tuple[int, Rows, Rows] = (-1, np.empty(0, np.int64), np.empty(0, np.int64))

    def rows(self, start: int, count: int) -> Rows:
        """The rows of images `start`, …, `start` + `count` - 1."""
        found = np.empty(count, np.int64)
        place = start
        while place < start + count:
            chunk, first = divmod(place, _CHUNK)
            length = min(_CHUNK - first, start + count - place)
            entries, ordinals = self._chunk(chunk)
            for i in range(first, first + length):
                found[place - start + i - first] = self._row(int(entries[i]), int(ordinals[i]))
            place += length
        return found

    def _entries(self, chunk: int) -> NDArray[np.int64]:
        n = np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK, dtype=np.float64)
        return np.searchsorted(self._ends, (n * _GOLDEN + self._offset) % 1.0, side="right").clip(
            max=len(self._ends) - 1
        )

    def _chunk(self, chunk: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each number of a chunk its entry, and how many of that entry came before. The latest chunk is kept."""
        if self._kept[0] == chunk:
            return self._kept[1], self._kept[2]
        while len(self._counts) <= chunk:
            earlier = np.bincount(self._entries(len(self._counts) - 1), minlength=len(self._ends))
            self._counts.append(self._counts[-1] + earlier)
        entries = self._entries(chunk)
        ordinals = np.empty(_CHUNK, np.int64)
        for k, before in enumerate(self._counts[chunk]):
            own = entries == k
            ordinals[own] = before + np.arange(own.sum())
        self._kept = (chunk, entries, ordinals)
        return entries, ordinals

    def _row(self, entry: int, ordinal: int) -> int:
        rows = self._rows[entry]
        around, place = divmod(ordinal, len(rows))
        if self._rounds.get(entry, (-1,))[0] != around:
            self._rounds[entry] = (around, rows[_generator(self._seed, 1, entry, around).permutation(len(rows))])
        return int(self._rounds[entry][1][place])


class Scenes:
    """Each scene once a round, in one of its samples; what does not fill a group is left out of the round.

    So no group of `group` images, counted from the first, holds two samples of a scene. Which of its samples a scene
    gives is drawn by the entries' weights.
    """

    def __init__(
        self,
        scenes: NDArray[np.integer],
        entries: NDArray[np.integer],
        shares: Sequence[float],
        group: int,
        seed: int,
    ) -> None:
        """`scenes`, `entries`: of each row. Raises StageError if there are fewer scenes than a group has images."""
        weights = np.asarray(shares, np.float64)[entries]
        rows = np.flatnonzero(weights > 0)
        self._rows = rows[np.argsort(scenes[rows], kind="stable")]
        _, firsts = np.unique(scenes[self._rows], return_index=True)
        if len(firsts) < group:
            raise StageError(
                f"{group} photographs are compared with each other, and the dataset has {len(firsts)} to train on; "
                f"lower data.batch to {len(firsts)} or less, set data.group, or add photographs"
            )
        ends = np.concatenate(([0.0], np.cumsum(weights[self._rows])))
        self._below, self._above = ends[firsts], ends[np.append(firsts[1:], len(self._rows))]
        self._ends = ends[1:]
        self._seed, self._size = seed, len(firsts) // group * group
        self._kept: tuple[int, Rows] = (-1, self._rows)

    def rows(self, start: int, count: int) -> Rows:
        """The rows of images `start`, …, `start` + `count` - 1."""
        size = self._size
        return np.array([self._round(n // size)[n % size] for n in range(start, start + count)], np.int64)

    def _round(self, number: int) -> Rows:
        if self._kept[0] != number:
            rng = _generator(self._seed, 2, number)
            share = rng.random(len(self._below))
            targets = self._below + share * (self._above - self._below)
            drawn = np.searchsorted(self._ends, targets, side="right").clip(max=len(self._rows) - 1)
            self._kept = (number, self._rows[drawn[rng.permutation(len(drawn))]])
        return self._kept[1]


def shares_of(
    names: Sequence[str], counts: Sequence[int], weights: Mapping[str, float], repeats: Mapping[str, float]
) -> list[float]:
    """How often each entry is drawn: its weight, or its count times its repeats. Raises StageError for other names."""
    if unknown := sorted({*weights, *repeats} - {*names}):
        raise StageError(f"weights for {', '.join(unknown)}; the dataset has {', '.join(names)}")
    if repeats:
        return [count * repeats.get(name, 1.0) for name, count in zip(names, counts, strict=True)]
    return [weights.get(name, 1.0) for name in names]


def _generator(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def of_image(seed: int, number: int) -> np.random.Generator:
    """The generator of image `number`'s crop, turn and view."""
    return _generator(seed, 3, number)


def shuffled(seed: int, epoch: int, count: int) -> Rows:
    """All rows in the order of an epoch: any of the count! orders is as likely."""
    return _generator(seed, 5, epoch).permutation(count)


def noise_seed(seed: int, number: int) -> int:
    """The seed of image `number`'s noise, for a generator on any device."""
    return int(np.random.SeedSequence((seed, 4, number)).generate_state(1, np.uint64)[0] >> 1)
