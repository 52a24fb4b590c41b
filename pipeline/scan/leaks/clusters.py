"""Links become clusters, and clusters get a side of the split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.scan.leaks.types import EXAMPLES, Cluster, Leaks, Link, Scene, Shared


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
    joined = DisjointSets(len(contents))
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


class DisjointSets:
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
