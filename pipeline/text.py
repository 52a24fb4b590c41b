"""Words for people: counts, sizes, durations, the nearest known name, text that no terminal can mistake."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


def human_bytes(count: float) -> str:
    """Bytes in decimal units: 3.1 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Seconds for people: under 1 s, 41 s, 12 min, 3.5 h."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def plain(text: str, keep: str = "") -> str:
    """A text that no terminal acts on: control characters, but those of `keep`, become escapes such as \\x1b."""
    return "".join(c if c in keep or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(name: str) -> str:
    """A file's name as text that any terminal, table and page can take: bytes that are no UTF-8 and control characters
    become escapes such as \\x1b. Names without them stay as they are."""
    if name.isascii() and name.isprintable():  # nearly all of a million names
        return name
    try:
        text = os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as JSON can spell it, and no file system can
        text = name
    return plain(text)


def one_line(text: str, most: int = 800) -> str:
    """A message on one line, for any terminal: line ends become spaces, and what is longer than `most` is cut."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def shown(value: object, most: int = 80) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def counted(number: int, noun: str) -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rate_of(rate: float) -> str:
    """A number of things each second: `1,200`, `29`, `8.3`, `0.13`; never 0 where something moves."""
    return f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.1f}" if rate >= 0.95 else f"{rate:.2g}"


def decibels(psnr: float) -> str:
    """A PSNR, dB; of equal images the word."""
    from patina.synth.severity import CEILING  # it brings OpenCV, which a command that only prints goes without

    return "identical" if psnr == CEILING else f"{psnr:.2f} dB"


def nearest(name: str, known: Iterable[str]) -> str:
    """For an error message about an unknown `name`: the nearest known one if any is near, and all of them."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {', '.join(sorted(known))}"
