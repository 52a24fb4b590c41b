from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.captioning.captioner import Caption, CaptionError, Photo
from patina.captioning.template import FIELDS, Template
from tests.captioning.doubles import Model, Pixels, photo


def seen(red: float, green: float, blue: float, width: int = 300, height: int = 200, name: str = "x.jpg") -> Photo:
    """A photo that a scan has looked at: nobody may decode it again."""
    return photo(name, width=width, height=height, mean=(red, green, blue))


def says(text: str, of: Photo) -> str:
    (caption,) = Template(text).caption([of])
    assert caption.problem == ""
    return caption.text


def test_the_default_sentence() -> None:
    assert Template().caption([seen(20, 30, 40), seen(100, 110, 120, 200, 300), seen(240, 250, 255, 9, 9)]) == [
        Caption("a dark wide photograph"),
        Caption("an evenly lit tall photograph"),
        Caption("a bright square photograph"),
    ]


@pytest.mark.parametrize(
    ("width", "height", "word"),
    [(104, 100, "square"), (105, 100, "wide"), (100, 105, "tall"), (1, 1, "square"), (1, 2, "tall")],
)
def test_orientation(width: int, height: int, word: str) -> None:
    assert says("{orientation}", seen(0, 0, 0, width, height)) == word


@pytest.mark.parametrize(("level", "word"), [(84, "dark"), (86, "evenly lit"), (169, "evenly lit"), (171, "bright")])
def test_tone(level: float, word: str) -> None:
    assert says("{tone}", seen(level, level, level)) == word
    assert says("{tone}", seen(0, 255, 0)) == "evenly lit" and says("{tone}", seen(0, 0, 255)) == "dark"


@pytest.mark.parametrize(
    ("mean", "word"),
    [
        ((255, 0, 0), "red"),
        ((255, 0, 30), "red"),
        ((255, 128, 0), "orange"),
        ((120, 80, 50), "brown"),
        ((255, 255, 0), "yellow"),
        ((0, 255, 0), "green"),
        ((0, 255, 255), "turquoise"),
        ((0, 0, 255), "blue"),
        ((160, 0, 255), "purple"),
        ((255, 0, 160), "pink"),
        ((16.0, 0.0, 1e-140), "red"),  # a hue that rounds to 360 degrees
        ((100, 100, 100), "grey"),
        ((0, 0, 0), "grey"),
        ((100, 110, 115), "grey"),
    ],
)
def test_colour(mean: tuple[float, float, float], word: str) -> None:
    assert says("{colour}", seen(*mean)) == word


@pytest.mark.parametrize(
    ("name", "folder", "sentence"),
    [
        ("dogs/golden-retriever/the_old-dog.jpg", "/photos", "the old dog in golden retriever"),
        ("IMG.1.jpg", "/data/my_photos/", "IMG.1 in my photos"),
        ("IMG.jpg", "C:\\data\\photos", "IMG in photos"),
        ("{tone}.jpg", "/", "{tone} in"),
    ],
)
def test_name_and_folder_need_no_pixels(name: str, folder: str, sentence: str) -> None:
    assert says("{name} in {folder}", photo(name, folder)) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a {name}", "an orange"),
        ("an {name}", "an orange"),
        ("A {name}, a {tone} one", "An orange, a dark one"),
        ("an {tone} banana {name}", "a dark banana orange"),
        ("a{name} a  {name}", "aorange a orange"),  # only where the article stands right before the word
        ("{{a}} {name}", "{a} orange"),
        ("no field\n at  all", "no field at all"),
    ],
)
def test_articles_and_braces(text: str, sentence: str) -> None:
    assert says(text, seen(0, 0, 0, name="orange.jpg")) == sentence


def test_pixels_are_decoded_once_and_say_what_a_scan_says() -> None:
    image = np.random.PCG64(3).random_raw(30 * 20 * 3).astype(np.uint8).reshape(20, 30, 3)
    calls = []

    def load() -> Pixels:
        calls.append(1)
        return image

    text = "a {tone} {colour} {orientation} of {name}"
    r, g, b = (round(float(level), 3) for level in image.reshape(-1, 3).mean(axis=0, dtype="float64"))
    assert says(text, photo("x.jpg", load=load)) == says(text, seen(r, g, b, 30, 20))
    assert len(calls) == 1


def test_an_undecodable_photo_and_an_empty_sentence_are_problems() -> None:
    def load() -> Pixels:
        raise RuntimeError("cut short")

    assert Template().caption([photo("x.jpg", load=load)]) == [Caption("", "'x.jpg' cannot be decoded: cut short")]
    assert Template("{name}").caption([photo("__.jpg")])[0].problem == "the template '{name}' is empty for '__.jpg'"


@pytest.mark.parametrize("text", ["{mood}", "{}", "{0}", "{tone.upper}", "{tone!r}", "{tone:>10}", "{tone:{name}}"])
def test_an_unknown_field_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(CaptionError, match="found") as raised:
        Template(f"a {text} photograph")
    assert text in str(raised.value) and all(f"{{{field}}}" in str(raised.value) for field in FIELDS)


@pytest.mark.parametrize("text", ["a {tone photograph", "a tone} photograph", "", "  ", 3])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CaptionError, match="text: expected"):
        Template(text)


# Levels about every bound: of grey, of brown, of dark and bright, and hues at the ends of colours.
LEVELS = st.one_of(
    st.integers(0, 255).map(float), st.floats(0, 255), st.sampled_from([0.0, 16.0, 85.0, 127.5, 169.999, 170.0, 255.0])
)
SIDES = st.sampled_from([1, 20, 21, 22, 100, 105, 106, 768, 512])


@given(
    st.lists(st.tuples(SIDES, SIDES, st.tuples(LEVELS, LEVELS, LEVELS)), min_size=2, max_size=12),
    st.sampled_from(["{tone}", "{colour}", "a {orientation} one", "{tone} {colour} {orientation} {tone}", "a photo"]),
)
def test_photographs_of_one_class_have_the_same_words(
    looks: list[tuple[int, int, tuple[float, float, float]]], text: str
) -> None:
    template = Template(text)
    widths, heights, means = (np.array(column) for column in zip(*looks, strict=True))
    classes = template.classes(widths, heights, means)
    assert classes is not None
    words = [says(text, seen(*mean, width, height)) for width, height, mean in looks]
    by_class: dict[int, set[str]] = {}
    for number, said in zip(classes.tolist(), words, strict=True):
        by_class.setdefault(number, set()).add(said)
    assert all(len(said) == 1 for said in by_class.values()), by_class
    assert len(by_class) <= 13**3, "few are asked for, however many there are"


def test_what_looks_at_more_has_no_classes() -> None:
    sizes, means = np.array([3, 4]), np.zeros((2, 3))
    assert Template("{name}").classes(sizes, sizes, means) is None
    assert Template("{tone} {folder}").classes(sizes, sizes, means) is None
    assert Template("{tone}").classes(np.array([3, 0]), sizes, means) is None, "one of them was not looked at"
    assert Model().classes(sizes, sizes, means) is None

    class Own(Template):
        def caption(self, photos: Sequence[Photo]) -> list[Caption]:
            return [Caption(photo.name) for photo in photos]

    assert Own("{tone}").classes(sizes, sizes, means) is None
