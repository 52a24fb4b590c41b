"""Licences and attributions go along when a dataset of patina's becomes a source of another one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.export.run import choose, export
from patina.pipeline.format.layout import SHARDS, SOURCES
from patina.pipeline.format.manifest import load_manifest, read_samples, read_sources
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.sources.rights import Rights, rights_in
from tests.pipeline.making import copied, photos, tiny_recipe
from tests.pipeline.serving import serving

Stated = set[tuple[str, str, str]]
"""Content, licence, attribution."""


def stated(out: Path) -> Stated:
    return {(row["content"], row["licence"], row["attribution"]) for row in read_sources(out)}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets under licences of their own and a third of which nobody stated one, and a dataset of it all."""
    folder = tmp_path_factory.mktemp("once")
    sources: list[dict[str, Any]] = [
        {"path": "mine", "licence": "CC0-1.0", "split": "train"},
        {"path": "hers", "licence": "CC-BY-4.0", "attribution": "Ada Ö., “photographs”", "split": "test"},
        {"path": "found", "split": "train"},
    ]
    for number, source in enumerate(sources):
        photos(folder / source["path"], 2, 48, 32, first=10 * number)
    recipe = tiny_recipe(folder, sources=sources, degradations={"noisy": {}, "uncompleted": {}}, tiles={"size": 32})
    build(recipe, folder / "first")
    assert {licence for _, licence, _ in stated(folder / "first")} == {"CC0-1.0", "CC-BY-4.0", ""}
    return folder


@pytest.fixture
def made(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of it, cut into tiles."""
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    return copied(once, tmp_path) / "first"


def again(folder: Path, *sources: dict[str, Any]) -> Path:
    build(parse_recipe({"sources": list(sources)}, folder, "again"), folder / "again")
    return folder / "again"


def by_tile(made: Path) -> Stated:
    """What the samples' clean images, which are tiles and PNGs by now, should state."""
    whose = {row["digest"]: (row["licence"], row["attribution"]) for row in read_sources(made)}
    return {(row.key, *whose[row.source_sha256]) for row in read_samples(made)}


def told(again: Path) -> Stated:
    """The same of what was ingested: its names are those of the samples."""
    rows = read_sources(again)
    return {
        (name.rpartition("/")[2].partition(".")[0], r["licence"], r["attribution"]) for r in rows for name in r["names"]
    }


@pytest.mark.parametrize("path", ["first", "first/shards", "first/shards/{train,test}-0000-*.tar", "./first/"])
def test_by_its_tars(made: Path, path: str) -> None:
    out = again(made.parent, {"kind": "webdataset", "path": path})
    assert told(out) == by_tile(made)
    card = (out / "README.md").read_text("utf-8")
    assert "CC-BY-4.0" in card
    assert "Ada Ö." in card


def test_by_its_address(made: Path) -> None:
    with serving(made) as server:
        out = again(
            made.parent, {"kind": "webdataset", "path": f"{server.address}/shards/{{train,test}}-0000-noisy.tar"}
        )
        assert server.gets(SOURCES) == [f"/{SOURCES}"], "once for all shards"
    assert told(out) <= by_tile(made)
    assert {licence for _, licence, _ in told(out)} == {"CC0-1.0", "CC-BY-4.0", ""}


def test_as_datasets_reads_it(made: Path) -> None:
    each = [{"kind": "huggingface", "path": "./first", "split_name": split} for split in ("train", "test")]
    assert stated_of(again(made.parent, *each)) == stated_of(made)


def stated_of(out: Path) -> set[tuple[str, str]]:
    return {(row["licence"], row["attribution"]) for row in read_sources(out)}


def test_as_datasets_reads_its_export(made: Path) -> None:
    export(made, made.parent / "parquet", choose("parquet"))
    each = [{"kind": "huggingface", "path": "./parquet", "split_name": split} for split in ("train", "test")]
    assert stated_of(again(made.parent, *each)) == stated_of(made)


@pytest.mark.parametrize("kind", ["webdataset", "huggingface"])
def test_what_the_recipe_says_stands_above_it(made: Path, kind: str) -> None:
    name = {"path": "./first/"}
    out = again(made.parent, {"kind": kind, **name, "licence": "proprietary"})
    assert {licence for licence, _ in stated_of(out)} == {"proprietary"}


@pytest.mark.parametrize("kind", ["webdataset", "huggingface"])
def test_a_licence_that_changes_there_changes_here_and_no_shard(made: Path, kind: str) -> None:
    source = {"kind": kind, "path": "./first/"}
    out = again(made.parent, source)
    before = load_manifest(out)
    table = pq.read_table(made / SOURCES)
    place = table.schema.get_field_index("licence")
    pq.write_table(table.set_column(place, "licence", pa.array(["CC-BY-SA-4.0"] * len(table))), made / SOURCES)
    plan = plan_build(parse_recipe({"sources": [source]}, made.parent, "again"), out, Options()).plan
    assert (len(plan.build), plan.relabel) == (0, True)
    after = load_manifest(again(made.parent, source))
    assert {licence for licence, _ in stated_of(out)} == {"CC-BY-SA-4.0"}
    assert before is not None
    assert after is not None
    assert before.digest == after.digest


def test_shards_alone_state_nothing(made: Path) -> None:
    shutil.copytree(made / SHARDS, made.parent / "copied")
    out = again(made.parent, {"kind": "webdataset", "path": "copied"})
    assert stated_of(out) == {("", "")}
    assert load_manifest(out).notes == ()  # type: ignore[union-attr]


def test_a_table_that_cannot_be_read_is_told(made: Path) -> None:
    (made / SOURCES).write_bytes(b"PAR1")
    notes = load_manifest(again(made.parent, {"kind": "webdataset", "path": "first"})).notes  # type: ignore[union-attr]
    assert notes[0].startswith("first/sources.parquet cannot be read, so licences are not known: ")
    assert str(made.parent) not in notes[0]


def test_a_strangers_words_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    rows = [{"digest": "ab" * 32, "licence": "CC0\x1b[2J\n# Heading", "attribution": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / SOURCES)
    rights = rights_in(str(tmp_path))
    assert rights.of("ab" * 8 + "-y00000x00032") == ("CC0\\x1b[2J\\n# Heading", "")
    assert rights.of("cd" * 8) == ("", "")
    assert rights_in(str(tmp_path / "none")) == Rights()
