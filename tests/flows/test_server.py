"""A worker, `prefect deploy --all`, `patina deploy` and `patina serve` on one real server of Prefect's: who takes runs,
and what becomes of watches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from patina.flows import watches
from patina.flows.deployments import OFFERS
from patina.flows.registering import PAUSED_BY_SERVE, register
from patina.flows.server import read_variable
from patina.flows.watch_list import Watch, Watching, listed
from patina.pipeline.format.manifest import load_manifest
from tests.flows.test_deployment import (
    PATINA,
    PREFECT,
    ask,
    environment_of,
    patina,
    prefect,
    running,
    runs,
    server,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[dict[str, str]]:
    """One server for all of these tests, and this process's own settings pointing to it."""
    folder = tmp_path_factory.mktemp("server")
    made = environment_of(folder, prefect_database)
    here = {PREFECT_API_URL: made["PREFECT_API_URL"], PREFECT_HOME: Path(made["PREFECT_HOME"])}
    with server(made, folder / "server.log"), temporary_settings(here):
        register("local", folder=folder)
        yield made


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as found:
        yield found


def deployed(client: SyncPrefectClient, name: str) -> Any:
    return client.read_deployment_by_name(f"{name}/{name}")


def watch(name: str) -> Watch:
    return next(one for one in listed() if one.watching.name == name)


def test_a_worker_and_a_serve_refuse_each_other_or_take_over(
    environment: dict[str, str], client: SyncPrefectClient, recipe: Path, tmp_path: Path
) -> None:
    name = watches.add(Watching(str(recipe), str(tmp_path / "OUT"), every=3600)).watching.name
    watches.switch(name, on=False)
    (rebuild,) = client.read_automations_by_name("patina-rebuild")
    client.pause_automation(rebuild.id)
    prefect(environment, "--no-prompt", "deploy", "--all")
    assert [(one.slug, one.active) for one in deployed(client, "watch-sources").schedules] == [(name, False)]
    assert [one.enabled for one in client.read_automations_by_name("patina-rebuild")] == [False]
    client.resume_automation(rebuild.id)
    watches.remove(name)
    said = patina(environment, "serve", expected=1)
    assert "the deployments are on the work pool 'local' (no worker online)" in said
    assert "serve them from here with --take-over" in said
    assert len(patina(environment, "deploy").splitlines()) == len(OFFERS) + 2, "a table, its head, and what is next"
    client.pause_deployment(deployed(client, "check-dataset").id)
    log, worker_log = tmp_path / "serve.log", tmp_path / "worker.log"
    with (
        running([*PREFECT, "worker", "start", "--pool", "local"], environment, worker_log),
        running([*PATINA, "serve", "--take-over"], environment, log) as serve,
    ):
        wait_for(lambda: "then:" in log.read_text(), "the start", log)
        assert "paused   check-dataset: as somebody left them" in log.read_text()
        look = deployed(client, "build-dataset")
        assert (look.work_pool_name, look.work_queue_name) == (None, None)
        _a_relative_place_is_told(environment, client, look.id, recipe, log)
        assert "build-dataset" not in worker_log.read_text(), "the worker takes no run of the serve"
        wait_for(lambda: deployed(client, "build-dataset").last_polled is not None, "a look", log)
        assert "a `patina serve` takes the runs" in patina(environment, "deploy", expected=1)
        assert "pool" in patina(environment, "deploy", "--take-over")
        assert serve.wait(60) == 1
        last = log.read_text().splitlines()[-1]
        assert last.startswith(
            "error  the deployments were given to the work pool 'local' meanwhile, so this process ends"
        )
        assert not deployed(client, "watch-sources").paused, "nothing was paused at its end: the worker has it"
        out = tmp_path / "by-worker"
        patina(environment, "run", "build-dataset", "-p", f"recipe={recipe}", "-p", f"out={out}", "--watch")
        assert load_manifest(out) is not None


def _a_relative_place_is_told(
    environment: dict[str, str], client: SyncPrefectClient, deployment: UUID, recipe: Path, log: Path
) -> None:
    """A run that somebody asked for with relative paths: where they were taken to be is in its log, or in its error."""

    def ended(**parameters: object) -> Any:
        asked = client.create_flow_run_from_deployment(deployment, parameters=parameters)
        wait_for(lambda: bool(client.read_flow_run(asked.id).state.is_final()), "its end", log)
        return client.read_flow_run(asked.id)

    where = Path(__file__).parents[2]
    refused = ended(recipe="nowhere/mine.toml", out="/data/OUT")
    assert f"nowhere/mine.toml: cannot be read: No such file or directory; looked for it in {where}" in str(
        refused.state.message
    )
    assert refused.name == "build mine into OUT", "the names alone of recipe and dataset"

    def messages() -> list[str]:
        lines = ask(environment, "logs/filter", logs={"flow_run_id": {"any_": [str(refused.id)]}})
        return [str(line["message"]) for line in lines]

    told = f"recipe = 'nowhere/mine.toml' is relative, and is taken to be {where / 'nowhere/mine.toml'}"
    wait_for(lambda: any(told in message for message in messages()), "the warning", log)
    assert not any("out = " in message for message in messages())


def test_what_a_serve_paused_at_its_end_the_next_one_unpauses_and_nothing_else(
    environment: dict[str, str], client: SyncPrefectClient, recipe: Path, tmp_path: Path
) -> None:
    client.pause_deployment(deployed(client, "check-dataset").id)
    log, out = tmp_path / "serve.log", tmp_path / "served"
    add = ["--watch", str(recipe), "--out", str(out), "--every", "600", "--quiet", "0"]
    with running([*PATINA, "serve", "--take-over", *add], environment, log):
        wait_for(lambda: load_manifest(out) is not None, "the first build", log)
        assert next(iter(runs(environment, "watch-sources"))) == "watch recipe for served"
    paused = set(read_variable(client, PAUSED_BY_SERVE))
    assert "watch-sources" in paused and "check-dataset" not in paused
    assert all(deployed(client, name).paused for name in ("watch-sources", "build-dataset", "check-dataset"))
    assert watch("served").notes[0] == "`patina serve` has ended, and looks rest until it is started again"
    rows = {one.name: one for one in register("")}
    assert [name for name, one in rows.items() if one.paused] == ["check-dataset"]
    assert read_variable(client, PAUSED_BY_SERVE) is None
    assert watch("served").state == "on"
    watches.remove("served")
