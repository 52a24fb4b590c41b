"""What stands in for photos and for a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from captioning.captioner import Caption, Captioner, Photo

Pixels = NDArray[np.uint8]


def not_to_be_loaded() -> Pixels:
    raise AssertionError("decoded, though nothing needs pixels")


def photo(name: str, folder: object = "/photos", load: Callable[[], Pixels] = not_to_be_loaded, **known: Any) -> Photo:
    """A photo that is what its name is; one that nobody may decode, unless `load` says how."""
    return Photo(known.pop("digest", digest_of(name)), name, str(folder), load, **known)


def digest_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Model(Captioner):
    """A model's double: it says the name, writes down each batch, and can fail on a name or crash at a batch."""

    name: ClassVar[str] = "double"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = True

    prompt: str = "a photo of"
    fails_on: tuple[str, ...] = ()
    crashes_at: int = -1
    batches: list[list[str]] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {"prompt": self.prompt}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        if len(self.batches) == self.crashes_at:
            raise KeyboardInterrupt
        self.batches.append([p.name for p in photos])
        return [
            Caption("", f"{p.name} is beyond me") if p.name in self.fails_on else Caption(f"{self.prompt} {p.name}")
            for p in photos
        ]

    @property
    def asked(self) -> list[str]:
        return [name for names in self.batches for name in names]


@dataclass(frozen=True)
class Passing(Model):
    """The same, not worth storing."""

    stored: ClassVar[bool] = False
