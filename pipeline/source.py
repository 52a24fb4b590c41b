"""Sources: what the readers found, read, verified and named by digest. A file that did not change is not opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from stat import S_ISREG

from pipeline.codec import BadImageError, codec_fingerprint, decode, perceptual_hash
from pipeline.pair_checks import PairCheck, check_pair, swapped
from pipeline.recipe import SPLITS, Recipe
from pipeline.sources.reader import Candidate, Refusal, SourceError, printable
from pipeline.store import ScanStore
from synth.image import Image

INSPECTION = 1
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
    names     every relative name under which these bytes were found, in order; `path` is the first one's file.
    roots     the folder that each of the names is relative to.
    entry     which [[sources]] table it came from, counted from 0.
    lq        path of the degraded image and `lq_digest` its SHA-256, for a pair; empty otherwise.
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
    lq: str = ""
    lq_digest: str = ""
    lq_suffix: str = ""

    @property
    def is_pair(self) -> bool:
        """Whether it brings its own degraded image."""
        return bool(self.lq)


@dataclass(frozen=True)
class Scan:
    """The sources of a recipe as they are now.

    sources   in digest order. refusals: set aside, with reasons. notes: things to know that stop nothing.
    seen      how many inputs the readers found, refused ones included; ignored: how many other files. hashed: how many
    had to be read.
    """

    sources: tuple[Source, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    seen: int
    ignored: int
    hashed: int


@dataclass(frozen=True)
class _File:
    path: str
    digest: str
    size: int


def scan(
    recipe: Recipe,
    store: ScanStore,
    *,
    workers: int = 1,
    paranoid: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """List, hash and inspect every source of `recipe`. Raises SourceError where a source as a whole is unusable.

    A file whose size, times and inode are as stored, and not too recent, is trusted to be unchanged; `paranoid` reads
    every one. Only contents never seen before are decoded, by `workers` threads.
    """
    candidates: list[tuple[int, Candidate]] = []
    refusals: list[Refusal] = []
    ignored = 0
    for entry, reader in enumerate(recipe.sources):
        try:
            found = reader.find()
        except SourceError as error:
            raise SourceError(f"[[sources]] {entry + 1}: {error}") from None
        candidates += [(entry, candidate) for candidate in found.candidates]
        refusals += found.refusals
        ignored += found.ignored
    seen = len(candidates) + len(refusals)
    paths = dict.fromkeys(p for _, c in candidates for p in (c.path, c.lq) if p)
    files, unread, hashed = _digests(list(paths), store, workers, paranoid, progress)

    sources: list[Source] = []
    to_check: list[tuple[int, str]] = []
    for entry, candidate in candidates:
        reader = recipe.sources[entry]
        reason = ""
        for role, path in (("", candidate.path), ("its degraded image ", candidate.lq)):
            if path and not reason:
                problem = unread.get(path) or _looks(store, files[path].digest).problem
                reason = f"{role}{problem}" if problem else ""
        if reason:
            refusals.append(Refusal(_named(candidate.name, candidate.lq), reason))
            continue
        gt = files[candidate.path]
        lq = files.get(candidate.lq)
        pair = f"pair {reader.degradation} {gt.digest}"
        digest = hashlib.sha256(f"{pair} {lq.digest}".encode()).hexdigest() if lq else gt.digest
        source = Source(
            digest=digest,
            content=gt.digest,
            names=(candidate.name,),
            roots=(reader.root,),
            path=gt.path,
            entry=entry,
            split=reader.split or recipe.split.side(gt.digest),
            bytes=gt.size + (lq.size if lq else 0),
            looks=_looks(store, gt.digest),
            lq=candidate.lq,
            lq_digest=lq.digest if lq else "",
            lq_suffix=_looks(store, lq.digest).suffix if lq else "",
        )
        if source.is_pair:
            to_check.append((len(sources), candidate.name))
        sources.append(source)

    bad_pairs, notes = _check_pairs(sources, recipe, store, workers)
    refusals += [Refusal(_named(sources[i].names[0], sources[i].lq), reason) for i, reason in bad_pairs.items()]
    kept, clashes, split_notes = _merge([s for i, s in enumerate(sources) if i not in bad_pairs])
    refusals += clashes
    small = [s for s in kept if not recipe.cut(s.looks.width, s.looks.height)]
    if recipe.tiles:
        refusals += [
            Refusal(s.names[0], f"{s.looks.width}×{s.looks.height} px is smaller than a tile of {recipe.tiles.size}")
            for s in small
        ]
    dropped = {s.digest for s in small}
    return Scan(
        tuple(s for s in kept if s.digest not in dropped),
        tuple(sorted(refusals, key=lambda r: (r.name, r.reason))),
        (*notes, *split_notes),
        seen,
        ignored,
        hashed,
    )


def read_verified(path: str, digest: str) -> bytes:
    """A source file's bytes, if they are still those of `digest`. Raises SourceChangedError otherwise."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SourceChangedError(path, f"{error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise SourceChangedError(path, "its bytes changed after the scan")
    return data


