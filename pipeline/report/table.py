"""A table as a model: what stands in it, whichever way it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from patina.pipeline.markdown import Align, markdown_table, markdown_text


@dataclass(frozen=True)
class Head:
    """A column's head. kind: classes on a page. align: where the column's texts stand in Markdown; the first column,
    which names the rows, stands at the left."""

    text: str
    kind: str = ""
    align: Align = "right"


@dataclass(frozen=True)
class Cell:
    """What stands in a table. kind: classes on a page."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its head and a cell for each row."""

    head: Head
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows below heads; the first cell of a row names it. has_mean: whether the last row is a mean. notes: sentences
    below it."""

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    has_mean: bool = False

    @classmethod
    def of_texts(cls, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """A table of plain texts."""
        return cls(title, tuple(map(Head, heads)), tuple(tuple(map(Cell, row)) for row in rows))

    @classmethod
    def of_columns(
        cls, title: str, columns: Sequence[Column], notes: tuple[str, ...] = (), has_mean: bool = False
    ) -> Table:
        """A table of columns of one length."""
        heads = tuple(column.head for column in columns)
        return cls(title, heads, tuple(zip(*(column.cells for column in columns), strict=True)), notes, has_mean)

    def markdown(self, heading: str = "", escape: Callable[[str], str] = markdown_text) -> str:
        """The table as Markdown, below its title if there is a `heading` such as `###`, above its notes."""
        texts = [[head.text for head in self.heads], *([cell.text for cell in row] for row in self.rows)]
        lines = markdown_table(texts, ["left", *(head.align for head in self.heads[1:])], escape=escape)
        parts = [f"{heading} {escape(self.title)}"] if heading else []
        return "\n\n".join([*parts, "\n".join(lines), *map(escape, self.notes)])
