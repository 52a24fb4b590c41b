"""Lists of photographs and pairs: VLU-Net's lines, tables, JSON lines, DA-CLIP's own table; here and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import RecipeError, SourceError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.sources.list_file import ListFile
from patina.pipeline.sources.reader import Found
from tests.pipeline.making import photo, picture, read_built, save, tiny_recipe
from tests.pipeline.serving import serving


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def touch(folder: Path, *names: str) -> None:
    """Empty files: a reader opens none."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(place: Path, text: str, name: str = "list.txt", **settings: Any) -> Found:
    (place / name).write_text(text, encoding="utf-8")
    return ListFile(str(place / name), **settings).find()


def pairs(found: Found) -> list[tuple[str, str]]:
    return [(Path(c.lq).name, c.name) for c in found.candidates]


def aside(found: Found) -> dict[str, str]:
    return {refusal.name: refusal.reason for refusal in found.refusals}


# ---------------------------------------------------------------------------------------------------------------------
# Lines


def test_vlu_nets_lines_start_at_the_folder_that_is_set(tmp_path: Path) -> None:
    touch(tmp_path, "datasets/noisy/x.png", "datasets/clean/x.png", "datasets/noisy/y.png", "datasets/clean/y.png")
    text = "# LQ,GT\n\n./noisy/x.png,./clean/x.png\r\n  ./noisy/y.png\t./clean/y.png  \n"
    result = found(tmp_path, text, degradation="noisy", folder=str(tmp_path / "datasets"))
    assert pairs(result) == [("x.png", "clean/x.png"), ("y.png", "clean/y.png")]
    assert [c.lq for c in result.candidates] == [str(tmp_path / f"datasets/noisy/{n}.png") for n in "xy"]
    assert not result.refusals


def test_lines_of_one_path_are_clean_images(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "sub/b.jpg")
    result = found(tmp_path, "sub/b.jpg\na.png\n")
    assert [(c.name, c.lq) for c in result.candidates] == [("a.png", ""), ("sub/b.jpg", "")]


def test_every_bad_line_is_set_aside_by_its_number(tmp_path: Path) -> None:
    touch(tmp_path, "lq/a.png", "gt/a.png", "gt/b.png", "lq/c,d.png")
    lines = [
        "lq/a.png,gt/a.png",
        "lq/a.png,gt/a.png",
        "lq/a.png,gt/b.png",
        "lq/c,d.png,gt/a.png",
        "gt/b.png",
        "lq/none.png,gt/a.png",
        "lq/a.png,",
        "lq/c,d.png\tgt/a.png",
    ]
    result = found(tmp_path, "\n".join(lines), degradation="hazy")
    assert pairs(result) == [("a.png", "gt/a.png"), ("c,d.png", "gt/a.png")]
    assert aside(result) == {
        "list.txt, line 3": "pairs lq/a.png with another clean image than line 1 does",
        "list.txt, line 4": "has 3 parts where LQ,GT has two, so it is ambiguous where a path ends; "
        "separate the two by a tab",
        "list.txt, line 5": "has one path in a list of pairs, and might be a degraded image without its clean one",
        "list.txt, line 6": "names lq/none.png, and there is no file of that name",
        "list.txt, line 7": "has an empty path: 'lq/a.png,'",
    }


