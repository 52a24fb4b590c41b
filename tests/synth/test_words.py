"""Words from truth: true, deterministic, various, and for every degradation."""

from __future__ import annotations

import pytest

from patina.synth.degradations import DACLIP_DEGRADATIONS as DEGRADATIONS
from patina.synth.severity import LEVELS
from patina.synth.words import WORDINGS, parts_of, text_of


def seed(number: int) -> str:
    return f"{number:032x}"


def test_every_degradation_has_words() -> None:
    assert set(WORDINGS) == set(DEGRADATIONS)
    for wording in WORDINGS.values():
        assert len(set(wording.grades)) == len(LEVELS)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_sentences_are_one_line_and_say_what_and_how_much(name: str) -> None:
    for score, expected in zip((5, 30, 50, 70, 95), WORDINGS[name].grades, strict=True):
        text = text_of([(name, {})], score, seed(1))
        assert expected in text.sentence
        assert text.sentence == " ".join(text.sentence.split())


def test_the_same_sample_gets_the_same_words_and_others_get_others() -> None:
    parts = [("hazy", {"visibility": 41.7})]
    assert text_of(parts, 70, seed(3)) == text_of(parts, 70, seed(3))
    assert len({text_of(parts, 70, seed(i)).sentence for i in range(40)}) == 4
    assert len({text_of(parts, 70, seed(i)).instruction for i in range(40)}) == 3


def test_parameters_are_told_with_their_units() -> None:
    assert "dense haze, visibility about 42 m" in text_of([("hazy", {"visibility": 41.7})], 70, seed(3)).sentence
    assert "quality 10" in text_of([("jpeg-compressed", {"quality": 10})], 35, seed(3)).sentence
    assert "31% of the picture" in text_of([("uncompleted", {"hole_ratio": 0.309})], 70, seed(3)).sentence


def test_composites_name_all_parts_and_may_keep_some() -> None:
    parts = [("hazy", {}), ("rainy", {}), ("jpeg-compressed", {"quality": 20})]
    texts = [text_of(parts, 70, seed(i)) for i in range(60)]
    assert all("haze; rain; JPEG blocking, quality 20" in text.sentence for text in texts)
    kept = [text.instruction for text in texts if "keep" in text.instruction]
    assert 10 < len(kept) < 50
    assert any(text.instruction.endswith("keep the rain and the JPEG blocking") for text in texts)
    assert all(text.prompt == "" for text in texts)


@pytest.mark.parametrize(
    ("name", "params", "prompt"),
    [
        ("noisy", {"sigma": 15.0}, "image with noise"),
        ("noisy", {"sigma": 25.0}, "image with many noise"),
        ("noisy", {"sigma": 50.0}, "image with large amount of noise"),
        ("hazy", {}, "image with haze"),
        ("rainy", {}, "image with rain"),
        ("motion-blurry", {}, "image with blur"),
        ("low-light", {}, "image with low light"),
        ("snowy", {}, ""),
    ],
)
def test_vlu_nets_prompts(name: str, params: dict[str, float], prompt: str) -> None:
    assert text_of([(name, params)], 50, seed(1)).prompt == prompt


def test_a_users_own_word_is_named_as_it_is() -> None:
    text = text_of([("moire", {})], 50, seed(2))
    assert "moderate moire" in text.sentence
    assert text.instruction == "remove what is moire"


def test_parts_of_a_sample() -> None:
    assert parts_of("hazy", {"beta": 1}) == [("hazy", {"beta": 1})]
    assert parts_of("hazy+noisy", {"parts": [["hazy", {}], ["noisy", {"sigma": 5}]]}) == [
        ("hazy", {}),
        ("noisy", {"sigma": 5}),
    ]
