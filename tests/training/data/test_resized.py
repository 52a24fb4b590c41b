"""Photographs made smaller before they are cut, as VLU-Net's notebook has them, and what its adapter then steers by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from patina.training.data.batches import Plan, load, resized
from patina.training.data.index import read_index
from patina.training.errors import StageError
from patina.training.models import clip_adapter
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.restorer import conditioner_views
from tests.pipeline.making import picture
from tests.training.restore.test_restorer import ADAPTED
from tests.training.running import small_dataset, stage


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (321, 481, (128, 192)),
        (320, 480, (128, 192)),
        (64, 48, (170, 128)),
        (130, 128, (128, 128)),
        (20, 40, (128, 256)),
    ],
)
def test_the_shorter_side_is_always_resized_after_a_cut_to_sixteens(
    width: int, height: int, size: tuple[int, int]
) -> None:
    found = resized(picture(width, height), 128)
    assert (found.shape, found.dtype) == ((size[1], size[0], 3), np.uint8)


def test_what_is_cut_off_does_not_count_and_flat_stays_flat() -> None:
    image = picture(100, 70)
    edge = image.copy()
    edge[:3], edge[67:], edge[:, :2], edge[:, 98:] = 0, 0, 0, 0
    assert np.array_equal(resized(image, 32), resized(edge, 32))
    assert set(np.unique(resized(np.full((50, 80, 3), 77, np.uint8), 128))) == {77}
    assert resized(image, 0) is image


def test_batches_are_of_resized_photographs(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path, photos=4, side=96, degradations=("noisy",))
    made = stage("adapter", data={"batch": 4, "crop": 32, "resize": 32})
    (batch,) = load(read_index(dataset, "train"), made.data, Plan(0, 4, 4, 0, 1, 1), seed=1, view_side=64, workers=0)
    assert batch.lq.shape == batch.gt.shape == (4, 3, 32, 32)
    plain = stage("adapter", data={"batch": 4, "crop": 32})
    (other,) = load(read_index(dataset, "train"), plain.data, Plan(0, 4, 4, 0, 1, 1), seed=1, view_side=64, workers=0)
    assert batch.gt.float().std() > 0
    assert not torch.equal(batch.gt, other.gt)


def test_an_adapter_that_learnt_so_looks_at_the_whole_photograph() -> None:
    """As the released code does: training on the restorer's crop, restoring by the whole picture."""
    net = clip_adapter.AdaptedClip(ADAPTED)
    resizes = stage("adapter", data={"crop": 64, "resize": 64})
    cuts = replace(resizes, data=replace(resizes.data, resize=0))
    image = picture(200, 160)
    whole, squares = (conditioner_views(image, Conditioner(net, made)) for made in (resizes, cuts))
    assert (len(whole), len(squares)) == (1, 16)


@pytest.mark.parametrize(
    ("name", "data"), [("adapter", {"resize": 32, "crop": 64}), ("adapter", {"resize": -1}), ("vlunet", {"resize": 64})]
)
def test_a_size_that_cannot_be_is_told(name: str, data: dict[str, int]) -> None:
    with pytest.raises(StageError, match=r"resize = .*the side of its crops or more"):
        stage(name, data=data)
