"""Runners: the same bytes from threads, processes, Dask and Ray; and what happens when a worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import psutil
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import BuildError
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.recipe.parse import load_recipe
from tests.pipeline.builder.test_incremental import public_files
from tests.pipeline.making import photos

ENGINES = ("processes", "dask", "ray")


# ---------------------------------------------------------------------------------------------------------------------
# Without workers


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_an_address_names_a_cluster(name: Any) -> None:
    from patina.flows.runners import make_runner

    with pytest.raises(BuildError, match=f"the address tcp://here:1 names a cluster, and {name} run here"):
        make_runner(name, 2, "tcp://here:1")


def test_an_unknown_runner_is_refused() -> None:
    from patina.flows.runners import make_runner

    with pytest.raises(BuildError, match="no runner 'spark'; expected one of threads, processes, dask, ray"):
        make_runner("spark", 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "package"), [("dask", "prefect_dask.task_runners"), ("ray", "prefect_ray")])
def test_a_missing_library_is_named_with_what_installs_it(
    name: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from patina.flows.runners import make_runner

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BuildError, match=rf"the runner {name} needs .*{package}.*pip install 'patina-ir\[{name}\]'"):
        make_runner(name, 2)


def test_a_dask_scheduler_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import patina.flows.runners as module

    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with pytest.raises(BuildError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        module.make_runner("dask", 2, "tcp://127.0.0.1:9")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_a_ray_cluster_that_does_not_answer_is_told_at_once(address: str) -> None:
    from patina.flows.runners import make_runner

    with pytest.raises(BuildError, match=f"no Ray cluster answers at {address} .*refused"):
        make_runner("ray", 2, address)


def test_a_server_that_only_this_machine_sees_is_refused_for_workers_elsewhere() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from patina.flows.runners import _expect_api_seen

    for server in (None, "http://127.0.0.1:4200/api", "http://localhost:4200/api"):
        with temporary_settings({PREFECT_API_URL: server}):
            _expect_api_seen(["127.0.0.1", "localhost"])
            with pytest.raises(
                BuildError, match=r"the worker on 203\.0\.113\.7 cannot tell Prefect.*set PREFECT_API_URL"
            ):
                _expect_api_seen(["127.0.0.1", "203.0.113.7"])  # kept for documentation: no machine has it (RFC 5737)
    with temporary_settings({PREFECT_API_URL: "http://10.0.0.5:4200/api"}):
        _expect_api_seen(["203.0.113.7"])


def test_workers_that_make_other_bytes_are_refused_by_their_machines_names() -> None:
    from patina.flows.runners import _expect_alike
    from patina.pipeline.codec.fingerprint import machine_fingerprint

    own = machine_fingerprint()
    _expect_alike([("here", own), ("there", own)])
    with pytest.raises(BuildError) as caught:
        _expect_alike([("alike", own), ("old-xeon", "0123456789abcdef"), ("arm-box", "f" * 16), ("arm-box", "f" * 16)])
    said = str(caught.value)
    assert "the workers on arm-box (fingerprint ffffffffffffffff), old-xeon (fingerprint 0123456789abcdef) make" in said
    assert "alike" not in said and own in said and "install the same versions of patina" in said


class Pool:
    """A task runner's double: a future for each item, which fails where it says."""

    def __init__(self, outcomes: Sequence[object]) -> None:
        self.outcomes = iter(outcomes)
        self.names: list[str] = []
        self.runs: list[Any] = []

    def submit(self, task: Any, parameters: dict[str, Any]) -> Any:
        from prefect.futures import PrefectConcurrentFuture

        self.names.append(f"{parameters['step']} {parameters['batch']}")
        future: Future[Any] = Future()
        outcome = next(self.outcomes)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        self.runs.append(uuid4())
        return PrefectConcurrentFuture(self.runs[-1], future)


def gather(*outcomes: object) -> tuple[dict[int, Any], dict[int, Exception], list[str], Pool]:
    from patina.flows.runners import _gather

    pool, ended = Pool(outcomes), list[str]()
    items = [f"item {i}" for i in range(len(outcomes))]
    results, errors, _ = _gather(cast(Any, pool), "build shards", str, items=items, finished=ended.append)
    return results, errors, ended, pool


