"""One embedded Prefect API for all flow tests, and one empty database for all servers: each takes ten seconds."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

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
def prefect_api() -> Iterator[None]:
    """Prefect's own harness, with heartbeats off: they add a second to every flow run."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


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
