"""`patina evaluate` of one model, and what `patina restore` is told beside: what they print, and what they refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from patina.flows.cli import main as cli
from patina.training import official
from patina.training.models import nafnet
from tests.pipeline.making import photo
from tests.training.restore.test_restorer import described, diffusion
from tests.training.running import small_dataset

Patina = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny published files, and a dataset."""
    folder = tmp_path_factory.mktemp("one")
    torch.manual_seed(2)
    vlunet, unet = described(), diffusion()
    assert vlunet.conditioner
    assert unet.conditioner
    official.save(vlunet.net, folder / "nhrbl.ckpt", degradation_model=vlunet.conditioner.net)
    official.save(unet.conditioner.net, folder / "daclip.pt")
    official.save(nafnet.NAFNet(nafnet.TINY), folder / "mine.pth")
    small_dataset(folder / "data", photos=8)
    return folder


@pytest.fixture
def patina(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Patina:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["patina", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


QUICK = ("--per-entry", 1, "--no-lpips", "--no-fid", "--cpu")


def test_a_published_restorer_is_measured(patina: Patina, place: Path, tmp_path: Path) -> None:
    data = place / "data" / "dataset"
    code, out, err = patina("evaluate", place / "nhrbl.ckpt", data, "--out", tmp_path / "out", *QUICK)
    assert (code, err) == (0, "")
    assert "low-light" in out
    assert "PSNR restored" in out
    assert str(tmp_path / "out" / "evaluation.md") in out.replace("\n", "")
    exact = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert exact["stage"] == "nhrbl.ckpt"

    words = ("evaluate", place / "nhrbl.ckpt", data, "--out", tmp_path / "low", "--precision", "bf16", *QUICK)
    code, out, err = patina(*words)
    assert (code, err) == (0, "")
    assert "restored in bfloat16" in out
    low = json.loads((tmp_path / "low" / "evaluation.json").read_text())
    assert low["notes"] == ["restored in bfloat16", *exact["notes"]]
    assert low["mean"]["psnr"] != exact["mean"]["psnr"]


def test_a_published_clip_names_degradations(
    patina: Patina, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = patina("evaluate", place / "daclip.pt", place / "data" / "dataset", *QUICK)
    assert (code, err) == (0, "")
    assert "named rightly" in out
    assert "PSNR" not in out
    assert (tmp_path / "daclip-evaluation" / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nhrbl.ckpt", "--stage", "vlunet"), "is one model, not a run; leave out --stage vlunet"),
        (("data", "--sde", "max_sigma=10"), "--sde are for one model: leave them out"),
        (("daclip.pt", "--sde", "max_sigma=10"), "names degradations and restores nothing; leave out --sde"),
        (("nhrbl.ckpt", "--sde", "max_sigma=10"), "restores in one pass and has no equation"),
        (("mine.pth", "--sde", "sigma=10"), "is no setting of an equation"),
        (("none.pth",), "no such file"),
    ],
)
def test_what_does_not_go_together_is_told(
    patina: Patina, place: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    model, *rest = words
    code, _, err = patina("evaluate", place / model, place / "data" / "dataset", *rest, *QUICK)
    assert code == 1
    assert said in " ".join(err.split())


def test_restoring_is_told_of_degradations_passes_and_the_equation(patina: Patina, place: Path, tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    where = ("restore", tmp_path / "a.png", "--device", "cpu", "--out", tmp_path / "out")
    code, out, err = patina(*where, "--model", place / "nhrbl.ckpt", "--degradation", "hazy", "--ensemble")
    assert (code, err) == (0, "")
    assert "8 of 8 network calls" in out
    code, out, err = patina(*where, "--model", place / "nhrbl.ckpt", "--passes", 3)
    assert (code, err) == (0, "")
    assert "passes: " in out or "in 1 pass: " in out
    code, _, err = patina(*where, "--model", place / "nhrbl.ckpt", "--degradation", "fog")
    assert code == 1
    assert "--degradation fog: the CLIP does not know it" in " ".join(err.split())
    fast = ("--model", place / "mine.pth", "--sampler", "fast-ode", "--steps", 1)
    code, out, _ = patina(*where, *fast)
    assert "nothing says which equation it was trained with" in " ".join(out.split())
    code, out, _ = patina(*where, *fast, "--sde", "max_sigma=10")
    assert (code, "nothing says" in out) == (0, False)
    assert json.loads((place / "mine.pth.sde.json").read_text())["max_sigma"] == 10
