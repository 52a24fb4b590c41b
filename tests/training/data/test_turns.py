"""Ranks and workers share a stream, whatever it is stopped at and whoever goes on: laws over many combinations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from patina.training.data.turns import Place, Progress, Rest, Shape, Turns, after_batches

Given = tuple[tuple[int, int], ...]
"""What a worker gives at once: positions, each with the number of its crop."""


BEGINNING = Progress()


def gives(turns: Turns) -> Iterator[Given]:
    shape = turns.shape
    for positions, taken in turns:
        items = [(p, c) for p in positions.tolist() for c in range(taken, shape.crops)]
        yield from [tuple(items)] if shape.batch else ((item,) for item in items)


def places(world: int, workers: int, rank: int) -> list[Place]:
    return [Place(rank, world, worker, workers) for worker in range(workers)]


def of_loader(turns: Sequence[Turns], size: int = 1, drop_last: bool = False) -> list[Given]:
    """What a DataLoader of one rank hands out: workers take turns, one that has ended is passed over."""
    queues = [gives(t) for t in turns]
    found: list[Given] = []
    while queues:
        for queue in list(queues):
            batch = list(islice(queue, size))
            if not batch or (drop_last and len(batch) < size):
                queues.remove(queue)
            else:
                found.append(tuple(item for thing in batch for item in thing))
    return found


def all_turns(shape: Shape, world: int, workers: int, progress: Progress = BEGINNING) -> list[list[Turns]]:
    return [[Turns.of(shape, place, progress) for place in places(world, workers, rank)] for rank in range(world)]


shapes = some.builds(
    lambda samples, epochs, unit, crops, batched, uneven, drop_last: Shape(
        samples, epochs, unit * crops if batched else 0, crops, uneven, drop_last
    ),
    some.integers(1, 40),
    some.integers(1, 2),
    some.integers(1, 4),
    some.integers(1, 3),
    some.booleans(),
    some.sampled_from(["repeat", "drop", "keep"]),
    some.just(False),
)
counts = some.integers(1, 4)


def through_json(progress: Progress) -> Progress:
    return Progress.of_dict(json.loads(json.dumps(progress.to_dict())))


@given(shapes, counts, counts)
@settings(max_examples=150, deadline=None)
def test_every_sample_is_given_once_and_ranks_get_equal_counts(shape: Shape, world: int, workers: int) -> None:
    by_rank = [[item for batch in of_loader(turns) for item in batch] for turns in all_turns(shape, world, workers)]
    found, end = Counter(item for items in by_rank for item in items), shape.end
    assert end is not None
    whole = Counter((p, c) for p in range(end) for c in range(shape.crops))
    more, fewer = found - whole, whole - found
    lengths = {len(items) for items in by_rank}
    match shape.uneven:
        case "keep":
            assert not more and not fewer
            assert max(lengths) - min(lengths) <= shape.crops
        case "repeat":
            assert not fewer and len(lengths) == 1
            assert sum(more.values()) == -end % world * shape.crops
            assert all(p >= end - shape.samples for p, _ in more)
        case "drop":
            assert not more and len(lengths) == 1
            assert sum(fewer.values()) == end % world * shape.crops
            assert all(p >= end - end % world for p, _ in fewer)
    (first, *_) = all_turns(shape, world, workers)
    assert first[0].samples() == len(by_rank[0]) // shape.crops


@given(shapes, counts, counts, counts)
@settings(max_examples=100, deadline=None)
def test_a_batch_is_the_same_with_any_workers(shape: Shape, world: int, workers: int, others: int) -> None:
    if not shape.batch:
        return
    one, two = ([of_loader(turns) for turns in all_turns(shape, world, w)] for w in (workers, others))
    assert one == two
    assert [len(batches) for batches in one] == [turns[0].units() for turns in all_turns(shape, world, 1)]


def test_a_last_batch_that_is_not_full_is_left_out_if_asked() -> None:
    for samples, world in ((10, 1), (10, 2), (12, 3), (3, 1)):
        kept, full = (Shape(samples, batch=4, drop_last=drop) for drop in (False, True))
        batches = of_loader(all_turns(kept, world, 2)[0])
        assert of_loader(all_turns(full, world, 2)[0]) == [batch for batch in batches if len(batch) == 4]


@given(shapes, counts, counts, some.integers(1, 5), some.data())
@settings(max_examples=250, deadline=None)
def test_the_same_ranks_and_workers_go_on_with_the_same_batches(
    shape: Shape, world: int, workers: int, size: int, data: Any
) -> None:
    """Stopped as often as it may be, a loader hands out what it would have handed out."""
    size = 1 if shape.batch else size
    for rank in range(world):
        begun = Progress()
        left = of_loader(all_turns(shape, world, workers)[rank], size)
        while left:
            done = data.draw(some.integers(1, len(left)))
            turns = all_turns(shape, world, workers, begun)[rank]
            begun = through_json(after_batches(turns, done, size))
            left = left[done:]
            assert of_loader(all_turns(shape, world, workers, begun)[rank], size) == left


@given(shapes, counts, counts, counts, counts, some.integers(1, 5), some.data())
@settings(max_examples=250, deadline=None)
def test_other_ranks_and_workers_lose_and_double_nothing(
    shape: Shape, world: int, workers: int, worlds: int, others: int, size: int, data: Any
) -> None:
    size = 1 if shape.batch else size
    before = all_turns(shape, world, workers)
    least = min(len(of_loader(turns, size)) for turns in before)
    done = data.draw(some.integers(0, least))
    begun = through_json(after_batches(before[0], done, size))
    given_before = Counter(p for turns in before for batch in of_loader(turns, size)[:done] for p, _ in batch)
    after = all_turns(shape, worlds, others, begun)
    given_after = Counter(p for turns in after for batch in of_loader(turns) for p, _ in batch)
    end = shape.end
    assert end is not None
    if (worlds, others) != (world, workers):  # a sample of which a crop was taken counts as taken
        assert all(given_after[p] % shape.crops == 0 for p in range(end))
    wrong = [p for p in range(end) if bool(given_before[p]) + bool(given_after[p]) != 1]
    if shape.crops > 1 and not shape.batch and (worlds, others) == (world, workers):
        wrong = [p for p in range(end) if given_before[p] + given_after[p] != shape.crops]
    assert len(wrong) <= (world - 1) + (worlds - 1)  # those that fill up, or were left out
    if shape.uneven == "keep":
        ahead = max(len(of_loader(turns, size)) for turns in before)
        assert not wrong or (world > 1 and done == least < ahead)
    counts_after = {sum(map(len, of_loader(turns))) for turns in after}
    assert shape.uneven == "keep" or len(counts_after) == 1


def test_batches_of_the_stream_go_on_with_any_workers_one_after_the_other() -> None:
    shape = Shape(23, epochs=2, batch=4)
    whole = of_loader(all_turns(shape, 1, 1)[0])
    for workers in (1, 2, 3):
        for done in range(len(whole) + 1):
            begun = through_json(after_batches(all_turns(shape, 1, workers)[0], done, 1))
            for others in (1, 2, 5):
                assert of_loader(all_turns(shape, 1, others, begun)[0]) == whole[done:]


def test_what_a_worker_knows_of_itself_is_enough_for_it_and_for_nobody_else() -> None:
    shape = Shape(17, batch=2)
    whole = [list(gives(t)) for t in all_turns(shape, 1, 3)[0]]
    for worker, turns in enumerate(all_turns(shape, 1, 3)[0]):
        for done in range(len(whole[worker]) + 1):
            begun = through_json(turns.after(done))
            assert list(gives(Turns.of(shape, Place(0, 1, worker, 3), begun))) == whole[worker][done:]
            with pytest.raises(ValueError, match="of another worker than"):
                Turns.of(shape, Place(0, 1, (worker + 1) % 3, 3), begun)
            with pytest.raises(ValueError, match="one of 3 workers; expected as many"):
                Turns.of(shape, Place(0, 1, 0, 2), begun)


def test_a_stream_without_end_goes_through_every_epoch() -> None:
    shape = Shape(5, epochs=None, batch=2)
    (turns,) = all_turns(shape, 1, 1)[0]
    assert turns.units() is None
    positions = [p for batch in islice(gives(turns), 10) for p, _ in batch]
    assert positions == list(range(20))
    far = after_batches(all_turns(shape, 1, 2)[0], 1_000_001, 1)
    found = list(islice(gives(Turns.of(shape, Place(), far)), 2))
    assert [[p for p, _ in batch] for batch in found] == [[2_000_002, 2_000_003], [2_000_004, 2_000_005]]


def test_more_batches_than_there_are_are_refused() -> None:
    turns = all_turns(Shape(10), 1, 2)[0]
    assert after_batches(turns, 4, 3).left(Shape(10)) == Rest((), 10)
    with pytest.raises(ValueError, match=r"expected 4 batches at the most, .*found 5"):
        after_batches(turns, 5, 3)
