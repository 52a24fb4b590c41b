"""Which sample comes where: a stream's samples shared out to ranks and their workers, and what is left after a stop.

A stream is a sequence of positions, 0, 1, …: position p is sample p mod N of the order of epoch p div N. Rank r of R
takes every R-th of them from the r-th on, in units of a batch (or of one sample, if somebody else makes batches), and
its worker w of W every W-th unit. So all ranks have equal counts, each sample is somebody's once, and a batch is the
same whatever W is. All of this is arithmetic: nothing is read to be passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counted_from
from typing import Any, Literal

import numpy as np

from patina.training.data.order import Rows

Uneven = Literal["repeat", "drop", "keep"]


@dataclass(frozen=True)
class Shape:
    """What a stream gives.

    samples    of an epoch. epochs: how many follow each other; None: without end.
    batch      crops that it gives at once; 0: one at a time.
    crops      of each sample, one after the other; a batch is a multiple of it.
    uneven     where ranks do not divide the samples: `repeat` some of the last epoch's first, `drop` its last, or
               `keep` counts that differ by one.
    drop_last  whether a batch that is not full is left out.
    """

    samples: int
    epochs: int | None = 1
    batch: int = 0
    crops: int = 1
    uneven: Uneven = "repeat"
    drop_last: bool = False

    @property
    def end(self) -> int | None:
        """The number of positions."""
        return None if self.epochs is None else self.epochs * self.samples

    @property
    def unit(self) -> int:
        """Samples that a worker takes in one turn."""
        return self.batch // self.crops if self.batch else 1

    @property
    def gives(self) -> int:
        """How often a worker gives something in one turn."""
        return 1 if self.batch else self.crops


@dataclass(frozen=True)
class Place:
    """A process that reads: worker `worker` of `workers` of rank `rank` of `world`."""

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1


def own_turns(place: Place, count: int | None, first: int = 0) -> Iterator[int]:
    """The numbers of this worker's units among `count` of its rank, from number `first` of its own on."""
    begin = place.worker + first * place.workers
    return iter(counted_from(begin, place.workers) if count is None else range(begin, count, place.workers))


@dataclass(frozen=True)
class Rest:
    """What is left of a stream: the positions `head`, then all from `tail` on."""

    head: tuple[int, ...] = ()
    tail: int = 0

    def at(self, numbers: Rows) -> Rows:
        """The positions that are left, by number."""
        if not self.head:
            return numbers + self.tail
        head = np.asarray(self.head, np.int64)
        return np.where(numbers < len(head), head[np.minimum(numbers, len(head) - 1)], numbers - len(head) + self.tail)

    def count(self, shape: Shape) -> int | None:
        """How many there are."""
        return None if shape.end is None else len(self.head) + max(0, shape.end - self.tail)


