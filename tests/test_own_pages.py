"""The code of the pages on one's own captioner and source, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from patina.captioning import CAPTIONERS
from patina.pipeline.sources import READERS
from tests.pipeline.making import photos

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)


@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("own-captioner.md", {"captions.csv", "by-table.toml", "by-table", "by-class"}),
        ("own-source.md", {"chosen.csv", "by-list.toml", "by-list", "photos.sqlite", "by-class"}),
    ],
)
def test_the_code_of_a_page_builds_what_it_says(
    page: str, made: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CAPTIONERS, "halves", CAPTIONERS["template"])  # what the page registers is gone afterwards
    monkeypatch.setitem(READERS, "database", READERS["folder"])
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 3)
    names: dict[str, Any] = {"__name__": "page"}
    assert len(blocks(page)) == 2
    for block in blocks(page):
        assert "\nassert " in block, "it says what came of it"
        exec(compile(block, page, "exec", dont_inherit=True), names)
    assert made | {"photos"} == {path.name for path in tmp_path.iterdir()}
