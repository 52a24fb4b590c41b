"""The demo: what it lays out fits together, and its second half runs from recipe to restored photograph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import tomli_w
from typer.testing import CliRunner

from patina.flows import demo
from patina.flows.cli import demo as demo_command
from patina.flows.cli.app import app
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.parse import load_recipe
from patina.training.models.daclip import DEGRADATIONS
from patina.training.stages.plan import load_plan
from tests.flows.servers import artifact


def test_the_two_recipes_use_every_photograph_once_and_find_its_caption(tmp_path: Path) -> None:
    recipe, _ = demo.lay_out(tmp_path)
    training = demo.lay_out_training(tmp_path)
    for path, photographs in ((recipe, 6), (training.recipe, 12)):
        planned = plan_build(load_recipe(path), tmp_path / "out", Options())
        assert len(planned.wanted.sources) == photographs
        assert not planned.plan.captions  # none is left to be made by a model


def test_two_photographs_are_held_out_and_ten_degradations_are_learnt(tmp_path: Path) -> None:
    demo.lay_out(tmp_path)
    training = demo.lay_out_training(tmp_path)
    planned = plan_build(load_recipe(training.recipe), tmp_path / "out", Options())
    held = {Path(s.path).name for shard in planned.wanted.shards if shard.split == "val" for s in shard.sources}
    assert held == {"chelsea.png", "china.jpg"}
    assert {shard.degradation for shard in planned.wanted.shards} == set(DEGRADATIONS)


def test_what_is_there_stays(tmp_path: Path) -> None:
    demo.lay_out(tmp_path)
    demo.lay_out_training(tmp_path)
    changed = [tmp_path / "photos" / "coffee.png", tmp_path / "more" / "moon.png", tmp_path / "training.toml"]
    for path in changed:
        path.write_bytes(b"mine")
    demo.lay_out(tmp_path)
    demo.lay_out_training(tmp_path)
    assert all(path.read_bytes() == b"mine" for path in changed)


def test_what_does_not_beat_its_input_is_told() -> None:
    def row(stage: str, named: str, gain: str) -> dict[str, str]:
        return {"stage": stage, "named rightly": named, "gain": gain}

    good = [row("adapter", "40%", "–"), row("irsde", "94%", "+2.64")]
    assert demo.verdict(good) == [
        "better   than what came in, on photographs that no stage saw: adapter 40% named rightly of 10 words, "
        "irsde +2.64 dB"
    ]
    for bad in (row("controller", "10%", "–"), row("vlunet", "88%", "-0.10"), row("vlunet", "88%", "+0.00")):
        *_, last = demo.verdict([*good, bad])
        assert last.startswith("not yet  ") and bad["stage"] in last and "max_images in plan/" in last


def test_the_plan_is_tiny_but_for_its_lengths(tmp_path: Path) -> None:
    tiny, plan = load_plan("tiny"), load_plan(demo.lay_out_training(tmp_path).plan)
    assert set(plan) == set(demo.LENGTHS) == set(tiny) - {"nafnet"}
    for name, stage in plan.items():
        share = stage.max_images / tiny[name].max_images
        assert stage.max_images == demo.LENGTHS[name] and share <= 0.7
        assert stage.validation.every == stage.max_images, "at its end"
        assert stage.save_every == pytest.approx(tiny[name].save_every * share, abs=1)
        assert stage.optimiser.warmup == pytest.approx(tiny[name].optimiser.warmup * share, abs=1)
        kept = {"max_images": 0, "save_every": 0, "optimiser": stage.optimiser, "validation": stage.validation}
        assert replace(stage, **kept) == replace(tiny[name], **kept)


@pytest.fixture
def environment_kept() -> Iterator[None]:
    """The command sets variables for all that it starts until it ends, which is here not the end of the process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("prefect_api", "environment_kept")
def test_the_second_half_goes_from_recipe_to_restored_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a plan of a few images, two degradations, and the last stage with what it begins with. It is also what
    shows that a flow trains, evaluates and reports real stages, each once."""
    (tmp_path / "plan").mkdir()
    for name, stage in load_plan("tiny").items():
        table = stage.file_table() | {"max_images": 10, "save_every": 0}
        table["validation"] |= {"every": 10, "samples": 2, "side": 64}
        table["data"] |= {"batch": 10 if table["data"]["group"] else 4}
        table["data"]["entries"] = ["noisy", "low-light"] if table["data"]["entries"] else []
        del table["name"]
        (tmp_path / "plan" / f"{name}.toml").write_text(tomli_w.dumps(table), "utf-8")
    out = tmp_path / "demo"
    demo.lay_out(out)
    recipe = demo.lay_out_training(out).recipe
    head, _, _ = recipe.read_text("utf-8").partition("[degradations]")
    recipe.write_text(f"{head}[degradations.noisy]\n[degradations.low-light]\n", "utf-8")
    plain = demo.lay_out_training
    monkeypatch.setattr(
        demo,
        "lay_out_training",
        lambda out: replace(plain(out), plan=str(tmp_path / "plan"), stages=("vlunet",), per_entry=1, side=64),
    )
    monkeypatch.setattr(demo_command, "run_build", lambda *_: pytest.fail("the first half"))
    demo_command._train_demo(out)
    assert (out / "run" / "report.html").stat().st_size > 10_000
    with PIL.Image.open(out / "photo" / "noisy.png") as photo, PIL.Image.open(out / "restored" / "noisy.png") as done:
        assert photo.size == done.size and photo.tobytes() != done.tobytes()

    from patina.flows.end_to_end import train_end_to_end

    assert {path.parent.name for path in (out / "run").glob("*/evaluation.json")} == {"adapter", "vlunet"}
    assert "data:image/jpeg" in artifact("restored")
    assert "adapter: " in artifact("stage") or "vlunet: " in artifact("stage")
    where = {"out": str(out / "training-set"), "run": str(out / "run"), "plan": str(tmp_path / "plan")}
    options: dict[str, Any] = {"per_entry": 1, "side": 64, "lpips": False, "fid": False, "cpu": True}
    again = train_end_to_end(**where, stages=["vlunet"], **options)
    assert again.skipped == ("adapter", "vlunet")
    assert [row["stage"] for row in again.rows] == ["adapter", "vlunet"]


def test_the_second_half_is_refused_before_work_where_its_libraries_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code != 0 and not (tmp_path / "demo").exists()
