"""Scenes, links between them, and what was found in all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from patina.synth.image import Image

MATCHER = 3
"""Raised when pictures are compared in another way, so that all verdicts are made anew."""

LINKS = 2
"""Raised when other pictures are linked than before: manifests tell it, so that they are told anew then. Matchers 2 and
3 link the same ones (benchmarks/leaks.md)."""

SAME = 0.7
"""Correlation of two registered pictures' details from which they show the same photograph: copies have 0.9 or more,
unrelated photographs 0.3 at most."""

LARGE = 50
"""Photographs in one cluster from which it is reported: a video, or links that should not be."""

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
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
            "matcher": LINKS,
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

    def lines(self, *, fixed: bool = True) -> list[str]:
        """Sentences for the terminal and the dataset's card; none if there is nothing to say.

        `fixed`: whether what follows was done, or is only told.
        """
        lines = []
        moved, left_out = ("moved", "left out") if fixed else ("to be moved", "to be left out")
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


def _counted(count: int) -> str:
    return f"{count} photograph{'' if count == 1 else 's'}"
