"""Digests and inspections of files, read where the cache does not know them; as columns, for there may be millions."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from stat import S_ISREG
from sys import intern
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore, kind_number, stats_of
from patina.pipeline.codec.decode import MAX_BYTES, decode
from patina.pipeline.codec.extra_formats import INSTALLED
from patina.pipeline.codec.installed import extra_fingerprint, known_fingerprint
from patina.pipeline.codec.jpeg_truncation import expect_whole
from patina.pipeline.errors import BadImageError
from patina.pipeline.machine import keep_freed_memory
from patina.pipeline.scan.leaks.perceptual_hash import perceptual_hash
from patina.pipeline.scan.source import ImageInfo
from patina.pipeline.sources import locations
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.pipeline.text import printable

ASKED_AT_ONCE = 32
"""Requests to servers under way at a time while a scan asks what changed."""

TOGETHER = 1000
"""Files that the cache is asked of together; what it answers takes up to 8 KB each, for as long."""

OWN = np.dtype([("mean", "<f8", 3), ("phash", "<u8")])
"""What an inspection finds that is each image's own, in the 32 bytes that the cache keeps of it."""

INSPECTION = 3
"""Raised when `_inspect` looks at files in another way, so that all are looked at again."""


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that was read, now or earlier: where, its SHA-256, bytes, and what was found of it."""

    path: str
    digest: str
    size: int
    info: ImageInfo


@dataclass(frozen=True)
class ScannedFiles:
    """N files that were to be read, as columns.

    digests  N×32 uint8. sizes: N int64. own: N of OWN.
    kinds    N int32, and infos: what was found of the files of a kind, but what is each one's own; -1: of files that
             cannot be read, of which `unread` says why, by row.
    """

    paths: Sequence[str]
    digests: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    own: NDArray[Any]
    kinds: NDArray[np.int32]
    infos: list[ImageInfo] = field(default_factory=list)
    unread: dict[int, str] = field(default_factory=dict)

    @classmethod
    def unseen(cls, paths: Sequence[str]) -> ScannedFiles:
        """Of files of which nothing is known yet."""
        n = len(paths)
        kinds = np.full(n, -1, np.int32)
        return cls(paths, np.zeros((n, 32), np.uint8), np.zeros(n, np.int64), np.zeros(n, OWN), kinds)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each path."""
        return {path: row for row, path in enumerate(self.paths)}

    @cached_property
    def _numbers(self) -> dict[ImageInfo, int]:
        return {info: number for number, info in enumerate(self.infos)}

    def kind(self, info: ImageInfo) -> int:
        """The number of an inspection's kind."""
        kind = replace(info, mean=NO_MEAN, phash="")
        if kind not in self._numbers:
            self._numbers[kind] = len(self.infos)
            self.infos.append(kind)
        return self._numbers[kind]

    def put(self, row: int, digest: str, size: int, info: ImageInfo) -> None:
        """Say what was found of one file."""
        self.digests[row] = np.frombuffer(bytes.fromhex(digest), np.uint8)
        self.sizes[row] = size
        self.own[row] = (info.mean, int(info.phash or "0", 16))
        self.kinds[row] = self.kind(info)

    def problem(self, path: str) -> str:
        """Why a file cannot be used; empty if it can."""
        row = self.rows[path]
        return self.unread.get(row) or self.infos[self.kinds[row]].problem

    def __getitem__(self, path: str) -> ScannedFile:
        row = self.rows[path]
        kind = self.infos[self.kinds[row]]
        red, green, blue = self.own["mean"][row].tolist()
        phash = "" if kind.problem else f"{self.own['phash'][row]:016x}"
        info = replace(kind, mean=(red, green, blue), phash=phash)
        return ScannedFile(path, self.digests[row].tobytes().hex(), int(self.sizes[row]), info)


NO_MEAN = (0.0, 0.0, 0.0)


