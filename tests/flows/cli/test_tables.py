"""Every command prints a table in one way: bold heads, two spaces apart, figures to the right, nothing cut."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from patina.flows.cli.app import app
from patina.flows.cli.output import print_table

COMMANDS = Path(__file__).parents[3] / "flows" / "cli"
ROWS = [
    {"name": "a", "count": "7", "share": "65%", "what": "one two three four five six seven eight nine ten", "no": "–"},
    {"name": "long-name", "count": "1,234", "share": "–", "what": "short", "no": ""},
]


def printed(*, terminal: bool, width: int = 44, below: tuple[str, ...] = ()) -> list[str]:
    shown_on = Console(highlight=False, soft_wrap=True, width=width, force_terminal=terminal, color_system=None)
    with shown_on.capture() as said:
        print_table(ROWS, below=below, shown_on=shown_on)
    return said.get().splitlines()


def test_a_pipe_gets_a_line_for_each_row_whatever_its_width() -> None:
    assert printed(terminal=False, below=("what",)) == [
        "name       count  share  what",
        "a              7    65%  one two three four five six seven eight nine ten",
        "long-name  1,234      –  short",
    ]
    assert printed(terminal=True) == printed(terminal=False), "no column may go on below itself"
    assert printed(terminal=True, width=90, below=("what",)) == printed(terminal=False), "there is room"


def test_a_terminal_gets_texts_that_go_on_below_themselves() -> None:
    lines = printed(terminal=True, below=("what",))
    assert lines == [
        "name       count  share  what",
        "a              7    65%  one two three four",
        "                         five six seven",
        "                         eight nine ten",
        "long-name  1,234      –  short",
    ]
    narrow = printed(terminal=True, width=10, below=("what",))
    assert " ".join(line[25:].strip() for line in narrow[1:-1]) == ROWS[0]["what"], "no word is lost or broken"


def test_texts_of_figures_and_words_are_told_apart() -> None:
    rows = [{"images": "485 train + 15 test", "time": "3.5 s"}, {"images": "2", "time": "12 s"}]
    shown_on = Console(highlight=False, soft_wrap=True, width=80, force_terminal=False)
    with shown_on.capture() as said:
        print_table(rows, shown_on=shown_on)
    assert said.get().splitlines() == [
        "images                time",
        "485 train + 15 test  3.5 s",
        "2                     12 s",
    ]


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_has_a_table_of_its_own(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert "rich.table" not in modules, "print_table of output.py is the one style"


LISTS = {
    "recipes": ["recipe", "what it builds"],
    "sources": ["name", "what", "images", "licence"],
    "degradations": ["degradation", "what it does"],
    "stages": ["plan", "stage", "learns", "network", "starts from", "images", "batch", "lr"],
    "degradations noisy --ladder": ["sigma", "severity", "words"],
}


@pytest.mark.parametrize("words", LISTS)
def test_lists_have_heads_and_straight_columns(words: str) -> None:
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    start = next(i for i, line in enumerate(lines) if re.split(r" {2,}", line.strip()) == LISTS[words])
    rows = lines[start + 1 : start + 4]
    assert len(rows) == 3
    for before, name in zip(LISTS[words], LISTS[words][1:], strict=False):
        gap = re.search(rf"{re.escape(before)}( {{2,}}){re.escape(name)}", lines[start])
        assert gap is not None
        ends = lines[start].index(before) + len(before)
        columns = range(ends, ends + len(gap[1]))
        assert any(all(row[c : c + 2] == "  " for row in rows) for c in columns), f"nothing parts {before} and {name}"
