"""The deployments against a real server on this machine: `prefect deploy` with a worker, `patina serve`, what starts a
build by itself, and what becomes of a build whose process or whose server is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from patina.pipeline.format.layout import PRIVATE, SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.report.check import check
from tests.captioning import tiny_models
from tests.pipeline.making import photo, photos

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
PATINA = [sys.executable, "-m", "patina"]


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts; interrupted as a terminal would, killed if that does not help."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # a child of a shell's background job ignores SIGINT, and Prefect's worker ends by sending it to itself
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(condition: Callable[[], bool], what: str, log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.3)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=2).status == 200
    except OSError:
        return False


@pytest.fixture
def environment(tmp_path: Path, prefect_database: Path) -> Iterator[dict[str, str]]:
    """A server of its own on a free port, and the environment that points to it."""
    environment = environment_of(tmp_path, prefect_database)
    with server(environment, tmp_path / "server.log"):
        yield environment


def environment_of(folder: Path, database: Path) -> dict[str, str]:
    """What points to a server on a free port, whose database lies in `folder`, and is a copy of that one at first."""
    (folder / "prefect").mkdir(exist_ok=True)
    if not (folder / "prefect" / "prefect.db").exists():
        shutil.copy(database, folder / "prefect" / "prefect.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def server(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server that an environment points to."""
    url = environment["PREFECT_API_URL"]
    port = url.removesuffix("/api").rpartition(":")[2]
    command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    with running(command, environment, log) as process:
        wait_for(lambda: answers(url), "the server's answer", log)
        yield process


