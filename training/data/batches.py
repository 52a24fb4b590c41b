"""Shards to batches: samples of a dataset, in an order that depends on nothing but the seed, cut and turned alike.

    samples.parquet ─ Index ─ Order ─► rows of a batch ─► read, decode ─► crop, turn ─► LQ, GT, CLIP's view, caption

The table says where each sample lies in its shard, so the n-th image is read from there: shuffling is over the whole
split and not in a buffer, and continuing reads nothing twice. The steps after the order are a webdataset pipeline, run
by `WebLoader` workers; each gives whole batches in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from patina.pipeline.errors import DamagedShardError
from patina.pipeline.format.layout import SAMPLES, SHARDS
from patina.pipeline.format.manifest import SAMPLE_SCHEMA, read_table
from patina.pipeline.format.shard import Span, read_span, unpack
from patina.pipeline.versions.lease import OpenDataset
from patina.training.data.dataset import open_dataset
from patina.training.data.order import Balanced, Order, Rows, Scenes, of_image, shares_of
from patina.training.data.views import clip_view, tensor_views, training_view
from patina.training.errors import StageError
from patina.training.images import Pixels, middle
from patina.training.stages.stage import Data

_COLUMNS = ("key", "shard", "offset", "size", "split", "entry", "degradation", "source", "caption")


class Kept:
    """Decoded images of one index in one process, while they fit: beyond `most` bytes nothing more is kept, as what
    does not fit comes round too rarely. A copy of it for another process begins empty.
    """

    def __init__(self, most: int = 512 << 20) -> None:
        self._images: dict[tuple[int, str], Pixels] = {}
        self._left = self._most = most

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (self._most,)

    def get(self, row: int, what: str) -> Any:
        """The image, or None."""
        return self._images.get((row, what))

    def put(self, row: int, what: str, image: Any) -> None:
        """Keep it, if there is room."""
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._images[row, what] = image


@dataclass(frozen=True)
class Index:
    """The samples of one split that a stage takes, as columns.

    names         of the entries, which `entry` counts.
    degradations  the degradation of each entry, such as `noisy` of `noisy-15`.
    scene         one number for each clean photograph.
    opened        holds the version that `folder` is, whatever is published meanwhile.
    """

    folder: Path
    names: tuple[str, ...]
    degradations: tuple[str, ...]
    shards: tuple[str, ...]
    keys: NDArray[np.str_]
    shard: NDArray[np.int32]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    entry: NDArray[np.int32]
    scene: NDArray[np.int32]
    captions: NDArray[np.object_]
    opened: OpenDataset = field(compare=False, repr=False)
    kept: Kept = field(default_factory=Kept, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def label(self, row: int) -> str:
        """How a message names a sample: its entry and its key."""
        return f"{self.names[self.entry[row]]} {self.keys[row]}"

    def taken(self, rows: Rows) -> Index:
        """The index of these rows alone."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in _WHOLE}
        return replace(self, **columns, kept=Kept())

    def members(self, row: int) -> dict[str, bytes]:
        """The files of one sample by extension. Raises DamagedShardError, OSError."""
        path = self.folder / SHARDS / self.shards[self.shard[row]]
        return unpack(read_span(path, Span(int(self.offset[row]), int(self.size[row]))), path.name)[1]


_WHOLE = ("folder", "names", "degradations", "shards", "opened", "kept")


def read_index(folder: Path, split: str, entries: Sequence[str] = ()) -> Index:
    """The samples of a split, of these entries, or of all that are one degradation.

    Raises StageError for a split without samples and for entries that the dataset does not have.
    """
    opened = open_dataset(folder)
    table = read_table(opened.folder / SAMPLES, SAMPLE_SCHEMA).select(_COLUMNS)
    table = table.filter(pc.equal(table["split"], split))
    found = sorted(set(table["entry"].to_pylist()))
    if not found:
        raise StageError(f"{folder}: no samples in the split {split!r}; give the recipe one, as in [split] val = 0.02")
    names = sorted(entries) if entries else [name for name in found if "+" not in name]
    if lacking := sorted(set(names) - set(found)):
        raise StageError(
            f"{folder}: the stage wants {', '.join(lacking)}, and the split {split!r} has {', '.join(found)}; add it "
            "to the recipe, or write the entries to take: [data] entries = [...]"
        )
    rows = np.flatnonzero(np.isin(np.array(table["entry"].to_pylist(), dtype=np.str_), names))
    return index_of(opened, table.take(rows))


