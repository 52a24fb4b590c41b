"""A runner whose batches are made by processes of their own, without Prefect."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from patina.pipeline.builder.runner import Threads, gathered

A = TypeVar("A")
R = TypeVar("R")


class Processes(Threads):
    """Steps here, batches in `workers` processes that live as long as this object."""

    shares_memory = False

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it in the pool."""
        del step
        return gathered(items, self.pool.map(function, items), finished)
