"""Whether the shares for validation and test that a recipe asks for are those that its photographs give."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from patina.pipeline.recipe.recipe import Split
from patina.pipeline.scan.source import Source

PLACES = 6
"""Decimal places of a share that is advised, at the most."""


def share_notes(split: Split, sources: Sequence[Source]) -> list[str]:
    """A sentence for each of `val` and `test` whose photographs are far fewer or more than was asked for, with what
    would be needed; none where the shares are as near as chance, or whole numbers, let them be.

    Photographs whose source names their split are no part of it.
    """
    drawn = {source.content: source.split for source in sources if not source.named}
    notes = []
    for side, share in (("val", split.val), ("test", split.test)):
        if not share or not sources:
            continue
        if not drawn:
            notes.append(f"{side} = {share:g} is applied to nothing: every source names the split of its photographs")
            continue
        count = sum(1 for found in drawn.values() if found == side)
        if is_far(count, len(drawn), share):
            notes.append(_sentence(split, side, share, count, drawn))
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


def _sentence(split: Split, side: str, share: float, count: int, drawn: dict[str, str]) -> str:
    total = len(drawn)
    wanted = max(1, round(total * share))
    got = (
        f"{count:,} of {total:,} photographs ({100 * count / total:.0f} %)"
        if count
        else f"none of {total:,} photographs"
    )
    told = f"{side} = {share:g} gives {got}, and not about {wanted:,}"
    if count != _count(split, side, drawn):
        return f"{told}: photographs of one scene were put on one side; more scenes bring it nearer"
    advised = advised_share(split, side, drawn, wanted)
    ways = [f"{side} = {advised} gives {wanted:,} of these"] if advised else []
    ways += [f'a source with split = "{side}" says which they are', "more photographs bring it nearer"]
    return f"{told}: sides follow from the photographs' digests; {', '.join(ways)}"


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
