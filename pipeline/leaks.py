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
100,000 photographs take 4 to 10 s for their hashes on two cores, and then, once, the decoding of each and some
200,000 registrations of 20 ms.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.pipeline.codec import codec_fingerprint
from patina.pipeline.recipe import SPLITS
from patina.pipeline.store import ScanStore
from patina.synth.image import Image

MATCHER = 1
"""Raised when pictures are compared in another way, so that all verdicts are made anew."""

NEAR_BITS = 18
"""Perceptual hashes that differ in at most so many of 64 bits are candidates. A recompressed or resized copy differs in
4 at most, a border of 10 px in 14, a corner cut of 5 % in 18 (99 of 100); of unrelated photographs one pair in 700."""

FEW_BITS = 24
"""A photograph's hash has 31 or 32 bits set, by its median. One with fewer is of a picture without detail, whose terms
are all alike; it says nothing, and would join all such pictures."""

NEAR_THUMBS = 0.8
"""Correlation of two thumbnails from which a candidate is worth a registration: copies cut by 5 % have 0.83, and of
unrelated candidates one in thirty."""

SAME = 0.7
"""Correlation of two registered pictures' details from which they show the same photograph: copies have 0.9 or more,
unrelated photographs 0.3 at most."""

AT_ONCE = 0.99
"""Agreement without any registration that needs none."""

LARGE = 50
"""Photographs in one cluster from which it is reported: a video, or links that should not be."""

SIDE = 160
THUMB = 16
MIN_DETAIL = 0.5
"""Standard deviation of a picture's details, in levels, below which there is nothing to compare."""

EXAMPLES = 3


@dataclass(frozen=True)
class Scene:
    """A clean image that may be used.

    content  SHA-256 of its file, 64 hex digits; no two scenes have the same.
    phash    `perceptual_hash` of its pixels. width, height: px, as `load` gives them.
    named    whether its [[sources]] table names its split; else it was drawn from the digest.
    set      what to call its source in a report.
    load     gives its pixels, RGB uint8 H×W×3; may raise, and then no result is given.
    """

    content: str
    name: str
    phash: str
    width: int
    height: int
    split: str
    named: bool
    set: str
    load: Callable[[], Image] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Match:
    """What the registration of two pictures found.

    score  correlation of their details, -1..1, once one is laid over the other.
    scale  px of the second for one px of the first, in x and y. shift: where the first's upper left corner lies in the
           second, in px of the second. Both are meaningless unless `same`.
    """

    score: float
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def same(self) -> bool:
        """Whether they show the same photograph."""
        return self.score >= SAME


@dataclass(frozen=True)
class Link:
    """Two scenes, by content, that show the same photograph; `match` goes from the first to the second."""

    first: str
    second: str
    match: Match


@dataclass(frozen=True)
class Cluster:
    """All scenes, by content, that links join; `side` is the split that they may be in, and `because` the scene that
    holds them there."""

    members: tuple[str, ...]
    side: str
    because: str


