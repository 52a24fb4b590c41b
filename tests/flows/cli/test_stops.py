"""Commands that a signal ends: soon, with one line, leaving nothing that the next run does not remove, and losing
nothing that was finished."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from patina.flows.cli.signals import WORDS, Signals
from patina.pipeline import stopping
from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import PRIVATE, SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.report.check import check
from tests.flows.cli.forked import Forked, Forks
from tests.pipeline.making import photos

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
"""Seconds until which something must have happened, on a machine that others use too."""

SOON = 20.0
"""Seconds in which a command that was asked to stop has ended, likewise: alone on a machine it is one or two."""

RECIPE = "buckets = 6\n[[sources]]\npath = 'photos'\n[degradations.noisy]\n[degradations.jpeg-compressed]\n"

STOPPED = "tests.flows.cli.stopped"
"""A module that runs a command which takes its time."""

TEMPORARY = re.compile(r"\.half-.*|.*\.tmp|batch-.*\.jobs|.*\.permit|\..*\.patina-(half|old)|\.tmp.*")


Process = subprocess.Popen[bytes] | Forked


@dataclass
class Ended:
    """How a command ended: its exit code, what it printed to stderr, and how long after the signal."""

    code: int
    told: str
    seconds: float


def as_from_a_terminal() -> None:
    """Signals as a terminal's commands have them: what was started in the background or by nohup ignores some."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def environment_of(server: dict[str, str] | None = None) -> dict[str, str]:
    """A command's; `server`: what points to one of Prefect's."""
    environment = {**(server or os.environ), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("PREFECT_LOGGING_LEVEL", None)  # the command's own is what a user sees
    return environment


@contextmanager
def begun(process: Process) -> Iterator[Process]:
    """A command, which leads a group of its own, as a terminal starts it; nothing of it is left at the end."""
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def started(module: str, *words: object, stderr: Path, server: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """`python -m MODULE WORD…`, a process that is started for it."""
    with stderr.open("w") as told:
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            env=environment_of(server),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
            preexec_fn=as_from_a_terminal,  # noqa: PLW1509
        )


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(environment_of()) as forks:
        yield forks


Start = Callable[..., Process]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a command: for the quick tests and an interruption as everybody's are started, for the others by a fork of
    a process that has imported all, which is most of what a command has to do."""
    quick = request.node.get_closest_marker("slow") is None
    if quick or request.node.callspec.params["number"] is signal.SIGINT:
        return started
    forks: Forks = request.getfixturevalue("forks")
    return forks.start


def wait_for(condition: Callable[[], bool], what: str, folder: Path, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        told = (folder / "stderr.txt").read_text()[-2000:]
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s:\n{told}"
        time.sleep(0.005)


def stopped(start: Start, folder: Path, number: signal.Signals, after: int, *words: object) -> Ended:
    """A command that gets a signal, its whole group as from a terminal, once it has left so many marks."""
    mark = folder / "mark"
    mark.unlink(missing_ok=True)
    with begun(start(STOPPED, mark, *words, stderr=folder / "stderr.txt")) as process:
        wait_for(
            lambda: (mark.exists() and mark.stat().st_size >= after) or process.poll() is not None, "the work", folder
        )
        assert process.poll() is None, f"it ended by itself: {(folder / 'stderr.txt').read_text()}"
        begin = time.monotonic()
        os.killpg(process.pid, number)
        code = process.wait(PATIENCE)
        return Ended(code, (folder / "stderr.txt").read_text(), time.monotonic() - begin)


def run_again(start: Start, folder: Path, *words: object) -> None:
    with begun(start(STOPPED, folder / "mark", *words, stderr=folder / "stderr.txt")) as process:
        assert process.wait(PATIENCE) == 0, (folder / "stderr.txt").read_text()


def temporaries(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if TEMPORARY.fullmatch(p.name))


def expect_stopped(ended: Ended, number: signal.Signals) -> None:
    if number is signal.SIGKILL:
        assert ended.code == -number
        return
    assert ended.code == 128 + number
    assert ended.told.splitlines() == [WORDS]
    assert ended.seconds < SOON


def staged(out: Path) -> set[int]:
    """Inodes of the shards that lie finished in the staging folder."""
    folder = out / PRIVATE / "staging"
    return {path.with_suffix("").stat().st_ino for path in folder.glob("*.json")} if folder.is_dir() else set()


# ---------------------------------------------------------------------------------------------------------------------
# Without Prefect


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 80 samples, in the folder of its recipe."""
    folder = tmp_path_factory.mktemp("stops")
    photos(folder / "photos", 40, 40, 32)
    (folder / "recipe.toml").write_text(RECIPE)
    build(load_recipe(folder / "recipe.toml"), folder / "dataset")
    return folder / "dataset"


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def signals(*quick: signal.Signals) -> pytest.MarkDecorator:
    """A test for each signal: each takes ten seconds, so those that are not `quick` are slow ones."""
    each = [pytest.param(n, id=n.name, marks=() if n in quick else pytest.mark.slow) for n in (*SIGNALS, signal.SIGHUP)]
    return pytest.mark.parametrize("number", each)


@signals(signal.SIGINT)
def test_a_build_ends_between_two_samples_and_goes_on_from_there(
    dataset: Path, tmp_path: Path, number: signal.Signals, start: Start
) -> None:
    out, words = tmp_path / "out", ("build", dataset.parent / "recipe.toml", tmp_path / "out")
    expect_stopped(stopped(start, tmp_path, number, 10, *words), number)  # while the photographs are read
    marks = (tmp_path / "mark").stat().st_size
    assert marks < 40
    expect_stopped(stopped(start, tmp_path, number, 100, *words), number)  # in the second half of 80 samples
    finished = staged(out)
    assert finished, "whole shards are kept"
    if number is not signal.SIGKILL:
        assert [name for name in temporaries(out) if ".half" in name] == [], "nothing is half written"
    run_again(start, tmp_path, *words)
    assert temporaries(out) == []
    assert finished <= {path.stat().st_ino for path in (out / SHARDS).glob("*.tar")}, "and not made again"
    assert load_manifest(out).digest == load_manifest(dataset).digest  # type: ignore[union-attr]
    assert list((out / PRIVATE / "staging").iterdir()) == []


@signals()
def test_a_check_ends_between_two_samples(dataset: Path, tmp_path: Path, number: signal.Signals, start: Start) -> None:
    words = ("command", "check", dataset, "--replay", "all", "--workers", "2")
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if "sqlite" not in path.name}
    expect_stopped(stopped(start, tmp_path, number, 20, *words), number)
    assert (tmp_path / "mark").stat().st_size < 80
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if "sqlite" not in path.name} == before
    run_again(start, tmp_path, *words)
    assert temporaries(dataset) == []


