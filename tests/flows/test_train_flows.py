"""The flows of training: stages in order, each once, from where it stands; what is told, retried and refused."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from patina.flows.cli import prefect_env
from patina.flows.cli.app import app
from patina.flows.cli.options import ProtocolChoice, SamplerChoice, SplitChoice
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import DONE, MODEL, model_digest
from patina.training.checkpoints.model import Checkpoint
from patina.training.checkpoints.resume import StageFolder
from patina.training.data.dataset import dataset_digest
from patina.training.errors import StageCrashedError, StageError
from patina.training.jobs import evaluation as evaluating
from patina.training.jobs.evaluation import Candidate, Options, candidates, run_evaluation, run_report
from patina.training.jobs.stage import LaunchOptions
from patina.training.stages.plan import PLANS, load_plan
from patina.training.stages.stage import Stage
from tests.flows.servers import artifact
from tests.flows.test_events import Sent, sent  # noqa: F401
from tests.flows.test_gpu import limit, slots  # noqa: F401
from tests.training.running import STAGES, small_dataset, trained
from tests.training.running import stage as small

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]

EVERY = ["adapter", "controller", "irsde", "nafnet", "vlunet"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("data"))


def write_plan(folder: Path, **changes: dict[str, Any]) -> Path:
    """A plan's folder of the small stages; of `changes` by stage, a table's fields are merged."""
    folder.mkdir(exist_ok=True)
    for name in STAGES:
        table = small(name, **changes.get(name, {})).file_table()
        del table["name"]
        (folder / f"{name}.toml").write_text(tomli_w.dumps(table), "utf-8")
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return write_plan(tmp_path / "plan")


class Loop:
    """Stands in for stages' processes: leaves what they leave, and notes what was asked of it."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.devices: list[LaunchOptions] = []
        self.datasets: list[Path] = []
        self.before: Callable[[Stage], None] = lambda stage: None
        self.lines = ["{name} 8 of 24 images, 5 img/s, 3 s left, loss 0.5", '{{"seen": 24}}', "{name}: names 80%"]

    def __call__(
        self, stage: Stage, dataset: Path, run: Path, device: LaunchOptions, on_message: Callable[[str], None]
    ) -> Path:
        self.trained.append(stage.name)
        self.devices.append(device)
        self.datasets.append(dataset)
        self.before(stage)
        digest, start = dataset_digest(dataset), model_digest(run / stage.after) if stage.after else ""
        folder = StageFolder(run / stage.name)
        folder.open(stage, digest, start)
        for line in self.lines:
            on_message(line.format(name=stage.name))
        import torch

        fingerprint = stage.fingerprint(digest, start)
        weights = {"weight": torch.tensor([float(int(fingerprint[:4], 16))])}
        notes = {"stage": json.dumps(stage.table()), "fingerprint": fingerprint, "dataset": digest, "start": start}
        notes |= {"seen": str(stage.max_images), "words": '["noisy"]', "seed": "0", "patina": "0", "torch": "0"}
        model = checkpoint.write(Checkpoint(stage.network, {}, weights, notes), folder.path / MODEL)
        told = {"seconds": 3.0, "best": 0.8, "notes": ["halved"], "saved": {"texts computed": 4}}
        folder.finish({"fingerprint": fingerprint, "model": model, "seen": stage.max_images, **told})
        return folder.path / MODEL


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """No process is started for a stage, and none for the report; further tries come at once."""
    import patina.flows.train_stages as training_flow
    from patina.flows import training_steps

    stands_in = Loop()

    def reported(run: Path, dataset: Path, plan: object, skipped: object, on_message: object) -> Path:
        (run / "summary.md").write_text("all is well")
        (run / "report.html").write_text(f"skipped {skipped}")
        return run / "report.html"

    for module in (training_flow, training_steps):
        monkeypatch.setattr(module, "run_stage", stands_in)
        monkeypatch.setattr(module, "run_report", reported)
    monkeypatch.setattr(training_steps, "PAUSE", 0.0)
    for name in ("train_stage", "evaluate_stage"):
        monkeypatch.setattr(training_flow, name, getattr(training_flow, name).with_options(retry_delay_seconds=0))
    return stands_in


