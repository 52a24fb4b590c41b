"""Sources as columns: a million of them take 130 MB, where an object for each takes a gigabyte.

A plan looks at all sources, but hardly at one of them: digests are hashed by the column, and what decides samples is
nearly always alike in thousands. So `Sources` is a sequence that makes a `Source` when it is asked for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.hashing import canonical_json
from patina.pipeline.scan.source import ImageInfo, Source

V = TypeVar("V")

AT_ONCE = 1 << 10
"""Sources that are made together where all are looked at."""


class Texts(Sequence[str]):
    """N texts, one after the other in one buffer."""

    __slots__ = ("_data", "_lengths", "_starts")

    def __init__(self, data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
        self._data, self._starts, self._lengths = data, starts, lengths

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """These texts. Half characters, by which Python writes bytes of paths that are no UTF-8, stay what they are."""
        whole = "".join(texts)
        if whole.isascii():
            data, lengths = whole.encode(), np.fromiter(map(len, texts), np.int32, len(texts))
        else:
            parts = [text.encode("utf-8", "surrogatepass") for text in texts]
            data, lengths = b"".join(parts), np.fromiter(map(len, parts), np.int32, len(parts))
        return cls(data, np.cumsum(lengths, dtype=np.int64) - lengths, lengths)

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """The texts of all parts in turn."""
        if len(parts) == 1:
            return parts[0]
        begins = np.cumsum([0, *(len(part._data) for part in parts)])
        starts = [part._starts + begin for part, begin in zip(parts, begins.tolist(), strict=False)]
        return cls(
            b"".join(part._data for part in parts),
            np.concatenate(starts),
            np.concatenate([part._lengths for part in parts]),
        )

    def take(self, places: NDArray[np.intp]) -> Texts:
        """The texts at these places, in their order; the buffer is shared."""
        return Texts(self._data, self._starts[places], self._lengths[places])

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            starts, lengths = self._starts[index].tolist(), self._lengths[index].tolist()
            data = self._data
            return [
                data[start : start + length].decode("utf-8", "surrogatepass")
                for start, length in zip(starts, lengths, strict=True)
            ]
        start = int(self._starts[index])
        return self._data[start : start + int(self._lengths[index])].decode("utf-8", "surrogatepass")


class Sources(Sequence[Source]):
    """N sources, each made when it is looked at.

    digests, contents  N×32 uint8, SHA-256; one array where the two are equal for all.
    kinds      N int32, and `examples`: a source of each kind. Sources of one kind differ in digest, content, names,
               location, caption, bytes, mean levels and perceptual hash alone.
    names      of each its one name. locations: "" where it is what that of its kind's example is, with its own name.
               captions: those that the sources themselves bring.
    bytes      N int64. means: N×3 float64. phashes: N uint64.
    whole      by row, sources that are more than a name and a location: pairs, and those of several names. The columns
               say of them what they say of others, but for names, locations and captions.
    """

    def __init__(
        self,
        digests: NDArray[np.uint8],
        contents: NDArray[np.uint8],
        kinds: NDArray[np.int32],
        examples: Sequence[Source],
        names: Texts,
        locations: Texts | None,
        captions: Texts | None,
        sizes: NDArray[np.int64],
        means: NDArray[np.float64],
        phashes: NDArray[np.uint64],
        whole: Mapping[int, Source],
    ) -> None:
        self.digests, self.contents, self.kinds, self.examples = digests, contents, kinds, tuple(examples)
        self.names, self.locations, self.captions = names, locations, captions
        self.bytes, self.means, self.phashes, self.whole = sizes, means, phashes, whole

    @classmethod
    def of(cls, sources: Iterable[Source]) -> Sources:
        """These sources as columns."""
        if isinstance(sources, Sources):
            return sources
        left = iter(sources)
        parts = []
        while some := list(islice(left, AT_ONCE)):
            parts.append(cls._of_few(some))
        return cls.joined(parts)

    @classmethod
    def _of_few(cls, sources: Sequence[Source]) -> Sources:
        plain = [_is_plain(source) for source in sources]
        keys = dict[Any, int]()
        examples: list[Source] = []
        kinds = []
        for source, is_plain in zip(sources, plain, strict=True):
            key = _kind(source, is_plain)
            if key not in keys:
                keys[key] = len(examples)
                examples.append(source)
            kinds.append(keys[key])
        digests = _bytes_of([source.digest for source in sources])
        is_own = all(source.digest == source.content for source in sources)
        locations = [
            source.path if is_plain and _head(source) is None else ""
            for source, is_plain in zip(sources, plain, strict=True)
        ]
        captions = [source.captions[0] if is_plain else "" for source, is_plain in zip(sources, plain, strict=True)]
        return cls(
            digests,
            digests if is_own else _bytes_of([source.content for source in sources]),
            np.array(kinds, np.int32),
            examples,
            Texts.of([source.names[0] if source.names else "" for source in sources]),
            Texts.of(locations) if any(locations) else None,
            Texts.of(captions) if any(captions) else None,
            np.array([source.bytes for source in sources], np.int64),
            np.array([source.info.mean for source in sources], np.float64).reshape(-1, 3),
            np.array([_number(source.info.phash) for source in sources], np.uint64),
            {i: source for i, (source, is_plain) in enumerate(zip(sources, plain, strict=True)) if not is_plain},
        )

    @classmethod
    def joined(cls, parts: Sequence[Sources]) -> Sources:
        """All of them in turn."""
        parts = [part for part in parts if len(part)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            none = np.zeros((0, 32), np.uint8)
            zero = np.zeros(0, np.int64)
            empty = Texts.of([])
            kinds, phashes = zero.astype(np.int32), zero.astype(np.uint64)
            return cls(none, none, kinds, (), empty, None, None, zero, np.zeros((0, 3)), phashes, {})
        numbers = dict[Any, int]()
        examples: list[Source] = []
        numbered = []
        whole: dict[int, Source] = {}
        start = 0
        for part in parts:
            keys = [_kind(example, _is_plain(example)) for example in part.examples]
            for key, example in zip(keys, part.examples, strict=True):
                if key not in numbers:
                    numbers[key] = len(examples)
                    examples.append(example)
            numbered.append(np.array([numbers[key] for key in keys], np.int32)[part.kinds])
            whole |= {start + row: source for row, source in part.whole.items()}
            start += len(part)
        digests = np.concatenate([part.digests for part in parts])
        is_own = all(part.contents is part.digests for part in parts)
        return cls(
            digests,
            digests if is_own else np.concatenate([part.contents for part in parts]),
            np.concatenate(numbered),
            examples,
            Texts.joined([part.names for part in parts]),
            _joined_if_any([part.locations for part in parts], parts),
            _joined_if_any([part.captions for part in parts], parts),
            np.concatenate([part.bytes for part in parts]),
            np.concatenate([part.means for part in parts]),
            np.concatenate([part.phashes for part in parts]),
            whole,
        )

    def take(self, places: NDArray[np.intp]) -> Sources:
        """Those at these places, in their order."""
        kinds = self.kinds[places]
        used = np.flatnonzero(np.bincount(kinds, minlength=len(self.examples)))
        now = np.zeros(len(self.examples), np.int32)
        now[used] = np.arange(len(used))
        whole: dict[int, Source] = {}
        if self.whole:
            rows = np.full(len(self), -1)
            rows[places] = np.arange(len(places))
            whole = {int(rows[row]): source for row, source in self.whole.items() if rows[row] >= 0}
        digests = self.digests[places]
        return Sources(
            digests,
            digests if self.contents is self.digests else self.contents[places],
            now[kinds],
            [self.examples[kind] for kind in used.tolist()],
            self.names.take(places),
            None if self.locations is None else self.locations.take(places),
            None if self.captions is None else self.captions.take(places),
            self.bytes[places],
            self.means[places],
            self.phashes[places],
            whole,
        )

    def in_order(self) -> Sources:
        """By digest."""
        order = order_of(self.digests)
        return self if np.array_equal(order, np.arange(len(order))) else self.take(order)

    def __len__(self) -> int:
        return len(self.kinds)

    def __repr__(self) -> str:
        return f"<{len(self):,} sources>"

    @overload
    def __getitem__(self, index: int) -> Source: ...

    @overload
    def __getitem__(self, index: slice) -> Sources: ...

    def __getitem__(self, index: int | slice) -> Source | Sources:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        return next(self._made(row, row + 1))

    def __iter__(self) -> Iterator[Source]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._made(start, min(start + AT_ONCE, len(self)))

    def _made(self, start: int, stop: int) -> Iterator[Source]:
        """The sources of these rows as objects."""
        rows = slice(start, stop)
        digests = hex_of(self.digests[rows])
        contents = digests if self.contents is self.digests else hex_of(self.contents[rows])
        names = self.names[rows]
        locations = [""] * len(names) if self.locations is None else self.locations[rows]
        captions = [""] * len(names) if self.captions is None else self.captions[rows]
        kinds, sizes, phashes = self.kinds[rows].tolist(), self.bytes[rows].tolist(), self.phashes[rows].tolist()
        for i, ((red, green, blue), kind) in enumerate(zip(self.means[rows].tolist(), kinds, strict=True)):
            if start + i in self.whole:
                yield self.whole[start + i]
                continue
            like, looks = self.examples[kind], self.examples[kind].info
            phash = f"{phashes[i]:016x}"
            yield Source(
                digests[i],
                contents[i],
                (names[i],),
                like.roots,
                locations[i] or f"{self._heads[kind]}{names[i]}",
                like.source_index,
                like.split,
                sizes[i],
                ImageInfo(
                    "", looks.width, looks.height, looks.suffix, (red, green, blue), phash, looks.lost, looks.extra
                ),
                (captions[i],) if captions[i] else UNCAPTIONED,
                like.named,
                like.entries,
                licence=like.licence,
                attribution=like.attribution,
            )

    @cached_property
    def _heads(self) -> list[str]:
        return [_head(example) or "" for example in self.examples]

    def by_kind(self, of: Sequence[V] | NDArray[Any], dtype: Any = None) -> NDArray[Any]:
        """N values, of which `of` has one for each kind."""
        return np.array(of, dtype)[self.kinds]

    def counts(self) -> list[int]:
        """How many sources are of each kind."""
        return [int(count) for count in np.bincount(self.kinds, minlength=len(self.examples))]

    @property
    def widths(self) -> NDArray[np.int64]:
        """N: of the clean images, in pixels."""
        return self.by_kind([example.info.width for example in self.examples], np.int64)

    @property
    def heights(self) -> NDArray[np.int64]:
        """N: likewise."""
        return self.by_kind([example.info.height for example in self.examples], np.int64)


UNCAPTIONED = ("",)
"""The captions that a source of one name brings which brings none."""


class ByDigest(Mapping[str, V], Generic[V]):
    """A value for each of N sources by digest, of which many are alike.

    digests  N×32 uint8. codes: N int32, the place of each one's value among the `distinct` ones.
    """

    def __init__(self, digests: NDArray[np.uint8], codes: NDArray[np.int32], distinct: Sequence[V]) -> None:
        self.digests, self.codes, self.distinct = digests, codes, distinct

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        order = order_of(self.digests)
        return prefixes_of(self.digests)[order], order

    def __getitem__(self, digest: str) -> V:
        prefixes, order = self._sorted
        wanted = bytes.fromhex(digest)
        prefix = np.uint64(int.from_bytes(wanted[:8], "big"))
        for place in range(int(np.searchsorted(prefixes, prefix)), len(prefixes)):
            row = order[place]
            if self.digests[row].tobytes() == wanted:
                return self.distinct[int(self.codes[row])]
            if prefixes[place] != prefix:
                break
        raise KeyError(digest)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return each_hex(self.digests)


def each_hex(digests: NDArray[np.uint8]) -> Iterator[str]:
    """As `hex_of`, one after the other."""
    for start in range(0, len(digests), AT_ONCE):
        yield from hex_of(digests[start : start + AT_ONCE])


def hex_of(digests: NDArray[np.uint8]) -> list[str]:
    """N digests of 32 bytes as texts of 64 hexadecimal digits."""
    whole = digests.tobytes().hex()
    return [whole[at : at + 64] for at in range(0, len(whole), 64)]


def prefixes_of(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 of their bytes each, as numbers in the order of the texts."""
    return digests[:, :8].copy().view(">u8").ravel().astype(np.uint64)


