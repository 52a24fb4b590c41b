"""A tiny file of each published form is used for everything: it restores, is evaluated, is built upon, and steers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from patina.training import official
from patina.training.checkpoints import model as checkpoint
from patina.training.errors import CheckpointError, ModelInputError, StageError
from patina.training.evaluation.results import Classification, Evaluation
from patina.training.jobs.evaluation import Options
from patina.training.jobs.model_evaluation import Model, evaluate_model, is_model
from patina.training.jobs.readiness import expect_trainable
from patina.training.jobs.stage import LaunchOptions
from patina.training.models import clip_adapter, daclip, nafnet, unet, vlunet
from patina.training.models.plain_clip import PlainClip
from patina.training.restore.load import load_model, load_restorer
from patina.training.runs.plan import plan_stages
from patina.training.stages.plan import load_plan
from tests.pipeline.making import picture
from tests.training.restore.test_published import WILD
from tests.training.restore.test_restorer import ADAPTED, CLIP, UNET, VLUNET
from tests.training.running import small_dataset, stage, trained

QUICK = Options(per_entry=1, lpips=False, fid=False, cpu=True, sampler="fast-ode", steps=1)
SIX = {"max_images": 4, "validation": {"every": 0}, "save_every": 0}


@dataclass(frozen=True)
class Files:
    """The released files at tiny size."""

    unet: Path
    wild: Path
    irsde: Path
    nafnet: Path
    vlunet: Path
    daclip: Path
    wild_clip: Path
    tuned: Path
    clip: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("released")
    torch.manual_seed(5)
    clip, adapted = daclip.DaClip(CLIP), clip_adapter.AdaptedClip(ADAPTED)
    nets: dict[str, nn.Module] = {
        "universal-ir.pth": unet.UNet(UNET),
        "wild-ir.pth": unet.UNet(WILD),
        "ir-sde-derainH100.pth": unet.UNet(unet.NO_CONTEXT_TINY),
        "refusion.pth": nafnet.NAFNet(nafnet.TINY),
        "daclip_ViT-B-32.pt": clip,
        "wild-daclip.pt": daclip.DaClip(CLIP),
        "clip_tuned.pth": adapted,
    }
    for name, net in nets.items():
        official.save(net, folder / name)
    official.save(vlunet.VluNet(VLUNET), folder / "nhrbl.ckpt", degradation_model=adapted)
    bare = clip.clip.state_dict()
    torch.save({name: tensor for name, tensor in bare.items() if name != "attn_mask"}, folder / "laion2b.pt")
    return Files(*(folder / name for name in [*list(nets)[:4], "nhrbl.ckpt", *list(nets)[4:], "laion2b.pt"]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("dataset"), photos=8)


RESTORERS = {
    "unet": "daclip",
    "wild": "wild_clip",
    "irsde": None,
    "nafnet": None,
    "vlunet": None,
    "vlunet by its adapters": "tuned",
}


def parts(files: Files, name: str) -> tuple[Path, Path | None]:
    steering = RESTORERS[name]
    return getattr(files, name.partition(" ")[0]), getattr(files, steering) if steering else None


@pytest.mark.parametrize("name", RESTORERS)
def test_every_restorer_restores_and_is_evaluated(files: Files, dataset: Path, tmp_path: Path, name: str) -> None:
    path, steering = parts(files, name)
    restorer = load_model(path, steering=steering, device="cpu")
    assert restorer.notes == ()
    assert (restorer.sde.max_sigma if restorer.is_diffusion else 50) == (10 if name == "irsde" else 50)
    how = {"sampler": "fast-ode", "steps": 1} if restorer.is_diffusion else {}
    assert restorer.restore(picture(40, 32), **how).shape == (3, 32, 40)  # type: ignore[arg-type]

    found = evaluate_model(Model(path, steering), dataset, tmp_path / "out", QUICK)
    assert isinstance(found, Evaluation)
    assert found.stage == path.name
    assert [row.entry for row in found.rows] == ["jpeg-compressed", "low-light", "noisy"]
    assert Evaluation.from_json((tmp_path / "out" / "evaluation.json").read_text()) == found
    assert f"**{path.name}**" in (tmp_path / "out" / "evaluation.md").read_text()
    assert (tmp_path / "out" / "evaluation" / "noisy.png").is_file()
    assert (found.rows[2].accuracy is None) == (name in ("irsde", "nafnet", "wild"))  # the wild's words are others


CLIPS = {
    "daclip": None,
    "wild_clip": None,
    "clip": None,
    "tuned": "daclip",
    "tuned by the other": "vlunet",
    "tuned by clip": "clip",
}


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_names_degradations(files: Files, dataset: Path, tmp_path: Path, name: str) -> None:
    path = getattr(files, name.partition(" ")[0])
    base = getattr(files, str(CLIPS[name])) if CLIPS[name] else None
    found = evaluate_model(Model(path, base=base), dataset, tmp_path / "out", QUICK)
    assert isinstance(found, Classification)
    assert found.stage == path.name
    assert set(found.degradations) == set(clip_adapter.PROMPTS if name.startswith("tuned") else daclip.DEGRADATIONS)
    assert Classification.from_json((tmp_path / "out" / "evaluation.json").read_text()) == found


def test_clip_zero_shot_compares_its_image_features_with_the_names(files: Files) -> None:
    from patina.training.evaluation.evaluate import looker

    net = PlainClip(CLIP)
    whole = daclip.DaClip(CLIP)
    official.load(files.daclip, into=whole)
    net.clip.load_state_dict(whole.clip.state_dict())
    looks = looker(files.clip, "cpu")
    image = picture(64, 64)
    features = looks.look(image).contexts["degradation_context"]
    assert looks.conditioner
    from patina.training.data.views import clip_view

    view = clip_view(image, CLIP.image_size)[None]
    assert torch.allclose(features, whole.encode_image(view, control=False), atol=1e-6)
    shares = looks.look(image).degradations
    wanted = daclip.degradation_probabilities(features, looks._texts)[0]  # type: ignore[arg-type]
    assert shares == pytest.approx(dict(zip(daclip.DEGRADATIONS, wanted.tolist(), strict=True)))


# Built upon

STARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "daclip": ("controller", {}),
    "vlunet": ("adapter", {"max_images": 8}),
    "tuned": ("adapter", {"max_images": 8}),
    "irsde": ("irsde", {"network": "unet-irsde", "after": "", "data": {"view": "none"}}),
    "nafnet": ("irsde", {"network": "nafnet-refusion", "after": "", "data": {"view": "none"}}),
    "unet": ("irsde", {"after": "daclip"}),
    "wild": ("irsde", {"network": "unet-wild", "settings": {}, "after": "wild_clip"}),
    "vlunet by itself": ("vlunet", {"after": "vlunet"}),
    "vlunet by its adapters": ("vlunet", {"after": "vlunet"}),
}


def built_upon(files: Files, name: str, **more: Any) -> Any:
    what, changes = STARTS[name]
    changes = {**SIX, **changes, **more}
    if changes.get("after"):
        changes["after"] = str(getattr(files, changes["after"]))
    changes.setdefault("start", str(getattr(files, name.partition(" ")[0])))
    return stage(what, **changes)


@pytest.mark.parametrize("name", STARTS)
def test_a_stage_begins_with_a_published_file_and_is_steered_by_one(
    files: Files, dataset: Path, tmp_path: Path, name: str
) -> None:
    made = built_upon(files, name, optimiser={"lr": 1e-30, "min_lr": 0.0, "warmup": 0, "weight_decay": 0.0})
    plan = {made.name: made}
    (item,) = plan_stages(plan, dataset, tmp_path)
    assert item.what == "train"
    assert expect_trainable([item], dataset, tmp_path, LaunchOptions(cpu=True)) is not None
    assert trained(made, dataset, tmp_path).finished
    assert plan_stages(plan, dataset, tmp_path)[0].what == "done"

    # with a learning rate of next to nothing, what comes out is what went in
    held = checkpoint.load(tmp_path / made.name / "model.safetensors")
    network = "clip-adapter" if made.objective == "prompts" else None
    if name != "tuned":
        given = official.load(Path(made.start), network)[0].state_dict()
        assert all(torch.allclose(held.tensors[key], given[key], atol=1e-6) for key in held.tensors)
    assert held.notes["weights"].startswith(Path(made.start).name)
    if not made.names_degradations:
        assert load_restorer(tmp_path).restore(
            picture(32, 32), **({"steps": 1} if made.objective == "sde" else {})
        ).shape == (3, 32, 32)  # type: ignore[arg-type]


def test_a_start_of_another_network_or_size_is_refused_before_anything_is_trained(
    files: Files, dataset: Path, tmp_path: Path
) -> None:
    for changes, said in (
        ({"start": str(files.daclip)}, "holds daclip; expected unet"),
        ({"start": str(files.wild)}, "looks like unet, but"),
        ({"start": str(tmp_path / "none.pth")}, "No such file"),
        ({"settings": {"widths": [16, 32, 64]}}, "looks like unet, but"),
        ({"after": str(files.vlunet)}, "holds a CLIP of `prompts`; what steers this stage is of `contrastive`"),
        ({"after": str(files.irsde)}, "which names no degradations"),
    ):
        made = built_upon(files, "unet", **(changes if "after" not in changes else {}))
        made = replace(made, **({"after": changes["after"]} if "after" in changes else {}))
        with pytest.raises((StageError, CheckpointError), match=said):
            items = plan_stages({made.name: made}, dataset, tmp_path)
            expect_trainable(items, dataset, tmp_path, LaunchOptions(cpu=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": "weights.bin"}, "expected a file of weights"),
        ({"start": "a.pth", "sde": {"init": "noise"}}, "the network begins with one of them"),
    ],
)
def test_starts_that_cannot_be_are_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StageError, match=said):
        stage("irsde", **changes)
    with pytest.raises(StageError, match="is steered by nothing: to begin with its weights write start"):
        stage("controller", after="daclip_ViT-B-32.pt")


def test_files_are_found_beside_the_stage_and_decide_its_fingerprint_by_what_they_hold(
    files: Files, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
objective = "sde"
network = "unet-daclip"
size = "tiny"
max_images = 4
after = "../clip.pt"
start = "net.pth"
[data]
batch = 4
crop = 32
view = "patch"
[optimiser]
lr = 1e-3
"""
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "mine.toml").write_text(text)
    (tmp_path / "clip.pt").write_bytes(files.daclip.read_bytes())
    (tmp_path / "plan" / "net.pth").write_bytes(files.unet.read_bytes())
    plan = load_plan(tmp_path / "plan")
    run = tmp_path / "run"
    assert trained(plan["mine"], dataset, run).finished
    assert plan_stages(plan, dataset, run)[0].what == "done"
    monkeypatch.chdir(tmp_path / "plan")
    assert plan_stages(load_plan(Path("mine.toml")), dataset, run)[0].what == "done"

    moved = tmp_path / "moved.pt"
    (tmp_path / "clip.pt").rename(moved)
    with pytest.raises(CheckpointError, match=r"give its place by --steering"):
        load_restorer(run)
    with pytest.raises(CheckpointError, match="has the digest"):
        load_model(run, steering=files.wild_clip, device="cpu")
    assert load_model(run, steering=moved, device="cpu").conditioner

    (tmp_path / "clip.pt").write_bytes(files.wild_clip.read_bytes())
    assert "is another file" in plan_stages(plan, dataset, run)[0].why
    moved.rename(tmp_path / "clip.pt")
    (tmp_path / "plan" / "net.pth").write_bytes(b"other")
    assert "net.pth is another file" in plan_stages(plan, dataset, run)[0].why


