"""The recipe: refused with a hint where it cannot be meant, resolved where it can, and read back as it was written."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.captioning import CAPTIONERS
from patina.pipeline.errors import RecipeError
from patina.pipeline.hashing import bucket_of, canonical_json
from patina.pipeline.recipe.parse import load_recipe, parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.recipe.settings import construct
from patina.pipeline.recipe.shipped import FOLDER
from patina.pipeline.sources import READERS
from patina.pipeline.sources.folder import Folder
from patina.synth.degradations import CATALOGUE
from patina.synth.degradations.noisy import Noisy
from tests.pipeline.making import tiny_recipe

HERE = Path("/recipes")
LEAST: dict[str, Any] = {"sources": [{"path": "photos"}], "degradations": {"noisy": {}}}


def parse(**changes: Any) -> Recipe:
    return parse_recipe({**LEAST, **changes}, HERE)


def noisy(**settings: Any) -> Recipe:
    return parse(degradations={"noisy": settings})


def refusal(**changes: Any) -> str:
    """What is said about a recipe that cannot be meant."""
    with pytest.raises(RecipeError) as caught:
        parse(**changes)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Unknown keys


@pytest.mark.parametrize(
    ("table", "where", "hint"),
    [
        ({"sead": 3}, "the recipe has no key 'sead'", "did you mean 'seed'?"),
        ({"degradation": {"noisy": {}}}, "the recipe has no key 'degradation'", "did you mean 'degradations'?"),
        ({"sources": [{"pth": "x"}]}, "[[sources]] of kind folder has no key 'pth'", "did you mean 'path'?"),
        ({"sources": [{"kind": "foldr"}]}, "[[sources]]: there is no kind 'foldr'", "did you mean 'folder'?"),
        (
            {"sources": [{"kind": "pairs", "lq": "a", "gt": "b", "degradation": "hazy", "gt_patern": "x"}]},
            "[[sources]] of kind pairs has no key 'gt_patern'",
            "did you mean 'gt_pattern'?",
        ),
        ({"captions": {"kind": "templat"}}, "[captions]: there is no kind 'templat'", "did you mean 'template'?"),
        ({"captions": {"txt": "x"}}, "[captions] of kind template has no key 'txt'", "did you mean 'text'?"),
        ({"captions": {"fallback": "tmplate"}}, "[captions] fallback: there is no kind 'tmplate'", "did you mean 'te"),
        ({"tiles": {"sise": 256}}, "[tiles] has no key 'sise'", "did you mean 'size'?"),
        ({"split": {"vla": 0.1}}, "[split] has no key 'vla'", "did you mean 'val'?"),
        ({"split": {"train": 0.9}}, "[split] has no key 'train'", "known: leaks, test, val"),
        ({"buckets": {"tran": 2}}, "buckets has no key 'tran'", "did you mean 'train'?"),
        ({"degradations": {"nosy": {}}}, "[degradations.nosy]: no degradation ", "did you mean 'noisy'?"),
        (
            {"degradations": {"noisy": {"sigmas": 5}}},
            "[degradations.noisy] has no key 'sigmas'",
            "did you mean 'sigma'?",
        ),
        (
            {"degradations": {"noisy": {"variant": 2}}},
            "[degradations.noisy] has no key 'variant'",
            "did you mean 'vari",
        ),
        (
            {"degradations": {"x": {"use": "nosy"}}},
            "[degradations.x]: no degradation is called 'nosy'",
            "mean 'noisy'?",
        ),
        (
            {"degradations": {"hay+noisy": {}}},
            "[degradations.hay+noisy] hay: no degradation is called 'hay'",
            "known: ",
        ),
        (
            {"degradations": {"noisy+jpeg-compressed": {"nois": {}}}},
            "[degradations.noisy+jpeg-compressed] has no key 'nois'",
            "did you mean 'noisy'?",
        ),
        (
            {"degradations": {"noisy+jpeg-compressed": {"noisy": {"sgma": 5}}}},
            "[degradations.noisy+jpeg-compressed] noisy has no key 'sgma'",
            "did you mean 'sigma'?",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known_one(table: dict[str, Any], where: str, hint: str) -> None:
    told = refusal(**table)
    assert told.startswith(where)
    assert hint in told
    assert "known: " in told


def test_a_key_like_no_other_gets_the_whole_list() -> None:
    assert refusal(xyzzy=1) == (
        "the recipe has no key 'xyzzy'; "
        "known: buckets, captions, degradations, name, published, seed, sources, split, storage, tiles"
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of values


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"name": 5}, "name: expected a text, found 5"),
        ({"seed": -1}, "seed: expected a whole number from 0 to 9223372036854775807, found -1"),
        ({"seed": True}, "seed: expected a whole number from 0 to 9223372036854775807, found True"),
        ({"seed": 1.0}, "seed: expected a whole number from 0 to 9223372036854775807, found 1.0"),
        ({"buckets": 0}, "buckets: expected a whole number from 1 to 10000, found 0"),
        ({"buckets": {"val": "2"}}, "buckets.val: expected a whole number from 1 to 10000, found '2'"),
        ({"sources": {"path": "x"}}, "sources: expected [[sources]] tables, found {'path': 'x'}"),
        ({"sources": ["x"]}, "[[sources]]: expected a table, found 'x'"),
        ({"sources": [{"kind": ["folder"]}]}, "[[sources]] kind: expected a word, found ['folder']"),
        ({"sources": [{}]}, "[[sources]] of kind folder: path is missing"),
        ({"sources": [{"path": 5}]}, "[[sources]] of kind folder path: expected a path, found 5"),
        ({"sources": [{"path": "x", "licence": 5}]}, "[[sources]] of kind folder licence: expected a text, found 5"),
        (
            {"sources": [{"path": "x", "split": "dev"}]},
            "[[sources]] split: expected one of train, val, test, found 'dev'",
        ),
        (
            {"sources": [{"path": "x", "include": 5}]},
            '[[sources]] of kind folder: include: expected patterns such as ["*.jpg"], found 5',
        ),
        ({"captions": "template"}, "captions: expected a [captions] table, found 'template'"),
        ({"captions": {"fallback": False}}, "captions.fallback: expected a captioner's word or table, found False"),
        ({"tiles": 256}, "tiles: expected a [tiles] table, found 256"),
        ({"tiles": {}}, "[tiles]: size is missing"),
        ({"tiles": {"size": 15}}, "[tiles]: size: expected a whole number from 16 to 65536, found 15"),
        ({"tiles": {"size": 256.0}}, "[tiles]: size: expected a whole number from 16 to 65536, found 256.0"),
        ({"tiles": {"size": 64, "stride": -1}}, "[tiles]: stride: expected a whole number from 0 to 65536, found -1"),
        ({"split": {"val": "a tenth"}}, "[split]: val: expected a share from 0 to 1, found 'a tenth'"),
        ({"split": {"test": 1.5}}, "[split]: test: expected a share from 0 to 1, found 1.5"),
        ({"split": {"val": float("nan")}}, "[split]: val: expected a share from 0 to 1, found nan"),
        ({"split": {"val": 0.6, "test": 0.6}}, "[split]: val 0.6 and test 0.6 are more than 1 together"),
        ({"degradations": ["noisy"]}, "degradations: expected tables, found ['noisy']"),
        ({"degradations": {"noisy": 25}}, "degradations.noisy: expected a table [degradations.noisy], found 25"),
        (
            {"degradations": {"noisy": {"variants": 0}}},
            "degradations.noisy.variants: expected a whole number from 1 to 1000, found 0",
        ),
        (
            {"degradations": {"noisy": {"sigma": "50"}}},
            "[degradations.noisy]: sigma: expected a number from 0 to 255, found '50'",
        ),
        (
            {"degradations": {"noisy": {"sigma": {"min": 9, "max": 5}}}},
            "[degradations.noisy]: sigma: min 9 is above max 5; swap them",
        ),
    ],
)
def test_values_of_another_kind_are_refused(table: dict[str, Any], told: str) -> None:
    assert refusal(**table) == told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"use": 5}, "[degradations.x] use: expected a degradation's word, found 5"),
        ({"use": "noisy", "severity": 5}, "[degradations.x] severity: expected words such as 'mild..severe', found 5"),
        ({"parts": "noisy"}, "[degradations.x] parts: expected a list of degradations' words, found 'noisy'"),
        ({"parts": ["noisy", ["hazy"]]}, "[degradations.x] parts: expected a degradation's word, found ['hazy']"),
        ({"parts": ["noisy", "jpeg-compressed"], "noisy": 5}, "[degradations.x] noisy: expected a table, found 5"),
        (
            {"parts": ["noisy", "jpeg-compressed"], "steps": 1},
            "[degradations.x] steps: expected true or false, found 1",
        ),
    ],
)
def test_a_composite_is_made_of_words_and_tables(settings: dict[str, Any], told: str) -> None:
    assert refusal(degradations={"x": settings}) == told


@pytest.mark.parametrize("entry", ["Noisy", "two words", "a/b", "a.b", "-a", "a+", "ü"])
def test_an_entry_of_degradations_must_be_fit_for_a_file_name(entry: str) -> None:
    assert refusal(degradations={entry: {"use": "noisy"}}).startswith(f"[degradations.{entry}]: expected lower-case ")


def test_a_recipe_needs_a_source_and_something_to_do() -> None:
    assert refusal(sources=[]).startswith("no [[sources]]: name at least one folder")
    assert refusal(degradations={}).startswith("no [degradations.…]: name at least one of ")
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    assert parse(sources=[pairs], degradations={}).degradations == {}


@pytest.mark.parametrize(
    ("family", "member"), [(family, member) for family in (READERS, CAPTIONERS, CATALOGUE) for member in family]
)
def test_every_text_setting_refuses_what_is_no_text(family: dict[str, type], member: str) -> None:
    """Whatever a class checks by itself: a number for a licence would stop a build at its very end."""
    needed = {"path": "photos", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    fields = {f.name: f for f in dataclasses.fields(family[member]) if f.init}
    given = {name: needed[name] for name, f in fields.items() if f.default is dataclasses.MISSING and name in needed}
    for name, f in fields.items():
        if f.type == "str":
            with pytest.raises(RecipeError, match=f"{name}: expected .*, found 5"):
                construct(member, family[member], {**given, name: 5}, HERE)


# ---------------------------------------------------------------------------------------------------------------------
# What it resolves to


@pytest.mark.parametrize("written", ["2026-11-29", date(2026, 11, 29), "20261129"])
def test_a_day_of_publication_is_kept_as_one(written: object) -> None:
    recipe = parse(published=written)
    assert recipe.table["published"] == "2026-11-29"
    assert parse_recipe(tomllib.loads(recipe.to_toml()), HERE).table == recipe.table
    assert "published" not in parse().table


@pytest.mark.parametrize("written", ["today", "2026-13-01", 2026, datetime(2026, 11, 29, 6, 20), ["2026-11-29"], True])
def test_what_is_no_day_is_refused(written: object) -> None:
    assert refusal(published=written).startswith("published: expected a day such as 2026-11-29, found ")


def test_every_default_is_filled_in() -> None:
    table = tomllib.loads(parse().to_toml())
    noise = table.pop("degradations")["noisy"]
    assert noise.items() >= {"sigma": 50, "legacy_floor": False, "variants": 1}.items()
    assert table == {
        "name": "recipe",
        "seed": 0,
        "buckets": {"train": 1, "val": 1, "test": 1},
        "split": {"val": 0.0, "test": 0.0, "leaks": "mend"},
        "storage": {"lq": "own", "gt": "source", "uniform": True},
        "sources": [
            {
                "kind": "folder",
                "path": "photos",
                "include": ["*"],
                "degradations": [],
                "split": "",
                "licence": "",
                "attribution": "",
            }
        ],
        "captions": {
            "kind": "template",
            "text": "a {tone} {orientation} photograph",
            "fallback": "",
            "filter": {
                "min_words": 1,
                "max_words": 0,
                "max_repeats": 3,
                "refuse_words": [],
                "refuse_non_words": True,
                "refuse_pattern": "",
                "refuse_unfinished": True,
            },
        },
    }


shares = st.floats(0, 0.5).map(lambda share: round(share, 3))
sigma_values = st.one_of(
    st.integers(0, 255),
    st.floats(0, 255),
    st.lists(st.integers(0, 255), min_size=1, max_size=4),
    st.tuples(st.floats(0, 100), st.floats(100, 255)).map(lambda ends: {"min": ends[0], "max": ends[1]}),
)
folders = st.fixed_dictionaries(
    {"path": st.text("abc é'\"\\/.", min_size=1, max_size=12).filter(lambda path: "\0" not in path)},
    optional={
        "include": st.lists(st.sampled_from(["*.jpg", "a/*", "[ab]*"]), min_size=1, max_size=2),
        "split": st.sampled_from(["", "train", "val", "test"]),
        "licence": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    },
)
tables = st.fixed_dictionaries(
    {
        "sources": st.lists(folders, min_size=1, max_size=2),
        "degradations": st.fixed_dictionaries(
            {"noisy": st.fixed_dictionaries({"sigma": sigma_values}, optional={"variants": st.integers(1, 1000)})},
            optional={
                "jpeg-compressed": st.fixed_dictionaries({"quality": st.integers(1, 100)}),
                "strong": st.fixed_dictionaries({"use": st.just("noisy"), "sigma": sigma_values}),
                "noisy+jpeg-compressed": st.fixed_dictionaries({}, optional={"steps": st.booleans()}),
                "both": st.fixed_dictionaries(
                    {"parts": st.just(["noisy", "jpeg-compressed"])},
                    optional={"noisy": st.fixed_dictionaries({"sigma": sigma_values})},
                ),
            },
        ),
    },
    optional={
        "name": st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
        "seed": st.integers(0, 2**63 - 1),
        "buckets": st.integers(1, 10_000) | st.fixed_dictionaries({}, optional={"train": st.integers(1, 99)}),
        "split": st.fixed_dictionaries({}, optional={"val": shares, "test": shares}),
        "tiles": st.fixed_dictionaries({"size": st.integers(16, 512)}, optional={"stride": st.integers(0, 512)}),
        "captions": st.fixed_dictionaries({"text": st.just("{name}, {colour}")}),
    },
)


@given(tables)
def test_what_it_resolves_to_reads_back_as_the_same_recipe(table: dict[str, Any]) -> None:
    recipe = parse_recipe(table, HERE)
    again = parse_recipe(tomllib.loads(recipe.to_toml()), HERE, "another file")
    assert again == recipe
    assert again.digest == recipe.digest
    assert again.to_toml() == recipe.to_toml()


def test_the_digest_is_of_what_is_resolved() -> None:
    written_out = parse(seed=0, buckets={"train": 1}, split={"val": 0.0}, degradations={"noisy": {"sigma": 50}})
    assert written_out.digest == parse().digest
    assert parse(seed=1).digest != parse().digest
    assert noisy(sigma=25).digest != parse().digest


def test_a_setting_is_a_number_a_list_or_a_range() -> None:
    def sigma(recipe: Recipe) -> Any:
        degradation = recipe.degradations["noisy"].degradation
        assert isinstance(degradation, Noisy)
        return degradation.sigma

    assert sigma(noisy(sigma=25)) == 25
    assert sigma(noisy(sigma=[15, 25, 50])) == (15, 25, 50)
    assert sigma(noisy(sigma={"min": 5, "max": 55})) == {"min": 5, "max": 55}
    assert noisy(sigma=[15, 25]).table["degradations"]["noisy"]["sigma"] == [15, 25]


def test_buckets_are_one_number_or_one_for_each_split() -> None:
    assert parse(buckets=7).buckets == {"train": 7, "val": 7, "test": 7}
    assert parse(buckets={"train": 7}).buckets == {"train": 7, "val": 1, "test": 1}


@given(st.integers(0, 2**256 - 1), st.integers(1, 10_000))
def test_every_digest_has_its_bucket(number: int, buckets: int) -> None:
    assert 0 <= bucket_of(f"{number:064x}", buckets) < buckets


@pytest.mark.parametrize(
    ("width", "height", "stride", "places"),
    [
        (64, 64, 0, [(0, 0), (32, 0), (0, 32), (32, 32)]),
        (70, 32, 0, [(0, 0), (32, 0), (38, 0)]),  # the last one flush with the edge
        (64, 32, 16, [(0, 0), (16, 0), (32, 0)]),
        (32, 32, 0, [(0, 0)]),
        (31, 99, 0, []),
    ],
)
def test_tiles_cover_all_of_a_photograph(width: int, height: int, stride: int, places: list[tuple[int, int]]) -> None:
    recipe = parse(tiles={"size": 32, "stride": stride})
    assert recipe.cut(width, height) == [(x, y, 32, 32) for x, y in places]


# ---------------------------------------------------------------------------------------------------------------------
# Files


def write(path: Path, text: str = '[[sources]]\npath = "photos"\n[degradations.noisy]\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def folder_of(recipe: Recipe) -> str:
    (source,) = recipe.sources
    assert isinstance(source, Folder)
    return source.path


def test_relative_paths_start_at_the_recipes_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "recipes" / "mine.toml")
    monkeypatch.chdir(tmp_path)
    for way in (path, Path("recipes/mine.toml")):
        recipe = load_recipe(way)
        assert folder_of(recipe) == str(tmp_path / "recipes" / "photos")
        assert (recipe.name, recipe.folder) == ("mine", tmp_path / "recipes")
        assert recipe.table["sources"][0]["path"] == "photos"  # as it was written: the digest knows no machine


def test_absolute_paths_and_home_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for written, meant in (("/data/photos", "/data/photos"), ("~/photos", f"{tmp_path}/home/photos")):
        assert folder_of(tiny_recipe(tmp_path, sources=[{"path": written}])) == meant


def test_a_recipe_that_comes_with_patina_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "package" / "recipes" / "known.toml")
    monkeypatch.setattr("patina.pipeline.recipe.shipped.FOLDER", tmp_path / "package" / "recipes")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("known")).name == "known"
    (tmp_path / "known").mkdir()  # such as the folder that it was built into
    assert load_recipe(Path("known")).name == "known"
    write(tmp_path / "known.toml", 'name = "own"\n[[sources]]\npath = "x"\n[degradations.noisy]\n')
    assert load_recipe(Path("known.toml")).name == "own"


OWN = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("own", OWN, ids=lambda path: path.stem)
def test_every_recipe_that_comes_with_patina_can_be_read(own: Path, tmp_path: Path) -> None:
    captions = tomllib.loads(own.read_text("utf-8")).get("captions", {})
    if captions.get("path"):
        write(tmp_path / captions["path"], "name,caption\n")
    shutil.copy(own, tmp_path)
    recipe = load_recipe(tmp_path / own.name)
    assert parse_recipe(tomllib.loads(recipe.to_toml()), tmp_path) == recipe


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"seed = \n", "not valid TOML: Invalid value (at line 1, column 8)"),
        (b"\xff\xd8\xff\xe0 a photograph", "not valid TOML: it is no UTF-8 text"),
        (b"sead = 3", "the recipe has no key 'sead'; did you mean 'seed'? known: "),
    ],
)
def test_a_file_that_is_no_recipe_says_which_and_why(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: {told}")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(RecipeError) as caught:
            load_recipe(path)
        assert str(caught.value) == f"{path}: cannot be read: {why}"


plain = st.none() | st.booleans() | st.integers() | st.text()
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(nested)
def test_canonical_json_has_one_spelling(value: Any) -> None:
    def shuffled(part: Any) -> Any:
        return {key: shuffled(part[key]) for key in reversed(part)} if isinstance(part, dict) else part

    assert canonical_json(shuffled(value)) == canonical_json(value)


def test_a_degradation_that_no_source_names_is_refused() -> None:
    both = {"noisy": {}, "jpeg-compressed": {}}
    one = {"path": "photos", "degradations": ["noisy"]}
    told = refusal(sources=[one], degradations=both)
    assert told.startswith("[degradations.jpeg-compressed] is applied to nothing: every source names its own")
    pairs = {"kind": "pairs", "lq": "a", "gt": "b", "degradation": "hazy"}
    for other in ({"path": "more"}, {"path": "more", "degradations": ["jpeg-compressed"]}, pairs):
        assert set(parse(sources=[one, other], degradations=both).degradations) == set(both)


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    table = {"sources": [{"path": os.fsdecode(b"caf\xe9")}], "degradations": {"noisy": {}}}
    with pytest.raises(RecipeError, match="expected text, found bytes that are no UTF-8"):
        parse_recipe(table, tmp_path)
    assert parse_recipe({**table, "sources": [{"path": "café \N{RAINBOW}"}]}, tmp_path)


def test_a_folder_that_is_named_as_a_dataset_of_the_hub_is_asked_about(tmp_path: Path) -> None:
    table = {"sources": [{"kind": "huggingface", "path": "set"}], "degradations": {"noisy": {}}}
    assert parse_recipe(table, tmp_path).sources[0].path == "set"  # type: ignore[attr-defined]
    (tmp_path / "set").mkdir()
    with pytest.raises(
        RecipeError, match=r"'set' is a name on the hub, and a folder of that name is here; write './set'"
    ):
        parse_recipe(table, tmp_path)
