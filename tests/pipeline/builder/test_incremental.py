"""Rebuilding: exactly what follows from a change is made anew, and the rest stays untouched on the disk.

Every case also ends at the same place: the bytes of a build from scratch, and nothing left to do.
"""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.runner import Threads
from patina.pipeline.codec.decode import decode
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest, read_samples, read_sources
from patina.pipeline.format.shard import read_shard
from patina.pipeline.hashing import file_sha256
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.synth.degradations.noisy import Noisy
from patina.synth.figures import Figures
from patina.synth.scales import HOLES, about
from tests.pipeline import making
from tests.pipeline.making import photo, tiny_recipe

DEGRADATIONS = ("jpeg-compressed", "noisy", "uncompleted")

PIXELS_AND_SCORE = ("pixels", "severity", "psnr")


@dataclass
class World:
    """A folder of photographs, a caption table and a recipe, and the dataset built from them."""

    folder: Path
    table: dict[str, Any] = field(
        default_factory=lambda: {
            "seed": 3,
            "buckets": 4,
            "split": {"val": 0.25},
            "sources": [{"path": "photos"}],
            "captions": {"kind": "sidecar", "path": "captions.csv"},
            "degradations": {name: {} for name in DEGRADATIONS},
        }
    )
    captions: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "dataset"

    def photo(self, name: str, seed: int) -> None:
        """A small picture with a gradient and texture, different for each seed."""
        y, x = np.mgrid[0:40, 0:56]
        texture = np.random.PCG64(seed).random_raw(40 * 56 * 3).view(np.uint8)[: 40 * 56 * 3].reshape(40, 56, 3)
        picture = np.stack([x * 3 + seed, y * 4 + 2 * seed, x + y + seed * 5], -1) % 200 + texture % 40
        path = self.folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(picture.astype(np.uint8)).save(path)
        self.captions.setdefault(name, f"picture: number {seed}, of stripes")

    def recipe(self) -> Recipe:
        rows = [f'{name},"{text}"' for name, text in sorted(self.captions.items())]
        (self.folder / "captions.csv").write_text("\n".join(["name,caption", *rows]) + "\n")
        return parse_recipe(copy.deepcopy(self.table), self.folder)

    def build(self, out: Path | None = None, workers: int = 2) -> BuildResult:
        return build(self.recipe(), out or self.out, Options(workers=workers), Threads(workers))

    def plan(self):  # type: ignore[no-untyped-def]
        with Stores.open(self.out) as stores:
            return plan_from_stores(self.recipe(), self.out, stores, Options()).plan

    def shards_of(self, name: str) -> set[str]:
        """The shards that hold samples of one photograph."""
        digests = {row["digest"] for row in read_sources(self.out) if name in row["names"]}
        return {row.shard for row in read_samples(self.out) if row.source_sha256 in digests}

    def on_disk(self) -> dict[str, tuple[str, int, int]]:
        """Digest, inode and time of every shard: equal before and after means that nobody touched it."""
        paths = sorted((self.out / SHARDS).glob("*.tar"))
        return {p.name: (file_sha256(p), p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}

    def from_scratch(self) -> dict[str, str]:
        """Digests of all files that a build of the present world into an empty folder gives."""
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        self.build(fresh)
        return public_files(fresh)


def public_files(folder: Path) -> dict[str, str]:
    """Every file that a reader sees, with its digest."""
    return {name: file_sha256(path) for name, path in making.public_files(folder).items()}


@pytest.fixture(scope="module")
def first_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("first"))
    for i in range(12):
        world.photo(f"p{i:02d}.png", i)
    world.build()
    return world