class Judge:
    """Stands in for evaluations' processes."""

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.datasets: list[Path] = []
        self.before: Callable[[], None] = lambda: None

    def __call__(
        self, candidate: Candidate, dataset: Path, options: Options, on_message: Callable[[str], None]
    ) -> Path:
        self.judged.append(candidate.stage.name)
        self.datasets.append(dataset)
        self.before()
        on_message(f"{candidate.stage.name} 2 of 4 images, 1.0 img/s, 2 s left")
        named = candidate.stage.names_degradations
        mean = {"count": 4, "accuracy": 0.75} if named else {"count": 4, "psnr": 27.0, "input_psnr": 24.5, "gain": 2.5}
        table = {"rows": [], "mean": mean, "notes": [] if named else ["LPIPS: not computed"]}
        (candidate.folder / "evaluation.json").write_text(json.dumps(table))
        fingerprint = evaluating.fingerprint_of(
            candidate.stage, model_digest(candidate.folder), dataset_digest(dataset), options
        )
        (candidate.folder / "evaluated.json").write_text(json.dumps({"fingerprint": fingerprint}))
        return candidate.folder / "evaluation.json"


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    import patina.flows.train_stages as training_flow
    from patina.flows import training_steps

    stands_in = Judge()
    for module in (training_flow, training_steps):
        monkeypatch.setattr(module, "run_evaluation", stands_in)
    return stands_in


def train(dataset: Path, run: Path, plan: Path, **options: Any) -> Any:
    from patina.flows.train_stages import train_stages

    return train_stages(str(dataset), str(run), str(plan), cpu=True, **options)


