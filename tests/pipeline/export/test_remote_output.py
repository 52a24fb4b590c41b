"""Sources and outputs elsewhere: the same dataset as from a folder here, and nothing fetched or sent twice."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from patina.pipeline.builder.build import Silent, build
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.errors import LockedError, ManifestError, SourceError
from patina.pipeline.export.remote_output import (
    RemoteOutputError,
    dataset_folder_of,
    expect_writable,
    mirror_of,
    pull,
    push,
)
from patina.pipeline.format.layout import MANIFEST, SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.pipeline.sources import locations
from tests.pipeline.delivering import at, deliver, objects, recipes
from tests.pipeline.making import photo, photos, tiny_recipe
from tests.pipeline.serving import serving


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[str]:
    """An address in fsspec's memory file system, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://bucket"
    system.store.clear()


def recipe_of(tmp_path: Path, path: str, **changes: object) -> Recipe:
    return tiny_recipe(tmp_path, sources=[{"path": path, **changes}])


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / SHARDS).glob("*.tar"))}


def upload(folder: Path, address: str) -> None:
    system = fsspec.filesystem(address.partition("://")[0])
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{address}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def test_photographs_over_http_give_the_shards_of_the_folder_they_lie_in(tmp_path: Path) -> None:
    photos(tmp_path / "www" / "photos", 3)
    photo(tmp_path / "www" / "photos" / "sub folder" / "größe 1.png", seed=9)
    build(recipe_of(tmp_path, "www/photos"), tmp_path / "here")
    with serving(tmp_path / "www") as server:
        recipe = recipe_of(tmp_path, f"{server.address}/photos/")
        first = build(recipe, tmp_path / "there")
        assert sorted(n for s in first.planned.scan.sources for n in s.names) == [
            *(f"good-00{i}.png" for i in range(3)),
            "sub folder/größe 1.png",
        ]
        assert shards(tmp_path / "there") == shards(tmp_path / "here")
        fetched = server.gets(".png")
        assert len(fetched) == 4, "each photograph once, though scan and build both read it"
        again = build(recipe, tmp_path / "there")
        assert again.results == ()
        assert server.gets(".png") == fetched, "what did not change is not fetched"


def test_a_remote_photograph_that_changed_is_fetched_and_it_alone(tmp_path: Path, memory: str) -> None:
    photos(tmp_path / "photos", 3)
    upload(tmp_path / "photos", f"{memory}/photos")
    recipe = recipe_of(tmp_path, f"{memory}/photos")
    build(recipe, tmp_path / "out")
    photo(tmp_path / "photos" / "good-001.png", seed=77)
    upload(tmp_path / "photos", f"{memory}/photos")
    report = build(recipe, tmp_path / "out")
    assert [r.synthesised for r in report.results] == [1]
    build(recipe_of(tmp_path, "photos"), tmp_path / "here")
    assert shards(tmp_path / "out") == shards(tmp_path / "here")


def test_the_cache_may_be_lost_or_damaged(tmp_path: Path, memory: str) -> None:
    photos(tmp_path / "photos", 2)
    upload(tmp_path / "photos", f"{memory}/photos")
    recipe = recipe_of(tmp_path, f"{memory}/photos")
    build(recipe, tmp_path / "one")
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"garbage")
    build(tiny_recipe(tmp_path, sources=[{"path": f"{memory}/photos"}], seed=5), tmp_path / "one")
    shutil.rmtree(tmp_path / "cache")
    build(tiny_recipe(tmp_path, sources=[{"path": f"{memory}/photos"}], seed=6), tmp_path / "one")
    assert check(tmp_path / "one", None).ok


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, memory: str) -> None:
    with pytest.raises(SourceError, match="cannot list memory://bucket/nothing"):
        build(recipe_of(tmp_path, f"{memory}/nothing"), tmp_path / "out")
    with serving(tmp_path) as server, pytest.raises(SourceError, match=f"cannot list {server.address}/nothing"):
        build(recipe_of(tmp_path, f"{server.address}/nothing"), tmp_path / "out2")
    with pytest.raises(SourceError, match="no reader for nosuch:// is installed"):
        build(recipe_of(tmp_path, "nosuch://bucket/photos"), tmp_path / "out3")


def test_pairs_over_http(tmp_path: Path) -> None:
    for i in range(2):
        photo(tmp_path / "www" / "gt" / f"{i}.png", seed=i)
        photo(tmp_path / "www" / "lq" / f"{i}.jpg", seed=i, quality=10)
    table = {"kind": "pairs", "degradation": "jpeg-compressed"}
    here = parse_recipe({"sources": [{**table, "lq": "www/lq", "gt": "www/gt"}]}, tmp_path)
    build(here, tmp_path / "here")
    with serving(tmp_path / "www") as server:
        there = [{**table, "lq": f"{server.address}/lq", "gt": f"{server.address}/gt"}]
        build(parse_recipe({"sources": there}, tmp_path), tmp_path / "there")
    assert shards(tmp_path / "there") == shards(tmp_path / "here") != {}


