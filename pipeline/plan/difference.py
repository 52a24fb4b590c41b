"""The plan: the dataset that is wanted against the one that is built. One pure function, and the words for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from patina.pipeline.format.layout import SCHEMA
from patina.pipeline.format.manifest import Manifest, SampleRow, ShardEntry
from patina.pipeline.format.rows import name_now, row_now
from patina.pipeline.plan.cost import (
    BYTES_PER_MEGAPIXEL,
    HELD,
    SECONDS_PER_MEGAPIXEL,
    cost_of,
)
from patina.pipeline.plan.reasons import why_changed, why_dropped
from patina.pipeline.plan.wanted import ROWS, AssignedCaption, Place, SampleId, Wanted, WantedShard
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.text import counted, human_bytes, human_seconds


@dataclass(frozen=True)
class Step:
    """One shard to build: why, and how many of its samples are synthesised, newly captioned and copied."""

    shard: WantedShard
    kind: str
    reason: str
    synthesised: int
    captioned: int
    copied: int


@dataclass(frozen=True)
class BuildPlan:
    """The difference between what is wanted and what is built.

    build  a step for each shard to write. keep: shards that stay as they are. drop: (shard, reason) to remove.
    relabel  whether names, licences or other facts outside the shards changed, so that the manifest must be rewritten.
    captions  how many captions a model has yet to make.
    changes   changes of the recipe that move samples between shards, in words.
    """

    build: tuple[Step, ...]
    keep: tuple[ShardEntry, ...]
    drop: tuple[tuple[ShardEntry, str], ...]
    relabel: bool
    captions: int
    bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.build or self.drop or self.relabel)

    def summary(self, workers: int = 1) -> str:
        """The plan in one sentence, with its cost on `workers` cores."""
        if self.is_empty:
            one = len(self.keep) == 1
            return f"nothing to do: {counted(len(self.keep), 'shard')} {'is' if one else 'are'} up to date"
        kinds = Counter(step.kind for step in self.build)
        parts = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda k: (-k[1], k[0]))]
        shards = f"{len(self.build)} shard{'s' * (len(self.build) != 1)} to build"
        sentence = f"{shards}: {', '.join(parts)}" if parts else "no shard to build"
        clauses = [sentence, *self.changes, f"{len(self.keep)} kept"]
        if self.drop:
            clauses.append(f"{len(self.drop)} dropped")
        if self.captions:
            clauses.append(f"{counted(self.captions, 'caption')} to make")
        if self.relabel and not self.build and not self.drop:
            clauses.append("names or facts of sources changed, so the manifest is rewritten")
        if self.build:
            cores = f"{workers} core{'s' * (workers != 1)}"
            seconds = self.seconds * (HELD + (1 - HELD) / workers)
            clauses.append(f"about {human_bytes(self.bytes)} and {human_seconds(seconds)} on {cores}")
        return "; ".join(clauses)


def make_plan(
    wanted: Wanted,
    built: Manifest | None,
    damage: Mapping[str, str],
    rows_of: Callable[[Sequence[str]], Sequence[SampleRow]],
    *,
    sources_digest: str = "",
) -> BuildPlan:
    """Compare what is wanted with what is built. Opens no image and no shard, so its bytes and seconds are rough;
    `patina.pipeline.builder.estimate` makes samples on trial.

    damage   shards that are not as the manifest says, by name, with what is wrong; they are built anew.
    rows_of  rows of samples.parquet for shards by name; asked once, for the stale ones.
    """
    have = {name_now(shard): shard for shard in built.shards} if built else {}
    now = {shard.name: name for name, shard in have.items()}
    places = {shard.name: (shard.split, shard.degradation, shard.bucket) for shard in have.values()}
    stale, keep = [], []
    for shard in wanted.shards:
        existing = have.get(shard.name)
        if existing and existing.name not in damage and _is_current(shard, existing, wanted):
            keep.append(replace(existing, fingerprint=shard.fingerprint))
        else:
            stale.append(shard)
    names = {shard.name for shard in wanted.shards}
    drop = tuple((e, why_dropped(e, wanted)) for name, e in sorted(have.items()) if name not in names)

    searched = reusable_shards(wanted.recipe, built, stale)
    old: dict[Place, dict[str, _Old]] = {}
    reusable: set[str] = set()
    for row in map(row_now, rows_of(searched) if searched else ()):
        old.setdefault(places[row.shard], {})[row.key] = _Old(row.fingerprint, row.pixels, row.caption, now[row.shard])
        if row.shard not in damage:
            reusable |= {f"{row.key} {row.fingerprint}", row.pixels}

    steps = [_step(shard, wanted, built, have, damage, old.get(shard.place, {}), reusable) for shard in stale]
    cost = cost_of(
        wanted,
        steps,
        keep,
        lambda step: step.shard.pixels / 1e6 * BYTES_PER_MEGAPIXEL,
        lambda step: step.shard.pixels / 1e6 * SECONDS_PER_MEGAPIXEL,
    )
    uncaptioned = int(wanted.columns.uncaptioned.sum())
    relabel = built is None or ((built.sources_digest, built.recipe_digest) != (sources_digest, wanted.recipe.digest))
    return BuildPlan(tuple(steps), tuple(keep), drop, relabel, uncaptioned, cost.bytes, cost.seconds, cost.warnings)


def _is_current(shard: WantedShard, existing: ShardEntry, wanted: Wanted) -> bool:
    """Whether a shard that is built is what it shall be."""
    if shard.fingerprint == existing.fingerprint:
        return bool(shard.fingerprint)
    is_former = existing.schema == SCHEMA and not existing.fingerprint.startswith(ROWS)
    return is_former and not shard.uncaptioned and wanted.fingerprint_before(shard) == existing.fingerprint


def reusable_shards(recipe: Recipe, built: Manifest | None, stale: Sequence[WantedShard]) -> list[str]:
    """Names of the built shards where samples of the `stale` ones may lie: their former selves; or any shard, if
    buckets or splits changed, since then samples move."""
    if built is None or not stale:
        return []
    moved = any(built.recipe[part] != recipe.table[part] for part in ("buckets", "split"))
    places = {shard.place for shard in stale}
    return [s.name for s in built.shards if moved or (s.split, s.degradation, s.bucket) in places]


class _Old(NamedTuple):
    """A sample that is built: what it was made of, and what its shard is called now."""

    fingerprint: str
    pixels: str
    caption: str
    shard: str


def _step(
    shard: WantedShard,
    wanted: Wanted,
    built: Manifest | None,
    have: Mapping[str, ShardEntry],
    damage: Mapping[str, str],
    old: Mapping[str, _Old],
    reusable: set[str],
) -> Step:
    counts: Counter[str] = Counter()
    keys = set()
    synthesised = captioned = copied = 0
    if not old and not reusable:  # nothing to compare its samples with, so they need no fingerprints
        counts["added"] = synthesised = shard.count
    for source in shard.sources if old or reusable else ():
        caption = wanted.captions[source.digest]
        unknown = caption is None
        for sample in wanted.sample_ids(source, shard.degradation):
            keys.add(sample.key)
            if change := _change(old.get(sample.key), sample, caption, shard.name):
                counts[change] += 1
            if not unknown and f"{sample.key} {sample.fingerprint}" in reusable:
                copied += 1
            elif sample.pixels in reusable:
                captioned += 1
            else:
                synthesised += 1
    counts["removed"] = sum(before.shard == shard.name and key not in keys for key, before in old.items())
    existing = have.get(shard.name)
    former = [have[name] for name in {before.shard for key, before in old.items() if key in keys}]
    reformatted = any(one.schema != SCHEMA for one in ([existing] if existing else former))
    if existing is None and not reformatted:
        kind, reason = "added", f"new: {shard.count} sample{'s' * (shard.count != 1)}"
    elif existing and existing.name in damage:
        kind, reason = "damaged", damage[existing.name]
    else:
        if reformatted:  # shards are divided otherwise, which moves samples
            counts["no longer here"] = counts.pop("removed", 0)
            counts.pop("moved here", 0)
        changes = [f"{n} sample{'s' * (n != 1)} {what}" for what, n in sorted(counts.items()) if n]
        if reformatted:
            copies = ", images are copied" if not synthesised else ""
            changes = [f"the stored format changed{copies}", *changes]
        kind = (why_changed(shard.degradation, wanted, built) if counts["changed"] else "") or "changed"
        reason = ", ".join(changes) or "its order or layout changed"
    return Step(shard, kind, reason, synthesised, captioned, copied)


def _change(before: _Old | None, sample: SampleId, caption: AssignedCaption | None, shard: str) -> str:
    """What happened to a sample that `shard` shall hold, in words; "" for nothing. caption: None if it has none yet."""
    if before is None:
        return "added"
    if before.pixels != sample.pixels:
        return "changed"
    if caption is None or before.caption != caption.text:
        return "captioned anew"
    if before.fingerprint != sample.fingerprint:
        return "worded anew"
    return "" if before.shard == shard else "moved here"