def task_states(run: Path, name: str, seconds: float = 20) -> set[str]:
    """The states of the task runs of that name in all flow runs on `run`; the server learns of them a little later."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    of_name = TaskRunFilter.model_validate({"name": {"any_": [name]}})
    deadline = time.monotonic() + seconds
    while True:
        with get_client(sync_client=True) as client:
            on_run = [
                one.id
                for one in client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)
                if one.parameters.get("run") == str(run)
            ]
            of_run = FlowRunFilter.model_validate({"id": {"any_": on_run}})
            found = {str(r.state_name) for r in client.read_task_runs(flow_run_filter=of_run, task_run_filter=of_name)}
        if (found and not found & {"Pending", "Running"}) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


# Stages


def test_stages_are_trained_in_order_once_and_all_of_it_is_told(
    dataset: Path,
    plan: Path,
    loop: Loop,
    sent: Sent,  # noqa: F811
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    done = train(dataset, run, plan, workers=0, pieces=2)
    assert loop.trained == ["adapter", "controller", "irsde", "nafnet", "vlunet"]
    assert set(loop.devices) == {LaunchOptions(0, 0, 0, cpu=True, gradient_accumulation=2)}
    assert [one.stage for one in done.outcomes] == EVERY
    assert (done.skipped, done.report) == ((), run / "report.html")
    assert "5 of 5 stages to train" in artifact("training-plan")
    assert "controller is trained first" in artifact("training-plan")
    assert "halved" in artifact("stage") and "texts computed: 4" in artifact("stage")
    assert "all is well" in artifact("training")
    assert (run / "report.html").as_uri() in artifact("report")

    told = sent.take()
    events = {payload["stage"]: payload for name, _, payload in told if name == "patina.stage.trained"}
    assert list(events) == EVERY
    assert events["irsde"]["digest"] == model_digest(run / "irsde")
    assert events["irsde"]["manifest"] == dataset_digest(dataset)
    assert {resource for name, resource, _ in told if name == "patina.stage.trained"} == {f"patina.run.{run}"}
    models = [resource for name, resource, _ in told if name == "prefect.asset.materialization.succeeded"]
    assert models == [f"patina:/{run}/{name}" for name in EVERY]
    parents = {resource for name, resource, _ in told if name == "prefect.asset.referenced"}
    assert {f"patina:/{dataset}/train", f"patina:/{run}/controller", f"patina:/{run}/adapter"} <= parents

    again = train(dataset, run, plan)
    assert loop.trained == EVERY, "nothing is trained twice"
    assert again.skipped == tuple(EVERY)
    assert sent.take() == []
    assert "skipped ('adapter'" in (run / "report.html").read_text()


def test_a_changed_file_trains_only_what_depends_on_it(dataset: Path, plan: Path, loop: Loop, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset, run, plan)
    loop.trained.clear()
    write_plan(plan, nafnet={"seed": 1})
    assert "its seed changed" in " ".join(str(row) for row in rows_of(plan, dataset, run))
    train(dataset, run, plan)
    assert loop.trained == ["nafnet"]
    assert task_states(run, "skip controller") == {"Skipped"}
    assert task_states(run, "train controller on 24 images") == {"Completed"}
    loop.trained.clear()
    write_plan(plan, nafnet={"seed": 1}, controller={"optimiser": {"lr": 2e-3}})
    train(dataset, run, plan)
    assert loop.trained == ["controller", "irsde", "nafnet"]
    loop.trained.clear()
    train(dataset, run, plan, stages=["vlunet"])
    assert loop.trained == []


def rows_of(plan: Path, dataset: Path, run: Path) -> list[dict[str, str]]:
    from patina.flows.training_artifacts import plan_rows
    from patina.training.runs.plan import plan_stages

    return plan_rows(plan_stages(load_plan(plan), dataset, run))


def test_a_stage_alone_brings_what_it_starts_from(dataset: Path, plan: Path, loop: Loop, tmp_path: Path) -> None:
    done = train(dataset, tmp_path / "run", plan, stages=["irsde"])
    assert loop.trained == ["controller", "irsde"]
    assert [one.score for one in done.outcomes] == ["80% named rightly", "0.80 dB"]


def test_a_stage_that_came_out_as_it_was_leaves_its_followers(
    dataset: Path, plan: Path, loop: Loop, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(dataset, run, plan)
    loop.trained.clear()
    (run / "controller" / DONE).unlink()  # as if it had been killed at the very end
    assert [row["what"] for row in rows_of(plan, dataset, run)] == ["done", "train", "train", "train", "done"]
    train(dataset, run, plan)
    assert loop.trained == ["controller"]


def test_a_process_that_dies_is_tried_again_and_what_it_refuses_is_not(
    dataset: Path, plan: Path, loop: Loop, tmp_path: Path
) -> None:
    deaths = iter([True, True, False])

    def dies(stage: Stage) -> None:
        if next(deaths):
            raise StageCrashedError("its process ended with status -9")

    loop.before = dies
    train(dataset, tmp_path / "one", plan, stages=["adapter"])
    assert loop.trained == ["adapter"] * 3
    loop.trained.clear()

    def refuses(stage: Stage) -> None:
        raise StageError("a setting must be mended")

    loop.before = refuses
    with pytest.raises(StageError, match="a setting must be mended"):
        train(dataset, tmp_path / "two", plan)
    assert loop.trained == ["adapter"]
    loop.trained.clear()
    deaths = iter([True] * 9)
    loop.before = dies
    with pytest.raises(StageCrashedError, match="status -9"):
        train(dataset, tmp_path / "three", plan)
    assert loop.trained == ["adapter"] * 3


def test_a_model_that_was_not_told_of_is_told_by_the_next_run(
    dataset: Path,
    plan: Path,
    loop: Loop,
    sent: Sent,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from patina.flows import training_assets

    run = tmp_path / "run"
    with monkeypatch.context() as away:
        away.setattr(training_assets, "server_answers", lambda: False)
        train(dataset, run, plan, stages=["adapter"])
    assert [name for name, _, _ in sent.take() if name.startswith("patina.")] == []
    train(dataset, run, plan, stages=["adapter"])
    assert [name for name, _, _ in sent.take() if name.startswith("patina.")] == ["patina.stage.trained"]
    assert loop.trained == ["adapter"]


@pytest.mark.usefixtures("limit")
def test_a_stage_holds_a_slot_unless_it_leaves_gpus_alone(
    dataset: Path, plan: Path, loop: Loop, tmp_path: Path
) -> None:
    from patina.flows.train_stages import train_stages

    taken: list[int] = []
    loop.before = lambda stage: taken.append(slots())
    train_stages(str(dataset), str(tmp_path / "a"), str(plan), stages=["adapter"])
    train_stages(str(dataset), str(tmp_path / "b"), str(plan), stages=["adapter"], cpu=True)
    assert taken == [1, 0]
    assert slots() == 0


# Lines


class Counted:
    """Events that are counted."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        raise AssertionError("a stage's begin is told before its process starts")

    def advance(self, count: int) -> None:
        self.counts.append(count)

    def end(self) -> None:
        raise AssertionError("and its end after it")


