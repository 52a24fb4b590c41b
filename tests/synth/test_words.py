"""Words from truth: by the field's definitions, with numbers that agree, deterministic, and for every degradation."""

from __future__ import annotations

import re
from typing import Any

import pytest

from patina.synth.degradations import CATALOGUE
from patina.synth.degradations import DACLIP_DEGRADATIONS as DEGRADATIONS
from patina.synth.severity import LEVELS
from patina.synth.words import FRAMES, WORDINGS, parts_of, say, text_of, to_see, wording_of


def seed(number: int) -> str:
    return f"{number:032x}"


def phrase(name: str, residual: float | None = None, **params: Any) -> str:
    return say(name, params, residual).phrase


@pytest.mark.parametrize("name", CATALOGUE)
def test_of_a_pair_the_measured_severity_alone_is_told(name: str) -> None:
    assert set(WORDINGS) == set(DEGRADATIONS) and wording_of(name) is not None
    said = say(name, {})
    assert said.place is None and not re.search(r"\d", said.phrase)
    for score, level in zip((5, 30, 50, 70, 95), LEVELS, strict=True):
        text = text_of([(name, {})], score, seed(1))
        assert text.sentence in [frame.format(f"{said.phrase}, {level} to see") for frame in FRAMES]


def test_the_same_sample_gets_the_same_words_and_others_get_others() -> None:
    parts = [("hazy", {"visibility": 41.7})]
    assert text_of(parts, 70, seed(3)) == text_of(parts, 70, seed(3))
    assert len({text_of(parts, 70, seed(i)).sentence for i in range(40)}) == 4
    assert len({text_of(parts, 70, seed(i)).instruction for i in range(40)}) == 3


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        # WMO's classes of rain: 2.5, 10 and 50 mm/h; a number that is told as 50 is violent
        ("rainy", {"rate": 0.31}, "light rain, about 0.31 mm an hour"),
        ("rainy", {"rate": 2.4}, "light rain, about 2.4 mm an hour"),
        ("rainy", {"rate": 2.5}, "moderate rain, about 2.5 mm an hour"),
        ("rainy", {"rate": 9.97}, "heavy rain, about 10 mm an hour"),
        ("rainy", {"rate": 49.4}, "heavy rain, about 49 mm an hour"),
        ("rainy", {"rate": 49.6}, "violent rain, about 50 mm an hour"),
        ("rainy", {"rate": 85}, "violent rain, about 85 mm an hour"),
        ("rainy", {"rate": 0.0004}, "light rain, less than 0.01 mm an hour"),
        # of snow: 1 and 5 mm/h of water; a blizzard is heavy and in a near gale
        ("snowy", {"rate": 0.2, "wind": -2.0}, "light snow, about 0.2 mm of water an hour, in a light breeze"),
        ("snowy", {"rate": 1.0, "wind": 0.0}, "moderate snow, about 1 mm of water an hour, in calm air"),
        ("snowy", {"rate": 8, "wind": 2.0}, "heavy snow, about 8 mm of water an hour, in a light breeze"),
        ("snowy", {"rate": 8, "wind": -15.0}, "a blizzard, about 8 mm of water an hour, in a near gale"),
        ("snowy", {"rate": 4.9, "wind": -15.0}, "moderate snow, about 4.9 mm of water an hour, in a near gale"),
        # visibility: fog below 1 km, mist of drops and haze of dry particles up to 5 km
        ("hazy", {"visibility": 39.0}, "dense fog, visibility about 39 m"),
        ("hazy", {"visibility": 194.0}, "thick fog, visibility about 190 m"),
        ("hazy", {"visibility": 394.0}, "fog, visibility about 390 m"),
        ("hazy", {"visibility": 997.0}, "mist, visibility about 1 km"),
        ("hazy", {"visibility": 2400.0, "extinction": [1.0, 1.0, 1.0]}, "mist, visibility about 2.4 km"),
        ("hazy", {"visibility": 2400.0, "extinction": [0.87, 1.0, 1.24]}, "haze, visibility about 2.4 km"),
        ("hazy", {"visibility": 39120.0}, "thin haze, visibility about 39 km"),
        ("hazy", {"transmission": 0.55}, "a veil of haze, through which about 55% of the light comes"),
        ("hazy", {"transmission": 0.2}, "a very dense veil of haze, through which about 20% of the light comes"),
        ("hazy", {"transmission": 1}, "no haze"),
        ("hazy", {"beta": 0, "visibility": 0.0}, "no haze"),
        ("hazy", {"beta": 0.12, "airlight": 0.9}, "haze"),  # RESIDE's names tell β, and of no unit
        # quality, libjpeg's and WebP's
        ("jpeg-compressed", {"quality": 95}, "very light JPEG compression, quality 95"),
        ("jpeg-compressed", {"quality": 75}, "light JPEG compression, quality 75"),
        ("jpeg-compressed", {"quality": 10}, "very strong JPEG compression, quality 10"),
        ("jpeg-compressed", {"quality": 9, "codec": "webp"}, "extreme WebP compression, quality 9"),
        (
            "jpeg-compressed",
            {"quality": 30, "first_quality": 60},
            "strong JPEG compression, quality 30 after a first one of quality 60",
        ),
        # stops
        ("low-light", {"stops": 0.04}, "slight underexposure, about 0.04 stops too dark"),
        ("low-light", {"stops": 4.5}, "low light, about 4.5 stops too dark"),
        ("low-light", {"stops": 0}, "no underexposure"),
        (
            "shadowed",
            {"ratio": 3.0, "kind": "person"},
            "a clear shadow cast by a person, about 2 stops darker than the",
        ),
        ("shadowed", {"ratio": 0.0, "kind": "pole"}, "no shadow"),
        # σ
        ("noisy", {"sigma": 0.3}, "very weak noise, standard deviation about 0.3 of 255"),
        ("noisy", {"sigma": 15}, "weak noise, standard deviation about 15 of 255"),
        ("noisy", {"sigma": 25.0}, "medium noise, standard deviation about 25 of 255"),
        ("noisy", {"sigma": 50}, "strong noise, standard deviation about 50 of 255"),
        ("noisy", {"sigma": 0}, "no noise"),
        ("noisy", {"model": "sensor", "iso": 812.0}, "sensor noise at ISO 810"),
        # shares
        ("raindrop", {"area": 0.0042}, "sparse raindrops on the glass, over about 0.42% of it"),
        ("raindrop", {"area": 0.2}, "dense raindrops on the glass, over about 20% of it"),
        ("raindrop", {"area": 0}, "no raindrops on the glass"),
        ("uncompleted", {"hole_ratio": 0.00312}, "tiny parts missing, about 0.31% of the picture"),
        ("uncompleted", {"hole_ratio": 0.309}, "large parts missing, about 31% of the picture"),
        ("uncompleted", {"hole_ratio": 0.6}, "half or more of the picture missing, about 60% of the picture"),
        # paths
        ("motion-blurry", {"length": 40.0, "exposure": 0.5}, "long motion blur, along a path of about 20 px"),
        ("motion-blurry", {"length": 0, "exposure": 1, "rotation": 0.5}, "motion blur by a roll of about 0.5°"),
        ("motion-blurry", {"length": 30, "exposure": 0, "rotation": 0.5}, "no motion blur"),
    ],
)
def test_words_follow_the_fields_definitions(name: str, params: dict[str, Any], words: str) -> None:
    found = phrase(name, **params)
    assert found == words or (found.startswith(words) and words.endswith(("the", "px")))


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("value", ["much", True, None, -3.0, float("nan"), float("inf"), [1, 2], {"min": 1}])
def test_what_a_pair_tells_may_be_anything(name: str, value: Any) -> None:
    """A pair's parameters come from a user's table: what is no number is not told as one."""
    numbers = ("rate", "visibility", "quality", "stops", "sigma", "area", "ratio", "hole_ratio", "length", "exposure")
    said = say(name, {**dict.fromkeys(numbers, value), "wind": value, "transmission": value, "extinction": value})
    assert said.place is None and "nan" not in said.phrase and "inf" not in said.phrase


