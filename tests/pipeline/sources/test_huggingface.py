"""Datasets of Hugging Face as sources: saved, parquet, image folders; read once, in silence, and what goes wrong."""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import SourceError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.sources import huggingface, locations
from patina.pipeline.sources.huggingface import HuggingFace
from patina.pipeline.sources.reader import Candidate, Found
from tests.pipeline.making import encoded, photo, photos, picture, read_built, save, tiny_recipe

datasets = pytest.importorskip("datasets")

WAYS = [False, pytest.param(True, marks=pytest.mark.slow)]  # to stream, the library imports torch


@pytest.fixture(autouse=True)
def _closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """The library leaves files of a stream to the garbage collector, whose warnings would hit a later test."""
    yield
    if "streaming" in request.fixturenames:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(tmp_path / "library"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that were read, by number."""
    numbers: list[int] = []
    original: Callable[..., Any] = HuggingFace._candidate
    monkeypatch.setattr(HuggingFace, "_candidate", lambda s, n, *more: numbers.append(n) or original(s, n, *more))
    return numbers


def made(columns: dict[str, list[Any]], *images: str) -> Any:
    """A dataset in memory, with these columns as images."""
    data = datasets.Dataset.from_dict(columns)
    for name in images:
        data = data.cast_column(name, datasets.Image())
    return data


def saved(path: Path, columns: dict[str, list[Any]], *images: str) -> str:
    """A dataset in memory, as `save_to_disk` writes it, or as parquet where the path says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = made(columns, *images)
    if path.suffix == ".parquet":
        data.to_parquet(str(path))
        return str(path.parent)
    data.save_to_disk(str(path))
    return str(path)


def png(seed: int) -> bytes:
    return encoded(picture(seed=seed), "PNG")


def bytes_at(location: str) -> bytes:
    return locations.read_file(location)[1] if location else b""


def aside(found: Found) -> dict[str, str]:
    return {refusal.name: refusal.reason for refusal in found.refusals}


def told(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.name, candidate.degradation, candidate.caption


# ---------------------------------------------------------------------------------------------------------------------
# What is read


@pytest.mark.parametrize("streaming", WAYS)
def test_parquet_keeps_images_in_the_cache_under_their_names(tmp_path: Path, streaming: bool) -> None:
    images = [{"bytes": png(0), "path": "x/a.png"}, {"bytes": png(1), "path": None}, None]
    path = saved(tmp_path / "set" / "train.parquet", {"image": images, "text": ["a dog", None, "lost"]}, "image")
    found = HuggingFace(path, streaming=streaming).find()
    assert [(c.name, bytes_at(c.path), c.caption, c.lq) for c in found.candidates] == [
        ("train-000001.png", png(1), "", ""),
        ("x/a.png", png(0), "a dog", ""),
    ]
    assert all(Path(c.path).is_relative_to(tmp_path / "cache") for c in found.candidates)
    assert aside(found) == {"train-000002": "has no image in the column 'image'"}


def test_pairs_saved_to_disk_with_labels_as_classes(tmp_path: Path) -> None:
    features = {
        "id": datasets.Value("int64"),
        "lq": datasets.Image(),
        "gt": datasets.Image(),
        "label": datasets.ClassLabel(names=["hazy", "Noisy", "noissy"]),
        "caption": datasets.Sequence(datasets.Value("string")),
    }
    rows = {
        "id": [7, 8, 9],
        "lq": [{"bytes": png(i), "path": f"lq{i}.png"} for i in range(3)],
        "gt": [{"bytes": png(9), "path": "clean.png"}] * 3,
        "label": [0, 1, 2],
        "caption": [["one", "two"], [], ["three"]],
    }
    data = datasets.Dataset.from_dict(rows, features=datasets.Features(features)).with_format("numpy")
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(str(tmp_path / "set"))
    found = HuggingFace(str(tmp_path / "set")).find()
    assert [(*told(c), c.lq_name) for c in found.candidates] == [
        ("clean.png", "hazy", "one", "lq0.png"),
        ("clean.png", "noisy", "", "lq1.png"),
    ]
    assert [(bytes_at(c.path), bytes_at(c.lq)) for c in found.candidates] == [(png(9), png(0)), (png(9), png(1))]
    assert "did you mean 'noisy'" in aside(found)["train-000002"]
    (one,) = HuggingFace(str(tmp_path / "set"), split_name="test", degradation="rainy").find().candidates
    assert told(one) == ("clean.png", "", "")
    with pytest.raises(SourceError, match=r"split_name: .* has no split 'val' but train, test"):
        HuggingFace(str(tmp_path / "set"), split_name="val").find()


@pytest.mark.parametrize("streaming", WAYS)
def test_an_image_folder_is_used_where_it_lies(tmp_path: Path, streaming: bool) -> None:
    for i, name in enumerate(("train/a.png", "train/sub/a.png")):
        photo(tmp_path / "set" / name, seed=i)
    (tmp_path / "set" / "train" / "metadata.csv").write_text("file_name,text\na.png,first\nsub/a.png,second\n")
    found = HuggingFace(str(tmp_path / "set"), streaming=streaming).find()
    assert [(c.name, c.path, c.caption) for c in found.candidates] == [
        ("train/a.png", str(tmp_path / "set/train/a.png"), "first"),
        ("train/sub/a.png", str(tmp_path / "set/train/sub/a.png"), "second"),
    ]
    assert not list((tmp_path / "cache").glob("??/*"))


def test_equal_names_of_different_images_get_numbers(tmp_path: Path) -> None:
    images = [{"bytes": png(seed), "path": "image.png"} for seed in (0, 1, 0)]
    found = HuggingFace(saved(tmp_path / "set", {"image": images}, "image")).find()
    assert [c.name for c in found.candidates] == ["1/image.png", "1/image.png", "2/image.png"]
    assert [bytes_at(c.path) for c in found.candidates] == [png(0), png(0), png(1)]


@pytest.mark.parametrize(
    ("images", "settings", "gt", "lq"),
    [
        (["photo"], {}, "photo", ""),
        (["mask", "gt"], {}, "gt", ""),
        (["input", "image"], {}, "image", "input"),
        (["lq", "hq", "mask"], {}, "hq", "lq"),
        (["png", "gt.png"], {}, "gt.png", "png"),
        (["png", "hq.png", "lq.png"], {}, "hq.png", "lq.png"),
        (["a", "b", "c"], {"image": "b"}, "b", ""),
        (["a", "b", "c"], {"image": "c", "lq": "a"}, "c", "a"),
        (["a", "b"], {"lq": "a"}, "b", "a"),
        (["a", "b", "gt"], {"lq": "a"}, "gt", "a"),
        (["image", "conditioning_image"], {}, "image", ""),
        (["depth", "photo", "edge_map"], {}, "photo", ""),
        (["mask"], {}, "mask", ""),
        (["jpg", "seg.png"], {}, "jpg", ""),
        (["blurred", "sharp"], {"image": "sharp", "lq": "blurred"}, "sharp", "blurred"),
    ],
)
def test_columns_are_known_by_name_or_chosen(
    tmp_path: Path, images: list[str], settings: dict[str, str], gt: str, lq: str
) -> None:
    row = {name: [{"bytes": name.encode(), "path": f"{name}.x"}] for name in images}
    path = saved(tmp_path / "set", row, *images)
    (candidate,) = HuggingFace(path, degradation="hazy", **settings).find().candidates
    assert (bytes_at(candidate.path).decode(), bytes_at(candidate.lq).decode()) == (gt, lq)


def test_undecoded_bytes_without_the_librarys_notes_are_images(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "set").mkdir()
    table = pa.table({"image": [{"bytes": png(0), "path": "a.png"}], "raw": [png(1)]})
    pq.write_table(table, tmp_path / "set" / "train.parquet")
    with pytest.raises(SourceError, match="found the columns 'image', 'raw', whose names do not tell"):
        HuggingFace(str(tmp_path / "set")).find()
    (one,) = HuggingFace(str(tmp_path / "set"), image="image").find().candidates
    (other,) = HuggingFace(str(tmp_path / "set"), image="raw").find().candidates
    assert (one.name, bytes_at(one.path)) == ("a.png", png(0))
    assert (other.name, bytes_at(other.path)) == ("train-000000.png", png(1))


# ---------------------------------------------------------------------------------------------------------------------
# What is not read again


@pytest.mark.parametrize("streaming", WAYS)
def test_no_row_is_read_twice_until_the_dataset_changes(
    tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setattr(huggingface, "RECENT_NS", -(10**12))
    images = [{"bytes": png(i), "path": f"{i}.png"} for i in range(3)]
    path = saved(tmp_path / "set" / "train.parquet", {"image": images, "text": list("abc")}, "image")
    reader = HuggingFace(path, streaming=streaming)
    first = reader.find()
    assert reads == [0, 1, 2]
    assert reader.find() == first
    assert reads == [0, 1, 2]
    assert HuggingFace(path, streaming=streaming, licence="CC0-1.0").find() == first
    assert reads == [0, 1, 2], "a licence changes no image"

    Path(first.candidates[1].path).unlink()
    assert reader.find() == first
    assert reads == [0, 1, 2] * 2, "a file that was lost from the cache is made again"
    assert bytes_at(first.candidates[1].path) == png(1)

    saved(tmp_path / "set" / "train.parquet", {"image": images[:2], "text": ["d", "b"]}, "image")
    os.utime(tmp_path / "set" / "train.parquet", (1, 1))
    assert [c.caption for c in reader.find().candidates] == ["d", "b"]


def test_a_folder_that_was_written_just_now_proves_nothing(
    tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "RECENT_NS", 10**12)  # a slow machine takes more than two seconds
    path = saved(tmp_path / "set" / "train.parquet", {"image": [{"bytes": png(0), "path": None}]}, "image")
    for _ in range(2):
        HuggingFace(path, streaming=True).find()
    assert reads == [0, 0]


def test_a_photograph_more_is_found(tmp_path: Path) -> None:
    photos(tmp_path / "set" / "train", 2)
    reader = HuggingFace(str(tmp_path / "set"))
    assert len(reader.find().candidates) == 2
    photo(tmp_path / "set" / "train" / "new.png", seed=5)
    assert [c.name for c in reader.find().candidates] == [f"train/{n}.png" for n in ("good-000", "good-001", "new")]


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong, and what stays as it was


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = saved(tmp_path / "set", {"lq": [{"bytes": png(0), "path": None}], "text": ["x"]}, "lq")
    for settings, message in (
        ({}, "image: expected a column of clean images, found the columns 'lq', 'text'; name one"),
        ({"image": "gt"}, "image: expected a column 'gt', found the columns 'lq', 'text'"),
        ({"image": "lq", "caption": "words"}, "caption: expected a column 'words', found"),
        ({"image": "lq", "degradation_column": "x"}, "degradation_column: expected a column 'x', found"),
        ({"image": "lq", "lq": "lq"}, "degradation: expected a column degradation or label or json.degradation beside"),
        ({"image": "text", "lq": "lq", "degradation": "hazy"}, "none of the 1 rows .*there is no file x"),
    ):
        with pytest.raises(SourceError, match=message):
            HuggingFace(path, **settings).find()


def test_folders_splits_and_configurations_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    photos(tmp_path / "set", 1)
    for path, settings, message in (
        ("none", {}, "path: expected a folder with a dataset at .*none, found nothing"),
        ("empty", {}, "path: .*empty holds no files that `datasets` knows how to read"),
        ("set", {"split_name": "nix"}, 'split_name: Unknown split "nix". Should be one of'),
        ("set", {"name": "nix"}, "name: BuilderConfig 'nix' not found"),
    ):
        with pytest.raises(SourceError, match=message):
            HuggingFace(str(tmp_path / path), **settings).find()


@pytest.mark.parametrize("streaming", WAYS)
def test_a_hub_out_of_reach(streaming: bool) -> None:
    with pytest.raises(SourceError, match=r"the hub cannot be reached for owner/set .*HF_HUB_OFFLINE.*begun with \./"):
        HuggingFace("owner/set", streaming=streaming).find()


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("DatasetNotFoundError", "Dataset 'o/s' is a gated dataset on the Hub.", "o/s is gated: accept its terms"),
        ("DatasetNotFoundError", "Dataset 'o/s' doesn't exist on the Hub.", "there is no dataset o/s on the hub"),
        ("DatasetNotFoundError", "Revision 'v9' doesn't exist for o/s", "revision: o/s has no 'v9'"),
        (
            "DatasetsError",
            "Dataset scripts are no longer supported, but found s.py",
            "code of its own, which is not run",
        ),
        ("DatasetGenerationError", "An error\noccurred", "path: o/s, split train: An error occurred"),
    ],
)
def test_what_the_hub_says_becomes_a_sentence(
    monkeypatch: pytest.MonkeyPatch, kind: str, words: str, message: str
) -> None:
    def fail(*_: object, **settings: object) -> None:
        assert settings["revision"] == "v9"
        raise getattr(datasets.exceptions, kind)(words)

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(SourceError, match=message):
        HuggingFace("o/s", revision="v9").find()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match=r"pip install 'patina-ir\[hub\]'"):
        HuggingFace("owner/set").find()


