"""The protocol that every captioner follows."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


class CaptionError(ValueError):
    """A captioner that cannot work as it is set. Says what was found, what was expected and what to do.

    Raised when the captioner is made, before any work starts; what ails one photo is its Caption's problem instead.
    """


@dataclass(frozen=True)
class Photo:
    """One clean image to be captioned.

    digest  SHA-256 of the image file's bytes, hexadecimal: what the image is.
    name    its path relative to the source's folder, with forward slashes.
    folder  the source's folder, as a string; `folder/name` is the file.
    load    decodes it when a captioner needs pixels: H×W×3 uint8 RGB.
    width, height  pixels, and mean: the mean level of R, G and B, 0..255: known without decoding.
    """

    digest: str
    name: str
    folder: str
    load: Callable[[], NDArray[np.uint8]]
    width: int = 0
    height: int = 0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Caption:
    """A caption, one line without control characters; or, where there is none, the problem in words and no text."""

    text: str
    problem: str = ""


class Captioner(Protocol):
    """Makes sentences about images. A dataclass whose fields are its settings, with defaults.

    name     the word that recipes use for it.
    version  raised whenever the same image may get another sentence under the same settings.
    stored   whether its captions are worth keeping in the store: true for a model, false where looking one up or
             making one costs less than the store does (and where an edited caption file must show at once).
    """

    name: ClassVar[str]
    version: ClassVar[int]
    stored: ClassVar[bool]

    def settings(self) -> dict[str, Any]:
        """All that decides the sentences beside the image, as JSON; with name and version it is the fingerprint."""
        ...

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """One caption for each of `photos`, in their order. A problem with one photo never raises."""
        ...


def one_line(text: str) -> str:
    """`text` on one line: every run of white space becomes one space, control characters go, the ends are trimmed."""
    spaced = "".join(" " if character.isspace() else character for character in text)
    kept = "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cs", "Co"})
    return " ".join(kept.split())
