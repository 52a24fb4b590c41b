"""What a dataset's objects are called at an address, and what each of them holds.

manifest.json                                 says which dataset lies there; replacing it is what publishes another one
shards/train-noisy-0000.0123456789abcdef.tar  a shard, by its name and the first 16 hex digits of its SHA-256
.patina/samples.0123456789abcdef.parquet      a table likewise; card and Croissant file by the SHA-256 of manifest.json
shards/sizes.json, samples.parquet, …         the same for people and other tools: written after the manifest

So an object's name says what is in it: objects of two datasets can lie side by side, none is ever overwritten by
another one, and whoever has read manifest.json knows the names of all the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from patina.pipeline.export.push import SIZES
from patina.pipeline.format.card import CARD
from patina.pipeline.format.croissant import CROISSANT
from patina.pipeline.format.layout import PRIVATE, SAMPLES, SHARDS, SOURCES
from patina.pipeline.format.manifest import Manifest, ShardEntry
from patina.pipeline.hashing import canonical_json

TABLES = (SAMPLES, SOURCES)

PAPERS = (SAMPLES, SOURCES, CARD, CROISSANT)
"""What a dataset holds beside shards and manifest, and what cannot be told from these."""

FOR_PEOPLE = (*PAPERS, SIZES)
"""What is written under plain names, in this order: where sizes.json names a dataset's shards, the rest is there."""

A_SHARD = re.compile(r"(train|val|test)-[a-z0-9+-]+-\d{4,}(\.[0-9a-f]{16})?\.tar")
"""A shard's object; without a digest, as earlier releases called it."""

A_PAPER = re.compile(r"(samples|sources|README|croissant)\.[0-9a-f]{16}\.[a-z]+|.+\.half")
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
    split or a degradation, such as shards/train-noisy-*.tar, find what they found, in the same order.
    """
    return f"{SHARDS}/{shard.name.removesuffix('.tar')}.{shard.sha256[:16]}.tar"


def paper_object(name: str, there: Manifest, text: bytes) -> str:
    """The name at an address of a table, card or Croissant file of the dataset whose manifest has this text."""
    stem, _, suffix = name.partition(".")
    digest = there.tables.get(name, "") if name in TABLES else ""
    return f"{PRIVATE}/{stem}.{(digest or digest_of(text))[:16]}.{suffix}"


def shards_of(folder: Path, manifest: Manifest) -> dict[str, Object]:
    """The objects of all shards, by the shards' names."""
    return {
        shard.name: Object(shard_object(shard), folder / SHARDS / shard.name, shard.bytes, shard.sha256)
        for shard in manifest.shards
    }


def papers_of(folder: Path, manifest: Manifest, text: bytes) -> dict[str, Object]:
    """The objects of tables, card and Croissant file, by their names here."""
    return {
        name: Object(
            paper_object(name, manifest, text),
            folder / name,
            (folder / name).stat().st_size,
            manifest.tables.get(name, ""),
        )
        for name in PAPERS
    }


def written_for_people(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Those of the files for people whose text names shards, as it must be at an address."""
    objects = {f'"{SHARDS}/{shard.name}"': f'"{shard_object(shard)}"' for shard in manifest.shards}
    text = (folder / CROISSANT).read_text("utf-8")
    text = re.sub(rf'"{SHARDS}/[^"]+"', lambda found: objects.get(found[0], found[0]), text)
    counts = {shard_object(shard).removeprefix(f"{SHARDS}/"): shard.count for shard in manifest.shards}
    return {SIZES: canonical_json(counts).encode(), CROISSANT: text.encode("utf-8")}


def sizes_here(manifest: Manifest) -> str:
    """The text of sizes.json in a folder."""
    return canonical_json({shard.name: shard.count for shard in manifest.shards})


def strays(names: Iterable[str], needed: Iterable[str]) -> Iterator[str]:
    """Those of the objects at an address that an upload made, and that no dataset needs any more."""
    known = set(needed)
    for name in sorted(set(names) - known):
        folder, _, last = name.rpartition("/")
        pattern = {SHARDS: A_SHARD, PRIVATE: A_PAPER}.get(folder)
        if pattern and pattern.fullmatch(last):
            yield name