@dataclass(frozen=True)
class Shared:
    """Two sets that show the same photographs: how many, and the names of a few (the first set's, the second's)."""

    first: str
    first_split: str
    second: str
    second_split: str
    photographs: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Leaks:
    """What was found over all scenes, and what follows from it.

    scenes    how many were compared; names: what those in clusters are called, by content.
    links     in the order of their contents; scenes that were joined already are not compared again, so a cluster of n
              has n - 1.
    moved     content: (split before, split after, name of the scene because of which).
    left_out  content: the reason, in words. shared: in the order of the sets' names.
    """

    scenes: int = 0
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: tuple[Link, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    moved: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    shared: tuple[Shared, ...] = ()

    @property
    def large(self) -> tuple[Cluster, ...]:
        """Clusters so large that they are suspicious."""
        return tuple(cluster for cluster in self.clusters if len(cluster.members) > LARGE)

    def facts(self) -> dict[str, Any]:
        """What the manifest keeps, as JSON gives it back. No scores: their last digits differ between processors."""
        return {
            "matcher": MATCHER,
            "scenes": self.scenes,
            "links": len(self.links),
            "clusters": len(self.clusters),
            "moved": [
                {"content": c, "name": self.names[c], "from": old, "to": new, "because": because}
                for c, (old, new, because) in sorted(self.moved.items())
            ],
            "left_out": [
                {"content": c, "name": self.names[c], "reason": reason} for c, reason in sorted(self.left_out.items())
            ],
            "shared": [
                {
                    "sets": [s.first, s.second],
                    "splits": [s.first_split, s.second_split],
                    "photographs": s.photographs,
                    "examples": [list(pair) for pair in s.examples],
                }
                for s in self.shared
            ],
            "large": [
                {"side": c.side, "photographs": len(c.members), "examples": self._named(c.members)} for c in self.large
            ],
        }

    def lines(self, *, mended: bool = True) -> list[str]:
        """Sentences for the terminal and the dataset's card; none if there is nothing to say.

        `mended`: whether what follows was done, or is only told.
        """
        lines = []
        moved, left_out = ("moved", "left out") if mended else ("to be moved", "to be left out")
        for shared in self.shared:
            first, second = f"{shared.first} ({shared.first_split})", f"{shared.second} ({shared.second_split})"
            example = " and ".join(shared.examples[0])
            lines.append(f"{first} and {second} share {_counted(shared.photographs)}, such as {example}")
        moves: dict[tuple[str, str], list[str]] = defaultdict(list)
        for content, (old, new, because) in sorted(self.moved.items()):
            moves[old, new].append(f"{self.names[content]} with {because}")
        for (old, new), names in sorted(moves.items()):
            lines.append(f"{_counted(len(names))} {moved} from {old} to {new}, beside a copy there, such as {names[0]}")
        if self.left_out:
            content = min(self.left_out)
            lines.append(
                f"{_counted(len(self.left_out))} {left_out}, as a copy is on another side of the split: "
                f"{self.names[content]}: {self.left_out[content]}"
            )
        for cluster in self.large[:EXAMPLES]:
            some = ", ".join(self._named(cluster.members))
            lines.append(
                f"{_counted(len(cluster.members))} are linked as one ({some}, …) and stay together in {cluster.side}; "
                "if they are not frames of one video, look at them"
            )
        if len(self.large) > EXAMPLES:
            lines.append(f"{len(self.large) - EXAMPLES} more clusters have over {LARGE} photographs each")
        return lines

    def _named(self, contents: Iterable[str]) -> list[str]:
        return sorted(self.names[content] for content in contents)[:EXAMPLES]


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
    # The links of these very contents, if they were looked for before: a plan with nothing new costs nothing then.
    key = hashlib.sha256("\n".join(sorted(scene.content for scene in scenes)).encode()).hexdigest()
    record = store.inspection(key, f"links-{_matcher()}")
    if record:
        links = tuple(Link(first, second, _from_record(found)) for first, second, found in json.loads(record))
    else:
        links = links_between(scenes, store, workers=workers, progress=progress)
        rows = [(link.first, link.second, _record(link.match)) for link in links]
        store.put([], [(key, f"links-{_matcher()}", json.dumps(rows))])
    return assign(scenes, links)


def links_between(
    scenes: Sequence[Scene],
    store: ScanStore,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Link, ...]:
    """The pairs of scenes that show the same photograph, as far as they are needed to join all that belong together."""
    scenes = sorted(scenes, key=lambda s: s.content)
    pairs = candidates([scene.phash for scene in scenes], workers=workers)
    if not len(pairs):
        return ()
    pairs = with_like_thumbs(scenes, pairs, store, workers, progress)
    hashes = _as_numbers([scene.phash for scene in scenes])
    distances = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], distances))]  # the surest first: they spare the most others

    @lru_cache(maxsize=2048)  # 50 MB; pairs of near hashes come together, and share pictures
    def picture(place: int) -> NDArray[np.uint8]:
        return _reduced(scenes[place].load())

    def compare(pair: tuple[int, int]) -> Match:
        cv2.setNumThreads(1)  # registrations run side by side
        first, second = (scenes[i] for i in pair)
        sizes = (first.width, first.height), (second.width, second.height)
        return _registered(picture(pair[0]), picture(pair[1]), *sizes)

    joined = _Joined(len(scenes))
    links: list[Link] = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for start in range(0, len(pairs), 64):  # of fixed size, or the links would depend on the workers
            batch = [(int(i), int(j)) for i, j in pairs[start : start + 64]]
            open_pairs = [(i, j) for i, j in batch if joined.root(i) != joined.root(j)]
            known = {(i, j): store.verdict(scenes[i].content, scenes[j].content, _matcher()) for i, j in open_pairs}
            new = [pair for pair, record in known.items() if record is None]
            made = dict(zip(new, pool.map(compare, new), strict=True))
            store.put_verdicts(
                (scenes[i].content, scenes[j].content, _matcher(), _record(found)) for (i, j), found in made.items()
            )
            for i, j in open_pairs:
                found = made.get((i, j)) or _from_record(known[i, j] or "")
                if found.same and joined.join(i, j):
                    links.append(Link(scenes[i].content, scenes[j].content, found))
            if progress:
                progress(min(start + 64, len(pairs)), len(pairs))
    return tuple(sorted(links, key=lambda link: (link.first, link.second)))


