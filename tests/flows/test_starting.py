"""`patina run`: parameters as they are typed, paths as a worker elsewhere needs them, and errors in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from patina.flows.errors import RunError
from patina.flows.starting import as_seen_from_anywhere, parse_parameters, start


def test_values_are_json_where_they_can_be_and_texts_otherwise() -> None:
    words = ["out=a=b", "workers=2", "strict=true", 'splits=["train"]', "recipe=demo.toml", "max_set_aside=0.5", "x="]
    assert parse_parameters(words) == {
        "out": "a=b",
        "workers": 2,
        "strict": True,
        "splits": ["train"],
        "recipe": "demo.toml",
        "max_set_aside": 0.5,
        "x": "",
    }


@pytest.mark.parametrize("word", ["workers", "=2", ""])
def test_a_parameter_without_name_or_value_is_refused(word: str) -> None:
    with pytest.raises(RunError, match="expected name=value, found"):
        parse_parameters([word])


def test_paths_become_absolute_and_addresses_and_names_of_recipes_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("")
    given = {"recipe": "universal", "out": "OUT", "dataset": "s3://bucket/name", "to": "daclip", "workers": 2}
    assert as_seen_from_anywhere(given) == {**given, "out": str(tmp_path / "OUT")}
    assert as_seen_from_anywhere({"recipe": "mine"}) == {"recipe": str(tmp_path / "mine")}
    assert as_seen_from_anywhere({"recipe": "r.toml"}) == {"recipe": str(tmp_path / "r.toml")}
    assert as_seen_from_anywhere({"recipe": "", "out": 3}) == {"recipe": "", "out": 3}
    trained = as_seen_from_anywhere({"plan": "tiny", "run": "RUN"})
    assert trained == {"plan": "tiny", "run": str(tmp_path / "RUN")}


def test_no_server_and_one_that_is_away_are_errors_in_words() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(RunError, match="no server is named; export PREFECT_API_URL"),
    ):
        start("build-dataset", {})
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(RunError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"),
    ):
        start("build-dataset", {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("prefect_api")
def test_a_deployment_that_is_not_there_is_named() -> None:
    with pytest.raises(RunError, match=r"the server has no deployment 'build-dataste'"):
        start("build-dataste", {})
