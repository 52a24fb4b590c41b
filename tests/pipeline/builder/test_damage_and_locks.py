"""Damage of every kind is named and repaired, two builds never meet, and no clock makes a stale digest trusted."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from patina.captioning import CAPTIONERS
from patina.pipeline.builder.build import build, result_if_idle
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.cache import captions
from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.cache.database import damage_of
from patina.pipeline.cache.scans import RECENT_NS, ScanStore
from patina.pipeline.errors import LockedError, ManifestError, SourceError
from patina.pipeline.format.layout import CARD, CURRENT, MANIFEST, PAPERS, PRIVATE, SAMPLES, SHARDS, SOURCES
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.pipeline.scan.reading import SourceChangedError
from patina.pipeline.sources import locations
from tests.pipeline.builder.test_incremental import public_files
from tests.pipeline.forking import Slow, asked
from tests.pipeline.making import photo, photos, picture, pixels, read_built, save, tiny_recipe

# ---------------------------------------------------------------------------------------------------------------------
# Damage


@dataclass
class World:
    """A dataset of two degradations, with captions of a model, and the digests of all that readers see of it."""

    folder: Path
    recipe: Recipe
    good: dict[str, str]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def build(self) -> BuildResult:
        return build(self.recipe, self.out)

    def told(self) -> str:
        """What `check` has to say."""
        try:
            return "\n".join(map(str, check(self.out).findings))
        except ManifestError as error:
            return str(error)

    def is_repaired(self) -> None:
        """The next build ends with the same bytes, and nothing left to do or to find."""
        self.build()
        assert public_files(self.out) == self.good
        assert list((self.out / PRIVATE / "staging").iterdir()) == []
        assert result_if_idle(self.recipe, self.out, Options()) is not None
        assert self.told() == ""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("bad-days")
    photos(folder / "photos", 5, 48, 32)
    CAPTIONERS["slow"] = Slow
    try:
        recipe = tiny_recipe(
            folder, degradations={"noisy": {}, "jpeg-compressed": {}}, captions={"kind": "slow"}, buckets=2
        )
    finally:
        del CAPTIONERS["slow"]
    world = World(folder, recipe, {})
    world.build()
    world.good = public_files(world.out)
    return world


@pytest.fixture
def world(first: World, tmp_path: Path) -> Iterator[World]:
    """The same dataset in a place of its own; nothing but the dataset is damaged."""
    shutil.copytree(first.out, tmp_path / "out")
    here = World(tmp_path, first.recipe, first.good)
    here.build()  # its shards are known by their times here
    return here


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def lengthen(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + bytes(512))


def replace_by_a_folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "somebody's.txt").write_text("of great worth")


def replace_by_a_dead_link(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGE = (flip, truncate, empty, lengthen, replace_by_a_folder, replace_by_a_dead_link)
Harm = Callable[[Path, random.Random], None]


@pytest.mark.parametrize(
    "names", [(MANIFEST,), (SAMPLES, SOURCES, f"{SHARDS}/train-0000-noisy.tar")], ids=["it", "rest"]
)
@pytest.mark.parametrize("harm", DAMAGE)
def test_damage_is_named_and_repaired(world: World, names: tuple[str, ...], harm: Harm) -> None:
    for name in names:
        harm(world.out / name, random.Random(f"{name} {harm.__name__}"))
    told = world.told()
    for name in names:
        (line,) = (line for line in told.split("\n") if Path(name).name in line)
        assert "`patina build`" in line or "damaged" in line or f"found no {MANIFEST}" in line
    world.is_repaired()


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("harm", (flip, empty, lengthen, replace_by_a_folder))
def test_damage_of_what_is_told_of_a_dataset_is_named_and_repaired(
    first: World, tmp_path: Path, name: str, harm: Harm
) -> None:
    """Card, picture and Croissant file, of which no manifest tells: where they lie, behind the public names' links."""
    shutil.copytree(first.out, tmp_path / "out", symlinks=True)
    world = World(tmp_path, first.recipe, first.good)
    harm(world.out / PRIVATE / CURRENT / name, random.Random(f"{name} {harm.__name__}"))
    assert f"{name}: its bytes are not those that were written; `patina build` makes it again" in world.told()
    world.is_repaired()


