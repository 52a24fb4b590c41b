"""`patina serve`: the deployments of prefect.yaml, served from one process, with a local server if none is there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast
from uuid import UUID

from patina.children import environment, python

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner

    from patina.flows.watch_list import Watching

LOCAL_API_URL = "http://127.0.0.1:4200/api"

LEASES_ON_DISK = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}
"""Leases outlive the server. In its memory, where they are by default, a slot held at a restart stays taken."""


LOOK_EVERY = 2.0
"""Seconds from one look at who takes the runs to the next."""


def serve_deployments(limit: int, watching: Watching | None = None, *, take_over: bool = False) -> None:
    """Serve until interrupted: with the server of PREFECT_API_URL, else one on this machine, started if need be.

    The server gets the concurrency limit `gpu` and patina's automations, where it has none. `watching`: a dataset to
    look after from now on. `take_over`: whether deployments that are on a work pool leave it.

    Raises OSError if a server that was named, or one that was started, does not answer; RunError if the deployments are
    on a work pool, and when they are deployed to one while this process serves them.
    """
    with _server() as url:
        os.environ["PREFECT_API_URL"] = url
        from prefect.runner import Runner

        from patina.flows.gpu import GPU, create_limit
        from patina.flows.registering import register
        from patina.flows.watches import add

        print(f"server   {url}   (its pages: {url.removesuffix('/api')})")
        if create_limit():
            print(f"created  the concurrency limit {GPU}: builds and trainings that have a model on a GPU at a time, 1")
        runner, ids = Runner(pause_on_shutdown=False, limit=limit), dict[str, UUID]()

        def serve_one(deployment: RunnerDeployment) -> UUID:
            ids[deployment.name] = identity = cast(UUID, runner.add_deployment(deployment))
            return identity

        rows = register("", take_over=take_over, apply=serve_one)
        print(f"serving  {', '.join(row.name for row in rows)}")
        if paused := [row.name for row in rows if row.paused]:
            print(f"paused   {', '.join(paused)}: as somebody left them; their schedules rest")
        if watching:
            print(f"watched  {add(watching).line}")
        print(f"in another terminal:  export PREFECT_API_URL={url}")
        print("then:  patina run build-dataset -p recipe=… -p out=… --watch")
        _run(runner, ids)


def _run(runner: Runner, ids: Mapping[str, UUID]) -> None:
    """Take runs until interrupted, and pause the deployments then; or until they are given to a work pool."""
    from patina.flows.errors import FlowError, RunError
    from patina.flows.registering import pause_served

    guard = _Guard(runner)
    guard.start()
    try:
        asyncio.run(runner.start())
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        if type(error).__name__ != "TerminationSignal":
            raise
    finally:
        guard.ended.set()
        try:
            if not guard.pools:  # whoever has the deployments now may not have come to all of them yet
                pause_served(ids)
        except FlowError as error:
            print(f"the deployments could not be paused: {error}")
    if guard.pools:
        raise RunError(
            f"the deployments were given to the work pool {', '.join(map(repr, guard.pools))} meanwhile, so "
            f"this process ends; `prefect worker start --pool {guard.pools[0]}` takes their runs, or "
            "`patina serve --take-over`"
        )


class _Guard(threading.Thread):
    """Ends a runner whose deployments are given to a work pool, as by `prefect deploy`: a worker would take its runs.
    What runs already ends first."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(daemon=True, name="guard")
        self.ended = threading.Event()
        self.pools: Sequence[str] = ()
        self._runner = runner

    def run(self) -> None:
        """Look, until the runner has ended."""
        from patina.flows.errors import FlowError
        from patina.flows.registering import pools
        from patina.flows.server import at_server

        while not self.pools and not self.ended.wait(LOOK_EVERY):
            with suppress(FlowError), at_server("serve") as client:  # a server that is away is the runner's own care
                self.pools = pools(client)
        poller = getattr(self._runner, "_scheduled_run_poller", None)
        if self.ended.is_set() or poller is None:
            return
        poller.stopping = True  # it asks for no more runs; the runner's own stop() would cancel those that it has
        while poller._submitting_flow_run_ids and not self.ended.wait(LOOK_EVERY):
            pass
        os.kill(os.getpid(), signal.SIGINT)


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
