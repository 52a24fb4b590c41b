from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.captioning import batches
from patina.captioning.batches import AHEAD, PREPARING, WINDOW, stream
from patina.captioning.captioner import CaptionError, Run
from tests.captioning.doubles import DEADLY, SLOW, UNREADABLE, WRONG, Tripler, masked, tripler

ROOT = Path(__file__).parents[2]


def results(engine: Tripler, items: Sequence[int], threads: int = 2) -> dict[int, str]:
    """By index, each once."""
    pairs = [pair for some in stream(lambda device: engine, items, Run(threads=threads), ["cpu"]) for pair in some]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# --- in one process ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 99), max_size=40), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3))
def test_every_item_once_in_batches_of_one_shape_that_fit(
    items: list[int], batch: int, fits: int, threads: int
) -> None:
    engine = Tripler(batch, fits=fits)
    assert results(engine, items, threads) == {i: f"cpu: {3 * number}" for i, number in enumerate(items)}
    assert all(len({n % 2 for n in some}) == 1 and len(some) <= min(batch, fits) for some in engine.batches)


def test_full_batches_as_long_as_the_window_gives_any() -> None:
    engine = Tripler(4)
    results(engine, [*range(16), 16, 18])
    assert sorted(map(len, engine.batches)) == [2, 4, 4, 4, 4]


def test_a_rare_shape_does_not_wait_for_the_end() -> None:
    engine = Tripler(2)
    items = [1] + [0] * 40
    results(engine, items)
    assert engine.batches[-1] == [1]  # one item alone stays below the window: it goes last
    engine = Tripler(4)

    def shape(features: list[int]) -> int:
        return features[0]  # every number its own

    engine.shape = shape  # type: ignore[method-assign]
    seen = iter(stream(lambda device: engine, range(100), Run(threads=1), ["cpu"]))
    next(seen)
    time.sleep(0.3)  # for the threads to run as far ahead as they may
    assert len(engine.prepared) <= (PREPARING + WINDOW + AHEAD + 2) * 4
    seen.close()  # type: ignore[attr-defined]


def test_preparing_runs_ahead_of_the_model_on_other_threads_and_stops_with_it() -> None:
    engine, names = Tripler(2), set()
    prepare = engine.prepare

    def noted(item: int) -> list[int]:
        names.add(threading.current_thread())
        return prepare(item)

    engine.prepare = noted  # type: ignore[method-assign]
    seen = stream(lambda device: engine, range(100), Run(threads=3), ["cpu"])
    next(seen)
    deadline = time.monotonic() + 5
    while len(engine.prepared) < 2 * (AHEAD + PREPARING) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 2 * (AHEAD + PREPARING) <= len(engine.prepared) <= 2 * (AHEAD + PREPARING + WINDOW + 2)
    assert threading.current_thread() not in names and len(names) <= 3
    seen.close()
    assert not any(thread.is_alive() for thread in names)


def test_what_cannot_be_prepared_is_refused_alone() -> None:
    found = results(Tripler(4), [1, UNREADABLE, 3, UNREADABLE])
    assert found == {0: "cpu: 3", 1: "100 refused: truncated", 2: "cpu: 9", 3: "100 refused: truncated"}


def test_a_batch_that_does_not_fit_is_halved_and_so_are_those_after_it() -> None:
    engine = Tripler(8, fits=3)
    assert len(results(engine, [2 * i for i in range(40)])) == 40
    assert engine.batch == 2 and {len(some) for some in engine.batches} == {2}
    assert sorted(n for some in engine.batches for n in some) == [2 * i for i in range(40)]


def test_one_item_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(CaptionError, match="one photograph alone is too much for the memory of cpu"):
        results(Tripler(4, fits=0), [1, 3, 5])


def test_an_error_of_the_model_or_of_collating_comes_through() -> None:
    with pytest.raises(RuntimeError, match="do not fit"):
        results(Tripler(1), [1, WRONG, 3])

    class Sticky(Tripler):
        def collate(self, features: Sequence[list[int]]) -> list[int]:
            raise MemoryError("no room to collate")

    with pytest.raises(MemoryError, match="no room"):
        results(Sticky(1), [1])


