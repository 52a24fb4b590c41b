"""Leaks: the same photograph under other bytes in several places, found over all clean images of a recipe, and kept on
one side of every split.

Perceptual hashes give candidates, 16×16 thumbnails thin them out, and registration decides: one picture is laid over
the other, and their details must agree. What counts as the same photograph: a copy recompressed, resized (stretched
too), brightened, with noise, in grey, or cut by up to about a tenth of a side. Frames of one video count as well
while the camera moves by less than that and little else moves; farther apart they do not, unless frames between them
join them. Mirrored or turned copies, smaller cuts out of a larger picture, and pictures without detail (a plain
colour, a gradient) are not found.

Measured on 400 photographs of BSDS500 (benchmarks/leaks.md): all copies are found by JPEG at quality 30, resize ×0.5
and ×1.5, border of 10 px, 5 % of each side cut about the middle, brightness ±20 %, noise of σ = 10 and 25, grey, and
several at once; 99 % where the 5 % go from one corner; and no link among the 79,800 pairs of different photographs.
By the rates of these, 100,000 photographs take 6 s of CPU for their hashes, once the decoding of each, and about two
minutes for the 200,000 pairs with like thumbnails: the details of the thumbnails deny six of seven in 25 µs each, and
the seventh is opened again and mostly denied at 40 px.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.scan.leaks.candidates import as_numbers, like_pairs, matcher_id
from patina.pipeline.scan.leaks.clusters import DisjointSets, assign
from patina.pipeline.scan.leaks.registration import match_from_record, match_record, reduced, registered
from patina.pipeline.scan.leaks.types import Leaks, Link, Match, Scene
from patina.pipeline.stopping import expect_wanted, stoppable_threads


def find_leaks(
    scenes: Sequence[Scene],
    store: ScanStore,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Leaks:
    """Find the scenes that show the same photograph, and what to do about each. Independent of the scenes' order.

    Verdicts and thumbnails are kept in `store`, so that only contents never compared before are loaded, by `workers`
    threads. `progress` is called with (done, total) for the loading of thumbnails and then for the registrations.
    Raises what a scene's `load` raises, and ValueError where two scenes have equal contents.
    """
    contents = sorted(scene.content for scene in scenes)
    links = known_links(contents, store)
    if links is None:
        links = links_between(scenes, store, workers=workers, progress=progress)
        rows = [(link.first, link.second, match_record(link.match)) for link in links]
        store.put([], [(_key(contents), f"links-{matcher_id()}", json.dumps(rows))])
    return assign(scenes, links)


def known_links(contents: Iterable[str], store: ScanStore) -> tuple[Link, ...] | None:
    """The links of these very contents, which are in their order, if they were looked for before: a plan with nothing
    new costs nothing then."""
    record = store.inspection(_key(contents), f"links-{matcher_id()}")
    if not record:
        return None
    return tuple(Link(first, second, match_from_record(found)) for first, second, found in json.loads(record))


def _key(contents: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for i, content in enumerate(contents):
        digest.update(f"\n{content}".encode() if i else content.encode())
    return digest.hexdigest()


def links_between(
    scenes: Sequence[Scene],
    store: ScanStore,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Link, ...]:
    """The pairs of scenes that show the same photograph, as far as they are needed to join all that belong together."""
    scenes = sorted(scenes, key=lambda s: s.content)
    like = like_pairs(scenes, store, workers, progress)
    pairs = like.pairs
    if not len(pairs):
        return ()
    hashes = as_numbers([scene.phash for scene in scenes])
    distances = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], distances))]  # the surest first: they spare the most others

    @lru_cache(maxsize=2048)  # 50 MB; pairs of near hashes come together, and share pictures
    def picture(place: int) -> NDArray[np.uint8]:
        return reduced(scenes[place].load())

    def compare(pair: tuple[int, int]) -> Match:
        expect_wanted()
        cv2.setNumThreads(1)  # registrations run side by side
        first, second = (scenes[i] for i in pair)
        sizes = (first.width, first.height), (second.width, second.height)
        return registered(picture(pair[0]), picture(pair[1]), *sizes)

    joined = DisjointSets(len(scenes))
    links: list[Link] = []
    with stoppable_threads(workers) as pool:
        for start in range(0, len(pairs), 64):  # of fixed size, or the links would depend on the workers
            batch = pairs[start : start + 64]
            apart = [joined.root(i) != joined.root(j) for i, j in batch.tolist()]
            open_pairs = [(i, j) for i, j in like.fitting(batch[apart]).tolist()]
            known = {(i, j): store.verdict(scenes[i].content, scenes[j].content, matcher_id()) for i, j in open_pairs}
            new = [pair for pair, record in known.items() if record is None]
            made = dict(zip(new, pool.map(compare, new), strict=True))
            store.put_verdicts(
                (scenes[i].content, scenes[j].content, matcher_id(), match_record(found))
                for (i, j), found in made.items()
            )
            for i, j in open_pairs:
                found = made.get((i, j)) or match_from_record(known[i, j] or "")
                if found.same and joined.join(i, j):
                    links.append(Link(scenes[i].content, scenes[j].content, found))
            if progress:
                progress(min(start + 64, len(pairs)), len(pairs))
    return tuple(sorted(links, key=lambda link: (link.first, link.second)))
