"""The flow: the same dataset as without Prefect, its steps as task runs, its plan and results as artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from patina.captioning.captioner import Run
from patina.pipeline.builder.build import build
from patina.pipeline.errors import BuildError, SourceError
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import load_recipe
from tests.pipeline.builder.test_incremental import public_files
from tests.pipeline.making import picture, save

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]


def test_the_flow_gives_the_bytes_of_a_plain_build_and_records_what_it_did(recipe: Path, tmp_path: Path) -> None:
    from prefect.artifacts import Artifact
    from prefect.client.orchestration import get_client

    from patina.flows.build_dataset import build_dataset

    report = build_dataset(str(recipe), str(tmp_path / "flow"), workers=2)
    build(load_recipe(recipe), tmp_path / "plain")
    assert public_files(tmp_path / "flow").keys() >= public_files(tmp_path / "plain").keys()
    for name, digest in public_files(tmp_path / "plain").items():
        assert public_files(tmp_path / "flow")[name] == digest, name
    assert report.samples_written == 8

    for key, word in {"plan": "added", "summary": "noisy", "check": "ok", "gallery": "data:image/jpeg"}.items():
        artifact = Artifact.get(key)
        assert artifact is not None, key
        assert word in str(artifact.data), key
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_task_runs()}
    assert {"scan and plan", "publish", "check", "artifacts"} <= names
    assert any(name.startswith("build shards 1 of ") for name in names)


def test_a_second_run_finds_nothing_to_do(recipe: Path, tmp_path: Path) -> None:
    from patina.flows.build_dataset import build_dataset

    build_dataset(str(recipe), str(tmp_path / "out"), workers=1)
    assert build_dataset(str(recipe), str(tmp_path / "out"), workers=1).results == ()


def test_a_failing_batch_fails_the_flow_and_leaves_the_earlier_dataset(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import patina.pipeline.builder.jobs
    from patina.flows.build_dataset import build_dataset

    out = tmp_path / "out"
    build_dataset(str(recipe), str(out), workers=1)
    before = public_files(out)
    recipe.write_text(recipe.read_text() + "sigma = 3\n".replace("sigma", "quality"))

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(patina.pipeline.builder.jobs, "build_together", broken)
    with pytest.raises(OSError, match="the disk is full"):
        build_dataset(str(recipe), str(out), workers=2)
    assert public_files(out) == before


def test_parameters_are_validated_before_work_starts(recipe: Path, tmp_path: Path) -> None:
    from prefect.exceptions import ParameterTypeError

    from patina.flows.build_dataset import build_dataset

    with pytest.raises(ParameterTypeError):
        build_dataset(str(recipe), str(tmp_path / "out"), workers="many")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_missing_sources_are_all_told_before_anything_is_written(tmp_path: Path) -> None:
    from patina.flows.build_dataset import build_dataset

    (tmp_path / "recipe.toml").write_text(
        '[degradations.noisy]\n[[sources]]\npath = "one"\n[[sources]]\npath = "two"\n', "utf-8"
    )
    with pytest.raises(SourceError) as caught:
        build_dataset(str(tmp_path / "recipe.toml"), str(tmp_path / "out"), workers=1)
    told = str(caught.value).splitlines()
    assert told[0] == "2 of 2 sources cannot be used:"
    assert told[1].endswith(f"expected a folder of photographs at {tmp_path}/one, found nothing")
    assert told[2].endswith(f"expected a folder of photographs at {tmp_path}/two, found nothing")
    assert not (tmp_path / "out").exists()


def test_how_captions_are_made_reaches_the_build(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import patina.flows.building
    from patina.flows.build_dataset import build_dataset

    asked: list[Run] = []

    def stopped(*given: object, **_: object) -> None:
        asked.extend(option.captioning for option in given if isinstance(option, Options))
        raise BuildError("enough")

    monkeypatch.setattr(patina.flows.building, "build", stopped)
    with pytest.raises(BuildError, match="enough"):
        build_dataset(str(recipe), str(tmp_path / "out"), caption_batch=3, caption_threads=5, devices=["cpu", "cpu"])
    assert asked == [Run(3, ("cpu", "cpu"), 5)]


def test_copies_that_a_recipe_only_wants_reported_stop_no_build(tmp_path: Path) -> None:
    from patina.flows.build_dataset import build_dataset

    whole = picture(200, 150, seed=1)
    save(tmp_path / "a" / "one.png", whole)
    save(tmp_path / "b" / "two.png", whole[4:-4, 5:-5].copy())
    (tmp_path / "recipe.toml").write_text(
        '[split]\nleaks = "report"\n[degradations.noisy]\n'
        '[[sources]]\npath = "a"\nsplit = "train"\n[[sources]]\npath = "b"\nsplit = "test"\n'
    )
    report = build_dataset(str(tmp_path / "recipe.toml"), str(tmp_path / "out"), workers=1)
    assert {row.split for row in read_samples(tmp_path / "out")} == {"train", "test"}
    assert any("to be left out" in note for note in report.planned.notes)
