"""Who takes the runs of deployments: the workers of a work pool, or a `patina serve`. Never both: each would take runs
of the other, and the second to come is refused, or takes over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from patina.flows.errors import RunError
from patina.pipeline.text import counted

POLLED = timedelta(seconds=45)
"""Who takes runs asks for them every 10 to 15 s; one that asked longer ago has ended."""


def expect_free(client: SyncPrefectClient, found: Iterable[DeploymentResponse], pool: str) -> None:
    """Raise RunError if somebody else takes the runs of these deployments than the workers of `pool`; empty: than a
    `patina serve`."""
    there = list(found)
    others = sorted({one.work_pool_name for one in there if one.work_pool_name} - {pool})
    if others:
        online = sum(len(online_workers(client, name)) for name in others)
        state = f"{counted(online, 'worker')} online" if online else "no worker online"
        means = f"move them to the pool {pool!r}" if pool else "serve them from here"
        raise RunError(
            f"the deployments are on the work pool {', '.join(map(repr, others))} ({state}), and two would take each "
            f"run; leave them to its worker, `prefect worker start --pool {others[0]}`, or {means} with --take-over"
        )
    if pool and any(is_served(one) for one in there):
        raise RunError(
            "a `patina serve` takes the runs of these deployments, and a worker would take them too; end it (one that "
            f"was killed counts for {POLLED.total_seconds():.0f} s), or give them to the worker with --take-over, at "
            "which it ends by itself"
        )


def is_served(found: DeploymentResponse) -> bool:
    """Whether a `patina serve` asked for runs of it a moment ago, and has not paused it at its end."""
    if found.work_pool_name or found.paused or not found.last_polled:
        return False
    return bool(datetime.now(UTC) - found.last_polled < POLLED)


def is_taken(client: SyncPrefectClient, found: DeploymentResponse) -> bool:
    """Whether somebody takes the runs of a deployment now."""
    return bool(online_workers(client, found.work_pool_name)) if found.work_pool_name else is_served(found)


def online_workers(client: SyncPrefectClient, pool: str) -> list[str]:
    """Names of the workers of a pool that told of themselves of late."""
    online = WorkerFilter(status=WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
    try:
        return [worker.name for worker in client.read_workers_for_work_pool(pool, online)]
    except ObjectNotFound:
        return []


def create_pool(client: SyncPrefectClient, pool: str) -> bool:
    """Create the work pool, for processes of a worker's machine, unless there is one of that name; gives whether."""
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
        return True
    return False
