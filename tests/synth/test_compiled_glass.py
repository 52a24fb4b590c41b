"""Drops of water by compiled loops, and without them: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patina.synth import droplets
from patina.synth.convolution import disc
from patina.synth.degradations.raindrop import Raindrop
from patina.synth.droplets import drops, water
from patina.synth.image import level_light, level_table, to_float
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat
from tests.synth.test_compiled import needs_compiler
from tests.synth.test_compiled_convolution import same

PARAMS = {"area": 0.3, "size": 30.0, "defocus": 5.0, "contact": 35.0, "sky": 1.8, "runs": 2, "film": 0.0, "seed": "2a"}

CHANGES: list[dict[str, Any]] = [
    {},
    {"area": 0.0},
    {"area": 0.8, "size": 120.0, "contact": 60.0},
    {"defocus": 0.0, "sky": 0.0},
    {"defocus": 20.0, "runs": 12, "size": 4.0},
    {"film": 4.0, "sky": 0.0, "contact": 15.0},
]


@needs_compiler
@pytest.mark.parametrize("size", [(16, 16), (61, 83), (130, 97)])
@pytest.mark.parametrize("changed", CHANGES)
def test_water_has_the_same_bits(
    changed: dict[str, Any], size: tuple[int, int], both: Callable[..., tuple[Any, Any]]
) -> None:
    for one, other in zip(*both(lambda: water(*size, PARAMS | changed)), strict=True):
        assert same(one, other)


@needs_compiler
def test_drops_that_are_added_up_some_at_a_time_have_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, both: Callable[..., tuple[Any, Any]]
) -> None:
    monkeypatch.setattr(droplets, "AT_ONCE", 500)
    for one, other in zip(*both(lambda: water(90, 120, PARAMS)), strict=True):
        assert same(one, other)


@needs_compiler
@pytest.mark.parametrize("size", [(16, 16), (61, 83), (300, 310)])
@pytest.mark.parametrize("changed", CHANGES)
def test_pictures_behind_drops_have_the_same_bits(
    changed: dict[str, Any], size: tuple[int, int], both: Callable[..., tuple[Any, Any]]
) -> None:
    for image in (cut(*size), flat(*size, 255), flat(*size, 0)):
        one, other = both(lambda image=image: Raindrop().apply(image, PARAMS | changed))
        assert same(one.image, other.image) and same(one.truth["drops"], other.truth["drops"])
        one, other = both(lambda image=image: Raindrop().render(to_float(image), PARAMS | changed))
        assert same(one.pixels, other.pixels) and same(one.truth["drops"], other.truth["drops"])


@needs_compiler
@pytest.mark.parametrize("count", [1, 7, 64])
def test_strips_behind_drops_are_the_picture(count: int, both: Callable[..., tuple[Any, Any]]) -> None:
    image = cut(130, 97)
    whole = Raindrop().apply(image, PARAMS)

    def parts() -> list[Any]:
        strips = Raindrop().strips(image, PARAMS)
        return [strips.rows(top, min(top + count, 130)) for top in range(0, 130, count)]

    for found in both(parts):
        assert same(np.concatenate([part.pixels for part in found]), whole.image)
        assert same(np.concatenate([part.truth["drops"] for part in found]), whole.truth["drops"])


def test_drops_that_are_drawn_many_at_a_time_are_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same from one stream, until they cover the area."""
    many = drops(200, 300, PARAMS | {"size": 15.0}, Rng("7"))
    monkeypatch.setattr(droplets, "DRAWN", 3)
    assert same(drops(200, 300, PARAMS | {"size": 15.0}, Rng("7")), many) and len(many) > 60
    assert len(drops(200, 300, PARAMS | {"area": 0.0}, Rng("7"))) == 0


@pytest.mark.parametrize("radius", [0.5, 0.73, 2.0, 4.1, 11.0])
@pytest.mark.parametrize("most", [1 << 10, 1 << 15])
def test_a_disc_is_the_heaviest_that_may_be(radius: float, most: int) -> None:
    """Found by halves, where one after the other would find it, too."""
    kernel = disc(radius, most)
    middle = int(kernel.max())
    reach = len(kernel) // 2
    x = np.arange(-reach, reach + 1)
    shares = np.clip(radius + 0.5 - np.sqrt(x * x + (x * x)[:, None]), 0, 1)
    assert kernel.sum() <= most and np.array_equal(kernel, np.rint(shares * middle))
    assert middle + 1 > most / shares.sum() or np.rint(shares * (middle + 1)).sum() > most


def test_a_disc_of_too_many_pixels_is_none() -> None:
    with pytest.raises(ValueError, match="fewer than 100 pixels, found a radius of 9"):
        disc(9.0, 100)


def test_light_of_a_level_is_that_level_again() -> None:
    """So where a shadow is not, nothing changes, whether it is looked up or not."""
    light, levels = level_light(), level_table()[0]
    assert np.array_equal(levels[(light[0] * np.float32(65535) + np.float32(0.5)).astype(int)], np.arange(256))
