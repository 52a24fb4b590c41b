"""What a reader may tell of a candidate beside its files: label, split, border, parameters, its degradations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.codec.decode import decode_map
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.manifest import read_sources
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.pipeline.sources.reader import Candidate, Found
from tests.pipeline.making import photo, photos, picture, pixels, read_built, save, tiny_recipe


@dataclass(frozen=True)
class Listed:
    """A reader of candidates that are known already."""

    kind: ClassVar[str] = "listed"
    candidates: tuple[Candidate, ...]
    title: str = "listed"
    has_pairs: bool = True
    split: str = ""
    licence: str = ""
    attribution: str = ""
    degradation: str = ""
    degradations: tuple[str, ...] = ()
    root: str = "/listed"
    notes: tuple[str, ...] = ()

    def find(self) -> Found:
        return Found(self.candidates, (), 0, self.notes)


def recipe_of(folder: Path, *candidates: Candidate, **more: Any) -> Recipe:
    return replace(tiny_recipe(folder), sources=(Listed(candidates, **more),), split=tiny_recipe(folder).split)


def facts(stored: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(stored.members["json"])
    return found


def pair(folder: Path, name: str, seed: int = 0, **more: Any) -> Candidate:
    gt = photo(folder / "gt" / f"{name}.png", seed=seed)
    image = picture(seed=seed).astype(np.int16) // 2 + 90
    if more.get("degradation") == "noisy":
        image = np.clip(picture(seed=seed) + np.random.default_rng(0).normal(0, 25, (48, 64, 3)), 0, 255)
    lq = save(folder / "lq" / more.pop("lq", f"{name}.png"), image.astype(np.uint8))
    return Candidate(f"{name}.png", str(gt), str(lq), **more)


def test_each_pair_has_its_own_label_and_split(tmp_path: Path) -> None:
    build(
        recipe_of(
            tmp_path,
            pair(tmp_path, "a", 1, degradation="hazy", split="test"),
            pair(tmp_path, "b", 2, degradation="low-light+hazy"),
        ),
        tmp_path / "out",
    )
    built = read_built(tmp_path / "out")
    assert [s.name for s in built.manifest.shards] == ["test-0000-hazy.tar", "train-0000-low-light+hazy.tar"]
    joint = facts(built.samples["b.png"][0])
    assert joint["degradations"] == ["low-light", "hazy"]
    assert "underexposure" in joint["text"]["sentence"] and "haze" in joint["text"]["sentence"]
    assert {r["set"] for r in read_sources(tmp_path / "out")} == {"listed"}


def test_a_border_is_cut_where_the_clean_image_is_larger_by_it(tmp_path: Path) -> None:
    clean = picture(84, 68, 3)
    gt = save(tmp_path / "gt.png", clean)
    hazy = (clean[10:-10, 10:-10].astype(np.int16) // 2 + 100).astype(np.uint8)
    lq = save(tmp_path / "lq.png", hazy)
    whole = save(tmp_path / "whole.png", (clean.astype(np.int16) // 2 + 100).astype(np.uint8))
    report = build(
        recipe_of(
            tmp_path,
            Candidate("cut.png", str(gt), str(lq), degradation="hazy", border=10),
            Candidate("as-it-is.png", str(gt), str(whole), degradation="hazy", border=10),
        ),
        tmp_path / "out",
    )
    built = read_built(tmp_path / "out")
    cut = built.samples["cut.png"][0]
    assert cut.gt[0] == "png" and np.array_equal(pixels(cut.gt[1]), clean[10:-10, 10:-10])
    assert np.array_equal(pixels(cut.lq[1]), hazy)
    assert (facts(cut)["width"], facts(cut)["height"]) == (64, 48)
    assert built.samples["as-it-is.png"][0].gt[1] == gt.read_bytes(), (
        "where nothing is cut, the source's own bytes stay"
    )
    assert not report.planned.refusals and check(tmp_path / "out").ok
    refused = recipe_of(tmp_path, Candidate("x.png", str(gt), str(lq), degradation="hazy", border=7))
    refused = replace(refused, sources=(*refused.sources, *tiny_recipe(tmp_path).sources))
    photos(tmp_path / "photos", 3)
    build(refused, tmp_path / "other")
    assert "84×68" in read_built(tmp_path / "other").set_aside["x.png with lq.png"]


def test_what_a_source_tells_of_a_pair_is_stored_and_part_of_its_identity(tmp_path: Path) -> None:
    told = pair(tmp_path, "a", 1, degradation="noisy", params={"sigma": 25.0})
    build(recipe_of(tmp_path, told), tmp_path / "out")
    sample = facts(read_built(tmp_path / "out").samples["a.png"][0])
    assert json.loads(sample["params"]) == {"sigma": 25.0}
    assert sample["text"]["prompt"] == "image with many noise", "VLU-Net's prompt follows the level"
    report = build(recipe_of(tmp_path, replace(told, params={"sigma": 15.0})), tmp_path / "out")
    assert [r.synthesised for r in report.results] == [1]


def test_resides_parameters_come_from_the_name_of_the_hazy_image(tmp_path: Path) -> None:
    build(recipe_of(tmp_path, pair(tmp_path, "0025", 1, lq="0025_0.8_0.1.png", degradation="hazy")), tmp_path / "out")
    sample = facts(read_built(tmp_path / "out").samples["0025.png"][0])
    assert json.loads(sample["params"]) == {"airlight": 0.8, "beta": 0.1}


def test_a_rain_layer_is_recovered_as_truth(tmp_path: Path) -> None:
    clean = picture(64, 48, 1)
    layer = np.zeros((48, 64), np.int16)
    layer[:, ::7] = 60
    rainy = np.clip(clean + layer[..., None], 0, 255).astype(np.uint8)
    gt, lq = save(tmp_path / "gt.png", clean), save(tmp_path / "lq.png", rainy)
    build(recipe_of(tmp_path, Candidate("a.png", str(gt), str(lq), degradation="rainy")), tmp_path / "out")
    sample = read_built(tmp_path / "out").samples["a.png"][0]
    found = decode_map(sample.members["streaks.png"])
    clipped = decode_map(sample.members["clipped.png"]) > 0
    assert 0 < clipped.sum() < 100
    assert np.array_equal(found[~clipped], layer[~clipped]), "levels, as in synthesised rain"
    assert "name: streaks.png" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_degradations_apply_to_the_sources_that_name_them(tmp_path: Path) -> None:
    photos(tmp_path / "faces", 2)
    photos(tmp_path / "scenes", 2, first=10)
    degradations = {"noisy": {}, "jpeg-compressed": {}, "uncompleted": {}}
    sources = [
        {"path": "faces", "degradations": ["uncompleted"]},
        {"path": "scenes", "degradations": ["noisy", "jpeg-compressed"]},
    ]
    build(tiny_recipe(tmp_path, sources=sources, degradations=degradations), tmp_path / "out")
    manifest = read_built(tmp_path / "out").manifest
    assert {s.degradation: s.count for s in manifest.shards} == {"jpeg-compressed": 2, "noisy": 2, "uncompleted": 2}
    with pytest.raises(RecipeError, match=r"the recipe has no \[degradations.noisi\]; did you mean 'noisy'"):
        tiny_recipe(tmp_path, sources=[{"path": "faces", "degradations": ["noisi"]}])
    with pytest.raises(RecipeError, match=r"degradations: expected"):
        tiny_recipe(tmp_path, sources=[{"path": "faces", "degradations": "noisy"}])


def test_a_degradation_that_touches_no_photograph_is_told(tmp_path: Path) -> None:
    photos(tmp_path / "gt", 2)
    photos(tmp_path / "lq", 2, first=5)
    photos(tmp_path / "photos", 1, first=20)
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "shadowed"}
    one = {"path": "photos", "degradations": ["noisy"]}
    both = {"noisy": {}, "uncompleted": {}}
    advice = "name it in a source's `degradations`, or remove it"
    for sources, degradations, expected in (
        ([pairs, one], both, ["uncompleted] is applied to nothing: every source of clean photographs names others"]),
        ([pairs], {"noisy": {}}, ["noisy] is applied to nothing: the sources hold no clean photograph"]),
        ([pairs, one], {"noisy": {}}, []),
        ([pairs], {}, []),
    ):
        recipe = tiny_recipe(tmp_path, sources=sources, degradations=degradations)
        planned = plan_build(recipe, tmp_path / "out", Options()).notes
        told = [note for note in planned if "is applied to nothing" in note]
        assert told == [f"[degradations.{words}; {advice}" for words in expected]
        build(recipe, tmp_path / "out")
        assert read_built(tmp_path / "out").manifest.notes == planned
        assert plan_build(recipe, tmp_path / "out", Options()).plan.is_empty


def test_notes_of_a_reader_reach_the_manifest(tmp_path: Path) -> None:
    build(recipe_of(tmp_path, pair(tmp_path, "a", degradation="hazy"), notes=("499 of 500 pairs",)), tmp_path / "out")
    assert "499 of 500 pairs" in read_built(tmp_path / "out").manifest.notes


def test_a_photograph_without_its_depth_map_is_set_aside_and_comes_back(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    (tmp_path / "depth").mkdir()
    for i in range(3):
        np.save(tmp_path / "depth" / f"good-00{i}.npy", np.full((48, 64), 5.0 + i, np.float32))
    degradations = {"hazy+rainy": {"hazy": {"depth": "depth"}, "rainy": {"depth": "depth"}}}
    for count in (3, 4):
        build(tiny_recipe(tmp_path, degradations=degradations), tmp_path / "out")
        built = read_built(tmp_path / "out")
        assert len(built.samples) == count
        reason = built.set_aside.get("good-003.png", "")
        assert ("expected good-003.png or good-003.npy" in reason) == (count == 3)
        np.save(tmp_path / "depth" / "good-003.npy", np.full((48, 64), 9.0, np.float32))
