"""What a plan says: the one cause that all stale samples share, and nothing that did not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from tests.pipeline.making import photos, tiny_recipe

BEFORE = {"sigma": [15, 25], "legacy_floor": False}


@pytest.mark.parametrize(
    ("recipe", "cause"),
    [
        (
            {"degradations": {"noisy": {**BEFORE, "legacy_floor": True}}},
            "because noisy changed (legacy_floor False → True)",
        ),
        (
            {"degradations": {"noisy": {**BEFORE, "sigma": [15, 50]}}},
            "because noisy changed (sigma [15, 25] → [15, 50])",
        ),
        ({"degradations": {"noisy": BEFORE}, "seed": 1}, "because the seed changed"),
    ],
)
def test_a_stale_shard_says_what_changed(tmp_path: Path, recipe: dict[str, Any], cause: str) -> None:
    photos(tmp_path / "photos", 2, 24, 16)
    build(tiny_recipe(tmp_path, degradations={"noisy": BEFORE}), tmp_path / "out")
    with Stores.open(tmp_path / "out") as stores:
        (step,) = plan_from_stores(tiny_recipe(tmp_path, **recipe), tmp_path / "out", stores, Options()).plan.build
    assert (step.kind, step.reason, step.synthesised) == (cause, "2 samples changed", 2)