def find_digests(
    paths: Sequence[str],
    store: ScanStore,
    workers: int,
    paranoid: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[ScannedFiles, int]:
    """What is known of all files, whose paths differ, and how many had to be read for it."""
    files = ScannedFiles.unseen(paths)
    stale: list[int] = []
    tags = _tags([path for path in paths if locations.is_remote(path)])
    known_as = Counter(map(locations.place, tags))  # what two addresses share cannot say which file was remembered
    alone = {path for path in tags if known_as[locations.place(path)] == 1}
    remembered = _Remembered(files, store, paranoid)
    wholes: dict[str, os.stat_result | str] = {}  # of tars, whose members share one
    for start in range(0, len(paths), TOGETHER):
        some = paths[start : start + TOGETHER]
        looks = [tags[path] if path in tags else _stat_of(path, wholes) for path in some]
        stale += remembered.fill(start, looks, alone)
    keep_freed_memory()
    for start in range(0, len(stale), 256):  # stored by the batch: an interrupted scan loses one at the most
        batch, begun_ns = stale[start : start + 256], time.time_ns()
        with stoppable_threads(workers) as pool:
            results = list(pool.map(lambda row: _read(paths[row], store), batch))
        store.put(
            [(r.path, r.stat, r.digest) for r in results if r.stat],
            [(r.digest, _inspector_of(r.info), json.dumps(asdict(r.info))) for r in results if r.info and r.fresh],
            {r.digest: in_short(r.info) for r in results if r.stat and r.info and not r.info.problem},
            begun_ns=begun_ns,
        )
        tagged = [(r, tags[r.path]) for r in results if r.digest and r.path in tags]
        store.put_remote(  # a file of another size than its server says broke off, or changed: it is fetched again
            (r.path, *seen, r.digest) for r, seen in tagged if isinstance(seen, tuple) and seen[1] in {-1, r.size}
        )
        for row, result in zip(batch, results, strict=True):
            if result.info:
                files.put(row, result.digest, result.size, result.info)
            else:
                files.unread[row] = result.problem
        if progress:
            progress(min(start + 256, len(stale)), len(stale))
    return files, len(stale)


class _Remembered:
    """What the cache knows of files, put into their rows."""

    def __init__(self, files: ScannedFiles, store: ScanStore, paranoid: bool) -> None:
        self._files, self._store, self._paranoid = files, store, paranoid

    @cached_property
    def _kinds(self) -> dict[int, int]:
        """The kinds of inspections that the libraries that are installed would find again, by the cache's number."""
        found = {number: _kind_of(text) for number, text in self._store.kinds().items()}
        return {number: self._files.kind(info) for number, info in found.items() if info}

    def fill(
        self, start: int, looks: Sequence[os.stat_result | tuple[str, int] | str], alone: Collection[str]
    ) -> list[int]:
        """Fill the rows from `start` on that are known; gives those that are to be read.

        looks  of each its stat or its tag as it is now, or why it cannot be read. alone: remote paths that no other one
               could be taken for.
        """
        files = self._files
        paths = files.paths[start : start + len(looks)]
        known = np.zeros(len(looks), np.bool_)
        files.unread.update((start + i, look) for i, look in enumerate(looks) if isinstance(look, str))
        stats = [look for look in looks if isinstance(look, os.stat_result)]
        if len(stats) == len(looks):
            known = self._fill_local(start + np.arange(len(looks)), paths, stats)
        elif stats:
            local = [i for i, look in enumerate(looks) if isinstance(look, os.stat_result)]
            known[local] = self._fill_local(start + np.array(local), [paths[i] for i in local], stats)
        for i, look in enumerate(looks) if len(stats) < len(looks) else ():
            if isinstance(look, tuple) and not isinstance(look, os.stat_result):  # which is a tuple, too
                path, files.sizes[start + i] = paths[i], look[1]
                digest = None if self._paranoid or path not in alone else self._store.remote_digest(path, *look)
                info = _known_info(self._store, digest) if digest else None
                if digest and info:
                    files.put(start + i, digest, look[1], info)
                    known[i] = True
        for i in np.flatnonzero(files.sizes[start : start + len(looks)] > MAX_BYTES).tolist():
            files.kinds[start + i] = -1
            size = int(files.sizes[start + i])
            files.unread[start + i] = f"has {size:,} bytes, more than the {MAX_BYTES:,} that a photograph may have"
        return [start + i for i in np.flatnonzero(~known).tolist() if start + i not in files.unread]

    def _fill_local(
        self, places: NDArray[np.intp], paths: Sequence[str], looks: Sequence[os.stat_result]
    ) -> NDArray[np.bool_]:
        """Fill the rows at `places`, of local files; gives which are known."""
        files, stats = self._files, stats_of(looks)
        sizes = stats["size"].copy()
        for i, path in enumerate(paths):
            if locations.PART in path:
                sizes[i] = int(path.rpartition("+")[2])
        files.sizes[places] = sizes
        if self._paranoid:
            return np.zeros(len(paths), np.bool_)
        rows, known = self._store.trusted(paths, stats)
        numbers, of = np.unique(rows["kind"], return_inverse=True)
        kinds = np.array([self._kinds.get(number, -1) for number in numbers.tolist()], np.int32)[of]
        files.digests[places], files.own[places] = rows["digest"], rows["own"].view(OWN)
        files.kinds[places] = np.where(known, kinds, -1)
        if len(rest := np.flatnonzero(known & (kinds < 0))):
            known[rest] = self._fill_from_records(places[rest], [paths[i] for i in rest.tolist()], rows[rest])
        return known

    def _fill_from_records(self, places: NDArray[np.intp], paths: Sequence[str], rows: NDArray[Any]) -> list[bool]:
        """Fill rows of files whose digests are known, by inspections of the same bytes; and keep these with the files.
        Gives which are known."""
        digests = [digest.tobytes().hex() for digest in rows["digest"]]
        infos = _known_infos(self._store, digests)
        found = [infos.get(digest) or _known_info(self._store, digest) for digest in digests]
        texts = set()
        rows = rows.copy()
        for i, (place, digest, info) in enumerate(zip(places.tolist(), digests, found, strict=True)):
            if info:
                self._files.put(place, digest, int(self._files.sizes[place]), info)
            if info and not info.problem:
                text, own = in_short(info)
                texts.add(text)
                rows["kind"][i], rows["own"][i] = kind_number(text), np.void(own)
        better = [i for i, info in enumerate(found) if info and not info.problem]
        self._store.put_rows([paths[i] for i in better], rows[better], texts)
        return [info is not None for info in found]


@dataclass(frozen=True)
class _Read:
    """One file that was read: its digest and looks, and whether these are `fresh` and not stored yet; or the problem.
    No stat for a remote file."""

    path: str
    problem: str = ""
    stat: os.stat_result | None = None
    digest: str = ""
    size: int = 0
    info: ImageInfo | None = None
    fresh: bool = False


def _read(path: str, store: ScanStore) -> _Read:
    stat: os.stat_result | None = None
    expect_wanted()
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
    known = _known_info(store, digest)
    try:
        info = known or inspect(data)
    except MemoryError:
        raise MemoryError(printable(locations.display_address(path))) from None
    return _Read(path, "", stat, digest, len(data), info, not known)


def _stat(path: str) -> os.stat_result | str:
    """A local file's stat, or why it cannot be used."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - a Path for each of a million files costs seconds
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not S_ISREG(stat.st_mode):  # opening a pipe would wait for ever, reading a device would never end
        return "is a pipe, a socket or a device, and no plain file"
    return stat


def _stat_of(path: str, wholes: dict[str, os.stat_result | str]) -> os.stat_result | str:
    """As `_stat`, of a part of a file the whole one's, which is remembered in `wholes`."""
    if locations.PART not in path:
        return _stat(path)
    whole = locations.file_of(path)
    if whole not in wholes:
        wholes[whole] = _stat(whole)
    return wholes[whole]


def _tags(paths: Sequence[str]) -> dict[str, tuple[str, int] | str]:
    """Tag and size of each remote file, or why it cannot be had. They wait for servers, so many are asked at once."""

    def ask(path: str) -> tuple[str, int] | str:
        expect_wanted()
        try:
            return locations.tag(path)
        except locations.LocationError as error:
            return str(error)

    if not paths:
        return {}
    with stoppable_threads(ASKED_AT_ONCE) as pool:
        return dict(zip(paths, pool.map(ask, paths), strict=True))


def inspect(data: bytes) -> ImageInfo:
    """Look at an image file's bytes once: can it be used, and what is it like?"""
    try:
        decoded = decode(data)
        expect_whole(data, decoded.image)
    except BadImageError as error:
        return ImageInfo(problem=str(error))
    image = decoded.image
    height, width = image.shape[:2]
    red, green, blue = (round(total / (width * height), 3) for total in cv2.sumElems(image)[:3])
    return ImageInfo(
        "",
        width,
        height,
        decoded.suffix,
        (red, green, blue),
        perceptual_hash(image),
        decoded.lost,
        decoded.format if decoded.format in INSTALLED else "",
    )


def inspector_id() -> str:
    """What decides what an inspection finds: its version and the codecs."""
    return f"{INSPECTION}-{known_fingerprint()}"


def _inspector_of(info: ImageInfo) -> str:
    """Who found this: where libraries of the extra [formats] had a part in it, they as well. They may have read a file,
    or have failed to; what they have no part in is known with and without them."""
    if not info.problem and not info.extra:
        return inspector_id()
    return "-".join((inspector_id(), *map(extra_fingerprint, sorted(INSTALLED))))


def _known_infos(store: ScanStore, digests: Iterable[str]) -> dict[str, ImageInfo]:
    """As `_known_info`, of many digests at once: by digest, of those in which no library of the extra [formats] had a
    part."""
    inspector = inspector_id()
    infos = {digest: _stored_info(record) for digest, record in store.inspections(digests, inspector).items()}
    return {digest: info for digest, info in infos.items() if info and not info.problem and not info.extra}


def _known_info(store: ScanStore, digest: str) -> ImageInfo | None:
    """What an earlier inspection of these bytes found, if the libraries that are installed would find it again."""
    for inspector in dict.fromkeys((inspector_id(), _inspector_of(ImageInfo(problem="any")))):
        record = store.inspection(digest, inspector)
        info = _stored_info(record) if record else None
        if info and _inspector_of(info) == inspector:
            return info
    return None


def _stored_info(record: str) -> ImageInfo | None:
    """What an inspection stored; None where another release asked for other facts."""
    try:
        facts = json.loads(record)
        return _info_of(facts, facts["mean"])
    except (ValueError, TypeError, KeyError):
        return None


def _info_of(facts: Mapping[str, Any], mean: Iterable[float]) -> ImageInfo:
    suffix = intern(facts["suffix"])  # one text for a million of them
    return ImageInfo(**{**facts, "lost": tuple(facts["lost"]), "suffix": suffix, "mean": tuple(mean)})


def in_short(info: ImageInfo) -> tuple[str, bytes]:
    """An inspection as the cache keeps it beside a file's digest: the text of its kind, and what is its own."""
    kind = {name: value for name, value in asdict(info).items() if name not in {"problem", "mean", "phash"}}
    own = np.array((info.mean, int(info.phash, 16)), OWN)
    return json.dumps([_inspector_of(info), kind], sort_keys=True), own.tobytes()


def _kind_of(text: str) -> ImageInfo | None:
    """The kind of inspections that has this text; None if it is of other libraries than those that are installed, or of
    another release that asked for other facts."""
    try:
        inspector, facts = json.loads(text)
        info = _info_of(facts, NO_MEAN)
    except (ValueError, TypeError, KeyError):
        return None
    return info if _inspector_of(info) == inspector else None
