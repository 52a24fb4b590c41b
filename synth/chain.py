"""`chain`: several degradations drawn at random, one after another, as in the work on blind restoration.

A chain has rounds, and a round has steps. Each step is a degradation of the catalogue with its own settings, or one of
several; it is taken or not, and the steps of a round may come in any order. What was drawn is a list of names and
parameters, by which a sample is made again, bit for bit. `patina.synth.chains` has those of the papers.

A step of `downsampled` leaves the picture small: what follows sees it so, as noise and JPEG did that was then enlarged.
Its scale is always that of the original. A step `return` enlarges it; without one, the chain does at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from patina.synth.compose import JOINT, Passage
from patina.synth.degradation import Degradation, Degraded, Params, Place, SettingError, Stage, check_values
from patina.synth.degradations.blurred import chosen
from patina.synth.degradations.downsampled import Downsampled, small_side
from patina.synth.image import SMALLEST_SIDE, Image
from patina.synth.resizing import resized
from patina.synth.rng import Rng

BACK = "return"
"""What a step without a degradation is called: it gives the picture the size back that it had."""

RETURN = "bicubic"
"""How the chain does so at its end where no step did."""

ANY_SIZE = frozenset(("blurred", "noisy", "jpeg-compressed", "downsampled"))
"""Degradations whose parameters fit a picture of any size; before any other, the picture gets its size back."""


@dataclass(frozen=True)
class Step:
    """One step of a chain.

    choices  the degradations of which one is taken, each with its odds; none for the way back to the picture's size.
    chance   how often the step is taken, 0..1.
    word     what a label calls it: mostly the degradation's name. "" for what no label names.
    back     without choices: the methods of `downsampled`, of which one enlarges the picture again.

    Raises SettingError.
    """

    choices: tuple[tuple[float, Degradation], ...]
    chance: float = 1.0
    word: str = ""
    back: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_values("chance", self.chance, 0, 1)
        for odds, _ in self.choices:
            check_values("odds", odds, 0, 1e6)
        if bool(self.choices) == bool(self.back):
            raise SettingError("a step has degradations to choose from, or else is the way back to the picture's size")
        if self.choices and not sum(odds for odds, _ in self.choices):
            raise SettingError("either: all odds are 0; give one of them more")

    @property
    def kind(self) -> str:
        """Steps of one kind keep their order when a round is shuffled: what is drawn for the first comes first."""
        return self.choices[0][1].name if self.choices else BACK

    def settings(self) -> dict[str, Any]:
        """All about it that decides what is drawn, as JSON."""
        either = [
            {"odds": odds, "use": one.name, "version": one.version, **one.settings()} for odds, one in self.choices
        ]
        return {"chance": self.chance, "word": self.word, "either": either, "back": list(self.back)}


@dataclass(frozen=True)
class Chain(Degradation):
    """Applies the steps of each round in turn, those of a shuffled round in random order.

    rounds   of steps.
    shuffle  one for each round: whether its steps come in random order.
    words    what each sample bears, exactly: no step of another word is taken, and of each of these at least one is,
             the first one where chance took none. Steps without a word are taken by chance alone.

    Steps draw for themselves, looking at the clean image. There are no truth maps, as they would differ from sample to
    sample, and no severity to ask for. Raises SettingError for a chain without steps, and for words of none.
    """

    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "scene"

    rounds: tuple[tuple[Step, ...], ...]
    shuffle: tuple[bool, ...]
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        known = self.known_words
        if not any(step.choices for steps in self.rounds for step in steps):
            raise SettingError("a chain has a step with a degradation at least")
        if len(self.shuffle) != len(self.rounds):
            raise SettingError(f"shuffle: expected true or false for each of {len(self.rounds)} rounds")
        if not self.words:
            raise SettingError("words: a chain has one word at least, by which its samples are called")
        for word in self.words:
            if word not in known:
                raise SettingError(
                    f"words: no step is called {word!r}; its steps are called {', '.join(known) or 'nothing'}"
                )

    @property
    def known_words(self) -> tuple[str, ...]:
        """The words of the steps that it may take, in their order."""
        steps = (step for steps in self.rounds for step in steps)
        return tuple(dict.fromkeys(step.word for step in steps if step.word and step.chance))

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its words, joined by `+`."""
        return JOINT.join(self.words)

    @property
    def parts(self) -> tuple[Degradation, ...]:
        """Every degradation that a step may take."""
        return tuple(one for steps in self.rounds for step in steps for _, one in step.choices)

    def missing_input(self, name: str) -> str:
        """What the first part that lacks something does."""
        return next((lack for part in self.parts if (lack := part.missing_input(name))), "")

    def side_input_digest(self, name: str) -> str:
        """What all parts look up, in their order."""
        return " ".join(filter(None, (part.side_input_digest(name) for part in self.parts)))

    def settings(self) -> dict[str, Any]:
        """Each step's settings."""
        rounds = {
            f"round {i + 1}": {f"step {k + 1}": step.settings() for k, step in enumerate(steps)}
            for i, steps in enumerate(self.rounds)
        }
        return {"rounds": rounds, "shuffle": list(self.shuffle), "words": list(self.words)}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`parts`: name and parameters of each step that was taken, in order; and `back`: after how many of them the
        picture got its size back, and by which method, as often as it did.

        Each step has a generator of its own: another setting of one leaves what the others draw as it was.
        """
        taken = self._taken(rng)
        parts: list[list[Any]] = []
        back: list[list[Any]] = []
        for steps, shuffled in zip(taken, self.shuffle, strict=True):
            for step, seed in _shuffled(steps, rng.seed()) if shuffled else steps:
                own = Rng(seed)
                if step.choices:
                    odds = {str(i): share for i, (share, _) in enumerate(step.choices)}
                    one = step.choices[int(chosen(own, odds))][1]
                    parts.append([one.name, dict(one.draw(Rng(own.seed()), image, place))])
                else:
                    back.append([len(parts), own.choice(step.back)])
        return {"parts": parts, "back": back}

    def _taken(self, rng: Rng) -> list[list[tuple[Step, str]]]:
        """The steps that are taken in each round, each with its seed."""
        drawn = [[(step, rng.uniform() < step.chance, rng.seed()) for step in steps] for steps in self.rounds]
        found = {step.word for steps in drawn for step, took, _ in steps if took}
        taken: list[list[tuple[Step, str]]] = []
        for steps in drawn:
            taken.append([])
            for step, took, seed in steps:
                is_lacking = step.word in self.words and step.word not in found and step.chance > 0
                if (took or is_lacking) and (not step.word or step.word in self.words):
                    taken[-1].append((step, seed))
                    found.add(step.word)
        return taken

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out."""
        by_name = {part.name: part for part in self.parts}
        passage, full = Passage(image), (image.shape[0], image.shape[1])
        back: dict[int, str] = dict(params["back"])
        for i, (name, drawn) in enumerate(params["parts"]):
            if i in back:
                _resize(passage, full, back[i], True)
            part = by_name[name]
            if isinstance(part, Downsampled):
                sides = (max(min(SMALLEST_SIDE, side), small_side(side, drawn["scale"])) for side in full)
                _resize(passage, (next(sides), next(sides)), drawn["method"], drawn["antialias"])
                continue
            if part.name not in ANY_SIZE:
                _resize(passage, full, RETURN, True)
            passage.add(part, drawn)
        _resize(passage, full, back.get(len(params["parts"]), RETURN), True)
        return Degraded(passage.levels())


def _resize(passage: Passage, size: tuple[int, int], method: str, antialias: bool) -> None:
    """Give the picture another size; nothing if it has it."""
    pixels = passage.floats()
    if pixels.shape[:2] != size:
        found = resized(pixels, size, method, antialias)
        passage.replace(np.clip(found, 0, 1, out=found))


def _shuffled(steps: Sequence[tuple[Step, str]], seed: str) -> list[tuple[Step, str]]:
    """The steps in random order; those of one kind in the order that they had."""
    rng, order = Rng(seed), list(range(len(steps)))
    for last in range(len(order) - 1, 0, -1):
        other = rng.integer(0, last)
        order[last], order[other] = order[other], order[last]
    waiting: dict[str, list[tuple[Step, str]]] = {}
    for step, own in steps:
        waiting.setdefault(step.kind, []).append((step, own))
    return [waiting[steps[i][0].kind].pop(0) for i in order]