def prefect(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run([*PREFECT, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def patina(environment: dict[str, str], *words: object, expected: int = 0) -> str:
    command = [*PATINA, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask(environment: dict[str, str], path: str, **body: object) -> list[dict[str, Any]]:
    """What the server says to a filter."""
    request = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=90) as reply:
        found = json.load(reply)
    listed: list[dict[str, Any]] = found["events"] if isinstance(found, dict) else found
    return listed


def events(environment: dict[str, str], name: str) -> list[dict[str, Any]]:
    """The events of that name, or whose name begins so, newest first."""
    return ask(environment, "events/filter", filter={"event": {"prefix": [name]}}, limit=50)


def told(environment: dict[str, str], name: str, count: int, log: Path) -> list[dict[str, Any]]:
    """The events of that name, newest first, when the server has taken in `count` of them."""
    wait_for(lambda: len(events(environment, name)) >= count, f"{count} {name}", log)
    return events(environment, name)


def runs(environment: dict[str, str], flow: str) -> dict[str, str]:
    """The states of a flow's runs, by their names."""
    found = ask(environment, "flow_runs/filter", flows={"name": {"any_": [flow]}})
    return {str(run["name"]): str(run["state_name"]) for run in found}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A recipe whose build takes some seconds on one core, long enough to be killed in the middle."""
    photos(tmp_path / "photos", 40, 512, 384)
    path = tmp_path / "large.toml"
    words = ("noisy", "rainy", "snowy", "motion-blurry")
    path.write_text("buckets = 8\n[[sources]]\npath = 'photos'\n" + "".join(f"[degradations.{w}]\n" for w in words))
    return path


def staged(out: Path) -> dict[int, str]:
    """Shards that are finished, as their index says, and wait in the staging folder, by inode: a rename keeps it."""
    indices = (out / PRIVATE / "staging").glob("*.tar.????????????????.json")
    return {path.with_suffix("").stat().st_ino: path.name for path in indices}


def flow_process(worker: int) -> int:
    """The process in which a worker runs a flow."""
    lines = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    (child,) = [int(line.split()[0]) for line in lines.splitlines() if int(line.split()[1]) == worker]
    return child


def test_every_flow_by_its_short_name_on_a_worker(environment: dict[str, str], recipe: Path, tmp_path: Path) -> None:
    prefect(environment, "--no-prompt", "work-pool", "create", "local", "--type", "process")
    prefect(environment, "--no-prompt", "deploy", "--all")
    out, log = tmp_path / "out", tmp_path / "worker.log"
    with running([*PREFECT, "worker", "start", "--pool", "local"], environment, log):
        parameters = ["--param", f"recipe={recipe}", "--param", f"out={out}"]
        said = prefect(environment, "deployment", "run", "build-dataset/build-dataset", *parameters, "--watch")
        assert "finished successfully" in said.lower() or "Completed" in said
        manifest = load_manifest(out)
        assert manifest is not None
        assert sum(shard.count for shard in manifest.shards) == 8
        words = ["-p", f"dataset={out}", "-p", "replay_all=true", "--watch"]
        assert "state    Completed" in patina(environment, "run", "check-dataset", *words)
        export = ["-p", f"dataset={out}", "-p", "to=vlunet", "-p", f"out={tmp_path / 'export'}"]
        patina(environment, "run", "export-dataset", *export, "--watch")
        assert (tmp_path / "export").is_dir()
        (out / SHARDS / "train-0000-noisy.tar").unlink()
        said = patina(environment, "run", "check-dataset", "-p", f"dataset={out}", "--watch", expected=1)
        assert "train-0000-noisy.tar: is missing" in said
    said = patina(environment, "run", "build-dataset", "-p", "workers=-1", expected=1)
    assert "workers" in said
    assert "minimum of 0" in said
    assert "did you mean 'build-dataset'" in patina(environment, "run", "build-dataste", expected=1)


def test_a_change_of_the_sources_is_told_and_built(environment: dict[str, str], recipe: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "serve.log"
    patina(environment, "build", recipe, "--out", out)
    (first,) = told(environment, "patina.dataset.published", 1, tmp_path / "server.log")
    often = ["--every", "20", "--quiet", "1"]  # a look takes some seconds of CPU time: more often, they would pile up
    serve = [*PATINA, "serve", "--watch", str(recipe), "--out", str(out), *often]
    with running(serve, environment, log):
        wait_for(lambda: "Completed" in runs(environment, "watch-sources").values(), "an idle look", log)
        assert events(environment, "patina.sources.") == []
        photo(tmp_path / "photos" / "new.png", seed=30)
        wait_for(lambda: len(events(environment, "patina.dataset.published")) == 2, "the rebuild", log, 300)
        looks = len(runs(environment, "watch-sources"))
        wait_for(lambda: len(ask(environment, "flow_runs/filter")) > looks + 3, "another look or two", log)
        parameters = ["--param", f"recipe={recipe}", "--param", f"out={tmp_path / 'by-serve'}"]
        prefect(environment, "deployment", "run", "build-dataset/build-dataset", *parameters, "--watch")
    assert load_manifest(tmp_path / "by-serve") is not None, "a serve takes runs that somebody asks for too"
    manifest = load_manifest(out)
    assert manifest is not None
    assert sum(shard.count for shard in manifest.shards) == 10
    (change,) = events(environment, "patina.sources.")
    assert change["payload"]["recipe"] == str(recipe)
    published = events(environment, "patina.dataset.published")
    second, _ = (event for event in published if event["payload"]["out"] == str(out))
    assert second["payload"]["manifest"] == manifest.digest
    assert first["payload"]["manifest"] != manifest.digest
    assert len(told(environment, "prefect.asset.materialization.succeeded", 3, log)) == 3
    assert list(runs(environment, "build-dataset").values()).count("Completed") == len(
        runs(environment, "build-dataset")
    )


def test_two_builds_have_one_model_at_a_time(environment: dict[str, str], tmp_path: Path) -> None:
    prefect(environment, "gcl", "create", "gpu", "--limit", "1")
    photos(tmp_path / "photos", 12)
    tiny_models.blip(tmp_path / "model")
    recipe = tmp_path / "blip.toml"
    recipe.write_text(
        "[[sources]]\npath = 'photos'\n[degradations.noisy]\n"
        "[captions]\nkind = 'blip'\nmodel = './model'\nmax_new_tokens = 6\nfilter = {max_repeats = 0}\n"
    )
    commands = [[*PATINA, "build", str(recipe), "--out", str(tmp_path / name)] for name in ("one", "two")]
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with running(commands[0], environment, logs[0]) as one, running(commands[1], environment, logs[1]) as two:
        for process, log in ((one, logs[0]), (two, logs[1])):
            assert process.wait(120) == 0, log.read_text()[-3000:]
    acquired, released = (
        sorted(str(event["occurred"]) for event in told(environment, f"prefect.concurrency-limit.{what}", 2, logs[0]))
        for what in ("acquired", "released")
    )
    assert acquired[0] < released[0] <= acquired[1] < released[1]
    for name in ("one", "two"):
        assert load_manifest(tmp_path / name) is not None


def test_a_killed_build_is_found_and_the_next_one_continues(
    environment: dict[str, str], large: Path, tmp_path: Path
) -> None:
    """One on a worker, whose worker tells; and one of `patina build`, whose heartbeats stop."""
    declared = yaml.safe_load((ROOT / "flows" / "automations.yaml").read_text("utf-8"))
    declared["automations"][0]["trigger"]["within"] = 61  # of heartbeats every 30 s, so as not to wait for minutes
    (tmp_path / "automations.yaml").write_text(yaml.safe_dump(declared))
    prefect(environment, "automation", "create", "--from-file", str(tmp_path / "automations.yaml"))
    alone = tmp_path / "alone"
    command = [*PATINA, "build", str(large), "--out", str(alone), "--workers", "1"]
    with running(command, environment, tmp_path / "alone.log") as process:
        wait_for(lambda: len(staged(alone)) >= 3, "three shards", tmp_path / "alone.log")
        process.kill()

    prefect(environment, "--no-prompt", "work-pool", "create", "local", "--type", "process")
    prefect(environment, "--no-prompt", "deploy", "--all")
    out, log = tmp_path / "out", tmp_path / "worker.log"
    words = ["run", "build-dataset", "-p", f"recipe={large}", "-p", f"out={out}", "-p", "workers=1"]
    with running([*PREFECT, "worker", "start", "--pool", "local"], environment, log) as worker:
        patina(environment, *words)
        wait_for(lambda: len(staged(out)) >= 3, "three shards", log)
        os.kill(flow_process(worker.pid), signal.SIGKILL)
        name = f"build large into {out.name}"
        wait_for(lambda: runs(environment, "build-dataset")[name] == "Crashed", "the crash", log)
        before = staged(out)
        assert load_manifest(out) is None
        patina(environment, *words, "--watch")
    built = {path.stat().st_ino for path in (out / SHARDS).glob("*.tar")}
    assert before.keys() <= built, "what was finished is not made again"
    assert check(out).ok

    zombie = f"build large into {alone.name}"
    wait_for(lambda: runs(environment, "build-dataset")[zombie] == "Crashed", "the zombie's end", log, 180)
    before = staged(alone)
    patina(environment, "build", large, "--out", alone)
    assert before.keys() <= {path.stat().st_ino for path in (alone / SHARDS).glob("*.tar")}
    assert load_manifest(alone).digest == load_manifest(out).digest  # type: ignore[union-attr]


def test_a_server_that_goes_away_in_the_middle_loses_nothing(
    large: Path, prefect_database: Path, tmp_path: Path
) -> None:
    environment = environment_of(tmp_path, prefect_database)
    environment["PREFECT_CLIENT_MAX_RETRIES"] = "1"  # five take a minute for each call
    out, log = tmp_path / "out", tmp_path / "build.log"
    command = [*PATINA, "build", str(large), "--out", str(out), "--workers", "1"]
    with server(environment, tmp_path / "server.log") as first, running(command, environment, log) as build:
        wait_for(lambda: len(staged(out)) >= 3, "three shards", log)
        first.kill()
        build.wait(240)
    assert "does not answer" in log.read_text()
    assert "Traceback" not in log.read_text().partition("error  ")[2]
    assert load_manifest(out) is not None, "the work itself needs no server"
    assert check(out).ok
    again = environment_of(tmp_path, prefect_database)
    with server(again, tmp_path / "server.log"):
        code = "import sys; from patina.flows.build_dataset import build_dataset as b; b(*sys.argv[1:3], workers=1)"
        subprocess.run([sys.executable, "-c", code, str(large), str(out)], env=again, cwd=ROOT, check=True)
        (event,) = told(again, "patina.dataset.published", 1, tmp_path / "server.log")
        manifest = load_manifest(out)
        assert manifest is not None
        assert event["payload"]["manifest"] == manifest.digest, "what could not be told then is told now"
