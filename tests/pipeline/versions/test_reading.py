"""Readers open one version and stay with it; versions are named, listed, published again, and freed."""

from __future__ import annotations

import copy
import hashlib
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

import patina
from patina.pipeline.builder.build import build, result_if_idle
from patina.pipeline.builder.history import free, rollback
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.export.run import choose, export
from patina.pipeline.format.layout import MANIFEST, PAPERS, PRIVATE, SHARDS, STRIP, VERSIONS
from patina.pipeline.format.manifest import load_manifest, read_samples
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.pipeline.report.diff import diff, read_snapshot
from patina.pipeline.report.gallery import write_gallery
from patina.pipeline.report.versions import list_versions
from patina.pipeline.versions.lease import is_open, open_built, open_dataset
from patina.pipeline.versions.removal import own_bytes
from patina.pipeline.versions.version import VersionError, current_version, find_version, published_versions, split_name
from tests.pipeline.making import make_plain, photos, tiny_recipe
from tests.pipeline.versions.disk import public

NOISY = {"noisy": {"sigma": 20}, "jpeg-compressed": {}}


@dataclass
class World:
    """A dataset that is built anew with another noise; `seen`: what readers found after each build, by number."""

    folder: Path
    seen: dict[int, dict[str, bytes]]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def build(self, sigma: int, keep: int = 2) -> BuildResult:
        result = build(self.recipe(sigma), self.out, Options(keep=keep))
        version = current_version(self.out)
        assert version is not None
        self.seen[version.number] = public(self.out)
        return result

    def recipe(self, sigma: int) -> Recipe:
        return tiny_recipe(self.folder, degradations=NOISY | {"noisy": {"sigma": sigma}})

    def numbers(self) -> list[int]:
        return [version.number for version in published_versions(self.out)]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A dataset with three versions; not to be changed."""
    return make_three(tmp_path_factory.mktemp("three"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_three(tmp_path)


def make_three(folder: Path) -> World:
    photos(folder / "photos", 3, 24, 16)
    world = World(folder, {})
    for sigma in (10, 20, 30):
        world.build(sigma, keep=9)
    return world


# ---------------------------------------------------------------------------------------------------------------------
# Names


def test_versions_are_named_by_number_place_and_digest(three: World) -> None:
    first, second, third = published_versions(three.out)
    named = {
        "": third,
        "current": third,
        "previous": second,
        "1": first,
        "2": second,
        first.digest: first,
        second.digest[:6]: second,
        third.name: third,
    }
    for spec, version in named.items():
        assert find_version(three.out, spec) == version
        with open_built(Path(f"{three.out}@{spec}" if spec else three.out)) as opened:
            assert (opened.version, opened.home) == (version, three.out)
            assert public(opened.folder) == three.seen[version.number]


@pytest.mark.parametrize("spec", ["4", "99", "abcdef", "1-0123456789abcdef"])
def test_a_version_that_is_not_there_is_told_with_those_that_are(three: World, spec: str) -> None:
    with pytest.raises(VersionError, match=f"no version '{spec}'; it has 1-.*, 2-.*, 3-.* \\(`patina versions"):
        open_dataset(Path(f"{three.out}@{spec}"))


def test_what_only_looks_like_a_name_is_a_folder(tmp_path: Path, three: World) -> None:
    for name in ("data@home", "a@b@c", "@2", "data@"):
        assert split_name(tmp_path / name) == (tmp_path / name, "")
    assert split_name(tmp_path / "data@2") == (tmp_path / "data", "2")
    (tmp_path / "data@2").mkdir()
    assert split_name(tmp_path / "data@2") == (tmp_path / "data@2", ""), "a folder that is called so"
    with pytest.raises(VersionError, match="it has no versions yet"):
        open_dataset(tmp_path / "data@3")
    build(tiny_recipe(three.folder), tmp_path / "new@7")  # no dataset `new` is there
    assert check(tmp_path / "new@7").ok


@pytest.mark.parametrize("spec", ["1", "previous"])
def test_a_build_writes_into_no_version(three: World, spec: str) -> None:
    with pytest.raises(VersionError, match=f"makes the next version of .*`patina rollback .*out {spec}`"):
        build(three.recipe(40), Path(f"{three.out}@{spec}"))
    with pytest.raises(VersionError, match="makes the next version"):
        result_if_idle(three.recipe(40), Path(f"{three.out}@{spec}"), Options())
    assert three.numbers() == [1, 2, 3]


def test_every_reader_takes_a_version(three: World, tmp_path: Path) -> None:
    old = Path(f"{three.out}@1")
    samples = read_samples(three.out / PRIVATE / VERSIONS / published_versions(three.out)[0].name)
    assert check(old, replay=None).ok
    assert patina.check(old).ok
    assert patina.read_samples(old) == samples
    assert patina.read_members(old, samples[0])["json"]
    assert len(patina.Dataset(old)) == len(samples)
    assert [entry.pixels for entry in patina.diff(old, three.out).samples if entry.entry == "noisy"] == [3]
    assert diff(read_snapshot(Path(f"{three.out}@previous")), read_snapshot(three.out)).samples[1].pixels == 3
    assert export(old, tmp_path / "export", choose("folders")).samples == len(samples)
    assert write_gallery(old, None, 4) == three.out / "gallery-1.html"
    assert write_gallery(three.out, None, 4) == three.out / "gallery.html"
    for page in ("gallery-1.html", "gallery.html"):
        (three.out / page).unlink()


# ---------------------------------------------------------------------------------------------------------------------
# Leases


def test_a_version_stays_while_it_is_read_and_no_longer(world: World) -> None:
    with open_dataset(world.out) as reader:
        held = reader.folder
        for sigma in (40, 50, 60):
            world.build(sigma)
        assert public(held) == world.seen[3]
        assert world.numbers() == [3, 5, 6]
        assert reader.version is not None
        assert is_open(reader.version)
    assert not is_open(reader.version)
    world.build(70)
    assert world.numbers() == [6, 7]
    assert not held.exists()


def test_a_dataset_that_is_iterated_while_it_is_rebuilt_gives_what_it_gave(world: World) -> None:
    data = patina.Dataset(world.out, truth=True)
    before = [{**item, "lq": item["lq"].tolist(), "gt": item["gt"].tolist()} for item in data]  # type: ignore[attr-defined]
    copies = [pickle.loads(pickle.dumps(data)), copy.copy(data)]
    for sigma in (40, 50, 60):
        world.build(sigma)
        for one in (data, *copies):
            assert [i["lq"].tolist() for i in one] == [item["lq"] for item in before]
    del data, copies, one
    world.build(70)
    assert world.numbers() == [6, 7]


def test_a_row_of_an_earlier_version_is_read_from_that_version(world: World) -> None:
    rows = patina.read_samples(world.out)
    old = [patina.read_members(world.out, row) for row in rows]
    world.build(40)
    assert [patina.read_members(world.out, row) for row in rows] == old
    world.build(50)
    world.build(60)
    noisy = next(row for row in rows if row.entry == "noisy")
    with pytest.raises(DamagedShardError):
        patina.read_members(world.out, noisy)


HOLD = """
import sys, time
from pathlib import Path
from patina.pipeline.versions.lease import pinned
print(pinned(Path(sys.argv[1])).folder, flush=True)
time.sleep(60)
"""


def test_a_lease_ends_with_its_process(world: World) -> None:
    reader = subprocess.Popen([sys.executable, "-c", HOLD, str(world.out)], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    held = Path(reader.stdout.readline().strip())
    world.build(40)
    world.build(50)
    assert held.exists()
    reader.send_signal(signal.SIGKILL)
    reader.communicate()
    world.build(60)
    assert not held.exists()


def test_no_reader_meets_a_mixture_while_twenty_versions_are_published(world: World) -> None:
    """Digests of all that a reader opens, as fast as it can, against what was published."""
    whole = {hashlib.sha256(b"".join(seen.values())).hexdigest() for seen in world.seen.values()}
    ended, mixtures, reads, found = threading.Event(), 0, 0, set()

    def read() -> None:
        nonlocal mixtures, reads
        while not ended.is_set():
            with open_built(world.out) as opened:
                manifest = load_manifest(opened.folder)
                assert manifest is not None
                sums = [hashlib.sha256((opened.folder / SHARDS / s.name).read_bytes()) for s in manifest.shards]
                mixtures += [s.hexdigest() for s in sums] != [s.sha256 for s in manifest.shards]
                found.add(hashlib.sha256(b"".join(public(opened.folder).values())).hexdigest())
                reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for i in range(20):
            world.build(40 + i)
    finally:
        ended.set()
        reader.join()
    whole |= {hashlib.sha256(b"".join(seen.values())).hexdigest() for seen in world.seen.values()}
    assert mixtures == 0
    assert found <= whole
    assert reads > 20


# ---------------------------------------------------------------------------------------------------------------------
# History


def test_versions_are_listed_with_what_each_alone_holds(three: World) -> None:
    told = list_versions(three.out)
    assert [one.version.number for one in told] == [1, 2, 3]
    assert [one.state for one in told] == ["", "", "current"]
    assert [one.samples for one in told] == [6, 6, 6]
    assert told[0].record.change == "first built: 2 shards"
    assert told[2].record.change == "1 shard written, 1 shard kept"
    for one in told:
        files = public(one.version.folder)
        shared = f"{SHARDS}/train-0000-jpeg-compressed.tar"
        assert one.own == sum(len(data) for name, data in files.items() if name != shared)
        assert one.when[:2] == "20"
    with open_dataset(Path(f"{three.out}@1")):
        assert [one.state for one in list_versions(three.out)] == ["in use", "", "current"]


def test_a_plain_dataset_has_no_versions_to_list(tmp_path: Path, three: World) -> None:
    shutil.copytree(three.out, tmp_path / "plain", symlinks=True)
    make_plain(tmp_path / "plain")
    with pytest.raises(VersionError, match="found no versions; the next build"):
        list_versions(tmp_path / "plain")


@pytest.mark.parametrize("spec", ["1", "previous"])
def test_an_earlier_version_is_published_again_without_a_copy(world: World, spec: str) -> None:
    size = sum(own_bytes(published_versions(world.out)).values())
    new = rollback(world.out, spec)
    assert (new.number, current_version(world.out)) == (4, new)
    assert public(world.out) == world.seen[1 if spec == "1" else 2]
    assert world.numbers() == [1, 2, 3, 4], "nothing is removed"
    assert sum(own_bytes(published_versions(world.out)).values()) < size
    assert check(world.out).ok
    result = world.build(30)
    assert public(world.out) == world.seen[3], "a build makes what the recipe says"
    assert len(result.results) == 1


def test_going_back_to_what_is_not_there_or_not_sound_is_refused(world: World) -> None:
    for spec in ("3", "current", world.out.name):
        with pytest.raises(VersionError):
            rollback(world.out, spec)
    shard = world.out / PRIVATE / VERSIONS / published_versions(world.out)[0].name / SHARDS / "train-0000-noisy.tar"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(VersionError, match="its bytes are not those that were written; choose another version"):
        rollback(world.out, "1")
    shard.unlink()
    with pytest.raises(VersionError, match="1 file of it, such as train-0000-noisy"):
        rollback(world.out, "1")
    assert public(world.out) == world.seen[3]


@pytest.mark.parametrize("name", [*PAPERS, MANIFEST])
def test_a_damaged_card_is_not_taken_for_what_was_written_by_going_back(world: World, name: str) -> None:
    """A check still names it, and a build makes it again; of the manifest its own sum tells."""
    path = published_versions(world.out)[0].folder / name
    good = path.read_bytes()
    path.write_bytes(bytes([*good[:-9], good[-9] ^ 1, *good[-8:]]))
    if name == MANIFEST:
        with pytest.raises(ManifestError):
            rollback(world.out, "1")
        return
    rollback(world.out, "1")
    assert [str(one) for one in check(world.out).findings] == [
        f"{name}: its bytes are not those that were written; `patina build` makes it again"
    ]
    world.build(10)
    assert check(world.out).ok and public(world.out) == world.seen[1]


def test_a_picture_that_is_lost_is_told_after_going_back(world: World) -> None:
    """A dataset may lack one, but not where the record says that there was one."""
    path = published_versions(world.out)[0].folder / STRIP
    path.unlink()
    path.mkdir()
    rollback(world.out, "1")
    assert [one.where for one in check(world.out).findings] == [STRIP]
    world.build(10)
    assert check(world.out).ok and public(world.out) == world.seen[1]


def test_freeing_removes_what_nobody_reads_and_keeps_what_no_build_wrote(world: World) -> None:
    (world.out / PRIVATE / VERSIONS / published_versions(world.out)[1].name / SHARDS / "mine.txt").write_text("worth")
    before = own_bytes(published_versions(world.out))
    with open_dataset(Path(f"{world.out}@1")):
        freed = free(world.out, 1)
        assert [version.number for version in freed.versions] == [2]
        assert [version.number for version in freed.used] == [1]
        assert freed.bytes == before[2]
    assert (world.out / PRIVATE / "aside" / "mine.txt.0").read_text() == "worth"
    assert free(world.out, 1).bytes >= before[1]
    assert world.numbers() == [3]
    assert public(world.out) == world.seen[3]
    assert free(world.out, 1).versions == ()


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_a_build_keeps_as_many_versions_as_it_is_told(world: World, keep: int) -> None:
    world.build(40, keep)
    assert world.numbers() == [1, 2, 3, 4][-keep:]


def test_freeing_and_going_back_leave_times_trusted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second name more or less changes a file's ctime; a build would read every shard again."""
    from patina.pipeline.plan import planning

    read: list[Path] = []
    digest = planning.file_sha256
    monkeypatch.setattr(planning, "file_sha256", lambda path: read.append(path) or digest(path))
    for step in (lambda: free(world.out, 2), lambda: rollback(world.out, "previous"), lambda: free(world.out, 1)):
        step()
        assert result_if_idle(world.recipe(20 if current(world) > 3 else 30), world.out, Options()) is not None
        assert read == []
    world.build(50)
    world.build(60)
    assert read == []


