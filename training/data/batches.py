"""Shards to batches: samples of a dataset, in an order that depends on nothing but the seed, cut and turned alike.

    samples.parquet ─ Index ─ Order ─► rows of a batch ─► read, decode ─► crop, turn ─► LQ, GT, CLIP's view, caption

The table says where each sample lies in its shard, so the n-th image is read from there: shuffling is over the whole
split and not in a buffer, and continuing reads nothing twice. DataLoader's workers make whole batches in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch
from torch import Tensor

from patina.pipeline.machine import keep_freed_memory
from patina.training.data.cutting import cut_alike, turned
from patina.training.data.index import Index
from patina.training.data.order import Balanced, Order, Rows, Scenes, of_image, shares_of
from patina.training.data.reading import GT, LQ, PAIR, read_image, read_square
from patina.training.data.turns import Place, own_turns
from patina.training.data.views import clip_views, tensor_views, training_view
from patina.training.errors import StageError
from patina.training.images import Pixels, middle
from patina.training.stages.stage import Data


def order_of(index: Index, data: Data, seed: int) -> Order:
    """The order of a stage. Raises StageError for weights of unknown entries and for too few photographs."""
    counts = np.bincount(index.entry, minlength=len(index.names)).tolist()
    shares = shares_of(index.names, counts, data.weights, data.repeats)
    if data.order == "scenes":
        return Scenes(index.scene, index.entry, shares, data.group or data.batch, seed)
    return Balanced(index.entry, shares, seed)


@dataclass(frozen=True)
class Batch:
    """B samples. lq, gt: B x 3 x S x S uint8 RGB. view: B x 3 x V x V float32, what CLIP sees, or None.

    entries  B int64, of the index's names; their number stands for clean photographs (`Data.clean_share`).
    captions of the clean photographs. numbers: of the images, for their noise.
    """

    lq: Tensor
    gt: Tensor
    view: Tensor | None
    entries: Tensor
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; pinned memory is copied without waiting."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; DataLoader asks for it."""
        return self._with(Tensor.pin_memory)

    def __reduce__(self) -> tuple[Any, ...]:
        """From a worker: to share a tensor costs 0.4 ms of CPU time, whatever its size, so small ones go as values."""
        parts = [getattr(self, f.name) for f in fields(self)]
        return _handed_over, tuple(p.numpy() if isinstance(p, Tensor) and p.nbytes <= _SMALL else p for p in parts)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        view = None if self.view is None else change(self.view)
        return replace(self, lq=change(self.lq), gt=change(self.gt), view=view, entries=change(self.entries))


_SMALL = 1 << 14
"""Bytes of a tensor that is cheaper to copy than to share."""


def _handed_over(*parts: Any) -> Batch:
    tensors: list[Any] = [torch.from_numpy(part.copy()) if isinstance(part, np.ndarray) else part for part in parts]
    return Batch(*tensors)


@dataclass(frozen=True)
class Plan:
    """Which batches: from image `start` to image `end`, of `batch` over all processes; this process takes its part.

    A batch's part of a process is split into `gradient_accumulation` pieces, one after the other.
    """

    start: int
    end: int
    batch: int
    rank: int = 0
    world: int = 1
    gradient_accumulation: int = 1

    def __post_init__(self) -> None:
        pieces = self.gradient_accumulation
        if self.batch % (self.world * pieces):
            raise StageError(
                f"a batch of {self.batch} over {self.world} processes in {pieces} pieces; expected a multiple of "
                f"{self.world * pieces}"
            )

    @property
    def size(self) -> int:
        """Images of one piece."""
        return self.batch // (self.world * self.gradient_accumulation)

    def __len__(self) -> int:
        return (self.end - self.start) // self.batch * self.gradient_accumulation

    def first(self, k: int) -> int:
        """The number of the first image of this process's piece k."""
        step, piece = divmod(k, self.gradient_accumulation)
        return self.start + step * self.batch + (self.rank * self.gradient_accumulation + piece) * self.size


class _Batches(torch.utils.data.IterableDataset[Batch]):
    """The batches of a plan: of a worker those that are its turn."""

    def __init__(self, order: Order, plan: Plan, make: Callable[[tuple[int, Rows]], Batch]) -> None:
        self.order, self.plan, self.make = order, plan, make

    def __iter__(self) -> Iterator[Batch]:
        info = torch.utils.data.get_worker_info()
        place = Place(worker=info.id, workers=info.num_workers) if info else Place()
        for k in own_turns(place, len(self.plan)):
            first = self.plan.first(k)
            yield self.make((first, self.order.rows(first, self.plan.size)))


