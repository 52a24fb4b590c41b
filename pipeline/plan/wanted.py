"""What a recipe wants of its sources: samples and shards, with their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from patina.pipeline.codec.installed import extra_fingerprint
from patina.pipeline.format.earlier import stored_as
from patina.pipeline.format.layout import sample_key, shard_name
from patina.pipeline.hashing import canonical_json
from patina.pipeline.plan.columns import ROW, Chosen, Columns, Run, columns_of, runs_of, wording
from patina.pipeline.plan.side_folders import reads_beside
from patina.pipeline.plan.stored_files import encoded_otherwise, group_of, has_every_map
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.recovered import RECOVERIES
from patina.pipeline.scan.source import Source
from patina.synth.compose import JOINT
from patina.synth.rng import sample_seed
from patina.synth.severity import VERSION as MEASURE

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Place: TypeAlias = tuple[str, str, int]
"""Split, entry and bucket."""

PIXELS = 2
"""Version of what decides a sample's images, beside degradation and codecs. The stored format's own version is no part
of it, so that images of an earlier one are copied."""


ROWS = "rows-"
"""How a shard's fingerprint begins that is of rows of columns; one without it is of an earlier release."""


def _every_map(recipe: Recipe, source: Source) -> bytes:
    return EVERY_MAP if has_every_map(recipe, source) else b""


@dataclass(frozen=True, slots=True)
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
        return wording(self.text, self.captioner)


EVERY_MAP = b"\0every map"
"""What the fingerprints tell of samples that have every truth map."""


def _fingerprint(pixels: str, told: bytes) -> str:
    return stored_as(hashlib.sha256(pixels.encode() + told).hexdigest()[:32])


