"""Where a build's batches of shards run: threads or processes of this machine, a Dask cluster, a Ray cluster.

All through Prefect's task runners, so that each batch is a task run; the bytes are the same from each. A step that is
not a batch (scanning, captions, publishing) runs in the flow's own process.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from threading import Timer
from typing import Any, Literal, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit
from uuid import UUID

from prefect import Flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import CancelledRun
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff
from prefect.utilities.annotations import quote

from patina.children import inherited, uninterrupted
from patina.flows.lost_tasks import crash_task_runs
from patina.flows.retries import BACKOFF, JITTER, RETRIES, retry_io
from patina.pipeline.builder.processes import GRACE, KILLED_HINT, end_with_parent, kill_all
from patina.pipeline.builder.runner import Runner
from patina.pipeline.codec.fingerprint import worker_fingerprint
from patina.pipeline.errors import BuildError
from patina.pipeline.stopping import StoppedError, stoppable

A = TypeVar("A")
R = TypeVar("R")

RunnerName = Literal["threads", "processes", "dask", "ray"]
AnyTaskRunner = TaskRunner[Any]

PATIENCE = 15
"""Seconds that a cluster has to answer."""


@task(
    task_run_name="{step}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(BACKOFF),
    retry_jitter_factor=JITTER,
    retry_condition_fn=retry_io,
)
def run_step(step: str, function: Callable[[], R]) -> R:
    """One step of a build."""
    del step
    return function()


@task(
    task_run_name="{step} {batch}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(BACKOFF),
    retry_jitter_factor=JITTER,
    retry_condition_fn=retry_io,
)
def run_batch(step: str, batch: str, function: Callable[[Any], Any], item: Any) -> Any:
    """One batch of a step's items. Safe to run again: what is finished is found finished. One that was asked to stop is
    cancelled, and no failure."""
    del step, batch
    try:
        return function(item)
    except StoppedError as error:
        return Cancelled(message=str(error))


def make_runner(name: RunnerName, workers: int, address: str = "") -> Runner:
    """The runner of that name, with `workers` threads or processes, or with a cluster's at `address`.

    Raises BuildError, before any work, if the name or address make no sense, a library is missing, or nothing answers.
    """
    if name not in get_args(RunnerName):
        raise BuildError(f"there is no runner {name!r}; expected one of {', '.join(get_args(RunnerName))}")
    if address and name not in {"dask", "ray"}:
        raise BuildError(
            f"the address {address} names a cluster, and {name} run here; leave it out, or choose dask or ray"
        )
    if name == "threads":
        return PrefectThreads(workers)
    if name == "processes":
        return PrefectWorkers(_processes(workers))
    with _extra(name):
        engine = _dask(workers, address) if name == "dask" else _ray(workers, address)
    return PrefectWorkers(engine)


class PrefectThreads:
    """Steps as task runs, batches of shards side by side on `workers` threads."""

    shares_memory = True

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step as a task."""
        return run_step(step, function)

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run a function over all items as tasks, and read every one's result: waiting alone hides failures."""
        pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=self.workers)
        with stoppable(), pool as runner:
            # quoted: Prefect would otherwise search thousands of samples for futures
            results, errors, _ = _gather(runner, step, function, items=items, finished=finished, shield=quote)
        for i in sorted(errors):
            raise errors[i]
        return [results[i] for i in range(len(items))]


@dataclass(frozen=True)
class Engine:
    """An engine of workers in other processes.

    workers  how many batches it has under way at a time.
    start    opens Prefect's task runner for so many batches.
    lost     errors of its that say that a worker died; advice: what to do then.
    """

    workers: int
    start: Callable[[int], AbstractContextManager[AnyTaskRunner]]
    lost: tuple[type[Exception], ...]
    advice: str


