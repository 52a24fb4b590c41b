"""Pages by templates: every text is escaped, whatever names are given, and nothing is left out unnoticed."""

from __future__ import annotations

from types import SimpleNamespace

import jinja2
import pytest
from markupsafe import Markup

from patina.pipeline.report.html import _environment, escaped, plain, render
from patina.pipeline.report.table import Cell, Column, Head, Table

ALERT = "<script>alert('1')</script>"
SIDE = SimpleNamespace(name="a name", samples="1 sample", shards="1 shard", digest="0" * 16)


def difference(**values: object) -> str:
    """The page of two datasets that do not differ."""
    given = {"title": "a title", "card": 320, "sides": [SIDE, SIDE], "is_empty": True, "sections": [], **values}
    return render("diff.html", **given)


def html_of(table: Table) -> str:
    macros = _environment("patina.pipeline.report").get_template("parts.html").module
    return str(macros.table(table))  # type: ignore[attr-defined]


def test_every_text_is_escaped_in_elements_and_attributes() -> None:
    page = difference(title=ALERT)
    assert ALERT not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;") == 2, "in the title and in the heading"
    assert escaped("\"'<&>") == "&#34;&#39;&lt;&amp;&gt;"


def test_control_characters_become_escapes_and_line_feeds_stay() -> None:
    assert plain("a\x1b[31m\u202eb\nc\t\x00") == "a\\x1b[31m\\u202eb\nc\\t\\x00"
    assert "a\\x1bb" in difference(title="a\x1bb")
    assert escaped("<\x07>") == "&lt;\\x07&gt;"


def test_markup_stays_markup() -> None:
    assert escaped(Markup("<b>")) == "<b>"
    assert '<h1 dir="auto"><b></h1>' in difference(title=Markup("<b>"))


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="is_empty"):
        render("diff.html", title="", card=1, sides=[SIDE, SIDE])


def test_a_page_without_a_script_allows_none() -> None:
    page = difference()
    assert "script-src" not in page
    assert "<script" not in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'" in page


def test_templates_of_another_package_have_the_same_layout() -> None:
    found = _environment("patina.training.report").list_templates()
    assert {"report.html", "page.html", "parts.html", "style.css"} <= set(found)


def test_a_table_has_two_renderers() -> None:
    columns = [
        Column(Head("entry"), (Cell("a|<b>"), Cell("mean"))),
        Column(Head("gain"), (Cell("-1", "worse"), Cell("2"))),
        Column(Head("why", "text", "left"), (Cell("x", "text"), Cell("", "text"))),
    ]
    table = Table.of_columns("Gains", columns, ("A note.",), has_mean=True)
    assert table.markdown("###").split("\n") == [
        *("### Gains", ""),
        *("| entry | gain | why |", "| --- | ---: | --- |", r"| a\|\<b\> | -1 | x |", "| mean | 2 |  |"),
        *("", "A note."),
    ]
    assert html_of(table).split("\n") == [
        '<table><thead><tr><th scope="col">entry</th><th scope="col">gain</th><th scope="col" class="text">why</th>'
        "</tr></thead><tbody>",
        '<tr><th scope="row">a|&lt;b&gt;</th><td class="worse">-1</td><td class="text">x</td></tr>',
        '<tr class="mean"><th scope="row">mean</th><td>2</td><td class="text"></td></tr>',
        "</tbody></table>",
    ]
