"""Trackers beside TensorBoard: none unless asked for, and what they get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import accelerate.tracking
import pytest

from patina.training.errors import StageError
from patina.training.jobs.stage import LaunchOptions, job_of
from patina.training.loop import trackers
from patina.training.loop.job import Job
from patina.training.loop.trackers import expect_trackers, tracked_settings
from tests.training.running import small_dataset, stage, trained


class Recorder(accelerate.tracking.GeneralTracker):  # type: ignore[misc]
    """Stands in for Weights & Biases."""

    name = "wandb"
    requires_logging_directory = False
    heard: list[tuple[str, Any]]

    def __init__(self, run_name: str, **_: Any) -> None:
        super().__init__()
        Recorder.heard = [("run", run_name)]

    @property
    def tracker(self) -> Recorder:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.heard.append(("settings", values))

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.heard.append((f"step {step}", values))

    def finish(self) -> None:
        self.heard.append(("end", None))


def test_a_tracker_gets_the_settings_and_every_line_of_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Recorder)
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [accelerate.utils.LoggerType.WANDB])
    dataset = small_dataset(tmp_path, photos=8, degradations=("noisy",))
    made = stage("irsde", network="unet-irsde", after="", data={"view": "none"}, max_images=8, validation={"every": 8})
    assert trained(made, dataset, tmp_path / "mine", trackers=("wandb",)).finished
    (run, name), (_, settings), *lines, (last, _) = Recorder.heard
    assert (run, name, last) == ("run", "patina-mine", "end")
    assert (settings["data.batch"], settings["optimiser.lr"], settings["network"]) == (4, 1e-3, "unet-irsde")
    rows = [json.loads(line) for line in (tmp_path / "mine" / "irsde" / "metrics.jsonl").read_text().splitlines()]
    expected = [
        (f"step {row['seen']}", {f"irsde/{key}": value for key, value in row.items() if key != "seen"}) for row in rows
    ]
    assert lines == expected
    assert any("irsde/val_psnr" in values for _, values in lines)


def test_none_is_asked_unless_it_is_named(tmp_path: Path) -> None:
    job = job_of(stage("irsde"), tmp_path, tmp_path, LaunchOptions())
    assert "trackers" not in job
    assert Job(stage("irsde").table(), "", "").trackers == ()
    asked = job_of(stage("irsde"), tmp_path, tmp_path, LaunchOptions(trackers=("mlflow",)))
    assert asked["trackers"] == ["mlflow"]


def test_trackers_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match="no tracker 'wand'; known are wandb, mlflow"):
        expect_trackers(["wand"])
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(StageError, match="wants the library mlflow, which is not installed: pip install mlflow"):
        expect_trackers(["mlflow"])
    expect_trackers([])


def test_settings_are_plain_values() -> None:
    for value in tracked_settings(stage("controller")).values():
        assert isinstance(value, str | float | int | bool)
