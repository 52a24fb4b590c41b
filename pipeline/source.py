"""Sources: what the readers found, read, verified and named by digest. A file that did not change is not opened."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from stat import S_ISREG

import cv2

from patina.pipeline import locations
from patina.pipeline.codec import (
    MAX_BYTES,
    BadImageError,
    codec_fingerprint,
    decode,
    expect_whole,
    keep_freed_memory,
    perceptual_hash,
)
from patina.pipeline.leaks import Leaks, Scene, find_leaks
from patina.pipeline.merging import merge
from patina.pipeline.pair_checks import PairCheck, check_pair, swapped
from patina.pipeline.recipe import Recipe
from patina.pipeline.recovered import reside_parameters
from patina.pipeline.sources.reader import Candidate, Reader, Refusal, SourceError, printable
from patina.pipeline.store import ScanStore
from patina.synth.image import Image

ASKED_AT_ONCE = 32
"""Requests to servers under way at a time while a scan asks what changed."""

INSPECTION = 2
"""Raised when `_inspect` looks at files in another way, so that all are looked at again."""


@dataclass(frozen=True)
class Looks:
    """What the inspection of an image file found; or, with `problem`, why it is refused.

    Sizes in pixels after EXIF rotation; `mean` is the mean level of R, G and B; `phash` 16 hex digits; `suffix` as in
    `Decoded`.
    """

    problem: str = ""
    width: int = 0
    height: int = 0
    suffix: str = ""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    phash: str = ""


@dataclass(frozen=True)
class Source:
    """One clean image, or one LQ/GT pair, that may be used.

    digest    SHA-256 of the clean image's bytes; for a pair, of its label and both files' digests. Names the source.
    content   SHA-256 of the clean image's bytes. Decides the split, so that one clean image never stands on two sides.
    names     every relative name under which these bytes were found, in order; `path` is the first one's location.
    roots     the folder that each of the names is relative to; captions: what the source itself brings for each.
    entry     which [[sources]] table it came from, counted from 0.
    named     whether its split was named by that table or by the source, and not drawn from its digest.
    entries   the recipe's degradations that apply to it; empty: all.
    lq        location of the degraded image and `lq_digest` its SHA-256, for a pair; empty otherwise.
    degradation  the pair's label, and `params` what its source tells of it.
    border    pixels to cut from every side of the clean image, so that it fits the degraded one; `looks` is after that.
    licence, attribution  what its source states of it; what the recipe states stands above it.
    """

    digest: str
    content: str
    names: tuple[str, ...]
    roots: tuple[str, ...]
    path: str
    entry: int
    split: str
    bytes: int
    looks: Looks
    captions: tuple[str, ...] = ("",)
    named: bool = False
    entries: tuple[str, ...] = ()
    lq: str = ""
    lq_digest: str = ""
    lq_suffix: str = ""
    lq_name: str = ""
    degradation: str = ""
    params: Mapping[str, float | int | str] = field(default_factory=dict, hash=False)
    border: int = 0
    licence: str = ""
    attribution: str = ""

    @property
    def is_pair(self) -> bool:
        """Whether it brings its own degraded image."""
        return bool(self.lq)


@dataclass(frozen=True)
class Scan:
    """The sources of a recipe as they are now.

    sources   in digest order. refusals: set aside, with reasons. notes: things to know that stop nothing.
    leaks     photographs that show the same scene, and what was done to keep them on one side of every split.
    seen      how many inputs the readers found, refused ones included; ignored: how many other files. hashed: how many
    had to be read.
    """

    sources: tuple[Source, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    seen: int
    ignored: int
    hashed: int
    leaks: Leaks = field(default_factory=Leaks)


@dataclass(frozen=True)
class _File:
    path: str
    digest: str
    size: int
    looks: Looks


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
    for entry, reader in enumerate(recipe.sources):
        try:
            found = reader.find()
        except SourceError as error:
            raise SourceError(f"[[sources]] {entry + 1}: {error}") from None
        candidates += [(entry, candidate) for candidate in found.candidates]
        refusals += found.refusals
        notes += found.notes
        ignored += found.ignored
    seen = len(candidates) + len(refusals)
    paths = dict.fromkeys(p for _, c in candidates for p in (c.path, c.lq) if p)
    files, unread, hashed = _digests(list(paths), store, workers, paranoid, progress)

    sources: list[Source] = []
    to_check: list[tuple[int, str]] = []
    for entry, candidate in candidates:
        reader = recipe.sources[entry]
        if reason := _refused(candidate, files, unread):
            refusals.append(Refusal(_named(candidate.name, _lq_name(candidate)), reason))
            continue
        source = _source(candidate, entry, reader, recipe, files)
        if source.is_pair:
            to_check.append((len(sources), candidate.name))
        sources.append(source)

    bad_pairs, pair_notes = _check_pairs(sources, recipe, store, workers)
    refusals += [Refusal(_named(sources[i].names[0], sources[i].lq_name), reason) for i, reason in bad_pairs.items()]
    good = [s for i, s in enumerate(sources) if i not in bad_pairs]
    kept, clashes, split_notes = merge(good, lambda entry: recipe.sources[entry].title)
    refusals += clashes
    small = [s for s in kept if not recipe.cut(s.looks.width, s.looks.height)]
    if recipe.tiles:
        refusals += [
            Refusal(s.names[0], f"{s.looks.width}×{s.looks.height} px is smaller than a tile of {recipe.tiles.size}")
            for s in small
        ]
    dropped = {s.digest for s in small}
    usable = [s for s in kept if s.digest not in dropped]
    leaks = _find_leaks(usable, recipe, store, workers, comparing)
    mend = recipe.split.leaks == "mend"
    if mend:
        usable = _on_one_side(usable, leaks)
    return Scan(
        tuple(usable),
        tuple(sorted(refusals, key=lambda r: (r.name, r.reason))),
        (*notes, *pair_notes, *split_notes, *leaks.lines(mended=mend)),
        seen,
        ignored,
        hashed,
        leaks,
    )


def _refused(candidate: Candidate, files: Mapping[str, _File], unread: Mapping[str, str]) -> str:
    """Why a candidate's files cannot be used, and which of a pair's it is; empty if they can."""
    sides = {"": candidate.path}
    if candidate.lq:
        sides = {f"GT {candidate.name}: ": candidate.path, f"LQ {_lq_name(candidate)}: ": candidate.lq}
    found = {side: unread.get(path) or files[path].looks.problem for side, path in sides.items()}
    return "; ".join(f"{side}{problem}" for side, problem in found.items() if problem)


def _source(candidate: Candidate, entry: int, reader: Reader, recipe: Recipe, files: Mapping[str, _File]) -> Source:
    """A candidate whose files can be read and decoded, with its digest and its side."""
    gt = files[candidate.path]
    lq = files.get(candidate.lq)
    looks = gt.looks
    label = (reader.degradation or candidate.degradation) if lq else ""
    digest, border, lq_looks = gt.digest, 0, Looks()
    if lq:
        lq_looks = lq.looks
        if candidate.border and _larger_by(looks, lq_looks, candidate.border):
            border = candidate.border
            looks = replace(looks, width=lq_looks.width, height=lq_looks.height, suffix="")
        cut = f" border {border}" if border else ""
        digest = hashlib.sha256(f"pair {label} {gt.digest} {lq.digest}{cut}".encode()).hexdigest()
    split = reader.split or candidate.split
    lq_name = _lq_name(candidate) if lq else ""
    params = {**(reside_parameters(lq_name) if label == "hazy" else {}), **candidate.params} if lq else {}
    return Source(
        digest=digest,
        content=gt.digest,
        names=(candidate.name,),
        roots=(reader.root,),
        path=gt.path,
        entry=entry,
        split=split or recipe.split.side(gt.digest),
        bytes=gt.size + (lq.size if lq else 0),
        looks=looks,
        captions=(candidate.caption,),
        named=bool(split),
        entries=() if lq else reader.degradations,
        lq=candidate.lq,
        lq_digest=lq.digest if lq else "",
        lq_suffix=lq_looks.suffix,
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
    try:
        return find_leaks(_scenes(sources, recipe), store, workers=workers, progress=progress)
    except SourceChangedError as error:
        store.forget([error.path])
        raise SourceError(f"{error}; run it again when the sources rest") from None


def _larger_by(clean: Looks, degraded: Looks, border: int) -> bool:
    return (clean.width - degraded.width, clean.height - degraded.height) == (2 * border, 2 * border)


def _scenes(sources: Sequence[Source], recipe: Recipe) -> list[Scene]:
    """One scene for each clean image: pairs of one label or several may share it."""
    scenes: dict[str, Scene] = {}
    for source in sources:
        looks = source.looks
        scenes.setdefault(
            source.content,
            Scene(
                source.content,
                source.names[0],
                looks.phash,
                looks.width + 2 * source.border,
                looks.height + 2 * source.border,
                source.split,
                source.named,
                recipe.sources[source.entry].title,
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


def load_clean(path: str, content: str, border: int = 0) -> Image:
    """A clean image's pixels, H×W×3 RGB uint8, less `border` pixels on every side. Raises SourceChangedError,
    BadImageError."""
    return without_border(decode(read_verified(path, content)).image, border)


def without_border(image: Image, border: int) -> Image:
    """The image less `border` pixels on every side, contiguous."""
    return image[border:-border, border:-border].copy() if border else image


def read_verified(path: str, digest: str) -> bytes:
    """A source file's bytes, if they are still those of `digest`. Raises SourceChangedError otherwise."""
    try:
        data = locations.read(path, digest)
        if hashlib.sha256(data).hexdigest() == digest:
            return data
        if locations.is_remote(path):  # what the cache had was damaged, or else the source changed
            data, found = locations.fetch(path)
            if found == digest:
                return data
    except OSError as error:
        if error.errno in locations.OURS:
            raise
        raise SourceChangedError(path, f"{error.strerror or error}") from None
    raise SourceChangedError(path, "its bytes changed after the scan")


