"""One degradation of the catalogue from its table in a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from patina.pipeline.errors import RecipeError
from patina.pipeline.recipe.settings import construct, expect_type
from patina.pipeline.text import nearest
from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE, MISSING
from patina.synth.graded import Graded


def degradation_of(
    what: str, name: str, settings: dict[str, Any], folder: Path, also: Iterable[str] = ()
) -> tuple[Degradation, dict[str, Any]]:
    """One degradation of the catalogue, and its table with the defaults filled in. With `severity` its knob is turned
    until it measures as asked. Raises RecipeError."""
    if name in MISSING:
        raise RecipeError(f"{what}: {name} takes a library that is not installed; {MISSING[name]}")
    if name not in CATALOGUE:
        raise RecipeError(f"{what}: no degradation is called {name!r}; {nearest(name, CATALOGUE)}")
    severity = expect_type(f"{what} severity", settings.pop("severity", ""), str, "words such as 'mild..severe'")
    degradation, resolved = construct(what, CATALOGUE[name], settings, folder, (*also, "severity"))
    if not severity:
        return degradation, resolved
    knob = degradation.knob
    if knob is not None and knob.setting in settings:
        raise RecipeError(f"{what}: severity sets {knob.setting} itself; remove one of the two")
    graded, _ = construct(what, Graded, {"base": degradation, "severity": severity}, folder)
    return graded, {"severity": severity, **{k: v for k, v in resolved.items() if knob is None or k != knob.setting}}