@pytest.fixture
def world(first_world: World, tmp_path: Path) -> World:
    """A copy for each test to change."""
    shutil.copytree(first_world.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return World(tmp_path, captions=dict(first_world.captions))


def changed(before: dict[str, tuple[str, int, int]], after: dict[str, tuple[str, int, int]]) -> set[str]:
    """Names of shards that were written, added or removed."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def settle(world: World) -> BuildResult:
    """Build, and prove that the result is what a build from scratch gives and that nothing is left to do."""
    report = world.build()
    assert public_files(world.out) == world.from_scratch()
    assert world.plan().is_empty
    assert list((world.out / ".patina" / "staging").iterdir()) == []
    return report


def test_after_a_build_there_is_nothing_to_do(world: World) -> None:
    before = world.on_disk()
    report = settle(world)
    assert report.results == ()
    assert world.on_disk() == before
    assert "nothing to do" in world.plan().summary()


def test_one_photo_replaced_rebuilds_the_shards_that_held_it_and_those_that_hold_it_now(world: World) -> None:
    before, held = world.on_disk(), world.shards_of("p03.png")
    world.photo("p03.png", 99)
    plan = world.plan()
    settle(world)
    holds = world.shards_of("p03.png")
    assert changed(before, world.on_disk()) == held | holds
    assert {step.shard.name for step in plan.build} | {e.name for e, _ in plan.drop} == held | holds
    assert len(held) == 3  # one bucket for each degradation


def test_one_photo_renamed_touches_no_shard(world: World) -> None:
    before = world.on_disk()
    (world.folder / "photos" / "p05.png").rename(world.folder / "photos" / "zebra.png")
    world.captions["zebra.png"] = world.captions.pop("p05.png")
    plan = world.plan()
    assert not plan.build
    assert not plan.drop
    assert plan.relabel
    settle(world)
    assert world.on_disk() == before
    assert any(row["names"] == ["zebra.png"] for row in read_sources(world.out))


def test_one_photo_touched_changes_nothing(world: World) -> None:
    before = public_files(world.out)
    path = world.folder / "photos" / "p05.png"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    assert world.plan().is_empty
    settle(world)
    assert public_files(world.out) == before


def test_one_photo_added_changes_one_bucket_for_each_degradation(world: World) -> None:
    before = world.on_disk()
    world.photo("new.png", 50)
    report = settle(world)
    assert changed(before, world.on_disk()) == world.shards_of("new.png")
    assert len(world.shards_of("new.png")) == 3
    assert sum(r.synthesised for r in report.results) == 3  # the others in these shards were copied


def test_one_photo_deleted_changes_its_shards_and_synthesises_nothing(world: World) -> None:
    before, held = world.on_disk(), world.shards_of("p07.png")
    (world.folder / "photos" / "p07.png").unlink()
    report = settle(world)
    assert changed(before, world.on_disk()) == held
    assert sum(r.synthesised for r in report.results) == 0


def test_one_degradations_range_changed_rebuilds_its_shards_alone(world: World) -> None:
    before = world.on_disk()
    world.table["degradations"]["noisy"] = {"sigma": {"min": 10, "max": 30}}
    plan = world.plan()
    assert {step.kind for step in plan.build} == {"because noisy changed (sigma 50 → 10..30)"}
    settle(world)
    assert changed(before, world.on_disk()) == {name for name in before if "-noisy." in name}


def test_one_degradation_raised_its_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.on_disk()
    monkeypatch.setattr(Noisy, "version", Noisy.version + 1)
    assert f"because noisy is now version {Noisy.version}" in world.plan().summary()
    world.build()
    touched = {name for name in before if "-noisy." in name}
    assert changed(before, world.on_disk()) == touched


def test_one_degradation_added_adds_its_shards_and_touches_no_other(world: World) -> None:
    del world.table["degradations"]["noisy"]
    world.build()
    before = world.on_disk()
    assert not any("-noisy." in name for name in before)
    world.table["degradations"]["noisy"] = {}
    settle(world)
    assert all("-noisy." in name for name in changed(before, world.on_disk()))


def test_the_caption_of_one_photo_changed_rewrites_text_and_synthesises_nothing(world: World) -> None:
    before, held = world.on_disk(), world.shards_of("p02.png")
    images = {n: b for n, b in members_of(world, "p02.png").items() if not n.endswith((".txt", ".json"))}
    world.captions["p02.png"] = "a quite different sentence"
    plan = world.plan()
    assert sum(step.synthesised for step in plan.build) == 0
    report = settle(world)
    assert changed(before, world.on_disk()) == held
    assert sum(r.synthesised for r in report.results) == 0
    assert sum(r.captioned for r in report.results) == 3
    now = members_of(world, "p02.png")
    assert {n: b for n, b in now.items() if not n.endswith((".txt", ".json"))} == images
    assert {b for n, b in now.items() if n.endswith(".txt")} == {b"a quite different sentence"}


def test_other_words_rewrite_texts_and_synthesise_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patina.pipeline.plan.columns.WORDING", 99)
    monkeypatch.setattr("patina.synth.words.FRAMES", ("see here: {}",))
    plan = world.plan()
    assert len(plan.build) == len(world.on_disk())
    assert sum(step.synthesised for step in plan.build) == 0
    settle(world)
    assert all(row.sentence.startswith("see here: ") for row in read_samples(world.out))
    assert check(world.out, None).ok


def test_other_figures_are_measured_anew_and_nothing_is_synthesised(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {row.key: row for row in read_samples(world.out)}
    monkeypatch.setattr("patina.pipeline.plan.columns.FIGURING", 99)
    monkeypatch.setattr("patina.synth.figures.Reference.figures", lambda *_: Figures(1.0, 2.0, 0.25, 0.75))
    assert sum(step.synthesised for step in world.plan().build) == 0
    report = settle(world)
    assert sum(r.captioned for r in report.results) == len(before)
    for row in read_samples(world.out):
        assert (row.psnr_y, row.ssim, row.ssim_y) == (2.0, 0.25, 0.75)
        assert (row.pixels, row.severity, row.psnr) == tuple(getattr(before[row.key], n) for n in PIXELS_AND_SCORE)


def test_another_caption_measures_no_figures_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {row.key: row.ssim for row in read_samples(world.out)}
    world.captions["p02.png"] = "a quite different sentence"
    monkeypatch.setattr("patina.synth.figures.Reference.figures", lambda *_: pytest.fail("measured anew"))
    report = world.build()
    assert sum(r.captioned for r in report.results) == 3
    assert {row.key: row.ssim for row in read_samples(world.out)} == before


def test_words_of_a_hole_are_of_the_mask_drawn(world: World) -> None:
    """A picture of 40×56 px has no block of 0.3 %: one is 5 px wide, 1.1 % of it."""
    world.table["degradations"] = {"uncompleted": {"ratio": 0.003, "shapes": "blocks"}}
    settle(world)
    told = set()
    for shard in (world.out / SHARDS).glob("*.tar"):
        for _, members, _ in read_shard(shard):
            mask = decode(members["mask.png"]).image[..., 0]
            fact = json.loads(members["json"])
            share = float((mask == 0).mean())
            assert share > 0.005 and json.loads(fact["params"])["hole_ratio"] == 0.003
            assert f"{HOLES.name(share)}, {about(100 * share)}% of the picture" in fact["text"]["sentence"]
            told.add(fact["text"]["sentence"])
    world.captions["p02.png"] = "a quite different sentence"  # told anew from the stored mask, with the same words
    world.build()
    assert {row.sentence for row in read_samples(world.out)} == told


def test_a_photograph_is_decoded_once_for_all_degradations(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import patina.pipeline.builder.samples as module

    read: list[bytes] = []
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda data: read.append(data) or real(data))
    world.table["buckets"] = 1
    world.table["split"] = {}
    photographs = [path.read_bytes() for path in (world.folder / "photos").iterdir()]
    monkeypatch.setattr("patina.pipeline.builder.groups.SHORTEST", 1e-9)
    for workers in (1, 4):
        read.clear()
        world.build(world.folder / "once", workers)
        assert sorted(read) == sorted(photographs), workers
        shutil.rmtree(world.folder / "once")
    world.build(world.folder / "once", 4)
    monkeypatch.setattr("patina.pipeline.builder.groups.TOGETHER", 1)
    read.clear()
    world.build(world.folder / "each", 1)
    assert sorted(read) == sorted(photographs * len(DEGRADATIONS))
    assert public_files(world.folder / "once") == public_files(world.folder / "each")


def test_more_variants_keep_the_first_one(world: World) -> None:
    world.table["degradations"]["noisy"] = {"variants": 3, "held_out_variants": 3}
    report = settle(world)
    assert sum(r.synthesised for r in report.results) == 24
    assert sum(r.copied for r in report.results) == 12


def test_more_buckets_move_samples_by_copying(world: World) -> None:
    world.table["buckets"] = 7
    report = settle(world)
    assert sum(r.synthesised for r in report.results) == 0
    assert sum(r.copied for r in report.results) > 0


def test_another_split_moves_samples_by_copying(world: World) -> None:
    world.table["split"] = {"val": 0.5, "test": 0.2}
    report = settle(world)
    assert sum(r.synthesised for r in report.results) == 0


def sides(world: World) -> dict[str, str]:
    return {row["digest"]: row["split"] for row in read_sources(world.out)}


def test_a_plan_names_a_change_of_buckets_and_of_the_split(world: World) -> None:
    world.table["buckets"] = 7
    assert "to build" in world.plan().summary()
    assert world.plan().changes == ("all shards: buckets 4 → 7",)
    assert "; all shards: buckets 4 → 7; " in world.plan().summary()
    settle(world)
    assert world.plan().changes == ()
    world.table["buckets"] = {"train": 9, "val": 7, "test": 1}
    assert world.plan().changes == ("shards of train: buckets 7 → 9",), "no photograph is in test"
    settle(world)
    before = sides(world)
    world.table["split"] = {"val": 0.5, "test": 0.2}
    (told,) = world.plan().changes
    settle(world)
    moved = Counter((before[d], side) for d, side in sides(world).items() if side != before[d])
    assert told.startswith("split changed: ") and sum(map(int, re.findall(r"\d+", told))) == moved.total() > 0
    (old, new), most = max(sorted(moved.items()), key=lambda move: move[1])
    assert f": {most} photograph{'s' * (most != 1)} moved from {old} to {new}" in told
    assert all(f"{count}" in told and f"from {a} to {b}" in told for (a, b), count in moved.items())


def test_a_split_that_moves_nobody_and_a_source_that_is_moved_are_told_apart(world: World) -> None:
    world.table["split"] = {"val": 0.25, "leaks": "report"}
    assert world.plan().changes == ("split changed: no photograph moved",)
    settle(world)
    count = sum(side != "test" for side in sides(world).values())
    world.table["sources"][0]["split"] = "test"
    (told,) = world.plan().changes
    assert told.endswith(" to test") and not told.startswith("split changed")
    assert sum(map(int, re.findall(r"\d+", told))) == count


def test_another_seed_makes_all_anew(world: World) -> None:
    before = world.on_disk()
    world.table["seed"] = 4
    assert "because the seed changed" in world.plan().summary()
    settle(world)
    assert changed(before, world.on_disk()) == set(before)


def test_an_emptied_bucket_is_dropped(tmp_path: Path) -> None:
    world = World(tmp_path)
    for i in range(3):
        world.photo(f"p{i}.png", i)
    world.table["buckets"] = 50
    world.build()
    held = world.shards_of("p1.png")
    (world.folder / "photos" / "p1.png").unlink()
    settle(world)
    assert not any((world.out / SHARDS / name).exists() for name in held)


@pytest.mark.parametrize("damage", ["deleted", "shortened", "flipped"])
def test_a_damaged_shard_is_named_and_made_again(world: World, damage: str) -> None:
    good = public_files(world.out)
    victim = world.out / SHARDS / "train-0001-noisy.tar"
    if damage == "deleted":
        victim.unlink()
    else:
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data if damage == "flipped" else data[:-700])
    assert check(world.out).findings[0].where == victim.name
    assert world.plan().build[0].kind == "damaged"
    settle(world)
    assert public_files(world.out) == good


@pytest.mark.parametrize("name", ["samples.parquet", "sources.parquet", "manifest.json"])
def test_a_damaged_table_or_manifest_is_made_again(world: World, name: str) -> None:
    good = public_files(world.out)
    path = world.out / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    settle(world)
    assert public_files(world.out) == good


def test_the_same_bytes_whatever_the_workers_and_the_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = public_files(world.out)
    for workers in (1, 4):
        world.build(world.folder / f"with-{workers}", workers)
        assert public_files(world.folder / f"with-{workers}") == expected
    import patina.pipeline.builder.jobs as module

    forward = module.make_batches
    monkeypatch.setattr(module, "make_batches", lambda groups: forward(list(reversed(groups))))
    world.build(world.folder / "backward", 4)
    assert public_files(world.folder / "backward") == expected


def test_the_same_bytes_after_any_history(tmp_path: Path) -> None:
    """Forty random edits with builds in between, against one build of where they ended."""
    world, chance = World(tmp_path), random.Random(11)
    for i in range(5):
        world.photo(f"p{i}.png", i)
    edits: list[Callable[[], None]] = [
        lambda: world.photo(f"p{chance.randrange(9)}.png", chance.randrange(60)),
        lambda: world.photo(f"folder/p{chance.randrange(4)}.png", chance.randrange(60)),
        lambda: chance.choice(sorted((world.folder / "photos").rglob("*.png"))).unlink(),
        lambda: world.table.update(buckets=chance.randint(1, 5)),
        lambda: world.table.update(split={"val": chance.choice([0, 0.3, 0.6])}),
        lambda: world.table["degradations"]["noisy"].update(sigma=chance.choice([15, 25, 50])),
        lambda: world.table["degradations"]["noisy"].update(variants=chance.randint(1, 3)),
        lambda: world.captions.update({f"p{chance.randrange(9)}.png": f"sentence {chance.random()}"}),
    ]
    for _ in range(40):
        chance.choice(edits)()
        if not any((world.folder / "photos").rglob("*.png")):
            world.photo("p0.png", chance.randrange(60))
        if chance.random() < 0.4:
            world.build()
    settle(world)
    assert check(world.out, None).ok


def test_check_replays_every_sample(world: World) -> None:
    checked = check(world.out, None, workers=2)
    assert checked.ok, checked.findings
    assert checked.replayed == 36
    assert checked.samples == 36


def test_an_interrupted_build_continues_from_its_finished_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    for i in range(6):
        world.photo(f"p{i}.png", i)
    import patina.pipeline.builder.jobs as module

    real, calls = module.build_together, []

    def failing(jobs, progress=None):  # type: ignore[no-untyped-def]
        calls.append(jobs)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return real(jobs, progress)

    monkeypatch.setattr(module, "build_together", failing)
    with pytest.raises(OSError, match="the disk is full; make room and run it again"):
        world.build(workers=1)
    assert load_manifest(world.out) is None
    monkeypatch.setattr(module, "build_together", real)
    report = settle(world)
    assert sum(r.synthesised for r in report.results) < 18  # three shards were found finished


def test_keys_and_members_are_as_the_format_says(world: World) -> None:
    for path in (world.out / SHARDS).glob("*.tar"):
        keys = []
        for key, members, _ in read_shard(path):
            keys.append(key)
            lq = "jpg" if "jpeg" in path.name else "png"
            assert list(members)[:4] == [lq, "gt.png", "txt", "json"]
            fact = json.loads(members["json"])
            assert fact["key"] == key
            assert "." not in key
            assert fact["degradation"] in path.name
            assert isinstance(fact["severity"]["psnr"], float)
        assert keys == sorted(keys)


def members_of(world: World, name: str) -> dict[str, bytes]:
    """All members of one photograph's samples, by shard, key and extension."""
    digest = next(row["digest"] for row in read_sources(world.out) if name in row["names"])
    found = {}
    for shard in world.shards_of(name):
        for key, members, _ in read_shard(world.out / SHARDS / shard):
            if key.startswith(digest[:16]):
                found |= {f"{shard}/{key}.{extension}": body for extension, body in members.items()}
    return found


def test_tiles_that_are_as_large_as_the_photograph_have_their_own_keys(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png", 64, 64, seed=1)
    photo(tmp_path / "photos" / "b.png", 128, 64, seed=2)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    tiled = tiny_recipe(tmp_path, tiles={"size": 64})
    report = build(tiled, tmp_path / "out")
    assert sum(r.synthesised for r in report.results) == 2, "of b.png; a.png has the same pixels under another key"
    build(tiled, tmp_path / "fresh")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "fresh")
    assert check(tmp_path / "out", None).ok


def test_a_table_of_samples_from_another_build_is_not_believed(world: World) -> None:
    old = (world.out / "samples.parquet").read_bytes()
    for i in range(20, 32):
        world.photo(f"q{i}.png", i)
    world.build()
    (world.out / "samples.parquet").write_bytes(old)
    world.photo("more.png", 77)
    settle(world)
    assert check(world.out, None).ok


def test_a_dataset_copied_without_its_private_folder_goes_on(world: World) -> None:
    before = public_files(world.out)
    making.make_plain(world.out)
    assert world.build().results == ()
    assert public_files(world.out) == before
    world.photo("more.png", 77)
    settle(world)


def test_what_is_left_out_of_a_split_is_told_anew_though_no_sample_changed(tmp_path: Path) -> None:
    photo(tmp_path / "gt" / "0.png", seed=0)
    photo(tmp_path / "gt" / "1.png", seed=1)
    photo(tmp_path / "lq" / "0.jpg", seed=0, quality=10)
    photo(tmp_path / "lq" / "1.jpg", seed=1, quality=10)
    photo(tmp_path / "test" / "0.png", seed=0)
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "jpeg-compressed", "split": "train"}
    by_digit = {**pairs, "match": "regex", "pattern": r"(\d)"}
    recipe = tiny_recipe(tmp_path, sources=[by_digit, {"path": "test", "split": "test"}])
    build(recipe, tmp_path / "out")
    photo(tmp_path / "lq" / "0b.jpg", seed=0, quality=12)
    report = build(recipe, tmp_path / "out")
    assert report.results == ()
    build(recipe, tmp_path / "fresh")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "fresh")
    told = [note for note in report.manifest.notes if "left out of train" in note]
    assert told and told[0].startswith("2 photographs")


