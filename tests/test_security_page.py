"""SECURITY.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")


def test_every_file_that_it_names_is_there() -> None:
    files = set(re.findall(r"tests/[\w/]+\.py", TEXT))
    assert len(files) >= 12
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_every_test_that_it_names_is_there() -> None:
    names = set(re.findall(r"`(test_\w+)`", TEXT))
    written = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) >= 10
    assert [name for name in names if f"def {name}(" not in written] == []
