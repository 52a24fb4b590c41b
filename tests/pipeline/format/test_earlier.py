"""A dataset of the second version of the stored format: read as it is, and taken over without making an image."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import patina
from patina.pipeline.builder.build import build
from patina.pipeline.builder.history import rollback
from patina.pipeline.builder.samples import SampleMaker
from patina.pipeline.export.folders import Folders
from patina.pipeline.export.push import read_contents
from patina.pipeline.export.run import export
from patina.pipeline.format.earlier import key_now
from patina.pipeline.format.layout import MANIFEST, SAMPLES, SCHEMA, SHARDS
from patina.pipeline.format.manifest import load_manifest, read_members, read_samples
from patina.pipeline.format.shard import read_shard
from patina.pipeline.hashing import file_sha256
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.pipeline.report.diff import diff, read_snapshot
from tests.pipeline.format.second_version import make_second
from tests.pipeline.making import photo, photos, picture, public_files, save, tiny_recipe


@dataclass(frozen=True)
class Both:
    """A recipe and its dataset in this version of the stored format, and in the second one."""

    recipe: Recipe
    new: Path
    old: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """PNG and JPEG, pairs, tiles, variants, a composite, truth maps, two splits and several shards."""
    folder = tmp_path_factory.mktemp("both")
    photos(folder / "photos", 3)
    photo(folder / "photos" / "a.jpg", seed=9, quality=90)
    clean = picture(64, 48, seed=40)
    save(folder / "gt" / "p.png", clean)
    save(folder / "lq" / "p.png", clean // 2 + 100)
    sources = [{"path": "photos"}, {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}]
    words = {"noisy": {"variants": 2}, "jpeg-compressed": {}, "uncompleted+noisy": {}}
    recipe = tiny_recipe(
        folder, sources=sources, degradations=words, split={"val": 0.4}, buckets=2, tiles={"size": 32, "stride": 16}
    )
    build(recipe, folder / "new", Options(max_set_aside=0.5))
    shutil.copytree(folder / "new", folder / "old", symlinks=True)
    make_second(folder / "old", plan_build(recipe, folder / "new", Options()))
    return Both(recipe, folder / "new", folder / "old")


@pytest.fixture
def old(both: Both, tmp_path: Path) -> Path:
    """A copy of the dataset of the second version."""
    return Path(shutil.copytree(both.old, tmp_path / "out"))


def images(out: Path) -> dict[str, dict[str, bytes]]:
    """The images of every sample by the key that it has now."""
    return {
        key_now(row.key, row.entry): {
            name: body for name, body in read_members(out, row).items() if name not in {"txt", "json"}
        }
        for row in read_samples(out)
    }


def test_the_writer_of_the_tests_writes_the_second_version(both: Both) -> None:
    names = sorted(path.name for path in (both.old / SHARDS).iterdir())
    assert "sizes.json" in names and "train-noisy-0000.tar" in names
    keys = [row.key for row in read_samples(both.old)]
    assert len(set(keys)) < len(keys) == len({row.key for row in read_samples(both.new)})
    assert all(not row.key.partition("-")[2].startswith(row.entry) for row in read_samples(both.old))
    (members,) = [m for _, m, _ in list(read_shard(both.old / SHARDS / "train-noisy-0000.tar"))[:1]]
    assert json.loads(members["json"])["schema"] == 2 and "source" in json.loads(members["json"])


def test_it_is_read_as_it_is(both: Both, tmp_path: Path) -> None:
    found = check(both.old, replay=None)
    assert found.ok, found.findings
    assert found.replayed == check(both.new, replay=None).replayed > 0
    assert images(both.old) == images(both.new)
    assert read_contents(both.old).shards == len(read_built_names(both.old))
    rows = patina.read_samples(both.old)
    assert {row.source_sha256 for row in rows} == {row.source_sha256 for row in patina.read_samples(both.new)}
    assert patina.read_members(both.old, rows[0])["txt"].decode() == rows[0].caption
    done = [export(out, tmp_path / name, Folders()).samples for name, out in (("a", both.old), ("b", both.new))]
    assert done[0] == done[1] == len(rows)


def read_built_names(out: Path) -> list[str]:
    manifest = load_manifest(out)
    assert manifest is not None
    return [shard.name for shard in manifest.shards]


@pytest.mark.parametrize("lost", ["nothing", "the table of samples"])
def test_the_next_build_takes_it_over_without_making_an_image(
    both: Both, old: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lost != "nothing":
        (old / "samples.parquet").unlink()
    plan = plan_build(both.recipe, old, Options()).plan
    assert {step.synthesised + step.captioned for step in plan.build} == {0}
    assert {step.reason for step in plan.build} == {"the stored format changed, images are copied"} and not plan.drop
    monkeypatch.setattr(SampleMaker, "_make", lambda *_: pytest.fail("an image was made"))
    result = build(both.recipe, old, Options(max_set_aside=0.5))
    made = [(r.synthesised, r.captioned, r.copied) for r in result.results]
    assert sum(copied for *_, copied in made) == len(read_samples(both.new))
    assert {(synthesised, captioned) for synthesised, captioned, _ in made} == {(0, 0)}
    told = {name: path.read_bytes() for name, path in public_files(old).items()}
    assert told == {name: path.read_bytes() for name, path in public_files(both.new).items()}
    assert plan_build(both.recipe, old, Options()).plan.is_empty


def test_shards_that_are_divided_otherwise_are_copied_and_not_new(tmp_path: Path) -> None:
    """The second version had samples with unlike members in one shard; this one gives each kind a shard of its own."""
    photos(tmp_path / "photos", 1)
    photo(tmp_path / "photos" / "a.jpg", seed=9, quality=90)
    mixed = tiny_recipe(tmp_path, degradations={"noisy": {}}, storage={"uniform": False})
    build(mixed, tmp_path / "out")
    make_second(tmp_path / "out", plan_build(mixed, tmp_path / "out", Options()))
    recipe = tiny_recipe(tmp_path, degradations={"noisy": {}})
    plan = plan_build(recipe, tmp_path / "out", Options()).plan
    assert len(plan.build) == 2 and {step.copied for step in plan.build} == {1}
    assert {step.kind for step in plan.build} == {"changed"}
    says = "the stored format changed, images are copied"
    assert {step.reason for step in plan.build} == {says, f"{says}, 1 sample no longer here"}


def test_other_words_of_equal_captions_are_told_as_such(both: Both, old: Path) -> None:
    """Also where the stored format changed with them: no caption is another one, and no image is made."""
    rows = pq.read_table(old / SAMPLES)
    fingerprints = pa.array(["0" * 32] * rows.num_rows)
    rows = rows.set_column(rows.schema.get_field_index("fingerprint"), "fingerprint", fingerprints)
    pq.write_table(rows, old / SAMPLES, compression="zstd")
    body = json.loads((old / MANIFEST).read_text())
    body["tables"][SAMPLES] = file_sha256(old / SAMPLES)
    (old / MANIFEST).write_text(json.dumps(body))
    for step in plan_build(both.recipe, old, Options()).plan.build:
        count = step.shard.count
        words = f"{count} sample{'s' * (count != 1)} worded anew"
        assert step.reason == f"the stored format changed, images are copied, {words}"
        assert (step.synthesised, step.captioned) == (0, count)


def test_what_changed_beside_the_format_is_made_and_nothing_else(both: Both, old: Path) -> None:
    degradations = {**both.recipe.table["degradations"], "noisy": {"sigma": 10, "variants": 2}}
    recipe = parse_recipe({**both.recipe.table, "degradations": degradations}, both.recipe.folder)
    plan = plan_build(recipe, old, Options()).plan
    for step in plan.build:
        counts = (step.synthesised, step.captioned, step.copied)
        assert counts == ((step.shard.count, 0, 0) if step.shard.degradation == "noisy" else (0, 0, step.shard.count))


def test_its_version_can_be_published_again_and_compared(both: Both, old: Path) -> None:
    build(both.recipe, old, Options(max_set_aside=0.5))
    snapshots = (read_snapshot(old.with_name("out@1")), read_snapshot(old))
    found = diff(*snapshots)
    assert {(e.added, e.dropped, e.pixels, e.captions, e.reworded) for e in found.samples} == {(0, 0, 0, 0, 0)}
    assert not found.shards["added"].total and not found.shards["dropped"].total
    names = {name for line in found.shards["rewritten"].items for name in line.split(" → ")}
    assert names == {*read_built_names(both.old), *read_built_names(both.new)}
    rollback(old, "1")
    manifest = load_manifest(old)
    assert manifest is not None and manifest.schema == 2 < SCHEMA
    assert check(old).ok
    assert sorted(path.suffix for path in (old / SHARDS).iterdir()) == [".tar"] * len(manifest.shards)
    result = build(both.recipe, old, Options(max_set_aside=0.5))
    assert {(r.synthesised, r.captioned) for r in result.results} == {(0, 0)}
    assert check(old).ok
