"""One model at a time: a lease on the server's concurrency limit `gpu` around what captions, trains or evaluates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeVar

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from patina.pipeline.builder.runner import Runner

A = TypeVar("A")
R = TypeVar("R")

GPU = "gpu"
"""The limit's name. Its number: how many builds and trainings may have a model in memory at a time."""

LEASE = 60.0
"""Seconds after which the slot of a holder that died is free again; Prefect renews it while the holder lives."""

CAPTION = "caption"
"""The step of a build that loads models; it is there only where a model has something to say."""


class WithGpuLease:
    """A runner like `inner`, whose step `caption` waits for a slot of the limit and holds it.

    A server without the limit, such as a laptop's own, makes no one wait: that is said once.
    """

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self._said = False
        self.shares_memory, self.workers = inner.shares_memory, inner.workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step."""
        return self._inner.call(step, partial(self._leased, function) if step == CAPTION else function)

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run a function over all items."""
        return self._inner.map(step, function, items, finished)

    def _leased(self, function: Callable[[], R]) -> R:
        with lease("captioning", warn=not self._said) as held:
            self._said |= not held
            return function()


@contextmanager
def lease(what: str, warn: bool = True) -> Iterator[bool]:
    """Within it a slot of the limit is held, which is waited for. On a server without the limit nobody waits; gives
    False then, and `warn` says whether the log tells what to do about it. Nor does anybody wait for a server that is
    away, and the work is no worse for a slot that cannot be given back: it is free once the lease has run out."""
    log = get_run_logger()
    try:
        held = _taken() if limit_exists() else None
    except httpx.TransportError as error:
        log.warning("the Prefect server does not answer (%s), so %s waits for nobody else's model", error, what)
        yield False
        return
    if held is None:
        if warn:
            log.warning(
                "this server has no concurrency limit %r, so %s waits for nobody else's model; to make it: "
                "prefect gcl create %s --limit 1",
                GPU,
                what,
                GPU,
            )
        yield False
        return
    try:
        yield True
    finally:
        try:
            held.close()
        except httpx.HTTPError as error:  # a server that was restarted may not know the lease any more
            log.warning(
                "a slot of %r could not be given back (%s); it is free in a minute, if the server keeps leases on disk",
                GPU,
                error,
            )


def _taken() -> ExitStack:
    """A slot that is held until this is closed. A renewal that fails must not end the work: while no server answers,
    nobody else gets the slot either."""
    held = ExitStack()
    held.enter_context(
        concurrency(GPU, occupy=1, lease_duration=LEASE, strict=True, raise_on_lease_renewal_failure=False)
    )
    return held


def needs_lease(devices: Sequence[str]) -> bool:
    """Whether captioning on these devices may use a GPU; without any, the captioner takes every GPU that there is."""
    return not devices or any(device.partition(":")[0] != "cpu" for device in devices)


def limit_exists() -> bool:
    """Whether the server has the limit."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(GPU)
        except ObjectNotFound:
            return False
    return True


def create_limit(slots: int = 1) -> bool:
    """Create the limit, unless the server has it, of whatever size; gives whether it was created."""
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    if limit_exists():
        return False
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU, limit=slots))
    return True
