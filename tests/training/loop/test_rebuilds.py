"""A training holds one version of its dataset to its end, whatever is built meanwhile."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from patina.pipeline.builder.build import build
from patina.pipeline.builder.history import free, rollback
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.versions.lease import is_open
from patina.pipeline.versions.version import Version, all_versions, current_version
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import MODEL
from patina.training.checkpoints.resume import StageFolder
from patina.training.jobs import process as processes
from patina.training.jobs.stage import LaunchOptions, run_stage
from patina.training.report.page import write_report
from patina.training.runs.lineage import lineage
from patina.training.stages.stage import Stage
from tests.training.running import RECIPE, same_tensors, small_dataset, stage, trained

SIGMAS = (5, 60, 90)


def rebuild(home: Path, sigma: float) -> None:
    """Publish the dataset with noise of another strength; only the last version is kept."""
    recipe = home.parent / "recipe.toml"
    recipe.write_text(f"{RECIPE}[degradations.noisy]\nsigma = {sigma}\n", "utf-8")
    build(load_recipe(recipe), home, Options(keep=1))


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)


class Rebuilds(threading.Thread):
    """Builds a dataset three times while a stage trains on it. The stage's processes stand still for as long as a build
    takes, so that it has read little before the first, something between any two, and most after the last."""

    def __init__(self, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(daemon=True)
        self.home, self.states, self.seen, self.held = home, StageFolder(folder), list[int](), list[bool]()
        self.failure: BaseException | None = None
        self._process: subprocess.Popen[str] | None = None
        start = subprocess.Popen

        def started(*args: Any, **how: Any) -> Any:
            self._process = start(*args, **how)
            return self._process

        monkeypatch.setattr(processes.subprocess, "Popen", started)

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failure = error

    def _run(self) -> None:
        (read, *_) = all_versions(self.home)
        last = 0
        for sigma in SIGMAS:
            until(lambda last=last: self._last() > last)  # type: ignore[misc]
            assert self._process is not None
            os.killpg(self._process.pid, signal.SIGSTOP)
            try:
                last = self._last()
                rebuild(self.home, sigma)
                self.seen.append(last)
                self.held.append(is_open(read))
            finally:
                os.killpg(self._process.pid, signal.SIGCONT)

    def _last(self) -> int:
        return max((int(path.stem.removeprefix("state-")) for path in self.states.states()), default=0)


def long_stage() -> Stage:
    """It reads 80 samples, each once: no pixel is kept from before a build."""
    return stage("controller", max_images=80, save_every=4, keep=3, validation={"every": 80})


def a_dataset(folder: Path) -> Path:
    """Its first version, of which 80 samples or more are for training."""
    return small_dataset(folder, photos=112, side=64, degradations=("noisy",))


def tensors(run: Path) -> dict[str, Any]:
    return checkpoint.load(run / "controller" / MODEL).tensors


def trained_here(home: Path, run: Path) -> dict[str, Any]:
    """The tensors of the stage, trained in this process, on one thread as the other ones."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert trained(long_stage(), home, run).finished
    finally:
        torch.set_num_threads(threads)
    return tensors(run)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tensors of a training that was left alone."""
    folder = tmp_path_factory.mktemp("alone")
    return trained_here(a_dataset(folder), folder / "run")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1], ids=["reads itself", "another process reads"])
def test_a_training_through_three_builds_gives_the_bits_of_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, alone: dict[str, Any]
) -> None:
    home, run = a_dataset(tmp_path), tmp_path / "run"
    first = current_version(home)
    assert first is not None
    rebuilds = Rebuilds(home, run / "controller", monkeypatch)
    rebuilds.start()
    run_stage(long_stage(), home, run, LaunchOptions(cpu=True, threads=1, workers=workers), lambda _: None)
    rebuilds.join(60)
    if rebuilds.failure:
        raise rebuilds.failure
    assert len(rebuilds.seen) == 3
    assert sorted(set(rebuilds.seen)) == rebuilds.seen
    assert rebuilds.seen[-1] < 60
    assert rebuilds.held == [True] * 3
    assert [version.number for version in all_versions(home)] == [1, 4], "held to the end; the others are gone"
    assert same_tensors(tensors(run), alone)
    _expect_told(run, home, first)
    if workers == 0:
        assert not same_tensors(trained_here(home, tmp_path / "after"), alone), "the builds would change a training"
        rollback(home, "1")  # as lineage says
        assert same_tensors(trained_here(Path(f"{home}@5"), tmp_path / "again"), alone)
        gc.collect()  # what this process read
        assert [version.number for version in free(home, 1).versions] == [1, 4], "nobody holds it any more"


def _expect_told(run: Path, home: Path, version: Version) -> None:
    """The model, its lineage and the report say which version it was trained on, and how to get it back."""
    notes = checkpoint.load(run / "controller" / MODEL).notes
    assert (notes["dataset_version"], notes["dataset_folder"]) == (version.name, home.name)
    manifest = load_manifest(version.folder)
    assert manifest is not None
    assert notes["dataset"] == manifest.digest
    told = " ".join(lineage(run / "controller" / MODEL))
    assert f"{version.name}, read as dataset@1, published again by `patina rollback dataset 1`" in told
    page = write_report(run, home).read_text("utf-8")
    assert f"{version.name}: read as dataset@1, published again by `patina rollback dataset 1`" in page
    assert f"it was trained on version {version.name}" in page
