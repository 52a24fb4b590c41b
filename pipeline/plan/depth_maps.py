"""Depth maps that seem to be other photographs'."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.installed import known_fingerprint
from patina.pipeline.errors import BadImageError
from patina.pipeline.plan.side_folders import parts_of
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.reading import SourceChangedError, load_clean
from patina.pipeline.scan.source import Source
from patina.pipeline.sources import locations
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.pipeline.text import printable
from patina.synth.degradation import SettingError
from patina.synth.depth import Depths, read_map
from patina.synth.depth_fit import DepthFit, depth_fit

VERSION = 1
"""Raised when maps and photographs are compared in another way."""

RARE = 20
"""Of more maps than these one that seems wrong may be chance: then a share of one in so many has to."""

NAMED = 3


def depth_notes(recipe: Recipe, sources: Sequence[Source], store: ScanStore, workers: int) -> list[str]:
    """A sentence for each folder with depth maps whose content seems to be other photographs', with a count and the
    first of them by name. Each pair of a photograph and a map is compared once."""
    told = []
    for depths, photographs in _users(recipe, sources).items():
        fits = _fits(photographs, depths, store, workers)
        judged = [source for source, fit in fits if fit.places]
        wrong = sorted(source.names[0] for source, fit in fits if fit.is_anothers)
        if wrong and RARE * len(wrong) >= len(judged):
            first = ", ".join(map(printable, wrong[:NAMED])) + (", …" if len(wrong) > NAMED else "")
            where = f"depth maps in {printable(locations.base_name(depths.folder))}"
            why = "their edges fit the picture no better than displaced ones"
            told.append(f"{where}: {len(wrong):,} of {len(fits):,} seem to be other photographs' ({first}): {why}")
    return told


def _users(recipe: Recipe, sources: Sequence[Source]) -> Mapping[Depths, list[Source]]:
    """The clean photographs that each folder of depth maps is asked for."""
    users: dict[Depths, dict[str, Source]] = defaultdict(dict)
    for entry, synthesis in recipe.degradations.items():
        for part in parts_of(synthesis.degradation):
            depths = getattr(part, "depths", None)
            if not isinstance(depths, Depths) or not depths.folder:
                continue
            for source in sources:
                if not source.is_pair and (not source.entries or entry in source.entries):
                    users[depths][source.digest] = source
    return {depths: list(found.values()) for depths, found in users.items()}


def _fits(
    photographs: Sequence[Source], depths: Depths, store: ScanStore, workers: int
) -> list[tuple[Source, DepthFit]]:
    inspector = f"depth-{VERSION}-{known_fingerprint()}"
    maps = [(source, path) for source in photographs if (path := depths.path_for(source.names[0]))]
    keys = [(source.content, depths.digest_for(source.names[0]), inspector) for source, _ in maps]
    new = [i for i, key in enumerate(keys) if store.pair(*key) is None]
    with stoppable_threads(workers) as pool:
        for start in range(0, len(new), 256):  # stored by the batch, as digests are
            batch = new[start : start + 256]
            records = list(pool.map(partial(_record, maps), batch))
            store.put_pairs([(*keys[i], record) for i, record in zip(batch, records, strict=True) if record])
    found = [(source, store.pair(*key)) for (source, _), key in zip(maps, keys, strict=True)]
    return [(source, DepthFit(**json.loads(record))) for source, record in found if record]


def _record(maps: Sequence[tuple[Source, Path]], i: int) -> str:
    """How a map fits its photograph, as it is stored; empty where one of them cannot be read, which others tell."""
    expect_wanted()
    source, path = maps[i]
    try:
        _, depth, known = read_map(path)
        image = load_clean(source.path, source.content, source.border)
    except (SettingError, SourceChangedError, BadImageError):
        return ""
    return json.dumps(asdict(depth_fit(image, depth, known)))
