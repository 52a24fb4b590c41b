"""`patina run NAME`: starts a deployment by its short name, for a worker or `patina serve` to run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from patina.flows.errors import RunError
from patina.flows.parameters import read_parameters, split_words
from patina.flows.places import is_relative
from patina.flows.server import at_server
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.text import nearest

PATH_PARAMETERS = frozenset({"recipe", "out", "dataset", "run", "plan"})
"""Parameters that name files: a relative one is meant here, and a worker runs elsewhere."""


def as_seen_from_anywhere(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with absolute paths, `~` for a home among them; addresses, and names of recipes and plans that
    come with patina, stay as they are."""

    def absolute(name: str, value: Any) -> Any:
        if name not in PATH_PARAMETERS or not isinstance(value, str):
            return value
        place = value if is_remote(value) else os.path.expanduser(value)  # noqa: PTH111 of a user that is not there
        return str(Path(place).absolute()) if is_relative(name, place) else place

    return {name: absolute(name, value) for name, value in parameters.items()}


def start(name: str, words: Sequence[str]) -> FlowRun:
    """Ask the server of PREFECT_API_URL to run the deployment `name`, or FLOW/NAME.

    words  parameters as `name=value`, read by the deployment's schema; relative paths are meant here.
    Raises RunError, before there is a run, for what the deployment does not take.
    """
    pairs = split_words(words)
    with at_server(name) as client:
        found = _deployment(client, name)
        held = found.parameters or {}
        parameters = read_parameters(found.name, pairs, found.parameter_openapi_schema or {}, held)
        return client.create_flow_run_from_deployment(found.id, parameters=as_seen_from_anywhere(parameters))


def _deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    """The deployment of this name, or of FLOW/NAME. Raises RunError."""
    try:
        return client.read_deployment_by_name(name if "/" in name else f"{name}/{name}")
    except (ObjectNotFound, ValueError):
        known = {deployment.name: deployment for deployment in client.read_deployments()}
    if name not in known:  # `train-controller` and its like are deployments of a flow of another name
        advice = nearest(name.rpartition("/")[2], known) if known else "it has none: `patina deploy`, or `patina serve`"
        raise RunError(f"the server has no deployment {name!r}; {advice}")
    return known[name]


def follow(run: FlowRun, on_message: Callable[[str], None], every: float = 1.0) -> str:
    """Wait until the run has ended, and tell each of its states; gives the last one's type, such as COMPLETED."""
    last = ""
    with get_client(sync_client=True) as client:
        while True:
            state = client.read_flow_run(run.id).state
            if state is not None and state.name != last:
                last = state.name or ""
                on_message(f"{state.name}{f': {state.message}' if state.message else ''}")
            if state is not None and state.is_final():
                return state.type.value
            time.sleep(every)
