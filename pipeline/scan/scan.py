"""Sources: what the readers found, read, verified and named by digest. A file that did not change is not opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.errors import SourceError
from patina.pipeline.format.layout import SPLITS
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.redaction import without_secrets, without_secrets_in
from patina.pipeline.scan.columns import AT_ONCE, UNCAPTIONED, Sources, Texts, each_hex, firsts_of
from patina.pipeline.scan.digests import ScannedFiles, find_digests
from patina.pipeline.scan.duplicates import merged
from patina.pipeline.scan.leaks.find import find_leaks, known_links
from patina.pipeline.scan.leaks.types import Leaks, Scene
from patina.pipeline.scan.lost import lost_notes
from patina.pipeline.scan.pairs import check_pairs
from patina.pipeline.scan.reading import SourceChangedError, load_clean
from patina.pipeline.scan.recovered import reside_parameters
from patina.pipeline.scan.shares import share_notes
from patina.pipeline.scan.source import ImageInfo, Scan, Source, display_name, lq_display_name
from patina.pipeline.scan.tile_overlap import overlap_notes
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.sources.reader import NO_PARAMS, Candidate, Listed, Reader, Refusal


@lru_cache(256)
def _alone(text: str) -> tuple[str]:
    """It in a tuple, of which most of a million photographs then share one."""
    return (text,)


def scan(
    recipe: Recipe,
    store: ScanStore,
    *,
    workers: int = 1,
    paranoid: bool = False,
    progress: Callable[[int, int], None] | None = None,
    comparing: Callable[[int, int], None] | None = None,
) -> Scan:
    """List, hash and inspect every source of `recipe`. Raises SourceError where a source as a whole is unusable.

    A file whose size, times and inode are as stored, and not too recent, is trusted to be unchanged; `paranoid` reads
    every one. Only contents never seen before are decoded, by `workers` threads.
    """
    listed: list[tuple[int, Listed]] = []
    candidates: list[tuple[int, Candidate]] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    ignored = 0
    for source_index, reader in enumerate(recipe.sources):
        try:
            found = reader.find()
        except SourceError as error:
            raise SourceError(f"[[sources]] {source_index + 1}: {error}") from None
        if isinstance(found.candidates, Listed):
            listed.append((source_index, found.candidates))
        else:
            candidates += [(source_index, _told(candidate)) for candidate in found.candidates]
        refusals += [Refusal(without_secrets(r.name), without_secrets(r.reason)) for r in found.refusals]
        notes += map(without_secrets, found.notes)
        ignored += found.ignored
        del found
    seen = sum(len(some) for _, some in listed) + len(candidates) + len(refusals)
    paths = [path for _, some in listed for _, path in some.files]
    paths += [path for _, candidate in candidates for path in (candidate.path, candidate.lq) if path]
    if len(listed) > 1 or candidates:  # the files of one folder are different ones
        paths = list(dict.fromkeys(paths))
    files, hashed = find_digests(paths, store, workers, paranoid, progress)

    parts: list[Sources] = []
    is_alone = len(listed) == 1 and not candidates
    while listed:
        source_index, some = listed.pop(0)
        rows = np.arange(len(some)) if is_alone else np.array([files.rows[path] for _, path in some.files])
        found_sources, refused = _of_listed(some, source_index, recipe, files, rows)
        parts.append(found_sources)
        refusals += refused
        del some
    found_sources, refused, pair_notes = _of_candidates(candidates, recipe, files, store, workers)
    kept, clashes, split_notes = merged(
        Sources.joined([*parts, found_sources]), [reader.title for reader in recipe.sources].__getitem__
    )
    refusals += [*refused, *clashes]
    del parts, found_sources
    if recipe.tiles:
        fits = kept.by_kind([bool(recipe.cut(e.info.width, e.info.height)) for e in kept.examples], np.bool_)
        refusals += [
            Refusal(s.names[0], f"{s.info.width}×{s.info.height} px is smaller than a tile of {recipe.tiles.size}")
            for s in kept.take(np.flatnonzero(~fits))
        ]
        kept = kept.take(np.flatnonzero(fits))
    leaks = _find_leaks(kept, recipe, store, workers, comparing)
    fixes_leaks = recipe.split.leaks == "mend"
    usable = _on_one_side(kept, leaks) if fixes_leaks else kept
    return Scan(
        usable,
        tuple(sorted(refusals, key=lambda r: (r.name, r.reason))),
        (
            *(*notes, *pair_notes, *lost_notes(usable, files), *split_notes),
            *leaks.lines(fixed=fixes_leaks),
            *share_notes(recipe.split, usable),
            *overlap_notes(recipe.tiles, usable),
        ),
        seen,
        ignored,
        hashed,
        leaks,
    )


def _of_listed(
    listed: Listed, source_index: int, recipe: Recipe, files: ScannedFiles, rows: NDArray[np.intp]
) -> tuple[Sources, list[Refusal]]:
    """The sources of a folder's files, which lie in these `rows` of all; and the files that cannot be used."""
    reader = recipe.sources[source_index]
    problems = [*(info.problem for info in files.infos), "unread"]
    is_bad = np.array([bool(problem) for problem in problems])[files.kinds[rows]]
    refusals = []
    for i in np.flatnonzero(is_bad).tolist():
        name, path = listed.files[i]
        refusals.append(Refusal(name, files.unread.get(int(rows[i])) or files[path].info.problem))
    good = np.flatnonzero(~is_bad)
    if not len(good):
        return Sources.of(()), refusals
    chosen = listed.files if len(good) == len(listed) else [listed.files[i] for i in good.tolist()]
    rows = rows[good]
    digests, own, looks = files.digests[rows], files.own[rows], files.kinds[rows]
    sides = np.full(len(rows), SPLITS.index(reader.split), np.int8) if reader.split else recipe.split.sides(digests)
    head = os.path.join(reader.root, "")  # noqa: PTH118 - as `walk` writes paths, of which there are a million
    beside = ["" if path == head + name else path for name, path in chosen]
    keys = looks.astype(np.int64) * (2 * len(SPLITS)) + sides * 2 + np.array([bool(path) for path in beside])
    _, firsts, kinds = np.unique(keys, return_index=True, return_inverse=True)
    root = _alone(reader.root)
    examples = [
        Source(
            digest=digests[i].tobytes().hex(),
            content=digests[i].tobytes().hex(),
            names=(chosen[i][0],),
            roots=root,
            path=chosen[i][1],
            source_index=source_index,
            split=SPLITS[sides[i]],
            bytes=int(files.sizes[rows[i]]),
            info=files[chosen[i][1]].info,
            named=bool(reader.split),
            entries=reader.degradations,
        )
        for i in firsts.tolist()
    ]
    sources = Sources(
        digests,
        digests,
        kinds.astype(np.int32),
        examples,
        Texts.of([name for name, _ in chosen]),
        Texts.of(beside) if any(beside) else None,
        None,
        files.sizes[rows],
        own["mean"].copy(),
        own["phash"].copy(),
        {},
    )
    return sources, refusals


