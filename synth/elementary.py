"""Elementary functions whose last bit is the same on every processor: exp, log, powers, the circle's functions.

Those of libm and NumPy have ways of their own for each instruction set, and results that differ in the last bit. Here
every one is a fixed order of additions, multiplications, divisions and square roots in float64, each of which IEEE 754
rounds in one way alone; NumPy makes each an operation of its own, so that none are fused. Within a few units in
the last place of the true value. `fast_exp` and `fast_sine` are for whole pictures, in float32 and by tables.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from patina.synth.compiled import functions, pointer

Floats: TypeAlias = NDArray[np.float64]
"""Any shape, float64. A number counts as an array of none."""

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_PER_LN2, _PER_HALF_PI, _ROOT_HALF = 1.4426950408889634, 0.6366197723675814, 0.7071067811865476
_HALF_PI = 1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624879595063154e-21
"""Parts of ln 2 and π/2 (fdlibm): the first have so many zero bits that small multiples of them are exact."""

_EXP = [1 / math.factorial(n) for n in range(13, -1, -1)]
_SINE: list[float] = [(-1) ** n / math.factorial(2 * n + 1) for n in range(8, -1, -1)]
_COSINE: list[float] = [(-1) ** n / math.factorial(2 * n) for n in range(8, -1, -1)]
_LOG = [2 / (2 * n + 1) for n in range(10, 0, -1)]
_ARCTAN: list[float] = [(-1) ** n / (2 * n + 1) for n in range(11, -1, -1)]
_EIGHTHS = [0.0, 0.124354994546761435, 0.244978663126864154, 0.358770670270572198, 0.463647609000806116]
_EIGHTHS += [0.558599315343562436, 0.643501108793284387, 0.718829999621624527, 0.785398163397448310]
"""Arc tangents of 0/8 to 8/8."""


def exp(x: ArrayLike) -> Floats:
    """e^x; 0 below -745, infinite above 709.78."""
    x = np.clip(np.asarray(x, np.float64), -800, 800)
    whole = np.rint(x * _PER_LN2)
    part = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(_polynomial(_EXP, part), whole.astype(np.int32)))


def log(x: ArrayLike) -> Floats:
    """The natural logarithm of x > 0."""
    part, power = np.frexp(np.asarray(x, np.float64))
    small = part < _ROOT_HALF
    part, power = np.where(small, part + part, part), power - small
    away = part - 1
    ratio = away / (2 + away)
    square = ratio * ratio
    rest = ratio * (square * _polynomial(_LOG, square))  # ln(1 + f) = f − s·(f − R), s = f/(2 + f)
    half = ratio * away
    return np.asarray(power * _LN2_HIGH + (away - (half - (rest + power * _LN2_LOW))))


def log1p(x: ArrayLike) -> Floats:
    """ln(1 + x), x > -1, also of a small x."""
    x = np.asarray(x, np.float64)
    whole = 1 + x
    return np.asarray(log(whole) + (x - (whole - 1)) / whole)


def power(base: ArrayLike, exponent: ArrayLike) -> Floats:
    """base^exponent, base ≥ 0; of 0 it is 0 where the exponent is above 0."""
    base = np.asarray(base, np.float64)
    nothing = base == 0
    return np.asarray(np.where(nothing, 0.0, exp(np.asarray(exponent, np.float64) * log(np.where(nothing, 1.0, base)))))


def cube_root(x: ArrayLike) -> Floats:
    """The cube root of x ≥ 0."""
    x = np.asarray(x, np.float64)
    root = power(x, 1 / 3)
    square = np.where(root == 0, 1.0, root * root)
    return np.asarray(root - (root - x / square) / 3)


def sine(x: ArrayLike) -> Floats:
    """sin x, |x| < 10⁵ radians."""
    return _circle(x, 0)


def cosine(x: ArrayLike) -> Floats:
    """cos x, |x| < 10⁵ radians."""
    return _circle(x, 1)


def tangent(x: ArrayLike) -> Floats:
    """tan x, |x| < 10⁵ radians."""
    return np.asarray(sine(x) / cosine(x))


def arc_tangent(x: ArrayLike) -> Floats:
    """The angle from -π/2 to π/2 whose tangent is x."""
    x = np.asarray(x, np.float64)
    size = np.abs(x)
    steep = size > 1
    small = np.where(steep, 1 / np.where(steep, size, 1), size)
    near = np.rint(8 * small)
    middle = near / 8
    rest = (small - middle) / (1 + small * middle)  # at most a sixteenth
    square = rest * rest
    angle = np.take(_EIGHTHS, near.astype(np.intp)) + rest * _polynomial(_ARCTAN, square)
    return np.asarray(np.copysign(np.where(steep, (_HALF_PI[0] - angle) + _HALF_PI[1], angle), x))


def arc_sine(x: ArrayLike) -> Floats:
    """The angle from -π/2 to π/2 whose sine is x, -1..1."""
    x = np.asarray(x, np.float64)
    other = np.sqrt((1 - x) * (1 + x))
    end = other == 0
    return np.asarray(np.where(end, np.copysign(math.pi / 2, x), arc_tangent(x / np.where(end, 1.0, other))))


def distance(x: ArrayLike, y: ArrayLike) -> Floats:
    """√(x² + y²), of numbers that neither overflow nor vanish as squares."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.asarray(np.sqrt(x * x + y * y))


