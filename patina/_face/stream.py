"""A built dataset as PyTorch reads one, as a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import get_worker_info

from patina._face.arguments import AnyPath, one_of, whole
from patina._face.samples import Epoch, Sample, Samples
from patina.pipeline.text import counted
from patina.training.data.order import Rows, shuffled
from patina.training.data.turns import Place, Progress, Shape, Turns, after_batches

_UNEVEN = ("repeat", "drop", "keep")


class Stream(torch.utils.data.IterableDataset[Sample]):
    """The samples of one split of a dataset as a stream.

    It is shuffled, shared out to ranks and workers, and continued where it was stopped.

    An item is a dict as `patina.Dataset` gives it, and is the same: `Dataset` with this seed and epoch has it too. A
    batch is what PyTorch's `default_collate` makes of items.

    Nothing is lost or doubled with any number of ranks and workers, forked or spawned. Each sample's place in its shard
    is known, so an order is of the whole split, not of a buffer, and going on reads nothing twice. See docs/loading.md.

    Args:
        path, split, degradations, crop, seed, truth, as_bytes, keep: As `patina.Dataset` takes them.
        batch: Items that are given at once, collated; then DataLoader gets batch_size=None. The batches and their order
            are the same with any number of workers. None: one item at a time, and DataLoader makes batches.
        shuffle: Whether each epoch has an order of its own, which any is as likely to be; None: in the training split
            alone.
        epochs: How many follow each other before the stream ends; None: it never does.
        crops_per_image: Crops of each sample, one after the other, from one decoding. A batch is a multiple of it.
        uneven: Where the ranks do not divide the samples: "repeat" (all ranks get equal counts; at most world - 1
            samples come twice), "drop" (equal counts; at most world - 1 are left out, other ones in each epoch) or
            "keep" (each sample once; counts differ by one), which is for evaluations.
        drop_last: Whether a last batch that is not full is left out.
        rank, world: Which of how many processes this is; None: as torch.distributed says, or else the environment
            variables RANK and WORLD_SIZE, which launchers set, or else the only one.

    Raises:
        StageError, ManifestError, DamagedShardError: As `patina.Dataset` raises them.
        ValueError: The batch is no multiple of crops_per_image, the ranks cannot be, drop_last has no batch, or
            drop_last or uneven="drop" would leave a rank with nothing; and what `patina.Dataset` raises.

    Examples:
        >>> import patina
        >>> from torch.utils.data import DataLoader
        >>> stream = patina.Stream("OUT", crop=32, batch=4)
        >>> [batch["lq"].shape[0] for batch in DataLoader(stream, batch_size=None)], len(stream)
        ([4, 4], 2)
        >>> stream.set_epoch(1)
        >>> batches = iter(stream)
        >>> first, state = next(batches), stream.state_dict()
        >>> again = patina.Stream("OUT", crop=32, batch=4)
        >>> again.load_state_dict(state)
        >>> again.epoch, [batch["key"] for batch in again] == [batch["key"] for batch in batches]
        (1, True)
    """

    def __init__(
        self,
        path: AnyPath,
        split: str = "train",
        degradations: str | Sequence[str] | None = None,
        crop: int | None = None,
        *,
        batch: int | None = None,
        seed: int = 0,
        shuffle: bool | None = None,
        epochs: int | None = 1,
        crops_per_image: int = 1,
        uneven: Literal["repeat", "drop", "keep"] = "repeat",
        drop_last: bool = False,
        rank: int | None = None,
        world: int | None = None,
        truth: bool = False,
        as_bytes: bool = False,
        keep: int = 0,
    ) -> None:
        self._samples = Samples(path, split, degradations, crop, seed, truth, as_bytes, keep)
        one_of("uneven", uneven, _UNEVEN)
        self._shape = Shape(
            len(self._samples),
            None if epochs is None else whole(epochs, "epochs", 1),
            0 if batch is None else whole(batch, "batch", 1),
            whole(crops_per_image, "crops_per_image", 1),
            uneven,
            drop_last,
        )
        if self._shape.batch % self._shape.crops:
            raise ValueError(
                f"batch: expected a multiple of crops_per_image = {crops_per_image}, found {batch}; give "
                f"{-(-self._shape.batch // crops_per_image) * crops_per_image}"
            )
        if drop_last and batch is None:
            raise ValueError(
                "drop_last: expected batch too, found None: DataLoader makes the batches then, and leaves the last one "
                "out by its own drop_last=True"
            )
        self._shuffle = self._samples.split == "train" if shuffle is None else bool(shuffle)
        self._rank = _checked(rank, world)
        self._epoch = Epoch()
        self._read_ahead = Epoch()  # 1 when a worker has begun: this process does not know how far it is
        self._loaded: _Begun | None = None  # where the next iteration begins
        self._begun: _Begun | None = None  # where the latest one of this process began
        self._given = 0  # how often it gave something
        self._orders: dict[int, Rows] = {}
        self._expect_something()

    # Epochs

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration begins in, or goes on with."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins, 0, 1, …, so that order and crops are others, in workers that persist too. Where it
        was stopped before is forgotten, unless it was in this very epoch."""
        epoch = whole(epoch, "epoch")
        if epoch != self.epoch:
            self._loaded = self._begun = None
            self._read_ahead.set(0)
        self._epoch.set(epoch)

    def __len__(self) -> int:
        """What this rank is given from the beginning to the end: batches, or items. Raises TypeError without an end."""
        self._expect_something()
        turns = Turns.of(self._shape, self._place(False), Progress())
        units, samples = turns.units(), turns.samples()
        if units is None or samples is None:
            raise TypeError("a stream with epochs=None never ends, and has no length")
        return units if self._shape.batch else samples * self._shape.crops

    # Items

    def __iter__(self) -> Iterator[Sample]:
        if get_worker_info() is not None:
            self._read_ahead.set(1)
        self._expect_something()
        epoch, place = self.epoch, self._place()
        progress = self._loaded.progress if self._loaded and self._loaded.epoch == epoch else Progress()
        self._begun = _Begun(epoch, progress, Turns.of(self._shape, place, progress))
        self._loaded, self._given = None, 0
        return self._things(self._begun)

    def _expect_something(self) -> None:
        """Raise ValueError where this rank would be given nothing from the beginning to the end, and not by its wish: a
        training that sees nothing ends without an error."""
        shape, place = self._shape, self._place(False)
        turns = Turns.of(shape, place, Progress())
        samples, units = turns.samples(), turns.units()
        if units is None or samples is None or units:
            return
        if shape.uneven == "drop" and not samples:
            raise ValueError(
                f"uneven: expected as many samples as ranks at least, found {shape.end} for {place.world} ranks, and "
                '"drop" would leave all of them out; give uneven="repeat" or "keep", or use fewer ranks'
            )
        if shape.drop_last and samples:
            found = counted(samples * shape.crops, "item")
            raise ValueError(
                f"drop_last: expected one full batch at least, found {found} of this rank and batch = {shape.batch};"
                f" give a smaller batch, or drop_last=False"
            )

    def _things(self, begun: _Begun) -> Iterator[Sample]:
        for done, thing in enumerate(self._untold(begun), start=1):
            self._begun, self._given = begun, done  # before it is given: who has it may ask for the state
            yield thing

    def _untold(self, begun: _Begun) -> Iterator[Sample]:
        shape = self._shape
        for positions, taken in begun.turns:
            crops = range(taken, shape.crops)
            parts = (self._items(begun.epoch, position, crops) for position in positions.tolist())
            items = (item for part in parts for item in part)
            if shape.batch:
                yield self._samples.batch(items)
            else:
                yield from items

    def _items(self, epoch: int, position: int, crops: range) -> Iterator[Sample]:
        further, place = divmod(position, self._shape.samples)
        epoch += further
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}  # the latest are enough
            count = self._shape.samples
            self._orders[epoch] = shuffled(self._samples.seed, epoch, count) if self._shuffle else np.arange(count)
        return self._samples.items(int(self._orders[epoch][place]), epoch, crops, for_batch=bool(self._shape.batch))

    # States

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as plain values for a checkpoint; `load_state_dict` goes on from it.

        It is that of the iteration of this very process, so call it where DataLoader has no workers; torchdata's
        StatefulDataLoader calls it in each of its workers. Raises RuntimeError where workers of a DataLoader have read
        ahead: `state_after` is for these.
        """
        if self._begun and self._begun.epoch == self.epoch:
            return self._state(self._begun.turns.after(self._given))
        if self._loaded:
            return self._state(self._loaded.progress)
        if int(self._read_ahead) and get_worker_info() is None:
            raise RuntimeError(
                "workers of a DataLoader have read ahead of what it gave; say how many batches were taken: "
                "stream.state_after(batches, loader), or use torchdata's StatefulDataLoader"
            )
        return self._state(Progress())

    def state_after(self, batches: int, loader: Any) -> dict[str, Any]:
        """Say where the stream is when a DataLoader of it has given so many batches, whatever its workers read ahead.

        With `batch` set, or one item at a time (batch_size=None), any number of workers and ranks goes on with the very
        next batch. Where DataLoader makes the batches, as many workers do; with another number nothing is lost or
        doubled, and the batches are others.

        Args:
            batches: How many batches the DataLoader has given since this iteration began.
            loader: The DataLoader, with workers or without.

        Returns:
            A state for `load_state_dict`.

        Raises:
            ValueError: There are not so many batches.
        """
        begun = self._loaded or self._begun
        progress = begun.progress if begun and begun.epoch == self.epoch else Progress()
        workers, place = max(1, loader.num_workers), self._place(False)
        places = [Place(place.rank, place.world, worker, workers) for worker in range(workers)]
        turns = [Turns.of(self._shape, one, progress) for one in places]
        size = 1 if loader.batch_size is None else loader.batch_size
        return self._state(after_batches(turns, whole(batches, "batches"), size, loader.drop_last))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, in the next iteration, from where `state_dict` or `state_after` was called, of this stream or of one
        that was made alike; rank, world and the number of workers may be others. The epoch is set too.

        Raises ValueError for the state of other samples, of another seed or order, and for what is no state.
        """
        if not isinstance(state, Mapping):
            raise ValueError(f"state: expected what Stream.state_dict gives, a dict, found {state!r:.60}")
        try:
            epoch, progress = whole(state["epoch"], "epoch"), Progress.of_dict(state)
            found = {name: state[name] for name in self._identity}
        except KeyError as error:
            raise ValueError(f"state: expected what Stream.state_dict gives, found no {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"state: expected what Stream.state_dict gives, found another ({error})") from None
        for name, own in self._identity.items():
            if found[name] != own:
                raise ValueError(
                    f"state: expected {name} = {own!r}, found {found[name]!r}; make the stream with the dataset and "
                    "the arguments that the state was taken with"
                )
        self.set_epoch(epoch)
        self._loaded, self._begun = _Begun(epoch, progress), None
        self._read_ahead.set(0)

    @property
    def _identity(self) -> dict[str, Any]:
        """What a state must agree with, as it is about positions of an order."""
        return {"samples": self._samples.digest, "seed": self._samples.seed, "shuffle": self._shuffle}

    def _state(self, progress: Progress) -> dict[str, Any]:
        return {"epoch": self.epoch, **self._identity, **progress.to_dict()}

    # Processes

    def _place(self, in_worker: bool = True) -> Place:
        rank, world = self._rank or _distributed() or _of_launcher() or (0, 1)
        info = get_worker_info() if in_worker else None
        return Place(rank, world, info.id, info.num_workers) if info else Place(rank, world)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker that is spawned, which knows nothing of torch.distributed."""
        return self.__dict__ | {"_rank": self._rank or _distributed(), "_orders": {}, "_begun": None}


class _Begun:
    """An iteration as it began, in which epoch."""

    def __init__(self, epoch: int, progress: Progress, turns: Turns | None = None) -> None:
        self.epoch, self.progress = epoch, progress
        self._turns = turns

    @property
    def turns(self) -> Turns:
        assert self._turns is not None, "it was begun in this process"
        return self._turns


def _checked(rank: int | None, world: int | None) -> tuple[int, int] | None:
    """Rank and world as given. Raises ValueError, TypeError."""
    if rank is None and world is None:
        return None
    if rank is None or world is None:
        raise ValueError(
            f"expected rank and world together, found rank = {rank}, world = {world}; give both, or neither"
        )
    rank, world = whole(rank, "rank"), whole(world, "world", 1)
    if rank >= world:
        raise ValueError(f"rank: expected 0 to {world - 1}, as world = {world}, found {rank}")
    return rank, world


def _distributed() -> tuple[int, int] | None:
    """Rank and world as torch.distributed says; None where it was not set up."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return None


def _of_launcher() -> tuple[int, int] | None:
    """Rank and world as torchrun, `accelerate launch` and others set them; None where they are not set."""
    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return (int(rank), int(world)) if rank.isdecimal() and world.isdecimal() else None
