"""Parameters as they are typed, read by the schema that Prefect makes of each flow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.flows.deployments import OFFERS, Offer
from patina.flows.errors import RunError
from patina.flows.parameters import read_parameters, split_words


def schema_of(offer: Offer) -> dict[str, Any]:
    return offer.flow.parameters.model_dump_for_openapi()  # type: ignore[no-any-return]


SCHEMAS = {offer.name: schema_of(offer) for offer in OFFERS}
LEAST = {
    "build-dataset": ["recipe=demo", "out=OUT"],
    "export-dataset": ["dataset=OUT", "to=daclip", "out=DIR"],
    "evaluate": ["run=RUN", "dataset=OUT"],
}


NEEDED = {"watch-sources": ["recipe", "out"]}
"""What has to be given although it has a default, which says in words that it is none."""


def read(name: str, *words: str) -> dict[str, Any]:
    held = next(offer.parameters for offer in OFFERS if offer.name == name)
    return read_parameters(name, split_words(words), SCHEMAS[name], held)


def value(name: str, word: str) -> Any:
    found = read(name, *(w for w in LEAST[name] if w.partition("=")[0] != word.partition("=")[0]), word)
    return found[word.partition("=")[0]]


@pytest.mark.parametrize(
    ("name", "word", "expected"),
    [
        ("build-dataset", "out=123", "123"),
        ("build-dataset", "out=true", "true"),
        ("build-dataset", "out=a=b", "a=b"),
        ("build-dataset", 'out="123"', "123"),
        ("build-dataset", 'out="half', '"half'),
        ("build-dataset", "out=[1]", "[1]"),
        ("build-dataset", "address=", ""),
        ("build-dataset", "workers=2", 2),
        ("build-dataset", "workers=2.0", 2),
        ("build-dataset", "max_set_aside=0.5", 0.5),
        ("build-dataset", "max_set_aside=1", 1.0),
        *(("build-dataset", f"strict={word}", True) for word in ("yes", "true", "True", "on", "1")),
        *(("build-dataset", f"strict={word}", False) for word in ("no", "false", "FALSE", "off", "0")),
        ("build-dataset", "devices=cpu", ["cpu"]),
        ("build-dataset", "devices=cuda:0, cuda:1", ["cuda:0", "cuda:1"]),
        ("build-dataset", 'devices=["cpu"]', ["cpu"]),
        ("build-dataset", "devices=", []),
        ("build-dataset", "devices=[]", []),
        ("build-dataset", "runner=dask", "dask"),
        ("export-dataset", "splits=train,val", ["train", "val"]),
        ("export-dataset", 'splits=["test"]', ["test"]),
        ("export-dataset", "degradations=15", ["15"]),
        ("evaluate", "sampler=", ""),
        ("evaluate", "seed=-3", -3),
    ],
)
def test_a_value_is_read_as_the_flow_takes_it(name: str, word: str, expected: object) -> None:
    found = value(name, word)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "word", "told"),
    [
        ("build-dataset", "workers=two", "workers = 'two'; expected a whole number"),
        ("build-dataset", "workers=2.5", "workers = '2.5'; expected a whole number"),
        ("build-dataset", "workers=", "workers = ''; expected a whole number"),
        ("build-dataset", "workers=-1", "-1 is less than the minimum of 0"),
        ("build-dataset", "max_set_aside=half", "expected a number"),
        ("build-dataset", "max_set_aside=nan", "expected a number"),
        ("build-dataset", "max_set_aside=2", "2.0 is greater than the maximum of 1"),
        ("build-dataset", "strict=maybe", "strict = 'maybe'; expected true or false"),
        ("build-dataset", "runner=dsk", "runner = 'dsk'; did you mean 'dask'?"),
        ("build-dataset", "devices=[1", "expected values with commas between them, or a JSON list"),
        ("build-dataset", "out=", "out"),
        ("export-dataset", "splits=train,vla", "splits = 'vla'; did you mean 'val'?"),
        ("export-dataset", "to=hub", "to = 'hub'; known: daclip, energon, folders, "),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, word: str, told: str) -> None:
    with pytest.raises(RunError) as caught:
        value(name, word)
    assert told in str(caught.value)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_a_deployment_without_parameters_takes_none() -> None:
    assert SCHEMAS["end-lost-tasks"]["properties"] == {}
    assert read("end-lost-tasks") == {}
    with pytest.raises(RunError, match="end-lost-tasks has no parameter 'out'; it has none"):
        read("end-lost-tasks", "out=x")


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_every_deployment_names_the_nearest_parameter_and_what_it_lacks(name: str) -> None:
    known = SCHEMAS[name]["properties"]
    needed = NEEDED.get(name) or SCHEMAS[name].get("required", [])
    held = dict.fromkeys(needed, "x")
    for parameter in known:
        with pytest.raises(RunError, match=rf"{name} has no parameter '{parameter}x'; did you mean '{parameter}'\?"):
            read_parameters(name, [(f"{parameter}x", "1")], SCHEMAS[name], held)
    if needed:
        with pytest.raises(RunError, match=rf"{name} needs {', '.join(needed)}: -p {needed[0]}=…"):
            read_parameters(name, [], SCHEMAS[name], {})
    assert read_parameters(name, [], SCHEMAS[name], dict.fromkeys(needed, "daclip")) == {}


def test_a_list_may_come_in_several_words_and_nothing_else() -> None:
    assert read("build-dataset", *LEAST["build-dataset"], "devices=cpu", "devices=cuda:0")["devices"] == [
        "cpu",
        "cuda:0",
    ]
    with pytest.raises(RunError, match="build-dataset: out was given twice; give it once"):
        read("build-dataset", *LEAST["build-dataset"], "out=OTHER")


def test_a_schema_of_another_program_is_followed() -> None:
    schema = {
        "title": "Parameters",
        "properties": {
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "either": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}]},
            "colour": {"allOf": [{"$ref": "#/definitions/Colour"}]},
            "table": {"type": "object"},
            "anything": {"title": "anything"},
        },
        "definitions": {"Colour": {"enum": ["red", "blue"], "type": "string"}},
    }
    pairs = split_words(["maybe=none", "either=1,2", "colour=red", 'table={"a": 1}', "anything=[1, 2]"])
    expected = {"maybe": None, "either": [1, 2], "colour": "red", "table": {"a": 1}, "anything": [1, 2]}
    assert read_parameters("theirs", pairs, schema, {}) == expected
    assert read_parameters("theirs", [("either", "a,b"), ("maybe", "3")], schema, {}) == {"either": "a,b", "maybe": 3}
    with pytest.raises(RunError, match="colour = 'rod'; did you mean 'red'"):
        read_parameters("theirs", [("colour", "rod")], schema, {})
    with pytest.raises(RunError, match="maybe = 'x'; expected a whole number or none"):
        read_parameters("theirs", [("maybe", "x")], schema, {})
    assert read_parameters("old", [("a", "1"), ("b", "x")], {}, {}) == {"a": 1, "b": "x"}


NESTED = {
    "title": "Parameters",
    "properties": {
        "tile": {"anyOf": [{"$ref": "#/$defs/Tile"}, {"type": "null"}]},
        "sides": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "marks": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        "tiles": {"type": "array", "items": {"$ref": "#/$defs/Tile"}},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {
        "Tile": {
            "type": "object",
            "properties": {
                "size": {"type": "integer"},
                "whole": {"type": "boolean"},
                "inner": {"$ref": "#/$defs/Tile"},
            },
            "required": ["size"],
        }
    },
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ('tile={"size": 64, "whole": true}', {"size": 64, "whole": True}),
        ('tile={"size": 64, "inner": {"size": 8}}', {"size": 64, "inner": {"size": 8}}),
        ("tile=null", None),
        ("sides=[[1, 2], [3]]", [[1, 2], [3]]),
        ('marks=["null", null, "a,b"]', ["null", None, "a,b"]),
        ("marks=a,null", ["a", None]),
        ('tiles=[{"size": 1}, {"size": 2}]', [{"size": 1}, {"size": 2}]),
        ("maybe=none", None),
        ('maybe="none"', "none"),
        ("maybe=", ""),
    ],
)
def test_nested_values_are_read_as_their_schema_says(word: str, expected: object) -> None:
    name, _, text = word.partition("=")
    assert read_parameters("theirs", [(name, text)], NESTED, {}) == {name: expected}


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ('tile={"sice": 64}', "tile has no key 'sice'; did you mean 'size'?"),
        (
            'tile={"size": 64, "inner": {"size": 1, "whole": "perhaps"}}',
            "tile.inner.whole = 'perhaps'; expected true or false",
        ),
        ('tiles=[{"size": "large"}]', "tiles.size = 'large'; expected a whole number"),
        ("sides=[[1, 2], [x]]", "sides = '[[1, 2], [x]]'; expected values"),
        ("sides=[[1, true]]", "sides = 'true'; expected a whole number"),
        ('tile={"whole": true}', "tile lacks size"),
    ],
)
def test_nested_values_that_do_not_fit_are_refused(word: str, told: str) -> None:
    name, _, text = word.partition("=")
    with pytest.raises(RunError) as caught:
        read_parameters("theirs", [(name, text)], NESTED, {})
    assert told in str(caught.value)


@pytest.mark.parametrize("word", ["workers", "=2", ""])
def test_a_parameter_without_name_or_value_is_refused(word: str) -> None:
    with pytest.raises(RunError, match="expected name=value, found"):
        split_words([word])


@given(st.sampled_from(sorted(SCHEMAS["evaluate"]["properties"])), st.text(max_size=40))
def test_whatever_is_typed_becomes_a_value_or_an_error_in_words(parameter: str, text: str) -> None:
    held = dict.fromkeys(("run", "dataset"), "x")
    try:
        found = read_parameters("evaluate", [(parameter, text)], SCHEMAS["evaluate"], held)
    except RunError as error:
        assert "\n" not in str(error)
    else:
        assert list(found) == [parameter]