def test_papers_of_an_earlier_release_are_believed(first: World, tmp_path: Path) -> None:
    """Its record does not say what was written, nor does one that is damaged."""
    for told in ('{"published": "", "change": "", "patina": ""}', '{"papers": 7}', '{"papers": {"README.md": 7}}', "["):
        out = tmp_path / "out"
        shutil.copytree(first.out, out, symlinks=True)
        (record,) = (out / PRIVATE / "versions").glob("*.json")
        record.write_text(told)
        (out / PRIVATE / CURRENT / CARD).write_text("mine")
        assert World(tmp_path, first.recipe, first.good).told() == ""
        assert result_if_idle(first.recipe, out, Options()) is not None
        shutil.rmtree(out)


def test_what_lay_in_a_folder_that_was_in_the_way_is_kept(world: World) -> None:
    for name in (MANIFEST, f"{SHARDS}/train-0000-noisy.tar"):
        replace_by_a_folder(world.out / name, random.Random())
    world.build()
    aside = world.out / PRIVATE / "aside"
    assert sorted(path.name for path in aside.iterdir()) == ["manifest.json.0", "train-0000-noisy.tar.0"]
    assert {(path / "somebody's.txt").read_text() for path in aside.iterdir()} == {"of great worth"}


def test_any_bit_of_the_manifest(world: World) -> None:
    """Its own sum tells, also where the flipped bit is in a version or a number that nothing else depends on."""
    path = world.out / MANIFEST
    good, chance = path.read_bytes(), random.Random("bits")
    for _ in range(100):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        if b'"sum"' in data:  # else it is taken for one of an earlier release, which had none
            with pytest.raises(ManifestError, match=MANIFEST):
                load_manifest(world.out)
    world.is_repaired()


STORES = ("scan.sqlite", "captions.sqlite")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("harm", [truncate, empty, replace_by_a_folder, "noise"])
def test_a_damaged_store_is_named_and_begun_anew(world: World, name: str, harm: Harm | str) -> None:
    """Nothing is lost with it but time: captions come back from the dataset itself."""
    path = world.out / PRIVATE / name
    before = asked(world.recipe.folder)
    for i in range(2):  # a second time the place for damaged ones is taken
        if isinstance(harm, str):
            path.write_bytes(random.Random(i).randbytes(20_000))
        else:
            harm(path, random.Random(f"{name} {harm.__name__} {i}"))
        if harm is not empty:  # SQLite's own way to begin
            assert f"{PRIVATE}/{name}" in world.told()
        world.is_repaired()
    assert asked(world.recipe.folder) == before, "no caption is made twice"


@pytest.mark.filterwarnings("ignore")
def test_a_store_that_the_next_build_begins_anew_is_named(world: World) -> None:
    """Also where SQLite finds no fault: another release wrote other columns, or the header says that it can only be
    read."""
    scan, caption = (world.out / PRIVATE / name for name in STORES)
    with contextlib.closing(sqlite3.connect(scan)) as later, later:
        later.execute("ALTER TABLE pairs ADD COLUMN more TEXT")
    data = bytearray(caption.read_bytes())
    data[18] ^= 4
    caption.write_bytes(data)
    told = world.told()
    assert f"{PRIVATE}/scan.sqlite: has other columns than this release writes, in its table pairs; `patina" in told
    assert f"{PRIVATE}/captions.sqlite: is damaged (its header names a format" in told
    world.is_repaired()


