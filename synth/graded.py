"""A degradation asked for by its severity: its knob is turned, image by image, until the result measures as asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from patina.synth.degradation import Degradation, Degraded, Params, Place, SettingError, Stage
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.severity import band_of, measure

TURNS = 7
"""Halvings of the knob's range: 1/128 of it is finer than severity can tell."""

CLOSE_ENOUGH = 1.0
"""Points of 100 within which the search ends early."""


@dataclass(frozen=True)
class Graded(Degradation):
    """`base`, with its knob set for each image so that severity falls into a band; its other settings stay.

    severity  a level of `patina.synth.severity.LEVELS`, or two as in `mild..severe`.

    A target is drawn uniformly from the band and the knob found by halving, with everything else that is drawn held
    fixed: up to seven trials on the image itself, so a sample takes that many times as long. Where the whole range of
    the knob does not reach the target (a black photograph hardly gets darker), the nearest that it can do is taken;
    what was measured is stored with the sample in any case. Raises SettingError for other levels, or a degradation
    without a knob.
    """

    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "scene"

    base: Degradation
    severity: str = "slight..extreme"

    def __post_init__(self) -> None:
        try:
            band_of(self.severity)
        except ValueError as error:
            raise SettingError(str(error)) from None
        if self.base.knob is None:
            raise SettingError(f"{self.base.name} has no knob to turn; give its settings instead of a severity")
        object.__setattr__(self, "stage", self.base.stage)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The base's name."""
        return self.base.name

    @property
    def truth(self) -> tuple[str, ...]:  # type: ignore[override]
        """The base's truth maps."""
        return self.base.truth

    def missing_input(self, name: str) -> str:
        """What the base lacks."""
        return self.base.missing_input(name)

    def side_input_digest(self, name: str) -> str:
        """What the base looks up."""
        return self.base.side_input_digest(name)

    def settings(self) -> dict[str, Any]:
        """The base's version and settings, and the band."""
        base = {"version": self.base.version, **self.base.settings()}
        return {"base": base, "severity": self.severity}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> Params:
        """The base's parameters at the knob's place that comes nearest to the target."""
        low, high = band_of(self.severity)
        target, seed = rng.uniform(low, high), rng.seed()
        knob = self.base.knob
        assert knob is not None
        weak, strong = 0.0, 1.0
        best: tuple[float, Params] | None = None
        for _ in range(TURNS):
            middle = (weak + strong) / 2
            turned = replace(self.base, **{knob.setting: knob.at(middle)})  # type: ignore[type-var]
            params = turned.draw(Rng(seed), image, place)
            score = measure(image, turned.apply(image, params).image).score
            if best is None or abs(score - target) < best[0]:
                best = (abs(score - target), params)
            if abs(score - target) < CLOSE_ENOUGH:
                break
            weak, strong = (middle, strong) if score < target else (weak, middle)
        assert best is not None
        return best[1]

    def apply(self, image: Image, params: Params) -> Degraded:
        """As the base does."""
        return self.base.apply(image, params)