# ---------------------------------------------------------------------------------------------------------------------
# Which pairs are worth a look


def candidates(hashes: Sequence[str], *, sides: Sequence[str] | None = None, workers: int = 1) -> NDArray[np.int32]:
    """All pairs of places in `hashes` (16 hex digits each) that are near, K×2 int32, first < second, in order; with
    `sides`, one for each hash, only those whose sides differ.

    Every pair is counted, in blocks that stay in the cache. Hashes that say nothing are in no pair.
    """
    numbers = _as_numbers(hashes)
    places = np.flatnonzero(np.bitwise_count(numbers) >= FEW_BITS).astype(np.int32)
    numbers = numbers[places]
    side = np.unique(list(sides), return_inverse=True)[1][places] if sides is not None and len(sides) else None
    rows, columns = 256, 8192

    def near(top: int) -> list[NDArray[np.int32]]:
        found = []
        block = numbers[top : top + rows, None]
        for left in range(top, len(numbers), columns):
            distances = np.bitwise_count(block ^ numbers[None, left : left + columns])
            at = np.flatnonzero(distances.ravel() <= NEAR_BITS)
            i, j = np.divmod(at, distances.shape[1])
            i, j = i + top, j + left
            wanted = i < j if side is None else (i < j) & (side[i] != side[j])
            found.append(np.stack([places[i[wanted]], places[j[wanted]]], axis=1))
        return found

    with ThreadPoolExecutor(max_workers=workers) as pool:
        parts = [part for found in pool.map(near, range(0, len(numbers), rows)) for part in found]
    pairs = np.concatenate([np.zeros((0, 2), np.int32), *parts])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _as_numbers(hashes: Sequence[str]) -> NDArray[np.uint64]:
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

    def made(place: int) -> tuple[str, str, str] | None:
        scene = scenes[place]
        record = store.inspection(scene.content, f"thumb-{_matcher()}")
        body = bytes.fromhex(record) if record else thumbnail(scene.load()).tobytes()
        thumbs[place] = _normalised(np.frombuffer(body, np.uint8))
        return None if record else (scene.content, f"thumb-{_matcher()}", body.hex())

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for start in range(0, len(places), 256):
            records = pool.map(made, places[start : start + 256])
            store.put([], [record for record in records if record])
            if progress:
                progress(min(start + 256, len(places)), len(places))
    kept = []
    for start in range(0, len(pairs), 1 << 16):
        some = pairs[start : start + (1 << 16)]
        alike = np.einsum("ij,ij->i", thumbs[some[:, 0]], thumbs[some[:, 1]]) >= NEAR_THUMBS
        kept.append(some[alike])
    return np.concatenate(kept)


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """What two pictures are first compared by: 256 grey levels, 16×16 row by row, of an RGB uint8 H×W×3 image."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 1.0).ravel().astype(np.uint8)  # a cut by 5 % then shifts it little


def _normalised(thumb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A thumbnail with mean 0 and norm 1, so that the product of two is their correlation."""
    centred = thumb - thumb.mean(dtype=np.float32)
    return np.asarray(centred / np.sqrt(np.square(centred).sum() + 1e-6), np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Registration


def match(first: Image, second: Image) -> Match:
    """Whether two RGB uint8 images show the same photograph; score 0 where the thumbnails deny it."""
    if float(_normalised(thumbnail(first)) @ _normalised(thumbnail(second))) < NEAR_THUMBS:
        return Match(0.0)
    return register(first, second)


def register(first: Image, second: Image) -> Match:
    """Lay one RGB uint8 image over the other, both at 160×160 px, and compare their details."""
    sizes = [(image.shape[1], image.shape[0]) for image in (first, second)]
    return _registered(_reduced(first), _reduced(second), *sizes)


def _reduced(image: Image) -> NDArray[np.uint8]:
    """Grey, 160×160: stretched to a square, so that a copy's shape does not matter."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _registered(
    first: NDArray[np.uint8], second: NDArray[np.uint8], first_size: tuple[int, int], second_size: tuple[int, int]
) -> Match:
    """Lay one reduced picture over the other, in three tries of rising cost: as they are, shifted, and by ECC
    (Evangelidis and Psarakis, TPAMI 2008), which finds the affine map for which two pictures correlate best.

    The search sees details with their local contrast evened out, since light would lead it astray; the score sees them
    as they are. Sizes are (width, height) in px.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    best, where = _agreement(one, other, _IDENTITY), _IDENTITY
    if best < AT_ONCE:
        a, b = _evened(one), _evened(other)
        (dx, dy), _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow((SIDE, SIDE), cv2.CV_32F))
        start = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        for begin in (start, _IDENTITY):  # a chance peak of the phase leads far away; then the place itself is better
            for warp in _steps(a, b, begin):
                score = _agreement(one, other, warp)
                if score > best:
                    best, where = score, warp
            if best >= SAME:
                break
    scale = [float(where[i, i]) * second_size[i] / first_size[i] for i in (0, 1)]
    corner = where.astype(np.float64) @ [-0.5, -0.5, 1]
    shift = [(float(corner[i]) + 0.5) * second_size[i] / SIDE for i in (0, 1)]
    return Match(round(best, 4), (round(scale[0], 3), round(scale[1], 3)), (round(shift[0], 1), round(shift[1], 1)))


