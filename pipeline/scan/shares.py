"""Whether the shares for validation and test that a recipe asks for are those that its photographs give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from patina.pipeline.recipe.recipe import Split
from patina.pipeline.recipe.shares import advised_share, count_on, is_far, wanted_of
from patina.pipeline.scan.columns import Sources, firsts_of, hex_of
from patina.pipeline.scan.source import Source


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


def _sentence(split: Split, side: str, share: float, count: int, drawn: Collection[str]) -> str:
    total = len(drawn)
    wanted = wanted_of(total, share)
    got = (
        f"{count:,} of {total:,} photographs ({100 * count / total:.0f} %)"
        if count
        else f"none of {total:,} photographs"
    )
    told = f"{side} = {share:g} gives {got} instead of about {wanted:,}"
    if count != count_on(split, side, drawn):
        return f"{told}: photographs of one scene were put into one split; more scenes bring the share nearer"
    advised = advised_share(split, side, drawn, wanted)
    ways = [f"{side} = {advised} gives {wanted:,} of these"] if advised else []
    ways += [f'split = "{side}" in a source chooses them', "more photographs bring the share nearer"]
    return f"{told}: splits follow from the photographs' digests; {', '.join(ways)}"