def index_of(opened: OpenDataset, table: pa.Table) -> Index:
    """The index of an open dataset's samples that are rows of `table`, in its order; it has the columns of
    samples.parquet that an index is made of."""
    names = sorted(set(table["entry"].to_pylist()))
    shards, shard = np.unique(np.array(table["shard"].to_pylist(), np.str_), return_inverse=True)
    _, scene = np.unique(np.array(table["source"].to_pylist(), np.str_), return_inverse=True)
    word_of = dict(zip(table["entry"].to_pylist(), table["degradation"].to_pylist(), strict=True))
    return Index(
        opened.folder,
        tuple(names),
        tuple(word_of[name] for name in names),
        tuple(map(str, shards)),
        np.array(table["key"].to_pylist(), np.str_),
        shard.astype(np.int32),
        table["offset"].to_numpy(),
        table["size"].to_numpy(),
        np.searchsorted(names, table["entry"].to_pylist()).astype(np.int32),
        scene.astype(np.int32),
        np.array(table["caption"].to_pylist(), dtype=object),
        opened,
    )


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

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        view = None if self.view is None else change(self.view)
        return replace(self, lq=change(self.lq), gt=change(self.gt), view=view, entries=change(self.entries))


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


class _Numbers(torch.utils.data.IterableDataset[tuple[int, Rows]]):
    """The source of the pipeline: this worker's pieces, as (first number, rows)."""

    def __init__(self, order: Order, plan: Plan) -> None:
        self.order, self.plan = order, plan

    def __iter__(self) -> Iterator[tuple[int, Rows]]:
        info = torch.utils.data.get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        for k in range(worker, len(self.plan), workers):
            first = self.plan.first(k)
            yield first, self.order.rows(first, self.plan.size)


