"""The card's picture: of samples of the dataset, the same bytes whatever was built before, and beside the shards."""

from __future__ import annotations

import errno
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from patina.pipeline.builder.build import build, result_if_idle
from patina.pipeline.builder.history import rollback
from patina.pipeline.export.push import check_folder, read_contents
from patina.pipeline.format.layout import SHARDS, STRIP
from patina.pipeline.format.manifest import load_manifest, samples_schema, sources_schema
from patina.pipeline.format.pictures import GUTTER, HEADING, sheet
from patina.pipeline.format.strip import MOST, SIDE, _worth_showing, chosen
from patina.pipeline.plan.planning import Options
from patina.pipeline.report.check import check
from patina.pipeline.versions.version import built_folder
from tests.pipeline.making import photos, picture, save, tiny_recipe

WORDS = {"noisy": {}, "jpeg-compressed": {}}


def built(folder: Path, **changes: Any) -> Path:
    build(tiny_recipe(folder, **changes), folder / "out", Options(max_set_aside=0.5))
    return folder / "out"


def card_of(out: Path) -> str:
    return (out / "README.md").read_text("utf-8")


def test_the_clean_photograph_stands_first_and_the_card_says_whose_it_is(tmp_path: Path) -> None:
    clean = picture(200, 180, seed=3)
    save(tmp_path / "photos" / "street.png", clean)
    source = {"path": "photos", "licence": "CC-BY-4.0", "attribution": "A. Photographer"}
    out = built(tmp_path, sources=[source], degradations=WORDS)
    with PIL.Image.open(out / STRIP) as drawn:
        assert drawn.size == (3 * (SIDE + GUTTER) - GUTTER, SIDE + HEADING)
        cells = np.asarray(drawn)[HEADING:].astype(int)
    first = cells[:, :SIDE]
    windows = np.lib.stride_tricks.sliding_window_view(clean.astype(int), (SIDE, SIDE, 3))[:, :, 0]
    nearest = np.abs(windows - first).mean(axis=(2, 3, 4)).min()
    assert nearest < 3, "a part of the photograph at 1:1, but for the JPEG's loss"
    assert all(np.abs(cells[:, k * (SIDE + GUTTER) :][:, :SIDE] - first).mean() > 5 for k in (1, 2))
    text = card_of(out)
    assert f"({STRIP})" in text and "Photograph: street.png (A. Photographer, CC-BY-4.0)" in text
    assert "clean and degraded: jpeg-compressed, noisy]" in text
    assert STRIP not in {path.name for path in (out / SHARDS).iterdir()}


def test_a_photograph_whose_licence_is_stated_comes_before_one_that_says_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "mine", 4)
    photos(tmp_path / "free", 1, first=9)
    for first, second in (("mine", "free"), ("free", "mine")):
        sources = [{"path": name, "licence": "CC0-1.0" if name == "free" else ""} for name in (first, second)]
        assert "Photograph: good-000.png (CC0-1.0)" in card_of(built(tmp_path, sources=sources, degradations=WORDS))
    silent = built(tmp_path, sources=[{"path": "mine"}], degradations=WORDS)
    assert re.search(r"Photograph: good-\d+\.png \(licence not stated\)", card_of(silent))


def test_the_same_bytes_come_of_any_history_and_an_unchanged_picture_is_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "one" / "photos", 4)
    photos(tmp_path / "two" / "photos", 4)
    built(tmp_path / "one", degradations={"noisy": {"sigma": 5}})
    changed = built(tmp_path / "one", degradations=WORDS)
    fresh = built(tmp_path / "two", degradations=WORDS)
    before = (fresh / STRIP).read_bytes()
    assert (changed / STRIP).read_bytes() == before
    monkeypatch.setattr("patina.pipeline.format.strip.sheet", lambda *_: pytest.fail("it is there already"))
    built(tmp_path / "two", degradations=WORDS, split={"val": 0.01}, name="another")
    assert (fresh / STRIP).read_bytes() == before


def test_the_shards_and_the_digest_do_not_know_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "one" / "photos", 2)
    photos(tmp_path / "two" / "photos", 2)
    monkeypatch.setattr("patina.pipeline.builder.publish._strip", lambda *_: None)
    without = built(tmp_path / "one", degradations=WORDS)
    monkeypatch.undo()
    with_one = built(tmp_path / "two", degradations=WORDS)
    assert not (without / STRIP).exists() and f"({STRIP})" not in card_of(without)
    found = [load_manifest(out) for out in (without, with_one)]
    assert found[0] and found[1] and found[0].to_json() == found[1].to_json()


