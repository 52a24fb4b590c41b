"""The plan: the dataset that is wanted against the one that is built. One pure function, and the words for it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from patina.pipeline.manifest import Manifest, SampleRow, ShardEntry, shard_name
from patina.pipeline.recipe import Recipe, bucket_of, canonical_json
from patina.pipeline.recovered import RECOVERY
from patina.pipeline.source import Source
from patina.synth.compose import JOINT
from patina.synth.rng import sample_seed
from patina.synth.severity import VERSION as MEASURE
from patina.synth.words import VERSION as WORDING

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

SCHEMA = 2
"""Version of a stored sample's layout (members and KEY.json). Part of every fingerprint."""

# Seconds of one core and bytes for each megapixel, until a build has measured its own: see benchmarks/.
FIRST_RATES = {"noisy": (0.02, 4.0e6), "jpeg-compressed": (0.015, 0.6e6), "uncompleted": (0.03, 2.2e6)}
OTHER_RATE = (0.04, 3.0e6)
COPY_SECONDS_PER_BYTE = 2.5e-9
SMALL_SHARD, LARGE_SHARD = 4 << 20, 2 << 30


@dataclass(frozen=True)
class Worded:
    """The caption of a source: its text and the captioner that made it, `name@version`."""

    text: str
    captioner: str


@dataclass(frozen=True)
class WantedSample:
    """One sample that shall exist. `pixels` is the digest of all that decides its images, `fingerprint` of all of it.

    entry  the recipe's name for the degradation, which names its shards; label is what the sample is called, and words
           are the degradations that it underwent, in order. All three agree unless a recipe says otherwise.
    tile   (x, y, width, height) in pixels of the source.
    """

    key: str
    source: Source
    entry: str
    label: str
    words: tuple[str, ...]
    variant: int
    tile: tuple[int, int, int, int]
    seed: str
    caption: Worded
    pixels: str
    fingerprint: str


class Mark(NamedTuple):
    """What tells a wanted sample from all others, as WantedSample has it: enough to plan by."""

    key: str
    tile: tuple[int, int, int, int]
    variant: int
    pixels: str
    fingerprint: str


