"""A flow run outlives the worker that started it, though the pipe that it prints to breaks, and awaits its server."""

from __future__ import annotations

import os
import time

from prefect.logging import get_run_logger

from patina.flows.artifacts import server_answers
from patina.output import outlive_readers

STARTED_BY_RUNNER = "PREFECT__FLOW_RUN_ID"
"""The variable by which a worker, or `patina serve`, tells a process which flow run is its own."""


PATIENCE, PAUSE = 1800.0, 5.0
"""Seconds for which a run whose work is done waits for a server that is away, and between two questions."""


def outlive_runner() -> None:
    """From now on, what this process prints is no error once nobody reads it: in the process of a worker's flow run. A
    program that calls a flow itself keeps its own ways.

    Prefect's console handler lets the SystemExit through that rich raises at a broken pipe, and the run would be
    Crashed at its next line.
    """
    if STARTED_BY_RUNNER in os.environ:
        outlive_readers()


def await_server() -> None:
    """Wait until the server answers, `PATIENCE` seconds at the most, before a worker's flow run ends: Prefect would ask
    for a minute, and then call the run Failed whose work is whole. A program that calls a flow itself is not kept.
    """
    if STARTED_BY_RUNNER not in os.environ or server_answers():
        return
    get_run_logger().warning("the work is done; waiting until the Prefect server answers, to say so")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not server_answers():
        time.sleep(PAUSE)