def test_paths_may_leave_the_folder_or_be_absolute_and_names_are_never_absolute(tmp_path: Path) -> None:
    touch(tmp_path, "lists/in.png", "photos/a/x.png", "photos/b/x.png")
    result = found(tmp_path / "lists", f"in.png\n../photos/a/x.png\n{tmp_path}/photos/b/x.png\n")
    assert {c.name: c.path for c in result.candidates} == {
        "in.png": str(tmp_path / "lists/in.png"),
        "a/x.png": str(tmp_path / "photos/a/x.png"),
        "b/x.png": str(tmp_path / "photos/b/x.png"),
    }


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("", {}, "expected paths of photographs in .*list.txt, found none"),
        ("a.png\n", {}, r"none of the 1 entries .* the first \(line 1\) since it names a.png, .*set `folder`"),
        ("lq.png,gt.png\n", {}, "degradation: .* lists pairs, and no column degradation or label .*rainy"),
        ("a.png\n", {"degradation": "noissy"}, "did you mean 'noisy'"),
        ("a.png\n", {"format": "xml"}, "format: expected one of auto, lines"),
        ("a.png\n", {"format": "lines", "gt_column": "gt"}, "gt_column: .* has no columns"),
        ("a.png\n", {"degradation": "noisy", "degradation_column": "c"}, "give the one or the other"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, text: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        found(tmp_path, text, **settings)


def test_a_list_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"path: expected a list at .*none.txt: No such file"):
        ListFile(str(tmp_path / "none.txt")).find()
    (tmp_path / "list.txt").write_bytes(b"a.png\n\xff\xfe.png\n")
    with pytest.raises(SourceError, match=r"list.txt, line 2: expected UTF-8, found byte 0xff"):
        ListFile(str(tmp_path / "list.txt")).find()


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def test_a_table_gives_each_pair_its_label_split_and_caption(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "g.png", "h.png")
    text = (
        "\ufefflq,gt,label,split,text\n"
        '1.png,g.png,Noisy,validation,"a dog, asleep"\n'
        "2.png,h.png,hazy,train,\n"
        "1.png,h.png,noisey,train,typo\n"
        "2.png,g.png,hazy,holdout,split\n"
        "2.png,g.png\n"
        ",g.png,hazy,train,empty\n"
    )
    result = found(tmp_path, text, "pairs.csv")
    assert [(c.name, Path(c.lq).name, c.degradation, c.split, c.caption) for c in result.candidates] == [
        ("g.png", "1.png", "noisy", "val", "a dog, asleep"),
        ("h.png", "2.png", "hazy", "train", ""),
    ]
    reasons = aside(result)
    assert "did you mean 'noisy'" in reasons["pairs.csv, line 4"]
    assert reasons["pairs.csv, line 5"] == "has the split 'holdout'; expected train, val or test"
    assert reasons["pairs.csv, line 6"].startswith("has 2 fields, the header 5")
    assert reasons["pairs.csv, line 7"] == "has no path in its column 'lq'"


@pytest.mark.parametrize(("name", "between"), [("a.csv", ","), ("a.csv", "\t"), ("a.csv", ";"), ("a.tsv", "\t")])
def test_the_header_tells_the_delimiter(tmp_path: Path, name: str, between: str) -> None:
    touch(tmp_path, "x,1.png")
    result = found(tmp_path, f'file_name{between}title\n"x,1.png"{between}"one: two"\n', name)
    assert [(c.name, c.caption, c.lq) for c in result.candidates] == [("x,1.png", "one: two", "")]


def test_a_header_is_known_whatever_the_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    assert pairs(found(tmp_path, "LQ,GT\na.png,b.png\n", degradation="hazy")) == [("a.png", "b.png")]
    assert pairs(found(tmp_path, "a.png,b.png\n", "x.csv", degradation="hazy", format="lines")) == [("a.png", "b.png")]


