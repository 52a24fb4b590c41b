"""Whether a share for validation or test is what a folder's photographs give, and which share would be."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from patina.pipeline.recipe.recipe import Split

PLACES = 6
"""Decimal places of a share that is advised, at the most."""


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


def what_gives(side: str) -> str:
    """For an error about a split without samples: what to write into the recipe."""
    share = "test" if side == "test" else "val"
    return (
        f"give the recipe such a split, as in [split] {share} = 0.1 (of few photographs that may be none: "
        "`patina plan` says what gives some)"
    )


def wanted_of(total: int, share: float) -> int:
    """How many of `total` photographs a share asks for: at least one."""
    return max(1, round(total * share))


def count_on(split: Split, side: str, contents: Collection[str]) -> int:
    """How many of the digests `contents` (64 hex digits each) a split puts on a side."""
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
        if count_on(replace(split, **{side: share}), side, contents) == wanted:
            return f"{share:g}"
    return ""
