"""What a dataset's objects are called at an address, and what each of them holds.

manifest.json                                 says which dataset lies there; replacing it is what publishes another one
shards/train-0000-noisy.0123456789abcdef.tar  a shard, by its name and the first 16 hex digits of its SHA-256
.patina/samples.0123456789abcdef.parquet      a table likewise; other files by the SHA-256 of manifest.json
sizes.json, samples.parquet, …                the same for people and other tools: written after the manifest

So an object's name says what is in it: objects of two datasets can lie side by side, none is ever overwritten by
another one, and whoever has read manifest.json knows the names of all the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from patina.pipeline.format.layout import CARD, CROISSANT, MANIFEST, PRIVATE, SAMPLES, SHARDS, SOURCES, STRIP
from patina.pipeline.format.manifest import Manifest, ShardEntry
from patina.pipeline.hashing import canonical_json
from patina.pipeline.versions.publication import MAY_LACK

TABLES = (SAMPLES, SOURCES)

SIZES = "sizes.json"
"""The shards that are the dataset's, and how many samples each has; only at addresses."""

PAPERS = (SAMPLES, SOURCES, CARD, STRIP, CROISSANT)
"""What a dataset holds beside shards and manifest, and what cannot be told from these."""

FOR_PEOPLE = (*PAPERS, SIZES)
"""What is written under plain names, in this order: where sizes.json names a dataset's shards, the rest is there."""

A_SHARD = re.compile(r"(train|val|test)-[a-z0-9+-]+(\.[0-9a-f]{16})?\.tar|sizes\.json")
"""A shard's object; without a digest, as earlier releases called it, which also put their list of shards there."""

A_PAPER = re.compile(r"(samples|sources|README|strip|croissant)\.[0-9a-f]{16}\.[a-z]+|.+\.half")
"""An object in the private folder there."""


@dataclass(frozen=True)
class Object:
    """An object at the address, by its name there, that holds the bytes of a file here.

    sha256  of its bytes; "" where nothing says which ones it must hold.
    """

    name: str
    path: Path
    size: int
    sha256: str


def digest_of(text: bytes) -> str:
    """The SHA-256 of manifest.json, which tells one state of an address from another."""
    return hashlib.sha256(text).hexdigest()


def shard_object(shard: ShardEntry) -> str:
    """A shard's name at an address.

    A dot parts name and digest, because no shard's name has one before `.tar`: what stands before the first dot is the
    shard, whereas `-0123456789012345.tar` could as well be a bucket. The digest comes last, so that patterns for a
    split or a degradation, such as shards/train-????-noisy.*tar, find what they find in a folder, in the same order.
    """
    return f"{SHARDS}/{shard.name.removesuffix('.tar')}.{shard.sha256[:16]}.tar"


def paper_object(name: str, there: Manifest, text: bytes) -> str:
    """The name at an address of a table, card or Croissant file of the dataset whose manifest has this text."""
    stem, _, suffix = name.partition(".")
    digest = there.tables.get(name, "") if name in TABLES else ""
    return f"{PRIVATE}/{stem}.{(digest or digest_of(text))[:16]}.{suffix}"


@dataclass(frozen=True)
class Delivery:
    """All that must lie at an address for one dataset.

    text        of manifest.json, which is at `folder`.
    shards      objects by the shards' names; papers: those of tables, card and Croissant file by their names here.
    for_people  what must lie under plain names, in the order in which it is written: a paper's object, or bytes.
    """

    folder: Path
    manifest: Manifest
    text: bytes
    shards: Mapping[str, Object]
    papers: Mapping[str, Object]
    for_people: Mapping[str, Object | bytes]

    @property
    def objects(self) -> list[Object]:
        """Shards and papers."""
        return [*self.shards.values(), *self.papers.values()]


def delivery_of(folder: Path, manifest: Manifest) -> Delivery:
    """What must lie at an address for the dataset in `folder`, all of whose files are there."""
    text = (folder / MANIFEST).read_bytes()
    shards = {
        shard.name: Object(shard_object(shard), folder / SHARDS / shard.name, shard.bytes, shard.sha256)
        for shard in manifest.shards
    }
    papers = {}
    for name in PAPERS:
        path = folder / name
        if name in MAY_LACK and not path.is_file():
            continue
        digest = manifest.tables.get(name, "")
        papers[name] = Object(paper_object(name, manifest, text), path, path.stat().st_size, digest)
    own = {SIZES: _sizes_there(manifest), CROISSANT: _croissant_there(folder, manifest)}
    for_people = {name: own.get(name) or papers[name] for name in FOR_PEOPLE if name in own or name in papers}
    return Delivery(folder, manifest, text, shards, papers, for_people)


def _sizes_there(manifest: Manifest) -> bytes:
    counts = {shard_object(shard).removeprefix(f"{SHARDS}/"): shard.count for shard in manifest.shards}
    return canonical_json(counts).encode()


def _croissant_there(folder: Path, manifest: Manifest) -> bytes:
    objects = {f'"{SHARDS}/{shard.name}"': f'"{shard_object(shard)}"' for shard in manifest.shards}
    text = (folder / CROISSANT).read_text("utf-8")
    return re.sub(rf'"{SHARDS}/[^"]+"', lambda found: objects.get(found[0], found[0]), text).encode("utf-8")


def strays(names: Iterable[str], needed: Iterable[str]) -> Iterator[str]:
    """Those of the objects at an address that an upload made, and that no dataset needs any more."""
    known = set(needed)
    for name in sorted(set(names) - known):
        folder, _, last = name.rpartition("/")
        pattern = {SHARDS: A_SHARD, PRIVATE: A_PAPER}.get(folder)
        if pattern and pattern.fullmatch(last):
            yield name
