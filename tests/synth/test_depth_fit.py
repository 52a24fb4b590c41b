"""A depth map of another photograph is told from its own; where depth or picture say nothing, nothing is said."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.depth import prior
from patina.synth.depth_fit import DepthFit, depth_fit
from patina.synth.image import Image

HEIGHT, WIDTH = 160, 240
Depth = NDArray[np.float32]


def ground(height: int = HEIGHT, width: int = WIDTH) -> Depth:
    """A level plane under the sky."""
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    return np.repeat(1.6 / np.maximum(rows - 0.35, 0.02) + 1, width, axis=1).astype(np.float32)


def texture(rng: np.random.Generator) -> NDArray[np.float32]:
    """Something of all scales about a colour of its own, H×W×3."""
    found = np.full((HEIGHT, WIDTH, 3), rng.uniform(40, 215, 3), np.float32)
    for cells, strength in ((5, 18), (20, 12), (80, 8)):
        grid = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        found += cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return found


def scene(seed: int, things: int = 6) -> tuple[Image, Depth]:
    """A photograph of textured things on textured ground, and its depth."""
    rng = np.random.default_rng(seed)
    image, depth = texture(rng), ground()
    for metres in sorted(rng.uniform(1.5, 20, things), reverse=True):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        centre = (int(rng.uniform(0.1, 0.9) * WIDTH), int(rng.uniform(0.3, 0.9) * HEIGHT))
        cv2.ellipse(mask, centre, (int(rng.uniform(12, 45)), int(rng.uniform(15, 50))), 0, 0, 360, 1, -1)
        image[mask > 0], depth[mask > 0] = texture(rng)[mask > 0], metres
    return np.clip(np.rint(cv2.GaussianBlur(image, (0, 0), 0.7)), 0, 255).astype(np.uint8), depth


def fit(image: Image, depth: Depth) -> DepthFit:
    return depth_fit(image, depth, np.isfinite(depth) & (depth > 0))


SCENES = [scene(seed) for seed in range(20)]


def test_a_photographs_own_map_is_never_taken_for_anothers() -> None:
    found = [fit(*one) for one in SCENES]
    assert sum(one.places > 0 for one in found) > 15
    assert not any(one.is_anothers for one in found)


@pytest.mark.parametrize("sigma", [1.5, 3])
def test_nor_is_a_soft_one_as_networks_give_it(sigma: float) -> None:
    soft = [(image, (1 / cv2.GaussianBlur(1 / depth, (0, 0), sigma)).astype(np.float32)) for image, depth in SCENES]
    assert not any(fit(*one).is_anothers for one in soft)


def test_nor_a_small_one_nor_one_that_is_a_little_off() -> None:
    for image, depth in SCENES:
        small = cv2.resize(depth, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST)
        assert not fit(image, small).is_anothers
        assert not fit(image, np.roll(depth, 1, axis=1)).is_anothers


def test_many_maps_of_other_scenes_are_told_of() -> None:
    pairs = [(SCENES[i][0], SCENES[j][1]) for i in range(10) for j in range(10) if i != j]
    judged = [one for one in (fit(*pair) for pair in pairs) if one.places]
    assert len(judged) > 60
    assert sum(one.is_anothers for one in judged) > 0.25 * len(judged)


def test_a_map_without_sides_of_things_says_nothing() -> None:
    tilted = ground() * np.linspace(1, 1.4, WIDTH, dtype=np.float32)
    flat = np.full((HEIGHT, WIDTH), 7, np.float32)
    for image, _ in SCENES[:5]:
        for depth in (ground(), tilted.astype(np.float32), flat):
            assert fit(image, depth) == DepthFit(0)


def test_a_picture_without_edges_says_nothing() -> None:
    rng = np.random.default_rng(0)
    fog = (200 + rng.normal(0, 1.5, (HEIGHT, WIDTH, 3))).astype(np.uint8)
    night = np.full((HEIGHT, WIDTH, 3), 3, np.uint8)
    for image in (fog, night):
        assert fit(image, SCENES[0][1]) == DepthFit(0)


def test_the_prior_of_a_photograph_is_its_own() -> None:
    params = {"crop": [0.0, 0.0, 1.0, 1.0], "horizon": 0.4, "background": 80.0}
    assert not any(fit(image, prior(image, params)).is_anothers for image, _ in SCENES[:6])


def test_unknown_places_are_no_edges() -> None:
    """A scanner's map has holes, whose rims are no sides of things."""
    rng = np.random.default_rng(1)
    for image, _ in SCENES[:6]:
        depth = ground()
        depth[rng.uniform(size=depth.shape) < 0.3] = 0
        depth[:, 100:104] = np.nan
        assert fit(image, depth) == DepthFit(0)


@pytest.mark.parametrize("size", [(16, 16), (16, 300), (300, 16), (33, 19)])
def test_any_size_of_photograph_is_taken(size: tuple[int, int]) -> None:
    height, width = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    depth = np.random.default_rng(1).uniform(1, 9, (height, width)).astype(np.float32)
    depth_fit(image, depth, np.ones((height, width), np.bool_))
