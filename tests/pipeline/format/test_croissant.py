"""croissant.json: valid to Croissant's own library, true to the files, and readable through it, record by record."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.format.croissant import COLUMNS, SOURCE_COLUMNS, key_globs
from patina.pipeline.format.layout import CROISSANT, MANIFEST, SAMPLES, SHARDS, SOURCES, sample_key
from patina.pipeline.format.manifest import (
    load_manifest,
    read_members,
    read_samples,
    read_sources,
    samples_schema,
    sources_schema,
)
from patina.pipeline.plan.planning import Options
from tests.pipeline.making import photo, photos, picture, save, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's warnings are theirs

DATE = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'
"""The one thing that Croissant recommends, and that only the recipe's author knows."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNG and JPEG, pairs, a composite, two splits, several shards; one degradation is called like a record set."""
    folder = tmp_path_factory.mktemp("croissant")
    photos(folder / "photos", 4)
    photo(folder / "photos" / "a.jpg", seed=9, quality=90)
    clean = picture(64, 48, seed=40)
    save(folder / "gt" / "p.png", clean)
    save(folder / "lq" / "p.png", clean // 2 + 100)
    sources = [
        {"path": "photos", "licence": "CC BY 4.0", "attribution": 'A. "Photo" <b>'},
        {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"},
    ]
    words: dict[str, Any] = {
        "samples": {"use": "noisy"},
        "jpeg-compressed": {},
        "uncompleted": {},
        "noisy+jpeg-compressed": {},
    }
    words["hazy+noisy"] = {"steps": True}
    recipe = tiny_recipe(folder, sources=sources, degradations=words, split={"val": 0.4}, buckets=2)
    build(recipe, folder / "out", Options(max_set_aside=0.5))
    return folder / "out"


@pytest.fixture(scope="module")
def described(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The dataset as mlcroissant loads it, which unpacks archives into a cache by their relative names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROISSANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        import mlcroissant
        from mlcroissant._src.operation_graph.operations import extract

        patch.setattr(extract, "EXTRACT_PATH", extract.EXTRACT_PATH.__class__(tmp_path_factory.mktemp("extract")))
        yield mlcroissant.Dataset(jsonld=str(dataset / CROISSANT))


def body(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / CROISSANT).read_text("utf-8"))
    return found


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record as its table has it: names without their record set, texts as texts."""

    def of(value: Any) -> Any:
        if isinstance(value, list):
            return [of(inner) for inner in value]
        return value.decode() if isinstance(value, bytes) else value

    return {name.partition("/")[2]: of(value) for name, value in record.items()}


def test_it_is_valid_and_lacks_nothing_but_a_date(described: Any) -> None:
    issues = described.metadata.ctx.issues
    assert not issues.errors
    assert [warning.partition("] ")[2] for warning in issues.warnings] == [DATE]


@pytest.mark.parametrize("published", ["", "2026-11-29"])
def test_with_a_date_in_the_recipe_it_lacks_nothing(published: str, tmp_path: Path) -> None:
    import mlcroissant

    photos(tmp_path / "photos", 1)
    build(tiny_recipe(tmp_path, **({"published": published} if published else {})), tmp_path / "out")
    issues = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / CROISSANT)).metadata.ctx.issues
    assert [warning.partition("] ")[2] for warning in issues.warnings] == ([] if published else [DATE])
    assert not issues.errors
    assert body(tmp_path / "out").get("datePublished", "") == published


def test_the_tables_are_read_through_it(described: Any, dataset: Path) -> None:
    rows = [{name: getattr(row, name) for name in samples_schema().names} for row in read_samples(dataset)]
    assert [plain(record) for record in described.records("samples")] == rows
    assert [plain(record) for record in described.records("sources")] == read_sources(dataset)


MAPS = {"uncompleted": ["mask"], "hazy+noisy": ["hazy-depth", "hazy-transmission", "step-1"]}


@pytest.mark.parametrize("entry", ["samples", "jpeg-compressed", "hazy", "noisy+jpeg-compressed", *MAPS])
def test_the_images_are_read_through_it(described: Any, dataset: Path, entry: str) -> None:
    rows = {row.key: row for row in read_samples(dataset) if row.entry == entry}
    maps = [(name, (f"{name}.png",)) for name in MAPS.get(entry, ())]
    for name, suffixes in (("lq", ("png", "jpg")), ("gt", ("gt.png", "gt.jpg")), *maps):
        records = [plain(record) for record in described.records(f"{name}-{entry}")]
        found = {record["key"]: record for record in records}
        assert len(records) == len(rows) and found.keys() == rows.keys()
        for key, record in found.items():
            members, row = read_members(dataset, rows[key]), rows[key]
            (stored,) = [members[suffix] for suffix in suffixes if suffix in members]
            image, expected = np.asarray(record[name]), np.asarray(PIL.Image.open(io.BytesIO(stored)))
            assert np.array_equal(image, expected) and image.dtype == expected.dtype
            assert all(record[column] == getattr(row, column) for column in ("split", "caption", "degradation"))
    own = {r["@id"].removesuffix(f"-{entry}") for r in body(dataset)["recordSet"] if r["@id"].endswith(f"-{entry}")}
    assert own == {"lq", "gt", *MAPS.get(entry, ())}


def test_splits_and_labels_are_listed(described: Any, dataset: Path) -> None:
    rows = read_samples(dataset)
    for name, expected in (("splits", {r.split for r in rows}), ("labels", {r.degradation for r in rows})):
        found = [plain(record)["name"] for record in described.records(name)]
        assert len(found) == len(expected) and set(found) == expected


def test_its_files_are_those_that_are_there(dataset: Path) -> None:
    files = {f["contentUrl"]: f for f in body(dataset)["distribution"] if f["@type"] == "cr:FileObject"}
    manifest = load_manifest(dataset)
    assert manifest is not None
    assert files.keys() == {MANIFEST, SAMPLES, SOURCES, *(f"{SHARDS}/{s.name}" for s in manifest.shards)}
    for name, file in files.items():
        data = (dataset / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest(), name
        assert file["contentSize"] == f"{len(data)} B"


def test_every_column_is_described() -> None:
    assert set(samples_schema().names) <= COLUMNS.keys()
    assert set(sources_schema().names) <= SOURCE_COLUMNS.keys()


def test_keys_match_their_globs_and_truth_maps_do_not(tmp_path: Path) -> None:
    import fnmatch

    photos(tmp_path / "photos", 1)
    recipe = tiny_recipe(tmp_path, degradations={"uncompleted": {"variants": 2}, "low-light": {}}, tiles={"size": 32})
    build(recipe, tmp_path / "out")
    keys = {row.key: row.entry for row in read_samples(tmp_path / "out")}
    whole = {f"0123456789abcdef-low-light{variant}": "low-light" for variant in ("", "-v001")}
    places = ((1234567, 16), (0, 100000))
    wide = {sample_key("0123456789abcdef", "low-light", place, 1): "low-light" for place in places}
    for samples, tile in ((keys, (5, 5)), (whole, None), (keys | wide, (6, 7))):
        for key, entry in samples.items():
            for extension in ("png", "jpg", "gt.png"):
                for other in ("low-light", "uncompleted"):
                    found = [fnmatch.fnmatch(f"{key}.{extension}", f"{g}.{extension}") for g in key_globs(other, tile)]
                    assert sum(found) == (entry == other)
            for name in ("gt.png", "mask.png", "noise.png", "step-1.png", "a-v001.png"):
                assert not any(fnmatch.fnmatch(f"{key}.{name}", f"{glob}.png") for glob in key_globs(entry, tile))


def test_it_tells_licences_and_texts_as_they_are(dataset: Path) -> None:
    found = body(dataset)
    assert found["license"] == ["https://spdx.org/licenses/CC-BY-4.0"]
    assert found["name"] == "tiny"
    assert found["keywords"][:2] == ["image restoration", "image degradation"]
    assert re.fullmatch(r"1\.0\.0\+[0-9a-f]{16}", found["version"])
    assert found["recordSet"][0]["key"] == [{"@id": "samples/shard"}, {"@id": "samples/key"}]


def test_the_same_dataset_has_the_same_description(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        photos(tmp_path / name / "photos", 3)
        if name == "one":
            build(tiny_recipe(tmp_path / name, degradations={"jpeg-compressed": {}}), tmp_path / name / "out")
        words = {"noisy": {}, "jpeg-compressed": {}}
        build(tiny_recipe(tmp_path / name, degradations=words), tmp_path / name / "out")
        texts.append((tmp_path / name / "out" / CROISSANT).read_text("utf-8"))
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", texts[0]), "no date"
