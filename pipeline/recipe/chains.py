"""A random chain from its table in a recipe: one of the papers by name, or rounds of steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from patina.pipeline.errors import RecipeError
from patina.pipeline.recipe.degradations import degradation_of
from patina.pipeline.recipe.settings import expect_type, refuse_unknown
from patina.pipeline.text import nearest, shown
from patina.synth.chain import BACK, Chain, Step
from patina.synth.chains import CHAINS
from patina.synth.degradation import Degradation, SettingError
from patina.synth.degradations.downsampled import check_methods

WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

STEP = ("use", "either", BACK, "chance", "word")
"""Keys of a step; the others are settings of the degradation that `use` names."""


def chain_of(
    what: str, settings: dict[str, Any], folder: Path, also: Iterable[str] = ()
) -> tuple[Chain, dict[str, Any]]:
    """The chain of a table with `chain`, and perhaps `shuffle` and `words`; and the table with its defaults filled in,
    the rounds of a named chain written out. Raises RecipeError."""
    refuse_unknown(what, settings, ["chain", "shuffle", "words", *also])
    rounds, shuffle = _rounds(what, settings["chain"])
    steps, tables = [], []
    for i, entries in enumerate(rounds):
        made = [_step(f"{what} chain, step {k + 1} of round {i + 1}", raw, folder) for k, raw in enumerate(entries)]
        steps.append(tuple(step for step, _ in made))
        tables.append([table for _, table in made])
    asked = settings.get("shuffle", shuffle)
    shuffled = tuple(asked if isinstance(asked, list | tuple) else [asked] * len(steps))
    if not all(isinstance(one, bool) for one in shuffled) or len(shuffled) != len(steps):
        raise RecipeError(
            f"{what} shuffle: expected true or false, or a list of one for each of {len(steps)} rounds, found "
            f"{shown(asked)}"
        )
    known = dict.fromkeys(step.word for part in steps for step in part if step.word and step.chance)
    words = expect_type(f"{what} words", settings.get("words", list(known)), list, "a list of the words of its steps")
    try:
        chain = Chain(tuple(steps), shuffled, tuple(words))
    except (SettingError, TypeError) as error:
        raise RecipeError(f"{what}: {error}") from None
    return chain, {"chain": tables, "shuffle": list(shuffled), "words": list(words)}


def _rounds(what: str, written: Any) -> tuple[list[list[Any]], list[bool] | bool]:
    """The tables of each round's steps, and whether the rounds are shuffled where the recipe does not say."""
    if isinstance(written, str):
        if written not in CHAINS:
            raise RecipeError(f"{what}: no chain is called {written!r}; {nearest(written, CHAINS)}")
        return [list(steps) for steps in CHAINS[written].rounds], list(CHAINS[written].shuffle)
    rounds = expect_type(f"{what} chain", written, list, f"one of {', '.join(CHAINS)}, or a list of steps or of rounds")
    if rounds and all(isinstance(one, Mapping) for one in rounds):
        rounds = [rounds]
    if not rounds:
        raise RecipeError(f"{what} chain: the list is empty; give one step at least")
    return [
        list(expect_type(f"{what} chain", steps, list, "a round, which is a list of steps")) for steps in rounds
    ], False


def _step(what: str, raw: Any, folder: Path) -> tuple[Step, dict[str, Any]]:
    """One step, and its table with the defaults filled in."""
    settings = dict(expect_type(what, raw, Mapping, "a table"))  # type: ignore[type-abstract]
    if len(kinds := [key for key in ("use", "either", BACK) if key in settings]) != 1:
        found = " and ".join(kinds) or "none of them"
        raise RecipeError(f"{what}: expected one of the keys use, either and return, found {found}")
    chance = _number(f"{what} chance", settings.pop("chance", 1))
    if BACK in settings:
        refuse_unknown(what, settings, [BACK])
        written = settings[BACK]
        methods = [written] if isinstance(written, str) else list(written)
        return _made(what, (), chance, "", methods), {BACK: methods, "chance": chance}
    word = expect_type(f"{what} word", settings.pop("word", None) or "", str, "a text") if "word" in settings else None
    if "either" in settings:
        refuse_unknown(what, settings, ["either"])
        entries = expect_type(f"{what} either", settings["either"], list, "a list of tables")
        if not entries:
            raise RecipeError(f"{what} either: the list is empty; give one degradation at least")
        made = [_choice(f"{what} either", one, folder) for one in entries]
        if word is None and len({one.name for _, one, _ in made}) > 1:
            raise RecipeError(f'{what}: the choices are of several names; give the step a word, such as word = "blur"')
        written = {"either": [{"odds": odds, **table} for odds, _, table in made]}
    else:
        made = [_choice(what, settings, folder)]
        written = made[0][2]
    word = made[0][1].name if word is None else word
    if word and not WORD.fullmatch(word):
        raise RecipeError(f"{what} word: expected lower-case letters, digits and single -, found {shown(word)}")
    choices = tuple((odds, one) for odds, one, _ in made)
    return _made(what, choices, chance, word, ()), {**written, "chance": chance, "word": word}


def _choice(what: str, raw: Any, folder: Path) -> tuple[float, Degradation, dict[str, Any]]:
    """A degradation with its odds and its table."""
    settings = dict(expect_type(what, raw, Mapping, "a table"))  # type: ignore[type-abstract]
    odds = _number(f"{what} odds", settings.pop("odds", 1))
    name = expect_type(f"{what} use", settings.pop("use", ""), str, "a degradation's word")
    if "severity" in settings:
        raise RecipeError(f"{what}: a step has no severity; give {name} settings instead")
    one, table = degradation_of(f"{what}, {name}", name, settings, folder, ("use", "odds", *STEP))
    return odds, one, {"use": name, **table}


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{what}: expected a number, found {shown(value)}")
    return float(value)


def _made(
    what: str, choices: tuple[tuple[float, Degradation], ...], chance: float, word: str, back: Iterable[str]
) -> Step:
    try:
        if methods := tuple(back):
            check_methods(BACK, methods)
        return Step(choices, chance, word, methods)
    except SettingError as error:
        raise RecipeError(f"{what}: {error}") from None
