"""What a caption must be like to be kept: long enough, short enough, and not a model's loop."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from patina.captioning.captioner import CaptionError

MARKS = ".,;:!?\"'()[]{}…“”‘’«»"  # at a word's ends these do not make another word
SHOWN = 160  # characters of a refused caption that its reason shows
LONGEST = 50  # words of a run that is looked for again: models repeat themselves sooner

# Han and kana, written without spaces: each character counts for a word.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")


@dataclass(frozen=True)
class Filters:
    """Refuses captions that are no use, whoever made them.

    min_words    fewest words, and max_words: most (0: any number). A word stands between spaces and is more than
                 punctuation; of Chinese and Japanese each character is one.
    max_repeats  refused is a word, or a run of up to 50 words, that comes this many times in succession: `a a a`, `the
                 cat the cat the cat` at 3, whatever its capitals and punctuation (0: any number).

    Raises CaptionError for settings that cannot be meant.
    """

    min_words: int = 1
    max_words: int = 0
    max_repeats: int = 3

    def __post_init__(self) -> None:
        for name, number in (
            ("min_words", self.min_words),
            ("max_words", self.max_words),
            ("max_repeats", self.max_repeats),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise CaptionError(f"{name}: expected a whole number from 0, found {number!r}")
        if 0 < self.max_words < self.min_words:
            raise CaptionError(f"max_words: expected at least min_words, {self.min_words}, found {self.max_words}")
        if self.max_repeats == 1:
            raise CaptionError("max_repeats: expected 0 or a number from 2, found 1, which would refuse every caption")

    def problem(self, text: str) -> str:
        """Why `text` is refused, in words that show it; "" if it is fine."""
        words: list[str] = WORD.findall(text)
        count = sum(map(_is_word, words))
        if count < self.min_words:
            return f"the caption has {_count(count)}, fewer than min_words, {self.min_words}: {_shown(text)}"
        if self.max_words and count > self.max_words:
            return f"the caption has {_count(count)}, more than max_words, {self.max_words}: {_shown(text)}"
        loop = _loop([word.casefold().strip(MARKS) or word for word in words], self.max_repeats)
        if loop:
            return f"the caption says {' '.join(loop)!r} {self.max_repeats} times or more in succession: {_shown(text)}"
        return ""


def _loop(words: list[str], repeats: int) -> list[str]:
    """The shortest run of words that comes `repeats` times in succession, the first of them; empty if none does."""
    for length in range(1, min(LONGEST, len(words) // repeats) + 1 if repeats else 0):
        same = 0  # words in succession that equal the one `length` before
        for i in range(length, len(words)):
            same = same + 1 if words[i] == words[i - length] else 0
            if same == length * (repeats - 1):
                return words[i + 1 - length : i + 1]
    return []


def _is_word(word: str) -> bool:
    return any(unicodedata.category(character)[0] not in "PZ" for character in word)


def _count(words: int) -> str:
    return "1 word" if words == 1 else f"{words} words"


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
