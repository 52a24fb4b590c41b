"""A build, a training and an evaluation go on, or are kept for the next run, whatever is killed around them: each row
of `benchmarks/kills.md`, with the server away for seconds only, and what a worker leaves in Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills import WORKS, Outcome, Stand, Undisturbed, outcomes, stands
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.format.manifest import load_manifest

pytestmark = [pytest.mark.slow, pytest.mark.kills, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[tuple[Stand, Undisturbed]]:
    """One server for all; the pieces of work ask it twice where they would for a minute."""
    folder = tmp_path_factory.mktemp("stand")
    with stands(folder, prefect_database, missed=1000.0, PREFECT_CLIENT_MAX_RETRIES="1") as made:
        yield made


def killed(what: str, stand: tuple[Stand, Undisturbed], folder: Path, mend: bool = True) -> list[Outcome]:
    found = outcomes(*stand, what, folder / what, away=8.0, zombies=False, mend=mend)
    assert [one.work for one in found] == list(WORKS)
    if mend:
        assert all(one.mended for one in found), "by itself or by the next run, each came to what undisturbed work does"
    return found


@pytest.mark.parametrize("what", ["worker", "nohup"])
def test_work_goes_on_when_nobody_reads_what_it_prints(
    what: str, stand: tuple[Stand, Undisturbed], tmp_path: Path
) -> None:
    found = killed(what, stand, tmp_path)
    assert all(one.whole for one in found)
    assert {one.end for one in found} == {"the run is Completed" if what == "worker" else "exit code 0"}
    if what == "worker":
        the_log_tells_the_story(stand[0], found[0].run, tmp_path / what / "out")


def lost_tasks_runs(stand: Stand) -> set[str]:
    """The runs of `end-lost-tasks` that there were."""
    found = stand.ask("flow_runs/filter", flows={"name": {"any_": ["end-lost-tasks"]}}, limit=200)
    return {str(run["id"]) for run in found}


def the_log_tells_the_story(stand: Stand, run: str, out: Path) -> None:
    manifest = load_manifest(out)
    assert manifest is not None
    lines = stand.ask("logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
    told = "\n".join(str(line["message"]) for line in lines)
    for shard in manifest.shards:
        assert f"build {shard.name}: " in told and f"built {shard.name}" in told, "planned, and made"
    assert f"checked {len(manifest.shards)} shards" in told
    assert f"digest {manifest.digest[:16]}" in told
    found = stand.ask("artifacts/filter", flow_runs={"id": {"any_": [run]}})
    (page,) = [artifact for artifact in found if artifact["key"] == "gallery-page"]
    assert (out / PRIVATE / "gallery.html").absolute().as_uri() in page["data"]


def test_work_goes_on_without_a_server(stand: tuple[Stand, Undisturbed], tmp_path: Path) -> None:
    found = killed("server", stand, tmp_path)
    assert all(one.whole for one in found)
    assert {one.end for one in found} == {"the run is Completed"}, "which is told once the server is back"


@pytest.mark.parametrize("what", ["engine", "both", "terminal"])
def test_work_that_is_ended_is_kept_for_the_next_run(
    what: str, stand: tuple[Stand, Undisturbed], tmp_path: Path
) -> None:
    before = lost_tasks_runs(stand[0])
    found = killed(what, stand, tmp_path, mend=what == "engine")  # what is kept is the same in each
    build, training, _ = found
    assert not build.whole and not training.whole
    assert int(build.kept.split()[0]) >= 2
    assert int(training.kept.split()[3]) >= 40
    if what == "engine":
        runs = [one.run for one in found]
        assert [stand[0].state(run) for run in runs] == ["Crashed"] * 3
        assert not any(stand[0].task_runs(run, "PENDING", "RUNNING") for run in runs)
        assert sum(stand[0].task_runs(run, "CRASHED") for run in runs) >= 2, (
            "that of the stage that was trained, and that of the one evaluated"
        )
        assert 1 <= len(lost_tasks_runs(stand[0]) - before) < len(WORKS), "crashes of a burst are seen to by one run"
    if what == "terminal":
        assert {one.end for one in found} == {"exit code 129"}
