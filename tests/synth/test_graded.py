"""A severity that is asked for is a severity that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from patina.synth.degradation import Knob, SettingError
from patina.synth.degradations.noisy import Noisy
from patina.synth.graded import Graded
from patina.synth.rng import Rng
from patina.synth.severity import band_of, measure
from tests.synth.pictures import flat, photo
from tests.synth.test_compose import Dim


@dataclass(frozen=True)
class Grainy(Noisy):
    """Noise with a knob, whatever the real one has."""

    knob: ClassVar[Knob | None] = Knob("sigma", 1, 200)


@pytest.mark.parametrize("severity", ["slight", "mild", "moderate", "severe", "mild..severe"])
def test_the_result_measures_as_asked(severity: str) -> None:
    graded, image = Graded(Grainy(), severity), photo()
    low, high = band_of(severity)
    for variant in range(4):
        params = graded.draw(Rng(f"{variant:x}"), image)
        assert low - 1 <= measure(image, graded.apply(image, params).image).score <= high + 1


def test_targets_spread_over_the_band() -> None:
    graded, image = Graded(Grainy(), "slight..severe"), photo()
    scores = [measure(image, graded.apply(image, graded.draw(Rng(f"{v:x}"), image)).image).score for v in range(30)]
    assert min(scores) < 20
    assert max(scores) > 60


def test_its_parameters_are_the_bases_and_replay_without_it() -> None:
    graded, image = Graded(Grainy(), "moderate"), photo()
    params = graded.draw(Rng("5"), image)
    assert params.keys() == Noisy().draw(Rng("5"), image).keys()
    assert np.array_equal(graded.apply(image, params).image, Noisy().apply(image, params).image)


def test_what_cannot_be_reached_gives_the_nearest() -> None:
    """Half a level of noise is rounded away, so a flat picture stays in the lowest fifth."""

    @dataclass(frozen=True)
    class Faint(Noisy):
        knob: ClassVar[Knob | None] = Knob("sigma", 0.01, 0.1)

    graded, image = Graded(Faint(), "extreme"), flat(32, 32, 128)
    assert measure(image, graded.apply(image, graded.draw(Rng("5"), image)).image).score < 20


def test_settings_tell_the_band_and_the_base() -> None:
    assert Graded(Grainy(), "mild").settings() != Graded(Grainy(), "severe").settings()
    assert Graded(Grainy(), "mild").settings() != Graded(Grainy(legacy_floor=True), "mild").settings()
    assert Graded(Grainy(), "mild").name == "noisy"


def test_bad_requests() -> None:
    with pytest.raises(SettingError, match="expected one of slight"):
        Graded(Grainy(), "awful")
    with pytest.raises(SettingError, match="dim has no knob"):
        Graded(Dim(), "mild")


def test_knobs_run_at_equal_ratios_or_distances() -> None:
    assert Knob("x", 1, 100).at(0.5) == pytest.approx(10)
    assert Knob("x", 100, 1).at(0.5) == pytest.approx(10)
    assert Knob("x", 0, 1).at(0.25) == 0.25
    assert Knob("x", 95, 1, whole=True).at(0.3) == round(95 * (1 / 95) ** 0.3)