def test_noise_is_called_what_it_measures() -> None:
    """ISO 100 is no large amount of noise; σ that nobody drew is measured."""
    sensor = [("noisy", {"model": "sensor", "iso": 100.0})]
    quiet = text_of(sensor, 4, seed(1), residual=2.4)
    assert "very weak sensor noise at ISO 100, standard deviation about 2.4 of 255, slight to see" in quiet.sentence
    assert quiet.prompt == "image with noise"
    assert text_of(sensor, 60, seed(1), residual=44.0).prompt == "image with large amount of noise"
    assert "medium noise, standard deviation about 27 of 255" in text_of([("noisy", {})], 50, seed(1), 27.3).sentence
    both: list[tuple[str, dict[str, Any]]] = [("noisy", {"model": "sensor", "iso": 100.0}), ("hazy", {})]
    assert "sensor noise at ISO 100; haze; together" in text_of(both, 60, seed(1), residual=44.0).sentence


def test_composites_name_all_parts_and_are_measured_together() -> None:
    parts = [("hazy", {}), ("rainy", {"rate": 3.0}), ("jpeg-compressed", {"quality": 20})]
    texts = [text_of(parts, 70, seed(i)) for i in range(60)]
    told = "haze; moderate rain, about 3 mm an hour; very strong JPEG compression, quality 20; together severe to see"
    assert all(told in text.sentence for text in texts)
    kept = [text.instruction for text in texts if "keep" in text.instruction]
    assert 10 < len(kept) < 50
    assert any(text.instruction.endswith("keep the rain and the JPEG compression") for text in texts)
    assert all(text.prompt == "" for text in texts)