def test_a_trained_model_is_a_start_and_is_evaluated_too(files: Files, dataset: Path, tmp_path: Path) -> None:
    first = stage("irsde", **SIX, network="unet-irsde", after="", data={"view": "none"})
    assert trained(first, dataset, tmp_path).finished
    model = tmp_path / "irsde" / "model.safetensors"
    second = replace(first, name="second", start=str(model))
    assert trained(second, dataset, tmp_path).finished
    assert checkpoint.load(tmp_path / "second" / "model.safetensors").notes["weights"].startswith("model.safetensors")
    for path in (model, model.parent):
        assert is_model(path)
        found = evaluate_model(Model(path), dataset, tmp_path / "out", QUICK)
        assert found.stage == "irsde"
    assert not is_model(tmp_path)
    with pytest.raises(ModelInputError, match="knows the equation"):
        evaluate_model(Model(model, sde="max_sigma=10"), dataset, tmp_path / "out", QUICK)


def test_a_controller_of_another_run_steers_by_its_file(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert trained(stage("controller", **SIX), dataset, other).finished
    file = other / "controller" / "model.safetensors"
    made = stage("irsde", after=str(file), **SIX)
    (item,) = plan_stages({"irsde": made}, dataset, tmp_path / "run")
    assert expect_trainable([item], dataset, tmp_path / "run", LaunchOptions(cpu=True)) == []
    assert trained(made, dataset, tmp_path / "run").finished
    restorer = load_restorer(tmp_path / "run")
    assert set(restorer.degradations) == {"jpeg-compressed", "low-light", "noisy"}
    assert plan_stages({"irsde": made}, dataset, tmp_path / "run")[0].what == "done"
