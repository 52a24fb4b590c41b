"""Random numbers of one sample: a function of what the sample is, never of order, workers or time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patina.synth.compiled import functions, pointer
from patina.synth.elementary import exp_of, log, log_of

T = TypeVar("T")

MANY = 512
"""Numbers from which on a loop of our own gives NumPy's sooner than NumPy does."""

_INNER = (
    (
        2509.0809287301227,
        33430.57558358813,
        67265.7709270087,
        45921.95393154987,
        13731.69376550946,
        1971.5909503065513,
        133.14166789178438,
        3.3871328727963665,
    ),
    (
        5226.495278852854,
        28729.085735721943,
        39307.89580009271,
        21213.794301586597,
        5394.196021424751,
        687.1870074920579,
        42.31333070160091,
        1.0,
    ),
)
_OUTER = (
    (
        0.0007745450142783414,
        0.022723844989269184,
        0.2417807251774506,
        1.2704582524523684,
        3.6478483247632045,
        5.769497221460691,
        4.630337846156546,
        1.4234371107496835,
    ),
    (
        1.0507500716444169e-09,
        0.0005475938084995345,
        0.015198666563616457,
        0.14810397642748008,
        0.6897673349851,
        1.6763848301838038,
        2.053191626637759,
        1.0,
    ),
)
_FAR = (
    (
        2.0103343992922881e-07,
        2.7115555687434876e-05,
        0.0012426609473880784,
        0.026532189526576124,
        0.29656057182850487,
        1.7848265399172913,
        5.463784911164114,
        6.657904643501103,
    ),
    (
        2.0442631033899397e-15,
        1.421511758316446e-07,
        1.8463183175100548e-05,
        0.0007868691311456133,
        0.014875361290850615,
        0.1369298809227358,
        0.599832206555888,
        1.0,
    ),
)
"""Polynomials of AS 241, the highest powers first: within 0.425 of the middle, and by √(-ln of the tail's share)."""


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
        compiled = functions() if count >= MANY else None
        if not compiled:
            return self._bits.random_raw(count)
        found, now = np.empty(count, np.uint64), self._bits.state["state"]
        start = np.array([part for name in ("state", "inc") for part in divmod(now[name], 1 << 64)], np.uint64)
        compiled.patina_random(pointer(start), count, pointer(found))
        self._bits.advance(count)
        return found

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high), 53 random bits."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def log_uniform(self, low: float, high: float) -> float:
        """One number in [low, high) whose logarithm is uniform; both bounds are above 0."""
        return exp_of(self.uniform(log_of(low), log_of(high)))

    def integer(self, low: int, high: int) -> int:
        """One integer in low..high, both included."""
        return low + (int(self._bits.random_raw()) * (high - low + 1) >> 64)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, all equally likely."""
        return items[self.integer(0, len(items) - 1)]

    def normal(self, mean: float = 0.0, std: float = 1.0) -> float:
        """One number from N(mean, std²), by the inverse of the distribution function."""
        return mean + std * float(normal_at(np.array(((int(self._bits.random_raw()) >> 11) + 0.5) * 2.0**-53)))

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1), 53 random bits each."""
        return (self.raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def levels(self, count: int) -> NDArray[np.uint16]:
        """`count` uniform 16-bit numbers, four from each 64-bit word, low bits first: an index into `normal_table`."""
        return self.raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]

    def levels_from(self, first: int, count: int) -> NDArray[np.uint16]:
        """`count` of the numbers that `levels` would give from here on, beginning with number `first`; the stream stays
        where it is. So any rows of a picture get their own numbers, whichever rows are made before them."""
        before = self._bits.state
        self._bits.advance(first // 4)
        found = self.levels(first % 4 + count)[first % 4 :]
        self._bits.state = before
        return found

    def skip(self, words: int) -> None:
        """Go on as if so many of `raw`'s numbers had been drawn; `levels` takes one for every four, rounded up."""
        self._bits.advance(words)

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
    lower = normal_at((np.arange(32768) + 0.5) / 65536)
    table = np.concatenate([lower, -lower[::-1]])
    table.setflags(write=False)
    return table


def normal_at(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal's inverse distribution function of shares in (0, 1), the same shape: Wichura's AS 241, as in
    Python's `statistics`, whose logarithm is the machine's."""
    away = share - 0.5
    inner = np.abs(away) <= 0.425
    near = 0.180625 - np.where(inner, away * away, 0.0)
    tail = np.sqrt(-log(np.where(inner, 0.5, np.minimum(share, 1 - share))))
    far = tail > 5
    sizes = np.where(far, _ratio(_FAR, np.where(far, tail - 5, 0.0)), _ratio(_OUTER, np.where(far, 0.0, tail - 1.6)))
    return np.asarray(np.where(inner, _ratio(_INNER, near, away), np.copysign(sizes, away)))


def _ratio(
    factors: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64], times: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """`times` a ratio of polynomials, the highest powers first."""
    above, below = (np.full(np.shape(x), part[0]) for part in factors)
    for over, under in zip(factors[0][1:], factors[1][1:], strict=True):
        above, below = above * x + over, below * x + under
    return np.asarray(above * times / below)
