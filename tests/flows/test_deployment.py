"""Builds as flow runs on a real server of this machine: one model at a time, and what becomes of a build whose process
or whose server is killed. What a worker and a serve do: test_watching_page.py."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from patina.flows.deployments import automations
from patina.pipeline.format.layout import PRIVATE, SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.report.check import check
from tests.captioning import tiny_models
from tests.flows.servers import (
    PATINA,
    ROOT,
    client_of,
    environment_of,
    now,
    patina,
    running,
    runs,
    server,
    told,
    wait_for,
)
from tests.pipeline.making import photo, photos

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose build takes some seconds on one core, long enough to be killed in the middle."""
    folder = tmp_path_factory.mktemp("large")
    for i in range(40):
        photo(folder / "photos" / f"{i}.png", 512, 384, seed=i, compress_level=1)
    path = folder / "large.toml"
    words = ("noisy", "rainy", "snowy", "motion-blurry")
    path.write_text("buckets = 8\n[[sources]]\npath = 'photos'\n" + "".join(f"[degradations.{w}]\n" for w in words))
    return path


def staged(out: Path) -> dict[int, str]:
    """Shards that are finished, as their index says, and wait in the staging folder, by inode: a rename keeps it."""
    indices = (out / PRIVATE / "staging").glob("*.tar.????????????????.json")
    return {path.with_suffix("").stat().st_ino: path.name for path in indices}


LIMIT = "from patina.flows.gpu import create_limit; create_limit()"


def test_two_builds_have_one_model_at_a_time(prefect_server: dict[str, str], tmp_path: Path) -> None:
    environment, begun = prefect_server, now()
    subprocess.run([sys.executable, "-c", LIMIT], env=environment, cwd=ROOT, check=True)
    photos(tmp_path / "photos", 12)
    tiny_models.blip(tmp_path / "model")
    recipe = tmp_path / "blip.toml"
    recipe.write_text(
        "[[sources]]\npath = 'photos'\n[degradations.noisy]\n"
        "[captions]\nkind = 'blip'\nmodel = './model'\nmax_new_tokens = 6\nfilter = {max_repeats = 0}\n"
    )
    commands = [[*PATINA, "build", str(recipe), "--out", str(tmp_path / name)] for name in ("one", "two")]
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with running(commands[0], environment, logs[0]) as one, running(commands[1], environment, logs[1]) as two:
        for process, log in ((one, logs[0]), (two, logs[1])):
            assert process.wait(120) == 0, log.read_text()[-3000:]
    acquired, released = (
        sorted(
            str(event["occurred"])
            for event in told(environment, f"prefect.concurrency-limit.{what}", 2, logs[0], begun)
        )
        for what in ("acquired", "released")
    )
    assert acquired[0] < released[0] <= acquired[1] < released[1]
    for name in ("one", "two"):
        assert load_manifest(tmp_path / name) is not None


def test_a_killed_build_is_found_by_its_heartbeats_and_the_next_one_continues(
    prefect_server: dict[str, str], large: Path, tmp_path: Path
) -> None:
    """One of `patina build`, of which nobody else tells. A worker tells of its own: test_kills.py."""
    environment, alone, log = prefect_server, tmp_path / "alone", tmp_path / "alone.log"
    (zombies, *_) = automations()
    zombies.name, zombies.trigger.within = "soon", timedelta(seconds=61)  # of heartbeats every 30 s, not of minutes
    with client_of(environment) as client:
        soon = client.create_automation(zombies)
    with running([*PATINA, "build", str(large), "--out", str(alone), "--workers", "1"], environment, log) as process:
        wait_for(lambda: len(staged(alone)) >= 3, "three shards", log)
        process.kill()
    zombie = f"build large into {alone.name}"
    assert load_manifest(alone) is None
    wait_for(lambda: runs(environment, "build-dataset")[zombie] == "Crashed", "the zombie's end", log, 180)
    with client_of(environment) as client:
        client.delete_automation(soon)
    before = staged(alone)
    patina(environment, "build", large, "--out", alone)
    assert before.keys() <= {path.stat().st_ino for path in (alone / SHARDS).glob("*.tar")}, "none is made again"
    assert check(alone).ok


def test_a_server_that_goes_away_in_the_middle_loses_nothing(
    large: Path, prefect_database: Path, tmp_path: Path
) -> None:
    environment = environment_of(tmp_path, prefect_database)
    environment["PREFECT_CLIENT_MAX_RETRIES"] = "1"  # five take a minute for each call
    out, log = tmp_path / "out", tmp_path / "build.log"
    command = [*PATINA, "build", str(large), "--out", str(out), "--workers", "1"]
    with server(environment, tmp_path / "server.log") as first, running(command, environment, log) as build:
        wait_for(lambda: len(staged(out)) >= 3, "three shards", log)
        first.kill()
        build.wait(240)
    assert "does not answer" in log.read_text()
    assert "Traceback" not in log.read_text().partition("error  ")[2]
    assert load_manifest(out) is not None, "the work itself needs no server"
    assert check(out).ok
    again = environment_of(tmp_path, prefect_database)
    with server(again, tmp_path / "server.log"):
        code = "import sys; from patina.flows.build_dataset import build_dataset as b; b(*sys.argv[1:3], workers=1)"
        subprocess.run([sys.executable, "-c", code, str(large), str(out)], env=again, cwd=ROOT, check=True)
        (event,) = told(again, "patina.dataset.published", 1, tmp_path / "server.log")
        manifest = load_manifest(out)
        assert manifest is not None
        assert event["payload"]["manifest"] == manifest.digest, "what could not be told then is told now"
