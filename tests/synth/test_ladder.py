"""The words for every knob over its whole range, printed by `patina degradations WORD --ladder`: they rise with the
knob, agree with their own numbers and with what is measured, and round nothing to 0."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from patina.synth.degradations import CATALOGUE, DACLIP_DEGRADATIONS
from patina.synth.ladder import OTHERS, SEED, Ladder, ladders, picture, rung
from patina.synth.rng import Rng
from patina.synth.scales import (
    BLUR,
    COVER,
    DARKNESS,
    HOLES,
    JPEG,
    MIST,
    NOISE,
    RAIN,
    SHADOW,
    SNOW,
    VEIL,
    Scale,
    metres,
    rounded,
    written,
)
from patina.synth.severity import band_of, level_of
from patina.synth.words import say
from tests.synth.test_contract import TESTS

SCALES: dict[tuple[str, str], tuple[Scale, str, float]] = {
    ("motion-blurry", "length"): (BLUR, r"about ([\d.]+) px", 1),
    ("hazy", "transmission"): (VEIL, r"about ([\d.]+)%", 0.01),
    ("jpeg-compressed", "quality"): (JPEG, r"quality (\d+)", 1),
    ("low-light", "stops"): (DARKNESS, r"about ([\d.]+) stops", 1),
    ("noisy", "sigma"): (NOISE, r"deviation about ([\d.]+) of", 1),
    ("noisy", "iso"): (NOISE, r"deviation about ([\d.]+) of", 1),
    ("raindrop", "area"): (COVER, r"about ([\d.]+)%", 0.01),
    ("rainy", "rate"): (RAIN, r"about ([\d.]+) mm", 1),
    ("shadowed", "ratio"): (SHADOW, r"about ([\d.]+) stops", 1),
    ("snowy", "rate"): (SNOW, r"about ([\d.]+) mm", 1),
    ("noisy", "scale"): (NOISE, r"deviation about ([\d.]+) of", 1),
    ("uncompleted", "ratio"): (HOLES, r"about ([\d.]+)%", 0.01),
}
"""Scales of the knobs of DA-CLIP's ten, and how their numbers are told, in parts of the scale's unit. Visibility has
two units. Of another degradation its test module has them by the knob, as `TOLD`."""


def scale_of(name: str, setting: str) -> tuple[Scale, str, float]:
    told: tuple[Scale, str, float] = SCALES.get((name, setting)) or TESTS[name].TOLD[setting]
    return told


every = pytest.mark.parametrize("name", CATALOGUE)


@cache
def climbed(name: str) -> list[Ladder]:
    return ladders(name, 9)


@every
def test_words_and_severity_rise_with_the_knob(name: str) -> None:
    found = climbed(name)
    fields = {field.name for field in dataclasses.fields(CATALOGUE[name])}  # type: ignore[arg-type]
    assert len(found) == 1 + sum(settings.keys() <= fields for settings in OTHERS.get(name, CATALOGUE[name].ways))
    for ladder in found:
        places = [one.said.place for one in ladder.rungs]
        scores = [one.score for one in ladder.rungs]
        assert None not in places and places == sorted(places)  # type: ignore[type-var]
        assert len(set(places)) >= 3, "the range of a knob has words for its beginning, its middle and its end"
        assert scores == sorted(scores)
        assert scores[-1] > scores[0] + 20


@every
def test_no_word_of_a_scale_is_jumped_over(name: str) -> None:
    """Over the whole range of a knob each word follows the one before, up to the strongest; and of what is beyond
    DA-CLIP's ten, all the words of its scale are met."""
    fields = {field.name for field in dataclasses.fields(CATALOGUE[name])}  # type: ignore[arg-type]
    found = dict(_met(name, [s for s in ({}, *OTHERS.get(name, CATALOGUE[name].ways)) if s.keys() <= fields]))
    assert found, "a place on some scale"
    for setting, met in found.items():
        last = len((MIST if setting == "beta" else scale_of(name, setting)[0]).steps) - 1
        assert set(met) == set(range(min(met), last + 1))
        assert name in DACLIP_DEGRADATIONS or min(met) == 0


