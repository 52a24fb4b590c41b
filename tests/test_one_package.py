"""Nothing is loaded twice: the five folders are parts of the package `patina`, and nobody names them without it.

From the checkout's root they can also be imported under their bare names, and then every class is there twice: an error
that one module raises is not the one that another catches.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BARE = ("pipeline", "synth", "captioning", "training", "flows")
FOLDERS = (*BARE, "patina", "tests", "benchmarks", "docs", "examples", ".github")
TEXTS = frozenset((".py", ".md", ".toml", ".yaml", ".yml", ".html", ".txt", ".cfg", ".css", ".js", ".sh", ".json"))

_ANY = "|".join(BARE)
_WORD = re.compile(_ANY)
_BEFORE = r"(?<![\w./\\-])"
PATTERNS = {
    "an import": re.compile(
        rf"\b(?:from\s+({_ANY})(?:\.\w+)*\s+import|import\s+({_ANY})(?:\.\w+)+|^import\s+({_ANY})\s*$)", re.M
    ),
    "python -m": re.compile(rf"(?:^|\s)-m\s+({_ANY})\b"),
    "an entry point": re.compile(rf"{_BEFORE}({_ANY})(?:(?:\.\w+)+|(?:/\w+)+\.py):[A-Za-z_]"),
}
_DOTTED = re.compile(rf"{_BEFORE}({_ANY})\.([a-z_]+)\b(?!\()")


def in_text(text: str) -> Iterator[str]:
    """Where a text names a module of the five folders without the package."""
    if not _WORD.search(text):
        return  # as most texts
    for what, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield f"{what}: {match.group().strip()}"
    for match in _DOTTED.finditer(text):
        folder, name = match.groups()
        if (ROOT / folder / f"{name}.py").is_file() or (ROOT / folder / name).is_dir():
            yield f"a module: {match.group()}"


def in_code(code: str) -> Iterator[str]:
    """Where Python imports one, names one in a text, or hands one to `-m`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (f"line {node.lineno}: import {one.name}" for one in node.names if _is_bare(one.name))
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_bare(node.module or ""):
            yield f"line {node.lineno}: from {node.module} import"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (f"line {node.lineno}: {found}" for found in in_text(node.value))
        elif isinstance(node, ast.List | ast.Tuple):
            yield from _handed_over(node.elts)
        elif isinstance(node, ast.Call):
            yield from _handed_over(node.args)


def _handed_over(words: Sequence[ast.expr]) -> Iterator[str]:
    """A module after `-m`."""
    texts = [word.value if isinstance(word, ast.Constant) else None for word in words]
    for option, module in pairwise(texts):
        if option == "-m" and isinstance(module, str) and _is_bare(module):
            yield f"line {words[0].lineno}: -m {module}"


def _is_bare(module: str) -> bool:
    return module.partition(".")[0] in BARE


def files() -> list[Path]:
    """Every text of the project: code, tests, docs, and what configures tools."""
    within = [path for folder in FOLDERS if folder != "patina" for path in sorted((ROOT / folder).rglob("*"))]
    within += [*(ROOT / "patina").glob("*.py"), *ROOT.glob("*")]
    return [path for path in within if path.is_file() and (path.suffix in TEXTS or path.name == "Makefile")]


@pytest.mark.parametrize("name", BARE)
def test_the_finder_finds(name: str) -> None:
    module = {"pipeline": "scan", "synth": "rng", "captioning": "run", "training": "jobs", "flows": "cli"}[name]
    for code in (
        f"import {name}",
        f"import {name}.{module} as x",
        f"def f():\n    from {name}.{module} import y",
        f"from {name} import {module}",
        f"run(python, '-m', '{name}.{module}')",
        f"words = [python, '-m', '{name}']",
        f"text = 'import sys; from {name}.{module} import y'",
        f"text = 'import {name}.{module}'",
        f"text = f'python -m {name}.{module} {{x}}'",
        f"patch.setattr('{name}.{module}.y', 1)",
        f"entry = '{name}.{module}:main'",
        f"entry = '{name}/{module}.py:main'",
    ):
        assert list(in_code(code)), code
    for text in (f"entrypoint: {name}.{module}:main", f"    python3 -m {name}.{module}\n", f"see `{name}.{module}`"):
        assert list(in_text(text)), text
    for code in (
        f"from patina.{name}.{module} import y",
        f"from .{name} import y",
        f"import patina.{name} as {name}",
        f"run(python, '-m', 'patina.{name}')",
        f"entry = 'patina.{name}.{module}:main'",
        f"from tests.{name}.{module} import y",
        f"path = 'tests/{name}/{module}.py'",
        f"words = 'what {name} imports {name} exports, {name}.toml'",
    ):
        assert not list(in_code(code)), code


def test_all_files_are_looked_at() -> None:
    names = {str(path.relative_to(ROOT)) for path in files()}
    assert {"pyproject.toml", "Makefile", "README.md", "prefect.yaml", "patina/__init__.py"} <= names
    assert {"flows/automations.yaml", "pipeline/builder/build.py", "tests/test_one_package.py"} <= names


def test_nobody_names_the_five_folders_without_the_package() -> None:
    wrong = []
    for path in files():
        if path == ROOT / "benchmarks" / "against.py":  # it imports an older tree, which had no package
            continue
        text = path.read_text("utf-8")
        wrong += [
            f"{path.relative_to(ROOT)}: {found}" for found in (in_code(text) if path.suffix == ".py" else in_text(text))
        ]
    assert not wrong, "\n".join(wrong)


AFTER_A_BUILD = """
import sys
from pathlib import Path
from patina.pipeline.builder.build import build
from patina.pipeline.plan.planning import Options
from patina.pipeline.report.check import check
from tests.pipeline.making import photos, tiny_recipe

photos(Path(sys.argv[1]) / "photos", 2)
build(tiny_recipe(Path(sys.argv[1])), Path(sys.argv[1]) / "out", Options(workers=1))
assert check(Path(sys.argv[1]) / "out", 1).ok
import patina.flows.cli.main
assert "patina.synth" in sys.modules
print(sorted(set(sys.modules) & set(sys.argv[2:])))
"""


def test_a_build_loads_none_of_them(tmp_path: Path) -> None:
    """From the checkout's root, where each of them could be loaded."""
    command = [sys.executable, "-c", AFTER_A_BUILD, str(tmp_path), *BARE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