def test_nothing_is_printed_and_the_librarys_settings_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.utils as hub

    path = saved(tmp_path / "set" / "train.parquet", {"image": [{"bytes": png(0), "path": None}]}, "image")
    monkeypatch.setattr(sys.modules["datasets.utils.tqdm"], "HF_DATASETS_DISABLE_PROGRESS_BARS", None)
    datasets.enable_progress_bars()
    datasets.logging.set_verbosity_info()
    capfd.readouterr()
    try:
        HuggingFace(path).find()
        assert capfd.readouterr() == ("", "")
        assert datasets.utils.is_progress_bar_enabled()
        assert not hub.are_progress_bars_disabled()
        assert datasets.logging.get_verbosity() == datasets.logging.INFO
    finally:
        datasets.logging.set_verbosity_warning()
        datasets.disable_progress_bars()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "path: expected a dataset's name"),
        ({"streaming": "yes"}, "streaming: expected true or false, found 'yes'"),
        ({"degradation": "noissy"}, "did you mean 'noisy'"),
        ({"degradation": "noisy", "degradation_column": "label"}, "give the one or the other"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        HuggingFace(**({"path": "owner/set"} | settings))


def test_names_of_the_hub_stay_and_folders_start_at_the_recipe(tmp_path: Path) -> None:
    table: dict[str, Any] = {"degradations": {"noisy": {}}}
    table["sources"] = [{"kind": "huggingface", "path": path} for path in ("owner/set", "./set", "../set")]
    hub, here, above = (s.root for s in parse_recipe(table, tmp_path / "recipes").sources)
    assert hub == "hf://datasets/owner/set"
    assert (here, above) == (str(tmp_path / "recipes" / "set"), str(tmp_path / "set"))


def test_a_dataset_keeps_no_folder_of_this_machine_in_its_names(tmp_path: Path) -> None:
    reader = HuggingFace("owner/set")
    snapshot = f"/home/me/.cache/huggingface/hub/datasets--owner--set/snapshots/{'a' * 40}/train/1.png"
    for path, name in (
        (snapshot, "train/1.png"),
        (f"/home/me/hf/datasets/downloads/extracted/{'b' * 64}/deep/1.png", "deep/1.png"),
        ("/home/me/photos/1.png", "1.png"),
        ("../photos/1.png", "1.png"),
        ("zip://deep/1.png::hf://datasets/owner/set@main/data.zip", "1.png"),
        ("train/1.png", "train/1.png"),
    ):
        assert reader._name(path) == name


# ---------------------------------------------------------------------------------------------------------------------
# The law: what a folder gives, its dataset gives


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / SHARDS).glob("*.tar")}