def interpolated(places: ArrayLike, known: ArrayLike, values: ArrayLike) -> Floats:
    """`values` at the rising places `known`, straight between them and level beyond them: as np.interp, whose C code
    a compiler may fuse."""
    places, known, values = (np.asarray(a, np.float64) for a in (places, known, values))
    left = np.clip(np.searchsorted(known, places, side="right") - 1, 0, len(known) - 2)
    span = known[left + 1] - known[left]
    share = np.clip((places - known[left]) / np.where(span == 0, 1.0, span), 0, 1)
    low = values[left]
    return np.asarray(low + (values[left + 1] - low) * share)


# ---------------------------------------------------------------------------------------------------------------------
# Of one number: the same operations in the same order, without NumPy's cost for a call


def exp_of(x: float) -> float:
    """`exp` of one number, to the bit."""
    x = min(max(x, -800.0), 800.0)
    whole = round(x * _PER_LN2)
    part = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    total = _EXP[0]
    for factor in _EXP[1:]:
        total = total * part + factor
    try:
        return math.ldexp(total, whole)
    except OverflowError:
        return math.inf


def log_of(x: float) -> float:
    """`log` of one number above 0, to the bit."""
    part, power = math.frexp(x)
    if part < _ROOT_HALF:
        part, power = part + part, power - 1
    away = part - 1
    ratio = away / (2 + away)
    square = ratio * ratio
    total = _LOG[0]
    for factor in _LOG[1:]:
        total = total * square + factor
    return power * _LN2_HIGH + (away - (ratio * away - (ratio * (square * total) + power * _LN2_LOW)))


def power_of(base: float, exponent: float) -> float:
    """`power` of one number, to the bit."""
    return exp_of(exponent * log_of(base)) if base else 0.0


def sine_of(x: float) -> float:
    """`sine` of one number, to the bit."""
    return _circle_of(x, 0)


def cosine_of(x: float) -> float:
    """`cosine` of one number, to the bit."""
    return _circle_of(x, 1)


def _circle_of(x: float, quarter: int) -> float:
    quarters = round(x * _PER_HALF_PI)
    part = x
    for share in _HALF_PI:
        part -= quarters * share
    which, square = quarters + quarter, part * part
    factors = _COSINE if which % 2 else _SINE
    total = factors[0]
    for factor in factors[1:]:
        total = total * square + factor
    if which % 2 == 0:
        total = part * total
    return -total if which // 2 % 2 else total


# ---------------------------------------------------------------------------------------------------------------------
# For whole pictures