@pytest.mark.parametrize("name", STORES)
def test_a_flipped_bit_in_a_store_changes_nothing_that_is_built(world: World, name: str) -> None:
    """SQLite sees none of those that hit a text; each row's own sum does."""
    path = world.out / PRIVATE / name
    good, chance = path.read_bytes(), random.Random(name)
    for _ in range(5):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        for suffix in ("-journal", ".damaged"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        (world.out / "README.md").unlink()  # so that there is something to write
        world.build()
        assert public_files(world.out) == world.good


def flip_in_row(path: Path, table: str, column: str, number: int) -> None:
    """Flip one bit in a text or the bytes of a row, as a failing disk would, behind SQLite's back."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        row = connection.execute(f"SELECT * FROM {table}").fetchone()
        names = [d[0] for d in connection.execute(f"SELECT * FROM {table}").description]
        found = row[names.index(column)]
        kind, data = ("BLOB", bytearray(found)) if isinstance(found, bytes) else ("TEXT", bytearray(found.encode()))
        data[number % len(data)] ^= 1 << (number // len(data)) % 8
        keys = [n for n in names if n != column]
        where = " AND ".join(f"{key} IS ?" for key in keys)
        values = (bytes(data), *(row[names.index(key)] for key in keys))
        connection.execute(f"UPDATE {table} SET {column}=CAST(? AS {kind}) WHERE {where}", values)


def test_no_flipped_bit_in_a_caption_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "captions.sqlite"
    with CaptionStore(path) as store:
        for number in range(0, 8 * 30, 13):
            store.put([("a", "a dog on a beach, é")], "model")
            store.put_scores([(("a", "a dog"), 0.25)], "scorer")
            assert store.get(["a"], "model") == {"a": "a dog on a beach, é"}
            assert store.get_scores([("a", "a dog")], "scorer") == {("a", "a dog"): 0.25}
            flip_in_row(path, "captions", "text", number)
            flip_in_row(path, "scores", "score", number)
            assert store.get(["a"], "model") == {}
            assert store.get_scores([("a", "a dog")], "scorer") == {}


def test_no_flipped_bit_in_a_scans_record_is_believed(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.png")
    path, stat = tmp_path / "scan.sqlite", file.stat()
    columns = {"local": "row", "kinds": "text", "inspections": "record", "pairs": "record", "verdicts": "record"}
    with ScanStore(path) as store:
        for number in range(0, 8 * 40, 43):
            looks = {"d" * 64: ('["1", {"width": 64}]', bytes(range(32)))}
            store.put([(str(file), stat, "d" * 64)], [("d" * 64, "1", '{"width": 64}')], looks, settled=True)
            store.put_pairs([("g", "l", "1", "{}")])
            store.put_verdicts([("a", "b", "1", "[1]")])
            store.put_remote([("s3://x", "ETag 1", 5, "e" * 64)])
            store.put_problems([("model", "content", "name", "it has no words")])
            assert (store.trusted_digest(str(file), stat), store.pair("g", "l", "1")) == ("d" * 64, "{}")
            assert (store.inspection("d" * 64, "1"), store.verdict("a", "b", "1")) == ('{"width": 64}', "[1]")
            assert store.remote_digest("s3://x", "ETag 1", 5) == "e" * 64
            assert list(store.kinds().values()) == ['["1", {"width": 64}]']
            assert store.problems() == {("model", "content", "name"): "it has no words"}
            for table, column in {**columns, "remote": "digest", "problems": "reason"}.items():
                flip_in_row(path, table, column, number)
            assert store.trusted_digest(str(file), stat) is store.pair("g", "l", "1") is None
            assert store.inspection("d" * 64, "1") is store.verdict("a", "b", "1") is None
            assert store.remote_digest("s3://x", "ETag 1", 5) is None
            assert store.problems() == store.kinds() == {}


def test_stores_of_an_earlier_release_are_believed(tmp_path: Path) -> None:
    """Their rows have no sums; to make captions again would cost days."""
    path = tmp_path / "captions.sqlite"
    with CaptionStore(path) as store:
        store.put([("a", "x")], "model")
        store.put_scores([(("a", "x"), 0.5)], "scorer")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE captions SET text='a plain sentence'")
        connection.execute("UPDATE scores SET score=0.75")
    with CaptionStore(path) as store:
        assert store.get(["a"], "model") == {"a": "a plain sentence"}
        assert store.get_scores([("a", "x")], "scorer") == {("a", "x"): 0.75}


def test_looking_at_a_store_changes_nothing(tmp_path: Path) -> None:
    assert damage_of(tmp_path / "none.sqlite", captions.SCHEMA) == ""
    with CaptionStore(tmp_path / "a b#?.sqlite") as store:
        store.put([(str(i), "text") for i in range(500)], "model")
    path = tmp_path / "a b#?.sqlite"
    assert damage_of(path, captions.SCHEMA) == ""
    data = path.read_bytes()
    path.write_bytes(data[:5000])
    assert damage_of(path, captions.SCHEMA).startswith("is damaged (")
    assert path.read_bytes() == data[:5000]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("harm", DAMAGE)
def test_damaged_staged_files_are_made_again(
    first: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Harm
) -> None:
    """A build that stopped before it published left its finished shards, and what it knows of them."""
    from patina.pipeline.builder.workspace import Workspace

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            build(first.recipe, out)
    staged = sorted((out / PRIVATE / "staging").glob(f"*.tar.{'?' * 16}"))
    assert len(staged) > 3
    chance = random.Random(harm.__name__)
    harm(staged[0], chance)
    index = staged[1].with_name(f"{staged[1].name}.json")
    if harm is flip:  # where it is hardest to see: the file is as well formed as before
        index.write_text(index.read_text().replace("a picture called", "a picture gulled"))
    else:
        harm(index, chance)
    report = build(first.recipe, out)
    assert public_files(out) == first.good
    assert {r.shard.name for r in report.results if r.synthesised} == {p.name[:-17] for p in staged[:2]}, "no other"
    assert list((out / PRIVATE / "staging").iterdir()) == []


JOURNALS = (
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"moves": [], "drop": []}',
    b'{"moves": [["staging/x", "manifest.json"]]}',
    b'{"moves": [["../../outside.txt", "manifest.json"]], "drop": []}',
    b'{"moves": [["staging/x", "../../outside.txt"], ["staging/y", "manifest.json"]], "drop": []}',
    b'{"moves": [["staging/x", "manifest.json"]], "drop": ["../../outside.txt"]}',
    b'{"moves": [["staging/x", "manifest.json"]], "drop": ["/etc/passwd"]}',
)


def test_a_damaged_journal_is_put_aside_and_nothing_outside_is_touched(world: World) -> None:
    (world.folder / "outside.txt").write_text("of great worth")
    for i, journal in enumerate(JOURNALS):
        (world.out / PRIVATE / "journal.json").write_bytes(journal)
        world.build()
        assert (world.folder / "outside.txt").read_text() == "of great worth"
        assert (world.out / PRIVATE / "aside" / f"journal.json.{i}").read_bytes() == journal
    world.is_repaired()


def test_what_a_reverted_build_left_is_swept_by_the_next_one(world: World) -> None:
    """Half a build, and then the recipe is as it was: there is nothing to build, and yet something to do."""
    left = [world.out / PRIVATE / "staging" / "train-0000-noisy.tar.0123.tmp", world.out / PRIVATE / "current.tmp"]
    for path in left:
        path.write_bytes(b"half")
        assert result_if_idle(world.recipe, world.out, Options()) is None
        world.is_repaired()
        assert not path.exists()


# ---------------------------------------------------------------------------------------------------------------------
# Two builds, one folder

LONG = """
import sys, time
from pathlib import Path
from patina.pipeline.builder.history import free
from patina.pipeline.builder.build import build
from patina.pipeline.builder.runner import Threads
from tests.pipeline.making import tiny_recipe
class Waiting(Threads):
    def map(self, step, function, items):
        print("building", flush=True)
        time.sleep(60)
build(tiny_recipe(Path(sys.argv[1])), Path(sys.argv[2]), runner=Waiting())
"""


def test_the_second_of_two_builds_says_who_builds_and_goes_on_when_that_one_is_dead(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    command = [sys.executable, "-c", LONG, str(tmp_path), str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        start = time.monotonic()
        with pytest.raises(LockedError) as caught:
            build(tiny_recipe(tmp_path), tmp_path / "out")
        assert time.monotonic() - start < 5, "it does not wait"
        assert f"is being built by process {process.pid} of " in str(caught.value)
    finally:
        process.kill()
        process.communicate()
    build(tiny_recipe(tmp_path), tmp_path / "out")
    assert check(tmp_path / "out", None).ok


# ---------------------------------------------------------------------------------------------------------------------
# Sources that do not rest


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40))])
def test_sources_that_vanish_change_and_are_replaced_at_any_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever happens between two reads: an error in words, or a dataset of what there is, and then the next build is
    that of a folder which was always so."""
    chance = random.Random(seed)
    files = photos(tmp_path / "photos", 6, 32, 24)
    recipe, out = tiny_recipe(tmp_path), tmp_path / "out"
    read, meddling = locations.read_file, chance.randint(1, 3)

    def meddle() -> None:
        victim = chance.choice(files)
        what = chance.choice(["vanish", "change", "replace", "tear", "appear"])
        if what == "vanish":
            victim.unlink(missing_ok=True)
        elif what == "change":
            save(victim, picture(32, 24, chance.randrange(100, 999)))
        elif what == "replace":
            save(tmp_path / "other.png", picture(24, 32, chance.randrange(100, 999))).replace(victim)
        elif what == "tear" and victim.exists():
            victim.write_bytes(victim.read_bytes()[:300])
        else:
            photo(tmp_path / "photos" / f"new-{chance.randrange(9)}.png", 32, 24, chance.randrange(100, 999))

    def restless(location: str) -> tuple[os.stat_result, bytes]:
        nonlocal meddling
        if meddling and chance.random() < 0.3:
            meddling -= 1
            meddle()
        result = read(location)
        if meddling and chance.random() < 0.2:
            meddling -= 1
            meddle()
        return result

    monkeypatch.setattr(locations, "read_file", restless)
    with contextlib.suppress(SourceChangedError, SourceError):
        build(recipe, out, Options(max_set_aside=0.5))
        for samples in read_built(out).samples.values():
            assert all(pixels(sample.gt[1]).shape == pixels(sample.lq[1]).shape for sample in samples)
        assert check(out, None).ok
    monkeypatch.setattr(locations, "read_file", read)
    build(recipe, out, Options(max_set_aside=0.5))
    build(recipe, tmp_path / "fresh", Options(max_set_aside=0.5))
    assert public_files(out) == public_files(tmp_path / "fresh")


def test_a_file_written_again_while_its_batch_is_read_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coarse clock gives both versions one time. That the batch took seconds to read makes neither any older."""
    file = save(tmp_path / "photos" / "a.bmp", picture(seed=1))
    other = save(tmp_path / "other.bmp", picture(seed=2)).read_bytes()
    photos(tmp_path / "photos", 1)
    stat, read, now = file.stat(), locations.read_file, time.time_ns()
    clock = iter(range(now, now + 10**15, RECENT_NS))  # each look at it is two seconds later
    coarse = os.stat_result(
        (stat.st_mode, stat.st_ino, stat.st_dev, 1, 0, 0, stat.st_size, 0, 0, 0),
        {"st_mtime_ns": now, "st_ctime_ns": now, "st_atime_ns": now},
    )

    def slowly(location: str) -> tuple[os.stat_result, bytes]:
        data = read(location)[1]
        if location == str(file):
            file.write_bytes(other)
        return coarse, data

    real = os.stat
    monkeypatch.setattr(locations, "read_file", slowly)
    monkeypatch.setattr(os, "stat", lambda path, **how: coarse if str(path) == str(file) else real(path, **how))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    with ScanStore(tmp_path / "scan.sqlite") as store:
        from patina.pipeline.scan.scan import scan

        before = {s.names[0]: s.digest for s in scan(tiny_recipe(tmp_path), store).sources}
        after = {s.names[0]: s.digest for s in scan(tiny_recipe(tmp_path), store).sources}
    assert before["a.bmp"] != after["a.bmp"]


# ---------------------------------------------------------------------------------------------------------------------
# Clocks


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_a_clock_that_jumps_never_makes_a_stale_digest_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Times of files by chance, also to come, and a clock that jumps by hours between any two looks at it."""
    chance = random.Random(f"clock {seed}")
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + chance.choice((0, -1, 1)) * chance.randrange(10**13))
    recipe, out = tiny_recipe(tmp_path), tmp_path / "out"
    images = {}
    for _ in range(8):
        name, image = f"{chance.randrange(3)}.bmp", picture(32, 24, chance.randrange(10**6))
        path = save(tmp_path / "photos" / name, image)
        images[name] = image
        if chance.random() < 0.5:
            moment = real() + chance.choice((-1, 1)) * chance.randrange(10**13)
            os.utime(path, ns=(moment, moment))
        build(recipe, out)
        built = read_built(out)
        assert built.samples.keys() == images.keys()
        for name, image in images.items():
            np.testing.assert_array_equal(pixels(built.samples[name][0].gt[1]), image)


def test_a_clock_that_was_set_back_before_a_file_was_read_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = photo(tmp_path / "a.png").stat()
    written = stat.st_mtime_ns
    cases: list[tuple[int, int, bool]] = [  # the clock before reading and when it is stored: is it believed?
        (written + 2 * RECENT_NS, written + 3 * RECENT_NS, True),
        (written, written + 3 * RECENT_NS, False),
        (written + 3 * RECENT_NS, written, False),
        (written - 10**12, written - 10**12, False),
    ]
    for begun_ns, now, believed in cases:
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        with ScanStore(None) as store:
            store.put([("a.png", stat, "d" * 64)], begun_ns=begun_ns)
            monkeypatch.setattr(time, "time_ns", lambda: written + 10**15)
            assert store.trusted_digest("a.png", stat) == ("d" * 64 if believed else None)