def test_columns_are_chosen_by_settings(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png", "c.png")
    text = "gt,bad,good,what,words\na.png,b.png,c.png,rainy,hello\n"
    settings = {"gt_column": "good", "lq_column": "bad", "degradation_column": "what", "caption_column": "words"}
    (candidate,) = found(tmp_path, text, "t.csv", **settings).candidates
    assert (candidate.name, Path(candidate.lq).name) == ("c.png", "b.png")
    assert (candidate.degradation, candidate.caption) == ("rainy", "hello")
    with pytest.raises(SourceError, match="lq_column: expected a column 'worse', found the columns 'gt', 'bad'"):
        found(tmp_path, text, "t.csv", lq_column="worse")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "photo,words\na.png,hello\n",
            r"clean images \(gt, .*found the columns 'photo', 'words'; name it in gt_column",
        ),
        ("gt,gt\na.png,b.png\n", "two columns 'gt'"),
        ('gt,text\na.png,"never closed\nb.png,x\n', "line 2: .*close the quotes"),
    ],
)
def test_a_broken_table_says_where(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.png", "b.png")
    with pytest.raises(SourceError, match=message):
        found(tmp_path, text, "t.csv")


def test_json_lines(tmp_path: Path) -> None:
    touch(tmp_path, "l.png", "g.png")
    lines = [
        json.dumps({"gt": "g.png", "lq": "l.png", "degradation": "snowy", "caption": "a \u2028 line"}),
        '{"gt": "g.png", "lq"',
        '["g.png"]',
        '{"gt": "g.png", "lq": null, "degradation": "snowy"}',
    ]
    result = found(tmp_path, "\n".join(lines), "x.jsonl")
    (candidate,) = result.candidates
    assert (candidate.name, candidate.degradation, candidate.caption) == ("g.png", "snowy", "a \u2028 line")
    assert [n.rpartition(" ")[2] for n in aside(result)] == ["2", "3", "4"]
    assert aside(result)["x.jsonl, line 2"].startswith("is no JSON")
    assert aside(result)["x.jsonl, line 4"] == "has no path in its column 'lq'"


# ---------------------------------------------------------------------------------------------------------------------
# DA-CLIP's table


def test_da_clips_table_finds_the_clean_image_beside_lq(tmp_path: Path) -> None:
    touch(tmp_path, *(f"universal/train/hazy/{side}/0048_0.9_0.2.{s}" for side, s in (("LQ", "jpg"), ("GT", "png"))))
    touch(
        tmp_path, "universal/train/noisy/LQ/a.png", "universal/train/noisy/GT/a.png", "universal/train/noisy/GT/a.jpg"
    )
    touch(tmp_path, "universal/train/noisy/LQ/b.png", "elsewhere/c.png")
    text = (
        "filepath\ttitle\n"
        "universal/train/hazy/LQ/0048_0.9_0.2.jpg\ta sign: it says stop: hazy\n"
        f"{tmp_path}/universal/train/noisy/LQ/a.png\ta dog: noisy\n"
        "universal/train/noisy/LQ/b.png\ta cat: noisy\n"
        "elsewhere/c.png\ta cat: noisy\n"
        "universal/train/noisy/LQ/a.png\tno label here\n"
    )
    result = found(tmp_path, text, "daclip_train.csv")
    assert [(c.name, c.degradation, c.caption) for c in result.candidates] == [
        ("universal/train/hazy/GT/0048_0.9_0.2.png", "hazy", "a sign: it says stop"),
        ("universal/train/noisy/GT/a.png", "noisy", "a dog"),
    ]
    assert aside(result) == {
        "daclip_train.csv, line 4": "names universal/train/noisy/LQ/b.png, and there is no file "
        "universal/train/noisy/GT/b of any suffix",
        "daclip_train.csv, line 5": "names elsewhere/c.png, which lies in no folder LQ that has a GT beside it",
        "daclip_train.csv, line 6": "has the title 'no label here'; expected one such as 'a dog on grass: hazy'",
    }


def test_da_clips_composites_are_joined_and_its_val_and_test_tables_keep_their_sides(tmp_path: Path) -> None:
    touch(tmp_path, "LQ/a.png", "GT/a.png", "LQ/b.png", "GT/b.png")
    text = "filepath\ttitle\nLQ/a.png\ta dog, a cat: hazy, rainy\nLQ/b.png\ta cow: noisy\n"
    sides = {}
    for name in ("daclip_train.csv", "daclip_val.csv", "daclip_test.csv", "mine.csv"):
        first, second = found(tmp_path, text, name).candidates
        assert (first.degradation, first.caption) == ("hazy+rainy", "a dog, a cat")
        assert (second.degradation, second.split) == ("noisy", first.split)
        sides[name] = first.split
    assert sides == {"daclip_train.csv": "", "daclip_val.csv": "val", "daclip_test.csv": "test", "mine.csv": ""}


def test_titles_without_labels_are_captions(tmp_path: Path) -> None:
    touch(tmp_path, "LQ/a.png", "GT/a.png", "b.png")
    (candidate,) = found(tmp_path, "filepath\ttitle\nb.png\ta dog: asleep\n", "x.csv").candidates
    assert (candidate.name, candidate.lq, candidate.caption) == ("b.png", "", "a dog: asleep")
    (forced,) = found(tmp_path, "filepath\ttitle\nLQ/a.png\ta dog: asleep\n", "x.csv", format="daclip").candidates
    assert (forced.name, forced.degradation, forced.caption) == ("GT/a.png", "asleep", "a dog")


# ---------------------------------------------------------------------------------------------------------------------
# Elsewhere


def test_a_list_in_memory_with_paths_beside_it(memory: Any) -> None:
    memory.pipe(
        {
            "/set/list.csv": b"filepath\ttitle\nnoisy/LQ/a.png\ta dog: noisy\n",
            "/set/noisy/LQ/a.png": b"lq",
            "/set/noisy/GT/a.jpg": b"gt",
            "/other/pairs.txt": b"lq/a.png,../gt/a.png\nmemory://x/l.png,memory://x/g.png",
        }
    )
    (candidate,) = ListFile("memory://set/list.csv").find().candidates
    assert memory.cat(candidate.path) == b"gt"
    assert memory.cat(candidate.lq) == b"lq"
    assert candidate.name == "noisy/GT/a.jpg"
    result = ListFile("memory://other/pairs.txt", degradation="hazy").find()
    assert {(c.lq, c.path) for c in result.candidates} == {
        ("memory://other/lq/a.png", "memory://gt/a.png"),
        ("memory://x/l.png", "memory://x/g.png"),
    }
    with pytest.raises(SourceError, match=r"path: cannot be read: .*none.txt"):
        ListFile("memory://set/none.txt").find()


def make_pairs(folder: Path) -> str:
    """Three hazy pairs below `folder`; gives their list."""
    for i in range(3):
        photo(folder / "gt" / f"{i}.png", seed=i)
        save(folder / "lq" / f"{i}.png", np.rint(0.3 * picture(seed=i) + 154).astype(np.uint8))
    return "".join(f"./lq/{i}.png,./gt/{i}.png\n" for i in range(3))


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / SHARDS).glob("*.tar")}