@dataclass(frozen=True)
class WantedShard:
    """One shard that shall exist. Its fingerprint is empty while a caption is still to be made."""

    split: str
    degradation: str
    bucket: int
    fingerprint: str
    count: int
    pixels: int
    uncaptioned: int
    sources: tuple[Source, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """File name below `shards/`."""
        return shard_name(self.split, self.degradation, self.bucket)


@dataclass(frozen=True)
class Wanted:
    """The dataset that recipe, sources, captions and codecs call for."""

    recipe: Recipe
    codec: str
    captions: Mapping[str, Worded | None] = field(repr=False)
    sources: tuple[Source, ...] = field(repr=False)

    @property
    def _shared(self) -> dict[str, Any]:
        """What every sample's pixels and measures depend on beside its degradation."""
        return {"schema": SCHEMA, "codec": self.codec, "severity": MEASURE}

    @cached_property
    def identities(self) -> dict[str, dict[str, Any]]:
        """For each degradation, all that its samples' fingerprints share."""
        shared = self._shared
        pairs = {source.degradation for source in self.sources if source.is_pair}
        made = {
            word: {
                **shared,
                "seed": self.recipe.seed,
                **synthesis.identity(),
            }
            for word, synthesis in self.recipe.degradations.items()
        }
        for word in sorted(pairs):
            made.setdefault(word, {**shared, "recovery": RECOVERY})
        return dict(sorted(made.items()))

    @cached_property
    def _prefixes(self) -> dict[tuple[str, bool], Hash]:
        """SHA-256 of what the samples of a degradation share, made and paired, to go on from."""
        prefixes = {(w, False): canonical_json([w, body]).encode() for w, body in self.identities.items()}
        pair = {**self._shared, "recovery": RECOVERY}
        prefixes |= {(w, True): canonical_json(["pair", w, pair]).encode() for w in self.identities}
        return {key: hashlib.sha256(prefix) for key, prefix in prefixes.items()}

    def marks(self, source: Source, degradation: str) -> Iterator[Mark]:
        """The marks of one source's samples under one degradation, in key order."""
        synthesis = None if source.is_pair else self.recipe.degradations[degradation]
        shared = self._prefixes[degradation, source.is_pair]
        caption = self.captions[source.digest] or Worded("", "")
        wording = f"{WORDING}\0{caption.captioner}\0{caption.text}".encode()
        told = f"\0{canonical_json(source.params)}" if source.params else ""
        if synthesis and (looked_up := synthesis.degradation.looks_up(source.names[0])):
            told += f"\0{looked_up}"
        for tile in self.recipe.cut(source.looks.width, source.looks.height):
            place = f"-y{tile[1]:05d}x{tile[0]:05d}" if self.recipe.tiles else ""
            for variant in range(synthesis.variants if synthesis else 1):
                whole = shared.copy()
                whole.update(f"{source.digest}\0{tile}\0{variant}{told}".encode())
                pixels = whole.hexdigest()[:32]
                key = source.digest[:16] + place + (f"-v{variant:03d}" if variant else "")
                fingerprint = hashlib.sha256(pixels.encode() + wording).hexdigest()[:32]
                yield Mark(key, tile, variant, pixels, fingerprint)

    def samples(self, source: Source, degradation: str) -> Iterator[WantedSample]:
        """The samples of one source under one degradation, in key order."""
        synthesis = None if source.is_pair else self.recipe.degradations[degradation]
        caption = self.captions[source.digest] or Worded("", "")
        for key, tile, variant, pixels, fingerprint in self.marks(source, degradation):
            yield WantedSample(
                key=key,
                source=source,
                entry=degradation,
                label=synthesis.label if synthesis else degradation,
                words=synthesis.words if synthesis else tuple(degradation.split(JOINT)),
                variant=variant,
                tile=tile,
                seed=sample_seed(self.recipe.seed, source.digest, degradation, variant, tile) if synthesis else "",
                caption=caption,
                pixels=pixels,
                fingerprint=fingerprint,
            )

    @cached_property
    def shards(self) -> tuple[WantedShard, ...]:
        """Every shard, by name."""
        groups: dict[tuple[str, str, int], list[Source]] = {}
        for source in self.sources:
            bucket = bucket_of(source.digest, self.recipe.buckets[source.split])
            entries = source.entries or tuple(self.recipe.degradations)
            for word in (source.degradation,) if source.is_pair else entries:
                groups.setdefault((source.split, word, bucket), []).append(source)
        return tuple(self._shard(*group, tuple(groups[group])) for group in sorted(groups))

    def _shard(self, split: str, word: str, bucket: int, sources: tuple[Source, ...]) -> WantedShard:
        digest = hashlib.sha256()
        count = pixels = uncaptioned = 0
        for source in sources:
            for key, tile, _, _, fingerprint in self.marks(source, word):
                digest.update(f"{key} {fingerprint}\n".encode())
                count += 1
                pixels += tile[2] * tile[3]
            uncaptioned += self.captions[source.digest] is None
        fingerprint = "" if uncaptioned else digest.hexdigest()
        return WantedShard(split, word, bucket, fingerprint, count, pixels, uncaptioned, sources)


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
    """

    build: tuple[Step, ...]
    keep: tuple[ShardEntry, ...]
    drop: tuple[tuple[ShardEntry, str], ...]
    relabel: bool
    captions: int
    bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.build or self.drop or self.relabel)

    def summary(self, workers: int = 1) -> str:
        """The plan in one sentence, with its cost on `workers` cores."""
        if self.is_empty:
            return f"nothing to do: {len(self.keep)} shards are up to date"
        kinds = Counter(step.kind for step in self.build)
        parts = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda k: (-k[1], k[0]))]
        shards = f"{len(self.build)} shard{'s' * (len(self.build) != 1)} to build"
        sentence = f"{shards}: {', '.join(parts)}" if parts else "no shard to build"
        clauses = [sentence, f"{len(self.keep)} kept"]
        if self.drop:
            clauses.append(f"{len(self.drop)} dropped")
        if self.captions:
            clauses.append(f"{self.captions} captions to make")
        if self.relabel and not self.build and not self.drop:
            clauses.append("names or facts of sources changed, so the manifest is rewritten")
        if self.build:
            cores = f"{workers} core{'s' * (workers != 1)}"
            clauses.append(f"about {human_bytes(self.bytes)} and {human_seconds(self.seconds / workers)} on {cores}")
        return "; ".join(clauses)


def make_plan(
    wanted: Wanted,
    built: Manifest | None,
    damage: Mapping[str, str],
    rows_of: Callable[[Sequence[str]], Sequence[SampleRow]],
    *,
    sources_digest: str = "",
    rates: Mapping[str, tuple[float, float]] | None = None,
) -> BuildPlan:
    """Compare what is wanted with what is built. Opens no image and no shard.

    damage   shards that are not as the manifest says, by name, with what is wrong; they are built anew.
    rows_of  rows of samples.parquet for shards by name; asked once, for the stale ones.
    rates    (seconds, bytes) per megapixel and degradation, from an earlier build.
    """
    have = {entry.name: entry for entry in built.shards} if built else {}
    stale, keep = [], []
    for shard in wanted.shards:
        entry = have.get(shard.name)
        if entry and shard.fingerprint == entry.fingerprint and shard.name not in damage:
            keep.append(entry)
        else:
            stale.append(shard)
    names = {shard.name for shard in wanted.shards}
    drop = tuple((e, _why_dropped(e, wanted)) for name, e in sorted(have.items()) if name not in names)

    searched = reusable_shards(wanted.recipe, built, stale)
    old: dict[str, dict[str, tuple[str, str]]] = {}
    reusable: set[str] = set()
    for row in rows_of(searched) if searched else ():
        old.setdefault(row.shard, {})[row.key] = (row.fingerprint, row.pixels)
        if row.shard not in damage:
            reusable |= {f"{row.key} {row.fingerprint}", row.pixels}

    steps = []
    seconds = size = 0.0
    for shard in stale:
        step = _step(shard, wanted, built, have, damage, old.get(shard.name, {}), reusable)
        per_second, per_byte = {**FIRST_RATES, **(rates or {})}.get(shard.degradation, OTHER_RATE)
        megapixels = shard.pixels / 1e6
        size += megapixels * per_byte
        share = step.synthesised / max(shard.count, 1)
        seconds += megapixels * per_second * share + megapixels * per_byte * (1 - share) * COPY_SECONDS_PER_BYTE
        steps.append(step)
    uncaptioned = sum(wanted.captions[s.digest] is None for s in wanted.sources)
    relabel = built is None or ((built.sources_digest, built.recipe_digest) != (sources_digest, wanted.recipe.digest))
    return BuildPlan(tuple(steps), tuple(keep), drop, relabel, uncaptioned, int(size), seconds, _size_warnings(wanted))


def reusable_shards(recipe: Recipe, built: Manifest | None, stale: Sequence[WantedShard]) -> list[str]:
    """Names of the built shards where samples of the `stale` ones may lie: their former selves; or any shard, if
    buckets or splits changed, since then samples move."""
    if built is None or not stale:
        return []
    moved = any(built.recipe[part] != recipe.table[part] for part in ("buckets", "split"))
    names = {shard.name for shard in stale}
    return [entry.name for entry in built.shards if moved or entry.name in names]


def _step(
    shard: WantedShard,
    wanted: Wanted,
    built: Manifest | None,
    have: Mapping[str, ShardEntry],
    damage: Mapping[str, str],
    old: Mapping[str, tuple[str, str]],
    reusable: set[str],
) -> Step:
    counts: Counter[str] = Counter()
    keys = set()
    synthesised = captioned = copied = 0
    for source in shard.sources:
        unknown = wanted.captions[source.digest] is None
        for sample in wanted.marks(source, shard.degradation):
            keys.add(sample.key)
            fingerprint, pixels = old.get(sample.key, ("", ""))
            if sample.key not in old:
                counts["added"] += 1
            elif pixels != sample.pixels:
                counts["changed"] += 1
            elif unknown or fingerprint != sample.fingerprint:
                counts["captioned anew"] += 1
            if not unknown and f"{sample.key} {sample.fingerprint}" in reusable:
                copied += 1
            elif sample.pixels in reusable:
                captioned += 1
            else:
                synthesised += 1
    counts["removed"] = len(set(old) - keys)
    entry = have.get(shard.name)
    if entry is None:
        kind, reason = "added", f"new: {shard.count} sample{'s' * (shard.count != 1)}"
    elif shard.name in damage:
        kind, reason = "damaged", damage[shard.name]
    else:
        words = [f"{n} sample{'s' * (n != 1)} {what}" for what, n in sorted(counts.items()) if n]
        why = _why_changed(shard.degradation, wanted, built) if counts["changed"] else ""
        kind = why or "changed"
        reason = ", ".join(words) or "its order or layout changed"
    return Step(shard, kind, reason, synthesised, captioned, copied)


CAUSES = {
    "schema": "the stored layout changed",
    "codec": "the installed codecs changed",
    "severity": "severity is measured in another way",
    "recovery": "what can be recovered of a pair is found in another way",
    "seed": "the seed changed",
}
"""Why all samples of a degradation may be stale, by the key of its identity that tells."""


def _why_changed(word: str, wanted: Wanted, built: Manifest | None) -> str:
    """The one cause that all samples of a degradation share, in words; empty if only single sources changed."""
    was = dict(built.identities.get(word, {})) if built else {}
    now = json.loads(json.dumps(wanted.identities[word]))  # as the manifest keeps it: lists for tuples
    if not was or was == now:
        return ""
    for key, cause in CAUSES.items():
        if was.get(key) != now.get(key):
            return f"because {cause}"
    if was.get("version") != now.get("version"):
        return f"because {word} is now version {now.get('version')}"
    return f"because {word} changed ({', '.join(_differences(was.get('settings'), now.get('settings')))})"


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two settings, in words: `sigma 50 → 10..30`; of a composite's, by part."""
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict) and "min" not in (old | new):
        parts = [_differences(old.get(k), new.get(k), f"{name} {k}".lstrip()) for k in sorted(old | new)]
        return [words for part in parts for words in part]
    return [f"{name} {_spelt(old)} → {_spelt(new)}".lstrip()]


