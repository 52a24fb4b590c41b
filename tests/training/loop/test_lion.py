"""Lion: its steps by hand, its state, and a training by it that goes on bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from patina.training.checkpoints import model as checkpoint
from patina.training.loop.lion import Lion
from tests.training.running import small_dataset, stage, trained


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_its_steps_are_those_of_the_paper(decay: float) -> None:
    rng = torch.Generator().manual_seed(1)
    weight = nn.Parameter(torch.randn(5, generator=rng, dtype=torch.float64))
    still = nn.Parameter(torch.ones(2))
    lion = Lion([weight, still], lr=0.01, betas=(0.9, 0.99), weight_decay=decay)
    p, m = weight.detach().clone(), torch.zeros(5, dtype=torch.float64)
    for _ in range(6):
        g = torch.randn(5, generator=rng, dtype=torch.float64)
        weight.grad = g.clone()
        lion.step()
        p = p * (1 - 0.01 * decay) - 0.01 * (0.9 * m + 0.1 * g).sign()
        m = 0.99 * m + 0.01 * g
        assert torch.allclose(weight.detach(), p, rtol=1e-12, atol=0)
    assert torch.equal(still.detach(), torch.ones(2))
    assert set(lion.state[weight]) == {"exp_avg"}


def test_a_training_by_lion_goes_on_bit_for_bit(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path, photos=8, degradations=("noisy",))
    made = stage(
        "irsde",
        network="unet-irsde",
        after="",
        max_images=16,
        data={"view": "none"},
        optimiser={"name": "lion", "lr": 1e-4, "schedule": "steps", "milestones": [8], "min_lr": 0.0},
        validation={"every": 0},
    )
    assert trained(made, dataset, tmp_path / "one").finished
    assert not trained(made, dataset, tmp_path / "two", stop_at=8).finished
    assert trained(made, dataset, tmp_path / "two").finished
    one, two = (checkpoint.load(tmp_path / run / "irsde" / "model.safetensors") for run in ("one", "two"))
    assert one.digest == two.digest
