"""Where the steps of a build run: the protocol, and threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from patina.pipeline.stopping import stoppable_threads

A = TypeVar("A")
R = TypeVar("R")


class Runner(Protocol):
    """Where the steps of a build run. `map` gives one result for each item, in the items' order.

    shares_memory  whether mapped functions run in this process, so that they can report progress as they go.
    workers        how many items are under way at a time.
    """

    shares_memory: bool
    workers: int

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step."""
        ...

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run a function over all items, side by side. Raises the first error, after all have ended.

        `finished` is called in this process with each item whose result is there, one at a time.
        """
        ...


class Threads:
    """Steps in this process, shards on `workers` threads: NumPy, OpenCV, Pillow and ISA-L let others run meanwhile."""

    shares_memory = True

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def suited(self, seconds: float) -> Runner:
        """What batches that take so many seconds on one core had better run on: these threads, or something else."""
        del seconds
        return self

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run it here."""
        del step
        return function()

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it on a pool of threads."""
        del step
        with stoppable_threads(self.workers) as pool:
            return gathered(items, pool.map(function, items), finished)


def gathered(items: Sequence[A], results: Iterable[R], finished: Callable[[A], None] | None) -> list[R]:
    """The results of these items as they come, in the items' order; `finished` is called with each one's item."""
    found = []
    for item, result in zip(items, results, strict=True):
        found.append(result)
        if finished:
            finished(item)
    return found
