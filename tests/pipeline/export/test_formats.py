"""Exports: what others' readers get is what is stored, byte for byte; and a folder is whole, or not there."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import ManifestError
from patina.pipeline.export import EXPORTS, daclip, vlunet
from patina.pipeline.export.format import ExportError, View, stem_of
from patina.pipeline.export.parquet import Parquet
from patina.pipeline.export.run import LICENCES, MARKER, Exported, choose, export
from patina.pipeline.format.layout import MANIFEST, SHARDS
from patina.pipeline.format.manifest import SampleRow, load_manifest, read_members, read_samples
from patina.pipeline.format.shard import Members, pack, read_shard
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import parse_recipe
from tests.pipeline.making import copied, encoded, photo, photos, picture, pixels, read_built, tiny_recipe

CAPTIONS = {
    "good-000.png": 'a sign that reads: "no entry"',
    "good-001.png": '"quoted" from the start, with a comma: and: colons::  and spaces:',
    "good-002.png": "plain",
    "rain.png": "NA",
}
WORDS: dict[str, Any] = {
    "noisy": {"sigma": 25},
    "noisy-50": {"use": "noisy", "sigma": 50, "variants": 2},
    "jpeg-compressed": {"quality": 20},
    "uncompleted": {},
    "hazy+rainy": {"steps": True},
}


@dataclass(frozen=True)
class Made:
    """A dataset with every kind of entry, and its samples by (entry, key)."""

    folder: Path
    rows: Mapping[tuple[str, str], SampleRow]

    def members(self, row: SampleRow) -> dict[str, bytes]:
        return read_members(self.folder, row)

    def pair(self, row: SampleRow) -> tuple[bytes, bytes]:
        members = self.members(row)
        return members.get("png") or members["jpg"], members.get("gt.png") or members["gt.jpg"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Photographs as PNG, and a set of pairs whose GT is a PNG and whose LQ is a JPEG."""
    folder = tmp_path_factory.mktemp("made")
    photos(folder / "photos", 3)
    photo(folder / "gt" / "rain.png", seed=40)
    (folder / "lq").mkdir()
    (folder / "lq" / "rain.jpg").write_bytes(encoded(picture(seed=40), "JPEG", quality=60))
    lines = "".join(json.dumps({"name": n, "caption": c}) + "\n" for n, c in CAPTIONS.items())
    (folder / "captions.jsonl").write_text(lines, "utf-8")
    table = {
        "sources": [
            {"path": "photos", "licence": "CC0-1.0", "attribution": 'the "maker", Ltd'},
            {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "snowy", "split": "val"},
        ],
        "captions": {"kind": "sidecar", "path": "captions.jsonl"},
        "degradations": WORDS,
        "buckets": 2,
    }
    build(parse_recipe(table, folder, "made"), folder / "out", Options())
    return Made(folder / "out", {(row.entry, row.key): row for row in read_samples(folder / "out")})


def to(made: Made, out: Path, format_name: str, **how: Any) -> Exported:
    return export(made.folder, out, EXPORTS[format_name](), **how)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---------------------------------------------------------------------------------------------------------------------
# daclip


def test_daclips_table_is_read_by_pandas_as_it_was_meant(made: Made, tmp_path: Path) -> None:
    import pandas as pd

    to(made, tmp_path / "x", "daclip")
    titles = {}
    for split in ("train", "val"):
        frame = pd.read_csv(tmp_path / "x" / f"daclip_{split}.csv", sep="\t")
        assert list(frame.columns) == ["filepath", "title"]
        titles |= dict(zip(frame["filepath"].tolist(), frame["title"].tolist(), strict=True))
    assert len(titles) == len(made.rows)
    seen = set()
    for path, title in titles.items():
        caption, label = str(title).split(": ")  # as the published trainer does: exactly two parts
        split, degradation, role, name = path.split("/")
        key, _, _ = name.partition(".")
        row = next(r for (_, k), r in made.rows.items() if key == k and r.degradation == degradation)
        assert (split, role) == (row.split, "LQ")
        assert caption == row.caption.replace(": ", ", ")
        assert label == row.degradation.replace("+", ", ")
        assert (tmp_path / "x" / path).read_bytes() == made.pair(row)[0]
        seen.add((row.entry, row.key))
    assert seen == made.rows.keys()


