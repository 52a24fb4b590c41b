"""Stopping work between two samples: what interrupts the thread that waits also ends the ones that it waits for.

    Ctrl-C, SIGTERM, a cancelled flow run ─► an exception in the main thread ─► `ask` ─► `expect_wanted` in the threads
                                                                                └► the permit is gone ─► in the workers

Python raises a signal's exception in the main thread alone, and a pool's threads go on with what they have; so each
loop over samples or photographs calls `expect_wanted`, which costs less than a microsecond. Workers in other processes
or on other machines look for a file, their permit: the build that they work for removes it when it ends, in whatever
way it does, and the next build removes it if that one was killed.

An error is no interruption: it asks nobody but those threads that were told to look at an event of their own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from patina.pipeline.errors import PipelineError

LOOK_SECONDS = 0.2
"""Seconds between two looks for a permit, which may lie on a network file system."""


class StoppedError(PipelineError, RuntimeError):
    """Work that was asked to stop. What is finished is kept."""


class _Asked:
    """Whether this process was asked to stop. The answer holds until the outermost `stoppable` ends, or for good."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal may come while this very thread holds it
        self.event = threading.Event()
        self.within = 0
        self.for_good = False
        self.permits = set[Path]()


_asked = _Asked()


class _Permit:
    """A permit as a worker sees it."""

    def __init__(self, path: Path) -> None:
        self.path, self.looked = path, float("-inf")

    def expect(self) -> None:
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        try:
            os.close(os.open(self.path, os.O_RDONLY))  # opening asks a network file system what is there now
        except FileNotFoundError:
            raise StoppedError("stopped: the build that this was for has ended") from None


_permit: ContextVar[_Permit | None] = ContextVar("permit", default=None)

_unwanted: ContextVar[threading.Event | None] = ContextVar("unwanted", default=None)


def ask(*, for_good: bool = False) -> None:
    """Ask all work of this process, and all workers whose permit it gave, to stop. Safe to call in a signal's handler.

    for_good  the process is to end: nothing that begins later is wanted either.
    """
    _asked.event.set()
    _asked.for_good |= for_good
    with _asked.lock:
        permits = tuple(_asked.permits)
    for path in permits:
        _take_back(path)


def _take_back(permit: Path) -> None:
    with suppress(OSError):  # of a disk that is gone: what interrupted the work is the one to be told
        permit.unlink()


def expect_wanted() -> None:
    """Raise StoppedError if this work was asked to stop. Called between two samples or photographs."""
    if _asked.event.is_set():
        raise StoppedError("stopped")
    unwanted = _unwanted.get()
    if unwanted is not None and unwanted.is_set():
        raise StoppedError("stopped: the work that this was a part of has failed")
    permit = _permit.get()
    if permit is not None:
        permit.expect()


def wanted_until(failed: threading.Event) -> None:
    """From now on, `expect_wanted` also raises in this thread once `failed` is set: for a pool's initializer.

    What a pool's threads are part of may fail while other work of this process, which `ask` would end, goes on.
    """
    _unwanted.set(failed)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it, an interruption asks all work of this process to stop. After the outermost one, new work may begin.

    An interruption is what is no Exception: KeyboardInterrupt, SystemExit, Prefect's TerminationSignal, a cancellation.
    """
    with _asked.lock:
        _asked.within += 1
    try:
        yield
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        ask()
        raise
    finally:
        with _asked.lock:
            _asked.within -= 1
            if not _asked.within and not _asked.for_good:
                _asked.event.clear()


@contextmanager
def stoppable_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `workers` threads. An interruption within it begins nothing more, and asks what runs to stop."""
    with stoppable(), ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            with stoppable():  # within the pool, which waits for its threads
                yield pool
        except Exception:
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def permitting(path: Path) -> Iterator[None]:
    """Within it the permit `path` lies there for workers. An interruption, or `ask`, removes it at once."""
    path.touch()
    with _asked.lock:
        _asked.permits.add(path)
    try:
        with stoppable():
            if _asked.event.is_set():
                _take_back(path)
            yield
    finally:
        with _asked.lock:
            _asked.permits.discard(path)
        _take_back(path)


@contextmanager
def permitted_by(path: str) -> Iterator[None]:
    """Within it `expect_wanted` also looks for the permit, in this thread: for a worker. Empty: there is none."""
    token = _permit.set(_Permit(Path(path)) if path else None)
    try:
        yield
    finally:
        _permit.reset(token)
