"""What is told when a dataset is published: once for each manifest, its changed splits as assets, nothing when idle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.recipe.parse import load_recipe
from tests.pipeline.making import photo

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]


class Sent:
    """The events of flow runs in this process, as Prefect would send them."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def take(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Name, resource and payload of what patina and its assets sent since the last time, in order."""
        from prefect.events.clients import AssertingEventsClient
        from prefect.events.worker import EventsWorker

        EventsWorker.drain_all(at_exit=False)
        every = [event for client in AssertingEventsClient.all for event in client.events]
        AssertingEventsClient.reset()
        ours = sorted((e for e in every if e.event.startswith(("patina.", "prefect.asset."))), key=lambda e: e.occurred)
        return [(event.event, event.resource.id, dict(event.payload)) for event in ours]


@pytest.fixture
def sent() -> Iterator[Sent]:
    from prefect.events.clients import AssertingEventsClient
    from prefect.events.worker import EventsWorker

    EventsWorker.set_client_override(AssertingEventsClient)
    AssertingEventsClient.reset()
    yield Sent()
    EventsWorker.set_client_override(None)


def run(recipe: Path, out: Path) -> Manifest:
    from patina.flows.build_dataset import build_dataset

    manifest: Manifest = build_dataset(str(recipe), str(out), workers=1).manifest
    return manifest


def test_a_published_manifest_is_told_once_and_an_idle_build_tells_nothing(
    recipe: Path, tmp_path: Path, sent: Sent
) -> None:
    out = tmp_path / "out"
    manifest = run(recipe, out)
    (asset, told) = sent.take()
    assert asset == (
        "prefect.asset.materialization.succeeded",
        f"patina:/{out}/train",
        {
            "manifest": manifest.digest,
            "digest": manifest.digest,  # all shards are of this split
            "samples": 8,
            "shards": 4,
            "bytes": sum(shard.bytes for shard in manifest.shards),
            "degradations": {"jpeg-compressed": 4, "noisy": 4},
        },
    )
    name, resource, payload = told
    assert (name, resource) == ("patina.dataset.published", f"patina.dataset.{out}")
    assert payload["manifest"] == manifest.digest
    assert payload["out"] == str(out)
    assert payload["changed"] == [shard.name for shard in manifest.shards]
    assert payload["splits"] == {"train": 8}
    run(recipe, out)
    assert sent.take() == []


def test_only_splits_and_shards_that_changed_are_named(recipe: Path, tmp_path: Path, sent: Sent) -> None:
    for i in range(2):
        photo(tmp_path / "more" / f"{i}.png", seed=40 + i)
    recipe.write_text(recipe.read_text() + "[[sources]]\npath = 'more'\nsplit = 'val'\n")
    run(recipe, tmp_path / "out")
    assert [event[1].rpartition("/")[2] for event in sent.take()[:2]] == ["train", "val"]
    photo(tmp_path / "more" / "new.png", seed=50)
    run(recipe, tmp_path / "out")
    asset, told = sent.take()
    assert asset[1].endswith("/val")
    assert {name.partition("-")[0] for name in told[2]["changed"]} == {"val"}


def test_what_was_published_and_not_told_is_told_by_the_next_run(recipe: Path, tmp_path: Path, sent: Sent) -> None:
    build(load_recipe(recipe), tmp_path / "out")  # as a run does that is killed before it can tell
    run(recipe, tmp_path / "out")
    assert [event[0] for event in sent.take()] == [
        "prefect.asset.materialization.succeeded",
        "patina.dataset.published",
    ]


def test_a_server_that_is_away_is_told_later(
    recipe: Path, tmp_path: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    import patina.flows.events

    monkeypatch.setattr(patina.flows.events, "server_answers", lambda: False)
    run(recipe, tmp_path / "out")
    assert sent.take() == []
    monkeypatch.undo()
    run(recipe, tmp_path / "out")
    assert len(sent.take()) == 2


def test_a_dataset_with_findings_is_not_told_of(
    recipe: Path, tmp_path: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    import patina.flows.building
    from patina.flows.errors import FindingsError
    from patina.pipeline.report.check import Checked, Finding

    bad = Checked(4, 8, 0, (Finding("train-0000-noisy.tar", "is missing"),), ())
    monkeypatch.setattr(patina.flows.building, "check", lambda *args, **more: bad)
    with pytest.raises(FindingsError, match=r"1 finding: train-0000-noisy\.tar: is missing"):
        run(recipe, tmp_path / "out")
    assert sent.take() == []


def test_a_damaged_note_of_what_was_told_is_as_none(recipe: Path, tmp_path: Path, sent: Sent) -> None:
    run(recipe, tmp_path / "out")
    sent.take()
    for text in ("", "[]", '{"digest": 3}', json.dumps({"digest": "x", "splits": []})):
        (tmp_path / "out" / PRIVATE / "announced.json").write_text(text)
        run(recipe, tmp_path / "out")
        assert len(sent.take()) == 2, text
    assert load_manifest(tmp_path / "out") is not None


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("/data/sets/demo", "patina://data/sets/demo/train"),
        ("s3://bucket/name", "s3://bucket/name/train"),
        ("/my data/100% {real} #1", "patina://my_data/100___real___1/train"),
    ],
)
def test_an_assets_key_names_the_dataset_as_prefect_takes_it(place: str, key: str) -> None:
    from prefect.assets import Asset

    from patina.flows.events import asset_key

    assert asset_key(place, "train") == key
    assert Asset(key=key).key == key


def test_an_assets_key_is_never_too_long_and_keeps_datasets_apart() -> None:
    from prefect.assets import Asset

    from patina.flows.events import asset_key

    keys = {asset_key(f"/{letter * 600}/same/name", "val") for letter in "ab"}
    assert len(keys) == 2
    for key in keys:
        assert Asset(key=key).key.endswith("/same/name/val")
