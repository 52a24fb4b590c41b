"""A build, a training and an evaluation go on, or are kept for the next run, whatever is killed around them: each row
of `benchmarks/kills.md`, with the server away for seconds only, and what a worker leaves in Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills import WORKS, Outcome, Stand, Undisturbed, outcomes, stands

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, Undisturbed]]:
    """One server for all; its clients try twice where they would try for a minute."""
    with stands(tmp_path_factory.mktemp("stand"), PREFECT_CLIENT_MAX_RETRIES="1") as made:
        yield made


def killed(what: str, stand: tuple[Stand, Undisturbed], folder: Path) -> list[Outcome]:
    found = outcomes(*stand, what, folder / what, away=8.0, zombies=False)
    assert [one.work for one in found] == list(WORKS)
    assert all(one.mended for one in found), "by itself or by the next run, each came to what undisturbed work comes to"
    return found


@pytest.mark.parametrize("what", ["worker", "nohup"])
def test_work_goes_on_when_nobody_reads_what_it_prints(
    what: str, stand: tuple[Stand, Undisturbed], tmp_path: Path
) -> None:
    found = killed(what, stand, tmp_path)
    assert all(one.whole for one in found)
    assert {one.end for one in found} == {"the run is Completed" if what == "worker" else "exit code 0"}
    if what == "worker":
        told = [line["message"] for line in stand[0].ask("logs/filter", limit=200, sort="TIMESTAMP_DESC")]
        for start in ("build train-noisy-0000.tar: ", "built train-noisy-0000.tar", "checked 27 shards", "48 samples"):
            assert any(line.startswith(start) for line in told), start
        keys = {artifact["key"] for artifact in stand[0].ask("artifacts/filter", limit=100)}
        assert "gallery-page" in keys


def test_work_goes_on_without_a_server(stand: tuple[Stand, Undisturbed], tmp_path: Path) -> None:
    assert all(one.whole for one in killed("server", stand, tmp_path))


@pytest.mark.parametrize("what", ["engine", "both", "terminal"])
def test_work_that_is_ended_is_kept_for_the_next_run(
    what: str, stand: tuple[Stand, Undisturbed], tmp_path: Path
) -> None:
    found = killed(what, stand, tmp_path)
    assert not any(one.whole for one in found if one.work != "evaluation")
    if what == "terminal":
        assert {one.end for one in found} == {"exit code 129"}
