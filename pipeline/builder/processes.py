"""Shards on processes of this machine, without any engine: forked from one that has imported what makes samples.

Threads hold the interpreter's lock for a quarter of the work, so that two gain 1.6 and no number of them more than 4.
Processes have a lock each. They read their jobs from the dataset's folder and photographs from where they lie; nothing
that was decoded goes from one to another.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread, Timer
from typing import TypeVar

from patina.children import inherited, uninterrupted
from patina.output import outlive_readers
from patina.pipeline.errors import BuildError
from patina.pipeline.plan.cost import HELD
from patina.pipeline.stopping import stoppable

A = TypeVar("A")
R = TypeVar("R")

PRELOADED = "patina.pipeline.builder.jobs"
"""What the process that all others are forked from imports: all that a worker needs, and no command line or engine."""

START_SECONDS = 1.5
"""What starting them takes at the most, imports and the first reading of jobs included."""

GRACE = 1.2
"""Seconds that workers have to end the sample that they are at, once the build is asked to stop."""

KILLED_HINT = "A worker is mostly killed for want of memory; fewer of them (--workers) need less."


def processes_pay(seconds: float, workers: int) -> bool:
    """Whether work of `seconds` on one core is done sooner by `workers` processes than by as many threads: if the share
    that threads do one after another takes longer than starting processes."""
    return workers > 1 and seconds * HELD * (1 - 1 / workers) > START_SECONDS


class Processes:
    """Steps in this process, batches of shards on `workers` others. A program that uses it must keep what it starts
    below `if __name__ == "__main__":`, as always where processes are started."""

    shares_memory = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run it here."""
        del step
        return function()

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it on processes. Raises BuildError where one of them is killed."""
        if not items:
            return []
        context = multiprocessing.get_context("forkserver" if _has_forkserver() else "spawn")
        if _has_forkserver():
            context.set_forkserver_preload([PRELOADED])
        count = min(self.workers, len(items))
        with ProcessPoolExecutor(count, context, initializer=end_with_parent) as pool, _ended_soon(pool):
            try:
                with inherited(), uninterrupted():  # workers begin as items are handed over
                    places = {pool.submit(function, item): i for i, item in enumerate(items)}
                errors: dict[int, BaseException] = {}
                for future in as_completed(places):
                    if failed := future.exception():
                        errors[places[future]] = failed
                    elif finished:
                        finished(items[places[future]])
            except BrokenProcessPool as broken:
                errors = {0: broken}
        if errors:
            first = errors[min(errors)]
            if isinstance(first, BrokenProcessPool):
                raise BuildError(f"{step}: a process that makes shards ended in the middle. {KILLED_HINT}") from first
            raise first
        return [future.result() for future in places]


def _has_forkserver() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


@contextmanager
def _ended_soon(pool: ProcessPoolExecutor) -> Iterator[None]:
    """An interruption within it asks all work to stop, begins nothing more, and kills the processes that have not ended
    `GRACE` seconds later."""
    before = set(active_children())
    try:
        with stoppable():  # within the pool, which waits for its processes
            yield
    except Exception:
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        timer = Timer(GRACE, kill_all, (set(active_children()) - before,))
        timer.daemon = True
        timer.start()
        raise


def kill_all(processes: Iterable[BaseProcess]) -> None:
    """Kill these processes, as far as they are still there."""
    for process in processes:
        try:
            process.kill()
        except ValueError:  # closed meanwhile
            continue


def end_with_parent() -> None:
    """End this process when the one that started it has ended, even if that was killed; a pool's worker waits on. That
    nobody reads what it prints is no error before that."""
    outlive_readers()
    parent = parent_process()
    assert parent is not None, "a pool's worker has a parent"

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True, name="end with parent").start()
