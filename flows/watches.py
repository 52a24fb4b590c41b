"""Watches: datasets to look after, each a schedule of `watch-sources` on the server, under a name.

    patina watch add ─┬─ variable   patina_watch_NAME   what was asked for
                      ├─ schedule   NAME                recipe, out, quiet; on or off
                      ├─ automation patina-rebuild      sources changed → build-dataset
                      └─ automation patina-train-NAME   dataset published → train-end-to-end, with --train

Deploying leaves all four as they are. What somebody emptied or deleted of it is told by `ls`, and `on` makes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events import DeploymentEventTrigger

from patina.flows.deployments import REBUILD
from patina.flows.errors import RunError
from patina.flows.events import DATASET_PUBLISHED, RESOURCE, absolute
from patina.flows.places import short
from patina.flows.registering import automation_of, ensure_automation
from patina.flows.server import at_server, write_variable
from patina.flows.watch_list import Watch, Watching, asked_for, deployment_of, variable_of, watches_on
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.text import nearest

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST = 40
"""Characters of a watch's name."""


def add(watching: Watching) -> Watch:
    """Create a watch on the server, or change the one of this dataset, and switch it on. Raises RunError for what
    cannot be watched."""
    if watching.train and is_remote(watching.out):
        raise RunError(f"{watching.out}: a plan trains on a folder here; watch a folder, or leave --train out")
    with at_server("watch") as client:
        asked = _with_name(watching, asked_for(client))
        _expect_no_other(client, asked)
        write_variable(client, variable_of(asked.name), asdict(asked))
        _switch(client, asked, on=True)
        return _find(client, asked.name)


def switch(name: str, *, on: bool) -> Watch:
    """Switch a watch on or off, with its training; on, what was emptied or deleted of it is made anew. Raises RunError
    for a name that there is none of."""
    with at_server("watch") as client:
        known = asked_for(client)
        if name not in known:
            raise RunError(f"no watch is called {name!r}; {_advice(name, known)}")
        _switch(client, known[name], on=on)
        return _find(client, name)


def remove(name: str) -> None:
    """Remove a watch, or another schedule of `watch-sources` that has a slug. Datasets and runs stay. Raises RunError
    for a name that there is none of."""
    with at_server("watch") as client:
        known = {watch.watching.name: watch for watch in watches_on(client) if watch.watching.name}
        if name not in known:
            raise RunError(f"no watch is called {name!r}; {_advice(name, known)}")
        if schedule := known[name].schedule:
            client.delete_deployment_schedule(deployment_of(client, "watch-sources").id, schedule.id)
            _drop_waiting(client, known[name].watching)
        for automation in client.read_automations_by_name(training_name(name)):
            client.delete_automation(automation.id)
        write_variable(client, variable_of(name), None)


def training_name(name: str) -> str:
    """The automation that trains on what a watch has built."""
    return f"patina-train-{name}"


# ---------------------------------------------------------------------------------------------------------------------


def _with_name(watching: Watching, known: Mapping[str, Watching]) -> Watching:
    """It with a name: its own, that of the watch that the dataset has, or one after the dataset. Raises RunError."""
    of_dataset = next((name for name, one in known.items() if one.out == watching.out), "")
    name = watching.name or of_dataset or _proposed(watching.out, known)
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise RunError(f"--name: expected up to {LONGEST} small letters and digits, - between them, found {name!r}")
    if of_dataset not in ("", name):
        raise RunError(
            f"{watching.out} is watched as {of_dataset!r}; leave --name out to change that watch, or remove it: "
            f"`patina watch rm {of_dataset}`"
        )
    if name in known and known[name].out != watching.out:
        raise RunError(f"{name!r} watches {known[name].out}; give another --name, or `patina watch rm {name}` first")
    return replace(watching, name=name)


def _proposed(out: str, known: Mapping[str, Watching]) -> str:
    name = "-".join(re.findall(r"[a-z0-9]+", short(out).lower()))[: LONGEST - 7].strip("-") or "dataset"
    return f"{name}-{sha256(out.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}" if name in known else name


def _expect_no_other(client: SyncPrefectClient, asked: Watching) -> None:
    """Raise RunError for a schedule of that slug that `patina watch` did not make, and would be overwritten."""
    for watch in watches_on(client):
        if watch.watching.name == asked.name and watch.watching.out not in ("", asked.out):
            raise RunError(
                f"a schedule {asked.name!r} of watch-sources, for {watch.watching.out}, is there; give another --name, "
                f"or `patina watch rm {asked.name}` first"
            )


def _advice(name: str, known: Mapping[str, Any]) -> str:
    return nearest(name, known) if known else "there is none: `patina watch add RECIPE --out OUT`"


def _switch(client: SyncPrefectClient, asked: Watching, *, on: bool) -> None:
    """Make the server have a watch as it was asked for, on or off."""
    _schedule(client, asked, on=on)
    _drop_waiting(client, asked)
    if on:
        ensure_automation(client, automation_of(REBUILD, deployment_of(client, "build-dataset").id))
        look = deployment_of(client, "watch-sources").id  # at once: the schedule's first one comes after its interval
        client.create_flow_run_from_deployment(look, parameters=asked.parameters)
    _train(client, asked)
    for automation in client.read_automations_by_name(training_name(asked.name)):
        (client.resume_automation if on else client.pause_automation)(automation.id)


def _schedule(client: SyncPrefectClient, asked: Watching, *, on: bool) -> None:
    """Create or change its schedule, always with its parameters: what an update leaves out, the server empties."""
    deployment = deployment_of(client, "watch-sources")
    before = next((one for one in deployment.schedules if one.slug == asked.name), None)
    interval = IntervalSchedule(interval=timedelta(seconds=asked.every), anchor_date=datetime.now(UTC))
    if before is None:
        made = DeploymentScheduleCreate(schedule=interval, active=on, parameters=asked.parameters, slug=asked.name)
        client.create_deployment_schedules(deployment.id, [made])
        return
    client.update_deployment_schedule(
        deployment.id, before.id, active=on, schedule=interval, parameters=asked.parameters, slug=asked.name
    )


def _drop_waiting(client: SyncPrefectClient, asked: Watching) -> None:
    """Delete the looks that nobody has begun, such as those of a time without a worker."""
    deployment = FlowRunFilterDeploymentId(any_=[deployment_of(client, "watch-sources").id])
    waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=deployment, state=waiting), limit=200):
        if run.parameters.get("out") == asked.out:
            client.delete_flow_run(run.id)


def _train(client: SyncPrefectClient, asked: Watching) -> None:
    """Make the automation of a watch that trains agree with it; remove that of one that does not train."""
    name = training_name(asked.name)
    if not asked.train:
        for automation in client.read_automations_by_name(name):
            client.delete_automation(automation.id)
        return
    trigger = DeploymentEventTrigger(
        name=name,
        description=f"Trains {short(asked.train)} on what is published of {short(asked.out)}; by `patina watch`.",
        expect={DATASET_PUBLISHED},
        match={"prefect.resource.id": f"{RESOURCE}{absolute(asked.out)}"},
        parameters={"recipe": "", "out": asked.out, "run": f"{asked.out}-run", "plan": asked.train},
    )
    ensure_automation(client, automation_of(trigger, deployment_of(client, "train-end-to-end").id))


def _find(client: SyncPrefectClient, name: str) -> Watch:
    return next(watch for watch in watches_on(client) if watch.watching.name == name)