class SourceChangedError(RuntimeError):
    """A source changed or vanished while the build was under way; scanning again tells what it is now."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{printable(locations.spoken(self.path))}: {self.what}"


# ---------------------------------------------------------------------------------------------------------------------


def _digests(
    paths: Sequence[str],
    store: ScanStore,
    workers: int,
    paranoid: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, _File], dict[str, str], int]:
    """Digests of all files, problems of those that cannot be read, and how many were read."""
    files: dict[str, _File] = {}
    unread: dict[str, str] = {}
    stale: list[str] = []
    stats: dict[str, os.stat_result | str] = {}  # of whole files: a tar's members share one

    def stat_of(path: str) -> os.stat_result | str:
        whole = locations.file_of(path)
        if whole not in stats:
            stats[whole] = _stat(whole)
        return stats[whole]

    tags = _tags([path for path in paths if locations.is_remote(path)])
    for path in paths:
        seen = tags[path] if path in tags else stat_of(path)
        if isinstance(seen, str):
            unread[path] = seen
            continue
        if isinstance(seen, os.stat_result):
            digest, size = store.trusted_digest(path, seen), _size(path, seen)
        else:
            digest, size = store.remote_digest(path, *seen), seen[1]
        if size > MAX_BYTES:
            unread[path] = f"has {size:,} bytes, more than the {MAX_BYTES:,} that a photograph may have"
            continue
        record = None if paranoid or digest is None else store.inspection(digest, _inspector())
        if digest is None or record is None:
            stale.append(path)
        else:
            files[path] = _File(path, digest, size, _looks(record))
    keep_freed_memory()
    for start in range(0, len(stale), 256):  # stored by the batch: an interrupted scan loses one at the most
        batch, begun_ns = stale[start : start + 256], time.time_ns()
        with ThreadPoolExecutor(max_workers=workers) as pool:
            results = list(pool.map(lambda p: _read(p, store), batch))
        store.put(
            [(r.path, r.stat, r.digest) for r in results if r.stat],
            [(r.digest, _inspector(), json.dumps(asdict(r.looks))) for r in results if r.looks and r.fresh],
            begun_ns=begun_ns,
        )
        tagged = [(r, tags[r.path]) for r in results if r.digest and r.path in tags]
        store.put_remote(  # a file of another size than its server says broke off, or changed: it is fetched again
            (r.path, *seen, r.digest) for r, seen in tagged if isinstance(seen, tuple) and seen[1] in {-1, r.size}
        )
        for result in results:
            if result.looks:
                files[result.path] = _File(result.path, result.digest, result.size, result.looks)
            else:
                unread[result.path] = result.problem
        if progress:
            progress(min(start + 256, len(stale)), len(stale))
    return files, unread, len(stale)


@dataclass(frozen=True)
class _Read:
    """One file that was read: its digest and looks, and whether these are `fresh` and not stored yet; or the problem.
    No stat for a remote file."""

    path: str
    problem: str = ""
    stat: os.stat_result | None = None
    digest: str = ""
    size: int = 0
    looks: Looks | None = None
    fresh: bool = False


def _read(path: str, store: ScanStore) -> _Read:
    stat: os.stat_result | None = None
    try:
        if locations.is_remote(path):
            data, digest = locations.fetch(path)
        else:
            stat, data = locations.read_file(path)
            digest = hashlib.sha256(data).hexdigest()
    except OSError as error:
        if error.errno in locations.OURS:
            raise
        what = (
            str(error) if isinstance(error, locations.LocationError) else f"cannot be read: {error.strerror or error}"
        )
        return _Read(path, what)
    known = store.inspection(digest, _inspector())
    try:
        looks = _looks(known) if known else inspect(data)
    except MemoryError:
        raise MemoryError(printable(locations.spoken(path))) from None
    return _Read(path, "", stat, digest, len(data), looks, not known)


def _stat(path: str) -> os.stat_result | str:
    """A local file's stat, or why it cannot be used."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - a Path for each of a million files costs seconds
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not S_ISREG(stat.st_mode):  # opening a pipe would wait for ever, reading a device would never end
        return "is a pipe, a socket or a device, and no plain file"
    return stat


