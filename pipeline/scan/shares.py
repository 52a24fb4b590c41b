"""Whether the shares for validation and test that a recipe asks for are those that its photographs give."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from patina.pipeline.recipe.recipe import Split
from patina.pipeline.scan.columns import Sources, firsts_of, hex_of
from patina.pipeline.scan.source import Source

PLACES = 6
"""Decimal places of a share that is advised, at the most."""


def share_notes(split: Split, sources: Sequence[Source]) -> list[str]:
    """A sentence for each of `val` and `test` whose photographs are far fewer or more than was asked for, with what
    would be needed; none where the shares are as near as chance, or whole numbers, let them be.

    Photographs whose source names their split are no part of it.
    """
    asked = [(side, share) for side, share in (("val", split.val), ("test", split.test)) if share]
    if not asked or not sources:
        return []
    columns = Sources.of(sources)
    is_drawn = columns.by_kind([not example.named for example in columns.examples], np.bool_)
    columns = columns.take(np.flatnonzero(is_drawn))
    columns = columns.take(firsts_of(columns.contents))  # of one content all are on one side
    counts = Counter[str]()
    for example, count in zip(columns.examples, columns.counts(), strict=True):
        counts[example.split] += count
    notes = []
    for side, share in asked:
        if not len(columns):
            notes.append(f"{side} = {share:g} is applied to nothing: every source names the split of its photographs")
        elif is_far(counts[side], len(columns), share):
            notes.append(_sentence(split, side, share, counts[side], hex_of(columns.contents)))
    return notes


def is_far(count: int, total: int, share: float) -> bool:
    """Whether `count` of `total` is none at all, or less than half or more than double of what `share` asks for, and
    not one of the two whole numbers next to it.

    Sides are drawn for each photograph alone, so counts scatter about what is asked for by nearly its square root: of
    sets with 3 photographs for `val` every fifth is told of, with 10 every fortieth, with 40 one of ten thousand.
    """
    asked = total * share
    if count == 0:
        return True
    return abs(count - asked) >= 1 and not asked / 2 <= count <= 2 * asked


def _sentence(split: Split, side: str, share: float, count: int, drawn: Collection[str]) -> str:
    total = len(drawn)
    wanted = max(1, round(total * share))
    got = (
        f"{count:,} of {total:,} photographs ({100 * count / total:.0f} %)"
        if count
        else f"none of {total:,} photographs"
    )
    told = f"{side} = {share:g} gives {got} instead of about {wanted:,}"
    if count != _count(split, side, drawn):
        return f"{told}: photographs of one scene were put into one split; more scenes bring the share nearer"
    advised = advised_share(split, side, drawn, wanted)
    ways = [f"{side} = {advised} gives {wanted:,} of these"] if advised else []
    ways += [f'split = "{side}" in a source chooses them', "more photographs bring the share nearer"]
    return f"{told}: splits follow from the photographs' digests; {', '.join(ways)}"


def _count(split: Split, side: str, contents: Collection[str]) -> int:
    return sum(1 for content in contents if split.side(content) == side)


def advised_share(split: Split, side: str, contents: Collection[str], wanted: int) -> str:
    """The shortest decimal that as a share for `side` puts exactly `wanted` of these there; "" if there is none."""
    begins = split.test if side == "val" else 0.0
    places = sorted(place for content in contents if (place := split.place(content)) >= begins)
    if wanted > len(places):
        return ""
    for digits in range(2, PLACES + 1):
        share = math.ceil((places[wanted - 1] - begins) * 10**digits) / 10**digits
        if share + (split.test if side == "val" else split.val) > 1:
            continue
        if _count(replace(split, **{side: share}), side, contents) == wanted:
            return f"{share:g}"
    return ""
