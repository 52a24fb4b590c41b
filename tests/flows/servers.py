"""Real servers of Prefect's, workers and commands, each a process of its own; and what a server is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
PATINA = [sys.executable, "-m", "patina"]


@contextmanager
def running(
    command: list[str], environment: dict[str, str], log: Path, folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts; interrupted as a terminal would, killed if that does not help."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
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


def wait_for(condition: Callable[[], bool], what: str, log: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.3)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=2).status == 200
    except OSError:
        return False


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
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5",  # ten times as often as it would
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",  # the copied one is as the newest wants it
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


@contextmanager
def worker(
    environment: dict[str, str], log: Path, line: str = "prefect worker start --pool local"
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the pool `local`. The server forgets it when it ends, or would take it for alive for a minute."""
    command = [*PREFECT, *line.split()[1:], "--name", log.stem]
    try:
        with running(command, environment, log) as process:
            yield process
    finally:
        with suppress(urllib.error.HTTPError):  # one that did not come to tell of itself
            request(environment, f"work_pools/local/workers/{log.stem}", "DELETE")


def prefect(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run([*PREFECT, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def patina(environment: dict[str, str], *words: object, expected: int = 0) -> str:
    command = [*PATINA, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def client_of(environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    """Prefect's own client of the server that an environment points to, which settings name meanwhile."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    settings = {PREFECT_API_URL: environment["PREFECT_API_URL"], PREFECT_HOME: Path(environment["PREFECT_HOME"])}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def request(environment: dict[str, str], path: str, method: str = "POST", **body: object) -> Any:
    """What the server says to a request; None for no words."""
    asked = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(asked, timeout=90) as reply:
        return json.loads(reply.read() or b"null")


def ask(environment: dict[str, str], path: str, **body: object) -> list[dict[str, Any]]:
    """What the server says to a filter."""
    found = request(environment, path, **body)
    listed: list[dict[str, Any]] = found["events"] if isinstance(found, dict) else found
    return listed


def events(environment: dict[str, str], name: str, since: str = "") -> list[dict[str, Any]]:
    """The events of that name, or whose name begins so, newest first; of those after a moment that `now` gave."""
    asked: dict[str, Any] = {"event": {"prefix": [name]}}
    if since:
        asked["occurred"] = {"since": since}
    return ask(environment, "events/filter", filter=asked, limit=50)


def told(environment: dict[str, str], name: str, count: int, log: Path, since: str = "") -> list[dict[str, Any]]:
    """The events of that name, newest first, when the server has taken in `count` of them."""
    wait_for(lambda: len(events(environment, name, since)) >= count, f"{count} {name}", log)
    return events(environment, name, since)


def now() -> str:
    """This moment, as a server's filter takes it."""
    return datetime.now(UTC).isoformat()


def runs(environment: dict[str, str], flow: str) -> dict[str, str]:
    """The states of a flow's runs, by their names."""
    found = ask(environment, "flow_runs/filter", flows={"name": {"any_": [flow]}})
    return {str(run["name"]): str(run["state_name"]) for run in found}


def artifact(key: str) -> str:
    """The newest artifact of a key on the server of this process: its description, and what it holds."""
    from prefect.artifacts import Artifact

    found = Artifact.get(key)
    assert found is not None, key
    return f"{found.description} {found.data}"
