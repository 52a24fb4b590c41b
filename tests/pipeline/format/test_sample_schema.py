"""The fields of KEY.json are those that are written, and what is made of them agrees with the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.format.manifest import load_manifest, read_members, read_samples, samples_schema
from patina.pipeline.format.rows import row_of
from patina.pipeline.format.sample_schema import COLUMNS, FIELDS, MEANINGS, checked, leaves, value_at
from patina.pipeline.plan.planning import Options
from tests.pipeline.making import photos, tiny_recipe

PLACES = ("shard", "offset", "size", "split")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schema")
    photos(folder / "photos", 2)
    build(tiny_recipe(folder), folder / "out", Options(workers=1))
    return folder / "out"


@pytest.fixture(scope="module")
def fact(dataset: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_members(dataset, read_samples(dataset)[0])["json"])
    return found


def test_what_is_written_has_exactly_these_fields(dataset: Path) -> None:
    assert load_manifest(dataset) is not None
    for row in read_samples(dataset):
        members = read_members(dataset, row)
        found = json.loads(members["json"])
        assert checked(found) == found
        assert row_of(row.key, members, row.span, row.shard, row.split) == row
        assert {column: value_at(found, path) for column, path in COLUMNS.items()} == {
            column: getattr(row, column) for column in COLUMNS
        }


def test_a_field_that_is_missing_unknown_or_of_another_type_is_refused(fact: dict[str, Any]) -> None:
    fields = {name: value for name, value in fact.items() if name != "seed"}
    severity = {**fact["severity"], "psnr": "12"}
    for wrong, told in (
        (fields, r"lacks the fields \['seed'\]"),
        ({**fact, "hue": 1}, r"unknown ones \['hue'\]"),
        ({**fact, "variant": "0"}, "variant is of the type int64, found '0'"),
        ({**fact, "variant": True}, "variant is of the type int64, found True"),
        ({**fact, "degradations": [1]}, "degradations is of the type strings"),
        ({**fact, "text": "a text"}, "text is of the type struct"),
        ({**fact, "severity": severity}, r"severity\.psnr is of the type float64, found '12'"),
    ):
        with pytest.raises(TypeError, match=told):
            checked(wrong)


def test_the_columns_are_those_of_the_table() -> None:
    assert sorted(samples_schema().names) == sorted([*PLACES, *COLUMNS])
    kinds = {field.column: field.kind for _, field in leaves() if field.column}
    for column, kind in kinds.items():
        found = samples_schema().field(column).type
        test = {"string": pa.types.is_string, "int64": pa.types.is_integer, "float64": pa.types.is_floating}[kind]
        assert test(found), column


def test_each_field_is_there_once_and_has_one_line_of_meaning() -> None:
    paths = [path for path, _ in leaves()]
    assert len(set(paths)) == len(paths) and len(COLUMNS) == len(MEANINGS) == sum(bool(f.column) for _, f in leaves())
    for field in (*FIELDS, *(field for _, field in leaves())):
        assert field.meaning and "\n" not in field.meaning + field.markdown and "|" not in field.meaning
        assert bool(field.fields) == (field.kind == "struct")
