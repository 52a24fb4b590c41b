"""Two Dask workers behind networks of their own on one folder, one of which is cut off in the middle of a build."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.hashing import file_sha256
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.report.check import check
from patina.pipeline.versions.version import all_versions
from tests.pipeline.making import photos, public_files

if TYPE_CHECKING:
    from distributed import LocalCluster

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PATIENCE = 180.0
"""Seconds for a server or a worker to start; a busy machine is slow."""

TCP = "12s"
"""How long Dask waits for a silent connection; its own default is 30 s, and it takes no less than 11."""


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------------------------------
# Networks


@dataclass(frozen=True)
class Network:
    """A network namespace, joined with this one by a pair of virtual devices. here: this side's address."""

    name: str
    here: str

    def cut(self) -> None:
        """Take the far device down: packets are lost, and nobody is told."""
        ip("-n", self.name, "link", "set", "far", "down")

    def join(self) -> None:
        """Take it up again, with its way to this side, which was lost with it."""
        ip("-n", self.name, "link", "set", "far", "up")
        ip("-n", self.name, "route", "replace", "default", "via", self.here)

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def network(number: int) -> Iterator[Network]:
    """A namespace behind 10.231.NUMBER.0/24. Raises OSError, CalledProcessError where none can be made."""
    name, near, subnet = f"patina-{os.getpid()}-{number}", f"pt{os.getpid() % 10**6}-{number}", f"10.231.{number}"
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", name)
        ip("addr", "add", f"{subnet}.1/24", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{subnet}.2/24", "dev", "far")
        ip("-n", name, "link", "set", "lo", "up")
        made = Network(name, f"{subnet}.1")
        made.join()
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", near)  # at once; with its namespace it goes a little later
        ip("netns", "del", name)


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[Network, Network]]:
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces are made by root, with `ip`")
    with ExitStack() as held:
        try:
            pair = held.enter_context(network(1)), held.enter_context(network(2))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', '') or error}")
        yield pair


# ---------------------------------------------------------------------------------------------------------------------
# Servers and workers


@contextmanager
def started(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as lines:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=lines, stderr=lines, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def prefect_server(folder: Path, host: str, database: Path) -> Iterator[str]:
    """A server of Prefect that both networks see, on a copy of the database; gives its address."""
    (folder / "prefect").mkdir()
    shutil.copy(database, folder / "prefect" / "prefect.db")
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port), "--no-ui"]
    settings = {"PREFECT_API_URL": "", "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false"}
    with started(command, folder / "server.log", PREFECT_HOME=str(folder / "prefect"), **settings) as server:

        def answers() -> bool:
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                return urllib.request.urlopen(f"http://{host}:{port}/api/health", timeout=5).status == 200
            except OSError:
                return False

        until(answers)
        yield f"http://{host}:{port}/api"


@dataclass(frozen=True)
class Cluster:
    """A scheduler, and a worker in each of two networks. api: of Prefect. doomed: the worker that is cut off."""

    address: str
    api: str
    doomed: subprocess.Popen[bytes]


@contextmanager
def dask_worker(network: Network, address: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
    settings = {"PREFECT_HOME": str(folder / "home"), "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": TCP}
    folder.mkdir()
    command = network.command(sys.executable, "-m", "dask", *words)
    with started(command, folder / "worker.log", **settings) as process:
        yield process


@pytest.fixture(scope="module")
def standing(
    networks: tuple[Network, Network], prefect_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalCluster, str]]:
    """What nobody cuts off: server, scheduler and a worker."""
    import dask
    from distributed import LocalCluster

    _, kept = networks
    folder = tmp_path_factory.mktemp("standing")
    with ExitStack() as held:
        api = held.enter_context(prefect_server(folder, kept.here, prefect_database))
        held.enter_context(dask.config.set({"distributed.comm.timeouts.tcp": TCP}))
        scheduler = held.enter_context(LocalCluster(n_workers=0, host=kept.here, dashboard_address=None))
        held.enter_context(dask_worker(kept, scheduler.scheduler_address, folder / "kept"))
        yield scheduler, api


@pytest.fixture
def cluster(networks: tuple[Network, Network], standing: tuple[LocalCluster, str], tmp_path: Path) -> Iterator[Cluster]:
    (lost, _), (scheduler, api) = networks, standing
    lost.join()
    with dask_worker(lost, scheduler.scheduler_address, tmp_path / "doomed") as doomed:
        until(lambda: len(scheduler.scheduler.workers) == 2)
        yield Cluster(scheduler.scheduler_address, api, doomed)