class SourceChangedError(RuntimeError):
    """A source changed or vanished while the build was under way; scanning again tells what it is now."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.what}"


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
    for path in paths:
        try:
            stat = os.stat(path)  # noqa: PTH116 - a Path for each of a million files costs seconds
        except OSError as error:
            unread[path] = f"cannot be read: {error.strerror}"
            continue
        if not S_ISREG(stat.st_mode):  # opening a pipe would wait for ever, reading a device would never end
            unread[path] = "is a pipe, a socket or a device, and no plain file"
            continue
        digest = None if paranoid else store.trusted_digest(path, stat)
        if digest is None or store.inspection(digest, _inspector()) is None:
            stale.append(path)
        else:
            files[path] = _File(path, digest, stat.st_size)
    for start in range(0, len(stale), 256):  # stored by the batch: an interrupted scan loses one at the most
        batch = stale[start : start + 256]
        with ThreadPoolExecutor(max_workers=workers) as pool:
            results = list(pool.map(lambda p: _read(p, store), batch))
        store.put(
            [(p, stat, digest) for p, (stat, digest, _, _) in zip(batch, results, strict=True) if stat and digest],
            [(d, _inspector(), json.dumps(asdict(looks))) for _, d, looks, _ in results if d and looks],
        )
        for path, (found, digest, _, problem) in zip(batch, results, strict=True):
            if found and digest:
                files[path] = _File(path, digest, found.st_size)
            else:
                unread[path] = problem
        if progress:
            progress(min(start + 256, len(stale)), len(stale))
    return files, unread, len(stale)


def _read(path: str, store: ScanStore) -> tuple[os.stat_result | None, str, Looks | None, str]:
    """Stat, digest and looks of one file; or no stat and the problem. Looks are None where they are stored already."""
    try:
        with Path(path).open("rb") as file:
            stat = os.fstat(file.fileno())  # before reading: a later change then shows
            data = file.read()
    except OSError as error:
        return None, "", None, f"cannot be read: {error.strerror or error}"
    digest = hashlib.sha256(data).hexdigest()
    known = store.inspection(digest, _inspector())
    return stat, digest, None if known else inspect(data), ""


def inspect(data: bytes) -> Looks:
    """Look at an image file's bytes once: can it be used, and what is it like?"""
    try:
        decoded = decode(data)
    except BadImageError as error:
        return Looks(problem=str(error))
    image = decoded.image
    height, width = image.shape[:2]
    mean = image.reshape(-1, 3).mean(axis=0, dtype="float64")
    return Looks(
        "",
        width,
        height,
        decoded.suffix,
        (round(float(mean[0]), 3), round(float(mean[1]), 3), round(float(mean[2]), 3)),
        perceptual_hash(image),
    )


def _inspector() -> str:
    return f"{INSPECTION}-{codec_fingerprint()}"


def _looks(store: ScanStore, digest: str) -> Looks:
    record = json.loads(store.inspection(digest, _inspector()) or "{}")
    if "mean" in record:
        record["mean"] = tuple(record["mean"])
    return Looks(**record)


def _check_pairs(
    sources: Sequence[Source], recipe: Recipe, store: ScanStore, workers: int
) -> tuple[dict[int, str], list[str]]:
    """Pairs to set aside by their place in `sources`, with reasons; and notes."""
    pairs = [i for i, s in enumerate(sources) if s.is_pair]
    keys = {i: (sources[i].content, sources[i].lq_digest) for i in pairs}
    new = [i for i in pairs if store.pair(*keys[i], _inspector()) is None]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        records = pool.map(lambda i: _compare(sources[i]), new)
        store.put_pairs([(*keys[i], _inspector(), record) for i, record in zip(new, records, strict=True) if record])
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
        word = recipe.sources[entry].degradation
        wrong = [i for i, check in checks if swapped(word, check)]
        names = [_named(sources[i].names[0], sources[i].lq) for i in wrong]
        if len(wrong) * 2 > len(checks):
            raise SourceError(
                f"[[sources]] {entry + 1}: in {len(wrong)} of {len(checks)} pairs the `lq` image looks like the clean "
                f"one for {word!r}, as in {names[0]}; are the folders `lq` and `gt` swapped?"
            )
        notes += [f"{name}: its degraded image looks like the cleaner one of the two" for name in names]
    return bad, notes


def _named(name: str, lq: str) -> str:
    """A source's name for people; a pair's names both files, since one clean image may serve several degraded ones."""
    return f"{name} with {printable(Path(lq).name)}" if lq else name


def _compare(source: Source) -> str:
    """The record of one pair's check; empty if the files are no longer what the scan saw."""
    try:
        clean: Image = decode(read_verified(source.path, source.content)).image
        degraded: Image = decode(read_verified(source.lq, source.lq_digest)).image
    except (SourceChangedError, BadImageError):
        return ""
    return json.dumps(asdict(check_pair(degraded, clean)))


def _merge(sources: Iterable[Source]) -> tuple[list[Source], list[Refusal], list[str]]:
    """One source for each digest, in digest order; keys that two digests share; and notes on splits.

    The same bytes under several names are one source. Where its tables ask for different splits, test wins over
    val, and val over train: a photograph that somebody tests on is never trained on.
    """
    groups: dict[str, list[Source]] = defaultdict(list)
    sides: dict[str, str] = {}
    notes = []
    for source in sources:
        groups[source.digest].append(source)
        earlier = sides.get(source.content, source.split)
        sides[source.content] = max(earlier, source.split, key=SPLITS.index)
    merged, refusals, keys = [], [], dict[str, str]()
    for digest in sorted(groups):
        same = sorted(groups[digest], key=lambda s: (s.entry, s.names))
        first, side = same[0], sides[same[0].content]
        for other in sorted({s.split for s in same} - {side}):
            notes.append(f"{first.names[0]} is in {other} and in {side}; it stays in {side} alone")
        if digest[:16] in keys:
            clash = f"its digest begins like that of {keys[digest[:16]]} (16 hex digits); they cannot both have a key"
            refusals.append(Refusal(first.names[0], clash))
            continue
        keys[digest[:16]] = first.names[0]
        places = dict.fromkeys((name, root) for s in same for name, root in zip(s.names, s.roots, strict=True))
        names, roots = zip(*places, strict=True)
        merged.append(replace(first, names=names, roots=roots, split=side))
    return merged, refusals, notes