def _size(path: str, stat: os.stat_result) -> int:
    span = path.partition(locations.PART)[2]
    return int(span.partition("+")[2]) if span else stat.st_size


def _tags(paths: Sequence[str]) -> dict[str, tuple[str, int] | str]:
    """Tag and size of each remote file, or why it cannot be had. They wait for servers, so many are asked at once."""

    def ask(path: str) -> tuple[str, int] | str:
        try:
            return locations.tag(path)
        except locations.LocationError as error:
            return str(error)

    if not paths:
        return {}
    with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:
        return dict(zip(paths, pool.map(ask, paths), strict=True))


def inspect(data: bytes) -> Looks:
    """Look at an image file's bytes once: can it be used, and what is it like?"""
    try:
        decoded = decode(data)
        expect_whole(data, decoded.image)
    except BadImageError as error:
        return Looks(problem=str(error))
    image = decoded.image
    height, width = image.shape[:2]
    red, green, blue = (round(total / (width * height), 3) for total in cv2.sumElems(image)[:3])
    return Looks(
        "",
        width,
        height,
        decoded.suffix,
        (red, green, blue),
        perceptual_hash(image),
    )


def _inspector() -> str:
    return f"{INSPECTION}-{codec_fingerprint()}"


def _looks(record: str) -> Looks:
    """What an inspection stored."""
    facts = json.loads(record)
    return Looks(**{**facts, "mean": tuple(facts["mean"])})


