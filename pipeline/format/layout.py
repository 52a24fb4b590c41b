"""The names of a dataset's files and folders, of its shards, and of the samples in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

SCHEMA = 3
"""Version of the stored format: members, their names, KEY.json, names of shards, tables."""

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"
SAMPLES = "samples.parquet"
SOURCES = "sources.parquet"
SHARDS = "shards"
CARD, CROISSANT, STRIP = "README.md", "croissant.json", "strip.jpg"
PAPERS = (CARD, CROISSANT, STRIP)
"""What is told of the dataset, of no shard and no table."""

ROLES = {"lq": ("png", "jpg"), "gt": ("gt.png", "gt.jpg")}
"""Extensions of a sample's two images; it has one of each role."""

IMAGES = (*ROLES["lq"], *ROLES["gt"])

PRIVATE = ".patina"
VERSIONS = "versions"
CURRENT = "current"
STORES = ("scan.sqlite", "captions.sqlite")

_NAME = "[a-z0-9]+(?:[-+][a-z0-9]+)*"
_GROUP = "(?:--[a-z]+(?:-[a-z]+)*)?"
SHARD = re.compile(rf"(train|val|test)-(?:[0-9]{{4,}}-{_NAME}{_GROUP}|{_NAME}-[0-9]{{4,}})\.tar", re.ASCII)
"""A shard's name; the second form is that of the second version of the stored format."""

KEY = "^[0-9a-f]{16}(-[a-z0-9_-]+)?$"
"""A sample's key; in the second version of the stored format it named no entry."""

ENTRY_CHARS = 32
"""Characters of a key that its entry may take. With it a member's name has 100 bytes at the most, as a tar's header
holds them: 16 of the digest, 15 of a tile's place, 5 of a variant and 27 of the longest extension."""

_ENDS_LIKE_A_KEY = re.compile(r"(?:.*-)?(?:y[0-9]{5,}x[0-9]{5,}|v[0-9]{3,})")


def shard_name(split: str, entry: str, bucket: int, group: str = "", schema: int = SCHEMA) -> str:
    """The file name of a shard, by this or an earlier version of the stored format.

    The bucket stands before the entry, so that readers of which each takes every n-th of the sorted names get about as
    many samples. group: tells shards of one entry and bucket apart that hold samples with other members.
    """
    if schema < 3:
        return f"{split}-{entry}-{bucket:04d}.tar"
    return f"{split}-{bucket:04d}-{entry}{f'--{group}' if group else ''}.tar"


def sample_key(digest: str, entry: str, place: tuple[int, int] | None, variant: int) -> str:
    """A sample's key, which no other sample of the dataset has: DIGEST16-ENTRY[-yYYYYYxXXXXX][-vNNN].

    digest  of the source, hexadecimal. place: the tile's x and y in the photograph, px; None where nothing was cut.

    >>> sample_key("0123456789abcdef" * 4, "low-light+hazy", (256, 0), 1)
    '0123456789abcdef-low-light_hazy-y00000x00256-v001'
    """
    tile = f"-y{place[1]:05d}x{place[0]:05d}" if place else ""
    return f"{digest[:16]}-{key_part(entry)}{tile}" + (f"-v{variant:03d}" if variant else "")


def key_part(entry: str) -> str:
    """How a key writes an entry: `_` for `+`, as some file systems and addresses take no `+`; a long one as its first
    20 characters, `__` and 10 hex digits of its SHA-256, which no short one looks like."""
    if len(entry) <= ENTRY_CHARS:
        return entry.replace("+", "_")
    digest = hashlib.sha256(entry.encode()).hexdigest()
    return f"{entry[:20].replace('+', '_')}__{digest[:10]}"


def why_keys_clash(entries: Iterable[str]) -> str:
    """Why samples of these entries could have equal keys, in words; empty if they cannot."""
    parts: dict[str, str] = {}
    for entry in entries:
        if _ENDS_LIKE_A_KEY.fullmatch(entry):
            return f"{entry!r} ends like the place of a tile or the number of a variant in a sample's key; rename it"
        other = parts.setdefault(key_part(entry), entry)
        if other != entry:
            return f"{other!r} and {entry!r} would have the same keys; rename one of them"
    return ""
