from __future__ import annotations

import json
from pathlib import Path

from patina.training.jobs.stage import LaunchOptions, job_of
from patina.training.loop.job import Job
from tests.training.running import stage


def test_a_job_is_stored_in_the_spelling_of_the_first_version_and_read_again(tmp_path: Path) -> None:
    job = Job(stage("irsde").table(), "dataset", "run", "start", 2, True, gradient_accumulation=3, stop_at=8)
    path = job.save(tmp_path / "job.json")
    stored = json.loads(path.read_text("utf-8"))
    keys = ["stage", "dataset", "run", "start", "workers", "cpu", "compile", "pieces", "stop_at", "tensorboard"]
    assert list(stored) == keys
    assert (stored["pieces"], stored["stage"]["images"]) == (3, 24)
    assert Job.load(path) == job


def test_what_starts_a_stage_writes_a_job_that_the_loop_reads(tmp_path: Path) -> None:
    options = LaunchOptions(workers=1, cpu=True, gradient_accumulation=2)
    table = job_of(stage("irsde"), Path("dataset"), Path("run"), options)
    assert list(table) == ["stage", "dataset", "run", "start", "workers", "cpu", "compile", "pieces"]
    (tmp_path / "job.json").write_text(json.dumps(table), "utf-8")
    found = Job.load(tmp_path / "job.json")
    assert (found.workers, found.cpu, found.gradient_accumulation) == (1, True, 2)
    assert found.start == "run/controller/model.safetensors"