def is_told_as_now(fact: Mapping[str, Any]) -> bool:
    """Whether a KEY.json of this version of the stored format has the words and papers' figures that its sample would
    get now: by its fingerprint, which their versions are part of."""
    told = wording(fact["caption"], fact["captioner"])
    return fact["fingerprint"] in (_fingerprint(fact["pixels"], told + more) for more in (b"", EVERY_MAP))


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
    """One shard that shall exist. Its fingerprint is empty while a caption is still to be made; two have the same one
    where their samples have the same keys and fingerprints."""

    split: str
    degradation: str
    bucket: int
    fingerprint: str
    count: int
    pixels: int
    uncaptioned: int
    sources: Chosen = field(repr=False, compare=False)
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
    sources: Sequence[Source] = field(repr=False)

    @property
    def _shared(self) -> dict[str, Any]:
        """What every sample's pixels and measures depend on beside its degradation."""
        return {"schema": PIXELS, "codec": self.codec, "severity": MEASURE}

    @cached_property
    def identities(self) -> dict[str, dict[str, Any]]:
        """For each degradation, all that its samples' fingerprints share."""
        shared = self._shared
        pairs = {source.degradation for source in self.columns.examples if source.is_pair}
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
        told = self._told(source, degradation)
        complete = _every_map(self.recipe, source)
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

    def _told(self, source: Source, entry: str) -> str:
        """What decides a sample's images beside its degradation, its source's bytes, its place and its variant."""
        told = f"\0{canonical_json(source.params)}" if source.params else ""
        told += "".join(f"\0{format} {extra_fingerprint(format)}" for format in source.extras)
        return told + encoded_otherwise(self.recipe, source, entry)

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
    def columns(self) -> Columns:
        """What decides the samples of each source, a row each."""
        return columns_of(self.sources, self.captions)

    @cached_property
    def shards(self) -> tuple[WantedShard, ...]:
        """Every shard, by name."""
        columns, found = self.columns, list[WantedShard]()
        if not columns.examples:
            return ()
        buckets = columns.buckets(self.recipe.buckets)
        runs: dict[bytes, list[Run]] = {}  # most degradations are of the same sources
        for entry in self.identities:
            names: dict[tuple[str, str], int] = {}
            groups = np.full(len(columns.examples), -1, np.int64)
            for kind, example in enumerate(columns.examples):
                own = (example.degradation,) if example.is_pair else example.entries or self.recipe.degradations
                if entry in own:
                    name = example.split, group_of(self.recipe, example, entry)
                    groups[kind] = names.setdefault(name, len(names))
            if groups.tobytes() not in runs:
                runs[groups.tobytes()] = runs_of(columns, groups, buckets)
            found += self._shards_of(entry, list(names), groups, runs[groups.tobytes()])
        return tuple(sorted(found, key=lambda shard: shard.name))

    def _shards_of(
        self, entry: str, names: Sequence[tuple[str, str]], groups: NDArray[np.int64], runs: Sequence[Run]
    ) -> Iterator[WantedShard]:
        """The shards of an entry. names: split and group of each of its `groups`."""
        columns = self.columns
        kinds = [self._kind(example, entry) if groups[i] >= 0 else _NONE for i, example in enumerate(columns.examples)]
        rest = np.frombuffer(b"".join(kind.digest for kind in kinds), np.uint8).reshape(-1, ROW)
        counts = np.array([kind.samples for kind in kinds], np.int64)
        pixels = np.array([kind.pixels for kind in kinds], np.int64)
        synthesis = self.recipe.degradations.get(entry)
        beside = synthesis is not None and reads_beside(synthesis.degradation)
        for run in runs:
            split, group = names[run.group]
            some = columns.kinds[run.places]
            rows = rest[some]
            for i, place in enumerate(run.places.tolist() if beside or columns.several else ()):
                if more := self._more(self.sources[place], entry):
                    rows[i] = np.frombuffer(hashlib.sha256(rows[i].tobytes() + more).digest()[:ROW], np.uint8)
            digest = run.digest()
            digest.update(rows.tobytes())
            uncaptioned = int(columns.uncaptioned[run.places].sum())
            yield WantedShard(
                split,
                entry,
                run.bucket,
                "" if uncaptioned else f"{ROWS}{digest.hexdigest()}",
                int(counts[some].sum()),
                int(pixels[some].sum()),
                uncaptioned,
                Chosen(self.sources, run.places),
                group,
            )

    def _kind(self, source: Source, entry: str) -> _Kind:
        """What decides the samples of all sources of one kind under an entry, beside what a row of its own tells."""
        synthesis = None if source.is_pair else self.recipe.degradations[entry]
        tiles = self.recipe.cut(source.info.width, source.info.height)
        variants = synthesis.variants_in(source.split) if synthesis else 1
        digest = self._prefixes[entry, source.is_pair].copy()
        digest.update(f"\0{bool(self.recipe.tiles)}\0{tiles}\0{variants}{self._told(source, entry)}".encode())
        digest.update(_every_map(self.recipe, source))
        pixels = sum(tile[2] * tile[3] for tile in tiles)
        return _Kind(digest.digest()[:ROW], variants * len(tiles), variants * pixels)

    def _more(self, source: Source, entry: str) -> bytes:
        """What decides the samples of one source beside its kind, its digest and its one caption; mostly nothing."""
        synthesis = None if source.is_pair else self.recipe.degradations[entry]
        looked_up = synthesis.degradation.side_input_digest(source.names[0]) if synthesis else ""
        caption = self.captions[source.digest]
        variants = range(synthesis.variants_in(source.split) if synthesis else 1)
        said = [caption.of(variant).wording for variant in variants] if caption and caption.more else []
        return b"\0".join([looked_up.encode(), *said]) if looked_up or said else b""

    def fingerprint_before(self, shard: WantedShard) -> str:
        """What releases up to 0.1 called the fingerprint of a shard, of its samples' fingerprints: so that a dataset of
        theirs is up to date. Empty while a caption is still to be made."""
        if shard.uncaptioned:
            return ""
        digest = hashlib.sha256()
        for source in shard.sources:
            for key, _, _, _, fingerprint in self.sample_ids(source, shard.degradation):
                digest.update(f"{key} {fingerprint}\n".encode())
        return digest.hexdigest()


class _Kind(NamedTuple):
    """Of the sources of one kind under one entry: the digest of what decides their samples, how many samples each of
    them has, and these samples' pixels."""

    digest: bytes
    samples: int
    pixels: int


_NONE = _Kind(bytes(ROW), 0, 0)
