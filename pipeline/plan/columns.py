"""What of each source decides its samples, as columns: of a million photographs without an object for each.

A shard's fingerprint is one SHA-256 over the rows of its sources: the digest, the digest of the caption, and the digest
of all else that decides the samples of such a source under the shard's degradation. Most sources of a dataset are alike
in that, so it is found once for each kind of them. No sample has a fingerprint before its shard is stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.hashing import canonical_json
from patina.pipeline.scan.columns import ByDigest, Sources, each_hex
from patina.pipeline.scan.source import Source
from patina.synth.figures import VERSION as FIGURING
from patina.synth.words import VERSION as WORDING

ROW = 16
"""Bytes of a digest of a caption, or of what else decides a source's samples."""

_WORDS = attrgetter("text", "captioner", "more")
_KIND = attrgetter(
    "split", "degradation", "entries", "info.suffix", "info.width", "info.height", "lq_suffix", "border", "info.extra",
    "lq_extra",
)  # fmt: skip


def wording(text: str, captioner: str) -> bytes:
    """What of a caption decides a sample's fingerprint, with the versions of what else KEY.json tells of images."""
    return f"{WORDING}.{FIGURING}\0{captioner}\0{text}".encode()


class Worded(Protocol):
    """A caption as `wanted.AssignedCaption` has it."""

    @property
    def text(self) -> str: ...  # noqa: D102

    @property
    def captioner(self) -> str: ...  # noqa: D102

    @property
    def more(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Columns:
    """N sources as columns.

    digests      N×32 uint8. captions: N×16 uint8, zeros where there is none or where there are several.
    uncaptioned  N bool: whose caption is still to be made. several: rows whose sources have further captions.
    kinds        N int32, and examples: a source of each kind. Sources of one kind differ in nothing that decides their
                 samples but digest, names and caption.
    """

    digests: NDArray[np.uint8]
    captions: NDArray[np.uint8]
    uncaptioned: NDArray[np.bool_]
    several: frozenset[int]
    kinds: NDArray[np.int32]
    examples: tuple[Source, ...]

    def buckets(self, count: Mapping[str, int]) -> NDArray[np.int64]:
        """N int64: the bucket of each source (`hashing.bucket_of`), where `count` is their number by split."""
        numbers = self.digests[:, 16:24].copy().view(">u8").ravel()
        wanted = np.array([count[source.split] for source in self.examples], np.uint64)[self.kinds]
        low = (numbers & np.uint64(0xFFFFFFFF)).astype(np.uint64) * wanted >> np.uint64(32)
        high = (numbers >> np.uint64(32)).astype(np.uint64) * wanted
        return np.asarray((high + low) >> np.uint64(32), np.int64)  # of 96 bits' product the upper ones, exactly


def columns_of(sources: Sequence[Source], captions: Mapping[str, Worded | None]) -> Columns:
    """The columns of `sources`, with their captions by digest."""
    rows = Sources.of(sources)
    kinds = _Numbered()
    of_kinds = np.array([kinds[_kind(example)] for example in rows.examples], np.int32)
    firsts = np.unique(of_kinds, return_index=True)[1].tolist()
    words, codes = _said(rows, captions)
    worded = [_row(*said[:2]) if said and said[1] and not said[2] else bytes(ROW) for said in words]
    is_several = np.array([bool(said and said[2]) for said in words], np.bool_)
    return Columns(
        rows.digests,
        np.frombuffer(b"".join(worded), np.uint8).reshape(-1, ROW)[codes],
        np.array([said is None for said in words], np.bool_)[codes],
        frozenset(np.flatnonzero(is_several[codes]).tolist()) if is_several.any() else frozenset(),
        of_kinds[rows.kinds],
        tuple(rows.examples[first] for first in firsts),
    )


def _said(
    sources: Sources, captions: Mapping[str, Worded | None]
) -> tuple[Sequence[tuple[str, str, tuple[str, ...]] | None], NDArray[np.int32]]:
    """The different captions, each its text, captioner and further texts, or None for one that is still to be made; and
    of each source the place of its own."""
    if isinstance(captions, ByDigest) and np.array_equal(captions.digests, sources.digests):
        return [caption and _WORDS(caption) for caption in captions.distinct], captions.codes
    numbers = _Numbered()
    said = map(captions.__getitem__, each_hex(sources.digests))
    codes = np.fromiter((numbers[caption and _WORDS(caption)] for caption in said), np.int32, len(sources))
    return list(numbers), codes


class _Numbered(dict[Any, int]):
    """What was asked for, each with its number, in the order of asking."""

    def __missing__(self, key: Any) -> int:
        self[key] = number = len(self)
        return number


def _kind(source: Source) -> tuple[Any, ...]:
    """What of a source decides its samples, but digest and caption; of a pair also what its source tells of it."""
    return (*_KIND(source), canonical_json(source.params)) if source.lq or source.params else _KIND(source)


def _row(text: str, captioner: str) -> bytes:
    return hashlib.sha256(wording(text, captioner)).digest()[:ROW]


class Chosen(Sequence[Source]):
    """Some of the sources, by their places in all of them (int32), in order; nothing is copied."""

    def __init__(self, sources: Sequence[Source], places: NDArray[np.int32]) -> None:
        self._sources = sources
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Source]:
        if isinstance(self._sources, Sources):  # which makes many at once
            return iter(self._sources.take(self.places.astype(np.intp)))
        return map(self._sources.__getitem__, self.places.tolist())

    @overload
    def __getitem__(self, index: int) -> Source: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Source]: ...

    def __getitem__(self, index: int | slice) -> Source | Sequence[Source]:
        if isinstance(index, slice):
            return Chosen(self._sources, self.places[index])
        return self._sources[int(self.places[index])]


@dataclass(frozen=True)
class Run:
    """The sources of one shard: their places in all of them, which of `groups` they are, and their bucket. digest: of
    their own digests and captions, to go on from."""

    group: int
    bucket: int
    places: NDArray[np.int32]
    digest: Callable[[], Any]


def runs_of(columns: Columns, groups: NDArray[np.int64], buckets: NDArray[np.int64]) -> list[Run]:
    """The sources of each group and bucket. groups: the group of each kind, -1 for sources that are in none."""
    group = groups[columns.kinds]
    places = np.flatnonzero(group >= 0).astype(np.int32)
    group, bucket = group[places], buckets[places]
    order = np.lexsort((bucket, group))  # stable: within a shard they stay as they are
    places, group, bucket = places[order], group[order], bucket[order]
    if not len(places):
        return []
    begins = np.r_[True, (group[1:] != group[:-1]) | (bucket[1:] != bucket[:-1])]
    starts = np.flatnonzero(begins).tolist()
    found = []
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
        some = places[start:stop]
        digest = hashlib.sha256(f"{len(some)}\0".encode())
        digest.update(columns.digests[some].tobytes())
        digest.update(columns.captions[some].tobytes())
        found.append(Run(int(group[start]), int(bucket[start]), some, digest.copy))
    return found
