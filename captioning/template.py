"""`template`: a sentence filled in from what is known of every photo. No model: the double of one, and a fallback."""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from patina.captioning.captioner import Caption, Captioner, CaptionError, Photo, one_line

NEARLY_SQUARE = 1.05  # sides that differ by less look equal
DARK, BRIGHT = 85, 170  # a third and two thirds of 255
GREY = 16  # levels between the largest and the smallest of the mean's R, G and B, below which it has no hue

ALIKE = 1 << 10  # sentences that are remembered while all photographs are captioned: most are alike

# Where each hue ends, in degrees.
HUES = (
    (15, "red"),
    (40, "orange"),
    (70, "yellow"),
    (165, "green"),
    (195, "turquoise"),
    (255, "blue"),
    (290, "purple"),
    (340, "pink"),
    (360, "red"),
)
ORANGE = 1  # its place among them


@dataclass(frozen=True)
class Template(Captioner):
    """Fills in `text`, whose {fields} are:

    {orientation}  wide, tall or square; not landscape or portrait, which models of images and texts read as genres
    {tone}         dark, bright or, between them, evenly lit: by the mean luminance
    {colour}       the word for the mean colour: red, orange, brown, yellow, …, or grey
    {name}         the file's name less its suffix, with spaces for - and _
    {folder}       the name of the folder that the file is in, likewise

    An article a or an right before a field follows the word that is filled in. Raises CaptionError for another field.
    """

    name: ClassVar[str] = "template"
    version: ClassVar[int] = 2
    stored: ClassVar[bool] = False

    text: str = "a {tone} {orientation} photograph"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise CaptionError(f"text: expected a sentence such as 'a {{tone}} photograph', found {self.text!r}")
        _parse(self.text)

    def settings(self) -> dict[str, Any]:
        """As the protocol says."""
        return {"text": self.text}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """One caption for each photo; a problem where it cannot be decoded, or where the sentence comes out empty."""
        parts = _parse(self.text)
        filled = lru_cache(ALIKE)(partial(_filled, tuple(literal for literal, _ in parts)))
        return [self._caption(photo, parts, filled) for photo in photos]

    def classes(
        self, widths: NDArray[np.int64], heights: NDArray[np.int64], means: NDArray[np.float64]
    ) -> NDArray[np.int64] | None:
        """As the protocol says, where `text` tells of looks alone: by the words that its fields have."""
        fields = {field for _, field in _parse(self.text) if field}
        is_own = type(self).caption is not Template.caption  # words of a class made of this one
        if is_own or not fields <= CLASSES.keys() or not widths.all():  # a size of 0: nobody has looked at it
            return None
        found = np.zeros(len(widths), np.int64)
        for field in sorted(fields):
            found = found * (len(HUES) + 2) + CLASSES[field](widths, heights, means)
        return found

    def _caption(
        self, photo: Photo, parts: Sequence[tuple[str, str]], filled: Callable[[tuple[str, ...]], str]
    ) -> Caption:
        if not photo.width and any(field in LOOKS for _, field in parts):
            try:
                photo = _looked_at(photo)
            except Exception as error:  # a loader may raise anything, and one photo must not stop the others
                return Caption("", f"{photo.name!r} cannot be decoded: {error}")
        line = filled(tuple([FIELDS[field](photo) if field else "" for _, field in parts]))
        return Caption(line) if line else Caption("", f"the template {self.text!r} is empty for {photo.name!r}")


def _filled(literals: Sequence[str], values: tuple[str, ...]) -> str:
    """The sentence of these literal texts, each with the value behind it, on one line."""
    return one_line("".join(_with_article(text, value) + value for text, value in zip(literals, values, strict=True)))