def test_daclip_finds_each_pair_at_one_place_of_two_sorted_listings(made: Made, tmp_path: Path) -> None:
    to(made, tmp_path / "x", "daclip")
    pairs = {made.pair(row) for row in made.rows.values()}
    found = 0
    for lq in sorted((tmp_path / "x").glob("*/*/LQ")):
        names = [sorted(p.name for p in (lq.parent / role).iterdir()) for role in ("LQ", "GT")]
        assert [n.rpartition(".")[0] for n in names[0]] == [n.rpartition(".")[0] for n in names[1]]
        for one, other in zip(*names, strict=True):
            assert ((lq / one).read_bytes(), (lq.parent / "GT" / other).read_bytes()) in pairs
            found += 1
    assert found == len(made.rows)


def test_entries_of_one_label_share_its_folder_and_no_name(made: Made, tmp_path: Path) -> None:
    to(made, tmp_path / "x", "daclip")
    noisy = {p.stem for p in (tmp_path / "x" / "train" / "noisy" / "LQ").iterdir()}
    assert noisy == {k for e, k in made.rows if e.startswith("noisy")}
    assert len(noisy) == 9 and all(stem.count("noisy") == 1 for stem in noisy)
    # the same names whatever else is exported
    to(made, tmp_path / "y", "daclip", degradations=["noisy-50"])
    assert {p.stem for p in (tmp_path / "y" / "train" / "noisy" / "LQ").iterdir()} == {
        k for e, k in made.rows if e == "noisy-50"
    }


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a: b", "a, b: noisy"),
        ("a:: b", "a:, b: noisy"),
        (": : :", ", , :: noisy"),
        ("ends with:", "ends with:: noisy"),
        ("tab\tand\nline", "tab and line: noisy"),
        ("10:30 is a time", "10:30 is a time: noisy"),
        ("", ": noisy"),
    ],
)
def test_a_title_has_two_parts_whatever_the_caption(caption: str, expected: str) -> None:
    assert daclip.title(caption, ["noisy"]) == expected
    assert len(daclip.title(caption, ["hazy", "rainy"]).split(": ")) == 2
    assert daclip.title(caption, ["hazy", "rainy"]).endswith(": hazy, rainy")


def test_daclips_paths_begin_with_the_prefix(made: Made, tmp_path: Path) -> None:
    export(made.folder, tmp_path / "x", daclip.DaClip("datasets/universal/"), splits=["val"])
    rows = list(csv.reader((tmp_path / "x" / "daclip_val.csv").read_text().splitlines(), delimiter="\t"))
    key = next(k for e, k in made.rows if e == "snowy")
    assert rows[1:] == [[f"datasets/universal/val/snowy/LQ/{key}.jpg", "NA: snowy"]]
    with pytest.raises(ExportError, match="on one line"):
        daclip.DaClip("two\nlines")


# ---------------------------------------------------------------------------------------------------------------------
# vlunet


def test_vlunets_lists_lead_to_every_pair_as_its_reader_goes(made: Made, tmp_path: Path) -> None:
    to(made, tmp_path / "x", "vlunet")
    pairs = {}
    for path in sorted((tmp_path / "x" / "datasets").glob("*_paths.txt")):
        class_name, split, _ = path.name.rsplit("_", 2)
        for line in path.read_text().splitlines():
            lq, gt = (part.strip().replace(".", "./datasets", 1) for part in line.split(","))
            assert lq.startswith(f"./datasets/{split}/{class_name}/LQ/")
            pairs[lq] = (class_name, (tmp_path / "x" / lq).read_bytes(), (tmp_path / "x" / gt).read_bytes())
    expected = sorted(
        ({"noisy": "noisy-25", "noisy-50": "noisy-50"}.get(row.entry, row.degradation), *made.pair(row))
        for row in made.rows.values()
    )
    assert sorted(pairs.values()) == expected


