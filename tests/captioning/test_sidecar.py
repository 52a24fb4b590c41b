from __future__ import annotations

import csv
import json
import os
import pickle
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.captioning.captioner import Caption, one_line
from patina.captioning.sidecar import CaptionError, Sidecar
from tests.captioning.doubles import photo

COCO = {
    "images": [{"id": 7, "file_name": "x.jpg"}, {"id": 8, "file_name": "y.jpg"}, {"id": 9, "file_name": "z.jpg"}],
    "annotations": [
        {"id": 31, "image_id": 7, "caption": "the second"},
        {"id": 30, "image_id": 7, "caption": "the first: by its id"},
        {"id": 29, "image_id": 8, "caption": "a boat\non a lake"},
        {"id": 1, "image_id": 1000, "caption": "of an image that is not listed"},
    ],
}


def write(path: Path, text: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def texts(sidecar: Sidecar, *names: str) -> list[str]:
    captions = sidecar.caption([photo(name) for name in names])
    assert [c.problem for c in captions] == [""] * len(names)
    return [c.text for c in captions]


def problem(sidecar: Sidecar, name: str, folder: object = "/photos") -> str:
    (caption,) = sidecar.caption([photo(name, folder)])
    assert caption.text == ""
    return caption.problem


# --- text files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["a tree of its own", "beside"])
def test_text_files(tmp_path: Path, own: bool) -> None:
    write(tmp_path / "x.txt", "a cat,\r\n  asleep: \ton a mat\n")
    write(tmp_path / "a" / "b.c" / "y.jpg.txt", b"\xef\xbb\xbf" + "ein Bär – größer".encode())
    write(tmp_path / "a" / "b.c" / "y.txt", "less exact a name")
    sidecar = Sidecar(str(tmp_path)) if own else Sidecar()
    captions = sidecar.caption([photo(n, "/elsewhere" if own else tmp_path) for n in ("x.jpg", "a/b.c/y.jpg")])
    assert captions == [Caption("a cat, asleep: on a mat"), Caption("ein Bär – größer")]


def test_problems_of_text_files(tmp_path: Path) -> None:
    write(tmp_path / "latin.txt", b"caf\xe9")
    write(tmp_path / "empty.txt", "\ufeff \n")
    (tmp_path / "folder.txt").mkdir()
    tree = Sidecar(str(tmp_path))
    assert problem(tree, "latin.jpg") == "the caption in 'latin.txt' is not UTF-8, it has byte 0xe9: save it as UTF-8"
    assert problem(tree, "empty.jpg") == "the caption in 'empty.txt' is empty: write one"
    assert problem(tree, "folder.jpg") == "the caption in 'folder.txt' cannot be read: Is a directory"
    assert problem(tree, "latin.txt/x.jpg").startswith("no caption for 'latin.txt/x.jpg'")
    assert (
        problem(tree, "a/x.jpg")
        == f"no caption for 'a/x.jpg' in {tmp_path.name}: write it into 'a/x.txt' there, or set a fallback"
    )
    assert (
        problem(Sidecar(), "x.jpg", tmp_path)
        == "no caption for 'x.jpg': write it into 'x.txt' beside it, or set a fallback"
    )


def test_a_name_too_long_for_one_more_suffix(tmp_path: Path) -> None:
    stem = "n" * 250
    write(tmp_path / f"{stem}.txt", "found all the same")
    assert Sidecar().caption([photo(f"{stem}.jpg", tmp_path)]) == [Caption("found all the same")]


def test_an_edited_text_file_shows_at_once(tmp_path: Path) -> None:
    sidecar = Sidecar(str(tmp_path))
    for text in ("one", "another"):
        write(tmp_path / "x.txt", text)
        assert texts(sidecar, "x.jpg") == [text]


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("c.csv", 'name,caption\nx.jpg,"a dog: black, ""Rex"", and\na\tball"\ny.jpg,ein Bär\n'),
        ("c.csv", '\ufeffid,Title,FilePath\r\n1,"a dog: black, ""Rex"", and\r\na\tball",x.jpg\r\n\r\n2,ein Bär,y.jpg'),
        ("c.csv", 'filepath\ttitle\nx.jpg\t"a dog: black, ""Rex"", and\na\tball"\ny.jpg\tein Bär\n'),  # as DA-CLIP's
        ("C.TSV", 'image\ttext, free\ttext\nx.jpg\t\t"a dog: black, ""Rex"", and\na\tball"\ny.jpg\t\tein Bär\n'),
        ("c.csv", 'name,caption\rx.jpg,"a dog: black, ""Rex"", and\ra\tball"\ry.jpg,ein Bär\r'),
        (
            "c.jsonl",
            '{"file_name": "x.jpg", "text": "a dog: black, \\"Rex\\", and\\u2028a\\tball"}\r\n\r\n'
            '{"text": "ein\u2028Bär", "file_name": "y.jpg"}\n',
        ),
        (
            "c.json",
            json.dumps(
                {
                    "images": [{"id": "i", "file_name": "x.jpg"}, {"id": 2, "file_name": "y.jpg"}],
                    "annotations": [
                        {"id": 1, "image_id": "i", "caption": 'a dog: black, "Rex", and\na\tball'},
                        {"id": 2, "image_id": 2, "caption": "ein Bär\u0000"},
                    ],
                }
            ),
        ),
    ],
)
def test_every_kind_of_table(tmp_path: Path, file: str, content: str) -> None:
    sidecar = Sidecar(write(tmp_path / file, content))
    assert texts(sidecar, "x.jpg", "y.jpg") == ['a dog: black, "Rex", and a ball', "ein Bär"]
    assert problem(sidecar, "z.jpg") == f"no caption for 'z.jpg' in {file}: add a row for it, or set a fallback"


