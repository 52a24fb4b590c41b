"""[degradations.…] tables: other names, severities, composites; from the recipe to the stored sample and its check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest, read_samples
from patina.pipeline.format.shard import read_shard
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.report.check import check
from patina.synth.compose import Composite
from tests.pipeline.making import photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        photo(tmp_path / "photos" / f"p{i}.png", 72, 56, seed=i)
    return tmp_path


def made(folder: Path, **degradations: dict[str, Any]) -> BuildResult:
    table = {
        "sources": [{"path": "photos"}],
        "degradations": {k.replace("__", "+"): v for k, v in degradations.items()},
    }
    return build(parse_recipe(table, folder), folder / "out")


def facts(folder: Path, entry: str) -> list[dict[str, Any]]:
    samples = read_shard(folder / "out" / SHARDS / f"train-0000-{entry}.tar")
    return [{**json.loads(members["json"]), "members": list(members)} for _, members, _ in samples]


def test_one_degradation_under_two_names(folder: Path) -> None:
    """VLU-Net's three noise levels: shards of their own, so that a trainer can weigh them; one label."""
    made(folder, **{"noisy-15": {"use": "noisy", "sigma": 15}, "noisy-50": {"use": "noisy", "sigma": 50}})
    assert {f["degradation"] for f in facts(folder, "noisy-15") + facts(folder, "noisy-50")} == {"noisy"}
    assert {f["text"]["prompt"] for f in facts(folder, "noisy-15")} == {"image with noise"}
    assert {f["text"]["prompt"] for f in facts(folder, "noisy-50")} == {"image with large amount of noise"}
    assert {(r.entry, r.degradation) for r in read_samples(folder / "out")} == {
        ("noisy-15", "noisy"),
        ("noisy-50", "noisy"),
    }
    assert check(folder / "out", None).replayed == 6


def test_a_composite_is_one_sample_with_a_set_of_labels_and_its_intermediate_targets(folder: Path) -> None:
    made(folder, **{"uncompleted__noisy": {"steps": True, "noisy": {"sigma": 20}}})
    for fact in facts(folder, "uncompleted+noisy"):
        assert fact["degradation"] == "noisy+uncompleted"
        assert fact["degradations"] == ["noisy", "uncompleted"]
        assert fact["members"] == ["png", "gt.png", "txt", "json", "uncompleted-mask.png", "step-1.png"]
        noise, missing, _ = fact["text"]["sentence"].split("; ")
        assert noise.endswith("medium noise, standard deviation about 20 of 255") and "missing, about" in missing
    checked = check(folder / "out", None)
    assert checked.ok, checked.findings
    assert checked.replayed == 3


def test_a_composite_that_ends_in_a_codec_is_stored_as_its_file(folder: Path) -> None:
    made(folder, **{"noisy__jpeg-compressed": {"jpeg-compressed": {"quality": 30}}})
    assert {fact["members"][0] for fact in facts(folder, "noisy+jpeg-compressed")} == {"jpg"}
    assert check(folder / "out", None).ok


def test_a_named_composite_lists_its_parts(folder: Path) -> None:
    made(folder, worn={"parts": ["uncompleted", "noisy"], "uncompleted": {"fill": [0, 0, 0]}})
    manifest = load_manifest(folder / "out")
    assert manifest is not None
    assert [shard.name for shard in manifest.shards] == ["train-0000-worn.tar"]
    assert {fact["degradation"] for fact in facts(folder, "worn")} == {"noisy+uncompleted"}


def test_a_severity_is_asked_for_and_measured(folder: Path) -> None:
    made(folder, noisy={"severity": "moderate"})
    for fact in facts(folder, "noisy"):
        assert fact["severity"]["word"] == "moderate"
        assert fact["severity"]["clip_score"] <= fact["severity"]["score"] + 1
    assert check(folder / "out", None).replayed == 3


def test_the_resolved_table_reads_back_to_the_same_recipe(folder: Path) -> None:
    table = {
        "sources": [{"path": "photos"}],
        "degradations": {
            "noisy": {"severity": "mild..severe", "variants": 2},
            "worn": {"parts": ["uncompleted", "noisy"], "noisy": {"sigma": [5, 9]}},
            "noisy-15": {"use": "noisy", "sigma": 15},
        },
    }
    recipe = parse_recipe(table, folder)
    again = parse_recipe(recipe.table, folder)
    assert again.digest == recipe.digest
    assert again.degradations == recipe.degradations
    assert isinstance(again.degradations["worn"].degradation, Composite)


def test_a_changed_part_makes_the_composite_stale_and_nothing_else(folder: Path) -> None:
    made(folder, noisy={}, noisy__uncompleted={})
    table = {"noisy": {}, "noisy+uncompleted": {"noisy": {"sigma": 10}}}
    recipe = parse_recipe({"sources": [{"path": "photos"}], "degradations": table}, folder)
    with Stores.open(folder / "out") as stores:
        plan = plan_from_stores(recipe, folder / "out", stores, Options()).plan
    assert [step.shard.name for step in plan.build] == ["train-0000-noisy+uncompleted.tar"]
    assert plan.build[0].kind == "because noisy+uncompleted changed (parts noisy sigma 50 → 10)"


@pytest.mark.parametrize(
    ("entry", "table", "expected"),
    [
        ("noisy", {"severity": "awful"}, "expected one of slight, mild, moderate, severe, extreme"),
        ("noisy", {"severity": "mild", "sigma": 5}, "severity sets sigma itself"),
        ("noisy+foggy", {}, "no degradation is called 'foggy'"),
        ("noisy+uncompleted", {"nosy": {}}, "did you mean 'noisy'?"),
        ("worn", {"parts": ["noisy"]}, "two parts at least"),
        ("Worn", {}, "expected lower-case letters"),
        ("worn", {}, "no degradation is called 'worn'"),
        ("noisy+uncompleted", {"steps": 1}, "expected true or false"),
    ],
)
def test_mistakes_are_told(folder: Path, entry: str, table: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_recipe({"sources": [{"path": "photos"}], "degradations": {entry: table}}, folder)
    assert expected in str(error.value)
    assert f"[degradations.{entry}]" in str(error.value)


def test_a_chains_label_names_what_each_of_its_samples_bears_and_is_made_again(folder: Path) -> None:
    made(folder, **{"blur-noise": {"chain": "wild-ir", "words": ["blur", "noise"]}})
    for fact in facts(folder, "blur-noise"):
        assert fact["degradation"] == "blur+noise" and fact["degradations"] == ["blur", "noise"]
        assert {name for name, _ in json.loads(fact["params"])["parts"]} == {"blurred", "noisy"}
    checked = check(folder / "out", None)
    assert checked.ok and checked.replayed == 3
