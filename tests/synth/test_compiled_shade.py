"""Shadows by compiled loops, and without them: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patina.synth.compiled import functions
from patina.synth.degradations.shadowed import Shadowed, _corners, _corners_compiled, _covered, _fill, _lit, _thrown
from patina.synth.image import to_float
from patina.synth.occluders import KINDS
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat
from tests.synth.test_compiled import needs_compiler
from tests.synth.test_compiled_convolution import same

PARAMS = {
    "crop": [0.0, 0.0, 1.0, 1.0],
    "kind": "building",
    "ratio": 5.0,
    "blue": 0.2,
    "offset": 0.003,
    "area": 0.4,
    "penumbra": 16.0,
    "seed": "2a",
}


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "changed"),
    [
        ((16, 16), {"offset": 0.0}),
        ((61, 83), {"offset": 0.1, "penumbra": 100.0}),
        ((270, 140), {"penumbra": 0.0, "ratio": 50.0}),
        ((530, 515), {"seed": "5"}),
    ],
)
def test_shadows_have_the_same_bits(
    kind: str, size: tuple[int, int], changed: dict[str, Any], both: Callable[..., tuple[Any, Any]]
) -> None:
    params = PARAMS | changed | {"kind": kind}
    for image in (cut(*size), flat(*size, 255)):
        one, other = both(lambda image=image: Shadowed().apply(image, params))
        assert same(one.image, other.image) and same(one.truth["matte"], other.truth["matte"])
    if size == (61, 83):
        one, other = both(lambda: Shadowed().render(to_float(cut(*size)), params))
        assert same(one.pixels, other.pixels) and same(one.truth["matte"], other.truth["matte"])


@needs_compiler
@pytest.mark.parametrize("count", [1, 7, 64])
def test_strips_in_the_shadow_are_the_picture(count: int, both: Callable[..., tuple[Any, Any]]) -> None:
    image = cut(130, 97)
    whole = Shadowed().apply(image, PARAMS)

    def parts() -> list[Any]:
        strips = Shadowed().strips(image, PARAMS)
        return [strips.rows(top, min(top + count, 130)) for top in range(0, 130, count)]

    for found in both(parts):
        assert same(np.concatenate([part.pixels for part in found]), whole.image)
        assert same(np.concatenate([part.truth["matte"] for part in found]), whole.truth["matte"])


@needs_compiler
@pytest.mark.parametrize(
    ("high", "wide", "rows", "columns"), [(40, 50, 9, 13), (7, 7, 7, 7), (31, 8, 1, 8), (9, 40, 9, 1)]
)
def test_covered_floor_is_counted_alike(
    high: int, wide: int, rows: int, columns: int, both: Callable[..., tuple[Any, Any]]
) -> None:
    """By Fourier transforms, by sums along rows, and pixel by pixel."""
    chance = np.random.default_rng(high)
    for floor in (
        chance.random((rows, columns)) < 0.6,
        np.zeros((rows, columns), bool),
        np.ones((rows, columns), bool),
    ):
        mask = chance.choice(np.array([0, 0, 255, 255, 40, 131], np.uint8), (high, wide))
        one, other = both(lambda mask=mask, floor=floor: _covered(mask, floor))
        assert same(one, other)
        windows = np.lib.stride_tricks.sliding_window_view(mask, floor.shape)
        assert np.array_equal(one, np.rint((windows * floor).sum(axis=(2, 3), dtype=np.int64) / 255))


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
def test_silhouettes_have_the_same_bits(kind: str, both: Callable[..., tuple[Any, Any]]) -> None:
    """Drawn, and as light with its penumbrae; from in the middle of them to beside them."""
    for seed in "12":
        rng = Rng(seed)
        occluder = KINDS[kind](rng)
        throw = _thrown(occluder, rng)
        for corner in (np.array([0.1, -0.9]), np.array([-0.5, -0.2]), np.array([30.0, 30.0])):

            def drawn(occluder: Any = occluder, throw: Any = throw, corner: Any = corner) -> Any:
                mask = np.zeros((90, 121), np.uint8)
                _fill(mask, occluder.layers[0].polygons, np.column_stack([throw * 90, -corner * 90]))
                return mask, _lit(occluder, throw, corner, (121, 90), 90.0, 60.0)

            for one, other in zip(*both(drawn), strict=True):
                assert same(one, other)


@needs_compiler
@pytest.mark.parametrize(("count", "corners"), [(1, 3), (1, 7), (1, 8), (1, 200), (2, 9), (40, 28)])
def test_corners_have_the_same_bits(count: int, corners: int) -> None:
    """Of one polygon, whose corners NumPy adds up in another order, and of many."""
    chance = np.random.default_rng(corners)
    points = chance.normal(0, 1, (count, corners, 2)) * chance.choice([0.004, 1.0], (count, 1, 1))
    matrix = chance.normal(0, 60, (2, 3))
    compiled = functions()
    assert compiled
    for one, other in zip(
        _corners_compiled(compiled, points, matrix, (90, 70)), _corners(points, matrix, (90, 70)), strict=True
    ):
        assert same(one, other)
