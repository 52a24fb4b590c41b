"""What `patina.Dataset` and `patina.Stream` share: a dataset's samples as PyTorch takes them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from patina._face.arguments import AnyPath, one_of, path_of, whole
from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import SAMPLES, SPLITS
from patina.pipeline.format.manifest import read_samples_table
from patina.pipeline.machine import keep_freed_memory
from patina.pipeline.recipe.shares import what_gives
from patina.pipeline.text import nearest
from patina.pipeline.versions.version import called
from patina.training.data.dataset import open_dataset
from patina.training.data.index import Index, Kept, index_of
from patina.training.data.order import of_image
from patina.training.data.reading import read_squares

Sample: TypeAlias = dict[str, Any]
"""One sample as a dict, or a batch of them; see `patina.Dataset`."""

_FACTS = ("severity", "psnr", "ssim")


class Samples:
    """The samples of a split, in the order of the dataset's table; the arguments are those of `patina.Dataset`."""

    def __init__(
        self,
        path: AnyPath,
        split: str,
        degradations: str | Sequence[str] | None,
        crop: int | None,
        seed: int,
        truth: bool,
        as_bytes: bool,
        keep: int,
    ) -> None:
        self.crop = None if crop is None else whole(crop, "crop", 1)
        self.seed, keep = whole(seed, "seed"), whole(keep, "keep")
        opened = open_dataset(path_of(path, "path"))
        table = _rows(opened.folder, one_of("split", split, SPLITS), degradations)
        self.split, self.truth, self.as_bytes = split, truth, as_bytes
        self.index: Index = replace(index_of(opened, table), kept=Kept(keep))
        self._facts: dict[str, NDArray[np.float64]] = {name: table[name].to_numpy() for name in _FACTS}
        self._params: NDArray[np.object_] = np.array(table["params"].to_pylist(), object)

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def digest(self) -> str:
        """Which samples these are, in which order."""
        return hashlib.sha256("\n".join(map(self.index.label, range(len(self)))).encode()).hexdigest()[:16]

    def item(self, row: int, epoch: int) -> Sample:
        """One sample, cut as it is in an epoch."""
        return next(self.items(row, epoch, range(1)))

    def items(self, row: int, epoch: int, crops: Sequence[int], for_batch: bool = False) -> Iterator[Sample]:
        """Crops, by number, of one sample in an epoch, out of one decoding; for `batch`, or as they are given."""
        if get_worker_info() is not None:
            _be_a_worker()
        made = _seen if for_batch else _levels if self.as_bytes else _tensor
        index, side = self.index, self.crop or 0
        rngs = [self._rng(row, epoch, crop) if side else None for crop in crops]
        facts: Sample = {
            "caption": str(index.captions[row]),
            "degradation": index.degradations[index.entry[row]],
            **{name: float(values[row]) for name, values in self._facts.items()},
            "key": str(index.keys[row]),
            "params": str(self._params[row]),
        }
        for (lq, gt), maps in read_squares(index, row, side, rngs, maps=self.truth):
            truth = {"truth": {name: _tensor(values) for name, values in maps.items()}} if self.truth else {}
            yield {"lq": made(lq), "gt": made(gt)} | facts | truth

    def batch(self, items: Iterable[Sample]) -> Sample:
        """Items that were made for a batch as one, which is what `default_collate` makes of those that were asked for.

        Images are written once, where the batch is, in one piece of memory that a worker shares: most of what it costs
        to hand a batch over are the pages of that memory, and then each piece that is shared.
        """
        made = list(items)
        _expect_alike(made)
        pair = _pair([[item.pop(name) for item in made] for name in ("lq", "gt")], self.as_bytes)
        batch: Sample = {"lq": pair[0], "gt": pair[1]} | default_collate(made)
        if get_worker_info() is not None:
            batch |= {"lq": _Half.of(pair, 0), "gt": _Half.of(pair, 1)}
            batch |= {name: batch[name].as_subclass(_ByValue) for name in _FACTS}
        return batch

    def _rng(self, row: int, epoch: int, crop: int) -> np.random.Generator | None:
        """What draws a crop of a sample in an epoch; None for the middle."""
        if self.split != "train":
            return None
        entry = self.index.names[self.index.entry[row]]
        sample = f"{epoch}\0{entry}\0{self.index.keys[row]}" + (f"\0{crop}" if crop else "")
        return of_image(self.seed, int.from_bytes(hashlib.sha256(sample.encode()).digest()[:8]))


@cache
def _be_a_worker() -> None:
    """Set up a process that does nothing but read: one thread, as PyTorch gives it, and memory that is used again."""
    cv2.setNumThreads(1)
    keep_freed_memory()


