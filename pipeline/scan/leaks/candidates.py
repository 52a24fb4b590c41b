"""Pairs of photographs that might show one scene, by their hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.scan.leaks.thumbnails import NEAR_THUMBS, THUMB, normalised, thumbnail
from patina.pipeline.scan.leaks.types import MATCHER, Scene
from patina.pipeline.stopping import expect_wanted, stoppable_threads

NEAR_BITS = 18
"""Perceptual hashes that differ in at most so many of 64 bits are candidates. A recompressed or resized copy differs in
4 at most, a border of 10 px in 14, a corner cut of 5 % in 18 (99 of 100); of unrelated photographs one pair in 700."""

FEW_BITS = 24
"""A photograph's hash has 31 or 32 bits set, by its median. One with fewer is of a picture without detail, whose terms
are all alike; it says nothing, and would join all such pictures."""


def candidates(hashes: Sequence[str], *, sides: Sequence[str] | None = None, workers: int = 1) -> NDArray[np.int32]:
    """All pairs of places in `hashes` (16 hex digits each) that are near, K×2 int32, first < second, in order; with
    `sides`, one for each hash, only those whose sides differ.

    Every pair is counted, in blocks that stay in the cache. Hashes that say nothing are in no pair.
    """
    numbers = as_numbers(hashes)
    places = np.flatnonzero(np.bitwise_count(numbers) >= FEW_BITS).astype(np.int32)
    numbers = numbers[places]
    side = np.unique(list(sides), return_inverse=True)[1][places] if sides is not None and len(sides) else None
    rows, columns = 256, 8192

    def near(top: int) -> list[NDArray[np.int32]]:
        found = []
        block = numbers[top : top + rows, None]
        for left in range(top, len(numbers), columns):
            expect_wanted()
            distances = np.bitwise_count(block ^ numbers[None, left : left + columns])
            at = np.flatnonzero(distances.ravel() <= NEAR_BITS)
            i, j = np.divmod(at, distances.shape[1])
            i, j = i + top, j + left
            wanted = i < j if side is None else (i < j) & (side[i] != side[j])
            found.append(np.stack([places[i[wanted]], places[j[wanted]]], axis=1))
        return found

    with stoppable_threads(workers) as pool:
        parts = [part for found in pool.map(near, range(0, len(numbers), rows)) for part in found]
    pairs = np.concatenate([np.zeros((0, 2), np.int32), *parts])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def as_numbers(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """Hashes of 16 hex digits as N numbers of 64 bits."""
    return np.array([int(digits, 16) for digits in hashes], np.uint64)


def with_like_thumbs(
    scenes: Sequence[Scene],
    pairs: NDArray[np.int32],
    store: ScanStore,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int32]:
    """Those of `pairs` (K×2, places in `scenes`) whose thumbnails are alike: worth a registration."""
    if not len(pairs):
        return pairs
    thumbs = np.zeros((len(scenes), THUMB * THUMB), np.float32)
    places = [int(i) for i in np.unique(pairs)]

    def thumbnail_record(place: int) -> tuple[str, str, str] | None:
        expect_wanted()
        scene = scenes[place]
        record = store.inspection(scene.content, f"thumb-{matcher_id()}")
        body = bytes.fromhex(record) if record else thumbnail(scene.load()).tobytes()
        thumbs[place] = normalised(np.frombuffer(body, np.uint8))
        return None if record else (scene.content, f"thumb-{matcher_id()}", body.hex())

    with stoppable_threads(workers) as pool:
        for start in range(0, len(places), 256):
            records = pool.map(thumbnail_record, places[start : start + 256])
            store.put([], [record for record in records if record])
            if progress:
                progress(min(start + 256, len(places)), len(places))
    kept = []
    for start in range(0, len(pairs), 1 << 16):
        some = pairs[start : start + (1 << 16)]
        alike = np.einsum("ij,ij->i", thumbs[some[:, 0]], thumbs[some[:, 1]]) >= NEAR_THUMBS
        kept.append(some[alike])
    return np.concatenate(kept)


def matcher_id() -> str:
    """What decides whether two photographs match: the version of the method and the codecs."""
    return f"{MATCHER}-{codec_fingerprint()}"
