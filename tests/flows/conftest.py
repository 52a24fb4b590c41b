"""One embedded Prefect API for all flow tests, one server for those that want a real one, and one empty database for
all of them: each takes ten seconds."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import PIL.Image
import pytest

from tests.flows.servers import environment_of, server

CREATE = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of Prefect's without a row, for servers to begin with a copy of. One that makes its own goes through
    a hundred migrations, which takes it more CPU time than all else of its start."""
    shared = "PYTEST_XDIST_WORKER" in os.environ  # by processes whose folders lie in one
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if shared else base) / "prefect-database"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "made").exists():
            environment = {**os.environ, "PREFECT_HOME": str(home)}
            subprocess.run([sys.executable, "-c", CREATE], env=environment, check=True, capture_output=True)
            (home / "made").touch()
    return home / "prefect.db"


@pytest.fixture(scope="session")
def prefect_api(prefect_database: Path) -> Iterator[None]:
    """Prefect's own harness on a copy of that database, with heartbeats off: they add a second to every flow run."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_DATABASE_MIGRATE_ON_START,
        temporary_settings,
    )
    from prefect.testing import utilities

    def with_database() -> str:
        folder = mkdtemp()  # the harness removes it
        shutil.copy(prefect_database, Path(folder) / "prefect-test.db")
        return folder

    settings = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_SERVER_DATABASE_MIGRATE_ON_START: False}
    with pytest.MonkeyPatch.context() as patched, temporary_settings(settings):
        patched.setattr(utilities, "mkdtemp", with_database)
        with utilities.prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture(scope="session")
def prefect_server(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server of Prefect's, a process of its own, for all tests that do not kill it; gives the environment that points
    to it. Pool, deployments and automations are as the test before left them."""
    folder = tmp_path_factory.mktemp("prefect-server")
    environment = environment_of(folder, prefect_database)
    with server(environment, folder / "server.log"):
        yield environment


@pytest.fixture
def prefect_alone(prefect_database: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a command that starts an API of its own, on a copy of that database."""
    environment = environment_of(tmp_path, prefect_database)
    del environment["PREFECT_API_URL"]
    return environment


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of four small photographs."""
    (tmp_path / "photos").mkdir()
    for i in range(4):
        y, x = np.mgrid[0:48, 0:64]
        picture = np.stack([x * 3 + i, y * 4, (x * y) // 9 + i * 20], -1).astype(np.uint8)
        PIL.Image.fromarray(picture).save(tmp_path / "photos" / f"p{i}.png")
    path = tmp_path / "recipe.toml"
    path.write_text("buckets = 2\n[[sources]]\npath = 'photos'\n[degradations.noisy]\n[degradations.jpeg-compressed]\n")
    return path
