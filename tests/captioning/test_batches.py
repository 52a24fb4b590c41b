from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.batches import AHEAD, PREPARING, WINDOW, stream
from captioning.captioner import CaptionError, Run
from tests.captioning.doubles import DEADLY, SLOW, UNREADABLE, WRONG, Tripler, tripler


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
    made = dict(pair for some in apart([SLOW] * 12, batch=1) for pair in some)
    shares = [sum(text.startswith(device) for text in made.values()) for device in ("one", "two")]
    assert sum(shares) == 12 and min(shares) > 0


def test_workers_with_many_shapes_and_few_items_do_not_wait_for_each_other() -> None:
    made = dict(pair for some in apart([*range(17)], batch=8) for pair in some)
    assert len(made) == 17


def test_no_more_workers_than_there_is_work() -> None:
    made = dict(pair for some in apart([1, 2, 3], ("one", "two", "three"), batch=2) for pair in some)
    assert {text.split(":")[0] for text in made.values()} <= {"one", "two"}


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


def test_workers_end_with_who_asked() -> None:
    import multiprocessing

    seen = stream(partial(tripler, 1), [SLOW] * 50, Run(batch=1), ["one", "two"])
    next(seen)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    seen.close()
    assert not any(worker.is_alive() for worker in workers)
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker.pid or 0, 0)