def _parse(text: str) -> list[tuple[str, str]]:
    """Pairs of literal text and the field after it ("" for none). Raises CaptionError."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise CaptionError(
            f"text: expected {{field}}s, found {text!r}: {error}; double a brace that is meant"
        ) from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            written = field + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            known = ", ".join(f"{{{word}}}" for word in FIELDS)
            raise CaptionError(
                f"text: expected fields out of {known}, found {{{written}}}; double a brace that is meant"
            )
    return [(literal, field or "") for literal, field, _, _ in parts]


def _with_article(literal: str, word: str) -> str:
    """`literal`, with an article at its end made to fit `word`, going by its first letter: `an orange`."""
    article = r"\1n " if word[:1].lower() in tuple("aeiou") else r"\1 "
    return re.sub(r"\b(a)n? $", article, literal, flags=re.IGNORECASE) if word else literal


def _looked_at(photo: Photo) -> Photo:
    """`photo` with its size and mean from its pixels, the mean rounded as a scan's is."""
    image = photo.load()  # H×W×3
    r, g, b = (round(float(level), 3) for level in image.reshape(-1, 3).mean(axis=0, dtype=np.float64))
    return replace(photo, height=image.shape[0], width=image.shape[1], mean=(r, g, b))


def _orientation(photo: Photo) -> str:
    if max(photo.width, photo.height) < NEARLY_SQUARE * min(photo.width, photo.height):
        return "square"
    return "wide" if photo.width > photo.height else "tall"


def _tone(photo: Photo) -> str:
    r, g, b = photo.mean
    luminance = 0.299 * r + 0.587 * g + 0.114 * b  # luma of ITU-R BT.601: linear, so the mean's is the mean
    return "dark" if luminance < DARK else "bright" if luminance > BRIGHT else "evenly lit"


def _colour(photo: Photo) -> str:
    r, g, b = photo.mean
    most, chroma = max(photo.mean), max(photo.mean) - min(photo.mean)
    if chroma < GREY:
        return "grey"
    # The hue of HSV, in degrees.
    sixths = (g - b) / chroma % 6 if most == r else (b - r) / chroma + 2 if most == g else (r - g) / chroma + 4
    word = next((word for end, word in HUES if 60 * sixths < end), HUES[-1][1])  # what is nearly 0 may round to 360
    return "brown" if word == "orange" and most < BRIGHT else word


# The same for N photos at once, as numbers: in the same operations, so that none is on another side of a bound.


def _orientations(
    widths: NDArray[np.int64], heights: NDArray[np.int64], means: NDArray[np.float64]
) -> NDArray[np.int64]:
    del means
    is_square = np.maximum(widths, heights) < NEARLY_SQUARE * np.minimum(widths, heights)
    return np.where(is_square, 0, np.where(widths > heights, 1, 2))


def _tones(widths: NDArray[np.int64], heights: NDArray[np.int64], means: NDArray[np.float64]) -> NDArray[np.int64]:
    del widths, heights
    luminance = 0.299 * means[:, 0] + 0.587 * means[:, 1] + 0.114 * means[:, 2]
    return np.where(luminance < DARK, 0, np.where(luminance > BRIGHT, 1, 2))


def _colours(widths: NDArray[np.int64], heights: NDArray[np.int64], means: NDArray[np.float64]) -> NDArray[np.int64]:
    del widths, heights
    r, g, b = means.T
    most = means.max(axis=1)
    chroma = most - means.min(axis=1)
    is_grey = chroma < GREY
    chroma = np.where(is_grey, 1.0, chroma)
    reds = np.mod((g - b) / chroma, 6)
    sixths = np.where(most == r, reds, np.where(most == g, (b - r) / chroma + 2, (r - g) / chroma + 4))
    place = np.searchsorted([end for end, _ in HUES[:-1]], 60 * sixths, side="right")
    is_brown = (place == ORANGE) & (most < BRIGHT)
    return np.where(is_grey, len(HUES), np.where(is_brown, len(HUES) + 1, place))


CLASSES: dict[str, Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], NDArray[np.int64]]] = {
    "orientation": _orientations,
    "tone": _tones,
    "colour": _colours,
}


def _name(photo: Photo) -> str:
    return _spaced(posixpath.splitext(posixpath.basename(photo.name))[0])


def _folder(photo: Photo) -> str:
    within = posixpath.dirname(photo.name) or photo.folder.replace("\\", "/").rstrip("/")
    return _spaced(posixpath.basename(within))


def _spaced(name: str) -> str:
    return one_line(re.sub(r"[-_]", " ", name))


FIELDS: dict[str, Callable[[Photo], str]] = {
    "orientation": _orientation,
    "tone": _tone,
    "colour": _colour,
    "name": _name,
    "folder": _folder,
}
LOOKS = ("orientation", "tone", "colour")  # fields that need size or mean, and so pixels where a scan has not been
