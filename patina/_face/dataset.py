"""A built dataset as PyTorch reads one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from patina._face.arguments import AnyPath, one_of, path_of, whole
from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.format.layout import IMAGES, SAMPLES, SPLITS
from patina.pipeline.format.manifest import read_samples_table
from patina.pipeline.text import nearest
from patina.training.data.batches import Index, Kept, cut_alike, index_of, read_pair
from patina.training.data.dataset import open_dataset
from patina.training.data.order import of_image

Sample: TypeAlias = dict[str, Any]
"""One sample, as `Dataset` gives it."""

_FACTS = ("severity", "psnr", "ssim")
_NO_MAPS = frozenset({*IMAGES, "txt", "json"})


class Dataset(torch.utils.data.Dataset[Sample]):
    """The samples of one split of a dataset, in the order of its table, for a DataLoader or by number.

    path          the dataset's folder, or a version of it, such as "OUT@3" or "OUT@previous". One version is read,
                  whatever is published meanwhile.
    split         "train", "val" or "test".
    degradations  those to take, by their names ("noisy", "hazy+rainy") or by the recipe's names for them ("noisy-15"),
                  one or a list; None: all.
    crop          side of the square that is cut out, px: in the training split another one in each epoch, elsewhere the
                  middle. An image with a shorter side is reflected to it. None: whole images, which are of many sizes,
                  so that a DataLoader needs batch_size=1 or a collate_fn.
    seed          of the crops: one is a function of seed, epoch and sample alone. See `set_epoch`.
    truth         whether samples have their truth maps too. Their names differ by degradation, so a batch takes
                  `degradations` that have the same.

    An item is a dict:

    lq, gt        degraded and clean image, 3×H×W float32 RGB in 0..1, sRGB-encoded, cut alike.
    caption       of the clean image. degradation: its name or names, such as "hazy+rainy".
    severity      0 to 100, psnr in dB and ssim, of the whole image, float64.
    key, params   the sample's key, and its parameters as JSON, which `patina.degrade` takes.
    truth         if asked for: maps by name, 1×H×W float32 in 0..1 (of 255, or of 65535 where a map has 16 bits), cut
                  like the images; a blur kernel is 1×k×k and whole, an intermediate step 3×H×W.

    It can be pickled, and workers may be forked or spawned: files are opened where they are read. Nothing is kept in
    memory but the table.

    Raises StageError (a ValueError) where there is no dataset; ManifestError (a ValueError) for a damaged one;
    ValueError for unknown splits and degradations, splits without samples and crops that cannot be; when read,
    IndexError, and DamagedShardError (a ValueError).

    >>> import patina
    >>> dataset = patina.Dataset("OUT", split="train", crop=32)
    >>> len(dataset)
    8
    >>> item = dataset[0]
    >>> item["lq"].shape, item["gt"].dtype, item["degradation"]
    (torch.Size([3, 32, 32]), torch.float32, 'jpeg-compressed')
    >>> from torch.utils.data import DataLoader
    >>> next(iter(DataLoader(dataset, batch_size=4)))["lq"].shape
    torch.Size([4, 3, 32, 32])
    """

    def __init__(
        self,
        path: AnyPath,
        split: str = "train",
        degradations: str | Sequence[str] | None = None,
        crop: int | None = None,
        *,
        seed: int = 0,
        truth: bool = False,
    ) -> None:
        crop = None if crop is None else whole(crop, "crop", 1)
        seed = whole(seed, "seed")
        opened = open_dataset(path_of(path, "path"))
        table = _rows(opened.folder, one_of("split", split, SPLITS), degradations)
        self.split, self.crop, self.seed, self.truth = split, crop, seed, truth
        self._index: Index = replace(index_of(opened, table), kept=Kept(0))
        self._facts: dict[str, NDArray[np.float64]] = {name: table[name].to_numpy() for name in _FACTS}
        self._params: NDArray[np.object_] = np.array(table["params"].to_pylist(), object)
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # workers that persist see it change

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins, 0, 1, …, so that the training split is cut elsewhere, by workers that persist too."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Sample:
        index, row = self._index, range(len(self))[number]  # IndexError beyond the ends
        degradation = index.degradations[index.entry[row]]
        lq, gt = read_pair(index, row)
        maps = _maps(index, row) if self.truth else {}
        if self.crop:
            names = [name for name in maps if not name.endswith("kernel")]
            alike = [lq, gt, *(maps[name] for name in names)]
            lq, gt, *cut = cut_alike(alike, self.crop, self._rng(row))
            maps |= dict(zip(names, cut, strict=True))
        item: Sample = {
            "lq": _tensor(lq),
            "gt": _tensor(gt),
            "caption": str(index.captions[row]),
            "degradation": degradation,
            **{name: float(values[row]) for name, values in self._facts.items()},
            "key": str(index.keys[row]),
            "params": str(self._params[row]),
        }
        if self.truth:
            item["truth"] = {name: _tensor(values) for name, values in maps.items()}
        return item

    def _rng(self, row: int) -> np.random.Generator | None:
        """What draws the crop of a sample in this epoch; None for the middle."""
        if self.split != "train":
            return None
        entry = self._index.names[self._index.entry[row]]
        sample = f"{int(self._epoch)}\0{entry}\0{self._index.keys[row]}"
        return of_image(self.seed, int.from_bytes(hashlib.sha256(sample.encode()).digest()[:8]))


def _rows(path: Path, split: str, degradations: str | Sequence[str] | None) -> pa.Table:
    """The rows of a split that are of these degradations. Raises ValueError for unknown ones and for a split without
    rows, ManifestError for a dataset without any."""
    table = read_samples_table(path)
    there = sorted(set(table["split"].to_pylist()))
    if not there:
        raise ManifestError(f"{path}: expected samples, found none in {SAMPLES}; run `patina check`")
    table = table.filter(pc.equal(table["split"], split))
    if not len(table):
        raise ValueError(
            f"{path}: no samples in the split {split!r}, only in {', '.join(there)}; give the recipe such a "
            "split, as in [split] val = 0.02, or name another"
        )
    if degradations is None:
        return table
    names = [degradations] if isinstance(degradations, str) else list(degradations)
    known = {*table["entry"].to_pylist(), *table["degradation"].to_pylist()}
    for name in names:
        if name not in known:
            raise ValueError(f"{path}: no {name!r} in the split {split!r}; {nearest(str(name), known)}")
    wanted = pa.array(names, pa.string())
    table = table.filter(pc.or_(pc.is_in(table["entry"], wanted), pc.is_in(table["degradation"], wanted)))
    if not len(table):
        raise ValueError(f"degradations: expected one at least, found {degradations!r}; None takes all")
    return table


def _maps(index: Index, row: int) -> dict[str, Any]:
    """The truth maps of a sample by name, as they are stored. Raises DamagedShardError."""
    maps = {}
    for extension, data in index.members(row).items():
        if extension in _NO_MAPS:
            continue
        values: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        if values is None:
            raise DamagedShardError(f"sample {index.keys[row]} has no readable {extension}; run `patina check`")
        maps[extension.removesuffix(".png")] = values[..., ::-1] if values.ndim == 3 else values
    return maps


def _tensor(image: Any) -> Tensor:
    """H×W×3 or H×W levels as C×H×W float32 in 0..1."""
    most = 65535 if image.dtype == np.uint16 else 255
    floats = np.divide(image, np.float32(most), dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(floats).transpose(2, 0, 1)))
