"""Shards on processes: the same bytes as on threads, chosen where they pay, and ended with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import parent_process
from pathlib import Path

import pytest

from patina.children import ROOT
from patina.pipeline.builder.build import build
from patina.pipeline.builder.jobs import build_shards
from patina.pipeline.builder.processes import PRELOADED, START_SECONDS, Processes, processes_pay
from patina.pipeline.builder.runner import Runner, Threads
from patina.pipeline.errors import BuildError
from patina.pipeline.progress import Silent
from patina.pipeline.stopping import StoppedError, expect_wanted, stoppable
from tests.pipeline.making import photos, public_files, tiny_recipe


def square(number: int) -> int:
    return number * number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def die_elsewhere(number: int) -> int:
    if parent_process():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number


def die_beside_long_work(folder: str) -> None:
    """In a process of its own: be killed once this one is at work, which says how that ended."""
    begun, ended = Path(folder) / "begun", Path(folder) / "ended"
    deadline = time.monotonic() + 20
    if parent_process():
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    begun.touch()
    try:
        while time.monotonic() < deadline:
            expect_wanted()
            time.sleep(0.01)
    except StoppedError as error:
        ended.write_text(str(error), "utf-8")
        raise
    ended.write_text("came to its end", "utf-8")


def wait_long(path: str) -> str:
    """What Python alone cannot end, in a process of its own; a thread asks whether it is wanted, as samples do."""
    Path(path).touch()
    if parent_process():
        time.sleep(60)
    for _ in range(600):
        expect_wanted()
        time.sleep(0.1)
    return path


def where(number: int) -> tuple[int, str, bool]:
    time.sleep(0.3)
    main = getattr(sys.modules["__main__"], "__file__", None)
    return os.getpid(), str(main), PRELOADED in sys.modules


@pytest.mark.parametrize(
    ("seconds", "workers", "pays"),
    [(0.0, 8, False), (1e6, 1, False), (4 * 2 * START_SECONDS + 1, 2, True), (4 * 2 * START_SECONDS - 1, 2, False)],
)
def test_processes_pay_where_waiting_for_the_lock_takes_longer_than_they_take_to_start(
    seconds: float, workers: int, pays: bool
) -> None:
    assert processes_pay(seconds, workers) is pays


def test_plain_threads_stay_threads(tmp_path: Path) -> None:
    """Whoever calls from Python may have no `if __name__`, without which processes cannot be started."""
    assert type(Threads(4).suited(1e6)) is Threads
    assert build_shards([], 1e6, Threads(4), tmp_path, Silent()) == []


@pytest.mark.slow
def test_results_come_in_order_and_the_first_error_is_raised_after_all_have_ended() -> None:
    told: list[int] = []
    assert Processes(2).map("square", square, [3, 1, 2], told.append) == [9, 1, 4]
    assert sorted(told) == [1, 2, 3]
    told.clear()
    with pytest.raises(ValueError, match="two"):
        Processes(2).map("fail", fail_at_two, [1, 2, 3], told.append)
    assert sorted(told) == [1, 3]


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_in_words() -> None:
    with pytest.raises(BuildError, match="ended in the middle"):
        Processes(2).map("build shards", die_elsewhere, range(1000))


@pytest.mark.slow
def test_work_of_this_process_stops_where_another_is_killed_and_no_other_work_does(tmp_path: Path) -> None:
    """A batch of large photographs takes minutes, and the build has failed already."""
    with stoppable(), pytest.raises(BuildError, match="ended in the middle"):
        try:
            Processes(2).map("build shards", die_beside_long_work, [str(tmp_path)] * 2)
        finally:
            expect_wanted()  # as another build of this process does meanwhile
    assert (tmp_path / "ended").read_text("utf-8") == "stopped: the work that this was a part of has failed"


@pytest.mark.slow
def test_this_process_works_too_and_the_others_are_forked_from_one_that_has_all_imports() -> None:
    found = Processes(2).map("where", where, range(8))
    assert len({process for process, _, _ in found}) == 2
    assert os.getpid() in {process for process, _, _ in found}
    assert all(preloaded for process, _, preloaded in found if process != os.getpid())


@pytest.mark.slow
def test_the_main_module_is_imported_by_others_only_where_it_is_needed(tmp_path: Path) -> None:
    """As a program with its own degradations needs it, and the command does not."""
    script = tmp_path / "program.py"
    script.write_text(
        "import sys\n"
        "from patina.pipeline.builder.processes import Processes\n"
        "from tests.pipeline.builder.test_processes import where\n"
        "if __name__ == '__main__':\n"
        "    runner = Processes(2)\n"
        "    runner.needs_main = sys.argv[1] == 'needed'\n"
        "    here = where(0)[0]\n"
        "    print({main for process, main, _ in runner.map('where', where, range(8)) if process != here})\n",
        "utf-8",
    )
    for needed, main in (("needed", str(script)), ("not", "None")):
        command = [sys.executable, str(script), needed]
        ended = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
        )
        assert ended.stdout == f"{ {main} }\n"


@pytest.mark.slow
def test_work_that_one_process_can_do_starts_no_other() -> None:
    assert {process for process, _, _ in Processes(1).map("where", where, [0, 1])} == {os.getpid()}
    assert {process for process, _, _ in Processes(8).map("where", where, [0])} == {os.getpid()}


@pytest.mark.slow
def test_an_interruption_ends_the_processes_soon(tmp_path: Path) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 4)
    start = time.monotonic()
    try:
        with pytest.raises(Interrupted):
            Processes(2).map("wait", wait_long, [str(tmp_path / "a"), str(tmp_path / "b")])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 30, "nobody waits a minute for what was interrupted"


@pytest.mark.slow
def test_threads_and_processes_give_the_same_bytes(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 6)
    recipe = tiny_recipe(tmp_path, buckets=2, degradations={"noisy": {}, "hazy": {}, "jpeg-compressed": {}})
    runners: dict[str, Runner] = {"one": Threads(1), "threads": Threads(3), "processes": Processes(3)}
    found = {}
    for name, runner in runners.items():
        build(recipe, tmp_path / name, runner=runner)
        found[name] = {path: file.read_bytes() for path, file in public_files(tmp_path / name).items()}
    assert found["one"] == found["threads"] == found["processes"]