def _met(name: str, chosen: list[Mapping[str, Any]]) -> Iterator[tuple[str, set[int]]]:
    """Places of a scale that a setting's range meets, in all ways together, by the setting. What is told as measured,
    such as a sensor's noise, has its place from pictures alone, and is passed over."""
    found: dict[str, set[int]] = {}
    for settings in chosen:
        degradation = CATALOGUE[name](**settings)
        knob = degradation.knob
        assert knob is not None
        places = []
        for i in range(101):
            strong = dataclasses.replace(degradation, **{knob.setting: knob.at(i / 100)})  # type: ignore[type-var]
            places.append(say(name, strong.draw(Rng(SEED), picture())).place)
        told = [place for place in places if place is not None]
        assert told in ([], places) and told == sorted(told)
        if told:
            found.setdefault(knob.setting, set()).update(told)
    yield from found.items()


@every
def test_words_agree_with_their_numbers_and_with_what_is_measured(name: str) -> None:
    for ladder in climbed(name):
        for one in ladder.rungs:
            assert one.words.startswith(one.said.phrase)
            if one.score:
                level = re.fullmatch(r".*, (\w+) to see", one.words)
                assert level and level[1] == level_of(one.score)
                low, high = band_of(level[1])
                assert low <= one.score <= high
            if ladder.setting == "beta":
                told = re.search(r"visibility about ([\d.]+) (k?m)", one.words)
                assert told
                value = float(told[1]) * (1000 if told[2] == "km" else 1)
                assert one.said.place == MIST.place(value) and one.words.startswith(MIST.name(value))
                continue
            scale, pattern, unit = scale_of(name, ladder.setting)
            told = re.search(pattern, one.words)
            assert told, one.words
            value = rounded(float(told[1]) * unit)
            assert one.said.place == scale.place(value)
            assert one.words.startswith(scale.name(value))


@every
def test_nothing_is_rounded_to_0(name: str) -> None:
    for ladder in climbed(name):
        for one in ladder.rungs:
            numbers = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", one.said.phrase)]
            assert numbers and all(number > 0 for number in numbers)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("motion-blurry", {"length": 0, "rotation": 0}),
        ("hazy", {"beta": 0}),
        ("low-light", {"stops": 0}),
        ("noisy", {"sigma": 0}),
        ("raindrop", {"area": 0}),
        ("shadowed", {"ratio": 0}),
    ],
)
def test_a_knob_at_0_is_told_as_nothing(name: str, settings: dict[str, Any]) -> None:
    one = rung(CATALOGUE[name](**settings), 0)
    assert one.said.phrase.startswith("no ") and one.said.place == -1
    assert not re.search(r"\d", one.said.phrase)


NAMED = [RAIN, SNOW, MIST, VEIL, NOISE, JPEG, DARKNESS, SHADOW, BLUR, COVER, HOLES]
OWN = [told[0] for test in TESTS.values() for told in getattr(test, "TOLD", {}).values()]


@pytest.mark.parametrize("scale", [*NAMED, *OWN])
def test_a_scales_steps_are_in_order_and_each_is_met(scale: Scale) -> None:
    bounds = [bound for bound, _ in scale.steps]
    assert bounds == sorted(bounds, reverse=scale.falling)
    assert len({name for _, name in scale.steps}) == len(scale.steps)
    nearly = [min(bound, 1e7) * (0.9 if scale.falling else 1.1) + (0 if bound else 1e-6) for bound in bounds]
    assert [scale.name(value) for value in nearly] == [name for _, name in scale.steps]


def test_numbers_are_told_to_two_digits_and_never_as_0() -> None:
    assert [written(v) for v in (0, 1e-9, 0.0099, 0.01, 0.0496, 9.96, 394, 12_345)] == [
        *("0", "less than 0.01", "less than 0.01", "0.01", "0.05", "10", "390", "12000")
    ]
    assert [metres(v) for v in (0.004, 7.82, 994, 996, 4999)] == [
        *("less than 0.01 m", "about 7.8 m", "about 990 m", "about 1 km", "about 5 km")
    ]


def test_the_picture_is_the_same_for_all_and_cannot_be_changed() -> None:
    assert picture() is picture() and not picture().flags.writeable
    assert picture().shape == (192, 256, 3) and picture().dtype == np.uint8
    dark, light = np.percentile(picture().mean(axis=2), (5, 95))
    assert dark < 90 and light > 180
