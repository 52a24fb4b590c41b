"""Texts within objects of JSON, by their keys: `caption`, or `meta.caption` where objects lie within objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MARK = ":"
"""Between a member and a key in a setting: json:caption."""

DEEPEST = 8  # objects within objects that are looked through for keys


def split_setting(written: str) -> tuple[str, str]:
    """The member and the key that `json:a.b` names; the whole and "" where no key is named."""
    member, _, key = written.partition(MARK)
    return member.strip(), key.strip()


def value_at(found: Any, key: str) -> Any:
    """What stands in an object under a key, or under keys joined by dots; None if nothing does."""
    if not isinstance(found, Mapping):
        return None
    if key in found:
        return found[key]
    for i, letter in enumerate(key):
        if letter == "." and key[:i] in found and (value := value_at(found[key[:i]], key[i + 1 :])) is not None:
            return value
    return None


def text_at(found: Any, key: str) -> tuple[str, str]:
    """The text under a key, the first of a list; or what stands there instead, in words. Both empty: nothing does."""
    value = value_at(found, key)
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None or isinstance(value, str):
        return value or "", ""
    kind = "an object" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else f"{value!r:.40}"
    return "", f"has {kind} under the key {key!r}, and no text"


def text_keys(found: Any, outer: str = "", depth: int = DEEPEST) -> Iterator[str]:
    """The keys, joined by dots, under which an object has texts or lists of texts."""
    for key, value in found.items() if isinstance(found, Mapping) and depth else ():
        if isinstance(value, Mapping):
            yield from text_keys(value, f"{outer}{key}.", depth - 1)
        elif isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
            yield f"{outer}{key}"
