"""A stage that another process trains now is called running, and one whose process was killed is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from patina.children import environment
from patina.flows.training_artifacts import plan_rows
from patina.pipeline.files import lock, lock_holder
from patina.training.checkpoints.files import DONE, MODEL, STAGE, stage_lock, trained_by
from patina.training.report.page import summary_markdown
from patina.training.report.record import read_run
from patina.training.runs.plan import plan_stages
from tests.pipeline.making import photos, tiny_recipe
from tests.training.running import stage

HOLDS = """
import sys, time
from pathlib import Path
from patina.pipeline.files import lock
with lock(Path(sys.argv[1]), RuntimeError, make=lambda: None):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def a_process_that_holds(path: Path) -> Iterator[subprocess.Popen[str]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from patina.pipeline.builder.build import build

    folder = tmp_path_factory.mktemp("running")
    photos(folder / "photos", 2)
    build(tiny_recipe(folder), folder / "out")
    return folder / "out"


def begun(run: Path, name: str = "adapter", state: int = 0) -> Path:
    """A stage's folder as a training leaves it in its midst."""
    folder = run / name
    folder.mkdir(parents=True)
    (folder / STAGE).write_text(json.dumps({"fingerprint": "f", "stage": stage(name).table(), "dataset": "d"}))
    if state:
        (folder / f"state-{state:012d}.safetensors").touch()
    return folder


def test_a_lock_names_its_holder_while_that_lives_and_asking_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".a.lock"
    assert lock_holder(path) == ""
    assert not path.exists()
    with lock(path, RuntimeError, make=lambda: None):
        assert lock_holder(path).startswith("process ")
    with a_process_that_holds(path) as process:
        for _ in range(3):
            assert lock_holder(path).startswith(f"process {process.pid} of ")
        process.kill()
        process.wait()
        assert path.read_text().startswith(f"process {process.pid} of ")  # what a file says outlives its process
        assert lock_holder(path) == ""
    with lock(path, RuntimeError, make=lambda: None):  # nobody was left with it
        pass


def test_a_running_stage_is_running_in_the_plan_until_its_process_is_killed(dataset: Path, tmp_path: Path) -> None:
    plan = {"adapter": stage("adapter"), "vlunet": stage("vlunet")}
    with a_process_that_holds(stage_lock(tmp_path / "adapter")) as process:
        first, second = plan_stages(plan, dataset, tmp_path)
        assert (first.state, first.what, second.state) == ("running", "train", "train")
        assert first.why.startswith(f"process {process.pid} of ")
        assert "a start waits for it, 60 s at the most" in first.why
        assert [row["what"] for row in plan_rows([first, second])] == ["running", "train"]
        process.kill()
        process.wait()
        assert [item.state for item in plan_stages(plan, dataset, tmp_path)] == ["train", "train"]


def test_a_finished_stage_is_done_whoever_looks_at_its_folder(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from patina.training.data.dataset import dataset_digest

    (tmp_path / "adapter").mkdir()
    fingerprint = stage("adapter").fingerprint(dataset_digest(dataset), "")
    (tmp_path / "adapter" / DONE).write_text(json.dumps({"fingerprint": fingerprint}))
    monkeypatch.setattr("patina.training.runs.plan.model_digest", lambda folder: "d")
    with a_process_that_holds(stage_lock(tmp_path / "adapter")):
        (item,) = plan_stages({"adapter": stage("adapter")}, dataset, tmp_path)
    assert (item.state, item.holder) == ("done", "")


@pytest.mark.parametrize("state", [0, 8])
def test_a_running_stage_is_running_in_the_report(tmp_path: Path, state: int) -> None:
    folder = begun(tmp_path, state=state)
    plan = {"adapter": stage("adapter"), "vlunet": stage("vlunet")}
    with a_process_that_holds(stage_lock(folder)), a_process_that_holds(stage_lock(tmp_path / "vlunet")):
        records = read_run(tmp_path, plan)
        assert [record.state for record in records] == [f"running at {state} of 24 images", "running at 0 of 8 images"]
        text = summary_markdown(tmp_path, plan=plan)
    assert "2 stages: 2 running." in text
    assert "goes on after" not in text
    assert trained_by(folder) == ""
    assert [record.state for record in read_run(tmp_path, plan)] == [f"stopped at {state} of 24 images", "not begun"]


def test_a_finished_stage_is_finished_in_the_report(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    (folder / DONE).write_text(json.dumps({"fingerprint": "f", "seen": 24}))
    (folder / MODEL).touch()
    (record,) = read_run(tmp_path)
    assert replace(record, holder="process 1").state == "finished"
