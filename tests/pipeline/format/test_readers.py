"""The dataset as others read it, unchanged: webdataset, `datasets.load_dataset(OUT)`, and open_clip's own loader."""

from __future__ import annotations

import functools
import json
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

import patina
from patina.pipeline.builder.build import build
from patina.pipeline.errors import BadImageError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.recipe.parse import parse_recipe
from tests.pipeline.making import photos, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's warnings are theirs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs, PNG and JPEG, three degradations and a set of pairs: every layout of members that there is."""
    folder = tmp_path_factory.mktemp("readers")
    for i in range(6):
        y, x = np.mgrid[0:64, 0:80]
        picture = np.stack([x * 2 + i, y * 3, (x * y) // 20 + i * 9], -1).astype(np.uint8)
        kind = "gt" if i > 4 else "photos"
        (folder / kind).mkdir(exist_ok=True)
        PIL.Image.fromarray(picture).save(folder / kind / f"p{i}.{'jpg' if i % 2 else 'png'}")
    (folder / "lq").mkdir()
    PIL.Image.open(folder / "gt" / "p5.jpg").save(folder / "lq" / "p5.jpg", quality=70)
    words: dict[str, Any] = {"noisy": {}, "jpeg-compressed": {}, "uncompleted": {}}
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    table = {"sources": [{"path": "photos"}, pairs], "degradations": words, "split": {"val": 0.3}, "buckets": 2}
    build(parse_recipe(table, folder), folder / "out")
    return folder / "out"


def tars(dataset: Path, pattern: str = "*") -> list[str]:
    return sorted(str(path) for path in (dataset / SHARDS).glob(f"{pattern}.tar"))


def test_webdataset_reads_every_sample(dataset: Path) -> None:
    import webdataset as wds

    rows = {(row.key, row.degradation): row for row in read_samples(dataset)}
    seen = set()
    for sample in wds.WebDataset(tars(dataset), shardshuffle=False, empty_check=False).decode(patina.wds_decoder):
        fact = sample["json"]
        row = rows[sample["__key__"].rsplit("/", 1)[-1], fact["degradation"]]
        lq = sample.get("png", sample.get("jpg"))
        gt = sample.get("gt.png", sample.get("gt.jpg"))
        assert lq.shape == gt.shape == (row.height, row.width, 3)
        assert sample["txt"] == row.caption
        assert ("mask.png" in sample) == (row.degradation == "uncompleted")
        seen.add((row.key, row.degradation))
    assert seen == set(rows)


def test_truth_maps_keep_their_values_in_webdataset(tmp_path: Path) -> None:
    import webdataset as wds

    photos(tmp_path / "photos", 2)
    words: dict[str, Any] = {"hazy": {}, "uncompleted": {}, "hazy+noisy": {"steps": True}}
    out = tmp_path / "out"
    build(tiny_recipe(tmp_path, degradations=words), out)
    stored = {(row.key, row.degradation): patina.read_members(out, row) for row in read_samples(out)}
    kinds = set()
    for sample in wds.WebDataset(tars(out), shardshuffle=False, empty_check=False).decode(patina.wds_decoder):
        members = stored[sample["__key__"].rsplit("/", 1)[-1], sample["json"]["degradation"]]
        for name, body in members.items():
            if not name.endswith(".png"):
                continue
            expected = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
            expected = expected[..., ::-1] if expected.ndim == 3 else expected  # OpenCV has blue first
            assert np.array_equal(sample[name], expected) and sample[name].dtype == expected.dtype, name
            kinds.add((name.rpartition("-")[2], str(expected.dtype), expected.ndim))
    assert kinds >= {("transmission.png", "uint16", 2), ("mask.png", "uint8", 2), ("1.png", "uint8", 3)}


@pytest.mark.parametrize("name", ["png", ".mask.png"])
def test_what_is_no_image_is_no_image(name: str) -> None:
    assert patina.wds_decoder(".txt", b"a dog") is None
    with pytest.raises(BadImageError):
        patina.wds_decoder(name, b"no image")


@pytest.mark.parametrize("config", ["default", "noisy", "jpeg-compressed", "uncompleted", "hazy"])
def test_datasets_reads_the_folder_and_every_row_has_one_lq_and_one_gt(
    dataset: Path, config: str, tmp_path: Path
) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = [r for r in read_samples(dataset) if config in {"default", r.degradation}]
    loaded = datasets.load_dataset(str(dataset), config, cache_dir=str(tmp_path))
    assert {split: len(part) for split, part in loaded.items()} == {
        split: sum(r.split == split for r in rows) for split in {r.split for r in rows}
    }
    for part in loaded.values():
        for row in part:
            assert sum(row[name] is not None for name in ("png", "jpg")) == 1
            assert sum(row[name] is not None for name in ("gt.png", "gt.jpg")) == 1
            fact = row["json"]
            assert row["txt"] == fact["caption"]
            assert isinstance(json.loads(fact["params"]), dict)
            assert (row["png"] or row["jpg"]).size == (fact["width"], fact["height"])
            assert (row["mask.png"] is not None) == (fact["degradation"] == "uncompleted")


def test_open_clips_own_loader_reads_lq_and_caption(dataset: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from patina.captioning.torchvision_ops import ensure_torchvision

        ensure_torchvision()
        import open_clip
        from open_clip.transform import image_transform
        from open_clip_train import data

    # open_clip 3.3 was written before webdataset marked the ends of shards; it meets the mark as a sample without name.
    expander = functools.partial(data.tar_file_expander, eof_value=None)
    original, data.tar_file_expander = data.tar_file_expander, expander
    try:
        count = sum(row.split == "train" for row in read_samples(dataset))
        options = Namespace(
            train_data=f"{dataset / SHARDS}/{{{','.join(Path(t).stem for t in tars(dataset, 'train-*'))}}}.tar",
            train_data_upsampling_factors=None,
            train_num_samples=count,
            dataset_resampled=False,
            seed=0,
            batch_size=1,
            workers=1,
            world_size=1,
        )
        loader = data.get_wds_dataset(
            options, image_transform(32, is_train=True), is_train=True, tokenizer=open_clip.get_tokenizer("ViT-B-32")
        ).dataloader
        batches = list(loader)
    finally:
        data.tar_file_expander = original
    assert len(batches) == count
    image, text = batches[0]
    assert tuple(image.shape) == (1, 3, 32, 32)
    assert tuple(text.shape) == (1, 77)
