"""Every command of docs/watching.md that speaks to a server, on a real one, and what the page says of it: watches, a
worker, `prefect deploy --all`, `patina deploy` and `patina serve`, and what becomes of what somebody switched.

Commands that are over at once run in this process: each of their own would take seconds to import Prefect."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter
from typer.testing import CliRunner

from patina.flows import watches
from patina.flows.cli.app import app
from patina.flows.deployments import OFFERS
from patina.flows.registering import PAUSED_BY_SERVE, register
from patina.flows.server import read_variable
from patina.flows.watch_list import Watch, Watching, listed
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest
from tests.flows.servers import (
    PATINA,
    ROOT,
    ask,
    client_of,
    events,
    now,
    patina,
    prefect,
    request,
    running,
    runs,
    told,
    wait_for,
    worker,
)
from tests.pipeline.making import photo, photos

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PAGE = (ROOT / "docs" / "watching.md").read_text("utf-8")


def test_every_command_of_the_page_is_in_a_test() -> None:
    source = Path(__file__).read_text("utf-8").partition("\n@pytest.fixture")[2]
    tested = re.findall(r'"((?:patina|prefect) [^"]+)"', source)
    lines = re.findall(r"(?m)^    (?:\$ )?((?:patina|prefect) .*?)(?: {2,}.*)?$", PAGE)
    named = [name.replace("NAME", "out") for name in re.findall(r"`((?:patina|prefect) [^`]+)`", PAGE)]
    assert len(lines) > 10 and len(named) > 20
    assert {name for name in (*lines, *named) if not any(f"{one} ".startswith(f"{name} ") for one in tested)} == {
        "patina build",  # talks to nobody: the page compares others with it, and so
        "patina plan",
    }


@pytest.fixture
def client(prefect_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    """The server's, to which this process's settings point meanwhile."""
    before = dict(os.environ)
    monkeypatch.setenv("PREFECT_API_URL", prefect_server["PREFECT_API_URL"])
    with client_of(prefect_server) as found:
        yield found
    os.environ.clear()
    os.environ.update(before)


def words(line: str) -> list[str]:
    """Those after the command."""
    return shlex.split(line)[1:]


def say(line: str, code: int = 0) -> str:
    """What a command prints, or the error that it ends with."""
    done = CliRunner().invoke(app, words(line))
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return f"{done.output}{done.exception or ''}"


def deployed(client: SyncPrefectClient, name: str) -> Any:
    return client.read_deployment_by_name(f"{name}/{name}")


def watch(name: str) -> Watch:
    return next(one for one in listed() if one.watching.name == name)


def runs_of(client: SyncPrefectClient, name: str, **parameters: str) -> list[Any]:
    """Runs of a deployment with these parameters, whatever else they have."""
    wanted = DeploymentFilter.model_validate({"name": {"any_": [name]}})
    found = client.read_flow_runs(deployment_filter=wanted, limit=200)
    return [run for run in found if parameters.items() <= run.parameters.items()]


def test_watches_on_a_worker(
    prefect_server: dict[str, str], client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, log = prefect_server, tmp_path / "one-worker.log"
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 2)
    recipe, out = tmp_path / "recipe.toml", tmp_path / "OUT"
    recipe.write_text("buckets = 1\n[[sources]]\npath = 'photos'\n[degradations.noisy]\n")
    say("patina deploy")
    later = trainings_kept_for_later(environment, deployed(client, "train-end-to-end").id)
    line = f"{recipe} for {out}, every 300 s"
    assert say("patina watch add recipe.toml --out OUT --every 300 --quiet 30").startswith(f"watched  {line}, as out\n")
    shown = PAGE.partition("    $ patina watch ls\n")[2].partition("\n\n")[0].replace("/data", str(tmp_path))
    listing = say("patina watch ls")
    assert [row.split() for row in listing.splitlines()] == [row.split() for row in shown.splitlines()]

    said = say("patina watch add recipe.toml --out OUT --train tiny" + " --every 300 --quiet 0")
    assert said.startswith(f"watched  {line}, and trained by tiny, as out\n"), "the same dataset is the same watch"
    begun = {"out": str(out)}
    with later, worker(environment, log, "prefect worker start --pool local"):
        wait_for(lambda: load_manifest(out) is not None, "the look, the event and the build", log)
        wait_for(lambda: bool(runs_of(client, "train-end-to-end", **begun)), "the training", log)
        (training,) = runs_of(client, "train-end-to-end", **begun)
        assert training.parameters.items() >= {"recipe": "", "run": f"{out}-run", "plan": "tiny"}.items()
        client.delete_flow_run(training.id)

        def looks(state: str = "Completed") -> int:
            return sum(run.state_name == state for run in runs_of(client, "watch-sources", **begun))

        wait_for(lambda: looks() == 1, "the look's end", log)
        assert "note" not in say("patina watch ls")
        assert say("patina watch off out").startswith(f"off      {line}")
        assert (watch("out").state, looks("Scheduled")) == ("off", 0)
        assert [one.enabled for one in client.read_automations_by_name("patina-train-out")] == [False]
        assert say("patina watch on out").startswith(f"watched  {line}")
        assert [one.enabled for one in client.read_automations_by_name("patina-train-out")] == [True]
        wait_for(lambda: looks() == 2, "a look at once", log)

    schedule = next(str(one.id) for one in deployed(client, "watch-sources").schedules if one.slug == "out")
    for pause in ("prefect deployment schedule pause ", "prefect deployment schedule resume "):
        prefect(environment, *words(pause), "watch-sources/watch-sources", schedule)
        listing = say("patina watch ls", code=1)
        assert "emptied by somebody; `patina watch on out` mends it" in listing
    say("patina watch on out")
    assert (watch("out").state, deployed(client, "watch-sources").schedules[0].parameters["out"]) == ("on", str(out))

    before, log = len(runs_of_build(environment)), tmp_path / "watch-run.log"
    with running([*PATINA, *words("patina watch run recipe.toml --out OUT")], environment, log, tmp_path) as here:
        photo(tmp_path / "photos" / "new.png", seed=7)
        wait_for(lambda: "built    3 samples" in log.read_text(), "the build", log)
        here.send_signal(signal.SIGINT)
        assert here.wait(60) == 130
    assert len(runs_of_build(environment)) > before, "with a server it is a flow run"
    assert say("patina watch rm out") == "removed  out\n"
    assert listed() == []


def runs_of_build(environment: dict[str, str]) -> list[Any]:
    return ask(environment, "flow_runs/filter", flows={"name": {"any_": ["build-dataset"]}}, limit=200)


@contextmanager
def trainings_kept_for_later(environment: dict[str, str], deployment: UUID) -> Iterator[None]:
    """Runs of `train-end-to-end` go to a queue that rests: that a worker trains is shown by test_prefect_page.py."""
    request(environment, "work_pools/local/queues", name="later", is_paused=True)
    request(environment, f"deployments/{deployment}", "PATCH", work_queue_name="later")
    try:
        yield
    finally:
        request(environment, f"deployments/{deployment}", "PATCH", work_queue_name="default")


def test_a_worker_and_a_serve_refuse_each_other_or_take_over(
    prefect_server: dict[str, str], client: SyncPrefectClient, recipe: Path, tmp_path: Path
) -> None:
    environment, log, worker_log = prefect_server, tmp_path / "serve.log", tmp_path / "two-worker.log"
    register("local", folder=tmp_path)
    name = watches.add(Watching(str(recipe), str(tmp_path / "OUT"), every=3600)).watching.name
    watches.switch(name, on=False)
    (rebuild,) = client.read_automations_by_name("patina-rebuild")
    client.pause_automation(rebuild.id)
    prefect(environment, "--no-prompt", *words("prefect deploy --all"))
    assert [(one.slug, one.active) for one in deployed(client, "watch-sources").schedules] == [(name, False)]
    assert [one.enabled for one in client.read_automations_by_name("patina-rebuild")] == [False]
    client.resume_automation(rebuild.id)
    watches.remove(name)
    said = patina(environment, "serve", expected=1)
    assert "the deployments are on the work pool 'local' (no worker online)" in said
    assert "serve them from here with --take-over" in said
    with worker(environment, worker_log):
        _every_flow_by_its_short_name(environment, recipe, tmp_path)  # as `prefect deploy --all` has left them
        assert len(say("patina deploy").splitlines()) == len(OFFERS) + 2, "a table, its head, and what is next"
        client.pause_deployment(deployed(client, "check-dataset").id)
        with running([*PATINA, *words("patina serve --take-over")], environment, log) as serve:
            wait_for(lambda: "then:" in log.read_text(), "the start", log)
            assert "paused   check-dataset: as somebody left them" in log.read_text()
            look = deployed(client, "build-dataset")
            assert (look.work_pool_name, look.work_queue_name) == (None, None)
            taken = worker_log.read_text().count("build-dataset")
            _a_relative_place_is_told(environment, client, look.id, log)
            assert worker_log.read_text().count("build-dataset") == taken, "the worker takes no run of the serve"
            wait_for(lambda: deployed(client, "build-dataset").last_polled is not None, "a look", log)
            assert "a `patina serve` takes the runs" in say("patina deploy", code=1)
            assert "pool" in say("patina deploy --take-over")
            assert serve.wait(60) == 1
        last = log.read_text().splitlines()[-1]
        assert last.startswith(
            "error  the deployments were given to the work pool 'local' meanwhile, so this process ends"
        )
        assert not deployed(client, "watch-sources").paused, "nothing was paused at its end: the worker has it"
        out = tmp_path / "by-worker"
        say(f"patina run build-dataset -p recipe={recipe} -p out={out} --watch")
        assert load_manifest(out) is not None


def _every_flow_by_its_short_name(environment: dict[str, str], recipe: Path, folder: Path) -> None:
    """On the worker that there is."""
    out = folder / "dataset"
    parameters = ["--param", f"recipe={recipe}", "--param", f"out={out}"]
    run = "prefect deployment run build-dataset/build-dataset --watch"
    assert "Completed" in prefect(environment, *words(run), *parameters)
    manifest = load_manifest(out)
    assert manifest is not None
    assert sum(shard.count for shard in manifest.shards) == 8
    said = say(f"patina run check-dataset -p dataset={out} -p replay_all=true --watch")
    assert "state    Completed" in said
    say(f"patina run export-dataset -p dataset={out} -p to=vlunet -p out={folder / 'export'} --watch")
    assert (folder / "export").is_dir()
    (out / SHARDS / "train-0000-noisy.tar").unlink()
    said = say(f"patina run check-dataset -p dataset={out} --watch", code=1)
    assert "train-0000-noisy.tar: is missing" in said
    said = say("patina run build-dataset -p workers=-1", code=1)
    assert "workers" in said and "minimum of 0" in said
    assert "did you mean 'build-dataset'" in say("patina run build-dataste", code=1)


def _a_relative_place_is_told(
    environment: dict[str, str], client: SyncPrefectClient, deployment: UUID, log: Path
) -> None:
    """A run that somebody asked for with relative paths: where they were taken to be is in its log, or in its error."""
    asked = client.create_flow_run_from_deployment(
        deployment, parameters={"recipe": "nowhere/mine.toml", "out": "/data/OUT"}
    )

    def ended() -> Any:
        return client.read_flow_run(asked.id)

    wait_for(lambda: bool(ended().state.is_final()), "its end", log)
    assert f"nowhere/mine.toml: cannot be read: No such file or directory; looked for it in {ROOT}" in str(
        ended().state.message
    )
    assert ended().name == "build mine into OUT", "the names alone of recipe and dataset"

    def messages() -> list[str]:
        lines = ask(environment, "logs/filter", logs={"flow_run_id": {"any_": [str(asked.id)]}})
        return [str(line["message"]) for line in lines]

    tells = f"recipe = 'nowhere/mine.toml' is relative, and is taken to be {ROOT / 'nowhere/mine.toml'}"
    wait_for(lambda: any(tells in message for message in messages()), "the warning", log)
    assert not any("out = " in message for message in messages())


def test_a_serve_rebuilds_what_changes_and_pauses_what_it_served_at_its_end(
    prefect_server: dict[str, str], client: SyncPrefectClient, recipe: Path, tmp_path: Path
) -> None:
    environment, begun, log, out = prefect_server, now(), tmp_path / "serve.log", tmp_path / "served"
    register("local", take_over=True, folder=tmp_path)
    client.pause_deployment(deployed(client, "check-dataset").id)
    often = ["--every", "40", "--quiet", "1"]  # a look takes some seconds of CPU time: more often, they would pile up
    serve = "patina serve --watch recipe.toml --out OUT".replace("recipe.toml", str(recipe)).replace("OUT", str(out))
    with running([*PATINA, *words(serve), "--take-over", *often], environment, log):
        wait_for(lambda: len(events(environment, "patina.dataset.published", begun)) == 1, "the first build", log)

        def looks() -> int:
            return sum(run.state.is_completed() for run in runs_of(client, "watch-sources", out=str(out)))

        before = looks()
        say("patina watch on served")
        wait_for(lambda: looks() > before, "an idle look", log)
        assert len(events(environment, "patina.sources.", begun)) == 1
        photo(tmp_path / "photos" / "new.png", seed=30)  # which the next look of the schedule sees
        wait_for(lambda: len(events(environment, "patina.dataset.published", begun)) == 2, "the rebuild", log)
        by_serve = tmp_path / "by-serve"
        say(f"patina run build-dataset -p recipe={recipe} -p out={by_serve} --watch")
        assert load_manifest(by_serve) is not None, "a serve takes runs that somebody asks for too"
    manifest = load_manifest(out)
    assert manifest is not None
    assert sum(shard.count for shard in manifest.shards) == 10
    change, first_change = events(environment, "patina.sources.", begun)
    assert change["payload"]["recipe"] == first_change["payload"]["recipe"] == str(recipe)
    published = told(environment, "patina.dataset.published", 3, log, begun)
    second, first = (event for event in published if event["payload"]["out"] == str(out))
    assert second["payload"]["manifest"] == manifest.digest != first["payload"]["manifest"]
    assets = told(environment, "prefect.asset.materialization.succeeded", 3, log, begun)
    assert len(assets) == 3
    assert {run.state_name for run in runs_of(client, "build-dataset", out=str(out))} == {"Completed"}
    assert "watch recipe for served" in runs(environment, "watch-sources")

    paused = set(read_variable(client, PAUSED_BY_SERVE))
    assert "watch-sources" in paused and "check-dataset" not in paused
    assert all(deployed(client, name).paused for name in ("watch-sources", "build-dataset", "check-dataset"))
    assert watch("served").notes[0] == "`patina serve` has ended, and looks rest until it is started again"
    rows = {one.name: one for one in register("")}
    assert [name for name, one in rows.items() if one.paused] == ["check-dataset"]
    assert read_variable(client, PAUSED_BY_SERVE) is None
    assert watch("served").state == "on"
    watches.remove("served")
    client.resume_deployment(deployed(client, "check-dataset").id)