def test_vlunets_sentences_are_in_its_order_with_their_lists(made: Made, tmp_path: Path) -> None:
    to(made, tmp_path / "x", "vlunet")
    known = json.loads((tmp_path / "x" / "datasets" / "clip_train.json").read_text())
    assert [(c["sentence"], c["samples"]) for c in known] == [
        ("image with many noise", 3),
        ("image with large amount of noise", 6),
    ]
    for one in known:
        assert len((tmp_path / "x" / one["paths"]).read_text().splitlines()) == one["samples"]
    assert not (tmp_path / "x" / "datasets" / "clip_val.json").exists()
    assert list(vlunet.CLASSES.values())[3:] == ["hazy", "rainy", "motion-blurry", "low-light"]


# ---------------------------------------------------------------------------------------------------------------------
# folders


def test_folders_hold_every_member_and_every_fact(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "x"
    to(made, out, "folders")
    facts = [json.loads(line) for line in (out / "samples.jsonl").read_text("utf-8").splitlines()]
    assert {(f["entry"], f["key"]) for f in facts} == made.rows.keys()
    known = set()
    for fact in facts:
        row = made.rows[fact["entry"], fact["key"]]
        members = made.members(row)
        assert fact | json.loads(members["json"]) == fact
        assert ((out / fact["lq"]).read_bytes(), (out / fact["gt"]).read_bytes()) == made.pair(row)
        maps = {f"{name}.png": (out / path).read_bytes() for name, path in fact["maps"].items()}
        assert maps.items() <= members.items()
        assert len(members) == 4 + len(maps)
        assert (fact["licence"] == "CC0-1.0") == (fact["entry"] != "snowy")
        known |= {fact["lq"], fact["gt"], *fact["maps"].values()}
    assert known == set(files(out)) - {MARKER, LICENCES, "captions.csv", "samples.jsonl"}
    assert "train/uncompleted/mask" in {str(Path(k).parent) for k in known}
    assert "train/hazy+rainy/step-1" in {str(Path(k).parent) for k in known}


@pytest.mark.parametrize(
    ("format_name", "lq", "gt"),
    [
        ("folders", "train/{}/lq", "train/{}/gt"),
        ("daclip", "train/{}/LQ", "train/{}/GT"),
        ("vlunet", "datasets/train/{}/LQ", "datasets/train/{}/GT"),
    ],
)
def test_a_dataset_can_be_built_again_from_its_export(
    made: Made, tmp_path: Path, format_name: str, lq: str, gt: str
) -> None:
    to(made, tmp_path / "x", format_name)
    to(made, tmp_path / "words", "folders")
    pairs = {"kind": "pairs", "degradation": "jpeg-compressed", "split": "train"}
    sources = [
        {**pairs, **{side: f"x/{place.format('jpeg-compressed')}" for side, place in (("lq", lq), ("gt", gt))}},
        {**pairs, **{side: f"x/{place.format('uncompleted')}" for side, place in (("lq", lq), ("gt", gt))}}
        | {"degradation": "uncompleted"},
    ]
    captions = {"kind": "sidecar", "path": "words/captions.csv"}
    build(parse_recipe({"sources": sources, "captions": captions}, tmp_path), tmp_path / "again", Options())
    again = read_built(tmp_path / "again")
    assert not again.set_aside
    rebuilt = sorted((*s.lq, *s.gt, s.members["txt"]) for found in again.samples.values() for s in found)
    chosen = [r for r in made.rows.values() if r.entry in {"jpeg-compressed", "uncompleted"}]
    stored = [read_members(made.folder, row) for row in chosen]
    lqs = ["jpg" if "jpg" in members else "png" for members in stored]
    expected = sorted((k, m[k], "png", m["gt.png"], m["txt"]) for k, m in zip(lqs, stored, strict=True))
    assert rebuilt == expected
    assert {kind for kind, *_ in rebuilt} == {"jpg", "png"}


# ---------------------------------------------------------------------------------------------------------------------
# parquet


@pytest.mark.filterwarnings("ignore")  # other people's warnings are theirs
def test_datasets_reads_the_folder_with_image_features(made: Made, tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    to(made, tmp_path / "x", "parquet")
    loaded = datasets.load_dataset(str(tmp_path / "x"), cache_dir=str(tmp_path / "cache"))
    assert {str(name): len(part) for name, part in loaded.items()} == {"train": 18, "validation": 1}
    for part in loaded.values():
        pictures = {name for name, kind in part.features.items() if isinstance(kind, datasets.Image)}
        assert {"lq", "gt", "mask", "step-1"} <= pictures
        for found in part:
            row = made.rows[found["entry"], found["key"]]
            members = made.members(row)
            for role, data in zip(("lq", "gt"), made.pair(row), strict=True):
                assert np.array_equal(np.asarray(found[role]), pixels(data))
            maps = {f"{name}.png" for name in pictures - {"lq", "gt"} if found[name] is not None}
            assert maps == members.keys() - {"png", "jpg", "gt.png", "gt.jpg", "txt", "json"}
            assert (found["caption"], found["words"]) == (row.caption, row.degradation.split("+"))
            assert (found["psnr"], found["severity"]) == (row.psnr, row.severity)
            assert found["params"] == row.params
            assert found["sentence"] == row.sentence
            assert found["names"][0] in CAPTIONS


def test_parquet_keeps_bytes_and_bounds_row_groups_and_files(made: Made, tmp_path: Path) -> None:
    export(made.folder, tmp_path / "x", Parquet(file_bytes=60_000, group_bytes=10**9, group_rows=4), splits=["train"])
    paths = sorted((tmp_path / "x").glob("*.parquet"))
    assert [p.name for p in paths] == [f"train-{i:05d}.parquet" for i in range(len(paths))]
    assert len(paths) > 1
    rows = []
    for path in paths:
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert max(groups) <= 4
        stored = [sum(len(r["lq"]["bytes"]) + len(r["gt"]["bytes"]) for r in file.read_row_group(i).to_pylist())
                  for i in range(file.num_row_groups - 1)]  # fmt: skip
        assert sum(stored) < 60_000, "only the last group may go beyond"
        rows += file.read().to_pylist()
    found = {(r["entry"], r["key"]): (r["lq"]["bytes"], r["gt"]["bytes"]) for r in rows}
    assert found == {name: made.pair(row) for name, row in made.rows.items() if row.split == "train"}
    assert all(r["mask"] is None or r["mask"]["bytes"] == made.members(made.rows[r["entry"], r["key"]])["mask.png"]
               for r in rows)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# all of them


@pytest.mark.parametrize("format_name", EXPORTS)
def test_several_workers_give_the_same_files(made: Made, tmp_path: Path, format_name: str) -> None:
    calls: list[tuple[int, int]] = []
    one = to(made, tmp_path / "x", format_name, progress=lambda *call: calls.append(call))
    many = to(made, tmp_path / "y", format_name, workers=3)
    assert files(tmp_path / "x") == files(tmp_path / "y")
    assert one.samples == many.samples == len(made.rows)
    assert calls == [(done, len(made.rows)) for done in range(1, len(made.rows) + 1)]
    assert one.files == len(files(tmp_path / "x"))


@pytest.mark.parametrize("format_name", EXPORTS)
def test_an_equal_export_is_left_alone_and_another_one_replaced(made: Made, tmp_path: Path, format_name: str) -> None:
    out = tmp_path / "x"
    assert to(made, out, format_name).fresh
    inode = out.stat().st_ino
    assert not to(made, out, format_name).fresh
    assert out.stat().st_ino == inode
    whole = files(out)
    assert to(made, out, format_name, splits=["val"]).fresh
    val = files(out)
    assert len(val) < len(whole)
    assert to(made, out, format_name).fresh
    assert files(out) == whole
    next(p for p in out.rglob("*") if p.suffix in {".png", ".parquet", ".mds", ".bin", ".tar"}).unlink()
    assert to(made, out, format_name).fresh, "an export that lost a file is no equal one"
    assert files(out) == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]


def test_licences_go_along(made: Made, tmp_path: Path) -> None:
    to(made, tmp_path / "x", "daclip")
    rows = list(csv.reader((tmp_path / "x" / LICENCES).read_text().splitlines()))
    assert rows == [["licence", "attribution", "samples"], ["", "", "1"], ["CC0-1.0", 'the "maker", Ltd', "18"]]


def test_split_and_degradation_choose_by_entry_or_label(made: Made, tmp_path: Path) -> None:
    assert to(made, tmp_path / "a", "folders", degradations=["noisy"]).samples == 9
    assert to(made, tmp_path / "b", "folders", degradations=["noisy-50"]).samples == 6
    assert to(made, tmp_path / "c", "folders", degradations=["snowy", "uncompleted"], splits=["val"]).samples == 1


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"degradations": ["nosy"]}, "did you mean 'noisy'"),
        ({"splits": ["test"]}, "has no 'test'; .*known: train, val"),
        ({"splits": ["val"], "degradations": ["noisy"]}, "no sample of val noisy"),
    ],
)
def test_what_the_dataset_does_not_have_is_refused(made: Made, tmp_path: Path, how: Any, expected: str) -> None:
    with pytest.raises(ExportError, match=expected):
        to(made, tmp_path / "x", "daclip", **how)
    assert not list(tmp_path.iterdir())