def _of_candidates(
    candidates: list[tuple[int, Candidate]], recipe: Recipe, files: ScannedFiles, store: ScanStore, workers: int
) -> tuple[Sources, list[Refusal], list[str]]:
    """The sources of candidates, which are taken out of the list; inputs that cannot be used; and notes on pairs."""
    parts: list[Sources] = []
    clean: list[Source] = []
    pairs: list[Source] = []
    refusals: list[Refusal] = []
    candidates.reverse()
    while candidates:  # each goes as its source comes: both of a million photographs take a gigabyte
        source_index, candidate = candidates.pop()
        if reason := _refused(candidate, files):
            refusals.append(Refusal(display_name(candidate.name, lq_display_name(candidate)), reason))
            continue
        source = _source(candidate, source_index, recipe.sources[source_index], recipe, files)
        (pairs if source.is_pair else clean).append(source)
        if len(clean) == AT_ONCE:
            parts.append(Sources.of(clean))
            clean = []
    bad, notes = check_pairs(pairs, recipe, store, workers)
    refusals += [Refusal(display_name(pairs[i].names[0], pairs[i].lq_name), reason) for i, reason in bad.items()]
    good = Sources.of(pair for i, pair in enumerate(pairs) if i not in bad)
    return Sources.joined([*parts, Sources.of(clean), good]), refusals, notes


def _told(candidate: Candidate) -> Candidate:
    """A candidate whose texts hold no secret of an address: they are stored. Its locations stay, for they are opened;
    and so does a local file's name, by which captions are looked up."""
    if not (candidate.lq_name or candidate.params or candidate.licence or candidate.attribution) and not is_remote(
        candidate.path
    ):
        return candidate  # as nearly all of a million: nothing of it could hold an address
    texts = {
        "lq_name": without_secrets(candidate.lq_name),
        "params": without_secrets_in(candidate.params),
        "licence": without_secrets(candidate.licence),
        "attribution": without_secrets(candidate.attribution),
    }
    name = without_secrets(candidate.name) if is_remote(candidate.path) else candidate.name
    return replace(candidate, name=name, **texts)


def _refused(candidate: Candidate, files: ScannedFiles) -> str:
    """Why a candidate's files cannot be used, and which of a pair's it is; empty if they can."""
    sides = {"": candidate.path}
    if candidate.lq:
        sides = {f"GT {candidate.name}: ": candidate.path, f"LQ {lq_display_name(candidate)}: ": candidate.lq}
    found = {side: files.problem(path) for side, path in sides.items()}
    told = "; ".join(f"{side}{problem}" for side, problem in found.items() if problem)
    return told or _unlike_its_set(candidate, files[candidate.path].info)


