"""Which of two images is the degraded one: told for the ten words, for composites and for words of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pytest

from patina.pipeline.scan.pairs import check_pair
from patina.pipeline.scan.traces import Traces, says_nothing, sense
from patina.synth.compose import Composite
from patina.synth.degradations import CATALOGUE, DACLIP_DEGRADATIONS
from patina.synth.image import Image
from tests.pipeline.making import encoded, picture, pixels
from tests.pipeline.scan.test_agreement import by_word, degraded

SEEDS = range(6)

Change = Callable[[Image, int], Image]


def levels(values: Any) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def blurred(image: Image, seed: int) -> Image:
    del seed
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.5), np.uint8)


def enlarged(image: Image, seed: int) -> Image:
    del seed
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def coarse(image: Image, seed: int) -> Image:
    del seed
    return pixels(encoded(image, "JPEG", quality=8))


def grainy(image: Image, seed: int) -> Image:
    return levels(image + np.random.default_rng(seed).normal(0, 25, image.shape))


def foggy(image: Image, seed: int) -> Image:
    del seed
    return levels(0.3 * image + 0.7 * 220)


def dark(image: Image, seed: int) -> Image:
    del seed
    return levels(image * 0.15)


def sharpened(image: Image, seed: int) -> Image:
    return levels(image + 1.0 * (image.astype(float) - blurred(image, seed)))


def votes(label: str, change: Change, swap: bool) -> list[int]:
    found = []
    for seed in SEEDS:
        clean = picture(192, 144, seed)
        lq = change(clean, seed)
        check = check_pair(clean, lq) if swap else check_pair(lq, clean)
        assert check.problem == "", f"seed {seed}: {check.problem}"
        found.append(sense(label, check.traces))
    return found


def is_told(found: list[int]) -> bool:
    """As a source's vote: a third at least, and hardly one against it."""
    return found.count(-1) * 3 >= len(found) and found.count(1) * 4 <= found.count(-1)


def made(word: str, **settings: Any) -> Change:
    return lambda image, seed: by_word(word, image, seed, **settings)


LARGE_DROPS: Mapping[str, Any] = {
    "area": {"min": 0.03, "max": 0.16},
    "size": {"min": 20, "max": 55},
    "defocus": {"min": 2.5, "max": 7},
    "contact": {"min": 32, "max": 52},
    "sky": 0,
}
"""The default drops are of a pixel or two in a picture of this size, which tells nothing."""


EITHER_WAY = ("moire",)
"""They may make an image sharper or not, brighter or not."""


@pytest.mark.parametrize("word", CATALOGUE)
def test_each_word_tells_swapped_pairs_from_true_ones(word: str) -> None:
    assert word not in DACLIP_DEGRADATIONS or not says_nothing(word)
    assert -1 not in votes(word, made(word), swap=False)
    settings = LARGE_DROPS if word == "raindrop" else {}
    assert -1 not in votes(word, made(word, **settings), swap=False)
    if not says_nothing(word) and word not in EITHER_WAY:  # some of the words beyond the ten leave nothing measured
        assert is_told(votes(word, made(word, **settings), swap=True))


@pytest.mark.parametrize(
    ("word", "settings"),
    [
        ("jpeg-compressed", {"codec": "webp", "quality": 10}),
        ("jpeg-compressed", {"quality": 95}),
        ("rainy", {"rate": 300, "veil": 3, "light": "linear"}),
        ("snowy", {"rate": 30, "size": 12, "veil": 2}),
        ("hazy", {"beta": 0.001}),
        ("low-light", {"stops": 8, "iso": 12800}),
        ("raindrop", {"defocus": 0}),
        ("noisy", {"sigma": 1}),
        ("shadowed", {"ratio": 0.1}),
        ("uncompleted", {"shapes": "scratches", "ratio": 0.005}),
        ("uncompleted", {"fill": [0, 0, 0], "ratio": 0.9}),
        ("motion-blurry", {"length": 1}),
    ],
)
def test_no_setting_makes_true_pairs_look_swapped(word: str, settings: dict[str, Any]) -> None:
    assert -1 not in votes(word, made(word, **settings), swap=False)


@pytest.mark.parametrize(
    "words",
    [
        ("hazy", "rainy"),
        ("hazy", "low-light"),
        ("snowy", "low-light"),
        ("low-light", "jpeg-compressed"),
        ("noisy", "jpeg-compressed"),
        ("motion-blurry", "noisy"),
        ("shadowed", "motion-blurry"),
    ],
)
def test_composites_tell_swapped_pairs_from_true_ones(words: tuple[str, ...]) -> None:
    parts: Any = {word: CATALOGUE[word]() for word in words}
    label = "+".join(words)
    assert -1 not in votes(label, lambda image, seed: degraded(Composite(parts), image, seed), swap=False)
    assert is_told(votes(label, lambda image, seed: degraded(Composite(parts), image, seed), swap=True))


OWN: Mapping[str, Change] = {
    "out-of-focus": blurred,
    "gaussian-blur": blurred,
    "super-resolution": enlarged,
    "jpg-artefacts": coarse,
    "film-grain": grainy,
    "high-iso-noise": grainy,
    "fog": foggy,
    "night": dark,
    "rain-at-night": lambda image, seed: dark(by_word("rainy", image, seed), seed),
    "holes": made("uncompleted", ratio=0.2),
    "snowfall": made("snowy"),
}