def firsts_of(digests: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The places of each digest once, in the digests' order: the first of equal ones."""
    order = order_of(digests)
    ordered = digests[order]
    is_first = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)][: len(order)]
    return order[np.flatnonzero(is_first)]


def order_of(digests: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The places of N digests in their order; of equal ones the first comes first."""
    words = digests.copy().view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0], kind="stable")
    first = words[order, 0]
    if (first[1:] == first[:-1]).any():
        order = np.lexsort(words.T[::-1])
    return order


def _joined_if_any(columns: Sequence[Texts | None], parts: Sequence[Sources]) -> Texts | None:
    if not any(columns):
        return None
    return Texts.joined([column or Texts.of([""] * len(part)) for column, part in zip(columns, parts, strict=True)])


def _bytes_of(digests: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)


def _number(phash: str) -> int:
    try:
        return int(phash or "0", 16)
    except ValueError:
        return 0


def _is_plain(source: Source) -> bool:
    """Whether the columns and its kind say all of it."""
    of_a_pair = source.lq, source.lq_digest, source.lq_suffix, source.lq_name, source.lq_extra, source.degradation
    return (
        not (any(of_a_pair) or source.params or source.border)
        and len(source.names) == len(source.roots) == len(source.captions) == 1
        and bool(source.path)
        and f"{_number(source.info.phash):016x}" == source.info.phash
    )


def _head(source: Source) -> str | None:
    """What stands before its name in its location; None where it does not end in its name."""
    name = source.names[0] if source.names else ""
    return source.path[: len(source.path) - len(name)] if source.path.endswith(name) else None


def _kind(source: Source, is_plain: bool) -> tuple[Any, ...]:
    """What sources of one kind have in common: those that the columns say all of, more than others."""
    info = source.info
    shared = (
        source.split, source.named, source.degradation, source.entries, info.suffix, info.width, info.height,
        info.extra, source.lq_suffix, source.lq_extra, source.border, bool(source.lq), source.source_index,
    )  # fmt: skip
    if not is_plain:
        return *shared, info.lost, canonical_json(source.params)
    return *shared, info.lost, info.problem, source.roots, source.licence, source.attribution, _head(source)
