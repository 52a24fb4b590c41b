"""How the code is laid out, and how fast it starts, beside another commit.

    python -m benchmarks.structure --beside b0245d9 --save

Modules on the first level of each package, import circles, the longest file, names that an installation puts beside
others, and the time of an import and of `--help`. All is read from the two trees; only the times run anything.
"""

from __future__ import annotations

import argparse
import ast
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.photos import machine, publish

PACKAGES = ("pipeline", "training", "flows", "synth", "captioning")
ROUNDS = 7


def modules_of(tree: Path) -> dict[str, Path]:
    """Every module of the five packages, by the name that it is imported under, without `patina.`."""
    paths = [path for package in PACKAGES for path in sorted((tree / package).rglob("*.py"))]
    names = {path: ".".join(path.relative_to(tree).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return {name: path for path, name in names.items()}


def imports_of(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the five packages that a file imports, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            base = node.module.removeprefix("patina.")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in modules else base
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("patina.") for alias in node.names)


def circles(tree: Path) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others: Tarjan's strong components."""
    modules = modules_of(tree)
    arrows = {name: sorted(set(imports_of(path, modules)) & modules.keys()) for name, path in modules.items()}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        open_.append(name)
        for other in arrows[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in open_:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            at = open_.index(name)
            group = open_[at:]
            del open_[at:]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for name in modules:
        if name not in order:
            visit(name)
    return found


def figures(tree: Path) -> dict[str, str]:
    """The layout of one tree, row by row."""
    modules = modules_of(tree)
    longest = {path: len(path.read_text("utf-8").splitlines()) for path in modules.values()}
    rows = {}
    for package in PACKAGES:
        beside = [p for p in (tree / package).glob("*.py") if p.name != "__init__.py"]
        rooms = [p for p in (tree / package).iterdir() if (p / "__init__.py").exists()]
        rows[f"`{package}/`: modules, folders on its first level"] = f"{len(beside)}, {len(rooms)}"
    found = circles(tree)
    rows["import circles"] = "; ".join(" ↔ ".join(group) for group in found) or "0"
    path = max(longest, key=lambda path: longest[path])
    rows["lines of the longest file"] = f"{longest[path]:,} (`{path.relative_to(tree)}`)"
    rows["files over 600 lines"] = str(sum(lines > 600 for lines in longest.values()))
    wheel = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    rows["names installed at top level"] = f"{len(wheel['packages'])} ({', '.join(wheel['packages'])})"
    return rows


def milliseconds(tree: Path, code: str) -> float:
    """CPU time of a fresh interpreter that runs this, less that of one that runs nothing: median of `ROUNDS`."""

    def once(program: str) -> float:
        before = os.times()
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        subprocess.run([sys.executable, "-P", "-c", program], env=environment, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    rounds = [(once(code), once("pass")) for _ in range(ROUNDS)]
    return 1000 * statistics.median(full - empty for full, empty in rounds)


def times(tree: Path) -> dict[str, str]:
    """What a start costs."""
    command = "patina.flows.cli.main" if (tree / "patina").is_dir() else "flows.cli"
    told = (
        f"import sys; sys.argv = ['patina', '--help']\nfrom {command} import main\ntry: main()\nexcept SystemExit: pass"
    )
    rows = {"`patina --help`, ms of CPU": f"{milliseconds(tree, told):.0f}"}
    face = "import patina" if (tree / "patina").is_dir() else "pass"
    rows["`import patina`, ms of CPU"] = f"{milliseconds(tree, face):.0f}" if face != "pass" else "not there"
    return rows


def main() -> None:
    """Print the figures of this tree and of the other commit, side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", default="b0245d9", help="the commit to compare with")
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/structure.md")
    options = parser.parse_args()
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", other, options.beside], check=True, cwd=here)
        try:
            before, after = ({**figures(tree), **times(tree)} for tree in (other, here))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", other], check=True, cwd=here)
    lines = [f"| what | {options.beside} | now |", "| --- | --- | --- |"]
    lines += [f"| {what} | {before.get(what, '–')} | {now} |" for what, now in after.items()]
    command = f"python -m benchmarks.structure --beside {options.beside} --save"
    lines += ["", f"Made by `{command}` on {time.strftime('%Y-%m-%d')}: {machine()}."]
    publish("The layout of the code", "\n".join(lines), "structure" if options.save else None)


if __name__ == "__main__":
    main()
