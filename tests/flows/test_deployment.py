"""The deployment against a real server on this machine: `prefect deploy` with a worker, and `patina serve`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.manifest import load_manifest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
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
        yield
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
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server of its own on a free port, and the environment that points to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PYTHONPATH": str(ROOT),
    }
    server = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(server, environment, tmp_path / "server.log"):
        wait_for(lambda: answers(url), "the server's answer", tmp_path / "server.log")
        yield environment


def prefect(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run([*PREFECT, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_deploy_and_a_worker(environment: dict[str, str], recipe: Path, tmp_path: Path) -> None:
    prefect(environment, "--no-prompt", "work-pool", "create", "local", "--type", "process")
    prefect(environment, "--no-prompt", "deploy", "--all")
    with running([*PREFECT, "worker", "start", "--pool", "local"], environment, tmp_path / "worker.log"):
        out = tmp_path / "by-worker"
        parameters = ["--param", f"recipe={recipe}", "--param", f"out={out}"]
        said = prefect(environment, "deployment", "run", "build-dataset/build-dataset", *parameters, "--watch")
        assert "finished successfully" in said.lower() or "Completed" in said
    manifest = load_manifest(out)
    assert manifest is not None
    assert sum(shard.count for shard in manifest.shards) == 8


def test_serve(environment: dict[str, str], recipe: Path, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    serve = [sys.executable, "-c", "from flows.cli import main; main()", "serve"]
    with running(serve, environment, log):
        wait_for(lambda: "build-dataset" in prefect(environment, "deployment", "ls"), "the deployment", log)
        out = tmp_path / "by-serve"
        parameters = ["--param", f"recipe={recipe}", "--param", f"out={out}"]
        prefect(environment, "deployment", "run", "build-dataset/build-dataset", *parameters, "--watch")
    assert load_manifest(out) is not None
