"""Writes examples/*.ipynb: the examples as notebooks, without outputs, so that they cannot fall behind the scripts.

python docs/make_notebooks.py            # writes the notebooks
python docs/make_notebooks.py --check    # exit code 1, and their names, if some are not as the scripts say
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "examples"
CALL = re.compile(r"(?m)^ *python examples/(\S+\.py)(.*)$")


def notebook(script: Path) -> str:
    """A script as a notebook: its docstring as text, then a cell for each block of code that blank lines set apart."""
    source = script.read_text("utf-8")
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree) or ""
    title, _, rest = CALL.sub("", docstring).partition("\n")
    text = f"# {title.rstrip('.')}\n\n{rest.strip()}".rstrip()
    call = CALL.search(docstring)
    words = [script.name, *(word for word in (call[2].split() if call else ()) if not word.startswith("["))]
    cells = [_cell("markdown", text, 0)]
    blocks = _blocks(source.splitlines(), [node for node in tree.body if not _is_for_files(node)])
    for i, block in enumerate(blocks):
        cells.append(_cell("code", block, len(cells)))
        if i == 0 and "sys" in block.split():
            cells.append(_cell("code", f"sys.argv = {json.dumps(words)}", len(cells)))
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": python}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _is_for_files(node: ast.stmt) -> bool:
    """The docstring, which is text in a notebook, and the import that only a file needs."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


def _blocks(lines: list[str], nodes: list[ast.stmt]) -> list[str]:
    """The lines of top-level statements, those without a blank line between them together; all imports are one."""
    blocks: list[tuple[int, int]] = []
    for node in nodes:
        decorators = getattr(node, "decorator_list", [])
        first, last = min([node.lineno, *(one.lineno for one in decorators)]), node.end_lineno or node.lineno
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        joined = blocks and (not any(not line.strip() for line in lines[blocks[-1][1] : first - 1]) or is_import)
        if joined:
            blocks[-1] = (blocks[-1][0], last)
        else:
            blocks.append((first, last))
    return ["\n".join(lines[first - 1 : last]) for first, last in blocks]


def _cell(kind: str, text: str, number: int) -> dict[str, Any]:
    parts = text.splitlines(keepends=True)
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, **code, "source": parts}


def notebooks() -> dict[Path, str]:
    """Every notebook's text by its place."""
    return {script.with_suffix(".ipynb"): notebook(script) for script in sorted(FOLDER.glob("[a-z]*.py"))}


def main() -> None:
    """Write the notebooks, or say which are not as the scripts say."""
    made = notebooks()
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
        stale += [path.name for path in FOLDER.glob("*.ipynb") if path not in made]
        if stale:
            sys.exit(f"examples are not as the scripts say ({', '.join(stale)}): run python docs/make_notebooks.py")
        return
    for path, text in made.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
