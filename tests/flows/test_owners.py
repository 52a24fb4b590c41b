"""Who takes the runs of deployments: workers of a pool or a `patina serve`, and never both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from patina.flows.errors import RunError
from patina.flows.owners import POLLED, expect_free, is_served, is_taken


class Server:
    """A server with a work pool `local` that has these workers online."""

    def __init__(self, *workers: str) -> None:
        self.workers = workers

    def read_workers_for_work_pool(self, pool: str, online: object) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.workers] if pool == "local" else []


@dataclass(frozen=True)
class Found:
    """A deployment whose runs somebody asked for so many seconds before it is looked at, however long ago the case was
    written down."""

    work_pool_name: str | None
    paused: bool
    ago: float | None

    @property
    def last_polled(self) -> datetime | None:
        return None if self.ago is None else datetime.now(UTC) - timedelta(seconds=self.ago)


def found(pool: str = "", *, paused: bool = False, ago: float | None = None) -> Any:
    return Found(pool or None, paused, ago)


LONG_AGO = POLLED.total_seconds() + 5
FREE = [
    ("nothing is there", [], ""),
    ("nothing is there", [], "local"),
    ("it is on the same pool", [found("local", ago=1)], "local"),
    ("another serve may come beside one", [found(ago=1)], ""),
    ("a serve that ended has paused it", [found(paused=True, ago=1)], "local"),
    ("a serve that was killed asks no more", [found(ago=LONG_AGO)], "local"),
    ("nobody ever asked", [found()], "local"),
]
TAKEN = [
    (found("local"), "", "on the work pool 'local' (1 worker online)", "serve them from here with --take-over"),
    (found("other"), "", "on the work pool 'other' (no worker online)", "prefect worker start --pool other"),
    (found("other"), "local", "on the work pool 'other'", "move them to the pool 'local' with --take-over"),
    (found(ago=1), "local", "a `patina serve` takes the runs", "--take-over"),
]


@pytest.mark.parametrize(("why", "there", "pool"), FREE)
def test_what_nobody_else_takes_is_free(why: str, there: list[Any], pool: str) -> None:
    server: Any = Server("one")
    expect_free(server, there, pool)


@pytest.mark.parametrize(("there", "pool", "is_found", "advice"), TAKEN)
def test_what_others_take_is_refused_with_what_to_do(there: Any, pool: str, is_found: str, advice: str) -> None:
    server: Any = Server("one")
    with pytest.raises(RunError) as caught:
        expect_free(server, [found(), there], pool)
    assert is_found in str(caught.value)
    assert advice in str(caught.value)


def test_somebody_takes_the_runs_of_a_pool_with_a_worker_and_of_a_serve_that_lives() -> None:
    busy: Any = Server("one")
    idle: Any = Server()
    assert is_taken(busy, found("local"))
    assert not is_taken(idle, found("local", ago=1))
    assert is_taken(idle, found(ago=1)) and is_served(found(ago=1))
    assert not is_taken(idle, found(ago=LONG_AGO))
