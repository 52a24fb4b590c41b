from __future__ import annotations

import math
from pathlib import Path

import pytest

from patina.pipeline.recipe.parse import find_recipe
from patina.training.data.order import shares_of
from patina.training.errors import StageError
from patina.training.objectives.base import settings_of
from patina.training.stages.plan import (
    PLANS,
    chosen,
    load_plan,
    ordered,
    parse_file_table,
    parse_stage,
    parse_table,
    plan_texts,
)
from patina.training.stages.stage import STORED_NAMES, Optimiser, Stage, from_stored
from tests.training.running import stage

TEXT = """
objective = "sde"
network = "unet-no-context"
max_images = 160
[data]
batch = 16
crop = 64
[optimiser]
lr = 1e-3
"""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("max_imagess = 3", "unknown setting 'max_imagess'"),
        ("data = 3", "Cannot overwrite|no TOML"),
        ("precision = 'fp8'", "precision = 'fp8'.*fp32"),
        ("name = 'x'", "the name is the file's"),
        ("after = 'controller'\n", "a CLIP must see something"),
        ("network = 'unet'", "no TOML"),
        ("sde = {terminal_share = 1.5}", "sde.terminal_share = 1.5; expected a share"),
        ("sde = {loss = 'pictures'}", "loss = 'pictures'"),
    ],
)
def test_faults_are_told_with_their_place(change: str, told: str) -> None:
    with pytest.raises(StageError, match=f"stage mine: .*({told})"):
        parse_stage(change + "\n" + TEXT, "mine")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("batch = 16", "batch = 0", "batch = 0, max_images = 160"),
        ("batch = 16", "batch = 200", "batch = 200, max_images = 160"),
        ("batch = 16", "batch = 'many'", "data.batch = 'many'"),
        ("batch = 16", "", "data.batch is missing"),
        ("crop = 64", "crop = 8", "crop = 8; expected 16 px or more"),
        ("crop = 64", "", "batch = 16 of whole images"),
        ("crop = 64", "crop = 64\nview = 'patch'", "no CLIP looks at it"),
        ("crop = 64", "crop = 64\nweights = {noisy = -1}", "weight of noisy is -1"),
        ("crop = 64", "crop = 64\nweights = {noisy = 1}\nrepeats = {noisy = 2}", "write one of them"),
        ("lr = 1e-3", "lr = 0", "expected lr > 0"),
        ("lr = 1e-3", "lr = nan", "optimiser.lr = nan"),
        ("lr = 1e-3", "lr = 1e-3\nschedule = 'epochs'", "needs the images of an epoch"),
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
    assert made.table() == parse_stage(TEXT + "\n[ema]\ndecay = 0\n", "mine").table()
    assert made.fingerprint("d", "s") != made.fingerprint("e", "s") != made.fingerprint("e", "t")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT.replace("max_images", "images"), "there is no key 'images'; it is called max_images now"),
        ("clip = 'laion2b_s34b_b79k'\n" + TEXT, "there is no key 'clip'; it is called pretrained now"),
        (TEXT + "[words]\nnoisy = 'grain'\n", "there is no key 'words'; it is called prompts now"),
        (TEXT + "[average]\ndecay = 0.9\n", "there is no key 'average'; it is called ema now"),
        (TEXT.replace("crop", "square"), "[data] has no key 'square'; it is called square_probability now"),
        (TEXT.replace("lr =", "rate ="), "[optimiser] has no key 'rate'; it is called lr now"),
        (TEXT + "last = 1e-5\n", "[optimiser] has no key 'last'; it is called min_lr now"),
        (TEXT + "epoch = 10\n", "[optimiser] has no key 'epoch'; it is called epoch_size now"),
        (TEXT + "clip = 1.0\n", "[optimiser] has no key 'clip'; it is called max_grad_norm now"),
        (TEXT + "[sde]\nstart = 'noise'\n", "[sde] has no key 'start'; it is called init now"),
        (TEXT + "[sde]\nfirst = 0.3\n", "[sde] has no key 'first'; it is called terminal_share now"),
        (
            TEXT.replace("max_images", "images") + "last = 1e-5\n",
            "there is no key 'images'; it is called max_images now; "
            "[optimiser] has no key 'last'; it is called min_lr now",
        ),
    ],
)
def test_a_key_of_the_first_version_is_told_with_its_new_name(text: str, told: str) -> None:
    with pytest.raises(StageError) as error:
        parse_stage(text, "mine")
    assert str(error.value) == f"stage mine: {told}"


def test_every_renamed_key_is_one_of_a_stage_and_no_old_one_is() -> None:
    made = parse_stage(TEXT, "mine").file_table()
    for part, names in STORED_NAMES.items():
        keys = set(made[part] if part else made)
        assert set(names) <= keys
        assert not set(names.values()) & keys


