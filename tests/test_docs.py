"""The pages say what the code does: commands, options and keys exist, links lead somewhere, recipes are recipes."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import patina
from patina.flows.cli.app import app
from patina.pipeline.recipe.parse import parse_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES if ".venv" not in page.parts]


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_reference_is_as_the_code_says() -> None:
    checked = [sys.executable, "docs/make_reference.py", "--check"]
    done = subprocess.run(checked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_notebooks_are_as_the_examples_say() -> None:
    checked = [sys.executable, "docs/make_notebooks.py", "--check"]
    done = subprocess.run(checked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "examples").glob("[a-z]*.py")))
def test_a_notebook_is_the_whole_script_and_has_no_output(script: str) -> None:
    cells = json.loads((ROOT / "examples" / script).with_suffix(".ipynb").read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    for one in code:
        compile(one, script, "exec")
    told = [line for one in code for line in one.splitlines() if line.strip() and not line.startswith("sys.argv = ")]
    written = (ROOT / "examples" / script).read_text("utf-8").split('"""', 2)[2].splitlines()
    assert told == [line for line in written if line.strip() and "__future__" not in line]


def test_nothing_in_the_reference_lacks_a_meaning() -> None:
    for page in sorted((ROOT / "docs/reference").glob("*.md")):
        empty = [line for line in page.read_text("utf-8").splitlines() if re.fullmatch(r"\| `[^|]*\|[^|]*\| *\|", line)]
        assert not empty, f"{page.name}: say what these mean, in the docstring that the page is made from: {empty}"


@cache
def commands() -> dict[str, set[str]]:
    """Options of every command."""
    group: Any = typer.main.get_command(app)

    def options(command: Any) -> set[str]:
        return {spelt for one in command.params for spelt in (*one.opts, *one.secondary_opts)} | {"--help"}

    found = {}
    for name, command in group.commands.items():
        found[name] = options(command)
        for inner, sub in getattr(command, "commands", {}).items():
            found[f"{name} {inner}"] = options(sub)
    return found


def told(text: str) -> list[list[str]]:
    """Lines that call the command `patina`, in blocks of code and between backticks, as words."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.S) + re.findall(r"(?:^    .*\n)+", text, re.M)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`(patina [^`\n]+)`", text)
    calls = []
    for line in lines:
        match = re.match(r"(?:\$ |\.venv/bin/)?patina ([a-z].*)", line.strip())
        if match:
            calls.append(
                shlex.split(match[1].split("  ")[0].split(" #")[0].split(";")[0].split(" > ")[0].replace("'", ""))
            )
    return calls


def test_calls_are_found() -> None:
    page = "```\n$ patina plan r.toml --out OUT   # words\n```\n\n    patina gc OUT; patina x\n\nand `patina show KEY`"
    assert told(page) == [["plan", "r.toml", "--out", "OUT"], ["gc", "OUT"], ["show", "KEY"]]


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_exist(name: str) -> None:
    for call in told(text_of(name)):
        spelt = " ".join(call[:2]) if " ".join(call[:2]) in commands() else call[0]
        assert spelt in commands(), f"{name}: there is no command {call}"
        unknown = {word.split("=")[0] for word in call if re.match(r"--?[a-z]", word)} - commands()[spelt]
        assert not unknown, f"{name}: patina {spelt} has no {unknown}"


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    text = re.sub(r"```.*?```|^    .*?$", "", text_of(name), flags=re.S | re.M)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        there = (here / path) if path else ROOT / name
        assert there.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target


@pytest.mark.parametrize("name", NAMES)
def test_recipes_are_recipes(name: str, tmp_path: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", text_of(name), re.S):
        if "[[sources]]" in block:
            recipe = parse_recipe(tomllib.loads(block), tmp_path)
            assert parse_recipe(tomllib.loads(recipe.to_toml()), tmp_path).digest == recipe.digest


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 130
    assert not re.search(r"\b[A-Z]+_(OUTPUT|TABLE)\b", text_of("README.md"))


def public() -> list[tuple[str, Any]]:
    """Every public function and class of `patina`, and the methods of these that take arguments."""
    found = []
    for name in patina.__all__:
        one = getattr(patina, name)
        if name.startswith("_") or not callable(one):
            continue
        found.append((name, one))
        if inspect.isclass(one) and one.__module__.startswith("patina._face"):
            methods = [(m, getattr(one, m)) for m in vars(one) if not m.startswith("_")]
            found += [
                (f"{name}.{m}", f) for m, f in methods if callable(f) and len(inspect.signature(f).parameters) > 1
            ]
    return found


@pytest.mark.parametrize(("name", "one"), public())
def test_a_public_docstring_names_every_argument(name: str, one: Any) -> None:
    """In Google's sections, which editors and mkdocstrings read."""
    text = inspect.getdoc(one) or ""
    arguments = [word for word in inspect.signature(one).parameters if word not in {"self", "worker"}]
    told = text.partition("Args:\n")[2].partition("\n\n")[0]
    named = {word.strip(" *") for line in re.findall(r"(?m)^    ([a-z_*, ]+):", told) for word in line.split(",")}
    if len(arguments) > 1:
        assert named >= set(arguments), f"{name}: {set(arguments) - named} are not told"
    if "." not in name:
        assert "Examples:\n    >>> " in text, f"{name} has no example"


def test_the_troubleshooting_page_quotes_messages_that_the_code_has() -> None:
    ours = (ROOT / room for room in ("synth", "captioning", "pipeline", "training", "flows"))
    code = "\n".join(path.read_text("utf-8") for room in ours for path in room.rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a text that goes on in the next line
    own, _, others = text_of("docs/troubleshooting.md").partition("## Other programs")
    cells = re.findall(r"^\| `([^|]+)` \|", own, re.M) + re.findall(r"^\| `(no server[^|]+)` \|", others, re.M)
    assert len(cells) > 10
    for cell in cells:
        for part in (part.strip(" '") for part in cell.split("…") if len(part) > 3):
            assert part in code, f"no message says {part!r}"
