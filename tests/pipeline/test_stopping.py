"""Work that is asked to stop: threads between two samples, workers by their permit, and new work after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from patina.pipeline import stopping
from patina.pipeline.stopping import (
    StoppedError,
    ask,
    expect_wanted,
    permitted_by,
    permitting,
    stoppable,
    stoppable_threads,
    wanted_until,
)
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng
from patina.synth.strips import watched

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def unasked() -> Iterator[None]:
    yield
    assert not stopping._asked.event.is_set(), "a test that asks for a stop leaves none behind"
    assert stopping._asked.within == 0


class Interruption(BaseException):
    """What is no Exception, such as Prefect's TerminationSignal."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Interruption])
def test_an_interruption_of_the_waiting_thread_ends_the_others_between_two_samples(kind: type[BaseException]) -> None:
    made: list[int] = []
    begun = threading.Event()
    ended: list[type[BaseException]] = []

    def loop(first: int) -> None:
        try:
            for i in range(first, first + 1_000_000):
                expect_wanted()
                made.append(i)
                begun.set()
                time.sleep(0.001)
        except StoppedError as error:
            ended.append(type(error))
            raise

    start = time.monotonic()
    with pytest.raises(kind), stoppable_threads(2) as pool:
        futures = [pool.submit(loop, 1_000_000 * k) for k in range(5)]
        begun.wait(PATIENCE)
        raise kind
    assert time.monotonic() - start < PATIENCE
    assert 1 <= len(ended) <= 2, "those that ran were told"
    assert sum(future.cancelled() for future in futures) >= 3, "and no other was begun"
    expect_wanted()


@pytest.mark.parametrize("kind", [ValueError, GeneratorExit])
def test_an_error_is_no_interruption(kind: type[BaseException]) -> None:
    seen: list[bool] = []

    def work() -> None:
        expect_wanted()
        seen.append(True)

    with pytest.raises(kind), stoppable_threads(1) as pool:
        futures = [pool.submit(work) for _ in range(20)]
        raise kind
    assert all(future.done() for future in futures), "the pool waited"
    if kind is ValueError:
        assert len(seen) == 20, "what was begun before an error comes to its end"


def test_the_answer_holds_until_the_outermost_work_has_ended() -> None:
    with stoppable():
        with pytest.raises(KeyboardInterrupt), stoppable():
            raise KeyboardInterrupt
        with pytest.raises(StoppedError, match="stopped"):
            expect_wanted()
    expect_wanted()


def test_a_process_that_is_to_end_begins_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_asked", stopping._Asked())
    ask(for_good=True)
    with stoppable():
        pass
    with pytest.raises(StoppedError), stoppable():
        expect_wanted()


def test_a_pool_whose_work_has_failed_stops_and_no_other_thread_does() -> None:
    failed = threading.Event()
    with ThreadPoolExecutor(1, initializer=wanted_until, initargs=(failed,)) as part, ThreadPoolExecutor(1) as other:
        part.submit(expect_wanted).result(PATIENCE)
        failed.set()
        with pytest.raises(StoppedError, match="has failed"):
            part.submit(expect_wanted).result(PATIENCE)
        other.submit(expect_wanted).result(PATIENCE)
        expect_wanted()


def test_a_worker_is_wanted_as_long_as_its_permit_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK_SECONDS", 0.0)
    permit = tmp_path / "a.permit"
    with permitting(permit):
        with permitted_by(str(permit)):
            expect_wanted()
            permit.unlink()  # as another process would
            with pytest.raises(StoppedError, match="the build that this was for has ended"):
                expect_wanted()
        expect_wanted()
    assert list(tmp_path.iterdir()) == []
    with permitted_by(""):
        expect_wanted()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, None])
def test_a_permit_goes_with_the_work(tmp_path: Path, kind: type[BaseException] | None) -> None:
    permit = tmp_path / "a.permit"
    try:
        with permitting(permit):
            assert permit.exists()
            if kind is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt), stoppable():
                    raise kind
                assert not permit.exists(), "at once, since the workers are waited for before the end"
            elif kind:
                raise kind
    except ValueError:
        pass
    assert not permit.exists()


def test_a_look_at_the_permit_is_rare_and_the_flag_is_cheap(tmp_path: Path) -> None:
    permit = tmp_path / "a.permit"
    permit.touch()
    with permitted_by(str(permit)):
        expect_wanted()
        permit.unlink()
        expect_wanted()  # it looked just now
        time.sleep(stopping.LOOK_SECONDS)
        with pytest.raises(StoppedError):
            expect_wanted()


def test_a_stop_is_heard_within_a_large_photograph() -> None:
    """The watcher of a build asks between two strips: the photograph is not finished first."""
    image = np.zeros((4000, 64, 3), np.uint8)
    method = CATALOGUE["hazy"]()
    params = method.draw(Rng("2a"), image)
    told: list[float] = []

    def watch(done: float) -> None:
        told.append(done)
        if len(told) == 2:
            ask()
        expect_wanted()

    with stoppable(), watched(watch), pytest.raises(StoppedError):
        method.apply(image, params)
    assert len(told) == 2 and told[-1] < 0.1