@pytest.mark.parametrize("plan", PLANS)
def test_stored_tables_are_read_again(plan: str) -> None:
    for name, made in load_plan(plan).items():
        assert parse_table(made.table(), name) == made
        assert parse_file_table(made.file_table(), name) == made
        assert from_stored(made.table()) == made.file_table()


def test_stored_keys_keep_the_spelling_of_the_first_version() -> None:
    stored = load_plan("tiny")["irsde"].table()
    assert list(stored) == [
        *("name", "objective", "network", "data", "optimiser", "images", "size", "settings", "after", "clip", "words"),
        *("distance", "precision", "seed", "save_every", "keep", "average", "sde", "validation"),
    ]
    assert list(stored["optimiser"]) == [
        *("rate", "name", "betas", "eps", "weight_decay", "warmup", "schedule", "last", "epoch", "clip")
    ]
    assert list(stored["sde"]) == ["max_sigma", "steps", "schedule", "eps", "loss", "start", "first"]
    assert (stored["images"], stored["optimiser"]["last"], stored["sde"]["first"]) == (4000, 1e-5, 0.3)
    with pytest.raises(StageError, match=r"unknown setting 'optimiser\.lr'"):
        parse_table(stored | {"optimiser": {"lr": 1e-3}}, "irsde")
    with pytest.raises(StageError, match="unknown setting 'max_images'"):
        parse_table(stored | {"max_images": 3}, "irsde")


FINGERPRINTS = {
    "adapter": "87b66af62028ec91b979cb97ab2e88a42ec291a873e07adcb58262e976b7ef4d",
    "controller": "7d787dfc8f575a589e555894df9193002af2ca922a595c1f79a677400c52c45f",
    "irsde": "8e8ad65623d195f146accfcc3cafbf1e335038391295e1b524d13084a58d62ba",
    "nafnet": "d55396b2966b6bb8adbea9aa0a64cd29644b912b24ea57a7e2a0abf1656ca83b",
    "vlunet": "49bcb70768b64f093dae1d7da37ae79dac5a73d34a895b84fcc7e0fb991e6cd7",
}
"""Of the plan `tiny` as version 0.1.0 computed them, before keys were renamed."""


def test_fingerprints_are_those_of_stages_that_were_finished_before_keys_were_renamed() -> None:
    dataset, start = "d" * 64, "e" * 64
    plan = load_plan("tiny")
    found = {name: made.fingerprint(dataset, start if made.after else "") for name, made in plan.items()}
    assert found == FINGERPRINTS


def test_what_changes_weights_changes_the_fingerprint_and_nothing_else_does() -> None:
    base = stage("irsde").fingerprint("d", "s")
    for harmless in ({"save_every": 1}, {"keep": 9}, {"validation": {"samples": 1}}):
        assert stage("irsde", **harmless).fingerprint("d", "s") == base
    for other in ({"seed": 1}, {"data": {"crop": 48}}, {"optimiser": {"lr": 2e-3}}, {"ema": {"decay": 0.5}}):
        assert stage("irsde", **other).fingerprint("d", "s") != base


def test_rates() -> None:
    cosine = Optimiser(lr=2.0, warmup=100, min_lr=0.5)
    assert cosine.lr_at(0, 1100, 1) == pytest.approx(0.02)
    assert cosine.lr_at(99, 1100, 1) == pytest.approx(2.0)
    assert cosine.lr_at(600, 1100, 1) == pytest.approx(1.25)
    assert cosine.lr_at(1100, 1100, 1) == pytest.approx(0.5)
    assert Optimiser(lr=3.0, schedule="constant").lr_at(999, 1000, 1) == 3.0
    epochs = Optimiser(lr=2e-4, schedule="epochs", epoch_size=10)
    assert epochs.lr_at(10, 2000, 1) == pytest.approx(2e-4 / 14)
    assert epochs.lr_at(150, 2000, 1) == pytest.approx(2e-4)
    assert epochs.lr_at(1999, 2000, 1) == pytest.approx(1e-4 * (1 + math.cos(math.pi * 184 / 185)))


@pytest.mark.parametrize("batch", [1, 7, 3136])
def test_warm_up_is_the_published_one_step_by_step(batch: int) -> None:
    """DA-CLIP's code: lr (step + 1) / 100, then lr / 2 (1 + cos(pi (step - 100) / (total - 100)))."""
    warmup, total, lr = 100, 340, 3e-5
    optimiser = Optimiser(lr=lr, warmup=warmup * batch)
    for step in range(total):
        found = optimiser.lr_at(step * batch, total * batch, batch)
        wave = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        assert found == pytest.approx(lr * (step + 1) / warmup if step < warmup else lr * wave, rel=1e-12)