@pytest.mark.parametrize("name", ["hub/train.parquet", "saved"])
def test_a_dataset_gives_the_shards_of_the_folder_that_it_was_made_of(tmp_path: Path, name: str) -> None:
    files = photos(tmp_path / "photos", 3)
    for file in files:
        file.with_suffix(".txt").write_text(f"words on {file.stem}")
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    words = [f"words on {file.stem}" for file in files]
    path = saved(tmp_path / name, {"image": images, "caption": words}, "image")
    source = {"kind": "huggingface", "path": path}
    build(tiny_recipe(tmp_path), tmp_path / "folder")
    build(tiny_recipe(tmp_path, sources=[source]), tmp_path / "dataset")
    assert shards(tmp_path / "folder") == shards(tmp_path / "dataset") != {}

    build(tiny_recipe(tmp_path, sources=[source], captions={"kind": "source"}), tmp_path / "dataset")
    built = read_built(tmp_path / "dataset")
    assert {n: s.members["txt"].decode() for n, (s,) in built.samples.items()} == dict(
        zip([file.name for file in files], words, strict=True)
    )


def test_a_dataset_of_pairs_gives_the_shards_of_their_folders(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"lq": [], "gt": [], "degradation": []}
    for i in range(3):
        clean = photo(tmp_path / "gt" / f"{i}.png", seed=i)
        hazy = save(tmp_path / "lq" / f"{i}.png", np.rint(0.3 * picture(seed=i) + 154).astype(np.uint8))
        for column, file in (("lq", hazy), ("gt", clean)):
            columns[column].append({"bytes": file.read_bytes(), "path": file.name})
        columns["degradation"].append("hazy")
    path = saved(tmp_path / "set", columns, "lq", "gt")
    folders = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    build(tiny_recipe(tmp_path, sources=[folders], degradations={}), tmp_path / "folders")
    hub = {"kind": "huggingface", "path": path}
    build(tiny_recipe(tmp_path, sources=[hub], degradations={}), tmp_path / "dataset")
    assert shards(tmp_path / "folders") == shards(tmp_path / "dataset") != {}


@pytest.mark.parametrize("streaming", WAYS)
def test_a_dataset_of_patina_is_a_source_of_pairs(tmp_path: Path, streaming: bool) -> None:
    photos(tmp_path / "photos", 2)
    build(tiny_recipe(tmp_path, degradations={"noisy": {"sigma": 25}, "jpeg-compressed": {}}), tmp_path / "first")
    found = HuggingFace(str(tmp_path / "first"), streaming=streaming).find()
    built = read_built(tmp_path / "first")
    expected = {
        (s.gt[1], s.lq[1], json.loads(s.members["json"])["degradation"], s.members["txt"].decode())
        for stored in built.samples.values()
        for s in stored
    }
    assert {(bytes_at(c.path), bytes_at(c.lq), c.degradation, c.caption) for c in found.candidates} == expected
    assert len(expected) == 4
