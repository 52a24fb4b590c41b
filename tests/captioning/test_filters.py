from __future__ import annotations

import csv
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.captioning.captioner import CaptionError
from patina.captioning.filters import Filters
from patina.pipeline.recipe.shipped import FOLDER

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    "text",
    [
        "a dog",
        "dog",
        "a very very large tree",
        "a man in a red hat and a woman in a blue hat in a boat",
        "the cat and the dog and the bird and the fish",
        "new york, new york",
        "2 2 people",
        "犬が草の上に座っている",
        "— — a dash —",
        "a man in a suit and a man in a hat and a man in a coat",
        "a red red rose",
        "🐕 and 🌳",
        "🐕🐕🐕",
        "哈哈, a laughing man",
    ],
)
def test_good_captions_pass(text: str) -> None:
    assert Filters().problem(text) == ""


def test_the_demos_captions_pass() -> None:
    path = FOLDER / "demo-captions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    assert captions and not any(map(Filters(min_words=3, max_words=60).problem, captions))


@pytest.mark.parametrize(
    "text, loop",
    [
        ("a a a a", "a"),
        ("a dog, dog, dog", "dog"),
        ("Dog dog DOG", "dog"),
        ("the cat the cat the cat", "the cat"),
        ("a photo of the cat the cat the cat", "the cat"),
        ("on a hill the cat, the cat, the cat sat", "the cat"),
        ("a b c a b c a b c", "a b c"),
        ("it is a b c a b c a b c a", "a b c"),
        ("a dog ... ... ...", "..."),
        ("red red red", "red"),
        ("🐕 🐕 🐕", "🐕"),
        ("一只猫一只猫一只猫", "一 只 猫"),
    ],
)
def test_loops_are_refused_with_what_loops_and_the_caption(text: str, loop: str) -> None:
    assert Filters().problem(text) == f"the caption says {loop!r} 3 times or more in succession: {text!r}"
    assert Filters(max_repeats=0).problem(text) == ""


@given(WORDS, WORDS, WORDS, st.integers(2, 5))
def test_any_loop_anywhere_is_found(before: list[str], loop: list[str], after: list[str], repeats: int) -> None:
    assert Filters(max_repeats=repeats).problem(" ".join(before + loop * repeats + after))


@given(WORDS, st.integers(2, 4))
def test_what_is_refused_holds_its_loop(words: list[str], repeats: int) -> None:
    text = " ".join(words)
    problem = Filters(max_repeats=repeats).problem(text)
    looping = any(
        words[i : i + size] * repeats == words[i : i + size * repeats]
        for size in range(1, len(words))
        for i in range(len(words))
    )
    assert bool(problem) == looping


def test_the_number_of_words_is_bounded() -> None:
    filters = Filters(min_words=2, max_words=4)
    assert filters.problem("two words") == filters.problem("a caption of four") == ""
    assert filters.problem("dog") == "the caption has 1 word, fewer than min_words, 2: 'dog'"
    assert filters.problem("a caption of five words") == (
        "the caption has 5 words, more than max_words, 4: 'a caption of five words'"
    )
    assert Filters().problem("  ") == "the caption has 0 words, fewer than min_words, 1: '  '"
    assert Filters(min_words=0).problem("") == ""
    assert len(Filters(max_words=5).problem("word " * 1000)) < 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_words": -1},
        {"max_words": 2.5},
        {"max_repeats": 1},
        {"max_repeats": True},
        {"min_words": 5, "max_words": 4},
    ],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(CaptionError, match=f"{next(reversed(wrong))}: expected"):
        Filters(**wrong)


@pytest.mark.parametrize("text", ["...", "?", "— —", "« »", "(', )", ""])
def test_punctuation_alone_is_no_caption(text: str) -> None:
    assert Filters().problem(text) == f"the caption has 0 words, fewer than min_words, 1: {text!r}"
    assert Filters(min_words=0).problem(text) == ""


def test_a_character_of_chinese_or_japanese_counts_for_a_word() -> None:
    assert Filters(min_words=5, max_words=11).problem("犬が草の上に座っている") == ""
    assert "has 3 words, fewer than min_words, 4" in Filters(min_words=4).problem("草の上。")
    assert "has 11 words, more than max_words, 10" in Filters(max_words=10).problem("犬が草の上に座っている")
    assert Filters(min_words=3, max_words=3).problem("a cat 猫") == ""


def test_a_book_beside_a_photograph_takes_no_minute() -> None:
    text = " ".join(f"word{i % 997}" for i in range(30_000))
    start = time.monotonic()
    assert Filters().problem(text) == ""
    assert time.monotonic() - start < 5
    assert Filters(max_words=60).problem(text).endswith("…'")


