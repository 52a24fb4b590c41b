"""What `patina train` refuses, `--dry-run` refuses in the same words, and the stage's own process would too."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from typer.testing import CliRunner

from patina.flows import training_steps
from patina.flows.cli import prefect_env, training
from patina.flows.cli.app import app
from patina.flows.cli.user_errors import is_for_the_user
from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import SHARDS
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import DONE, MODEL
from patina.training.stages.plan import load_plan
from tests.pipeline.making import photos, tiny_recipe
from tests.training.running import small_dataset, stage, trained

ENTRIES = {"noisy": {"sigma": 25}, "jpeg-compressed": {}, "low-light": {}}


@dataclass
class Case:
    """A run that may be refused: its dataset, folder, plan by stage, and words for the command."""

    dataset: Path
    run: Path
    plan: dict[str, dict[str, Any]] = field(default_factory=lambda: {"adapter": {}})
    words: list[str] = field(default_factory=list)
    named: str = ""

    def write_plan(self, folder: Path) -> Path:
        folder.mkdir()
        for name, changes in self.plan.items():
            table = stage(name, **changes).file_table()
            del table["name"]
            (folder / f"{name}.toml").write_text(tomli_w.dumps(table), "utf-8")
        return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def finished(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose adapter and controller are done."""
    run = tmp_path_factory.mktemp("finished")
    for name in ("adapter", "controller"):
        trained(stage(name), sound, run)
    return run


def without_validation(case: Case, folder: Path) -> None:
    photos(folder / "photos", 12)
    build(tiny_recipe(folder, degradations=ENTRIES), folder / "other")
    case.dataset = folder / "other"


def without_training(case: Case, folder: Path) -> None:
    photos(folder / "photos", 3)
    build(tiny_recipe(folder, degradations=ENTRIES, split={"val": 1.0}), folder / "other")
    case.dataset = folder / "other"


def without_a_shard(case: Case, folder: Path) -> None:
    shutil.copytree(case.dataset, folder / "other", symlinks=True)
    case.dataset = folder / "other"
    next((case.dataset / SHARDS).glob("train-*-noisy.tar")).unlink()


def changed(name: str, **changes: Any) -> Callable[[Case, Path], None]:
    """That stage's settings, and what it starts from."""

    def change(case: Case, folder: Path) -> None:
        before = stage(name).after
        case.plan = {**({before: {}} if before else {}), name: changes}

    return change


def said(*words: str) -> Callable[[Case, Path], None]:
    def change(case: Case, folder: Path) -> None:
        case.words += words

    return change


def a_file_in_the_way(case: Case, folder: Path) -> None:
    case.run.write_text("notes")


def a_file_where_the_stage_goes(case: Case, folder: Path) -> None:
    case.run.mkdir()
    (case.run / "adapter").write_text("notes")


def a_folder_of_somebody_else(case: Case, folder: Path) -> None:
    photos(case.run / "adapter", 2)


def the_dataset_itself(case: Case, folder: Path) -> None:
    case.run = case.dataset


def no_dataset(case: Case, folder: Path) -> None:
    case.dataset = folder / "nothing"


def a_plan_for_another_dataset(case: Case, folder: Path) -> None:
    photos(folder / "photos", 12)
    noise = {f"noisy-{sigma}": {"use": "noisy", "sigma": sigma} for sigma in (15, 25, 50)}
    build(tiny_recipe(folder, degradations={**noise, "hazy": {}, "rainy": {}}, split={"val": 0.2}), folder / "nhr")
    case.dataset, case.named = folder / "nhr", "nhrbl"


def a_start_that_is_damaged(case: Case, folder: Path) -> None:
    case.plan = {"adapter": {}, "vlunet": {}}
    data = bytearray((case.run / "adapter" / MODEL).read_bytes())
    data[-9] ^= 1
    (case.run / "adapter" / MODEL).write_bytes(data)


def a_start_that_is_not_finite(case: Case, folder: Path) -> None:
    case.plan = {"adapter": {}, "vlunet": {}}
    held = checkpoint.load(case.run / "adapter" / MODEL)
    next(iter(held.tensors.values())).view(-1)[0] = float("nan")
    checkpoint.write(held, case.run / "adapter" / MODEL)


