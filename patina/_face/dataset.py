"""A built dataset as PyTorch reads one, by number."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from patina._face.arguments import AnyPath
from patina._face.samples import Epoch, Sample, Samples


class Dataset(torch.utils.data.Dataset[Sample]):
    """The samples of one split of a dataset, in the order of its table, for a DataLoader or by number.

    It can be pickled, and workers may be forked or spawned: files are opened where they are read. Nothing is kept in
    memory but the table, and what `keep` allows.

    Args:
        path: The dataset's folder, or a version of it, such as "OUT@3" or "OUT@previous". One version is read, whatever
            is published meanwhile.
        split: "train", "val" or "test".
        degradations: The degradations to take, by their names ("noisy", "hazy+rainy") or by the recipe's names for them
            ("noisy-15"), one or a list; None: all.
        crop: The side of the square that is cut out, px: in the training split another one in each epoch, elsewhere the
            middle. An image with a shorter side is reflected to it. None: whole images, which are of many sizes, so
            that a DataLoader needs batch_size=1 or a collate_fn.
        seed: The seed of the crops. A crop is a function of seed, epoch and sample alone. See `set_epoch`.
        truth: Whether samples have their truth maps too. Their names differ by degradation, so a batch takes
            `degradations` that have the same.
        as_bytes: Whether lq and gt are uint8 levels in 0..255: a quarter of the memory, and of what workers hand over.
        keep: How many bytes of decoded images each process keeps, so that a small dataset is decoded once.

    An item is a dict:

    - `lq` and `gt`: the degraded and the clean image, 3×H×W float32 RGB in 0..1, sRGB-encoded, cut alike.
    - `caption`: the caption of the clean image.
    - `degradation`: its name or names, such as "hazy+rainy".
    - `severity` (0 to 100), `psnr` (in dB) and `ssim`: they are of the whole image, float64.
    - `key` and `params`: the sample's key, and its parameters as JSON, which `patina.degrade` takes.
    - `truth`, if asked for: maps by name, 1×H×W float32 in 0..1 (of 255, or of 65535 where a map has 16 bits), cut like
      the images; a blur kernel is 1×k×k and whole, an intermediate step 3×H×W. Rounding x·255 or x·65535 gives the
      stored value.

    Raises:
        StageError: A ValueError: there is no dataset.
        ManifestError: A ValueError: the dataset is damaged.
        ValueError: The split or a degradation is unknown, the split has no samples, or the crop cannot be.
        IndexError: When an item is read: its number is beyond the ends.
        DamagedShardError: A ValueError, when an item is read: other bytes lie there.

    Examples:
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
        as_bytes: bool = False,
        keep: int = 0,
    ) -> None:
        self._samples = Samples(path, split, degradations, crop, seed, truth, as_bytes, keep)
        self.split, self.crop, self.seed, self.truth = split, self._samples.crop, self._samples.seed, truth
        self._epoch = Epoch()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins, 0, 1, …, so that the training split is cut elsewhere, by workers that persist too."""
        self._epoch.set(epoch)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Sample:
        return self._samples.item(range(len(self))[number], int(self._epoch))  # IndexError beyond the ends