def test_every_result_is_read_and_only_what_ended_well_is_told() -> None:
    full = OSError(28, "No space left on device")
    results, errors, ended, pool = gather("a", full, "c")
    assert results == {0: "a", 2: "c"}
    assert errors == {1: full}
    assert sorted(ended) == ["item 0", "item 2"]
    assert pool.names == ["build shards 1 of 3", "build shards 2 of 3", "build shards 3 of 3"]


CRASHED: list[Any] = []
"""Task runs that were told to have crashed."""


def workers_over(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Any:
    import patina.flows.runners as module

    @contextmanager
    def start(_: int) -> Iterator[Any]:
        yield pool

    @contextmanager
    def nothing() -> Iterator[None]:
        yield

    monkeypatch.setattr(module, "_api_told", nothing)
    monkeypatch.setattr(module, "crash_task_runs", CRASHED.extend)
    CRASHED.clear()
    return module.PrefectWorkers(module.Engine(2, start, (BrokenProcessPool,), "Take fewer."))


def test_a_lost_worker_is_told_with_its_batches_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(["a", BrokenProcessPool("gone"), BrokenProcessPool("gone"), "d"])
    with pytest.raises(BuildError) as caught:
        workers_over(pool, monkeypatch).map("build shards", str, ["w", "x", "y", "z"])
    assert str(caught.value) == (
        "a worker died, and these were not finished: batch 2 of 4 (x), batch 3 of 4 (y). Take fewer. All shards that "
        "were finished are kept: run the build again to continue"
    )
    assert set(CRASHED) == set(pool.runs[1:3]), "Prefect is told of these, which nobody else ends"


def test_an_error_in_a_worker_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space left"):
        workers_over(Pool([OSError(28, "No space left on device"), 1]), monkeypatch).map("s", str, [1, 2])
    assert CRASHED == []


def test_a_worker_without_patina_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("Error during deserialization of the task graph.")
    error.__cause__ = ModuleNotFoundError("No module named 'pipeline'", name="pipeline")
    with pytest.raises(BuildError, match=r"a worker cannot import pipeline: every machine .* needs patina"):
        workers_over(Pool([error]), monkeypatch).map("s", str, [1])


# ---------------------------------------------------------------------------------------------------------------------
# With workers


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few photographs and many samples: shards that take a while."""
    folder = tmp_path_factory.mktemp("runners")
    photos(folder / "photos", 6, 480, 320)
    path = folder / "recipe.toml"
    path.write_text("buckets = 4\n[[sources]]\npath = 'photos'\n[degradations.hazy]\nvariants = 12\n")
    return path


@pytest.fixture(scope="module")
def plain(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of that dataset as a build in this process makes it."""
    out = tmp_path_factory.mktemp("plain")
    build(load_recipe(recipe), out)
    return public_files(out)


def batches(out: Path, seconds: float = 30) -> list[str]:
    """The states of the batches of a flow run into `out`, once the server knows the end of each, or time is up."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter

    of_batch = TaskRunFilter.model_validate({"name": {"like_": "build shards"}})
    deadline = time.monotonic() + seconds
    while True:
        with get_client(sync_client=True) as client:
            runs = [run.id for run in client.read_flow_runs() if (run.parameters or {}).get("out") == str(out)]
            of_run = FlowRunFilter.model_validate({"id": {"any_": runs}})
            found = client.read_task_runs(flow_run_filter=of_run, task_run_filter=of_batch) if runs else []
        states = sorted(str(run.state_name) for run in found)
        if (states and not {*states} & {"Pending", "Running"}) or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


class Killer:
    """Kills the first process, other than this one, that is found writing a shard into `out` once one lies finished."""

    def __init__(self, out: Path) -> None:
        self.staging = out / ".patina" / "staging"
        self.killed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            if not any(self.staging.glob("*.tar.????????????????.json")):
                continue
            for process in psutil.Process().children(recursive=True):
                if self._writes(process):
                    process.kill()
                    self.killed = process.pid
                    return

    def _writes(self, process: psutil.Process) -> bool:
        try:
            opened = [path.readlink() for path in Path(f"/proc/{process.pid}/fd").iterdir()]
            return any(path.suffix == ".tmp" and path.parent == self.staging for path in opened)
        except OSError:
            return False


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_stops_the_build_and_the_next_run_continues(
    engine: Any, recipe: Path, plain: dict[str, str], tmp_path: Path
) -> None:
    from patina.flows.build_dataset import build_dataset

    out = tmp_path / "out"
    with Killer(out) as killer, pytest.raises(BuildError, match=r"a worker died.* batch \d of 4 \(train-000\d-hazy"):
        build_dataset(str(recipe), str(out), workers=2, runner=engine, replay=0)
    assert killer.killed
    assert load_manifest(out) is None
    states = batches(out)
    assert states and "Running" not in states, "nor does the batch of the worker that died go on in Prefect's eyes"
    kept = len(list((out / ".patina" / "staging").glob("*.tar.????????????????.json")))
    assert 1 <= kept < 4

    report = build_dataset(str(recipe), str(out), workers=2, runner=engine, replay=0)
    assert sum(result.copied > 0 for result in report.results) == kept
    assert sum(result.synthesised for result in report.results) < report.samples_written == 72
    assert public_files(out) == plain
    assert list((out / ".patina" / "staging").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_an_existing_dask_cluster_gives_a_dead_workers_batch_to_another(
    recipe: Path, plain: dict[str, str], tmp_path: Path
) -> None:
    from distributed import LocalCluster

    from patina.flows.build_dataset import build_dataset

    out = tmp_path / "out"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Killer(out) as killer,
    ):
        build_dataset(str(recipe), str(out), workers=1, runner="dask", address=cluster.scheduler_address, replay=0)
    assert killer.killed
    assert {*batches(out)} == {"Completed"}
    assert public_files(out) == plain


@contextmanager
def dask_cluster(*workers: dict[str, Any]) -> Iterator[str]:
    """The address of a scheduler with workers of these options, each a process of its own."""
    from distributed import Nanny, Scheduler, SpecCluster

    scheduler = {"cls": Scheduler, "options": {"dashboard_address": ":0"}}
    spec = {i: {"cls": Nanny, "options": {"nthreads": 1, **options}} for i, options in enumerate(workers)}
    with SpecCluster(scheduler=scheduler, workers=spec) as cluster:  # type: ignore[no-untyped-call]
        yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_worker_without_avx_gives_the_same_bytes(recipe: Path, plain: dict[str, str], tmp_path: Path) -> None:
    from benchmarks.processors import SWITCHES
    from patina.flows.build_dataset import build_dataset

    out = tmp_path / "out"
    with dask_cluster({}, {"env": SWITCHES["SSE all over"]}) as address:
        build_dataset(str(recipe), str(out), workers=1, runner="dask", address=address, replay=0)
    assert public_files(out) == plain


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_mixed_cluster_is_refused_before_any_work(recipe: Path, tmp_path: Path) -> None:
    from socket import gethostname

    from patina.flows.build_dataset import build_dataset

    other = tmp_path / "other.py"
    other.write_text("import patina.pipeline.codec.fingerprint as f\nf.machine_fingerprint = lambda: 16 * '0'\n")
    with (
        dask_cluster({}, {"preload": [str(other)]}) as address,
        pytest.raises(BuildError, match=rf"the workers on {gethostname()} \(fingerprint 0{{16}}\) make other bytes"),
    ):
        build_dataset(str(recipe), str(tmp_path / "out"), workers=1, runner="dask", address=address, replay=0)
    assert load_manifest(tmp_path / "out") is None


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_steps_run_in_the_flows_process_and_batches_in_others() -> None:
    from prefect import flow

    from patina.flows.runners import make_runner

    @flow
    def where() -> tuple[int, set[int]]:
        runner = make_runner("processes", 2)
        return runner.call("caption", os.getpid), set(runner.map("build shards", _process_of, [1, 2, 3]))

    here, there = where()
    assert here == os.getpid()
    assert here not in there


def _process_of(_: object) -> int:
    return os.getpid()


@pytest.mark.slow
def test_workers_end_with_a_flow_that_was_killed() -> None:
    """A pool's workers would wait for ever."""
    code = (
        "import multiprocessing, os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from patina.flows.runners import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    spawn = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, spawn, end_with_parent)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    flow = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert flow.stdout is not None
    with flow.stdout:
        worker = psutil.Process(int(flow.stdout.readline()))
    flow.send_signal(signal.SIGKILL)
    flow.wait()
    deadline = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlives the flow"
        time.sleep(0.05)
