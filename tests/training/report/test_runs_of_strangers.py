"""A run's folder as somebody changed it: a page, a plan, or one line that says what and where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from patina.flows.cli.user_errors import is_for_the_user
from patina.pipeline.builder.build import build
from patina.training.checkpoints.files import DONE, METRICS, STAGE
from patina.training.jobs.evaluation import EVALUATION, EVALUATION_INPUTS, Options, candidates, outcome, summary_rows
from patina.training.report.page import summary_markdown, write_report
from patina.training.runs.lineage import lineage
from patina.training.runs.plan import plan_stages
from tests.fuzzing import mutations
from tests.pipeline.making import photos, tiny_recipe
from tests.training.report.test_page import CONTROLLER, RESTORER, make_stage, steps

FILES = (STAGE, DONE, METRICS, EVALUATION, EVALUATION_INPUTS, "heartbeat", "announced.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a run with two finished stages of which one is evaluated."""
    folder = tmp_path_factory.mktemp("strangers")
    photos(folder / "photos", 2, 24, 16)
    build(tiny_recipe(folder), folder / "out")
    make_stage(folder / "run", CONTROLLER, steps(1000, 100), done={"best": 0.5, "seconds": 3.0})
    make_stage(folder / "run", RESTORER, steps(2000, 500), done={"best": 27.5, "seconds": 5.0})
    for name in (EVALUATION, EVALUATION_INPUTS, "announced.json"):
        (folder / "run" / "irsde" / name).write_text('{"stage": "irsde", "rows": [], "options": {}, "model": "x"}')
    return folder


READERS: dict[str, Callable[[Path, Path], object]] = {
    "report": write_report,
    "summary": lambda run, _: summary_markdown(run),
    "plan": lambda run, out: plan_stages({"controller": CONTROLLER, "irsde": RESTORER}, out, run),
    "candidates": lambda run, out: summary_rows(candidates(run, out, Options())),
    "outcome": lambda run, _: outcome(run, RESTORER),
    "lineage": lambda run, _: lineage(run / "irsde" / "model.safetensors"),
}


def ends_otherwise(made: Path, place: Path, name: str, count: int) -> list[str]:
    """What ends in something else than a result or words, over `count` changes of the file `name`."""
    source = made / "run" / "irsde" / name
    data = source.read_bytes() if source.exists() else b"1\n"
    wrong = []
    shutil.copytree(made / "run", place / "run")
    for number, changed in enumerate(mutations(data, count, len(name))):
        (place / "run" / "irsde" / name).write_bytes(changed)
        for what, reader in READERS.items():
            try:
                reader(place / "run", made / "out")
            except Exception as error:
                if not is_for_the_user(error) or "\n" in str(error).strip():
                    wrong.append(f"{name} {number} {what}: {error!r:.200}")
    return wrong


@pytest.mark.parametrize("name", FILES)
def test_a_changed_run_ends_in_words(made: Path, tmp_path: Path, name: str) -> None:
    assert ends_otherwise(made, tmp_path, name, 12) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_sixty_more_changed_runs_end_in_words(made: Path, tmp_path: Path, name: str) -> None:
    assert ends_otherwise(made, tmp_path, name, 60) == []