@pytest.mark.parametrize("label", OWN)
def test_words_of_ones_own_are_understood_by_their_parts(label: str) -> None:
    assert -1 not in votes(label, OWN[label], swap=False)
    assert is_told(votes(label, OWN[label], swap=True))


@pytest.mark.parametrize("change", [blurred, coarse, grainy, dark])
@pytest.mark.parametrize("label", ["vintage", "style-a", "vintage+noisy"])
def test_for_words_that_say_nothing_strong_traces_count(change: Change, label: str) -> None:
    assert -1 not in votes(label, change, swap=False)
    assert is_told(votes(label, change, swap=True))


def discs(seed: int) -> Image:
    """384×256 px of smooth light, forty discs with clear edges, and soft grain: drops show more details than it has."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[0:256, 0:384].astype(np.float32)
    waves = 110 + 60 * np.sin(x / chance.uniform(30, 90)) * np.cos(y / chance.uniform(30, 90))
    scene = np.repeat(waves[..., None].astype(np.float32), 3, axis=2)
    for _ in range(40):
        across, down, radius = (int(v) for v in chance.integers((0, 0, 4), (384, 256, 40)))
        cv2.circle(scene, (across, down), radius, [float(v) for v in chance.uniform(10, 245, 3)], -1)
    return levels(scene + cv2.GaussianBlur(chance.normal(0, 22, scene.shape), (0, 0), 1.2))


@pytest.mark.parametrize("settings", [{}, {"defocus": 0}, {"defocus": 1}, {"sky": 0, "defocus": 2}, {"area": 0.05}])
def test_drops_whose_edges_are_clear_are_told_however_many_details_they_show(settings: dict[str, Any]) -> None:
    wrong, right, blurred_too = [], [], []
    for seed in range(6):
        clean = discs(seed)
        wet = by_word("raindrop", clean, seed, **settings)
        wrong.append(sense("raindrop", check_pair(clean, wet).traces))
        right.append(sense("raindrop", check_pair(wet, clean).traces))
        blurred_too.append(sense("raindrop", check_pair(blurred(wet, seed), clean).traces))
    assert wrong.count(-1) > 3 and 1 not in wrong, wrong
    assert right.count(1) > 3 and -1 not in right, right
    assert -1 not in blurred_too, "what is blurred beside its drops as well"


@pytest.mark.parametrize(
    ("label", "change"),
    [
        ("clean-up", lambda image, seed: levels(image + np.random.default_rng(seed).normal(0, 3, image.shape))),
        ("old", lambda image, seed: np.repeat(image.mean(2).astype(np.uint8)[..., None], 3, axis=2)),
        ("over-sharpened", sharpened),
        ("overexposed", lambda image, seed: levels(image * 1.8)),
        ("bokeh", sharpened),
        ("underwater", lambda image, seed: levels(image * np.array([0.3, 0.8, 0.9]) + [5, 40, 60])),
        ("high-contrast", lambda image, seed: levels((image - 128.0) * 1.8 + 128)),
        ("pixelated", lambda image, seed: image[seed % 4 :: 4][:36].repeat(4, 0)[:144, ::4].repeat(4, 1)),
    ],
)
def test_labels_whose_sharpness_goes_either_way_are_never_blamed(label: str, change: Change) -> None:
    """In both orders: nobody can say which one is meant to be the clean one."""
    assert -1 not in votes(label, change, swap=False)


def test_traces_of_equal_images_tell_nothing() -> None:
    assert {sense(label, Traces()) for label in [*CATALOGUE, "hazy+rainy", "uncompleted+noisy", "vintage"]} == {0}


def test_a_blank_page_tells_nothing_of_what_cannot_make_it_brighter() -> None:
    page = np.full((144, 192, 3), 255, np.uint8)
    for word in ("hazy", "rainy", "snowy"):
        for seed in range(3):
            assert sense(word, check_pair(by_word(word, page, seed), page).traces) >= 0


STRENGTHS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "noisy": ({"sigma": 9}, {"sigma": 60}),
    "jpeg-compressed": ({"quality": 10}, {"quality": 90}),
}


def kind_of(word: str) -> Any:
    return CATALOGUE[word]


@pytest.mark.parametrize("first", list(CATALOGUE))
def test_no_composite_of_two_is_blamed_in_whatever_order_it_is_named(first: str) -> None:
    """Of a photograph that is a JPEG file itself, and of a small one without a trace of any. Parts of two stages are
    applied in the order of these, however they are named, so that such a pair is looked at once."""
    images = [pixels(encoded(picture(224, 160, 5), "JPEG", quality=75)), picture(64, 48, 60)]
    places = list(CATALOGUE)
    for second in (word for word in places if word != first):
        both, labels = (first, second), [f"{first}+{second}"]
        if kind_of(first)().stage != kind_of(second)().stage:
            if places.index(second) < places.index(first):
                continue
            labels.append(f"{second}+{first}")
        for strength in range(2 if set(both) & set(STRENGTHS) else 1):
            words = {word: STRENGTHS.get(word, ({}, {}))[strength] for word in both}
            composite = Composite({word: kind_of(word)(**how) for word, how in words.items()})
            for seed, image in enumerate(images):
                check = check_pair(degraded(composite, image, seed + 7), image)
                assert (check.problem, check.notes) == ("", ()), f"{words}, picture {seed}"
                for label in labels:
                    assert sense(label, check.traces) >= 0, f"{label}, {words}, picture {seed}: {check.traces}"
