"""Watching sources: nothing told while nothing is stale or while they move, one change told once, in its own words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.watch import Verdict, Watched, note_told, watch
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.errors import BuildError, ManifestError, SourceError
from patina.pipeline.format.layout import MANIFEST
from tests.pipeline.making import make_plain, photo, photos, tiny_recipe
from tests.pipeline.serving import serving


def look(
    folder: Path,
    meanwhile: Callable[[], object] = lambda: None,
    at: float = 1000.0,
    again: float = 60.0,
    **changes: object,
) -> Watched:
    """Watch `folder`; `meanwhile` happens between the two looks."""
    return watch(
        tiny_recipe(folder, **changes),
        folder / "out",
        quiet=30,
        again=again,
        sleep=lambda seconds: meanwhile(),
        now=lambda: at,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs and their dataset, which is up to date."""
    photos(tmp_path / "photos", 3)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    return tmp_path


def test_a_dataset_that_is_up_to_date_is_not_waited_for(folder: Path) -> None:
    def never() -> None:
        raise AssertionError("it waited")

    assert look(folder, never) == Watched(Verdict.up_to_date)


def test_a_change_is_told_once_and_again_after_a_while(folder: Path) -> None:
    photo(folder / "photos" / "new.png", seed=9)
    found = look(folder)
    assert found.verdict is Verdict.changed
    assert found.plan is not None
    assert [step.shard.name for step in found.plan.build] == ["train-0000-noisy.tar"]
    note_told(folder / "out", found.signature, lambda: 1000.0)
    assert look(folder, at=1059.0).verdict is Verdict.told
    assert look(folder, at=1060.0).verdict is Verdict.changed
    assert look(folder, at=900.0).verdict is Verdict.changed, "a clock that went back keeps nothing from being told"
    photo(folder / "photos" / "newer.png", seed=10)
    second = look(folder, at=1001.0)
    assert second.verdict is Verdict.changed
    assert second.signature != found.signature
    build(tiny_recipe(folder), folder / "out")
    assert look(folder).verdict is Verdict.up_to_date


def test_the_same_change_has_the_same_signature_at_every_look(folder: Path) -> None:
    photo(folder / "photos" / "new.png", seed=9)
    assert look(folder).signature == look(folder).signature != ""


def test_a_changed_recipe_and_a_lost_shard_are_changes(folder: Path) -> None:
    assert look(folder, degradations={"noisy": {"sigma": 26}}).verdict is Verdict.changed
    (folder / "out" / "shards" / "train-0000-noisy.tar").unlink()
    assert look(folder).verdict is Verdict.changed


def test_sources_that_move_between_the_looks_are_left_alone(folder: Path) -> None:
    target = folder / "photos" / "copying.png"
    whole = photo(folder / "elsewhere.png", seed=9).read_bytes()
    target.write_bytes(whole[:900])

    def more() -> None:  # truncated before and after: only its size tells that somebody is still writing
        target.write_bytes(whole[:1000])

    assert look(folder, more).verdict is Verdict.changing
    target.write_bytes(whole)
    assert look(folder).verdict is Verdict.changed


def test_a_change_that_is_taken_back_is_none(folder: Path) -> None:
    new = photo(folder / "photos" / "new.png", seed=9)
    assert look(folder, new.unlink).verdict is Verdict.up_to_date


def test_a_build_under_way_is_not_told_of(folder: Path) -> None:
    photo(folder / "photos" / "new.png", seed=9)
    with Workspace(folder / "out"):
        assert look(folder).verdict is Verdict.building
    assert look(folder).verdict is Verdict.changed


def test_a_dataset_that_is_not_there_yet_is_told_and_a_folder_of_others_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    found = look(tmp_path)
    assert found.verdict is Verdict.changed
    note_told(tmp_path / "out", found.signature, lambda: 1000.0)
    assert look(tmp_path).verdict is Verdict.told
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ManifestError, match="holds files and is no patina dataset"):
        look(tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_dataset_that_was_copied_without_its_private_folder_is_watched(folder: Path) -> None:
    make_plain(folder / "out")
    assert look(folder).verdict is Verdict.up_to_date
    photo(folder / "photos" / "new.png", seed=9)
    assert look(folder).verdict is Verdict.changed
    assert (folder / "out" / MANIFEST).exists()


def test_a_disk_that_is_not_mounted_or_broken_sources_are_errors_and_no_change(folder: Path) -> None:
    for path in (folder / "photos").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(BuildError, match="no photograph can be used"):
        look(folder)
    shutil.rmtree(folder / "photos")
    with pytest.raises(SourceError, match="photos"):
        look(folder)


def test_remote_sources_are_asked_for_their_tags_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    photos(tmp_path / "site" / "photos", 2)
    with serving(tmp_path / "site") as server:
        source = {"sources": [{"path": f"{server.address}/photos"}]}
        build(tiny_recipe(tmp_path, **source), tmp_path / "out")
        server.requests.clear()
        assert look(tmp_path, **source).verdict is Verdict.up_to_date
        assert server.gets(".png") == []
        photo(tmp_path / "site" / "photos" / "new.png", seed=9)
        assert look(tmp_path, **source).verdict is Verdict.changed
        assert set(server.gets(".png")) == {"/photos/new.png"}
        os.utime(tmp_path / "site" / "photos" / "new.png", (1, 1))
        moved = look(tmp_path, lambda: os.utime(tmp_path / "site" / "photos" / "new.png", (10**6, 10**6)), **source)
        assert moved.verdict is Verdict.changing