def test_a_dataset_without_one_is_whole_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As earlier releases published them: nothing is written for a picture alone, and the next change brings it."""
    photos(tmp_path / "photos", 2)
    monkeypatch.setattr("patina.pipeline.builder.publish._strip", lambda *_: None)
    out = built(tmp_path, degradations=WORDS)
    monkeypatch.undo()
    recipe = tiny_recipe(tmp_path, degradations=WORDS)
    assert result_if_idle(recipe, out, Options()) is not None
    assert check(out).ok and not (out / STRIP).is_symlink()
    check_folder(out)
    assert read_contents(out).others == 5
    built(tmp_path, degradations={"noisy": {"sigma": 9}})
    assert (out / STRIP).is_file() and check(out).ok and read_contents(out).others == 6
    rollback(out, "1")
    assert not os.path.lexists(out / STRIP) and check(out).ok


def test_copies_of_names_lose_a_picture_that_the_version_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 2)
    recipe, out = tiny_recipe(tmp_path, degradations=WORDS), tmp_path / "out"
    monkeypatch.setattr(Path, "symlink_to", no_links)
    copying = Options(without_links=True)
    build(recipe, out, copying)
    assert (out / STRIP).is_file() and not (out / STRIP).is_symlink()
    monkeypatch.setattr("patina.pipeline.builder.publish._strip", lambda *_: None)
    build(tiny_recipe(tmp_path, degradations={"noisy": {"sigma": 9}}), out, copying)
    assert not (out / STRIP).exists() and check(out).ok


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "no links here")


def test_a_picture_that_was_changed_is_drawn_again(tmp_path: Path) -> None:
    """Programs keep a file's comment."""
    photos(tmp_path / "photos", 2)
    out = built(tmp_path, degradations=WORDS)
    path = built_folder(out) / STRIP
    before = path.read_bytes()
    path.write_bytes(before[:-40] + bytes(40))
    built(tmp_path, degradations=WORDS, name="another")
    assert (out / STRIP).read_bytes() == before
    with PIL.Image.open(out / STRIP) as drawn:
        assert str(drawn.info["comment"]).startswith("b'patina strip ")


def test_of_a_large_photograph_the_middle_is_searched() -> None:
    busy = np.full((2300, 2300, 3), 90, np.uint8)
    busy[:100:2, :100] = 250  # busier than the middle, and outside of it
    busy[1100:1200:4, 1300:1400] = 250
    x, y, width, height = _worth_showing(busy)
    assert (width, height) == (SIDE, SIDE)
    assert x <= 1300 and x + SIDE >= 1400 and y <= 1100 and y + SIDE >= 1196


def test_too_little_memory_for_it_stops_no_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise MemoryError

    photos(tmp_path / "photos", 2)
    monkeypatch.setattr("patina.pipeline.builder.publish.draw_strip", fails)
    assert check(built(tmp_path, degradations=WORDS)).ok
    assert "the card gets no picture" in caplog.text


def test_a_picture_that_was_lost_is_drawn_again(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    out = built(tmp_path, degradations=WORDS)
    before = (out / STRIP).read_bytes()
    (built_folder(out) / STRIP).unlink()
    recipe = tiny_recipe(tmp_path, degradations=WORDS)
    assert result_if_idle(recipe, out, Options()) is None
    built(tmp_path, degradations=WORDS)
    assert (out / STRIP).read_bytes() == before


def test_a_kept_shard_that_cannot_be_read_stops_no_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", 2)
    out = built(tmp_path, degradations={"noisy": {}})

    def fails(*_: object) -> bytes:
        raise OSError("the disk says no")

    monkeypatch.setattr("patina.pipeline.builder.publish.read_span", fails)
    built(tmp_path, degradations=WORDS)
    assert "the card gets no picture: the disk says no" in caplog.text
    assert not (out / STRIP).exists() and check(out).ok


def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    zero = {pa.string(): "", pa.int64(): 0, pa.float64(): 0.0}
    whole = [{name: row.get(name, zero.get(schema.field(name).type, [])) for name in schema.names} for row in rows]
    return pa.Table.from_pylist(whole, schema)


def test_pairs_of_one_label_each_are_shown_together_and_no_more_than_there_is_room_for() -> None:
    entries = [f"word{i:02d}" for i in range(30)]
    digests = [f"{i:064x}" for i in range(30)]
    sources = table([{"digest": digest, "split": "train"} for digest in digests], sources_schema())
    rows = [{"entry": e, "source_sha256": d, "key": e} for e, d in zip(entries, digests, strict=True)]
    shown = chosen(table(rows, samples_schema()), sources)
    assert [[row.entry for row in group] for group in shown] == [[entry] for entry in entries[:MOST]]


def test_of_tiles_and_variants_the_middle_one_and_the_first_are_shown() -> None:
    sources = table([{"digest": "a", "split": "val"}, {"digest": "b", "split": "train"}], sources_schema())
    rows = [
        {"entry": entry, "source_sha256": digest, "x": x, "variant": variant, "key": f"{digest}{entry}{x}{variant}"}
        for digest in ("a", "b")
        for variant in (1, 0)
        for x in (0, 64, 128)
        for entry in ("noisy", "hazy")
    ]
    ((one, two),) = chosen(table(rows, samples_schema()), sources)
    assert (one.key, two.key) == ("bhazy640", "bnoisy640"), "of the split that is learnt from"


def test_a_long_label_is_cut_off_where_its_cell_ends() -> None:
    cell = np.full((SIDE, SIDE, 3), 90, np.uint8)
    long = "low-light+motion-blurry+jpeg-compressed"
    with PIL.Image.open(io.BytesIO(sheet([[(long, cell), ("", cell)]]))) as drawn:
        heading = np.asarray(drawn.convert("L"))[:HEADING]
    assert heading[:, :SIDE].min() < 100, "it is there"
    assert heading[:, SIDE + 2 :].min() > 230, "and ends with its image"
