"""Texts that no terminal acts on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from patina.flows.cli.output import console, errors, escape, status
from patina.pipeline.text import plain, printable, rate_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, grüße, 写真, 😀", "plain, grüße, 写真, 😀"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202eturned", "\\u202eturned"),
        ("", ""),
    ],
)
def test_control_characters_become_escapes(text: str, shown: str) -> None:
    assert plain(text) == shown == printable(text)
    assert plain(text).isprintable()


def test_a_line_feed_may_stay_and_bytes_that_are_no_text_are_shown() -> None:
    assert plain("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert printable("b\udcff.png") == "b\\xff.png"
    assert printable("half \ud800") == "half \\ud800"


def test_the_terminal_gets_lines_without_markup() -> None:
    assert escape("[red]a\n\x1b[0m") == "\\[red]a\n\\x1b[0m"


def test_names_between_colons_are_no_pictures() -> None:
    """`:car:` of a file's name is not to come out as 🚗."""
    for shown_on in (console, status, errors):
        with shown_on.capture() as shown:
            shown_on.print(escape("a:car:b.png"))
        assert shown.get() == "a:car:b.png\n"


def test_printing_needs_no_opencv() -> None:
    code = "import sys, patina.flows.cli.output; assert not {'cv2', 'numpy', 'prefect', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.127, "0.13"), (0.02, "0.02"), (0.97, "1.0"), (8.31, "8.3"), (9.96, "10"), (29.4, "29"), (1e4, "10,000")],
)
def test_what_moves_slowly_has_a_rate_too(rate: float, shown: str) -> None:
    assert rate_of(rate) == shown
