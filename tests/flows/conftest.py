"""One embedded Prefect API for all flow tests: starting it takes ten seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest


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
