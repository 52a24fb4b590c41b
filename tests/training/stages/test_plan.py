from __future__ import annotations

import math
from pathlib import Path

import pytest

from patina.training.errors import StageError
from patina.training.objectives.base import settings_of
from patina.training.stages.plan import chosen, load_plan, ordered, parse_stage, plan_texts
from patina.training.stages.stage import Optimiser, Stage
from tests.training.running import stage

TEXT = """
objective = "sde"
network = "unet-no-context"
images = 160
[data]
batch = 16
crop = 64
[optimiser]
rate = 1e-3
"""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("imagess = 3", "unknown setting 'imagess'"),
        ("data = 3", "Cannot overwrite|no TOML"),
        ("precision = 'fp8'", "precision = 'fp8'.*fp32"),
        ("name = 'x'", "the name is the file's"),
        ("after = 'controller'\n", "a CLIP must see something"),
        ("network = 'unet'", "no TOML"),
        ("sde = {first = 1.5}", "sde.first = 1.5; expected a share"),
        ("sde = {loss = 'pictures'}", "loss = 'pictures'"),
    ],
)
def test_faults_are_told_with_their_place(change: str, told: str) -> None:
    with pytest.raises(StageError, match=f"stage mine: .*({told})"):
        parse_stage(change + "\n" + TEXT, "mine")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("batch = 16", "batch = 0", "batch = 0, images = 160"),
        ("batch = 16", "batch = 200", "batch = 200, images = 160"),
        ("batch = 16", "batch = 'many'", "data.batch = 'many'"),
        ("batch = 16", "", "data.batch is missing"),
        ("crop = 64", "crop = 8", "crop = 8; expected 16 px or more"),
        ("crop = 64", "", "batch = 16 of whole images"),
        ("crop = 64", "crop = 64\nview = 'patch'", "no CLIP looks at it"),
        ("crop = 64", "crop = 64\nweights = {noisy = -1}", "weight of noisy is -1"),
        ("crop = 64", "crop = 64\nweights = {noisy = 1}\nrepeats = {noisy = 2}", "write one of them"),
        ("rate = 1e-3", "rate = 0", "expected rate > 0"),
        ("rate = 1e-3", "rate = nan", "optimiser.rate = nan"),
        ("rate = 1e-3", "rate = 1e-3\nschedule = 'epochs'", "needs the images of an epoch"),
        ('"unet-no-context"', '"unet"', "network = 'unet'; expected one of"),
        ('"unet-no-context"', '"vlunet-7"', "`sde` trains unet or nafnet"),
        ('"sde"', '"direct"', "`direct` trains nafnet"),
    ],
)
def test_rules(old: str, new: str, told: str) -> None:
    with pytest.raises(StageError, match=told.replace("(", r"\(")):
        parse_stage(TEXT.replace(old, new), "mine")


def test_a_table_read_again_is_the_same_stage() -> None:
    made = parse_stage(TEXT, "mine")
    assert made.table() == parse_stage(TEXT + "\n[average]\ndecay = 0\n", "mine").table()
    assert made.fingerprint("d", "s") != made.fingerprint("e", "s") != made.fingerprint("e", "t")


def test_what_changes_weights_changes_the_fingerprint_and_nothing_else_does() -> None:
    base = stage("irsde").fingerprint("d", "s")
    for harmless in ({"save_every": 1}, {"keep": 9}, {"validation": {"samples": 1}}):
        assert stage("irsde", **harmless).fingerprint("d", "s") == base
    for other in ({"seed": 1}, {"data": {"crop": 48}}, {"optimiser": {"rate": 2e-3}}, {"average": {"decay": 0.5}}):
        assert stage("irsde", **other).fingerprint("d", "s") != base


def test_rates() -> None:
    cosine = Optimiser(rate=2.0, warmup=100, last=0.5)
    assert cosine.rate_at(0, 1100) == pytest.approx(0.02)
    assert cosine.rate_at(99, 1100) == pytest.approx(2.0)
    assert cosine.rate_at(600, 1100) == pytest.approx(1.25)
    assert cosine.rate_at(1100, 1100) == pytest.approx(0.5)
    assert Optimiser(rate=3.0, schedule="constant").rate_at(999, 1000) == 3.0
    epochs = Optimiser(rate=2e-4, schedule="epochs", epoch=10)
    assert epochs.rate_at(10, 2000) == pytest.approx(2e-4 / 14)
    assert epochs.rate_at(150, 2000) == pytest.approx(2e-4)
    assert epochs.rate_at(1999, 2000) == pytest.approx(1e-4 * (1 + math.cos(math.pi * 184 / 185)))


def test_order_and_choice() -> None:
    plan = load_plan("tiny")
    assert list(plan).index("controller") < list(plan).index("irsde")
    assert list(chosen(plan, ["irsde"])) == ["controller", "irsde"]
    assert chosen(plan, []) == plan
    with pytest.raises(StageError, match=r"no stage 'ir' in the plan; it has"):
        chosen(plan, ["ir"])
    with pytest.raises(StageError, match=r"after = 'controller', but the plan has only irsde"):
        ordered([stage("irsde")])
    with pytest.raises(StageError, match="starts from a stage of `contrastive`; adapter is `prompts`"):
        ordered([stage("irsde", after="adapter"), stage("adapter")])


def test_a_folder_and_a_file_are_plans_too(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no plan 'huge'; expected one of tiny, paper, nhrbl"):
        load_plan("huge")
    with pytest.raises(StageError, match="a folder without a TOML file"):
        load_plan(tmp_path)
    for name, text in plan_texts("tiny").items():
        (tmp_path / name).write_text(text)
    assert load_plan(tmp_path) == load_plan("tiny")
    assert list(load_plan(tmp_path / "adapter.toml")) == ["adapter"]


def test_settings_of_networks() -> None:
    def settings(**changes: object) -> object:
        return settings_of(stage("controller", **changes))

    assert settings().image_layers == 1  # type: ignore[attr-defined]
    with pytest.raises(StageError, match="daclip-b32 has no layers; it has"):
        settings(settings={"layers": 2})
    free = parse_stage(TEXT.replace("unet-no-context", "unet-daclip"), "mine")
    assert settings_of(free).image_context is None  # nothing steers it
    assert isinstance(free, Stage)


def test_the_papers_numbers() -> None:
    """Reference of the papers: batches, rates, lengths (DA-CLIP's tables, VLU-Net's section 4)."""
    paper = load_plan("paper")
    controller, irsde, vlunet = paper["controller"], paper["irsde"], paper["vlunet"]
    assert (controller.data.batch, controller.optimiser.rate, controller.optimiser.weight_decay) == (3136, 3e-5, 0.05)
    assert controller.optimiser.warmup == 100 * controller.data.batch
    assert (irsde.data.batch, irsde.data.crop, irsde.optimiser.betas) == (16, 256, (0.9, 0.99))
    assert irsde.optimiser.rate_at(irsde.images, irsde.images) == pytest.approx(1e-6)
    assert (vlunet.data.batch, vlunet.data.crop, vlunet.images) == (32, 128, 200 * vlunet.optimiser.epoch)
    shares = load_plan("nhrbl")["vlunet"].data.repeats
    assert shares["rainy"] == 120
    assert shares["noisy-25"] == 3
