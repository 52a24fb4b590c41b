"""Digests and inspections of files, read where the cache does not know them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from stat import S_ISREG
from sys import intern

import cv2

from patina.pipeline.cache.scans import ScanStore
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
"""Files that the cache is asked of together; what it answers takes 8 KB each, for as long."""

INSPECTION = 3
"""Raised when `_inspect` looks at files in another way, so that all are looked at again."""


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that was read, now or earlier: where, its SHA-256, bytes, and what was found of it."""

    path: str
    digest: str
    size: int
    info: ImageInfo


def find_digests(
    paths: Sequence[str],
    store: ScanStore,
    workers: int,
    paranoid: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, ScannedFile], dict[str, str], int]:
    """Digests of all files, problems of those that cannot be read, and how many were read."""
    files: dict[str, ScannedFile] = {}
    unread: dict[str, str] = {}
    stale: list[str] = []
    stats: dict[str, os.stat_result | str] = {}  # of tars, whose members share one

    def stat_of(path: str) -> os.stat_result | str:
        whole = locations.file_of(path)
        if whole == path:
            return _stat(path)
        if whole not in stats:
            stats[whole] = _stat(whole)
        return stats[whole]

    tags = _tags([path for path in paths if locations.is_remote(path)])
    known_as = Counter(map(locations.place, tags))  # what two addresses share cannot say which file was remembered

    alone = {path for path in tags if known_as[locations.place(path)] == 1}
    for start in range(0, len(paths), TOGETHER):
        looks = {path: tags[path] if path in tags else stat_of(path) for path in paths[start : start + TOGETHER]}
        for path, size, digest, info in _remembered(looks, store, alone, paranoid):
            if isinstance(size, str):
                unread[path] = size
            elif size > MAX_BYTES:
                unread[path] = f"has {size:,} bytes, more than the {MAX_BYTES:,} that a photograph may have"
            elif info is None:
                stale.append(path)
            else:
                files[path] = ScannedFile(path, digest, size, info)
    keep_freed_memory()
    for start in range(0, len(stale), 256):  # stored by the batch: an interrupted scan loses one at the most
        batch, begun_ns = stale[start : start + 256], time.time_ns()
        with stoppable_threads(workers) as pool:
            results = list(pool.map(lambda p: _read(p, store), batch))
        store.put(
            [(r.path, r.stat, r.digest) for r in results if r.stat],
            [(r.digest, _inspector_of(r.info), json.dumps(asdict(r.info))) for r in results if r.info and r.fresh],
            begun_ns=begun_ns,
        )
        tagged = [(r, tags[r.path]) for r in results if r.digest and r.path in tags]
        store.put_remote(  # a file of another size than its server says broke off, or changed: it is fetched again
            (r.path, *seen, r.digest) for r, seen in tagged if isinstance(seen, tuple) and seen[1] in {-1, r.size}
        )
        for result in results:
            if result.info:
                files[result.path] = ScannedFile(result.path, result.digest, result.size, result.info)
            else:
                unread[result.path] = result.problem
        if progress:
            progress(min(start + 256, len(stale)), len(stale))
    return files, unread, len(stale)


def _remembered(
    looks: Mapping[str, os.stat_result | tuple[str, int] | str],
    store: ScanStore,
    alone: Collection[str],
    paranoid: bool,
) -> Iterator[tuple[str, int | str, str, ImageInfo | None]]:
    """Of each path its size, or why it cannot be read; and the digest and the inspection that are known, if they are.

    looks  its stat or its tag as it is now. alone: remote paths that no other one could be taken for.
    """
    local = [(path, seen) for path, seen in looks.items() if isinstance(seen, os.stat_result)]
    trusted = {} if paranoid else store.trusted_digests(local)
    infos = _known_infos(store, trusted.values())
    for path, seen in looks.items():
        size: int | str
        digest: str | None = None
        if isinstance(seen, str):
            size = seen
        elif isinstance(seen, os.stat_result):
            size, digest = _size(path, seen), trusted.get(path)
        else:
            size = seen[1]
            digest = store.remote_digest(path, *seen) if path in alone and not paranoid else None
        known = None if digest is None else infos.get(digest) or _known_info(store, digest)
        yield path, size, digest or "", known


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


def _size(path: str, stat: os.stat_result) -> int:
    span = path.partition(locations.PART)[2]
    return int(span.partition("+")[2]) if span else stat.st_size


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
    return {digest: info for digest, info in infos.items() if not info.problem and not info.extra}


def _known_info(store: ScanStore, digest: str) -> ImageInfo | None:
    """What an earlier inspection of these bytes found, if the libraries that are installed would find it again."""
    for inspector in dict.fromkeys((inspector_id(), _inspector_of(ImageInfo(problem="any")))):
        record = store.inspection(digest, inspector)
        info = _stored_info(record) if record else None
        if info and _inspector_of(info) == inspector:
            return info
    return None


def _stored_info(record: str) -> ImageInfo:
    """What an inspection stored."""
    facts = json.loads(record)
    facts["mean"], facts["lost"] = tuple(facts["mean"]), tuple(facts["lost"])
    facts["suffix"] = intern(facts["suffix"])  # one object for a million of them
    return ImageInfo(**facts)
