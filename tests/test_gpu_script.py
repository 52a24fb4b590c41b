"""benchmarks/gpu.py, which a GPU is measured by, runs: here with the least of everything, on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import Call, rows_of, run

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(tmp_path: Path) -> None:
    figures = tmp_path / "gpu.json"
    parts_run = ["networks", "captions", "loader", "learning"]  # the fifth collects all tests once more
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--json", str(figures), "--parts", *parts_run]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = {part["title"]: part for part in json.loads(figures.read_text("utf-8"))["parts"]}
    assert list(parts) == parts_run
    assert all(part["state"] == "done" for part in parts.values())
    assert parts["networks"]["rows"][0]["network"] == "nafnet-refusion"
    assert float(parts["networks"]["rows"][0]["outputs differ by"]) < 1e-4
    assert {row["way"] for row in parts["captions"]["rows"]} >= {"usual", "patina"}
    assert parts["loader"]["rows"][0]["stage"] == "adapter"
    assert any(row["restored by"].startswith("nafnet") for row in parts["learning"]["rows"])


def test_a_part_that_fails_or_takes_long_is_told() -> None:
    failed = run(Call("x", ("benchmarks.nothing_of_this_name",), 60))
    assert failed.state == "failed" and "nothing_of_this_name" in failed.text
    late = run(Call("x", ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)"), 1))
    assert late.state == "took too long" and late.seconds < 30


def test_rows_of_tables() -> None:
    text = "words\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | – |\n\n| c |\n| --- |\n| 4 |\n"
    assert rows_of(text) == [{"a": "1", "b": "2"}, {"a": "3", "b": "–"}, {"c": "4"}]