def test_no_items_make_no_engine() -> None:
    assert list(stream(partial(pytest.fail), [], Run(), ["cpu"])) == []


def test_a_loader_that_asks_to_exit_is_refused_too() -> None:
    class Quitter(Tripler):
        def prepare(self, item: int) -> list[int]:
            if item == 3:
                raise SystemExit(1)
            return super().prepare(item)

    assert results(Quitter(2), [1, 3, 5]) == {0: "cpu: 3", 1: "3 refused: 1", 2: "cpu: 15"}


def test_what_is_refused_holds_no_pixels() -> None:
    pictures: list[weakref.ref[Any]] = []

    class Big(Tripler):
        def prepare(self, item: int) -> list[int]:
            picture = np.zeros(1000)
            pictures.append(weakref.ref(picture))
            raise OSError(f"{len(picture)} px cannot be turned")

    seen = stream(lambda device: Big(4), range(20), Run(threads=1), ["cpu"])
    next(seen)
    deadline = time.monotonic() + 5
    while len(pictures) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    assert len(pictures) >= 8 and sum(picture() is not None for picture in pictures) <= 1
    seen.close()


def test_batches_of_one_keep_all_threads_busy() -> None:
    together = threading.Barrier(6, timeout=5)

    class Meeting(Tripler):
        def prepare(self, item: int) -> list[int]:
            if item < 6:
                together.wait()
            return super().prepare(item)

    assert results(Meeting(1), range(8), threads=6) == {i: f"cpu: {3 * i}" for i in range(8)}


def test_a_photograph_that_takes_for_ever_does_not_keep_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FAREWELL", 0.2)
    begun, free = threading.Event(), threading.Event()

    class Hanging(Tripler):
        def prepare(self, item: int) -> list[int]:
            if item == 2:
                begun.set()
                free.wait(20)
            return super().prepare(item)

        def infer(self, features: list[int], items: Sequence[int]) -> list[str] | None:
            begun.wait(5)
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        results(Hanging(1), [1, 2, 3], threads=2)
    assert time.monotonic() - start < 5
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    free.set()


def test_without_threads_to_be_had_it_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(batches, "_Threads", none_left)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        results(Tripler(1), [1])


def test_two_streams_at_once_and_one_after_the_other() -> None:
    one, other = (stream(lambda device: Tripler(2), range(20), Run(), ["cpu"]) for _ in range(2))
    mixed = [[pair for some in both for pair in some] for both in zip(one, other, strict=True)]
    assert len([pair for pairs in mixed for pair in pairs]) == 40
    assert len(results(Tripler(2), range(20))) == 20


def test_threads_follow_the_cores_but_not_where_the_model_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, devices, expected in (
        (16, ["cuda:0"], 8),
        (16, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"], 4),
        (4, ["cuda:0"] * 4, 2),
        (64, ["cpu"], 2),
        (64, ["cpu", "cpu"], 2),
    ):
        monkeypatch.setattr(batches, "cores", lambda there=there: there)
        assert batches.preparers(devices) == expected
    monkeypatch.undo()
    assert 1 <= batches.cores() <= (os.cpu_count() or 1)


# --- in worker processes ----------------------------------------------------------------------------------------------


def apart(items: Sequence[int], devices: Sequence[str] = ("one", "two"), batch: int = 2) -> list[list[tuple[int, str]]]:
    return list(stream(partial(tripler, batch), items, Run(batch=batch), devices))


def test_workers_share_the_items_and_give_what_one_gives() -> None:
    items = [*range(90), UNREADABLE]
    made = dict(pair for some in apart(items) for pair in some)
    assert set(made) == set(range(91))
    assert {made[i].split(": ")[1] for i in range(90)} == {str(3 * i) for i in range(90)}
    assert made[90] == "100 refused: truncated"


def test_each_worker_gets_its_share() -> None:
    made = dict(pair for some in apart([SLOW] * 8, batch=1) for pair in some)
    shares = [sum(text.startswith(device) for text in made.values()) for device in ("one", "two")]
    assert sum(shares) == 8 and min(shares) > 0


def test_workers_with_many_shapes_and_few_items_do_not_wait_for_each_other() -> None:
    made = dict(pair for some in apart([*range(17)], batch=8) for pair in some)
    assert len(made) == 17


def test_no_more_workers_than_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Sequence[str]] = []

    def noted(make: object, items: object, devices: Sequence[str], threads: int) -> list[list[tuple[int, str]]]:
        used.append(devices)
        return []

    monkeypatch.setattr(batches, "_apart", noted)
    apart([1, 2, 3], ("one", "two", "three"), batch=2)
    apart(range(batches.FEWEST + 1), ("one", "two", "three"), batch=0)
    assert used == [("one", "two")] * 2
    assert len(apart([1, 2], ("one", "two"), batch=2)) == 2 and len(used) == 2, "one is enough, and needs no process"