@pytest.mark.parametrize("to", ["folders", pytest.param("parquet", marks=pytest.mark.slow)])
@signals(signal.SIGKILL)
def test_an_export_ends_between_two_samples(
    dataset: Path, tmp_path: Path, number: signal.Signals, to: str, start: Start
) -> None:
    words = ("command", "export", dataset, "--to", to, "--out", tmp_path / "export", "--workers", "2")
    expect_stopped(stopped(start, tmp_path, number, 20, *words), number)
    assert not (tmp_path / "export").exists()
    assert bool(temporaries(tmp_path)) == (number is signal.SIGKILL)
    run_again(start, tmp_path, *words)
    assert temporaries(tmp_path) == []
    assert any((tmp_path / "export").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_restoration_ends_between_two_photographs(
    dataset: Path, tmp_path: Path, number: signal.Signals, start: Start
) -> None:
    words, out = ("restore", dataset.parent / "photos", tmp_path / "out"), tmp_path / "out"
    expect_stopped(stopped(start, tmp_path, number, 5, *words), number)
    made = len([path for path in out.iterdir() if path.suffix == ".png"])
    assert 4 <= made < 40
    (out / ".half-good-001.png.0123abcd.tmp").write_text("what SIGKILL leaves in the middle of a write")
    run_again(start, tmp_path, *words)
    assert temporaries(out) == []
    assert len(list(out.iterdir())) == 40


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_training_leaves_nothing_that_the_next_does_not_remove(
    tmp_path: Path, number: signal.Signals, start: Start
) -> None:
    from patina.training.checkpoints.resume import StageFolder
    from patina.training.loop.job import Job
    from tests.training.running import small_dataset, stage

    dataset = small_dataset(tmp_path / "small")
    table = stage("controller", max_images=4000, save_every=8, validation={"every": 0}).table()
    job = Job(table, str(dataset), str(tmp_path / "run"), "", 0, True).save(tmp_path / "job.json")
    states = StageFolder(tmp_path / "run" / "controller")

    def run() -> Process:
        return start("patina.training.loop", job, stderr=tmp_path / "stderr.txt")

    with begun(run()) as process:
        wait_for(lambda: states.states() != [], "a state", tmp_path)
        time.sleep({signal.SIGINT: 0.0, signal.SIGTERM: 0.1, signal.SIGKILL: 0.05}[number])
        os.kill(process.pid, number)
        assert process.wait(PATIENCE) != 0
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text()
    left = tmp_path / "run" / "controller" / ".half-state.safetensors.0123abcd.tmp"
    left.mkdir()  # what SIGKILL leaves in the middle of a write
    (left / ".tmpXYZ").write_text("half a state")
    seen = max(int(path.name[6:18]) for path in states.states())
    Job(table, str(dataset), str(tmp_path / "run"), "", 0, True, stop_at=seen + 8).save(tmp_path / "job.json")
    with begun(run()) as process:
        process.wait(PATIENCE)
    assert max(int(path.name[6:18]) for path in states.states()) == seen + 8
    assert temporaries(tmp_path / "run") == []


def test_signals_that_are_ignored_stay_so_and_handlers_come_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.default_int_handler  # a shell's background job has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals = Signals()
        with signals.heeded():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "as nohup has it"
            assert signal.getsignal(signal.SIGINT) != before[signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
        assert not signals.received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_first_signal_asks_all_work_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_asked", stopping._Asked())
    signals = Signals()
    with pytest.raises(KeyboardInterrupt):
        signals._come(signal.SIGTERM, None)
    assert signals.received == signal.SIGTERM
    with pytest.raises(stopping.StoppedError):
        stopping.expect_wanted()


# ---------------------------------------------------------------------------------------------------------------------
# With Prefect


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runner", "number"),
    [
        ("threads", signal.SIGTERM),
        ("threads --prefect", signal.SIGTERM),
        ("processes", signal.SIGINT),
        ("processes", signal.SIGKILL),
        ("dask", signal.SIGINT),
        ("dask", signal.SIGTERM),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_build_by_a_runner_ends_with_all_its_workers(
    tmp_path: Path, runner: str, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    """`--prefect` starts an API of its own, which ends with it; others have a server, which saves ten seconds each."""
    wanted = {"threads": "", "threads --prefect": "prefect_alone"}.get(runner, "prefect_server")
    server = request.getfixturevalue(wanted) if wanted else None
    photos(tmp_path / "photos", 24, 480, 320)
    (tmp_path / "recipe.toml").write_text(RECIPE + "[degradations.rainy]\n[degradations.snowy]\n")
    out = tmp_path / "out"
    words = ("build", tmp_path / "recipe.toml", "--out", out, "--workers", "2", "--runner", *runner.split())
    stderr = tmp_path / "stderr.txt"
    staging = out / PRIVATE / "staging"
    with begun(started("patina", *words, stderr=stderr, server=server)) as process:
        wait_for(lambda: staging.is_dir() and any(staging.glob(".half-*")), "a shard under way", tmp_path, 180)
        workers = psutil.Process(process.pid).children(recursive=True)
        begin = time.monotonic()
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        code = process.wait(PATIENCE)
        ended = Ended(code, stderr.read_text(), time.monotonic() - begin)
        print(f"{runner} {number.name}: {ended.seconds:.1f} s")
        expect_stopped(ended, number)
        builders = [worker for worker in workers if not _is_api(worker)]
        _, alive = psutil.wait_procs(builders, timeout=SOON)
        assert not alive, "no worker outlives the build"
    finished = staged(out)
    build(load_recipe(tmp_path / "recipe.toml"), out)
    assert temporaries(out) == []
    assert finished <= {path.stat().st_ino for path in (out / SHARDS).glob("*.tar")}
    assert check(out).ok


def _is_api(process: psutil.Process) -> bool:
    try:
        return "uvicorn" in process.cmdline()
    except psutil.Error:
        return False
