"""A folder's files, which are scanned as columns, give what candidates give that are scanned one by one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from patina.pipeline.cache import scans
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.scan.scan import scan
from patina.pipeline.scan.source import Scan
from patina.pipeline.sources.folder import Folder
from patina.pipeline.sources.reader import Found
from tests.pipeline.making import photo, photos


@pytest.mark.parametrize("more", [{}, {"tiles": {"size": 48}}, {"split": {"val": 0.3, "test": 0.2}}])
def test_a_folder_gives_what_its_candidates_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, object]
) -> None:
    photos(tmp_path / "a", 5)
    photos(tmp_path / "b", 3, first=20)
    photo(tmp_path / "a" / "small.png", 40, 40, seed=50)
    photo(tmp_path / "a" / "line\nfeed.png", seed=51)
    photo(tmp_path / "a" / "deep" / "é %s.jpg", seed=52)
    shutil.copy(tmp_path / "a" / "good-001.png", tmp_path / "a" / "copy.png")
    shutil.copy(tmp_path / "a" / "good-002.png", tmp_path / "b" / "copy.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    sources = [{"path": "a"}, {"path": "b", "degradations": ["noisy"]}, {"path": "a", "include": "small*"}]
    sources += [{"path": "b", "split": "test"}] * ("split" in more)
    recipe = parse_recipe({"sources": sources, "degradations": {"noisy": {}, "hazy": {}}, **more}, tmp_path, "listed")

    def scanned(store: ScanStore) -> tuple[Scan, list[object]]:
        found = scan(recipe, store)
        return replace(found, sources=(), hashed=0), list(found.sources)

    find = Folder.find
    monkeypatch.setattr(scans, "RECENT_NS", 0)  # files written just now are trusted
    with ScanStore(None) as store:
        at_first, again = scanned(store), scanned(store)
        assert again == at_first and scan(recipe, store).hashed == 0
        store._connection.execute("DELETE FROM kinds")  # as an earlier release left it: inspections by digest alone
        assert scanned(store) == at_first and scan(recipe, store).hashed == 0
        assert store.kinds(), "they are kept with the files again"

        def one_by_one(folder: Folder) -> Found:
            found = find(folder)
            return replace(found, candidates=list(found.candidates))

        monkeypatch.setattr(Folder, "find", one_by_one)
        assert scanned(store) == at_first
    told, found = at_first
    assert len(found) > 6 and {"broken.png", "gone.png"} <= {refusal.name for refusal in told.refusals}
