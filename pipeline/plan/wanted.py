"""What a recipe wants of its sources: samples and shards, with their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from patina.pipeline.codec.fingerprint import extra_fingerprint
from patina.pipeline.format.earlier import stored_as
from patina.pipeline.format.layout import sample_key, shard_name
from patina.pipeline.hashing import bucket_of, canonical_json
from patina.pipeline.plan.stored_files import encoded_otherwise, group_of, has_every_map
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.recovered import RECOVERIES
from patina.pipeline.scan.source import Source
from patina.synth.compose import JOINT
from patina.synth.figures import VERSION as FIGURING
from patina.synth.rng import sample_seed
from patina.synth.severity import VERSION as MEASURE
from patina.synth.words import VERSION as WORDING

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Place: TypeAlias = tuple[str, str, int]
"""Split, entry and bucket."""

PIXELS = 2
"""Version of what decides a sample's images, beside degradation and codecs. The stored format's own version is no part
of it, so that images of an earlier one are copied."""


@dataclass(frozen=True)
class AssignedCaption:
    """The caption of a source: its text and the captioner that made it, `name@version`. `more`: further ones, which the
    second, third, … variant of a sample has."""

    text: str
    captioner: str
    more: tuple[str, ...] = ()

    def of(self, variant: int) -> AssignedCaption:
        """The one caption of a variant."""
        texts = (self.text, *self.more)
        return AssignedCaption(texts[variant % len(texts)], self.captioner) if self.more else self

    @property
    def wording(self) -> bytes:
        """What of it decides a sample's fingerprint, with the versions of what else KEY.json tells of images."""
        return f"{WORDING}.{FIGURING}\0{self.captioner}\0{self.text}".encode()


EVERY_MAP = b"\0every map"
"""What the fingerprints tell of samples that have every truth map."""


def _fingerprint(pixels: str, told: bytes) -> str:
    return stored_as(hashlib.sha256(pixels.encode() + told).hexdigest()[:32])


def is_told_as_now(fact: Mapping[str, Any]) -> bool:
    """Whether a KEY.json of this version of the stored format has the words and papers' figures that its sample would
    get now: by its fingerprint, which their versions are part of."""
    wording = AssignedCaption(fact["caption"], fact["captioner"]).wording
    return fact["fingerprint"] in (_fingerprint(fact["pixels"], wording + more) for more in (b"", EVERY_MAP))


@dataclass(frozen=True)
class WantedSample:
    """One sample that shall exist. `pixels` is the digest of all that decides its images, `fingerprint` of all of it.

    entry  the recipe's name for the degradation, which names its shards; label is what the sample is called, and
           degradations are those that it underwent, in order. All three agree unless a recipe says otherwise.
    tile   (x, y, width, height) in pixels of the source.
    every_map  whether it has also those truth maps that cannot be recovered of each pair.
    """

    key: str
    source: Source
    entry: str
    label: str
    degradations: tuple[str, ...]
    variant: int
    tile: tuple[int, int, int, int]
    seed: str
    caption: AssignedCaption
    pixels: str
    fingerprint: str
    every_map: bool = False


class SampleId(NamedTuple):
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
    group: str = ""

    @property
    def name(self) -> str:
        """File name below `shards/`."""
        return shard_name(self.split, self.degradation, self.bucket, self.group)

    @property
    def place(self) -> Place:
        """What it shares with shards whose samples have other members: those may change places."""
        return self.split, self.degradation, self.bucket