def current(world: World) -> int:
    version = current_version(world.out)
    assert version is not None
    return version.number


# ---------------------------------------------------------------------------------------------------------------------
# Copies

COPIES = {
    "cp -a": (["cp", "-a"], "linked"),
    "cp -r": (["cp", "-r"], "linked"),
    "cp -rL": (["cp", "-rL"], "followed"),
    "rsync -a": (["rsync", "-a"], "linked"),
    "rsync -aL": (["rsync", "-aL"], "followed"),
    "rsync -aL --exclude .patina": (["rsync", "-aL", "--exclude", ".patina"], "plain"),
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_a_dataset_by_whatever_tool_it_was_made(three: World, tmp_path: Path, way: str) -> None:
    command, _ = COPIES[way]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} here")
    target = tmp_path / "copy"
    slash = "/" if command[0] == "rsync" else ""
    subprocess.run([*command, f"{three.out}{slash}", str(target)], check=True)
    assert public(target) == three.seen[3]
    assert check(target).ok
    assert not build(three.recipe(30), target).results
    assert public(target) == three.seen[3]
    build(three.recipe(40), target)
    build(three.recipe(30), target)
    assert public(target) == three.seen[3]
    assert check(target).ok


def test_the_current_versions_folder_is_a_plain_dataset(three: World, tmp_path: Path) -> None:
    """For tools that follow no links: tar, upload_folder, cp -r of that folder alone."""
    folder = three.out / PRIVATE / "current"
    subprocess.run(["tar", "-cf", str(tmp_path / "it.tar"), "-C", str(folder), "."], check=True)
    (tmp_path / "it").mkdir()
    subprocess.run(["tar", "-xf", str(tmp_path / "it.tar"), "-C", str(tmp_path / "it")], check=True)
    assert public(tmp_path / "it") == three.seen[3]
    assert not any(path.is_symlink() for path in (tmp_path / "it").rglob("*"))
    assert check(tmp_path / "it").ok
    assert load_manifest(tmp_path / "it") == load_manifest(three.out)
    assert (three.out / MANIFEST).samefile(folder / MANIFEST)