class PrefectWorkers:
    """Steps as task runs in this process, batches of shards as task runs in an engine's workers."""

    shares_memory = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.workers = engine.workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step as a task, here: captions, for one, have their own processes and devices."""
        return run_step(step, function)

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run a function over all items as tasks, and read every one's result. `function` and items are pickled.

        Raises BuildError if a worker died, once the others have ended.
        """
        # Prefect's embedded API is known to this process alone: without its address each worker would start its own.
        with stoppable(), inherited(), _api_told(), _flow_left_out(), self._engine.start(len(items)) as runner:
            results, errors, runs = _gather(runner, step, function, items=items, finished=finished)
        crash_task_runs([runs[i] for i in errors if isinstance(errors[i], self._engine.lost)])
        for i in sorted(errors):
            if isinstance(errors[i], self._engine.lost):
                raise self._lost(errors, items) from errors[i]
            if missing := _module_missing(errors[i]):
                raise BuildError(
                    f"a worker cannot import {missing}: every machine of the cluster needs patina, in the same versions"
                ) from errors[i]
            raise errors[i]
        return [results[i] for i in range(len(items))]

    def _lost(self, errors: dict[int, Exception], items: Sequence[object]) -> BuildError:
        lost = [i for i, error in sorted(errors.items()) if isinstance(error, self._engine.lost)]
        named = [f"batch {i + 1} of {len(items)} ({items[i]})" for i in lost[:5]]
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        return BuildError(
            f"a worker died, and these were not finished: {', '.join(named)}{more}. {self._engine.advice} All shards "
            "that were finished are kept: run the build again to continue"
        )


Gathered: TypeAlias = tuple[dict[int, R], dict[int, Exception], dict[int, UUID]]


def _gather(
    runner: AnyTaskRunner,
    step: str,
    function: Callable[[A], R],
    *,
    items: Sequence[A],
    finished: Callable[[A], None] | None,
    shield: Callable[[A], Any] = lambda item: item,
) -> Gathered[R]:
    """Submit all items; results and errors of all, by place, once the last has ended, and their task runs. An
    interruption asks the work to stop before it goes on to the runner, which waits for what is under way."""
    with stoppable():
        return _all_gathered(runner, step, function, items=items, finished=finished, shield=shield)