def _unlike_its_set(candidate: Candidate, info: ImageInfo) -> str:
    """Why a clean image cannot be one of the public set that it was taken for; empty if it can."""
    what, sizes = candidate.published, [tuple(sorted(size, reverse=True)) for size in candidate.sizes]
    if sizes and (max(info.width, info.height), min(info.width, info.height)) not in sizes:
        known = " or ".join(f"{width}×{height}" for width, height in candidate.sizes)
        return (
            f"it is {info.width}×{info.height}, and the images of {what} are {known}, either way up: it is a crop, a "
            f'resized copy or of another set; take the published images, or describe the folder with kind = "folder"'
        )
    if candidate.colour and info.mean[0] == info.mean[1] == info.mean[2]:
        return f"it is grey, and the images of {what} are in colour; take the published ones"
    return ""


def _source(candidate: Candidate, source_index: int, reader: Reader, recipe: Recipe, files: ScannedFiles) -> Source:
    """A candidate whose files can be read and decoded, with its digest and its side."""
    gt = files[candidate.path]
    lq = files[candidate.lq] if candidate.lq else None
    info = gt.info
    label = (reader.degradation or candidate.degradation) if lq else ""
    digest, border, lq_info = gt.digest, 0, ImageInfo()
    if lq:
        lq_info = lq.info
        if candidate.border and _larger_by(info, lq_info, candidate.border):
            border = candidate.border
            info = replace(info, width=lq_info.width, height=lq_info.height, suffix="")
        cut = f" border {border}" if border else ""
        digest = hashlib.sha256(f"pair {label} {gt.digest} {lq.digest}{cut}".encode()).hexdigest()
    split = reader.split or candidate.split
    lq_name = lq_display_name(candidate) if lq else ""
    params = {**(reside_parameters(lq_name) if label == "hazy" else {}), **candidate.params} if lq else NO_PARAMS
    return Source(
        digest=digest,
        content=gt.digest,
        names=(candidate.name,),
        roots=_alone(reader.root),
        path=gt.path,
        source_index=source_index,
        split=split or recipe.split.side(gt.digest),
        bytes=gt.size + (lq.size if lq else 0),
        info=info,
        captions=(candidate.caption,) if candidate.caption else UNCAPTIONED,
        named=bool(split),
        entries=() if lq else reader.degradations,
        lq=candidate.lq,
        lq_digest=lq.digest if lq else "",
        lq_suffix=lq_info.suffix,
        lq_extra=lq_info.extra,
        lq_name=lq_name,
        degradation=label,
        params=params,
        border=border,
        licence=candidate.licence,
        attribution=candidate.attribution,
    )


def _find_leaks(
    sources: Sources,
    recipe: Recipe,
    store: ScanStore,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Leaks:
    """Photographs of one scene. None where all are on one side: then there is nothing to keep apart."""
    if len({example.split for example in sources.examples}) < 2:
        return Leaks()
    contents = sources.contents[firsts_of(sources.contents)]
    links = known_links(each_hex(contents), store)
    if links == ():
        return Leaks(len(contents))
    try:
        return find_leaks(_scenes(sources, recipe), store, workers=workers, progress=progress)
    except SourceChangedError as error:
        store.forget([error.path])
        raise SourceError(f"{error}; run it again when the sources rest") from None


def _larger_by(clean: ImageInfo, degraded: ImageInfo, border: int) -> bool:
    return (clean.width - degraded.width, clean.height - degraded.height) == (2 * border, 2 * border)


def _scenes(sources: Sequence[Source], recipe: Recipe) -> list[Scene]:
    """One scene for each clean image: pairs of one label or several may share it."""
    scenes: dict[str, Scene] = {}
    titles = [reader.title for reader in recipe.sources]
    for source in sources:
        info = source.info
        scenes.setdefault(
            source.content,
            Scene(
                source.content,
                source.names[0],
                info.phash,
                info.width + 2 * source.border,
                info.height + 2 * source.border,
                source.split,
                source.named,
                titles[source.source_index],
                partial(load_clean, source.path, source.content),
            ),
        )
    return list(scenes.values())


def _on_one_side(sources: Sources, leaks: Leaks) -> Sources:
    """The sources with the splits that keep every scene on one side, without those that had to be left out."""
    touched = {bytes.fromhex(content) for content in (*leaks.moved, *leaks.left_out)}
    if not touched:
        return sources
    is_touched = np.array([content.tobytes() in touched for content in sources.contents])
    moved = [
        replace(source, split=leaks.moved[source.content][1])
        for source in sources.take(np.flatnonzero(is_touched))
        if source.content in leaks.moved
    ]
    return Sources.joined([sources.take(np.flatnonzero(~is_touched)), Sources.of(moved)]).in_order()
