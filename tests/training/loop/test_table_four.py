"""The models of DA-CLIP's Table 4: its baselines are trained and asked as DA-CLIP is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from patina.training.checkpoints import model as checkpoint
from patina.training.data.batches import Plan, load
from patina.training.data.index import read_index
from patina.training.errors import StageError
from patina.training.evaluation.evaluate import classify
from patina.training.models import daclip
from patina.training.models.daclip import DaClip
from patina.training.models.plain_clip import PlainClip
from patina.training.objectives.make import make_learner
from tests.training.running import small_dataset, stage, trained

ROWS: dict[str, dict[str, Any]] = {
    "CLIP + finetune": {"network": "clip-b32"},
    "DA-CLIP w/o Zero": {"controller_start": "random"},
    "DA-CLIP": {"controller_start": "zero"},
    "DA-CLIP, as released": {"controller_start": "published"},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("table4"))


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_trained_and_asked(dataset: Path, tmp_path: Path, row: str) -> None:
    made = stage("controller", **ROWS[row], max_images=8, validation={"every": 0})
    assert trained(made, dataset, tmp_path).finished
    path = tmp_path / "controller" / "model.safetensors"
    found = classify(path, dataset)
    assert set(found.degradations) == {"jpeg-compressed", "low-light", "noisy"}
    before = make_learner(made, read_index(dataset, "train"), None).net.state_dict()
    after = checkpoint.load(path).tensors
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    learns = "clip.visual." if row == "CLIP + finetune" else "controller."
    assert moved
    assert all(name.startswith((learns, "logit_scale")) for name in moved)


def test_without_zeros_the_dense_layers_start_as_any() -> None:
    torch.manual_seed(1)
    net = DaClip(replace(daclip.TINY, image_layers=2, text_layers=1))
    assert not any(bool(layer.weight.any()) for layer in net.controller.dense)
    net.start_without_zeros()
    assert all(float(layer.weight.detach().std()) > 0 for layer in net.controller.dense)


def test_a_plain_clip_learns_by_the_degradations_alone(dataset: Path) -> None:
    made = stage("controller", network="clip-b32")
    index = read_index(dataset, "train")
    learner = make_learner(made, index, None)
    assert isinstance(learner.net, PlainClip)
    (batch,) = load(index, made.data, Plan(0, 4, 4, 0, 1, 1), seed=1, view_side=64, workers=0)
    losses = learner(batch)
    assert losses["loss"] == losses["degradation"] != losses["caption"]
    whole = make_learner(stage("controller"), index, None)(batch)
    assert whole["loss"] == whole["degradation"] + whole["caption"]


def test_a_controllers_start_is_of_daclip() -> None:
    with pytest.raises(StageError, match="controller_start = 'random' is of DA-CLIP; network = 'clip-b32'"):
        stage("controller", network="clip-b32", controller_start="random")
