"""What a caption must be like to be kept: long enough, short enough, of words that exist, and not a model's loop."""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from dataclasses import dataclass
from functools import lru_cache

from patina.captioning.captioner import CaptionError

MARKS = ".,;:!?\"'()[]{}…“”‘’«»"  # at a word's ends these do not make another word
SHOWN = 160  # characters of a refused caption that its reason shows
LONGEST = 50  # words of a run that is looked for again: models repeat themselves sooner

# Han and kana, written without spaces: each character counts for a word.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")

NON_WORDS = (
    "arafed", "arafeed", "araffe", "araffed", "araffes", "araffy", "arafe", "arafes", "araff", "araffing", "arafing",
    "arafic", "arafi", "arafly", "arafy", "arraf", "arrafe", "arrafed", "arraffe", "arraffed", "arraffes",
)  # fmt: skip
"""What the large BLIP writes at the beginning of many sentences, and no language has."""

NOTHING = frozenset({"nan", "none", "null", "n/a", "#n/a", "<na>", "nat"})
"""What tables hold where nothing was written, in small letters: pandas and spreadsheets write so."""

MOST_PATTERN = 1000  # characters of refuse_pattern

# A sentence that only says that there is a picture: "a photo of", "this is an image of a".
UNFINISHED = re.compile(
    r"(?:(?:there|this|here|it)(?: is|'s|’s) )?(?:(?:a|an|the) )?(?:[\w-]+ ){0,4}"
    r"(?:photo|photograph|picture|image|painting|drawing|illustration|snapshot|view|close-?up)s? of(?: an?| the)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Filters:
    """Refuses captions that are no use, whoever made them.

    min_words    the fewest words that a caption may have. A word stands between spaces and is more than punctuation; in
                 Chinese and Japanese each character is a word.
    max_words    the most words that a caption may have; 0: any number.
    max_repeats  how often in succession a word, or a run of up to 50 words, makes a caption refused, in any case and
                 with any punctuation: 3 refuses `a a a` and `the cat the cat the cat`; 0: any number is allowed.
    refuse_words  words, or runs of words, that no caption may have, in any case. They match whole words.
    refuse_non_words  whether a caption with a word that the large BLIP makes up, such as "arafed", is refused.
    refuse_pattern  a regular expression that must match nowhere in a caption, in any case; "" for none.
    refuse_unfinished  whether a caption that is no more than the captioner's prompt, or "a photo of", is refused.

    JSON is never a caption, nor is what tables write for nothing, such as "nan". Raises CaptionError for settings that
    cannot be meant.
    """

    min_words: int = 1
    max_words: int = 0
    max_repeats: int = 3
    refuse_words: tuple[str, ...] = ()
    refuse_non_words: bool = True
    refuse_pattern: str = ""
    refuse_unfinished: bool = True

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
        self._expect_words()
        for name, chosen in (
            ("refuse_non_words", self.refuse_non_words),
            ("refuse_unfinished", self.refuse_unfinished),
        ):
            if not isinstance(chosen, bool):
                raise CaptionError(f"{name}: expected true or false, found {chosen!r}")

    def _expect_words(self) -> None:
        words = self.refuse_words
        if not isinstance(words, tuple) or not all(isinstance(word, str) and word.strip() for word in words):
            raise CaptionError(f'refuse_words: expected words such as ["watermark"], found {_shown(repr(words))}')
        if not isinstance(self.refuse_pattern, str) or len(self.refuse_pattern) > MOST_PATTERN:
            found = repr(self.refuse_pattern)[:SHOWN]
            raise CaptionError(
                f"refuse_pattern: expected a regular expression of {MOST_PATTERN} characters at most, found {found}"
            )
        try:
            pattern = _compiled(self.refuse_pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise CaptionError(
                f"refuse_pattern: {self.refuse_pattern!r} is no regular expression: {error}; "
                "write a backslash before what stands for itself"
            ) from None
        if pattern and pattern.search(""):
            raise CaptionError(
                f"refuse_pattern: {self.refuse_pattern!r} fits every caption; expected one that few have"
            )

    def problem(self, text: str, prompt: str = "") -> str:
        """Why `text` is refused, in words that show it; "" if it is fine. `prompt`: what its captioner began with."""
        return self._form_problem(text) or self._word_problem(text, prompt)

    def _word_problem(self, text: str, prompt: str) -> str:
        if found := _any_of(self.refuse_words, text):
            return f"the caption has {found!r}, one of refuse_words: {_shown(text)}"
        if self.refuse_non_words and (found := _any_of(NON_WORDS, text)):
            return f"the caption has {found!r}, which is no word but what the large BLIP makes up: {_shown(text)}"
        pattern = _compiled(self.refuse_pattern)
        if pattern and (match := pattern.search(text)):
            return f"the caption has {_shown(match[0])}, which refuse_pattern refuses: {_shown(text)}"
        bare = _bare(text)
        if self.refuse_unfinished and bare and (bare == _bare(prompt) or UNFINISHED.fullmatch(bare)):
            return f"the caption says no more than how it begins: {_shown(text)}"
        return _no_sentence(text)

    def _form_problem(self, text: str) -> str:
        """What is wrong with a caption's length, or with its repeats."""
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


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():  # of patterns that a later Python may read otherwise
        warnings.simplefilter("ignore")
        return re.compile(pattern, re.IGNORECASE) if pattern else None


@lru_cache(maxsize=16)
def _whole_words(words: tuple[str, ...]) -> re.Pattern[str]:
    runs = (r"\s+".join(re.escape(part) for part in word.casefold().split()) for word in words)
    return re.compile(rf"(?<!\w)(?:{'|'.join(runs)})(?!\w)")


def _any_of(words: tuple[str, ...], text: str) -> str:
    """The first of `words` that stands in the text; "" if none does."""
    found = _whole_words(words).search(text.casefold()) if words else None
    return found[0] if found else ""


def _bare(text: str) -> str:
    """A text in small letters, with single spaces and without punctuation around it."""
    return " ".join(text.casefold().split()).strip(MARKS + " ")


def _no_sentence(text: str) -> str:
    """Why a text is none that anybody wrote for a caption; "" if it may be."""
    if text.strip().casefold() in NOTHING:
        return f"the caption is {_shown(text)}, which tables write where there is nothing"
    return f"the caption is JSON, and no sentence: {_shown(text)}" if _is_json(text) else ""


def _is_json(text: str) -> bool:
    """Whether a text is an object or a list, as JSON writes them."""
    if text.strip()[:1] not in ("{", "["):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) or (isinstance(found, list) and found != [])


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
