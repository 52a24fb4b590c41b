"""The samples of a split as columns: where each lies, what it shows, and what was decoded of it before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from patina.pipeline.errors import DamagedShardError
from patina.pipeline.format.layout import IMAGES, ROLES, SAMPLES, SHARDS
from patina.pipeline.format.manifest import read_table, samples_schema
from patina.pipeline.format.shard import Span, read_first, read_span, unpack
from patina.pipeline.recipe.shares import what_gives
from patina.pipeline.versions.lease import OpenDataset
from patina.pipeline.versions.version import called
from patina.training.data.dataset import open_dataset
from patina.training.data.order import Rows
from patina.training.errors import StageError
from patina.training.images import Pixels

_COLUMNS = ("key", "shard", "offset", "size", "split", "entry", "degradation", "source_sha256", "caption")


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

    def has_room(self, size: int) -> bool:
        """Whether an image of so many bytes would be kept."""
        return size <= self._left

    def put(self, row: int, what: str, image: Any) -> None:
        """Keep it, if there is room."""
        if self.has_room(image.nbytes):
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
        path, span = self._place(row)
        key, members = unpack(read_span(path, span), path.name)
        self._expect_key(row, key)
        return members

    def images(self, row: int) -> dict[str, bytes]:
        """LQ and GT of one sample by extension; its truth maps, which lie behind them, are not read. Raises
        DamagedShardError, OSError."""
        path, span = self._place(row)
        key, members = read_first(path, span, IMAGES, len(ROLES))
        self._expect_key(row, key)
        return members

    def _place(self, row: int) -> tuple[Path, Span]:
        return self.folder / SHARDS / self.shards[self.shard[row]], Span(int(self.offset[row]), int(self.size[row]))

    def _expect_key(self, row: int, key: str) -> None:
        if key != self.keys[row]:
            raise DamagedShardError(
                f"{self.shards[self.shard[row]]}: expected sample {self.keys[row]}, found {key}; run `patina check`"
            )


_WHOLE = ("folder", "names", "degradations", "shards", "opened", "kept")


def read_index(folder: Path, split: str, entries: Sequence[str] = ()) -> Index:
    """The samples of a split, of these entries, or of all that are one degradation.

    Raises StageError for a split without samples and for entries that the dataset does not have.
    """
    opened = open_dataset(folder)
    table = read_table(opened.folder / SAMPLES, samples_schema()).select(_COLUMNS)
    table = table.filter(pc.equal(table["split"], split))
    found = sorted(set(table["entry"].to_pylist()))
    if not found:
        raise StageError(f"{called(folder)}: no samples in the split {split!r}; {what_gives(split)}")
    names = sorted(entries) if entries else [name for name in found if "+" not in name]
    if lacking := sorted(set(names) - set(found)):
        raise StageError(
            f"{called(folder)}: the stage wants {', '.join(lacking)}, and the split {split!r} has {', '.join(found)}; "
            "add it to the recipe, or write the entries to take: [data] entries = [...]"
        )
    rows = np.flatnonzero(np.isin(np.array(table["entry"].to_pylist(), dtype=np.str_), names))
    return index_of(opened, table.take(rows))


def index_of(opened: OpenDataset, table: pa.Table) -> Index:
    """The index of an open dataset's samples that are rows of `table`, in its order; it has the columns of
    samples.parquet that an index is made of."""
    names = sorted(set(table["entry"].to_pylist()))
    shards, shard = np.unique(np.array(table["shard"].to_pylist(), np.str_), return_inverse=True)
    _, scene = np.unique(np.array(table["source_sha256"].to_pylist(), np.str_), return_inverse=True)
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


def photographs_first(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of one entry, each photograph once before any again."""
    seen: dict[int, int] = {}
    rounds = []
    for scene in index.scene[rows].tolist():
        rounds.append(seen.get(scene, 0))
        seen[scene] = rounds[-1] + 1
    return rows[np.argsort(rounds, kind="stable")]
