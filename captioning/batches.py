"""Items go through a model in batches: prepared on threads ahead of it, on one device or on several. Knows no torch."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar, cast

from patina.captioning.captioner import CaptionError, Run
from patina.children import inherited, uninterrupted
from patina.output import outlive_readers

PREPARING = 2  # batches' worth of items that the threads may be at
WINDOW = 4  # batches' worth of prepared items among which those of one shape are sought
AHEAD = 2  # batches that wait, whole, for the model
SENT = PREPARING + WINDOW + AHEAD + 2  # batches' worth of items that a worker holds at the most
FEWEST = 16  # items for which another worker is worth its start, if no batch is given
ON_CPU, MOST = 2, 8  # threads that prepare: where the model needs the cores itself, and at the most elsewhere
PATIENCE = 0.1  # seconds between looks at whether to stop
IDLE = 0.02  # seconds without a new item after which what is there goes ahead
FAREWELL = 5.0  # seconds that a worker has to end in

Item = TypeVar("Item")
Given_contra = TypeVar("Given_contra", contravariant=True)
Features = TypeVar("Features")
Result = TypeVar("Result")
T = TypeVar("T")


class Engine(Protocol[Given_contra, Features, Result]):
    """A model on one device.

    batch  items at once at the most. Halved when memory does not suffice.
    """

    batch: int

    def enter(self) -> None:
        """Called once on each thread that prepares, before anything else there."""
        ...

    def prepare(self, item: Given_contra) -> Features:
        """What the model needs of one item. Called on several threads; an exception, SystemExit too, is its problem."""
        ...

    def shape(self, features: Features) -> Hashable:
        """Givens of equal shape can go in one batch; so nothing is padded, and no result depends on its neighbours."""
        ...

    def collate(self, features: Sequence[Features]) -> Features:
        """One batch of these, ready for the device."""
        ...

    def infer(self, features: Features, items: Sequence[Given_contra]) -> list[Result] | None:
        """One result for each item of a batch; None if the device's memory does not suffice."""
        ...

    def refuse(self, item: Given_contra, error: BaseException) -> Result:
        """The result for an item that could not be prepared. Called on several threads."""
        ...


@dataclass
class Batch(Generic[Item, Features, Result]):
    """Prepared items of one shape, or results for items that were refused."""

    indices: list[int]
    items: list[Item] = field(default_factory=list)
    single: list[Features] = field(default_factory=list)  # kept, since a batch may have to be cut
    features: Features | None = None
    refused: list[Result] = field(default_factory=list)