def test_photographs_that_swap_their_names_swap_their_depth_maps(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    photo(folder / "near.png", seed=1)
    photo(folder / "far.png", seed=2)
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth" / "near.npy", np.full((48, 64), 5, np.float32))
    np.save(tmp_path / "depth" / "far.npy", np.full((48, 64), 60, np.float32))
    recipe = tiny_recipe(tmp_path, degradations={"hazy": {"depth": "depth"}, "noisy": {}})
    build(recipe, tmp_path / "out")
    (folder / "near.png").rename(tmp_path / "held")
    (folder / "far.png").rename(folder / "near.png")
    (tmp_path / "held").rename(folder / "far.png")
    report = build(recipe, tmp_path / "out")
    assert [r.shard.degradation for r in report.results] == ["hazy"], "noise does not care what a file is called"
    build(recipe, tmp_path / "fresh")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "fresh")


def test_another_depth_map_makes_the_samples_of_its_photograph_alone(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    for i in range(3):
        photo(tmp_path / "photos" / f"{i}.png", seed=i)
        np.save(tmp_path / "depth" / f"{i}.npy", np.full((48, 64), 5 + i, np.float32))
    table = {"hazy+rainy": {"hazy": {"depth": "depth"}, "rainy": {}}, "hazy": {"depth": "depth"}, "noisy": {}}
    build(tiny_recipe(tmp_path, degradations=table), tmp_path / "out")
    np.save(tmp_path / "depth" / "of another photograph.npy", np.full((48, 64), 9, np.float32))
    assert build(tiny_recipe(tmp_path, degradations=table), tmp_path / "out").results == ()
    np.save(tmp_path / "depth" / "1.npy", np.full((48, 64), 60, np.float32))
    report = build(tiny_recipe(tmp_path, degradations=table), tmp_path / "out")
    assert {r.shard.degradation for r in report.results} == {"hazy", "hazy+rainy"}
    assert [(r.synthesised, r.copied) for r in report.results] == [(1, 2), (1, 2)]
    build(tiny_recipe(tmp_path, degradations=table), tmp_path / "fresh")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "fresh")
