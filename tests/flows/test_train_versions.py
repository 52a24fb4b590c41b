"""A flow of training reads one version of its dataset from its first stage to its report."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.builder.history import free
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.versions.version import current_version
from tests.flows.test_train_flows import Judge, Loop, judge, loop, plan, train  # noqa: F401
from tests.training.running import small_dataset

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]


def test_all_stages_see_one_version_while_every_stage_sees_a_rebuild(
    plan: Path,  # noqa: F811
    loop: Loop,  # noqa: F811
    judge: Judge,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training, evaluation and report of one flow; the next flow sees what was published meanwhile."""
    import patina.flows.train_stages as training_flow
    from patina.flows.end_to_end import train_end_to_end

    out = small_dataset(tmp_path / "made")
    recipe, sigmas = tmp_path / "made" / "recipe.toml", iter(range(5, 50, 5))
    given = recipe.read_text()
    reported: list[Path] = []
    tell = training_flow.run_report

    def report(run: Path, dataset: Path, *others: Any) -> Path:
        reported.append(dataset)
        return tell(run, dataset, *others)

    monkeypatch.setattr(training_flow, "run_report", report)

    def rebuild(*_: object) -> None:
        recipe.write_text(f"{given}sigma = {next(sigmas)}\n")
        build(load_recipe(recipe), out, Options(keep=1))

    first = current_version(out)
    assert first is not None
    loop.before = judge.before = rebuild
    done = train_end_to_end(str(out), str(tmp_path / "run"), plan=str(plan), stages=["irsde"], cpu=True)
    assert loop.trained == ["controller", "irsde"] == [row["stage"] for row in done.rows]
    assert set(loop.datasets + judge.datasets + reported) == {first.folder}
    assert len(reported) == 1
    gc.collect()
    assert [version.number for version in free(out, 1).versions] == [1], "nobody holds it after the flow"
    loop.before = lambda _: None
    assert train(out, tmp_path / "run", plan, stages=["irsde"]).skipped == ()
    latest = current_version(out)
    assert latest is not None
    assert (latest.number, loop.datasets[2:]) == (5, [latest.folder] * 2)