REFUSALS: dict[str, tuple[Callable[[Case, Path], None], str]] = {
    "no dataset": (no_dataset, "no patina dataset"),
    "a plan for other entries": (a_plan_for_another_dataset, "stage adapter: prompts of low-light, motion-blurry; the"),
    "an entry that is not there": (changed("adapter", data={"entries": ["hazy"]}), "wants hazy, and the split"),
    "no photographs to validate on": (without_validation, "stage adapter: .*no samples in the split 'val'"),
    "no photographs to train on": (without_training, "stage adapter: .*no samples in the split 'train'"),
    "a shard that is lost": (without_a_shard, "stage adapter: .*lacks 1 shard .* such as train-0000-noisy"),
    "a batch larger than the dataset": (changed("adapter", data={"batch": 24}), "a batch of 24, and .* has 15 samples"),
    "too few photographs": (changed("controller", data={"batch": 8}), "stage controller: 8 photographs are compared"),
    "pieces that do not divide": (said("--pieces", "3"), "stage adapter: a batch of 8 over 1 processes in 3 pieces"),
    "processes that do not divide": (said("--processes", "3"), "a batch of 8 over 3 processes"),
    "weights of what is not there": (changed("adapter", data={"weights": {"hazy": 2.0}}), "weights for hazy"),
    "weights of nothing": (changed("adapter", data={"weights": dict.fromkeys(ENTRIES, 0.0)}), "all weights are 0"),
    "prompts of what is not there": (changed("adapter", prompts={"hazy": "fog"}), "prompts of hazy; the dataset has"),
    "half precision on a CPU": (changed("adapter", precision="fp16"), "precision = 'fp16' wants a GPU"),
    "settings of another network": (changed("adapter", settings={"blocks": 3}), "clip-adapter-b32 has no blocks"),
    "settings of no network": (changed("adapter", settings={"patch_size": 7}), "stage adapter: "),
    "widths that differ": (changed("vlunet", settings={"width": 7}), "stage vlunet: width = 7, and adapter gives 64"),
    "pretrained nowhere": (changed("adapter", size="paper", settings={}, pretrained="x"), "'x' of .* neither a file"),
    "no such sampler": (changed("irsde", validation={"sampler": "slow"}), "stage irsde: no sampler 'slow'"),
    "too many steps": (changed("irsde", validation={"sampler": "ode", "steps": 500}), "500 steps of the sampler ode"),
    "no such equation": (changed("irsde", sde={"max_sigma": -1.0}), "stage irsde: .*max_sigma"),
    "a look at no samples": (changed("adapter", validation={"samples": 0}), "expected samples of 1 or more"),
    "a file in the way of the run": (a_file_in_the_way, "stage adapter: .*cannot be made, as .*run is no folder"),
    "a file in the way of it": (a_file_where_the_stage_goes, "adapter cannot be made, as .*adapter is no folder"),
    "a folder of photographs": (a_folder_of_somebody_else, r"adapter holds other files \(good-000.png, good-001.png\)"),
    "the dataset's own folder": (the_dataset_itself, "is the dataset; give the run a folder of its own"),
    "a stage that is not planned": (said("--stage", "nobody"), "no stage 'nobody' in the plan; it has adapter"),
    "a start that is damaged": (a_start_that_is_damaged, "damaged: its tensors have the digest"),
    "a start that is not finite": (a_start_that_is_not_finite, "model.safetensors: 1 of .* NaN or infinity"),
}  # fmt: skip
FINISHED = ("a start that is damaged", "a start that is not finite")

NOT_THE_LOOPS = (
    "no dataset", "pieces that do not divide", "processes that do not divide",
    "the dataset's own folder", "a stage that is not planned",
)  # fmt: skip
"""What is asked of the command alone, or in other words."""


@pytest.fixture(autouse=True)
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal comes before anything is begun."""
    monkeypatch.setattr(training_steps, "train_here", lambda *given: pytest.fail("the training was begun"))
    monkeypatch.setattr(prefect_env, "prepare_for_training", lambda: pytest.fail("the training was begun"))
    monkeypatch.setattr(training, "prepare_for_training", lambda: pytest.fail("the training was begun"))


def refusal(*words: object) -> str:
    """What the command says as it refuses."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(done.exception, Exception), done.output
    assert is_for_the_user(done.exception), done.exception
    return str(done.exception)


