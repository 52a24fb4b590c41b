"""Task runs that no worker holds any more end with the flow run that they were of, and no others."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]


def task_run(flow_state: Any, task_state: Any) -> UUID:
    """A task run in that state, of a flow run in that one."""
    from prefect import flow, task
    from prefect.client.orchestration import get_client

    @flow
    def build() -> None: ...

    @task
    def batch() -> None: ...

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(build, state=flow_state)
        return client.create_task_run(batch, flow_run_id=run.id, dynamic_key="0", state=task_state).id


def state(run: UUID) -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return str(client.read_task_run(run).state_name)


def test_those_of_flow_runs_that_are_over_are_ended_and_no_others() -> None:
    from prefect.states import Completed, Crashed, Failed, Running

    from patina.flows.lost_tasks import end_lost_tasks

    lost = [task_run(over, Running()) for over in (Crashed(), Failed(), Completed())]
    held, done = task_run(Running(), Running()), task_run(Crashed(), Completed())
    end_lost_tasks()
    assert [state(run) for run in lost] == ["Crashed"] * 3
    assert (state(held), state(done)) == ("Running", "Completed")
    assert end_lost_tasks() == 0


def test_a_build_ends_those_that_it_knows_of_and_waits_not_long_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.states import Running

    from patina.flows import lost_tasks

    monkeypatch.setattr(lost_tasks, "PATIENCE", 0.5)
    run = task_run(Running(), Running())
    lost_tasks.crash_task_runs([uuid4(), run])
    assert state(run) == "Crashed"


def test_a_server_that_is_away_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from patina.flows import lost_tasks

    monkeypatch.setattr(lost_tasks, "server_answers", lambda: False)
    monkeypatch.setattr(lost_tasks, "get_client", lambda **_: pytest.fail("nobody is there to be asked"))
    lost_tasks.crash_task_runs([uuid4()])