def test_a_format_is_chosen_by_word_and_takes_its_own_settings() -> None:
    assert choose("daclip", prefix="data") == daclip.DaClip("data")
    assert choose("vlunet", prefix="") == vlunet.VluNet()
    with pytest.raises(ExportError, match="vlunet does not take it, only daclip does"):
        choose("vlunet", prefix="data")
    with pytest.raises(ExportError, match="did you mean 'parquet'"):
        choose("parket")


def test_a_folder_with_something_else_in_it_is_refused(made: Made, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    with pytest.raises(ExportError, match="something else than an export"):
        to(made, tmp_path / "mine", "daclip")
    (tmp_path / "file").write_text("…")
    with pytest.raises(ExportError, match="expected a folder to write, found a file"):
        to(made, tmp_path / "file", "daclip")
    (tmp_path / "empty").mkdir()
    assert to(made, tmp_path / "empty", "daclip").fresh
    (tmp_path / "empty" / "weights.pt").write_text("…")
    with pytest.raises(ExportError, match="holds 1 file that its export did not write"):
        to(made, tmp_path / "empty", "vlunet")
    assert (tmp_path / "empty" / "weights.pt").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "file", "empty"}


def test_an_export_goes_neither_inside_nor_around_its_dataset(made: Made) -> None:
    for out in (made.folder, made.folder / "x", made.folder.parent):
        with pytest.raises(ExportError, match="one inside or around it"):
            to(made, out, "daclip")


