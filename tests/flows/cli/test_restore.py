"""`patina restore` and `patina app`: what they print, what they refuse, and their exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from patina.flows.cli import main as cli
from patina.pipeline.codec.decode import decode
from patina.training import official
from patina.training.images import to_bytes
from patina.training.restore import app
from patina.training.restore.published import load_published
from patina.training.restore.restorer import Restorer
from patina.training.restore.tiles import Tiling
from tests.pipeline.making import photo, picture
from tests.training.restore.test_restorer import described, diffusion


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny published files: a VLU-Net, a U-Net, and the DA-CLIP that steers it."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(2)
    vlunet, unet = described(), diffusion()
    assert vlunet.conditioner
    assert unet.conditioner
    official.save(vlunet.net, folder / "vlunet.ckpt", degradation_model=vlunet.conditioner.net)
    official.save(unet.net, folder / "unet.pth")
    official.save(unet.conditioner.net, folder / "daclip.pt")
    return folder


@pytest.fixture
def patina(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Patina:
    return Patina(monkeypatch, capsys)


class Patina:
    """Runs the console command in this process: its exit code, and what it printed to both streams."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["patina", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = self._capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err


def test_restore_says_what_was_found_and_where_it_went(patina: Patina, models: Path, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "deep" / "b.jpg")
    code, out, err = patina("restore", tmp_path / "in", "--model", models / "vlunet.ckpt", "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    restorer = load_published(models / "vlunet.ckpt", None)
    degradation, share = next(iter(restorer.look(picture()).degradations.items()))
    assert f"{tmp_path / 'in' / 'a.png'}: {degradation} {100 * share:.0f} %" in out
    assert f"→ {tmp_path / 'out' / 'deep' / 'b.jpg'}, " in out
    assert "restoring: 2 of 2 network calls" in out
    assert np.array_equal(
        decode((tmp_path / "out" / "a.png").read_bytes()).image, to_bytes(restorer.restore(picture()))
    )


def test_sampler_steps_seed_and_tiles_reach_a_steered_restorer(patina: Patina, models: Path, tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 90, 70)
    model = ["--model", models / "unet.pth", "--steering", models / "daclip.pt", "--device", "cpu"]
    how = ["--sampler", "fast-sde", "--steps", 2, "--seed", 5, "--tile", 64, "--overlap", 8]
    code, out, _ = patina("restore", tmp_path / "a.png", *model, "--out", tmp_path / "out", *how)
    assert code == 0
    assert "restoring: 8 of 8 network calls" in out  # two steps of two by two tiles
    restorer = load_published(models / "unet.pth", models / "daclip.pt")
    same = restorer.restore(picture(90, 70), sampler="fast-sde", steps=2, seed=5, tiling=Tiling(64, 8))
    assert np.array_equal(decode((tmp_path / "out" / "a.png").read_bytes()).image, to_bytes(same))


def test_what_cannot_be_read_is_told_and_the_exit_code_is_1(patina: Patina, models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\x1b[31m.png").write_bytes(b"nothing")
    photo(tmp_path / "in" / "b.png")
    code, out, err = patina("restore", tmp_path / "in", "--model", models / "vlunet.ckpt", "--out", tmp_path / "out")
    assert code == 1
    assert "b.png: " in out
    assert "a\\x1b[31m.png: not an image in a known format" in err
    assert "error  1 of 2 could not be restored, see above" in err
    assert "\x1b" not in out + err
    assert (tmp_path / "out" / "b.png").exists()


def test_errors_come_before_work_starts(
    patina: Patina, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object, **how: object) -> None:
        raise AssertionError("nothing should be restored")

    monkeypatch.setattr(Restorer, "restore", never)
    good = photo(tmp_path / "a.png")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "empty").mkdir()
    model = ["--model", models / "vlunet.ckpt"]
    for words, said in (
        ([tmp_path / "none.png", *model, "--out", tmp_path / "out"], "there is no such file or folder"),
        ([tmp_path / "empty", *model, "--out", tmp_path / "out"], "expected photographs in this folder, found none"),
        ([good, *model, "--out", tmp_path / "file"], "--out: expected a folder, found a file"),
        ([good, *model, "--out", tmp_path], "is a photograph that was given"),
        ([good, "--model", tmp_path / "none", "--out", tmp_path / "out"], "no such file or folder; give a run"),
        ([good, "--model", tmp_path, "--out", tmp_path / "out"], "no finished restorer"),
        ([good, "--model", models / "unet.pth", "--out", tmp_path / "out"], "give its file too"),
        ([good, "--model", models / "daclip.pt", "--out", tmp_path / "out"], "which restores nothing"),
        ([good, *model, "--steps", 3, "--out", tmp_path / "out"], "restores in one pass"),
        ([good, *model, "--tile", 20, "--out", tmp_path / "out"], "expected 64 or more, or 0"),
        ([good, *model, "--device", "abc", "--out", tmp_path / "out"], "--device abc cannot be used"),
    ):
        code, _, err = patina("restore", *words)
        assert code == 1, words
        assert err.startswith("error  "), words
        assert said in err, words
    assert not (tmp_path / "out").exists()


def test_without_torch_one_sentence_says_what_installs_it(
    patina: Patina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for words in (("restore", tmp_path, "--model", tmp_path, "--out", tmp_path), ("app", "--model", tmp_path)):
        code, _, err = patina(*words)
        assert (code, "pip install 'patina-ir[train]'" in err) == (1, True)


def test_app_without_gradio_says_what_installs_it_before_a_model_is_read(
    patina: Patina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    code, _, err = patina("app", "--model", tmp_path / "none")
    assert code == 1
    assert "the page needs gradio: pip install 'patina-ir[app]'" in err


def test_app_serves_the_model_that_was_asked_for(patina: Patina, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[Restorer, int, str, bool]] = []

    def serve(restorer: Restorer, port: int, *, name: str, share: bool, on_message: object) -> None:
        served.append((restorer, port, name, share))
        assert callable(on_message)
        on_message(f"http://127.0.0.1:{port}/")

    monkeypatch.setattr(app, "expect_gradio", lambda: None)
    monkeypatch.setattr(app, "serve", serve)
    code, out, _ = patina("app", "--model", models / "vlunet.ckpt", "--port", 7999)
    assert code == 0
    ((restorer, port, name, share),) = served
    assert (restorer.stage.objective, port, name, share) == ("described", 7999, "vlunet.ckpt", False)
    assert "page     http://127.0.0.1:7999/" in out


def test_help_and_start_import_no_torch() -> None:
    code = "import sys; from patina.flows.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "restore", "--help"], capture_output=True, text=True, check=True)
    assert "--steering" in done.stdout
    assert done.stdout.rstrip().endswith("False")


def test_what_is_not_finite_is_one_line_for_each_photograph_no_file_and_exit_code_1(
    patina: Patina, models: Path, tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.jpg")
    torch.manual_seed(2)
    wild = described()
    assert wild.conditioner
    wild.net.output.weight.data.fill_(3e38)  # type: ignore[union-attr, operator]
    official.save(wild.net, tmp_path / "wild.ckpt", degradation_model=wild.conditioner.net)
    code, _, err = patina("restore", tmp_path / "in", "--model", tmp_path / "wild.ckpt", "--out", tmp_path / "out")
    assert code == 1
    assert [line.partition(": the network gave ")[0] for line in err.splitlines()] == [
        str(tmp_path / "in" / "a.png"),
        str(tmp_path / "in" / "b.jpg"),
        "error  2 of 2 could not be restored, see above",
    ]
    assert not list((tmp_path / "out").rglob("*.*"))

    wild.net.output.weight.data[0, 0, 0, 0] = float("nan")  # type: ignore[union-attr, index, operator]
    official.save(wild.net, tmp_path / "nan.ckpt", degradation_model=wild.conditioner.net)
    code, _, err = patina("restore", tmp_path / "in", "--model", tmp_path / "nan.ckpt", "--out", tmp_path / "out")
    assert code == 1
    assert "nan.ckpt: 1 of " in err
    assert "tensors hold NaN or infinity: output.weight (1 of " in err
    assert not list((tmp_path / "out").rglob("*.*"))
