"""Task runs whose worker was killed end too: Prefect leaves them Running for ever, under a flow run that is over.

a build that lost a worker of its own ─► crash_task_runs
a flow run that crashed itself ─ the deployment's trigger ─► the flow end-lost-tasks
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.logging import get_run_logger
from prefect.states import Crashed

from patina.flows.artifacts import server_answers
from patina.flows.outliving import outlive_runner
from patina.flows.places import named

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

MESSAGE = "the worker that held it was killed; the next run makes what it had not finished"

UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)

PATIENCE, PAUSE = 3.0, 0.3
"""Seconds for which the server may not know yet of a task run, which it hears of a little later, and between two tries.
Batches that nobody had begun it will never know."""

PAGE = 200
"""Task runs that the server gives at a time, its own limit."""


@flow(name="end-lost-tasks", flow_run_name=named("end lost tasks"), persist_result=False)
def end_lost_tasks() -> int:
    """Mark the task runs as Crashed that are Running in a flow run that is over; gives how many there were."""
    outlive_runner()
    over = FlowRunFilter.model_validate({"state": {"type": {"any_": sorted(TERMINAL_STATES)}}})
    under_way = TaskRunFilter.model_validate({"state": {"type": {"any_": UNDER_WAY}}})
    count = 0
    with get_client(sync_client=True) as client:
        while found := client.read_task_runs(flow_run_filter=over, task_run_filter=under_way, limit=PAGE):
            for run in found:
                _crash(client, run.id)
            count += len(found)
    get_run_logger().info("%d task runs that no worker held any more were ended", count)
    return count


def crash_task_runs(runs: Collection[UUID]) -> None:
    """Mark task runs as Crashed, within a flow that knows that their worker died. A server that is away is let be: the
    flow above ends them later."""
    if not runs or not server_answers():
        return
    left = set(runs)
    deadline = time.monotonic() + PATIENCE
    try:
        with get_client(sync_client=True) as client:
            while left and time.monotonic() < deadline:
                left -= {run for run in left if _crash(client, run)}
                time.sleep(PAUSE if left else 0)
    except httpx.HTTPError as error:
        logging.getLogger(__name__).warning("task runs of a worker that died stay Running (%s)", error)


def _crash(client: SyncPrefectClient, run: UUID) -> bool:
    """Mark one; gives whether the server knows it."""
    try:
        client.set_task_run_state(run, Crashed(message=MESSAGE), force=True)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return False
    return True
