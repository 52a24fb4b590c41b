from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from patina.pipeline.errors import DamagedShardError
from patina.training.data.batches import Batch, Plan, load
from patina.training.data.cutting import cut_alike, turned
from patina.training.data.index import read_index
from patina.training.data.order import of_image
from patina.training.data.reading import LQ, read_image, read_pair
from patina.training.errors import StageError
from patina.training.stages.stage import Data
from tests.pipeline.making import pixels, read_built
from tests.training.running import DEGRADATIONS, small_dataset

DATA = Data(batch=4, crop=32, augment="symmetries", view="patch")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("data"))


def batches(dataset: Path, data: Data = DATA, plan: Plan | None = None, workers: int = 0) -> list[Batch]:
    index = read_index(dataset, "train", data.entries)
    return list(load(index, data, plan or Plan(0, 24, 4), seed=7, view_side=64, workers=workers))


def joined(found: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, list[str], list[int]]:
    return (
        torch.cat([b.lq for b in found]),
        torch.cat([b.gt for b in found]),
        [key for b in found for key in b.keys],
        [n for b in found for n in b.numbers],
    )


def test_samples_are_those_of_the_shards(dataset: Path) -> None:
    index = read_index(dataset, "train")
    assert index.names == index.degradations == DEGRADATIONS
    stored = {(s.shard, s.key): s for samples in read_built(dataset).samples.values() for s in samples}
    for row in range(len(index)):
        sample = stored[index.shards[index.shard[row]], str(index.keys[row])]
        lq, gt = read_pair(index, row)
        assert np.array_equal(lq, pixels(sample.lq[1]))
        assert np.array_equal(gt, pixels(sample.gt[1]))
        assert index.captions[row] == sample.members["txt"].decode()


def test_batches_hold_crops_of_lq_and_gt_at_the_same_place_turned_alike(dataset: Path) -> None:
    index = read_index(dataset, "train")
    pairs = {(str(index.keys[r]), int(index.entry[r])): read_pair(index, r) for r in range(len(index))}
    for batch in batches(dataset):
        assert batch.lq.shape == batch.gt.shape == (4, 3, 32, 32)
        assert batch.lq.dtype == torch.uint8
        assert batch.view is not None
        assert batch.view.shape == (4, 3, 64, 64)
        for k in range(4):
            whole = pairs[batch.keys[k], int(batch.entries[k])]
            place = _find(whole[1], batch.gt[k].permute(1, 2, 0).numpy())
            assert place in _places(whole[0], batch.lq[k].permute(1, 2, 0).numpy())


def _symmetries(patch: np.ndarray) -> list[np.ndarray]:
    quarter = [np.rot90(patch, k) for k in range(4)]
    return quarter + [np.fliplr(q) for q in quarter]


def _places(whole: np.ndarray, patch: np.ndarray) -> set[tuple[int, int, int]]:
    found = set()
    for s, turn in enumerate(_symmetries(patch)):
        height, width = turn.shape[:2]
        corners = (whole[: 1 - height or None, : 1 - width or None] == turn[0, 0]).all(axis=2)
        for y, x in zip(*np.nonzero(corners), strict=True):
            if np.array_equal(whole[y : y + height, x : x + width], turn):
                found.add((int(y), int(x), s))
    return found


def _find(whole: np.ndarray, patch: np.ndarray) -> tuple[int, int, int]:
    (place,) = _places(whole, patch)
    return place


def test_the_same_samples_whatever_the_batch_the_processes_and_the_workers(dataset: Path) -> None:
    one = joined(batches(dataset))
    two = [batches(dataset, plan=Plan(0, 24, 4, rank, 2)) for rank in (0, 1)]
    pairs = [b for pair in zip(*two, strict=True) for b in pair]
    in_pieces = batches(dataset, plan=Plan(0, 24, 4, gradient_accumulation=2))
    later = batches(dataset, plan=Plan(0, 8, 4)) + batches(dataset, plan=Plan(8, 24, 4))
    for found in (joined(pairs), joined(in_pieces), joined(later)):
        assert torch.equal(found[0], one[0])
        assert torch.equal(found[1], one[1])
        assert found[2:] == one[2:]


@pytest.mark.slow
def test_workers_give_the_same(dataset: Path) -> None:
    one, many = joined(batches(dataset)), joined(batches(dataset, workers=2))
    assert torch.equal(one[0], many[0])
    assert one[2:] == many[2:]


def test_a_photo_view_needs_no_gt(dataset: Path) -> None:
    data = Data(batch=4, order="scenes", view="photo")
    (batch, *_) = batches(dataset, data)
    assert batch.view is not None
    assert batch.view.shape == (4, 3, 64, 64)
    assert len(set(batch.keys)) == 4  # four photographs


def test_turns() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    found = {turned(image, image, "symmetries", of_image(0, n))[0].tobytes() for n in range(200)}
    assert found == {s.tobytes() for s in _symmetries(image)}
    moved = {turned(image, image, "moved", of_image(0, n))[0].tobytes() for n in range(200)}
    assert moved == found - {image.tobytes()}
    assert turned(image, image, "none", of_image(0, 0))[0] is image


def test_small_images_are_reflected_to_the_crop() -> None:
    image = np.arange(20 * 9 * 3, dtype=np.uint8).reshape(20, 9, 3)
    lq, gt = cut_alike((image, image), 16, of_image(0, 1))
    assert lq.shape == (16, 16, 3)
    assert np.array_equal(lq, gt)
    assert np.array_equal(lq[:, 9:16], lq[:, 8:1:-1])


def test_what_cannot_be_trained_on_is_told(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no patina dataset"):
        read_index(tmp_path, "train")
    with pytest.raises(StageError, match=r"wants snowy, and the split 'train' has jpeg-compressed, low-light, noisy"):
        read_index(dataset, "train", ["snowy", "noisy"])
    with pytest.raises(StageError, match=r"no samples in the split 'test'.*\[split\]"):
        read_index(dataset, "test")
    with pytest.raises(StageError, match="a batch of 4 over 3 processes"):
        Plan(0, 8, 4, 0, 3)


def test_a_damaged_sample_is_named(dataset: Path) -> None:
    index = read_index(dataset, "train")
    torn = replace(index, offset=index.offset + 512)
    with pytest.raises(DamagedShardError):
        read_image(torn, 0, LQ)
