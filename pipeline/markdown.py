"""Markdown: texts that stay texts, and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from patina.pipeline.text import printable

Align: TypeAlias = Literal["left", "right"]

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown_line(value: str) -> str:
    """A text on one line: runs of white space become one space, and what cannot be printed becomes an escape."""
    return printable(" ".join(str(value).split()))


def markdown_text(value: str, *, entities: bool = False) -> str:
    """A text as Markdown shows it: one line, with every character that could mean something to Markdown or HTML taken
    literally.

    entities  whether `<`, `>` and `&` become entities and get no backslash: for readers that look for tags before they
              read Markdown.
    """
    line = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", markdown_line(value))
    return re.sub("[<>&]", lambda found: ENTITIES[found[0]] if entities else f"\\{found[0]}", line)


def markdown_table(
    rows: Sequence[Sequence[str]], align: Sequence[Align] = (), *, escape: Callable[[str], str] = markdown_text
) -> list[str]:
    """The lines of a table; the first row is its head.

    align   where each column's texts stand; the reader decides unless it is given.
    escape  what makes Markdown of a cell; `str` where cells are Markdown already.
    """
    head, *body = [f"| {' | '.join(map(escape, row))} |" for row in rows]
    marks = {"left": "---", "right": "---:"}
    rule = f"| {' | '.join(marks[side] for side in align)} |" if align else f"|{'---|' * len(rows[0])}"
    return [head, rule, *body]


def fenced(text: str, language: str) -> list[str]:
    """Code in a fence that nothing in it can close."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [f"{fence}{language}", *text.split("\n"), fence]
