"""The recipe: all that decides a dataset's bytes, beside the sources themselves. TOML in, unknown keys refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from patina.captioning.captioner import Captioner
from patina.captioning.clip_score import ClipScore
from patina.captioning.filters import Filters
from patina.pipeline.errors import RecipeError
from patina.pipeline.hashing import canonical_json
from patina.pipeline.recipe.settings import expect_int
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources.reader import Reader
from patina.synth.degradation import Degradation
from patina.synth.image import SMALLEST_SIDE

LEAKS = ("mend", "report")
LQ_FILES, GT_FILES = ("own", "png"), ("source", "png")


@dataclass(frozen=True)
class Tiles:
    """Cut every photograph into squares of `size` px, `stride` px apart (default: `size`, so that none overlap).

    Where the last tile would not reach the edge, one more is cut flush with it, so that no pixel is lost. max_overlap:
    the share of its side, 0 to 1, that this one may overlap the tile before it by; where it would be more, it is left
    out, and the rest at the edge with it. By default there is no bound.
    """

    size: int
    stride: int = 0
    max_overlap: float = 1.0

    def __post_init__(self) -> None:
        expect_int("size", self.size, SMALLEST_SIDE, 1 << 16)
        expect_int("stride", self.stride, 0, 1 << 16)
        most = self.max_overlap
        if isinstance(most, bool) or not isinstance(most, int | float) or not 0 <= most <= 1:
            raise RecipeError(f"max_overlap: expected a share from 0 to 1, found {most!r}")
        if self._most_px < self.size - (self.stride or self.size):
            raise RecipeError(
                f"max_overlap: tiles of {self.size} px that are {self.stride} px apart overlap by "
                f"{self.usual_overlap:g}, found {most:g}; raise it, or `stride`"
            )

    @property
    def _most_px(self) -> int:
        return int(self.max_overlap * self.size + 1e-9)  # a share such as 0.3 is no binary fraction

    @property
    def usual_overlap(self) -> float:
        """The share of its side by which a tile overlaps the one before it, away from the edge."""
        return max(0.0, 1 - (self.stride or self.size) / self.size)

    def cut(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """Every tile's (x, y, width, height), row by row; none if the photograph is smaller than one tile."""
        return [(x, y, self.size, self.size) for y in self._starts(height) for x in self._starts(width)]

    def edge_overlap(self, length: int) -> float:
        """The share of its side by which the tile that is cut flush with the end of a side of `length` px overlaps the
        one before it; 0 where there is none such."""
        return self._edge_px(length) / self.size

    def _edge_px(self, length: int) -> int:
        last, step = length - self.size, self.stride or self.size
        return max(0, self.size - last % step) if last > 0 and last % step else 0

    def _starts(self, length: int) -> list[int]:
        last = length - self.size
        if last < 0:
            return []
        starts = list(range(0, last + 1, self.stride or self.size))
        if starts[-1] == last or self._edge_px(length) > self._most_px:
            return starts
        return [*starts, last]


@dataclass(frozen=True)
class Split:
    """Shares of the photographs for validation and test, 0 to 1 together; the rest is for training.

    A photograph's side follows from its digest: it does not move when others come or go, unless one that shows the
    same scene comes to stand on another side. leaks: `mend` keeps every scene on one side; `report` only tells of it.
    """

    val: float = 0.0
    test: float = 0.0
    leaks: str = "mend"

    def __post_init__(self) -> None:
        if self.leaks not in LEAKS:
            raise RecipeError(f"leaks: expected one of {', '.join(LEAKS)}, found {self.leaks!r}")
        for name, share in (("val", self.val), ("test", self.test)):
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise RecipeError(f"{name}: expected a share from 0 to 1, found {share!r}")
        if self.val + self.test > 1:
            raise RecipeError(f"val {self.val} and test {self.test} are more than 1 together")

    @staticmethod
    def place(content: str) -> float:
        """Where that image stands from 0 to 1: first comes the share of `test`, then that of `val`."""
        return int(content[16:32], 16) / 2**64

    def side(self, content: str) -> str:
        """`train`, `val` or `test` for a clean image whose digest is `content` (64 hex digits)."""
        place = self.place(content)
        if place < self.test:
            return "test"
        return "val" if place < self.test + self.val else "train"

    def sides(self, contents: NDArray[np.uint8]) -> NDArray[np.int8]:
        """As `side`, of N digests of 32 bytes each: the places of their sides in `train`, `val` and `test`."""
        places = contents[:, 8:16].copy().view(">u8").ravel().astype(np.float64) / 2**64
        return np.select([places < self.test, places < self.test + self.val], [np.int8(2), np.int8(1)], np.int8(0))