class _ByValue(Tensor):
    """A small tensor in a worker, which arrives as a plain one: sharing its memory would cost 0.4 ms of CPU time."""

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return _arrived, (self.detach().as_subclass(Tensor).numpy(),)


class _Half(Tensor):
    """LQ or GT of a batch in a worker: both are parts of one tensor, which is shared once, and arrive as plain ones."""

    _pair: tuple[Tensor, int]

    @classmethod
    def of(cls, pair: Tensor, place: int) -> _Half:
        """The part of a pair at this place."""
        half = pair[place].as_subclass(cls)
        half._pair = (pair, place)
        return half

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return Tensor.__getitem__, self._pair


def _arrived(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.copy())


class Epoch:
    """The number of the epoch, which workers that persist see change."""

    def __init__(self) -> None:
        self._number = torch.zeros(1, dtype=torch.int64)
        self._number.share_memory_()  # type: ignore[no-untyped-call]

    def set(self, epoch: int) -> None:
        """Say which begins."""
        self._number[0] = epoch

    def __int__(self) -> int:
        return int(self._number)


def _rows(path: Path, split: str, degradations: str | Sequence[str] | None) -> pa.Table:
    """The rows of a split that are of these degradations. Raises ValueError for unknown ones and for a split without
    rows, ManifestError for a dataset without any."""
    table = read_samples_table(path)
    there = sorted(set(table["split"].to_pylist()))
    if not there:
        raise ManifestError(f"{called(path)}: expected samples, found none in {SAMPLES}; run `patina check`")
    table = table.filter(pc.equal(table["split"], split))
    if not len(table):
        raise ValueError(
            f"{called(path)}: no samples in the split {split!r}, only in {', '.join(there)}; name another, or "
            f"{what_gives(split)}"
        )
    if degradations is None:
        return table
    names = [degradations] if isinstance(degradations, str) else list(degradations)
    known = {*table["entry"].to_pylist(), *table["degradation"].to_pylist()}
    for name in names:
        if name not in known:
            raise ValueError(f"{called(path)}: no {name!r} in the split {split!r}; {nearest(str(name), known)}")
    wanted = pa.array(names, pa.string())
    table = table.filter(pc.or_(pc.is_in(table["entry"], wanted), pc.is_in(table["degradation"], wanted)))
    if not len(table):
        raise ValueError(f"degradations: expected one at least, found {degradations!r}; None takes all")
    return table


def _expect_alike(items: Sequence[Sample]) -> None:
    """Raise ValueError for items that no batch can hold: images of several sizes, truth maps of several names."""
    sizes = sorted({tuple(item["lq"].shape[1:]) for item in items})
    if len(sizes) > 1:
        found = " and ".join(f"{height}×{width}" for height, width in sizes[:2])
        raise ValueError(f"batch: expected images of one size, found {found} px; give crop=, or batch=None")
    maps = sorted({", ".join(sorted(item.get("truth", ()))) for item in items})
    if len(maps) > 1:
        raise ValueError(
            f"batch: expected the same truth maps of every sample, found {maps[0] or 'none'} and {maps[1]}; choose "
            "degradations that have the same (degradations=), or give batch=None"
        )


def _pair(images: Sequence[Sequence[NDArray[np.uint8]]], as_bytes: bool) -> Tensor:
    """LQ and GT of B samples, C×H×W levels each, as one tensor 2×B×C×H×W: of levels, or of floats in 0..1. In a worker
    it is in memory that other processes see, as `default_collate` takes it."""
    shape = (len(images), len(images[0]), *images[0][0].shape)
    kind = torch.uint8 if as_bytes else torch.float32
    if get_worker_info() is None:
        pair = torch.empty(shape, dtype=kind)
    else:
        size = math.prod(shape) * kind.itemsize
        storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
        pair = torch.empty(0, dtype=kind).set_(storage, 0, shape)  # type: ignore[call-overload]
    for same, outs in zip(images, pair.numpy(), strict=True):
        for image, out in zip(same, outs, strict=True):
            if as_bytes:
                np.copyto(out, image)
            else:
                np.divide(np.ascontiguousarray(image), np.float32(255), out=out)
    return pair


def _seen(image: Any) -> Any:
    """H×W×3 levels as C×H×W, an array that is not copied yet."""
    return image.transpose(2, 0, 1)


def _levels(image: Any) -> Tensor:
    """H×W×3 or H×W levels as C×H×W."""
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))


def _tensor(image: Any) -> Tensor:
    """H×W×3 or H×W levels as C×H×W float32 in 0..1."""
    most = 65535 if image.dtype == np.uint16 else 255
    levels = np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1))
    return torch.from_numpy(np.divide(levels, np.float32(most), dtype=np.float32))
