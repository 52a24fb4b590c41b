"""Compiled depth and air, and the rough functions of whole pictures: NumPy's bits, and OpenCV's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from patina.synth import air, depth, elementary
from patina.synth.image import Image, to_encoded_levels, to_uint16
from patina.synth.rng import Rng
from tests.synth.pictures import photo
from tests.synth.test_compiled import needs_compiler, pictures
from tests.synth.test_compiled_light import same

pytestmark = needs_compiler

Both = Callable[[Callable[[], Any]], tuple[Any, Any]]

PARAMS = {"depth": "", "crop": [0.0, 0.0, 1.0, 1.0], "horizon": 0.4, "background": 300.0, "layer": 60.0, "seed": "2a"}


def numbers(*shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    values = low + (high - low) * Rng("6").uniforms(int(np.prod(shape)))
    return values.astype(np.float32).reshape(shape)


@pytest.mark.parametrize("shape", [(1, 1), (33, 31), (5, 1024), (64, 1025)])
def test_rough_functions_have_the_same_bits(shape: tuple[int, int], both: Both) -> None:
    x = numbers(*shape, low=-1, high=40)
    x[0, 0] = 0
    x[:: max(1, len(x) // 3)] = ((np.arange(shape[1]) + 0.5) / 4096).astype(np.float32)  # half-way between two places
    base, powers = numbers(*shape, low=1, high=20000), -numbers(*shape)[::-1]
    base[0, 0] = 1

    def found() -> list[np.ndarray]:
        return [
            *(elementary.rough_exp(x), elementary.rough_exp(x, -0.37), elementary.rough_decay(x[:, ::2])),
            *(*elementary.rough_share(x, -2.5), *elementary.rough_share(x[:, ::2], -1)),
            *(elementary.rough_power(base, powers), elementary.rough_power(base[:, ::2], powers[:, ::2])),
            *(to_uint16(x / 30), to_uint16(x, 2000), depth.as_truth(base, 1 / 32), depth.as_truth(base, 1 / 1000)),
        ]

    assert same(*both(found))


def with_sky(height: int, width: int) -> Image:
    """Blue above, a photograph below."""
    whole = np.tile(photo(), (1 + height // len(photo()), 1 + width // photo().shape[1], 1))[:height, :width].copy()
    whole[: height // 3] = np.linspace((90, 140, 235), (150, 180, 240), height // 3 * width).reshape(-1, width, 3)
    return np.ascontiguousarray(whole)


@pytest.mark.parametrize("size", [(16, 16), (61, 83), (300, 451), (37, 1500)])
def test_depth_has_the_same_bits_in_any_strips(size: tuple[int, int], both: Both) -> None:
    for image in (*pictures(*size), with_sky(*size)):

        def found(count: int = 11, image: Image = image) -> np.ndarray:
            rows = depth.prior_rows(image, PARAMS)
            return np.concatenate([rows(top, min(top + count, size[0])) for top in range(0, size[0], count)])

        one, other = both(found)
        assert same(one, other) and same(one, found(1000)) and np.ptp(one) > 0


def test_sky_is_seen_by_compiled_loops() -> None:
    found = depth.prior(with_sky(300, 451), PARAMS)
    assert found[:80].min() > 1900 and np.median(found[200:]) < 100


def test_grey_is_opencvs_for_every_colour() -> None:
    """Depth of a flat field: by way of its grey, with a slope of 1 and no other part."""
    from patina.synth.compiled import functions, pointer

    compiled = functions()
    assert compiled is not None
    levels = np.array([*range(0, 256, 5), 1, 127, 128, 129, 254], np.uint8)
    colours = np.ascontiguousarray(np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1))
    colours = colours.reshape(len(levels), -1, 3)
    slope, offset = np.full(colours.shape[:2], 255, np.float32), np.ones(colours.shape[:2], np.float32)
    where = (None, None, None, None, None)
    ends = (1.0, 1e6, 1.0, 0)
    compiled.patina_depths(pointer(colours), slope.size, pointer(slope), pointer(offset), *ends, *where)
    assert np.array_equal(np.rint(1 / slope - 1), cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize("size", [(16, 16), (61, 83), (40, 1500)])
@pytest.mark.parametrize("patches", [0.0, 0.3])
def test_ways_through_air_have_the_same_bits(size: tuple[int, int], patches: float, both: Both) -> None:
    metres = numbers(*size, low=0.1, high=2000)

    def found(count: int = 7) -> np.ndarray:
        way = air.way_through(*size, PARAMS | {"patches": patches})
        tops = range(0, size[0], count)
        return np.concatenate([way(metres[top : top + count], top, min(top + count, size[0])) for top in tops])

    one, other = both(found)
    assert same(one, other) and same(one, found(1000)) and (one[0] < metres[0]).all() == (patches == 0)


@pytest.mark.parametrize("size", [(16, 16), (61, 83), (40, 1500)])
@pytest.mark.parametrize("gradient", [(0.0, 0.0), (0.3, -0.2)])
@pytest.mark.parametrize("lights", [air.Lights(), air.Lights((0.9, 0.5, 1.2)), air.Lights(is_linear=False)])
def test_air_has_the_same_bits(
    size: tuple[int, int], gradient: tuple[float, float], lights: air.Lights, both: Both
) -> None:
    image, way = pictures(*size)[1], numbers(*size, high=900)

    def found(count: int = 7) -> list[np.ndarray]:
        airs = [air.airlight_of(*size, PARAMS | {"gradient": gradient}, level) for level in (0.7, 0.6, 0.8)]
        parts = []
        for factors in ((-0.01, -0.01, -0.01), (-0.009, -0.01, -0.013)):
            for top in range(0, size[0], count):
                part = np.s_[top : top + count]
                planes, stored = air.through_air(image[part], lights, way[part], factors, airs, top)
                levels, same_stored = air.through_air(image[part], lights, way[part], factors, airs, top, encoded=True)
                assert same(levels, to_encoded_levels(planes)) and same(stored, same_stored)
                parts.append([*planes, stored, levels])
        return [np.concatenate(some) for some in zip(*parts, strict=True)]

    one, other = both(found)
    assert same(one, other) and same(one, found(1000))


@pytest.mark.parametrize("size", [(1, 1), (61, 83)])
def test_light_is_seen_through_air_with_the_same_bits(size: tuple[int, int], both: Both) -> None:
    light, share, brightness = numbers(*size, high=1.2), numbers(*size)[::-1], numbers(*size, low=0.5)[:, ::-1]

    def found() -> list[np.ndarray]:
        even = air.seen_through(light.copy(), share, np.float32(0.7))
        part = np.ones((size[0], 2 * size[1]), np.float32)[:, ::2]  # in place, where values do not follow one another
        return [even, air.seen_through(light.copy(), share, brightness), air.seen_through(part, share, brightness)]

    assert same(*both(found))