@dataclass(frozen=True)
class Storage:
    """Which files a sample's images are stored as.

    lq       `own`: the file that the degradation gives, or a pair's own where nothing is cut, else a PNG. `png`: always
             a PNG of the same pixels.
    gt       `source`: the photograph's own bytes where nothing is cut, rotated or converted, else a PNG. `png`: always
             a PNG of the same pixels, the photograph's own if it is one.
    uniform  whether the samples of each shard have the same members. Those with others go into shards of their own, so
             that no sample's bytes depend on its neighbours.
    """

    lq: str = "own"
    gt: str = "source"
    uniform: bool = True

    def __post_init__(self) -> None:
        for name, value, known in (("lq", self.lq, LQ_FILES), ("gt", self.gt, GT_FILES)):
            if value not in known:
                raise RecipeError(f"{name}: expected {' or '.join(map(repr, known))}, found {value!r}")
        if not isinstance(self.uniform, bool):
            raise RecipeError(f"uniform: expected true or false, found {self.uniform!r}")


@dataclass(frozen=True)
class Synthesis:
    """One degradation of the recipe and how many times it is applied to each tile, drawn anew each time.

    variants           in the split `train`. held_out_variants: in `val` and `test`, where the same photograph again,
                       with another draw, would count twice in a mean.
    label              what its samples are called: the degradation's name; for a composite its parts' names joined by
                       `+`.
    degradations       the set of names that apply.
    """

    degradation: Degradation
    variants: int
    label: str
    degradations: tuple[str, ...]
    held_out_variants: int = 1

    def variants_in(self, split: str) -> int:
        """How many times it is applied to each tile of a photograph of this split."""
        return self.variants if split == "train" else self.held_out_variants

    def identity(self) -> dict[str, Any]:
        """All about it that decides a sample's bytes, as JSON gives it back: a list where a tuple was."""
        settings = self.degradation.settings()
        facts = {"label": self.label, "version": self.degradation.version, "settings": settings}
        same: dict[str, Any] = json.loads(canonical_json(facts))
        return same


@repr_without_secrets
@dataclass(frozen=True)
class Recipe:
    """All that decides a dataset's bytes, resolved: every default is filled in.

    `table` is the recipe as TOML and JSON write it, with paths as its author wrote them and addresses without their
    secrets; `folder` is where relative paths start. Two recipes with equal tables, sources and codecs give equal
    datasets.
    """

    name: str
    seed: int
    sources: tuple[Reader, ...]
    captioner: Captioner
    fallback: Captioner | None
    filters: Filters
    similarity: ClipScore | None
    degradations: Mapping[str, Synthesis]
    tiles: Tiles | None
    split: Split
    buckets: Mapping[str, int]
    folder: Path
    table: Mapping[str, Any] = field(repr=False)
    storage: Storage = Storage()

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved table."""
        return hashlib.sha256(canonical_json(self.table).encode()).hexdigest()

    def to_toml(self) -> str:
        """The resolved recipe as TOML; reading it back gives an equal recipe, but for the secrets of addresses."""
        return tomli_w.dumps(dict(self.table))

    def cut(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """The tiles of a photograph of `width`×`height` px: itself, if whole images are wanted."""
        return self.tiles.cut(width, height) if self.tiles else [(0, 0, width, height)]
