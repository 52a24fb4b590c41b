"""Differences: each kind of change is told at its level, nothing else is, and the page shows it."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from patina.flows.cli.app import app
from patina.pipeline.builder.build import build
from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import MANIFEST, SAMPLES, SHARDS, SOURCES
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.format.pictures import strongest
from patina.pipeline.plan.planning import Options
from patina.pipeline.report.diff import MAX_LISTED, Diff, EntryChange, Listed, diff, read_snapshot, settings
from patina.pipeline.report.diff_page import CROP, _compared, _readable, write_diff_page
from patina.pipeline.versions.version import built_folder
from tests.pipeline.making import copied, photo, photos, picture, pixels, tiny_recipe

BOTH: dict[str, Any] = {"noisy": {"sigma": 25}, "jpeg-compressed": {"quality": 10}}


def made(folder: Path, name: str, **changes: Any) -> Path:
    """A dataset of the photographs in `folder`/photos as they are now."""
    build(tiny_recipe(folder, **{"degradations": BOTH, **changes}), folder / name, Options(max_set_aside=0.9))
    return folder / name


def found(old: Path, new: Path) -> Diff:
    return diff(read_snapshot(old), read_snapshot(new))


def entry(one: Diff, name: str) -> EntryChange:
    return next(e for e in one.samples if e.entry == name)


def totals(groups: Any) -> dict[str, int]:
    return {name: one.total for name, one in groups.items() if one.total}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once")
    photos(folder / "photos", 4)
    made(folder, "old")
    return folder


@pytest.fixture
def old(once: Path, tmp_path: Path) -> Path:
    return copied(once, tmp_path) / "old"


# ---------------------------------------------------------------------------------------------------------------------


def test_a_dataset_equals_itself_and_its_rebuild(old: Path, tmp_path: Path) -> None:
    for one in (found(old, old), found(old, made(tmp_path, "new"))):
        assert one.is_empty
        assert one.lines() == [f"equal: 8 samples in 2 shards, digest {one.digests[1][:16]}"]
        assert {e.entry: e.same for e in one.samples} == {"noisy": 4, "jpeg-compressed": 4}


def test_another_setting_changes_the_pixels_of_its_entry_alone(old: Path, tmp_path: Path) -> None:
    one = found(old, made(tmp_path, "new", degradations={**BOTH, "noisy": {"sigma": {"min": 50, "max": 55}}}))
    assert one.recipe == ("degradations.noisy.sigma 25 → 50..55",)
    assert (entry(one, "noisy").pixels, entry(one, "noisy").same) == (4, 0)
    assert entry(one, "jpeg-compressed").is_same
    assert one.shards["rewritten"].items == ("train-0000-noisy.tar",)
    assert not totals(one.sources)
    severity = {
        path: [r.severity for r in read_samples(path) if r.entry == "noisy"] for path in (old, tmp_path / "new")
    }
    assert entry(one, "noisy").severity == tuple(np.median(values) for values in severity.values())
    before, after = entry(one, "noisy").severity
    assert after > before
    assert f"noisy: 4 with other pixels; median severity {before:.1f} → {after:.1f}" in "\n".join(one.lines())


def test_photographs_that_come_go_change_and_are_renamed(old: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "good-000.png").unlink()
    photo(folder / "good-001.png", seed=71)
    (folder / "good-002.png").rename(folder / "other.png")
    photo(folder / "late.png", seed=72)
    one = found(old, made(tmp_path, "new"))
    assert {name: listed.items for name, listed in one.sources.items() if listed.total} == {
        "added": ("late.png",),
        "dropped": ("good-000.png",),
        "edited": ("good-001.png",),
        "renamed": ("good-002.png → other.png",),
    }
    for name in BOTH:
        assert (entry(one, name).added, entry(one, name).dropped, entry(one, name).same) == (2, 2, 2)
    keys = [{r.key for r in read_samples(path)} for path in (old, tmp_path / "new")]
    sides = [read_snapshot(path).samples["key"].to_pylist() for path in (old, tmp_path / "new")]
    assert {sides[1][i] for i in one.added} == keys[1] - keys[0]
    assert {sides[0][i] for i in one.dropped} == keys[0] - keys[1]
    assert not one.recipe


def test_a_rename_alone_rewrites_no_shard(old: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "good-002.png").rename(tmp_path / "photos" / "other.png")
    one = found(old, made(tmp_path, "new"))
    assert totals(one.sources) == {"renamed": 1}
    assert not totals(one.shards)
    assert not one.is_empty


def test_another_entry_is_added_and_one_dropped(old: Path, tmp_path: Path) -> None:
    one = found(old, made(tmp_path, "new", degradations={"noisy": {"sigma": 25}, "low-light": {}}))
    assert one.recipe == ("degradations.jpeg-compressed dropped", "degradations.low-light added")
    assert (entry(one, "low-light").added, entry(one, "jpeg-compressed").dropped) == (4, 4)
    assert math.isnan(entry(one, "low-light").severity[0])
    assert "nan" not in "\n".join(one.lines())
    assert totals(one.shards) == {"added": 1, "dropped": 1}


def test_a_caption_is_told_once_for_its_photograph(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    captions = {"kind": "sidecar", "path": "captions.csv"}
    rows = {f"good-{i:03d}.png": f"number {i}" for i in range(3)}

    def write() -> None:
        lines = [f"{name},{text}\n" for name, text in rows.items()]
        (tmp_path / "captions.csv").write_text("name,caption\n" + "".join(lines))

    write()
    old = made(tmp_path, "old", captions=captions)
    rows["good-001.png"] = "number one"
    write()
    one = found(old, made(tmp_path, "new", captions=captions))
    assert one.captions == Listed(1, ('good-001.png: "number 1" → "number one"',))
    assert [(e.captions, e.pixels, e.reworded, e.same) for e in one.samples] == [(1, 0, 0, 2)] * 2
    assert not one.recipe


def test_a_captioners_name_alone_is_no_other_caption(old: Path, tmp_path: Path) -> None:
    lines = {row.source_sha256: row.caption for row in read_samples(old)}
    names = {r["digest"]: r["names"][0] for r in read_snapshot(old).sources.to_pylist()}
    text = "".join(json.dumps({"name": names[d], "caption": c}) + "\n" for d, c in lines.items())
    (tmp_path / "captions.jsonl").write_text(text, "utf-8")
    one = found(old, made(tmp_path, "new", captions={"kind": "sidecar", "path": "captions.jsonl"}))
    assert [(e.captions, e.pixels, e.reworded) for e in one.samples] == [(0, 0, 4)] * 2
    assert not one.captions.total


def test_samples_that_change_sides_are_matched(old: Path, tmp_path: Path) -> None:
    one = found(old, made(tmp_path, "new", sources=[{"path": "photos", "split": "val", "licence": "CC0-1.0"}]))
    assert [(e.moved, e.added, e.dropped, e.pixels) for e in one.samples] == [(4, 0, 0, 0)] * 2
    assert totals(one.sources) == {"in another split": 4, "with other facts": 4}
    assert one.sources["in another split"].items[0] == "good-000.png: train → val"
    assert one.sources["with other facts"].items[0] == 'good-000.png: licence "" → "CC0-1.0"'
    assert sorted(one.recipe) == ['sources[1].licence "" → "CC0-1.0"', 'sources[1].split "" → "val"']


def test_inputs_set_aside_come_and_go(old: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "torn.png").write_bytes((tmp_path / "photos" / "good-000.png").read_bytes()[:900])
    torn = made(tmp_path, "torn")
    came, went = found(old, torn), found(torn, old)
    assert came.set_aside["now"] == went.set_aside["no more"]
    assert came.set_aside["now"].items[0].startswith("torn.png: ")
    assert totals(came.set_aside) == {"now": 1}
    assert not came.is_empty


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": "x"}}, {"a": {"b": [1, 2], "c": "x"}}, ["a.b 1 → [1, 2]"]),
        ({"a": {"min": 1, "max": 2}}, {"a": {"min": 1, "max": 3}}, ["a 1..2 → 1..3"]),
        ({}, {"tiles": {"size": 256}, "seed": 3}, ["seed added: 3", "tiles added"]),
        ({"s": [{"path": "a"}]}, {"s": [{"path": "b"}]}, ['s[1].path "a" → "b"']),
        ({"s": [{"path": "a"}]}, {"s": [{"path": "b"}, {"path": "a"}]}, ['s[1] added: {"path": "b"}']),
        ({"s": [{"path": "a"}, {"path": "b"}]}, {"s": [{"path": "a"}]}, ['s[2] dropped: {"path": "b"}']),
        ({"s": [{"p": 1}, {"p": 2}]}, {"s": [{"p": 2}, {"p": 1}]}, ["s: in another order, or repeated"]),
        ({"s": [1]}, {"s": []}, ["s [1] → []"]),
    ],
)
def test_settings_that_differ_are_told_in_words(before: Any, after: Any, expected: list[str]) -> None:
    assert list(settings(before, after)) == expected


def test_other_tools_explain_and_do_not_count(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "new")
    body = json.loads((tmp_path / "new" / MANIFEST).read_text("utf-8"))
    del body["sum"]
    body["versions"]["numpy"] = "1.0"
    (tmp_path / "new" / MANIFEST).write_text(json.dumps(body), "utf-8")
    one = found(old, tmp_path / "new")
    assert one.is_empty
    assert len(one.tools) == 1
    assert one.tools[0].endswith('→ "1.0"')


def test_long_lists_are_counted_whole_and_shown_in_part() -> None:
    lines = _with_shards(Listed(1000, tuple(f"{i:04d}.tar" for i in range(MAX_LISTED)))).lines(3)
    shown = lines.index("shards   1,000 added")
    assert lines[shown + 1 :] == ["  added 0000.tar", "  added 0001.tar", "  added 0002.tar", "  … and 997 more added"]


def _with_shards(added: Listed) -> Diff:
    none = np.zeros(0, np.int64)
    return Diff(
        (), (), {"added": added}, {}, (), Listed(0, ()), {}, ((0, 0), (0, 1000)), ("", ""), none, none, (none, none)
    )


# ---------------------------------------------------------------------------------------------------------------------


def test_tables_and_manifest_alone_are_enough(old: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for name in (MANIFEST, SAMPLES, SOURCES):
        shutil.copy(old / name, tmp_path / "kept")
    assert found(tmp_path / "kept" / MANIFEST, old).is_empty
    new = made(tmp_path, "new", degradations={"noisy": {"sigma": 50}})
    sides = read_snapshot(tmp_path / "kept"), read_snapshot(new)
    page = write_diff_page(*sides, diff(*sides), tmp_path / "page.html").read_text("utf-8")
    assert "no picture of the old one: its shard is not there" in page
    assert page.count("<img") == 4, "the four new pictures"


def test_a_table_of_another_time_is_refused(old: Path, tmp_path: Path) -> None:
    new = made(tmp_path, "new", degradations={"noisy": {"sigma": 50}})
    shutil.copy(old / SAMPLES, new)
    with pytest.raises(ManifestError, match="is not the table that its manifest"):
        read_snapshot(new)
    (built_folder(new) / SAMPLES).unlink()
    with pytest.raises(ManifestError, match="is missing: a comparison needs"):
        read_snapshot(new)
    with pytest.raises(ManifestError, match="expected a dataset's folder"):
        read_snapshot(tmp_path / "nothing")


def test_the_page_shows_old_beside_new_and_trusts_no_text(old: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "good-000.png").rename(tmp_path / "photos" / "<b>bold.png")
    new = made(tmp_path, "new", degradations={"noisy": {"sigma": 50}})
    sides = read_snapshot(old), read_snapshot(new)
    one = diff(*sides)
    text = write_diff_page(*sides, one, tmp_path / "pages" / "page.html").read_text("utf-8")
    assert "<b>" not in text
    assert "&lt;b&gt;bold.png" in text
    assert "default-src 'none'; img-src data:" in text
    assert "<script" not in text
    images = dict(re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]* alt="([^"]+)">', text))
    names = [alt.partition(" of ")[0].partition(" ×")[0] for alt in images.values()]
    assert {name: names.count(name) for name in names} == {
        "old LQ": 4,
        "new LQ": 4,
        "difference": 4,
        "LQ": 4,  # of jpeg-compressed, which is dropped
        "GT": 4,
    }
    shown = pixels(base64.b64decode(next(iter(images))))
    assert shown.shape == (48, 64, 3)
    assert text == write_diff_page(*sides, one, tmp_path / "again.html").read_text("utf-8")
    few = write_diff_page(*sides, one, tmp_path / "few.html", 1).read_text("utf-8")
    assert few.count("<img") == 5
    assert "1 of 4, spread over all of them" in few


def test_a_shard_of_another_time_gives_no_wrong_picture(old: Path, tmp_path: Path) -> None:
    new = made(tmp_path, "new", degradations={"noisy": {"sigma": 50}})
    shutil.copy(new / SHARDS / "train-0000-noisy.tar", old / SHARDS)
    sides = read_snapshot(old), read_snapshot(new)
    text = write_diff_page(*sides, diff(*sides), tmp_path / "page.html").read_text("utf-8")
    assert text.count("no picture of the old one") == 4
    assert 'alt="old LQ' not in text


def test_nothing_differs_on_the_page_of_equals(old: Path, tmp_path: Path) -> None:
    side = read_snapshot(old)
    text = write_diff_page(side, side, diff(side, side), tmp_path / "page.html").read_text("utf-8")
    assert "Nothing differs" in text
    assert "<img" not in text


def test_a_difference_is_cut_out_where_it_is_and_amplified() -> None:
    was = picture(800, 600)
    now = was.copy()
    now[500:520, 700:720] = np.where(was[500:520, 700:720] < 128, was[500:520, 700:720] + 5, was[500:520, 700:720] - 5)
    shown = _compared(was, now)
    (name, (_, box)) = list(shown.items())[2]
    x, y, width, height = box
    assert (width, height) == CROP
    assert (x <= 700, y <= 500, x + width >= 720, y + height >= 520) == (True,) * 4
    assert name == "difference ×16, at most 5 levels"
    assert list(_compared(was, was)) == ["old LQ, no pixel differs", "new LQ, no pixel differs"]
    assert strongest(np.zeros((48, 64), np.int16), *CROP) == (0, 0, 64, 48)


def test_parameters_are_told_without_seeds_and_endless_digits() -> None:
    params = {"sigma": 16.22279254282668, "seed": "1b73e9d345e46f0920faf91f140bb38d", "parts": [["noisy", {"a": 1}]]}
    assert _readable(params) == {"sigma": 16.2228, "parts": [["noisy", {"a": 1}]]}


# ---------------------------------------------------------------------------------------------------------------------


def test_the_commands_exit_codes_are_those_of_diff(old: Path, tmp_path: Path) -> None:
    new = made(tmp_path, "new", degradations={"noisy": {"sigma": 50}})

    def run(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["diff", *map(str, words)])
        return done.exit_code, done.output

    code, text = run(old, old)
    assert (code, text.split(":")[0]) == (0, "equal")
    code, text = run(old, new, "--html", tmp_path / "page.html")
    assert code == 1
    assert "degradations.jpeg-compressed dropped" in text
    assert (tmp_path / "page.html").exists()
    code, text = run(old, tmp_path / "nothing")
    assert code == 2
    assert "expected a dataset's folder" in text


def test_the_export_command_writes_once(old: Path, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        done = CliRunner().invoke(app, ["export", str(old), "--out", str(tmp_path / "x"), *map(str, words)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "(8 samples in 19 files)" in run("--to", "daclip", "--absolute")
    assert f"{tmp_path}/x/train/noisy/LQ/" in (tmp_path / "x" / "daclip_train.csv").read_text()
    assert "nothing to do" in run("--to", "daclip", "--absolute")
    assert "(4 samples in 12 files)" in run("--to", "folders", "--degradation", "noisy", "--split", "train")
