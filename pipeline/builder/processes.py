"""Shards on processes of this machine, without any engine: this one, and others that are forked from one that has
imported what makes samples.

Threads hold the interpreter's lock for a quarter of the work, so that two gain 1.6 and no number of them more than 4.
Processes have a lock each. They read their jobs from the dataset's folder and photographs from where they lie; nothing
that was decoded goes from one to another. This process makes shards, too: it has all imports already and begins at
once, while the others start.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, forkserver, parent_process
from multiprocessing.process import BaseProcess
from threading import Event, Thread, Timer
from types import ModuleType
from typing import TypeVar

from patina.children import inherited, uninterrupted
from patina.output import outlive_readers
from patina.pipeline.errors import BuildError
from patina.pipeline.plan.cost import HELD
from patina.pipeline.stopping import stoppable, wanted_until

A = TypeVar("A")
R = TypeVar("R")

PRELOADED = "patina.pipeline.builder.preloaded"
"""What the process that all others are forked from imports: all that a worker needs, and no command line or engine."""

START_SECONDS = 0.6
"""What starting them takes of one core at the most, imports and the first reading of jobs included."""

GRACE = 1.2
"""Seconds that workers have to end the sample that they are at, once the build is asked to stop."""

KILLED_HINT = "A worker is mostly killed for want of memory; fewer of them (--workers) need less."


def processes_pay(seconds: float, workers: int) -> bool:
    """Whether work of `seconds` on one core is done sooner by `workers` processes than by as many threads: if the share
    that threads do one after another takes longer than starting processes."""
    return workers > 1 and seconds * HELD * (1 - 1 / workers) > START_SECONDS


class Processes:
    """Steps in this process, batches of shards in it and in others, `workers` together. A program that uses it must
    keep what it starts below `if __name__ == "__main__":`, as always where processes are started.

    preloaded   modules that the others need, imported once for all of them.
    needs_main  whether they shall also import the program's main module, where something that they get may be from.
    """

    shares_memory = False
    preloaded: tuple[str, ...] = (PRELOADED,)
    needs_main = True

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def prepare(self) -> None:
        """Start the process that others are forked from, if `map` will need it. It imports what they need meanwhile."""
        if self.workers > 1 and _has_forkserver():
            multiprocessing.set_forkserver_preload(list(self.preloaded))
            with inherited(), uninterrupted():
                forkserver.ensure_running()

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run it here."""
        del step
        return function()

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it on processes. Raises BuildError where one of them is killed, once the item that is at work here has
        heard of it. An item's own error is raised after all have ended."""
        if not items:
            return []
        self.prepare()
        context = multiprocessing.get_context("forkserver" if _has_forkserver() else "spawn")
        count = min(self.workers, len(items))
        results: dict[int, R] = {}
        errors: dict[int, BaseException] = {}
        failed = Event()
        with (
            stoppable(),  # until all have ended
            ThreadPoolExecutor(1, initializer=wanted_until, initargs=(failed,)) as here,
            ProcessPoolExecutor(max(1, count - 1), context, initializer=end_with_parent) as others,
            _ended_soon(others, failed),
        ):
            try:
                for place, future in self._ended(function, items, [here, *[others] * (count - 1)]):
                    if error := future.exception():
                        errors[place] = error
                        continue
                    results[place] = future.result()
                    if finished:
                        finished(items[place])
            except BrokenProcessPool as broken:
                hint = f"{step}: a process that makes shards ended in the middle. {KILLED_HINT}"
                raise BuildError(hint) from broken
        if errors:
            raise errors[min(errors)]
        return [results[place] for place in range(len(items))]

    def _ended(
        self, function: Callable[[A], R], items: Sequence[A], executors: Sequence[Executor]
    ) -> Iterator[tuple[int, Future[R]]]:
        """The items' places and futures as they end; each executor has one of them at a time."""
        places, idle = iter(range(len(items))), list(executors)
        running: dict[Future[R], tuple[Executor, int]] = {}
        while True:
            for executor, place in zip(idle, places):  # noqa: B905 - as long as there are both
                with inherited(), uninterrupted(), _main_module(self.needs_main):  # a process may begin now
                    running[executor.submit(function, items[place])] = executor, place
            if not running:
                return
            idle = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                executor, place = running.pop(future)
                if isinstance(failed := future.exception(), BrokenProcessPool):
                    raise failed
                idle.append(executor)
                yield place, future


@contextmanager
def _main_module(needed: bool) -> Iterator[None]:
    """Within it a process that is started imports the main module if it is `needed`, as multiprocessing wants it."""
    main = sys.modules["__main__"]
    if not needed:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _has_forkserver() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


@contextmanager
def _ended_soon(pool: ProcessPoolExecutor, failed: Event) -> Iterator[None]:
    """An interruption within it asks all work to stop, begins nothing more, and kills the processes that have not ended
    `GRACE` seconds later. An error sets `failed`; a broken pool ends its processes by itself."""
    before = set(active_children())
    try:
        with stoppable():  # within the pool, which waits for its processes
            yield
    except Exception:
        failed.set()
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
