"""What stands in for photos and for a model."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from patina.captioning.captioner import Caption, Captioner, CaptionError, Photo, Run

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


@dataclass(frozen=True)
class Judge:
    """A scorer's double: the score is the text's length in hundredths; it fails on a name or crashes at a batch."""

    name: ClassVar[str] = "judge"
    version: ClassVar[int] = 1

    fails_on: str = ""
    crashes_at: int = -1
    asked: list[tuple[str, str]] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {}

    def prepare(self, run: Run) -> None:
        del run

    def release(self) -> None:
        self.asked.append(("released", ""))

    def stream(self, items: Sequence[tuple[Photo, str]], run: Run) -> Generator[list[tuple[int, float | str]]]:
        for number, start in enumerate(range(0, len(items), run.batch)):
            if number == self.crashes_at:
                raise KeyboardInterrupt
            some = items[start : start + run.batch]
            self.asked.extend((photo.name, text) for photo, text in some)
            yield [
                (start + i, "beyond me" if photo.name == self.fails_on else len(text) / 100)
                for i, (photo, text) in enumerate(some)
            ]


@dataclass
class Tripler:
    """A model's double for batches: numbers below 100 times three; 100 and more stand for what can go wrong.

    Even and odd numbers have different shapes. It has memory for `fits` numbers, and writes down each batch.
    """

    batch: int
    device: str = "cpu"
    fits: int = 1000
    batches: list[list[int]] = field(default_factory=list)
    prepared: list[int] = field(default_factory=list)
    entered: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> None:
        with self.lock:
            self.entered.append(threading.current_thread())

    def prepare(self, item: int) -> list[int]:
        assert threading.current_thread() in self.entered
        with self.lock:
            self.prepared.append(item)
        if item == UNREADABLE:
            raise OSError("truncated")
        return [item]

    def shape(self, features: list[int]) -> Hashable:
        return features[0] % 2

    def collate(self, features: Sequence[list[int]]) -> list[int]:
        return [number for one in features for number in one]

    def infer(self, features: list[int], items: Sequence[int]) -> list[str] | None:
        assert features == list(items)
        if len(items) > self.fits:
            return None
        for number in items:
            if number == DEADLY:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == WRONG:
                raise RuntimeError("matrices of sizes that do not fit")
            if number == SLOW:
                time.sleep(0.1)
        self.batches.append(list(items))
        return [f"{self.device}: {3 * number}" for number in items]

    def refuse(self, item: int, error: BaseException) -> str:
        return f"{item} refused: {error}"


UNREADABLE, DEADLY, WRONG, SLOW = 100, 101, 102, 103


def tripler(batch: int, device: str) -> Tripler:
    """Made in each worker: importable, so that it can be pickled."""
    if device == "broken":
        raise CaptionError("no model here")
    return Tripler(batch, device)


class Masked(Tripler):
    """Says whether its process, which only a parent can have told so before it began, blocks SIGINT."""

    def infer(self, features: list[int], items: Sequence[int]) -> list[str] | None:
        blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return ["SIGINT blocked" if blocked else "SIGINT arrives"] * len(items)


def masked(device: str) -> Masked:
    return Masked(1, device)