def test_steps_are_irsdes() -> None:
    """Halved after 200 000, 400 000 and 600 000 steps."""
    stages = load_plan("irsde")
    o, whole = stages["irsde"].optimiser, stages["irsde"].max_images
    at = {step: o.lr_at(step * 4, whole, 4) for step in (0, 199_999, 200_000, 400_000, 600_000, 699_999)}
    assert list(at.values()) == pytest.approx([1e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5, 1.25e-5])
    assert (stages["irsde"].sde.max_sigma, stages["nafnet"].sde.max_sigma) == (10, 50)
    lion = stages["nafnet"].optimiser
    assert (lion.name, lion.lr, lion.lr_at(whole, whole, 4)) == ("lion", 4e-5, pytest.approx(1e-7))


@pytest.mark.parametrize(
    ("optimiser", "told"),
    [
        ({"schedule": "steps"}, r"schedule = 'steps', milestones = \[\]"),
        ({"milestones": [4, 8]}, "schedule = 'cosine', milestones"),
        ({"schedule": "steps", "milestones": [8, 4]}, "expected numbers of images that rise"),
        ({"schedule": "steps", "milestones": [0, 4]}, "expected numbers of images that rise"),
        ({"schedule": "steps", "milestones": [4], "gamma": 2.0}, r"optimiser\.gamma = 2.0"),
    ],
)
def test_steps_that_cannot_be_are_told(optimiser: dict[str, object], told: str) -> None:
    with pytest.raises(StageError, match=told):
        stage("nafnet", optimiser=optimiser)


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
    with pytest.raises(StageError, match="no plan 'huge'; expected one of tiny, wild, paper, nhr, nhrbl, irsde"):
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
    assert (controller.data.batch, controller.optimiser.lr, controller.optimiser.weight_decay) == (3136, 3e-5, 0.05)
    assert controller.optimiser.warmup == 100 * controller.data.batch
    assert (irsde.data.batch, irsde.data.crop, irsde.optimiser.betas) == (16, 256, (0.9, 0.99))
    assert irsde.optimiser.lr_at(irsde.max_images, irsde.max_images, 16) == pytest.approx(1e-6)
    assert (vlunet.data.batch, vlunet.data.crop, vlunet.max_images) == (32, 128, 200 * vlunet.optimiser.epoch_size)


PHOTOGRAPHS = {"hazy": 72_135, "rainy": 200, "motion-blurry": 2_103, "low-light": 485}
"""Of the papers' training sets: OTS, Rain100L, GoPro, LOL; and of BSD400 with WED, on which noise is made:"""
CLEAN = 5_144


def shares_of_a_round(plan: str, stage: str) -> tuple[float, dict[str, float]]:
    """Images of one round by entry, on the dataset that the public recipe makes of the papers' sets."""
    recipe = find_recipe(Path(f"{plan}-public"))
    noisy = {name: CLEAN * made.variants_in("train") for name, made in recipe.degradations.items()}
    assert len(noisy) == 3
    data = load_plan(plan)[stage].data
    counts = noisy | {name: count for name, count in PHOTOGRAPHS.items() if name in ("hazy", "rainy") or "b" in plan}
    shares = dict(zip(counts, shares_of(list(counts), list(counts.values()), data.weights, data.repeats), strict=True))
    return sum(shares.values()), shares


@pytest.mark.parametrize(
    ("plan", "restorer", "adapter", "noise"), [("nhr", 142_431, 111_567, 0.325), ("nhrbl", 145_019, 114_155, 0.319)]
)
def test_a_round_is_as_long_as_the_papers_lists_and_noise_has_its_share(
    plan: str, restorer: int, adapter: int, noise: float
) -> None:
    """Of VLU-Net's lists 46 296 files are noisy, each of 15 432 thrice; its notebook has each once, 100 rounds."""
    total, shares = shares_of_a_round(plan, "vlunet")
    stages = load_plan(plan)
    assert total == stages["vlunet"].optimiser.epoch_size == stages["vlunet"].max_images / 200 == restorer
    noisy = sum(share for name, share in shares.items() if name.startswith("noisy"))
    assert noisy / total == pytest.approx(noise, abs=5e-4)
    assert shares["rainy"] == 24_000
    total, shares = shares_of_a_round(plan, "adapter")
    assert total == pytest.approx(adapter)
    assert stages["adapter"].max_images == 100 * adapter
    assert {name: share for name, share in shares.items() if name.startswith("noisy")} == pytest.approx(
        dict.fromkeys(("noisy-15", "noisy-25", "noisy-50"), CLEAN)
    )
    assert set(stages["adapter"].prompts) == set(shares)