def _all_gathered(
    runner: AnyTaskRunner,
    step: str,
    function: Callable[[A], R],
    *,
    items: Sequence[A],
    finished: Callable[[A], None] | None,
    shield: Callable[[A], Any],
) -> Gathered[R]:
    places: dict[UUID, int] = {}
    futures: list[PrefectFuture[Any]] = []
    for i, item in enumerate(items):
        batch = f"{i + 1} of {len(items)}"
        parameters = {"step": step, "batch": batch, "function": function, "item": shield(item)}
        with uninterrupted():  # a worker that starts now and gets a terminal's Ctrl-C would print where it was
            futures.append(runner.submit(run_batch, parameters))
        places[futures[-1].task_run_id] = i
    results: dict[int, R] = {}
    errors: dict[int, Exception] = {}
    for future in as_completed(futures):
        i = places[future.task_run_id]
        try:
            results[i] = future.result()
        except CancelledRun as error:
            errors[i] = StoppedError(str(error))
            continue
        except Exception as error:
            errors[i] = error
            continue
        if finished:
            finished(items[i])
    return results, errors, {i: run for run, i in places.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Engines


def _processes(workers: int) -> Engine:
    @contextmanager
    def start(count: int) -> Iterator[AnyTaskRunner]:
        pool = ProcessPoolTaskRunner(max_workers=min(workers, count), initializer=end_with_parent)
        with pool as runner, _killed_if_slow():  # in this order: leaving the pool waits for its processes
            yield runner

    return Engine(workers, start, (BrokenProcessPool,), KILLED_HINT)


@contextmanager
def _killed_if_slow() -> Iterator[None]:
    """An interruption within it kills the processes that were started meanwhile, if they have not ended `GRACE` seconds
    later: one that still imports its libraries would keep the pool, which waits for it, from ending."""
    before = set(active_children())
    try:
        yield
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        timer = Timer(GRACE, kill_all, (set(active_children()) - before,))
        timer.daemon = True
        timer.start()
        raise


def _dask(workers: int, address: str) -> Engine:
    import dask
    from distributed import Client
    from distributed.scheduler import KilledWorker
    from prefect_dask.task_runners import DaskTaskRunner

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of every connection, and what died we tell

    lost = (KilledWorker, CancelledError)
    if not address:

        @contextmanager
        def start(count: int) -> Iterator[AnyTaskRunner]:
            # On one machine a worker dies for want of memory, and so would the next one that gets its batch.
            own = {
                "distributed.scheduler.allowed-failures": 0,
                "distributed.scheduler.worker-saturation": 1.0,
                "distributed.worker.preload": [
                    *dask.config.get("distributed.worker.preload"),
                    "patina.flows.quiet_workers",
                ],
                "distributed.nanny.pre-spawn-environ": {
                    **dask.config.get("distributed.nanny.pre-spawn-environ"),
                    "DASK_LOGGING__DISTRIBUTED": "critical",  # as above: a worker tells of each batch that it drops
                },
            }
            cluster = {
                "n_workers": min(workers, count),
                "threads_per_worker": 1,
                "dashboard_address": ":0",  # its usual port may be another's
            }
            with (
                dask.config.set(own),
                DaskTaskRunner(cluster_kwargs=cluster) as runner,
            ):
                yield runner

        return Engine(workers, start, lost, KILLED_HINT)

    try:
        with Client(address, timeout=PATIENCE, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            found = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, ValueError, TypeError) as error:
        raise BuildError(
            f"no Dask scheduler answers at {address} ({error}); expected an address such as tcp://10.0.0.5:8786, as "
            "`dask scheduler` prints it"
        ) from None
    if not found:
        raise BuildError(f"the Dask scheduler at {address} has no workers; start some: dask worker {address}")
    _expect_api_seen(urlsplit(name).hostname or "" for name in found)
    threads = sum(int(worker["nthreads"]) for worker in found.values())

    @contextmanager
    def join(count: int) -> Iterator[AnyTaskRunner]:
        del count
        with DaskTaskRunner(address=address) as runner:
            with Client(address, timeout=PATIENCE, set_as_default=False) as client:  # type: ignore[no-untyped-call]
                _expect_alike(client.run(worker_fingerprint).values())
            yield runner

    return Engine(threads, join, lost, f"The scheduler at {address} gave up on them; its log says why.")


def _ray(workers: int, address: str) -> Engine:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell Ray's makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what it will do anyway, and warns of
    import ray
    from prefect_ray import RayTaskRunner  # type: ignore[import-untyped]
    from prefect_ray.context import remote_options  # type: ignore[import-untyped]
    from ray import exceptions

    lost = (
        exceptions.WorkerCrashedError, exceptions.OutOfMemoryError, exceptions.NodeDiedError,
        exceptions.ObjectLostError, exceptions.LocalRayletDiedError,
    )  # fmt: skip
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if not address:

        @contextmanager
        def start(count: int) -> Iterator[AnyTaskRunner]:
            job = ray.job_config.JobConfig()
            job._py_driver_sys_path = _Unchanged()
            own = {**quiet, "num_cpus": min(workers, count), "include_dashboard": False, "job_config": job}
            # no second try: on one machine a worker dies for want of memory, and so would the next one
            with RayTaskRunner("local", own) as runner, remote_options(max_retries=0):
                yield runner

        return Engine(workers, start, lost, KILLED_HINT)

    joined = ray.is_initialized()
    try:
        if not joined:
            _expect_answer(address)
            ray.init(address, **quiet)
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        raise BuildError(
            f"no Ray cluster answers at {address} ({error}); expected an address such as 10.0.0.5:6379 or "
            "ray://10.0.0.5:10001, as `ray start --head` prints it, or auto; a cluster that asks for a token wants "
            "RAY_AUTH_MODE=token"
        ) from None
    finally:
        if not joined:
            ray.shutdown()
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    if not cores:
        raise BuildError(f"the Ray cluster at {address} has no cores to run on; start a node: ray start --address=…")
    _expect_api_seen(str(node["NodeManagerAddress"]) for node in nodes)

    @contextmanager
    def join(count: int) -> Iterator[AnyTaskRunner]:
        del count
        if not joined and address == "auto":  # which Prefect would take for a cluster of its own
            ray.init("auto", **quiet)
        try:
            with RayTaskRunner(address, quiet) as runner:
                _expect_alike(_of_each_ray_node())
                yield runner
        finally:
            if not joined:
                ray.shutdown()

    return Engine(cores, join, lost, f"The Ray cluster at {address} gave up on them; its logs say why.")


def _of_each_ray_node() -> Iterable[tuple[str, str]]:
    """What a worker on each node of the cluster that is joined says of its machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(worker_fingerprint)
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    found: list[tuple[str, str]] = ray.get([ask.options(scheduling_strategy=where).remote() for where in there])
    return found


class _Unchanged(list[str]):
    """Folders that Ray's workers on this machine import from before all others. Ray adds the current one, in which a
    user's random.py or patina.py may lie, for which it has no option; none is wanted."""

    def extend(self, folders: Iterable[str], /) -> None:
        """Leave it as it is."""


# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Turns an import that fails into the words of what to install."""
    try:
        yield
    except ImportError as error:
        raise BuildError(
            f"the runner {name} needs a package that is not installed ({error}): pip install 'patina-ir[{name}]'"
        ) from error


@contextmanager
def _api_told() -> Iterator[None]:
    """Within it, settings that are handed to workers name the server that this process uses."""
    with get_client(sync_client=True) as client:
        address = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: address}):
        yield


