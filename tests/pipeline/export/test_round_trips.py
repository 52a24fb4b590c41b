"""What a dataset hands on can be built from again: every way out, and the reader that is its way in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.export.run import choose, export
from patina.pipeline.recipe.parse import parse_recipe
from tests.pipeline.making import photo, photos, picture, pixels, read_built, save, tiny_recipe

Facts = tuple[str, str, bytes, bytes, str]
"""Split, label, pixels of LQ and of GT, caption."""


def facts(out: Path) -> set[Facts]:
    """All samples of a dataset, as far as every way out can tell of them."""
    return {
        (
            stored.shard.partition("-")[0],
            stored.shard.removesuffix(".tar").split("-", 2)[2].partition("--")[0],
            pixels(stored.lq[1]).tobytes(),
            pixels(stored.gt[1]).tobytes(),
            stored.members["txt"].decode(),
        )
        for samples in read_built(out).samples.values()
        for stored in samples
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with synthesised samples, composites and JPEGs among them, with pairs, and with all three splits."""
    folder = tmp_path_factory.mktemp("made")
    photos(folder / "photos", 3)
    photo(folder / "kept" / "kept.png", seed=50)
    photo(folder / "looked-at" / "looked.jpg", seed=51, quality=95)
    for i, side in enumerate(("train", "test")):
        clean = photo(folder / side / "gt" / f"{i}.png", seed=60 + i)
        save(folder / side / "lq" / clean.name, np.rint(0.6 * picture(seed=60 + i)).astype(np.uint8))
    texts = [f"name,caption\n{path.name},a view: number {i}\n" for i, path in enumerate(folder.rglob("*.[pj]*g"))]
    (folder / "captions.csv").write_text("name,caption\n" + "".join(t.partition("\n")[2] for t in texts), "utf-8")
    pairs = [
        {"kind": "pairs", "lq": f"{s}/lq", "gt": f"{s}/gt", "degradation": "shadowed", "split": s}
        for s in ("train", "test")
    ]
    recipe = tiny_recipe(
        folder,
        sources=[
            {"path": "photos", "split": "train"},
            {"path": "kept", "split": "test"},
            {"path": "looked-at", "split": "val"},
            *pairs,
        ],
        captions={"kind": "sidecar", "path": "captions.csv"},
        degradations={"noisy": {"sigma": 25}, "jpeg-compressed": {}, "noisy+jpeg-compressed": {"noisy": {"sigma": 9}}},
    )
    build(recipe, folder / "out")
    assert {split for split, *_ in facts(folder / "out")} == {"train", "val", "test"}
    return folder / "out"


def built_from(folder: Path, sources: list[dict[str, Any]], **changes: Any) -> set[Facts]:
    """What a dataset of these sources alone holds; the recipe itself puts everything into training."""
    table: Mapping[str, Any] = {"sources": sources, "captions": {"kind": "source"}, "seed": 5, **changes}
    build(parse_recipe(table, folder, "again"), folder / "again")
    assert not read_built(folder / "again").set_aside
    return facts(folder / "again")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))


def test_a_dataset_by_its_tars(made: Path, tmp_path: Path) -> None:
    assert built_from(tmp_path, [{"kind": "webdataset", "path": str(made)}]) == facts(made)


def test_a_split_of_ones_own_stands_above_that_of_the_tars(made: Path, tmp_path: Path) -> None:
    found = built_from(tmp_path, [{"kind": "webdataset", "path": str(made), "split": "train"}])
    assert {split for split, *_ in found} == {"train"}
    assert {fact[1:] for fact in found} == {fact[1:] for fact in facts(made)}


def test_a_dataset_as_datasets_reads_it(made: Path, tmp_path: Path) -> None:
    each = [{"kind": "huggingface", "path": str(made), "split_name": s} for s in ("train", "val", "test")]
    assert built_from(tmp_path, each) == facts(made)


def test_da_clips_folders_and_tables(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "daclip", choose("daclip"))
    tables = [{"kind": "list", "path": f"daclip/daclip_{split}.csv"} for split in ("train", "val", "test")]
    # ": " separates in DA-CLIP's titles, and becomes ", " within a caption
    assert built_from(tmp_path, tables) == {(*f[:4], f[4].replace(": ", ", ")) for f in facts(made)}


def test_parquet_as_datasets_reads_it(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "parquet", choose("parquet"))
    each = [{"kind": "huggingface", "path": "./parquet", "split_name": s} for s in ("train", "validation", "test")]
    assert built_from(tmp_path, each) == facts(made)


def test_folders_by_their_json_lines(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "folders", choose("folders"))
    assert built_from(tmp_path, [{"kind": "list", "path": "folders/samples.jsonl"}]) == facts(made)


def test_folders_as_pairs_with_their_captions(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "folders", choose("folders"))
    places = sorted(path.parent for path in (tmp_path / "folders").glob("*/*/lq"))
    pairs = [
        {"kind": "pairs", "lq": f"{p}/lq", "gt": f"{p}/gt", "degradation": p.name, "split": p.parent.name}
        for p in places
    ]
    captions = {"kind": "sidecar", "path": "folders/captions.csv"}
    assert built_from(tmp_path, pairs, captions=captions) == facts(made)


def test_vlu_nets_lists_which_have_no_captions(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "vlunet", choose("vlunet"))
    lists = sorted((tmp_path / "vlunet" / "datasets").glob("*_paths.txt"))
    assert lists
    entries = [path.name.removesuffix("_paths.txt").rpartition("_")[::2] for path in lists]
    sources = [
        {
            "kind": "list",
            "path": str(path),
            "degradation": "noisy" if entry.startswith("noisy-") else entry,
            "split": split,
        }
        for path, (entry, split) in zip(lists, entries, strict=True)
    ]
    found = built_from(tmp_path, sources, captions={"kind": "template"})
    assert {fact[:4] for fact in found} == {fact[:4] for fact in facts(made)}