@dataclass(frozen=True)
class Wanted:
    """The dataset that recipe, sources, captions and codecs call for."""

    recipe: Recipe
    codec: str
    captions: Mapping[str, AssignedCaption | None] = field(repr=False)
    sources: tuple[Source, ...] = field(repr=False)

    @property
    def _shared(self) -> dict[str, Any]:
        """What every sample's pixels and measures depend on beside its degradation."""
        return {"schema": PIXELS, "codec": self.codec, "severity": MEASURE}

    @cached_property
    def identities(self) -> dict[str, dict[str, Any]]:
        """For each degradation, all that its samples' fingerprints share."""
        shared = self._shared
        pairs = {source.degradation for source in self.sources if source.is_pair}
        made = {
            entry: {
                **shared,
                "seed": self.recipe.seed,
                **synthesis.identity(),
            }
            for entry, synthesis in self.recipe.degradations.items()
        }
        for entry in sorted(pairs):
            made.setdefault(entry, {**shared, "recovery": RECOVERIES.get(entry, 1)})
        return dict(sorted(made.items()))

    @cached_property
    def _prefixes(self) -> dict[tuple[str, bool], Hash]:
        """SHA-256 of what the samples of a degradation share, made and paired, to go on from."""
        prefixes = {(entry, False): canonical_json([entry, body]).encode() for entry, body in self.identities.items()}
        pairs = {entry: {**self._shared, "recovery": RECOVERIES.get(entry, 1)} for entry in self.identities}
        prefixes |= {(entry, True): canonical_json(["pair", entry, body]).encode() for entry, body in pairs.items()}
        return {key: hashlib.sha256(prefix) for key, prefix in prefixes.items()}

    def sample_ids(self, source: Source, degradation: str) -> Iterator[SampleId]:
        """The marks of one source's samples under one degradation, in key order."""
        synthesis = None if source.is_pair else self.recipe.degradations[degradation]
        shared = self._prefixes[degradation, source.is_pair]
        caption = self.captions[source.digest] or AssignedCaption("", "")
        variants = range(synthesis.variants_in(source.split) if synthesis else 1)
        wordings = [caption.of(variant).wording for variant in (variants if caption.more else (0,))]
        told = f"\0{canonical_json(source.params)}" if source.params else ""
        told += "".join(f"\0{format} {extra_fingerprint(format)}" for format in source.extras)
        told += encoded_otherwise(self.recipe, source, degradation)
        complete = EVERY_MAP if has_every_map(self.recipe, source) else b""
        if synthesis and (looked_up := synthesis.degradation.side_input_digest(source.names[0])):
            told += f"\0{looked_up}"
        for tile in self.recipe.cut(source.info.width, source.info.height):
            place = tile[:2] if self.recipe.tiles else None
            for variant in variants:
                whole = shared.copy()
                whole.update(f"{source.digest}\0{tile}\0{variant}{told}".encode())
                pixels = whole.hexdigest()[:32]
                key = sample_key(source.digest, degradation, place, variant)
                wording = wordings[variant % len(wordings)]
                yield SampleId(key, tile, variant, pixels, _fingerprint(pixels, wording + complete))

    def samples(self, source: Source, degradation: str) -> Iterator[WantedSample]:
        """The samples of one source under one degradation, in key order."""
        synthesis = None if source.is_pair else self.recipe.degradations[degradation]
        caption = self.captions[source.digest] or AssignedCaption("", "")
        for key, tile, variant, pixels, fingerprint in self.sample_ids(source, degradation):
            yield WantedSample(
                key=key,
                source=source,
                entry=degradation,
                label=synthesis.label if synthesis else degradation,
                degradations=synthesis.degradations if synthesis else tuple(degradation.split(JOINT)),
                variant=variant,
                tile=tile,
                seed=sample_seed(self.recipe.seed, source.digest, degradation, variant, tile) if synthesis else "",
                caption=caption.of(variant),
                pixels=pixels,
                fingerprint=fingerprint,
                every_map=has_every_map(self.recipe, source),
            )

    @cached_property
    def shards(self) -> tuple[WantedShard, ...]:
        """Every shard, by name."""
        groups: dict[tuple[str, str, int, str], list[Source]] = {}
        for source in self.sources:
            bucket = bucket_of(source.digest, self.recipe.buckets[source.split])
            entries = source.entries or tuple(self.recipe.degradations)
            for entry in (source.degradation,) if source.is_pair else entries:
                group = group_of(self.recipe, source, entry)
                groups.setdefault((source.split, entry, bucket, group), []).append(source)
        made = (self._shard(*group, tuple(groups[group])) for group in groups)
        return tuple(sorted(made, key=lambda shard: shard.name))

    def _shard(self, split: str, entry: str, bucket: int, group: str, sources: tuple[Source, ...]) -> WantedShard:
        digest = hashlib.sha256()
        count = pixels = uncaptioned = 0
        for source in sources:
            for key, tile, _, _, fingerprint in self.sample_ids(source, entry):
                digest.update(f"{key} {fingerprint}\n".encode())
                count += 1
                pixels += tile[2] * tile[3]
            uncaptioned += self.captions[source.digest] is None
        fingerprint = "" if uncaptioned else digest.hexdigest()
        return WantedShard(split, entry, bucket, fingerprint, count, pixels, uncaptioned, sources, group)