def test_no_dataset_is_no_version(tmp_path: Path) -> None:
    with open_dataset(tmp_path) as opened:
        assert (opened.folder, opened.version) == (tmp_path, None)
    with pytest.raises(ManifestError, match="expected a patina dataset"):
        open_built(tmp_path)
    for step in (lambda: free(tmp_path, 1), lambda: rollback(tmp_path, "1")):
        with pytest.raises(VersionError):
            step()
    assert list(tmp_path.iterdir()) == []


def test_a_plain_dataset_has_nothing_to_free(world: World) -> None:
    make_plain(world.out)
    (world.out / PRIVATE).mkdir()
    with pytest.raises(VersionError, match="expected a dataset with versions, found none"):
        free(world.out, 1)


def test_where_the_current_version_is_lost_another_is_published_as_the_error_says(world: World) -> None:
    shutil.rmtree(published_versions(world.out)[-1].folder)
    with pytest.raises(VersionError, match=r"its current version, 3-.*, is missing; `patina rollback OUT 2`"):
        check(world.out)
    assert [one.state for one in list_versions(world.out)] == ["", ""]
    with pytest.raises(VersionError, match="is missing"):
        free(world.out, 1)
    rollback(world.out, "2")
    assert public(world.out) == world.seen[2]
    assert check(world.out).ok
