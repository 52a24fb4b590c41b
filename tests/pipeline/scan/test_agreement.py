"""Another scene, a mirrored or turned one and exchanged colours are told, and true pairs are left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from patina.pipeline.scan import agreement
from patina.pipeline.scan.agreement import Likeness, another_scene, scales
from patina.pipeline.scan.pairs import EQUAL, EXCHANGED_COLOURS, NEARLY_EQUAL, PairCheck, check_pair
from patina.synth.compose import Composite
from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.rng import Rng
from tests.pipeline.making import picture
from tests.pipeline.scan.test_pairs import TRUE_PAIRS

OTHER = "its degraded image shows another scene than the clean one, or another part of it: no detail agrees"

HARD: dict[str, dict[str, Any]] = {
    "hazy": {"beta": 0.1},
    "jpeg-compressed": {"quality": 5},
    "low-light": {"stops": 8, "iso": 12800},
    "noisy": {"sigma": 75},
    "raindrop": {"area": 0.5},
    "rainy": {"rate": 300, "exposure": 0.03},
    "shadowed": {"ratio": 30},
    "snowy": {"rate": 30, "size": 12},
    "uncompleted": {"ratio": 0.95},
}


def degraded(degradation: Degradation, clean: Image, seed: int) -> Image:
    return degradation.apply(clean, degradation.draw(Rng(f"{seed + 1:x}"), clean)).image


def by_word(word: str, clean: Image, seed: int, **settings: Any) -> Image:
    kind: Any = CATALOGUE[word]
    return degraded(kind(**settings), clean, seed)


def is_quiet(check: PairCheck) -> bool:
    return not check.problem and not check.notes


@pytest.mark.parametrize("degradation", TRUE_PAIRS)
def test_another_scene_is_told(degradation: str) -> None:
    for seed in range(4):
        lq = TRUE_PAIRS[degradation](picture(192, 144, seed), np.random.default_rng(seed))
        assert check_pair(lq, picture(192, 144, seed + 50)).problem == OTHER, f"seed {seed}"


@pytest.mark.parametrize("word", CATALOGUE)
def test_true_pairs_are_left_alone_by_default(word: str) -> None:
    for seed in range(3):
        clean = picture(192, 144, seed)
        assert is_quiet(check_pair(by_word(word, clean, seed), clean)), f"seed {seed}"


@pytest.mark.parametrize("word", HARD)
def test_true_pairs_are_left_alone_however_bad(word: str) -> None:
    for seed in range(3):
        clean = picture(192, 144, seed)
        assert is_quiet(check_pair(by_word(word, clean, seed, **HARD[word]), clean)), f"seed {seed}"


@pytest.mark.parametrize("words", [("hazy", "rainy"), ("snowy", "low-light"), ("motion-blurry", "noisy")])
def test_composites_are_left_alone(words: tuple[str, ...]) -> None:
    parts: Any = {word: CATALOGUE[word]() for word in words}
    for seed in range(2):
        clean = picture(192, 144, seed)
        assert is_quiet(check_pair(degraded(Composite(parts), clean, seed), clean)), f"seed {seed}"


def grey(image: Image) -> Image:
    return np.repeat(image.mean(2).astype(np.uint8)[..., None], 3, axis=2)


def sepia(image: Image) -> Image:
    return np.clip(grey(image) * np.array([1.07, 0.74, 0.43]) + 10, 0, 255).astype(np.uint8)


def drowned(image: Image) -> Image:
    return (image * np.array([0.3, 0.8, 0.9]) + [5, 20, 25]).astype(np.uint8)


@pytest.mark.parametrize("change", [grey, sepia, drowned, lambda image: 255 - image, lambda image: image // 64 * 64])
def test_what_is_done_to_colours_is_no_other_scene_and_no_exchange(change: Callable[[Image], Image]) -> None:
    for seed in range(3):
        clean = picture(192, 144, seed)
        assert is_quiet(check_pair(change(clean), clean)), f"seed {seed}"


def test_outside_of_holes_a_pair_must_agree() -> None:
    """Of strokes that leave a twentieth of the picture no window is left whole."""
    for seed in range(3):
        clean = picture(192, 144, seed)
        holed = by_word("uncompleted", clean, seed, ratio=0.95)
        assert is_quiet(check_pair(holed, clean))
        assert check_pair(by_word("uncompleted", picture(192, 144, seed + 50), seed), clean).problem == OTHER


TURNS: dict[str, Callable[[Image], Image]] = {
    "mirrored left to right": lambda image: image[:, ::-1],
    "mirrored top to bottom": lambda image: image[::-1],
    "turned by 180°": lambda image: np.rot90(image, 2),
    "turned by 90° clockwise": lambda image: np.rot90(image, -1),
    "turned by 90° counter-clockwise": np.rot90,
    "mirrored and turned by 90° clockwise": lambda image: np.rot90(image[:, ::-1], -1),
    "mirrored and turned by 90° counter-clockwise": lambda image: np.rot90(image[:, ::-1]),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("degradation", ["rainy", "noisy", "hazy"])
def test_a_turned_picture_is_told_by_name(turn: str, degradation: str) -> None:
    for seed in range(2):
        clean = picture(160, 160, seed)
        lq = TURNS[turn](TRUE_PAIRS[degradation](clean, np.random.default_rng(seed)))
        said = check_pair(np.ascontiguousarray(lq), clean).problem
        assert said.startswith(f"its degraded image is {turn} against the clean one; turn one of them"), said


def test_a_quarter_turn_of_an_oblong_picture_is_told_with_the_sizes() -> None:
    clean = picture(192, 144, 1)
    said = check_pair(np.ascontiguousarray(np.rot90(clean)), clean).problem
    assert said.startswith(
        "its degraded image is 144×192 px and the clean one 192×144; they must be equal; its degraded"
    )
    assert "turned by 90° counter-clockwise" in said
    other = check_pair(np.ascontiguousarray(np.rot90(picture(192, 144, 2))), clean).problem
    assert other == "its degraded image is 144×192 px and the clean one 192×144; they must be equal"


@pytest.mark.parametrize("degradation", ["rainy", "hazy", "shadowed", "motion-blurry"])
def test_exchanged_colours_are_noted(degradation: str) -> None:
    for seed in range(3):
        clean = coloured(seed)
        lq = TRUE_PAIRS[degradation](clean, np.random.default_rng(seed))
        assert is_quiet(check_pair(lq, clean)), f"seed {seed}"
        assert check_pair(np.ascontiguousarray(lq[..., ::-1]), clean).notes == (EXCHANGED_COLOURS,), f"seed {seed}"


def coloured(seed: int) -> Image:
    """A picture with colours of its own: each channel has details that the others have not."""
    channels = [picture(192, 144, 10 * seed + i)[..., 0].astype(np.uint16) for i in range(3)]
    mean = sum(channels) // 3
    return np.stack([(channel + mean) // 2 for channel in channels], axis=2).astype(np.uint8)


def test_equal_images_are_noted() -> None:
    assert check_pair(picture(seed=1), picture(seed=1)).notes == (EQUAL,)


def flat(kind: str) -> Image:
    y = np.linspace(0, 60, 144)[:, None, None]
    sky = np.broadcast_to(np.array([110, 150, 190]) + y, (144, 192, 3))
    grain = np.random.default_rng(5).normal(0, 3 if kind == "grain" else 0, sky.shape)
    return np.full_like(sky, 255, np.uint8) if kind == "page" else np.rint(sky + grain).astype(np.uint8)


@pytest.mark.parametrize("kind", ["page", "sky", "grain"])
@pytest.mark.parametrize("word", ["jpeg-compressed", "noisy", "rainy", "snowy", "hazy", "low-light", "uncompleted"])
def test_of_flat_pictures_nothing_is_said(kind: str, word: str) -> None:
    clean = flat(kind)
    assert check_pair(by_word(word, clean, 1), clean).problem == ""
    assert check_pair(clean, flat("page" if kind == "sky" else "sky")).problem == ""


def test_of_small_tiles_nothing_is_said() -> None:
    for seed in range(6):
        assert check_pair(picture(64, 64, seed), picture(64, 64, seed + 50)).problem == ""


def test_rain_may_hide_a_scene_of_little_contrast() -> None:
    for seed in range(3):
        faint = (picture(192, 144, seed) // 16 + 100).astype(np.uint8)
        assert check_pair(by_word("rainy", faint, seed, rate=300, exposure=0.03), faint).problem == ""


def test_likeness_is_1_of_equal_details_and_minus_1_of_opposite_ones() -> None:
    scale = agreement.scales(picture(192, 144, 1))[0]
    assert agreement.likeness(scale.detail, scale.detail).mean == 1
    assert agreement.likeness(scale.detail, -scale.detail).mean == -1
    other = agreement.scales(picture(192, 144, 2))[0]
    assert agreement.likeness(scale.detail, other.detail) == agreement.likeness(other.detail, scale.detail)
    assert abs(agreement.likeness(scale.detail, other.detail).mean) < 0.1


def test_details_are_whole_numbers_whose_sums_are_exact() -> None:
    for scale in agreement.scales(picture(192, 144, 1)):
        assert np.array_equal(scale.detail, np.rint(scale.detail))
        assert float(np.square(scale.detail).sum()) < 2**53 / 100


def test_gains_tell_which_of_two_is_the_blurrier_one_whatever_the_noise() -> None:
    clean = picture(192, 144, 1)
    blurry = TRUE_PAIRS["out-of-focus"](clean, np.random.default_rng(1))
    grainy = TRUE_PAIRS["noisy"](clean, np.random.default_rng(1))
    one, other, third = (agreement.scales(image) for image in (clean, blurry, grainy))
    assert agreement.gains(other, one)[1] < 0.8
    assert agreement.gains(one, other)[0] > 1.25
    low, high = agreement.gains(third, one)
    assert low == pytest.approx(1, abs=0.1) and high > 1.1


def test_too_little_to_be_sure_of_a_pair_is_too_much_for_another_scene() -> None:
    """The levels of one scene under the details of another, which agree faintly at every scale, or not at one."""
    image, other = (picture(192, 192, seed).astype(float) for seed in (0, 50))
    mixed = cv2.GaussianBlur(image, (0, 0), 10) + other - cv2.GaussianBlur(other, (0, 0), 10)
    lq, gt = scales(np.clip(np.rint(mixed), 0, 255).astype(np.uint8)), scales(picture(192, 192, 0))
    faint = [Likeness(0.08, 93), Likeness(0.05, 34), Likeness(0.14, 9)]
    assert not another_scene(lq, gt, faint)
    assert another_scene(lq, gt, [faint[0], Likeness(0.02, 34), faint[2]])


def test_two_images_that_hardly_differ_are_told() -> None:
    clean = picture(96, 72, 3)
    other = np.where(np.indices(clean.shape).sum(0) % 7 == 0, clean ^ 1, clean)
    assert check_pair(other, clean).notes == (NEARLY_EQUAL,)
    assert NEARLY_EQUAL not in check_pair(by_word("noisy", clean, 1, sigma=3), clean).notes
