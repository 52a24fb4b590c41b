"""One source for the same bytes, whatever they are called and however often they lie there; and one side of the split.

A clean image of several pairs, or of a pair and a photograph, must not stand on two sides either: its copies are the
surest leak of all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.scan.columns import Sources, prefixes_of
from patina.pipeline.scan.source import Source
from patina.pipeline.sources.reader import Refusal


def merged(sources: Sources, title: Callable[[int], str]) -> tuple[Sources, list[Refusal], list[str]]:
    """As `merge`, which the sources alone go through that may have digests in common with others."""
    is_shared = _are_repeated(prefixes_of(sources.contents)) | _are_repeated(prefixes_of(sources.digests))
    if not is_shared.any():
        return sources.in_order(), [], []
    alone = sources.take(np.flatnonzero(~is_shared))
    kept, refusals, notes = merge(sources.take(np.flatnonzero(is_shared)), title)
    return Sources.joined([alone, Sources.of(kept)]).in_order(), refusals, notes


def _are_repeated(numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """N: of which numbers there are several."""
    order = np.argsort(numbers)
    ordered = numbers[order]
    same = np.r_[False, ordered[1:] == ordered[:-1]]
    found = np.zeros(len(numbers), np.bool_)
    found[order] = same | np.r_[same[1:], False][: len(numbers)]
    return found


def merge(sources: Iterable[Source], title: Callable[[int], str]) -> tuple[list[Source], list[Refusal], list[str]]:
    """One source for each digest, in digest order; keys that two digests share; and notes. `title` names a set by its
    place in the recipe.

    A clean image's side is test if any table or draw puts it there, else val if any does. Where a set was put there by
    its name, as published test sets are, everything else with the same clean image is left out, so that the set stays
    as it was published; where only a draw put it there, what was drawn goes along and sets with a name of their own
    lose it. See `leaks.assign`, which does the same for copies that are not equal byte by byte.
    """
    groups: dict[str, list[Source]] = defaultdict(list)
    occurrences: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        groups[source.digest].append(source)
        occurrences[source.content].append(source)
    sides = {content: max((s.split for s in same), key=SPLITS.index) for content, same in occurrences.items()}
    held = {c: any(s.named and s.split == sides[c] for s in same) for c, same in occurrences.items()}
    merged: list[Source] = []
    refusals: list[Refusal] = []
    left: Counter[tuple[str, str, str]] = Counter()
    example: dict[tuple[str, str, str], str] = {}
    keys: dict[str, str] = {}
    for digest in sorted(groups):
        side = sides[groups[digest][0].content]
        same = sorted(groups[digest], key=lambda s: (s.split != side, s.source_index, s.names, s.lq_name))
        first = same[0]
        for gone in {(title(s.source_index), s.split, side) for s in same if s.split != side}:
            left[gone] += 1
            example.setdefault(gone, first.names[0])
        if all(s.split != side and (s.named or held[first.content]) for s in same):
            continue
        if digest[:16] in keys:
            clash = f"its digest begins like that of {keys[digest[:16]]} (16 hex digits); they cannot both have a key"
            refusals.append(Refusal(first.names[0], clash))
            continue
        keys[digest[:16]] = first.names[0]
        merged.append(_as_one(same, side, held[first.content]))
    notes = [
        f"{count} photograph{'s' * (count > 1)} of {name} ({was}) left out of {was}: also in {side}, byte for byte, "
        f"such as {example[name, was, side]}"
        for (name, was, side), count in sorted(left.items())
    ]
    return merged, refusals, [*notes, *_shared(occurrences.values(), title)]


def _as_one(same: list[Source], side: str, named: bool) -> Source:
    """One source of several with the same bytes: the first, under all their names. It undergoes what the tables ask for
    that have it on its side; those that lose it have no say."""
    if len(same) == 1 and (same[0].split, same[0].named) == (side, named):
        return same[0]
    places = dict.fromkeys((s.names[0], s.roots[0], s.captions[0]) for s in same)
    names, roots, captions = zip(*places, strict=True)
    there = [s for s in same if s.split == side] or same
    entries = () if any(not s.entries for s in there) else tuple(sorted({e for s in there for e in s.entries}))
    return replace(same[0], names=names, roots=roots, captions=captions, split=side, named=named, entries=entries)


def _shared(occurrences: Iterable[list[Source]], title: Callable[[int], str]) -> list[str]:
    """Sentences on named test sets that have clean images in common: no leak, but no independent figures either."""
    counts: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for same in occurrences:
        sets = sorted({title(s.source_index) for s in same if s.named and s.split == "test"})
        for i, one in enumerate(sets):
            for other in sets[i + 1 :]:
                counts[one, other] += 1
                first = min(s.names[0] for s in same)
                example[one, other] = min(first, example.get((one, other), first))
    return [
        f"{one} (test) and {other} (test) share {count} clean image{'s' * (count > 1)}, such as {example[one, other]}"
        for (one, other), count in sorted(counts.items())
    ]