def _spelt(value: Any) -> str:
    if isinstance(value, dict) and value.keys() == {"min", "max"}:
        return f"{value['min']}..{value['max']}"
    return str(value)


def _why_dropped(entry: ShardEntry, wanted: Wanted) -> str:
    if entry.degradation not in wanted.identities:
        return f"{entry.degradation} is no longer in the recipe"
    if entry.bucket >= wanted.recipe.buckets[entry.split]:
        return f"the recipe has {wanted.recipe.buckets[entry.split]} buckets for {entry.split} now"
    return "no source falls into it any more"


def _size_warnings(wanted: Wanted) -> tuple[str, ...]:
    """What to set `buckets` to where shards would be too small to stream well or too large to rebuild cheaply."""
    warnings = []
    for split in dict.fromkeys(shard.split for shard in wanted.shards):
        shards = [s for s in wanted.shards if s.split == split]
        per_word: Counter[str] = Counter()
        for shard in shards:
            per_byte = FIRST_RATES.get(shard.degradation, OTHER_RATE)[1]
            per_word[shard.degradation] += int(shard.pixels / 1e6 * per_byte)
        largest = max(per_word.values())
        buckets = wanted.recipe.buckets[split]
        if largest / buckets > LARGE_SHARD:
            better = -(-largest // (512 << 20))
            warnings.append(
                f"shards of {split} would hold {human_bytes(largest // buckets)}; set buckets.{split} = {better}"
            )
        elif buckets > 16 and largest / buckets < SMALL_SHARD:
            better = max(1, largest // (64 << 20))
            warnings.append(
                f"shards of {split} would hold {human_bytes(largest // buckets)} at the most; buckets.{split} = "
                f"{better} reads faster"
            )
    return tuple(warnings)


def human_bytes(count: float) -> str:
    """Bytes in decimal units: 3.1 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Seconds for people: under 1 s, 41 s, 12 min, 3.5 h."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