# --- words, patterns, what is left unfinished -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("arafed man in a blue hat", "arafed"),
        ("there is a araffe in the field", "araffe"),
        ("an ARAFED-looking dog", "arafed"),
        ("two arafes, on a hill", "arafes"),
        ("the arraffe's neck", "arraffe"),
    ],
)
def test_what_the_large_blip_makes_up_is_refused(text: str, word: str) -> None:
    assert Filters().problem(text) == (
        f"the caption has {word!r}, which is no word but what the large BLIP makes up: {text!r}"
    )
    assert Filters(refuse_non_words=False).problem(text) == ""


@pytest.mark.parametrize(
    "text", ["Yasser Arafat on a stage", "a carafe of wine", "the Arafura Sea", "giraffes", "two carafes", "safari"]
)
def test_words_that_hold_or_resemble_them_pass(text: str) -> None:
    assert Filters().problem(text) == ""


def test_words_of_ones_own_are_refused_whole_and_in_any_case() -> None:
    filters = Filters(refuse_words=("watermark", "stock  photo", "c++", "水印"))
    for text in ("a Watermark on a dog", "a stock\tphoto of a dog", "a book on C++, open", "狗 水印"):
        assert "one of refuse_words" in filters.problem(text)
    for text in ("a watermarked dog", "stock and photo", "c+ c", "a dog"):
        assert filters.problem(text) == ""


def test_a_pattern_refuses_what_it_finds() -> None:
    filters = Filters(refuse_pattern=r"https?://\S+|\bphoto #\d+")
    assert filters.problem("a dog at HTTPS://x.y/z today") == (
        "the caption has 'HTTPS://x.y/z', which refuse_pattern refuses: 'a dog at HTTPS://x.y/z today'"
    )
    assert filters.problem("photo #3 of a dog") and not filters.problem("photo 3 of a dog")


@pytest.mark.parametrize(
    "text",
    ["a photo of", "A photo of a", "this is an image of the", "a black and white photo of", "Picture of.", "a view of"],
)
def test_a_beginning_alone_is_no_caption(text: str) -> None:
    assert Filters().problem(text) == f"the caption says no more than how it begins: {text!r}"
    assert Filters(refuse_unfinished=False).problem(text) == ""


@pytest.mark.parametrize("text", ["a photo of a dog", "a picture", "a view of the sea", "an image of it", "of"])
def test_a_sentence_that_goes_on_passes(text: str) -> None:
    assert Filters().problem(text) == ""


def test_a_prompt_alone_is_no_caption() -> None:
    assert Filters().problem("In this scene, there is", "in this scene, there is ")
    assert not Filters().problem("in this scene, there is a dog", "in this scene, there is")
    assert not Filters().problem("a dog", "")


@pytest.mark.parametrize("text", ['{"caption": "a dog"}', ' {"a": {"b": 1}} ', '["a dog", "a cat"]'])
def test_json_is_no_caption(text: str) -> None:
    assert Filters().problem(text) == f"the caption is JSON, and no sentence: {text!r}"


@pytest.mark.parametrize("text", ["[a sign in brackets]", "{a dog}", "a dog {here}", "[ ] a box to tick"])
def test_brackets_alone_make_no_json(text: str) -> None:
    assert Filters().problem(text) == ""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"refuse_pattern": "("}, "refuse_pattern: '\\(' is no regular expression: .*write a backslash"),
        ({"refuse_pattern": "a*"}, "refuse_pattern: 'a\\*' fits every caption"),
        ({"refuse_pattern": "x" * 2000}, "refuse_pattern: expected a regular expression of 1000 characters"),
        ({"refuse_pattern": 3}, "refuse_pattern: expected a regular expression"),
        ({"refuse_words": "arafed"}, "refuse_words: expected words such as"),
        ({"refuse_words": ("",)}, "refuse_words: expected words such as"),
        ({"refuse_words": (3,)}, "refuse_words: expected words such as"),
        ({"refuse_non_words": 1}, "refuse_non_words: expected true or false, found 1"),
        ({"refuse_unfinished": "no"}, "refuse_unfinished: expected true or false, found 'no'"),
    ],
)
def test_words_and_patterns_that_cannot_be_meant(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(CaptionError, match=says):
        Filters(**wrong)


@pytest.mark.parametrize("text", ["nan", "NaN", "None", "null", "N/A", "<NA>", " nan "])
def test_what_tables_write_for_nothing_is_no_caption(text: str) -> None:
    assert "which tables write where there is nothing" in Filters().problem(text)
    assert Filters().problem(f"{text} and bread on a table") == ""