def test_a_dataset_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="found no manifest"):
        export(tmp_path, tmp_path / "x", vlunet.VluNet())


def test_an_interrupted_export_leaves_what_was_there(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to(made, tmp_path / "x", "folders", splits=["val"])
    before = files(tmp_path / "x")

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"/x: the disk is full; make room and run it again$"):
            to(made, tmp_path / "x", "folders")
        with pytest.raises(OutputError, match=r"/new: the disk is full; make room and run it again$"):
            to(made, tmp_path / "new", "daclip", workers=2)
    assert files(tmp_path / "x") == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_export_left_is_cleared_away(made: Made, tmp_path: Path) -> None:
    to(made, tmp_path / "x", "vlunet")
    whole = files(tmp_path / "x")
    half = tmp_path / ".x.patina-half"
    (half / "datasets").mkdir(parents=True)
    (half / "datasets" / "torn.png").write_bytes(b"torn")
    (tmp_path / "x").rename(tmp_path / ".x.patina-old")  # killed between the two renames
    assert not to(made, tmp_path / "x", "vlunet").fresh
    assert files(tmp_path / "x") == whole
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_two_exports_to_one_place_do_not_meet(made: Made, tmp_path: Path) -> None:
    def again(done: int, total: int) -> None:
        with pytest.raises(ExportError, match="being exported to by another process"):
            to(made, tmp_path / "x", "daclip")

    to(made, tmp_path / "x", "vlunet", splits=["val"], progress=again)
    assert (tmp_path / "x" / "datasets").is_dir()


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once")
    photos(folder / "photos", 2)
    build(tiny_recipe(folder), folder / "out")
    return folder


