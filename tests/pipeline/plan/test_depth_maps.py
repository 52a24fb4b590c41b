"""Depth maps that lie under the names of other photographs are told in plan, build and manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan import depth_maps
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.recipe import Recipe
from tests.pipeline.making import tiny_recipe
from tests.synth.test_depth_fit import scene

SEEDS = (0, 1, 2, 3, 4)


def prepare(folder: Path, shift: int, kind: str = ".png") -> None:
    """Photographs, and beside them the depth maps of those that stand `shift` places further."""
    (folder / "photos").mkdir(exist_ok=True)
    (folder / "depth").mkdir(exist_ok=True)
    scenes = [scene(seed) for seed in SEEDS]
    for i, (image, _) in enumerate(scenes):
        depth = scenes[(i + shift) % len(scenes)][1]
        PIL.Image.fromarray(image).save(folder / "photos" / f"p{i}.png")
        if kind == ".npy":
            np.save(folder / "depth" / f"p{i}.npy", depth)
        else:
            cv2.imwrite(str(folder / "depth" / f"p{i}.png"), np.minimum(depth * 1000, 65535).astype(np.uint16))


def recipe_of(folder: Path, entry: str, settings: dict[str, Any]) -> Recipe:
    return tiny_recipe(folder, degradations={entry: settings})


@pytest.mark.parametrize(
    ("kind", "entry", "settings"),
    [
        (".png", "hazy", {"depth": "depth"}),
        (".npy", "snowy", {"depth": "depth"}),
        (".npy", "hazy", {"depth": "depth", "severity": "mild..severe"}),
        (".png", "hazy+noisy", {"hazy": {"depth": "depth"}}),
    ],
)
def test_maps_of_others_are_told_whatever_reads_them(
    tmp_path: Path, kind: str, entry: str, settings: dict[str, Any]
) -> None:
    prepare(tmp_path, 0, kind)
    assert plan_build(recipe_of(tmp_path, entry, settings), tmp_path / "out", Options()).notes == ()
    prepare(tmp_path, 1, kind)
    (note,) = plan_build(recipe_of(tmp_path, entry, settings), tmp_path / "out", Options()).notes
    assert note.startswith("depth maps in depth: ")
    assert "of 5 seem to be other photographs' (p" in note


def test_the_manifest_keeps_the_note_and_nothing_is_compared_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, 1)
    recipe = recipe_of(tmp_path, "hazy", {"depth": "depth"})
    build(recipe, tmp_path / "out", Options())
    manifest = load_manifest(tmp_path / "out")
    assert manifest
    (note,) = manifest.notes
    monkeypatch.setattr(depth_maps, "depth_fit", None)
    assert plan_build(recipe, tmp_path / "out", Options()).notes == (note,)


def test_maps_that_no_photograph_is_asked_for_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, 1)
    monkeypatch.setattr(depth_maps, "depth_fit", None)
    degradations = {"hazy": {"depth": "depth"}, "noisy": {"sigma": 25}}
    sources = [{"path": "photos", "degradations": ["noisy"]}, {"path": "others", "degradations": ["hazy"]}]
    (tmp_path / "others").mkdir()
    cv2.imwrite(str(tmp_path / "others" / "q.png"), np.full((40, 60, 3), 90, np.uint8))
    planned = plan_build(tiny_recipe(tmp_path, sources=sources, degradations=degradations), tmp_path / "out", Options())
    assert [r.name for r in planned.refusals] == ["q.png"], "it has no depth map, and is set aside as before"
