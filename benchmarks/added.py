"""What one more degradation costs in lines: its file, its test, and what names it anywhere else.

    python -m benchmarks.added [--save]

Of each degradation beyond DA-CLIP's ten. Code is what is left of a file without blank lines, comments and docstrings.
"Needed" are the lines of the catalogue, without which nothing works; "elsewhere in code" are lines of the packages
that name it by its word or by its module, comments and docstrings left out: for most the figures of published sets
beside it in `patina calibrate`, which nothing needs, and for steps of chains the chains. "Pages" are those of docs, the
generated reference left out; "recipes" have it because somebody may want it there.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import time
import tokenize
from pathlib import Path

from benchmarks.photos import machine, publish
from patina.synth.degradations import DACLIP_DEGRADATIONS, EVERY

TREE = Path(__file__).parents[1]
PACKAGES = ("synth", "captioning", "pipeline", "training", "flows", "patina")
TABLE = TREE / "synth" / "degradations" / "__init__.py"


def code_lines(path: Path) -> dict[int, str]:
    """Lines of code by number: what has a token that is no comment and no docstring."""
    text = path.read_text("utf-8")
    described = set[int]()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else ():
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
                described.update(range(one.lineno, (one.end_lineno or one.lineno) + 1))
    held = set[int]()
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank:
            held.update(range(token.start[0], token.end[0] + 1))
    return {number: line for number, line in enumerate(text.splitlines(), 1) if number in held - described}


def naming(word: str) -> re.Pattern[str]:
    """What names a degradation: its word in quotes or as a recipe's table, or its module. A word such as `aged` alone
    is plain English as well."""
    module = word.replace("-", "_")
    return re.compile(rf"[\"'`]{re.escape(word)}[\"'`]|\[degradations\.{re.escape(word)}\]|degradations\.{module}\b")


def row(word: str) -> str:
    """A row of the table."""
    module = word.replace("-", "_")
    own, test = TREE / "synth" / "degradations" / f"{module}.py", TREE / "tests" / "synth" / f"test_{module}.py"
    names = naming(word)
    needed = sum(bool(names.search(line)) for line in code_lines(TABLE).values())
    code = [path for package in PACKAGES for path in sorted((TREE / package).rglob("*.py")) if path not in (own, TABLE)]
    elsewhere = sum(bool(names.search(line)) for path in code for line in code_lines(path).values())
    pages = [path for path in sorted((TREE / "docs").rglob("*.md")) if "reference" not in path.parts]
    told = sum(bool(names.search(line)) for path in pages for line in path.read_text("utf-8").splitlines())
    recipes = sorted((TREE / "pipeline" / "recipe" / "recipes").glob("*.toml"))
    wanted = sum(bool(names.search(line)) for path in recipes for line in path.read_text("utf-8").splitlines())
    sizes = [f"{len(code_lines(path))} of {len(path.read_text('utf-8').splitlines())}" for path in (own, test)]
    return f"| {word} | {' | '.join(sizes)} | {needed} | {elsewhere} | {wanted} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    lines = [
        "| | its file: code of all lines | its test | needed in the catalogue | elsewhere in code | recipes | pages |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(row(word) for word in EVERY if word not in DACLIP_DEGRADATIONS),
    ]
    lines += ["", f"Made by `python -m benchmarks.added --save` on {time.strftime('%Y-%m-%d')}: {machine()}."]
    publish("What one more degradation costs in lines", "\n".join(lines), "added" if options.save else None)


if __name__ == "__main__":
    main()
