"""Tiles that repeat most of another because the photograph is little larger than they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from patina.pipeline.recipe.recipe import Tiles
from patina.pipeline.scan.columns import Sources
from patina.pipeline.scan.source import Source
from patina.pipeline.text import counted, printable

MUCH = 0.5
"""Share of a tile's side above which it repeats more of its neighbour than it adds."""

FEW = 3
"""Tiles in a row up to which one that repeats its neighbour weighs: of four it is a quarter or less."""


def overlap_notes(tiles: Tiles | None, sources: Sequence[Source]) -> list[str]:
    """A sentence on all photographs of which a tile at an edge overlaps the one before it by more than half, in a row
    of a few; none where the stride asks for as much, or `max_overlap` leaves such tiles out."""
    if tiles is None:
        return []
    found = {}
    columns = Sources.of(sources)
    sizes = [(example.info.width, example.info.height) for example in columns.examples]
    overlaps = [max(_overlap(tiles, side) for side in size) for size in sizes]
    for kind, (overlap, (width, height)) in enumerate(zip(overlaps, sizes, strict=True)):
        if overlap > max(MUCH, tiles.usual_overlap):
            names = columns.names.take(np.flatnonzero(columns.kinds == kind))
            found.update(dict.fromkeys(names, (overlap, f"{width}×{height}")))
    if not found:
        return []
    name = min(found, key=lambda name: (-found[name][0], name))
    most, size = found[name]
    what = f"tiles of {counted(len(found), 'photograph')} overlap by more than half at an edge"
    example = f"by up to {100 * most:.0f} % ({printable(name)}, {size} px)"
    return [f"{what}, {example}: [tiles] max_overlap = {MUCH} leaves those out, another size may fit better"]


def _overlap(tiles: Tiles, length: int) -> float:
    """Of the tile at the end of a row of a few; 0 where it is left out, or one of many."""
    overlap = tiles.edge_overlap(length)
    return overlap if overlap <= tiles.max_overlap + 1e-9 and length <= FEW * tiles.size else 0.0
