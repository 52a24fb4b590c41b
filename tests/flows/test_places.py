"""Places in flow runs: short in names, told where they are relative."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from patina.flows.deployments import OFFERS
from patina.flows.places import LONGEST_NAME, is_relative, named, short


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/home/me/sets/mine.toml", "mine"),
        ("mine.toml", "mine"),
        ("universal", "universal"),
        ("/data/OUT", "OUT"),
        ("/data/OUT/", "OUT"),
        ("OUT@previous", "OUT@previous"),
        ("s3://name:secret@bucket/sets/OUT", "OUT"),
        ("https://host/OUT?signature=secret", "OUT"),
        ("/data/two\nlines", "two lines"),
        ("", ""),
        ("/", "/"),
    ],
)
def test_a_place_is_told_by_its_last_name(place: str, expected: str) -> None:
    assert short(place) == expected


def test_names_of_runs_are_short_and_tell_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"recipe": "/a/very/long/way/to/mine.toml", "out": "s3://name:secret@bucket/OUT"}
    monkeypatch.setattr("patina.flows.places.flow_run", SimpleNamespace(parameters=given))
    assert named("build {recipe} into {out}")() == "build mine into OUT"
    given["out"] = "/x/" + "y" * 500
    assert len(named("build {out}")()) <= LONGEST_NAME + len("build ") + 1


@pytest.mark.parametrize("offer", OFFERS, ids=[offer.name for offer in OFFERS])
def test_every_flow_names_its_runs_so(offer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = offer.flow  # type: ignore[attr-defined]
    paths = {name: f"/somewhere/{name}s" for name in flow.parameters.properties}
    monkeypatch.setattr("patina.flows.places.flow_run", SimpleNamespace(parameters=paths))
    name = flow.flow_run_name()
    assert "/" not in name
    assert "s" in name.partition(" ")[2]


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("out", "OUT", True),
        ("out", "./OUT", True),
        ("out", "/OUT", False),
        ("out", "s3://bucket/OUT", False),
        ("out", "", False),
        ("recipe", "demo", False),
        ("recipe", "mine.toml", True),
        ("recipe", "there", True),
        ("plan", "tiny", False),
        ("dataset", "tiny", True),
    ],
)
def test_relative_paths_are_told_from_names(
    name: str, place: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("")
    assert is_relative(name, place) is expected