def test_lines_go_to_the_log_and_progress_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from patina.flows import training_log
    from patina.flows.watchers import listened_by

    heard: list[str] = []
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log, events = logging.getLogger("lines"), Counted()
    with caplog.at_level(logging.INFO, "lines"), listened_by(heard.append):
        lines = training_log.Lines(log, events, seen=1000)
        for seen in range(1100, 2600, 100):  # one each second
            lines(f"my stage {seen:,} of 4,000 images, 100 img/s, 9 s left, loss 0.25")
            now[0] += 1
        lines("my stage 400 of 4,000 images, 100 img/s, 9 s left, loss 0.25")  # gone back to an earlier state
        lines("my stage: names 50% of the validation samples")
        lines('{"seen": 4000, "finished": true, "seconds": 1.0}')
    assert sum(events.counts) == 1500 and min(events.counts) == 0
    assert heard == [record.getMessage() for record in caplog.records]
    assert [line.split(" of")[0] for line in heard[:2]] == ["my stage 1,100", "my stage 2,100"]
    assert heard[2:] == ["my stage: names 50% of the validation samples"]


# What is refused, before anything is written


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        ({}, {"stages": ["nobody"]}, "no stage 'nobody' in the plan; it has adapter, controller"),
        (
            {"adapter": {"data": {"entries": ["hazy"]}}},
            {},
            "stage adapter: .* wants hazy, and the split 'train'",
        ),
        ({"adapter": {"data": {"batch": 16}}}, {}, "stage adapter: a batch of 16, and .* has 15 samples to train on"),
        ({"controller": {"data": {"batch": 8}}}, {"stages": ["controller"]}, "stage controller: .*photographs"),
        ({}, {"pieces": 3}, "stage adapter: a batch of 8 over 1 processes in 3 pieces"),
        ({"vlunet": {"data": {"weights": {"hazy": 2.0}}}}, {"stages": ["vlunet"]}, "stage vlunet: weights for hazy"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is_written(
    dataset: Path, plan: Path, tmp_path: Path, changes: Any, options: Any, told: str
) -> None:
    with pytest.raises(StageError, match=told):
        train(dataset, tmp_path / "run", write_plan(plan, **changes), **options)
    assert not (tmp_path / "run").exists()


def test_datasets_and_plans_that_are_none_are_told_of(
    dataset: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from patina.training.jobs.readiness import expect_trainable
    from patina.training.runs.plan import plan_stages

    run = tmp_path / "run"
    with pytest.raises(StageError, match="no patina dataset"):
        train(tmp_path, run, plan)
    from patina.flows.train_stages import train_stages

    with pytest.raises(StageError, match="s3://bucket/name: train from a folder here"):
        train_stages("s3://bucket/name", str(run), str(plan))
    with pytest.raises(StageError, match=r"no plan '.*missing'; expected one of tiny"):
        train(dataset, run, tmp_path / "missing")
    with pytest.raises(StageError, match="after = 'controller', but the plan has only irsde"):
        train(dataset, run, plan / "irsde.toml")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(StageError, match="3 processes want as many GPUs, and this machine shows 2"):
        expect_trainable(plan_stages(load_plan(plan), dataset, run), dataset, run, LaunchOptions(3))
    assert not run.exists()


def test_a_dataset_without_a_validation_split_is_told_of(plan: Path, tmp_path: Path) -> None:
    from patina.pipeline.builder.build import build
    from tests.pipeline.making import photos, tiny_recipe

    photos(tmp_path / "photos", 12)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    with pytest.raises(StageError, match=r"stage adapter: .*no samples in the split 'val'"):
        train(tmp_path / "out", tmp_path / "run", plan)


# Evaluations


def evaluate(run: Path, dataset: Path, **options: Any) -> Any:
    from patina.flows.evaluate_run import evaluate_run

    return evaluate_run(str(run), str(dataset), cpu=True, **options)


def test_finished_stages_are_evaluated_once_for_each_kind_of_question(
    dataset: Path, plan: Path, loop: Loop, judge: Judge, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(dataset, run, plan, stages=["irsde", "nafnet"])
    first = evaluate(run, dataset)
    assert judge.judged == ["controller", "irsde", "nafnet"]
    by_stage = {row["stage"]: row for row in first.rows}
    assert (by_stage["controller"]["named rightly"], by_stage["controller"]["gain"]) == ("75%", "–")
    assert (by_stage["irsde"]["PSNR degraded"], by_stage["irsde"]["gain"]) == ("24.50", "+2.50")
    assert first.notes == ("irsde: LPIPS: not computed", "nafnet: LPIPS: not computed")
    assert "nafnet" in artifact("evaluation")
    assert evaluate(run, dataset).skipped == ("controller", "irsde", "nafnet")
    judge.judged.clear()
    evaluate(run, dataset, sampler="posterior", steps=3)
    assert judge.judged == ["irsde"], "a sampler matters to none but networks that estimate noise"
    judge.judged.clear()
    evaluate(run, dataset, stages=["nafnet"], per_entry=1)
    evaluate(run, dataset, stages=["nafnet"], per_entry=1, again=True)
    assert judge.judged == ["nafnet", "nafnet"]
    judge.judged.clear()
    write_plan(plan, nafnet={"seed": 1})
    train(dataset, run, plan, stages=["nafnet"])
    evaluate(run, dataset, stages=["nafnet"], per_entry=1)
    assert judge.judged == ["nafnet"], "another model"


def test_an_evaluation_that_dies_is_tried_again(
    dataset: Path, plan: Path, loop: Loop, judge: Judge, tmp_path: Path
) -> None:
    train(dataset, tmp_path / "run", plan, stages=["adapter"])
    deaths = iter([True, False])

    def dies() -> None:
        if next(deaths):
            raise StageCrashedError("the evaluation of adapter: its process ended with status -9")

    judge.before = dies
    evaluate(tmp_path / "run", dataset)
    assert judge.judged == ["adapter", "adapter"]


def test_what_cannot_be_evaluated_is_told_at_once(
    dataset: Path, plan: Path, loop: Loop, judge: Judge, tmp_path: Path
) -> None:
    from prefect.exceptions import ParameterTypeError

    run = tmp_path / "run"
    with pytest.raises(StageError, match="no such file or folder; expected the folder of a run"):
        evaluate(run, dataset)
    run.mkdir()
    with pytest.raises(StageError, match="no finished stage; `patina train`"):
        evaluate(run, dataset)
    train(dataset, run, plan, stages=["adapter"])
    for options, told in (
        ({"stages": ["irsde"]}, "no finished stage irsde; finished are adapter"),
        ({"split": "test"}, "stage adapter: .*no samples in the split 'test'"),
        ({"entries": ["hazy"]}, "stage adapter: .*wants hazy"),
    ):
        with pytest.raises(StageError, match=told):
            evaluate(run, dataset, **options)
    with pytest.raises(ParameterTypeError, match="sampler"):
        evaluate(run, dataset, sampler="euler")
    assert judge.judged == []


def test_squares_too_small_to_measure_are_told_of_where_a_restorer_is_evaluated(dataset: Path, tmp_path: Path) -> None:
    from patina.flows.training_steps import expect_evaluable

    named, restoring = (Candidate(small(name), tmp_path, False) for name in ("adapter", "vlunet"))
    with pytest.raises(StageError, match="side = 18; daclip measures from 19 px on each side"):
        expect_evaluable([named, restoring], dataset, Options(side=18))
    expect_evaluable([named], dataset, Options(side=18))
    expect_evaluable([named, restoring], dataset, Options(side=18, protocol="vlunet"))


def test_samplers_protocols_and_splits_are_those_that_there_are() -> None:
    from typing import get_args

    from patina.pipeline.format.layout import SPLITS
    from patina.training.diffusion.samplers import SAMPLERS
    from patina.training.evaluation.metrics import PROTOCOLS

    assert get_args(evaluating.SamplerName) == ("", *SAMPLERS) == ("", *(choice.value for choice in SamplerChoice))
    assert set(get_args(evaluating.ProtocolName)) == set(PROTOCOLS) == {choice.value for choice in ProtocolChoice}
    assert get_args(evaluating.SplitName) == SPLITS == tuple(choice.value for choice in SplitChoice)


# End to end


def test_end_to_end_builds_trains_evaluates_and_then_finds_nothing_to_do(
    plan: Path, loop: Loop, judge: Judge, tmp_path: Path
) -> None:
    from patina.flows.end_to_end import train_end_to_end
    from patina.pipeline.format.manifest import load_manifest

    small_dataset(tmp_path / "made")
    recipe, out, run = tmp_path / "made" / "recipe.toml", tmp_path / "out", tmp_path / "run"

    def end_to_end(**options: Any) -> Any:
        where: dict[str, Any] = {"recipe": str(recipe), **options}
        return train_end_to_end(str(out), str(run), plan=str(plan), stages=["adapter"], cpu=True, **where)

    with pytest.raises(StageError, match="no patina dataset"):
        end_to_end(recipe="")
    with pytest.raises(StageError, match="build there with `patina build`, then copy"):
        train_end_to_end("s3://bucket/out", str(run), str(recipe))
    done = end_to_end()
    assert load_manifest(out) is not None
    assert loop.trained == judge.judged == [row["stage"] for row in done.rows] == ["adapter"]
    before = (out / "manifest.json").stat().st_mtime_ns
    assert end_to_end().skipped == ("adapter",)
    assert (out / "manifest.json").stat().st_mtime_ns == before
    recipe.write_text(recipe.read_text() + "sigma = 5\n")
    end_to_end()
    assert loop.trained == judge.judged == ["adapter"] * 2


def test_each_stage_has_a_deployment_and_none_starts_by_itself() -> None:
    from patina.flows.deployments import OFFERS, RETRAIN, STAGES, TRIGGERS
    from patina.flows.end_to_end import train_end_to_end
    from patina.flows.events import DATASET_PUBLISHED

    assert set(STAGES) == {name for plan in PLANS for name in load_plan(plan)}
    made = {offer.name: offer.deployment() for offer in OFFERS}
    assert [made[f"train-{name}"].parameters for name in STAGES] == [{"stages": [name]} for name in STAGES]
    assert all(one.triggers == [] and one.schedules == [] for one in made.values())
    assert TRIGGERS["train-end-to-end"] is RETRAIN
    assert not RETRAIN.enabled
    assert RETRAIN.expect == {DATASET_PUBLISHED}
    assert RETRAIN.parameters is not None
    train_end_to_end.validate_parameters(RETRAIN.parameters)


# The command


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command leaves Prefect's settings in this process as other tests want them."""
    monkeypatch.setattr(prefect_env, "prepare_prefect", lambda level="WARNING": None)


def said(*words: object) -> str:
    """What the command says, in this process; it must succeed."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_stages_are_listed_and_copied_and_no_file_is_overwritten(tmp_path: Path) -> None:
    listed = said("stages")
    for name in PLANS:
        for one in load_plan(name).values():
            assert any(line.split()[:2] == [name, one.name] for line in listed.splitlines())
    assert "unet-daclip (paper)" in said("stages", "paper")
    said("stages", "tiny", "--out", tmp_path / "mine")
    assert load_plan(tmp_path / "mine") == load_plan("tiny")
    (tmp_path / "mine" / "irsde.toml").write_text("changed")
    failed = CliRunner().invoke(app, ["stages", "tiny", "--out", str(tmp_path / "mine")])
    assert "irsde.toml, nafnet.toml, vlunet.toml would be overwritten" in str(failed.exception)
    assert (tmp_path / "mine" / "irsde.toml").read_text() == "changed"
    unknown = CliRunner().invoke(app, ["stages", "tine", "--out", str(tmp_path / "x")])
    assert "no plan 'tine' to copy; expected tiny" in str(unknown.exception)


@pytest.mark.usefixtures("quiet")
def test_train_says_what_it_would_do_does_it_and_then_has_nothing_to_do(
    dataset: Path, plan: Path, loop: Loop, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["train", dataset, "--run", run, "--plan", plan, "--stage", "irsde", "--cpu"]
    rows = said(*words, "--dry-run").splitlines()
    assert [row.split()[:3] for row in rows[1:]] == [["controller", "train", "24"], ["irsde", "train", "24"]]
    assert not run.exists() and not loop.trained
    told = said(*words)
    assert "train controller on 24 images: not trained yet" in told
    assert "controller: names 80%" in told
    assert f"report   {run / 'report.html'}" in told
    assert [line.split() for line in told.splitlines() if line.startswith("irsde  ")] == [
        ["irsde", "24", "3", "s", "0.80", "dB"]
    ]
    assert "nothing was stale" not in told
    assert said(*words).count("as before") == 2
    assert loop.trained == ["controller", "irsde"]
    assert "starts from     controller, digest" in said("lineage", run / "irsde")
    assert said("lineage", run / "irsde" / "model.safetensors") == said("lineage", run / "irsde")


@pytest.mark.usefixtures("quiet")
def test_evaluate_prints_the_figures_and_then_has_nothing_to_do(
    dataset: Path, plan: Path, loop: Loop, judge: Judge, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(dataset, run, plan, stages=["nafnet"])
    words = ["evaluate", run, dataset, "--cpu", "--stage", "nafnet", "--no-fid"]
    told = said(*words)
    assert [line.split() for line in told.splitlines() if line.startswith("nafnet  ")] == [
        ["nafnet", "4", "24.50", "27.00", "+2.50"]
    ]
    assert "note nafnet: LPIPS: not computed" in told
    assert "nothing was stale" in said(*words)
    assert judge.judged == ["nafnet"]


def patina(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which then says what it had imported."""
    code = (
        "import sys; from patina.flows.cli.main import main\n"
        "try: main()\nfinally: print([name for name in ('prefect', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_where_nothing_is_stale_neither_prefect_nor_torch_is_loaded(
    dataset: Path, plan: Path, loop: Loop, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(dataset, run, plan, stages=["adapter"])
    done = patina("train", dataset, "--run", run, "--plan", plan, "--stage", "adapter")
    assert "nothing was stale" in done.stdout, done.stderr
    assert done.stdout.endswith("[]\n")
    wrong = patina("train", run, "--run", tmp_path / "other", "--plan", plan)
    assert (wrong.returncode, wrong.stdout) == (1, "[]\n")
    assert wrong.stderr.startswith("error  ") and "no patina dataset" in wrong.stderr
    strange = patina("lineage", plan / "irsde.toml")
    assert strange.returncode == 1 and "no patina checkpoint" in strange.stderr


# Real processes; that stages are trained, evaluated and reported in a flow is shown by cli/test_demo.py


@pytest.fixture(scope="module")
def real(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two small stages that were really trained, in this process."""
    run = tmp_path_factory.mktemp("real")
    for name in ("adapter", "vlunet"):
        trained(small(name), dataset, run)
    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs of evaluations are done in this process."""
    import io

    def run(job: dict[str, Any], what: str, on_message: Callable[[str], None]) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job)))
        assert evaluating.main() == 0

    monkeypatch.setattr(evaluating, "_run", run)
    yield


@pytest.mark.usefixtures("here")
def test_evaluations_leave_figures_and_pictures_and_hold(dataset: Path, real: Path) -> None:
    from patina.training.evaluation.results import Classification, Evaluation

    options = Options(lpips=False, fid=False, per_entry=1, cpu=True)
    for candidate in candidates(real, dataset, options):
        assert not candidate.held
        run_evaluation(candidate, dataset, options)
    assert [one.held for one in candidates(real, dataset, options)] == [True, True]
    named = Classification.from_json((real / "adapter" / "evaluation.json").read_text())
    restored = Evaluation.from_json((real / "vlunet" / "evaluation.json").read_text())
    assert named.mean.count == restored.mean.count == 3
    assert sorted(p.stem for p in (real / "vlunet" / "evaluation").iterdir()) == [
        "jpeg-compressed",
        "low-light",
        "noisy",
    ]
    assert restored.dataset == dataset_digest(dataset)
    (real / "vlunet" / "evaluation" / "hazy.png").write_bytes(b"of an earlier one")
    fewer = Options(lpips=False, fid=False, per_entry=1, entries=("noisy",), cpu=True)
    assert [one.held for one in candidates(real, dataset, fewer)] == [False, False]
    run_evaluation(candidates(real, dataset, fewer, ["vlunet"])[0], dataset, fewer)
    assert [p.name for p in (real / "vlunet" / "evaluation").iterdir()] == ["noisy.png"]
    page = run_report(real, dataset)
    assert "vlunet" in page.read_text() and "vlunet" in (real / "summary.md").read_text()


def test_a_failed_evaluation_leaves_the_earlier_one_and_says_why(
    dataset: Path, real: Path, here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import patina.training.evaluation.evaluate

    options = Options(lpips=False, fid=False, per_entry=1, entries=("noisy",), cpu=True)
    (candidate,) = candidates(real, dataset, options, ["vlunet"])
    run_evaluation(candidate, dataset, options)
    before = {p: p.read_bytes() for p in candidate.folder.rglob("*") if p.is_file()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(patina.training.evaluation.evaluate, "evaluate", full)
    with pytest.raises(AssertionError):
        run_evaluation(candidate, dataset, options)
    assert "patina: [Errno 28] No space left on device" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in candidate.folder.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_processes_that_refuse_die_or_are_alone(dataset: Path, real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(lpips=False, fid=False, per_entry=1, tile=20, overlap=15, cpu=True)
    (candidate,) = candidates(real, dataset, options, ["vlunet"])
    with pytest.raises(StageError, match="tiles of 20 px with an overlap of 15"):
        run_evaluation(candidate, dataset, options)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StageCrashedError, match="the evaluation of vlunet: its process ended with status 1"):
        run_evaluation(candidate, dataset, options)