def test_a_part_of_a_file_is_read_as_a_part(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    with tarfile.open(tar, "w") as archive:
        for name, body in (("x.txt", b"first"), ("y.txt", b"second, longer")):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    with tarfile.open(tar) as archive:
        members = archive.getmembers()
    parts = [locations.part(str(tar), m.offset_data, m.size) for m in members]
    assert [locations.read_file(p)[1] for p in parts] == [b"first", b"second, longer"]
    assert all(locations.file_of(p) == str(tar) for p in parts)
    with pytest.raises(locations.LocationError, match="ends before"):
        locations.read_file(locations.part(str(tar), tar.stat().st_size - 2, 10))


# ---------------------------------------------------------------------------------------------------------------------


def test_a_dataset_is_delivered_and_only_what_changed_is_sent_again(tmp_path: Path, memory: str) -> None:
    photos(tmp_path / "photos", 6)
    recipe = tiny_recipe(tmp_path, buckets=4)
    address = f"{memory}/data/set"
    count = deliver(recipe, address)
    build(recipe, tmp_path / "here")
    system = fsspec.filesystem("memory")
    there = {p.removeprefix("/bucket/data/set/"): system.cat_file(p) for p in system.find(address)}
    assert count == len(shards(tmp_path / "here"))
    assert there == objects(tmp_path / "here")
    photo(tmp_path / "photos" / "more.png", seed=50)
    assert deliver(recipe, address) == 1
    assert deliver(recipe, address) == 0


def test_a_machine_without_the_mirror_goes_on_from_what_is_there(tmp_path: Path, memory: str) -> None:
    photos(tmp_path / "photos", 4)
    address = f"{memory}/set"
    recipe = tiny_recipe(tmp_path, buckets=2)
    deliver(recipe, address)
    before = shards(mirror_of(address))
    shutil.rmtree(mirror_of(address))
    expect_writable(address)
    report = build(recipe, pull(address, Silent()))
    assert report.results == (), "all shards were fetched, and none is stale"
    assert shards(mirror_of(address)) == before


def test_dropped_shards_vanish_and_the_manifest_is_written_last(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 4)
    address = f"{memory}/set"
    deliver(tiny_recipe(tmp_path, degradations={"noisy": {}, "jpeg-compressed": {}}), address)
    system = fsspec.filesystem("memory")
    sent: list[str] = []
    real = system.put_file
    monkeypatch.setattr(
        type(system), "put_file", lambda self, source, path, **k: (sent.append(path), real(source, path, **k))[1]
    )
    deliver(tiny_recipe(tmp_path, degradations={"noisy": {"sigma": 10}}), address)
    assert sent[-1].endswith(MANIFEST)
    (name,) = [p.rpartition("/")[2] for p in system.find(address) if p.endswith(".tar")]
    assert re.fullmatch(r"train-0000-noisy\.[0-9a-f]{16}\.tar", name)
    assert load_manifest(pull(address, Silent())) is not None


def test_an_upload_that_broke_off_is_finished_by_the_next(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 6)
    address = f"{memory}/set"
    recipe = tiny_recipe(tmp_path, buckets=3)
    system = fsspec.filesystem("memory")
    real = system.put_file

    def broken(self: object, source: str, path: str, **how: object) -> None:
        if path.endswith(MANIFEST):
            raise OSError("the network went away")
        real(source, path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(type(system), "put_file", broken)
        with pytest.raises(RemoteOutputError, match="the network went away; run it again"):
            deliver(recipe, address)
    assert not system.exists(f"{address}/{MANIFEST}")
    deliver(recipe, address)
    assert system.exists(f"{address}/{MANIFEST}")
    assert check(pull(address, Silent()), None).ok


def test_an_address_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(RemoteOutputError, match="http can only be read"):
        expect_writable("http://127.0.0.1:9/set")
    with pytest.raises((RemoteOutputError, locations.LocationError), match="no reader for nosuch"):
        expect_writable("nosuch://bucket/set")


def break_at(monkeypatch: pytest.MonkeyPatch, verb: str, ending: str) -> None:
    """Let the memory file system fail at an object whose name, without its digest, ends like that."""
    kind = type(fsspec.filesystem("memory"))
    real = getattr(kind, verb)

    def broken(self: object, *names: str, **how: object) -> object:
        if any(re.sub(r"\.[0-9a-f]{16}\.", ".", str(name)).endswith(ending) for name in names):
            raise OSError("the network went away")
        return real(self, *names, **how)

    monkeypatch.setattr(kind, verb, broken)


@pytest.mark.parametrize("ending", [MANIFEST, "samples.parquet", "-0001-noisy.tar"])
@pytest.mark.parametrize("machine", ["the same", "a fresh one", "one that had the old dataset"])
def test_after_an_upload_that_broke_off_any_machine_delivers_whole_shards(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch, ending: str, machine: str
) -> None:
    """Shards of the new dataset lie under the old manifest then. Going back to the old recipe must not believe it."""
    old, new = recipes(tmp_path)
    address = f"{memory}/set"
    deliver(old, address)
    before = at(address)
    mirror, kept = mirror_of(address), tmp_path / "kept"
    shutil.copytree(mirror, kept)
    with monkeypatch.context() as patch:
        break_at(patch, "put_file", ending)
        with pytest.raises(RemoteOutputError, match="the network went away; run it again"):
            deliver(new, address)
    if machine != "the same":
        shutil.rmtree(mirror)
    if machine == "one that had the old dataset":
        shutil.copytree(kept, mirror)
    deliver(old, address)
    assert at(address) == before
    deliver(new, address)
    build(new, tmp_path / "here")
    assert at(address) == objects(tmp_path / "here")


def test_shards_that_were_not_removed_are_removed_by_the_next_delivery(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 3)
    address = f"{memory}/set"
    deliver(tiny_recipe(tmp_path, degradations={"noisy": {}, "jpeg-compressed": {}}), address)
    recipe = tiny_recipe(tmp_path)
    with monkeypatch.context() as patch:
        break_at(patch, "rm_file", ".tar")
        with pytest.raises(RemoteOutputError, match="cannot be removed"):
            deliver(recipe, address)
    assert deliver(recipe, address) == 0
    assert at(address) == objects(mirror_of(address))


def test_nothing_is_sent_when_nothing_changed(tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", 2)
    address = f"{memory}/set"
    deliver(tiny_recipe(tmp_path), address)
    break_at(monkeypatch, "put_file", "")
    assert deliver(tiny_recipe(tmp_path), address) == 0


@pytest.mark.parametrize("theirs", ["holiday.jpg", "README.md", "manifest.json", "data/train.tar"])
def test_files_of_somebody_else_are_let_be(tmp_path: Path, memory: str, theirs: str) -> None:
    address = f"{memory}/photos"
    fsspec.filesystem("memory").pipe_file(f"{address}/{theirs}", b"{}")
    with pytest.raises(RemoteOutputError, match=rf"is no patina dataset, such as {theirs.partition('/')[0]}"):
        expect_writable(address)
    assert at(address) == {theirs: b"{}"}


def test_a_manifest_that_is_torn_is_written_again(tmp_path: Path, memory: str) -> None:
    photos(tmp_path / "photos", 3)
    address = f"{memory}/set"
    deliver(tiny_recipe(tmp_path), address)
    before = at(address)
    fsspec.filesystem("memory").pipe_file(f"{address}/{MANIFEST}", before[MANIFEST][:100])
    with pytest.raises(ManifestError, match="cannot be read"):
        dataset_folder_of(address, Silent())
    shutil.rmtree(mirror_of(address))
    deliver(tiny_recipe(tmp_path), address)
    assert at(address) == before


@pytest.mark.parametrize("name", ["croissant.json", "samples.parquet"])
def test_a_file_beside_the_shards_that_is_lost_is_written_again(tmp_path: Path, memory: str, name: str) -> None:
    photos(tmp_path / "photos", 3)
    address = f"{memory}/set"
    deliver(tiny_recipe(tmp_path), address)
    before = at(address)
    fsspec.filesystem("memory").rm_file(f"{address}/{name}")
    shutil.rmtree(mirror_of(address))
    report = build(tiny_recipe(tmp_path), pull(address, Silent()))
    assert report.results == ()
    fsspec.filesystem("memory").rm_file(f"{address}/{MANIFEST}")
    push(address, Silent())
    assert at(address) == before


def test_fetching_that_broke_off_leaves_nothing_that_a_check_would_find(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = recipes(tmp_path)
    address = f"{memory}/set"
    deliver(old, address)
    behind = tmp_path / "behind"
    shutil.copytree(mirror_of(address), behind)
    photo(tmp_path / "photos" / "more.png", seed=50)
    deliver(tiny_recipe(tmp_path, buckets=2, seed=2), address)
    shutil.rmtree(mirror_of(address))
    shutil.copytree(behind, mirror_of(address))
    with monkeypatch.context() as patch:
        break_at(patch, "get_file", "sources.parquet")
        with pytest.raises(RemoteOutputError, match="cannot be fetched"):
            pull(address, Silent())
    assert objects(pull(address, Silent())) == at(address), "and shards of before are gone"


def test_a_mirror_that_is_being_built_is_neither_fetched_over_nor_sent(tmp_path: Path, memory: str) -> None:
    old, new = recipes(tmp_path)
    address = f"{memory}/set"
    deliver(old, address)
    shutil.copytree(mirror_of(address), tmp_path / "behind")
    deliver(new, address)
    shutil.rmtree(mirror_of(address))
    shutil.copytree(tmp_path / "behind", mirror_of(address))
    with Workspace(mirror_of(address)):
        with pytest.raises(LockedError):
            pull(address, Silent())
        with pytest.raises(LockedError):
            push(address, Silent())
