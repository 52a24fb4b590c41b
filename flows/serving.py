"""`patina serve`: the deployments of prefect.yaml, served from one process, with a local server if none is there."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from patina.children import environment, python

if TYPE_CHECKING:
    from patina.flows.deployments import Watching

LOCAL_API_URL = "http://127.0.0.1:4200/api"

LEASES_ON_DISK = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}
"""Leases outlive the server. In its memory, where they are by default, a slot held at a restart stays taken."""


def serve_deployments(limit: int, watching: Watching | None = None) -> None:
    """Serve until interrupted: with the server of PREFECT_API_URL, else one on this machine, started if need be.

    The server gets the concurrency limit `gpu` and patina's automations, where it has none. `watching`: a dataset to
    look after meanwhile. Raises OSError if a server that was named, or one that was started, does not answer.
    """
    with _server() as url:
        os.environ["PREFECT_API_URL"] = url
        from prefect import serve

        from patina.flows.deployments import create_automations, deployments
        from patina.flows.gpu import GPU, create_limit

        print(f"server   {url}   (its pages: {url.removesuffix('/api')})")
        if create_limit():
            print(f"created  the concurrency limit {GPU}: builds and trainings that have a model on a GPU at a time, 1")
        for name in create_automations():
            print(f"created  the automation {name}")
        print(f"in another terminal:  export PREFECT_API_URL={url}")
        print("then:  prefect deployment run build-dataset/build-dataset --param recipe=… --param out=… --watch")
        if watching:
            print(f"watched  {watching.recipe} for {watching.out}, every {watching.every:g} s")
        serve(*deployments(watching), limit=limit)


@contextmanager
def _server() -> Iterator[str]:
    """The API of a server that answers."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        if not _answers(named):
            raise OSError(f"PREFECT_API_URL is {named}, and nothing answers there; start `prefect server start`")
        yield named
        return
    if _answers(LOCAL_API_URL):
        yield LOCAL_API_URL
        return
    command = [*python(), "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, env={**LEASES_ON_DISK, **environment()})
    try:
        deadline = time.monotonic() + 120
        while not _answers(LOCAL_API_URL):
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"the local Prefect server did not start (exit code {process.poll()})")
            time.sleep(0.5)
        yield LOCAL_API_URL
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
