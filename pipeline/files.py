"""Writing files in one step."""

from __future__ import annotations

import os
from pathlib import Path


def write_page(path: Path, text: str) -> Path:
    """Write a page, with the folders above it, in one step; gives its path. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        half.write_bytes(text.encode("utf-8", "xmlcharrefreplace"))
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return path


def sync(path: Path) -> None:
    """Force a file's contents, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
