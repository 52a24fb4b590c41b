"""Which equation a published network is sampled by: written, remembered, known by its name, or told to be a guess."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patina.training import official
from patina.training.diffusion.sde import IRSDE
from patina.training.errors import CheckpointError, ModelInputError
from patina.training.evaluation.metrics import psnr
from patina.training.images import to_bytes
from patina.training.models import nafnet
from patina.training.restore.equation import equation_of, parse_equation, told
from patina.training.restore.load import load_model
from patina.training.restore.restorer import Restorer
from patina.training.stages.stage import Data, Optimiser, Sde, Stage
from tests.pipeline.making import picture


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("max_sigma=10,T=100,schedule=cosine", Sde(10.0, 100, "cosine")),
        (" max_sigma = 70 , T = 1000 ", Sde(70.0, 1000)),
        ("steps=20,schedule=linear,eps=0.1", Sde(50.0, 20, "linear", 0.1)),
        ("max_sigma=0.5", Sde(0.5)),
        ("ir-sde-derain", Sde(10.0)),
        ("refusion", Sde(50.0)),
    ],
)
def test_equations_are_read_as_the_papers_write_them(written: str, expected: Sde) -> None:
    assert parse_equation(written) == expected
    assert parse_equation(told(expected)) == expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("sigma=10", "'sigma=10' is no setting of an equation; did you mean 'max_sigma'"),
        ("max_sigma", "'max_sigma' is no setting"),
        ("derainn", "one of universal-ir, refusion-denoising"),
        ("max_sigma=ten", "could not convert"),
        ("T=0", "0 steps; expected 1 or more"),
        ("schedule=sine", "schedule 'sine'; expected one of"),
        ("eps=2", "eps 2.0; expected a share"),
        ("max_sigma=nan", "max_sigma nan"),
        ("T=1.5", "invalid literal"),
    ],
)
def test_what_is_no_equation_is_told(written: str, said: str) -> None:
    with pytest.raises(ModelInputError, match=said):
        parse_equation(written)


@pytest.mark.parametrize(
    ("name", "max_sigma", "steps"),
    [
        ("ir-sde-derainH100.pth", 10, 100),
        ("ir-sde-derainL100.pth", 10, 100),
        ("ir-sde-deblurring.pth", 10, 100),
        ("ir-sde-denoising.pth", 75, 100),
        ("ir-sde-inpainting-celebahq.pth", 30, 100),
        ("ir-sde-sr.pth", 30, 100),
        ("sisr_ir-sde.pth", 30, 100),
        ("ir-sde-super-resolution.pth", 30, 100),
        ("refusion-denoising.pth", 70, 1000),
        ("refusion-deblurring.pth", 50, 100),
        ("universal-ir.pth", 50, 100),
        ("universal-ir-mix.pth", 50, 100),
        ("wild-ir.pth", 50, 100),
    ],
)
def test_published_names_stand_for_the_options_that_were_published_with_them(
    tmp_path: Path, name: str, max_sigma: float, steps: int
) -> None:
    sde, note = equation_of(tmp_path / name)
    assert (sde.max_sigma, sde.steps, sde.schedule, sde.eps, note) == (max_sigma, steps, "cosine", 0.005, "")


@pytest.mark.parametrize(
    "name", ["700000_G.pth", "latest_G.pth", "net.pth", "ir-sde.pth", "israel.pth", "ir-sde-shadow.pth"]
)
def test_a_file_that_says_nothing_is_warned_of(tmp_path: Path, name: str) -> None:
    sde, note = equation_of(tmp_path / name)
    assert sde == Sde()
    assert f"{name}: nothing says which equation" in note
    assert "--sde max_sigma=10" in note


def test_what_was_written_is_remembered_and_what_was_remembered_counts(tmp_path: Path) -> None:
    path = tmp_path / "ir-sde-derainH100.pth"
    assert equation_of(path, "max_sigma=20,T=50") == (Sde(20.0, 50), "")
    assert equation_of(path) == (Sde(20.0, 50), "")
    assert json.loads((tmp_path / "ir-sde-derainH100.pth.sde.json").read_text())["steps"] == 50
    assert equation_of(path, "max_sigma=30")[0] == Sde(30.0)
    assert equation_of(path)[0] == Sde(30.0)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"sigma": 3}', '{"max_sigma": -1}', '{"steps": []}'])
def test_a_note_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.pth.sde.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"a\.pth\.sde\.json: no equation of a published network.*give --sde"):
        equation_of(tmp_path / "a.pth")
    assert equation_of(tmp_path / "a.pth", "max_sigma=10")[0].max_sigma == 10


class Perfect(nn.Module):
    """Knows the clean image, and the equation: its estimate is the noise itself."""

    def __init__(self, x0: Tensor, sde: Sde) -> None:
        super().__init__()
        self.x0, self.sde = x0, IRSDE(sde.max_sigma, sde.steps, sde.schedule, sde.eps)

    def forward(self, x: Tensor, mu: Tensor, t: Tensor | int) -> Tensor:
        index = int(t) if not isinstance(t, Tensor) else int(t.flatten()[0])
        return self.sde.noise(x, self.x0, mu, index)


def test_a_network_of_ten_is_only_good_at_ten() -> None:
    gt = picture(40, 32)
    lq = np.clip(gt.astype(int) + np.random.default_rng(1).normal(0, 25, gt.shape), 0, 255).astype(np.uint8)
    net = Perfect(torch.from_numpy(gt).permute(2, 0, 1)[None] / 255, parse_equation("ir-sde-derain"))

    def restored(sde: Sde) -> float:
        stage = Stage("published", "sde", "unet-irsde", Data(1), Optimiser(1e-4), 1, sde=sde)
        return psnr(to_bytes(Restorer(net, None, stage).restore(lq)), gt)

    given = psnr(lq, gt)
    assert restored(equation_of(Path("ir-sde-derainL100.pth"))[0]) > 50
    assert restored(Sde()) < given - 3  # as it was sampled before: worse than doing nothing


def test_the_command_samples_by_what_was_written(tmp_path: Path) -> None:
    official.save(nafnet.NAFNet(nafnet.TINY), tmp_path / "mine.pth")
    restorer = load_model(tmp_path / "mine.pth", device="cpu")
    assert [note for note in restorer.notes if "nothing says which equation" in note]
    assert restorer.sde.max_sigma == 50
    restorer = load_model(tmp_path / "mine.pth", sde="max_sigma=10,T=20", device="cpu")
    assert (restorer.sde.max_sigma, restorer.calls("posterior"), restorer.notes) == (10, 20, ())
    again = load_model(tmp_path / "mine.pth", device="cpu")
    assert (again.sde, again.notes) == (restorer.sde, ())