@contextmanager
def _flow_left_out() -> Iterator[None]:
    """Within it, the context that Prefect hands to workers has an empty flow in the place of the running one.

    Prefect pickles a flow's function with all that it names, some of which cannot be pickled; and a worker cannot
    import a flow that a deployment loaded from a file.
    """
    context = FlowRunContext.get()
    if context is None or context.flow is None:
        yield
        return
    with context.model_copy(update={"flow": Flow(_nothing, name=context.flow.name)}):
        yield


def _nothing() -> None:
    """A flow's function, for workers that never call it."""


def _expect_api_seen(hosts: Iterable[str]) -> None:
    """Raise BuildError if workers run on other machines, and Prefect's server is seen by this one alone."""
    away = next((host for host in hosts if not _is_here(host)), "")
    server = PREFECT_API_URL.value()
    if away and (not server or _is_loopback(urlsplit(server).hostname or "")):
        raise BuildError(
            f"the worker on {away} cannot tell Prefect how it goes on: {server or 'the server inside this process'} is "
            "seen by this machine alone; run `prefect server start --host 0.0.0.0` and set PREFECT_API_URL to its "
            "address as other machines see it, such as http://10.0.0.5:4200/api"
        )


def _expect_alike(workers: Iterable[tuple[str, str]]) -> None:
    """Raise BuildError if a worker, given by its machine's name and fingerprint, makes other bytes than this process.

    Asked of clusters alone: threads and processes of this machine share its processor, libraries and environment.
    """
    here, own = worker_fingerprint()
    others = sorted({f"{name} (fingerprint {found})" for name, found in workers if found != own})
    if others:
        raise BuildError(
            f"the workers on {', '.join(others)} make other bytes than this process on {here} (fingerprint {own}), and "
            "a dataset's bytes would depend on who made what; install the same versions of patina, numpy, "
            "opencv-python-headless, pillow and isal on every machine, or leave those workers out"
        )


def _expect_answer(address: str) -> None:
    """Raise OSError if nothing listens at host:port or ray://host:port: Ray itself would try for ever."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), PATIENCE).close()


def _is_here(host: str) -> bool:
    """Whether a host's name or address is this machine's: only one's own addresses can be bound."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _module_missing(error: BaseException | None) -> str:
    """The module that an error, or what stands behind it, says is missing; "" if none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ModuleNotFoundError):
            return error.name or "patina"
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return ""
