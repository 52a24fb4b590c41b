"""What pages share: escaped texts, numbers in words, and a file that appears whole."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

from patina.synth.severity import CEILING

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows."""


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


def escaped(value: object) -> str:
    """Any value as text that is no markup, in attributes too, and has no control characters but line feeds: names and
    captions come from anywhere."""
    plain = "".join(c if c == "\n" or not CONTROL.match(c) else c.encode("unicode_escape").decode() for c in str(value))
    return html.escape(plain, quote=True)


def counted(number: int, word: str) -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def decibels(psnr: float) -> str:
    """A PSNR, dB; of equal images the word."""
    return "identical" if psnr == CEILING else f"{psnr:.2f} dB"


def is_digest(value: object) -> bool:
    """Whether it is a text of 16 or more hex digits, which tells a reader nothing."""
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{16,}", value))
