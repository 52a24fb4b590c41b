"""What pages share: escaped texts, numbers in words, and a file that appears whole."""

from __future__ import annotations

import html
import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows."""


def escaped(value: object) -> str:
    """Any value as text that is no markup, in attributes too, and has no control characters but line feeds: names and
    captions come from anywhere."""
    plain = "".join(c if c == "\n" or not CONTROL.match(c) else c.encode("unicode_escape").decode() for c in str(value))
    return html.escape(plain, quote=True)


def is_digest(value: object) -> bool:
    """Whether it is a text of 16 or more hex digits, which tells a reader nothing."""
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{16,}", value))
