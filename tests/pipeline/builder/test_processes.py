"""Shards on processes: the same bytes as on threads, chosen where they pay, and ended with whoever started them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.jobs import build_shards
from patina.pipeline.builder.processes import START_SECONDS, Processes, processes_pay
from patina.pipeline.builder.runner import Runner, Threads
from patina.pipeline.errors import BuildError
from patina.pipeline.progress import Silent
from tests.pipeline.making import photos, public_files, tiny_recipe


def square(number: int) -> int:
    return number * number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


def die_at_one(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_at_first(path: str) -> str:
    Path(path).touch()
    time.sleep(60)
    return path


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
        Processes(2).map("build shards", die_at_one, [0, 1, 2])


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
            Processes(2).map("wait", wait_at_first, [str(tmp_path / "a"), str(tmp_path / "b")])
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
