"""Pairs of photographs that might show one scene, by their hashes and thumbnails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.installed import known_fingerprint
from patina.pipeline.scan.leaks.thumbnails import FITS, NEAR_THUMBS, THUMB, THUMBNAIL, fit, likeness, thumbnail
from patina.pipeline.scan.leaks.types import MATCHER, Scene
from patina.pipeline.stopping import expect_wanted, stoppable_threads

NEAR_BITS = 18
"""Perceptual hashes that differ in at most so many of 64 bits are candidates. A recompressed or resized copy differs in
4 at most, a border of 10 px in 14, a corner cut of 5 % in 18 (99 of 100); of unrelated photographs one pair in 700."""

FEW_BITS = 24
"""A photograph's hash has 31 or 32 bits set, by its median. One with fewer is of a picture without detail, whose terms
are all alike; it says nothing, and would join all such pictures."""


ROWS, COLUMNS = 256, 8192
"""Of a block of hashes that are compared: it stays in the cache."""

TOGETHER = 16
"""Blocks whose near pairs are held at a time."""

AT_A_TIME = 4096
"""Pairs whose thumbnails are compared in one call: they stay in the cache."""


def candidates(hashes: Sequence[str], *, sides: Sequence[str] | None = None, workers: int = 1) -> NDArray[np.int32]:
    """All pairs of places in `hashes` (16 hex digits each) that are near, K×2 int32, first < second, in order; with
    `sides`, one for each hash, only those whose sides differ.

    Every pair is counted, in blocks that stay in the cache. Hashes that say nothing are in no pair.
    """
    near = _Near(hashes, sides)
    with stoppable_threads(workers) as pool:
        parts = list(pool.map(near.block, near.blocks))
    pairs = np.concatenate([np.zeros((0, 2), np.int32), *parts])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


class _Near:
    """Pairs of near hashes, a block of rows at a time. blocks: the first rows of all of them."""

    def __init__(self, hashes: Sequence[str], sides: Sequence[str] | None = None) -> None:
        numbers = as_numbers(hashes)
        self._places = np.flatnonzero(np.bitwise_count(numbers) >= FEW_BITS).astype(np.int32)
        self._numbers = numbers[self._places]
        some = sides is not None and len(sides) > 0
        self._side = np.unique(list(sides or ()), return_inverse=True)[1][self._places] if some else None
        self.blocks = range(0, len(self._numbers), ROWS)

    def block(self, top: int) -> NDArray[np.int32]:
        """The pairs whose first is in the block that begins with the row `top`, K×2."""
        found = [np.zeros((0, 2), np.int32)]
        block, places, side = self._numbers[top : top + ROWS, None], self._places, self._side
        for left in range(top, len(self._numbers), COLUMNS):
            expect_wanted()
            distances = np.bitwise_count(block ^ self._numbers[None, left : left + COLUMNS])
            at = np.flatnonzero(distances.ravel() <= NEAR_BITS)
            i, j = np.divmod(at, distances.shape[1])
            i, j = i + top, j + left
            wanted = i < j if side is None else (i < j) & (side[i] != side[j])
            found.append(np.stack([places[i[wanted]], places[j[wanted]]], axis=1))
        return np.concatenate(found)


def as_numbers(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """Hashes of 16 hex digits as N numbers of 64 bits."""
    return np.array([int(digits, 16) for digits in hashes], np.uint64)


@dataclass(frozen=True)
class LikePairs:
    """Pairs of scenes whose hashes are near and whose thumbnails are alike.

    pairs   their places, K×2 int32, first < second, in order.
    thumbs  of all scenes, N×256 uint8; zeros for one that is near to no other.
    """

    pairs: NDArray[np.int32]
    thumbs: NDArray[np.uint8]

    def fitting(self, pairs: NDArray[np.int32]) -> NDArray[np.int32]:
        """Those of these pairs, K×2, whose thumbnails fit: worth a registration."""
        kept = [np.zeros((0, 2), np.int32)]
        for start in range(0, len(pairs), AT_A_TIME):
            expect_wanted()
            some = pairs[start : start + AT_A_TIME]
            kept.append(some[fit(self.thumbs[some[:, 0]], self.thumbs[some[:, 1]]) >= FITS])
        return np.concatenate(kept)


def like_pairs(
    scenes: Sequence[Scene],
    store: ScanStore,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    *,
    sides: Sequence[str] | None = None,
) -> LikePairs:
    """The pairs of places in `scenes` whose hashes are near and whose thumbnails are alike. With `sides`, one for each
    scene, only those whose sides differ.

    Thumbnails are compared the moment that hashes are near, some thousand rows at a time: a million photographs have a
    hundred times as many near hashes as like thumbnails, which are never held together. `progress` counts
    scenes: one that is near to no other is done without being loaded.
    """
    thumbs = np.zeros((len(scenes), THUMB * THUMB), np.uint8)
    inspector = f"thumb-{THUMBNAIL}-{known_fingerprint()}"
    there = np.zeros(len(scenes), np.bool_)

    def thumbnail_record(place: int) -> tuple[str, str, str] | None:
        expect_wanted()
        scene = scenes[place]
        record = store.inspection(scene.content, inspector)
        body = bytes.fromhex(record) if record else thumbnail(scene.load()).tobytes()
        thumbs[place] = np.frombuffer(body, np.uint8)
        return None if record else (scene.content, inspector, body.hex())

    near, kept = _Near([scene.phash for scene in scenes], sides), [np.zeros((0, 2), np.int32)]
    with stoppable_threads(workers) as pool:
        for at in range(0, len(near.blocks), TOGETHER):
            tops = near.blocks[at : at + TOGETHER]
            pairs = np.concatenate(list(pool.map(near.block, tops)))
            places = np.unique(pairs)
            new = places[~there[places]].tolist()
            for start in range(0, len(new), 256):
                records = pool.map(thumbnail_record, new[start : start + 256])
                store.put([], [record for record in records if record])
                there[new[start : start + 256]] = True
                if progress:
                    progress(int(there.sum()), len(scenes))
            for start in range(0, len(pairs), AT_A_TIME):
                some = pairs[start : start + AT_A_TIME]
                kept.append(some[likeness(thumbs[some[:, 0]], thumbs[some[:, 1]]) >= NEAR_THUMBS])
    if progress and there.any():
        progress(len(scenes), len(scenes))
    found = np.concatenate(kept)
    return LikePairs(found[np.lexsort((found[:, 1], found[:, 0]))], thumbs)


def matcher_id() -> str:
    """What decides whether two photographs match: the version of the method and the codecs."""
    return f"{MATCHER}-{known_fingerprint()}"
