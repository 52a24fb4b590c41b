"""`patina serve`: the deployments of prefect.yaml, served from one process, with a local server if none is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

LOCAL = "http://127.0.0.1:4200/api"


def serve_deployments(limit: int) -> None:
    """Serve until interrupted: with the server of PREFECT_API_URL, else one on this machine, started if need be.

    Raises OSError if a server that was named, or one that was started, does not answer.
    """
    with _server() as url:
        os.environ["PREFECT_API_URL"] = url
        from prefect import serve
        from prefect.deployments.runner import RunnerDeployment

        from flows.build_dataset import build_dataset

        print(f"server   {url}   (its pages: {url.removesuffix('/api')})")
        print(f"in another terminal:  export PREFECT_API_URL={url}")
        print("then:  prefect deployment run build-dataset/build-dataset --param recipe=… --param out=… --watch")
        deployment = build_dataset.to_deployment(name="build-dataset", tags=["patina"])
        assert isinstance(deployment, RunnerDeployment), "outside an event loop it is no coroutine"
        serve(deployment, limit=limit)


@contextmanager
def _server() -> Iterator[str]:
    """The API of a server that answers."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        if not _answers(named):
            raise OSError(f"PREFECT_API_URL is {named}, and nothing answers there; start `prefect server start`")
        yield named
        return
    if _answers(LOCAL):
        yield LOCAL
        return
    process = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"])
    try:
        deadline = time.monotonic() + 120
        while not _answers(LOCAL):
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"the local Prefect server did not start (exit code {process.poll()})")
            time.sleep(0.5)
        yield LOCAL
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
