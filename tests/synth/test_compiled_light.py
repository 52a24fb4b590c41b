"""Compiled conversions of pictures, random numbers and what a sensor does: NumPy's bits, and OpenCV's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.synth import image as conversions
from patina.synth import sensor as sensors
from patina.synth.compiled import library
from patina.synth.degradations import over_exposed
from patina.synth.rng import MANY, Rng
from tests.synth.test_compiled import COMPILER, compiled, library_of, needs_compiler, pictures, some_sources

pytestmark = needs_compiler

Both = Callable[[Callable[[], Any]], tuple[Any, Any]]

PARAMS = {"iso": 100, "shot": 3e-4, "read": 2e-6, "row": 4e-4, "red": 2.1, "blue": 1.7, "bits": 12, "seed": "2a"}


def same(one: Any, other: Any) -> bool:
    """Whether arrays, or several of them, are equal to the bit, 0 and -0 told apart."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))


def light(*shape: int) -> conversions.FloatImage:
    """Values in 0..1 and beyond, both ends, and those half-way between two places of a table."""
    values = Rng("7").uniforms(int(np.prod(shape))) * 1.5 - 0.25
    values[::7] = (np.arange(len(values[::7])) + 0.5) / 65535
    ends = [0, 1, -0.0, -1e-30, 1 + 1e-7, 1 - 1e-7, 1e9, -1e9, 1e-40, np.inf, -np.inf]
    values[1 : 7 * len(ends) : 7] = ends
    return values.astype(np.float32).reshape(shape)


@pytest.mark.parametrize("shape", [(1, 100), (33, 31, 3), (64, 1024), (65, 1023)])
def test_conversions_have_the_same_bits(shape: tuple[int, ...], both: Both) -> None:
    values = light(*shape)
    plane = values.reshape(len(values), -1)
    planes = [plane, plane[::-1], plane[:, ::-1]]
    words = [np.arange(i, plane.size + i, dtype=np.uint16).reshape(plane.shape) * np.uint16(257) for i in range(3)]
    table = np.arange(65536).astype(np.uint8)[None]

    def found() -> list[np.ndarray]:
        levels = conversions.to_encoded_levels(values)
        return [
            *(levels, conversions.to_float(levels), conversions.to_linear(values), conversions.to_encoded(values)),
            *(conversions.to_encoded_levels(planes), conversions.words_as_levels(words, table)),
            *(conversions.to_float(levels[:, ::2]), conversions.to_linear(values[:, ::2])),
        ]

    assert same(*both(found))


def test_three_planes_are_the_picture_that_they_make(both: Both) -> None:
    planes = [light(40, 50), light(40, 50)[::-1], light(40, 50)[:, ::-1]]
    whole = np.stack(planes, axis=-1)
    for way in both(lambda: (conversions.to_encoded_levels(planes), conversions.to_uint8(planes))):
        assert same(way, (conversions.to_encoded_levels(whole), conversions.to_uint8(whole)))


@pytest.mark.parametrize("count", [1, MANY - 1, MANY, MANY + 1, 10001])
def test_random_numbers_are_numpys(count: int) -> None:
    mine, theirs = Rng("ab12" * 8), np.random.PCG64(int("ab12" * 8, 16))
    for _ in range(3):
        assert same(mine.raw(count), theirs.random_raw(count))
    assert same(mine.levels_from(4 * count + 3, 4 * count)[:4], mine.levels(4 * count + 7)[-4:]), "the stream stays"


def test_random_numbers_without_integers_of_128_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some compilers have none."""
    folder = some_sources(tmp_path, "random")
    monkeypatch.setenv("CC", f"{COMPILER} -U__SIZEOF_INT128__")
    assert compiled(folder) == ""
    made = library_of(folder)
    found, bits = np.empty(2001, np.uint64), np.random.PCG64(77)
    state = bits.state["state"]
    start = np.array([part for name in ("state", "inc") for part in divmod(state[name], 1 << 64)], np.uint64)
    function = ctypes.CDLL(str(made)).patina_random
    function.argtypes = library.signatures(folder)["patina_random"]
    function(library.pointer(start), found.size, library.pointer(found))
    assert same(found, bits.random_raw(found.size))


@pytest.mark.parametrize("size", [(16, 16), (61, 83), (37, 1500)])
def test_a_camera_has_the_same_bits(size: tuple[int, int], both: Both) -> None:
    gt = pictures(*size)[1]

    def found() -> list[np.ndarray]:
        raw = sensors.unprocess_planes(gt, PARAMS, 0.02)
        bright = [plane * np.float32(70) - np.float32(0.2) for plane in raw]  # beyond both ends
        levels = sensors.develop_levels(bright, PARAMS)
        assert same(levels, sensors.developed_levels(sensors.develop(bright, PARAMS)))
        return [*raw, *sensors.develop(bright, PARAMS), levels, sensors.noise_map(raw[1], PARAMS, 4, 65535 / 0.02)]

    assert same(*both(found))


@pytest.mark.parametrize("size", [(16, 16), (61, 83), (37, 1501)])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_a_sensors_noise_has_the_same_bits_in_any_strips(size: tuple[int, int], count: int, both: Both) -> None:
    gt = pictures(*size)[1]
    raw = sensors.unprocess_planes(gt, PARAMS, 0.02)

    def found(count: int = count) -> list[np.ndarray]:
        camera = sensors.sensor(*size, PARAMS, 4, 1e-4)
        parts = []
        for top in range(0, size[0], count):
            bottom = min(top + count, size[0])
            first, end = camera.span(top, bottom)
            parts.append(camera.sense([plane[first:end] for plane in raw], top, bottom))
        return [np.concatenate([part[colour] for part in parts]) for colour in range(3)]

    one, other = both(found)
    assert same(one, other) and same(one, found(size[0]))


@pytest.mark.parametrize("shoulder", [0.0, 0.03, 0.1, 0.37, 0.6180339887, 1.0])
@pytest.mark.parametrize("times", [1.0, 1.7, 40.0])
def test_more_light_has_the_same_bits(shoulder: float, times: float, both: Both) -> None:
    def found() -> np.ndarray:
        raw = light(61, 83)
        over_exposed._expose(raw, times, shoulder)
        return raw

    assert same(*both(found))
