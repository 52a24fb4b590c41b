"""The house stays as it was drawn: files are short, rooms say what they are, and what is private stays private."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "synth", "captioning", "training", "flows")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

LONGEST = 600
"""Lines of one file. A longer one does several things, and can be divided."""

MOST_BESIDE = {"pipeline": 12, "training": 4}
"""Modules that may lie beside the rooms: what every room needs, and nothing else."""


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count >= LONGEST} == {}


def test_every_folder_says_what_it_is() -> None:
    folders = {path.parent for path in FILES}
    told = {folder: ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) for folder in folders}
    assert [folder for folder, sentence in told.items() if not sentence] == []


@pytest.mark.parametrize("package", MOST_BESIDE)
def test_few_modules_lie_beside_the_rooms(package: str) -> None:
    beside = sorted(path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py")
    assert len(beside) <= MOST_BESIDE[package], f"does one of these belong into a room? {beside}"


def private_imports(source: str) -> list[str]:
    """Names with one underscore in front that a file imports from another one of patina's."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if (node.module or "").startswith("patina")]
    return [alias.name for node in ours for alias in node.names if re.match("_(?!_)", alias.name)]


def test_no_file_imports_what_is_private_to_another() -> None:
    assert private_imports("def f():\n    from patina.pipeline.text import _plain, nearest, __doc__\n") == ["_plain"]
    found = {str(path.relative_to(ROOT)): private_imports(path.read_text("utf-8")) for path in FILES}
    assert {name: names for name, names in found.items() if names} == {}


def test_make_slow_collects_every_file_that_marks_a_test_as_slow() -> None:
    texts = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)}
    marking = {str(path.relative_to(ROOT)) for path, text in texts.items() if re.search(r"\bmark(er)?\.slow\b", text)}
    assert [name for name in marking if not Path(name).name.startswith("test_")] == [], "a helper marks none"
    assert [path for path, text in texts.items() if re.search(r"from pytest import .*\bmark\b", text)] == []
    if not shutil.which("make"):
        pytest.skip("no make here")
    rule = "include Makefile\nlist:\n\t@echo $(SLOW)\n"
    make = ["make", "--no-print-directory", "-f", "-", "list"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    said = subprocess.run(make, input=rule, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert sorted(said.stdout.split()) == sorted(marking)
