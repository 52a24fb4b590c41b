"""What all tests share: no network, no telemetry, no user's settings."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    DO_NOT_TRACK="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL="WARNING",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
)
os.environ.pop("PREFECT_API_URL", None)

# No clock: how long an example takes says something about the machine and nothing about the code.
settings.register_profile("patina", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patina")

# A flow that ran in this process has Prefect wait for a thread when the interpreter ends. A forked child has not that
# thread, and would end with 1, which PyTorch's DataLoader takes for a crash: findings/prefect_forked_children_fail.sh.
os.register_at_fork(after_in_child=threading._threading_atexits.clear)  # type: ignore[attr-defined]


def pytest_collection() -> None:
    """Cyclic garbage is not looked for while tests are collected, which makes a million objects and hardly any."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What there is now stays until the end: no search for garbage goes through it again, here or in a forked child."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _homes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Caches and databases of libraries go into the session's own folder."""
    home: Path = tmp_path_factory.mktemp("home")
    os.environ["PREFECT_HOME"] = str(home / "prefect")
    os.environ["HF_HOME"] = str(home / "huggingface")
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")


@pytest.fixture(scope="session", autouse=True)
def _nothing_loaded_twice() -> Iterator[None]:
    """The package's folders are loaded as parts of it alone, by all tests together: see test_one_package.py."""
    yield
    bare = {"pipeline", "synth", "captioning", "training", "flows"} & set(sys.modules)
    assert not bare, (
        f"{', '.join(sorted(bare))} were imported without `patina.` before them: every class is there twice"
    )


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """A test leaves the process as it found it: the next one, whichever it is, may run in the same."""
    before = _process()
    yield
    after = _process()
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    assert not changed, f"this test leaves {', '.join(changed)} changed for the tests after it"


OURS = re.compile(r"(PATINA|PREFECT|HF|XDG|PYTHONPATH|PYTHONSAFEPATH|HOME|PATH|TMPDIR|CC|\w*FLAGS|LANG|COLUMNS)(_|$)")
"""Variables of the environment that patina, its commands or its tests go by. Libraries set others while they work."""


def _process() -> dict[str, Any]:
    """What tests that run commands and flows in this process could leave behind, by name."""
    output = sys.modules.get("patina.flows.cli.output")
    return {
        **{name: value for name, value in os.environ.items() if OURS.match(name)},
        "the folder": os.getcwd(),  # noqa: PTH109 - for every test
        "signals' handlers": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "--quiet": output is not None and output.status.quiet,
        "--verbose": output is not None and output.told_in_full,
    }
