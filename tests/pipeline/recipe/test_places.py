"""What a recipe names: every file, folder and address whose change may change its dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.places import places_of

NOISY = {"noisy": {}}


def local(table: dict[str, object], folder: Path, file: Path | None = None) -> list[str]:
    recipe = parse_recipe({"degradations": NOISY, **table}, folder)
    return [str(place.relative_to(folder)) for place in places_of(recipe, file).local]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"path": "photos"}, ["photos"]),
        ({"kind": "pairs", "lq": "rain/lq", "gt": "rain/gt", "degradation": "rainy"}, ["rain/gt", "rain/lq"]),
        ({"kind": "list", "path": "list.csv", "folder": "images"}, ["images", "list.csv"]),
        ({"kind": "webdataset", "path": "tars"}, ["tars"]),
        ({"kind": "webdataset", "path": "tars/train-{0000..0009}.tar"}, ["tars"]),
        ({"kind": "webdataset", "path": "tars/*.tar"}, ["tars"]),
        ({"kind": "huggingface", "path": "./saved"}, ["saved"]),
        ({"kind": "huggingface", "path": "owner/set"}, []),
    ],
)
def test_the_paths_of_every_kind_of_source_are_places(
    source: dict[str, object], expected: list[str], tmp_path: Path
) -> None:
    assert local({"sources": [source]}, tmp_path) == expected


def test_captions_side_folders_and_the_recipe_itself_are_places(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("name,caption\n")
    for name in ("depth/a.npy", "snow/a.npy", "masks/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "masks/a.png")
    table = {
        "sources": [{"path": "photos"}],
        "captions": {"kind": "sidecar", "path": "captions.csv", "fallback": {"kind": "template"}},
        "degradations": {
            "hazy": {"depth": "depth"},
            "uncompleted": {"masks": "masks"},
            "snowy+noisy": {"snowy": {"depth": "snow"}},
        },
    }
    found = local(table, tmp_path, tmp_path / "recipe.toml")
    assert found == ["captions.csv", "depth", "masks", "photos", "recipe.toml", "snow"]


def test_addresses_are_apart_and_a_place_that_two_sources_share_comes_once(tmp_path: Path) -> None:
    sources = [{"path": "s3://bucket/photos"}, {"path": "photos"}, {"path": "photos", "include": "*.png"}]
    recipe = parse_recipe(
        {"sources": [*sources, {"kind": "huggingface", "path": "owner/set"}], "degradations": NOISY}, tmp_path
    )
    places = places_of(recipe)
    assert places.remote == ("hf://datasets/owner/set", "s3://bucket/photos")
    assert places.local == (tmp_path / "photos",)