def load(
    index: Index, data: Data, plan: Plan, *, seed: int, view_side: int = 224, images: bool = True, workers: int = 0
) -> Any:
    """An iterator of `Batch`, in the order of the plan.

    images   whether LQ and GT are wanted, beside CLIP's view; else they have one pixel, and GT is not read.
    workers  processes that read, decode and cut ahead; 0: in this one. Raises StageError, DamagedShardError.
    """
    make = partial(make_batch, index, data, seed, view_side, images=images)
    batches = _Batches(order_of(index, data, seed), plan, make)
    options: dict[str, Any] = {}
    if workers:
        options = {"prefetch_factor": 2, "multiprocessing_context": "forkserver", "worker_init_fn": _one_thread}
    return torch.utils.data.DataLoader(
        batches, batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available(), **options
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    keep_freed_memory()


def make_batch(
    index: Index, data: Data, seed: int, view_side: int, numbered: tuple[int, Rows], images: bool = True
) -> Batch:
    """The batch of these rows, the first of which is image `first` of the training; `images` as in `load`."""
    first, rows = numbered
    view: Tensor | None
    rngs = [of_image(seed, first + i) for i in range(len(rows))]
    clean = [bool(data.clean_share) and rng.random() < data.clean_share for rng in rngs]
    if data.view == "photo":  # a CLIP looks at it, and nothing else does
        images = False
        whole = [read_image(index, int(row), GT if one else LQ) for row, one in zip(rows, clean, strict=True)]
        patches = [(lq, lq) for lq in whole]
        view = torch.stack(
            [training_view(lq, rng, view_side, data.square_probability) for lq, rng in zip(whole, rngs, strict=True)]
        )
    else:
        wanted = [(GT,) if one else PAIR if images else (LQ,) for one in clean]
        patches = [
            _patches(index, data, rng, int(row), roles) for row, rng, roles in zip(rows, rngs, wanted, strict=True)
        ]
        view = views_of([lq for lq, _ in patches], data.view, view_side)
    if not images:
        patches = [(lq[:1, :1], gt[:1, :1]) for lq, gt in patches]
    entries = np.where(clean, len(index.names), index.entry[rows].astype(np.int64))
    return Batch(
        _stacked([lq for lq, _ in patches]),
        _stacked([gt for _, gt in patches]),
        view,
        torch.from_numpy(entries),
        tuple(index.captions[rows]),
        tuple(map(str, index.keys[rows])),
        tuple(range(first, first + len(rows))),
    )


def _patches(
    index: Index, data: Data, rng: np.random.Generator, row: int, roles: Sequence[str]
) -> tuple[Pixels, Pixels]:
    """LQ and GT of an example; the same image twice where one role is wanted: LQ alone, or GT in LQ's place."""
    if data.resize:
        found = [resized(image, data.resize) for image in read_square(index, row, 0, None, roles)]
        found = cut_alike(found, data.crop, rng) if data.crop else found
    else:
        found = read_square(index, row, data.crop, rng, roles)
    return turned(found[0], found[-1], data.augment, rng)


def resized(image: Pixels, side: int) -> Pixels:
    """The image with its shorter side at so many px, by PIL's bilinear filter with antialiasing; 0: as it is.

    Its middle is cut to multiples of 16 px first, as VLU-Net's code does, where that leaves anything.
    """
    if not side:
        return image
    photo = PIL.Image.fromarray(np.ascontiguousarray(middle(image, SIXTEEN)))
    shorter = min(photo.size)
    size = side * photo.width // shorter, side * photo.height // shorter
    return np.asarray(photo.resize(size, PIL.Image.Resampling.BILINEAR))


SIXTEEN = 16
"""What VLU-Net's code cuts sides to multiples of, px."""


def views_of(patches: Sequence[Pixels], view: str, side: int) -> Tensor | None:
    """What CLIP sees of patches of one size, as the stage says: B x 3 x `side` x `side`, or None."""
    if view == "none":
        return None
    if view == "patch-floats":
        return tensor_views(_stacked(patches).float() / 255, side)
    return clip_views(patches, side)


def _stacked(images: Sequence[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