def test_a_list_gives_the_shards_of_the_folders_that_it_lists_here_and_over_http(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(make_pairs(tmp_path))
    folders = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    listed = {"kind": "list", "path": "pairs.txt", "degradation": "hazy"}
    build(tiny_recipe(tmp_path, sources=[folders], degradations={}), tmp_path / "folders")
    build(tiny_recipe(tmp_path, sources=[listed], degradations={}), tmp_path / "list")
    with serving(tmp_path) as server:
        away = listed | {"path": f"{server.address}/pairs.txt"}
        build(tiny_recipe(tmp_path, sources=[away], degradations={}), tmp_path / "http")
    assert len(read_built(tmp_path / "list").samples) == 3
    assert shards(tmp_path / "list") == shards(tmp_path / "folders") == shards(tmp_path / "http") != {}


def test_captions_and_splits_of_a_table_arrive(tmp_path: Path) -> None:
    make_pairs(tmp_path)
    rows = "".join(f"gt/{i}.png,caption number {i},{'test' if i else 'train'}\n" for i in range(3))
    (tmp_path / "t.csv").write_text("image,caption,split\n" + rows)
    source = {"kind": "list", "path": "t.csv"}
    build(tiny_recipe(tmp_path, sources=[source], captions={"kind": "source"}), tmp_path / "out")
    built = read_built(tmp_path / "out")
    for i in range(3):
        (stored,) = built.samples[f"gt/{i}.png"]
        assert stored.members["txt"].decode() == f"caption number {i}"
        assert stored.shard.startswith("test" if i else "train")


def test_a_recipe_with_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no key 'root'"):
        tiny_recipe(tmp_path, sources=[{"kind": "list", "path": "a.txt", "root": "x"}])
