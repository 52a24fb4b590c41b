"""Trainings and evaluations without Prefect: in order, tried again after a crash, told, and nothing of it is loaded."""

# ruff: noqa: F811 - fixtures of a neighbour

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from patina.flows import training_steps
from patina.flows.training_steps import evaluate_here, train_here
from patina.flows.watchers import listened_by, watched_by
from patina.training.errors import StageCrashedError, StageError
from patina.training.jobs.evaluation import Options
from patina.training.jobs.stage import LaunchOptions
from patina.training.stages.plan import chosen, load_plan
from tests.flows.test_train_flows import Judge, Loop, dataset, judge, loop, plan  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")

CPU = LaunchOptions(cpu=True)


class Shown:
    """Counts bars."""

    begun = ended = 0

    def begin(self, step: str, total: int, unit: str) -> None:
        self.begun += 1

    def advance(self, count: int) -> None:
        assert self.begun == self.ended + 1

    def end(self) -> None:
        self.ended += 1


def train(dataset: Path, plan: Path, run: Path, *stages: str) -> tuple[str, ...]:
    return train_here(chosen(load_plan(str(plan)), stages), dataset, run, CPU)


def test_stages_are_trained_in_order_once_and_told(
    dataset: Path,
    plan: Path,
    loop: Loop,
    tmp_path: Path,
) -> None:
    heard: list[str] = []
    with listened_by(heard.append):
        assert train(dataset, plan, tmp_path / "run", "irsde") == ()
        assert loop.trained == ["controller", "irsde"]
        assert train(dataset, plan, tmp_path / "run", "irsde") == ("controller", "irsde")
    assert loop.trained == ["controller", "irsde"]
    assert heard[0] == "train controller on 24 images: not trained yet"
    assert "controller: names 80%" in heard
    assert heard[-1] == "irsde: skipped, as its settings, dataset and start are as they were"
    assert (tmp_path / "run" / "report.html").read_text() == "skipped ('controller', 'irsde')"


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_a_process_that_dies_is_tried_twice_more(
    dataset: Path,
    plan: Path,
    loop: Loop,
    tmp_path: Path,
    deaths: int,
) -> None:
    left = [deaths]

    def dies(stage: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise StageCrashedError("its process ended with status -9")

    loop.before = dies
    heard: list[str] = []
    shown = Shown()
    with listened_by(heard.append), watched_by(shown):
        if deaths == 3:
            with pytest.raises(StageCrashedError, match="status -9"):
                train(dataset, plan, tmp_path / "run", "adapter")
        else:
            train(dataset, plan, tmp_path / "run", "adapter")
    assert loop.trained == ["adapter"] * min(deaths + 1, 3)
    assert sum("trying again" in line for line in heard) == min(deaths, 2)
    assert shown.begun == shown.ended == min(deaths + 1, 3), "no bar is left behind by a process that died"


def test_what_a_process_refuses_is_not_tried_again(
    dataset: Path,
    plan: Path,
    loop: Loop,
    tmp_path: Path,
) -> None:
    def refuses(stage: Any) -> None:
        raise StageError("a setting must be mended")

    loop.before = refuses
    with pytest.raises(StageError, match="a setting must be mended"):
        train(dataset, plan, tmp_path / "run")
    assert loop.trained == ["adapter"]


def test_finished_stages_are_evaluated_once_and_again_when_asked(
    dataset: Path,
    plan: Path,
    loop: Loop,
    judge: Judge,
    tmp_path: Path,
) -> None:
    run, options = tmp_path / "run", Options(cpu=True)
    train(dataset, plan, run, "nafnet")
    assert evaluate_here(run, dataset, options) == ()
    assert evaluate_here(run, dataset, options) == ("controller", "nafnet")
    assert evaluate_here(run, dataset, options, ["nafnet"], again=True) == ()
    assert judge.judged == ["controller", "nafnet", "nafnet"]
    deaths = iter([True, False])

    def dies() -> None:
        if next(deaths):
            raise StageCrashedError("its process ended with status -9")

    judge.before = dies
    evaluate_here(run, dataset, options, ["nafnet"], again=True)
    assert judge.judged[3:] == ["nafnet", "nafnet"]


def test_nothing_of_prefect_is_loaded() -> None:
    assert training_steps.RETRIES == 2
    code = "import sys, patina.flows.training_steps; print([m for m in ('prefect', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
