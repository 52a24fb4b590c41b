"""docs/readers.md tells of every reader that `make readers` runs, with the code that was run."""

from __future__ import annotations

import re

import pytest

from benchmarks.readers.environments import ENVIRONMENTS
from benchmarks.readers.page import PAGE, page
from benchmarks.readers.readers import READERS, SCRIPTS, Reader
from patina.pipeline.export import EXPORTS


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_reader_has_a_script_an_environment_and_a_row(reader: Reader) -> None:
    assert (SCRIPTS / f"read_{reader.script}.py").is_file()
    assert reader.environment in ENVIRONMENTS
    text = PAGE.read_text("utf-8")
    assert f"\n| {reader.name} | " in text
    code = reader.shown_code()
    assert code or reader.script == "open_clip"  # its code is the card's command
    assert code in text


def test_every_package_is_pinned() -> None:
    pins = [package for environment in ENVIRONMENTS.values() for package in environment.packages]
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.]+", package) for package in pins)


def test_the_page_names_every_export() -> None:
    text = PAGE.read_text("utf-8")
    assert [name for name in EXPORTS if f"`{name}`" not in text] == []


def test_no_script_of_a_reader_imports_patina() -> None:
    for path in SCRIPTS.glob("*.py"):
        assert not re.search(r"^\s*(from|import) patina\b", path.read_text("utf-8"), re.MULTILINE), path.name


def test_what_is_wrong_or_cannot_be_run_is_told_as_such() -> None:
    """Known answers: a reader that read rightly, one that read wrongly, one that cannot, and one that was not run."""
    plain = {"versions": {"x": "1.0"}, "shown": ["3 pairs"], "mind": [], "wrong": []}
    results = {reader.name: plain for reader in READERS}
    results["litdata"] = {**plain, "wrong": ["2 samples, 1 lost"]}
    results["ray.data"] = {**plain, "shown": [], "mind": ["it stops"]}
    results["webshart"] = {"versions": {}, "shown": [], "mind": [], "wrong": ["no package"], "not run": True}
    text = page(results, {"samples": [{"entry": "hazy"}], "shards": {"a": 1}})
    table = text.partition("## How each reads")[0]
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines() if line.startswith("| ")}
    assert "| yes | 3 pairs |" in rows["dask"]
    assert "| **wrong** | 2 samples, 1 lost |" in rows["litdata"]
    assert "| no, see below | – |" in rows["ray.data"]
    assert "| not run | no package |" in rows["webshart"]
    assert "{" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)
