"""Networks of one channel: trained, validated, restored and measured on grey levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from patina.training.data.batches import Plan, load
from patina.training.data.index import read_index
from patina.training.evaluation.evaluate import evaluate
from patina.training.images import grey, grey_levels, to_bytes
from patina.training.objectives.make import make_learner
from patina.training.objectives.restoring import Restoring
from patina.training.restore.load import load_restorer
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from tests.pipeline.making import picture
from tests.training.running import small_dataset, stage, trained

ALONE: dict[str, Any] = {
    "after": "",
    "data": {"view": "none"},
    "max_images": 8,
    "validation": {"every": 8, "samples": 1},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "unet-irsde": {"network": "unet-irsde", "settings": {"channels": 1}, **ALONE},
    "nafnet-refusion": {"network": "nafnet-refusion", "settings": {"channels": 1}, **ALONE},
}


def test_grey_levels_are_pillows() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    expected = np.asarray(PIL.Image.fromarray(image).convert("L"))
    assert np.array_equal(grey(image), np.repeat(expected[..., None], 3, axis=2))
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    assert np.array_equal(grey_levels(batch)[1, 0].numpy(), expected)
    assert np.array_equal(grey(grey(image)), grey(image))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_grey_network_is_trained_and_restores(tmp_path: Path, network: str) -> None:
    dataset = small_dataset(tmp_path, photos=8, degradations=("noisy",))
    made = stage("irsde", **NETWORKS[network])
    assert trained(made, dataset, tmp_path / "run").finished
    restorer = load_restorer(tmp_path / "run")
    assert restorer.is_grey
    image = picture(40, 32)
    restored = restorer.restore(image, sampler="fast-ode", steps=2)
    assert restored.shape == (3, 32, 40)
    assert torch.equal(restored[0], restored[1])
    assert torch.equal(restored, restorer.restore(grey(image), sampler="fast-ode", steps=2))
    photos = PhotoRestorer(restorer, RestoreOptions(sampler="fast-ode", steps=1))
    assert photos.restore(image)[2] == ["restored in grey, as the network knows no colours"]
    assert photos.restore(grey(image))[2] == []
    found = evaluate(restorer, dataset, sampler="fast-ode", steps=1, per_entry=1, lpips=False, fid=False)
    assert found.mean.psnr_y > 0


def test_it_learns_from_the_grey_levels_of_both(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path, photos=4, degradations=("noisy",))
    made = stage("irsde", **NETWORKS["unet-irsde"])
    index = read_index(dataset, "train")
    (batch,) = load(index, made.data, Plan(0, 4, 4, 0, 1, 1), seed=1, view_side=0, workers=0)
    learner = make_learner(made, index, None)
    assert isinstance(learner, Restoring)
    for found, given in zip(learner.images(batch), (batch.lq, batch.gt), strict=True):
        for one, image in zip(found, given, strict=True):
            assert np.array_equal(to_bytes(one.expand(3, -1, -1)), grey(image.permute(1, 2, 0).numpy()))
    learner(batch)["loss"].backward()
