"""Digests: of files, of canonical JSON, and the hash bucket that a digest falls into."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def bucket_of(digest: str, buckets: int) -> int:
    """The bucket of a source whose digest is `digest` (64 hex digits), 0..buckets-1."""
    return int(digest[32:48], 16) * buckets >> 64


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, UTF-8 as it is, no NaN."""
    return _CANONICAL.encode(value)


def is_intact(path: Path, sha256: str) -> bool:
    """Whether a plain file with these bytes lies there; what cannot be read to its end does not."""
    try:
        return path.is_file() and file_sha256(path) == sha256
    except OSError:
        return False


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
