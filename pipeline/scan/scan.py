"""Sources: what the readers found, read, verified and named by digest. A file that did not change is not opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.errors import SourceError
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.redaction import without_secrets, without_secrets_in
from patina.pipeline.scan.digests import ScannedFile, find_digests
from patina.pipeline.scan.duplicates import merge
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
from patina.pipeline.sources.reader import NO_PARAMS, Candidate, Reader, Refusal

UNCAPTIONED = ("",)


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
    candidates: list[tuple[int, Candidate]] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    ignored = 0
    for source_index, reader in enumerate(recipe.sources):
        try:
            found = reader.find()
        except SourceError as error:
            raise SourceError(f"[[sources]] {source_index + 1}: {error}") from None
        candidates += [(source_index, _told(candidate)) for candidate in found.candidates]
        refusals += [Refusal(without_secrets(r.name), without_secrets(r.reason)) for r in found.refusals]
        notes += map(without_secrets, found.notes)
        ignored += found.ignored
        del found
    seen = len(candidates) + len(refusals)
    paths = list(dict.fromkeys(p for _, c in candidates for p in (c.path, c.lq) if p))
    files, unread, hashed = find_digests(paths, store, workers, paranoid, progress)
    del paths

    sources: list[Source] = []
    to_check: list[tuple[int, str]] = []
    candidates.reverse()
    while candidates:  # each goes as its source comes: both of a million photographs take a gigabyte
        source_index, candidate = candidates.pop()
        reader = recipe.sources[source_index]
        if reason := _refused(candidate, files, unread):
            refusals.append(Refusal(display_name(candidate.name, lq_display_name(candidate)), reason))
            continue
        source = _source(candidate, source_index, reader, recipe, files)
        if source.is_pair:
            to_check.append((len(sources), candidate.name))
        sources.append(source)

    bad_pairs, pair_notes = check_pairs(sources, recipe, store, workers)
    refusals += [
        Refusal(display_name(sources[i].names[0], sources[i].lq_name), reason) for i, reason in bad_pairs.items()
    ]
    good = [s for i, s in enumerate(sources) if i not in bad_pairs]
    titles = [reader.title for reader in recipe.sources]
    kept, clashes, split_notes = merge(good, titles.__getitem__)
    refusals += clashes
    small = [s for s in kept if not recipe.cut(s.info.width, s.info.height)]
    if recipe.tiles:
        refusals += [
            Refusal(s.names[0], f"{s.info.width}×{s.info.height} px is smaller than a tile of {recipe.tiles.size}")
            for s in small
        ]
    dropped = {s.digest for s in small}
    usable = [s for s in kept if s.digest not in dropped]
    leaks = _find_leaks(usable, recipe, store, workers, comparing)
    fixes_leaks = recipe.split.leaks == "mend"
    if fixes_leaks:
        usable = _on_one_side(usable, leaks)
    return Scan(
        tuple(usable),
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


def _refused(candidate: Candidate, files: Mapping[str, ScannedFile], unread: Mapping[str, str]) -> str:
    """Why a candidate's files cannot be used, and which of a pair's it is; empty if they can."""
    sides = {"": candidate.path}
    if candidate.lq:
        sides = {f"GT {candidate.name}: ": candidate.path, f"LQ {lq_display_name(candidate)}: ": candidate.lq}
    found = {side: unread.get(path) or files[path].info.problem for side, path in sides.items()}
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


def _source(
    candidate: Candidate, source_index: int, reader: Reader, recipe: Recipe, files: Mapping[str, ScannedFile]
) -> Source:
    """A candidate whose files can be read and decoded, with its digest and its side."""
    gt = files[candidate.path]
    lq = files.get(candidate.lq)
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
    sources: Sequence[Source],
    recipe: Recipe,
    store: ScanStore,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Leaks:
    """Photographs of one scene. None where all are on one side: then there is nothing to keep apart."""
    if len({source.split for source in sources}) < 2:
        return Leaks()
    links = known_links({source.content for source in sources}, store)
    if links == ():
        return Leaks(len({source.content for source in sources}))
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


def _on_one_side(sources: Sequence[Source], leaks: Leaks) -> list[Source]:
    """The sources with the splits that keep every scene on one side, without those that had to be left out."""
    placed = []
    for source in sources:
        if source.content in leaks.moved:
            placed.append(replace(source, split=leaks.moved[source.content][1]))
        elif source.content not in leaks.left_out:
            placed.append(source)
    return placed
