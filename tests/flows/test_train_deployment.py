"""Training in processes of its own, killed, asked to end, cancelled, and from a worker: what is left, and that the next
run goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from patina.training.checkpoints.files import model_digest
from patina.training.runs.plan import plan_stages
from patina.training.stages.plan import load_plan
from tests.flows.servers import (
    PATINA,
    ask,
    events,
    now,
    patina,
    prefect,
    running,
    told,
    wait_for,
    worker,
)
from tests.training.running import small_dataset, stage

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

IMAGES = 480


def write_plan(folder: Path, images: int = IMAGES) -> Path:
    """A controller that takes long enough to be stopped in the middle, and a restorer that starts from it."""
    folder.mkdir()
    changes: dict[str, dict[str, Any]] = {
        "controller": {"max_images": images, "save_every": 40, "validation": {"every": 240, "samples": 3}},
        "nafnet": {},
    }
    for name, changed in changes.items():
        table = stage(name, **changed).file_table()
        del table["name"]
        (folder / f"{name}.toml").write_text(tomli_w.dumps(table), "utf-8")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def alone(prefect_alone: dict[str, str]) -> dict[str, str]:
    return {**prefect_alone, "OMP_NUM_THREADS": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL"}


def states(run: Path) -> int:
    """Images after which the newest state of the controller was saved."""
    return max((int(p.stem[6:]) for p in (run / "controller").glob("state-*.safetensors")), default=0)


def loops(run: Path) -> list[int]:
    """Processes that train a stage of the run."""
    lines = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in lines.splitlines() if "patina.training.loop" in line and str(run) in line]


def apis(group: int) -> list[int]:
    """Servers that were started by a process that led this group."""
    lines = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,pgid=,args="], capture_output=True, text=True, check=True)
    found = [line.split(None, 2) for line in lines.stdout.splitlines()]
    return [int(pid) for pid, own, command in found if int(own) == group and "uvicorn" in command]


def words(dataset: Path, run: Path, plan: Path) -> list[str]:
    return ["train", str(dataset), "--run", str(run), "--plan", str(plan), "--cpu", "--workers", "0"]


def as_flow_run(dataset: Path, run: Path, plan: Path) -> list[str]:
    """A command that starts an API of its own, which takes longer than the training."""
    return [*PATINA, *words(dataset, run, plan), "--prefect"]


def test_killed_asked_to_end_and_not_stopped_come_to_the_same_models(
    dataset: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    plan, log = write_plan(tmp_path / "plan"), tmp_path / "train.log"
    whole, killed, ended = tmp_path / "whole", tmp_path / "killed", tmp_path / "ended"
    patina(alone, *words(dataset, whole, plan))

    with running(as_flow_run(dataset, killed, plan), alone, log) as process:
        wait_for(lambda: states(killed) >= 80, "a second state", log)
        assert loops(killed)
        os.killpg(process.pid, signal.SIGKILL)  # the flow and the API that it had started; the loop is not among them
        process.wait()
        wait_for(lambda: not loops(killed), "the end of the loop that nobody waits for", log, 30)
    (item, _) = plan_stages(load_plan(plan), dataset, killed)
    assert item.what == "goes on" and 0 < item.seen < IMAGES
    said = patina(alone, *words(dataset, killed, plan))
    assert f"continue controller after {item.seen} of {IMAGES} images" in said

    with running(as_flow_run(dataset, ended, plan), alone, log) as process:
        wait_for(lambda: states(ended) >= 80, "a second state", log)
        assert loops(ended) and apis(process.pid)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        assert not loops(ended), "the loop ended before the flow's process did"
        assert not apis(process.pid), "nor does the API that it had started go on"
    (item, _) = plan_stages(load_plan(plan), dataset, ended)
    assert item.what == "goes on"
    seen = [json.loads(line)["seen"] for line in (ended / "controller" / "metrics.jsonl").read_text().splitlines()]
    assert item.seen >= max(seen), "the state is of the step at which it was asked"
    patina(alone, *words(dataset, ended, plan))

    for name in ("controller", "nafnet"):
        assert model_digest(whole / name) == model_digest(killed / name) == model_digest(ended / name) != ""


def test_a_worker_trains_from_the_command_line_is_cancelled_and_goes_on(
    dataset: Path, prefect_server: dict[str, str], tmp_path: Path
) -> None:
    environment, begun = {**prefect_server, "OMP_NUM_THREADS": "1"}, now()
    plan, run, log = write_plan(tmp_path / "plan", 800), tmp_path / "run", tmp_path / "worker.log"
    patina(environment, "deploy", "--take-over")  # with the pool, the limit `gpu` and the automations
    paused = ask(environment, "automations/filter", automations={"name": {"any_": ["patina-retrain"]}})
    assert [automation["enabled"] for automation in paused] == [False], "nobody's GPU starts by surprise"
    given = {"out": dataset, "recipe": "", "run": run, "plan": plan, "cpu": "true", "workers": 0}
    given |= {"lpips": "false", "fid": "false", "per_entry": 1}
    parameters = [word for name, value in given.items() for word in ("--param", f"{name}={value}")]
    deployment = "train-end-to-end/train-end-to-end"
    with worker(environment, log):
        prefect(environment, "deployment", "run", deployment, *parameters)
        wait_for(lambda: states(run) >= 80, "a second state", log)
        (flow_run,) = runs_into(environment, run)
        prefect(environment, "flow-run", "cancel", str(flow_run["id"]))
        wait_for(lambda: not loops(run), "the end of the loop", log, 60)
        wait_for(lambda: _state(environment, flow_run["id"]) == "Cancelled", "the cancellation", log, 60)
        (item, _) = plan_stages(load_plan(plan), dataset, run)
        assert item.what == "goes on" and item.seen >= 80
        assert "ended" not in log.read_text().partition("Traceback")[0]
        said = prefect(environment, "deployment", "run", deployment, *parameters, "--watch")
        assert "finished successfully" in said.lower() or "Completed" in said
        again = ["--param", f"dataset={dataset}", "--param", f"run={run}", "--param", f"plan={plan}"]
        prefect(environment, "deployment", "run", "train-stages/train-controller", *again, "--watch")
    assert (run / "report.html").exists()
    assert {p.parent.name for p in run.glob("*/evaluation.json")} == {"controller", "nafnet"}
    trained = told(environment, "patina.stage.trained", 2, log, begun)
    assert {event["payload"]["digest"] for event in trained} == {
        model_digest(run / name) for name in ("controller", "nafnet")
    }
    flow_runs = {"id": {"any_": [str(one["id"]) for one in runs_into(environment, run)]}}
    keys = {str(artifact["key"]) for artifact in ask(environment, "artifacts/filter", flow_runs=flow_runs)}
    assert {"training-plan", "stage", "training", "report", "restored", "evaluation", "progress"} <= keys
    names = {str(task["name"]) for task in ask(environment, "task_runs/filter", flow_runs=flow_runs)}
    assert f"continue controller after {item.seen} of 800 images" in names
    assert {"train nafnet on 8 images", "evaluate nafnet on val", "report", "skip controller"} <= names
    logs = ask(environment, "logs/filter", logs={"flow_run_id": flow_runs["id"]}, limit=200, sort="TIMESTAMP_DESC")
    assert any("controller: names" in str(line["message"]) for line in logs), "the loop's lines are in the log"
    assert events(environment, "prefect.concurrency-limit.acquired", begun) == [], "with cpu nobody waits for a GPU"


def runs_into(environment: dict[str, str], run: Path) -> list[dict[str, Any]]:
    """Flow runs that train into that folder."""
    return [one for one in ask(environment, "flow_runs/filter") if one["parameters"].get("run") == str(run)]


def _state(environment: dict[str, str], run: str) -> str:
    (found,) = ask(environment, "flow_runs/filter", flow_runs={"id": {"any_": [run]}})
    return str(found["state_name"])


def test_interrupted_by_a_terminal(dataset: Path, alone: dict[str, str], tmp_path: Path) -> None:
    plan, run, log = write_plan(tmp_path / "plan"), tmp_path / "run", tmp_path / "train.log"
    with running(as_flow_run(dataset, run, plan), alone, log) as process:
        wait_for(lambda: states(run) >= 40, "a state", log)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert time.monotonic() - begun < 60
    assert "stopped; nothing is lost, run it again to continue" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not loops(run)
    assert plan_stages(load_plan(plan), dataset, run)[0].what == "goes on"
