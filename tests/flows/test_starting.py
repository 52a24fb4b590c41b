"""`patina run`: paths as a worker elsewhere needs them, and errors in words before there is a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from patina.flows.deployments import OFFERS
from patina.flows.errors import RunError, ServerAwayError
from patina.flows.starting import as_seen_from_anywhere, start


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
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert as_seen_from_anywhere({"out": "~/OUT", "dataset": "OUT@3"}) == {
        "out": str(tmp_path / "home" / "OUT"),
        "dataset": str(tmp_path / "OUT@3"),
    }
    trained = as_seen_from_anywhere({"plan": "tiny", "run": "RUN"})
    assert trained == {"plan": "tiny", "run": str(tmp_path / "RUN")}


def test_no_server_and_one_that_is_away_are_errors_in_words() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(RunError, match="no server is named; start one"),
    ):
        start("build-dataset", [])
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ServerAwayError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"),
    ):
        start("build-dataset", [])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("prefect_api")
def test_a_deployment_and_parameters_that_are_not_there_are_named_before_there_is_a_run(tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    assert PREFECT_API_URL.value()
    with pytest.raises(RunError, match=r"the server has no deployment 'build-dataste'"):
        start("build-dataste", [])
    for offer in OFFERS:
        if offer.name in ("build-dataset", "train-irsde"):
            offer.deployment().apply()

    def runs() -> int:
        with get_client(sync_client=True) as client:
            return len(client.read_flow_runs())

    before = runs()
    with pytest.raises(RunError, match=r"no deployment 'build-dataste'; did you mean 'build-dataset'\?"):
        start("build-dataste", [])
    with pytest.raises(RunError, match=r"no deployment 'train-stages/train-irdse'; did you mean 'train-irsde'\?"):
        start("train-stages/train-irdse", [])
    with pytest.raises(RunError, match=r"build-dataset has no parameter 'recipes'; did you mean 'recipe'\?"):
        start("build-dataset", ["recipes=demo", "out=OUT"])
    with pytest.raises(RunError, match=r"build-dataset needs out: -p out=…"):
        start("build-dataset/build-dataset", ["recipe=demo"])
    with pytest.raises(RunError, match=r"strict = 'perhaps'; expected true or false"):
        start("build-dataset", ["recipe=demo", "out=OUT", "strict=perhaps"])
    assert runs() == before
    started = start("build-dataset", ["recipe=demo", f"out={tmp_path / '123'}", "devices=cpu", "strict=yes"])
    assert started.parameters == {
        "recipe": "demo",
        "out": str(tmp_path / "123"),
        "devices": ["cpu"],
        "strict": True,
    }
    assert start("train-irsde", ["dataset=OUT", "run=RUN"]).parameters["stages"] == ["irsde"]