@dataclass(frozen=True)
class Progress:
    """How far the workers of every rank have come with what was left.

    taken  how often each worker has given something; None where that is not known: a worker knows of itself alone.
    turn   the worker that gives next. unit, gives: as `Shape` says, of the stream that got here.
    """

    rest: Rest = Rest()
    world: int = 1
    taken: tuple[int | None, ...] = ()
    turn: int = 0
    unit: int = 1
    gives: int = 1

    def fits(self, shape: Shape, place: Place) -> bool:
        """Whether such a process goes on where one of those was."""
        return (self.world, len(self.taken)) == (place.world, place.workers) and (self.unit, self.gives) == (
            shape.unit,
            shape.gives,
        )

    def left(self, shape: Shape) -> Rest:
        """What is left for other ranks and workers: all samples of which nothing was given.

        Raises ValueError where it is not known how far each worker is.
        """
        done = [-(-taken // self.gives) for taken in self.taken if taken is not None]
        if len(done) != len(self.taken):
            raise ValueError(
                f"this is the state of one of {len(self.taken)} workers; expected as many workers and ranks as the "
                "stream had, or a state that Stream.state_after gave, which any number of them goes on from"
            )
        if not any(done):
            return self.rest
        workers, each = len(done), self.unit * self.world
        first, last = min(done) * workers, max((u - 1) * workers + w + 1 for w, u in enumerate(done) if u)
        numbers = np.arange(first * each, last * each)
        units = numbers // each
        numbers = numbers[units // workers >= np.asarray(done)[units % workers]]
        there = self.rest.at(numbers)
        head = there if shape.end is None else there[there < shape.end]
        behind = last * each - len(self.rest.head)
        return Rest((*head.tolist(), *self.rest.head[last * each :]), self.rest.tail + max(0, behind))

    def to_dict(self) -> dict[str, Any]:
        """As plain values, which JSON can hold."""
        return {
            "head": list(self.rest.head),
            "tail": self.rest.tail,
            "world": self.world,
            "taken": list(self.taken),
            "turn": self.turn,
            "unit": self.unit,
            "gives": self.gives,
        }

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Progress:
        """What `to_dict` gave. Raises KeyError, TypeError, ValueError for anything else."""
        taken = tuple(None if t is None else int(t) for t in values["taken"])
        rest = Rest(tuple(map(int, values["head"])), int(values["tail"]))
        world, turn, unit, gives = (int(values[name]) for name in ("world", "turn", "unit", "gives"))
        if min(world, unit) < 1 or min(turn, gives, rest.tail, *rest.head, *(t or 0 for t in taken)) < 0:
            raise ValueError("a number in it is too small")
        return cls(rest, world, taken, turn, unit, gives)


@dataclass(frozen=True)
class Turns:
    """The turns of one process: its share of what is left, from where it is to go on."""

    shape: Shape
    place: Place
    rest: Rest
    worker: int
    taken: int

    @classmethod
    def of(cls, shape: Shape, place: Place, progress: Progress) -> Turns:
        """Where this process goes on. Raises ValueError as `Progress.left`, and where it is not known how far this
        worker is."""
        if not progress.taken or not progress.fits(shape, place):
            return cls(shape, place, progress.left(shape), place.worker, 0)
        worker = (place.worker + progress.turn) % place.workers
        taken = progress.taken[worker]
        if taken is None:
            raise ValueError(f"the state is of another worker than {worker}; give each worker its own")
        return cls(shape, place, progress.rest, worker, taken)

    def after(self, given: int) -> Progress:
        """How far this process is when it has given so often since; of the others that is not known."""
        place, shape = self.place, self.shape
        taken = [None if w != self.worker else self.taken + given for w in range(place.workers)]
        turn = (self.worker - place.worker) % place.workers
        return Progress(self.rest, place.world, tuple(taken), turn, shape.unit, shape.gives)

    def samples(self) -> int | None:
        """How many samples the rank has, over all its workers."""
        left, world, rank = self.rest.count(self.shape), self.place.world, self.place.rank
        if left is None:
            return None
        match self.shape.uneven:
            case "drop":
                return left // world
            case "keep":
                return max(0, -(-(left - rank) // world))
        return -(-left // world)

    def units(self) -> int | None:
        """How many units the rank has, over all its workers."""
        samples, unit = self.samples(), self.shape.unit
        if samples is None:
            return None
        return samples // unit if self.shape.drop_last and self.shape.batch else -(-samples // unit)

    def __iter__(self) -> Iterator[tuple[Rows, int]]:
        """The units of this worker: their positions, and how many crops of them were given before."""
        begun, given = divmod(self.taken, self.shape.gives)
        samples, place = self.samples(), replace(self.place, worker=self.worker)
        for number in own_turns(place, self.units(), begun):
            end = (number + 1) * self.shape.unit
            own = np.arange(number * self.shape.unit, end if samples is None else min(end, samples))
            yield self._positions(own * self.place.world + self.place.rank), given
            given = 0

    def _positions(self, numbers: Rows) -> Rows:
        """Positions by number; behind the end come the first of the last epoch again."""
        found, end = self.rest.at(numbers), self.shape.end
        if end is None:
            return found
        return np.where(found < end, found, end - self.shape.samples + (found - end) % self.shape.samples)


def after_batches(turns: Sequence[Turns], batches: int, batch_size: int, drop_last: bool = False) -> Progress:
    """How far the workers of a rank are when a loader has handed out so many of its batches.

    turns       of each worker, as they began.
    batch_size  things that one batch of the loader is made of, all by one worker; the workers take turns.

    Raises ValueError for more batches than there are.
    """
    shape, place = turns[0].shape, turns[0].place
    workers = len(turns)
    by_worker = sorted(turns, key=lambda t: t.worker)
    left = [_given_at_most(t) for t in by_worker]
    taken = [t.taken for t in by_worker]
    turn, done, idle = turns[0].worker if workers > 1 else 0, 0, 0
    while done < batches:
        most = left[turn]
        size = batch_size if most is None else min(batch_size, most)
        if size == 0 or (drop_last and size < batch_size):
            idle += 1
            if idle > workers:
                raise ValueError(f"expected {done} batches at the most, which are all that is left; found {batches}")
        else:
            idle, done = 0, done + 1
            taken[turn] += size
            left[turn] = None if most is None else most - size
        turn = (turn + 1) % workers
    return Progress(turns[0].rest, place.world, tuple(taken), turn, shape.unit, shape.gives)


def _given_at_most(turns: Turns) -> int | None:
    """How often a worker gives something from where it is."""
    units = turns.units()
    if units is None:
        return None
    own = max(0, -(-(units - turns.worker) // turns.place.workers))
    return own * turns.shape.gives - turns.taken
