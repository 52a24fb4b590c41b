"""What the catalogue offers, as data: every degradation with its settings, from the classes and their docstrings.

A class's docstring describes its settings in a block of its own, a line or more each: the name, two spaces or more, the
text with unit and range.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE, EVERY

WIDEST = 40
"""Characters of a setting and its default up to which all texts begin in one column."""

ALTERNATIVES: Mapping[str, Mapping[str, Any]] = {"hazy": {"model": "reside"}, "noisy": {"model": "sensor"}}
"""Settings that give a degradation another knob."""

_SETTING = re.compile(r"(\w+)  +(\S.*)")


@dataclass(frozen=True)
class SettingInfo:
    """One setting of a degradation.

    name     as recipes and `patina.degrade` take it.
    default  its value where nothing is given: a number, a text, a list to choose from, or a range `{"min": …,
             "max": …}` to draw from.
    text     what it means, in what unit and range.
    is_knob  whether it is the setting that `severity` turns.
    """

    name: str
    default: Any
    text: str
    is_knob: bool


@dataclass(frozen=True)
class DegradationInfo:
    """One degradation of the catalogue.

    name         the field's word for it, also in recipes, labels and shard names.
    description  one sentence.
    version      raised whenever the same parameters give other pixels.
    truth        names of the truth maps that each result carries.
    settings     in the order of the class.
    """

    name: str
    description: str
    version: int
    truth: tuple[str, ...]
    settings: tuple[SettingInfo, ...]

    @property
    def knob(self) -> SettingInfo | None:
        """The setting that `severity` turns; None if there is none."""
        return next((setting for setting in self.settings if setting.is_knob), None)


def describe(*, every: bool = False) -> list[DegradationInfo]:
    """Every degradation of the catalogue, in its order; with `every`, those too whose library is not installed here."""
    return [_described(name, kind) for name, kind in (EVERY if every else CATALOGUE).items()]


def _described(name: str, kind: type[Degradation]) -> DegradationInfo:
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    texts = setting_texts(kind, fields)
    default = kind()
    turned = default.knob.setting if default.knob else ""
    settings = tuple(SettingInfo(n, getattr(default, n), texts.get(n, ""), n == turned) for n in fields)
    return DegradationInfo(name, _sentence(name, kind), kind.version, tuple(default.truth), settings)


def setting_texts(kind: type[Degradation], names: Iterable[str]) -> dict[str, str]:
    """What a class's docstring says of its settings, those of `names` alone, on one line each."""
    wanted, texts, name = set(names), dict[str, str](), ""
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        if (match := _SETTING.fullmatch(line)) and match[1] in wanted:
            name = match[1]
            texts[name] = match[2].strip()
        elif name and line.startswith(" "):
            texts[name] += f" {line.strip()}"
        else:
            name = ""
    return texts


def _sentence(name: str, kind: type[Degradation]) -> str:
    """The first line of the class's module, without the name before it."""
    first = (sys.modules[kind.__module__].__doc__ or "").strip().partition("\n")[0]
    text = first.removeprefix(f"`{name}`: ").rstrip(".")
    return text[:1].upper() + text[1:]


def story(one: DegradationInfo) -> list[str]:
    """All about a degradation, in lines; its settings with their defaults as a recipe writes them."""
    written = {setting.name: f"{setting.name} = {_toml(setting.default)}" for setting in one.settings}
    width = max((len(text) for text in written.values() if len(text) <= WIDEST), default=0)
    turns = f'`severity = "mild..severe"` turns it instead of a number{_other_knob(one)}'
    knob = f"{one.knob.name}: {turns}" if one.knob else "none"
    return [
        f"{one.name}: {one.description}",
        f"version  {one.version}",
        f"truth    {', '.join(one.truth) or 'none'}",
        f"knob     {knob}",
        "",
        f"[degradations.{one.name}]",
        *(f"{written[setting.name]:{width}}  {setting.text}" for setting in one.settings),
    ]


def _other_knob(one: DegradationInfo) -> str:
    """Where other settings give a degradation another knob, which."""
    ways = [ALTERNATIVES[one.name]] if one.name in ALTERNATIVES else EVERY[one.name].ways
    for setting, value in (item for way in ways for item in way.items()):
        knob = EVERY[one.name](**{setting: value}).knob
        if knob and one.knob and knob.setting != one.knob.name:
            return f"; with {setting} = {_toml(value)} it is {knob.setting}"
    return ""


def _toml(value: Any) -> str:
    """A setting's value as a recipe writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(number)}" for key, number in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