def test_coco_takes_the_first_caption_by_annotation_id(tmp_path: Path) -> None:
    sidecar = Sidecar(write(tmp_path / "captions_val2017.json", json.dumps(COCO)))
    assert texts(sidecar, "x.jpg", "sub/y.jpg") == ["the first: by its id", "a boat on a lake"]
    assert "no caption for 'z.jpg'" in problem(sidecar, "z.jpg")


def test_chosen_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "name,caption,file,blip2\nwrong.jpg,the wrong one,x.jpg,the right one\n")
    assert texts(Sidecar(path, "file", "blip2"), "x.jpg") == ["the right one"]
    assert texts(Sidecar(path), "wrong.jpg") == ["the wrong one"]
    assert Sidecar(path, "file").settings() == {"name_column": "file", "caption_column": ""}


ROWS = """name,caption
a/x.jpg,in a
b/x.jpg,in b
c/once.png,once
twin.jpg,same
d/twin.jpg,same
./e\\win.jpg,from Windows
e\u0301te\u0301.jpg,decomposed
bare,no suffix
s/stem.png,one
t/stem.bmp,two
double.jpg,one
double.jpg,two
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/x.jpg", "in a"),
        ("b/x.jpg", "in b"),
        ("z/once.png", "once"),
        ("once.jpg", "once"),  # the same photograph in another format
        ("z/twin.jpg", "same"),  # two rows, but they agree
        ("e/win.jpg", "from Windows"),
        ("\u00e9t\u00e9.jpg", "decomposed"),
        ("z/bare.jpg", "no suffix"),
        ("s/stem.png", "one"),
    ],
)
def test_how_a_photo_finds_its_row(tmp_path: Path, name: str, expected: str) -> None:
    assert texts(Sidecar(write(tmp_path / "c.csv", ROWS)), name) == [expected]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("x.jpg", "'a/x.jpg' (line 2) and 'b/x.jpg' (line 3)"),
        ("stem.jpg", "'s/stem.png' (line 10) and 't/stem.bmp' (line 11)"),
        ("double.jpg", "'double.jpg' (line 12) and 'double.jpg' (line 13)"),
    ],
)
def test_two_rows_that_differ_are_a_problem(tmp_path: Path, name: str, rows: str) -> None:
    found = problem(Sidecar(write(tmp_path / "c.csv", ROWS)), name)
    assert found.startswith(f"two rows of c.csv fit '{name}' and differ: {rows}; keep one row")


def test_an_empty_caption_is_a_problem_of_its_photo(tmp_path: Path) -> None:
    table = Sidecar(write(tmp_path / "c.csv", 'name,caption\nx.jpg,\ny.jpg," \n"\nz.jpg,fine\n'))
    assert problem(table, "x.jpg") == "the caption in c.csv, line 2 is empty: write one"
    assert problem(table, "y.jpg") == "the caption in c.csv, line 3 is empty: write one"
    assert texts(table, "z.jpg") == ["fine"]
    lines = Sidecar(write(tmp_path / "c.jsonl", '{"name": "x.jpg", "caption": null}'))
    assert "is empty" in problem(lines, "x.jpg")


def test_a_moved_table_is_the_same_setting_and_travels_when_pickled(tmp_path: Path) -> None:
    one = Sidecar(write(tmp_path / "one.csv", "name,caption\nx.jpg,a cat\n"))
    other = Sidecar(write(tmp_path / "two" / "other.csv", "name,caption\nx.jpg,a dog\n"))
    assert one.settings() == other.settings()
    data = pickle.dumps(one)
    (tmp_path / "one.csv").unlink()
    assert texts(pickle.loads(data), "x.jpg") == texts(one, "x.jpg") == ["a cat"]
    assert pickle.loads(data) == one != other and hash(pickle.loads(data)) == hash(one)


# --- broken tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("c.csv", "", "line 1: expected one of the columns name, filepath, file_name, filename, image, found none"),
        ("c.csv", "file;caption\n", "line 1: expected one of the columns name, .*, found the columns 'file;caption'"),
        ("c.csv", "name,words\n", "line 1: expected one of the columns caption, title, text, found .* 'words'; rename"),
        ("c.csv", "name,caption,caption\n", "line 1: expected one column 'caption', found two; rename one"),
        ("c.csv", 'name,caption\nx,"two\nlines"\ny,a cat, asleep\n', "line 4: expected 2 fields, found 3: .*a cat.*…"),
        ("c.csv", "name,caption\nx\n", "line 2: expected 2 fields, found 1"),
        ("c.csv", 'name,caption\nx,fine\ny,"never\nclosed\n', 'line 3: expected fields in "…" that close'),
        ("c.csv", 'name,caption\nx,"a" cat\n', 'line 2: expected fields in "…" that close, .*mend that line'),
        ("c.csv", "name,caption\n,a cat\n", "line 2: expected a file name, found none, for 'a cat'; add it"),
        ("c.csv", "name,caption\nx," + "y" * 140_000, "line 2: .*field larger than field limit"),
        ("c.csv", b"\xef\xbb\xbfname,caption\nx,caf\xe9\n", "line 2: expected UTF-8, found byte 0xe9; save the file"),
        ("c.csv", "name,caption\n".encode("utf-16"), "line 1: expected UTF-8, found byte 0xff"),
        ("c.jsonl", "\n", "line 1: expected one of the columns name, .*, found none"),
        ("c.jsonl", '{"name": "x", "caption": "y"}\n{"name": \n', r"line 2: expected JSON, found .*\(column 10\)"),
        ("c.jsonl", '["x", "y"]', r"line 1: expected one object a line, found \['x', 'y'\]; write"),
        ("c.jsonl", '{"name": "x", "text": ["y", 3]}', r"""line 1: expected a text under "text", found \['y', 3\]"""),
        (
            "c.jsonl",
            '{"name": "x", "text": "y"}\n{"name": "x"}',
            'line 2: expected a text under "text", found the keys',
        ),
        ("c.jsonl", '{"name": null, "text": "y"}', "line 1: expected a file name"),
        ("c.json", "{\n\n[", "line 3: expected JSON, found"),
        ("c.json", "[" * 100_000, "line 1: expected JSON, found"),
        ("c.json", "[]", 'top level: expected an object with a list "images", found a list; use COCO'),
        ("c.json", '{"images": []}', 'top level: expected an object with a list "annotations", found the keys images'),
        ("c.json", '{"images": [3], "annotations": []}', r"images\[0\]: expected an object, found 3"),
        (
            "c.json",
            '{"images": [{"id": 1, "file_name": "x"}], "annotations": [{"id": 1, "image_id": 1, "bbox": []}]}',
            r'annotations\[0\]: expected a text under "caption", found the keys id, image_id, bbox',
        ),
        (
            "c.json",
            '{"images": [{"id": 1}], "annotations": [{"id": true, "image_id": 1, "caption": "y"}]}',
            r'annotations\[0\]: expected a number or a text under "id", found True',
        ),
        (
            "c.json",
            '{"images": [{"id": 1, "file_name": "x"}, {"id": 1, "file_name": "y"}], "annotations": []}',
            r"images\[1\]: expected an id of its own, found 1, which images\[0\] has too",
        ),
    ],
)
def test_a_broken_table_says_where_and_what_to_do(
    tmp_path: Path, file: str, content: str | bytes, message: str
) -> None:
    path = write(tmp_path / file, content)
    with pytest.raises(CaptionError, match=f"^{re.escape(path)}, {message}") as raised:
        Sidecar(path)
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value) and "; " in str(raised.value)


# --- several photographs, several rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("x/001.png", "y/001.png"), ("x/001.PNG", "y/sub/001.png", "z/001.png")])
@pytest.mark.parametrize("row", ["001.png", "001", "other/001.png", ".\\001.png"])
def test_a_row_that_fits_different_photographs_is_none_of_theirs(
    tmp_path: Path, names: tuple[str, ...], row: str
) -> None:
    sidecar = Sidecar(write(tmp_path / "c.csv", f"name,caption\n{row},a barn\nb.png,a boat\n"))
    *shared, other = sidecar.caption([photo(name) for name in (*names, "b.png")])
    fitting = [c for c, name in zip(shared, names, strict=True) if name.endswith("png") or row == "001"]
    assert all("fits two different photographs" in c.problem and "(line 2) of c.csv" in c.problem for c in fitting)
    assert len(fitting) > 1 and other.text == "a boat"
    (alone,) = sidecar.caption([photo("x/001.png")])
    assert alone.text == "a barn"


def test_a_row_is_the_photographs_that_it_fits_best(tmp_path: Path) -> None:
    sidecar = Sidecar(write(tmp_path / "c.csv", "name,caption\nx/001.png,a barn\n002.png,a boat\n"))
    names = ("x/001.png", "y/001.png", "x/002.png", "x/002.jpg")
    barn, none, boat, other = sidecar.caption([photo(name) for name in names])
    assert (barn.text, boat.text) == ("a barn", "a boat")
    assert "'y/001.png' by its base name and 'x/001.png', which it fits by its whole name; name each" in none.problem
    assert "'x/002.jpg' by its base name less the suffix and 'x/002.png'" in other.problem


def test_one_photograph_under_two_names_is_no_other(tmp_path: Path) -> None:
    sidecar = Sidecar(write(tmp_path / "c.csv", "name,caption\n001.png,a barn\n"))
    same = [photo(name, digest="d") for name in ("x/001.png", "y/001.png")]
    assert [c.text for c in sidecar.caption(same)] == ["a barn"] * 2
    two = [photo("001.png", folder) for folder in ("/a", "/b")]
    assert [c.text for c in sidecar.caption(two)] == ["a barn"] * 2, "photo() gives equal names equal digests"
    two = [photo("001.png", folder, digest=folder) for folder in ("/a", "/b")]
    assert all("both have this name in a source's folder" in c.problem for c in sidecar.caption(two))


FIVE = ["a dog", "a black dog", "a dog on grass", "the dog", "some dog"]


def test_of_several_rows_the_first_or_one_by_seed_is_taken(tmp_path: Path) -> None:
    def drawn(rows: list[str], **rule: Any) -> list[str]:
        text = "name,caption\n" + "".join(f"{i}.png,{row}\n" for i in range(40) for row in rows)
        return texts(Sidecar(write(tmp_path / "c.csv", text), **rule), *(f"x/{i}.png" for i in range(40)))

    assert drawn(FIVE, several="first") == [FIVE[0]] * 40
    chosen = drawn(FIVE, several="random")
    assert set(chosen) == set(FIVE) and chosen == drawn(FIVE[::-1], several="random"), "wherever they stand"
    assert chosen[:4] == ["a black dog", "a dog", "a dog on grass", "a dog"], "on every machine"
    assert sum(a != b for a, b in zip(chosen, drawn(FIVE, several="random", seed=1), strict=True)) > 20
    fewer = drawn(FIVE[:4], several="random")
    assert all(a == b for a, b in zip(chosen, fewer, strict=True) if a != FIVE[4]), "one less moves only its own"


def test_of_several_rows_all_are_given_in_the_files_order(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "name,caption\n" + "".join(f"1.png,{text}\n" for text in (*FIVE, FIVE[0], " ")))
    (found,) = Sidecar(path, several="all").caption([photo("1.png")])
    assert (found.text, *found.more) == tuple(FIVE)
    (one,) = Sidecar(write(tmp_path / "d.csv", "name,caption\n1.png,alone\n"), several="all").caption([photo("1.png")])
    assert (one.text, one.more) == ("alone", ())


def test_rows_of_different_images_are_no_several_captions_of_one(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "name,caption\nx/1.png,a dog\ny/1.png,a cat\n")
    assert "fit 'z/1.png' and differ" in problem(Sidecar(path, several="first"), "z/1.png")
    path = write(tmp_path / "c.csv", "name,caption\n1.png,a dog\n1.png,a cat\n1.png,a cow\n")
    assert problem(Sidecar(path), "1.png") == (
        "two rows of c.csv, of 3 fit '1.png' and differ: '1.png' (line 2) and '1.png' (line 3); keep one row, and name "
        'the photograph there by its path relative to the source\'s folder, or set several = "first", "random" or "all"'
    )


def test_lists_of_captions_in_json_lines_and_coco_follow_the_rule(tmp_path: Path) -> None:
    lines = write(tmp_path / "c.jsonl", json.dumps({"image": "1.png", "caption": FIVE}))
    assert "two rows of c.jsonl, of 5 fit" in problem(Sidecar(lines), "1.png")
    assert texts(Sidecar(lines, several="first"), "1.png") == [FIVE[0]]
    coco = write(tmp_path / "c.json", json.dumps(COCO))
    assert texts(Sidecar(coco), "x.jpg") == texts(Sidecar(coco, several="first"), "x.jpg") == ["the first: by its id"]
    drawn = {texts(Sidecar(coco, several="random", seed=seed), "x.jpg")[0] for seed in range(20)}
    assert drawn == {"the first: by its id", "the second"}


def test_the_rule_is_a_setting_only_where_it_is_set(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "name,caption\n")
    assert Sidecar(path).settings() == {"name_column": "", "caption_column": ""}
    assert Sidecar(path, several="first").settings() | {} == {**Sidecar(path).settings(), "several": "first"}
    assert Sidecar(path, several="random").settings()["seed"] == 0


@pytest.mark.parametrize("between", [";", "\t", ",", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_any_usual_delimiter_is_known_by_the_header(tmp_path: Path, between: str, suffix: str) -> None:
    rows = [["id", "file_name", "caption"], ["1", "x/1.png", "a dog, a cat; a cow"]]
    text = "\n".join(between.join(f'"{cell}"' for cell in row) for row in rows)
    assert texts(Sidecar(write(tmp_path / f"c{suffix}", text)), "x/1.png") == ["a dog, a cat; a cow"]
    flickr = write(tmp_path / "f.csv", "image_name| comment_number| comment\n1.png| 0| A dog .\n")
    assert texts(Sidecar(flickr, "image_name", "comment"), "1.png") == ["A dog ."]


def test_rows_that_fit_no_photograph_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "name,caption\na.png,a dog\nb.png,a cat\nb.png,two cats\nc.png,a cow\n")
    sidecar = Sidecar(path)
    assert sidecar.notes([photo("x/a.png"), photo("b.jpg")], ["y/c.png"]) == []
    assert sidecar.notes([photo("a.png")]) == [
        "captions: 3 rows of c.csv fit no photograph; the first: 'b.png' (line 3)"
    ]
    assert sidecar.notes([photo("a.png"), photo("b.png")]) == [
        "captions: 1 row of c.csv fits no photograph; the first: 'c.png' (line 5)"
    ]
    assert sidecar.notes([photo("z.png"), photo("y.png")]) == [
        "captions: no row of c.csv fits any of 2 photographs, such as 'z.png'; it has 4 rows, such as 'a.png': are the "
        "names relative to the source's folder?"
    ]
    assert sidecar.notes([]) == []


def test_text_files_that_are_not_there_at_all_are_told(tmp_path: Path) -> None:
    photos = [photo(f"{i}.png", tmp_path) for i in range(3)]
    assert Sidecar().notes(photos) == ["captions: none of 3 photographs has a text file beside it"]
    (tmp_path / "own").mkdir()
    assert Sidecar(str(tmp_path / "own")).notes(photos) == ["captions: none of 3 photographs has a text file in own"]
    write(tmp_path / "2.txt", "a dog")
    assert Sidecar().notes(photos) == []


def test_a_text_file_of_several_photographs_is_told(tmp_path: Path) -> None:
    write(tmp_path / "x" / "1.txt", "a dog")
    write(tmp_path / "x" / "2.txt", "a cat")
    names = ("x/1.png", "x/1.jpg", "x/2.png", "y/1.png")
    photos = [photo(name, tmp_path) for name in names]
    told = "captions: 1 text file is of several different photographs; the first: '1.txt' of 'x/1.png' and 'x/1.jpg'"
    assert Sidecar().notes(photos) == [told]
    assert Sidecar(str(tmp_path)).notes([photo("x/2.png", at, digest=at) for at in ("/a", "/b")]) == [
        "captions: 1 text file is of several different photographs; the first: '2.txt' of 'x/2.png' and 'x/2.png'"
    ]
    write(tmp_path / "x" / "1.jpg.txt", "a dog of its own")
    assert Sidecar().notes(photos) == []
    assert Sidecar().notes([photo(name, tmp_path, digest="d") for name in names]) == []


# --- what cannot work -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda at: Sidecar(f"{at}/no.csv"),
            "path: expected a captions file, found .*no.csv: No such file or directory",
        ),
        (
            lambda at: Sidecar(f"{at}/no"),
            r"path: expected a folder or a file .csv, .tsv, .jsonl, .json, found nothing at",
        ),
        (
            lambda at: Sidecar(write(at / "c.xlsx", "")),
            "path: expected a folder or a file .csv, .*, found .*c.xlsx; mend",
        ),
        (
            lambda at: Sidecar("", "file"),
            r"name_column: expected a table \(.csv, .tsv, .jsonl\) as path, found ''; unset",
        ),
        (lambda at: Sidecar(f"{at}/c.json", "", "x"), r"caption_column: expected a table .*c.json'; unset it"),
        (lambda at: Sidecar("", 3), "name_column: expected the name of a column, found 3"),  # type: ignore[arg-type]
        (
            lambda at: Sidecar(write(at / "c.csv", "name,caption\n"), "", "blip"),
            "line 1: expected a column 'blip', found the columns 'name', 'caption'; rename one, or name it in",
        ),
        (
            lambda at: Sidecar(f"{at}/c.csv", several="any"),
            "several: expected one of refuse, first, random, all, found 'any'",
        ),
        (lambda at: Sidecar("", several="first"), r"several: expected a table \(.csv, .tsv, .jsonl, .json\) as path"),
        (lambda at: Sidecar(f"{at}/c.csv", seed=3), 'seed: it serves several = "random" alone'),
        (
            lambda at: Sidecar(f"{at}/c.csv", several="random", seed=-1),
            "seed: expected a whole number from 0, found -1",
        ),
    ],
)
def test_a_setting_that_cannot_work(tmp_path: Path, make: Callable[[Path], Sidecar], message: str) -> None:
    with pytest.raises(CaptionError, match=message):
        make(tmp_path)


# --- what is written comes back ---------------------------------------------------------------------------------------


def write_csv(path: Path, captions: list[str], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerows([["filepath", "title"], *([f"{i}.jpg", text] for i, text in enumerate(captions))])


def write_tabs(path: Path, captions: list[str]) -> None:
    write_csv(path, captions, "\t")


def write_jsonl(path: Path, captions: list[str], ascii_only: bool = False) -> None:
    lines = [json.dumps({"image": f"{i}.jpg", "text": t}, ensure_ascii=ascii_only) for i, t in enumerate(captions)]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")


def write_escaped(path: Path, captions: list[str]) -> None:
    write_jsonl(path, captions, ascii_only=True)


@pytest.mark.parametrize(
    ("file", "writer"),
    [
        ("c.csv", write_csv),
        ("daclip_train.csv", write_tabs),
        ("c.tsv", write_tabs),
        ("c.jsonl", write_jsonl),
        ("escaped.jsonl", write_escaped),
    ],
)
@settings(deadline=None, max_examples=60)
@given(
    captions=st.lists(
        st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(',"\t\r\n\u2028: '))), min_size=1
    )
)
def test_any_caption_comes_back(file: str, writer: Callable[[Path, list[str]], None], captions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, file)
        writer(path, captions)
        found = Sidecar(os.fspath(path)).caption([photo(f"{i}.jpg") for i in range(len(captions))])
    assert [c.text for c in found] == [one_line(text) for text in captions]
    assert all(bool(c.problem) == (not c.text) for c in found)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([".csv", ".tsv", ".jsonl", ".json"]), st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_a_table_or_a_caption_error(suffix: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, f"c{suffix}"), content)
        try:
            Sidecar(path).caption([photo("x.jpg")])
        except CaptionError as error:
            assert path in str(error)