def _check_pairs(
    sources: Sequence[Source], recipe: Recipe, store: ScanStore, workers: int
) -> tuple[dict[int, str], list[str]]:
    """Pairs to set aside by their place in `sources`, with reasons; and notes."""
    pairs = [i for i, s in enumerate(sources) if s.is_pair]
    keys = {i: (_as_cut(sources[i]), sources[i].lq_digest) for i in pairs}
    new = [i for i in pairs if store.pair(*keys[i], _inspector()) is None]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for start in range(0, len(new), 256):  # stored by the batch, as digests are
            batch = new[start : start + 256]
            records = list(pool.map(lambda i: _compare(sources[i]), batch))
            store.put_pairs([(*keys[i], _inspector(), r) for i, r in zip(batch, records, strict=True) if r])
    bad: dict[int, str] = {}
    notes: list[str] = []
    by_entry: dict[int, list[tuple[int, PairCheck]]] = defaultdict(list)
    for i in pairs:
        record = store.pair(*keys[i], _inspector())
        if record is None:
            bad[i] = "changed or vanished while it was read"
            continue
        check = PairCheck(**json.loads(record))
        if check.problem:
            bad[i] = check.problem
        else:
            by_entry[sources[i].entry].append((i, check))
    for entry, checks in by_entry.items():
        wrong = [i for i, check in checks if swapped(sources[i].degradation, check)]
        names = [_named(sources[i].names[0], sources[i].lq_name) for i in wrong]
        if len(wrong) * 2 > len(checks):
            raise SourceError(
                f"[[sources]] {entry + 1}: in {len(wrong)} of {len(checks)} pairs the `lq` image looks like the clean "
                f"one for {sources[wrong[0]].degradation!r}, as in {names[0]}; are the folders `lq` and `gt` swapped?"
            )
        notes += [f"{name}: its degraded image looks like the cleaner one of the two" for name in names]
    return bad, notes


def _as_cut(source: Source) -> str:
    return f"{source.content} less {source.border}" if source.border else source.content


def _named(name: str, lq_name: str) -> str:
    """A source's name for people; a pair's names both files, since one clean image may serve several degraded ones."""
    return f"{name} with {lq_name}" if lq_name else name


def _lq_name(candidate: Candidate) -> str:
    return candidate.lq_name or printable(locations.base_name(candidate.lq))


def _compare(source: Source) -> str:
    """The record of one pair's check; empty if the files are no longer what the scan saw."""
    try:
        clean = load_clean(source.path, source.content, source.border)
        degraded: Image = decode(read_verified(source.lq, source.lq_digest)).image
    except (SourceChangedError, BadImageError):
        return ""
    return json.dumps(asdict(check_pair(degraded, clean)))