def test_instructions_ask_for_what_the_sentence_names() -> None:
    asked = {text_of([("hazy", {"visibility": 150.0})], 70, seed(i)).instruction for i in range(40)}
    assert "remove the fog" in asked and not any("the haze" in one for one in asked)
    asked = {text_of([("jpeg-compressed", {"codec": "webp"})], 70, seed(i)).instruction for i in range(40)}
    assert "undo the WebP compression" in asked


@pytest.mark.parametrize(
    ("name", "params", "prompt"),
    [
        ("noisy", {"sigma": 15.0}, "image with noise"),
        ("noisy", {"sigma": 25.0}, "image with many noise"),
        ("noisy", {"sigma": 50.0}, "image with large amount of noise"),
        ("noisy", {}, ""),  # nothing tells how strong
        ("hazy", {}, "image with haze"),
        ("rainy", {}, "image with rain"),
        ("motion-blurry", {}, "image with blur"),
        ("low-light", {}, "image with low light"),
        ("snowy", {}, ""),
    ],
)
def test_vlu_nets_prompts(name: str, params: dict[str, float], prompt: str) -> None:
    assert text_of([(name, params)], 50, seed(1)).prompt == prompt


def test_what_nobody_sees_is_nothing_to_see() -> None:
    assert [to_see(score) for score in (0, 0.01, 20, 100)] == [
        "nothing to see",
        "slight to see",
        "mild to see",
        "extreme to see",
    ]


def test_a_users_own_word_is_named_as_it_is() -> None:
    text = text_of([("vignetted", {})], 50, seed(2))
    assert "vignetted, moderate to see" in text.sentence
    assert text.instruction == "remove what is vignetted"


def test_parts_of_a_sample() -> None:
    assert parts_of("hazy", {"beta": 1}) == [("hazy", {"beta": 1})]
    assert parts_of("hazy+noisy", {"parts": [["hazy", {}], ["noisy", {"sigma": 5}]]}) == [
        ("hazy", {}),
        ("noisy", {"sigma": 5}),
    ]
