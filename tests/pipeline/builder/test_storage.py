"""[storage]: which files a sample's images are, and shards whose samples all have the same members."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.samples import SampleMaker
from patina.pipeline.codec.decode import decode_map
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest, read_members, read_samples
from patina.pipeline.format.shard import read_shard
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from tests.pipeline.making import photo, photos, picture, pixels, public_files, save, tiny_recipe

KINDS = ("png", "jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs as PNG, JPEG, BMP and a rotated JPEG; pairs of all four kinds, rain that can be recovered and that
    cannot, and pairs of a degradation that is made too."""
    folder = tmp_path_factory.mktemp("storage")
    photos(folder / "photos", 2)
    for i in range(2):
        photo(folder / "photos" / f"j{i}.jpg", seed=10 + i, quality=90)
    photo(folder / "photos" / "b.bmp", seed=20)
    for i, (lq, gt) in enumerate((lq, gt) for lq in KINDS for gt in KINDS):
        clean = picture(seed=30 + i)
        save(folder / "gt" / f"{i}.{gt}", clean)
        save(folder / "lq" / f"{i}.{lq}", clean // 2 + 60)
    for i in range(2):
        clean = picture(64, 48, seed=40 + i) // 2
        rain = np.where(picture(64, 48, seed=50)[..., :1] > 150, 40, 0)
        save(folder / "rain" / "gt" / f"{i}.png", clean)
        save(folder / "rain" / "lq" / f"{i}.png", clean + (rain.astype(np.uint8) if i else clean // 3))
    return folder


def recipe(folder: Path, **storage: Any) -> Recipe:
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "match": "stem", "keep_order": True}
    sources = [
        {"path": "photos"},
        {**pairs, "degradation": "noisy"},
        {**pairs, "degradation": "dusty"},
        {**pairs, "lq": "rain/lq", "gt": "rain/gt", "degradation": "rainy"},
    ]
    words = {"noisy": {}, "jpeg-compressed": {}, "uncompleted": {}}
    return tiny_recipe(folder, sources=sources, degradations=words, storage=storage)


def made(folder: Path, name: str, **storage: Any) -> Path:
    build(recipe(folder, **storage), folder / name, Options(max_set_aside=0.5))
    return folder / name


@pytest.fixture(scope="module")
def uniform(folder: Path) -> Path:
    return made(folder, "uniform")


@pytest.fixture(scope="module")
def mixed(folder: Path) -> Path:
    return made(folder, "mixed", uniform=False)


def members_by_shard(out: Path) -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for path in sorted((out / SHARDS).glob("*.tar")):
        found[path.name] |= {tuple(members) for _, members, _ in read_shard(path)}
    return found


def test_samples_of_each_shard_have_the_same_members(uniform: Path, mixed: Path) -> None:
    found = members_by_shard(uniform)
    assert {name: len(kinds) for name, kinds in found.items()} == dict.fromkeys(found, 1)
    assert max(len(kinds) for kinds in members_by_shard(mixed).values()) == 4
    assert check(uniform).ok and check(mixed).ok


def test_names_of_shards_say_what_sets_them_apart(uniform: Path, mixed: Path) -> None:
    assert sorted(members_by_shard(uniform)) == sorted(
        f"train-0000-{name}.tar"
        for name in (
            *("noisy", "noisy--jpg", "jpeg-compressed", "jpeg-compressed--jpg", "uncompleted", "uncompleted--jpg"),
            *("noisy--pairs", "noisy--pairs-jpg", "noisy--pairs-lq-jpg", "noisy--pairs-gt-jpg"),
            *("dusty", "dusty--jpg", "dusty--lq-jpg", "dusty--gt-jpg", "rainy"),
        )
    )
    assert not any("--" in name for name in members_by_shard(mixed))


def test_rain_that_could_not_be_recovered_is_a_bound_everywhere(uniform: Path, mixed: Path) -> None:
    rows = [row for row in read_samples(uniform) if row.entry == "rainy"]
    plain = {row.key: read_members(mixed, row) for row in read_samples(mixed) if row.entry == "rainy"}
    recovered = {row.key: bool(json.loads(row.params)) for row in rows}
    assert sorted(recovered.values()) == [False, True]
    for row in rows:
        members = read_members(uniform, row)
        if recovered[row.key]:
            assert {n: b for n, b in members.items() if n != "json"} == {
                n: b for n, b in plain[row.key].items() if n != "json"
            }
            assert decode_map(members["streaks.png"]).any()
        else:
            assert "streaks.png" not in plain[row.key]
            assert not decode_map(members["streaks.png"]).any() and (decode_map(members["clipped.png"]) == 255).all()


@pytest.mark.parametrize(("lq", "gt"), [("png", "source"), ("own", "png"), ("png", "png")])
def test_pngs_of_the_same_pixels(folder: Path, uniform: Path, lq: str, gt: str) -> None:
    out = made(folder, f"{lq}-{gt}", lq=lq, gt=gt)
    assert check(out, replay=None).ok
    before = {row.key: read_members(uniform, row) for row in read_samples(uniform)}
    suffixes = set()
    for row in read_samples(out):
        members = read_members(out, row)
        for role, extensions in (("lq", KINDS), ("gt", ("gt.png", "gt.jpg"))):
            (name,) = [e for e in extensions if e in members]
            (was,) = [e for e in extensions if e in before[row.key]]
            assert np.array_equal(pixels(members[name]), pixels(before[row.key][was]))
            suffixes.add((role, name.rpartition(".")[2]))
            assert members[name] == before[row.key][was] or name.endswith("png") < was.endswith("png") or was != name
    wanted = {("lq", "png"), ("gt", "png")} | ({("lq", "jpg")} if lq == "own" else set())
    assert suffixes == wanted | ({("gt", "jpg")} if gt == "source" else set())


def test_tiles_are_pngs_and_share_a_shard(folder: Path, tmp_path: Path) -> None:
    table = {**recipe(folder).table, "tiles": {"size": 32}, "degradations": {"uncompleted": {}}}
    build(parse_recipe(table, folder), tmp_path / "out", Options(max_set_aside=0.5))
    assert {name for name in members_by_shard(tmp_path / "out") if "uncompleted" in name} == {
        "train-0000-uncompleted.tar"
    }


def test_a_change_of_uniform_makes_no_image(folder: Path, uniform: Path, mixed: Path, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    out = tmp_path / "out"
    build(recipe(folder), out, Options(max_set_aside=0.5))
    monkeypatch.setattr(SampleMaker, "_make", lambda *_: pytest.fail("an image was made"))
    for wanted, other in ((False, mixed), (True, uniform)):
        plan = plan_build(recipe(folder, uniform=wanted), out, Options()).plan
        assert {step.synthesised for step in plan.build} == {0}
        build(recipe(folder, uniform=wanted), out, Options(max_set_aside=0.5))
        told = {name: path.read_bytes() for name, path in public_files(out).items()}
        assert told == {name: path.read_bytes() for name, path in public_files(other).items()}
    moved = [reason for _, reason in plan_build(recipe(folder, uniform=False), out, Options()).plan.drop]
    assert set(moved) == {"its samples are in other shards, by their files"}


def test_only_what_was_a_jpeg_is_made_anew_as_a_png(folder: Path, uniform: Path) -> None:
    plan = plan_build(recipe(folder, gt="png"), uniform, Options()).plan
    jpegs = sum("gt.jpg" in read_members(uniform, row) for row in read_samples(uniform))
    assert sum(step.synthesised for step in plan.build) == jpegs > 0
    assert (
        sum(step.copied for step in plan.build) + sum(shard.count for shard in plan.keep)
        == sum(
            row.count
            for row in load_manifest(uniform).shards  # type: ignore[union-attr]
        )
        - jpegs
    )


def test_shards_that_mix_are_noted(folder: Path, mixed: Path) -> None:
    notes = load_manifest(mixed).notes  # type: ignore[union-attr]
    assert [note.split(" mix ")[0] for note in notes if " mix " in note] == [
        f"shards of {entry}" for entry in ("dusty", "jpeg-compressed", "noisy", "uncompleted")
    ]
    assert not plan_build(recipe(folder), folder / "none", Options()).notes


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ({"lq": "source"}, r"\[storage\]: lq: expected 'own' or 'png', found 'source'"),
        ({"gt": "own"}, r"\[storage\]: gt: expected 'source' or 'png', found 'own'"),
        ({"uniform": "yes"}, r"\[storage\]: uniform: expected true or false, found 'yes'"),
        ({"png": True}, r"\[storage\] has no key 'png'"),
    ],
)
def test_what_storage_cannot_be(folder: Path, storage: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        recipe(folder, **storage)


def test_a_shard_that_mixes_where_it_must_not_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patina.pipeline.plan.wanted.group_of", lambda *_: "")
    build(recipe(folder), tmp_path / "out", Options(max_set_aside=0.5))
    found = {str(finding).split(" ")[0] for finding in check(tmp_path / "out").findings}
    assert found == {f"train-0000-{name}.tar" for name in ("noisy", "jpeg-compressed", "uncompleted", "dusty")}
