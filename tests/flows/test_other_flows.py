"""The flows beside the build: what they find, write and tell, and that findings fail a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import ManifestError
from patina.pipeline.export.format import ExportError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.recipe.parse import load_recipe
from tests.pipeline.making import photo

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def dataset(recipe: Path, tmp_path: Path) -> Path:
    build(load_recipe(recipe), tmp_path / "out")
    return tmp_path / "out"


def artifact(key: str) -> str:
    """The data of the newest artifact of that key."""
    from prefect.artifacts import Artifact

    found = Artifact.get(key)
    assert found is not None, key
    return str(found.data)


def test_check_replays_and_passes_a_sound_dataset(dataset: Path) -> None:
    from patina.flows.check_dataset import check_dataset

    checked = check_dataset(str(dataset), replay=3, workers=1)
    assert (checked.ok, checked.replayed) == (True, 3)
    assert check_dataset(str(dataset), replay=0, replay_all=True, workers=1).replayed == 8
    assert artifact("check") == "ok"


def test_check_fails_on_findings_and_lists_them(dataset: Path) -> None:
    from patina.flows.check_dataset import check_dataset
    from patina.flows.errors import FindingsError

    shard = dataset / SHARDS / "train-0000-noisy.tar"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    (dataset / SHARDS / "stray.tar").write_bytes(b"")
    with pytest.raises(FindingsError, match=r"2 findings: train-0000-noisy\.tar: its bytes are not those") as raised:
        check_dataset(str(dataset), workers=1)
    assert str(raised.value).startswith(str(dataset))
    assert "`patina build` mends" in str(raised.value)
    for word in ("train-0000-noisy.tar", "stray.tar"):
        assert word in artifact("findings")
        assert word in artifact("check")


def test_check_of_a_folder_without_a_dataset_says_so(tmp_path: Path) -> None:
    from patina.flows.check_dataset import check_dataset

    with pytest.raises(ManifestError, match="expected a patina dataset"):
        check_dataset(str(tmp_path))


def test_export_writes_once_and_says_what(dataset: Path, tmp_path: Path) -> None:
    from patina.flows.export_dataset import export_dataset

    out = tmp_path / "export"
    done = export_dataset(str(dataset), "daclip", str(out), degradations=["noisy"], absolute=True, workers=1)
    assert (done.samples, done.fresh) == (4, True)
    rows = (out / "daclip_train.csv").read_text().splitlines()
    assert len(rows) == 5
    assert rows[1].startswith(str(out))
    assert "4 samples" in artifact("export")
    again = export_dataset(str(dataset), "daclip", str(out), degradations=["noisy"], absolute=True, workers=1)
    assert not again.fresh
    assert "nothing had changed" in artifact("export")


def test_export_refuses_what_makes_no_sense_before_any_work(dataset: Path, tmp_path: Path) -> None:
    from prefect.exceptions import ParameterTypeError

    from patina.flows.export_dataset import export_dataset

    wrong: Any = "docx"
    with pytest.raises(ParameterTypeError, match="to"):
        export_dataset(str(dataset), wrong, str(tmp_path / "export"))
    with pytest.raises(ExportError, match="one of prefix and absolute"):
        export_dataset(str(dataset), "daclip", str(tmp_path / "export"), prefix="x", absolute=True)
    assert not (tmp_path / "export").exists()


def test_watch_tells_of_a_change_once_with_places_that_hold_anywhere(
    recipe: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import patina.flows.events
    from patina.flows.watch_sources import watch_sources

    told: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    monkeypatch.setattr(
        patina.flows.events, "emit_event", lambda event, resource, payload: told.append((event, resource, payload))
    )
    monkeypatch.chdir(tmp_path)
    assert watch_sources("recipe.toml", "out", quiet=0) == "up to date"
    photo(tmp_path / "photos" / "new.png", seed=9)
    assert watch_sources("recipe.toml", "out", quiet=0) == "changed"
    assert watch_sources("recipe.toml", "out", quiet=0) == "told before"
    ((event, resource, payload),) = told
    assert event == "patina.sources.changed"
    assert resource["prefect.resource.id"] == f"patina.dataset.{dataset}"
    assert (payload["recipe"], payload["out"]) == (str(recipe), str(dataset))
    assert payload["build"] == 2
    assert "2 shards to build" in artifact("watch")
    build(load_recipe(recipe), dataset)
    assert watch_sources("recipe.toml", "out", quiet=0) == "up to date"
    assert len(told) == 1


def test_progress_goes_on_without_a_server_and_asks_it_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from prefect import flow

    import patina.flows.artifacts
    from patina.pipeline.progress import Silent

    told: list[float] = []
    asked: list[object] = []
    monkeypatch.setattr(patina.flows.artifacts, "create_progress_artifact", lambda *args, **more: "an artifact")

    def update(artifact: object, share: float) -> None:
        told.append(share)
        if share > 2:
            raise httpx.ConnectError("Connection refused")

    def away() -> None:
        asked.append("asked")
        raise httpx.ConnectError("Connection refused")

    @flow
    def work() -> None:
        events = patina.flows.artifacts.PrefectEvents(Silent())
        events.begin("building shards", 100, "samples")
        for _ in range(100):
            events.advance(1)
        events.end()
        patina.flows.artifacts.record("what was built", away)

    monkeypatch.setattr(patina.flows.artifacts, "update_progress_artifact", update)
    monkeypatch.setattr(patina.flows.artifacts.PrefectEvents, "INTERVAL", -1.0)
    work()
    assert told == [1, 2, 3, 100], "after an error it is asked once more, at the end"
    assert asked == ["asked"]


def test_what_a_server_that_is_away_would_keep_is_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow

    import patina.flows.artifacts

    @flow
    def work() -> None:
        patina.flows.artifacts.record("what was built", lambda: pytest.fail("it was made"))

    assert patina.flows.artifacts.server_answers()
    monkeypatch.setattr(patina.flows.artifacts, "server_answers", lambda: False)
    work()
