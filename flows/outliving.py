"""A flow run goes on when the worker that started it is killed, though the pipe that it prints to breaks then."""

from __future__ import annotations

import os

from patina.output import outlive_readers

STARTED_BY_RUNNER = "PREFECT__FLOW_RUN_ID"
"""The variable by which a worker, or `patina serve`, tells a process which flow run is its own."""


def outlive_runner() -> None:
    """From now on, what this process prints is no error once nobody reads it: in the process of a worker's flow run. A
    program that calls a flow itself keeps its own ways.

    Prefect's console handler lets the SystemExit through that rich raises at a broken pipe, and the run would be
    Crashed at its next line.
    """
    if STARTED_BY_RUNNER in os.environ:
        outlive_readers()
