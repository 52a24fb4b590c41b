"""Markdown: texts that a reader gives back as they were, and tables with as many cells as they were given."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from patina.pipeline.markdown import markdown_line, markdown_table, markdown_text

READER = MarkdownIt("commonmark").enable("table")


@pytest.mark.parametrize("entities", [False, True])
@given(text=st.text(alphabet=st.sampled_from("ab |\\`*_{}[]<>#~$&;lt/!()\n\t\x1b"), max_size=30))
def test_a_text_comes_back_as_it_was(entities: bool, text: str) -> None:
    read = READER.renderInline("x" + markdown_text(text, entities=entities))
    assert html.unescape(read) == "x" + markdown_line(text)


def test_entities_leave_no_sign_of_a_tag() -> None:
    assert markdown_text("<b>a & b", entities=True) == "&lt;b&gt;a &amp; b"
    assert markdown_text("<b>a & b") == r"\<b\>a \& b"


def test_a_text_stays_on_its_line_and_shows_what_cannot_be_printed() -> None:
    assert markdown_text("a\n  b\tc\x1b") == r"a b c\\x1b"


def test_numbers_stand_at_the_right() -> None:
    rows = [["entry", "dB"], ["noisy", "20.00"]]
    assert markdown_table(rows, ["left", "right"]) == ["| entry | dB |", "| --- | ---: |", "| noisy | 20.00 |"]
    assert markdown_table(rows)[1] == "|---|---|"


def test_a_cell_that_is_markdown_already_stays_as_it_is() -> None:
    assert markdown_table([["`a_b`"], ["**c**"]], escape=str) == ["| `a_b` |", "|---|", "| **c** |"]


@given(st.lists(st.lists(st.text(max_size=12), min_size=3, max_size=3), min_size=1, max_size=4))
def test_no_cell_breaks_its_table(rows: list[list[str]]) -> None:
    read = READER.render("\n".join(markdown_table([["a", "b", "c"], *rows])))
    cells = [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", read)]
    assert cells == [markdown_line(cell) for row in rows for cell in row]
