from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.resume import StageFolder
from patina.training.data.batches import Plan, load
from patina.training.data.index import read_index
from patina.training.errors import CheckpointError, ModelInputError, RunFailedError, StageCrashedError, StageError
from patina.training.jobs.stage import LaunchOptions, command, run_stage
from patina.training.loop import loop
from patina.training.loop.ema import MovingAverage
from patina.training.loop.job import Job
from patina.training.models.daclip import Features, joint_loss
from patina.training.objectives.contrastive import Contrastive
from patina.training.objectives.make import make_learner
from patina.training.restore.load import load_conditioner, load_restorer
from patina.training.restore.restorer import Restorer
from patina.training.runs.lineage import lineage
from patina.training.runs.plan import plan_stages
from patina.training.stages.plan import PLANS, load_plan
from patina.training.stages.stage import Ema
from tests.training.running import STAGES, small_dataset, stage, trained


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five stages, trained without a break."""
    folder = tmp_path_factory.mktemp("run")
    for name in STAGES:
        assert trained(stage(name), dataset, folder).finished
    return folder


def digest(run: Path, name: str) -> str:
    return checkpoint.load(run / name / "model.safetensors").digest


def copied(run: Path, folder: Path, *names: str) -> Path:
    for name in names:
        target = folder / name / "model.safetensors"
        target.parent.mkdir(parents=True)
        target.write_bytes((run / name / "model.safetensors").read_bytes())
        (target.parent / "done.json").write_bytes((run / name / "done.json").read_bytes())
    return folder


def test_stages_leave_what_their_folder_promises(run: Path) -> None:
    for name in STAGES:
        folder = StageFolder(run / name)
        rows = folder.rows()
        assert [row["seen"] for row in rows if "loss" in row][-1] == stage(name).max_images
        assert any(key.startswith("val_") for row in rows for key in row)
        assert folder.states() == []  # a finished stage needs none
        assert (run / name / "best.safetensors").exists()
    assert list((run / "irsde" / "samples").glob("*.png"))


def test_the_controller_alone_learns_and_clip_stays(run: Path) -> None:
    net = loop.make_learner(stage("controller"), read_index(_dataset_of(run), "train"), None).net
    before, after = dict(net.state_dict()), checkpoint.load(run / "controller" / "model.safetensors").tensors
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("controller.") for name in moved)
    assert not any(name.startswith("clip.") for name in moved)


def _dataset_of(run: Path) -> Path:
    return Path(json.loads((run / "paths.json").read_text())["dataset"])


@pytest.fixture(autouse=True, scope="module")
def _note(run: Path, dataset: Path) -> None:
    (run / "paths.json").write_text(json.dumps({"dataset": str(dataset)}))


@pytest.mark.parametrize("name", ["controller", "irsde"])
def test_stopped_and_gone_on_is_the_same_bit_for_bit(run: Path, dataset: Path, tmp_path: Path, name: str) -> None:
    """Before anything was saved, where a state is saved anyway, and between two of these."""
    if stage(name).after:
        copied(run, tmp_path, stage(name).after)
    for stop in (4, 16, 20):
        assert not trained(stage(name), dataset, tmp_path, stop_at=stop).finished
    assert trained(stage(name), dataset, tmp_path).finished
    assert digest(tmp_path, name) == digest(run, name)
    seen = [row["seen"] for row in StageFolder(tmp_path / name).rows() if "loss" in row]
    assert seen == sorted(set(seen))


def test_killed_between_states_and_a_damaged_state(run: Path, dataset: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "controller")
    trained(stage("irsde"), dataset, tmp_path, stop_at=20)
    folder = StageFolder(tmp_path / "irsde")
    assert [path.name for path in folder.states()] == [f"state-{n:012d}.safetensors" for n in (16, 20)]
    newest = folder.states()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert trained(stage("irsde"), dataset, tmp_path).finished
    assert digest(tmp_path, "irsde") == digest(run, "irsde")


def test_another_number_of_pieces_gives_nearly_the_same(run: Path, dataset: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "adapter")
    trained(stage("vlunet"), dataset, tmp_path, gradient_accumulation=2)
    one, two = (checkpoint.load(r / "vlunet" / "model.safetensors").tensors for r in (run, tmp_path))
    assert max(float((one[k] - two[k]).abs().max()) for k in one) < 1e-3


def test_out_of_memory_halves_what_is_seen_at_a_time(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path, "controller")
    forward = loop.Learner.__call__

    def scarce(self: Any, batch: Any) -> Any:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch)

    monkeypatch.setattr(loop.Learner, "__call__", scarce)
    result = trained(stage("irsde"), dataset, tmp_path)
    assert result.finished
    assert "4 images at a time: goes on with 2 at a time, 2 accumulated" in result.notes[0]
    # Not the logged losses: each is a mean over the steps of some seconds, which a busy machine divides otherwise.
    one, two = (checkpoint.load(r / "irsde" / "model.safetensors").tensors for r in (run, tmp_path))
    assert max(float((one[k] - two[k]).abs().max()) for k in one) < 1e-3


def test_out_of_memory_in_a_contrastive_batch_stops_with_advice(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(self: Any, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop.Learner, "__call__", scarce)
    with pytest.raises(RunFailedError, match=r"out of memory with 4 images.*cannot be split.*lower data\.batch"):
        trained(stage("controller"), dataset, tmp_path)


def test_numbers_that_are_not_finite_stop_it_before_they_are_saved(dataset: Path, run: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "controller")
    wild = stage("irsde", optimiser={"lr": 1e30}, max_images=64, validation={"every": 0})
    with pytest.raises(RunFailedError, match=r"the loss is (nan|inf).*lower optimiser\.lr"):
        trained(wild, dataset, tmp_path)
    for path in StageFolder(tmp_path / "irsde").states():
        assert all(bool(torch.isfinite(t).all()) for t in checkpoint.load(path).tensors.values())


def test_a_full_disk_leaves_the_earlier_state(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path, "controller")
    trained(stage("irsde"), dataset, tmp_path, stop_at=8)
    (earlier,) = StageFolder(tmp_path / "irsde").states()
    before = earlier.read_bytes()

    def full(tensors: object, path: Path, header: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(RunFailedError, match=r"No space left on device.*state-000000000008\.safetensors is intact"):
            trained(stage("irsde"), dataset, tmp_path)
    assert [p.read_bytes() for p in StageFolder(tmp_path / "irsde").states()] == [before]
    trained(stage("irsde"), dataset, tmp_path)
    assert digest(tmp_path, "irsde") == digest(run, "irsde")


def test_a_finished_stage_is_left_alone_and_a_changed_one_and_what_follows_are_trained(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    whole = copied(run, tmp_path, *STAGES)
    for name in STAGES:
        (whole / name / "stage.json").write_bytes((run / name / "stage.json").read_bytes())
    plan = {name: stage(name) for name in STAGES}
    assert [t.what for t in plan_stages(plan, dataset, whole)] == ["done"] * 5
    before = (whole / "controller" / "model.safetensors").stat().st_mtime_ns
    assert "nothing to do" in trained(plan["controller"], dataset, whole).notes[0]
    assert (whole / "controller" / "model.safetensors").stat().st_mtime_ns == before

    changed = plan | {"controller": stage("controller", optimiser={"lr": 2e-3})}
    found = {t.stage.name: (t.what, t.why) for t in plan_stages(changed, dataset, whole)}
    assert found["controller"] == ("train", "its optimiser changed")
    assert found["irsde"] == found["nafnet"] == ("train", "controller is trained first")
    assert found["adapter"][0] == found["vlunet"][0] == "done"

    looser = plan | {"irsde": stage("irsde", save_every=4, keep=1)}  # changes no weight
    assert [t.what for t in plan_stages(looser, dataset, whole)] == ["done"] * 5


def test_a_changed_dataset_trains_all_again(run: Path, tmp_path: Path) -> None:
    other = small_dataset(tmp_path, photos=6)
    found = plan_stages({name: stage(name) for name in STAGES}, other, run)
    assert found[0].what == "train"
    assert found[0].why == "the dataset changed"


def test_what_another_fingerprint_left_is_moved_aside(run: Path, dataset: Path, tmp_path: Path) -> None:
    trained(stage("controller", max_images=8), dataset, tmp_path)
    trained(stage("controller", max_images=12), dataset, tmp_path)
    assert json.loads((tmp_path / "controller.before" / "done.json").read_text())["seen"] == 8
    assert json.loads((tmp_path / "controller" / "done.json").read_text())["seen"] == 12


def test_a_restorer_restores_and_its_controller_names(run: Path, dataset: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    for name in ("irsde", "nafnet", "vlunet"):
        restorer = load_restorer(run, stage=name)
        condition = restorer.look(picture)
        assert sum(condition.degradations.values()) == pytest.approx(1, abs=1e-4)
        assert set(condition.degradations) == {"jpeg-compressed", "low-light", "noisy"}
        restored = restorer.restore(picture, condition=condition, seed=1)
        assert restored.shape == (3, 40, 52)
        assert torch.equal(restored, restorer.restore(picture, seed=1))


def test_states_that_a_sampler_starts_from(run: Path, dataset: Path) -> None:
    """With first = 1 all states are mu and noise, and the noise that stands for the clean image is the target."""
    index, made = read_index(dataset, "train"), stage("irsde", sde={"terminal_share": 1, "loss": "image", "eps": 0.3})
    conditioner = load_conditioner(run / "controller" / "model.safetensors")[0]
    learner = make_learner(made, index, conditioner)
    (batch,) = load(index, made.data, Plan(0, 4, 4), seed=0, view_side=64)
    asked: list[tuple[Any, ...]] = []

    class Knows(torch.nn.Module):
        def forward(self, x: torch.Tensor, mu: torch.Tensor, t: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
            asked.append((x, mu, t))
            return learner.sde.noise(x, batch.gt.float() / 255, mu, t)  # type: ignore[operator, union-attr]

    learner.net = Knows()
    assert learner(batch)["loss"].item() == pytest.approx(0, abs=1e-6)
    ((x, mu, t),) = asked
    assert (t == made.sde.steps).all()
    assert float((x - mu).std()) == pytest.approx(made.sde.max_sigma / 255, rel=0.1)
    later = make_learner(stage("irsde", sde={"init": "noise"}), index, conditioner)
    assert later.net.predict.bias.abs().max() == 0  # type: ignore[union-attr, operator]


def test_a_restorer_wants_the_controller_it_was_trained_on(run: Path, dataset: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "irsde")
    with pytest.raises(CheckpointError, match=r"steered by the stage 'controller'; expected it at"):
        load_restorer(tmp_path)
    trained(stage("controller", seed=5), dataset, tmp_path)
    with pytest.raises(CheckpointError, match=r"was trained on .*train the restorer again"):
        load_restorer(tmp_path, stage="irsde")
    with pytest.raises(StageError, match="names degradations and restores nothing"):
        load_restorer(run / "controller")


def test_lineage_tells_where_a_model_comes_from(run: Path, dataset: Path) -> None:
    told = "\n".join(lineage(run / "irsde" / "model.safetensors"))
    for part in ("unet-daclip (tiny)", "irsde (sde)", digest(run, "controller"), "jpeg-compressed, low-light, noisy"):
        assert part in told
    with pytest.raises(CheckpointError, match="no such file"):
        lineage(run / "none.safetensors")


def test_texts_go_through_the_tower_once(run: Path) -> None:
    saved = json.loads((run / "controller" / "done.json").read_text())["saved"]
    assert saved["texts asked for"] == 2 * 24 + 2 * 3  # of 24 images, captions and words; the words in two validations
    captions = read_index(_dataset_of(run), "train").captions
    assert saved["texts computed"] == len(set(captions)) + 3


def test_what_cannot_be_trained_is_told_before_anything_is_written(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"8 photographs are compared"):
        trained(stage("controller", data={"batch": 8}, max_images=16), dataset, tmp_path)
    with pytest.raises(StageError, match="wants snowy"):
        trained(stage("controller", data={"entries": ["snowy"]}), dataset, tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        trained(stage("irsde"), dataset, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_stage_is_refused(run: Path, dataset: Path, tmp_path: Path) -> None:
    job = Job(stage("irsde").table(), str(dataset), str(tmp_path), str(run / "adapter" / "model.safetensors"))
    with pytest.raises(StageError, match=r"starts from a stage of `contrastive`; .*adapter.* is `prompts`"):
        loop.train(job)


@pytest.mark.slow
def test_metrics_for_tensorboard_go_on_after_a_stop(dataset: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(stage("adapter"), dataset, tmp_path, tensorboard=True, stop_at=8)
    trained(stage("adapter"), dataset, tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "adapter" / "tensorboard"))
    events.Reload()
    rows = {row["seen"]: row["loss"] for row in StageFolder(tmp_path / "adapter").rows() if "loss" in row}
    found = {event.step: event.value for event in events.Scalars("loss")}
    assert found == pytest.approx(rows, rel=1e-6)


def test_average() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = MovingAverage(net, Ema(decay=0.9))
    torch.nn.init.ones_(net.weight)
    for step in range(5):
        average.update(net, step)
    assert float(average.tensors["weight"]) == pytest.approx(1 - 0.9**5, rel=1e-6)
    average.exchange(net)
    assert net.weight.item() == pytest.approx(1 - 0.9**5, rel=1e-6)
    assert float(average.tensors["weight"]) == 1
    published = MovingAverage(net, Ema(decay=0.995, every=10, published=True))
    assert published.decay_at(7) is None
    assert published.decay_at(100) == 0
    assert published.decay_at(110) == pytest.approx(1 - 11 ** (-2 / 3))
    assert published.decay_at(100_000) == 0.995


def test_commands_of_one_and_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(Path("j"), LaunchOptions(cpu=True)) == [sys.executable, "-P", "-m", "patina.training.loop", "j"]
    assert "torch.distributed.run" in command(Path("j"), LaunchOptions(cpu=True, processes=2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    told = command(Path("j"), LaunchOptions())
    assert told[3] == "accelerate.commands.launch"
    assert told[told.index("--num_processes") + 1] == "2"
    assert "--multi_gpu" in told


def test_plans_that_come_with_patina_are_sound() -> None:
    for plan in PLANS:
        for name, made in load_plan(plan).items():
            assert made.name == name
    paper = load_plan("paper")
    assert paper["irsde"].steps == 700_000
    assert paper["controller"].data.batch == 4 * 784


@pytest.mark.slow
def test_two_processes_are_one_with_the_double_batch(run: Path, dataset: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "controller", "adapter")
    device = LaunchOptions(cpu=True, processes=2, workers=0, threads=1)
    lines: list[str] = []
    for name in ("irsde", "vlunet"):
        run_stage(stage(name), dataset, tmp_path, device, lines.append)
        one, two = (checkpoint.load(r / name / "model.safetensors").tensors for r in (run, tmp_path))
        assert max(float((one[k] - two[k]).abs().max()) for k in one) < 1e-3
        losses = [
            {row["seen"]: row["loss"] for row in StageFolder(r / name).rows() if "loss" in row} for r in (run, tmp_path)
        ]
        last = stage(name).max_images
        assert losses[0][last] == pytest.approx(losses[1][last], rel=1e-3)


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again(run: Path, dataset: Path, tmp_path: Path) -> None:
    """SIGKILL and SIGTERM at moments spread over the run, then to the end: the bits of an undisturbed run."""
    copied(run, tmp_path, "controller")
    rng = np.random.default_rng(1)
    long = stage("irsde", max_images=240, save_every=20, validation={"every": 0})
    job = Job(long.table(), str(dataset), str(tmp_path), str(tmp_path / "controller/model.safetensors"), 0, True)
    path = job.save(tmp_path / "job.json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for k in range(6):
        process = subprocess.Popen([sys.executable, "-m", "patina.training.loop", str(path)], env=environment)
        states = StageFolder(tmp_path / "irsde")
        began, first = time.monotonic(), len(states.states())
        while len(states.states()) == first and process.poll() is None and time.monotonic() - began < 60:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.3)))
        process.send_signal(signal.SIGKILL if k % 2 else signal.SIGTERM)
        assert process.wait(60) in (-9, -15, 3, 0)  # -15: asked before it listens
    subprocess.run([sys.executable, "-m", "patina.training.loop", str(path)], env=environment, check=True, timeout=120)
    whole = copied(run, tmp_path / "whole", "controller")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained(long, dataset, whole)
    finally:
        torch.set_num_threads(threads)
    assert digest(tmp_path, "irsde") == digest(whole, "irsde")


@pytest.mark.slow
def test_a_stage_ends_when_nobody_waits_for_it(run: Path, dataset: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "controller")
    long = stage("irsde", max_images=400_000, save_every=0, validation={"every": 0})
    code = (
        "import json, sys; from pathlib import Path; from patina.training.jobs.stage import *\n"
        "from patina.training.stages.plan import parse_table\n"
        "run_stage(parse_table(json.load(open(sys.argv[1])), 'irsde'), Path(sys.argv[2]), Path(sys.argv[3]), "
        "LaunchOptions(cpu=True, workers=0))"
    )
    table = tmp_path / "stage.json"
    table.write_text(json.dumps(long.table()))
    waiting = subprocess.Popen([sys.executable, "-c", code, str(table), str(dataset), str(tmp_path)])
    beat = tmp_path / "irsde" / "heartbeat"
    _until(beat.exists)
    waiting.kill()
    waiting.wait()
    folder = StageFolder(tmp_path / "irsde")
    _until(lambda: bool(folder.states()))  # it notices, saves and ends
    with folder.held():
        assert folder.latest()[0] is not None


def _until(true: Any, seconds: float = 60) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)


@pytest.mark.slow
def test_a_hung_stage_is_ended(run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from patina.training.jobs import stage as runs

    monkeypatch.setattr(runs, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(StageCrashedError, match="no sign of life"):
        run_stage(stage("controller"), dataset, tmp_path, LaunchOptions(cpu=True, patience=1))


@pytest.mark.slow
def test_errors_of_a_stage_come_through_its_process(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="wants snowy"):
        run_stage(
            stage("controller", data={"entries": ["snowy"]}), dataset, tmp_path, LaunchOptions(cpu=True), lambda _: None
        )


def test_captions_are_compared_within_groups_and_degradations_over_the_batch(dataset: Path) -> None:
    made = stage("controller", data={"group": 2})
    index = read_index(dataset, "train")
    learner = make_learner(made, index, None)
    (batch,) = load(index, made.data, Plan(0, 4, 4), seed=0, view_side=64)
    found = learner(batch)
    image, degra = learner.net.encode_image(batch.view, normalize=True)  # type: ignore[operator]
    texts = [learner._texts(t) for t in (batch.captions, [learner.degradation_texts[e] for e in batch.entries])]  # type: ignore[attr-defined]
    features, scale = Features(image, texts[0], degra, texts[1]), learner.net.logit_scale
    halves = [joint_loss(Features(*(f[part] for f in features)), scale) for part in (slice(0, 2), slice(2, 4))]  # type: ignore[arg-type]
    assert found["caption"].item() == pytest.approx(np.mean([half.caption.item() for half in halves]), rel=1e-5)
    assert found["degradation"].item() == pytest.approx(joint_loss(features, scale).degradation.item(), rel=1e-5)  # type: ignore[arg-type]
    assert found["loss"].item() == pytest.approx(found["caption"].item() + found["degradation"].item(), rel=1e-6)


def test_steering_is_frozen(run: Path) -> None:
    conditioner, degradations, texts = load_conditioner(run / "controller" / "model.safetensors")
    assert not any(p.requires_grad for p in conditioner.net.parameters())
    assert texts.shape == (len(degradations), conditioner.width)


@pytest.mark.parametrize("name", ["controller", "irsde", "vlunet"])
def test_a_validation_that_is_not_finite_stops_the_training_and_no_model_is_written(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if stage(name).after:
        copied(run, tmp_path, stage(name).after)

    def spoil(learner: Any) -> None:
        next(p for p in reversed(list(learner.net.parameters())) if p.requires_grad).data.fill_(float("nan"))

    monkeypatch.setattr(loop.Learner, "after_step", spoil)
    monkeypatch.setattr(Contrastive, "after_step", spoil)
    every = {"every": stage(name).data.batch}
    with pytest.raises(RunFailedError, match=rf"stage {name}: .*(not finite|NaN or infinity).* near image \d+; lower"):
        trained(stage(name, validation=every, ema={"decay": 0.0}), dataset, tmp_path)
    left = [path.name for path in (tmp_path / name).glob("*.safetensors")]
    assert left == []
    assert not (tmp_path / name / "done.json").exists()


def test_weights_that_are_not_finite_after_the_last_step_are_no_model(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path, "adapter")
    short = stage("vlunet", max_images=4, validation={"every": 0})

    def spoil(learner: Any) -> None:
        next(reversed(list(learner.net.parameters()))).data.fill_(float("inf"))

    monkeypatch.setattr(loop.Learner, "after_step", spoil)
    with pytest.raises(RunFailedError, match=r"tensors hold NaN or infinity: output\.weight .*no state was saved yet"):
        trained(short, dataset, tmp_path)
    assert not list((tmp_path / "vlunet").glob("*.safetensors"))


def test_a_state_whose_weights_are_not_finite_is_passed_over(run: Path, dataset: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, "controller")
    trained(stage("irsde"), dataset, tmp_path, stop_at=20)
    folder = StageFolder(tmp_path / "irsde")
    held = checkpoint.load(folder.states()[-1])
    name = next(name for name in held.tensors if name.startswith("net."))
    held.tensors[name].view(-1)[0] = float("nan")
    checkpoint.write(held, folder.states()[-1])
    state, (trouble,) = folder.latest()
    assert state
    assert state.seen == 16
    assert f"tensors hold NaN or infinity: {name.removeprefix('net.')} (1 of " in trouble


def test_a_validation_sample_that_the_network_cannot_take_is_left_out_with_a_note(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path, "adapter")
    restore, asked = Restorer.restore, list[int]()

    def picky(self: Any, photo: Any, **how: Any) -> Any:
        asked.append(how["seed"])
        if how["seed"] == 0 or len(asked) > 4:
            raise ModelInputError("images of 48×3 px are too small")
        return restore(self, photo, **how)

    monkeypatch.setattr(Restorer, "restore", picky)
    brief = stage("vlunet", max_images=4, validation={"every": 4, "samples": 3})
    result = trained(brief, dataset, tmp_path)
    assert result.finished
    (note,) = result.notes
    assert note.startswith("1 picture left out of every mean: ")
    assert note.endswith(": images of 48×3 px are too small")
    with pytest.raises(StageError, match=r"stage vlunet: no validation sample can be restored: .* too small"):
        trained(stage("vlunet", max_images=8, validation={"every": 4, "samples": 3}), dataset, tmp_path)