_IDENTITY = np.eye(2, 3, dtype=np.float32)
_ALL = np.full((SIDE, SIDE), 255, np.uint8)
_ENOUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)


def _steps(a: NDArray[np.float32], b: NDArray[np.float32], start: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
    """Better and better maps (2×3) from places in `a` to places in `b`, from `start` on; fewer where ECC gives up."""
    yield start
    warp = start
    for blur in (2.0, 0.0):  # coarse first: ECC climbs only where the slopes overlap
        seen = [cv2.GaussianBlur(v, (0, 0), blur) if blur else v for v in (a, b)]
        try:
            _, found = cv2.findTransformECC(seen[0], seen[1], warp.copy(), cv2.MOTION_AFFINE, _ENOUGH, _ALL, 5)
        except cv2.error:  # no correlation to climb on, or it ran out of the picture
            return
        warp = np.asarray(found, np.float32)
        yield warp


def _agreement(a: NDArray[np.float32], b: NDArray[np.float32], warp: NDArray[np.float32]) -> float:
    """Correlation of the details of `a` with those of `b` under `warp`, over their overlap; 0 for maps that no copy
    needs (scaled by over a quarter, turned, an overlap under two thirds) and where there is no detail."""
    straight = np.abs(np.diag(warp[:, :2]) - 1).max() <= 0.25 and max(abs(warp[0, 1]), abs(warp[1, 0])) <= 0.1
    if not straight:
        return 0.0
    how = cv2.WARP_INVERSE_MAP
    inside = cv2.warpAffine(np.ones_like(b), warp, (SIDE, SIDE), flags=cv2.INTER_NEAREST | how) > 0
    if inside.mean() < 2 / 3:
        return 0.0
    over = cv2.warpAffine(b, warp, (SIDE, SIDE), flags=cv2.INTER_LINEAR | how, borderMode=cv2.BORDER_REPLICATE)
    p, q = (_details(np.asarray(values, np.float32), 4)[inside].astype(np.float64) for values in (a, over))
    p, q = p - p.mean(), q - q.mean()
    if min(p.std(), q.std()) < MIN_DETAIL:
        return 0.0
    return float((p * q).mean() / (p.std() * q.std()))


def _details(grey: NDArray[np.float32], coarsest: float) -> NDArray[np.float32]:
    """Grey levels without their coarsest parts, in which unrelated pictures agree, and their finest: noise."""
    return np.subtract(cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.GaussianBlur(grey, (0, 0), coarsest), dtype=np.float32)


def _evened(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    details = _details(grey, 8)
    return np.divide(details, np.sqrt(cv2.GaussianBlur(details * details, (0, 0), 8) + 4), dtype=np.float32)


def _matcher() -> str:
    return f"{MATCHER}-{codec_fingerprint()}"


def _record(found: Match) -> str:
    return json.dumps([found.score, found.scale, found.shift])


def _from_record(record: str) -> Match:
    score, scale, shift = json.loads(record)
    return Match(score, (scale[0], scale[1]), (shift[0], shift[1]))


# ---------------------------------------------------------------------------------------------------------------------
# What follows


def assign(scenes: Sequence[Scene], links: Iterable[Link]) -> Leaks:
    """What follows from `links`: which scenes go to another side, and which are left out. Pure; any order will do.

    The scenes that links join are a cluster. Its side is test if any of them is in test, else val if any is in val,
    else train: so one more scene can move a cluster from train to val to test and never back, and a cluster always ends
    on one side of the split. Of the members that are elsewhere,

    - one whose split was drawn moves to that side, if only drawn members hold the cluster there;
    - every other one is left out: where a [[sources]] table names the split of a member on that side, it may be a
      published test set, and whatever joined it would make its figures incomparable; and a member whose own table
      names its split must not be anywhere else.

    Members on that side all stay, also where two test sets share a photograph: both sets stay as published, and the
    report says so. Raises ValueError where two scenes have equal contents, or a link's scene is not among them.
    """
    by_content = {scene.content: scene for scene in scenes}
    if len(by_content) != len(scenes):
        raise ValueError("two scenes have equal contents; give each clean image once")
    links = sorted(links, key=lambda link: (link.first, link.second))
    clusters: list[Cluster] = []
    moved: dict[str, tuple[str, str, str]] = {}
    left_out: dict[str, str] = {}
    for members in _clusters(by_content, links):
        side = max((scene.split for scene in members), key=SPLITS.index)
        holder = min((s for s in members if s.split == side), key=lambda s: (not s.named, s.name, s.content))
        clusters.append(Cluster(tuple(scene.content for scene in members), side, holder.content))
        for scene in members:
            if scene.split == side:
                continue
            if scene.named or holder.named:
                left_out[scene.content] = _reason(scene, holder)
            else:
                moved[scene.content] = (scene.split, side, holder.name)
    names = {c: by_content[c].name for cluster in clusters for c in cluster.members}
    shared = _shared([[by_content[c] for c in cluster.members] for cluster in clusters])
    return Leaks(len(scenes), names, tuple(links), tuple(clusters), moved, left_out, shared)


def _reason(scene: Scene, holder: Scene) -> str:
    what = f"shows the same photograph as {holder.name} of {holder.set}, which is in {holder.split}"
    if holder.named:
        return f"{what}; that set is kept as it is, and no other side may show what it shows"
    return f"{what}; its own source is named for {scene.split}, so it goes nowhere else"


def _clusters(scenes: Mapping[str, Scene], links: Sequence[Link]) -> list[list[Scene]]:
    """Scenes that links join, two or more each; clusters and members in the order of contents."""
    contents = sorted({content for link in links for content in (link.first, link.second)})
    unknown = [content for content in contents if content not in scenes]
    if unknown:
        raise ValueError(f"a link names a scene that is not there: {unknown[0]}")
    place = {content: i for i, content in enumerate(contents)}
    joined = _Joined(len(contents))
    for link in links:
        joined.join(place[link.first], place[link.second])
    groups: dict[int, list[Scene]] = defaultdict(list)
    for content in contents:
        groups[joined.root(place[content])].append(scenes[content])
    return sorted((g for g in groups.values() if len(g) > 1), key=lambda group: group[0].content)


def _shared(clusters: Iterable[Sequence[Scene]]) -> tuple[Shared, ...]:
    """Which sets show the same photographs, by set and split as they were before anything moved."""
    found: dict[tuple[tuple[str, str], tuple[str, str]], list[tuple[str, str]]] = defaultdict(list)
    for cluster in clusters:
        first: dict[tuple[str, str], str] = {}
        for scene in cluster:
            group = (scene.set, scene.split)
            first[group] = min(first.get(group, scene.name), scene.name)
        groups = sorted(first)
        for i, one in enumerate(groups):
            for other in groups[i + 1 :]:
                found[one, other].append((first[one], first[other]))
    return tuple(
        Shared(*one, *other, len(names), tuple(sorted(names)[:EXAMPLES]))
        for (one, other), names in sorted(found.items())
    )


class _Joined:
    """Which of `count` things are joined, directly or by way of others."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def root(self, i: int) -> int:
        """The least of all that `i` is joined to."""
        while self._above[i] != i:
            self._above[i] = self._above[self._above[i]]
            i = self._above[i]
        return i

    def join(self, i: int, j: int) -> bool:
        """Join two; False if they were joined already."""
        i, j = sorted((self.root(i), self.root(j)))
        self._above[j] = i
        return i != j


def _counted(count: int) -> str:
    return f"{count} photograph{'' if count == 1 else 's'}"
