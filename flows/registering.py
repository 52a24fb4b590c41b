"""Deployments and automations on a server, registered without undoing what somebody switched: what is paused stays
paused, an automation that is off stays off, and schedules are left alone, with a slug or without.

    patina deploy   on a work pool: its workers take the runs        patina serve   on none: that process takes them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.events import AutomationCore, DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound

from patina.flows.deployments import OFFERS, TRIGGERS, automations
from patina.flows.owners import create_pool, expect_free
from patina.flows.server import at_server, read_variable, write_variable

PAUSED_BY_SERVE = "patina_paused_by_serve"
"""The server's variable that names the deployments that a `patina serve` paused at its end."""


@dataclass(frozen=True)
class Registered:
    """A deployment as it is on the server. pool: the work pool whose workers take its runs; empty: `patina serve` does.
    schedules: each one's slug and whether it is on, in words."""

    name: str
    pool: str
    paused: bool
    schedules: tuple[str, ...]


def register(
    pool: str,
    *,
    take_over: bool = False,
    apply: Callable[[RunnerDeployment], UUID] | None = None,
    folder: Path | None = None,
) -> list[Registered]:
    """Register every deployment on the work pool `pool`, or on none for `patina serve`; gives them as they are now.

    take_over  whether those whose runs others take are taken from them. apply: what registers one; none: Prefect does.
    folder     where relative paths of runs on a worker start; none: the current one.
    Raises RunError, before anything is changed, where others take their runs.
    """
    with at_server("deployments") as client:
        before = _on_server(client)
        if not take_over:
            expect_free(client, before.values(), pool)
        if pool:
            create_pool(client, pool)
        paused_by_serve = read_variable(client, PAUSED_BY_SERVE) or []
        owned = {str(trigger.name): trigger.enabled for trigger in TRIGGERS.values()}
        enabled = {name: [a.enabled for a in client.read_automations_by_name(name)] or [owned[name]] for name in owned}
    ids = {}
    for offer in OFFERS:
        earlier = before.get(offer.name)
        paused = bool(earlier and earlier.paused and offer.name not in paused_by_serve)
        deployment = offer.deployment(pool, folder, paused=paused)
        ids[offer.name] = apply(deployment) if apply else cast(UUID, deployment.apply())
    with at_server("deployments") as client:
        write_variable(client, PAUSED_BY_SERVE, [])
        for core in automations():
            ensure_automation(client, core)
        for name, trigger in TRIGGERS.items():
            core = automation_of(trigger, ids[name])
            ensure_automation(client, core.model_copy(update={"enabled": enabled[core.name][0]}))
        return [_as_registered(found) for found in _on_server(client).values()]


def pause_served(ids: Mapping[str, UUID]) -> None:
    """Pause what a `patina serve` that ends has served, so that no run waits for nobody, and remember which."""
    with at_server("deployments") as client:
        running = {name: found for name, found in _on_server(client).items() if not found.paused}
        names = [name for name, found in running.items() if found.id in ids.values() and not found.work_pool_name]
        write_variable(client, PAUSED_BY_SERVE, names)
        for name in names:
            client.pause_deployment(running[name].id)


def pools(client: SyncPrefectClient) -> Sequence[str]:
    """The work pools that the deployments are on now."""
    return sorted({found.work_pool_name for found in _on_server(client).values() if found.work_pool_name})


def automation_of(trigger: DeploymentEventTrigger, deployment: UUID) -> AutomationCore:
    """The automation that starts a deployment by a trigger. Nothing owns it, so that deploying does not remove it."""
    own = trigger.model_copy(deep=True)
    own.set_deployment_id(deployment)
    return own.as_automation().model_copy(update={"owner_resource": None})


def ensure_automation(client: SyncPrefectClient, core: AutomationCore) -> None:
    """Create an automation unless the server has one of its name. What that one does is made to agree; whether it is on
    stays as it is."""
    found = client.read_automations_by_name(core.name)
    if not found:
        client.create_automation(core)
    elif found[0].actions != core.actions:
        client.update_automation(found[0].id, core.model_copy(update={"enabled": found[0].enabled}))


def _on_server(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Those of the deployments that the server has, by name."""
    found = {}
    for offer in OFFERS:
        try:
            found[offer.name] = client.read_deployment_by_name(offer.full_name)
        except ObjectNotFound:
            continue
    return found


def _as_registered(found: DeploymentResponse) -> Registered:
    schedules = (f"{one.slug or '(no slug)'} {'on' if one.active else 'off'}" for one in found.schedules)
    return Registered(found.name, found.work_pool_name or "", found.paused, tuple(sorted(schedules)))
