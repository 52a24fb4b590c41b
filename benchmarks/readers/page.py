"""docs/readers.md: the table of what was run, and how each reader reads."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.readers import dataset
from benchmarks.readers.environments import ENVIRONMENTS
from benchmarks.readers.readers import READERS, Reader

TEMPLATE = Path(__file__).with_name("page.md")
PAGE = Path(__file__).parents[2] / "docs" / "readers.md"


def page(results: Mapping[str, Mapping[str, Any]], truth: Mapping[str, Any]) -> str:
    """The whole page, from what the readers' scripts printed, by reader, and from truth.json."""
    entries = {sample["entry"] for sample in truth["samples"]}
    table = ["| reader | versions | reads | right? | shown |", "| --- | --- | --- | --- | --- |"]
    table += [_row(reader, results[reader.name]) for reader in READERS]
    rows = [(name, ", ".join(f"`{one}`" for one in made.packages)) for name, made in ENVIRONMENTS.items()]
    environments = "\n".join(
        f"| {name} | {told} | {'yes' if ENVIRONMENTS[name].torch else ''} |" for name, told in rows
    )
    how = [line for reader in READERS for line in _how(reader, results[reader.name])]
    told = {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "samples": len(truth["samples"]),
        "shards": len(truth["shards"]),
        "photographs": dataset.PHOTOGRAPHS,
        "entries": len(entries & dataset.WORDS.keys()),
        "table": "\n".join(table),
        "how": "\n".join(how),
        "environments": environments,
    }
    text = TEMPLATE.read_text("utf-8")
    for name, value in told.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _row(reader: Reader, result: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items()) or "GNU tar"
    right = "**wrong**" if result["wrong"] else "yes" if result["shown"] else "no, see below"
    right = "not run" if result.get("not run") else right
    shown = "; ".join(result["wrong"] or result["shown"]).replace("|", "\\|")
    return f"| {reader.name} | {versions} | {reader.on} | {right} | {shown or '–'} |"


def _how(reader: Reader, result: Mapping[str, Any]) -> list[str]:
    code = reader.shown_code()
    minds = [f"- {mind}" for mind in result["mind"]]
    if not code and not minds:
        return []
    lines = [f"### {reader.name}", ""]
    lines += ["```python", code, "```", ""] if code else []
    return [*lines, *minds, *([""] if minds else [])]
