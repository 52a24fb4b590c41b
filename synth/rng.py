"""Random numbers of one sample: a function of what the sample is, never of order, workers or time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def sample_seed(recipe_seed: int, source: str, degradation: str, variant: int, tile: tuple[int, int, int, int]) -> str:
    """The seed of one sample, 32 hex digits.

    `source` is the source's digest and `tile` is (x, y, width, height) in pixels of the source. SHA-256
    over all five parts: Python's `hash` differs between processes, and a shared generator would make a sample
    depend on those before it.
    """
    text = "\0".join(["patina-seed", str(recipe_seed), source, degradation, str(variant), *map(str, tile)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Rng:
    """Draws from PCG64's raw 64-bit stream.

    NumPy keeps a bit generator's stream the same for ever, but may change its distributions between
    feature releases (NEP 19). So the distributions here are ours, each one line above the raw stream.
    """

    def __init__(self, seed: str) -> None:
        """`seed`: a hexadecimal number, such as `sample_seed` gives."""
        self._bits = np.random.PCG64(int(seed, 16))

    def raw(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform 64-bit numbers."""
        return self._bits.random_raw(count)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high), 53 random bits."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def log_uniform(self, low: float, high: float) -> float:
        """One number in [low, high) whose logarithm is uniform; both bounds are above 0."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """One integer in low..high, both included."""
        return low + (int(self._bits.random_raw()) * (high - low + 1) >> 64)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, all equally likely."""
        return items[self.integer(0, len(items) - 1)]

    def normal(self, mean: float = 0.0, std: float = 1.0) -> float:
        """One number from N(mean, std²), by the inverse of the distribution function."""
        return mean + std * NormalDist().inv_cdf(((int(self._bits.random_raw()) >> 11) + 0.5) * 2.0**-53)

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1), 53 random bits each."""
        return (self.raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def levels(self, count: int) -> NDArray[np.uint16]:
        """`count` uniform 16-bit numbers, four from each 64-bit word, low bits first: an index into `normal_table`."""
        return self.raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]

    def seed(self) -> str:
        """A seed for bulk randomness, 32 hex digits: what a degradation stores instead of a million numbers."""
        high, low = self.raw(2)
        return f"{int(high):016x}{int(low):016x}"


@cache
def normal_table() -> NDArray[np.float64]:
    """The standard normal's inverse distribution function at (u + ½)/65536 for u = 0..65535.

    Indexed by `Rng.levels` it gives normal numbers at a quarter of a raw word each. Its standard deviation is
    1 within 2e-5 and its tails end at ±4.3 σ, which 8-bit levels cannot tell from the real ones.
    """
    inverse = NormalDist().inv_cdf
    lower = np.array([inverse((u + 0.5) / 65536) for u in range(32768)])
    table = np.concatenate([lower, -lower[::-1]])
    table.setflags(write=False)
    return table
