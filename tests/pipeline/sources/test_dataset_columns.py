"""Columns of Hugging Face datasets that leave something open: asked about, read, or refused in words."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.errors import SourceError
from patina.pipeline.sources import locations
from patina.pipeline.sources.huggingface import HuggingFace
from tests.pipeline.making import encoded, photo, picture

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(tmp_path / "library"))


def png(seed: int) -> bytes:
    return encoded(picture(seed=seed), "PNG")


def image(seed: int) -> dict[str, Any]:
    return {"bytes": png(seed), "path": f"{seed}.png"}


def table(folder: Path, row: dict[str, Any], **features: Any) -> str:
    """A folder with one parquet file of one row."""
    data = datasets.Dataset.from_list([row], features=datasets.Features(features) if features else None)
    folder.mkdir(exist_ok=True)
    data.to_parquet(str(folder / "train.parquet"))
    return str(folder)


def images(folder: Path, *names: str) -> str:
    return table(folder, {n: image(i) for i, n in enumerate(names)}, **{n: datasets.Image() for n in names})


@pytest.mark.parametrize(
    "names",
    [
        ("blurred", "sharp"),
        ("lr", "hr"),
        ("input_image", "edited_image"),
        ("Original", "Edited"),
        ("image", "noisy"),
        ("image", "image_2"),
        ("a", "b", "c"),
        ("lq", "a", "b"),
        ("jpg", "sharp.jpg"),
        ("mask", "depth"),
    ],
)
def test_columns_of_images_whose_names_do_not_tell_are_asked_about(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(SourceError) as raised:
        HuggingFace(images(tmp_path / "set", *names), degradation="hazy").find()
    said = str(raised.value)
    assert all(repr(name) in said for name in names if name != "lq") and 'image = "…"' in said and 'lq = "…"' in said


def test_what_is_not_taken_beside_clean_images_is_said(tmp_path: Path) -> None:
    found = HuggingFace(images(tmp_path / "set", "gt", "blurry", "mask")).find()
    assert list(found.notes) == [
        "set: the column 'blurry' of images is passed over beside the column 'gt' of clean images"
    ]
    assert not HuggingFace(images(tmp_path / "pairs", "LQ", "GT", "mask"), degradation="hazy").find().notes


def test_bytes_and_paths_of_files_are_images(tmp_path: Path) -> None:
    (one,) = HuggingFace(table(tmp_path / "bytes", {"photo": png(3), "text": "a dog"})).find().candidates
    assert (locations.read_file(one.path)[1], one.caption) == (png(3), "a dog")
    folder = table(tmp_path / "paths", {"file_name": "sub/a.png", "note": "b.png"})
    photo(tmp_path / "paths" / "sub" / "a.png")
    (two,) = HuggingFace(folder).find().candidates
    assert (two.name, two.path) == ("sub/a.png", str(tmp_path / "paths/sub/a.png"))
    (same,) = HuggingFace(folder, image="file_name").find().candidates
    assert same == two


def test_a_column_of_paths_beside_one_of_images_is_asked_about(tmp_path: Path) -> None:
    folder = table(tmp_path / "set", {"x": image(0), "y": "a.png"}, x=datasets.Image(), y=datasets.Value("string"))
    assert len(HuggingFace(folder).find().candidates) == 1, "a text that leads to no file is no image"
    photo(tmp_path / "set" / "a.png")
    with pytest.raises(SourceError, match="found the columns 'x', 'y', whose names do not tell"):
        HuggingFace(folder).find()


@pytest.mark.parametrize(
    ("row", "features", "settings", "says"),
    [
        ({"x": [image(0)]}, {"x": "list"}, {}, "the column 'x' holds lists of images, and a row must have one"),
        ({"x": [image(0)]}, {"x": "list"}, {"image": "x"}, "image: expected images, .*lists of images"),
        ({"x": [png(0)]}, {}, {"image": "x"}, "image: expected images, .*lists of images"),
        ({"x": ["a.png"]}, {}, {"image": "x"}, "the column 'x' holds lists of string, and no images"),
        ({"x": {"lq": image(0), "gt": image(1)}}, {}, {}, "holds objects with images, x.lq and x.gt: `flatten"),
        ({"x": 3}, {}, {"image": "x"}, "the column 'x' holds int64, and no images"),
        ({"x": {"a": 3}}, {}, {"image": "x"}, "the column 'x' holds objects or lists, and no images"),
        ({"file_name": "a.png"}, {}, {}, "if 'file_name' holds paths, they lead to no file below the dataset's folder"),
        ({"x": "../a.png"}, {}, {"image": "x"}, "'../a.png' leads out of the dataset's folder"),
        ({"x": "iVBORw0KGgo" * 1000}, {}, {"image": "x"}, "is no path; text that is base64 is not read"),
        ({"x": b"no image"}, {}, {}, "image: expected a column of clean images, found the column 'x'"),
    ],
)
def test_columns_that_hold_no_images_are_refused_in_words(
    tmp_path: Path, row: dict[str, Any], features: dict[str, Any], settings: dict[str, str], says: str
) -> None:
    made = {name: datasets.List(datasets.Image()) for name in features}
    photo(tmp_path / "a.png")
    with pytest.raises(SourceError, match=says):
        HuggingFace(table(tmp_path / "set", row, **made), **settings).find()


@pytest.mark.parametrize(
    ("written", "expected"),
    [("meta.caption", "a dog"), ("meta:caption", "a dog"), ("meta.more.words", "a cat"), ("text", "a cow")],
)
def test_captions_may_lie_in_objects(tmp_path: Path, written: str, expected: str) -> None:
    row = {"image": png(0), "meta": {"caption": "a dog", "more": {"words": ["a cat", "x"]}}, "text": "a cow"}
    (one,) = HuggingFace(table(tmp_path / "set", row), caption=written).find().candidates
    assert one.caption == expected


def test_a_column_of_captions_that_holds_none_is_refused(tmp_path: Path) -> None:
    folder = table(tmp_path / "set", {"image": png(0), "n": 3, "json": {"caption": "a dog", "w": 3}})
    with pytest.raises(SourceError, match="caption: expected a column of texts, and 'n' holds none"):
        HuggingFace(folder, caption="n").find()
    with pytest.raises(SourceError, match=r"'json' holds none; name a text within it, such as json\.caption"):
        HuggingFace(folder, caption="json").find()
    with pytest.raises(SourceError, match=r"caption: expected a column 'json\.w\.x'"):
        HuggingFace(folder, caption="json:w.x").find()


# ---------------------------------------------------------------------------------------------------------------------
# Tars


def tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as packed:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, BytesIO(data))


@pytest.mark.parametrize("order", ["alternating", "late"])
def test_tars_with_images_of_several_suffixes_are_read_whole(tmp_path: Path, order: str) -> None:
    kinds = ["jpg", "png", "webp", "jpeg"] * 4
    kinds = kinds if order == "alternating" else sorted(kinds)
    members = []
    for i, kind in enumerate(kinds):
        data = encoded(picture(seed=i), {"jpg": "JPEG"}.get(kind, kind.upper()))
        facts = {"caption": f"dog {i}", "width": 64} | ({"extra": 1} if i % 3 == 0 else {})
        members += [(f"{i:03d}.{kind}", data), (f"{i:03d}.json", json.dumps(facts).encode())]
    tar(tmp_path / "set" / "a.tar", members[:16])
    tar(tmp_path / "set" / "b.tar", members[16:])
    found = HuggingFace(str(tmp_path / "set"), caption="json.caption").find()
    assert not found.refusals and [c.name for c in found.candidates] == [f"{i:03d}.{k}" for i, k in enumerate(kinds)]
    assert [c.caption for c in found.candidates] == [f"dog {i}" for i in range(16)]


def test_rows_that_a_column_holds_out_stay_so(tmp_path: Path) -> None:
    splits = ["train", "Test", "validation", None, "x"]
    data = datasets.Dataset.from_list([{"image": png(i), "split": split} for i, split in enumerate(splits)])
    (tmp_path / "set").mkdir()
    data.to_parquet(str(tmp_path / "set" / "train.parquet"))
    found = HuggingFace(str(tmp_path / "set")).find()
    assert [c.split for c in found.candidates] == ["", "test", "val", "", ""]


def test_links_in_tars_are_told(tmp_path: Path) -> None:
    tar(tmp_path / "set" / "a.tar", [("a.png", png(0))])
    with tarfile.open(tmp_path / "set" / "a.tar", "a") as packed:
        info = tarfile.TarInfo("b.png")
        info.type, info.linkname = tarfile.SYMTYPE, "a.png"
        packed.addfile(info)
    found = HuggingFace(str(tmp_path / "set")).find()
    assert len(found.candidates) == 1
    assert [n.partition(":")[0] for n in found.notes] == ["a.tar holds 1 symbolic link, such as 'b.png → a.png'"]


def test_folders_of_both_sides_are_no_clean_photographs(tmp_path: Path) -> None:
    for side in ("LQ", "GT"):
        photo(tmp_path / "set" / "train" / side / "a.png", seed=len(side))
        photo(tmp_path / "set" / "train" / side / "b.png", seed=5)
    with pytest.raises(SourceError, match=r"'label' has the classes GT, LQ, so that degraded.*kind = \"pairs\""):
        HuggingFace(str(tmp_path / "set")).find()
    assert len(HuggingFace(str(tmp_path / "set"), image="image").find().candidates) == 4
    for kind in ("cat", "input"):
        photo(tmp_path / "classes" / "train" / kind / "a.png", seed=len(kind))
    assert len(HuggingFace(str(tmp_path / "classes")).find().candidates) == 2


@pytest.mark.parametrize("name", ["blurry", "noisy_image", "input", "lowlight"])
def test_one_column_of_images_with_a_degraded_name_is_asked_about(tmp_path: Path, name: str) -> None:
    path = images(tmp_path / "set", name)
    with pytest.raises(SourceError, match=rf"'{name}'.*|expected a column of clean images"):
        HuggingFace(path).find()
    assert len(HuggingFace(path, image=name).find().candidates) == 1, "the recipe may answer for it"


def test_degradations_without_degraded_images_are_asked_about(tmp_path: Path) -> None:
    path = table(tmp_path / "set", {"image": image(1), "degradation": "noisy"})
    with pytest.raises(SourceError, match="the column 'degradation' tells degradations, and there is no column of deg"):
        HuggingFace(path).find()
    assert len(HuggingFace(path, image="image").find().candidates) == 1
    classes = table(tmp_path / "classes", {"image": image(1), "label": 3})
    assert len(HuggingFace(classes).find().candidates) == 1, "a class is no degradation"


@pytest.mark.parametrize(("name", "meant"), [("splt", "split"), ("subset", "split"), ("captoin", "caption")])
def test_columns_with_nearly_a_known_name_are_told(tmp_path: Path, name: str, meant: str) -> None:
    notes = HuggingFace(table(tmp_path / "set", {"image": image(1), name: "test"})).find().notes
    assert [note for note in notes if f"the column '{name}' is not read; did you mean '{meant}'?" in note]
    sound = {"image": image(1), "caption": "a dog", "split": "train", "url": "x", "comment": "fine", "context": "x"}
    assert HuggingFace(table(tmp_path / "sound", sound)).find().notes == ()
