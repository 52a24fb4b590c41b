"""Tables that are not what they seem: slips in headers and labels, degraded images in lists of clean ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.errors import SourceError
from patina.pipeline.sources import columns
from patina.pipeline.sources.list_file import ListFile
from patina.pipeline.sources.reader import Found


def found(place: Path, text: str, name: str = "list.csv", **settings: Any) -> Found:
    """What a list reads, with empty files at all paths that end like pictures."""
    for cell in text.replace("\t", "\n").replace(",", "\n").replace('"', "\n").split("\n"):
        if cell.endswith((".png", ".jpg")):
            (place / cell).parent.mkdir(parents=True, exist_ok=True)
            (place / cell).touch()
    (place / name).write_text(text, "utf-8")
    return ListFile(str(place / name), **settings).find()


@pytest.mark.parametrize(
    ("header", "slip", "meant"),
    [
        ("gt,splt", "splt", "split"),
        ("gt,captoin", "captoin", "caption"),
        ("gt,Captions", "Captions", "caption"),
        ("gt,txt", "txt", "text"),
        ("image,lqq", "lqq", "lq"),
        ("image,lq_path", "lq_path", "lq"),
        ("image,inputImage", "inputImage", "input"),
        ("image,degraded file", "degraded file", "degraded"),
        ("filepath,gt_image", "gt_image", "gt"),
        ("filepath,titel", "titel", "title"),
        ("gt,split_name", "split_name", "split"),
    ],
)
def test_an_unknown_column_near_a_known_one_is_an_error(tmp_path: Path, header: str, slip: str, meant: str) -> None:
    text = f"{header}\na.png,words\n"
    with pytest.raises(SourceError) as raised:
        found(tmp_path, text)
    assert f"has a column {slip!r}, which nobody knows; did you mean {meant!r}?" in str(raised.value)
    result = found(tmp_path, text, ignored_columns=(slip,))
    assert [c.name for c in result.candidates] == ["a.png"] and not result.notes


def test_a_slip_of_what_is_there_already_is_another_column(tmp_path: Path) -> None:
    result = found(tmp_path, "gt,title,tile,splits,split\na.png,a dog,3,x,val\n")
    assert (result.candidates[0].caption, result.candidates[0].split) == ("a dog", "val")
    assert list(result.notes) == ["list.csv: the columns 'tile', 'splits' are passed over"]


def test_a_slip_in_some_lines_of_json_is_an_error(tmp_path: Path) -> None:
    lines = [{"gt": "a.png", "split": "val"}, {"gt": "b.png", "splt": "test"}]
    with pytest.raises(SourceError, match="has a column 'splt', which nobody knows; did you mean 'split'"):
        found(tmp_path, "\n".join(map(json.dumps, lines)), "list.jsonl")


def test_columns_of_facts_are_passed_over_in_silence_and_others_are_told(tmp_path: Path) -> None:
    head = "gt,caption,width,Height,id,image_id,url,original_width,sha256,caption_id,punsafe,,Unnamed: 0,mask"
    text = f"{head}\na.png,a dog,3,4,5,6,https://x/a.jpg,7,8,9,1,2,3,m.png\n"
    assert not found(tmp_path, text).notes
    assert list(found(tmp_path, "gt,mood,licence\na.png,sad,CC0-1.0\n").notes) == [
        "list.csv: the columns 'mood', 'licence' are passed over"
    ]
    with pytest.raises(SourceError, match="ignored_columns: expected a column 'tile', found the column 'gt'"):
        found(tmp_path, "gt\na.png\n", ignored_columns=("tile",))
    with pytest.raises(SourceError, match="ignored_columns: expected names"):
        found(tmp_path, "gt\na.png\n", ignored_columns="tile")


def test_a_column_that_settings_choose_is_no_slip(tmp_path: Path) -> None:
    result = found(tmp_path, "gt,captoin,splt\na.png,a dog,test\n", caption_column="captoin", split_column="splt")
    assert [(c.caption, c.split) for c in result.candidates] == [("a dog", "test")]
    assert found(tmp_path, "gt,splt\na.png,x\n", split="train").candidates[0].split == ""


def test_a_missing_column_of_clean_images_is_named_by_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found the columns 'filpath', 'title'; did you mean 'filepath' by 'filpath'"):
        found(tmp_path, "filpath,title\na.png,a dog\n")
    with pytest.raises(SourceError, match=r"DA-CLIP's columns filepath and title, .*did you mean 'title' by 'titel'"):
        found(tmp_path, "filepath,titel\na.png,a dog\n", format="daclip")


# ---------------------------------------------------------------------------------------------------------------------
# DA-CLIP's table, and other lists of degraded images


@pytest.mark.parametrize(
    ("header", "titles"),
    [
        ("filepath\ttitle", ["a dog: hzy", "a cat: haze"]),
        ("filepath\ttitle", ["a dog:hazy", "a cat:rainy"]),
        ("filepath\ttitle", ["a dog; hazy", "a cat; noisy"]),
        ("filepath\ttitle", ["hazy: a dog", "a cat"]),
        ("filepath\tcaption", ["a dog: hazy", "a cat: rainy"]),
        ("image\ttext", ["a dog: hazy, rainy", "a cat: rainy"]),
        ("filepath\twords", ["a dog: hazy", "a cat: rainy"]),
        ("filepath\tdegradation", ["hazy", "Rainy"]),
        ("image\tlabel", ["motion-blury", "noisy"]),
    ],
)
def test_degraded_images_become_no_clean_ones_by_a_slip(tmp_path: Path, header: str, titles: list[str]) -> None:
    rows = "".join(f"degr/{i}.png\t{title}\n" for i, title in enumerate(titles))
    with pytest.raises(SourceError) as raised:
        found(tmp_path, f"{header}\n{rows}", "train.csv")
    assert titles[0] in str(raised.value) and "gt_column" in str(raised.value)
    chosen = found(tmp_path, f"{header}\n{rows}", "train.csv", gt_column=header.partition("\t")[0])
    assert [c.name for c in chosen.candidates] == ["degr/0.png", "degr/1.png"]


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
@pytest.mark.parametrize("path", ["LQ/a.png", "x/Lq/sub/a.png", "GT/lq/a.png"])
def test_a_clean_photograph_lies_in_no_folder_of_degraded_ones(tmp_path: Path, name: str, path: str) -> None:
    with pytest.raises(SourceError, match=r"lists clean photographs, and '.*a\.png' lies in a folder '(L|l)"):
        found(tmp_path, ("image\n" if name.endswith("csv") else "") + f"b.png\n{path}\n", name)
    assert found(tmp_path, f"{path}\n", "list.txt", format="lines").candidates
    assert found(tmp_path, f"image\n{path}\n", gt_column="image").candidates


def test_clean_photographs_with_colons_and_classes_stay_quiet(tmp_path: Path) -> None:
    rows = "".join(f"lq/gt/{i}.png\t{t}\tdog\n" for i, t in enumerate(["a sky: rainy", "a dog: asleep", "x", "y", "z"]))
    result = found(tmp_path, f"filepath\ttitle\tlabel\n{rows}", "x.csv")
    assert (len(result.candidates), result.notes, result.refusals) == (5, [], [])


@pytest.mark.parametrize("other", ["blurred", "mood", "b"])
def test_a_second_column_of_images_is_asked_about(tmp_path: Path, other: str) -> None:
    text = f"image,{other}\na.png,b.png\nc.png,d.png\n"
    with pytest.raises(SourceError, match=f"two columns of images, 'image' and '{other}', .*lq_column"):
        found(tmp_path, text)
    assert len(found(tmp_path, text, lq_column=other, degradation="hazy").candidates) == 2
    assert len(found(tmp_path, text, ignored_columns=(other,)).candidates) == 2


def test_da_clips_table_may_have_capitals_and_splits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "GT").mkdir(exist_ok=True)
        (tmp_path / "GT" / f"{name}.png").touch()
    text = "FilePath\tTitle\tSplit\nLQ/a.png\ta dog: hazy\ttest\nLQ/b.png\ta cat: noisy\t\n"
    result = found(tmp_path, text, "daclip_val.csv")
    assert [(c.name, c.degradation, c.split) for c in result.candidates] == [
        ("GT/a.png", "hazy", "test"),
        ("GT/b.png", "noisy", "val"),
    ]
    with pytest.raises(SourceError, match="has a column 'splt', which nobody knows; did you mean 'split'"):
        found(tmp_path, text.replace("Split", "splt"), "daclip_train.csv")


def test_words_of_a_column_are_found_in_every_spelling() -> None:
    assert {tuple(columns.words_of(c)) for c in ("input_image", "inputImage", "Input Image", "INPUT-image")} == {
        ("input", "image")
    }
    assert columns.words_of("LQPath") == ["lq", "path"]


def test_the_folder_that_a_list_starts_at_counts_too(tmp_path: Path) -> None:
    for side in ("LQ", "GT"):
        (tmp_path / side).mkdir()
    with pytest.raises(SourceError, match=r"'a\.png' lies in a folder 'LQ'"):
        found(tmp_path / "LQ", "image\na.png\n")
    assert found(tmp_path / "GT", "image\na.png\n").candidates
    assert found(tmp_path / "LQ", "image\n../GT/a.png\n").candidates


def test_lines_that_contradict_an_earlier_one_are_told(tmp_path: Path) -> None:
    rows = ["a.png,a dog,train", "a.png,a cat,train", "a.png,a dog,test", "b.png,x,val", "b.png,x,", "b.png,x,Valid"]
    result = found(tmp_path, "\n".join(["gt,caption,split", *rows]))
    assert [(c.name, c.caption, c.split) for c in result.candidates] == [
        ("a.png", "a dog", "train"),
        ("b.png", "x", "val"),
    ]
    assert {r.name: r.reason for r in result.refusals} == {
        "list.csv, line 4": "says of a.png the split test, and line 2 says train; keep one of them",
        "list.csv, line 6": "says of b.png the split none, and line 5 says val; keep one of them",
    }
    assert list(result.notes) == [
        "list.csv: 2 lines repeat earlier ones and count once, 1 of them with other captions, of which the first counts"
    ]
    result = found(tmp_path, "gt,lq,label\na.png,l.png,hazy\na.png,l.png,rainy\n")
    assert [r.reason for r in result.refusals] == ["calls l.png 'rainy', and line 2 'hazy'; keep one of them"]


def test_what_settings_say_of_all_lines_contradicts_none(tmp_path: Path) -> None:
    text = "gt,lq,label,split\na.png,l.png,hazy,train\na.png,l.png,rainy,test\n"
    result = found(tmp_path, text, degradation="snowy", split="val")
    assert len(result.candidates) == 1 and not result.refusals


@pytest.mark.parametrize("name", ["subset", "partition", "set", "Usage", "fold"])
def test_a_column_of_sides_under_another_name_is_asked_about(tmp_path: Path, name: str) -> None:
    text = f"gt,{name}\na.png,train\nb.png,\nc.png,Test\n"
    with pytest.raises(SourceError) as raised:
        found(tmp_path, text)
    assert f"has a column {name!r} that says test, train, and no column split; if it holds" in str(raised.value)
    assert [c.split for c in found(tmp_path, text, split_column=name).candidates] == ["train", "", "test"]
    for settings in ({"ignored_columns": (name,)}, {"split": "train"}):
        assert len(found(tmp_path, text, **settings).candidates) == 3
    assert len(found(tmp_path, f"gt,{name}\na.png,train\nb.png,train\n").candidates) == 2, "nothing is held out"
    assert len(found(tmp_path, f"gt,{name}\na.png,test\nb.png,a test\n").candidates) == 2
    assert len(found(tmp_path, f"gt,{name},split\na.png,test,train\n").candidates) == 1


@pytest.mark.parametrize("name", ["is_test", "isVal", "in_validation", "Is Dev"])
def test_a_column_that_asks_whether_a_photograph_is_held_out_is_asked_about(tmp_path: Path, name: str) -> None:
    text = f"gt,{name}\na.png,0\nb.png,1\n"
    with pytest.raises(SourceError, match=f"has a column '{name}', whose name speaks of held-out photographs"):
        found(tmp_path, text)
    for settings in ({"ignored_columns": (name,)}, {"split": "train"}):
        assert len(found(tmp_path, text, **settings).candidates) == 2
    assert len(found(tmp_path, "gt,is_train\na.png,1\n").candidates) == 1


def test_a_column_of_development_and_evaluation_holds_photographs_out(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has a column 'part' that says dev, eval, and no column split"):
        found(tmp_path, "gt,part\na.png,dev\nb.png,eval\n")