def tree(folder: Path) -> dict[str, bytes]:
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_a_dry_run_refuses_what_the_run_refuses_and_nothing_is_written(
    sound: Path, finished: Path, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    change, told = REFUSALS[name]
    case = Case(sound, tmp_path / "run")
    if name in FINISHED:
        shutil.copytree(finished, case.run)
    change(case, tmp_path)
    plan = case.named or case.write_plan(tmp_path / "plan")
    words = ["train", case.dataset, "--run", case.run, "--plan", plan, "--cpu", *case.words]
    before = tree(case.run)
    dry, real = refusal(*words, "--dry-run"), refusal(*words)
    assert dry == real
    assert re.search(told, dry), dry
    assert tree(case.run) == before
    if name not in NOT_THE_LOOPS:
        last = load_plan(plan)["adapter"] if case.named else list(load_plan(plan).values())[-1]
        if last.after and not (case.run / last.after / DONE).exists():
            shutil.copytree(finished / last.after, case.run / last.after)
        with pytest.raises(Exception, match=told) as caught:
            trained(last, case.dataset, case.run)
        assert is_for_the_user(caught.value)


@pytest.mark.parametrize(("changes", "named"), [({}, ""), ({"pretrained": ""}, "")])
def test_a_sound_run_is_only_told_of(sound: Path, tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    case = Case(sound, tmp_path / "deep" / "run", {"adapter": changes, "vlunet": {}, "controller": {}, "irsde": {}})
    words = ["train", sound, "--run", case.run, "--plan", case.write_plan(tmp_path / "plan"), "--cpu", "--dry-run"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.exception
    assert [row.split()[:2] for row in done.output.splitlines()[1:]] == [
        ["adapter", "train"],
        ["controller", "train"],
        ["irsde", "train"],
        ["vlunet", "train"],
    ]
    assert not (tmp_path / "deep").exists()


def test_samples_smaller_than_the_crops_are_counted_and_no_others(sound: Path, tmp_path: Path) -> None:
    case = Case(sound, tmp_path / "run", {"adapter": {"data": {"crop": 72}}, "vlunet": {"data": {"crop": 73}}})
    words = ["train", sound, "--run", case.run, "--plan", case.write_plan(tmp_path / "plan"), "--cpu", "--dry-run"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    (note,) = (line for line in done.output.splitlines() if line.startswith("note "))
    assert note.startswith("note stage vlunet: 15 of 15 samples are smaller than data.crop = 73 px on a side")


def test_a_folder_that_cannot_be_written_is_told_of(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and real(path, mode))
    case = Case(sound, tmp_path / "run")
    words = ["train", sound, "--run", case.run, "--plan", case.write_plan(tmp_path / "plan"), "--cpu", "--dry-run"]
    assert f"cannot be written, as {tmp_path} does not let us" in refusal(*words)


def test_a_library_that_only_the_stages_process_wants_is_told_of(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "accelerate" else real(name))
    words = ["train", sound, "--run", tmp_path / "run", "--cpu"]
    assert refusal(*words, "--dry-run") == refusal(*words)
    assert "need accelerate: pip install" in refusal(*words)


def test_gpus_that_torch_does_not_find_are_told_of(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    case = Case(sound, tmp_path / "run")
    words = ["train", sound, "--run", case.run, "--plan", case.write_plan(tmp_path / "plan")]
    told = refusal(*words, "--dry-run")
    assert told == refusal(*words)
    assert told.startswith("4 processes want as many GPUs, and torch finds 1: ")


def test_the_shipped_plans_networks_are_built_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from patina.training.loop.readiness import Width
    from patina.training.models import CATALOGUE
    from patina.training.objectives.base import settings_of

    plan = load_plan("tiny")
    for one in plan.values():
        width = Width(settings_of(plan[one.after]).embed_dim) if one.after else None
        with torch.device("meta"):
            net = CATALOGUE[one.network].build(settings_of(one, width))
        assert all(parameter.is_meta for parameter in net.parameters())