def stream(
    make: Callable[[str], Engine[Item, Features, Result]], items: Sequence[Item], run: Run, devices: Sequence[str]
) -> Generator[list[tuple[int, Result]]]:
    """Results with their item's index, a batch as soon as it is done, batches in any order.

    `make` gives the engine for a device. On several devices it is called in a process on each, so it and the items are
    pickled. Raises CaptionError if an engine cannot be made, a worker fails or dies, or one item alone is too much for
    a device's memory.
    """
    if not items:
        return
    workers = min(len(devices), -(-len(items) // (run.batch or FEWEST)))
    threads = run.threads or preparers(devices[:workers])
    if workers == 1:
        yield from _here(make(devices[0]), enumerate(items), threads, devices[0])
    else:
        yield from _apart(make, items, devices[:workers], threads)


def preparers(devices: Sequence[str]) -> int:
    """How many threads prepare for each of these devices, if nobody says: its share of the cores, 2 to 8."""
    return max(ON_CPU, min(MOST, cores() // len(devices))) if "cpu" not in devices else ON_CPU


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- in one process ---------------------------------------------------------------------------------------------------


def _here(
    engine: Engine[Item, Features, Result],
    items: Iterable[tuple[int, Item] | None],
    threads: int,
    device: str,
    stop: threading.Event | None = None,
) -> Iterator[list[tuple[int, Result]]]:
    """Feed the engine from a thread of its own that is a few batches ahead. Sets `stop` when no more are wanted."""
    ready: queue.Queue[Batch[Item, Features, Result] | BaseException | None] = queue.Queue(AHEAD)
    stop = stop or threading.Event()
    feeder = threading.Thread(target=_feed, args=(engine, items, threads, ready, stop), daemon=True)
    try:
        feeder.start()
        while (batch := _next(ready)) is not None:
            if isinstance(batch, BaseException):
                raise batch
            if batch.refused:
                yield list(zip(batch.indices, batch.refused, strict=True))
            else:
                yield from _inferred(engine, batch, device)
    finally:
        stop.set()
        if feeder.ident is not None:  # else interrupted before its start
            feeder.join()


def _next(ready: queue.Queue[T]) -> T:
    while True:
        with suppress(queue.Empty):
            return ready.get(timeout=PATIENCE)  # in short waits, since on Windows nothing interrupts a long one


class _StoppedError(Exception):
    """Nobody waits for more batches."""


@dataclass
class _Refused(Generic[Result]):
    """What is left of an item that could not be prepared: no traceback, which would hold its pixels."""

    result: Result


class _Threads(Generic[Item, Features, Result]):
    """Prepare items. Unlike a ThreadPoolExecutor's, these threads do not keep a process from ending: a photograph on a
    disk that is gone may take for ever to load."""

    def __init__(self, engine: Engine[Item, Features, Result], count: int) -> None:
        self._engine, self.count = engine, count
        self._jobs: queue.SimpleQueue[tuple[Item, Future[Features | _Refused[Result]]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, item: Item) -> Future[Features | _Refused[Result]]:
        future: Future[Features | _Refused[Result]] = Future()
        self._jobs.put((item, future))
        return future

    def close(self) -> None:
        """Begin nothing more, and wait a while for what is being prepared."""
        with suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + FAREWELL
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        entered = False
        while (job := self._jobs.get()) is not None:
            item, future = job
            try:
                if not entered:
                    self._engine.enter()
                    entered = True
                future.set_result(self._prepared(item))
            except BaseException as error:  # the engine's own: raised again where the batches are waited for
                future.set_exception(error)
            del job, item, future  # while this thread waits for the next

    def _prepared(self, item: Item) -> Features | _Refused[Result]:
        try:
            return self._engine.prepare(item)
        except (Exception, SystemExit) as error:  # whatever a file may do to a decoder: the others go on
            return _Refused(self._engine.refuse(item, error))


def _feed(
    engine: Engine[Item, Features, Result],
    items: Iterable[tuple[int, Item] | None],
    threads: int,
    ready: queue.Queue[Batch[Item, Features, Result] | BaseException | None],
    stop: threading.Event,
) -> None:
    def put(value: Batch[Item, Features, Result] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ready.put(value, timeout=PATIENCE)
            except queue.Full:
                continue
        raise _StoppedError

    try:
        pool = _Threads(engine, threads)
        try:
            for batch in _batches(engine, items, pool, stop):
                if not batch.refused:
                    batch.features = engine.collate(batch.single)
                put(batch)
        finally:
            pool.close()
        put(None)
    except _StoppedError:
        pass
    except BaseException as error:  # raised again where the batches are waited for
        with suppress(_StoppedError):
            put(error)


def _batches(
    engine: Engine[Item, Features, Result],
    items: Iterable[tuple[int, Item] | None],
    pool: _Threads[Item, Features, Result],
    stop: threading.Event,
) -> Iterator[Batch[Item, Features, Result]]:
    """Items prepared on `pool` and put together by shape: full batches, as long as the window gives any.

    A None among the items says that there are no more for now: then what is held goes ahead, lest all wait for all.
    """
    source = iter(items)
    preparing: deque[tuple[int, Item, Future[Features | _Refused[Result]]]] = deque()
    held: dict[Hashable, Batch[Item, Features, Result]] = {}
    exhausted = False
    while preparing or not exhausted:
        while not exhausted and len(preparing) < max(PREPARING * engine.batch, 2 * pool.count):
            try:
                entry = next(source)
            except StopIteration:
                exhausted = True
                break
            if entry is None:
                break
            preparing.append((*entry, pool.submit(entry[1])))
        if not preparing:
            if held:
                yield held.pop(_largest(held))
            continue
        index, item, future = preparing.popleft()
        features = _settled(future, stop)
        if isinstance(features, _Refused):
            yield Batch([index], refused=[features.result])
            continue
        shape = engine.shape(features)
        group = held.setdefault(shape, Batch([]))
        group.indices.append(index)
        group.items.append(item)
        group.single.append(features)
        if len(group.items) >= engine.batch:
            yield held.pop(shape)
        elif sum(len(other.items) for other in held.values()) >= WINDOW * engine.batch:
            yield held.pop(_largest(held))
    yield from held.values()


def _settled(future: Future[T], stop: threading.Event) -> T:
    """What the future gives, once it does. Raises _StoppedError if that is wanted no longer."""
    while not future.done():
        if stop.is_set():
            raise _StoppedError
        with suppress(TimeoutError):
            future.exception(PATIENCE)
    return future.result()


def _largest(held: Mapping[Hashable, Batch[Item, Features, Result]]) -> Hashable:
    return max(held, key=lambda shape: len(held[shape].items))


def _inferred(
    engine: Engine[Item, Features, Result], batch: Batch[Item, Features, Result], device: str
) -> Iterator[list[tuple[int, Result]]]:
    """The batch's results; in halves, quarters and so on if it does not fit into the device's memory."""
    pieces = deque([batch])
    while pieces:
        piece = pieces.popleft()
        size = max(1, engine.batch)
        if piece.features is None or len(piece.items) > size:
            cuts = [slice(start, start + size) for start in range(0, len(piece.items), size)]
            parts = [Batch[Item, Features, Result](piece.indices[c], piece.items[c], piece.single[c]) for c in cuts]
            if len(parts) > 1:
                pieces.extendleft(reversed(parts))
                continue
            piece.features = engine.collate(piece.single)
        results = engine.infer(piece.features, piece.items)
        if results is not None:
            yield list(zip(piece.indices, results, strict=True))
        elif len(piece.items) == 1:
            raise CaptionError(
                f"one photograph alone is too much for the memory of {device}: use a smaller model or a larger device, "
                "and see what else runs there; what is done is kept, and running it again continues"
            )
        else:
            engine.batch = len(piece.items) // 2
            pieces.appendleft(Batch(piece.indices, piece.items, piece.single))


# --- in a process for each device -------------------------------------------------------------------------------------


@dataclass
class _Worker:
    """A worker as its parent sees it."""

    name: str
    process: BaseProcess
    connection: Connection
    batch: int = 0  # known when its model is there
    out: int = 0  # items that it has and has not answered
    told: bool = False  # that no more will come


def _apart(
    make: Callable[[str], Engine[Item, Features, Result]], items: Sequence[Item], devices: Sequence[str], threads: int
) -> Iterator[list[tuple[int, Result]]]:
    """Feed one worker process a device from one queue: each gets more as it gets done, so none waits for another."""
    waiting = deque(enumerate(items))
    workers: dict[Connection, _Worker] = {}
    try:
        for number, device in enumerate(devices, 1):
            worker = _started(partial(_work, make, device, threads, len(devices)), f"worker {number} on {device}")
            workers[worker.connection] = worker
        running = set(workers)
        while running:
            for found in wait(list(running)):
                connection = cast(Connection, found)
                worker = workers[connection]
                kind, value = _received(worker)
                if kind == "end":
                    running.remove(connection)
                    continue
                if kind == "ready":
                    worker.batch = value
                else:
                    worker.out -= len(value)
                    yield value
                _send_more(worker, waiting, len(workers))
    finally:
        for worker in workers.values():
            worker.process.terminate()
            worker.connection.close()
        for worker in workers.values():
            worker.process.join(FAREWELL)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _started(work: Callable[[Connection], None], name: str) -> _Worker:
    # Spawned, since a forked process cannot use CUDA and inherits the locks of threads that it lacks.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), name=f"captioning {name}", daemon=True)
    try:
        with inherited(), uninterrupted():
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        ours.close()
        raise CaptionError(f"the captioner cannot be sent to a {name}: {error}; use one device") from None
    except (AssertionError, OSError, RuntimeError) as error:
        ours.close()  # no more processes to be had, those of a worker's own, or a script without a guard
        raise CaptionError(f"a captioning {name} cannot be started: {str(error).strip()}; use one device") from None
    finally:
        theirs.close()  # else nobody would notice that its other end is gone
    return _Worker(name, process, ours)


def _received(worker: _Worker) -> tuple[str, Any]:
    """What it says next: `ready` with its batch, `done` with results, or `end`. Raises CaptionError if it cannot."""
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(FAREWELL)
        code = worker.process.exitcode
        if code is not None and code > 0 and not worker.batch:
            raise CaptionError(
                f"the captioning {worker.name} ended with exit code {code} before it could begin, and printed why; a "
                "script that captions on several devices is a file, and begins under `if __name__ == '__main__':`"
            ) from None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        raise CaptionError(
            f"the captioning {worker.name} {how}: often the memory ran out; what is done is kept, and running it again "
            "continues"
        ) from None
    if kind == "error":
        raise CaptionError(f"the captioning {worker.name} failed: {value}")
    return kind, value


def _send_more(worker: _Worker, waiting: deque[tuple[int, Item]], workers: int) -> None:
    """Keep a worker in items, a batch's worth at a time, and never in more than its share of what is left; tell it when
    there are no more."""
    try:
        while waiting and worker.out < min(SENT * worker.batch, max(worker.batch, len(waiting) // workers)):
            some = [waiting.popleft() for _ in range(min(worker.batch, len(waiting)))]
            worker.connection.send(some)
            worker.out += len(some)
        if not waiting and not worker.told:
            worker.connection.send(None)
            worker.told = True
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CaptionError(f"a photograph cannot be sent to the captioning {worker.name}: {error}") from None
    except OSError:
        _received(worker)  # it has died: say so


def _work(
    make: Callable[[str], Engine[Item, Features, Result]], device: str, threads: int, workers: int, parent: Connection
) -> None:
    """What a worker does: load, then caption whatever comes. Ends with its parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked before
    outlive_readers()
    received: queue.SimpleQueue[list[tuple[int, Item]] | CaptionError | None] = queue.SimpleQueue()
    stop = threading.Event()

    def receive() -> None:
        # On a thread of its own, so that the parent never waits for a full pipe.
        try:
            while (some := parent.recv()) is not None:
                received.put(some)
        except (EOFError, OSError):
            pass
        except Exception as error:  # what a notebook defines, for instance, is not in another process
            received.put(CaptionError(f"a photograph cannot be received: {error}; use one device"))
        received.put(None)

    def items() -> Iterator[tuple[int, Item] | None]:
        while not stop.is_set():
            try:
                some = received.get(timeout=IDLE)
            except queue.Empty:
                yield None
                continue
            if some is None:
                return
            if isinstance(some, CaptionError):
                raise some
            yield from some

    try:
        try:
            _share_cores(device, workers)
            engine = make(device)
            parent.send(("ready", engine.batch))
            threading.Thread(target=receive, daemon=True).start()
            for results in _here(engine, items(), threads, device, stop):
                parent.send(("done", results))
            parent.send(("end", None))
        except CaptionError as error:
            parent.send(("error", str(error)))
        except Exception as error:
            parent.send(("error", f"{type(error).__name__}: {error}"))
    except OSError:
        pass  # the parent is gone


def _share_cores(device: str, workers: int) -> None:
    """On the CPU, let each worker's arithmetic have its share of the cores."""
    if device == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // workers)))
