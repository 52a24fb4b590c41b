"""The Prefect server of PREFECT_API_URL, asked from outside flow runs: errors in words, and its variables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from patina.flows.errors import RunError, ServerAwayError


@contextmanager
def at_server(what: str) -> Iterator[SyncPrefectClient]:
    """A client of the server that Prefect's settings name, for `what`. Raises RunError if they name none or it refuses
    something, ServerAwayError if it does not answer."""
    if not PREFECT_API_URL.value():
        raise RunError(
            f"{what}: no server is named; start one, `patina serve` or `prefect server start`, and export "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, or what it says"
        )
    try:
        with get_client(sync_client=True) as client:
            yield client
    except PrefectHTTPStatusError as error:
        raise RunError(f"{what}: {detail(error)}") from None
    except httpx.TransportError as error:
        raise ServerAwayError(
            f"no Prefect server answers at {PREFECT_API_URL.value()} ({error}); start it, and run this again"
        ) from None


def detail(error: PrefectHTTPStatusError) -> str:
    """What the server says about a request that it refuses, such as a parameter out of its range."""
    try:
        return str(error.response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def read_variable(client: SyncPrefectClient, name: str) -> Any:
    """The value of a variable of the server; None if there is none of that name."""
    found = client.read_variable_by_name(name)
    return found.value if found else None


def write_variable(client: SyncPrefectClient, name: str, value: Any) -> None:
    """Write a variable of the server, text or JSON; an empty value removes it."""
    found = client.read_variable_by_name(name)
    if not value:
        if found:
            client.delete_variable_by_name(name)
    elif found:
        client.update_variable(VariableUpdate(name=name, value=value, tags=["patina"]))
    else:
        client.create_variable(VariableCreate(name=name, value=value, tags=["patina"]))