@pytest.mark.parametrize(
    "item, message",
    [
        (DEADLY, r"captioning worker \d on (one|two) was killed by signal 9: often the memory ran out"),
        (WRONG, r"captioning worker \d on (one|two) failed: RuntimeError: matrices of sizes that do not fit"),
    ],
)
def test_a_worker_that_dies_or_fails_is_an_error_that_names_it(item: int, message: str) -> None:
    with pytest.raises(CaptionError, match=message):
        apart([*range(20), item, *range(20)])


def test_an_engine_that_cannot_be_made_and_what_cannot_be_sent() -> None:
    with pytest.raises(CaptionError, match="worker 2 on broken failed: no model here"):
        apart(range(20), ("one", "broken"))
    with pytest.raises(CaptionError, match=r"cannot be sent to a worker 1 on one: .*; use one device"):
        list(stream(lambda device: Tripler(1), range(9), Run(batch=1), ["one", "two"]))
    with pytest.raises(CaptionError, match="a photograph cannot be sent to the captioning worker"):
        list(stream(partial(tripler, 1), [lambda: 0] * 9, Run(batch=1), ["one", "two"]))  # type: ignore[list-item]


def not_here() -> int:
    raise AttributeError("Can't get attribute 'load' on <module '__main__'>")


class OfANotebook:
    """Can be sent, and cannot be received."""

    def __reduce__(self) -> tuple[Callable[[], int], tuple[()]]:
        return not_here, ()


def test_a_photograph_that_another_process_cannot_know_is_an_error_and_no_hang() -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            list(stream(partial(tripler, 1), [OfANotebook()] * 9, Run(batch=1), ["one", "two"]))  # type: ignore[list-item]
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert len(raised) == 1 and isinstance(raised[0], CaptionError), "it waits for ever"
    assert "a photograph cannot be received: Can't get attribute 'load'" in str(raised[0])


SCRIPT = """
from functools import partial
from patina.captioning.batches import stream
from patina.captioning.captioner import Run
from tests.captioning.doubles import tripler
print(len(list(stream(partial(tripler, 1), range(4), Run(batch=1), ["one", "two"]))))
"""


@pytest.mark.parametrize("from_stdin", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_script_that_would_begin_itself_again_is_told_so(tmp_path: Path, from_stdin: bool) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, "-" if from_stdin else str(tmp_path / "script.py")]
    ran = subprocess.run(
        words,
        input=SCRIPT if from_stdin else "",
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert ran.returncode == 1 and ran.stdout == ""
    last = ran.stderr.strip().splitlines()[-1]
    assert "captioner.CaptionError: the captioning worker" in last
    assert "a script that captions on several devices is a file, and begins under `if __name__ == '__main__':`" in last


def test_a_worker_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", full)
    with pytest.raises(CaptionError, match=r"worker 1 on one cannot be started: .*unavailable; use one device"):
        apart(range(9))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_ctrl_c_is_the_parents_alone_from_a_workers_first_moment() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    made = [text for some in stream(masked, range(8), Run(batch=1), ["one", "two"]) for _, text in some]
    assert made == ["SIGINT blocked"] * 8
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before and signal.SIGINT not in before


def test_what_fails_on_entering_a_thread_comes_through() -> None:
    class Shut(Tripler):
        def enter(self) -> None:
            raise RuntimeError("no entry")

    with pytest.raises(RuntimeError, match="no entry"):
        results(Shut(1), [1, 2, 3])