CHUNK = 1 << 15
"""Values at a time: they and what is made of them stay within a second-level cache."""

_scratch = threading.local()  # shards are built by threads, and each needs buffers of its own

STEPS, DEEPEST = 1 << 11, 32.0
"""Entries to a unit of `fast_exp`'s table, and where it ends: below e^-32 there is nothing for 16 bits."""

ROUGH_STEPS = 1 << 12
"""Entries to a unit of `rough_exp`'s table, which ends at e^-16: there is nothing for 16 bits below, either."""

DECAY_STEPS = 1 << 8
"""Entries to a unit of `rough_decay`'s table."""


def fast_exp(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """e^x of x ≤ 0, float32, same shape, a new array; within a part in 10⁶ of the true value, and of e^-32 below -32.

    By a table of 2^16 entries and a straight line from the nearest of them.
    """
    result = np.empty(x.shape, np.float32)
    values, out, table = np.ascontiguousarray(x, np.float32).reshape(1, -1), result.reshape(1, -1), _exp_table()
    for start in range(0, x.size, CHUNK):
        part, found = values[:, start : start + CHUNK], out[:, start : start + CHUNK]
        place, step, index = (buffer[:, : part.size] for buffer in _buffers())
        np.multiply(part, np.float32(-STEPS), out=place)
        np.minimum(place, np.float32(STEPS * DEEPEST - 1), out=place)
        np.rint(place, out=step)
        index[:] = step
        cv2.LUT(index, table, found)
        step -= place
        step *= np.float32(1 / STEPS)
        step += np.float32(1)
        found *= step
    return result


def rough_exp(x: NDArray[np.float32], factor: float = 1.0) -> NDArray[np.float32]:
    """e^(factor·x) of factor·x ≤ 0, as `fast_exp`, in less time: the nearest of a table's entries, within a part
    in 8000 of the true value, and of e^-16 below -16. That is enough for 8-bit levels."""
    return _at_steps(x, -ROUGH_STEPS * factor, rough_table())


def rough_share(x: NDArray[np.float32], factor: float) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """`rough_exp`, and the same as 16 bits with 65535 = 1: what share of light is let through, and its truth map."""
    result, stored = np.empty(x.shape, np.float32), np.empty(x.shape, np.uint16)
    values = np.ascontiguousarray(x, np.float32).reshape(1, -1)
    if compiled := functions():
        tables = pointer(rough_table()), pointer(share_table())
        count = -ROUGH_STEPS * factor
        compiled.patina_rough_share(pointer(values), x.size, count, *tables, pointer(result), pointer(stored))
        return result, stored
    for start in range(0, x.size, CHUNK):
        places = _steps(values[:, start : start + CHUNK], -ROUGH_STEPS * factor)
        cv2.LUT(places, rough_table(), result.reshape(1, -1)[:, start : start + CHUNK])
        cv2.LUT(places, share_table(), stored.reshape(1, -1)[:, start : start + CHUNK])
    return result, stored


def rough_decay(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1 − e^−x)/x of 0 ≤ x < 256, the mean of e^−x from 0 to x, float32, same shape, a new array; within 0.001 of it,
    by the nearest of a table's entries."""
    return _at_steps(x, DECAY_STEPS, decay_table())


def rough_power(x: NDArray[np.float32], exponent: NDArray[np.float32]) -> NDArray[np.float32]:
    """x^exponent of 1 ≤ x < 65536 and exponents from -1 to 0, float32, same shape, a new array; within a part in 4000:
    by a table of logarithms, 4096 to an octave, and one of `rough_exp`."""
    result = np.empty(x.shape, np.float32)
    values, powers, out = (np.ascontiguousarray(a, np.float32).reshape(1, -1) for a in (x, exponent, result))
    if compiled := functions():
        tables = pointer(log_table()), pointer(rough_table())
        compiled.patina_rough_power(pointer(values), pointer(powers), values.size, *tables, pointer(out))
        return result
    for start in range(0, x.size, CHUNK):
        part = values[:, start : start + CHUNK]
        first, other, index = (buffer[:, : part.size] for buffer in _buffers())
        bits = first.view(np.int32)
        np.subtract(part.view(np.int32), np.int32(0x3F800000), out=bits)  # less the bits of 1
        np.right_shift(bits, np.int32(11), out=bits)
        index[:] = bits
        cv2.LUT(index, log_table(), other)
        places: Any = cv2.multiply(other, powers[:, start : start + CHUNK], dst=index, dtype=cv2.CV_16U)
        cv2.LUT(places, rough_table(), out[:, start : start + CHUNK])
    return result


def _at_steps(x: NDArray[np.float32], count: float, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """A table of 65536 at `count` times the values, to the nearest, same shape, a new array."""
    result = np.empty(x.shape, np.float32)
    values, out = np.ascontiguousarray(x, np.float32).reshape(1, -1), result.reshape(1, -1)
    if compiled := functions():
        compiled.patina_rough(pointer(values), values.size, count, pointer(table), pointer(out))
        return result
    for start in range(0, x.size, CHUNK):
        cv2.LUT(_steps(values[:, start : start + CHUNK], count), table, out[:, start : start + CHUNK])
    return result


def _steps(part: NDArray[np.float32], count: float) -> Any:
    """`count` times the values of 1×N floats, N ≤ CHUNK, to the nearest of 0 to 65535, of products below
    2^31, beyond which OpenCV gives 0. In this thread's buffer."""
    factor, _, index = (buffer[:, : part.size] for buffer in _buffers())
    factor.fill(count)  # with one number OpenCV takes longer
    return cv2.multiply(part, factor, dst=index, dtype=cv2.CV_16U)


def fast_sine(turns: NDArray[np.float32]) -> NDArray[np.float32]:
    """sin 2πx of x in whole turns, |x| < 1000, float32, same shape, a new array; within 2e-6 of the true value where x
    is exact."""
    result = np.empty(turns.shape, np.float32)
    values, out = np.ascontiguousarray(turns, np.float32).reshape(1, -1), result.reshape(1, -1)
    for start in range(0, turns.size, CHUNK):
        part, total = values[:, start : start + CHUNK], out[:, start : start + CHUNK]
        x, square = (buffer[:, : part.size] for buffer in _buffers()[:2])
        np.rint(part, out=x)
        np.subtract(part, x, out=x)
        np.multiply(x, x, out=square)
        first, *others = sine_factors()
        np.multiply(square, first, out=total)
        for factor in others[:-1]:
            total += factor
            total *= square
        total += others[-1]
        total *= x
    return result


def fast_log(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The natural logarithm of x > 0, float32, same shape, a new array; within 5e-7 of the true value near 1, and a
    part in 10⁶ elsewhere. Of 0 it is about -88."""
    result = np.empty(x.shape, np.float32)
    values, out = np.ascontiguousarray(x, np.float32).reshape(1, -1), result.reshape(1, -1)
    for start in range(0, x.size, CHUNK):
        part, total = values[:, start : start + CHUNK], out[:, start : start + CHUNK]
        ratio, square = (buffer[:, : part.size] for buffer in _buffers()[:2])
        bits = part.view(np.int32)
        powers = (bits - np.int32(0x3F3504F3)) >> 23  # so that what is left lies between √½ and √2
        left = (bits - (powers << 23)).view(np.float32)
        np.subtract(left, np.float32(1), out=ratio)
        left += np.float32(1)
        ratio /= left
        np.multiply(ratio, ratio, out=square)
        np.multiply(square, np.float32(2 / 9), out=total)
        for factor in (2 / 7, 2 / 5, 2 / 3):
            total += np.float32(factor)
            total *= square
        total += np.float32(2)
        total *= ratio
        total += np.multiply(powers, np.float32(0.6931472), dtype=np.float32)
    return result


def fast_cube_root(x: NDArray[np.floating]) -> Floats:
    """The cube root of x > 0, float64, within a part in 10⁹: Newton's method from a guess by the number's bits."""
    bits = np.asarray(x, np.float32).view(np.int32)
    exact = np.asarray(x, np.float64)
    root = (bits // 3 + np.int32(0x2A514067)).view(np.float32).astype(np.float64)
    for _ in range(3):
        root -= (root - exact / (root * root)) / 3
    return root


def _buffers() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """This thread's 1×CHUNK of each type. Fresh memory for every picture costs more than the arithmetic."""
    if not hasattr(_scratch, "buffers"):
        floats = np.empty((2, 1, CHUNK), np.float32)
        _scratch.buffers = floats[0], floats[1], np.empty((1, CHUNK), np.uint16)
    buffers: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]] = _scratch.buffers
    return buffers


@cache
def _exp_table() -> NDArray[np.float32]:
    table = exp(-np.arange(int(STEPS * DEEPEST)) / STEPS).astype(np.float32)[None]
    table.setflags(write=False)
    return table


@cache
def rough_table() -> NDArray[np.float32]:
    """What `rough_exp` looks up: e^(−n/`ROUGH_STEPS`) of n = 0..65535, 1×65536. Read-only."""
    table = exp(-np.arange(65536) / ROUGH_STEPS).astype(np.float32)[None]
    table.setflags(write=False)
    return table


@cache
def share_table() -> NDArray[np.uint16]:
    """What `rough_share` looks up for the truth map, 1×65536. Read-only."""
    table: NDArray[np.uint16] = np.rint(rough_table() * np.float32(65535)).astype(np.uint16)
    table.setflags(write=False)
    return table


@cache
def decay_table() -> NDArray[np.float32]:
    """What `rough_decay` looks up, in steps of 1/`DECAY_STEPS`, 1×65536. Read-only."""
    x = np.maximum(np.arange(65536) / DECAY_STEPS, 1e-6)
    table = ((1 - exp(-x)) / x).astype(np.float32)[None]
    table.setflags(write=False)
    return table


@cache
def log_table() -> NDArray[np.float32]:
    """What `rough_power` looks up: logarithms of the middle of each entry's values, in steps of `rough_exp`, below 0,
    1×65536. Read-only."""
    octave, part = np.divmod(np.arange(65536), 4096)
    middles = np.ldexp(1 + (part + 0.5) / 4096, octave.astype(np.int32))
    table = (log(middles) * -ROUGH_STEPS).astype(np.float32)[None]
    table.setflags(write=False)
    return table


@cache
def sine_factors() -> NDArray[np.float32]:
    """sin 2πx over x as a polynomial of x², |x| ≤ ½, the highest power first: Taylor's, which at a half turn is 2e-5
    off. Read-only."""
    terms = 9
    factors = [1.0]
    for n in range(1, terms):
        factors.append(-factors[-1] / ((2 * n) * (2 * n + 1)))
    whole = 2 * math.pi
    square, powers = whole * whole, [whole]
    for _ in range(1, terms):
        powers.append(powers[-1] * square)
    found = np.array([f * p for f, p in zip(reversed(factors), reversed(powers), strict=True)], np.float32)
    found.setflags(write=False)
    return found


def _circle(x: ArrayLike, quarter: int) -> Floats:
    x = np.asarray(x, np.float64)
    quarters = np.rint(x * _PER_HALF_PI)
    part = x
    for share in _HALF_PI:
        part = part - quarters * share
    square = part * part
    which = quarters.astype(np.int64) + quarter
    found = np.where(which % 2 == 0, part * _polynomial(_SINE, square), _polynomial(_COSINE, square))
    return np.asarray(np.where(which // 2 % 2 == 0, found, -found))


def _polynomial(factors: Sequence[float] | Sequence[np.float32], x: NDArray[np.floating]) -> NDArray[np.floating]:
    """By Horner's scheme, the factor of the highest power first, in the type of `x`."""
    total = np.full_like(x, factors[0])
    for factor in factors[1:]:
        total *= x
        total += x.dtype.type(factor)
    return total
