"""A dry run says beforehand what the build says: bytes, what stops it, and where it may not write."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patina
from patina.pipeline.builder.build import build
from patina.pipeline.builder.dry_run import dry_run
from patina.pipeline.builder.runner import Threads
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import BuildError, ManifestError
from patina.pipeline.plan.planning import Options, PlannedBuild
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.recipe.shipped import shipped
from tests.pipeline.making import photo, photos, picture, save, tiny_recipe

MOST_OFF = 1.5


def stored_bytes(planned: PlannedBuild, out: Path) -> tuple[int, int]:
    """What a plan said, and what the build of the same recipe wrote."""
    result = build(planned.recipe, out, runner=Threads(1))
    return planned.plan.bytes, sum(shard.bytes for shard in result.manifest.shards)


def expect_near(planned: PlannedBuild, out: Path) -> None:
    told, written = stored_bytes(planned, out)
    assert written / MOST_OFF <= told <= written * MOST_OFF, f"told {told}, wrote {written}"


def on_small_photographs(text: str, folder: Path) -> Recipe:
    """A shipped recipe on photographs and pairs that are made here, in place of its sets; on one photograph where it
    has many degradations."""
    table = tomllib.loads(text)
    few = {"include": ["0.png"]} if len(table.get("degradations", {})) > 6 else {}
    table |= {"captions": {"kind": "template"}, "split": {"val": 0.0}, "buckets": 1}
    table |= {"tiles": {"size": 96}} if "tiles" in table else {}
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "rainy"}
    table["sources"] = [{"path": "photos", **few}, *([] if few else [pairs])]
    if not table.get("degradations"):
        table["sources"] = [pairs]
    return parse_recipe(table, folder, "small")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs as PNG and JPEG, and pairs as JPEG."""
    folder = tmp_path_factory.mktemp("sets")
    for i in range(2):
        photo(folder / "photos" / f"{i}.png", 150 + 40 * i, 110, seed=i)
        photo(folder / "photos" / f"{i}.jpg", 160, 120, seed=10 + i, quality=92)
        clean = picture(170, 120, seed=20 + i)
        save(folder / "gt" / f"{i}.jpg", clean, quality=95)
        degraded, _ = patina.degrade(clean, "rainy", seed=i)
        save(folder / "lq" / f"{i}.jpg", degraded, quality=95)
    return folder


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_bytes_of_every_shipped_recipe_are_told_before(sets: Path, tmp_path: Path, name: str) -> None:
    recipe = on_small_photographs(shipped()[name], sets)
    expect_near(dry_run(recipe, tmp_path / "out", Options()), tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"tiles": {"size": 64}},
        {"degradations": {"noisy": {"sigma": 2}}},
        {"degradations": {"noisy": {"sigma": 75, "variants": 3}}},
        {"degradations": {"jpeg-compressed": {"quality": 5}}},
        {"degradations": {"hazy": {}, "motion-blurry": {}}},
        {"degradations": {}, "sources": [{"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "rainy"}]},
    ],
)
def test_the_bytes_of_other_settings_are_told_before(sets: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = tiny_recipe(sets, **changes)
    expect_near(dry_run(recipe, tmp_path / "out", Options()), tmp_path / "out")


def test_photographs_of_very_different_kinds_are_told_before(tmp_path: Path) -> None:
    """Flat ones beside rich ones, small ones beside one that is larger than what is made on trial."""
    for i in range(12):
        image = picture(120, 90, seed=i)
        save(tmp_path / "photos" / f"flat-{i}.png", image // 64 * 64 if i % 2 else image)
    photo(tmp_path / "photos" / "large.png", 900, 700, seed=99)
    recipe = tiny_recipe(tmp_path, degradations={"jpeg-compressed": {}, "uncompleted": {}})
    expect_near(dry_run(recipe, tmp_path / "out", Options()), tmp_path / "out")


def test_what_is_copied_takes_its_bytes_and_little_time(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 12, 96, 72)
    recipe = tiny_recipe(tmp_path)
    first = dry_run(recipe, tmp_path / "out", Options())
    build(recipe, tmp_path / "out")
    photo(tmp_path / "photos" / "one-more.png", 96, 72, seed=50)
    again = dry_run(recipe, tmp_path / "out", Options())
    assert [(step.copied, step.synthesised) for step in again.plan.build] == [(12, 1)]
    assert 0 < again.plan.seconds < first.plan.seconds
    expect_near(again, tmp_path / "out")
    nothing = dry_run(recipe, tmp_path / "out", Options())
    assert (nothing.plan.is_empty, nothing.plan.bytes, nothing.plan.seconds) == (True, 0, 0.0)


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    dry_run(tiny_recipe(tmp_path), tmp_path / "deep" / "out", Options())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


# ---------------------------------------------------------------------------------------------------------------------


def all_broken(folder: Path) -> dict[str, Any]:
    for i in range(3):
        (folder / f"{i}.png").write_bytes(b"no image")
    return {}


def one_broken(folder: Path) -> dict[str, Any]:
    photos(folder, 3)
    (folder / "bad.png").write_bytes(b"no image")
    return {"strict": True}


def half_broken(folder: Path) -> dict[str, Any]:
    photos(folder, 10)
    for i in range(14):
        (folder / f"bad-{i}.png").write_bytes(b"no image")
    return {}


@pytest.mark.parametrize("making", [all_broken, one_broken, half_broken])
def test_what_stops_the_build_is_said_by_the_dry_run(tmp_path: Path, making: Callable[[Path], dict[str, Any]]) -> None:
    (tmp_path / "photos").mkdir()
    recipe, options = tiny_recipe(tmp_path), Options(**making(tmp_path / "photos"))
    with pytest.raises(BuildError) as refused:
        build(recipe, tmp_path / "out", options)
    assert dry_run(recipe, tmp_path / "out", options).blocked == str(refused.value)


def test_nothing_is_in_the_way_of_a_sound_build(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    assert (
        patina.plan(
            {"sources": [{"path": str(tmp_path / "photos")}], "degradations": {"noisy": {}}}, tmp_path / "out"
        ).blocked
        == ""
    )


def a_file(out: Path) -> Path:
    out.write_text("a user's own")
    return out


def below_a_file(out: Path) -> Path:
    out.write_text("a user's own")
    return out / "below" / "it"


def a_dead_link(out: Path) -> Path:
    out.symlink_to("nowhere")
    return out


def foreign_files(out: Path) -> Path:
    photos(out, 1)
    return out


@pytest.mark.parametrize("making", [a_file, below_a_file, a_dead_link, foreign_files])
def test_a_place_that_can_be_no_dataset_is_refused_alike(tmp_path: Path, making: Callable[[Path], Path]) -> None:
    photos(tmp_path / "photos", 1)
    out, recipe = making(tmp_path / "out"), tiny_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for work in (lambda: dry_run(recipe, out, Options()), lambda: build(recipe, out)):
        with pytest.raises((OutputError, ManifestError), match=r"name (a new or empty folder|another one) with --out"):
            work()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_forbidden_blocks_a_build_and_no_look(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    recipe = tiny_recipe(tmp_path)
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "is forbidden" in dry_run(recipe, tmp_path / "closed" / "out", Options()).blocked
    build(recipe, tmp_path / "out")
    (tmp_path / "out").chmod(0o500)
    assert dry_run(recipe, tmp_path / "out", Options()).blocked == "", "nothing is to be written"
    (tmp_path / "out").chmod(0o700)