def load(index: Index, data: Data, plan: Plan, *, seed: int, view_side: int = 224, workers: int = 0) -> Any:
    """An iterator of `Batch`, in the order of the plan.

    workers  processes that read, decode and cut ahead; 0: in this one. Raises StageError, DamagedShardError.
    """
    import webdataset as wds  # type: ignore[import-untyped]

    make = partial(make_batch, index, data, seed, view_side)
    pipeline = wds.DataPipeline(_Numbers(order_of(index, data, seed), plan), wds.map(make))
    options: dict[str, Any] = {}
    if workers:
        options = {"prefetch_factor": 2, "multiprocessing_context": "forkserver", "worker_init_fn": _one_thread}
    return wds.WebLoader(
        pipeline, batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available(), **options
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def make_batch(index: Index, data: Data, seed: int, view_side: int, numbered: tuple[int, Rows]) -> Batch:
    """The batch of these rows, the first of which is image `first` of the training."""
    first, rows = numbered
    made = [_example(index, data, of_image(seed, first + i), view_side, int(row)) for i, row in enumerate(rows)]
    lq, gt, views, clean = zip(*made, strict=True)
    entries = np.where(clean, len(index.names), index.entry[rows].astype(np.int64))
    return Batch(
        _stacked(lq),
        _stacked(gt),
        None if views[0] is None else torch.stack(views),
        torch.from_numpy(entries),
        tuple(index.captions[rows]),
        tuple(map(str, index.keys[rows])),
        tuple(range(first, first + len(rows))),
    )


def _example(
    index: Index, data: Data, rng: np.random.Generator, view_side: int, row: int
) -> tuple[Pixels, Pixels, Tensor | None, bool]:
    """LQ, GT, what a CLIP sees, and whether that is the clean photograph in place of the degraded one."""
    clean = bool(data.clean_share) and rng.random() < data.clean_share
    if data.view == "photo":  # a CLIP looks at it, and nothing else does
        lq = read_image(index, row, "gt." if clean else "")
        return lq[:1, :1], lq[:1, :1], training_view(lq, rng, view_side, data.square_probability), clean
    lq, gt = (resized(image, data.resize) for image in read_pair(index, row))
    lq = gt if clean else lq
    lq, gt = cut(lq, gt, data.crop, rng)
    lq, gt = turned(lq, gt, data.augment, rng)
    return lq, gt, view_of(lq, data.view, view_side), clean


def view_of(patch: Pixels, view: str, side: int) -> Tensor | None:
    """What CLIP sees of a patch, as the stage says: 3 x `side` x `side`, or None."""
    if view == "none":
        return None
    if view == "patch-floats":
        return tensor_views(_stacked([patch]).float() / 255, side)[0]
    return clip_view(patch, side)


def read_pair(index: Index, row: int) -> tuple[Pixels, Pixels]:
    """LQ and GT of one sample, H x W x 3 uint8 RGB each. Raises DamagedShardError."""
    lq, gt = (read_image(index, row, what) for what in ("", "gt."))
    if lq.shape != gt.shape:
        raise DamagedShardError(f"sample {index.keys[row]}: LQ of {lq.shape} beside GT of {gt.shape}")
    return lq, gt


def read_image(index: Index, row: int, what: str) -> Pixels:
    """One image of a sample, `` for LQ or `gt.`, H x W x 3 uint8 RGB; not to be written to. Raises DamagedShardError.

    A small dataset is decoded once, see `Kept`.
    """
    kept: Pixels | None = index.kept.get(row, what)
    if kept is not None:
        return kept
    members = index.members(row)
    data = members.get(f"{what}png", members.get(f"{what}jpg"))
    image = None if data is None else cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED)
    if image is None:
        raise DamagedShardError(
            f"{index.shards[index.shard[row]]}: sample {index.keys[row]} has no readable {what}png or {what}jpg; run "
            "`patina check`, then build again"
        )
    pixels: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    index.kept.put(row, what, pixels)
    return pixels


_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def cut(lq: Pixels, gt: Pixels, side: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """The same random square of both; images with a shorter side are reflected to it first. 0: as they are."""
    if not side:
        return lq, gt
    lq, gt = cut_alike((lq, gt), side, rng)
    return lq, gt


def cut_alike(images: Sequence[Any], side: int, rng: np.random.Generator | None) -> list[Any]:
    """The same square of arrays of one height and width: a random one, or the middle if `rng` is None. Those with a
    shorter side are reflected to it first."""
    height, width = images[0].shape[:2]
    if min(height, width) < side:
        below, right = max(0, side - height), max(0, side - width)
        images = [cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT) for image in images]
        height, width = images[0].shape[:2]
    if rng is None:
        top, left = (height - side) // 2, (width - side) // 2
    else:
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    return [image[top : top + side, left : left + side] for image in images]


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


def turned(lq: Pixels, gt: Pixels, how: str, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Both turned alike. The eight symmetries are numbered by bits: transposed, upside down, mirrored."""
    if how == "none":
        return lq, gt
    symmetry = int(rng.integers(1 if how == "moved" else 0, 8))
    for bit, turn in ((4, _transposed), (2, np.flipud), (1, np.fliplr)):
        if symmetry & bit:
            lq, gt = turn(lq), turn(gt)
    return lq, gt


def _transposed(image: Pixels) -> Pixels:
    return image.transpose(1, 0, 2)


def _stacked(images: Sequence[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def photographs_first(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of one entry, each photograph once before any again."""
    seen: dict[int, int] = {}
    rounds = []
    for scene in index.scene[rows].tolist():
        rounds.append(seen.get(scene, 0))
        seen[scene] = rounds[-1] + 1
    return rows[np.argsort(rounds, kind="stable")]