# ---------------------------------------------------------------------------------------------------------------------
# Cutting


class Cutter(threading.Thread):
    """Cuts a worker off while it writes a shard, once another shard lies finished. frozen: whether the worker also
    stands still from then on, so that it wakes up in the middle of a shard after the build is over."""

    def __init__(self, out: Path, worker: int, network: Network, *, frozen: bool) -> None:
        super().__init__(daemon=True)
        self.staging, self.worker, self.network, self.frozen = out / PRIVATE / "staging", worker, network, frozen
        self.writing: list[Path] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            if not any(self.staging.glob("*.tar.????????????????.json")):
                continue
            if found := self._written():
                if self.frozen:
                    os.kill(self.worker, signal.SIGSTOP)
                self.network.cut()
                self.writing = found
                return

    def _written(self) -> list[Path]:
        try:
            opened = [path.readlink() for path in Path(f"/proc/{self.worker}/fd").iterdir()]
        except OSError:
            return []
        return [path for path in opened if path.suffix == ".tmp" and path.parent == self.staging]


def expect_whole(staging: Path) -> None:
    """Every staged file is whole: what an index stands for is there, byte for byte."""
    for index in staging.glob("*.json"):
        digest, _, body = index.read_text().partition("\n")
        assert hashlib.sha256(body.encode()).hexdigest() == digest
        assert file_sha256(index.with_suffix("")) == json.loads(body)["entry"]["sha256"]


BUILD = """
import sys
from patina.flows.build_dataset import build_dataset
recipe, out, address = sys.argv[1:]
done = build_dataset(recipe, out, workers=1, runner="dask", address=address, replay=0)
print(done.samples_written, "samples written", flush=True)
"""


@dataclass(frozen=True)
class Works:
    """A recipe, the one that comes after it, and what undisturbed builds of the two give."""

    recipes: tuple[Path, Path]
    expected: tuple[dict[str, bytes], dict[str, bytes]]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Works:
    folder = tmp_path_factory.mktemp("works")
    photos(folder / "photos", 6, 480, 320)
    text = "buckets = 4\n[[sources]]\npath = 'photos'\n[degradations.hazy]\nvariants = 12\n[degradations.noisy]\n"
    recipes, expected = [], []
    for variants in (2, 3):
        recipes.append(folder / f"{variants}.toml")
        recipes[-1].write_text(f"name = 'cut'\n{text}variants = {variants}\n")
        build(load_recipe(recipes[-1]), folder / "undisturbed")
        expected.append(contents(folder / "undisturbed"))
    return Works((recipes[0], recipes[1]), (expected[0], expected[1]))


@pytest.mark.parametrize("frozen", [False, True], ids=["goes on writing", "wakes up after the build"])
def test_a_worker_that_is_cut_off_in_the_middle_of_a_build(
    cluster: Cluster, networks: tuple[Network, Network], works: Works, tmp_path: Path, frozen: bool
) -> None:
    (recipe, later), out = works.recipes, tmp_path / "out"

    cutter = Cutter(out, cluster.doomed.pid, networks[0], frozen=frozen)
    cutter.start()
    command = [sys.executable, "-c", BUILD, str(recipe), str(out), cluster.address]
    settings = {"PREFECT_API_URL": cluster.api, "PREFECT_HOME": str(tmp_path / "home")}
    told = subprocess.run(command, check=False, env=os.environ | settings, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr
    cutter.over.set()
    cutter.join()
    assert cutter.writing, "it was cut off while it wrote"
    assert told.stdout.splitlines()[-1] == "84 samples written"
    assert contents(out) == works.expected[0], "the other worker made all of it"
    assert check(out).ok

    if frozen:
        assert cluster.doomed.poll() is None
        os.kill(cluster.doomed.pid, signal.SIGCONT)
    until(lambda: cluster.doomed.poll() is not None)  # it ends its shard, finds no scheduler, and ends
    staging = out / PRIVATE / "staging"
    assert not any(staging.glob("*.tmp")), "nothing half written is left"
    expect_whole(staging)
    assert contents(out) == works.expected[0], "what it wrote late reaches no version"
    versions = all_versions(out)
    assert [version.number for version in versions] == [1]

    build(load_recipe(later), out)
    assert contents(out) == works.expected[1]
    assert check(out).ok
    assert load_manifest(versions[0].folder) is not None
    assert list(staging.iterdir()) == []


def contents(out: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in public_files(out).items()}
