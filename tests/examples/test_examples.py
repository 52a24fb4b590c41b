"""The scripts of examples/ run as they are, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.pipeline.making import photo
from tests.training.running import small_dataset, stage, trained

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *words: object) -> str:
    """What an example prints; warnings of its own would fail it."""
    command = [sys.executable, "-W", "error::UserWarning", str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_has_a_test() -> None:
    named = re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text("utf-8"))
    assert sorted(set(named)) == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_an_image_is_degraded_measured_and_made_again(tmp_path: Path) -> None:
    printed = run("degrade_one_image.py", tmp_path / "out")
    assert re.search(r"^hazy: moderate, [\d.]+ dB$", printed, re.MULTILINE)
    assert "made again, byte for byte: True" in printed
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.slow
def test_a_dataset_is_built_and_read_in_batches(tmp_path: Path) -> None:
    printed = run("build_and_read.py", tmp_path)
    assert "check: 3 shards, 12 samples, 12 replayed" in printed
    assert printed.count("lq (6, 3, 96, 96)") == 4


@pytest.mark.slow
def test_a_plain_loop_of_torch_gains_on_noise(tmp_path: Path) -> None:
    printed = run("train_with_plain_torch.py", tmp_path)
    before, after = (float(number) for number in re.findall(r"([\d.]+) dB", printed))
    assert after > before + 2


@pytest.mark.slow
def test_a_photograph_is_restored_by_a_run(tmp_path: Path) -> None:
    dataset, run_folder = small_dataset(tmp_path / "data"), tmp_path / "run"
    for name in ("controller", "nafnet"):
        trained(stage(name), dataset, run_folder)
    photo(tmp_path / "in.png", 80, 64)
    printed = run("restore_a_photo.py", run_folder, tmp_path / "in.png", tmp_path / "out.png")
    assert len(re.findall(r"^[a-z-]+: \d+ %$", printed, re.MULTILINE)) == 3
    before, after = (np.asarray(PIL.Image.open(tmp_path / name)) for name in ("in.png", "out.png"))
    assert after.shape == before.shape == (64, 80, 3)
    assert not np.array_equal(before, after)