@pytest.fixture
def own(once: Path, tmp_path: Path) -> Iterator[Made]:
    """A dataset that a test may spoil."""
    copied(once, tmp_path)
    yield Made(tmp_path / "out", {(row.entry, row.key): row for row in read_samples(tmp_path / "out")})


@pytest.mark.parametrize("format_name", EXPORTS)
def test_a_damaged_shard_stops_the_export_with_a_remedy(own: Made, tmp_path: Path, format_name: str) -> None:
    shard = next((own.folder / SHARDS).glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ExportError, match="not those that were written; `patina build` makes it again"):
        to(own, tmp_path / "x", format_name)
    shard.unlink()
    with pytest.raises(ExportError, match="patina build` makes it again"):
        to(own, tmp_path / "x", format_name)
    assert not (tmp_path / "x").exists()


def test_a_dataset_that_is_rebuilt_meanwhile_is_not_exported(own: Made, tmp_path: Path) -> None:
    def rebuild(done: int, total: int) -> None:
        manifest = json.loads((own.folder / MANIFEST).read_text("utf-8"))
        manifest.pop("sum", None)
        manifest["notes"].append("rebuilt")
        (own.folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")

    with pytest.raises(ExportError, match="was rebuilt while it was exported"):
        to(own, tmp_path / "x", "folders", progress=rebuild)
    assert not (tmp_path / "x").exists()


def test_no_room_is_found_out_before_any_work(own: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ExportError, match=r"needs about .* 1.0 KB are free"):
        to(own, tmp_path / "x", "folders")


def test_a_pairs_own_truth_map_gets_a_column(own: Made, tmp_path: Path) -> None:
    """What can be recovered of a pair differs from pair to pair: here the second sample alone has a map."""
    manifest = load_manifest(own.folder)
    assert manifest is not None
    shard = own.folder / SHARDS / manifest.shards[0].name
    found = list(read_shard(shard))
    mask = encoded(picture()[..., 0], "PNG")
    samples: list[tuple[str, Members]] = [(key, list(members.items())) for key, members, _ in found]
    samples[1] = (samples[1][0], [*samples[1][1], ("late.png", mask)])
    shard.write_bytes(b"".join(pack(*sample) for sample in samples) + bytes(1024))
    body = json.loads((own.folder / MANIFEST).read_text("utf-8"))
    del body["sum"]
    body["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    line = f"{body['shards'][0]['sha256']}  {shard.name}\n"
    body["digest"] = hashlib.sha256(line.encode()).hexdigest()
    (own.folder / MANIFEST).write_text(json.dumps(body), "utf-8")
    to(own, tmp_path / "x", "parquet")
    late = pq.read_table(tmp_path / "x" / "train-00000.parquet")["late"].to_pylist()
    assert late == [None, {"bytes": mask, "path": f"{samples[1][0]}.late.png"}]


SECOND = "0123456789abcdef"
"""A key of the second version of the stored format."""


@pytest.mark.parametrize(
    ("key", "shared", "stem"),
    [
        (f"{SECOND}-noisy-15", True, f"{SECOND}-noisy-15"),
        (f"{SECOND}-noisy-15-y00000x00256-v001", True, f"{SECOND}-noisy-15-y00000x00256-v001"),
        (f"{SECOND}-noisy-15", False, f"{SECOND}-noisy-15"),
        (SECOND, True, f"{SECOND}-noisy-15"),
        (f"{SECOND}-y00000x00256", True, f"{SECOND}-y00000x00256-noisy-15"),
        (SECOND, False, SECOND),
    ],
)
def test_a_files_name_has_its_entry_once(made: Made, key: str, shared: bool, stem: str) -> None:
    """Known answers, for keys of both versions of the stored format."""
    row = replace(next(iter(made.rows.values())), key=key, entry="noisy-15", degradation="noisy")
    assert stem_of(type("S", (), {"row": row})(), frozenset({"noisy"} if shared else ())) == stem


def test_only_entries_of_one_label_share_it(made: Made, own: Made) -> None:
    shared = []
    for one in (made, own):
        manifest = load_manifest(one.folder)
        assert manifest is not None
        shared.append(View(one.folder, manifest, manifest.shards).shared)
    assert shared == [{"noisy"}, set()]
